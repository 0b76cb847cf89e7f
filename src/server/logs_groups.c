/* Log groups and streams: names, creation, lists, ARNs. */
#include "server/logs_call.h"

enum { DEFAULT_PAGE = 50, MAX_NAME = 512 };

static bool is_group_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_-/.#", c));
}

bool fl_logs_check_group_name(struct fl_logs_call *call, struct fl_str name)
{
    bool good = name.n >= 1 && name.n <= MAX_NAME;
    for (size_t i = 0; good && i < name.n; i++)
        good = is_group_char(name.p[i]);
    if (!good)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "The log group name '%.*s' must be 1 to 512 characters of a-z, A-Z, 0-9, "
                     "'_', '-', '/', '.' and '#'.",
                     FL_STR_ARG(fl_str_sub(name, 0, 128)));
    return good;
}

bool fl_logs_check_stream_name(struct fl_logs_call *call, struct fl_str name)
{
    bool good = name.n >= 1 && name.n <= MAX_NAME && fl_str_index(name, ':') < 0 &&
                fl_str_index(name, '*') < 0;
    if (!good)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "The log stream name '%.*s' must be 1 to 512 characters without ':' and '*'.",
                     FL_STR_ARG(fl_str_sub(name, 0, 128)));
    return good;
}

bool fl_logs_need_group(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str name,
                        struct fl_logs_group *ret_group)
{
    if (fl_logs_find_group(db, name, call->arena, ret_group))
        return true;
    fl_logs_fail(call, logs_error_ResourceNotFoundException,
                 "The specified log group does not exist.");
    return false;
}

bool fl_logs_need_stream(struct fl_logs_call *call, struct fl_logs_db *db, int64_t group_id,
                         struct fl_str name, struct fl_logs_stream *ret_stream)
{
    if (fl_logs_find_stream(db, group_id, name, call->arena, ret_stream))
        return true;
    fl_logs_fail(call, logs_error_ResourceNotFoundException,
                 "The specified log stream does not exist.");
    return false;
}

struct fl_str fl_logs_name_of(struct fl_str identifier)
{
    static const char marker[] = ":log-group:";
    struct fl_str suffix = FL_STR(":*");
    if (!fl_str_starts(identifier, FL_STR("arn:")))
        return identifier;
    const char *at = memmem(identifier.p, identifier.n, marker, sizeof(marker) - 1);
    if (!at)
        return identifier;
    struct fl_str name = fl_str_from(identifier, (size_t)(at - identifier.p) + sizeof(marker) - 1);
    return fl_str_ends(name, suffix) ? fl_str_sub(name, 0, name.n - suffix.n) : name;
}

bool fl_logs_need_group_by(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str name,
                           struct fl_str identifier, struct fl_logs_group *ret_group)
{
    if ((name.n > 0) == (identifier.n > 0)) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "Exactly one of logGroupName and logGroupIdentifier must be given.");
        return false;
    }
    return fl_logs_need_group(call, db, name.n > 0 ? name : fl_logs_name_of(identifier), ret_group);
}

static struct fl_str class_name(enum logs_LogGroupClass class)
{
    switch (class) {
    case LOGS_LogGroupClass_INFREQUENT_ACCESS:
        return FL_STR("INFREQUENT_ACCESS");
    case LOGS_LogGroupClass_DELIVERY:
        return FL_STR("DELIVERY");
    case LOGS_LogGroupClass_STANDARD:
        break;
    }
    return FL_STR("STANDARD");
}

void fl_logs_create_group(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_CreateLogGroupRequest *in = call->input;
    struct fl_logs_group group = {
        .name = in->logGroupName, .created_ms = call->now_ms, .class = FL_STR("STANDARD")};
    struct fl_logs_group found;
    if (FL_HAS(in, logs_CreateLogGroupRequest, logGroupClass))
        group.class = class_name(in->logGroupClass);
    if (!fl_logs_check_group_name(call, in->logGroupName) ||
        !fl_logs_write_tags(call, &in->tags, &group.tags))
        return;
    if (FL_HAS(in, logs_CreateLogGroupRequest, kmsKeyId))
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "kmsKeyId is not implemented: log groups are not encrypted.");
    else if (in->deletionProtectionEnabled)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "deletionProtectionEnabled is not implemented.");
    else if (fl_logs_find_group(db, in->logGroupName, call->arena, &found))
        fl_logs_fail(call, logs_error_ResourceAlreadyExistsException,
                     "The specified log group already exists");
    else
        fl_logs_add_group(db, &group, &found);
}

