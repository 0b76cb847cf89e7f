/* Events going out: GetLogEvents pages through one stream in both directions, FilterLogEvents
 * through a group. A token is a position between events, so pages never overlap or leave gaps. */
#include <stdio.h>

#include "server/logs_call.h"
#include "server/logs_pattern.h"

enum {
    MAX_PAGE_EVENTS = 10000,
    MAX_PAGE_BYTES = 1024 * 1024,
};

struct fl_str fl_logs_position_text(struct fl_arena *arena, struct fl_logs_position position)
{
    return fl_str_printf(arena, "%028lld%028lld", (long long)FL_MAX(position.time_ms, 0),
                         (long long)FL_MAX(position.seq, 0));
}

/* Decimal with leading zeros. */
static bool parse_number(struct fl_str digits, int64_t *ret_value)
{
    while (digits.n > 1 && digits.p[0] == '0')
        digits = fl_str_from(digits, 1);
    return digits.n > 0 && digits.p[0] != '-' && fl_str_to_i64(digits, ret_value);
}

bool fl_logs_position_parse(struct fl_str text, struct fl_logs_position *ret_position)
{
    size_t half = FL_LOGS_POSITION_DIGITS / 2;
    return text.n == FL_LOGS_POSITION_DIGITS &&
           parse_number(fl_str_sub(text, 0, half), &ret_position->time_ms) &&
           parse_number(fl_str_from(text, half), &ret_position->seq);
}

/* Bounds by time: from_ms included, to_ms excluded. What is beyond the group's retention is not
 * there any more, whether it is deleted yet or not. */
static void bound_by_time(struct fl_logs_query *query, int64_t from_ms, int64_t to_ms)
{
    query->after = (struct fl_logs_position){from_ms, INT64_MIN};
    query->before = (struct fl_logs_position){to_ms, INT64_MIN};
}

static void bound_by_age(struct fl_logs_query *query, const struct fl_logs_group *group,
                         int64_t now_ms)
{
    int64_t horizon_ms = fl_logs_horizon_ms(group, now_ms);
    if (query->after.time_ms < horizon_ms)
        query->after = (struct fl_logs_position){horizon_ms, INT64_MIN};
}

static int compare(struct fl_logs_position a, struct fl_logs_position b)
{
    if (a.time_ms != b.time_ms)
        return a.time_ms < b.time_ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}

static size_t page_size(bool has_limit, int32_t limit)
{
    size_t wanted = has_limit && limit > 0 ? (size_t)limit : MAX_PAGE_EVENTS;
    return FL_MIN(wanted, (size_t)MAX_PAGE_EVENTS);
}

/* "f/<position>/s" asks for what lies behind the position, "b/<position>/s" for what lies before.
 */
static bool parse_token(struct fl_logs_call *call, struct fl_str token, bool *ret_forward,
                        struct fl_logs_position *ret_position)
{
    bool forward = fl_str_starts(token, FL_STR("f/"));
    bool good = (forward || fl_str_starts(token, FL_STR("b/"))) &&
                fl_str_ends(token, FL_STR("/s")) && token.n > 4 &&
                fl_logs_position_parse(fl_str_sub(token, 2, token.n - 4), ret_position);
    *ret_forward = forward;
    if (!good)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "The specified nextToken is invalid.");
    return good;
}

static bool plan_get(struct fl_logs_call *call, const struct logs_GetLogEventsRequest *in,
                     struct fl_logs_query *query, struct fl_logs_position *ret_from)
{
    bool forward = in->startFromHead;
    int64_t from_ms = FL_HAS(in, logs_GetLogEventsRequest, startTime) ? in->startTime : 0;
    int64_t to_ms = FL_HAS(in, logs_GetLogEventsRequest, endTime) ? in->endTime : INT64_MAX;
    if (to_ms < from_ms) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "endTime must not be earlier than startTime.");
        return false;
    }
    bound_by_time(query, from_ms, to_ms);
    *ret_from = (struct fl_logs_position){from_ms, 0};
    if (in->nextToken.n > 0) {
        if (!parse_token(call, in->nextToken, &forward, ret_from))
            return false;
        if (forward && compare(*ret_from, query->after) > 0)
            query->after = *ret_from;
        if (!forward && compare(*ret_from, query->before) < 0)
            query->before = *ret_from;
    }
    query->descending = !forward;
    return true;
}

