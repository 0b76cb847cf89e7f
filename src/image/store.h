/* The built-in registry's store: blobs by digest, references by repository and tag.
 *
 *   blobs/sha256/<hex>      whole and verified, or not there
 *   refs/<repository>/<tag> "<digest> <size> <media type>"; '/' in repositories is written '+'
 *   repositories/           images and settings of repositories (image/repository.h)
 *   needed                  digests that the server told the collector of
 *   tmp/                    what is being written; a leftover is removed by the next open to write
 *   uploads/                the same, under a name: who knows it may go on after a restart
 *
 * Files appear by rename after fsync. Several processes may use one store at once: who writes a
 * blob that is there already changes nothing. Blocking I/O, no event loop. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "image/name.h"

#define FL_BLOB_MAX_BYTES ((uint64_t)64 << 30)
/* References, and images of a repository, that a listing takes: some 400 MB of memory at the worst.
 */
enum { FL_REFS_MAX = 1000000 };

struct fl_image_store;

/* create: makes what is missing (0700). Without it, -ENOENT when there is no store. */
int fl_image_store_open(struct fl_str dir, bool create, struct fl_image_store **ret_store,
                        struct fl_err *err);
void fl_image_store_close(struct fl_image_store *store);
static inline void fl_cleanup_image_store(struct fl_image_store **store)
{
    fl_image_store_close(*store);
}
#define FL_CLEANUP_IMAGE_STORE __attribute__((cleanup(fl_cleanup_image_store)))

/* Blobs. */

bool fl_image_store_has(const struct fl_image_store *store, const struct fl_digest *digest,
                        uint64_t *ret_size);
/* A descriptor to read the blob from, or -errno. */
int fl_image_store_open_blob(const struct fl_image_store *store, const struct fl_digest *digest);
/* Appends the blob to buf. -EFBIG beyond max bytes. */
int fl_image_store_read_blob(const struct fl_image_store *store, const struct fl_digest *digest,
                             size_t max, struct fl_buf *buf);
int fl_image_store_remove_blob(struct fl_image_store *store, const struct fl_digest *digest);

/* A blob being written. Nothing is visible before commit; abort (or a commit that fails) leaves
 * nothing. */
struct fl_blob_writer;
int fl_blob_writer_begin(struct fl_image_store *store, struct fl_blob_writer **ret_writer,
                         struct fl_err *err);
int fl_blob_writer_add(struct fl_blob_writer *writer, const void *bytes, size_t n,
                       struct fl_err *err);
/* expected may be NULL: the blob goes by the digest it has. 0, or 1 when the store had it already.
 * Frees the writer in any case. */
int fl_blob_writer_commit(struct fl_blob_writer *writer, const struct fl_digest *expected,
                          struct fl_digest *ret_digest, struct fl_err *err);
void fl_blob_writer_abort(struct fl_blob_writer *writer);

/* A blob that comes in pieces, perhaps over several lives of a server. Its name is a digest of what
 * only its writer knows. One at a time writes to a name.
 *
 * resume: a writer that goes on where the file of that name ends; it is made if it is not there,
 * else read once, to hash it. suspend: leaves what was written; what nobody resumes goes
 * FL_STORE_UPLOAD_SECONDS after its last byte. */
enum { FL_STORE_UPLOAD_SECONDS = 2 * 3600 };
int fl_blob_writer_resume(struct fl_image_store *store, const struct fl_digest *name,
                          struct fl_blob_writer **ret_writer, struct fl_err *err);
void fl_blob_writer_suspend(struct fl_blob_writer *writer);
/* Bytes that lie there under the name; false when there is no such file. */
bool fl_image_store_has_upload(const struct fl_image_store *store, const struct fl_digest *name,
                               uint64_t *ret_size);
void fl_image_store_remove_upload(struct fl_image_store *store, const struct fl_digest *name);

/* Copies fd from its current offset to its end. 0, or 1 when the store had the blob already;
 * -EBADMSG when the digest is another. */
int fl_image_store_put_fd(struct fl_image_store *store, int fd, const struct fl_digest *expected,
                          struct fl_digest *ret_digest, uint64_t *ret_size, struct fl_err *err);
int fl_image_store_put(struct fl_image_store *store, struct fl_str bytes,
                       struct fl_digest *ret_digest, struct fl_err *err);

/* References. Names must be valid (image/name.h): -EINVAL otherwise. */

