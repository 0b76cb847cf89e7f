/* Events coming in: PutLogEvents as AWS defines it, and ShipLogs, which knows how far it got. */
#include "server/logs_call.h"

enum { MAX_BATCH_BYTES = 1024 * 1024, MAX_EVENTS = 10000 };

static const int64_t hour_ms = 60 * 60 * 1000;

/* How far a shipped event's time may lie before its predecessor's and still be moved up to it. */
static const int64_t order_slack_ms = 10 * 1000;

static bool check_order(struct fl_logs_call *call, const struct logs_InputLogEvent_list *events)
{
    for (size_t i = 1; i < events->n; i++) {
        if (events->items[i].timestamp >= events->items[i - 1].timestamp)
            continue;
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "Log events in a single PutLogEvents request must be in chronological order.");
        return false;
    }
    if (events->n > 0 &&
        events->items[events->n - 1].timestamp - events->items[0].timestamp > 24 * hour_ms) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "The batch of log events in a single PutLogEvents request cannot span more "
                     "than 24 hours.");
        return false;
    }
    return true;
}

static bool check_size(struct fl_logs_call *call, size_t count, size_t bytes)
{
    if (count > MAX_EVENTS)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "Too many log events: %zu exceeds limit of %d", count, MAX_EVENTS);
    else if (bytes > MAX_BATCH_BYTES)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "Upload too large: %zu bytes exceeds limit of %d", bytes, MAX_BATCH_BYTES);
    return !call->error;
}

static bool check_put(struct fl_logs_call *call, const struct logs_PutLogEventsRequest *in)
{
    size_t bytes = 0;
    for (size_t i = 0; i < in->logEvents.n; i++)
        bytes += in->logEvents.items[i].message.n + FL_LOGS_EVENT_OVERHEAD;
    return check_size(call, in->logEvents.n, bytes) && check_order(call, &in->logEvents);
}

/* The events that are neither too old nor too new: [begin, end). */
struct accepted {
    size_t expired; /* [0, expired) are beyond the group's retention, */
    size_t begin;   /* [expired, begin) merely too old */
    size_t end;
};

static struct accepted find_accepted(const struct logs_InputLogEvent_list *events,
                                     int64_t horizon_ms, int64_t now_ms)
{
    struct accepted accepted = {0, 0, events->n};
    while (accepted.expired < events->n && events->items[accepted.expired].timestamp < horizon_ms)
        accepted.expired++;
    accepted.begin = accepted.expired;
    while (accepted.begin < events->n &&
           events->items[accepted.begin].timestamp < now_ms - 14 * 24 * hour_ms)
        accepted.begin++;
    while (accepted.end > accepted.begin &&
           events->items[accepted.end - 1].timestamp > now_ms + 2 * hour_ms)
        accepted.end--;
    return accepted;
}

static void answer_put(struct fl_logs_call *call, const struct fl_logs_stream *stream,
                       struct accepted accepted, size_t count)
{
    struct fl_json_writer *jw = &call->jw;
    struct fl_logs_position token = {call->now_ms, stream->id};
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "nextSequenceToken", fl_logs_position_text(call->arena, token));
    if (accepted.begin > 0 || accepted.end < count) {
        fl_jw_key(jw, "rejectedLogEventsInfo");
        fl_jw_object_begin(jw);
        if (accepted.end < count)
            fl_jw_member_int(jw, "tooNewLogEventStartIndex", (int64_t)accepted.end);
        if (accepted.begin > accepted.expired)
            fl_jw_member_int(jw, "tooOldLogEventEndIndex", (int64_t)accepted.begin);
        if (accepted.expired > 0)
            fl_jw_member_int(jw, "expiredLogEventEndIndex", (int64_t)accepted.expired);
        fl_jw_object_end(jw);
    }
    fl_jw_object_end(jw);
}

void fl_logs_put_events(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_PutLogEventsRequest *in = call->input;
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    if (!check_put(call, in) || !fl_logs_need_group(call, db, in->logGroupName, &group) ||
        !fl_logs_need_stream(call, db, group.id, in->logStreamName, &stream))
        return;
    struct accepted accepted =
        find_accepted(&in->logEvents, fl_logs_horizon_ms(&group, call->now_ms), call->now_ms);
    size_t count = accepted.end - accepted.begin;
    struct fl_logs_event *events = fl_arena_new_array(call->arena, struct fl_logs_event, count);
    for (size_t i = 0; i < count; i++) {
        const struct logs_InputLogEvent *event = &in->logEvents.items[accepted.begin + i];
        events[i].time_ms = event->timestamp;
        events[i].message = event->message;
    }
    if (count > 0)
        fl_logs_add_events(db, &stream, events, count, call->now_ms);
    fl_logs_note_stored(call, in->logGroupName, in->logStreamName, events, count);
    answer_put(call, &stream, accepted, in->logEvents.n);
}

