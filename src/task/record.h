/* Records: what the agent's store keeps of the brain. One per task (specification and all that
 * happened to it, never credentials), one for the host. JSON with a version member; a version we
 * do not know refuses to be read. A task's record is deleted by the brain once the task is
 * stopped, reported and cleaned up; the host's record lives as long as the agent's data. */
#pragma once

#include "base/err.h"
#include "task/task.h"

enum { FL_TASK_RECORD_VERSION = 1, FL_TASK_RECORD_MAX = 1024 * 1024 };

#define FL_HOST_RECORD_KEY FL_STR("host")

struct fl_host_record {
    int64_t seq;           /* highest sequence number seen */
    struct fl_str boot_id; /* of the boot in which the containers were started */
};

/* "task/<arn>", in the arena. */
struct fl_str fl_task_record_key(struct fl_arena *arena, struct fl_str arn);
struct fl_str fl_task_record_write(const struct fl_task *task, struct fl_arena *arena);
int fl_task_record_read(struct fl_str value, struct fl_task **ret_task, struct fl_err *err);

struct fl_str fl_host_record_write(const struct fl_host_record *host, struct fl_arena *arena);
/* boot_id is copied into the arena. */
int fl_host_record_read(struct fl_str value, struct fl_arena *arena,
                        struct fl_host_record *ret_host, struct fl_err *err);
