/* One fetch: requests until it has all, or until nothing more can be tried.
 *
 *   send ─► 200/206 ─► all there? ─► digest ─► done
 *    ▲        │ cut, network, 5xx, 429: a pause, then again from where it stopped
 *    │        ├ 3xx: the next URL, without credentials if it is another's
 *    │        ├ 401: a token, or user and password; then again
 *    │        └ else: the next place, or the end
 *
 * What came is kept and counted once: after a cut the rest is asked for with Range, and an answer
 * that begins anew is skipped up to there. Credentials go to the endpoint's own origin alone. */
#include <errno.h>

#include "agent/pull_internal.h"
#include "base/clock.h"
#include "base/id.h"

enum {
    ATTEMPTS_MAX = 5, /* without a byte of progress */
    MIRROR_ATTEMPTS_MAX = 2,
    IDLE_MAX = 2,
    AUTH_ROUNDS_MAX = 2,
    FIRST_PAUSE_MS = 200,
    PAUSE_MAX_MS = 30 * 1000,
    REQUEST_TIMEOUT_MS = 30 * 1000, /* of what is small */
    BULK_TIMEOUT_MS = 24 * 3600 * 1000,
    ERROR_BODY_MAX = 64 << 10
};

struct fl_fetch {
    struct fl_source *source;
    struct fl_arena *arena;
    struct fl_fetch_order order;
    struct fl_digest digest; /* order.digest's */
    fl_fetch_done done;
    void *context;
    size_t endpoint;
    struct fl_str url; /* of the request under way */
    bool same;         /* url is the endpoint's own origin */
    unsigned redirects, auth_rounds, attempts, idles;
    uint64_t received, skip, at_last_attempt;
    struct fl_hasher *hasher;
    struct fl_buf body; /* without order.piece */
    struct fl_str content_type;
    struct fl_str mirrors_said;    /* why those before this place did not do */
    struct fl_http_flight *flight; /* NULL between requests */
    struct fl_err refusal;         /* set by the sink: the answer cannot be taken */
    uv_timer_t pause;
    bool closing;
    bool waits_for_aws; /* the call cannot be cancelled: its answer frees */
};

static void send_request(struct fl_fetch *fetch);

static struct fl_endpoint_of_source *endpoint_of(struct fl_fetch *fetch)
{
    return &fetch->source->endpoints[fetch->endpoint];
}

static struct fl_puller *puller_of(const struct fl_fetch *fetch)
{
    return fetch->source->puller;
}

/* ---- the end ---- */

static void fetch_free(struct fl_fetch *fetch)
{
    fl_source_unref(fetch->source);
    fl_hasher_free(fetch->hasher);
    fl_buf_free(&fetch->body);
    fl_arena_free(fetch->arena);
    free(fetch);
}

static void on_closed(uv_handle_t *handle)
{
    struct fl_fetch *fetch = handle->data;
    fetch_free(fetch);
}

static void release(struct fl_fetch *fetch)
{
    fetch->closing = true;
    if (!fetch->waits_for_aws)
        uv_close((uv_handle_t *)&fetch->pause, on_closed);
}

void fl_fetch_cancel(struct fl_fetch *fetch)
{
    if (fetch->flight)
        fl_http_cancel(fetch->flight);
    fetch->flight = NULL;
    (void)uv_timer_stop(&fetch->pause);
    release(fetch);
}

void fl_fetch_resume(struct fl_fetch *fetch)
{
    if (fetch->flight)
        fl_http_resume(fetch->flight);
}

static void end(struct fl_fetch *fetch, enum fl_fetch_failure failure, struct fl_str error)
{
    const struct fl_fetched fetched = {.failure = failure,
                                       .error = error,
                                       .body = fl_buf_str(&fetch->body),
                                       .content_type = fetch->content_type,
                                       .digest = fetch->digest};
    fetch->done(fetch->context, &fetched);
    release(fetch);
}

/* ---- going on after a failure ---- */

static void start_over(struct fl_fetch *fetch)
{
    const struct fl_endpoint_of_source *endpoint = endpoint_of(fetch);
    fetch->url =
        fl_str_printf(fetch->arena, "%.*s/v2/%.*s/%.*s", FL_STR_ARG(endpoint->url),
                      FL_STR_ARG(fetch->source->repository), FL_STR_ARG(fetch->order.path));
    fetch->same = true;
    fetch->redirects = 0;
    send_request(fetch);
}

