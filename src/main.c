/* The one executable: every subcommand meets here. */
#include <stdio.h>

int main(void)
{
    (void)fputs("fairlead: no subcommand yet\n", stderr);
    return 2;
}
