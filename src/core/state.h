/* The state: what the records say, with the indexes that make questions cheap. Private to core.
 *
 * fl_state_apply is the only mutation. Objects own a clone of their record; everything else in them
 * is derived from records (or, for `connected`, from sessions) and never written elsewhere. */
#pragma once

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "core/core.h"
#include "core/load.h"
#include "shapes/ecs_shapes.h"
#include "shapes/rec_shapes.h"

struct fl_task {
    RB_ENTRY(fl_task) by_id;
    uint64_t id_start; /* fl_id_start of its id: a search looks at few ids themselves */
    union {
        RB_ENTRY(fl_task) on_instance; /* while it holds resources there */
        RB_ENTRY(fl_task) by_stop;     /* once stopped: in order of stopping */
    };
    struct rec_Task *rec;
    struct fl_cluster *cluster;
    struct fl_instance *instance; /* NULL: not placed */
    struct fl_definition *definition;
    struct fl_group *group; /* while it holds */
    bool holds;             /* counted in its instance's and cluster's sums */
    bool is_stopped;
    bool is_member; /* of a deployment: a service made it */
    /* The rest only in a task that was made with a client token, or by a service, which has none;
     * in others there is not even the memory. */
    union {
        RB_ENTRY(fl_task) by_token;
        struct {
            RB_ENTRY(fl_task) on_deployment;  /* while it holds */
            struct fl_deployment *deployment; /* NULL: the task is STOPPED, or given up */
        };
    };
};

/* In order of creation: the order must follow from the records, not from what happened when. */
RB_HEAD(fl_held_tree, fl_task);

struct fl_attribute_set;

/* What placement looks at comes first: two cache lines (fl_alloc_lines). */
struct fl_instance {
    int32_t cpu; /* of its record: what there is in all */
    int32_t memory;
    int64_t cpu_used;
    int64_t memory_used;
    /* index.h */
    TAILQ_ENTRY(fl_instance) by_change;
    uint64_t changed; /* the index's clock at the last change of any kind */
    uint64_t altered; /* at the last one of its record or session */
    uint32_t seat;
    bool is_open; /* may be given tasks: connected, ACTIVE and not impaired */
    bool connected;
    uint8_t gpus_free; /* gpu.h */
    /* load.h */
    uint32_t group_count, group_cap, port_count;
    struct fl_group_count *groups; /* own_groups while these are enough */
    int32_t *ports;
    struct fl_group_count own_groups[FL_OWN_GROUPS];

    RB_ENTRY(fl_instance) by_id;
    struct rec_Instance *rec;
    struct fl_attribute_set *attributes; /* of the record */
    struct fl_str id; /* as in the record, but never moving: tasks' records point to it */
    struct fl_cluster *cluster;
    struct fl_held_tree tasks; /* the ones that hold resources */
    size_t running_count;
    size_t pending_count;
    size_t task_count; /* tasks whose records name it, stopped ones too */
    uint64_t session;
    int64_t away_ms;   /* when its session ended; 0: there was none in this life */
    int64_t health_ms; /* when the agent last told of its health; 0: not in this life */
    RB_ENTRY(fl_instance) by_retirement; /* while is_retired */
    RB_ENTRY(fl_instance) by_machine;    /* while has_machine */
    TAILQ_ENTRY(fl_instance) by_doubt;   /* while is_doubted: former.h */
    int64_t doubted_until_ms;
    bool is_doubted;
    bool is_retired;     /* INACTIVE, and no task's record names it */
    bool has_machine;    /* not INACTIVE, and said on which machine it is */
    uint64_t gpus_taken; /* gpu.h: one bit for each id of the record */
};

RB_HEAD(fl_task_tree, fl_task);
RB_HEAD(fl_instance_tree, fl_instance);
RB_HEAD(fl_attribute_tree, fl_attribute_set);
RB_HEAD(fl_service_tree, fl_service);
TAILQ_HEAD(fl_service_list, fl_service);

struct fl_cluster {
    RB_ENTRY(fl_cluster) by_name;
    struct rec_Cluster *rec;
    struct fl_str name; /* as an instance's id */
    struct fl_task_tree tasks;
    struct fl_instance_tree instances;
    struct fl_group_tree groups;
    struct fl_group_tree parts;
    struct fl_group_tree digests;
    struct fl_attribute_tree attributes; /* instance_record.h */
    struct fl_service_tree services;     /* service.h */
    struct fl_service_list waiting;      /* for room */
    size_t waiting_count;
    struct fl_service_list daemons;
    struct fl_zones *zones; /* rebalance.h; NULL: not asked for yet */
    size_t active_services;
    struct fl_index *index;
    size_t running_count;
    size_t pending_count;
    size_t active_instances;
};

