/* Layers: asked for, downloaded, uploaded in parts. An upload is the same as one that HTTP began.
 */
#include <errno.h>

#include "server/ecr_internal.h"
#include "wire/base64.h"

/* A part is base64 in a JSON body, which has a bound of its own. */
enum { PART_BYTES = 5 << 20, DOWNLOAD_MS = 3600 * 1000 };

void fl_ecr_batch_check_layers(struct fl_ecr_call *call)
{
    const struct ecr_BatchCheckLayerAvailabilityRequest *in = call->input;
    struct ecr_BatchCheckLayerAvailabilityResponse *out = call->output;
    struct rec_Repository record;
    size_t n = in->layerDigests.n;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record))
        return;
    struct ecr_Layer_list layers = {0, fl_arena_new_array(call->arena, struct ecr_Layer, n + 1)};
    struct ecr_LayerFailure_list failures = {
        0, fl_arena_new_array(call->arena, struct ecr_LayerFailure, n + 1)};
    for (size_t i = 0; i < n; i++) {
        struct fl_str text = in->layerDigests.items[i];
        struct fl_digest digest;
        uint64_t size = 0;
        if (!fl_digest_parse(text, &digest)) {
            struct ecr_LayerFailure *failure = &failures.items[failures.n++];
            FL_SET(failure, ecr_LayerFailure, layerDigest, text);
            FL_SET(failure, ecr_LayerFailure, failureCode, ECR_LayerFailureCode_InvalidLayerDigest);
            FL_SET(failure, ecr_LayerFailure, failureReason,
                   FL_STR("Invalid layer digest: it must be sha256: and 64 hexadecimal digits"));
            continue;
        }
        struct ecr_Layer *layer = &layers.items[layers.n++];
        /* Who finds it will not send it again. */
        bool is_there = fl_image_store_renew(call->registry->store, &digest, &size);
        FL_SET(layer, ecr_Layer, layerDigest, text);
        FL_SET(layer, ecr_Layer, layerAvailability,
               is_there ? ECR_LayerAvailability_AVAILABLE : ECR_LayerAvailability_UNAVAILABLE);
        if (is_there)
            FL_SET(layer, ecr_Layer, layerSize, (int64_t)size);
    }
    FL_SET(out, ecr_BatchCheckLayerAvailabilityResponse, layers, layers);
    FL_SET(out, ecr_BatchCheckLayerAvailabilityResponse, failures, failures);
}

/* The URL needs no header: it is signed, and good for an hour. */
void fl_ecr_get_download_url(struct fl_ecr_call *call)
{
    const struct ecr_GetDownloadUrlForLayerRequest *in = call->input;
    struct ecr_GetDownloadUrlForLayerResponse *out = call->output;
    struct fl_registry *registry = call->registry;
    struct rec_Repository record;
    struct fl_digest digest;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record))
        return;
    if (!fl_digest_parse(in->layerDigest, &digest) ||
        !fl_image_store_has(registry->store, &digest, NULL)) {
        fl_ecr_fail(call, "LayersNotFoundException",
                    "The layer with digest '%.*s' was not found in the repository with name '%.*s' "
                    "in the registry with id '%.*s'",
                    FL_STR_ARG(in->layerDigest), FL_STR_ARG(in->repositoryName),
                    FL_STR_ARG(registry->account));
        return;
    }
    int64_t expires_ms = call->now_ms + DOWNLOAD_MS;
    struct fl_str path = fl_str_printf(call->arena, "/v2/%.*s/blobs/sha256:%s",
                                       FL_STR_ARG(in->repositoryName), digest.hex);
    struct fl_str signature = fl_registry_sign_path(&registry->key, path, expires_ms, call->arena);
    FL_SET(out, ecr_GetDownloadUrlForLayerResponse, downloadUrl,
           fl_str_printf(call->arena, "http://%.*s%.*s?expires=%lld&signature=%.*s",
                         FL_STR_ARG(registry->host), FL_STR_ARG(path), (long long)expires_ms,
                         FL_STR_ARG(signature)));
    FL_SET(out, ecr_GetDownloadUrlForLayerResponse, layerDigest, in->layerDigest);
}

/* ---- uploads ---- */

void fl_ecr_initiate_upload(struct fl_ecr_call *call)
{
    const struct ecr_InitiateLayerUploadRequest *in = call->input;
    struct rec_Repository record;
    (void)fl_ecr_need(call, in->registryId, in->repositoryName, &record);
}

void fl_ecr_after_initiate(struct fl_ecr_call *call)
{
    const struct ecr_InitiateLayerUploadRequest *in = call->input;
    struct ecr_InitiateLayerUploadResponse *out = call->output;
    struct fl_upload *upload =
        call->error ? NULL : fl_upload_new(call->registry, in->repositoryName);
    if (!upload) {
        fl_ecr_fail(call, "LimitExceededException", "Too many uploads are under way.");
        return;
    }
    FL_SET(out, ecr_InitiateLayerUploadResponse, uploadId,
           fl_str_dup(call->arena, fl_str_of(upload->id)));
    FL_SET(out, ecr_InitiateLayerUploadResponse, partSize, PART_BYTES);
}

