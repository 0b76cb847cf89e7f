/* Tokens and joining as HTTP calls; the rules are in keys_join.c. */
#include "server/tokens.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "wire/arn.h"
#include "wire/json.h"

enum {
    MAX_BODY = 64 * 1024,
    MAX_ANSWER = 1 << 20,
    MAX_USES = 100000,
    MAX_NAME = 255,
    REFUSALS_APART_MS = 5000
};

#define MAX_EXPIRES_S (INT64_C(10) * 366 * 24 * 60 * 60)

static const char join_target[] = "Fairlead_20261120.Join";
static const char token_header[] = "X-Fairlead-Token";

/* An answer that waits for the disk. */
struct waiting {
    struct fl_http_exchange *exchange;
    struct fl_buf body;
};

static void on_durable(void *context)
{
    struct waiting *waiting = context;
    fl_api_answer(waiting->exchange, 200, fl_buf_str(&waiting->body));
    fl_buf_free(&waiting->body);
    free(waiting);
}

static struct waiting *wait_with(struct fl_http_exchange *exchange)
{
    struct waiting *waiting = fl_calloc(1, sizeof(*waiting));
    waiting->exchange = exchange;
    waiting->body = FL_BUF_INIT(MAX_ANSWER);
    return waiting;
}

static void give_up(struct waiting *waiting, struct fl_str code, struct fl_str text)
{
    fl_api_refuse(waiting->exchange, 400, code, text);
    fl_buf_free(&waiting->body);
    free(waiting);
}

static const struct fl_json *read_body(struct fl_http_exchange *exchange)
{
    struct fl_str body = exchange->body.n ? exchange->body : FL_STR("{}");
    const struct fl_json *json =
        body.n <= MAX_BODY ? fl_json_read(body, exchange->arena, NULL) : NULL;
    if (fl_json_is(json, FL_JSON_OBJECT))
        return json;
    fl_api_refuse(exchange, 400, FL_STR("SerializationException"),
                  FL_STR("The request must be an object."));
    return NULL;
}

static void write_hashes(struct fl_json_writer *jw, const struct fl_tls_pins *pins)
{
    fl_jw_key(jw, "certificates");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < pins->count; i++)
        fl_jw_str(jw, fl_str_of(pins->hash[i]));
    fl_jw_array_end(jw);
}

/* ---- joining ---- */

bool fl_tokens_is_join(const struct fl_http_exchange *exchange)
{
    return fl_str_is(fl_http_header(exchange, "X-Amz-Target"), join_target) &&
           fl_http_header(exchange, token_header).n > 0;
}

static bool is_instance_id(struct fl_str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'f')))
            return false;
    return id.n == FL_INSTANCE_ID_SIZE;
}

/* Anybody may try, and does not fill our log. */
static void log_refusal(struct fl_api *api, const struct fl_http_exchange *exchange,
                        const char *why)
{
    int64_t now_ms = fl_clock_mono_ms();
    if (api->refused_join_ms && now_ms - api->refused_join_ms < REFUSALS_APART_MS)
        return;
    api->refused_join_ms = now_ms;
    fl_log_warn("%.*s may not join: %s", FL_STR_ARG(exchange->peer), why);
}

void fl_tokens_join(struct fl_api *api, struct fl_http_exchange *exchange, bool is_local)
{
    const struct fl_json *json = read_body(exchange);
    struct fl_credentials key;
    if (!json)
        return;
    struct fl_str cluster = fl_arn_last(fl_json_text(fl_json_get(json, "cluster")));
    const struct fl_join join = {
        .is_local = is_local,
        .token = fl_http_header(exchange, token_header),
        .cluster = cluster.n ? cluster : FL_STR("default"),
        .instance = fl_json_text(fl_json_get(json, "instance")),
    };
    if (!is_instance_id(join.instance) || join.cluster.n > MAX_NAME) {
        fl_api_refuse(exchange, 400, FL_STR("InvalidParameterException"),
                      FL_STR("instance must be 32 hexadecimal digits, cluster a name."));
        return;
    }
    struct waiting *waiting = wait_with(exchange);
    const char *why = fl_keys_join(api->keys, &join, exchange->arena, &key, on_durable, waiting);
    if (why) {
        log_refusal(api, exchange, why);
        give_up(waiting, FL_STR("AccessDeniedException"), fl_str_of(why));
        return;
    }
    struct fl_json_writer jw = {.buf = &waiting->body};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "accessKeyId", key.access_key_id);
    fl_jw_member_str(&jw, "secretAccessKey", key.secret);
    write_hashes(&jw, fl_certificate_pins(api->certificate));
    fl_jw_object_end(&jw);
    fl_log_info("%.*s joins as instance %.*s", FL_STR_ARG(exchange->peer),
                FL_STR_ARG(join.instance));
}

