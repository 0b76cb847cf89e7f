/* Images: listed, described, got, put and deleted by digest or tag. */
#include <errno.h>

#include "server/ecr_internal.h"

static void fail_image(struct fl_ecr_call *call, const struct ecr_ImageIdentifier *id,
                       struct fl_str repository)
{
    fl_ecr_fail(call, "ImageNotFoundException",
                "The image with imageId {imageDigest:'%.*s', imageTag:'%.*s'} does not exist "
                "within the repository with name '%.*s' in the registry with id '%.*s'",
                FL_STR_ARG(id->imageDigest.n ? id->imageDigest : FL_STR("null")),
                FL_STR_ARG(id->imageTag.n ? id->imageTag : FL_STR("null")), FL_STR_ARG(repository),
                FL_STR_ARG(call->registry->account));
}

/* Which image an identifier means, among a repository's; why it means none. */
static struct fl_repository_image *find(const struct ecr_ImageIdentifier *id,
                                        struct fl_repository_image *images, size_t count,
                                        enum ecr_ImageFailureCode *ret_code, const char **ret_text)
{
    struct fl_digest digest = {0};
    struct fl_repository_image *by_tag = NULL, *by_digest = NULL;
    if (id->imageDigest.n && !fl_digest_parse(id->imageDigest, &digest)) {
        *ret_code = ECR_ImageFailureCode_InvalidImageDigest;
        *ret_text = "Invalid request parameters: image digest should satisfy the regex "
                    "'[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
        return NULL;
    }
    if (!id->imageDigest.n && !id->imageTag.n) {
        *ret_code = ECR_ImageFailureCode_MissingDigestAndTag;
        *ret_text = "Invalid request parameters: both tag and digest cannot be null";
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (id->imageDigest.n && fl_digest_eq(&images[i].digest, &digest))
            by_digest = &images[i];
        for (size_t t = 0; t < images[i].tag_count; t++)
            if (fl_str_eq(images[i].tags[t], id->imageTag))
                by_tag = &images[i];
    }
    bool is_split = id->imageDigest.n && id->imageTag.n && by_tag != by_digest;
    *ret_code = is_split && by_digest ? ECR_ImageFailureCode_ImageTagDoesNotMatchDigest
                                      : ECR_ImageFailureCode_ImageNotFound;
    *ret_text = is_split && by_digest ? "Requested image tag does not match the image digest"
                                      : "Requested image not found";
    if (is_split)
        return NULL;
    return id->imageDigest.n ? by_digest : by_tag;
}

static void add_failure(struct ecr_ImageFailure_list *list, const struct ecr_ImageIdentifier *id,
                        enum ecr_ImageFailureCode code, const char *text)
{
    struct ecr_ImageFailure *failure = &list->items[list->n++];
    FL_SET(failure, ecr_ImageFailure, imageId, (struct ecr_ImageIdentifier *)id);
    FL_SET(failure, ecr_ImageFailure, failureCode, code);
    FL_SET(failure, ecr_ImageFailure, failureReason, fl_str_of(text));
}

static void fill_id(struct fl_ecr_call *call, const struct fl_digest *digest, struct fl_str tag,
                    struct ecr_ImageIdentifier *out)
{
    FL_SET(out, ecr_ImageIdentifier, imageDigest, fl_ecr_digest(call, digest));
    if (tag.n)
        FL_SET(out, ecr_ImageIdentifier, imageTag, tag);
}

/* ---- lists ---- */

