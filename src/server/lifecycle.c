/* Lifecycle policies: hostile JSON in, a verdict for each image out. */
#include "server/lifecycle.h"

#include <errno.h>

#include "wire/json.h"

#define DAY_MS INT64_C(86400000)

static int invalid(struct fl_err *err, const char *what)
{
    return fl_err_set(err, -EINVAL,
                      "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: "
                      "'Lifecycle policy validation failure: %s'",
                      what);
}

static int parse_list(const struct fl_json *json, struct fl_arena *arena,
                      struct fl_lifecycle_rule *rule, struct fl_err *err)
{
    size_t n = fl_json_items(json);
    if (n == 0 || n > FL_LIFECYCLE_TAGS_MAX)
        return invalid(err, "a list of tags must have 1 to 100 entries");
    rule->list = fl_arena_new_array(arena, struct fl_str, n);
    for (size_t i = 0; i < n; i++) {
        rule->list[i] = fl_json_text(fl_json_item(json, i));
        if (rule->list[i].n == 0)
            return invalid(err, "a list of tags must hold strings that are not empty");
    }
    rule->list_count = n;
    return 0;
}

static int parse_tags(const struct fl_json *selection, struct fl_arena *arena,
                      struct fl_lifecycle_rule *rule, struct fl_err *err)
{
    struct fl_str status = fl_json_text(fl_json_get(selection, "tagStatus"));
    const struct fl_json *prefixes = fl_json_get(selection, "tagPrefixList");
    const struct fl_json *patterns = fl_json_get(selection, "tagPatternList");
    if (fl_str_is(status, "tagged"))
        rule->tags = FL_LIFECYCLE_TAGGED;
    else if (fl_str_is(status, "untagged"))
        rule->tags = FL_LIFECYCLE_UNTAGGED;
    else if (fl_str_is(status, "any"))
        rule->tags = FL_LIFECYCLE_ANY;
    else
        return invalid(err, "tagStatus must be tagged, untagged or any");
    if (rule->tags != FL_LIFECYCLE_TAGGED)
        return prefixes || patterns ? invalid(err, "only tagStatus tagged takes a list of tags")
                                    : 0;
    if (!prefixes == !patterns)
        return invalid(err, "tagStatus tagged takes either tagPrefixList or tagPatternList");
    rule->is_pattern = patterns != NULL;
    return parse_list(prefixes ? prefixes : patterns, arena, rule, err);
}

static int parse_count(const struct fl_json *selection, struct fl_lifecycle_rule *rule,
                       struct fl_err *err)
{
    struct fl_str type = fl_json_text(fl_json_get(selection, "countType"));
    struct fl_str unit = fl_json_text(fl_json_get(selection, "countUnit"));
    const struct fl_json *number = fl_json_get(selection, "countNumber");
    rule->number = fl_json_int(number);
    rule->is_count = fl_str_is(type, "imageCountMoreThan");
    if (!rule->is_count && !fl_str_is(type, "sinceImagePushed"))
        return invalid(err, "countType must be imageCountMoreThan or sinceImagePushed; others are "
                            "not implemented yet");
    if (rule->is_count && unit.n)
        return invalid(err, "imageCountMoreThan takes no countUnit");
    if (!rule->is_count && !fl_str_is(unit, "days"))
        return invalid(err, "sinceImagePushed takes the countUnit days");
    if (rule->number < 1 || rule->number > INT32_MAX)
        return invalid(err, "countNumber must be a whole number of 1 or more");
    return 0;
}

static int parse_rule(const struct fl_json *json, struct fl_arena *arena,
                      struct fl_lifecycle_rule *rule, struct fl_err *err)
{
    const struct fl_json *selection = fl_json_get(json, "selection");
    int64_t priority = fl_json_int(fl_json_get(json, "rulePriority"));
    if (priority < 1 || priority > INT32_MAX)
        return invalid(err, "rulePriority must be a whole number of 1 or more");
    rule->priority = (int32_t)priority;
    if (!fl_str_is(fl_json_text(fl_json_get(fl_json_get(json, "action"), "type")), "expire"))
        return invalid(err, "the action's type must be expire; others are not implemented yet");
    if (!fl_json_is(selection, FL_JSON_OBJECT))
        return invalid(err, "a rule needs a selection");
    int rc = parse_tags(selection, arena, rule, err);
    return rc == 0 ? parse_count(selection, rule, err) : rc;
}

static int by_priority(const void *pa, const void *pb)
{
    const struct fl_lifecycle_rule *a = pa, *b = pb;
    return (a->priority > b->priority) - (a->priority < b->priority);
}