/* Nothing more is to be had of this place. */
static void give_up(struct fl_fetch *fetch, enum fl_fetch_failure failure, struct fl_str error)
{
    if (fetch->endpoint + 1 == fetch->source->endpoint_count) {
        if (fetch->mirrors_said.n)
            error = fl_str_printf(fetch->arena, "%.*s (%.*s)", FL_STR_ARG(error),
                                  FL_STR_ARG(fetch->mirrors_said));
        end(fetch, failure, error);
        return;
    }
    fetch->mirrors_said = fl_str_printf(
        fetch->arena, "%.*s%smirror %.*s: %.*s", FL_STR_ARG(fetch->mirrors_said),
        fetch->mirrors_said.n ? "; " : "", FL_STR_ARG(endpoint_of(fetch)->url), FL_STR_ARG(error));
    fetch->endpoint++;
    fetch->attempts = fetch->auth_rounds = fetch->idles = 0;
    start_over(fetch);
}

static void on_pause_over(uv_timer_t *timer)
{
    start_over(timer->data);
}

static uint64_t pause_ms(const struct fl_fetch *fetch, struct fl_str retry_after)
{
    uint64_t ms = (uint64_t)FIRST_PAUSE_MS << FL_MIN(fetch->attempts, 8U), asked_s = 0;
    uint8_t jitter;
    fl_random_bytes(&jitter, 1);
    ms += ms * jitter / 512;
    if (fl_str_to_u64(retry_after, &asked_s))
        ms = FL_MAX(ms, FL_MIN(asked_s, (uint64_t)3600) * 1000);
    return FL_MIN(ms, (uint64_t)PAUSE_MAX_MS);
}

static void try_again(struct fl_fetch *fetch, struct fl_str error, struct fl_str retry_after)
{
    bool is_last = fetch->endpoint + 1 == fetch->source->endpoint_count;
    if (fetch->received > fetch->at_last_attempt)
        fetch->attempts = 0;
    fetch->at_last_attempt = fetch->received;
    if (++fetch->attempts >= (is_last ? (unsigned)ATTEMPTS_MAX : (unsigned)MIRROR_ATTEMPTS_MAX)) {
        give_up(fetch, FL_FETCH_FAILED, error);
        return;
    }
    (void)uv_timer_start(&fetch->pause, on_pause_over, pause_ms(fetch, retry_after), 0);
}

/* ---- tokens ---- */

static void refused(struct fl_fetch *fetch, const char *detail)
{
    give_up(fetch, FL_FETCH_DENIED,
            fl_str_printf(fetch->arena,
                          "pull access denied, repository does not exist or may require "
                          "authorization: %s",
                          detail));
}

static void on_token(void *context, const struct fl_http_response *response)
{
    struct fl_fetch *fetch = context;
    struct fl_endpoint_of_source *endpoint = endpoint_of(fetch);
    struct fl_str token;
    int64_t lifetime_s;
    struct fl_err err = {0};
    fetch->flight = NULL;
    if (response->status == 0 || response->status >= 500 || response->status == 429) {
        try_again(
            fetch,
            fl_str_printf(fetch->arena, "failed to fetch a token: %.*s",
                          FL_STR_ARG(response->status ? FL_STR("server error") : response->body)),
            fl_http_response_header(response, "retry-after", 0));
        return;
    }
    if (response->status != 200 ||
        fl_token_parse(response->body, fetch->arena, &token, &lifetime_s, &err) < 0) {
        refused(fetch, err.status
                           ? err.text
                           : fl_str_printf(fetch->arena, "failed to fetch a token: status %u",
                                           response->status)
                                 .p);
        return;
    }
    free(endpoint->token);
    endpoint->token = fl_strndup(token.p, token.n);
    endpoint->token_until_ms = fl_clock_mono_ms() + lifetime_s * 1000;
    start_over(fetch);
}

