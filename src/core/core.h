/* The control plane as a deterministic state machine.
 *
 *   event {now, seed, what} → decide (reads state) → records | API error → apply → effects
 *
 * No I/O, clock, randomness, threads or globals: time and 32 random bytes come in the event, what
 * must become durable and what must be said goes out in the turn. Records are the truth: a core
 * that loaded all of them equals the one that made them. Effects may be lost or repeated; each
 * follows from the records. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct fl_core;
struct fl_acs_task; /* wire/acs.h */

struct fl_core_config {
    struct fl_str region;
    struct fl_str account;
    struct fl_str endpoint;  /* URLs that agents are told by DiscoverPollEndpoint: for their */
    struct fl_str telemetry; /* sessions, and for what they measure (empty: nowhere) */
    bool strict;
    /* A task that nothing checks counts as healthy when it has been RUNNING for so long; ECS: 40 s.
     */
    int64_t settle_ms;
    /* A service's tasks on an instance whose agent has been away for so long are replaced; 0:
     * never, as in ECS. */
    int64_t lost_after_ms;
};

enum { FL_CORE_STRICT_SETTLE_MS = 40 * 1000 };

/* Stopped tasks stay describable this long (ECS: at least an hour). */
enum { FL_CORE_STOPPED_TASK_MS = 60 * 60 * 1000 };
/* A task definition that nothing uses stays DELETE_IN_PROGRESS for so long, to be seen as that. */
enum { FL_CORE_DELETED_DEFINITION_MS = 60 * 1000 };

/* Deregistered instances too, and until no stopped task names them. */
enum { FL_CORE_INACTIVE_INSTANCE_MS = 60 * 60 * 1000 };

/* The config's strings are copied. */
struct fl_core *fl_core_new(const struct fl_core_config *config);
void fl_core_free(struct fl_core *core);

/* Applies one stored record. -EINVAL and err for a record of an unknown kind or version: the
 * server then refuses to start. */
int fl_core_load(struct fl_core *core, struct fl_str key, struct fl_str value, struct fl_err *err);

enum fl_core_event_kind {
    FL_CORE_EVENT_COMMAND,            /* an ECS API call */
    FL_CORE_EVENT_AGENT_CONNECTED,    /* an agent opened its ACS session */
    FL_CORE_EVENT_AGENT_DISCONNECTED, /* its session ended */
    FL_CORE_EVENT_TIMER,              /* the time asked for by fl_core_next_due has come */
    FL_CORE_EVENT_STOP_VERIFICATION,  /* an agent asks which of its tasks it is to stop */
    FL_CORE_EVENT_HEALTH,             /* telemetry: health of a task's containers */
    FL_CORE_EVENT_INSTANCE_HEALTH,    /* telemetry: health of an instance */
    FL_CORE_EVENT_EXPLAIN,            /* why does a task (or one of a definition) find no place? */
    FL_CORE_EVENT_HOLD,               /* services start and stop no tasks, or do again */
};

/* One thing's health, as an agent tells it. */
struct fl_core_health {
    struct fl_str name;   /* HEALTH: the container */
    int type;             /* INSTANCE_HEALTH: enum ecs_InstanceHealthCheckType */
    int status;           /* enum ecs_HealthStatus, enum ecs_InstanceHealthCheckState */
    struct fl_str reason; /* INSTANCE_HEALTH */
    int64_t since_ms;     /* the same: wall clock, 0: not said */
};

struct fl_core_event {
    enum fl_core_event_kind kind;
    int64_t now_ms;
    uint8_t seed[32];
    /* FL_CORE_EVENT_COMMAND */
    uint64_t request_id;
    int operation;            /* enum ecs_operation */
    const void *input;        /* the operation's decoded and validated input */
    size_t input_size;        /* bytes of the request's body, for limits on size */
    struct fl_str reached_at; /* URL under which the caller reaches us; empty: the configured one */
    /* FL_CORE_EVENT_EXPLAIN: besides request_id and cluster one of these, names or ARNs */
    struct fl_str task;
    struct fl_str definition;
    struct fl_str service;
    const void
        *call;    /* or the decoded input of a RunTask, whose cluster counts when there is none */
    bool is_held; /* FL_CORE_EVENT_HOLD, besides request_id; forgotten with a restart */
    /* FL_CORE_EVENT_AGENT_… */
    struct fl_str cluster;  /* name */
    struct fl_str instance; /* id */
    uint64_t session;       /* tells a newer session of the same instance from an older */
    struct fl_str agent_version;
    struct fl_str agent_hash;
    struct fl_str docker_version;
    /* FL_CORE_EVENT_STOP_VERIFICATION: cluster, instance and session as above */
    struct fl_str message_id; /* of the manifest */
    const struct fl_acs_task *tasks;
    size_t task_count;
    /* …_HEALTH: cluster and instance as above; HEALTH: task is its id */
    const struct fl_core_health *health;
    size_t health_count;
};

/* One durable change: an empty value deletes the key. */
struct fl_record {
    struct fl_str key;
    struct fl_str value;
    void *object; /* in place of the value, where the turn has a taker */
};

enum fl_core_effect_kind {
    FL_CORE_EFFECT_REPLY,           /* answer request_id with status and body (JSON) */
    FL_CORE_EFFECT_AGENT_TASK,      /* send task (a protocol Task object) to the instance's agent */
    FL_CORE_EFFECT_AGENT_MANIFEST,  /* send tasks, all of the instance, as a manifest */
    FL_CORE_EFFECT_AGENT_STOP_LIST, /* send tasks as the ones to stop, in answer to message_id */
    FL_CORE_EFFECT_AGENT_CLOSE, /* the instance is INACTIVE: tell its agent and end the session */
};

