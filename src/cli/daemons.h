/* Server and agent as processes: started free of everything of the caller's, found by what they
 * are (a process of root's in our PID namespace whose arguments begin with
 * "<path>/fairlead <role> --data-dir <this directory>"), ended by signal. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum { FL_DAEMONS_MAX_ARGUMENTS = 32 };

/* A process that stays the same one however often its number is used again. */
struct fl_daemon {
    pid_t pid; /* 0: does not run */
    int fd;    /* pidfd, -1 when it does not run; the caller closes it */
};

/* Finds the role ("server", "agent") of an installation. */
struct fl_daemon fl_daemon_find(struct fl_str data_dir, const char *role);
/* Starts argv (NULL at the end, argv[0] the executable) in a session of its own, in "/", with
 * stdin from /dev/null and the rest appended to the file `log`. */
int fl_daemon_start(const char *const *argv, const char *log, struct fl_daemon *ret_daemon,
                    struct fl_err *err);
/* Whether it runs the very file that we run, not an older one from another path, or one that has
 * been replaced since. */
bool fl_daemon_is_this_program(const struct fl_daemon *daemon);
bool fl_daemon_runs(const struct fl_daemon *daemon);
/* SIGTERM, patience_ms, SIGKILL; returns when it is gone. Closes the pidfd. */
int fl_daemon_stop(struct fl_daemon *daemon, unsigned patience_ms, struct fl_err *err);
void fl_daemon_forget(struct fl_daemon *daemon);

static inline void fl_cleanup_daemon(struct fl_daemon *daemon)
{
    fl_daemon_forget(daemon);
}
#define FL_CLEANUP_DAEMON __attribute__((cleanup(fl_cleanup_daemon)))

/* Calls visit with pid and arguments ('\0' behind each) of every process of root's in our PID
 * namespace, until it returns false. */
void fl_daemon_each_process(bool (*visit)(void *context, pid_t pid, struct fl_str arguments),
                            void *context);
