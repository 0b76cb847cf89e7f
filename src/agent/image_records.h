/* What this host has pulled: an image a file in <agent data>/images/, by the digest that a name led
 * to. A record says which layers the image has, so that it can be told which nobody needs, and
 * holds manifest and configuration of what came from a registry, so that it starts without one.
 *
 * Files are written without a flush: after a power cut a broken one is found by its digests and
 * forgotten. Blocking, but small. */
#pragma once

#include "base/err.h"
#include "image/store.h"

enum { FL_IMAGE_RECORDS_MAX = 2048, FL_IMAGE_RECORD_NAMES_MAX = 32 };

struct fl_image_record {
    struct fl_digest digest; /* the key: of the manifest or index that a name led to */
    struct fl_digest image;  /* of the manifest chosen from it */
    struct fl_str names[FL_IMAGE_RECORD_NAMES_MAX]; /* written out (fl_image_name_full) */
    size_t name_count;
    struct fl_digest *layers;
    size_t layer_count;
    int64_t pulled_ms;      /* wall clock */
    int64_t used_ms;        /* wall clock: when a container was last started from it; in memory */
    uint64_t bytes;         /* packed */
    struct fl_str manifest; /* empty: the image is in the built-in registry's store */
    struct fl_str config;
    struct fl_arena *arena;
};

struct fl_image_records;

/* Makes the directory, reads what is there. */
int fl_image_records_open(struct fl_str dir, struct fl_image_records **ret_records,
                          struct fl_err *err);
void fl_image_records_close(struct fl_image_records *records);

/* In no order; valid until the next put or remove. */
size_t fl_image_records_count(const struct fl_image_records *records);
struct fl_image_record *fl_image_records_at(const struct fl_image_records *records, size_t i);
/* NULL: none. */
struct fl_image_record *fl_image_records_find(const struct fl_image_records *records,
                                              const struct fl_digest *digest);
struct fl_image_record *fl_image_records_named(const struct fl_image_records *records,
                                               struct fl_str name);

/* Adds a record, or the name (unless it is empty) to the one that is there; the name is taken from
 * any other. Texts are copied. Full: the record is not kept (-ENOSPC). */
int fl_image_records_put(struct fl_image_records *records, const struct fl_image_record *facts,
                         struct fl_str name);
void fl_image_records_remove(struct fl_image_records *records, const struct fl_digest *digest);

/* The image of a record that has manifest and configuration; strings in the arena. */
int fl_image_record_parse(const struct fl_image_record *record, struct fl_arena *arena,
                          struct fl_image *ret_image, struct fl_err *err);