/* What holds between rules; they are sorted. */
static int check_rules(const struct fl_lifecycle_policy *policy, struct fl_err *err)
{
    size_t untagged = 0;
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct fl_lifecycle_rule *rule = &policy->rules[i];
        if (i > 0 && rule->priority == policy->rules[i - 1].priority)
            return invalid(err, "rulePriority must be unique");
        if (rule->tags == FL_LIFECYCLE_ANY && i + 1 < policy->rule_count)
            return invalid(err, "the rule with tagStatus any must have the lowest priority");
        untagged += rule->tags == FL_LIFECYCLE_UNTAGGED;
    }
    return untagged > 1 ? invalid(err, "only one rule may select untagged images") : 0;
}

int fl_lifecycle_parse(struct fl_str text, struct fl_arena *arena,
                       struct fl_lifecycle_policy *ret_policy, struct fl_err *err)
{
    const struct fl_json *json = fl_json_read(text, arena, err);
    const struct fl_json *rules = fl_json_get(json, "rules");
    struct fl_lifecycle_policy policy = {.rule_count = fl_json_items(rules)};
    int rc = 0;
    if (!json)
        return invalid(err, "it is not JSON");
    if (policy.rule_count == 0 || policy.rule_count > FL_LIFECYCLE_RULES_MAX)
        return invalid(err, "it must have 1 to 50 rules");
    policy.rules = fl_arena_new_array(arena, struct fl_lifecycle_rule, policy.rule_count);
    for (size_t i = 0; rc == 0 && i < policy.rule_count; i++)
        rc = parse_rule(fl_json_item(rules, i), arena, &policy.rules[i], err);
    if (rc < 0)
        return rc;
    qsort(policy.rules, policy.rule_count, sizeof(*policy.rules), by_priority);
    rc = check_rules(&policy, err);
    if (rc == 0)
        *ret_policy = policy;
    return rc;
}

bool fl_lifecycle_glob(struct fl_str pattern, struct fl_str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;
    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.n && pattern.p[p] == text.p[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

static bool has_tag_like(const struct fl_repository_image *image, struct fl_str wanted,
                         bool is_pattern)
{
    for (size_t i = 0; i < image->tag_count; i++)
        if (is_pattern ? fl_lifecycle_glob(wanted, image->tags[i])
                       : fl_str_starts(image->tags[i], wanted))
            return true;
    return false;
}

/* By its tags alone. All of a rule's prefixes or patterns must fit some tag of the image. */
static bool selects(const struct fl_lifecycle_rule *rule, const struct fl_repository_image *image)
{
    switch (rule->tags) {
    case FL_LIFECYCLE_ANY:
        return true;
    case FL_LIFECYCLE_UNTAGGED:
        return image->tag_count == 0;
    case FL_LIFECYCLE_TAGGED:
        break;
    }
    for (size_t i = 0; i < rule->list_count; i++)
        if (!has_tag_like(image, rule->list[i], rule->is_pattern))
            return false;
    return true;
}

struct by_age {
    const struct fl_repository_image *image;
    size_t index;
};

static int newest_first(const void *pa, const void *pb)
{
    const struct by_age *a = pa, *b = pb;
    if (a->image->pushed_at_ms != b->image->pushed_at_ms)
        return a->image->pushed_at_ms < b->image->pushed_at_ms ? 1 : -1;
    return memcmp(a->image->digest.hex, b->image->digest.hex, 64);
}

void fl_lifecycle_apply(const struct fl_lifecycle_policy *policy,
                        const struct fl_repository_image *images, size_t count, const bool *is_kept,
                        int64_t now_ms, int32_t *ret_priority)
{
    FL_CLEANUP_FREE struct by_age *order = fl_calloc(count + 1, sizeof(*order));
    FL_CLEANUP_FREE bool *is_taken = fl_calloc(count + 1, sizeof(*is_taken));
    for (size_t i = 0; i < count; i++) {
        order[i] = (struct by_age){&images[i], i};
        ret_priority[i] = 0;
    }
    qsort(order, count, sizeof(*order), newest_first);
    for (size_t r = 0; r < policy->rule_count; r++) {
        const struct fl_lifecycle_rule *rule = &policy->rules[r];
        int64_t seen = 0;
        for (size_t i = 0; i < count; i++) {
            size_t at = order[i].index;
            if (!selects(rule, &images[at]))
                continue;
            seen++;
            bool is_due = rule->is_count ? seen > rule->number
                                         : now_ms - images[at].pushed_at_ms > rule->number * DAY_MS;
            if (!is_taken[at] && is_due && !is_kept[at])
                ret_priority[at] = rule->priority;
            is_taken[at] = true;
        }
    }
}