struct fl_definition {
    RB_ENTRY(fl_definition) by_name; /* family, then revision */
    RB_ENTRY(fl_definition) by_deletion;
    struct rec_TaskDefinition *rec;
    struct fl_str family; /* as an instance's id */
    int32_t revision;
    size_t users;   /* tasks whose records name it, stopped ones too */
    bool is_doomed; /* DELETE_IN_PROGRESS and without users: in the core's tree of those */
};

struct fl_family {
    RB_ENTRY(fl_family) by_name;
    struct rec_Family *rec;
};

struct fl_setting {
    RB_ENTRY(fl_setting) by_key; /* name, then principal */
    struct rec_Setting *rec;
};

RB_HEAD(fl_cluster_tree, fl_cluster);
RB_HEAD(fl_definition_tree, fl_definition);
RB_HEAD(fl_doomed_tree, fl_definition);
RB_HEAD(fl_family_tree, fl_family);
RB_HEAD(fl_setting_tree, fl_setting);
RB_HEAD(fl_stopped_tree, fl_task);
RB_HEAD(fl_retired_tree, fl_instance);
RB_HEAD(fl_machine_tree, fl_instance);
RB_HEAD(fl_token_tree, fl_task);
RB_HEAD(fl_due_tree, fl_service);

struct fl_core {
    struct fl_str region;
    struct fl_str account;
    struct fl_str endpoint;
    struct fl_str telemetry;
    bool strict;
    int64_t settle_ms; /* fl_core_config */
    int64_t lost_after_ms;
    bool is_held;           /* the scheduler rests: somebody is about to stop everything */
    int64_t since_ms;       /* when the first event came: before, nobody was away */
    int64_t last_ms;        /* when the last one came */
    struct fl_due_tree due; /* services, in the order in which the scheduler looks at them */
    struct fl_cluster_tree clusters;
    struct fl_definition_tree definitions;
    struct fl_doomed_tree doomed; /* in the order in which they are to go */
    struct fl_family_tree families;
    struct fl_setting_tree settings;
    size_t setting_count;
    struct fl_stopped_tree stopped;
    struct fl_token_tree tokens;
    struct fl_retired_tree retired;  /* in order of deregistration */
    struct fl_machine_tree machines; /* of all clusters, by ec2InstanceId */
    TAILQ_HEAD(, fl_instance) doubted;
    struct fl_core_counts counts;
};

int fl_cluster_order(const struct fl_cluster *a, const struct fl_cluster *b);
int fl_definition_order(const struct fl_definition *a, const struct fl_definition *b);
int fl_doomed_order(const struct fl_definition *a, const struct fl_definition *b);
int fl_family_order(const struct fl_family *a, const struct fl_family *b);
int fl_setting_order(const struct fl_setting *a, const struct fl_setting *b);
int fl_task_order(const struct fl_task *a, const struct fl_task *b);
/* The first eight bytes as a number that is ordered as they are. */
uint64_t fl_id_start(struct fl_str id);
int fl_held_order(const struct fl_task *a, const struct fl_task *b);
int fl_stop_order(const struct fl_task *a, const struct fl_task *b);
int fl_token_order(const struct fl_task *a, const struct fl_task *b);
int fl_instance_order(const struct fl_instance *a, const struct fl_instance *b);
int fl_retired_order(const struct fl_instance *a, const struct fl_instance *b);
int fl_machine_order(const struct fl_instance *a, const struct fl_instance *b);
RB_PROTOTYPE(fl_cluster_tree, fl_cluster, by_name, fl_cluster_order)
RB_PROTOTYPE(fl_definition_tree, fl_definition, by_name, fl_definition_order)
RB_PROTOTYPE(fl_doomed_tree, fl_definition, by_deletion, fl_doomed_order)
RB_PROTOTYPE(fl_family_tree, fl_family, by_name, fl_family_order)
RB_PROTOTYPE(fl_setting_tree, fl_setting, by_key, fl_setting_order)
RB_PROTOTYPE(fl_task_tree, fl_task, by_id, fl_task_order)
RB_PROTOTYPE(fl_held_tree, fl_task, on_instance, fl_held_order)
RB_PROTOTYPE(fl_stopped_tree, fl_task, by_stop, fl_stop_order)
RB_PROTOTYPE(fl_token_tree, fl_task, by_token, fl_token_order)
RB_PROTOTYPE(fl_instance_tree, fl_instance, by_id, fl_instance_order)
RB_PROTOTYPE(fl_retired_tree, fl_instance, by_retirement, fl_retired_order)
RB_PROTOTYPE(fl_machine_tree, fl_instance, by_machine, fl_machine_order)

