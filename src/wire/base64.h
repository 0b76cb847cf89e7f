/* Standard base64 with padding (RFC 4648, 4), as AWS's protocols and registries write it. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* Both answer in the arena. Decoding is false for anything that is not base64, white space and line
 * breaks included, and for more than a gibibyte; the empty text stands for no bytes. */
struct fl_str fl_base64_encode(struct fl_arena *arena, struct fl_str bytes);
bool fl_base64_decode(struct fl_str text, struct fl_arena *arena, struct fl_str *ret_bytes);