static void ask_token(struct fl_fetch *fetch, const struct fl_challenge *challenge)
{
    const struct fl_endpoint_of_source *endpoint = endpoint_of(fetch);
    const struct fl_puller_config *config = &puller_of(fetch)->config;
    struct fl_err err = {0};
    struct fl_header header = {.name = FL_STR("Authorization")};
    struct fl_http_request request = {.method = FL_STR("GET"),
                                      .headers = &header,
                                      .timeout_ms = REQUEST_TIMEOUT_MS,
                                      .max_body = FL_TOKEN_MAX * 2,
                                      .ca_file = endpoint->ca_file,
                                      .proxy = config->proxy,
                                      .no_proxy = config->no_proxy};
    if (fl_token_url(endpoint->url, challenge, fetch->source->repository, fetch->arena,
                     &request.url, &err) < 0) {
        refused(fetch, err.text);
        return;
    }
    if (endpoint->login.user.n) {
        header.value =
            fl_basic_authorization(endpoint->login.user, endpoint->login.password, fetch->arena);
        request.header_count = 1;
    }
    fetch->flight = fl_http_client_send(puller_of(fetch)->http, &request, on_token, fetch);
}

static void on_own_login(void *context, const struct fl_http_response *response)
{
    struct fl_fetch *fetch = context;
    struct fl_err err = {0};
    fetch->waits_for_aws = false;
    if (fetch->closing) {
        release(fetch);
        return;
    }
    if (fl_puller_take_own_login(puller_of(fetch), response, &err) < 0) {
        refused(fetch, err.text);
        return;
    }
    start_over(fetch);
}

static void ask_own_login(struct fl_fetch *fetch)
{
    fetch->waits_for_aws = true;
    fl_aws_call(puller_of(fetch)->config.aws, "ecr",
                "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", FL_STR("{}"),
                REQUEST_TIMEOUT_MS, on_own_login, fetch);
}

static void on_unauthorized(struct fl_fetch *fetch, const struct fl_http_response *response)
{
    struct fl_endpoint_of_source *endpoint = endpoint_of(fetch);
    struct fl_challenge challenge = {0};
    if (!fetch->same || ++fetch->auth_rounds > AUTH_ROUNDS_MAX) {
        refused(fetch, "the registry does not accept what it was given");
        return;
    }
    if (endpoint->is_own) {
        ask_own_login(fetch);
        return;
    }
    for (size_t i = 0; i < 4 && challenge.kind == FL_CHALLENGE_NONE; i++)
        challenge = fl_challenge_parse(fl_http_response_header(response, "www-authenticate", i),
                                       fetch->arena);
    if (challenge.kind == FL_CHALLENGE_BEARER) {
        free(FL_TAKE_PTR(endpoint->token));
        ask_token(fetch, &challenge);
    } else if (challenge.kind == FL_CHALLENGE_BASIC && endpoint->login.user.n && !endpoint->basic) {
        endpoint->basic = true;
        start_over(fetch);
    } else {
        refused(fetch, challenge.kind == FL_CHALLENGE_BASIC && endpoint->login.user.n == 0
                           ? "no basic auth credentials"
                           : "the registry asks for credentials that it was not given");
    }
}

/* Empty: none. */
static struct fl_str authorization(struct fl_fetch *fetch)
{
    struct fl_endpoint_of_source *endpoint = endpoint_of(fetch);
    const struct fl_puller *puller = puller_of(fetch);
    const struct fl_registry_login *login = &endpoint->login;
    int64_t now_ms = fl_clock_mono_ms();
    if (!fetch->same)
        return FL_STR("");
    if (endpoint->is_own)
        login = now_ms < puller->own_until_ms ? &puller->own_login : NULL;
    if (login && (endpoint->basic || endpoint->is_own))
        return fl_basic_authorization(login->user, login->password, fetch->arena);
    if (endpoint->token && now_ms < endpoint->token_until_ms)
        return fl_str_printf(fetch->arena, "Bearer %s", endpoint->token);
    return FL_STR("");
}

/* ---- the body ---- */

static int check_head(struct fl_fetch *fetch, const struct fl_http_response *head,
                      struct fl_err *err)
{
    uint64_t length, expected = fetch->order.size;
    fetch->skip = 0;
    if (head->status == 206) {
        if (!fl_content_range_fits(fl_http_response_header(head, "content-range", 0),
                                   fetch->received, fetch->order.size))
            return fl_err_set(err, -EBADMSG, "the registry sends another range than was asked for");
        expected -= fetch->received;
    } else {
        fetch->skip = fetch->received;
    }
    if (fetch->order.size &&
        fl_str_to_u64(fl_http_response_header(head, "content-length", 0), &length) &&
        length != expected)
        return fl_err_set(err, -EBADMSG,
                          "failed size validation: %llu bytes announced, %llu expected",
                          (unsigned long long)length, (unsigned long long)expected);
    fetch->content_type =
        fl_str_dup(fetch->arena, fl_http_response_header(head, "content-type", 0));
    return 0;
}

