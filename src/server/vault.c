/* A sealed record: a byte that says how, the nonce, the cipher text of the record's JSON, the tag.
 *
 * A nonce is 96 random bits, so two of 2^32 records sealed by one key have the same one with a
 * probability of 2^-33: more than an installation ever writes. */
#include "server/vault.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/fs.h"
#include "base/id.h"
#include "shapes/rec_shapes.h"
#include "wire/base64.h"

enum {
    KEY_BYTES = 32,
    NONCE_BYTES = 12,
    TAG_BYTES = 16,
    SEALED_AS = 1, /* AES-256-GCM */
    HEAD_BYTES = 1 + NONCE_BYTES,
    AROUND_BYTES = HEAD_BYTES + TAG_BYTES,
    RECORD_VERSION = 1,
};

static const struct kind {
    const char *prefix;
    const struct fl_shape *shape;
} kinds[] = {
    [FL_VAULT_SECRET] = {FL_VAULT_PREFIX "secret/", &rec_shape_Secret},
    [FL_VAULT_SECRET_VALUE] = {FL_VAULT_PREFIX "value/", &rec_shape_SecretValue},
    [FL_VAULT_PARAMETER] = {FL_VAULT_PREFIX "parameter/", &rec_shape_Parameter},
    [FL_VAULT_PARAMETER_VALUE] = {FL_VAULT_PREFIX "parameter-value/", &rec_shape_ParameterValue},
};

struct entry {
    RB_ENTRY(entry) by_key;
    struct fl_str key; /* owned */
    const struct kind *kind;
    void *rec;
    size_t size;
};
RB_HEAD(entry_tree, entry);

/* What has been changed since the last commit, and then that commit on its way. */
struct batch {
    struct fl_vault *vault;
    struct fl_arena *arena;
    struct fl_store_op *ops;
    size_t count, cap;
    void (*done)(void *context);
    void *context;
};

struct fl_vault {
    char *key_path;
    bool has_key;
    uint8_t key[KEY_BYTES];
    struct entry_tree entries;
    size_t count[FL_ARRAY_SIZE(kinds)];
    size_t total, bytes;
    struct fl_store *store;
    struct batch *open;  /* NULL: nothing has been changed since the last commit */
    size_t on_their_way; /* batches given to the store and not durable yet */
};

static int entry_order(const struct entry *a, const struct entry *b)
{
    return fl_str_cmp(a->key, b->key);
}

RB_GENERATE_INTERNAL(entry_tree, entry, by_key, entry_order, FL_UNUSED static)

/* ---- the installation's key ---- */

static int read_key(struct fl_vault *vault, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256);
    int rc = fl_fs_read(AT_FDCWD, vault->key_path, 255, &text);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read %s", vault->key_path);
    vault->has_key = fl_unhex(fl_str_trim(fl_buf_str(&text)), vault->key, KEY_BYTES);
    OPENSSL_cleanse(text.p, text.n);
    return vault->has_key ? 0 : fl_err_set(err, -EINVAL, "%s holds no key", vault->key_path);
}

static int make_key(struct fl_vault *vault, struct fl_err *err)
{
    char hex[2 * KEY_BYTES + 1];
    fl_random_bytes(vault->key, KEY_BYTES);
    fl_hex(vault->key, KEY_BYTES, hex);
    int rc = fl_fs_write_atomic(AT_FDCWD, vault->key_path, fl_str_of(hex), 0600);
    OPENSSL_cleanse(hex, sizeof(hex));
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot write %s", vault->key_path);
    vault->has_key = true;
    return 0;
}

int fl_vault_open(struct fl_str data_dir, struct fl_vault **ret_vault, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_vault *vault = fl_calloc(1, sizeof(*vault));
    struct fl_str path = fl_str_printf(arena, "%.*s/keys/vault.key", FL_STR_ARG(data_dir));
    RB_INIT(&vault->entries);
    vault->key_path = fl_strndup(path.p, path.n);
    int rc = read_key(vault, err);
    if (rc < 0) {
        fl_vault_free(vault);
        return rc;
    }
    *ret_vault = vault;
    return 0;
}

