/* Services in the simulator: their shadow as the records have it, what clients ask of them, and
 * what is checked. A part of world.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct ecs_DeploymentConfiguration;
struct fl_core_event;
struct fl_task_container;
struct fl_turn;
struct rec_Deployment;
struct rec_Service;
struct rec_ServiceRevision;
struct rec_Task;
struct sim;
struct sim_message;
struct sim_operation;
struct sim_task;

/* What becomes of the tasks of a service's families: the one with the number SIM_FAMILIES + kind.
 */
enum sim_kind {
    SIM_KIND_PLAIN,
    SIM_KIND_CHECKED,   /* a health check finds it well */
    SIM_KIND_FLAKY,     /* it ends by itself while there is load */
    SIM_KIND_MISSING,   /* its image does not exist */
    SIM_KIND_STILLBORN, /* it cannot be started */
    SIM_KIND_CRASHING,  /* it ends soon after its start, always */
    SIM_KIND_ILL,       /* no health check ever finds it well */
    SIM_KIND_HUGE,      /* no host has room for it */
    SIM_KINDS
};

/* What becomes of the tasks that are lifecycle hooks: the families after those. */
enum sim_hook {
    SIM_HOOK_GOOD,    /* it ends well */
    SIM_HOOK_BAD,     /* it says no */
    SIM_HOOK_LONG,    /* it never ends */
    SIM_HOOK_MISSING, /* its image does not exist */
    SIM_HOOK_HUGE,    /* no host has room for it */
    SIM_HOOKS
};

enum sim_service_status { SIM_SERVICE_ACTIVE, SIM_SERVICE_DRAINING, SIM_SERVICE_INACTIVE };

enum { SIM_SERVICE_NAME = 16, SIM_SETS = 8 };

struct sim_service {
    char name[SIM_SERVICE_NAME];
    /* As the core's records have it now. */
    bool exists, drop_put, is_daemon, is_external;
    enum sim_service_status status;
    int64_t version, ended_ms;
    size_t desired, floor, ceiling; /* of all task sets together */
    int64_t sets[SIM_SETS];
    size_t set_count;
    size_t least; /* minimumHealthyPercent */
    uint32_t
        *members; /* tasks in the ledger; the ones that have stopped are still to be left out */
    size_t member_count, member_cap;
    /* What somebody has been promised: an acknowledged change is in this version. */
    int64_t seen_version;
    /* Of the step under way. */
    bool is_touched, is_becoming_steady;
    size_t started, stopped_healthy;
    bool is_restless; /* at the end: a deployment of it can never be as it is to be */
    bool is_steady;
    int64_t put_us; /* when a record of it was put last */
};

/* From keys to numbers. */
struct sim_slot {
    uint64_t key;
    uint32_t number; /* counted from 1; 0: free */
};

struct sim_index {
    struct sim_slot *slots;
    size_t cap;
};

/* How far the run is that is all about services: fl_sim_config. */
enum sim_roll_phase { SIM_ROLL_CREATES, SIM_ROLL_UPDATES, SIM_ROLL_IS_OVER };
struct sim_roll {
    enum sim_roll_phase phase;
    int64_t since_us;
    size_t sent, at; /* calls; the first service that is not known to be complete */
};

struct sim_services {
    struct sim_index by_name;
    struct sim_service *all;
    size_t count, cap;
    uint32_t *touched; /* in the step under way */
    size_t touched_count, touched_cap;
    struct sim_roll roll;
    struct sim_index by_hook; /* hookIds of the tasks that have run for them: */
    uint32_t *hooks;          /* in the ledger */
    size_t hook_count;
    size_t asked;                      /* names that were given */
    uint64_t idle_timers, busy_timers; /* that came up and are not made up for by other events */
    int64_t leaked_us;
};

/* ---- ledger_service.c ---- */
/* Found, or made. */
struct sim_service *sim_ledger_service(struct sim *sim, struct fl_str name);
/* Tasks that have not stopped: calls each. */
void sim_service_each(struct sim *sim, struct sim_service *service,
                      void (*each)(struct sim *sim, struct sim_service *service,
                                   const struct sim_task *task, void *context),
                      void *context);
