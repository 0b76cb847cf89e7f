/* Who may ask how often: a token bucket per key. Keys of whom nothing was heard for as long as a
 * bucket takes to fill are forgotten, so what is kept is bounded by who asks now. No I/O. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct fl_metadata_throttle;

/* Buckets kept at most; beyond, who is new is refused. */
enum { FL_METADATA_BUCKETS_MAX = 8192 };

/* steady: requests a second, burst: size of a bucket; both ≥ 1. */
struct fl_metadata_throttle *fl_metadata_throttle_new(unsigned steady, unsigned burst);
void fl_metadata_throttle_free(struct fl_metadata_throttle *throttle);
/* Takes a token of the key's bucket; false when there is none. */
bool fl_metadata_throttle_take(struct fl_metadata_throttle *throttle, struct fl_str key,
                               int64_t now_ms);
