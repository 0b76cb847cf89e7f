/* Repositories: made, shown, deleted, and what is set on them.
 *
 * Encryption and scanning are kept and given back as they were asked for; nothing is encrypted or
 * scanned here. A policy is kept and given back, too: the registry knows one user. */
#include <errno.h>

#include "server/ecr_internal.h"
#include "wire/json.h"

enum { TAGS_MAX = 50, TAG_KEY_MAX = 128, TAG_VALUE_MAX = 256 };

static const char prefix[] = "arn:aws:ecr:";

static struct fl_str arn_of(struct fl_ecr_call *call, struct fl_str name)
{
    const struct fl_registry *registry = call->registry;
    return fl_str_printf(call->arena, "%s%.*s:%.*s:repository/%.*s", prefix,
                         FL_STR_ARG(registry->region), FL_STR_ARG(registry->account),
                         FL_STR_ARG(name));
}

/* The repository as answers show it. */
static void show(struct fl_ecr_call *call, struct fl_str name, const struct rec_Repository *record,
                 struct ecr_Repository *out)
{
    struct fl_arena *arena = call->arena;
    struct ecr_ImageScanningConfiguration *scanning =
        fl_arena_new_object(arena, struct ecr_ImageScanningConfiguration);
    struct ecr_EncryptionConfiguration *encryption =
        fl_arena_new_object(arena, struct ecr_EncryptionConfiguration);
    FL_SET(scanning, ecr_ImageScanningConfiguration, scanOnPush, false);
    FL_SET(encryption, ecr_EncryptionConfiguration, encryptionType, ECR_EncryptionType_AES256);
    FL_SET(out, ecr_Repository, repositoryArn, arn_of(call, name));
    FL_SET(out, ecr_Repository, registryId, call->registry->account);
    FL_SET(out, ecr_Repository, repositoryName, name);
    FL_SET(out, ecr_Repository, repositoryUri,
           fl_str_printf(arena, "%.*s/%.*s", FL_STR_ARG(call->registry->host), FL_STR_ARG(name)));
    FL_SET(out, ecr_Repository, createdAt, record->createdAt);
    FL_SET(out, ecr_Repository, imageTagMutability,
           FL_HAS(record, rec_Repository, imageTagMutability) ? record->imageTagMutability
                                                              : ECR_ImageTagMutability_MUTABLE);
    if (record->imageTagMutabilityExclusionFilters.n)
        FL_SET(out, ecr_Repository, imageTagMutabilityExclusionFilters,
               record->imageTagMutabilityExclusionFilters);
    FL_SET(out, ecr_Repository, imageScanningConfiguration,
           FL_HAS(record, rec_Repository, imageScanningConfiguration)
               ? record->imageScanningConfiguration
               : scanning);
    FL_SET(out, ecr_Repository, encryptionConfiguration,
           FL_HAS(record, rec_Repository, encryptionConfiguration) ? record->encryptionConfiguration
                                                                   : encryption);
}

/* ---- tags ---- */

static bool check_tags(struct fl_ecr_call *call, const struct ecr_Tag_list *tags)
{
    if (tags->n > TAGS_MAX)
        fl_ecr_fail(call, "TooManyTagsException", "A repository can have at most %d tags",
                    TAGS_MAX);
    for (size_t i = 0; !call->error && i < tags->n; i++) {
        const struct ecr_Tag *tag = &tags->items[i];
        if (tag->Key.n == 0 || tag->Key.n > TAG_KEY_MAX || tag->Value.n > TAG_VALUE_MAX ||
            fl_str_starts(tag->Key, FL_STR("aws:")))
            fl_ecr_fail(call, "InvalidTagParameterException",
                        "Invalid parameter at 'tags' failed to satisfy constraint: 'keys have 1 to "
                        "128 characters and do not begin with aws:, values have at most 256'");
        for (size_t k = 0; k < i; k++)
            if (fl_str_eq(tags->items[k].Key, tag->Key))
                fl_ecr_fail(call, "InvalidTagParameterException", "Duplicate tag keys found: %.*s",
                            FL_STR_ARG(tag->Key));
    }
    return !call->error;
}

/* The repository that an ARN of ours names; empty after failing the call. */
static struct fl_str name_of_arn(struct fl_ecr_call *call, struct fl_str arn)
{
    struct fl_str head = arn_of(call, FL_STR(""));
    if (fl_str_starts(arn, head) && arn.n > head.n)
        return fl_str_from(arn, head.n);
    fl_ecr_fail(call, "InvalidParameterException",
                "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'");
    return FL_STR("");
}

