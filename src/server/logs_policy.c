/* What is said of log groups: retention and tags; and TestMetricFilter, which says of a pattern
 * what it matches. */
#include "server/logs_call.h"
#include "server/logs_pattern.h"

enum { MAX_TAGS = 50, MAX_EFFORT = 256 * 1024 * 1024 };

static const int64_t day_ms = 24 * 60 * 60 * 1000;

int64_t fl_logs_horizon_ms(const struct fl_logs_group *group, int64_t now_ms)
{
    return group->retention_days > 0 ? now_ms - group->retention_days * day_ms : INT64_MIN;
}

/* ---- retention ---- */

static bool is_allowed(int32_t days)
{
    static const int32_t allowed[] = {1,   3,   5,   7,   14,   30,   60,   90,   120,  150,  180,
                                      365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653};
    for (size_t i = 0; i < FL_ARRAY_SIZE(allowed); i++)
        if (allowed[i] == days)
            return true;
    return false;
}

void fl_logs_put_retention(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_PutRetentionPolicyRequest *in = call->input;
    struct fl_logs_group group;
    if (!is_allowed(in->retentionInDays)) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "1 validation error detected: Value '%d' at 'retentionInDays' failed to "
                     "satisfy constraint: Member must satisfy enum value set: [1, 3, 5, 7, 14, 30, "
                     "60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, "
                     "3288, 3653]",
                     in->retentionInDays);
        return;
    }
    if (!fl_logs_need_group(call, db, in->logGroupName, &group))
        return;
    group.retention_days = in->retentionInDays;
    fl_logs_write_group(db, &group);
}

void fl_logs_delete_retention(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_DeleteRetentionPolicyRequest *in = call->input;
    struct fl_logs_group group;
    if (!fl_logs_need_group(call, db, in->logGroupName, &group))
        return;
    group.retention_days = 0;
    fl_logs_write_group(db, &group);
}

/* ---- tags ---- */

static bool check_key(struct fl_logs_call *call, struct fl_str key)
{
    if (key.n < 4 || !fl_str_case_eq(fl_str_sub(key, 0, 4), FL_STR("aws:")))
        return true;
    fl_logs_fail(call, logs_error_InvalidParameterException,
                 "Tag keys must not begin with 'aws:', which is reserved.");
    return false;
}

static struct fl_str keep(struct fl_logs_call *call, struct fl_buf *buf)
{
    return fl_str_dup(call->arena, fl_buf_str(buf));
}

bool fl_logs_write_tags(struct fl_logs_call *call, const struct fl_str_map *tags,
                        struct fl_str *ret_json)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < tags->n; i++) {
        if (!check_key(call, tags->items[i].key))
            return false;
        fl_jw_key_str(&jw, tags->items[i].key);
        fl_jw_str(&jw, tags->items[i].value);
    }
    fl_jw_object_end(&jw);
    *ret_json = keep(call, &buf);
    return true;
}

static const struct fl_json *read_tags(struct fl_logs_call *call, const struct fl_logs_group *group)
{
    return fl_json_read(group->tags, call->arena, NULL);
}

static bool has_key(const struct fl_str_map *tags, struct fl_str key)
{
    for (size_t i = 0; i < tags->n; i++)
        if (fl_str_eq(tags->items[i].key, key))
            return true;
    return false;
}

/* The old tags whose keys are not given again, then the new ones. */
static void add_tags(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_logs_group *group,
                     const struct fl_str_map *tags, const char *too_many)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_json *old = read_tags(call, group);
    size_t count = tags->n;
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < fl_json_members(old); i++) {
        struct fl_str key = fl_json_text(fl_json_member_name(old, i));
        if (has_key(tags, key))
            continue;
        fl_jw_key_str(&jw, key);
        fl_jw_json(&jw, fl_json_member(old, i));
        count++;
    }
    for (size_t i = 0; i < tags->n; i++) {
        if (!check_key(call, tags->items[i].key))
            return;
        fl_jw_key_str(&jw, tags->items[i].key);
        fl_jw_str(&jw, tags->items[i].value);
    }
    fl_jw_object_end(&jw);
    if (count > MAX_TAGS) {
        fl_logs_fail(call, too_many, "A log group can have no more than 50 tags.");
        return;
    }
    group->tags = keep(call, &buf);
    fl_logs_write_group(db, group);
}

static void remove_tags(struct fl_logs_call *call, struct fl_logs_db *db,
                        struct fl_logs_group *group, const struct fl_str_list *keys)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_json *old = read_tags(call, group);
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < fl_json_members(old); i++) {
        struct fl_str key = fl_json_text(fl_json_member_name(old, i));
        bool gone = false;
        for (size_t j = 0; j < keys->n; j++)
            gone = gone || fl_str_eq(keys->items[j], key);
        if (gone)
            continue;
        fl_jw_key_str(&jw, key);
        fl_jw_json(&jw, fl_json_member(old, i));
    }
    fl_jw_object_end(&jw);
    group->tags = keep(call, &buf);
    fl_logs_write_group(db, group);
}

