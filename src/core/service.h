/* Services as the records say them: deployments with their live tasks, revisions, service
 * deployments, events. Private to core; changed by fl_state_apply alone, but for `due_ms` and
 * `is_waiting`, which only say when the scheduler looks next.
 *
 * Words: a *deployment* is what DescribeServices calls so, the tasks of one revision (or of one
 * task set); a *rollout* is what ECS calls a service deployment, the way from one revision to
 * another. */
#pragma once

#include "core/state.h"

enum {
    FL_MAX_SERVICE_EVENTS = 100,
    FL_MAX_ROLLOUTS = 100, /* kept of a service */
    FL_INACTIVE_SERVICE_MS = 60 * 60 * 1000,
};
#define FL_ROLLOUT_KEPT_MS (90 * 24 * 60 * 60 * (int64_t)1000)

RB_HEAD(fl_member_tree, fl_task);

struct fl_deployment {
    TAILQ_ENTRY(fl_deployment) in_service; /* in the order of the service's record */
    struct fl_service *service;
    int64_t number;
    struct fl_group *part;       /* of the service's group */
    struct fl_member_tree tasks; /* the ones that are not STOPPED, by creation */
    size_t running_count;        /* of these: RUNNING, wanted or not */
    size_t pending_count;        /* not yet RUNNING, wanted or not */
    size_t stopping_count;       /* not wanted any more */
};
TAILQ_HEAD(fl_deployment_list, fl_deployment);

struct fl_revision {
    RB_ENTRY(fl_revision) by_number;
    struct rec_ServiceRevision *rec;
    struct fl_definition *definition;
};

struct fl_rollout {
    RB_ENTRY(fl_rollout) by_age; /* createdAt, id */
    struct rec_ServiceDeployment *rec;
};

struct fl_service_event {
    TAILQ_ENTRY(fl_service_event) in_service; /* by sequence, the oldest first */
    struct rec_ServiceEvent *rec;
};

TAILQ_HEAD(fl_service_event_list, fl_service_event);
RB_HEAD(fl_revision_tree, fl_revision);
RB_HEAD(fl_rollout_tree, fl_rollout);

struct fl_service {
    RB_ENTRY(fl_service) by_name;
    RB_ENTRY(fl_service) by_due;
    TAILQ_ENTRY(fl_service) by_waiting;
    TAILQ_ENTRY(fl_service) by_daemon;
    struct rec_Service *rec;
    struct fl_str name; /* as in the record, but never moving */
    struct fl_cluster *cluster;
    struct fl_deployment_list deployments;
    struct fl_revision_tree revisions;
    struct fl_rollout_tree rollouts;
    size_t rollout_count;
    struct fl_service_event_list events;
    size_t event_count;
    int64_t due_ms; /* when the scheduler is to look: 0 at once, INT64_MAX when something changes */
    int64_t again_ms; /* when it has waited for room: it does not look again before */
    int64_t asked_ms; /* when instances were last asked why none takes a task: scheduler_say.c */
    struct fl_pace *pace; /* when tasks were launched; NULL: not strict, or none was */
    uint64_t uneven_seen; /* the list of zones for which nothing could be moved: rebalance.c */
    bool is_waiting;      /* for room: in the cluster's list of those */
    bool is_daemon;       /* in the cluster's list of those */
};

int fl_service_order(const struct fl_service *a, const struct fl_service *b);
int fl_service_due_order(const struct fl_service *a, const struct fl_service *b);
int fl_member_order(const struct fl_task *a, const struct fl_task *b);
int fl_revision_order(const struct fl_revision *a, const struct fl_revision *b);
int fl_rollout_order(const struct fl_rollout *a, const struct fl_rollout *b);
RB_PROTOTYPE(fl_service_tree, fl_service, by_name, fl_service_order)
RB_PROTOTYPE(fl_due_tree, fl_service, by_due, fl_service_due_order)
RB_PROTOTYPE(fl_member_tree, fl_task, on_deployment, fl_member_order)
RB_PROTOTYPE(fl_revision_tree, fl_revision, by_number, fl_revision_order)
RB_PROTOTYPE(fl_rollout_tree, fl_rollout, by_age, fl_rollout_order)

