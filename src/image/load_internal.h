/* Between load.c and its two readers. */
#pragma once

#include "image/load.h"
#include "wire/json.h"

/* One load: a directory with the archive's members, and what comes of it. */
struct fl_load {
    struct fl_image_store *store;
    int dir_fd; /* the layout; foreign: opened beneath only */
    struct fl_str libexec_dir;
    struct fl_str name;
    struct fl_arena *arena;
    struct fl_ref refs[FL_LOAD_IMAGES_MAX]; /* to be set once everything is in the store */
    size_t ref_count;
    struct fl_digest *added; /* blobs that the store did not have; removed if the load fails */
    size_t added_count, added_cap;
};

/* Opens a regular file of the layout; links are followed inside it only. */
int fl_load_open(const struct fl_load *load, const char *member, struct fl_err *err);
/* Reads a member of at most the buffer's size. */
int fl_load_read(const struct fl_load *load, const char *member, struct fl_buf *buf,
                 struct fl_err *err);
bool fl_load_has(const struct fl_load *load, const char *member);
/* Copies a member into the store, verified. */
int fl_load_blob(struct fl_load *load, const char *member, const struct fl_digest *expected,
                 struct fl_digest *ret_digest, uint64_t *ret_size, struct fl_err *err);
/* To be called with what the store answered (0: the blob is new). */
void fl_load_note(struct fl_load *load, int rc, const struct fl_digest *digest);
/* Tries out a layer that this load brought: what could not be unpacked is not taken in. */
int fl_load_check_layer(struct fl_load *load, const struct fl_digest *digest,
                        const struct fl_digest *diff_id, struct fl_err *err);
/* Notes a reference under load->name, or under the archive's own name for the image. */
int fl_load_add_ref(struct fl_load *load, struct fl_str own_name, const struct fl_digest *digest,
                    uint64_t size, struct fl_str media_type, struct fl_err *err);

int fl_load_docker(struct fl_load *load, struct fl_err *err);
int fl_load_oci(struct fl_load *load, struct fl_err *err);