/* Takes the upload for this call; what a call has taken its `after` gives back. */
static void take(struct fl_ecr_call *call, struct fl_str repository, struct fl_str id)
{
    struct fl_upload *upload = fl_upload_find(call->registry, repository, id);
    if (!upload || upload->is_busy) {
        fl_ecr_fail(call, "UploadNotFoundException",
                    "The upload with id '%.*s' %s the repository with name '%.*s' in the registry "
                    "with id '%.*s'",
                    FL_STR_ARG(id), upload ? "is being written to in" : "does not exist in",
                    FL_STR_ARG(repository), FL_STR_ARG(call->registry->account));
        return;
    }
    upload->is_busy = true;
    call->upload = upload;
}

void fl_ecr_before_part(struct fl_ecr_call *call)
{
    const struct ecr_UploadLayerPartRequest *in = call->input;
    take(call, in->repositoryName, in->uploadId);
    if (call->error)
        return;
    if (in->partFirstByte >= 0 && (uint64_t)in->partFirstByte == call->upload->size)
        return;
    call->upload->is_busy = false;
    fl_ecr_fail(call, "InvalidLayerPartException",
                "The part does not begin where the upload ends: at byte %llu",
                (unsigned long long)call->upload->size);
}

void fl_ecr_upload_part(struct fl_ecr_call *call)
{
    const struct ecr_UploadLayerPartRequest *in = call->input;
    struct fl_str bytes = FL_STR("");
    struct fl_err err = {0};
    if (!fl_base64_decode(in->layerPartBlob, call->arena, &bytes) || bytes.n == 0 ||
        in->partLastByte < in->partFirstByte ||
        bytes.n - 1 != (uint64_t)(in->partLastByte - in->partFirstByte)) {
        fl_ecr_fail(call, "InvalidLayerPartException",
                    "The part has %zu bytes, which is not what its range says", bytes.n);
        return;
    }
    if (fl_upload_write(call->registry, call->upload, bytes.p, bytes.n, &err) < 0)
        fl_ecr_fail_store(call, &err);
}

void fl_ecr_after_part(struct fl_ecr_call *call)
{
    const struct ecr_UploadLayerPartRequest *in = call->input;
    struct ecr_UploadLayerPartResponse *out = call->output;
    struct fl_upload *upload = call->upload;
    bool is_lost = call->error && fl_str_is(FL_STR("ServerException"), call->error);
    upload->is_busy = false;
    if (is_lost)
        fl_upload_drop(call->registry, upload);
    if (call->error)
        return;
    upload->size = (uint64_t)in->partLastByte + 1;
    FL_SET(out, ecr_UploadLayerPartResponse, registryId, call->registry->account);
    FL_SET(out, ecr_UploadLayerPartResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_UploadLayerPartResponse, uploadId, in->uploadId);
    FL_SET(out, ecr_UploadLayerPartResponse, lastByteReceived, in->partLastByte);
}

void fl_ecr_before_complete(struct fl_ecr_call *call)
{
    const struct ecr_CompleteLayerUploadRequest *in = call->input;
    struct fl_digest digest;
    if (in->layerDigests.n != 1 || !fl_digest_parse(in->layerDigests.items[0], &digest)) {
        fl_ecr_fail(
            call, "InvalidParameterException",
            "Invalid parameter at 'layerDigests' failed to satisfy constraint: 'one digest, "
            "sha256: and 64 hexadecimal digits'");
        return;
    }
    take(call, in->repositoryName, in->uploadId);
    if (call->error || call->upload->size > 0)
        return;
    call->upload->is_busy = false;
    fl_ecr_fail(call, "EmptyUploadException", "The upload with id '%.*s' has no parts",
                FL_STR_ARG(in->uploadId));
}

void fl_ecr_complete_upload(struct fl_ecr_call *call)
{
    const struct ecr_CompleteLayerUploadRequest *in = call->input;
    struct fl_digest digest;
    struct fl_err err = {0};
    FL_ASSERT(fl_digest_parse(in->layerDigests.items[0], &digest));
    bool was_there = fl_image_store_has(call->registry->store, &digest, NULL);
    int rc = fl_upload_commit(call->registry, call->upload, &digest, &err);
    if (rc == -EBADMSG)
        fl_ecr_fail(call, "InvalidLayerException", "%s", err.text);
    else if (rc < 0)
        fl_ecr_fail_store(call, &err);
    else if (was_there)
        fl_ecr_fail(call, "LayerAlreadyExistsException",
                    "The layer with digest 'sha256:%s' already exists in the repository with name "
                    "'%.*s' in the registry with id '%.*s'",
                    digest.hex, FL_STR_ARG(in->repositoryName),
                    FL_STR_ARG(call->registry->account));
}

void fl_ecr_after_complete(struct fl_ecr_call *call)
{
    const struct ecr_CompleteLayerUploadRequest *in = call->input;
    struct ecr_CompleteLayerUploadResponse *out = call->output;
    call->upload->is_busy = false;
    fl_upload_drop(call->registry, call->upload);
    FL_SET(out, ecr_CompleteLayerUploadResponse, registryId, call->registry->account);
    FL_SET(out, ecr_CompleteLayerUploadResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_CompleteLayerUploadResponse, uploadId, in->uploadId);
    FL_SET(out, ecr_CompleteLayerUploadResponse, layerDigest, in->layerDigests.items[0]);
}
