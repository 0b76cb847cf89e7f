/* ECR's lifecycle policies: reading them, and which images they expire. Pure.
 *
 * Rules are evaluated at once and applied by priority: an image that a rule's tags select belongs
 * to the first such rule and is expired by that one or none; a rule counts all the images
 * that its tags select, those of other rules too. */
#pragma once

#include "image/repository.h"

enum { FL_LIFECYCLE_RULES_MAX = 50, FL_LIFECYCLE_TAGS_MAX = 100 };

enum fl_lifecycle_tags { FL_LIFECYCLE_TAGGED, FL_LIFECYCLE_UNTAGGED, FL_LIFECYCLE_ANY };

struct fl_lifecycle_rule {
    int32_t priority;
    enum fl_lifecycle_tags tags;
    bool is_pattern; /* the list holds patterns with '*', else prefixes */
    struct fl_str *list;
    size_t list_count;
    bool is_count; /* imageCountMoreThan, else sinceImagePushed in days */
    int64_t number;
};

/* By priority. */
struct fl_lifecycle_policy {
    struct fl_lifecycle_rule *rules;
    size_t rule_count;
};

/* -EINVAL and a sentence for what is no policy, or asks for what we do not do. */
int fl_lifecycle_parse(struct fl_str text, struct fl_arena *arena,
                       struct fl_lifecycle_policy *ret_policy, struct fl_err *err);

/* ret_priority[i] becomes the priority of the rule that expires image i, or 0. An image that
 * is_kept is counted but not expired. */
void fl_lifecycle_apply(const struct fl_lifecycle_policy *policy,
                        const struct fl_repository_image *images, size_t count, const bool *is_kept,
                        int64_t now_ms, int32_t *ret_priority);

/* Does a pattern with '*' for any text fit the whole text? */
bool fl_lifecycle_glob(struct fl_str pattern, struct fl_str text);
