/* What containers use: samples of their control groups and network links, gathered into statistics
 * sets for the telemetry session, and Docker's statistics document for the metadata endpoint.
 *
 * The files of a running container are opened once and read again and again; nothing runs by
 * itself: the caller says when to sample. */
#pragma once

#include <sys/types.h>

#include "agent/cgroup.h"
#include "base/str.h"
#include "wire/json.h"

struct fl_stats;

struct fl_stats_config {
    enum fl_cgroup_layout layout;
    struct fl_str cgroup_root; /* "/sys/fs/cgroup" */
    struct fl_str proc_root;   /* "/proc" */
};

/* Everything is copied. */
struct fl_stats *fl_stats_new(const struct fl_stats_config *config);
void fl_stats_free(struct fl_stats *stats);

/* A container runs: `group` is its cgroup ("/tag/task/container"), pid its first process. With
 * `own_network` the links of that process's namespace are counted as its own. What cannot be opened
 * is left out, and so is who comes when half of the
 * process's descriptors are taken for this. Takes the first sample. Known already: nothing happens.
 */
void fl_stats_add(struct fl_stats *stats, struct fl_str container_id, struct fl_str group,
                  pid_t pid, bool own_network);
/* It has ended: its files are closed. */
void fl_stats_remove(struct fl_stats *stats, struct fl_str container_id);
size_t fl_stats_count(const struct fl_stats *stats);

/* One sample of every container, at this monotonic time: processor and memory, and with `counters`
 * (dearer to read, and needed but once a round) network and storage, too. */
void fl_stats_sample(struct fl_stats *stats, int64_t now_ns, bool counters);

struct fl_stats_set {
    double min;
    double max;
    double sum;
    int64_t count;
};

/* Counters as they stand (not differences), as ECS's agent sends them. */
struct fl_stats_counter_set {
    uint64_t min;
    uint64_t max;
    uint64_t sum;
    int64_t count;
};

enum fl_stats_counter {
    FL_STATS_RX_BYTES,
    FL_STATS_RX_DROPPED,
    FL_STATS_RX_ERRORS,
    FL_STATS_RX_PACKETS,
    FL_STATS_TX_BYTES,
    FL_STATS_TX_DROPPED,
    FL_STATS_TX_ERRORS,
    FL_STATS_TX_PACKETS,
    FL_STATS_READ_BYTES,
    FL_STATS_WRITE_BYTES,
    FL_STATS_COUNTERS,
};

/* What was sampled since the last fl_stats_next_round. */
struct fl_stats_round {
    struct fl_stats_set cpu_percent; /* of the whole host: 100 is every processor busy */
    struct fl_stats_set memory_mib;  /* without the page cache that can go at once */
    struct fl_stats_set rx_per_second;
    struct fl_stats_set tx_per_second;
    struct fl_stats_counter_set counters[FL_STATS_COUNTERS];
    bool has_network;
};

/* NULL: unknown, or nothing in it (CPU needs two samples). Valid until the next call. */
const struct fl_stats_round *fl_stats_round(const struct fl_stats *stats,
                                            struct fl_str container_id);
void fl_stats_next_round(struct fl_stats *stats);

/* Docker's ContainerStats document of a running container, read now; `name` is its Docker name.
 * With `rates` it has network_rate_stats too. False, and nothing written, when it does not run. */
bool fl_stats_write_docker(struct fl_stats *stats, struct fl_str container_id, struct fl_str name,
                           bool rates, struct fl_json_writer *jw);
