/* Keys by what they are good for: the two of files, and those of instances, derived when asked for.
 *
 * An instance's key has the id "FLIA", the instance's id, and the serial number in decimal. */
#include "server/keys_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "wire/json.h"

enum {
    MAX_KEY_FILE = 4096,
    RECORD_VERSION = 1,
    MAX_SERIAL_AHEAD = 1000, /* a server that was restored from a backup is behind its agents */
    MAX_SERIAL = INT32_MAX - MAX_SERIAL_AHEAD,
    UNUSED_MS = 60 * 60 * 1000, /* a key whose instance never registered */
    SECRET_BYTES = 30,          /* 40 characters of Base64, as AWS's */
};

static const char key_prefix[] = "FLIA";

static int key_order(const struct fl_agent_key *a, const struct fl_agent_key *b)
{
    return fl_str_cmp(a->rec->instance, b->rec->instance);
}

RB_GENERATE_INTERNAL(fl_key_tree, fl_agent_key, by_instance, key_order, FL_UNUSED static)

/* ---- files ---- */

static struct fl_str path_of(struct fl_keys *keys, struct fl_str data_dir, const char *name)
{
    return fl_str_printf(keys->arena, "%.*s/keys/%s", FL_STR_ARG(data_dir), name);
}

static int read_key(struct fl_keys *keys, struct fl_str data_dir, const char *name,
                    struct fl_credentials *ret_key, struct fl_err *err)
{
    struct fl_str path = path_of(keys, data_dir, name);
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_KEY_FILE);
    int rc = fl_fs_read(AT_FDCWD, path.p, MAX_KEY_FILE, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the key file %s", path.p);
    const struct fl_json *json = fl_json_read(fl_buf_str(&buf), keys->arena, err);
    if (!json)
        return -EINVAL;
    struct fl_str id = fl_json_text(fl_json_get(json, "accessKeyId"));
    struct fl_str secret = fl_json_text(fl_json_get(json, "secretAccessKey"));
    if (id.n == 0 || secret.n == 0)
        return fl_err_set(err, -EINVAL, "the key file %s holds no key", path.p);
    ret_key->access_key_id = id;
    ret_key->secret = secret;
    return 0;
}

static int make_master(struct fl_keys *keys, const char *path, struct fl_err *err)
{
    char text[2 * FL_KEYS_MASTER + 1];
    fl_random_bytes(keys->master, sizeof(keys->master));
    fl_hex(keys->master, sizeof(keys->master), text);
    int rc = fl_fs_write_atomic(AT_FDCWD, path, fl_str_of(text), 0600);
    return rc < 0 ? fl_err_errno(err, rc, "cannot write the key file %s", path) : 0;
}

static int read_master(struct fl_keys *keys, struct fl_str data_dir, struct fl_err *err)
{
    struct fl_str path = path_of(keys, data_dir, "master");
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_KEY_FILE);
    int rc = fl_fs_read(AT_FDCWD, path.p, MAX_KEY_FILE, &buf);
    if (rc == -ENOENT)
        return make_master(keys, path.p, err);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the key file %s", path.p);
    if (!fl_unhex(fl_str_trim(fl_buf_str(&buf)), keys->master, sizeof(keys->master)))
        return fl_err_set(err, -EINVAL, "the key file %s holds no key", path.p);
    return 0;
}

struct fl_keys *fl_keys_new(void)
{
    struct fl_keys *keys = fl_calloc(1, sizeof(*keys));
    keys->arena = fl_arena_new();
    RB_INIT(&keys->agents);
    RB_INIT(&keys->tokens);
    return keys;
}

int fl_keys_load(struct fl_str data_dir, int64_t life_ms, struct fl_keys **ret_keys,
                 struct fl_err *err)
{
    struct fl_keys *keys = fl_keys_new();
    keys->life_ms = life_ms > 0 ? life_ms : FL_KEY_LIFE_MS;
    int rc = read_key(keys, data_dir, "operator.json", &keys->files[FL_ROLE_OPERATOR], err);
    if (rc == 0)
        rc = read_key(keys, data_dir, "agent.json", &keys->files[FL_ROLE_AGENT], err);
    if (rc == 0)
        rc = read_master(keys, data_dir, err);
    if (rc < 0) {
        fl_keys_free(keys);
        return rc;
    }
    *ret_keys = keys;
    return 0;
}

