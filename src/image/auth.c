/* Challenges are read strictly and answered sparingly: what is not understood is no challenge. */
#include "image/auth.h"

#include <errno.h>

#include "wire/base64.h"
#include "wire/json.h"
#include "wire/url.h"

static bool is_token_char(char c)
{
    return c > ' ' && c <= '~' && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static void skip_blanks(struct fl_str *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = fl_str_from(*s, 1);
}

static struct fl_str cut_token(struct fl_str *s)
{
    size_t n = 0;
    while (n < s->n && is_token_char(s->p[n]))
        n++;
    struct fl_str token = fl_str_sub(*s, 0, n);
    *s = fl_str_from(*s, n);
    return token;
}

/* A quoted string, its escapes resolved; false when it has no end. */
static bool cut_quoted(struct fl_str *s, struct fl_arena *arena, struct fl_str *ret_text)
{
    char *text = fl_arena_alloc(arena, s->n + 1);
    size_t n = 0, i = 1;
    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\' && i + 1 < s->n)
            i++;
        text[n++] = s->p[i];
    }
    if (i >= s->n)
        return false;
    *s = fl_str_from(*s, i + 1);
    *ret_text = (struct fl_str){text, n};
    return true;
}

/* One "name=value". False at the end of the parameters: then *s is where the next challenge may
 * begin. */
static bool cut_parameter(struct fl_str *s, struct fl_arena *arena, struct fl_str *ret_name,
                          struct fl_str *ret_value)
{
    struct fl_str rest = *s;
    skip_blanks(&rest);
    while (rest.n && rest.p[0] == ',') {
        rest = fl_str_from(rest, 1);
        skip_blanks(&rest);
    }
    *s = rest;
    *ret_name = cut_token(&rest);
    skip_blanks(&rest);
    if (ret_name->n == 0 || rest.n == 0 || rest.p[0] != '=')
        return false;
    rest = fl_str_from(rest, 1);
    skip_blanks(&rest);
    if (rest.n && rest.p[0] == '"') {
        if (!cut_quoted(&rest, arena, ret_value)) {
            *s = FL_STR("");
            return false;
        }
    } else {
        *ret_value = cut_token(&rest);
    }
    *s = rest;
    return true;
}

static struct fl_challenge read_one(struct fl_str scheme, struct fl_str *rest,
                                    struct fl_arena *arena)
{
    struct fl_challenge challenge = {0};
    struct fl_origin origin;
    struct fl_str name, value, path;
    while (cut_parameter(rest, arena, &name, &value)) {
        if (fl_str_case_eq(name, FL_STR("realm")))
            challenge.realm = value;
        else if (fl_str_case_eq(name, FL_STR("service")))
            challenge.service = value;
    }
    if (fl_str_case_eq(scheme, FL_STR("basic")))
        challenge.kind = FL_CHALLENGE_BASIC;
    else if (fl_str_case_eq(scheme, FL_STR("bearer")) &&
             fl_origin_parse(challenge.realm, &origin, &path))
        challenge.kind = FL_CHALLENGE_BEARER;
    return challenge;
}

struct fl_challenge fl_challenge_parse(struct fl_str header, struct fl_arena *arena)
{
    const struct fl_challenge none = {0};
    struct fl_str rest = header;
    if (header.n > FL_CHALLENGE_MAX)
        return none;
    while (rest.n) {
        skip_blanks(&rest);
        struct fl_str scheme = cut_token(&rest);
        if (scheme.n == 0)
            return none;
        struct fl_challenge challenge = read_one(scheme, &rest, arena);
        if (challenge.kind != FL_CHALLENGE_NONE)
            return challenge;
    }
    return none;
}

int fl_token_url(struct fl_str registry_url, const struct fl_challenge *challenge,
                 struct fl_str repository, struct fl_arena *arena, struct fl_str *ret_url,
                 struct fl_err *err)
{
    struct fl_origin registry, realm;
    struct fl_str rest;
    if (!fl_origin_parse(registry_url, &registry, &rest) ||
        !fl_origin_parse(challenge->realm, &realm, &rest))
        return fl_err_set(err, -EPERM, "the registry names no URL to get a token from");
    bool same_host = fl_str_case_eq(registry.host, realm.host);
    if (!realm.tls && (!same_host || registry.tls))
        return fl_err_set(err, -EPERM,
                          "the registry wants a token from http://%.*s: only https, or its own "
                          "host, is asked",
                          FL_STR_ARG(realm.host));
    if (fl_host_is_own(realm.host) && !fl_host_is_own(registry.host))
        return fl_err_set(err, -EPERM, "the registry wants a token from this machine itself: %.*s",
                          FL_STR_ARG(realm.host));
    FL_CLEANUP_BUF struct fl_buf url = FL_BUF_INIT(FL_PULL_URL_MAX);
    fl_buf_printf(&url, "%.*s%c", FL_STR_ARG(challenge->realm),
                  fl_str_index(challenge->realm, '?') < 0 ? '?' : '&');
    if (challenge->service.n) {
        fl_buf_add_z(&url, "service=");
        fl_url_encode(&url, challenge->service);
        fl_buf_add_char(&url, '&');
    }
    fl_buf_add_z(&url, "scope=repository%3A");
    fl_url_encode(&url, repository);
    fl_buf_add_z(&url, "%3Apull");
    if (url.overflow)
        return fl_err_set(err, -EPERM, "the registry's realm is too long");
    *ret_url = fl_str_dup(arena, fl_buf_str(&url));
    return 0;
}

