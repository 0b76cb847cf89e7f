/* A token is base64 of "1|<role>|<end, ms>|<cluster>|<task>|<role ARN>" and its MAC; everything
 * else is another MAC of the same text. */
#include "server/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "wire/arn.h"
#include "wire/base64.h"

enum { KEY_BYTES = 32, MAC_BYTES = 32, TOKEN_MAX = 4096, SECRET_BYTES = 30, DIGITS = 16 };

struct fl_issuer {
    const struct fl_core *core;
    int64_t life_ms;
    uint8_t key[KEY_BYTES];
};

/* ---- the installation's key ---- */

static int make_key(struct fl_issuer *issuer, const char *path)
{
    char hex[2 * KEY_BYTES + 1];
    fl_random_bytes(issuer->key, KEY_BYTES);
    fl_hex(issuer->key, KEY_BYTES, hex);
    int rc = fl_fs_write_atomic(AT_FDCWD, path, fl_str_of(hex), 0600);
    OPENSSL_cleanse(hex, sizeof(hex));
    return rc;
}

static int open_key(struct fl_issuer *issuer, struct fl_str data_dir, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256);
    const char *path = fl_str_printf(arena, "%.*s/keys/sessions.key", FL_STR_ARG(data_dir)).p;
    int rc = fl_fs_read(AT_FDCWD, path, 255, &text);
    if (rc == -ENOENT) {
        rc = make_key(issuer, path);
        return rc < 0 ? fl_err_errno(err, rc, "cannot write %s", path) : 0;
    }
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read %s", path);
    if (!fl_unhex(fl_str_trim(fl_buf_str(&text)), issuer->key, KEY_BYTES))
        return fl_err_set(err, -EINVAL, "%s holds no key", path);
    return 0;
}

int fl_issuer_open(struct fl_str data_dir, const struct fl_core *core, int64_t life_ms,
                   struct fl_issuer **ret_issuer, struct fl_err *err)
{
    const int64_t longest = FL_CREDENTIALS_LIFE_MS;
    struct fl_issuer *issuer = fl_calloc(1, sizeof(*issuer));
    issuer->core = core;
    issuer->life_ms = life_ms > 0 ? FL_MIN(life_ms, longest) : longest;
    int rc = open_key(issuer, data_dir, err);
    if (rc < 0) {
        fl_issuer_free(issuer);
        return rc;
    }
    *ret_issuer = issuer;
    return 0;
}

void fl_issuer_free(struct fl_issuer *issuer)
{
    if (!issuer)
        return;
    OPENSSL_cleanse(issuer->key, sizeof(issuer->key));
    free(issuer);
}

int64_t fl_issuer_life_ms(const struct fl_issuer *issuer)
{
    return issuer->life_ms;
}

/* ---- what follows from a text ---- */

/* Each use has MACs of its own. */
static void mac(const struct fl_issuer *issuer, const char *use, struct fl_str text,
                uint8_t ret_mac[MAC_BYTES])
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(TOKEN_MAX + 64);
    unsigned n = MAC_BYTES;
    fl_buf_add(&buf, use, strlen(use) + 1);
    fl_buf_add_str(&buf, text);
    FL_ASSERT(!buf.overflow && HMAC(EVP_sha256(), issuer->key, KEY_BYTES, (const uint8_t *)buf.p,
                                    buf.n, ret_mac, &n));
}

/* "ASIA" or "AROA" and 16 characters, as AWS's ids are. */
static struct fl_str aws_id(const struct fl_issuer *issuer, const char *prefix, struct fl_str text,
                            struct fl_arena *arena)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t bytes[MAC_BYTES];
    char id[DIGITS + 1] = "";
    mac(issuer, prefix, text, bytes);
    for (size_t i = 0; i < DIGITS; i++)
        id[i] = digits[bytes[i] % 32];
    return fl_str_printf(arena, "%s%s", prefix, id);
}

static struct fl_str secret_of(const struct fl_issuer *issuer, struct fl_str text,
                               struct fl_arena *arena)
{
    uint8_t bytes[MAC_BYTES];
    mac(issuer, "secret", text, bytes);
    struct fl_str secret = fl_base64_encode(arena, (struct fl_str){(char *)bytes, SECRET_BYTES});
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return secret;
}

/* A UUID in form: 128 bits that cannot be guessed. */
static struct fl_str credentials_id(const struct fl_issuer *issuer, enum fl_acs_role role,
                                    struct fl_str task_arn, struct fl_arena *arena)
{
    uint8_t bytes[MAC_BYTES];
    char hex[33];
    mac(issuer, role == FL_ACS_ROLE_TASK ? "task id" : "execution id", task_arn, bytes);
    fl_hex(bytes, 16, hex);
    return fl_str_printf(arena, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                         hex + 20);
}