static void forget_key(struct fl_keys *keys, struct fl_agent_key *key)
{
    (void)RB_REMOVE(fl_key_tree, &keys->agents, key);
    free(key->rec);
    free(key);
}

void fl_keys_free(struct fl_keys *keys)
{
    if (!keys)
        return;
    struct fl_agent_key *key, *next_key;
    struct fl_join_token *token, *next_token;
    RB_FOREACH_SAFE (key, fl_key_tree, &keys->agents, next_key)
        forget_key(keys, key);
    RB_FOREACH_SAFE (token, fl_join_tree, &keys->tokens, next_token)
        fl_keys_forget_token(keys, token);
    OPENSSL_cleanse(keys->master, sizeof(keys->master));
    fl_arena_free(keys->scratch);
    fl_arena_free(keys->arena);
    free(keys);
}

/* ---- records ---- */

void fl_keys_put_key(struct fl_keys *keys, const struct rec_AgentKey *rec)
{
    struct fl_agent_key *key = fl_keys_find(keys, rec->instance);
    struct rec_AgentKey *clone = fl_shape_clone(&rec_shape_AgentKey, rec);
    if (key) {
        free(key->rec);
        key->rec = clone;
        return;
    }
    key = fl_calloc(1, sizeof(*key));
    key->rec = clone;
    (void)RB_INSERT(fl_key_tree, &keys->agents, key);
}

int fl_keys_load_record(struct fl_keys *keys, struct fl_str key, struct fl_str value,
                        struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(value, arena, err);
    bool is_key = fl_str_starts(key, FL_STR(FL_KEYS_PREFIX FL_KEYS_OF_AGENT "/"));
    bool is_token = fl_str_starts(key, FL_STR(FL_KEYS_PREFIX FL_KEYS_OF_TOKEN "/"));
    const struct fl_shape *shape = is_key ? &rec_shape_AgentKey : &rec_shape_JoinToken;
    struct fl_shape_error fault;
    if (!json)
        return -EINVAL;
    if (!is_key && !is_token)
        return fl_err_set(err, -EINVAL, "record %.*s is of an unknown kind", FL_STR_ARG(key));
    if (fl_json_int(fl_json_get(json, "v")) != RECORD_VERSION)
        return fl_err_set(err, -EINVAL, "record %.*s has a version that this release cannot read",
                          FL_STR_ARG(key));
    void *rec = fl_arena_alloc(arena, fl_shape_size(shape));
    if (fl_shape_decode(shape, json, arena, rec, &fault) < 0)
        return fl_err_set(err, -EINVAL, "record %.*s: %s", FL_STR_ARG(key), fault.text);
    if (is_key)
        fl_keys_put_key(keys, rec);
    else
        fl_keys_put_token(keys, rec);
    return 0;
}

void fl_keys_attach(struct fl_keys *keys, const struct fl_core *core, struct fl_store *store)
{
    keys->core = core;
    keys->store = store;
    fl_keys_sweep(keys);
}

/* ---- batches ---- */

enum { BATCH_MAX = 2 };

struct fl_keys_batch {
    struct fl_arena *arena;
    struct fl_store_op ops[BATCH_MAX];
    size_t count;
    void (*done)(void *context);
    void *context;
};

struct fl_keys_batch *fl_keys_batch_new(void)
{
    struct fl_keys_batch *batch = fl_calloc(1, sizeof(*batch));
    batch->arena = fl_arena_new();
    return batch;
}