static void list_tags(struct fl_logs_call *call, const struct fl_logs_group *group)
{
    fl_jw_object_begin(&call->jw);
    fl_jw_key(&call->jw, "tags");
    fl_jw_raw(&call->jw, group->tags);
    fl_jw_object_end(&call->jw);
}

/* Tags of a resource are tags of log groups; destinations, which AWS tags too, there are none. */
static bool need_resource(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str arn,
                          struct fl_logs_group *ret_group)
{
    if (fl_str_starts(arn, FL_STR("arn:")) && !fl_str_eq(fl_logs_name_of(arn), arn))
        return fl_logs_need_group(call, db, fl_logs_name_of(arn), ret_group);
    fl_logs_fail(call, logs_error_InvalidParameterException,
                 "The resourceArn is not the ARN of a log group.");
    return false;
}

void fl_logs_tag_group(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_TagLogGroupRequest *in = call->input;
    struct fl_logs_group group;
    if (fl_logs_need_group(call, db, in->logGroupName, &group))
        add_tags(call, db, &group, &in->tags, logs_error_InvalidParameterException);
}

void fl_logs_untag_group(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_UntagLogGroupRequest *in = call->input;
    struct fl_logs_group group;
    if (fl_logs_need_group(call, db, in->logGroupName, &group))
        remove_tags(call, db, &group, &in->tags);
}

void fl_logs_list_group_tags(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_ListTagsLogGroupRequest *in = call->input;
    struct fl_logs_group group;
    if (fl_logs_need_group(call, db, in->logGroupName, &group))
        list_tags(call, &group);
}

void fl_logs_tag_resource(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_TagResourceRequest *in = call->input;
    struct fl_logs_group group;
    if (need_resource(call, db, in->resourceArn, &group))
        add_tags(call, db, &group, &in->tags, logs_error_TooManyTagsException);
}

void fl_logs_untag_resource(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_UntagResourceRequest *in = call->input;
    struct fl_logs_group group;
    if (need_resource(call, db, in->resourceArn, &group))
        remove_tags(call, db, &group, &in->tagKeys);
}

void fl_logs_list_resource_tags(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_ListTagsForResourceRequest *in = call->input;
    struct fl_logs_group group;
    if (need_resource(call, db, in->resourceArn, &group))
        list_tags(call, &group);
}

/* ---- TestMetricFilter ---- */

static void write_value(void *context, struct fl_str name, struct fl_str value)
{
    struct fl_json_writer *jw = context;
    fl_jw_key_str(jw, name);
    fl_jw_str(jw, value);
}

static void write_match(struct fl_logs_call *call, const struct fl_logs_pattern *pattern,
                        size_t number, struct fl_str message)
{
    FL_CLEANUP_ARENA struct fl_arena *scratch = fl_arena_new();
    if (!fl_logs_pattern_matches(pattern, message, scratch))
        return;
    fl_jw_object_begin(&call->jw);
    fl_jw_member_int(&call->jw, "eventNumber", (int64_t)number);
    fl_jw_member_str(&call->jw, "eventMessage", message);
    fl_jw_key(&call->jw, "extractedValues");
    fl_jw_object_begin(&call->jw);
    fl_logs_pattern_extract(pattern, message, scratch, write_value, &call->jw);
    fl_jw_object_end(&call->jw);
    fl_jw_object_end(&call->jw);
}

/* Who stores events waits meanwhile: bytes times what the pattern costs have a bound. */
static bool check_effort(struct fl_logs_call *call, const struct fl_logs_pattern *pattern,
                         const struct fl_str_list *messages)
{
    size_t bytes = 0;
    for (size_t i = 0; i < messages->n; i++)
        bytes += messages->items[i].n;
    if (bytes <= MAX_EFFORT / FL_MAX(fl_logs_pattern_effort(pattern), (size_t)1))
        return true;
    fl_logs_fail(call, logs_error_InvalidParameterException,
                 "The messages are too long to be tested with this pattern.");
    return false;
}

void fl_logs_test_filter(struct fl_logs_call *call, FL_UNUSED struct fl_logs_db *db)
{
    const struct logs_TestMetricFilterRequest *in = call->input;
    const struct fl_logs_pattern *pattern;
    struct fl_err err;
    if (fl_logs_pattern_parse(in->filterPattern, call->arena, &pattern, &err) < 0) {
        fl_logs_fail(call, logs_error_InvalidParameterException, "%s", err.text);
        return;
    }
    if (!check_effort(call, pattern, &in->logEventMessages))
        return;
    fl_jw_object_begin(&call->jw);
    fl_jw_key(&call->jw, "matches");
    fl_jw_array_begin(&call->jw);
    for (size_t i = 0; i < in->logEventMessages.n; i++)
        write_match(call, pattern, i + 1, in->logEventMessages.items[i]);
    fl_jw_array_end(&call->jw);
    fl_jw_object_end(&call->jw);
}
