/* ECS's request limits, for servers that are --strict: token buckets that several operations share,
 * with the sizes that AWS documents. Time comes from the caller. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fl_throttle;

struct fl_throttle *fl_throttle_new(void);
void fl_throttle_free(struct fl_throttle *throttle);
/* Takes a token for the operation (enum ecs_operation); false: over the limit. Operations without a
 * documented limit always may. now_ms is monotonic. */
bool fl_throttle_take(struct fl_throttle *throttle, int operation, int64_t now_ms);