static void write_token(struct fl_logs_call *call, const char *member, char direction,
                        struct fl_logs_position position)
{
    struct fl_str text = fl_logs_position_text(call->arena, position);
    fl_jw_member_str(&call->jw, member,
                     fl_str_printf(call->arena, "%c/%.*s/s", direction, FL_STR_ARG(text)));
}

/* An empty page keeps the token that asked for it: that is how clients see the end. The other
 * token then starts right at the same place, the other way round. A page that is empty because the
 * work was too much for one call moves on. */
static void write_tokens(struct fl_logs_call *call, const struct fl_logs_page *page, bool forward,
                         struct fl_logs_position from)
{
    struct fl_logs_position first = from, last = from;
    const struct fl_logs_event *events = page->events;
    if (page->count > 0) {
        const struct fl_logs_event *one = &events[0], *other = &events[page->count - 1];
        first = (struct fl_logs_position){forward ? one->time_ms : other->time_ms,
                                          forward ? one->seq : other->seq};
        last = (struct fl_logs_position){forward ? other->time_ms : one->time_ms,
                                         forward ? other->seq : one->seq};
    } else if (page->more) {
        first = last = page->last;
    } else if (forward) {
        first.seq++;
    } else {
        last.seq = FL_MAX(last.seq - 1, 0);
    }
    write_token(call, "nextForwardToken", 'f', last);
    write_token(call, "nextBackwardToken", 'b', first);
}

static void write_output_event(struct fl_json_writer *jw, const struct fl_logs_event *event)
{
    fl_jw_object_begin(jw);
    fl_jw_member_int(jw, "timestamp", event->time_ms);
    fl_jw_member_str(jw, "message", event->message);
    fl_jw_member_int(jw, "ingestionTime", event->ingested_ms);
    fl_jw_object_end(jw);
}

/* In the order of time, whichever way they were read. */
static void write_output_events(struct fl_logs_call *call, const struct fl_logs_page *page,
                                bool forward)
{
    fl_jw_key(&call->jw, "events");
    fl_jw_array_begin(&call->jw);
    for (size_t i = 0; i < page->count; i++)
        write_output_event(&call->jw, &page->events[forward ? i : page->count - 1 - i]);
    fl_jw_array_end(&call->jw);
}

void fl_logs_get_events(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_GetLogEventsRequest *in = call->input;
    struct fl_logs_query query = {
        .max_bytes = MAX_PAGE_BYTES,
        .max_events = page_size(FL_HAS(in, logs_GetLogEventsRequest, limit), in->limit),
    };
    struct fl_logs_position from;
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    struct fl_logs_page page;
    if (!plan_get(call, in, &query, &from) ||
        !fl_logs_need_group_by(call, db, in->logGroupName, in->logGroupIdentifier, &group) ||
        !fl_logs_need_stream(call, db, group.id, in->logStreamName, &stream))
        return;
    query.stream_id = stream.id;
    bound_by_age(&query, &group, call->now_ms);
    fl_logs_read(db, &query, call->arena, &page);
    fl_jw_object_begin(&call->jw);
    write_output_events(call, &page, !query.descending);
    write_tokens(call, &page, !query.descending, from);
    fl_jw_object_end(&call->jw);
}

struct search {
    struct fl_str_list names; /* sought streams; none: all */
    struct fl_str prefix;
    const struct fl_logs_pattern *pattern;
    struct fl_arena *scratch;
};

static bool is_sought(void *context, struct fl_str stream_name)
{
    const struct search *search = context;
    if (search->prefix.n > 0)
        return fl_str_starts(stream_name, search->prefix);
    for (size_t i = 0; i < search->names.n; i++)
        if (fl_str_eq(search->names.items[i], stream_name))
            return true;
    return search->names.n == 0;
}

static bool is_wanted(void *context, const struct fl_logs_event *event)
{
    const struct search *search = context;
    return fl_logs_pattern_matches(search->pattern, event->message, search->scratch);
}

