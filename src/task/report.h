/* What the control plane is told of a task: the body of a SubmitTaskStateChange call. */
#pragma once

#include "task/task.h"

enum { FL_REPORT_REASON_MAX = 1024, FL_REPORT_BINDINGS_MAX = 100 };

/* The call's JSON, in the arena. */
struct fl_str fl_report_write(const struct fl_task *task, struct fl_arena *arena);
