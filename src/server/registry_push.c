/* What changes repositories: manifests put and deleted, for both APIs, and blobs deleted. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "server/lifecycle.h"
#include "server/registry_internal.h"

/* Layers that their registry must not be given: they lie elsewhere. */
static bool is_foreign(const struct fl_descriptor *d)
{
    return fl_str_contains(d->media_type, FL_STR("nondistributable")) ||
           fl_str_contains(d->media_type, FL_STR(".foreign."));
}

static enum fl_registry_put_status check_blob(struct fl_registry *registry,
                                              const struct fl_descriptor *d, struct fl_err *err)
{
    uint64_t size = 0;
    if (is_foreign(d))
        return FL_REGISTRY_PUT_OK;
    if (!fl_image_store_renew(registry->store, &d->digest, &size)) {
        (void)fl_err_set(err, -ENOENT, "the registry has no blob sha256:%s", d->digest.hex);
        return FL_REGISTRY_PUT_LAYER_MISSING;
    }
    if (size == d->size)
        return FL_REGISTRY_PUT_OK;
    (void)fl_err_set(err, -EINVAL, "blob sha256:%s has %llu bytes, the manifest says %llu",
                     d->digest.hex, (unsigned long long)size, (unsigned long long)d->size);
    return FL_REGISTRY_PUT_INVALID;
}

/* An index lists images of its repository, and no other indexes. */
static enum fl_registry_put_status check_image(struct fl_registry *registry,
                                               const struct fl_registry_put *put,
                                               const struct fl_descriptor *d,
                                               struct fl_arena *arena, struct fl_err *err)
{
    struct fl_repository_image image;
    struct fl_manifest manifest;
    if (fl_repository_find_image(registry->store, put->repository, &d->digest, arena, &image) < 0 ||
        fl_image_store_read_manifest(registry->store, &d->digest, arena, &manifest, NULL) < 0) {
        (void)fl_err_set(err, -ENOENT, "the repository has no image sha256:%s", d->digest.hex);
        return FL_REGISTRY_PUT_IMAGE_MISSING;
    }
    (void)fl_image_store_renew(registry->store, &d->digest, NULL);
    if (!manifest.is_index)
        return FL_REGISTRY_PUT_OK;
    (void)fl_err_set(err, -EINVAL, "the image index lists another index");
    return FL_REGISTRY_PUT_INVALID;
}

static enum fl_registry_put_status check_parts(struct fl_registry *registry,
                                               const struct fl_registry_put *put,
                                               struct fl_arena *arena, struct fl_err *err)
{
    const struct fl_manifest *m = &put->manifest;
    enum fl_registry_put_status status = FL_REGISTRY_PUT_OK;
    if (!m->is_index)
        status = check_blob(registry, &m->config, err);
    for (size_t i = 0; status == FL_REGISTRY_PUT_OK && i < m->layer_count; i++)
        status = check_blob(registry, &m->layers[i], err);
    for (size_t i = 0; status == FL_REGISTRY_PUT_OK && i < m->manifest_count; i++)
        status = check_image(registry, put, &m->manifests[i], arena, err);
    return status;
}

static bool is_excluded(const struct rec_Repository *record, struct fl_str tag)
{
    for (size_t i = 0; i < record->imageTagMutabilityExclusionFilters.n; i++)
        if (fl_lifecycle_glob(record->imageTagMutabilityExclusionFilters.items[i].filter, tag))
            return true;
    return false;
}

static bool is_immutable(const struct rec_Repository *record, struct fl_str tag)
{
    if (!FL_HAS(record, rec_Repository, imageTagMutability))
        return false;
    switch (record->imageTagMutability) {
    case ECR_ImageTagMutability_MUTABLE:
        return false;
    case ECR_ImageTagMutability_IMMUTABLE:
        return true;
    case ECR_ImageTagMutability_IMMUTABLE_WITH_EXCLUSION:
        return !is_excluded(record, tag);
    case ECR_ImageTagMutability_MUTABLE_WITH_EXCLUSION:
        return is_excluded(record, tag);
    }
    return false;
}