struct shipment {
    struct fl_str group;
    struct fl_str stream;
    bool create_group;
    int64_t offset;
    int64_t next_offset;
    struct fl_logs_event *events;
    size_t count;
};

static bool read_events(struct fl_logs_call *call, const struct fl_json *array,
                        struct shipment *shipment)
{
    size_t bytes = 0;
    size_t count = fl_json_items(array);
    if (count > MAX_EVENTS)
        return check_size(call, count, 0);
    shipment->events = fl_arena_new_array(call->arena, struct fl_logs_event, count);
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(array, i);
        const struct fl_json *time = fl_json_get(item, "timestamp");
        struct fl_logs_event *event = &shipment->events[i];
        event->message = fl_json_text(fl_json_get(item, "message"));
        event->time_ms = fl_json_int(time);
        bytes += event->message.n + FL_LOGS_EVENT_OVERHEAD;
        if (event->message.n == 0 || !fl_json_is(time, FL_JSON_INTEGER) || event->time_ms < 0) {
            fl_logs_fail(call, logs_error_InvalidParameterException,
                         "events[%zu] has no timestamp or no message.", i);
            return false;
        }
    }
    shipment->count = count;
    return check_size(call, count, bytes);
}

static bool read_shipment(struct fl_logs_call *call, const struct fl_json *json,
                          struct shipment *shipment)
{
    *shipment = (struct shipment){
        .group = fl_json_text(fl_json_get(json, "logGroupName")),
        .stream = fl_json_text(fl_json_get(json, "logStreamName")),
        .create_group = fl_json_is_true(fl_json_get(json, "createGroup")),
        .offset = fl_json_int(fl_json_get(json, "offset")),
        .next_offset = fl_json_int(fl_json_get(json, "nextOffset")),
    };
    if (!fl_logs_check_group_name(call, shipment->group) ||
        !fl_logs_check_stream_name(call, shipment->stream))
        return false;
    if (shipment->offset < 0 || shipment->next_offset < shipment->offset) {
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "nextOffset must not be less than offset.");
        return false;
    }
    return read_events(call, fl_json_get(json, "events"), shipment);
}

/* Events are read back by time. A clock that was set back a little must not put a line before the
 * one it follows, so such a line gets its predecessor's time. */
static void keep_order(struct shipment *shipment, int64_t last_ms)
{
    for (size_t i = 0; i < shipment->count; i++) {
        struct fl_logs_event *event = &shipment->events[i];
        if (event->time_ms < last_ms && last_ms - event->time_ms <= order_slack_ms)
            event->time_ms = last_ms;
        last_ms = event->time_ms;
    }
}

static bool ensure_stream(struct fl_logs_call *call, struct fl_logs_db *db,
                          const struct shipment *shipment, struct fl_logs_stream *ret_stream)
{
    struct fl_logs_group group;
    if (!fl_logs_find_group(db, shipment->group, call->arena, &group)) {
        if (!shipment->create_group)
            return fl_logs_need_group(call, db, shipment->group, &group);
        const struct fl_logs_group made = {.name = shipment->group,
                                           .created_ms = call->now_ms,
                                           .class = FL_STR("STANDARD"),
                                           .tags = FL_STR("{}")};
        fl_logs_add_group(db, &made, &group);
    }
    if (!fl_logs_find_stream(db, group.id, shipment->stream, call->arena, ret_stream))
        fl_logs_add_stream(db, group.id, shipment->stream, call->now_ms, ret_stream);
    return true;
}

static void ship(struct fl_logs_call *call, struct fl_logs_db *db, struct shipment *shipment)
{
    struct fl_logs_stream stream;
    if (!ensure_stream(call, db, shipment, &stream))
        return;
    if (shipment->offset == stream.ship_offset && shipment->next_offset > shipment->offset) {
        stream.ship_offset = shipment->next_offset;
        keep_order(shipment, stream.last_ms);
        fl_logs_add_events(db, &stream, shipment->events, shipment->count, call->now_ms);
        fl_logs_note_stored(call, shipment->group, shipment->stream, shipment->events,
                            shipment->count);
    }
    fl_jw_object_begin(&call->jw);
    fl_jw_member_int(&call->jw, "nextOffset", stream.ship_offset);
    fl_jw_object_end(&call->jw);
}

static bool may_name(struct fl_logs_call *call, struct fl_str stream)
{
    if (call->stream_in.n == 0 || fl_str_eq(call->stream_in, stream))
        return true;
    fl_logs_fail(call, "AccessDeniedException",
                 "The request's stream is not the one that its header names.");
    return false;
}

void fl_logs_ship_events(struct fl_logs_call *call, struct fl_logs_db *db)
{
    struct fl_err err;
    struct shipment shipment;
    const struct fl_json *json = fl_json_read(call->body_in, call->arena, &err);
    if (!json)
        fl_logs_fail(call, logs_error_InvalidParameterException, "%s", err.text);
    else if (read_shipment(call, json, &shipment) && may_name(call, shipment.stream))
        ship(call, db, &shipment);
}
