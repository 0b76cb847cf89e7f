/* What the files of the session share. */
#pragma once

#include "agent/session.h"
#include "base/id.h"
#include "net/ws.h"

enum { FL_SESSION_CALL_MS = 10 * 1000 };

enum fl_session_stage {
    FL_SESSION_STAGE_JOIN, /* gets a key */
    FL_SESSION_STAGE_REGISTER,
    FL_SESSION_STAGE_DISCOVER,
    FL_SESSION_STAGE_CONNECT,
    FL_SESSION_STAGE_OPEN,
};

struct fl_session {
    struct fl_session_config config;
    struct fl_session_callbacks callbacks;
    void *context;
    struct fl_arena *arena;
    struct fl_identity identity;
    struct fl_buf endpoint_buf; /* base URL, ending in a slash */
    enum fl_session_stage stage;
    uv_timer_t *timer;
    struct fl_ws *ws;
    struct fl_rand rand;
    int64_t pause_ms;
    int64_t opened_ms;
    unsigned connect_failures;
    bool cluster_made;
    bool was_registered;
    bool is_elsewhere; /* calls go to the URL that was advertised, not to the configured one */
    bool was_open;     /* credentials are asked for on the first connection only */
    bool closing;
    char last_failure[256]; /* logged once, not at each attempt */
};

/* Goes on with the present stage. */
void fl_session_attempt(struct fl_session *session);
/* Goes on with a stage after a pause that grows; or after a long one. */
void fl_session_try_again(struct fl_session *session, enum fl_session_stage stage);
void fl_session_wait(struct fl_session *session, enum fl_session_stage stage);
/* Logs why something failed, once and not at each attempt. */
void fl_session_note(struct fl_session *session, const char *what, struct fl_str why);
void fl_session_note_answer(struct fl_session *session, const char *what,
                            const struct fl_http_response *response);

/* session_join.c */

/* Asks for a key. */
void fl_session_join(struct fl_session *session);
/* As another container instance: the present one is no more. */
void fl_session_join_anew(struct fl_session *session);
/* Our key is not good any more: joins again, or waits for somebody. */
void fl_session_shut_out(struct fl_session *session);
/* The same, if the answer says so; else false. */
bool fl_session_is_shut_out(struct fl_session *session, const struct fl_http_response *response);
/* No answer at all: the next call goes to the other one of the URLs that we know. */
void fl_session_look_elsewhere(struct fl_session *session, const struct fl_http_response *response);
/* Keeps the URL that an endpoint belongs to, for the day when the configured one is gone. */
void fl_session_remember_server(struct fl_session *session, struct fl_str endpoint);