void fl_keys_batch_put(struct fl_keys_batch *batch, const char *kind, struct fl_str id,
                       const struct fl_shape *shape, const void *rec)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_KEY_FILE);
    FL_ASSERT(batch->count < BATCH_MAX);
    struct fl_store_op *op = &batch->ops[batch->count++];
    op->key = fl_str_printf(batch->arena, FL_KEYS_PREFIX "%s/%.*s", kind, FL_STR_ARG(id));
    if (!rec)
        return;
    fl_shape_encode(shape, rec, &buf);
    FL_ASSERT(!buf.overflow);
    op->value = fl_str_dup(batch->arena, fl_buf_str(&buf));
}

static void on_committed(void *context)
{
    struct fl_keys_batch *batch = context;
    if (batch->done)
        batch->done(batch->context);
    fl_arena_free(batch->arena);
    free(batch);
}

void fl_keys_batch_commit(struct fl_keys *keys, struct fl_keys_batch *batch,
                          void (*done)(void *context), void *context)
{
    batch->done = done;
    batch->context = context;
    fl_store_commit(keys->store, batch->ops, batch->count, on_committed, batch);
}

/* ---- instances' keys ---- */

struct fl_agent_key *fl_keys_find(const struct fl_keys *keys, struct fl_str instance)
{
    struct rec_AgentKey rec = {.instance = instance};
    struct fl_agent_key probe = {.rec = &rec};
    return RB_FIND(fl_key_tree, (struct fl_key_tree *)&keys->agents, &probe);
}

bool fl_keys_has(const struct fl_keys *keys, struct fl_str instance)
{
    return fl_keys_find(keys, instance) != NULL;
}

void fl_keys_derive(const struct fl_keys *keys, struct fl_str instance, int64_t serial,
                    struct fl_arena *arena, struct fl_credentials *ret_key)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char secret[4 * SECRET_BYTES / 3 + 1];
    struct fl_str id =
        fl_str_printf(arena, "%s%.*s%lld", key_prefix, FL_STR_ARG(instance), (long long)serial);
    FL_ASSERT(HMAC(EVP_sha256(), keys->master, sizeof(keys->master), (const uint8_t *)id.p, id.n,
                   digest, &n) &&
              n >= SECRET_BYTES);
    (void)EVP_EncodeBlock((uint8_t *)secret, digest, SECRET_BYTES);
    *ret_key = (struct fl_credentials){.access_key_id = id,
                                       .secret = fl_str_dup(arena, fl_str_of(secret))};
}

/* The instance and the serial number in a key's id. */
static bool take_apart(struct fl_str id, struct fl_str *ret_instance, int64_t *ret_serial)
{
    size_t prefix = strlen(key_prefix);
    if (!fl_str_starts(id, fl_str_of(key_prefix)) || id.n <= prefix + FL_INSTANCE_ID_SIZE)
        return false;
    *ret_instance = fl_str_sub(id, prefix, FL_INSTANCE_ID_SIZE);
    struct fl_str digits = fl_str_from(id, prefix + FL_INSTANCE_ID_SIZE);
    return digits.p[0] != '0' && fl_str_to_i64(digits, ret_serial);
}

static bool is_dead(const struct fl_keys *keys, const struct fl_agent_key *key)
{
    struct fl_str cluster = key->rec->cluster, instance = key->rec->instance;
    return fl_core_instance_known(keys->core, cluster, instance) &&
           !fl_core_instance_active(keys->core, cluster, instance);
}

/* A key that nobody has been given cannot be known, so newer ones than the newest used are good:
 * the server that gave them away may have been restored from a backup since. */
static bool look_up_derived(struct fl_keys *keys, struct fl_str id, struct fl_credentials *ret_key)
{
    struct fl_str instance;
    int64_t serial;
    struct fl_agent_key *key =
        take_apart(id, &instance, &serial) ? fl_keys_find(keys, instance) : NULL;
    if (!key || serial < key->rec->serial || serial > key->rec->serial + MAX_SERIAL_AHEAD ||
        is_dead(keys, key))
        return false;
    if (!keys->scratch)
        keys->scratch = fl_arena_new();
    fl_arena_reset(keys->scratch);
    fl_keys_derive(keys, instance, serial, keys->scratch, ret_key);
    return true;
}

