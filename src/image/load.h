/* `fairlead image load`: docker-archive and OCI layout, as tar (gzip, zstd or plain) or directory,
 * into the store. Every blob's digest is verified, every new layer is tried out (unpacked without
 * its files' contents, and thrown away), references are set last: a refused image leaves nothing.
 */
#pragma once

#include "image/store.h"

enum { FL_LOAD_IMAGES_MAX = 256 };

struct fl_loaded {
    struct fl_str repository;
    struct fl_str tag;
    struct fl_digest digest;
};

/* name: "NAME[:TAG]" for the image, or empty for the names that the archive gives. A host part is
 * dropped, and so is docker.io's "library/": all lands in the built-in registry. */
int fl_image_load(struct fl_image_store *store, struct fl_str libexec_dir, const char *path,
                  struct fl_str name, struct fl_arena *arena, struct fl_loaded **ret_loaded,
                  size_t *ret_count, struct fl_err *err);