static bool need_by_arn(struct fl_ecr_call *call, struct fl_str arn, struct fl_str *ret_name,
                        struct rec_Repository *ret_record)
{
    *ret_name = name_of_arn(call, arn);
    return !call->error && fl_ecr_need(call, FL_STR(""), *ret_name, ret_record);
}

void fl_ecr_tag(struct fl_ecr_call *call)
{
    const struct ecr_TagResourceRequest *in = call->input;
    struct rec_Repository record;
    struct fl_str name;
    if (!check_tags(call, &in->tags) || !need_by_arn(call, in->resourceArn, &name, &record))
        return;
    struct ecr_Tag_list all = {
        0, fl_arena_new_array(call->arena, struct ecr_Tag, record.tags.n + in->tags.n + 1)};
    for (size_t i = 0; i < record.tags.n; i++)
        all.items[all.n++] = record.tags.items[i];
    for (size_t i = 0; i < in->tags.n; i++) {
        size_t at = 0;
        while (at < all.n && !fl_str_eq(all.items[at].Key, in->tags.items[i].Key))
            at++;
        all.items[at] = in->tags.items[i];
        all.n = FL_MAX(all.n, at + 1);
    }
    FL_SET(&record, rec_Repository, tags, all);
    if (check_tags(call, &all))
        (void)fl_ecr_save(call, name, &record);
}

void fl_ecr_untag(struct fl_ecr_call *call)
{
    const struct ecr_UntagResourceRequest *in = call->input;
    struct rec_Repository record;
    struct fl_str name;
    size_t kept = 0;
    if (!need_by_arn(call, in->resourceArn, &name, &record))
        return;
    for (size_t i = 0; i < record.tags.n; i++) {
        bool is_named = false;
        for (size_t k = 0; k < in->tagKeys.n; k++)
            is_named |= fl_str_eq(in->tagKeys.items[k], record.tags.items[i].Key);
        if (!is_named)
            record.tags.items[kept++] = record.tags.items[i];
    }
    record.tags.n = kept;
    (void)fl_ecr_save(call, name, &record);
}

void fl_ecr_list_tags(struct fl_ecr_call *call)
{
    const struct ecr_ListTagsForResourceRequest *in = call->input;
    struct ecr_ListTagsForResourceResponse *out = call->output;
    struct rec_Repository record;
    struct fl_str name;
    if (need_by_arn(call, in->resourceArn, &name, &record))
        FL_SET(out, ecr_ListTagsForResourceResponse, tags, record.tags);
}

/* ---- creating, showing, deleting ---- */

static bool check_mutability(struct fl_ecr_call *call, bool has_mutability,
                             enum ecr_ImageTagMutability mutability, size_t filters)
{
    bool wants = has_mutability && (mutability == ECR_ImageTagMutability_IMMUTABLE_WITH_EXCLUSION ||
                                    mutability == ECR_ImageTagMutability_MUTABLE_WITH_EXCLUSION);
    if (wants == (filters > 0))
        return true;
    fl_ecr_fail(call, "InvalidParameterException",
                "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy "
                "constraint: 'filters go with IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION, "
                "and only with them'");
    return false;
}

static bool check_new(struct fl_ecr_call *call, const struct ecr_CreateRepositoryRequest *in)
{
    struct fl_registry *registry = call->registry;
    if (!fl_repository_valid(in->repositoryName)) {
        fl_ecr_fail(call, "InvalidParameterException",
                    "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must "
                    "satisfy regular expression "
                    "'(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''");
        return false;
    }
    if (fl_image_store_has_repository(registry->store, in->repositoryName)) {
        fl_ecr_fail(call, "RepositoryAlreadyExistsException",
                    "The repository with name '%.*s' already exists in the registry with id '%.*s'",
                    FL_STR_ARG(in->repositoryName), FL_STR_ARG(registry->account));
        return false;
    }
    return check_tags(call, &in->tags) &&
           check_mutability(call, FL_HAS(in, ecr_CreateRepositoryRequest, imageTagMutability),
                            in->imageTagMutability, in->imageTagMutabilityExclusionFilters.n);
}

