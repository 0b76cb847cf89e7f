/* What the auditors see of a core's memory. The only file that looks into the core: everything else
 * asks it as a user would. */
#pragma once

#include "core/core.h"
#include "shapes/rec_shapes.h"

struct sim_core_instance {
    const struct rec_Instance *rec;
    int64_t cpu_used, memory_used;
    size_t task_count; /* that are not STOPPED */
    bool connected;
};

/* Tasks and instances of the cluster "default". False, NULL: there is none. */
const struct rec_Task *sim_core_task(const struct fl_core *core, struct fl_str id);
bool sim_core_instance(const struct fl_core *core, struct fl_str id,
                       struct sim_core_instance *ret_instance);
/* All of them, in the order of ids: first with an empty id. */
const struct rec_Task *sim_core_next_task(const struct fl_core *core, const struct rec_Task *after);
bool sim_core_next_instance(const struct fl_core *core, struct sim_core_instance *at);
/* The highest revision of a family; 0: there is none. */
int32_t sim_core_latest_revision(const struct fl_core *core, struct fl_str family);

/* Services of the cluster "default", and what is theirs. */
const struct rec_Service *sim_core_service(const struct fl_core *core, struct fl_str name);
const struct rec_Service *sim_core_next_service(const struct fl_core *core,
                                                const struct rec_Service *after);
const struct rec_ServiceRevision *sim_core_service_revision(const struct fl_core *core,
                                                            struct fl_str service, int64_t number);
const struct rec_ServiceDeployment *sim_core_rollout(const struct fl_core *core,
                                                     struct fl_str service, struct fl_str id);
/* What a task of the definition reserves, as the placement counts it. */
void sim_core_definition_size(const struct fl_core *core, struct fl_str family, int32_t revision,
                              int64_t *ret_cpu, int64_t *ret_memory);
size_t sim_core_service_events(const struct fl_core *core, struct fl_str service);

/* Records without their texts: the shape of a kind, and loading one whose references are good. */
const struct fl_shape *sim_core_shape(int kind);
void sim_core_load(struct fl_core *core, int kind, const void *record);

/* Compares all records of two cores, and what their instances and clusters count. NULL: they are
 * the same; else what differs, in the arena. */
const char *sim_core_differs(const struct fl_core *a, const struct fl_core *b,
                             struct fl_arena *arena);

/* Sums over the instances of "default". */
struct sim_core_sums {
    int64_t cpu, cpu_used, memory, memory_used;
    uint64_t empty; /* instances that hold no task */
    uint64_t running;
};
void sim_core_sum(const struct fl_core *core, struct sim_core_sums *ret_sums);