int fl_vault_attach(struct fl_vault *vault, struct fl_store *store, struct fl_err *err)
{
    vault->store = store;
    return vault->has_key ? 0 : make_key(vault, err);
}

/* ---- sealing ---- */

static struct fl_str seal_with(const struct fl_vault *vault, const uint8_t nonce[NONCE_BYTES],
                               struct fl_str key, struct fl_str plain, struct fl_arena *arena)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *out = fl_arena_alloc(arena, plain.n + AROUND_BYTES);
    uint8_t *cipher = out + HEAD_BYTES;
    int n = 0, rest = 0;
    FL_ASSERT(vault->has_key && ctx);
    out[0] = SEALED_AS;
    memcpy(out + 1, nonce, NONCE_BYTES);
    FL_ASSERT(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, vault->key, out + 1) == 1 &&
              EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)key.p, (int)key.n) == 1 &&
              EVP_EncryptUpdate(ctx, cipher, &n, (const uint8_t *)plain.p, (int)plain.n) == 1 &&
              EVP_EncryptFinal_ex(ctx, cipher + n, &rest) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, cipher + plain.n) == 1);
    EVP_CIPHER_CTX_free(ctx);
    return (struct fl_str){(char *)out, plain.n + AROUND_BYTES};
}

static struct fl_str seal(const struct fl_vault *vault, struct fl_str key, struct fl_str plain,
                          struct fl_arena *arena)
{
    uint8_t nonce[NONCE_BYTES];
    fl_random_bytes(nonce, NONCE_BYTES);
    return seal_with(vault, nonce, key, plain, arena);
}

/* False: it is not what this key sealed for that record. */
static bool unseal(const struct fl_vault *vault, struct fl_str key, struct fl_str sealed,
                   struct fl_arena *arena, struct fl_str *ret_plain)
{
    if (sealed.n < AROUND_BYTES || sealed.n > FL_VAULT_MAX_RECORD + AROUND_BYTES ||
        sealed.p[0] != SEALED_AS)
        return false;
    size_t size = sealed.n - AROUND_BYTES;
    const uint8_t *in = (const uint8_t *)sealed.p;
    uint8_t *plain = fl_arena_alloc(arena, size + 1), tag[TAG_BYTES];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, rest = 0;
    memcpy(tag, in + HEAD_BYTES + size, TAG_BYTES);
    bool is_right = ctx &&
                    EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, vault->key, in + 1) == 1 &&
                    EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *)key.p, (int)key.n) == 1 &&
                    EVP_DecryptUpdate(ctx, plain, &n, in + HEAD_BYTES, (int)size) == 1 &&
                    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
                    EVP_DecryptFinal_ex(ctx, plain + n, &rest) == 1;
    EVP_CIPHER_CTX_free(ctx);
    *ret_plain = (struct fl_str){(char *)plain, size};
    return is_right;
}

/* ---- the index ---- */

static struct entry *find(const struct fl_vault *vault, struct fl_str key)
{
    struct entry probe = {.key = key};
    return RB_FIND(entry_tree, (struct entry_tree *)&vault->entries, &probe);
}

static void drop(struct fl_vault *vault, struct entry *entry)
{
    (void)RB_REMOVE(entry_tree, &vault->entries, entry);
    vault->count[entry->kind - kinds]--;
    vault->total--;
    vault->bytes -= entry->size;
    free((char *)entry->key.p);
    free(entry->rec);
    free(entry);
}