/* May the tag lead to this manifest? */
static bool may_tag(struct fl_registry *registry, struct fl_registry_put *put,
                    struct fl_arena *arena, struct fl_err *err)
{
    struct rec_Repository record;
    struct fl_ref ref;
    if (put->tag.n == 0 ||
        fl_image_store_get_ref(registry->store, put->repository, put->tag, arena, &ref) < 0)
        return true;
    put->had_tag = fl_digest_eq(&ref.digest, &put->digest);
    if (put->had_tag || fl_registry_read_settings(registry, put->repository, arena, &record) < 0 ||
        !is_immutable(&record, put->tag))
        return true;
    (void)fl_err_set(err, -EEXIST,
                     "The image tag '%.*s' already exists in the '%.*s' repository and cannot be "
                     "overwritten because the tag is immutable.",
                     FL_STR_ARG(put->tag), FL_STR_ARG(put->repository));
    return false;
}

static int write_all(struct fl_registry *registry, struct fl_registry_put *put, struct fl_err *err)
{
    const struct fl_repository_image image = {
        .digest = put->digest,
        .size = put->bytes.n,
        .pushed_at_ms = fl_clock_wall_ms(),
        .has_subject = put->manifest.has_subject,
        .subject = put->manifest.subject,
        .media_type = put->manifest.media_type,
    };
    const struct fl_ref ref = {put->repository, put->tag, put->digest, put->bytes.n,
                               put->manifest.media_type};
    struct fl_digest written;
    if (fl_image_store_room(registry->store) < put->bytes.n)
        return fl_err_set(err, -ENOSPC, "what is free of it is kept in reserve");
    int rc = fl_image_store_put(registry->store, put->bytes, &written, err);
    if (rc >= 0)
        rc = fl_repository_add_image(registry->store, put->repository, &image, err);
    if (rc == 0 && put->tag.n && !put->had_tag)
        rc = fl_image_store_set_ref(registry->store, &ref, err);
    return rc;
}

enum fl_registry_put_status fl_registry_put(struct fl_registry *registry,
                                            struct fl_registry_put *put, struct fl_arena *arena,
                                            struct fl_err *err)
{
    put->digest = fl_digest_of(put->bytes);
    if (fl_manifest_parse(put->bytes, put->media_type, arena, &put->manifest, err) < 0)
        return FL_REGISTRY_PUT_INVALID;
    if (put->media_type.n && !fl_str_eq(put->media_type, put->manifest.media_type)) {
        (void)fl_err_set(err, -EINVAL, "the manifest is of another media type than was said");
        return FL_REGISTRY_PUT_INVALID;
    }
    enum fl_registry_put_status status = check_parts(registry, put, arena, err);
    if (status != FL_REGISTRY_PUT_OK)
        return status;
    if (!may_tag(registry, put, arena, err))
        return FL_REGISTRY_PUT_IMMUTABLE;
    return write_all(registry, put, err) < 0 ? FL_REGISTRY_PUT_FAILED : FL_REGISTRY_PUT_OK;
}

/* ---- over HTTP ---- */

static void answer_put(struct fl_registry_call *call, const struct fl_registry_put *put)
{
    struct fl_arena *arena = call->exchange->arena;
    call->status = 201;
    call->has_changed = true;
    fl_registry_header(call, "Location",
                       fl_str_printf(arena, "/v2/%.*s/manifests/sha256:%s",
                                     FL_STR_ARG(put->repository), put->digest.hex));
    fl_registry_digest_header(call, &put->digest);
    if (put->manifest.has_subject)
        fl_registry_header(call, "OCI-Subject",
                           fl_str_printf(arena, "sha256:%s", put->manifest.subject.hex));
}

static void put_manifest(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_err err = {0};
    struct fl_digest digest = fl_digest_of(exchange->body);
    struct fl_str type = fl_http_header(exchange, "Content-Type"), media_type = {0};
    (void)fl_str_split(&type, ';', &media_type);
    struct fl_registry_put put = {
        .repository = call->route.repository,
        .tag = call->route.has_digest ? FL_STR("") : call->route.reference,
        .bytes = exchange->body,
        .media_type = fl_str_trim(media_type),
    };
    if (!fl_registry_may_push(call))
        return;
    if (call->route.has_digest && !fl_digest_eq(&digest, &call->route.digest)) {
        fl_registry_fail(call, 400, "DIGEST_INVALID", "the manifest's digest is sha256:%s",
                         digest.hex);
        return;
    }
    switch (fl_registry_put(call->registry, &put, exchange->arena, &err)) {
    case FL_REGISTRY_PUT_OK:
        answer_put(call, &put);
        return;
    case FL_REGISTRY_PUT_INVALID:
        fl_registry_fail(call, 400, "MANIFEST_INVALID", "%s", err.text);
        return;
    case FL_REGISTRY_PUT_LAYER_MISSING:
    case FL_REGISTRY_PUT_IMAGE_MISSING:
        fl_registry_fail(call, 404, "MANIFEST_BLOB_UNKNOWN", "%s", err.text);
        return;
    case FL_REGISTRY_PUT_IMMUTABLE:
        fl_registry_fail(call, 400, "TAG_INVALID", "%s", err.text);
        return;
    case FL_REGISTRY_PUT_FAILED:
        fl_registry_fail_store(call, err.status, &err);
        return;
    }
}

