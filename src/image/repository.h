/* Repositories of the built-in registry: which images each holds, tagged or not, and what the API
 * was told of it.
 *
 *   repositories/<repository>/<hex>   an image: "<size> <pushed at, ms> <subject or -> <media
 * type>" repositories/<repository>/record  the settings, as JSON of the server's; may be absent
 *
 * An image is there as long as its file is; tags are references (store.h), and setting one adds the
 * image. A repository without a record exists as long as it has an image or a tag. Who changes
 * anything holds the store's lock, or is alone with the store. Names must be valid: -EINVAL. */
#pragma once

#include "image/store.h"

enum { FL_REPOSITORY_RECORD_MAX = 256 << 10 };

struct fl_repository_image {
    struct fl_digest digest; /* of the manifest */
    uint64_t size;           /* of the manifest */
    int64_t pushed_at_ms;
    bool has_subject;
    struct fl_digest subject; /* of the manifest that it is about (OCI's referrers) */
    struct fl_str media_type;
    struct fl_str *tags; /* in byte order */
    size_t tag_count;
};

/* Changes nothing when the repository has the image. tags are not looked at. */
int fl_repository_add_image(struct fl_image_store *store, struct fl_str repository,
                            const struct fl_repository_image *image, struct fl_err *err);
/* Without its tags. -ENOENT when it is not there. */
int fl_repository_find_image(const struct fl_image_store *store, struct fl_str repository,
                             const struct fl_digest *digest, struct fl_arena *arena,
                             struct fl_repository_image *ret_image);
/* All images with their tags, by digest. An unknown repository has none. */
int fl_repository_list_images(const struct fl_image_store *store, struct fl_str repository,
                              struct fl_arena *arena, struct fl_repository_image **ret_images,
                              size_t *ret_count);
/* Removes the image with its tags; -ENOENT when it is not there. */
int fl_repository_remove_image(struct fl_image_store *store, struct fl_str repository,
                               const struct fl_digest *digest);
/* The same for an image as it is listed, without looking for its tags. */
int fl_repository_remove_listed(struct fl_image_store *store, struct fl_str repository,
                                const struct fl_repository_image *image);

/* Names in byte order, in the arena. */
int fl_repository_list(const struct fl_image_store *store, struct fl_arena *arena,
                       struct fl_str **ret_names, size_t *ret_count);
/* Appends the record to buf; -ENOENT when there is none. */
int fl_repository_read_record(const struct fl_image_store *store, struct fl_str repository,
                              struct fl_buf *buf);
int fl_repository_write_record(struct fl_image_store *store, struct fl_str repository,
                               struct fl_str record, struct fl_err *err);
/* The repository with its images, tags and record; its blobs are the collector's. */
int fl_repository_remove(struct fl_image_store *store, struct fl_str repository);