void fl_ecr_create_repository(struct fl_ecr_call *call)
{
    const struct ecr_CreateRepositoryRequest *in = call->input;
    struct ecr_CreateRepositoryResponse *out = call->output;
    struct rec_Repository record = {0};
    struct ecr_Repository *shown = fl_arena_new_object(call->arena, struct ecr_Repository);
    if (!check_new(call, in))
        return;
    FL_SET(&record, rec_Repository, v, 1);
    FL_SET(&record, rec_Repository, createdAt, call->now_ms);
    if (in->tags.n)
        FL_SET(&record, rec_Repository, tags, in->tags);
    if (FL_HAS(in, ecr_CreateRepositoryRequest, imageTagMutability))
        FL_SET(&record, rec_Repository, imageTagMutability, in->imageTagMutability);
    if (in->imageTagMutabilityExclusionFilters.n)
        FL_SET(&record, rec_Repository, imageTagMutabilityExclusionFilters,
               in->imageTagMutabilityExclusionFilters);
    if (in->imageScanningConfiguration)
        FL_SET(&record, rec_Repository, imageScanningConfiguration, in->imageScanningConfiguration);
    if (in->encryptionConfiguration)
        FL_SET(&record, rec_Repository, encryptionConfiguration, in->encryptionConfiguration);
    if (!fl_ecr_save(call, in->repositoryName, &record))
        return;
    show(call, in->repositoryName, &record, shown);
    FL_SET(out, ecr_CreateRepositoryResponse, repository, shown);
}

static void describe_named(struct fl_ecr_call *call, const struct fl_str_list *names,
                           struct fl_str registry_id, struct ecr_Repository_list *list)
{
    for (size_t i = 0; i < names->n; i++) {
        struct rec_Repository record;
        if (!fl_ecr_need(call, registry_id, names->items[i], &record))
            return;
        show(call, names->items[i], &record, &list->items[list->n++]);
    }
}

void fl_ecr_describe_repositories(struct fl_ecr_call *call)
{
    const struct ecr_DescribeRepositoriesRequest *in = call->input;
    struct ecr_DescribeRepositoriesResponse *out = call->output;
    struct fl_str_list names = in->repositoryNames;
    struct fl_str next = {0};
    size_t count = 0, from = 0, to = 0;
    if (names.n == 0) {
        if (fl_repository_list(call->registry->store, call->arena, &names.items, &count) < 0) {
            fl_ecr_fail(call, "ServerException", "the repositories cannot be listed");
            return;
        }
        if (!fl_ecr_page(call, in->nextToken, (size_t)in->maxResults, count, &from, &to, &next))
            return;
        names.items += from;
        names.n = to - from;
    }
    struct ecr_Repository_list list = {
        0, fl_arena_new_array(call->arena, struct ecr_Repository, names.n + 1)};
    describe_named(call, &names, in->registryId, &list);
    FL_SET(out, ecr_DescribeRepositoriesResponse, repositories, list);
    if (next.n)
        FL_SET(out, ecr_DescribeRepositoriesResponse, nextToken, next);
}

void fl_ecr_delete_repository(struct fl_ecr_call *call)
{
    const struct ecr_DeleteRepositoryRequest *in = call->input;
    struct ecr_DeleteRepositoryResponse *out = call->output;
    struct ecr_Repository *shown = fl_arena_new_object(call->arena, struct ecr_Repository);
    struct rec_Repository record;
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !fl_ecr_images(call, in->repositoryName, &images, &count))
        return;
    if (count > 0 && !in->force) {
        fl_ecr_fail(call, "RepositoryNotEmptyException",
                    "The repository with name '%.*s' in registry with id '%.*s' cannot be deleted "
                    "because it still contains images",
                    FL_STR_ARG(in->repositoryName), FL_STR_ARG(call->registry->account));
        return;
    }
    show(call, in->repositoryName, &record, shown);
    if (fl_repository_remove(call->registry->store, in->repositoryName) < 0)
        fl_ecr_fail(call, "ServerException", "the repository cannot be deleted");
    call->has_changed = true;
    FL_SET(out, ecr_DeleteRepositoryResponse, repository, shown);
}

/* ---- settings ---- */

