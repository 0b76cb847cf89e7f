/* Identifiers and hexadecimal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* A deterministic stream of bytes grown from one seed (xoshiro256**). Each event that makes ids
 * carries a seed of its own, 32 bytes from the system's generator in production: who sees an
 * event's ids learns nothing about another event's. Never the source of a key or a token. */
struct fl_rand {
    uint64_t s[4];
};

/* Seeds from 32 bytes; an all-zero seed is allowed. */
void fl_rand_seed(struct fl_rand *rand, const uint8_t seed[32]);
uint64_t fl_rand_u64(struct fl_rand *rand);
/* Uniform in [0, bound); bound > 0. */
uint64_t fl_rand_below(struct fl_rand *rand, uint64_t bound);

/* Lower-case hex of n bytes into text, which must hold 2n + 1. */
void fl_hex(const void *bytes, size_t n, char *ret_text);
/* False unless s is exactly 2n hex digits (either case). */
bool fl_unhex(struct fl_str s, void *ret_bytes, size_t n);

/* Bytes from the system's generator; stops the process if there is none. Not for core or task. */
void fl_random_bytes(void *bytes, size_t n);

/* A stock of such bytes, for who needs a few of them all the time: the system is asked for many at
 * once. Zeroed it is empty. One thread's, and not to be used on both sides of a fork. */
struct fl_random_stock {
    uint8_t bytes[2048];
    size_t left;
};

/* n bytes that nobody else gets, and that are in the stock no more; n <= sizeof(stock->bytes). */
void fl_random_take(struct fl_random_stock *stock, void *ret_bytes, size_t n);
