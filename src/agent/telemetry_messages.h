/* The messages of a telemetry session (TCS), as the ECS agent protocol has them. No I/O. */
#pragma once

#include "agent/stats.h"
#include "task/brain.h"

enum { FL_TELEMETRY_TASKS_PER_MESSAGE = 10, FL_TELEMETRY_FRAME_MAX = 1024 * 1024 };

struct fl_tcs_source {
    const struct fl_brain *brain;
    const struct fl_stats *stats;
    struct fl_str cluster; /* as the agent knows it */
    struct fl_str instance_arn;
    double
        root_percent; /* how full the host's file systems are: that of "/", and the one with the */
    double data_percent; /* agent's data; negative: not known */
};

/* Writes a PublishMetricsRequest with up to ten tasks that have metrics, from the first one behind
 * `after` (NULL: from the beginning) on. Returns where the next message goes on; NULL: this was the
 * last one (`fin`). The first has what is known of the host itself; a host without any task says
 * that it is idle. */
const struct fl_task *fl_tcs_write_metrics(const struct fl_tcs_source *source,
                                           struct fl_str message_id, int64_t wall_ms,
                                           const struct fl_task *after, struct fl_json_writer *jw);
/* Whether any running container's health is checked: else there is nothing to publish. */
bool fl_tcs_has_health(const struct fl_tcs_source *source);
/* The same for a PublishHealthRequest, with the tasks that have such a container. */
const struct fl_task *fl_tcs_write_health(const struct fl_tcs_source *source,
                                          struct fl_str message_id, int64_t wall_ms,
                                          const struct fl_task *after, struct fl_json_writer *jw);

struct fl_tcs_status {
    const char *ailment; /* of the container runtime; NULL: it is well. Its own memory */
    int64_t updated_ms;  /* wall clock: when it was looked at */
    int64_t changed_ms;  /* when it became so */
};

void fl_tcs_write_status(const struct fl_tcs_source *source, struct fl_str message_id,
                         int64_t wall_ms, const struct fl_tcs_status *status,
                         struct fl_json_writer *jw);