/* ---- the operator's calls ---- */

/* A member that is a number from 1 to most; -1 after refusing, absent: standard. */
static int64_t number(struct fl_http_exchange *exchange, const struct fl_json *json,
                      const char *name, int64_t most, int64_t standard)
{
    const struct fl_json *value = fl_json_get(json, name);
    if (!value)
        return standard;
    if (fl_json_is(value, FL_JSON_INTEGER) && fl_json_int(value) >= 1 && fl_json_int(value) <= most)
        return fl_json_int(value);
    fl_api_refuse(exchange, 400, FL_STR("InvalidParameterException"),
                  fl_str_printf(exchange->arena, "%s must be a number from 1 to %lld.", name,
                                (long long)most));
    return -1;
}

/* {"expiresInSeconds"?, "uses"?} */
static void create(struct fl_api *api, struct fl_http_exchange *exchange)
{
    struct fl_err err;
    struct fl_str id, secret;
    const struct fl_json *json = read_body(exchange);
    int64_t expires_s = json ? number(exchange, json, "expiresInSeconds", MAX_EXPIRES_S, 0) : -1;
    int64_t uses = expires_s >= 0 ? number(exchange, json, "uses", MAX_USES, 1) : -1;
    if (uses < 0)
        return;
    if (!fl_certificate_pem(api->certificate, &err)) {
        fl_api_refuse(exchange, 500, FL_STR("ServerException"), fl_str_of(err.text));
        return;
    }
    struct waiting *waiting = wait_with(exchange);
    int64_t expires_ms = expires_s ? fl_clock_wall_ms() + expires_s * 1000 : 0;
    if (!fl_keys_make_token(api->keys, uses, expires_ms, exchange->arena, &id, &secret, on_durable,
                            waiting)) {
        give_up(waiting, FL_STR("LimitExceededException"),
                FL_STR("There are too many tokens: remove some."));
        return;
    }
    struct fl_json_writer jw = {.buf = &waiting->body};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "id", id);
    fl_jw_member_str(&jw, "secret", secret);
    fl_jw_member_int(&jw, "uses", uses);
    fl_jw_member_int(&jw, "expiresAtMs", expires_ms);
    write_hashes(&jw, fl_certificate_pins(api->certificate));
    fl_jw_object_end(&jw);
}

static void list(struct fl_api *api, struct fl_http_exchange *exchange)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_ANSWER);
    struct fl_json_writer jw = {.buf = &buf};
    struct fl_token_view token = {0};
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "tokens");
    fl_jw_array_begin(&jw);
    while (fl_keys_next_token(api->keys, token.id, &token)) {
        fl_jw_object_begin(&jw);
        fl_jw_member_str(&jw, "id", token.id);
        fl_jw_member_int(&jw, "uses", token.uses);
        fl_jw_member_int(&jw, "createdAtMs", token.created_ms);
        fl_jw_member_int(&jw, "expiresAtMs", token.expires_ms);
        fl_jw_object_end(&jw);
    }
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    fl_api_answer(exchange, 200, fl_buf_str(&buf));
}

/* {"id"} */
static void delete (struct fl_api *api, struct fl_http_exchange *exchange)
{
    const struct fl_json *json = read_body(exchange);
    if (!json)
        return;
    struct waiting *waiting = wait_with(exchange);
    fl_buf_add_z(&waiting->body, "{}");
    if (!fl_keys_remove_token(api->keys, fl_json_text(fl_json_get(json, "id")), on_durable,
                              waiting))
        give_up(waiting, FL_STR("ResourceNotFoundException"), FL_STR("There is no such token."));
}

bool fl_tokens_call(struct fl_api *api, struct fl_http_exchange *exchange, struct fl_str operation)
{
    static const struct {
        const char *name;
        void (*handle)(struct fl_api *api, struct fl_http_exchange *exchange);
    } calls[] = {{"CreateToken", create}, {"ListTokens", list}, {"DeleteToken", delete}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(calls); i++) {
        if (!fl_str_is(operation, calls[i].name))
            continue;
        calls[i].handle(api, exchange);
        return true;
    }
    return false;
}
