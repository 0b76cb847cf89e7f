/* Lifecycle policies: kept with the repository, applied when images are collected; a preview is
 * worked out when it is asked for. */
#include "server/ecr_internal.h"
#include "server/lifecycle.h"

static bool check(struct fl_ecr_call *call, struct fl_str text)
{
    struct fl_lifecycle_policy policy;
    struct fl_err err = {0};
    if (fl_lifecycle_parse(text, call->arena, &policy, &err) == 0)
        return true;
    fl_ecr_fail(call, "InvalidParameterException", "%s", err.text);
    return false;
}

void fl_ecr_put_lifecycle(struct fl_ecr_call *call)
{
    const struct ecr_PutLifecyclePolicyRequest *in = call->input;
    struct ecr_PutLifecyclePolicyResponse *out = call->output;
    struct rec_Repository record;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !check(call, in->lifecyclePolicyText))
        return;
    FL_SET(&record, rec_Repository, lifecyclePolicyText, in->lifecyclePolicyText);
    if (!fl_ecr_save(call, in->repositoryName, &record))
        return;
    call->has_changed = true;
    FL_SET(out, ecr_PutLifecyclePolicyResponse, registryId, call->registry->account);
    FL_SET(out, ecr_PutLifecyclePolicyResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_PutLifecyclePolicyResponse, lifecyclePolicyText, in->lifecyclePolicyText);
}

static bool need(struct fl_ecr_call *call, struct fl_str registry_id, struct fl_str name,
                 struct rec_Repository *record)
{
    if (!fl_ecr_need(call, registry_id, name, record))
        return false;
    if (!FL_HAS(record, rec_Repository, lifecyclePolicyText))
        fl_ecr_fail(call, "LifecyclePolicyNotFoundException",
                    "Lifecycle policy does not exist for the repository with name '%.*s' in the "
                    "registry with id '%.*s'",
                    FL_STR_ARG(name), FL_STR_ARG(call->registry->account));
    return !call->error;
}

