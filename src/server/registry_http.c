/* Requests beneath /v2/: who asks, what for, and the answer.
 *
 * Whoever proves to be the operator pushes and pulls, an agent pulls, and so does anybody on
 * loopback: the socket's own, whatever a header says of somebody behind it. The challenge is a
 * Bearer one, for only that lets docker pull without a password; its token is the password that
 * `aws ecr get-login-password` prints, which is taken as Basic as well. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "server/registry_internal.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/url.h"

static const char anonymous[] = "anonymous"; /* a Bearer token that stands for none */

/* ---- the answer ---- */

struct fl_registry_call *fl_registry_call_new(struct fl_registry *registry,
                                              struct fl_http_exchange *exchange)
{
    struct fl_registry_call *call = fl_calloc(1, sizeof(*call));
    call->registry = registry;
    call->exchange = exchange;
    call->route = fl_registry_route_of(exchange->path);
    call->body = FL_BUF_INIT(FL_REGISTRY_ANSWER_MAX);
    call->fd = -1;
    fl_registry_header(call, "Docker-Distribution-Api-Version", FL_STR("registry/2.0"));
    return call;
}

void fl_registry_discard(struct fl_registry_call *call)
{
    fl_buf_free(&call->body);
    fl_cleanup_fd(&call->fd);
    free(call);
}

void fl_registry_call_end(struct fl_registry_call *call)
{
    if (call->status == 0)
        fl_registry_fail(call, 503, "UNAVAILABLE", "the registry is being stopped");
    if (call->has_changed)
        fl_registry_collect_soon(call->registry);
    if (call->fd >= 0)
        fl_http_reply_file(call->exchange, call->status, call->headers, call->header_count,
                           FL_TAKE_FD(call->fd), call->offset, call->size);
    else
        fl_http_reply(call->exchange, call->status, call->headers, call->header_count,
                      fl_buf_str(&call->body));
    fl_registry_discard(call);
}

static void on_done(struct fl_registry_job *job)
{
    fl_registry_call_end(fl_registry_call_of(job));
}

void fl_registry_call_run(struct fl_registry_call *call, bool is_exclusive,
                          void (*run)(struct fl_registry_job *job))
{
    call->job.is_exclusive = is_exclusive;
    call->job.run = run;
    call->job.done = on_done;
    fl_registry_submit(call->registry, &call->job);
}

void fl_registry_header(struct fl_registry_call *call, const char *name, struct fl_str value)
{
    FL_ASSERT(call->header_count < FL_REGISTRY_HEADERS_MAX);
    call->headers[call->header_count++] = (struct fl_header){fl_str_of(name), value};
}

void fl_registry_digest_header(struct fl_registry_call *call, const struct fl_digest *digest)
{
    fl_registry_header(call, "Docker-Content-Digest",
                       fl_str_printf(call->exchange->arena, "sha256:%s", digest->hex));
}

void fl_registry_fail(struct fl_registry_call *call, unsigned status, const char *code,
                      const char *fmt, ...)
{
    char text[1024];
    struct fl_json_writer jw = {.buf = &call->body};
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    call->header_count = 1; /* the version */
    call->status = status;
    fl_cleanup_fd(&call->fd);
    call->fd = -1;
    fl_buf_clear(&call->body);
    fl_registry_header(call, "Content-Type", FL_STR("application/json"));
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "errors");
    fl_jw_array_begin(&jw);
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "code", fl_str_of(code));
    fl_jw_member_str(&jw, "message", fl_str_of(text));
    fl_jw_object_end(&jw);
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
}

void fl_registry_fail_name(struct fl_registry_call *call)
{
    fl_registry_fail(call, 404, "NAME_UNKNOWN",
                     "The repository with name '%.*s' does not exist in the registry with id "
                     "'%.*s'",
                     FL_STR_ARG(call->route.repository), FL_STR_ARG(call->registry->account));
}

void fl_registry_fail_store(struct fl_registry_call *call, int rc, const struct fl_err *err)
{
    if (rc == -ENOSPC || rc == -EDQUOT)
        fl_registry_fail(call, 507, "DENIED", "the registry's disk is full: %s", err->text);
    else if (rc == -EFBIG)
        fl_registry_fail(call, 413, "SIZE_INVALID", "%s", err->text);
    else
        fl_registry_fail(call, 500, "UNKNOWN", "%s", err->text);
}

