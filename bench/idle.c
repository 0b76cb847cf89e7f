/* What the benchmarks run: a process that does nothing and ends at once on SIGTERM. Static, alone in
 * its image. */
#include <signal.h>
#include <unistd.h>

static void end(int number)
{
    (void)number;
    _exit(0);
}

int main(void)
{
    (void)signal(SIGTERM, end);
    for (;;)
        (void)pause();
}
