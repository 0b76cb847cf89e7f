/* What the files of the sessions share. */
#pragma once

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "server/sessions.h"

/* Bounds of one payload message; what is more goes into the next. */
enum {
    FL_SESSION_PAYLOAD_TASKS = 100,
    FL_SESSION_PAYLOAD_BYTES = 1 << 20,
    FL_SESSION_MAX_UNACKED = 256,
    FL_SESSION_ID_SIZE = 33,
    FL_SESSION_LOG_LINES = 10, /* about what one agent says */
    FL_SESSION_ROUND_SIZE = 17,
};

struct fl_unacked {
    char id[FL_SESSION_ID_SIZE];
    int64_t sent_ms;
};

struct fl_session_link {
    RB_ENTRY(fl_session_link) by_instance; /* in `tree`, or in `gone` */
    LIST_ENTRY(fl_session_link) to_send;   /* in the list while task_count > 0 */
    struct fl_sessions *owner;
    struct fl_ws *ws;
    uint64_t number;
    struct fl_arena *arena; /* names below */
    struct fl_str cluster;
    struct fl_str instance;
    struct fl_str cluster_arn;
    struct fl_str instance_arn;
    struct fl_str nonce; /* empty: the agent has none */
    struct fl_str peer;
    int64_t heard_ms;  /* monotonic */
    int64_t probed_ms; /* while is_doubted */
    bool is_doubted;   /* another agent wants its place, and it has not spoken since */
    bool has_rival;    /* said so once */
    struct fl_str tasks[FL_SESSION_PAYLOAD_TASKS];
    size_t task_count;
    size_t task_bytes;
    struct fl_arena *task_arena;
    struct fl_unacked unacked[FL_SESSION_MAX_UNACKED]; /* oldest first */
    size_t unacked_count;
    unsigned log_lines;
    int64_t refresh_ms; /* monotonic: when its tasks' credentials are to be sent anew */
    char round[FL_SESSION_ROUND_SIZE]; /* the last such round: its messages' ids begin so */
    size_t round_unacked;
    int64_t ends_ms; /* monotonic: when the connection is to be renewed */
    bool is_closing;
    bool is_replaced;
    bool is_expired;
    TAILQ_ENTRY(fl_session_link) by_leave; /* closed, and expected back */
    int64_t gone_ms;
};

RB_HEAD(fl_session_tree, fl_session_link);

struct fl_sessions {
    struct fl_core *core;
    struct fl_engine *engine;
    const struct fl_issuer *issuer;
    struct fl_session_tree tree;
    TAILQ_HEAD(, fl_session_link) leaving; /* the one that has been gone longest first */
    struct fl_session_tree gone;           /* the same ones, one of an instance */
    LIST_HEAD(, fl_session_link) to_send;  /* a turn speaks to few agents of many */
    size_t count;
    uint64_t last_number;
    uint64_t epoch;
    int64_t life_ms;
    int64_t silence_ms; /* an agent that says nothing this long is gone */
    int64_t pace_ms;    /* of heartbeats */
    unsigned looks;     /* for silence, several a heartbeat */
    struct fl_keys *keys;
    const struct fl_certificate *certificate;
    uint32_t counter;
    uv_timer_t heartbeat;
    uv_timer_t grace;
    unsigned timers; /* that are not closed yet */
};

/* The instance's session, or NULL; one that is closing, too. */
struct fl_session_link *fl_sessions_find(struct fl_sessions *sessions, struct fl_str cluster,
                                         struct fl_str instance);
/* Starts closing it; why goes to the agent and into the log. */
void fl_session_end(struct fl_session_link *session, const char *why);
/* Steps the core with an event of this session. */
void fl_session_tell(struct fl_session_link *session, enum fl_core_event_kind kind,
                     struct fl_core_event *event);
/* Frames. */
void fl_session_send_heartbeat(struct fl_session_link *session);
void fl_session_send_inactive(struct fl_session_link *session, const char *text);
/* The next key, if it is time for one. */
void fl_session_offer_key(struct fl_session_link *session);
/* The certificates to believe. */
void fl_session_send_certificates(struct fl_session_link *session);
void fl_session_send_close(struct fl_session_link *session, const char *text);
/* sessions_credentials.c: the effect's Task object, in the session's task_arena, with credentials
 * of the task's roles. */
struct fl_str fl_session_with_credentials(struct fl_session_link *session,
                                          const struct fl_core_effect *effect);
/* Sends new credentials for every task of the instance that has a role. */
void fl_session_refresh_credentials(struct fl_session_link *session);
void fl_session_take_credentials_ack(struct fl_session_link *session, struct fl_str message_id);
/* What the agent says. */
void fl_session_take(struct fl_session_link *session, struct fl_str text);
