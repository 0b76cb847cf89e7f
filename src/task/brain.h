/* The brain of one host: which containers run, stop and are reported, as a deterministic state
 * machine without I/O.
 *
 * A turn is: step() for each ready event, then flush(). The glue makes the records of the flush
 * durable and only then lets the effects of the steps out. Effects may be lost (a crash) or
 * repeated: each can be derived from the records again, which is what the event BOOT does. All
 * memory of a turn is in its arena. */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "task/task.h"
#include "wire/acs.h"

struct fl_brain;

/* Bounds: tasks kept at once (a payload that would exceed it is not acknowledged), the encoded
 * specification of one. */
enum { FL_BRAIN_MAX_TASKS = 4096, FL_BRAIN_MAX_SPEC = 256 * 1024 };

struct fl_brain_config {
    int64_t stop_timeout_ms;   /* stop signal to SIGKILL where the definition says nothing */
    int64_t cleanup_delay_ms;  /* acknowledged STOPPED to removal */
    int64_t cleanup_jitter_ms; /* and at most so much more, by the task's id */
    bool pull_upfront;         /* images are made ready while dependencies are waited for */
    bool report_ipv6;          /* reports tell bindings to ::, too */
};

enum fl_brain_event_type {
    FL_EVENT_BOOT, /* first event after the records were loaded */
    FL_EVENT_PAYLOAD,
    FL_EVENT_MANIFEST,
    FL_EVENT_STOP_LIST, /* the answer to our stop verification */
    FL_EVENT_IMAGE_READY,
    FL_EVENT_PREPARED, /* log stream there, network attached */
    FL_EVENT_FAILED,   /* image, preparation or launch */
    FL_EVENT_STARTED,
    FL_EVENT_EXITED,
    FL_EVENT_GONE,   /* adoption found nothing of the container */
    FL_EVENT_HEALTH, /* a health check has ended */
    FL_EVENT_TIMER,  /* fl_brain_next_due has come */
    FL_EVENT_REPORT_ACKED,
    FL_EVENT_REMOVED, /* what a task left behind has been removed */
};

enum fl_effect_type {
    FL_EFFECT_ENSURE_IMAGE,      /* container: answer IMAGE_READY or FAILED */
    FL_EFFECT_PREPARE,           /* container: answer PREPARED or FAILED */
    FL_EFFECT_LAUNCH,            /* container: answer STARTED or FAILED, later EXITED */
    FL_EFFECT_ADOPT,             /* container: watch it; answers as for LAUNCH, or GONE */
    FL_EFFECT_SIGNAL,            /* container, number */
    FL_EFFECT_CHECK_HEALTH,      /* container: answer HEALTH */
    FL_EFFECT_RELEASE,           /* container: its network; nothing of it runs any more */
    FL_EFFECT_REPORT,            /* task, number: sequence, text: body. Until acknowledged */
    FL_EFFECT_ACK,               /* header: of the payload or manifest */
    FL_EFFECT_STOP_VERIFICATION, /* header: of the manifest, tasks: candidates */
    FL_EFFECT_REMOVE,            /* task: directories, cgroups; answer REMOVED */
};

/* CONFIG: what the host should give could not be found, before the runtime was asked. RESOURCE:
 * what all of the task's containers need (a secret) is not to be had: the task ends, whichever
 * container asked for it. */
enum fl_failure {
    FL_FAILURE_PULL,
    FL_FAILURE_PULL_MANIFEST,
    FL_FAILURE_TIMEOUT,
    FL_FAILURE_CONFIG,
    FL_FAILURE_CREATE,
    FL_FAILURE_START,
    FL_FAILURE_RESOURCE
};
/* ECS's name for it: "CannotPullContainerError"; of a RESOURCE empty, its texts have their own. */
const char *fl_failure_name(enum fl_failure failure);

/* One task of a payload: spec (the protocol's Task object), or the error that decoding it gave. */
struct fl_brain_order {
    struct fl_str arn;
    struct fl_str cluster_arn;
    const struct fl_task_spec *spec;
    struct fl_str error;
};

