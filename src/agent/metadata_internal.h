/* What metadata.c (requests) and metadata_tags.c (documents with tags) share. */
#pragma once

#include <sys/queue.h>

#include "agent/metadata.h"
#include "agent/metadata_route.h"
#include "agent/metadata_throttle.h"
#include "net/http_server.h"

enum { FL_METADATA_DOCUMENT_MAX = 4 * 1024 * 1024 };

struct fl_metadata_asking;
struct fl_metadata_protecting;

struct fl_metadata {
    struct fl_metadata_config config;
    struct fl_arena *arena;
    struct fl_http_server *server;
    struct fl_metadata_throttle *throttle;
    uint8_t key[FL_METADATA_KEY_SIZE];
    LIST_HEAD(fl_metadata_askings, fl_metadata_asking) asking; /* for tags */
    unsigned asking_count;
    LIST_HEAD(fl_metadata_protectings, fl_metadata_protecting) protecting;
    unsigned protecting_count;
};

void fl_metadata_reply(struct fl_http_exchange *exchange, unsigned status, struct fl_str json);
/* A JSON string: how ECS's endpoint tells errors. */
void fl_metadata_reply_error(struct fl_http_exchange *exchange, unsigned status,
                             struct fl_str text);
void fl_metadata_reply_throttled(struct fl_http_exchange *exchange);

/* metadata_credentials.c. task: whose credentials the id is of, if the caller is one of its
 * containers; else NULL. */
void fl_metadata_reply_credentials(const struct fl_metadata *metadata,
                                   struct fl_http_exchange *exchange,
                                   const struct fl_metadata_route *route,
                                   const struct fl_task *task);

/* metadata_protection.c */
/* Reads or sets the scale-in protection of the caller's task (NULL: it is nobody's). */
void fl_metadata_protect(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                         const struct fl_task *task);
/* As fl_metadata_tags_end. */
void fl_metadata_protect_end(struct fl_metadata *metadata);

/* metadata_tags.c */
/* Asks the control plane for the tags of task and instance, then answers with the document. */
void fl_metadata_tags_ask(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                          const struct fl_task *task, enum fl_metadata_version version);
/* The calls have been ended: what waited for them is answered. */
void fl_metadata_tags_end(struct fl_metadata *metadata);