/* The token's direction counts, not startFromHead's, once there is a token. */
static bool resume_filter(struct fl_logs_call *call, struct fl_str token,
                          struct fl_logs_query *query)
{
    bool forward;
    struct fl_logs_position position;
    if (token.n == 0)
        return true;
    if (!parse_token(call, token, &forward, &position))
        return false;
    query->descending = !forward;
    if (forward && compare(position, query->after) > 0)
        query->after = position;
    if (!forward && compare(position, query->before) < 0)
        query->before = position;
    return true;
}

static bool plan_filter(struct fl_logs_call *call, const struct logs_FilterLogEventsRequest *in,
                        struct fl_logs_query *query, struct search *search)
{
    struct fl_err err;
    int64_t to_ms = FL_HAS(in, logs_FilterLogEventsRequest, endTime) ? in->endTime : INT64_MAX;
    bound_by_time(query, in->startTime, to_ms < INT64_MAX ? to_ms + 1 : to_ms);
    query->descending =
        FL_HAS(in, logs_FilterLogEventsRequest, startFromHead) && !in->startFromHead;
    if (in->logStreamNames.n > 0 && in->logStreamNamePrefix.n > 0)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "logStreamNames and logStreamNamePrefix are mutually exclusive.");
    else if (to_ms < in->startTime)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "endTime must not be earlier than startTime.");
    else if (fl_logs_pattern_parse(in->filterPattern, call->arena, &search->pattern, &err) < 0)
        fl_logs_fail(call, logs_error_InvalidParameterException, "%s", err.text);
    else
        query->effort = fl_logs_pattern_effort(search->pattern);
    return !call->error && resume_filter(call, in->nextToken, query);
}

/* Every stream asked for by name must exist. A single one is searched by its own index. */
static bool find_streams(struct fl_logs_call *call, struct fl_logs_db *db,
                         const struct fl_str_list *names, struct fl_logs_query *query)
{
    struct fl_logs_stream stream;
    for (size_t i = 0; i < names->n; i++)
        if (!fl_logs_need_stream(call, db, query->group_id, names->items[i], &stream))
            return false;
    if (names->n == 1)
        query->stream_id = stream.id;
    return true;
}

static void write_filtered_event(struct fl_logs_call *call, const struct fl_logs_event *event)
{
    struct fl_json_writer *jw = &call->jw;
    struct fl_logs_position position = {event->time_ms, event->seq};
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "logStreamName", event->stream_name);
    fl_jw_member_int(jw, "timestamp", event->time_ms);
    fl_jw_member_str(jw, "message", event->message);
    fl_jw_member_int(jw, "ingestionTime", event->ingested_ms);
    fl_jw_member_str(jw, "eventId", fl_logs_position_text(call->arena, position));
    fl_jw_object_end(jw);
}

static void answer_filter(struct fl_logs_call *call, const struct fl_logs_page *page,
                          bool descending)
{
    struct fl_json_writer *jw = &call->jw;
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "events");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < page->count; i++)
        write_filtered_event(call, &page->events[i]);
    fl_jw_array_end(jw);
    fl_jw_key(jw, "searchedLogStreams");
    fl_jw_array_begin(jw);
    fl_jw_array_end(jw);
    if (page->more)
        write_token(call, "nextToken", descending ? 'b' : 'f', page->last);
    fl_jw_object_end(jw);
}

void fl_logs_filter_events(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_FilterLogEventsRequest *in = call->input;
    FL_CLEANUP_ARENA struct fl_arena *scratch = fl_arena_new();
    struct search search = {
        .names = in->logStreamNames, .prefix = in->logStreamNamePrefix, .scratch = scratch};
    struct fl_logs_query query = {
        .max_bytes = MAX_PAGE_BYTES,
        .max_events = page_size(FL_HAS(in, logs_FilterLogEventsRequest, limit), in->limit),
        .sought = is_sought,
        .wanted = is_wanted,
        .context = &search,
    };
    struct fl_logs_group group;
    struct fl_logs_page page;
    if (!plan_filter(call, in, &query, &search) ||
        !fl_logs_need_group_by(call, db, in->logGroupName, in->logGroupIdentifier, &group))
        return;
    query.group_id = group.id;
    bound_by_age(&query, &group, call->now_ms);
    if (!find_streams(call, db, &search.names, &query))
        return;
    fl_logs_read(db, &query, call->arena, &page);
    answer_filter(call, &page, query.descending);
}