struct fl_ref {
    struct fl_str repository;
    struct fl_str tag;
    struct fl_digest digest; /* of the manifest */
    uint64_t size;           /* of the manifest */
    struct fl_str media_type;
};

int fl_image_store_set_ref(struct fl_image_store *store, const struct fl_ref *ref,
                           struct fl_err *err);
/* -ENOENT when there is none. Strings in the arena. */
int fl_image_store_get_ref(const struct fl_image_store *store, struct fl_str repository,
                           struct fl_str tag, struct fl_arena *arena, struct fl_ref *ret_ref);
/* One with a tag, an image or settings (image/repository.h). */
bool fl_image_store_has_repository(const struct fl_image_store *store, struct fl_str repository);
/* All references, by repository and tag in byte order, in the arena; at most FL_REFS_MAX. */
int fl_image_store_list_refs(const struct fl_image_store *store, struct fl_arena *arena,
                             struct fl_ref **ret_refs, size_t *ret_count);
/* The same of one repository; none when it is unknown. */
int fl_image_store_list_tags(const struct fl_image_store *store, struct fl_str repository,
                             struct fl_arena *arena, struct fl_ref **ret_refs, size_t *ret_count);
/* The repository's image goes with its last tag. -ENOENT when there is no such tag. */
int fl_image_store_remove_ref(struct fl_image_store *store, struct fl_str repository,
                              struct fl_str tag);
/* Who changes references or repositories, loads or collects excludes the others, in this process
 * and others: what is being loaded has no reference yet. Waits. Released by unlock or close. */
int fl_image_store_lock(struct fl_image_store *store, struct fl_err *err);
/* Does not wait: -EWOULDBLOCK. */
int fl_image_store_try_lock(struct fl_image_store *store);
void fl_image_store_unlock(struct fl_image_store *store);
/* A server says that it is there, until close: collecting is its business then, for it knows what
 * runs. What a former one was writing when it was killed is removed, unless somebody holds the
 * lock. -EWOULDBLOCK when another one has said so. */
int fl_image_store_attend(struct fl_image_store *store);
bool fl_image_store_is_attended(struct fl_image_store *store);
/* Makes dir, which must not be there, and fills it with all that the store keeps, as it is at one
 * moment: a store of its own. Files are linked where that can be done: the lock is held for
 * milliseconds, and the disk gets no fuller. */
int fl_image_store_snapshot(struct fl_image_store *store, const char *dir, struct fl_err *err);
/* The manifests that are needed besides those with a reference (by running tasks), until the next
 * call; durable. */
int fl_image_store_set_needed(struct fl_image_store *store, const struct fl_digest *digests,
                              size_t count, struct fl_err *err);
/* Removes the blobs that no image of a repository, no reference and nothing needed leads to and
 * that are older than min_age_seconds (what is being pushed, without the lock, has no reference
 * yet). The caller holds the lock. */
int fl_image_store_collect(struct fl_image_store *store, int64_t min_age_seconds,
                           uint64_t *ret_freed_bytes, struct fl_err *err);
/* Does anything lead to the blob? Reads as much as collecting does. */
int fl_image_store_is_used(struct fl_image_store *store, const struct fl_digest *digest,
                           bool *ret_used, struct fl_err *err);
/* Makes the blob young, so that it outlives the next collection: for who is about to refer to it.
 * False when it is not there. */
bool fl_image_store_renew(struct fl_image_store *store, const struct fl_digest *digest,
                          uint64_t *ret_size);
/* Bytes that may still be written before the disk's reserve is touched: a twentieth of the disk, or
 * 2 GiB where that is less. */
uint64_t fl_image_store_room(const struct fl_image_store *store);

/* Images. */

/* A manifest as it lies in the store; strings in the arena. */
int fl_image_store_read_manifest(const struct fl_image_store *store, const struct fl_digest *digest,
                                 struct fl_arena *arena, struct fl_manifest *ret_manifest,
                                 struct fl_err *err);

struct fl_image {
    struct fl_digest digest; /* of the image manifest (the chosen one of an index) */
    struct fl_manifest manifest;
    struct fl_oci_config config;
};

/* Reads manifest and configuration, choosing this machine's from an index. Strings in the arena. */
int fl_image_store_read_image(const struct fl_image_store *store, const struct fl_digest *digest,
                              struct fl_arena *arena, struct fl_image *ret_image,
                              struct fl_err *err);