void fl_ecr_get_lifecycle(struct fl_ecr_call *call)
{
    const struct ecr_GetLifecyclePolicyRequest *in = call->input;
    struct ecr_GetLifecyclePolicyResponse *out = call->output;
    struct rec_Repository record;
    if (!need(call, in->registryId, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_GetLifecyclePolicyResponse, registryId, call->registry->account);
    FL_SET(out, ecr_GetLifecyclePolicyResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_GetLifecyclePolicyResponse, lifecyclePolicyText, record.lifecyclePolicyText);
    if (FL_HAS(&record, rec_Repository, lastEvaluatedAt))
        FL_SET(out, ecr_GetLifecyclePolicyResponse, lastEvaluatedAt, record.lastEvaluatedAt);
}

void fl_ecr_delete_lifecycle(struct fl_ecr_call *call)
{
    const struct ecr_DeleteLifecyclePolicyRequest *in = call->input;
    struct ecr_DeleteLifecyclePolicyResponse *out = call->output;
    struct rec_Repository record;
    if (!need(call, in->registryId, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_DeleteLifecyclePolicyResponse, registryId, call->registry->account);
    FL_SET(out, ecr_DeleteLifecyclePolicyResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_DeleteLifecyclePolicyResponse, lifecyclePolicyText, record.lifecyclePolicyText);
    if (FL_HAS(&record, rec_Repository, lastEvaluatedAt))
        FL_SET(out, ecr_DeleteLifecyclePolicyResponse, lastEvaluatedAt, record.lastEvaluatedAt);
    FL_UNSET(&record, rec_Repository, lifecyclePolicyText);
    FL_UNSET(&record, rec_Repository, lastEvaluatedAt);
    (void)fl_ecr_save(call, in->repositoryName, &record);
}

/* ---- previews ---- */

void fl_ecr_start_lifecycle_preview(struct fl_ecr_call *call)
{
    const struct ecr_StartLifecyclePolicyPreviewRequest *in = call->input;
    struct ecr_StartLifecyclePolicyPreviewResponse *out = call->output;
    struct rec_Repository record;
    struct fl_str text = in->lifecyclePolicyText;
    bool is_given = FL_HAS(in, ecr_StartLifecyclePolicyPreviewRequest, lifecyclePolicyText);
    if (!(is_given ? fl_ecr_need(call, in->registryId, in->repositoryName, &record)
                   : need(call, in->registryId, in->repositoryName, &record)))
        return;
    if (!is_given)
        text = record.lifecyclePolicyText;
    if (!check(call, text))
        return;
    FL_SET(&record, rec_Repository, previewPolicyText, text);
    if (!fl_ecr_save(call, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_StartLifecyclePolicyPreviewResponse, registryId, call->registry->account);
    FL_SET(out, ecr_StartLifecyclePolicyPreviewResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_StartLifecyclePolicyPreviewResponse, lifecyclePolicyText, text);
    FL_SET(out, ecr_StartLifecyclePolicyPreviewResponse, status,
           ECR_LifecyclePolicyPreviewStatus_IN_PROGRESS);
}

static bool is_wanted(const struct ecr_GetLifecyclePolicyPreviewRequest *in,
                      const struct fl_repository_image *image)
{
    bool found = in->imageIds.n == 0;
    for (size_t i = 0; !found && i < in->imageIds.n; i++) {
        const struct ecr_ImageIdentifier *id = &in->imageIds.items[i];
        struct fl_digest digest;
        found = fl_digest_parse(id->imageDigest, &digest) && fl_digest_eq(&digest, &image->digest);
        for (size_t t = 0; !found && t < image->tag_count; t++)
            found = fl_str_eq(id->imageTag, image->tags[t]);
    }
    bool has_filter = in->filter && FL_HAS(in->filter, ecr_LifecyclePolicyPreviewFilter, tagStatus);
    return found && fl_ecr_has_tags(image, has_filter,
                                    has_filter ? in->filter->tagStatus : ECR_TagStatus_ANY);
}

static void show_result(struct fl_ecr_call *call, const struct fl_repository_image *image,
                        int32_t priority, struct ecr_LifecyclePolicyPreviewResult *out)
{
    struct ecr_LifecyclePolicyRuleAction *action =
        fl_arena_new_object(call->arena, struct ecr_LifecyclePolicyRuleAction);
    FL_SET(action, ecr_LifecyclePolicyRuleAction, type, ECR_ImageActionType_EXPIRE);
    FL_SET(out, ecr_LifecyclePolicyPreviewResult, imageTags,
           ((struct fl_str_list){image->tag_count, image->tags}));
    FL_SET(out, ecr_LifecyclePolicyPreviewResult, imageDigest, fl_ecr_digest(call, &image->digest));
    FL_SET(out, ecr_LifecyclePolicyPreviewResult, imagePushedAt, image->pushed_at_ms);
    FL_SET(out, ecr_LifecyclePolicyPreviewResult, action, action);
    FL_SET(out, ecr_LifecyclePolicyPreviewResult, appliedRulePriority, priority);
}

/* The images that the policy would expire and the request wants to see. */
static bool evaluate(struct fl_ecr_call *call, const struct rec_Repository *record,
                     struct ecr_LifecyclePolicyPreviewResult_list *list, size_t *ret_total)
{
    const struct ecr_GetLifecyclePolicyPreviewRequest *in = call->input;
    struct fl_lifecycle_policy policy;
    struct fl_repository_image *images = NULL;
    struct fl_err err = {0};
    size_t count = 0;
    if (fl_lifecycle_parse(record->previewPolicyText, call->arena, &policy, &err) < 0 ||
        !fl_ecr_images(call, in->repositoryName, &images, &count)) {
        fl_ecr_fail(call, "ServerException", "%s", err.text);
        return false;
    }
    int32_t *by = fl_arena_new_array(call->arena, int32_t, count + 1);
    bool *is_kept = fl_arena_new_array(call->arena, bool, count + 1);
    fl_registry_mark_kept(call->registry, images, count, is_kept);
    fl_lifecycle_apply(&policy, images, count, is_kept, call->now_ms, by);
    list->items =
        fl_arena_new_array(call->arena, struct ecr_LifecyclePolicyPreviewResult, count + 1);
    for (size_t i = 0; i < count; i++) {
        *ret_total += by[i] > 0;
        if (by[i] > 0 && is_wanted(in, &images[i]))
            show_result(call, &images[i], by[i], &list->items[list->n++]);
    }
    return true;
}

void fl_ecr_get_lifecycle_preview(struct fl_ecr_call *call)
{
    const struct ecr_GetLifecyclePolicyPreviewRequest *in = call->input;
    struct ecr_GetLifecyclePolicyPreviewResponse *out = call->output;
    struct ecr_LifecyclePolicyPreviewSummary *summary =
        fl_arena_new_object(call->arena, struct ecr_LifecyclePolicyPreviewSummary);
    struct ecr_LifecyclePolicyPreviewResult_list list = {0};
    struct rec_Repository record;
    struct fl_str next;
    size_t total = 0, from, to;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record))
        return;
    if (!FL_HAS(&record, rec_Repository, previewPolicyText)) {
        fl_ecr_fail(call, "LifecyclePolicyPreviewNotFoundException",
                    "Lifecycle policy preview does not exist for the repository with name '%.*s' "
                    "in the registry with id '%.*s'",
                    FL_STR_ARG(in->repositoryName), FL_STR_ARG(call->registry->account));
        return;
    }
    if (!evaluate(call, &record, &list, &total) ||
        !fl_ecr_page(call, in->nextToken, (size_t)in->maxResults, list.n, &from, &to, &next))
        return;
    list.items += from;
    list.n = to - from;
    FL_SET(summary, ecr_LifecyclePolicyPreviewSummary, expiringImageTotalCount, (int32_t)total);
    FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, registryId, call->registry->account);
    FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, lifecyclePolicyText,
           record.previewPolicyText);
    FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, status,
           ECR_LifecyclePolicyPreviewStatus_COMPLETE);
    FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, previewResults, list);
    FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, summary, summary);
    if (next.n)
        FL_SET(out, ecr_GetLifecyclePolicyPreviewResponse, nextToken, next);
}