void fl_ecr_list_images(struct fl_ecr_call *call)
{
    const struct ecr_ListImagesRequest *in = call->input;
    struct ecr_ListImagesResponse *out = call->output;
    struct rec_Repository record;
    struct fl_repository_image *images = NULL;
    struct fl_str next;
    size_t count = 0, ids = 0, from, to;
    bool has_filter = in->filter && FL_HAS(in->filter, ecr_ListImagesFilter, tagStatus);
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !fl_ecr_images(call, in->repositoryName, &images, &count))
        return;
    for (size_t i = 0; i < count; i++)
        ids += FL_MAX(images[i].tag_count, (size_t)1);
    struct ecr_ImageIdentifier_list list = {
        0, fl_arena_new_array(call->arena, struct ecr_ImageIdentifier, ids + 1)};
    for (size_t i = 0; i < count; i++) {
        if (!fl_ecr_has_tags(&images[i], has_filter,
                             has_filter ? in->filter->tagStatus : ECR_TagStatus_ANY))
            continue;
        if (images[i].tag_count == 0)
            fill_id(call, &images[i].digest, FL_STR(""), &list.items[list.n++]);
        for (size_t t = 0; t < images[i].tag_count; t++)
            fill_id(call, &images[i].digest, images[i].tags[t], &list.items[list.n++]);
    }
    if (!fl_ecr_page(call, in->nextToken, (size_t)in->maxResults, list.n, &from, &to, &next))
        return;
    list.items += from;
    list.n = to - from;
    FL_SET(out, ecr_ListImagesResponse, imageIds, list);
    if (next.n)
        FL_SET(out, ecr_ListImagesResponse, nextToken, next);
}

/* Bytes of an image that is no index, as a client fetches it. */
static uint64_t size_of_one(const struct fl_manifest *m)
{
    uint64_t size = m->config.size;
    for (size_t i = 0; i < m->layer_count; i++)
        size += m->layers[i].size;
    return size;
}

/* Of an index, of the largest that it lists. Manifests are large once they are read: none outlives
 * its turn. */
static int64_t size_of(struct fl_ecr_call *call, const struct fl_manifest *m)
{
    uint64_t size = m->is_index ? 0 : size_of_one(m);
    for (size_t i = 0; i < m->manifest_count; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_manifest listed;
        if (fl_image_store_read_manifest(call->registry->store, &m->manifests[i].digest, arena,
                                         &listed, NULL) == 0)
            size = FL_MAX(size, size_of_one(&listed));
    }
    return (int64_t)FL_MIN(size, (uint64_t)INT64_MAX);
}

static void describe(struct fl_ecr_call *call, struct fl_str repository,
                     const struct fl_repository_image *image, struct ecr_ImageDetail *out)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_manifest m = {0};
    (void)fl_image_store_read_manifest(call->registry->store, &image->digest, arena, &m, NULL);
    int64_t size = size_of(call, &m);
    struct fl_str artifact =
        fl_str_dup(call->arena, m.artifact_type.n ? m.artifact_type : m.config.media_type);
    FL_SET(out, ecr_ImageDetail, registryId, call->registry->account);
    FL_SET(out, ecr_ImageDetail, repositoryName, repository);
    FL_SET(out, ecr_ImageDetail, imageDigest, fl_ecr_digest(call, &image->digest));
    if (image->tag_count)
        FL_SET(out, ecr_ImageDetail, imageTags,
               ((struct fl_str_list){image->tag_count, image->tags}));
    FL_SET(out, ecr_ImageDetail, imageSizeInBytes, size);
    FL_SET(out, ecr_ImageDetail, imagePushedAt, image->pushed_at_ms);
    FL_SET(out, ecr_ImageDetail, imageManifestMediaType,
           image->media_type.n ? image->media_type : fl_str_dup(call->arena, m.media_type));
    if (artifact.n)
        FL_SET(out, ecr_ImageDetail, artifactMediaType, artifact);
    if (image->has_subject)
        FL_SET(out, ecr_ImageDetail, subjectManifestDigest, fl_ecr_digest(call, &image->subject));
    FL_SET(out, ecr_ImageDetail, imageStatus, ECR_ImageStatus_ACTIVE);
}

static void describe_named(struct fl_ecr_call *call, struct fl_repository_image *images,
                           size_t count, struct ecr_ImageDetail_list *list)
{
    const struct ecr_DescribeImagesRequest *in = call->input;
    list->items = fl_arena_new_array(call->arena, struct ecr_ImageDetail, in->imageIds.n + 1);
    for (size_t i = 0; i < in->imageIds.n; i++) {
        enum ecr_ImageFailureCode code;
        const char *text;
        const struct fl_repository_image *image =
            find(&in->imageIds.items[i], images, count, &code, &text);
        if (!image) {
            fail_image(call, &in->imageIds.items[i], in->repositoryName);
            return;
        }
        describe(call, in->repositoryName, image, &list->items[list->n++]);
    }
}

