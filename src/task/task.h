/* A task on this host and its containers, as the brain knows them: read by everybody in the agent,
 * changed by the brain alone.
 *
 * States only move forward along the tables in task.c, but for two steps back: CREATED → NONE (or,
 * of a restart, PULLED) is a launch order of which the runtime has never heard; RUNNING → PULLED is
 * a restart. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

#include "base/str.h"
#include "base/util.h"
#include "wire/task_spec.h"

/* A map that finds no memory stops the process, like everything else. */
#undef uthash_malloc
#undef uthash_fatal
#define uthash_malloc(size) fl_malloc(size)
#define uthash_fatal(text) fl_assert_failed(text, __FILE__, __LINE__)

enum fl_container_state {
    FL_CONTAINER_NONE,    /* its image is being ensured */
    FL_CONTAINER_PULLED,  /* log stream and network are being prepared */
    FL_CONTAINER_CREATED, /* the launch is ordered */
    FL_CONTAINER_RUNNING,
    FL_CONTAINER_STOPPED,
};

/* In the words of the API; UNKNOWN also without a check. */
enum fl_health { FL_HEALTH_UNKNOWN, FL_HEALTH_HEALTHY, FL_HEALTH_UNHEALTHY };

enum fl_task_status { FL_TASK_PENDING, FL_TASK_RUNNING, FL_TASK_STOPPED };

enum { FL_CONTAINER_ID_SIZE = 65 };

struct fl_task_binding {
    uint16_t container_port;
    uint16_t host_port;
    bool udp;
    uint16_t more; /* of a range: how many ports follow, on both sides; 0: it is a single one */
    bool ipv6;     /* published on :: as well as on 0.0.0.0 */
};

struct fl_task_container {
    UT_hash_handle hh; /* in the brain, by id */
    struct fl_task *task;
    const struct fl_container_spec *spec;
    char id[FL_CONTAINER_ID_SIZE]; /* 64 hex digits */
    enum fl_container_state state;
    bool launched;       /* a launch has been ordered: the runtime may hold something of it */
    bool stop_wanted;    /* it is to end; the stop signal is sent once it runs */
    int stop_signal;     /* number, the image's or SIGTERM */
    int64_t kill_due_ms; /* monotonic: when SIGKILL is due; 0: no stop under way */
    bool has_exit_code;
    int exit_code;
    struct fl_str reason; /* why it stopped, as the API shows it */
    struct fl_str image_digest;
    struct fl_str log_stream;
    uint8_t address[4]; /* 0.0.0.0: none of its own */
    struct fl_task_binding *bindings;
    size_t binding_count;
    int64_t started_ms; /* wall clock; 0: not yet */
    int64_t finished_ms;
    int64_t start_due_ms;   /* monotonic: when others stop waiting for it; 0: never */
    int restarts;           /* how often the policy has started it again: the number of its run */
    int64_t run_started_ms; /* wall clock: when the present run began */
    enum fl_health health;
    int64_t health_since_ms; /* wall clock; 0: no check has said anything yet */
    int64_t health_streak;   /* failures in a row that count */
    /* Not recorded. */
    int64_t check_due_ms; /* monotonic: the next health check; 0: none */
    int health_exit_code; /* the last check's */
    char *health_output;  /* NULL: none */
    bool asked;           /* for its image */
    bool image_ready;     /* since this agent began */
    bool cleared;         /* what it depends on is as it asks for */
};

struct fl_task {
    UT_hash_handle hh; /* in the brain, by arn */
    struct fl_arena *arena;
    struct fl_str arn;
    struct fl_str cluster_arn;
    const struct fl_task_spec *spec; /* NULL: the control plane sent what we could not read */
    struct fl_str spec_text;       /* the protocol's Task object that says the same: for records */
    struct fl_spec_holder *holder; /* of both: copies of the task share them */
    bool desired_running;
    enum fl_task_status status;
    struct fl_str reason; /* first cause of the task's own end; mostly empty */
    struct fl_task_container *containers;
    size_t container_count;
    int64_t pull_started_ms; /* wall clock; 0: not yet */
    int64_t pull_stopped_ms;
    int64_t execution_stopped_ms;
    int64_t change_seq;     /* counts what the control plane has to learn */
    int64_t acked_seq;      /* how much of it has been acknowledged */
    int64_t cleanup_due_ms; /* monotonic: when what is left is removed; 0: not yet */
    int64_t sent_seq;       /* of the report under way; 0: none. Not recorded */
    int64_t due_ms;         /* monotonic: the first of all due times. In the brain, like the next */
    size_t due_index;
    bool dirty; /* not recorded */
    struct fl_task *next_dirty;
};

/* The part of an ARN behind the last '/': the task's id. */
struct fl_str fl_task_id(struct fl_str arn);
const char *fl_container_state_name(enum fl_container_state state);
bool fl_container_state_read(struct fl_str name, enum fl_container_state *ret_state);
const char *fl_health_name(enum fl_health health);
bool fl_health_read(struct fl_str name, enum fl_health *ret_health);
const char *fl_task_status_name(enum fl_task_status status);
bool fl_task_status_read(struct fl_str name, enum fl_task_status *ret_status);

/* Moves along the table of allowed transitions; anything else is our own mistake and stops the
 * process. */
void fl_container_move(struct fl_task_container *container, enum fl_container_state to);
void fl_task_move(struct fl_task *task, enum fl_task_status to);

/* A task without containers, owning an arena. */
struct fl_task *fl_task_new(struct fl_str arn, struct fl_str cluster_arn);
/* Gives it a specification, which is copied; one container (NONE, no id) is made for each in it.
 * -EINVAL: as a text it would be longer than max bytes. */
int fl_task_set_spec(struct fl_task *task, const struct fl_task_spec *spec, size_t max,
                     struct fl_err *err);
/* What a record of the task would give back. */
struct fl_task *fl_task_copy(const struct fl_task *task);
void fl_task_free(struct fl_task *task);
struct fl_task_container *fl_task_container_named(const struct fl_task *task, struct fl_str name);
/* True when every container is STOPPED (also without any). */
bool fl_task_all_stopped(const struct fl_task *task);