/* A task's record has been taken: it is, or becomes, a member of its service. */
void sim_service_member(struct sim *sim, struct sim_task *task, const struct rec_Task *rec);
void sim_services_free(struct sim *sim);
/* The family of a task's or revision's record; -1: none of ours. */
int sim_family_of(struct fl_str family);
bool sim_kind_is_good(int family);

/* ---- audit_service.c ---- */
/* A task's record takes the place of `before` (NULL: it is new). */
void sim_audit_member(struct sim *sim, const struct sim_task *before, const struct sim_task *task,
                      int64_t now_ms);
/* A record of a service, its events, rollouts, revisions is put or dropped; key is the record's. */
void sim_audit_service_record(struct sim *sim, struct fl_str key, bool is_drop, int64_t now_ms);
/* The name in the record's key is given to another service, in this step. */
void sim_audit_service_again(struct sim *sim, struct fl_str key);
/* All records of a step have been taken. */
void sim_audit_bounds(struct sim *sim, int64_t now_ms);
/* A step begins. */
void sim_audit_before(struct sim *sim, const struct fl_core_event *event);
/* A step is over: what it was asked, and what it put from that record on. */
void sim_audit_step(struct sim *sim, const struct fl_core_event *event, const struct fl_turn *turn,
                    size_t from);
void sim_audit_services_recovered(struct sim *sim);
void sim_audit_services(struct sim *sim);

/* ---- audit_sets.c ---- */
/* How many tasks a task set is to have. */
size_t sim_set_wanted(const struct rec_Service *rec, const struct rec_Deployment *set);
/* Is in the records what was asked of a task set? True of any other call. */
bool sim_set_is_done(const struct rec_Service *rec, const struct fl_core_event *event);
/* Nothing is under way any more: every set has its share. */
void sim_audit_sets_rest(struct sim *sim, struct sim_service *service,
                         const struct rec_Service *rec);

/* ---- audit_hooks.c ---- */
/* A container of the task is launched. */
void sim_audit_hook_launch(struct sim *sim, const struct fl_task_container *container,
                           uint32_t task);
/* A service deployment's record is put. */
void sim_audit_rollout(struct sim *sim, struct fl_str service, struct fl_str id);
/* Whoever is a hook's task and is to run is waited for. */
void sim_audit_hooks(struct sim *sim);
/* Nothing is under way any more: no hook waits for longer than it may. */
void sim_audit_hooks_rest(struct sim *sim, const struct rec_Service *rec);

/* ---- audit_service_rest.c ---- */
/* Who has what he wants puts no records in the last minutes. */
#define SIM_QUIET_US (3 * SIM_MINUTE)
void sim_audit_services_rest(struct sim *sim);
/* Is there a host that takes one more of these? */
bool sim_has_room(const struct sim *sim, const struct rec_ServiceRevision *revision);
/* The clock was set back, and has come again to when the task was started: it settles anew. */
bool sim_starts_again(const struct sim *sim, const struct sim_task *task);
/* A task whose service tries again and again, as it must, and is never done. */
bool sim_is_restless(const struct sim *sim, const struct sim_task *task);

/* ---- workload_hooks.c ---- */
/* Gives a configuration with stages some lifecycle hooks. */
void sim_hooks_draw(struct sim *sim, struct sim_message *call,
                    struct ecs_DeploymentConfiguration *config);
/* Of the service's present rollout. */
struct fl_str sim_rollout_arn(struct sim_message *call, const struct rec_Service *rec);
/* Somebody ends some of the pauses that there are. */
void sim_hooks_end_pauses(struct sim *sim);

/* ---- workload_service.c ---- */
void sim_service_load_start(struct sim *sim);
/* The run's load is the creation and the update of so many services. */
void sim_roll_start(struct sim *sim);
/* The end of the run: that has come about. */
void sim_roll_check(struct sim *sim);
/* The answer of status 200 to a call about a service. */
void sim_service_answered(struct sim *sim, struct sim_operation *operation);
void sim_service_refused(struct sim *sim, const struct sim_operation *operation,
                         struct fl_str text);
