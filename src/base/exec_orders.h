/* What the agent tells fairlead-exec, as items in two files: a command, and the confinement of the
 * container that it is to run in, which is made once for each container. Not for core or task.
 *
 * An item is its key and the length of its bytes (two uint32_t), then the bytes: text without NUL,
 * one or more int64_t, or a seccomp program. Both sides are the same release on the same machine.
 */
#pragma once

#include <stdint.h>

enum fl_exec_key {
    FL_EXEC_ARG = 1,     /* text; the first is the program, looked for in the environment's PATH */
    FL_EXEC_ENV,         /* text */
    FL_EXEC_CWD,         /* text */
    FL_EXEC_CGROUP,      /* text: a directory whose cgroup.procs is to be written */
    FL_EXEC_USER,        /* uid, gid */
    FL_EXEC_GROUP,       /* gid, an additional one */
    FL_EXEC_CAPS,        /* masks: bounding, effective, permitted, inheritable, ambient */
    FL_EXEC_LIMIT,       /* RLIMIT_…, soft, hard */
    FL_EXEC_OOM,         /* oom_score_adj */
    FL_EXEC_NO_NEW_PRIV, /* 1 */
    FL_EXEC_UMASK,       /* mode */
    FL_EXEC_SECCOMP,     /* an array of struct sock_filter */
    FL_EXEC_TIMEOUT,     /* ms until everything that the command started is killed */
    FL_EXEC_OUTPUT,      /* the most bytes of output to give back */
    FL_EXEC_PROFILE,     /* text: of AppArmor, from the program's start on */
    FL_EXEC_LABEL,       /* text: of SELinux, the same */
};

struct fl_exec_item {
    uint32_t key;
    uint32_t length;
};

enum {
    FL_EXEC_ORDERS_MAX = 8 << 20,
    FL_EXEC_ARGS_MAX = 1024,
    FL_EXEC_ENVS_MAX = 4096,
    FL_EXEC_CGROUPS_MAX = 24,
    FL_EXEC_GROUPS_MAX = 1024,
    FL_EXEC_LIMITS_MAX = 16,
    FL_EXEC_OUTPUT_MAX = 64 * 1024,
};

/* Where a container's confinement lies in its directory. The number is the format's: a newer agent
 * does not read what an older one wrote otherwise. */
#define FL_EXEC_CONFINEMENT "confinement.1"

/* Descriptors of fairlead-exec at its start: the command, where the answer goes, the container's
 * first process, its confinement. */
enum {
    FL_EXEC_ORDERS_FD = 0,
    FL_EXEC_ANSWER_FD = 1,
    FL_EXEC_PIDFD = 3,
    FL_EXEC_CONFINEMENT_FD = 4,
};

/* The answer: this, then the output until the end of the file. */
struct fl_exec_answer {
    int32_t status;    /* the command's exit code, 128+n for signal n; -1: it could not be begun */
    int32_t timed_out; /* 1: it was killed for the time it took */
};
