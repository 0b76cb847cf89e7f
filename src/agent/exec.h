/* Commands in running containers, by fairlead-exec: each has exactly the confinement of its
 * container, because it is read from the configuration that the runtime was given.
 *
 * At most FL_EXEC_PARALLEL run at a time; further ones wait in order. */
#pragma once

#include "agent/runtime.h"

enum { FL_EXEC_PARALLEL = 16 };

struct fl_exec;   /* one command */
struct fl_execer; /* all of an agent's */

struct fl_exec_order {
    struct fl_str container_id;
    const struct fl_str *args; /* the first is the program */
    size_t arg_count;
    int64_t timeout_ms;
    size_t output_max; /* bytes; what is more is thrown away */
};

struct fl_exec_result {
    int status; /* exit code, 128+n for signal n; -1: it could not be begun */
    bool timed_out;
    struct fl_str output; /* standard output and error as they came; of -1, why */
};

typedef void (*fl_exec_done)(void *context, const struct fl_exec_result *result);

/* libexec_dir is where fairlead-exec lies. */
struct fl_execer *fl_execer_open(uv_loop_t *loop, struct fl_runtime *runtime,
                                 struct fl_str libexec_dir);
/* Forgets all without calling back; running commands are killed by their helpers. */
void fl_execer_close(struct fl_execer *execer);
/* done is called once, never from within. The order is copied. */
void fl_exec_start(struct fl_execer *execer, const struct fl_exec_order *order, fl_exec_done done,
                   void *context);

/* Appends what fairlead-exec is to be told (base/exec_orders.h) of a container's confinement, read
 * from its config.json, which is changed meanwhile; -errno with a sentence for what it cannot give
 * a command. */
int fl_exec_confine(struct fl_buf *config, struct fl_buf *orders, struct fl_err *err);
/* One item; text gets its NUL. */
void fl_exec_add(struct fl_buf *orders, uint32_t key, const void *bytes, size_t n);
void fl_exec_add_text(struct fl_buf *orders, uint32_t key, struct fl_str text);
void fl_exec_add_number(struct fl_buf *orders, uint32_t key, int64_t number);
