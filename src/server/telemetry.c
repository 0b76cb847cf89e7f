/* The telemetry's connections: one per instance, the newest. */
#include "server/telemetry.h"

#include <bsd/sys/tree.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "server/telemetry_frames.h"
#include "wire/acs.h"
#include "wire/arn.h"
#include "wire/url.h"

enum { MINUTE_MS = 60 * 1000, MAX_REPLY = 4096 };

#define INACTIVE "The container instance is not registered or is inactive."

struct link {
    RB_ENTRY(link) by_instance;
    struct fl_telemetry *owner;
    struct fl_ws *ws;
    struct fl_arena *arena;
    struct fl_telemetry_source source;
    int64_t heard_ms;
    int64_t ends_ms; /* both monotonic */
    bool is_closing;
    bool is_replaced;
    bool complained; /* of its messages, once */
};
RB_HEAD(link_tree, link);

struct fl_telemetry {
    const struct fl_core *core;
    struct fl_engine *engine;
    struct fl_measures *measures;
    struct link_tree tree;
    size_t count;
    int64_t minute_ms;
    uv_timer_t heartbeat;
};

static int order(const struct link *a, const struct link *b)
{
    int by_cluster = fl_str_cmp(a->source.cluster, b->source.cluster);
    return by_cluster ? by_cluster : fl_str_cmp(a->source.instance, b->source.instance);
}

RB_GENERATE_INTERNAL(link_tree, link, by_instance, order, FL_UNUSED static)

static void close_link(struct link *link, const char *why)
{
    if (link->is_closing)
        return;
    link->is_closing = true;
    fl_ws_close(link->ws, 1000, fl_str_of(why));
}

static void link_drop(struct link *link)
{
    fl_arena_free(link->arena);
    free(link);
}

static void on_message(void *context, struct fl_ws *ws, struct fl_str text)
{
    struct link *link = context;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_REPLY);
    struct fl_err err;
    if (link->is_closing)
        return;
    link->heard_ms = fl_clock_mono_ms();
    if (text.n > FL_TELEMETRY_MAX_FRAME) {
        close_link(link, "a message is too long");
        return;
    }
    const char *ack = fl_telemetry_take(&link->source, text, link->owner->measures,
                                        link->owner->engine, fl_clock_wall_ms(), &err);
    if (ack) {
        fl_acs_error(&buf, ack, FL_STR(""));
        fl_ws_send(ws, fl_buf_str(&buf));
    } else if (err.text[0] && !link->complained) {
        link->complained = true;
        fl_log_warn("telemetry of instance %.*s: %s", FL_STR_ARG(link->source.instance), err.text);
    }
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, FL_UNUSED uint16_t code,
                      FL_UNUSED unsigned http_status, FL_UNUSED struct fl_str text)
{
    struct link *link = context;
    if (!link->is_replaced)
        (void)RB_REMOVE(link_tree, &link->owner->tree, link);
    link->owner->count--;
    link_drop(link);
}

static void refuse(struct fl_http_exchange *exchange, const char *type, const char *text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_REPLY);
    struct fl_header header = {FL_STR("Content-Type"), FL_STR("application/json")};
    fl_acs_error(&buf, type, fl_str_of(text));
    fl_http_reply(exchange, 400, &header, 1, fl_buf_str(&buf));
}

static struct link *link_new(struct fl_telemetry *telemetry, struct fl_http_exchange *exchange)
{
    struct link *link = fl_calloc(1, sizeof(*link));
    struct fl_str cluster =
        fl_arn_last(fl_url_parameter(exchange->arena, exchange->query, "cluster"));
    struct fl_str instance =
        fl_arn_last(fl_url_parameter(exchange->arena, exchange->query, "containerInstance"));
    uint8_t some[2];
    fl_random_bytes(some, sizeof(some));
    link->owner = telemetry;
    link->arena = fl_arena_new();
    link->source.cluster = fl_str_dup(link->arena, cluster.n ? cluster : FL_STR("default"));
    link->source.instance = fl_str_dup(link->arena, instance);
    link->heard_ms = fl_clock_mono_ms();
    link->ends_ms = link->heard_ms + FL_TELEMETRY_LIFE_MS +
                    (int64_t)(some[0] * 256 + some[1]) * (FL_TELEMETRY_LIFE_MS / 6) / 65536;
    return link;
}

