/* From an ECR call to a job of the registry's and the answer; what all operations share. */
#include "server/ecr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "server/ecr_internal.h"
#include "wire/base64.h"

enum { PAGE_DEFAULT = 100 };

static void get_token(struct fl_ecr_call *call);

static const struct fl_ecr_operation operations[] = {
    {ECR_OP_BatchCheckLayerAvailability, false, NULL, fl_ecr_batch_check_layers, NULL},
    {ECR_OP_BatchDeleteImage, true, NULL, fl_ecr_batch_delete_image, NULL},
    {ECR_OP_BatchGetImage, false, NULL, fl_ecr_batch_get_image, NULL},
    {ECR_OP_CompleteLayerUpload, false, fl_ecr_before_complete, fl_ecr_complete_upload,
     fl_ecr_after_complete},
    {ECR_OP_CreateRepository, true, NULL, fl_ecr_create_repository, NULL},
    {ECR_OP_DeleteLifecyclePolicy, true, NULL, fl_ecr_delete_lifecycle, NULL},
    {ECR_OP_DeleteRepository, true, NULL, fl_ecr_delete_repository, NULL},
    {ECR_OP_DeleteRepositoryPolicy, true, NULL, fl_ecr_delete_policy, NULL},
    {ECR_OP_DescribeImages, false, NULL, fl_ecr_describe_images, NULL},
    {ECR_OP_DescribeRepositories, false, NULL, fl_ecr_describe_repositories, NULL},
    {ECR_OP_GetAuthorizationToken, false, NULL, get_token, NULL},
    {ECR_OP_GetDownloadUrlForLayer, false, NULL, fl_ecr_get_download_url, NULL},
    {ECR_OP_GetLifecyclePolicy, false, NULL, fl_ecr_get_lifecycle, NULL},
    {ECR_OP_GetLifecyclePolicyPreview, false, NULL, fl_ecr_get_lifecycle_preview, NULL},
    {ECR_OP_GetRepositoryPolicy, false, NULL, fl_ecr_get_policy, NULL},
    {ECR_OP_InitiateLayerUpload, false, NULL, fl_ecr_initiate_upload, fl_ecr_after_initiate},
    {ECR_OP_ListImages, false, NULL, fl_ecr_list_images, NULL},
    {ECR_OP_ListTagsForResource, false, NULL, fl_ecr_list_tags, NULL},
    {ECR_OP_PutImage, true, NULL, fl_ecr_put_image, NULL},
    {ECR_OP_PutImageScanningConfiguration, true, NULL, fl_ecr_put_scanning, NULL},
    {ECR_OP_PutImageTagMutability, true, NULL, fl_ecr_put_mutability, NULL},
    {ECR_OP_PutLifecyclePolicy, true, NULL, fl_ecr_put_lifecycle, NULL},
    {ECR_OP_SetRepositoryPolicy, true, NULL, fl_ecr_set_policy, NULL},
    {ECR_OP_StartLifecyclePolicyPreview, true, NULL, fl_ecr_start_lifecycle_preview, NULL},
    {ECR_OP_TagResource, true, NULL, fl_ecr_tag, NULL},
    {ECR_OP_UntagResource, true, NULL, fl_ecr_untag, NULL},
    {ECR_OP_UploadLayerPart, false, fl_ecr_before_part, fl_ecr_upload_part, fl_ecr_after_part},
};

bool fl_ecr_agent_may(int operation)
{
    static const int allowed[] = {
        ECR_OP_BatchCheckLayerAvailability,
        ECR_OP_BatchGetImage,
        ECR_OP_GetAuthorizationToken,
        ECR_OP_GetDownloadUrlForLayer,
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(allowed); i++)
        if (allowed[i] == operation)
            return true;
    return false;
}

/* ---- a call's way ---- */

static void end(struct fl_ecr_call *call)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(FL_ECR_ANSWER_MAX);
    if (!call->error)
        fl_shape_encode(ecr_service.operations[call->operation->operation].output, call->output,
                        &body);
    if (body.overflow)
        fl_ecr_fail(call, "LimitExceededException",
                    "The answer would be too long: ask for less of it at once.");
    if (call->has_changed)
        fl_registry_collect_soon(call->registry);
    if (call->error)
        call->reply(call->context, fl_str_is(FL_STR("ServerException"), call->error) ? 500 : 400,
                    fl_str_of(call->error), call->error_text);
    else
        call->reply(call->context, 200, FL_STR(""), fl_buf_str(&body));
    free(call);
}

static void run(struct fl_registry_job *job)
{
    struct fl_ecr_call *call = FL_CONTAINER_OF(job, struct fl_ecr_call, job);
    call->has_run = true;
    call->operation->run(call);
}

static void done(struct fl_registry_job *job)
{
    struct fl_ecr_call *call = FL_CONTAINER_OF(job, struct fl_ecr_call, job);
    if (!call->has_run)
        fl_ecr_fail(call, "ServerException", "The server is being stopped.");
    if (call->operation->after)
        call->operation->after(call);
    end(call);
}

static const struct fl_ecr_operation *find(int operation)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(operations); i++)
        if (operations[i].operation == operation)
            return &operations[i];
    return NULL;
}

void fl_ecr_handle(struct fl_registry *registry, int operation, const void *input,
                   enum fl_role role, struct fl_arena *arena, fl_ecr_reply reply, void *context)
{
    const struct fl_ecr_operation *op = find(operation);
    FL_ASSERT(op);
    struct fl_ecr_call *call = fl_calloc(1, sizeof(*call));
    *call = (struct fl_ecr_call){
        .job = {.is_exclusive = op->is_exclusive, .run = run, .done = done},
        .registry = registry,
        .operation = op,
        .input = input,
        .output = fl_arena_alloc(arena, fl_shape_size(ecr_service.operations[operation].output)),
        .role = role,
        .arena = arena,
        .now_ms = fl_clock_wall_ms(),
        .reply = reply,
        .context = context,
    };
    if (op->before)
        op->before(call);
    if (call->error)
        end(call);
    else
        fl_registry_submit(registry, &call->job);
}

