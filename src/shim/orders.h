/* What the agent orders: the lines of the file `orders` in the container's directory.
 *
 * One "<word> <value>" per line; the values are paths and arguments that the agent made and that
 * hold no newline. Everything points into the file's text, which lives as long as the process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/spool.h"

enum {
    ORDERS_MAX_BYTES = 128 * 1024,
    ORDERS_MAX_LAYERS = 128,
    ORDERS_MAX_CGROUPS = 24,
    ORDERS_MAX_ARGS = 24,
};

/* Mostly empty: memory is taken with the first line. */
struct orders_list {
    char **items;
    size_t count;
};

struct orders {
    const char *layers[ORDERS_MAX_LAYERS]; /* topmost first */
    size_t layer_count;
    const char *cgroups[ORDERS_MAX_CGROUPS]; /* directories that the container's end removes */
    size_t cgroup_count;
    char *run[ORDERS_MAX_ARGS + 1];    /* the runtime's command line, NULL-terminated */
    char *delete[ORDERS_MAX_ARGS + 1]; /* the one that removes what it left */
    size_t run_count;
    size_t delete_count;
    const char *oom_file;       /* holds the "oom_kill <n>" line; NULL: none */
    const char *state_dir;      /* the runtime's directory of this container */
    const char *boot_id;        /* of the boot the orders were given in */
    int64_t run_timeout_ms;     /* how long the runtime may take */
    bool has_runtime_fd;        /* descriptor 4 is the runtime's program */
    bool has_netns;             /* descriptor 3 is the network namespace to enter */
    pid_t holder_pid;           /* enter its mount namespace first; 0: no holder */
    bool joins_ipc;             /* and its IPC namespace */
    bool has_console;           /* the runtime sends a terminal to the socket `console` */
    bool has_stdin;             /* standard input is a pipe that stays open; else /dev/null */
    bool kills_group;           /* the end of the first process is not that of the others */
    struct orders_list places;  /* where the runtime mounts or makes what the definition wants */
    struct orders_list mounts;  /* by twos: "b<source>" or "t<flags> <options>" of a tmpfs;
                                   "r<place>" read-only or "w<place>" */
    struct orders_list fills;   /* by twos: a volume's directory, the image's to fill it from */
    struct orders_list sysctls; /* "net/core/somaxconn 4096" */
    struct spool_orders log;
};

/* Reads `orders` beneath dir_fd. 0, -errno, or -EINVAL for a word unknown or too many of one. */
int orders_read(int dir_fd, struct orders *ret_orders);