void fl_ecr_describe_images(struct fl_ecr_call *call)
{
    const struct ecr_DescribeImagesRequest *in = call->input;
    struct ecr_DescribeImagesResponse *out = call->output;
    struct ecr_ImageDetail_list list = {0};
    struct rec_Repository record;
    struct fl_repository_image *images = NULL;
    struct fl_str next = {0};
    size_t count = 0, kept = 0, from = 0, to = 0;
    bool has_filter = in->filter && FL_HAS(in->filter, ecr_DescribeImagesFilter, tagStatus);
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !fl_ecr_images(call, in->repositoryName, &images, &count))
        return;
    if (in->imageIds.n) {
        describe_named(call, images, count, &list);
    } else {
        for (size_t i = 0; i < count; i++)
            if (fl_ecr_has_tags(&images[i], has_filter,
                                has_filter ? in->filter->tagStatus : ECR_TagStatus_ANY))
                images[kept++] = images[i];
        if (!fl_ecr_page(call, in->nextToken, (size_t)in->maxResults, kept, &from, &to, &next))
            return;
        list.items = fl_arena_new_array(call->arena, struct ecr_ImageDetail, to - from + 1);
        for (size_t i = from; i < to; i++)
            describe(call, in->repositoryName, &images[i], &list.items[list.n++]);
    }
    FL_SET(out, ecr_DescribeImagesResponse, imageDetails, list);
    if (next.n)
        FL_SET(out, ecr_DescribeImagesResponse, nextToken, next);
}

/* ---- getting ---- */

static bool is_accepted(const struct ecr_BatchGetImageRequest *in, struct fl_str media_type)
{
    bool found = in->acceptedMediaTypes.n == 0;
    for (size_t i = 0; !found && i < in->acceptedMediaTypes.n; i++)
        found = fl_str_eq(in->acceptedMediaTypes.items[i], media_type);
    return found;
}

/* The image with its manifest; false when that cannot be read, or is not of a type accepted. */
static bool get_image(struct fl_ecr_call *call, const struct ecr_BatchGetImageRequest *in,
                      const struct ecr_ImageIdentifier *id, const struct fl_repository_image *image,
                      struct ecr_Image *out)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    struct fl_manifest m;
    struct ecr_ImageIdentifier *shown =
        fl_arena_new_object(call->arena, struct ecr_ImageIdentifier);
    if (fl_image_store_read_blob(call->registry->store, &image->digest, FL_MANIFEST_MAX_BYTES,
                                 &buf) < 0 ||
        fl_manifest_parse(fl_buf_str(&buf), image->media_type, arena, &m, NULL) < 0 ||
        !is_accepted(in, m.media_type))
        return false;
    fill_id(call, &image->digest, id->imageTag, shown);
    FL_SET(out, ecr_Image, registryId, call->registry->account);
    FL_SET(out, ecr_Image, repositoryName, in->repositoryName);
    FL_SET(out, ecr_Image, imageId, shown);
    FL_SET(out, ecr_Image, imageManifest, fl_str_dup(call->arena, fl_buf_str(&buf)));
    FL_SET(out, ecr_Image, imageManifestMediaType, fl_str_dup(call->arena, m.media_type));
    return true;
}