bool fl_registry_may_push(struct fl_registry_call *call)
{
    if (!call->registry->strict ||
        fl_image_store_has_repository(call->registry->store, call->route.repository))
        return true;
    fl_registry_fail_name(call);
    return false;
}

/* ---- who asks ---- */

/* How the client reached us, for the realm: its Host header where that is a plain one. */
static struct fl_str own_host(const struct fl_registry_call *call)
{
    struct fl_str host = fl_http_header(call->exchange, "Host");
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
        if (!fits || i > 255)
            return call->registry->host;
    }
    return host.n ? host : call->registry->host;
}

static void challenge(struct fl_registry_call *call, const char *text)
{
    bool is_token = call->route.what == FL_REGISTRY_TOKEN;
    fl_registry_fail(call, 401, "UNAUTHORIZED", "%s", text);
    fl_registry_header(
        call, "WWW-Authenticate",
        is_token ? FL_STR("Basic realm=\"fairlead\"")
                 : fl_str_printf(call->exchange->arena,
                                 "Bearer realm=\"http://%.*s/v2/_token\",service=\"fairlead\"",
                                 FL_STR_ARG(own_host(call))));
}

/* The token of "Basic base64(AWS:token)" or "Bearer token"; empty for anything else. */
static struct fl_str token_of(struct fl_registry_call *call, struct fl_str authorization)
{
    struct fl_str rest = authorization, scheme = {0};
    (void)fl_str_split(&rest, ' ', &scheme);
    rest = fl_str_trim(rest);
    if (fl_str_case_eq(scheme, FL_STR("Bearer")))
        return rest;
    if (!fl_str_case_eq(scheme, FL_STR("Basic")))
        return FL_STR("");
    struct fl_str pair = FL_STR(""), user = FL_STR("");
    (void)fl_base64_decode(rest, call->exchange->arena, &pair);
    (void)fl_str_split(&pair, ':', &user);
    return fl_str_is(user, "AWS") ? pair : FL_STR("");
}

static bool is_signed_download(const struct fl_registry_call *call)
{
    const struct fl_http_exchange *exchange = call->exchange;
    return call->route.what == FL_REGISTRY_BLOB &&
           fl_registry_path_signed(&call->registry->key, exchange->path,
                                   fl_url_parameter(exchange->arena, exchange->query, "expires"),
                                   fl_url_parameter(exchange->arena, exchange->query, "signature"),
                                   fl_clock_wall_ms());
}

/* False after failing the call: who shows a password must show a right one. */
static bool find_right(struct fl_registry_call *call, enum fl_registry_right *ret_right,
                       struct fl_str *ret_token, int64_t *ret_expires_ms)
{
    struct fl_str authorization = fl_http_header(call->exchange, "Authorization");
    struct fl_str token = token_of(call, authorization);
    enum fl_role role;
    *ret_right = call->exchange->peer_is_loopback ? FL_REGISTRY_PULL : FL_REGISTRY_NO_RIGHT;
    *ret_token = FL_STR("");
    if (authorization.n == 0 || fl_str_is(token, anonymous))
        return true;
    switch (fl_registry_token_check(&call->registry->key, token, fl_clock_wall_ms(), &role,
                                    ret_expires_ms)) {
    case FL_REGISTRY_TOKEN_OK:
        *ret_right = role == FL_ROLE_OPERATOR ? FL_REGISTRY_PUSH : FL_REGISTRY_PULL;
        *ret_token = token;
        return true;
    case FL_REGISTRY_TOKEN_EXPIRED:
        fl_registry_fail(call, 403, "DENIED",
                         "Your authorization token has expired. Reauthenticate and try again.");
        return false;
    case FL_REGISTRY_TOKEN_WRONG:
        break;
    }
    challenge(call, "authentication required");
    return false;
}