/* The old record goes last: the new one may be made of its parts. */
static void keep(struct fl_vault *vault, const struct kind *kind, struct fl_str key,
                 const void *rec)
{
    struct entry *entry = fl_calloc(1, sizeof(*entry)), *old = find(vault, key);
    *entry = (struct entry){
        .key = {fl_strndup(key.p, key.n), key.n},
        .kind = kind,
        .rec = fl_shape_clone(kind->shape, rec),
        .size = fl_shape_clone_size(kind->shape, rec) + key.n + sizeof(*entry),
    };
    if (old)
        drop(vault, old);
    (void)RB_INSERT(entry_tree, &vault->entries, entry);
    vault->count[kind - kinds]++;
    vault->total++;
    vault->bytes += entry->size;
}

void fl_vault_free(struct fl_vault *vault)
{
    struct entry *entry, *next;
    if (!vault)
        return;
    RB_FOREACH_SAFE (entry, entry_tree, &vault->entries, next)
        drop(vault, entry);
    OPENSSL_cleanse(vault->key, sizeof(vault->key));
    free(vault->key_path);
    free(vault);
}

/* ---- loading ---- */

static const struct kind *kind_of(struct fl_str key)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(kinds); i++)
        if (fl_str_starts(key, fl_str_of(kinds[i].prefix)))
            return &kinds[i];
    return NULL;
}

/* What the JSON says may be secret, so errors name the record and nothing in it. */
static int load_plain(struct fl_vault *vault, struct fl_str key, struct fl_str plain,
                      struct fl_arena *arena, struct fl_err *err)
{
    struct fl_shape_error fault;
    const struct kind *kind = kind_of(key);
    const struct fl_json *json = fl_json_read(plain, arena, NULL);
    if (!kind)
        return fl_err_set(err, -EINVAL, "record %.*s is of an unknown kind", FL_STR_ARG(key));
    if (!json || fl_json_int(fl_json_get(json, "v")) != RECORD_VERSION)
        return fl_err_set(err, -EINVAL, "record %.*s has a version that this release cannot read",
                          FL_STR_ARG(key));
    void *rec = fl_arena_alloc(arena, fl_shape_size(kind->shape));
    if (fl_shape_decode(kind->shape, json, arena, rec, &fault) < 0)
        return fl_err_set(err, -EINVAL, "record %.*s: %s is not what it has to be", FL_STR_ARG(key),
                          fault.path);
    keep(vault, kind, key, rec);
    return 0;
}

int fl_vault_load_record(struct fl_vault *vault, struct fl_str key, struct fl_str value,
                         struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str plain;
    if (!vault->has_key)
        return fl_err_set(err, -ENOKEY, "record %.*s is sealed, and the key %s is missing",
                          FL_STR_ARG(key), vault->key_path);
    if (!unseal(vault, key, value, arena, &plain))
        return fl_err_set(err, -EBADMSG,
                          "record %.*s is damaged, or was sealed by another key than %s",
                          FL_STR_ARG(key), vault->key_path);
    return load_plain(vault, key, plain, arena, err);
}

/* ---- looking ---- */

static struct fl_str key_of(enum fl_vault_kind kind, struct fl_str id, struct fl_buf *buf)
{
    fl_buf_add_z(buf, kinds[kind].prefix);
    fl_buf_add_str(buf, id);
    FL_ASSERT(!buf->overflow);
    return fl_buf_str(buf);
}

/* The nonce is made of all that is sealed, so that no two texts have the same one. */
struct fl_str fl_vault_sealed_text(const struct fl_vault *vault, enum fl_vault_kind kind,
                                   struct fl_str id, struct fl_str text, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_VAULT_MAX_RECORD);
    struct fl_str key = key_of(kind, id, &buf);
    struct fl_str all = fl_str_printf(arena, "%.*s\n%.*s", FL_STR_ARG(key), FL_STR_ARG(text));
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    FL_ASSERT(
        vault->has_key &&
        HMAC(EVP_sha256(), vault->key, KEY_BYTES, (const uint8_t *)all.p, all.n, mac, &size) &&
        size >= NONCE_BYTES);
    return fl_base64_encode(arena, seal_with(vault, mac, key, text, arena));
}