static bool on_head(void *context, const struct fl_http_response *head)
{
    struct fl_fetch *fetch = context;
    if (head->status != 200 && !(head->status == 206 && fetch->received > 0))
        return false;
    (void)check_head(fetch, head, &fetch->refusal);
    return true;
}

static enum fl_http_flow on_piece(void *context, struct fl_str bytes)
{
    struct fl_fetch *fetch = context;
    uint64_t max = fetch->order.size ? fetch->order.size : fetch->order.max;
    uint64_t skipped = FL_MIN(fetch->skip, (uint64_t)bytes.n);
    struct fl_str fresh = fl_str_from(bytes, skipped);
    if (fetch->refusal.status)
        return FL_HTTP_ENOUGH;
    if (fresh.n > max - fetch->received) {
        (void)fl_err_set(&fetch->refusal, -EFBIG, "failed size validation: more than %llu bytes",
                         (unsigned long long)max);
        return FL_HTTP_ENOUGH;
    }
    if (fresh.n && fetch->order.piece) {
        enum fl_http_flow flow = fetch->order.piece(fetch->context, fresh);
        if (flow == FL_HTTP_ENOUGH)
            (void)fl_err_set(&fetch->refusal, -EPIPE, "nobody takes it any more");
        if (flow != FL_HTTP_TAKEN)
            return flow;
    } else {
        fl_buf_add_str(&fetch->body, fresh);
    }
    fetch->skip -= skipped;
    fetch->received += fresh.n;
    fl_hasher_add(fetch->hasher, fresh.p, fresh.n);
    return FL_HTTP_TAKEN;
}

static void on_whole(struct fl_fetch *fetch)
{
    struct fl_digest digest = fl_hasher_end(fetch->hasher);
    if (fetch->order.digest && !fl_digest_eq(&digest, &fetch->digest)) {
        end(fetch, FL_FETCH_FAILED,
            fl_str_printf(fetch->arena,
                          "failed commit on ref: unexpected commit digest sha256:%s, expected "
                          "sha256:%s",
                          digest.hex, fetch->digest.hex));
        return;
    }
    fetch->digest = digest;
    end(fetch, FL_FETCH_DONE, FL_STR(""));
}

/* ---- answers ---- */

static void on_redirect(struct fl_fetch *fetch, const struct fl_http_response *response)
{
    struct fl_str next, location = fl_http_response_header(response, "location", 0);
    struct fl_origin own, to;
    struct fl_str rest;
    bool same;
    struct fl_err err = {0};
    if (++fetch->redirects > FL_PULL_REDIRECTS_MAX)
        (void)fl_err_set(&err, -ELOOP, "the registry redirects more than %d times",
                         FL_PULL_REDIRECTS_MAX);
    else
        (void)fl_redirect_resolve(fetch->url, location, fetch->arena, &next, &same, &err);
    if (err.status) {
        give_up(fetch, FL_FETCH_FAILED, fl_str_dup(fetch->arena, fl_str_of(err.text)));
        return;
    }
    fetch->url = next;
    /* Once away it gets no credentials, even if it is led back. */
    fetch->same = fetch->same && fl_origin_parse(endpoint_of(fetch)->url, &own, &rest) &&
                  fl_origin_parse(next, &to, &rest) && fl_origin_eq(&own, &to);
    send_request(fetch);
}

static void on_status(struct fl_fetch *fetch, const struct fl_http_response *response)
{
    unsigned status = response->status;
    struct fl_str shown = fl_str_sub(fetch->url, 0, FL_MIN(fetch->url.n, (size_t)200));
    ptrdiff_t query = fl_str_index(shown, '?'); /* may hold a signature */
    if (query >= 0)
        shown = fl_str_sub(shown, 0, (size_t)query);
    struct fl_str error = fl_str_printf(
        fetch->arena, "unexpected status from GET request to %.*s: %u", FL_STR_ARG(shown), status);
    if (status == 401)
        on_unauthorized(fetch, response);
    else if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308)
        on_redirect(fetch, response);
    else if (status == 404)
        give_up(fetch, FL_FETCH_NOT_FOUND, FL_STR("not found"));
    else if (status == 403)
        refused(fetch, error.p);
    else if (status >= 500 || status == 429 || status == 408 || status == 416)
        try_again(fetch, error, fl_http_response_header(response, "retry-after", 0));
    else
        give_up(fetch, FL_FETCH_FAILED, error);
}

