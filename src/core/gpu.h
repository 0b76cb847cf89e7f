/* GPUs: whole ones, each named by an id that its instance registered, held by one task at a time
 * and pinned to one of its containers. Private to core.
 *
 * Which are taken follows from the records of the tasks that an instance has. An id that an
 * instance no longer registers stays in its task's record and is not given to another. */
#pragma once

#include "core/decide.h"

enum { FL_MAX_GPUS = 64 /* of an instance: one bit each in fl_instance.gpus_taken */ };

/* Refuses resourceRequirements of a container that cannot be honoured: other types than GPU, a
 * number that is none. 0 or refused with `code`. */
int fl_gpu_check(struct fl_decision *d, const char *code, struct fl_str container,
                 const struct ecs_ResourceRequirement_list *list);
/* How many GPUs a container asks for; an override (may be NULL) that names any replaces them. */
uint32_t fl_gpu_wanted(const struct ecs_ContainerDefinition *container,
                       const struct ecs_ContainerOverride *override);
/* How many a task's record holds. */
uint32_t fl_gpu_held(const struct rec_Task *rec);
/* Gives a container the first free ids of an instance, beside those in `taken` (bits as in
 * gpus_taken), which it adds to. There must be enough. */
void fl_gpu_assign(struct fl_decision *d, const struct fl_instance *instance, uint32_t count,
                   uint64_t *taken, struct rec_TaskContainer *container);

/* What an agent registers: the resource GPU, or platformDevices of that type. 0 or refused. */
int fl_gpu_register(struct fl_decision *d, const struct ecs_RegisterContainerInstanceRequest *in,
                    struct rec_Instance *rec);
/* The ids that an instance has, or those of them that are free. */
struct fl_str_list fl_gpu_ids(struct fl_decision *d, const struct fl_instance *instance,
                              bool only_free);

/* For fl_state_apply: a task comes or goes; the instance's record is another. */
void fl_gpu_change(struct fl_instance *instance, const struct rec_Task *rec, int sign);
void fl_gpu_settle(struct fl_instance *instance);
