/* How registries ask who we are, and what is answered: challenges, tokens, the operator's
 * credentials. Pure.
 *
 * Sources: RFC 9110 11.6.1 (WWW-Authenticate), the distribution project's token specification,
 * ECS_ENGINE_AUTH_TYPE and ECS_ENGINE_AUTH_DATA (the formats of ~/.dockercfg and of what `docker
 * login` takes). */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "image/pull.h"

enum {
    FL_CHALLENGE_MAX = 4096, /* bytes of a header that are read */
    FL_TOKEN_MAX = 64 << 10, /* of a token */
    FL_TOKEN_LIFETIME_S = 60 /* where an answer does not say */
};

enum fl_challenge_kind { FL_CHALLENGE_NONE, FL_CHALLENGE_BASIC, FL_CHALLENGE_BEARER };

struct fl_challenge {
    enum fl_challenge_kind kind;
    struct fl_str realm; /* of a bearer: an http(s) URL */
    struct fl_str service;
};

/* One WWW-Authenticate header; of several challenges the first that is understood. NONE for all
 * others. Strings in the arena. */
struct fl_challenge fl_challenge_parse(struct fl_str header, struct fl_arena *arena);

/* Where a token is asked for, with the scope that we need, whatever the registry asked for: pull of
 * that repository. -EPERM with a sentence when the realm may not be asked: it must be https or the
 * registry's own host, and a stranger's must not be this machine. In the arena. */
int fl_token_url(struct fl_str registry_url, const struct fl_challenge *challenge,
                 struct fl_str repository, struct fl_arena *arena, struct fl_str *ret_url,
                 struct fl_err *err);

/* A token server's answer: the token (in the arena) and how long it lasts. */
int fl_token_parse(struct fl_str body, struct fl_arena *arena, struct fl_str *ret_token,
                   int64_t *ret_lifetime_s, struct fl_err *err);

struct fl_registry_login {
    struct fl_str host; /* as in image names: "docker.io", "registry.example:5000" */
    struct fl_str user;
    struct fl_str password;
};
struct fl_registry_logins {
    struct fl_registry_login *items;
    size_t count;
};

/* ECS_ENGINE_AUTH_DATA of ECS_ENGINE_AUTH_TYPE "dockercfg" or "docker". Errors never quote the
 * data. Strings in the arena. */
int fl_registry_logins_parse(struct fl_str type, struct fl_str data, struct fl_arena *arena,
                             struct fl_registry_logins *ret_logins, struct fl_err *err);
/* NULL: none is known. */
const struct fl_registry_login *fl_registry_logins_find(const struct fl_registry_logins *logins,
                                                        struct fl_str host);
/* "Basic <base64>" in the arena. */
struct fl_str fl_basic_authorization(struct fl_str user, struct fl_str password,
                                     struct fl_arena *arena);
