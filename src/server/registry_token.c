/* Tokens by HMAC-SHA-256, compared in constant time. */
#include "server/registry_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/id.h"

enum { MAC = 32 };

static struct fl_str mac_of(const struct fl_registry_key *key, struct fl_str text,
                            struct fl_arena *arena)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char *hex = fl_arena_alloc(arena, 2 * MAC + 1);
    FL_ASSERT(HMAC(EVP_sha256(), key->bytes, FL_REGISTRY_KEY_SIZE, (const uint8_t *)text.p, text.n,
                   mac, &n) &&
              n == MAC);
    fl_hex(mac, MAC, hex);
    return (struct fl_str){hex, 2 * MAC};
}

static bool mac_fits(const struct fl_registry_key *key, struct fl_str text, struct fl_str mac)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str expected = mac_of(key, text, arena);
    return mac.n == expected.n && CRYPTO_memcmp(mac.p, expected.p, mac.n) == 0;
}

struct fl_registry_key fl_registry_key_of(struct fl_str secret)
{
    static const char purpose[] = "fairlead registry tokens";
    struct fl_registry_key key;
    unsigned n = 0;
    FL_ASSERT(HMAC(EVP_sha256(), secret.p, (int)secret.n, (const uint8_t *)purpose,
                   sizeof(purpose) - 1, key.bytes, &n) &&
              n == FL_REGISTRY_KEY_SIZE);
    return key;
}

struct fl_str fl_registry_token_make(const struct fl_registry_key *key, enum fl_role role,
                                     int64_t expires_ms, struct fl_arena *arena)
{
    bool may_push = role == FL_ROLE_OPERATOR || role == FL_ROLE_TASK;
    struct fl_str head =
        fl_str_printf(arena, "1.%c.%lld", may_push ? 'o' : 'a', (long long)expires_ms);
    return fl_str_printf(arena, "%.*s.%.*s", FL_STR_ARG(head),
                         FL_STR_ARG(mac_of(key, head, arena)));
}

enum fl_registry_token_status fl_registry_token_check(const struct fl_registry_key *key,
                                                      struct fl_str token, int64_t now_ms,
                                                      enum fl_role *ret_role,
                                                      int64_t *ret_expires_ms)
{
    int64_t expires_ms;
    ptrdiff_t dot = fl_str_rindex(token, '.');
    if (dot < 0)
        return FL_REGISTRY_TOKEN_WRONG;
    struct fl_str head = fl_str_sub(token, 0, (size_t)dot), role = {0}, version = {0};
    if (!mac_fits(key, head, fl_str_from(token, (size_t)dot + 1)))
        return FL_REGISTRY_TOKEN_WRONG;
    if (!fl_str_split(&head, '.', &version) || !fl_str_is(version, "1") ||
        !fl_str_split(&head, '.', &role) || !fl_str_to_i64(head, &expires_ms))
        return FL_REGISTRY_TOKEN_WRONG;
    if (now_ms >= expires_ms)
        return FL_REGISTRY_TOKEN_EXPIRED;
    *ret_role = fl_str_is(role, "o") ? FL_ROLE_OPERATOR : FL_ROLE_AGENT;
    if (ret_expires_ms)
        *ret_expires_ms = expires_ms;
    return FL_REGISTRY_TOKEN_OK;
}

static struct fl_str path_text(struct fl_str path, struct fl_str expires, struct fl_arena *arena)
{
    return fl_str_printf(arena, "GET\n%.*s\n%.*s", FL_STR_ARG(path), FL_STR_ARG(expires));
}

struct fl_str fl_registry_sign_path(const struct fl_registry_key *key, struct fl_str path,
                                    int64_t expires_ms, struct fl_arena *arena)
{
    struct fl_str expires = fl_str_printf(arena, "%lld", (long long)expires_ms);
    return mac_of(key, path_text(path, expires, arena), arena);
}

bool fl_registry_path_signed(const struct fl_registry_key *key, struct fl_str path,
                             struct fl_str expires, struct fl_str signature, int64_t now_ms)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    int64_t expires_ms;
    return fl_str_to_i64(expires, &expires_ms) && now_ms < expires_ms &&
           mac_fits(key, path_text(path, expires, arena), signature);
}
