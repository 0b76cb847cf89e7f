/* Events going out: GetLogEvents pages through one stream in both directions, FilterLogEvents
 * through a group. A token is a position between events, so pages never overlap or leave gaps. */
#include <stdio.h>

#include "server/logs_call.h"
#include "server/logs_pattern.h"

enum {
    MAX_PAGE_EVENTS = 10000,
    MAX_PAGE_BYTES = 1024 * 1024,
    /* Events that one FilterLogEvents call looks at: the store's thread has others waiting. */
    MAX_SEARCHED = 100000,
    /* The same in bytes, each of them looked at once for every term. */
    MAX_COMPARED = 1 << 30,
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

/* Bounds by time: from_ms included, to_ms excluded. */
static void bound_by_time(struct fl_logs_event_scan *scan, int64_t from_ms, int64_t to_ms)
{
    scan->after = (struct fl_logs_position){from_ms, INT64_MIN};
    scan->before = (struct fl_logs_position){to_ms, INT64_MIN};
}

static int compare(struct fl_logs_position a, struct fl_logs_position b)
{
    if (a.time_ms != b.time_ms)
        return a.time_ms < b.time_ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}

/* Events collected for one page, in the order of the scan. */
struct page {
    struct fl_logs_call *call;
    struct fl_logs_event *events;
    size_t count;
    size_t cap;
    size_t limit;
    size_t bytes;
};

static struct page new_page(struct fl_logs_call *call, bool has_limit, int32_t limit)
{
    size_t wanted = has_limit && limit > 0 ? (size_t)limit : MAX_PAGE_EVENTS;
    return (struct page){.call = call, .limit = FL_MIN(wanted, (size_t)MAX_PAGE_EVENTS)};
}

static bool page_takes(const struct page *page, size_t message_bytes)
{
    return page->count < page->limit &&
           (page->count == 0 ||
            page->bytes + message_bytes + FL_LOGS_EVENT_OVERHEAD <= MAX_PAGE_BYTES);
}

static void page_grow(struct page *page)
{
    size_t cap = FL_MAX(page->cap * 2, (size_t)64);
    struct fl_logs_event *events = fl_arena_new_array(page->call->arena, struct fl_logs_event, cap);
    if (page->count > 0)
        memcpy(events, page->events, page->count * sizeof(*events));
    page->events = events;
    page->cap = cap;
}

static void page_add(struct page *page, const struct fl_logs_event *event)
{
    if (page->count == page->cap)
        page_grow(page);
    struct fl_logs_event *copy = &page->events[page->count++];
    *copy = *event;
    copy->message = fl_str_dup(page->call->arena, event->message);
    copy->stream_name = fl_str_dup(page->call->arena, event->stream_name);
    page->bytes += event->message.n + FL_LOGS_EVENT_OVERHEAD;
}

static bool each_of_stream(void *context, const struct fl_logs_event *event)
{
    struct page *page = context;
    if (!page_takes(page, event->message.n))
        return false;
    page_add(page, event);
    return true;
}

static void reverse(struct page *page)
{
    for (size_t i = 0, j = page->count; i + 1 < j; i++) {
        struct fl_logs_event event = page->events[i];
        page->events[i] = page->events[--j];
        page->events[j] = event;
    }
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
                     struct fl_logs_event_scan *scan, struct fl_logs_position *ret_from)
{
    bool forward = in->startFromHead;
    int64_t from_ms = FL_HAS(in, logs_GetLogEventsRequest, startTime) ? in->startTime : 0;
    int64_t to_ms = FL_HAS(in, logs_GetLogEventsRequest, endTime) ? in->endTime : INT64_MAX;
    if (to_ms < from_ms) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "endTime must not be earlier than startTime.");
        return false;
    }
    bound_by_time(scan, from_ms, to_ms);
    *ret_from = (struct fl_logs_position){from_ms, 0};
    if (in->nextToken.n > 0) {
        if (!parse_token(call, in->nextToken, &forward, ret_from))
            return false;
        if (forward && compare(*ret_from, scan->after) > 0)
            scan->after = *ret_from;
        if (!forward && compare(*ret_from, scan->before) < 0)
            scan->before = *ret_from;
    }
    scan->descending = !forward;
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
 * token then starts right at the same place, the other way round. */
