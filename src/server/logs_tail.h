/* Live tails: what is stored is also told, once a second, to whoever asked for it (StartLiveTail).
 * All of it on the loop's thread. */
#pragma once

#include "net/http_server.h"
#include "server/logs_call.h"

struct fl_logs_tails;

struct fl_logs_tails *fl_logs_tails_new(uv_loop_t *loop, struct fl_str account);
/* The streams must have ended: the HTTP server is stopped. The loop must run once more. */
void fl_logs_tails_free(struct fl_logs_tails *tails);

/* Whether another one may begin; each of them costs memory and time. */
bool fl_logs_tails_have_room(const struct fl_logs_tails *tails);
/* Answers the exchange with a stream. The input is as fl_logs_check_tail found it good. */
void fl_logs_tails_start(struct fl_logs_tails *tails, struct fl_http_exchange *exchange,
                         const struct logs_StartLiveTailRequest *in);
/* What has just become durable. */
void fl_logs_tails_offer(struct fl_logs_tails *tails, struct fl_str group, struct fl_str stream,
                         const struct fl_logs_event *events, size_t count);

/* On the store's thread: whether the groups exist and the rest makes sense. */
void fl_logs_check_tail(struct fl_logs_call *call, struct fl_logs_db *db);
