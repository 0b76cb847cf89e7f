/* libcurl's multi interface in our loop: curl tells which sockets it waits for and when it wants to
 * be called; uv_poll and uv_timer do that.
 *
 * A request is curl's easy handle with what it needs; results are collected from a timer, so that
 * `done` is never called from within fl_http_client_send. Redirects are not followed, protocols
 * other than http and https are refused, answers are bounded. */
#include "net/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/queue.h>

enum {
    DEFAULT_TIMEOUT_MS = 30000,
    CONNECT_TIMEOUT_MS = 10000,
    DEFAULT_MAX_BODY = 16 * 1024 * 1024,
};

struct request {
    LIST_ENTRY(request) link;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    struct fl_buf answer;
    fl_http_done done;
    void *context;
    char error[CURL_ERROR_SIZE];
};

struct fl_http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    LIST_HEAD(, request) requests;
    const struct fl_tls_pins *pins; /* NULL: what the system trusts */
    bool freed;                     /* the user has let go */
    bool busy;                      /* inside a callback: fl_http_client_free waits for its end */
};

/* One socket of curl's in our loop. */
struct watch {
    uv_poll_t poll;
    struct fl_http_client *client;
    curl_socket_t fd;
};

static void free_request(struct fl_http_client *client, struct request *request)
{
    LIST_REMOVE(request, link);
    (void)curl_multi_remove_handle(client->multi, request->easy);
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    fl_buf_free(&request->answer);
    free(request->body);
    free(request);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void destroy(struct fl_http_client *client)
{
    while (!LIST_EMPTY(&client->requests))
        free_request(client, LIST_FIRST(&client->requests));
    (void)curl_multi_cleanup(client->multi); /* closes what is kept alive, and its watches */
    client->multi = NULL;
    uv_close((uv_handle_t *)&client->timer, on_closed);
}

/* ---- results ---- */

static void report(struct fl_http_client *client, struct request *request, CURLcode code)
{
    struct fl_http_response response = {0, fl_buf_str(&request->answer)};
    long status = 0;
    if (code == CURLE_OK)
        (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    response.status = (unsigned)status;
    if (status == 0)
        response.body = fl_str_of(request->error[0] ? request->error : curl_easy_strerror(code));
    if (client->pins && code == CURLE_PEER_FAILED_VERIFICATION)
        response.body = FL_STR(FL_TLS_STRANGER);
    if (request->answer.overflow)
        response = (struct fl_http_response){0, FL_STR("the answer is larger than allowed")};
    request->done(request->context, &response);
    free_request(client, request);
}

static void collect(struct fl_http_client *client)
{
    CURLMsg *message;
    int left;
    client->busy = true;
    while (!client->freed && (message = curl_multi_info_read(client->multi, &left))) {
        struct request *request;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        report(client, request, code);
    }
    client->busy = false;
    if (client->freed)
        destroy(client);
}

/* ---- curl's sockets and time ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct fl_http_client *client = watch->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    int running;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    (void)curl_multi_socket_action(client->multi, watch->fd, flags, &running);
    collect(client);
}

static void on_timer(uv_timer_t *timer)
{
    struct fl_http_client *client = timer->data;
    int running;
    (void)curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(client);
}

static struct watch *watch_new(struct fl_http_client *client, curl_socket_t fd)
{
    struct watch *watch = fl_calloc(1, sizeof(*watch));
    watch->client = client;
    watch->fd = fd;
    FL_ASSERT(uv_poll_init_socket(client->loop, &watch->poll, fd) == 0);
    watch->poll.data = watch;
    (void)curl_multi_assign(client->multi, fd, watch);
    return watch;
}

static int on_socket(FL_UNUSED CURL *easy, curl_socket_t fd, int what, void *context,
                     void *socket_context)
{
    struct watch *watch = socket_context;
    struct fl_http_client *client = context;
    if (what == CURL_POLL_REMOVE) {
        if (!watch)
            return 0;
        (void)curl_multi_assign(client->multi, fd, NULL);
        uv_close((uv_handle_t *)&watch->poll, on_closed);
        return 0;
    }
    if (!watch)
        watch = watch_new(client, fd);
    (void)uv_poll_start(&watch->poll,
                        ((what & CURL_POLL_IN) ? UV_READABLE : 0) |
                            ((what & CURL_POLL_OUT) ? UV_WRITABLE : 0),
                        on_poll);
    return 0;
}

static int on_wait(FL_UNUSED CURLM *multi, long wait_ms, void *context)
{
    struct fl_http_client *client = context;
    if (uv_is_closing((uv_handle_t *)&client->timer))
        return 0;
    if (wait_ms < 0)
        (void)uv_timer_stop(&client->timer);
    else
        (void)uv_timer_start(&client->timer, on_timer, (uint64_t)wait_ms, 0);
    return 0;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct request *request = context;
    fl_buf_add(&request->answer, bytes, size * count);
    return request->answer.overflow ? 0 : size * count;
}

/* ---- entry points ---- */

int fl_http_client_new(uv_loop_t *loop, struct fl_http_client **ret_client, struct fl_err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return fl_err_set(err, -ENOMEM, "the HTTP client cannot start");
    CURLM *multi = curl_multi_init();
    if (!multi)
        return fl_err_set(err, -ENOMEM, "the HTTP client cannot start");
    struct fl_http_client *client = fl_calloc(1, sizeof(*client));
    client->loop = loop;
    client->multi = multi;
    LIST_INIT(&client->requests);
    FL_ASSERT(uv_timer_init(loop, &client->timer) == 0);
    client->timer.data = client;
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_wait);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client);
    *ret_client = client;
    return 0;
}