void fl_ecr_put_mutability(struct fl_ecr_call *call)
{
    const struct ecr_PutImageTagMutabilityRequest *in = call->input;
    struct ecr_PutImageTagMutabilityResponse *out = call->output;
    struct rec_Repository record;
    if (!check_mutability(call, true, in->imageTagMutability,
                          in->imageTagMutabilityExclusionFilters.n) ||
        !fl_ecr_need(call, in->registryId, in->repositoryName, &record))
        return;
    FL_SET(&record, rec_Repository, imageTagMutability, in->imageTagMutability);
    FL_SET(&record, rec_Repository, imageTagMutabilityExclusionFilters,
           in->imageTagMutabilityExclusionFilters);
    if (!fl_ecr_save(call, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_PutImageTagMutabilityResponse, registryId, call->registry->account);
    FL_SET(out, ecr_PutImageTagMutabilityResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_PutImageTagMutabilityResponse, imageTagMutability, in->imageTagMutability);
    if (in->imageTagMutabilityExclusionFilters.n)
        FL_SET(out, ecr_PutImageTagMutabilityResponse, imageTagMutabilityExclusionFilters,
               in->imageTagMutabilityExclusionFilters);
}

void fl_ecr_put_scanning(struct fl_ecr_call *call)
{
    const struct ecr_PutImageScanningConfigurationRequest *in = call->input;
    struct ecr_PutImageScanningConfigurationResponse *out = call->output;
    struct rec_Repository record;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record))
        return;
    FL_SET(&record, rec_Repository, imageScanningConfiguration, in->imageScanningConfiguration);
    if (!fl_ecr_save(call, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_PutImageScanningConfigurationResponse, registryId, call->registry->account);
    FL_SET(out, ecr_PutImageScanningConfigurationResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_PutImageScanningConfigurationResponse, imageScanningConfiguration,
           in->imageScanningConfiguration);
}

static bool check_policy(struct fl_ecr_call *call, struct fl_str text)
{
    const struct fl_json *json = fl_json_read(text, call->arena, NULL);
    if (fl_json_is(json, FL_JSON_OBJECT) && fl_json_get(json, "Statement"))
        return true;
    fl_ecr_fail(call, "InvalidParameterException",
                "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid "
                "repository policy provided'");
    return false;
}

void fl_ecr_set_policy(struct fl_ecr_call *call)
{
    const struct ecr_SetRepositoryPolicyRequest *in = call->input;
    struct ecr_SetRepositoryPolicyResponse *out = call->output;
    struct rec_Repository record;
    if (!fl_ecr_need(call, in->registryId, in->repositoryName, &record) ||
        !check_policy(call, in->policyText))
        return;
    FL_SET(&record, rec_Repository, policyText, in->policyText);
    if (!fl_ecr_save(call, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_SetRepositoryPolicyResponse, registryId, call->registry->account);
    FL_SET(out, ecr_SetRepositoryPolicyResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_SetRepositoryPolicyResponse, policyText, in->policyText);
}

static bool need_policy(struct fl_ecr_call *call, struct fl_str registry_id, struct fl_str name,
                        struct rec_Repository *record)
{
    if (!fl_ecr_need(call, registry_id, name, record))
        return false;
    if (!FL_HAS(record, rec_Repository, policyText))
        fl_ecr_fail(call, "RepositoryPolicyNotFoundException",
                    "Repository policy does not exist for the repository with name '%.*s' in the "
                    "registry with id '%.*s'",
                    FL_STR_ARG(name), FL_STR_ARG(call->registry->account));
    return !call->error;
}

void fl_ecr_get_policy(struct fl_ecr_call *call)
{
    const struct ecr_GetRepositoryPolicyRequest *in = call->input;
    struct ecr_GetRepositoryPolicyResponse *out = call->output;
    struct rec_Repository record;
    if (!need_policy(call, in->registryId, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_GetRepositoryPolicyResponse, registryId, call->registry->account);
    FL_SET(out, ecr_GetRepositoryPolicyResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_GetRepositoryPolicyResponse, policyText, record.policyText);
}

void fl_ecr_delete_policy(struct fl_ecr_call *call)
{
    const struct ecr_DeleteRepositoryPolicyRequest *in = call->input;
    struct ecr_DeleteRepositoryPolicyResponse *out = call->output;
    struct rec_Repository record;
    if (!need_policy(call, in->registryId, in->repositoryName, &record))
        return;
    FL_SET(out, ecr_DeleteRepositoryPolicyResponse, registryId, call->registry->account);
    FL_SET(out, ecr_DeleteRepositoryPolicyResponse, repositoryName, in->repositoryName);
    FL_SET(out, ecr_DeleteRepositoryPolicyResponse, policyText, record.policyText);
    FL_UNSET(&record, rec_Repository, policyText);
    (void)fl_ecr_save(call, in->repositoryName, &record);
}
