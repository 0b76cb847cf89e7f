/* URL query strings. No I/O. */
#pragma once

#include "base/str.h"

/* The decoded value of a parameter in "a=b&c=d" ('+' is a blank); empty when it is absent or badly
 * encoded. In the arena. */
struct fl_str fl_url_parameter(struct fl_arena *arena, struct fl_str query, const char *name);
/* Decodes s ('+' is a blank) to where *block points, which has room for s.n + 1 bytes, and moves
 * *block behind the text's NUL. False for bad encoding. */
bool fl_url_decode(struct fl_str s, char **block, struct fl_str *ret_text);
/* Appends s with every byte but A–Z a–z 0–9 - _ . ~ as %XX. */
void fl_url_encode(struct fl_buf *buf, struct fl_str s);