void fl_http_client_free(struct fl_http_client *client)
{
    if (!client || client->freed)
        return;
    client->freed = true;
    if (!client->busy)
        destroy(client);
}

static void add_header(struct curl_slist **list, struct fl_str name, struct fl_str value)
{
    FL_CLEANUP_BUF struct fl_buf line = FL_BUF_INIT(64 * 1024);
    /* "name;" is curl's way to say a header without a value. */
    if (value.n)
        fl_buf_printf(&line, "%.*s: %.*s", FL_STR_ARG(name), FL_STR_ARG(value));
    else
        fl_buf_printf(&line, "%.*s;", FL_STR_ARG(name));
    struct curl_slist *longer = line.overflow ? NULL : curl_slist_append(*list, line.p);
    if (longer)
        *list = longer;
}

static void set_body(struct request *request, struct fl_str method, struct fl_str body)
{
    FL_CLEANUP_FREE char *verb = fl_strndup(method.p, method.n);
    CURL *easy = request->easy;
    bool plain = body.n == 0 && (fl_str_is(method, "GET") || fl_str_is(method, "HEAD"));
    if (!plain) {
        request->body = fl_strndup(body.p, body.n);
        (void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    }
    if (fl_str_is(method, "HEAD"))
        (void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, verb);
}

static CURLcode on_ssl_context(FL_UNUSED CURL *easy, void *ssl_context, void *pins)
{
    fl_tls_pin(ssl_context, pins);
    return CURLE_OK;
}

/* curl's own verification, by authorities and names, gives way to ours: a certificate that is not
 * pinned ends the handshake. A resumed session would not be asked for one. */
static void set_pins(CURL *easy, const struct fl_tls_pins *pins)
{
    if (!pins)
        return;
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, (void *)pins);
}

static void set_options(struct request *request, const struct fl_http_request *wanted)
{
    CURL *easy = request->easy;
    FL_CLEANUP_FREE char *url = fl_strndup(wanted->url.p, wanted->url.n);
    unsigned timeout_ms = wanted->timeout_ms ? wanted->timeout_ms : DEFAULT_TIMEOUT_MS;
    add_header(&request->headers, FL_STR("Accept"), FL_STR("*/*"));
    for (size_t i = 0; i < wanted->header_count; i++)
        add_header(&request->headers, wanted->headers[i].name, wanted->headers[i].value);
    struct curl_slist *longer = curl_slist_append(request->headers, "Expect:");
    if (longer)
        request->headers = longer;
    (void)curl_easy_setopt(easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "127.0.0.1,localhost,[::1],::1,.localhost");
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    set_body(request, wanted->method, wanted->body);
}

void fl_http_client_send(struct fl_http_client *client, const struct fl_http_request *wanted,
                         fl_http_done done, void *context)
{
    struct request *request = fl_calloc(1, sizeof(*request));
    FL_ASSERT(!client->freed);
    request->done = done;
    request->context = context;
    request->answer = FL_BUF_INIT(wanted->max_body ? wanted->max_body : DEFAULT_MAX_BODY);
    request->easy = curl_easy_init();
    FL_ASSERT(request->easy);
    set_options(request, wanted);
    set_pins(request->easy, client->pins);
    LIST_INSERT_HEAD(&client->requests, request, link);
    FL_ASSERT(curl_multi_add_handle(client->multi, request->easy) == CURLM_OK);
}

void fl_http_client_pin(struct fl_http_client *client, const struct fl_tls_pins *pins)
{
    client->pins = pins;
}
