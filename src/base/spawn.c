/* What we ignore must not be ignored in what we start. */
#include "base/spawn.h"

#include <signal.h>
#include <string.h>

char *const fl_spawn_environment[] = {
    (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};

void fl_spawn_reset_signals(posix_spawnattr_t *attr, short flags)
{
    sigset_t none;
    sigset_t all;
    (void)sigemptyset(&none);
    memset(&all, 0xff, sizeof(all)); /* sigfillset leaves out two, which would end up ignored */
    (void)posix_spawnattr_setsigmask(attr, &none);
    (void)posix_spawnattr_setsigdefault(attr, &all);
    (void)posix_spawnattr_setflags(attr,
                                   (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | flags));
}