/* Where a client that has seen the challenge comes with its password, or without one. */
static void give_token(struct fl_registry_call *call, enum fl_registry_right right,
                       struct fl_str token, int64_t expires_ms)
{
    enum { ANONYMOUS_S = 300 };
    struct fl_json_writer jw = {.buf = &call->body};
    int64_t left_s = token.n ? (expires_ms - fl_clock_wall_ms()) / 1000 : ANONYMOUS_S;
    if (right == FL_REGISTRY_NO_RIGHT) {
        challenge(call, "authentication required");
        return;
    }
    if (token.n == 0)
        token = fl_str_of(anonymous);
    call->status = 200;
    fl_registry_header(call, "Content-Type", FL_STR("application/json"));
    fl_registry_header(call, "Cache-Control", FL_STR("no-store"));
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "token", token);
    fl_jw_member_str(&jw, "access_token", token);
    fl_jw_member_int(&jw, "expires_in", FL_MAX(left_s, (int64_t)60));
    fl_jw_object_end(&jw);
}

/* A client asks here first, to learn how to prove who it is. */
static void greet(struct fl_registry_call *call, struct fl_str token)
{
    if (token.n == 0 && fl_http_header(call->exchange, "Authorization").n == 0) {
        challenge(call, "authentication required");
        return;
    }
    call->status = 200;
    fl_registry_header(call, "Content-Type", FL_STR("application/json"));
    fl_buf_add_z(&call->body, "{}");
}

/* ---- dispatch ---- */

struct row {
    const char *method;
    enum fl_registry_what what;
    enum fl_registry_right right;
    void (*handle)(struct fl_registry_call *call);
};

static const struct row rows[] = {
    {"GET", FL_REGISTRY_CATALOG, FL_REGISTRY_PULL, fl_registry_catalog},
    {"GET", FL_REGISTRY_TAGS, FL_REGISTRY_PULL, fl_registry_list_tags},
    {"GET", FL_REGISTRY_MANIFEST, FL_REGISTRY_PULL, fl_registry_get_manifest},
    {"HEAD", FL_REGISTRY_MANIFEST, FL_REGISTRY_PULL, fl_registry_get_manifest},
    {"PUT", FL_REGISTRY_MANIFEST, FL_REGISTRY_PUSH, fl_registry_put_manifest},
    {"DELETE", FL_REGISTRY_MANIFEST, FL_REGISTRY_PUSH, fl_registry_delete_manifest},
    {"GET", FL_REGISTRY_REFERRERS, FL_REGISTRY_PULL, fl_registry_referrers},
    {"GET", FL_REGISTRY_BLOB, FL_REGISTRY_PULL, fl_registry_get_blob},
    {"HEAD", FL_REGISTRY_BLOB, FL_REGISTRY_PULL, fl_registry_get_blob},
    {"DELETE", FL_REGISTRY_BLOB, FL_REGISTRY_PUSH, fl_registry_delete_blob},
    {"POST", FL_REGISTRY_UPLOADS, FL_REGISTRY_PUSH, fl_registry_begin_upload},
    {"GET", FL_REGISTRY_UPLOAD, FL_REGISTRY_PUSH, fl_registry_show_upload},
    {"PATCH", FL_REGISTRY_UPLOAD, FL_REGISTRY_PUSH, NULL}, /* their bodies have sinks */
    {"PUT", FL_REGISTRY_UPLOAD, FL_REGISTRY_PUSH, NULL},
    {"DELETE", FL_REGISTRY_UPLOAD, FL_REGISTRY_PUSH, fl_registry_cancel_upload},
};

/* NULL after failing the call. */
static const struct row *find_row(struct fl_registry_call *call)
{
    bool is_known = false;
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        is_known |= rows[i].what == call->route.what;
        if (rows[i].what == call->route.what && fl_str_is(call->exchange->method, rows[i].method))
            return &rows[i];
    }
    if (call->route.what == FL_REGISTRY_BAD_NAME)
        fl_registry_fail(call, 400, "NAME_INVALID", "this is no valid name of a repository");
    else if (is_known)
        fl_registry_fail(call, 405, "UNSUPPORTED", "the method is not supported here");
    else
        fl_registry_fail(call, 404, "UNSUPPORTED", "nothing is served at this path");
    return NULL;
}