static void on_cut(struct fl_fetch *fetch, struct fl_str why, bool is_idle)
{
    if (is_idle && ++fetch->idles >= IDLE_MAX)
        give_up(fetch, FL_FETCH_IDLE, FL_STR("inactivity time exceeded timeout"));
    else
        try_again(fetch, fl_str_printf(fetch->arena, "failed to do request: %.*s", FL_STR_ARG(why)),
                  FL_STR(""));
}

static void on_response(void *context, const struct fl_http_response *response)
{
    struct fl_fetch *fetch = context;
    fetch->flight = NULL;
    if (fetch->refusal.status) {
        /* The content is wrong: another place may have it right, if nothing was handed on yet. */
        struct fl_str error = fl_str_dup(fetch->arena, fl_str_of(fetch->refusal.text));
        fetch->refusal = (struct fl_err){0};
        if (fetch->received == 0)
            give_up(fetch, FL_FETCH_FAILED, error);
        else
            end(fetch, FL_FETCH_FAILED, error);
    } else if (response->status == 0) {
        on_cut(fetch, response->body, response->timed_out);
    } else if (response->status != 200 && response->status != 206) {
        on_status(fetch, response);
    } else if (fetch->order.size && fetch->received < fetch->order.size) {
        on_cut(fetch, FL_STR("the answer ends too early"), false);
    } else {
        on_whole(fetch);
    }
}

static void send_request(struct fl_fetch *fetch)
{
    static const struct fl_http_taker taker = {on_head, on_piece};
    const struct fl_puller_config *config = &puller_of(fetch)->config;
    struct fl_header headers[3];
    size_t count = 0;
    struct fl_str auth = authorization(fetch);
    headers[count++] = (struct fl_header){
        FL_STR("Accept"), fetch->order.accept.n ? fetch->order.accept : FL_STR("*/*")};
    if (auth.n)
        headers[count++] = (struct fl_header){FL_STR("Authorization"), auth};
    if (fetch->received)
        headers[count++] =
            (struct fl_header){FL_STR("Range"), fl_str_printf(fetch->arena, "bytes=%llu-",
                                                              (unsigned long long)fetch->received)};
    const struct fl_http_request request = {
        .method = FL_STR("GET"),
        .url = fetch->url,
        .headers = headers,
        .header_count = count,
        .timeout_ms = fetch->order.piece ? BULK_TIMEOUT_MS : REQUEST_TIMEOUT_MS,
        .max_body = ERROR_BODY_MAX,
        .idle_timeout_ms = config->idle_timeout_ms,
        .ca_file = endpoint_of(fetch)->ca_file,
        .proxy = config->proxy,
        .no_proxy = config->no_proxy,
        .taker = &taker,
    };
    /* The server is believed as in all other calls; everybody else by the system's authorities. */
    struct fl_http_client *client =
        endpoint_of(fetch)->is_own && fetch->same ? config->http : puller_of(fetch)->http;
    fetch->flight = fl_http_client_send(client, &request, on_response, fetch);
}

static void on_first(uv_timer_t *timer)
{
    start_over(timer->data);
}

struct fl_fetch *fl_fetch_start(struct fl_source *source, const struct fl_fetch_order *order,
                                fl_fetch_done done, void *context)
{
    struct fl_fetch *fetch = fl_calloc(1, sizeof(*fetch));
    fetch->source = fl_source_ref(source);
    fetch->arena = fl_arena_new();
    fetch->order = *order;
    fetch->order.path = fl_str_dup(fetch->arena, order->path);
    fetch->order.accept = fl_str_dup(fetch->arena, order->accept);
    if (order->digest)
        fetch->digest = *order->digest;
    fetch->done = done;
    fetch->context = context;
    fetch->hasher = fl_hasher_new();
    fetch->body = FL_BUF_INIT(FL_MAX(order->size, order->max) + 1);
    FL_ASSERT(uv_timer_init(source->puller->config.loop, &fetch->pause) == 0);
    fetch->pause.data = fetch;
    /* From the loop: an error that is known at once must not come before this returns. */
    (void)uv_timer_start(&fetch->pause, on_first, 0, 0);
    return fetch;
}