/* What the tasks of a service's deployment are called as a part of its group; in `buf`. */
enum { FL_PART_NAME = 300 };
struct fl_str fl_part_name(char buf[FL_PART_NAME], struct fl_str service, int64_t number);

/* Look-ups; NULL when there is none. */
struct fl_service *fl_state_service(const struct fl_cluster *cluster, struct fl_str name);
struct fl_deployment *fl_service_deployment(const struct fl_service *service, int64_t number);
struct fl_revision *fl_service_revision(const struct fl_service *service, int64_t number);
struct fl_rollout *fl_service_rollout(const struct fl_service *service, struct fl_str id);
/* The rollout that is under way. */
struct fl_rollout *fl_service_current(const struct fl_service *service);
/* The entry of the service's record; valid until that is replaced. */
const struct rec_Deployment *fl_deployment_rec(const struct fl_deployment *deployment);
/* The deployment of a service's task, of which the record knows group and number; NULL for a task
 * that the service has given up. */
struct fl_deployment *fl_task_deployment_of(const struct fl_cluster *cluster,
                                            const struct rec_Task *rec);
/* The task's service counts it no more; that is woken for it. */
void fl_deployment_leave(struct fl_core *core, struct fl_task *task);
/* One of its tasks was launched then. Only a server that is strict wants to know: scheduler_pace.c
 */
void fl_service_note_launch(const struct fl_core *core, struct fl_service *service, int64_t at_ms);
/* The service that a task's record names: the part of the group behind "service:". */
struct fl_str fl_service_of_group(struct fl_str group);
/* The group of tasks that are a service's lifecycle hooks: this, then its name. */
#define FL_HOOK_GROUP "service-hook:"

/* fl_state_apply's part. */
void fl_apply_service(struct fl_core *core, const struct rec_Service *rec);
void fl_apply_revision(struct fl_core *core, const struct rec_ServiceRevision *rec);
void fl_apply_rollout(struct fl_core *core, const struct rec_ServiceDeployment *rec);
void fl_apply_event(struct fl_core *core, const struct rec_ServiceEvent *rec);
/* A task's record takes its place in its deployment, or gives it up. */
void fl_deployment_count(struct fl_task *task, int sign);

/* Takes records out. An INACTIVE service, and all that is its own. */
void fl_state_forget_service(struct fl_core *core, struct fl_service *service);
void fl_state_forget_revision(struct fl_core *core, struct fl_service *service,
                              struct fl_revision *revision);
void fl_state_forget_rollout(struct fl_service *service, struct fl_rollout *rollout);
void fl_state_forget_event(struct fl_service *service, struct fl_service_event *event);

/* The scheduler looks at the service at that time, or at once (0). A later time than the one that
 * is set counts, too: the last word is the scheduler's own. */
void fl_service_set_due(struct fl_core *core, struct fl_service *service, int64_t due_ms);
void fl_service_wake(struct fl_core *core, struct fl_service *service);
/* All of them: the times that were set mean nothing any more. */
void fl_services_wake(struct fl_core *core);
/* A task that is a service's lifecycle hook has ended; for any other group nothing happens. */
void fl_service_wake_for_hook(struct fl_core *core, struct fl_cluster *cluster,
                              struct fl_str group);
/* It waits for room on the cluster's instances, or does not any more. */
void fl_service_set_waiting(struct fl_service *service, bool is_waiting);
/* Instances have room that they had not: whoever waits looks again, at again_ms at the earliest. */
void fl_cluster_room(struct fl_core *core, struct fl_cluster *cluster);
/* A service's task has gone from an instance: daemons leave a DRAINING one last. */
void fl_daemons_wake_for(struct fl_core *core, const struct fl_instance *instance);
/* An instance has come, gone, changed: whoever waits, keeps daemons or has tasks there looks. */
void fl_services_wake_for(struct fl_core *core, struct fl_instance *instance);
/* Its agent has come or gone. A daemon that is steady and runs there need not look: that changes
 * nothing for it, and a look takes time by the number of instances. */
void fl_services_wake_for_session(struct fl_core *core, struct fl_instance *instance);