static bool check_reference(struct fl_registry_call *call)
{
    if (!call->route.bad_reference)
        return true;
    if (call->route.what == FL_REGISTRY_MANIFEST && fl_str_index(call->route.reference, ':') < 0)
        fl_registry_fail(call, 400, "TAG_INVALID", "this is no valid tag");
    else
        fl_registry_fail(call, 400, "DIGEST_INVALID",
                         "a digest is sha256: and 64 hexadecimal digits");
    return false;
}

static bool check_right(struct fl_registry_call *call, enum fl_registry_right needed,
                        enum fl_registry_right right, struct fl_str token)
{
    if (right >= needed)
        return true;
    if (token.n == 0)
        challenge(call, "authentication required");
    else
        fl_registry_fail(call, 403, "DENIED", "an agent's token is good for pulling only");
    return false;
}

/* The row to go on with; NULL when the call is answered already (its status is set). */
static const struct row *admit(struct fl_registry_call *call)
{
    enum fl_registry_right right;
    struct fl_str token;
    int64_t expires_ms = 0;
    bool is_get = fl_str_is(call->exchange->method, "GET");
    if (!find_right(call, &right, &token, &expires_ms))
        return NULL;
    if (call->route.what == FL_REGISTRY_TOKEN && is_get) {
        give_token(call, right, token, expires_ms);
        return NULL;
    }
    if (call->route.what == FL_REGISTRY_BASE) {
        greet(call, token);
        return NULL;
    }
    const struct row *row = find_row(call);
    if (!row)
        return NULL;
    if (is_signed_download(call))
        right = FL_MAX(right, FL_REGISTRY_PULL);
    return check_right(call, row->right, right, token) && check_reference(call) ? row : NULL;
}

bool fl_registry_has_path(struct fl_str path)
{
    return fl_str_is(path, "/v2") || fl_str_starts(path, FL_STR("/v2/"));
}

void fl_registry_handle(struct fl_registry *registry, struct fl_http_exchange *exchange)
{
    struct fl_registry_call *call = fl_registry_call_new(registry, exchange);
    if (exchange->sink) {
        fl_registry_end_stream(call);
        return;
    }
    const struct row *row = admit(call);
    if (row)
        row->handle(call);
    else
        fl_registry_call_end(call);
}

/* ---- bodies ---- */

static bool is_streamed(const struct fl_registry_call *call)
{
    const struct fl_http_exchange *exchange = call->exchange;
    if (call->route.what == FL_REGISTRY_UPLOADS)
        return fl_str_is(exchange->method, "POST") &&
               fl_url_parameter(exchange->arena, exchange->query, "digest").n > 0;
    return call->route.what == FL_REGISTRY_UPLOAD &&
           (fl_str_is(exchange->method, "PATCH") || fl_str_is(exchange->method, "PUT"));
}

static const char *reason_of(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 416:
        return "Range Not Satisfiable";
    case 429:
        return "Too Many Requests";
    case 507:
        return "Insufficient Storage";
    }
    return "Internal Server Error";
}

void fl_registry_refuse_body(struct fl_registry_call *call)
{
    fl_http_refuse_body(call->exchange, call->status, reason_of(call->status), call->headers,
                        call->header_count, fl_buf_str(&call->body));
}

/* A manifest is collected; one that announces itself as too large is refused at once. */
static bool is_too_large(const struct fl_registry_call *call)
{
    struct fl_str length = fl_str_trim(fl_http_header(call->exchange, "Content-Length"));
    uint64_t n;
    return call->route.what == FL_REGISTRY_MANIFEST && fl_str_to_u64(length, &n) &&
           n > FL_MANIFEST_MAX_BYTES;
}

struct fl_http_sink *fl_registry_open_sink(struct fl_registry *registry,
                                           struct fl_http_exchange *exchange)
{
    struct fl_http_sink *sink = NULL;
    struct fl_registry_call *call = fl_registry_call_new(registry, exchange);
    if (is_too_large(call)) {
        fl_registry_fail_size(call);
        fl_registry_refuse_body(call);
    }
    if (is_streamed(call)) {
        if (admit(call))
            sink = fl_registry_new_stream(call);
        if (!sink)
            fl_registry_refuse_body(call);
    }
    fl_registry_discard(call);
    return sink;
}
