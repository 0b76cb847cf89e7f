/* Access keys of an installation: who may call, and as what.
 *
 * Two keys are files: the operator's, who may do everything, and the machine's, with which an agent
 * on this machine joins (or, one that is not ours, makes its calls). Every other agent key belongs
 * to one container instance and is good for that alone. Its id names instance and serial number,
 * its secret is derived from both and the installation's master key: so a record holds no secret,
 * and the next key need not be written down before the agent has it. A key is good as long as no
 * newer one has been used; it dies with its instance. */
#pragma once

#include "base/err.h"
#include "core/core.h"
#include "store/store.h"
#include "wire/sigv4.h"

/* What a key may call; FL_ROLE_AGENT: what agents do. The others have no key of their own: their
 * credentials are of a session (credentials.h). A task may call the API but nothing that only
 * agents or operators call; an execution role may write logs. */
enum fl_role { FL_ROLE_OPERATOR, FL_ROLE_AGENT, FL_ROLE_TASK, FL_ROLE_EXECUTION };

enum { FL_KEY_LIFE_MS = 24 * 60 * 60 * 1000, FL_INSTANCE_ID_SIZE = 32 };

/* Records of the server's own in the core's store begin with this. */
#define FL_KEYS_PREFIX "a/"

/* What the machine's key joins with, in place of a token's id. */
#define FL_KEYS_LOCAL "local"

struct fl_keys;

/* Reads <data_dir>/keys/operator.json and agent.json ({"accessKeyId", "secretAccessKey"}), and
 * makes the master key, if it is not there. life_ms: agents get another key after this time; 0:
 * FL_KEY_LIFE_MS. */
int fl_keys_load(struct fl_str data_dir, int64_t life_ms, struct fl_keys **ret_keys,
                 struct fl_err *err);
/* One that knows no files: to look at records with. */
struct fl_keys *fl_keys_new(void);
void fl_keys_free(struct fl_keys *keys);
/* Takes a record whose key has our prefix. */
int fl_keys_load_record(struct fl_keys *keys, struct fl_str key, struct fl_str value,
                        struct fl_err *err);
/* Before the first call; both outlive the keys' use. */
void fl_keys_attach(struct fl_keys *keys, const struct fl_core *core, struct fl_store *store);

/* A look-up for fl_sigv4_verify; context is the keys. */
bool fl_keys_lookup(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key);
/* The operator's key, for what is to be grown from it. */
struct fl_credentials fl_keys_operator(const struct fl_keys *keys);

struct fl_caller {
    enum fl_role role;
    struct fl_str instance; /* whose agent calls; empty: not an instance's own key */
    struct fl_str cluster;  /* the same one's */
};
/* Who called with a key that verified. Older keys of the same instance are dead from now on. */
void fl_keys_used(struct fl_keys *keys, struct fl_str access_key_id, struct fl_caller *ret_caller);
/* Has the instance a key of its own? */
bool fl_keys_has(const struct fl_keys *keys, struct fl_str instance);

/* The next key, for an instance whose present one is old. Texts are in the arena. */
bool fl_keys_offer(struct fl_keys *keys, struct fl_str instance, struct fl_arena *arena,
                   struct fl_credentials *ret_key);
/* Forgets keys of instances that are gone, and tokens that have expired; for now and then. */
void fl_keys_sweep(struct fl_keys *keys);

/* ---- joining ---- */

struct fl_token_view {
    struct fl_str id;                     /* valid until the next change */
    int64_t uses, created_ms, expires_ms; /* 0: never */
};

/* A new token: id and secret in the arena, durable when done is called. False: too many. */
bool fl_keys_make_token(struct fl_keys *keys, int64_t uses, int64_t expires_ms,
                        struct fl_arena *arena, struct fl_str *ret_id, struct fl_str *ret_secret,
                        void (*done)(void *context), void *context);
/* The token after this one in the order of ids, the first one after an empty id. */
bool fl_keys_next_token(const struct fl_keys *keys, struct fl_str after,
                        struct fl_token_view *ret_token);
/* False: there is none. */
bool fl_keys_remove_token(struct fl_keys *keys, struct fl_str id, void (*done)(void *context),
                          void *context);

struct fl_join {
    bool is_local;          /* the machine's own key vouches for it */
    struct fl_str token;    /* else "ID:SECRET" */
    struct fl_str cluster;  /* name */
    struct fl_str instance; /* 32 lower-case hex digits: the id it has, or will be registered by */
};
/* A key for an agent; NULL, or why not. A token is used up by one for each instance; who asks
 * again before it registers gets the same key. done: the key is durable. */
const char *fl_keys_join(struct fl_keys *keys, const struct fl_join *join, struct fl_arena *arena,
                         struct fl_credentials *ret_key, void (*done)(void *context),
                         void *context);