/* Kinds of records. */
enum fl_record_kind {
    FL_RECORD_CLUSTER,
    FL_RECORD_INSTANCE,
    FL_RECORD_DEFINITION,
    FL_RECORD_FAMILY,
    FL_RECORD_SETTING,
    FL_RECORD_SERVICE,
    FL_RECORD_EVENT,
    FL_RECORD_ROLLOUT,
    FL_RECORD_REVISION,
    FL_RECORD_TASK,
    FL_RECORD_KINDS
};

/* The versions that we write. A task of version 1 lies under another key, until it is deleted. */
enum { FL_RECORD_VERSION = 1, FL_RECORD_TASK_VERSION = 2 };

const struct fl_shape *fl_record_shape(enum fl_record_kind kind);
struct fl_str fl_record_key(struct fl_arena *arena, enum fl_record_kind kind, const void *rec);

/* The only mutation: puts a record (cloned), replacing the one of the same key. */
void fl_state_apply(struct fl_core *core, enum fl_record_kind kind, const void *rec);
/* Something names the definition that did not (1), or does no more (-1). NULL: nothing. */
void fl_state_count_user(struct fl_core *core, struct fl_definition *definition, int sign);
/* Takes a stopped task's record out. */
void fl_state_forget_task(struct fl_core *core, struct fl_task *task);
/* Takes a doomed definition's record out. */
void fl_state_forget_definition(struct fl_core *core, struct fl_definition *definition);
void fl_state_forget_setting(struct fl_core *core, struct fl_setting *setting);
/* Takes a retired instance's record out. */
void fl_state_forget_instance(struct fl_core *core, struct fl_instance *instance);
/* The instance is not taken for a former one, or not any more. */
void fl_state_trust(struct fl_core *core, struct fl_instance *instance);
/* Sessions are no records: a restarted server has none. */
void fl_state_connect(struct fl_core *core, struct fl_instance *instance, bool connected,
                      uint64_t session, int64_t now_ms);
/* Its agent has said that no container can be started there (its runtime is gone, its disk full):
 * no task is placed on it until it says otherwise. *ret_reason is the agent's sentence. */
bool fl_state_is_impaired(const struct fl_instance *instance, struct fl_str *ret_reason);
void fl_state_free(struct fl_core *core);

/* Look-ups by name or id; NULL when there is none. */
struct fl_cluster *fl_state_cluster(const struct fl_core *core, struct fl_str name);
struct fl_task *fl_state_task(const struct fl_cluster *cluster, struct fl_str id);
/* The first task made with a client token in a cluster; the others follow in the tree. */
struct fl_task *fl_state_token(const struct fl_core *core, struct fl_str cluster,
                               struct fl_str token);
struct fl_instance *fl_state_instance(const struct fl_cluster *cluster, struct fl_str id);
/* The first registration of a machine, by its ec2InstanceId; others follow in the tree. */
struct fl_instance *fl_state_machine(const struct fl_core *core, struct fl_str machine);
struct fl_definition *fl_state_definition(const struct fl_core *core, struct fl_str family,
                                          int32_t revision);
/* The highest revision of a family, any status; NULL when the family is unknown. */
struct fl_definition *fl_state_latest(const struct fl_core *core, struct fl_str family);
/* The highest revision that the family ever had, deleted ones too; 0 for none. */
int32_t fl_state_last_revision(const struct fl_core *core, struct fl_str family);
/* NULL when the principal has none of its own. */
struct fl_setting *fl_state_setting(const struct fl_core *core, enum ecs_SettingName name,
                                    struct fl_str principal);
/* The highest ACTIVE one. */
struct fl_definition *fl_state_latest_active(const struct fl_core *core, struct fl_str family);
