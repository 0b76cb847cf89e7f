/* What keys.c and tokens.c share. */
#pragma once

#include <bsd/sys/tree.h>

#include "server/keys.h"
#include "shapes/rec_shapes.h"

struct fl_agent_key {
    RB_ENTRY(fl_agent_key) by_instance;
    struct rec_AgentKey *rec;
};
RB_HEAD(fl_key_tree, fl_agent_key);

struct fl_join_token {
    RB_ENTRY(fl_join_token) by_id;
    struct rec_JoinToken *rec;
};
RB_HEAD(fl_join_tree, fl_join_token);

enum { FL_KEYS_FILES = 2, FL_KEYS_MASTER = 32 };

struct fl_keys {
    struct fl_arena *arena;
    struct fl_credentials files[FL_KEYS_FILES]; /* by role */
    uint8_t master[FL_KEYS_MASTER];
    struct fl_key_tree agents;
    struct fl_join_tree tokens;
    size_t token_count;
    int64_t life_ms;
    const struct fl_core *core;
    struct fl_store *store;
    struct fl_arena *scratch; /* holds the secret derived last */
};

struct fl_agent_key *fl_keys_find(const struct fl_keys *keys, struct fl_str instance);
/* The key with that serial, in the arena. */
void fl_keys_derive(const struct fl_keys *keys, struct fl_str instance, int64_t serial,
                    struct fl_arena *arena, struct fl_credentials *ret_key);
/* Copies a record in, in place of the one before. */
void fl_keys_put_key(struct fl_keys *keys, const struct rec_AgentKey *rec);
void fl_keys_put_token(struct fl_keys *keys, const struct rec_JoinToken *rec);
void fl_keys_forget_token(struct fl_keys *keys, struct fl_join_token *token);

/* Changes on their way to the store: as many as one call makes. */
struct fl_keys_batch;
struct fl_keys_batch *fl_keys_batch_new(void);
void fl_keys_batch_put(struct fl_keys_batch *batch, const char *kind, struct fl_str id,
                       const struct fl_shape *shape, const void *rec); /* rec NULL: delete */
/* done may be NULL. */
void fl_keys_batch_commit(struct fl_keys *keys, struct fl_keys_batch *batch,
                          void (*done)(void *context), void *context);
#define FL_KEYS_OF_AGENT "key"
#define FL_KEYS_OF_TOKEN "token"
struct fl_join_token *fl_keys_find_token(const struct fl_keys *keys, struct fl_str id);
RB_PROTOTYPE(fl_join_tree, fl_join_token, by_id, fl_join_token_order)
int fl_join_token_order(const struct fl_join_token *a, const struct fl_join_token *b);