void fl_registry_fail_size(struct fl_registry_call *call)
{
    fl_registry_fail(call, 413, "MANIFEST_INVALID", "the manifest is larger than %d bytes",
                     FL_MANIFEST_MAX_BYTES);
}

void fl_registry_put_manifest(struct fl_registry_call *call)
{
    if (call->exchange->body.n > FL_MANIFEST_MAX_BYTES) {
        fl_registry_fail_size(call);
        fl_registry_call_end(call);
        return;
    }
    fl_registry_call_run(call, true, put_manifest);
}

bool fl_registry_is_listed(struct fl_registry *registry, struct fl_str repository,
                           const struct fl_digest *digest)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    if (fl_repository_list_images(registry->store, repository, arena, &images, &count) < 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        FL_CLEANUP_ARENA struct fl_arena *scratch = fl_arena_new();
        struct fl_manifest m;
        bool may_list = fl_str_is(images[i].media_type, FL_MEDIA_OCI_INDEX) ||
                        fl_str_is(images[i].media_type, FL_MEDIA_DOCKER_INDEX);
        if (!may_list ||
            fl_image_store_read_manifest(registry->store, &images[i].digest, scratch, &m, NULL) < 0)
            continue;
        for (size_t k = 0; k < m.manifest_count; k++)
            if (fl_digest_eq(&m.manifests[k].digest, digest))
                return true;
    }
    return false;
}

static void delete_manifest(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_image_store *store = call->registry->store;
    struct fl_str repository = call->route.repository;
    struct fl_err err = {0};
    int rc;
    if (!fl_image_store_has_repository(store, repository)) {
        fl_registry_fail_name(call);
        return;
    }
    if (call->route.has_digest &&
        fl_registry_is_listed(call->registry, repository, &call->route.digest)) {
        fl_registry_fail(call, 403, "DENIED", "an image index of the repository lists the image");
        return;
    }
    rc = call->route.has_digest
             ? fl_repository_remove_image(store, repository, &call->route.digest)
             : fl_image_store_remove_ref(store, repository, call->route.reference);
    if (rc == -ENOENT) {
        fl_registry_fail(call, 404, "MANIFEST_UNKNOWN", "Requested image not found");
    } else if (rc < 0) {
        (void)fl_err_errno(&err, rc, "cannot delete the image");
        fl_registry_fail_store(call, rc, &err);
    } else {
        call->status = 202;
        call->has_changed = true;
    }
}

void fl_registry_delete_manifest(struct fl_registry_call *call)
{
    fl_registry_call_run(call, true, delete_manifest);
}

static void delete_blob(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_image_store *store = call->registry->store;
    const struct fl_digest *digest = &call->route.digest;
    struct fl_err err = {0};
    bool is_used = true;
    if (!fl_image_store_has(store, digest, NULL)) {
        fl_registry_fail(call, 404, "BLOB_UNKNOWN", "the registry has no blob sha256:%s",
                         digest->hex);
        return;
    }
    int rc = fl_image_store_is_used(store, digest, &is_used, &err);
    if (rc == 0 && is_used) {
        fl_registry_fail(call, 405, "UNSUPPORTED", "an image needs the blob");
        return;
    }
    if (rc == 0 && (rc = fl_image_store_remove_blob(store, digest)) < 0)
        (void)fl_err_errno(&err, rc, "cannot delete the blob");
    if (rc < 0)
        fl_registry_fail_store(call, rc, &err);
    else
        call->status = 202;
}

void fl_registry_delete_blob(struct fl_registry_call *call)
{
    fl_registry_call_run(call, true, delete_blob);
}
