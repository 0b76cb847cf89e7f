/* What stats.c (samples) and stats_docker.c (the document) share; nobody else includes it. */
#pragma once

#include <uthash.h>

#include "agent/stats.h"
#include "task/task.h"

/* Files that every sample reads. */
enum fl_stats_file {
    FL_STATS_FILE_CPU,
    FL_STATS_FILE_CPU_USER, /* v1 only; v2's cpu.stat has both */
    FL_STATS_FILE_MEMORY,
    FL_STATS_FILE_MEMORY_STAT,
    FL_STATS_FILE_IO,
    FL_STATS_FILE_NETWORK,
    FL_STATS_FILES,
};

struct fl_stats_sample {
    int64_t mono_ns; /* 0: none */
    int64_t wall_ms;
    uint64_t cpu_ns;
    uint64_t cpu_user_ns;
    uint64_t system_ns;  /* of the host's processors together, idle or not */
    uint64_t memory;     /* bytes, without inactive page cache */
    int64_t counters_ns; /* monotonic time of the counters, which may be older than the rest */
    uint64_t counters[FL_STATS_COUNTERS];
};

struct fl_stats_container {
    UT_hash_handle hh; /* by id */
    char id[FL_CONTAINER_ID_SIZE];
    char *group; /* owned */
    int fds[FL_STATS_FILES];
    bool own_network;
    struct fl_stats_sample last; /* of the periodic ones */
    struct fl_stats_round round;
};

struct fl_stats {
    enum fl_cgroup_layout layout;
    char *cgroup_root; /* owned */
    char *proc_root;   /* owned */
    int64_t processors;
    size_t most_open; /* containers whose files may be held open: others need descriptors, too */
    int host_fd;      /* <proc>/stat */
    struct fl_stats_container *containers;
};

/* Fills buffer (size ≥ 2) from the file's start; the text is what was there, empty on failure. */
struct fl_str fl_stats_read(int fd, char *buffer, size_t size);
/* Opens `name` of the container's group; `controller` is the v1 hierarchy. -1 when there is none.
 */
int fl_stats_open(const struct fl_stats *stats, const char *group, const char *controller,
                  const char *name);
/* The number after "key " at the start of a line; 0 when there is none. */
uint64_t fl_stats_value(struct fl_str text, const char *key);
/* The number that a text begins with; 0 for none. */
uint64_t fl_stats_number(struct fl_str text);
/* What the host's processors have spent since boot, idle or not, in ns. */
uint64_t fl_stats_system_ns(const struct fl_stats *stats);
/* Takes a sample, with all counters, without touching what is gathered. */
void fl_stats_take(const struct fl_stats *stats, const struct fl_stats_container *container,
                   int64_t now_ns, uint64_t system_ns, struct fl_stats_sample *ret_sample);
struct fl_stats_container *fl_stats_find(const struct fl_stats *stats, struct fl_str container_id);