void fl_ecr_batch_get_image(struct fl_ecr_call *call)
{
    const struct ecr_BatchGetImageRequest *in = call->input;
    struct ecr_BatchGetImageResponse *out = call->output;
    struct rec_Repository record;
    struct fl_repository_image *images = NULL;
    size_t count = 0, bytes = 0, n = in->imageIds.n;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !fl_ecr_images(call, in->repositoryName, &images, &count))
        return;
    struct ecr_Image_list list = {0, fl_arena_new_array(call->arena, struct ecr_Image, n + 1)};
    struct ecr_ImageFailure_list failures = {
        0, fl_arena_new_array(call->arena, struct ecr_ImageFailure, n + 1)};
    /* What is too long for an answer already gets no longer: the answer says so. */
    for (size_t i = 0; i < n && bytes <= FL_ECR_ANSWER_MAX; i++) {
        const struct ecr_ImageIdentifier *id = &in->imageIds.items[i];
        enum ecr_ImageFailureCode code;
        const char *text;
        const struct fl_repository_image *image = find(id, images, count, &code, &text);
        if (image && get_image(call, in, id, image, &list.items[list.n]))
            bytes += list.items[list.n++].imageManifest.n;
        else
            add_failure(&failures, id, code, text);
    }
    FL_SET(out, ecr_BatchGetImageResponse, images, list);
    FL_SET(out, ecr_BatchGetImageResponse, failures, failures);
}

/* ---- putting ---- */

static void fail_put(struct fl_ecr_call *call, enum fl_registry_put_status status,
                     const struct fl_err *err)
{
    switch (status) {
    case FL_REGISTRY_PUT_OK:
        return;
    case FL_REGISTRY_PUT_INVALID:
        fl_ecr_fail(call, "InvalidParameterException",
                    "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '%s'",
                    err->text);
        return;
    case FL_REGISTRY_PUT_LAYER_MISSING:
        fl_ecr_fail(call, "LayersNotFoundException", "%s", err->text);
        return;
    case FL_REGISTRY_PUT_IMAGE_MISSING:
        fl_ecr_fail(call, "ReferencedImagesNotFoundException", "%s", err->text);
        return;
    case FL_REGISTRY_PUT_IMMUTABLE:
        fl_ecr_fail(call, "ImageTagAlreadyExistsException", "%s", err->text);
        return;
    case FL_REGISTRY_PUT_FAILED:
        fl_ecr_fail_store(call, err);
        return;
    }
}

/* What can be refused before the manifest is looked into. */
static bool check_put(struct fl_ecr_call *call, const struct ecr_PutImageRequest *in,
                      const struct fl_digest *digest)
{
    const struct fl_image_store *store = call->registry->store;
    struct fl_repository_image image;
    struct fl_ref ref;
    if (in->imageTag.n && !fl_tag_valid(in->imageTag))
        fl_ecr_fail(call, "InvalidParameterException",
                    "Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy "
                    "regular expression '[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}''");
    if (in->imageDigest.n && !fl_str_eq(in->imageDigest, fl_ecr_digest(call, digest)))
        fl_ecr_fail(call, "ImageDigestDoesNotMatchException",
                    "The image digest '%.*s' does not match the manifest's, 'sha256:%s'",
                    FL_STR_ARG(in->imageDigest), digest->hex);
    if (call->error)
        return false;
    bool is_there =
        fl_repository_find_image(store, in->repositoryName, digest, call->arena, &image) == 0;
    bool has_tag =
        in->imageTag.n &&
        fl_image_store_get_ref(store, in->repositoryName, in->imageTag, call->arena, &ref) == 0 &&
        fl_digest_eq(&ref.digest, digest);
    if (!has_tag && (!is_there || in->imageTag.n))
        return true;
    fl_ecr_fail(call, "ImageAlreadyExistsException",
                "Image with digest 'sha256:%s' and tag '%.*s' already exists in the repository "
                "with name '%.*s' in registry with id '%.*s'",
                digest->hex, FL_STR_ARG(in->imageTag.n ? in->imageTag : FL_STR("null")),
                FL_STR_ARG(in->repositoryName), FL_STR_ARG(call->registry->account));
    return false;
}

