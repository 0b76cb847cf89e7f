/* The puller and its sources: what the operator says of registries, and which places a repository
 * has. Credentials are bound to the host that they were given for, and never leave it. */
#include <errno.h>
#include <fcntl.h>

#include "agent/pull_internal.h"
#include "base/clock.h"
#include "base/fs.h"
#include "wire/base64.h"
#include "wire/json.h"

enum { REGISTRIES_MAX_BYTES = 256 << 10, OWN_LOGIN_MS = 60 * 60 * 1000 };

static int read_registries(struct fl_puller *puller, struct fl_str path, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(REGISTRIES_MAX_BYTES);
    const char *file = path.n ? fl_str_z(puller->arena, path) : FL_REGISTRIES_FILE;
    struct fl_err why = {0};
    int rc = fl_fs_read(AT_FDCWD, file, text.max, &text);
    if (rc == -ENOENT && path.n == 0)
        return 0;
    if (rc < 0)
        return fl_err_errno(err, rc, "%s cannot be read", file);
    rc = fl_registries_parse(fl_buf_str(&text), puller->arena, &puller->registries, &why);
    return rc < 0 ? fl_err_set(err, rc, "%s: %s", file, why.text) : 0;
}

static int read_logins(struct fl_puller *puller, const struct fl_puller_config *config,
                       struct fl_err *err)
{
    struct fl_err why = {0};
    if (config->login_type.n == 0 || config->login_data.n == 0)
        return 0;
    int rc = fl_registry_logins_parse(config->login_type, config->login_data, puller->arena,
                                      &puller->logins, &why);
    return rc < 0 ? fl_err_set(err, rc, "ECS_ENGINE_AUTH_DATA: %s", why.text) : 0;
}

int fl_puller_open(const struct fl_puller_config *config, struct fl_puller **ret_puller,
                   struct fl_err *err)
{
    struct fl_puller *puller = fl_calloc(1, sizeof(*puller));
    struct fl_arena *arena = puller->arena = fl_arena_new();
    puller->config = *config;
    puller->config.proxy = fl_str_dup(arena, config->proxy);
    puller->config.no_proxy = fl_str_dup(arena, config->no_proxy);
    int rc = read_registries(puller, config->registries_file, err);
    if (rc == 0)
        rc = read_logins(puller, config, err);
    if (rc == 0)
        rc = fl_http_client_new(config->loop, &puller->http, err);
    if (rc < 0) {
        fl_puller_close(puller);
        return rc;
    }
    *ret_puller = puller;
    return 0;
}

void fl_puller_close(struct fl_puller *puller)
{
    if (!puller)
        return;
    fl_http_client_free(puller->http);
    if (puller->own_arena)
        fl_arena_free(puller->own_arena);
    fl_arena_free(puller->arena);
    free(puller);
}

/* ---- the built-in registry's login ---- */

static int parse_own_login(const struct fl_http_response *response, struct fl_arena *arena,
                           struct fl_registry_login *ret_login, struct fl_err *err)
{
    struct fl_str code, message, pair, user;
    if (response->status != 200) {
        fl_aws_error(response, arena, &code, &message);
        return fl_err_set(err, -EACCES, "ECR GetAuthorizationToken: %.*s: %.*s", FL_STR_ARG(code),
                          FL_STR_ARG(message));
    }
    const struct fl_json *root = fl_json_read(response->body, arena, NULL);
    const struct fl_json *first = fl_json_item(fl_json_get(root, "authorizationData"), 0);
    if (!fl_base64_decode(fl_json_text(fl_json_get(first, "authorizationToken")), arena, &pair) ||
        !fl_str_split(&pair, ':', &user))
        return fl_err_set(err, -EBADMSG, "ECR GetAuthorizationToken: the answer has no token");
    *ret_login = (struct fl_registry_login){FL_STR(""), user, pair};
    return 0;
}

int fl_puller_take_own_login(struct fl_puller *puller, const struct fl_http_response *response,
                             struct fl_err *err)
{
    struct fl_registry_login login;
    struct fl_arena *arena = fl_arena_new();
    int rc = parse_own_login(response, arena, &login, err);
    if (rc < 0) {
        fl_arena_free(arena);
        return rc;
    }
    if (puller->own_arena)
        fl_arena_free(puller->own_arena);
    puller->own_arena = arena;
    puller->own_login = login;
    puller->own_until_ms = fl_clock_mono_ms() + OWN_LOGIN_MS;
    return 0;
}

/* ---- sources ---- */

static void add_endpoint(struct fl_source *source, struct fl_str url, struct fl_str host)
{
    const struct fl_puller *puller = source->puller;
    const struct fl_registry_entry *entry = fl_registries_find(&puller->registries, host);
    const struct fl_registry_login *login = fl_registry_logins_find(&puller->logins, host);
    struct fl_endpoint_of_source *endpoint = &source->endpoints[source->endpoint_count++];
    *endpoint = (struct fl_endpoint_of_source){.url = fl_str_dup(source->arena, url)};
    if (entry)
        endpoint->ca_file = entry->ca_file;
    if (login)
        endpoint->login = *login;
}

/* A mirror's host, as an image name would have it. */
static struct fl_str host_and_port(struct fl_str url)
{
    struct fl_origin origin;
    struct fl_str rest;
    bool parsed = fl_origin_parse(url, &origin, &rest);
    FL_ASSERT(parsed);
    return origin.authority;
}

/* Where the server answers at present, without the path. */
static struct fl_str server_url(const struct fl_puller *puller, struct fl_arena *arena)
{
    struct fl_str endpoint = fl_aws_client_endpoint(puller->config.aws), rest;
    struct fl_origin origin;
    if (!fl_origin_parse(endpoint, &origin, &rest))
        return fl_str_dup(arena, endpoint);
    return fl_str_printf(arena, "%s://%.*s", origin.tls ? "https" : "http",
                         FL_STR_ARG(origin.authority));
}

/* A mirror is another host: what a task has for the registry is not its business. */
static void use_login(struct fl_source *source, const struct fl_registry_login *login)
{
    struct fl_endpoint_of_source *last = &source->endpoints[source->endpoint_count - 1];
    last->login =
        (struct fl_registry_login){.user = fl_str_dup(source->arena, login->user),
                                   .password = fl_str_dup(source->arena, login->password)};
}

struct fl_source *fl_source_new(struct fl_puller *puller, struct fl_str host,
                                struct fl_str repository, const struct fl_registry_login *login)
{
    struct fl_source *source = fl_calloc(1, sizeof(*source));
    source->puller = puller;
    source->refs = 1;
    source->arena = fl_arena_new();
    source->repository = fl_str_dup(source->arena, repository);
    if (host.n == 0) {
        source->endpoints[0] = (struct fl_endpoint_of_source){
            .url = server_url(puller, source->arena), .is_own = true};
        source->endpoint_count = 1;
        return source;
    }
    const struct fl_registry_entry *entry = fl_registries_find(&puller->registries, host);
    for (size_t i = 0; entry && i < entry->mirror_count; i++)
        add_endpoint(source, entry->mirrors[i], host_and_port(entry->mirrors[i]));
    add_endpoint(source, fl_registry_url(&puller->registries, host, source->arena), host);
    if (login)
        use_login(source, login);
    return source;
}

struct fl_source *fl_source_ref(struct fl_source *source)
{
    source->refs++;
    return source;
}

void fl_source_unref(struct fl_source *source)
{
    if (!source || --source->refs > 0)
        return;
    for (size_t i = 0; i < source->endpoint_count; i++)
        free(source->endpoints[i].token);
    fl_arena_free(source->arena);
    free(source);
}
