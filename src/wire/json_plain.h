/* What stands for itself in a JSON string: for the reader and the writer only. */
#pragma once

#include <string.h>

#include "wire/json.h"

static inline bool fl_json_is_plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/* The same of the eight bytes at p, all at once. */
static inline bool fl_json_8_plain(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    uint64_t special = word | ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                       ((backslash - ones) & ~backslash);
    return (special & (ones * 0x80)) == 0;
}
