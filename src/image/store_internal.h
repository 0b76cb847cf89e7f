/* The store's own descriptors and names, shared by its files. */
#pragma once

#include "image/store.h"

struct fl_image_store {
    int root_fd;
    int blobs_fd; /* blobs/sha256 */
    int refs_fd;
    int repositories_fd;
    int tmp_fd;
    int uploads_fd; /* -1 where nobody has written yet */
};

/* A repository as a directory's name: '/' written '+', which the grammar does not have. */
struct fl_dir_name {
    char z[FL_REPOSITORY_MAX + 1];
};

bool fl_image_store_encode(struct fl_str repository, struct fl_dir_name *ret_name);
struct fl_str fl_image_store_decode(const char *name, struct fl_arena *arena);
/* The repository's directory beneath at, or -errno; -EINVAL for what is no repository's name. */
int fl_image_store_open_name(int at, struct fl_str repository);
/* The same, made durably when it is not there. */
int fl_image_store_make_name(int at, struct fl_str repository);

/* Removes what a killed writer left in tmp/ so long ago or earlier; nobody writes to anything for
 * longer than the one given here without that being renewed. */
enum { FL_STORE_STALE_SECONDS = 24 * 3600 };
void fl_image_store_sweep_tmp(int tmp_fd, int64_t min_age_seconds);
/* Uploads that nobody has gone on with. */
void fl_image_store_sweep_uploads(struct fl_image_store *store);

/* Removes tags, which are valid and there; what they led to is the caller's business. */
int fl_image_store_unlink_tags(struct fl_image_store *store, struct fl_str repository,
                               const struct fl_str *tags, size_t count);

/* Removes an image's file; its tags are the caller's business. */
int fl_repository_forget_image(struct fl_image_store *store, struct fl_str repository,
                               const struct fl_digest *digest);
