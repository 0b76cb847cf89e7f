/* For fuzz targets (tests/fuzz): which inputs get the dear checks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One of so many, chosen by its bytes, so that an input always runs the same way; every one where
 * committed inputs are run again, which are few. */
static inline bool fl_fuzz_one_in(uint32_t many, const uint8_t *bytes, size_t n)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 16777619U;
#ifdef FL_FUZZ_REPLAY
    many = 1;
#endif
    return (hash >> 8) % many == 0;
}