struct fl_brain_event {
    enum fl_brain_event_type type;
    int64_t now_ms; /* monotonic since the host's boot */
    int64_t wall_ms;
    uint8_t random[32]; /* PAYLOAD: seed of container ids */
    union {
        struct {
            struct fl_str boot_id;
        } boot;
        struct {
            struct fl_acs_header header;
            const struct fl_brain_order *orders;
            size_t order_count;
        } payload;
        struct {
            struct fl_acs_header header;
            const struct fl_acs_task *tasks;
            size_t task_count;
        } list; /* MANIFEST, STOP_LIST */
        struct {
            struct fl_str container_id;
            struct fl_str digest;
            int stop_signal;
            int64_t pull_started_ms; /* wall clock */
            int64_t pull_stopped_ms;
        } image;
        struct {
            struct fl_str container_id;
            struct fl_str log_stream;
            uint8_t address[4];
            const struct fl_task_binding *bindings;
            size_t binding_count;
        } prepared;
        struct {
            struct fl_str container_id;
            enum fl_effect_type effect; /* ENSURE_IMAGE, PREPARE, LAUNCH: which one failed */
            enum fl_failure failure;
            struct fl_str text; /* what stands behind "CannotPullContainerError: " */
        } failed;
        struct {
            struct fl_str container_id;
            int64_t at_ms; /* wall clock */
            int exit_code; /* EXITED only */
            bool oom_killed;
            int run; /* which start of the container this is about, from 0 */
        } process;   /* STARTED, EXITED, GONE (id only) */
        struct {
            struct fl_str container_id;
            int run;
            int exit_code; /* 0: it is well */
            struct fl_str output;
        } health;
        struct {
            struct fl_str task_arn;
            int64_t seq;
        } report;
        struct {
            struct fl_str task_arn;
        } removed;
    };
};

struct fl_effect {
    struct fl_effect *next;
    enum fl_effect_type type;
    struct fl_str task_arn;
    struct fl_str container_id;
    int64_t number;
    struct fl_str text;
    void *object; /* REPORT: in place of the text, where the turn has a taker */
    struct fl_acs_header header;
    struct fl_acs_task *tasks;
    size_t task_count;
};

struct fl_brain_record {
    struct fl_str key;
    struct fl_str value; /* empty: delete */
    void *object;        /* of a task: in place of the value, where the turn has a taker */
};

struct ecs_SubmitTaskStateChangeRequest;

/* Takes reports and tasks' records as structures, for who plays control plane and store himself.
 * What is given lives until the function returns; what it returns stands in the effect or record.
 */
struct fl_brain_taker {
    void *(*report)(void *context, const struct ecs_SubmitTaskStateChangeRequest *report);
    void *(*record)(void *context, const struct fl_task *task);
    void *context;
};

/* Collects a turn. Zeroed but for the arena at the turn's start. */
struct fl_brain_turn {
    struct fl_arena *arena;
    struct fl_effect *first; /* in order */
    struct fl_effect *last;
    struct fl_brain_record *records;
    size_t record_count;
    size_t record_cap;
    const struct fl_brain_taker *taker; /* NULL: everything is text */
};

struct fl_brain *fl_brain_new(const struct fl_brain_config *config);
void fl_brain_free(struct fl_brain *brain);
/* One record of the store, before the first event. */
int fl_brain_load(struct fl_brain *brain, struct fl_str key, struct fl_str value,
                  struct fl_err *err);
/* The same for a task that was kept as a structure, which is copied. */
void fl_brain_load_task(struct fl_brain *brain, const struct fl_task *task);
/* True when the event was obeyed; false when it came from a control plane older than one already
 * seen, or when there is no room: then nothing changed and nothing is acknowledged. */
bool fl_brain_step(struct fl_brain *brain, const struct fl_brain_event *event,
                   struct fl_brain_turn *turn);
/* The records of everything changed since the last flush. */
void fl_brain_flush(struct fl_brain *brain, struct fl_brain_turn *turn);
/* When TIMER is to come, monotonic; INT64_MAX: never. */
int64_t fl_brain_next_due(const struct fl_brain *brain);

/* Reading. NULL: unknown. Pointers are valid until the next step. */
const struct fl_task *fl_brain_task(const struct fl_brain *brain, struct fl_str arn);
const struct fl_task_container *fl_brain_container(const struct fl_brain *brain,
                                                   struct fl_str container_id);
/* All tasks, in the order they came: first with NULL. */
const struct fl_task *fl_brain_next_task(const struct fl_brain *brain, const struct fl_task *task);