void fl_ecr_fail(struct fl_ecr_call *call, const char *code, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if (call->error)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    call->error = code;
    call->error_text = fl_str_dup(call->arena, fl_str_of(text));
}

void fl_ecr_fail_store(struct fl_ecr_call *call, const struct fl_err *err)
{
    fl_ecr_fail(call, "ServerException", "%s", err->text);
}

/* ---- what operations share ---- */

static void fail_unknown(struct fl_ecr_call *call, struct fl_str registry_id, struct fl_str name)
{
    fl_ecr_fail(call, "RepositoryNotFoundException",
                "The repository with name '%.*s' does not exist in the registry with id '%.*s'",
                FL_STR_ARG(name), FL_STR_ARG(registry_id));
}

bool fl_ecr_need(struct fl_ecr_call *call, struct fl_str registry_id, struct fl_str name,
                 struct rec_Repository *ret_record)
{
    struct fl_str id = registry_id.n ? registry_id : call->registry->account;
    if (!fl_str_eq(id, call->registry->account)) {
        fail_unknown(call, id, name);
        return false;
    }
    int rc = fl_registry_read_settings(call->registry, name, call->arena, ret_record);
    if (rc == -ENOENT || rc == -EINVAL)
        fail_unknown(call, id, name);
    else if (rc < 0)
        fl_ecr_fail(call, "ServerException", "the repository's settings cannot be read");
    return rc == 0;
}

bool fl_ecr_save(struct fl_ecr_call *call, struct fl_str name, const struct rec_Repository *record)
{
    struct fl_err err = {0};
    if (fl_registry_write_settings(call->registry, name, record, &err) == 0)
        return true;
    fl_ecr_fail_store(call, &err);
    return false;
}

bool fl_ecr_images(struct fl_ecr_call *call, struct fl_str name,
                   struct fl_repository_image **ret_images, size_t *ret_count)
{
    if (fl_repository_list_images(call->registry->store, name, call->arena, ret_images,
                                  ret_count) == 0)
        return true;
    fl_ecr_fail(call, "ServerException", "the repository's images cannot be listed");
    return false;
}

struct fl_str fl_ecr_digest(struct fl_ecr_call *call, const struct fl_digest *digest)
{
    return fl_str_printf(call->arena, "sha256:%s", digest->hex);
}

bool fl_ecr_page(struct fl_ecr_call *call, struct fl_str token, size_t max, size_t count,
                 size_t *ret_from, size_t *ret_to, struct fl_str *ret_next)
{
    uint64_t from = 0;
    struct fl_str number = FL_STR("");
    if (token.n &&
        (!fl_base64_decode(token, call->arena, &number) || !fl_str_to_u64(number, &from))) {
        fl_ecr_fail(call, "InvalidParameterException",
                    "Invalid parameter at 'nextToken' failed to satisfy constraint: 'must be one "
                    "that an answer gave'");
        return false;
    }
    *ret_from = (size_t)FL_MIN(from, (uint64_t)count);
    *ret_to = *ret_from + FL_MIN(count - *ret_from, max ? max : (size_t)PAGE_DEFAULT);
    *ret_next = *ret_to < count
                    ? fl_base64_encode(call->arena, fl_str_printf(call->arena, "%zu", *ret_to))
                    : FL_STR("");
    return true;
}

bool fl_ecr_has_tags(const struct fl_repository_image *image, bool has_filter,
                     enum ecr_TagStatus status)
{
    if (!has_filter)
        return true;
    switch (status) {
    case ECR_TagStatus_TAGGED:
        return image->tag_count > 0;
    case ECR_TagStatus_UNTAGGED:
        return image->tag_count == 0;
    case ECR_TagStatus_ANY:
        return true;
    }
    return true;
}

/* The password is good for the registry alone, and for twelve hours. */
static void get_token(struct fl_ecr_call *call)
{
    const struct ecr_GetAuthorizationTokenRequest *in = call->input;
    struct ecr_GetAuthorizationTokenResponse *out = call->output;
    struct fl_registry *registry = call->registry;
    size_t n = FL_MAX(in->registryIds.n, (size_t)1);
    int64_t expires_ms = call->now_ms + FL_REGISTRY_TOKEN_MS;
    struct fl_str token =
        fl_registry_token_make(&registry->key, call->role, expires_ms, call->arena);
    struct fl_str pair = fl_str_printf(call->arena, "AWS:%.*s", FL_STR_ARG(token));
    struct ecr_AuthorizationData *data =
        fl_arena_new_array(call->arena, struct ecr_AuthorizationData, n);
    for (size_t i = 0; i < n; i++) {
        struct fl_str text = fl_base64_encode(call->arena, pair);
        struct fl_str endpoint =
            fl_str_printf(call->arena, "http://%.*s", FL_STR_ARG(registry->host));
        FL_SET(&data[i], ecr_AuthorizationData, authorizationToken, text);
        FL_SET(&data[i], ecr_AuthorizationData, expiresAt, expires_ms);
        FL_SET(&data[i], ecr_AuthorizationData, proxyEndpoint, endpoint);
    }
    FL_SET(out, ecr_GetAuthorizationTokenResponse, authorizationData,
           ((struct ecr_AuthorizationData_list){n, data}));
}