bool fl_keys_lookup(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key)
{
    struct fl_keys *keys = context;
    for (size_t i = 0; i < FL_KEYS_FILES; i++) {
        if (!fl_str_eq(keys->files[i].access_key_id, access_key_id))
            continue;
        *ret_key = keys->files[i];
        return true;
    }
    return look_up_derived(keys, access_key_id, ret_key);
}

static void note_serial(struct fl_keys *keys, struct fl_agent_key *key, int64_t serial)
{
    struct rec_AgentKey rec = *key->rec;
    struct fl_keys_batch *batch = fl_keys_batch_new();
    FL_SET(&rec, rec_AgentKey, serial, (int32_t)serial);
    FL_SET(&rec, rec_AgentKey, renewedAt, fl_clock_wall_ms());
    fl_keys_batch_put(batch, FL_KEYS_OF_AGENT, rec.instance, &rec_shape_AgentKey, &rec);
    fl_keys_put_key(keys, &rec);
    fl_keys_batch_commit(keys, batch, NULL, NULL);
    fl_log_info("agent of instance %.*s: has a new key, the former one is dead",
                FL_STR_ARG(key->rec->instance));
}

void fl_keys_used(struct fl_keys *keys, struct fl_str access_key_id, struct fl_caller *ret_caller)
{
    struct fl_str instance;
    int64_t serial;
    bool is_operator = fl_str_eq(keys->files[FL_ROLE_OPERATOR].access_key_id, access_key_id);
    *ret_caller = (struct fl_caller){.role = is_operator ? FL_ROLE_OPERATOR : FL_ROLE_AGENT};
    struct fl_agent_key *key =
        take_apart(access_key_id, &instance, &serial) ? fl_keys_find(keys, instance) : NULL;
    if (!key)
        return;
    if (serial > key->rec->serial)
        note_serial(keys, key, serial);
    ret_caller->instance = key->rec->instance;
    ret_caller->cluster = key->rec->cluster;
}

bool fl_keys_offer(struct fl_keys *keys, struct fl_str instance, struct fl_arena *arena,
                   struct fl_credentials *ret_key)
{
    struct fl_agent_key *key = fl_keys_find(keys, instance);
    if (!key || key->rec->serial >= MAX_SERIAL ||
        fl_clock_wall_ms() - key->rec->renewedAt < keys->life_ms)
        return false;
    fl_keys_derive(keys, instance, key->rec->serial + 1, arena, ret_key);
    return true;
}

/* ---- what is gone ---- */

static bool is_left(const struct fl_keys *keys, const struct fl_agent_key *key, int64_t now_ms)
{
    bool known = fl_core_instance_known(keys->core, key->rec->cluster, key->rec->instance);
    return is_dead(keys, key) || (!known && now_ms - key->rec->renewedAt > UNUSED_MS);
}

void fl_keys_sweep(struct fl_keys *keys)
{
    int64_t now_ms = fl_clock_wall_ms();
    struct fl_agent_key *key, *next_key;
    struct fl_join_token *token, *next_token;
    RB_FOREACH_SAFE (key, fl_key_tree, &keys->agents, next_key) {
        if (!is_left(keys, key, now_ms))
            continue;
        struct fl_keys_batch *batch = fl_keys_batch_new();
        fl_keys_batch_put(batch, FL_KEYS_OF_AGENT, key->rec->instance, NULL, NULL);
        fl_keys_batch_commit(keys, batch, NULL, NULL);
        forget_key(keys, key);
    }
    RB_FOREACH_SAFE (token, fl_join_tree, &keys->tokens, next_token)
        if (FL_HAS(token->rec, rec_JoinToken, expiresAt) && token->rec->expiresAt <= now_ms)
            (void)fl_keys_remove_token(keys, token->rec->id, NULL, NULL);
}

struct fl_credentials fl_keys_operator(const struct fl_keys *keys)
{
    return keys->files[FL_ROLE_OPERATOR];
}