void fl_logs_create_stream(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_CreateLogStreamRequest *in = call->input;
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    if (!fl_logs_check_stream_name(call, in->logStreamName) ||
        !fl_logs_need_group(call, db, in->logGroupName, &group))
        return;
    if (fl_logs_find_stream(db, group.id, in->logStreamName, call->arena, &stream))
        fl_logs_fail(call, logs_error_ResourceAlreadyExistsException,
                     "The specified log stream already exists");
    else
        fl_logs_add_stream(db, group.id, in->logStreamName, call->now_ms, &stream);
}

void fl_logs_delete_group(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_DeleteLogGroupRequest *in = call->input;
    struct fl_logs_group group;
    if (fl_logs_need_group(call, db, in->logGroupName, &group))
        fl_logs_remove_group(db, &group);
}

void fl_logs_delete_stream(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_DeleteLogStreamRequest *in = call->input;
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    if (fl_logs_need_group(call, db, in->logGroupName, &group) &&
        fl_logs_need_stream(call, db, group.id, in->logStreamName, &stream))
        fl_logs_remove_stream(db, &stream);
}

static struct fl_str group_arn(struct fl_logs_call *call, struct fl_str name)
{
    return fl_str_printf(call->arena, "arn:aws:logs:%.*s:%.*s:log-group:%.*s",
                         FL_STR_ARG(call->region), FL_STR_ARG(call->account), FL_STR_ARG(name));
}

static int32_t page_size(uint64_t has_limit, int32_t limit)
{
    return has_limit ? FL_MAX(1, FL_MIN(limit, DEFAULT_PAGE)) : DEFAULT_PAGE;
}

/* What both lists carry through a scan. */
struct listing {
    struct fl_logs_call *call;
    struct fl_str prefix;
    struct fl_str pattern;                 /* groups: a substring */
    struct fl_str class;                   /* groups: of this class only */
    const struct fl_str_list *identifiers; /* groups: one of these; NULL or empty: any */
    struct fl_str group_arn;               /* streams */
    int32_t left;
    bool descending;
    struct fl_str last; /* name of the last row written */
    int64_t last_ms;
    bool more; /* a row beyond the page exists */
};

static void write_group(struct listing *listing, const struct fl_logs_group *group)
{
    struct fl_json_writer *jw = &listing->call->jw;
    struct fl_str arn = group_arn(listing->call, group->name);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "logGroupName", group->name);
    fl_jw_member_int(jw, "creationTime", group->created_ms);
    if (group->retention_days > 0)
        fl_jw_member_int(jw, "retentionInDays", group->retention_days);
    fl_jw_member_int(jw, "metricFilterCount", 0);
    fl_jw_member_str(jw, "arn", fl_str_printf(listing->call->arena, "%.*s:*", FL_STR_ARG(arn)));
    fl_jw_member_int(jw, "storedBytes", group->stored_bytes);
    fl_jw_member_str(jw, "logGroupClass", group->class);
    fl_jw_member_str(jw, "logGroupArn", arn);
    fl_jw_object_end(jw);
}

static bool is_listed(const struct fl_str_list *identifiers, struct fl_str name)
{
    for (size_t i = 0; identifiers && i < identifiers->n; i++)
        if (fl_str_eq(fl_logs_name_of(identifiers->items[i]), name))
            return true;
    return !identifiers || identifiers->n == 0;
}

static bool each_group(void *context, const struct fl_logs_group *group)
{
    struct listing *listing = context;
    if (listing->prefix.n > 0 && !fl_str_starts(group->name, listing->prefix))
        return false;
    if ((listing->pattern.n > 0 && !fl_str_contains(group->name, listing->pattern)) ||
        (listing->class.n > 0 && !fl_str_eq(group->class, listing->class)) ||
        !is_listed(listing->identifiers, group->name))
        return true;
    if (listing->left == 0) {
        listing->more = true;
        return false;
    }
    write_group(listing, group);
    listing->left--;
    listing->last = fl_str_dup(listing->call->arena, group->name);
    return true;
}

static struct fl_str wanted_class(const struct logs_DescribeLogGroupsRequest *in)
{
    return FL_HAS(in, logs_DescribeLogGroupsRequest, logGroupClass) ? class_name(in->logGroupClass)
                                                                    : FL_STR("");
}

void fl_logs_describe_groups(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_DescribeLogGroupsRequest *in = call->input;
    struct listing listing = {
        .call = call,
        .prefix = in->logGroupNamePrefix,
        .pattern = in->logGroupNamePattern,
        .class = wanted_class(in),
        .identifiers = &in->logGroupIdentifiers,
        .left = page_size(FL_HAS(in, logs_DescribeLogGroupsRequest, limit), in->limit),
    };
    if (in->logGroupNamePrefix.n > 0 && in->logGroupNamePattern.n > 0) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "LogGroup name prefix and LogGroup name pattern are mutually exclusive "
                     "parameters.");
        return;
    }
    fl_jw_object_begin(&call->jw);
    fl_jw_key(&call->jw, "logGroups");
    fl_jw_array_begin(&call->jw);
    if (in->nextToken.n > 0)
        fl_logs_scan_groups(db, in->nextToken, true, each_group, &listing);
    else
        fl_logs_scan_groups(db, in->logGroupNamePrefix, false, each_group, &listing);
    fl_jw_array_end(&call->jw);
    if (listing.more)
        fl_jw_member_str(&call->jw, "nextToken", listing.last);
    fl_jw_object_end(&call->jw);
}

