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
    const char *error; /* NULL: none */
    struct fl_str error_text;
    struct fl_buf body;
    struct fl_json_writer jw; /* into body */
};

/* Makes the answer a refusal; the first one stays. */
void fl_logs_fail(struct fl_logs_call *call, const char *code, const char *fmt, ...)
    FL_PRINTF(3, 4);

/* A group or stream of the call's, or false after fl_logs_fail with AWS's sentence. */
bool fl_logs_need_group(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str name,
                        struct fl_logs_group *ret_group);
bool fl_logs_need_stream(struct fl_logs_call *call, struct fl_logs_db *db, int64_t group_id,
                         struct fl_str name, struct fl_logs_stream *ret_stream);
/* A group given by name or by identifier (a name, or its ARN with or without ":*"); exactly one
 * of the two must be there. */
bool fl_logs_need_group_by(struct fl_logs_call *call, struct fl_logs_db *db, struct fl_str name,
                           struct fl_str identifier, struct fl_logs_group *ret_group);

/* Refuses a name that AWS would not take. */
bool fl_logs_check_group_name(struct fl_logs_call *call, struct fl_str name);
bool fl_logs_check_stream_name(struct fl_logs_call *call, struct fl_str name);

/* A position as AWS writes its event ids and tokens: 56 digits. */
enum { FL_LOGS_POSITION_DIGITS = 56 };
struct fl_str fl_logs_position_text(struct fl_arena *arena, struct fl_logs_position position);
bool fl_logs_position_parse(struct fl_str text, struct fl_logs_position *ret_position);

void fl_logs_create_group(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_create_stream(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_put_events(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_describe_groups(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_describe_streams(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_get_events(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_filter_events(struct fl_logs_call *call, struct fl_logs_db *db);
void fl_logs_ship_events(struct fl_logs_call *call, struct fl_logs_db *db);
