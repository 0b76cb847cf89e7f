/* One request to the logs endpoint on its way through the store. For logs*.c only. */
#pragma once

#include "server/logs.h"
#include "shapes/logs_shapes.h"
#include "store/logs_store.h"
#include "wire/json.h"

struct fl_logs_call;
/* Runs on the store's thread; ends by writing call->jw's object or by fl_logs_fail. */
typedef void (*fl_logs_handler)(struct fl_logs_call *call, struct fl_logs_db *db);

struct fl_logs_call {
    struct fl_logs_job job;
    fl_logs_handler handler;
    const void *input;       /* the operation's structure */
    struct fl_str body_in;   /* ShipLogs */
    struct fl_str stream_in; /* the same: the only stream that it may name; empty: any */
    struct fl_arena *arena;
    int64_t now_ms;
    struct fl_str region;
    struct fl_str account;
    fl_logs_reply reply;
    void *context;
    struct fl_http_exchange *exchange; /* StartLiveTail: answered with a stream */
    struct fl_logs *logs;
    /* What the call stored, for those who follow. */
    struct fl_str stored_group;
    struct fl_str stored_stream;
    const struct fl_logs_event *stored;
    size_t stored_count;
    const char *error; /* NULL: none */
    struct fl_str error_text;
    struct fl_buf body;
    struct fl_json_writer jw; /* into body */
};

/* Makes the answer a refusal; the first one stays. */
void fl_logs_fail(struct fl_logs_call *call, const char *code, const char *fmt, ...)
    FL_PRINTF(3, 4);

/* Says what the call stores; the strings must live as long as its input. */
void fl_logs_note_stored(struct fl_logs_call *call, struct fl_str group, struct fl_str stream,
                         const struct fl_logs_event *events, size_t count);

/* A group or stream of the call's, or false after fl_logs_fail with AWS's sentence. */
bool fl_logs_need_group(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str name,
                        struct fl_logs_group *ret_group);
bool fl_logs_need_stream(struct fl_logs_call *call, struct fl_logs_db *db, int64_t group_id,
                         struct fl_str name, struct fl_logs_stream *ret_stream);
/* A group given by name or by identifier (a name, or its ARN with or without ":*"); exactly one
 * of the two must be there. */
bool fl_logs_need_group_by(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str name,
                           struct fl_str identifier, struct fl_logs_group *ret_group);

/* The group's name in an identifier as above. */
struct fl_str fl_logs_name_of(struct fl_str identifier);
/* Tags as a JSON object of strings; none: "{}". Refuses keys that are AWS's own. */
bool fl_logs_write_tags(struct fl_logs_call *call, const struct fl_str_map *tags,
                        struct fl_str *ret_json);

/* Refuses a name that AWS would not take. */
bool fl_logs_check_group_name(struct fl_logs_call *call, struct fl_str name);
bool fl_logs_check_stream_name(struct fl_logs_call *call, struct fl_str name);

/* Events before this time are beyond the group's retention; INT64_MIN without one. */
int64_t fl_logs_horizon_ms(const struct fl_logs_group *group, int64_t now_ms);

/* A position as AWS writes its event ids and tokens: 56 digits. */
enum { FL_LOGS_POSITION_DIGITS = 56 };
struct fl_str fl_logs_position_text(struct fl_arena *arena, struct fl_logs_position position);
bool fl_logs_position_parse(struct fl_str text, struct fl_logs_position *ret_position);

void fl_logs_create_group(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_create_stream(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_delete_group(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_delete_stream(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_put_retention(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_delete_retention(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_tag_group(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_untag_group(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_list_group_tags(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_tag_resource(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_untag_resource(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_list_resource_tags(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_test_filter(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_put_events(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_describe_groups(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_describe_streams(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_get_events(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_filter_events(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_ship_events(struct fl_logs_call *call, struct fl_logs_db *db);