const void *fl_vault_get(const struct fl_vault *vault, enum fl_vault_kind kind, struct fl_str id)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_VAULT_MAX_RECORD);
    const struct entry *entry = find(vault, key_of(kind, id, &buf));
    return entry ? entry->rec : NULL;
}

const void *fl_vault_next(const struct fl_vault *vault, enum fl_vault_kind kind,
                          struct fl_str after, struct fl_str *ret_id)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_VAULT_MAX_RECORD);
    struct entry_tree *tree = (struct entry_tree *)&vault->entries;
    struct entry probe = {.key = key_of(kind, after, &buf)};
    struct entry *entry = RB_NFIND(entry_tree, tree, &probe);
    if (entry && fl_str_eq(entry->key, probe.key))
        entry = RB_NEXT(entry_tree, tree, entry);
    if (!entry || entry->kind != &kinds[kind])
        return NULL;
    *ret_id = fl_str_from(entry->key, strlen(kinds[kind].prefix));
    return entry->rec;
}

size_t fl_vault_count(const struct fl_vault *vault, enum fl_vault_kind kind)
{
    return vault->count[kind];
}

bool fl_vault_has_room(const struct fl_vault *vault)
{
    return vault->total < FL_VAULT_MAX_RECORDS && vault->bytes < FL_VAULT_MAX_BYTES;
}

/* ---- changing ---- */

static struct fl_store_op *new_op(struct fl_vault *vault, struct fl_str key)
{
    struct batch *batch = vault->open;
    if (!batch) {
        batch = vault->open = fl_calloc(1, sizeof(*batch));
        *batch = (struct batch){.vault = vault, .arena = fl_arena_new()};
    }
    if (batch->count == batch->cap) {
        batch->cap = batch->cap ? 2 * batch->cap : 8;
        batch->ops = fl_realloc(batch->ops, batch->cap * sizeof(*batch->ops));
    }
    struct fl_store_op *op = &batch->ops[batch->count++];
    *op = (struct fl_store_op){.key = fl_str_dup(batch->arena, key)};
    return op;
}

void fl_vault_put(struct fl_vault *vault, enum fl_vault_kind kind, struct fl_str id,
                  const void *rec)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_VAULT_MAX_RECORD);
    FL_CLEANUP_BUF struct fl_buf plain = FL_BUF_INIT(FL_VAULT_MAX_RECORD);
    struct fl_str key = key_of(kind, id, &buf);
    fl_shape_encode(kinds[kind].shape, rec, &plain);
    FL_ASSERT(!plain.overflow);
    struct fl_store_op *op = new_op(vault, key);
    op->value = seal(vault, key, fl_buf_str(&plain), vault->open->arena);
    keep(vault, &kinds[kind], key, rec);
}

void fl_vault_remove(struct fl_vault *vault, enum fl_vault_kind kind, struct fl_str id)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_VAULT_MAX_RECORD);
    struct fl_str key = key_of(kind, id, &buf);
    struct entry *entry = find(vault, key);
    if (!entry)
        return;
    (void)new_op(vault, key);
    drop(vault, entry);
}

static void on_durable(void *context)
{
    struct batch *batch = context;
    batch->vault->on_their_way--;
    if (batch->done)
        batch->done(batch->context);
    fl_arena_free(batch->arena);
    free(batch->ops);
    free(batch);
}

void fl_vault_commit(struct fl_vault *vault, void (*done)(void *context), void *context)
{
    struct batch *batch = FL_TAKE_PTR(vault->open);
    if (!batch && vault->on_their_way == 0) {
        if (done)
            done(context);
        return;
    }
    if (!batch) {
        batch = fl_calloc(1, sizeof(*batch));
        batch->vault = vault;
    }
    batch->done = done;
    batch->context = context;
    vault->on_their_way++;
    fl_store_commit(vault->store, batch->ops, batch->count, on_durable, batch);
}
