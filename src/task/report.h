/* What the control plane is told of a task: the input of a SubmitTaskStateChange call. */
#pragma once

#include "shapes/ecs_shapes.h"
#include "task/task.h"

enum { FL_REPORT_REASON_MAX = 1024, FL_REPORT_BINDINGS_MAX = 100 };

/* Lists are in the arena, texts where the task has them. with_ipv6: bindings to :: are told, too.
 */
struct ecs_SubmitTaskStateChangeRequest fl_report_make(const struct fl_task *task, bool with_ipv6,
                                                       struct fl_arena *arena);
/* The call's JSON, in the arena. */
struct fl_str fl_report_write(const struct ecs_SubmitTaskStateChangeRequest *report,
                              struct fl_arena *arena);
