/* SHA-256 digests, the names of everything in the image store: "sha256:" and 64 hex digits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* A digest by value; hex is lower case and NUL-terminated. */
struct fl_digest {
    char hex[65];
};

enum { FL_DIGEST_TEXT_SIZE = 7 + 64 + 1 };

/* Reads "sha256:<64 lower-case hex digits>"; false on anything else, other algorithms included. */
bool fl_digest_parse(struct fl_str text, struct fl_digest *ret_digest);
/* Reads the 64 digits alone. */
bool fl_digest_parse_hex(struct fl_str hex, struct fl_digest *ret_digest);
void fl_digest_text(const struct fl_digest *digest, char ret_text[FL_DIGEST_TEXT_SIZE]);
bool fl_digest_eq(const struct fl_digest *a, const struct fl_digest *b);
struct fl_digest fl_digest_of(struct fl_str bytes);

/* Digest of a stream. */
struct fl_hasher;
struct fl_hasher *fl_hasher_new(void);
void fl_hasher_add(struct fl_hasher *hasher, const void *bytes, size_t n);
/* To be called once, after the last byte. */
struct fl_digest fl_hasher_end(struct fl_hasher *hasher);
void fl_hasher_free(struct fl_hasher *hasher);

static inline void fl_cleanup_hasher(struct fl_hasher **hasher)
{
    fl_hasher_free(*hasher);
}
#define FL_CLEANUP_HASHER __attribute__((cleanup(fl_cleanup_hasher)))
