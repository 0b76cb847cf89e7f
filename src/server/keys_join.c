/* Tokens, and how an agent comes to its key by one of them, or by being on the server's machine. */
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/clock.h"
#include "base/id.h"
#include "server/keys_internal.h"

enum { MAX_TOKENS = 1000, ID_BYTES = 8, SECRET_BYTES = 24 };

static const char token_prefix[] = "FLT";

int fl_join_token_order(const struct fl_join_token *a, const struct fl_join_token *b)
{
    return fl_str_cmp(a->rec->id, b->rec->id);
}

RB_GENERATE(fl_join_tree, fl_join_token, by_id, fl_join_token_order)

struct fl_join_token *fl_keys_find_token(const struct fl_keys *keys, struct fl_str id)
{
    struct rec_JoinToken rec = {.id = id};
    struct fl_join_token probe = {.rec = &rec};
    return RB_FIND(fl_join_tree, (struct fl_join_tree *)&keys->tokens, &probe);
}

void fl_keys_put_token(struct fl_keys *keys, const struct rec_JoinToken *rec)
{
    struct fl_join_token *token = fl_keys_find_token(keys, rec->id);
    struct rec_JoinToken *clone = fl_shape_clone(&rec_shape_JoinToken, rec);
    if (token) {
        free(token->rec);
        token->rec = clone;
        return;
    }
    token = fl_calloc(1, sizeof(*token));
    token->rec = clone;
    (void)RB_INSERT(fl_join_tree, &keys->tokens, token);
    keys->token_count++;
}

void fl_keys_forget_token(struct fl_keys *keys, struct fl_join_token *token)
{
    (void)RB_REMOVE(fl_join_tree, &keys->tokens, token);
    keys->token_count--;
    free(token->rec);
    free(token);
}

/* Secrets are long and random: one round of hashing is as good as many. */
static void hash_of(struct fl_str secret, char ret_hash[2 * SHA256_DIGEST_LENGTH + 1])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256((const uint8_t *)secret.p, secret.n, digest);
    fl_hex(digest, sizeof(digest), ret_hash);
}

static struct fl_str random_hex(struct fl_arena *arena, const char *prefix, size_t n)
{
    uint8_t bytes[SECRET_BYTES];
    char hex[2 * SECRET_BYTES + 1];
    FL_ASSERT(n <= sizeof(bytes));
    fl_random_bytes(bytes, n);
    fl_hex(bytes, n, hex);
    return fl_str_printf(arena, "%s%s", prefix, hex);
}

bool fl_keys_make_token(struct fl_keys *keys, int64_t uses, int64_t expires_ms,
                        struct fl_arena *arena, struct fl_str *ret_id, struct fl_str *ret_secret,
                        void (*done)(void *context), void *context)
{
    struct rec_JoinToken rec = {0};
    char hash[2 * SHA256_DIGEST_LENGTH + 1];
    fl_keys_sweep(keys);
    if (keys->token_count >= MAX_TOKENS)
        return false;
    *ret_id = random_hex(arena, token_prefix, ID_BYTES);
    *ret_secret = random_hex(arena, "", SECRET_BYTES);
    hash_of(*ret_secret, hash);
    FL_SET(&rec, rec_JoinToken, v, 1);
    FL_SET(&rec, rec_JoinToken, id, *ret_id);
    FL_SET(&rec, rec_JoinToken, hash, fl_str_of(hash));
    FL_SET(&rec, rec_JoinToken, uses, (int32_t)uses);
    FL_SET(&rec, rec_JoinToken, createdAt, fl_clock_wall_ms());
    if (expires_ms > 0)
        FL_SET(&rec, rec_JoinToken, expiresAt, expires_ms);
    struct fl_keys_batch *batch = fl_keys_batch_new();
    fl_keys_batch_put(batch, FL_KEYS_OF_TOKEN, rec.id, &rec_shape_JoinToken, &rec);
    fl_keys_put_token(keys, &rec);
    fl_keys_batch_commit(keys, batch, done, context);
    return true;
}

bool fl_keys_next_token(const struct fl_keys *keys, struct fl_str after,
                        struct fl_token_view *ret_token)
{
    struct rec_JoinToken rec = {.id = after};
    struct fl_join_token probe = {.rec = &rec};
    struct fl_join_tree *tree = (struct fl_join_tree *)&keys->tokens;
    struct fl_join_token *token = RB_NFIND(fl_join_tree, tree, &probe);
    if (token && fl_str_eq(token->rec->id, after))
        token = RB_NEXT(fl_join_tree, tree, token);
    if (!token)
        return false;
    *ret_token = (struct fl_token_view){.id = token->rec->id,
                                        .uses = token->rec->uses,
                                        .created_ms = token->rec->createdAt,
                                        .expires_ms = token->rec->expiresAt};
    return true;
}

