/* Passwords for the registry: they verify themselves, so nothing has to be kept of them.
 *
 * A token is "1.<role>.<expires at, ms>.<HMAC-SHA-256 of that>", under a key that is grown from the
 * operator's secret key: a new key ends every token. No I/O. */
#pragma once

#include "base/str.h"
#include "server/keys.h"

enum { FL_REGISTRY_KEY_SIZE = 32, FL_REGISTRY_TOKEN_MS = 12 * 60 * 60 * 1000 };

struct fl_registry_key {
    uint8_t bytes[FL_REGISTRY_KEY_SIZE];
};

struct fl_registry_key fl_registry_key_of(struct fl_str secret);

struct fl_str fl_registry_token_make(const struct fl_registry_key *key, enum fl_role role,
                                     int64_t expires_ms, struct fl_arena *arena);

enum fl_registry_token_status {
    FL_REGISTRY_TOKEN_OK,
    FL_REGISTRY_TOKEN_EXPIRED,
    FL_REGISTRY_TOKEN_WRONG,
};
/* ret_expires_ms may be NULL. */
enum fl_registry_token_status fl_registry_token_check(const struct fl_registry_key *key,
                                                      struct fl_str token, int64_t now_ms,
                                                      enum fl_role *ret_role,
                                                      int64_t *ret_expires_ms);

/* The signature of a download, for who has no header to send a token in: 64 hex digits. */
struct fl_str fl_registry_sign_path(const struct fl_registry_key *key, struct fl_str path,
                                    int64_t expires_ms, struct fl_arena *arena);
bool fl_registry_path_signed(const struct fl_registry_key *key, struct fl_str path,
                             struct fl_str expires, struct fl_str signature, int64_t now_ms);
