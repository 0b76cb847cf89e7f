/* What the brain's files share. */
#pragma once

#include "base/bug.h"
#include "task/brain.h"
#include "task/record.h"

enum { STOP_SIGNAL = 15, KILL_SIGNAL = 9 };

struct fl_brain {
    struct fl_brain_config config;
    struct fl_arena *arena;
    struct fl_task *tasks;                /* uthash, by arn */
    struct fl_task_container *containers; /* uthash, by id */
    struct fl_task *first_dirty;
    struct fl_task **due; /* a heap of all tasks, the one that is due first on top */
    size_t due_count, due_cap;
    struct fl_host_record host;
    bool host_dirty;
    struct fl_str manifest_id; /* of the last manifest, if it left stop candidates; in the bytes */
    char manifest_bytes[256];
};

/* One event under way. */
struct fl_step {
    struct fl_brain *brain;
    const struct fl_brain_event *event;
    struct fl_brain_turn *turn;
};

/* From a task's acknowledged end to its removal. */
int64_t fl_brain_cleanup_ms(const struct fl_brain *brain, const struct fl_task *task);
struct fl_task *fl_brain_find(const struct fl_brain *brain, struct fl_str arn);
void fl_brain_insert(struct fl_brain *brain, struct fl_task *task);
void fl_brain_delete(struct fl_step *step, struct fl_task *task);
struct fl_effect *fl_brain_emit(struct fl_step *step, enum fl_effect_type type);
void fl_brain_emit_container(struct fl_step *step, enum fl_effect_type type,
                             const struct fl_task_container *container);
void fl_brain_mark(struct fl_brain *brain, struct fl_task *task);

/* What is due next (brain_due.c). After any change of a due time in it, or at the end of an event
 * that may have made one, the task's place is found anew. */
void fl_brain_due_add(struct fl_brain *brain, struct fl_task *task);
void fl_brain_due_remove(struct fl_brain *brain, struct fl_task *task);
void fl_brain_due_changed(struct fl_brain *brain, struct fl_task *task);
/* NULL: there is no task. Its due_ms is INT64_MAX if nothing of it is due. */
struct fl_task *fl_brain_due_first(const struct fl_brain *brain);

/* The life of containers and tasks (brain_life.c). After any of them the caller settles
 * the task. */
/* Tells a container to end, or ends it at once where nothing has been launched yet. */
void fl_brain_stop_container(struct fl_step *step, struct fl_task_container *container);
void fl_brain_stop_task(struct fl_step *step, struct fl_task *task);
/* RUNNING or not → STOPPED; an essential one takes the task with it. */
void fl_brain_container_stopped(struct fl_step *step, struct fl_task_container *container);
void fl_brain_container_failed(struct fl_step *step, struct fl_task_container *container,
                               struct fl_str reason);
/* The same, and the task ends with it. */
void fl_brain_task_failed(struct fl_step *step, struct fl_task_container *container,
                          struct fl_str reason);
/* After any change of a task: its own status, its record, its report. */
void fl_brain_settle(struct fl_step *step, struct fl_task *task);
/* Emits the task's report if there is news and none is under way. */
void fl_brain_report(struct fl_step *step, struct fl_task *task);

/* Dependencies (brain_order.c). */
/* Begins with every container that may start now, fails those that never will. */
void fl_brain_start_in_order(struct fl_step *step, struct fl_task *task);
/* Tells those to end on which nobody depends any more. */
void fl_brain_stop_in_order(struct fl_step *step, struct fl_task *task);
void fl_brain_ask_image(struct fl_step *step, struct fl_task_container *container);
/* True when a container depends on another one. */
bool fl_brain_has_order(const struct fl_task *task);

/* Health checks and restarts (brain_health.c). */
void fl_brain_health_begin(struct fl_step *step, struct fl_task_container *container);
void fl_brain_health_resume(struct fl_step *step, struct fl_task_container *container);
void fl_brain_health_timer(struct fl_step *step, struct fl_task_container *container);
/* True when it changed what is recorded. */
bool fl_brain_health_answer(struct fl_step *step, struct fl_task_container *container);
/* Of one that has just ended, with its exit code. */
bool fl_brain_may_restart(const struct fl_task_container *container);
void fl_brain_restart(struct fl_step *step, struct fl_task_container *container);

/* What of the task is due: SIGKILL, removal, health checks, the end of others' patience. */
void fl_brain_task_timer(struct fl_step *step, struct fl_task *task);

/* The control plane's messages (brain_orders.c). */
bool fl_brain_payload(struct fl_step *step);
bool fl_brain_manifest(struct fl_step *step);
void fl_brain_stop_list(struct fl_step *step);

/* After a restart of agent or host (brain_boot.c). */
void fl_brain_boot(struct fl_step *step);
void fl_brain_gone(struct fl_step *step, struct fl_task_container *container);