static void write_stream(struct listing *listing, const struct fl_logs_stream *stream)
{
    struct fl_json_writer *jw = &listing->call->jw;
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "logStreamName", stream->name);
    fl_jw_member_int(jw, "creationTime", stream->created_ms);
    if (stream->first_ms >= 0) {
        fl_jw_member_int(jw, "firstEventTimestamp", stream->first_ms);
        fl_jw_member_int(jw, "lastEventTimestamp", stream->last_ms);
        fl_jw_member_int(jw, "lastIngestionTime", stream->last_ingested_ms);
    }
    fl_jw_member_str(
        jw, "uploadSequenceToken",
        fl_logs_position_text(listing->call->arena, (struct fl_logs_position){0, stream->id}));
    fl_jw_member_str(jw, "arn",
                     fl_str_printf(listing->call->arena, "%.*s:log-stream:%.*s",
                                   FL_STR_ARG(listing->group_arn), FL_STR_ARG(stream->name)));
    fl_jw_member_int(jw, "storedBytes", stream->stored_bytes);
    fl_jw_object_end(jw);
}

/* Whether no stream behind this one can have the prefix. */
static bool beyond_prefix(const struct listing *listing, struct fl_str name)
{
    int order = fl_str_cmp(name, listing->prefix);
    return listing->descending ? order < 0 : order > 0;
}

static bool each_stream(void *context, const struct fl_logs_stream *stream)
{
    struct listing *listing = context;
    if (listing->prefix.n > 0 && !fl_str_starts(stream->name, listing->prefix))
        return !beyond_prefix(listing, stream->name);
    if (listing->left == 0) {
        listing->more = true;
        return false;
    }
    write_stream(listing, stream);
    listing->left--;
    listing->last = fl_str_dup(listing->call->arena, stream->name);
    listing->last_ms = stream->last_ms;
    return true;
}

/* "<time of the last event>:<name>"; a stream's name holds no ':'. */
static bool parse_stream_token(struct fl_logs_call *call, struct fl_str token,
                               struct fl_logs_stream_scan *scan)
{
    struct fl_str time;
    if (token.n == 0)
        return true;
    scan->resume = fl_str_split(&token, ':', &time) && fl_str_to_i64(time, &scan->last_ms);
    scan->name = token;
    if (!scan->resume)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "The specified nextToken is invalid.");
    return scan->resume;
}

static bool plan_streams(struct fl_logs_call *call, const struct logs_DescribeLogStreamsRequest *in,
                         struct fl_logs_stream_scan *scan)
{
    bool by_last = FL_HAS(in, logs_DescribeLogStreamsRequest, orderBy) &&
                   in->orderBy == LOGS_OrderBy_LastEventTime;
    if (by_last && in->logStreamNamePrefix.n > 0) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "Cannot order by LastEventTime with a logStreamNamePrefix.");
        return false;
    }
    *scan = (struct fl_logs_stream_scan){
        .by_last_event = by_last, .descending = in->descending, .name = in->logStreamNamePrefix};
    return parse_stream_token(call, in->nextToken, scan);
}

void fl_logs_describe_streams(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_DescribeLogStreamsRequest *in = call->input;
    struct fl_logs_group group;
    struct fl_logs_stream_scan scan;
    if (!plan_streams(call, in, &scan) ||
        !fl_logs_need_group_by(call, db, in->logGroupName, in->logGroupIdentifier, &group))
        return;
    scan.group_id = group.id;
    struct listing listing = {
        .call = call,
        .prefix = in->logStreamNamePrefix,
        .group_arn = group_arn(call, group.name),
        .left = page_size(FL_HAS(in, logs_DescribeLogStreamsRequest, limit), in->limit),
        .descending = in->descending,
    };
    fl_jw_object_begin(&call->jw);
    fl_jw_key(&call->jw, "logStreams");
    fl_jw_array_begin(&call->jw);
    fl_logs_scan_streams(db, &scan, each_stream, &listing);
    fl_jw_array_end(&call->jw);
    if (listing.more)
        fl_jw_member_str(&call->jw, "nextToken",
                         fl_str_printf(call->arena, "%lld:%.*s", (long long)listing.last_ms,
                                       FL_STR_ARG(listing.last)));
    fl_jw_object_end(&call->jw);
}
