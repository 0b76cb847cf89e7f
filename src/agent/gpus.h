/* The host's NVIDIA GPUs: ids as their driver tells them, and the device nodes that a container
 * needs to use some of them.
 *
 * The driver's user-space libraries are the image's affair: only nodes and
 * NVIDIA_VISIBLE_DEVICES are given. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FL_GPUS_MAX = 64 };

struct fl_gpu {
    struct fl_str id;   /* "GPU-…" */
    struct fl_str node; /* "<dev>/nvidia0" */
};

struct fl_gpus {
    struct fl_gpu items[FL_GPUS_MAX];
    size_t n;
    struct fl_str shared[4]; /* nodes that go with any of them */
    size_t shared_count;
};

/* Those beneath `driver` ("/proc/driver/nvidia/gpus") that have their node in `dev` ("/dev"), in
 * the order of the nodes' numbers; texts are in the arena. */
void fl_gpus_find(const char *driver, const char *dev, struct fl_arena *arena,
                  struct fl_gpus *ret_gpus);
/* The nodes for these ids, in the arena. -ENODEV and err when one of them is not here. */
int fl_gpus_nodes(const struct fl_gpus *gpus, const struct fl_str *ids, size_t count,
                  struct fl_arena *arena, struct fl_str **ret_nodes, size_t *ret_count,
                  struct fl_err *err);