static struct fl_str token_of(const struct fl_issuer *issuer, struct fl_str text,
                              struct fl_arena *arena)
{
    uint8_t *bytes = fl_arena_alloc(arena, text.n + MAC_BYTES);
    memcpy(bytes, text.p, text.n);
    mac(issuer, "token", text, bytes + text.n);
    return fl_base64_encode(arena, (struct fl_str){(char *)bytes, text.n + MAC_BYTES});
}

/* ---- making ---- */

static struct fl_str utc_second(int64_t wall_ms, struct fl_arena *arena)
{
    char text[FL_RFC3339_SIZE];
    fl_time_rfc3339(wall_ms, text);
    return fl_str_printf(arena, "%.19sZ", text);
}

void fl_issuer_make(const struct fl_issuer *issuer, const struct fl_core_roles *roles,
                    enum fl_acs_role role, int64_t now_ms, struct fl_arena *arena,
                    struct fl_acs_credentials *ret_credentials)
{
    struct fl_str role_arn = role == FL_ACS_ROLE_TASK ? roles->task_role : roles->execution_role;
    *ret_credentials = (struct fl_acs_credentials){0};
    if (!role_arn.n || role_arn.n > FL_ROLE_MAX)
        return;
    int64_t end_ms = (now_ms + issuer->life_ms) / 1000 * 1000;
    struct fl_str text = fl_str_printf(
        arena, "1|%d|%lld|%.*s|%.*s|%.*s", (int)role, (long long)end_ms,
        FL_STR_ARG(fl_arn_last(roles->cluster_arn)), FL_STR_ARG(roles->task), FL_STR_ARG(role_arn));
    *ret_credentials = (struct fl_acs_credentials){
        .id = credentials_id(issuer, role, roles->task_arn, arena),
        .role_arn = role_arn,
        .access_key_id = aws_id(issuer, "ASIA", text, arena),
        .secret = secret_of(issuer, text, arena),
        .session_token = token_of(issuer, text, arena),
        .expiration = utc_second(end_ms, arena),
    };
}

/* ---- verifying ---- */

/* The text of a token whose MAC is right. One text has one token: what would decode to the same
 * bytes is not taken. */
static bool open_token(const struct fl_issuer *issuer, struct fl_str token, struct fl_arena *arena,
                       struct fl_str *ret_text)
{
    uint8_t right[MAC_BYTES];
    struct fl_str bytes;
    if (token.n > TOKEN_MAX || !fl_base64_decode(token, arena, &bytes) || bytes.n <= MAC_BYTES ||
        !fl_str_eq(fl_base64_encode(arena, bytes), token))
        return false;
    struct fl_str text = fl_str_sub(bytes, 0, bytes.n - MAC_BYTES);
    mac(issuer, "token", text, right);
    if (CRYPTO_memcmp(right, bytes.p + text.n, MAC_BYTES) != 0)
        return false;
    *ret_text = text;
    return true;
}

/* We wrote it, maybe in another release: a version that we do not know is none of ours. */
static bool read_text(const struct fl_issuer *issuer, struct fl_str text, int64_t now_ms,
                      struct fl_arena *arena, struct fl_role_session *ret_session)
{
    struct fl_str part[5];
    struct fl_arn arn;
    int64_t role, end_ms;
    for (size_t i = 0; i < FL_ARRAY_SIZE(part); i++)
        if (!fl_str_split(&text, '|', &part[i]))
            return false;
    if (!fl_str_is(part[0], "1") || !fl_str_to_i64(part[1], &role) || role < 0 ||
        role >= FL_ACS_ROLES || !fl_str_to_i64(part[2], &end_ms) || !fl_arn_parse(text, &arn))
        return false;
    *ret_session = (struct fl_role_session){
        .role = (enum fl_acs_role)role,
        .role_arn = text,
        .account = arn.account,
        .principal = fl_str_printf(arena, "arn:aws:sts::%.*s:assumed-role/%.*s/%.*s",
                                   FL_STR_ARG(arn.account), FL_STR_ARG(fl_arn_last(text)),
                                   FL_STR_ARG(part[4])),
        .user_id =
            fl_str_printf(arena, "%.*s:%.*s", FL_STR_ARG(aws_id(issuer, "AROA", text, arena)),
                          FL_STR_ARG(part[4])),
        .is_over = now_ms >= end_ms || !fl_core_task_lives(issuer->core, part[3], part[4]),
    };
    return true;
}

bool fl_issuer_look_up(const struct fl_issuer *issuer, struct fl_str access_key_id,
                       struct fl_str token, int64_t now_ms, struct fl_arena *arena,
                       struct fl_credentials *ret_key, struct fl_role_session *ret_session)
{
    struct fl_str text;
    if (!open_token(issuer, token, arena, &text) ||
        !fl_str_eq(access_key_id, aws_id(issuer, "ASIA", text, arena)) ||
        !read_text(issuer, text, now_ms, arena, ret_session))
        return false;
    *ret_key = (struct fl_credentials){
        .access_key_id = access_key_id,
        .secret = secret_of(issuer, text, arena),
        .session_token = token,
    };
    return true;
}
