/* Writes lines as an application does that logs requests, as many as its argument says and as fast
 * as it can, then waits to be ended, unless there is another argument. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    for (long i = 0; i < count; i++)
        (void)printf("10.0.%ld.%ld - - \"GET /api/v1/items/%ld HTTP/1.1\" 200 %ld \"curl/8.1\" "
                     "rt=0.%03ld request_id=%08lx\n",
                     i / 251 % 256, i % 251, i * 7919 % 100000, 200 + i * 31 % 5000, i * 17 % 1000,
                     (unsigned long)i * 2654435761UL % 0xffffffffUL);
    (void)fflush(stdout);
    if (argc < 3)
        (void)pause();
    return 0;
}