void fl_ecr_put_image(struct fl_ecr_call *call)
{
    const struct ecr_PutImageRequest *in = call->input;
    struct ecr_PutImageResponse *out = call->output;
    struct rec_Repository record;
    struct fl_err err = {0};
    struct ecr_Image *image = fl_arena_new_object(call->arena, struct ecr_Image);
    struct ecr_ImageIdentifier *id = fl_arena_new_object(call->arena, struct ecr_ImageIdentifier);
    struct fl_digest digest = fl_digest_of(in->imageManifest);
    struct fl_registry_put put = {
        .repository = in->repositoryName,
        .tag = in->imageTag,
        .bytes = in->imageManifest,
        .media_type = in->imageManifestMediaType,
    };
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !check_put(call, in, &digest))
        return;
    fail_put(call, fl_registry_put(call->registry, &put, call->arena, &err), &err);
    call->has_changed = true;
    fill_id(call, &digest, in->imageTag, id);
    FL_SET(image, ecr_Image, registryId, call->registry->account);
    FL_SET(image, ecr_Image, repositoryName, in->repositoryName);
    FL_SET(image, ecr_Image, imageId, id);
    FL_SET(image, ecr_Image, imageManifest, in->imageManifest);
    FL_SET(image, ecr_Image, imageManifestMediaType, put.manifest.media_type);
    FL_SET(out, ecr_PutImageResponse, image, image);
}

/* ---- deleting ---- */

struct deleting {
    struct ecr_ImageIdentifier_list gone;
    struct ecr_ImageFailure_list failures;
    size_t cap; /* of gone */
};

static void add_gone(struct fl_ecr_call *call, struct deleting *d, const struct fl_digest *digest,
                     struct fl_str tag)
{
    if (d->gone.n == d->cap) {
        struct ecr_ImageIdentifier *more =
            fl_arena_new_array(call->arena, struct ecr_ImageIdentifier, d->cap * 2);
        memcpy(more, d->gone.items, d->gone.n * sizeof(*more));
        d->gone.items = more;
        d->cap *= 2;
    }
    fill_id(call, digest, tag, &d->gone.items[d->gone.n++]);
}

/* A tag alone goes by itself, and the image with its last one; a digest takes all tags along. */
static void delete_one(struct fl_ecr_call *call, const struct ecr_ImageIdentifier *id,
                       struct deleting *d)
{
    const struct ecr_BatchDeleteImageRequest *in = call->input;
    struct fl_image_store *store = call->registry->store;
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    enum ecr_ImageFailureCode code;
    const char *text;
    if (!fl_ecr_images(call, in->repositoryName, &images, &count))
        return;
    const struct fl_repository_image *image = find(id, images, count, &code, &text);
    if (!image) {
        add_failure(&d->failures, id, code, text);
        return;
    }
    bool is_whole = id->imageTag.n == 0 || image->tag_count == 1;
    if (is_whole && fl_registry_is_listed(call->registry, in->repositoryName, &image->digest)) {
        add_failure(&d->failures, id, ECR_ImageFailureCode_ImageReferencedByManifestList,
                    "Requested image referenced by manifest list");
        return;
    }
    int rc = is_whole ? fl_repository_remove_listed(store, in->repositoryName, image)
                      : fl_image_store_remove_ref(store, in->repositoryName, id->imageTag);
    if (rc < 0) {
        fl_ecr_fail(call, "ServerException", "an image cannot be deleted");
        return;
    }
    call->has_changed = true;
    if (id->imageTag.n)
        add_gone(call, d, &image->digest, id->imageTag);
    else if (image->tag_count == 0)
        add_gone(call, d, &image->digest, FL_STR(""));
    else
        for (size_t t = 0; t < image->tag_count; t++)
            add_gone(call, d, &image->digest, image->tags[t]);
}

void fl_ecr_batch_delete_image(struct fl_ecr_call *call)
{
    const struct ecr_BatchDeleteImageRequest *in = call->input;
    struct ecr_BatchDeleteImageResponse *out = call->output;
    struct rec_Repository record;
    size_t n = in->imageIds.n;
    struct deleting d = {
        .gone.items = fl_arena_new_array(call->arena, struct ecr_ImageIdentifier, n + 1),
        .failures.items = fl_arena_new_array(call->arena, struct ecr_ImageFailure, n + 1),
        .cap = n + 1,
    };
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record))
        return;
    for (size_t i = 0; !call->error && i < n; i++)
        delete_one(call, &in->imageIds.items[i], &d);
    FL_SET(out, ecr_BatchDeleteImageResponse, imageIds, d.gone);
    FL_SET(out, ecr_BatchDeleteImageResponse, failures, d.failures);
}