/* What can stand in a header. */
static bool is_sendable(struct fl_str token)
{
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] <= ' ' || token.p[i] > '~')
            return false;
    return token.n > 0 && token.n <= FL_TOKEN_MAX;
}

int fl_token_parse(struct fl_str body, struct fl_arena *arena, struct fl_str *ret_token,
                   int64_t *ret_lifetime_s, struct fl_err *err)
{
    const struct fl_json *root = fl_json_read(body, arena, NULL);
    struct fl_str token = fl_json_text(fl_json_get(root, "token"));
    if (token.n == 0)
        token = fl_json_text(fl_json_get(root, "access_token"));
    if (!is_sendable(token))
        return fl_err_set(err, -EBADMSG, "the token server's answer has no token");
    int64_t lifetime_s = fl_json_int(fl_json_get(root, "expires_in"));
    *ret_token = token;
    *ret_lifetime_s =
        lifetime_s > 0 ? FL_MIN(lifetime_s, (int64_t)86400) : (int64_t)FL_TOKEN_LIFETIME_S;
    return 0;
}

/* ---- the operator's credentials ---- */

struct fl_str fl_basic_authorization(struct fl_str user, struct fl_str password,
                                     struct fl_arena *arena)
{
    struct fl_str pair = fl_str_printf(arena, "%.*s:%.*s", FL_STR_ARG(user), FL_STR_ARG(password));
    return fl_str_printf(arena, "Basic %.*s", FL_STR_ARG(fl_base64_encode(arena, pair)));
}

/* "https://index.docker.io/v1/", "registry.example:5000" and all between, as an image name's host.
 */
static struct fl_str host_of(struct fl_str server)
{
    struct fl_origin origin;
    struct fl_str rest;
    if (fl_origin_parse(server, &origin, &rest))
        server = origin.authority;
    ptrdiff_t slash = fl_str_index(server, '/');
    if (slash >= 0)
        server = fl_str_sub(server, 0, (size_t)slash);
    if (fl_str_is(server, "index.docker.io") || fl_str_is(server, "registry-1.docker.io"))
        return FL_STR("docker.io");
    return server;
}

static bool take_login(struct fl_str server, const struct fl_json *json, struct fl_arena *arena,
                       struct fl_registry_login *ret_login)
{
    struct fl_str user = fl_json_text(fl_json_get(json, "username"));
    struct fl_str password = fl_json_text(fl_json_get(json, "password"));
    struct fl_str auth = fl_json_text(fl_json_get(json, "auth")), pair;
    if (user.n == 0 && auth.n) {
        if (!fl_base64_decode(auth, arena, &pair) || fl_str_index(pair, ':') <= 0)
            return false;
        (void)fl_str_split(&pair, ':', &user);
        password = pair;
    }
    *ret_login = (struct fl_registry_login){host_of(server), user, password};
    return user.n > 0 && ret_login->host.n > 0;
}

int fl_registry_logins_parse(struct fl_str type, struct fl_str data, struct fl_arena *arena,
                             struct fl_registry_logins *ret_logins, struct fl_err *err)
{
    struct fl_registry_logins logins = {0};
    if (!fl_str_is(type, "dockercfg") && !fl_str_is(type, "docker"))
        return fl_err_set(err, -EINVAL, "the type is neither \"dockercfg\" nor \"docker\"");
    const struct fl_json *root = fl_json_read(data, arena, NULL);
    /* A whole ~/.docker/config.json has the map under "auths". */
    if (fl_json_is(fl_json_get(root, "auths"), FL_JSON_OBJECT))
        root = fl_json_get(root, "auths");
    if (!fl_json_is(root, FL_JSON_OBJECT) || fl_json_members(root) > FL_REGISTRIES_MAX)
        return fl_err_set(err, -EINVAL, "the data is no JSON object of at most %d registries",
                          FL_REGISTRIES_MAX);
    logins.items = fl_arena_new_array(arena, struct fl_registry_login, fl_json_members(root) + 1);
    for (size_t i = 0; i < fl_json_members(root); i++) {
        struct fl_str server = fl_json_text(fl_json_member_name(root, i));
        if (!take_login(server, fl_json_member(root, i), arena, &logins.items[logins.count++]))
            return fl_err_set(err, -EINVAL, "registry %zu of the data has no user and password",
                              i + 1);
    }
    *ret_logins = logins;
    return 0;
}

const struct fl_registry_login *fl_registry_logins_find(const struct fl_registry_logins *logins,
                                                        struct fl_str host)
{
    for (size_t i = 0; i < logins->count; i++)
        if (fl_str_case_eq(logins->items[i].host, host))
            return &logins->items[i];
    return NULL;
}