static void register_link(struct link *link)
{
    struct link *older = RB_FIND(link_tree, &link->owner->tree, link);
    if (older) {
        (void)RB_REMOVE(link_tree, &link->owner->tree, older);
        older->is_replaced = true;
        close_link(older, "a newer connection of the same instance");
    }
    (void)RB_INSERT(link_tree, &link->owner->tree, link);
    link->owner->count++;
}

void fl_telemetry_accept(struct fl_telemetry *telemetry, struct fl_http_exchange *exchange)
{
    static const struct fl_ws_callbacks callbacks = {.message = on_message, .closed = on_closed};
    struct link *link = link_new(telemetry, exchange);
    const char *why = NULL;
    if (!fl_core_instance_active(telemetry->core, link->source.cluster, link->source.instance))
        why = INACTIVE;
    else if (telemetry->count >= FL_TELEMETRY_MAX)
        why = "Too many telemetry sessions.";
    if (why) {
        link_drop(link);
        refuse(exchange, "ResourceValidationException", why);
        return;
    }
    link->ws = fl_http_upgrade(exchange, &callbacks, link);
    if (link->ws)
        register_link(link);
    else
        link_drop(link);
}

static void check_link(struct link *link, struct fl_str heartbeat, int64_t now_ms)
{
    const struct fl_telemetry_source *source = &link->source;
    if (!fl_core_instance_active(link->owner->core, source->cluster, source->instance))
        close_link(link, INACTIVE);
    else if (now_ms - link->heard_ms > FL_TELEMETRY_SILENCE_MS)
        close_link(link, "nothing was published for long");
    else if (now_ms > link->ends_ms)
        close_link(link, FL_ACS_EXPIRED);
    else if (!link->is_closing)
        fl_ws_send(link->ws, heartbeat);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct fl_telemetry *telemetry = timer->data;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_REPLY);
    int64_t now_ms = fl_clock_mono_ms();
    struct link *link;
    fl_acs_heartbeat(&buf, FL_STR(""));
    RB_FOREACH (link, link_tree, &telemetry->tree)
        check_link(link, fl_buf_str(&buf), now_ms);
    if (now_ms - telemetry->minute_ms < MINUTE_MS)
        return;
    telemetry->minute_ms = now_ms;
    fl_measures_minute(telemetry->measures, fl_clock_wall_ms());
}

struct fl_telemetry *fl_telemetry_new(uv_loop_t *loop, const struct fl_core *core,
                                      struct fl_engine *engine)
{
    struct fl_telemetry *telemetry = fl_calloc(1, sizeof(*telemetry));
    telemetry->core = core;
    telemetry->engine = engine;
    telemetry->measures = fl_measures_new(core);
    RB_INIT(&telemetry->tree);
    (void)uv_timer_init(loop, &telemetry->heartbeat);
    telemetry->heartbeat.data = telemetry;
    (void)uv_timer_start(&telemetry->heartbeat, on_heartbeat, FL_TELEMETRY_HEARTBEAT_MS,
                         FL_TELEMETRY_HEARTBEAT_MS);
    return telemetry;
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void fl_telemetry_free(struct fl_telemetry *telemetry)
{
    if (!telemetry)
        return;
    fl_measures_free(telemetry->measures);
    uv_close((uv_handle_t *)&telemetry->heartbeat, timer_closed);
}

const struct fl_measures *fl_telemetry_measures(const struct fl_telemetry *telemetry)
{
    return telemetry->measures;
}