bool fl_keys_remove_token(struct fl_keys *keys, struct fl_str id, void (*done)(void *context),
                          void *context)
{
    struct fl_join_token *token = fl_keys_find_token(keys, id);
    if (!token)
        return false;
    struct fl_keys_batch *batch = fl_keys_batch_new();
    fl_keys_batch_put(batch, FL_KEYS_OF_TOKEN, id, NULL, NULL);
    fl_keys_forget_token(keys, token);
    fl_keys_batch_commit(keys, batch, done, context);
    return true;
}

/* ---- joining ---- */

/* The token, if its secret is right; what it still is good for is another question. */
static struct fl_join_token *prove(struct fl_keys *keys, struct fl_str text)
{
    char hash[2 * SHA256_DIGEST_LENGTH + 1];
    static const char none[2 * SHA256_DIGEST_LENGTH + 1] = "";
    struct fl_str secret = text, id = FL_STR("");
    (void)fl_str_split(&secret, ':', &id);
    struct fl_join_token *token = fl_keys_find_token(keys, id);
    bool is_whole = token && token->rec->hash.n == sizeof(hash) - 1;
    hash_of(secret, hash);
    bool is_right =
        CRYPTO_memcmp(is_whole ? token->rec->hash.p : none, hash, sizeof(hash) - 1) == 0;
    return is_whole && is_right ? token : NULL;
}

/* Nobody else may speak for an instance that has an agent, or a key. */
static const char *check_instance(const struct fl_keys *keys, const struct fl_join *join,
                                  const struct fl_agent_key *key, const struct fl_join_token *token)
{
    bool known = fl_core_instance_known(keys->core, join->cluster, join->instance);
    struct fl_str by = token ? token->rec->id : FL_STR(FL_KEYS_LOCAL);
    if (known && !fl_core_instance_active(keys->core, join->cluster, join->instance))
        return "The container instance was deregistered.";
    if (key && (!fl_str_eq(key->rec->token, by) || !fl_str_eq(key->rec->cluster, join->cluster)))
        return "The container instance has joined already, and its agent has a key of its own.";
    if (known && token)
        return "The container instance is registered already: a token is for new ones.";
    return NULL;
}

static const char *check_token(const struct fl_join_token *token, bool is_new)
{
    if (FL_HAS(token->rec, rec_JoinToken, expiresAt) && token->rec->expiresAt <= fl_clock_wall_ms())
        return "The join token has expired.";
    return is_new && token->rec->uses <= 0 ? "The join token has been used up." : NULL;
}

static void use_token(struct fl_keys *keys, struct fl_join_token *token,
                      struct fl_keys_batch *batch)
{
    struct rec_JoinToken rec = *token->rec;
    FL_SET(&rec, rec_JoinToken, uses, rec.uses - 1);
    fl_keys_batch_put(batch, FL_KEYS_OF_TOKEN, rec.id, &rec_shape_JoinToken, &rec);
    fl_keys_put_token(keys, &rec);
}

/* The machine's own agent that asks again has lost its key: the former one dies. */
static int32_t serial_for(const struct fl_agent_key *key, const struct fl_join_token *token)
{
    if (!key)
        return 1;
    return token ? key->rec->serial : key->rec->serial + 1;
}

const char *fl_keys_join(struct fl_keys *keys, const struct fl_join *join, struct fl_arena *arena,
                         struct fl_credentials *ret_key, void (*done)(void *context), void *context)
{
    struct fl_agent_key *key = fl_keys_find(keys, join->instance);
    struct fl_join_token *token = join->is_local ? NULL : prove(keys, join->token);
    const char *why = NULL;
    if (!join->is_local && !token)
        return "The join token is not valid.";
    if (token)
        why = check_token(token, !key);
    if (!why)
        why = check_instance(keys, join, key, token);
    if (why)
        return why;
    struct rec_AgentKey rec = {0};
    struct fl_keys_batch *batch = fl_keys_batch_new();
    int64_t now_ms = fl_clock_wall_ms();
    FL_SET(&rec, rec_AgentKey, v, 1);
    FL_SET(&rec, rec_AgentKey, instance, join->instance);
    FL_SET(&rec, rec_AgentKey, cluster, join->cluster);
    FL_SET(&rec, rec_AgentKey, serial, serial_for(key, token));
    FL_SET(&rec, rec_AgentKey, token, token ? token->rec->id : FL_STR(FL_KEYS_LOCAL));
    FL_SET(&rec, rec_AgentKey, createdAt, key ? key->rec->createdAt : now_ms);
    FL_SET(&rec, rec_AgentKey, renewedAt, now_ms);
    fl_keys_batch_put(batch, FL_KEYS_OF_AGENT, rec.instance, &rec_shape_AgentKey, &rec);
    fl_keys_derive(keys, join->instance, rec.serial, arena, ret_key);
    bool is_new = !key;
    fl_keys_put_key(keys, &rec);
    if (token && is_new)
        use_token(keys, token, batch);
    fl_keys_batch_commit(keys, batch, done, context);
    return NULL;
}