/* A role's ARN is never longer (IAM: 512 of path, 64 of name). */
enum { FL_ROLE_MAX = 1024 };

/* The roles of a task that is not STOPPED, and how messages name it. */
struct fl_core_roles {
    struct fl_str task; /* its id */
    struct fl_str task_arn;
    struct fl_str cluster_arn;
    struct fl_str task_role; /* ARNs; empty: none */
    struct fl_str execution_role;
};

struct fl_core_effect {
    enum fl_core_effect_kind kind;
    uint64_t request_id;
    unsigned status;
    struct fl_str body;
    struct fl_str cluster;
    struct fl_str instance;
    struct fl_str task;
    const struct fl_core_roles *roles; /* of a task that is to run; NULL: it has none */
    void *object;                      /* in place of body or task, where the turn has a taker */
    const struct fl_acs_task *tasks;
    size_t task_count;
    struct fl_str message_id;
};

struct fl_task_spec;

/* Takes what leaves the core as structures, before they become texts: who plays store, agents and
 * clients himself has no need of the codecs. What a function is given lives until it returns; what
 * it returns stands in the record or effect. Refusals and explanations are texts always. */
struct fl_core_taker {
    void *(*record)(void *context, int kind, const void *record); /* enum fl_record_kind */
    void *(*answer)(void *context, int operation, const void *output);
    void *(*task)(void *context, const struct fl_task_spec *spec);
    void *context;
};

/* What events have brought about: records to commit in one transaction, then effects to let out, in
 * order. Several events may share a turn. */
struct fl_turn {
    struct fl_arena *arena;
    struct fl_record *records;
    size_t record_count, record_cap;
    struct fl_core_effect *effects;
    size_t effect_count, effect_cap;
    const struct fl_core_taker *taker; /* NULL: everything is text */
    struct fl_buf scratch;             /* where texts grow before they move to the arena */
};

void fl_turn_init(struct fl_turn *turn);
void fl_turn_free(struct fl_turn *turn);
/* Empties it for other events; its memory is used again. */
void fl_turn_clear(struct fl_turn *turn);

/* Decides and applies one event; records and effects are appended to the turn. */
void fl_core_step(struct fl_core *core, const struct fl_core_event *event, struct fl_turn *turn);

/* When FL_CORE_EVENT_TIMER is due next (wall clock), or INT64_MAX. */
int64_t fl_core_next_due(const struct fl_core *core);

/* May an agent open a session for this instance? False for one that is unknown or INACTIVE. */
bool fl_core_instance_active(const struct fl_core *core, struct fl_str cluster,
                             struct fl_str instance);

/* Is it known at all, INACTIVE ones too? */
bool fl_core_instance_known(const struct fl_core *core, struct fl_str cluster,
                            struct fl_str instance);
/* Id of the instance that a task, stopped or not, was placed on; empty: none, or no such task.
 * Valid until the next event. */
struct fl_str fl_core_task_instance(const struct fl_core *core, struct fl_str cluster,
                                    struct fl_str task);

/* What a host has, and what of it is reserved: CPU units, MiB. */
struct fl_core_size {
    int64_t cpu, memory;
    int64_t cpu_reserved, memory_reserved;
    bool connected; /* the agent's session */
};
/* False: unknown. */
bool fl_core_instance_size(const struct fl_core *core, struct fl_str cluster,
                           struct fl_str instance, struct fl_core_size *ret_size);
/* Of a task's host, with what the task alone has reserved. False when no task of that id, not
 * STOPPED, is on that instance. */
bool fl_core_task_size(const struct fl_core *core, struct fl_str cluster, struct fl_str task,
                       struct fl_str instance, struct fl_core_size *ret_size);
/* Gives take() every task on the instance that has a role and is not STOPPED; texts are in the
 * arena. */
void fl_core_each_roles(const struct fl_core *core, struct fl_str cluster, struct fl_str instance,
                        struct fl_arena *arena,
                        void (*take)(void *context, const struct fl_core_roles *roles),
                        void *context);
/* Is the task, by its id, there and not STOPPED? */
bool fl_core_task_lives(const struct fl_core *core, struct fl_str cluster, struct fl_str task);
/* Clusters that are not INACTIVE, by name; and the same for walking them, as below. */
bool fl_core_has_cluster(const struct fl_core *core, struct fl_str name);
bool fl_core_cluster_next(const struct fl_core *core, struct fl_str *name);
/* Instances of a cluster that are not INACTIVE, in the order of ids: the first one with an empty
 * id. The id is valid until the next event. */
bool fl_core_instance_next(const struct fl_core *core, struct fl_str cluster, struct fl_str *id);
/* Calls each for every image that tasks' records and services' revisions name by digest
 * ("sha256:…") and that definitions name, by whatever name, until they are deleted. Some come more
 * than once. */
void fl_core_each_image(const struct fl_core *core,
                        void (*each)(void *context, struct fl_str image), void *context);
/* Sums for `status` and for the bounds of the log. */
struct fl_core_counts {
    size_t clusters, instances, definitions, services, tasks;
};
struct fl_core_counts fl_core_count(const struct fl_core *core);