static void write_tokens(struct fl_logs_call *call, const struct page *page, bool forward,
                         struct fl_logs_position from)
{
    struct fl_logs_position first = from, last = from;
    if (page->count > 0) {
        first = (struct fl_logs_position){page->events[0].time_ms, page->events[0].seq};
        last = (struct fl_logs_position){page->events[page->count - 1].time_ms,
                                         page->events[page->count - 1].seq};
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

void fl_logs_get_events(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_GetLogEventsRequest *in = call->input;
    struct fl_logs_event_scan scan = {0};
    struct fl_logs_position from;
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    struct page page = new_page(call, FL_HAS(in, logs_GetLogEventsRequest, limit), in->limit);
    if (!plan_get(call, in, &scan, &from) ||
        !fl_logs_need_group_by(call, db, in->logGroupName, in->logGroupIdentifier, &group) ||
        !fl_logs_need_stream(call, db, group.id, in->logStreamName, &stream))
        return;
    scan.stream_id = stream.id;
    fl_logs_scan_events(db, &scan, each_of_stream, &page);
    if (scan.descending)
        reverse(&page);
    fl_jw_object_begin(&call->jw);
    fl_jw_key(&call->jw, "events");
    fl_jw_array_begin(&call->jw);
    for (size_t i = 0; i < page.count; i++)
        write_output_event(&call->jw, &page.events[i]);
    fl_jw_array_end(&call->jw);
    write_tokens(call, &page, !scan.descending, from);
    fl_jw_object_end(&call->jw);
}

struct search {
    struct page page;
    struct fl_str_list names; /* sought streams; none: all */
    struct fl_str prefix;
    struct fl_logs_pattern pattern;
    size_t searched;
    size_t compared;
    struct fl_logs_position last; /* last event looked at */
    bool more;                    /* ended before the end */
};

static bool is_sought(const struct search *search, struct fl_str stream_name)
{
    if (search->prefix.n > 0)
        return fl_str_starts(stream_name, search->prefix);
    for (size_t i = 0; i < search->names.n; i++)
        if (fl_str_eq(search->names.items[i], stream_name))
            return true;
    return search->names.n == 0;
}

static bool each_of_group(void *context, const struct fl_logs_event *event)
{
    struct search *search = context;
    if (search->searched == MAX_SEARCHED || search->compared > MAX_COMPARED) {
        search->more = true;
        return false;
    }
    /* A scan of one stream names none: the stream is the sought one. */
    struct fl_logs_event named = *event;
    if (named.stream_name.n == 0)
        named.stream_name = search->names.items[0];
    if (is_sought(search, named.stream_name) &&
        fl_logs_pattern_matches(&search->pattern, event->message)) {
        if (!page_takes(&search->page, event->message.n)) {
            search->more = true;
            return false;
        }
        page_add(&search->page, &named);
    }
    search->searched++;
    search->compared += event->message.n * search->pattern.count;
    search->last = (struct fl_logs_position){event->time_ms, event->seq};
    return true;
}

/* The token's direction counts, not startFromHead's, once there is a token. */
static bool resume_filter(struct fl_logs_call *call, struct fl_str token,
                          struct fl_logs_event_scan *scan)
{
    bool forward;
    struct fl_logs_position position;
    if (token.n == 0)
        return true;
    if (!parse_token(call, token, &forward, &position))
        return false;
    scan->descending = !forward;
    if (forward && compare(position, scan->after) > 0)
        scan->after = position;
    if (!forward && compare(position, scan->before) < 0)
        scan->before = position;
    return true;
}

static bool plan_filter(struct fl_logs_call *call, const struct logs_FilterLogEventsRequest *in,
                        struct fl_logs_event_scan *scan, struct search *search)
{
    struct fl_err err;
    int64_t to_ms = FL_HAS(in, logs_FilterLogEventsRequest, endTime) ? in->endTime : INT64_MAX;
    bound_by_time(scan, in->startTime, to_ms < INT64_MAX ? to_ms + 1 : to_ms);
    scan->descending = FL_HAS(in, logs_FilterLogEventsRequest, startFromHead) && !in->startFromHead;
    if (in->logStreamNames.n > 0 && in->logStreamNamePrefix.n > 0)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "logStreamNames and logStreamNamePrefix are mutually exclusive.");
    else if (to_ms < in->startTime)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "endTime must not be earlier than startTime.");
    else if (fl_logs_pattern_parse(in->filterPattern, call->arena, &search->pattern, &err) < 0)
        fl_logs_fail(call, logs_error_InvalidParameterException, "%s", err.text);
    return !call->error && resume_filter(call, in->nextToken, scan);
}

/* Every stream asked for by name must exist. A single one is searched by its own index. */
static bool find_streams(struct fl_logs_call *call, struct fl_logs_db *db,
                         const struct fl_str_list *names, struct fl_logs_event_scan *scan)
{
    struct fl_logs_stream stream;
    for (size_t i = 0; i < names->n; i++)
        if (!fl_logs_need_stream(call, db, scan->group_id, names->items[i], &stream))
            return false;
    if (names->n == 1)
        scan->stream_id = stream.id;
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

static void answer_filter(struct fl_logs_call *call, const struct search *search, bool descending)
{
    struct fl_json_writer *jw = &call->jw;
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "events");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < search->page.count; i++)
        write_filtered_event(call, &search->page.events[i]);
    fl_jw_array_end(jw);
    fl_jw_key(jw, "searchedLogStreams");
    fl_jw_array_begin(jw);
    fl_jw_array_end(jw);
    if (search->more)
        write_token(call, "nextToken", descending ? 'b' : 'f', search->last);
    fl_jw_object_end(jw);
}

void fl_logs_filter_events(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_FilterLogEventsRequest *in = call->input;
    struct fl_logs_event_scan scan = {0};
    struct fl_logs_group group;
    struct search search = {
        .page = new_page(call, FL_HAS(in, logs_FilterLogEventsRequest, limit), in->limit),
        .names = in->logStreamNames,
        .prefix = in->logStreamNamePrefix,
    };
    if (!plan_filter(call, in, &scan, &search) ||
        !fl_logs_need_group_by(call, db, in->logGroupName, in->logGroupIdentifier, &group))
        return;
    scan.group_id = group.id;
    if (!find_streams(call, db, &search.names, &scan))
        return;
    fl_logs_scan_events(db, &scan, each_of_group, &search);
    answer_filter(call, &search, scan.descending);
}
