/* The telemetry session; see the header. */
#include "agent/telemetry.h"

#include <stdio.h>
#include <sys/statvfs.h>

#include "agent/telemetry_messages.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "net/ws.h"
#include "wire/url.h"

enum {
    PUBLISH_MS = 20 * 1000,
    STATUS_MS = 60 * 1000,
    SILENCE_MS = 60 * 1000, /* and up to as much again */
    LIFETIME_MS = 30 * 60 * 1000,
    LIFETIME_JITTER_MS = 5 * 60 * 1000,
    FIRST_PAUSE_MS = 1000,
    LONGEST_PAUSE_MS = 60 * 1000,
    STABLE_MS = 60 * 1000, /* a connection that lived as long ends the growth of pauses */
    ENDPOINT_MAX = 4096,
    HEADERS_MAX = 16 * 1024,
    MESSAGE_ID_SIZE = 33,
};

struct fl_tcs {
    struct fl_tcs_config config;
    struct fl_buf endpoint; /* ends in a slash; empty: none */
    struct fl_buf instance;
    struct fl_buf url; /* of the present connection */
    uv_timer_t *timer;
    struct fl_ws *ws;
    bool open;
    bool closing;
    bool health_due;
    struct fl_rand rand;
    int64_t pause_ms;
    /* Monotonic; of the present connection. */
    int64_t opened_ms;
    int64_t ends_ms;
    int64_t heard_ms;
    int64_t silence_ms;
    int64_t sampled_ms;
    int64_t published_ms;
    int64_t status_told_ms;
    struct fl_tcs_status status;
    char last_failure[256]; /* logged once, not at each attempt */
};

static void on_timer(uv_timer_t *timer);

static void wait_for(struct fl_tcs *telemetry, int64_t ms)
{
    (void)uv_timer_start(telemetry->timer, on_timer, (uint64_t)FL_MAX(ms, (int64_t)0), 0);
}

/* ---- publishing ---- */

/* As df shows it: of what others than root may use; -1: not known. */
static double used_percent(const char *path)
{
    struct statvfs st;
    if (statvfs(path, &st) < 0 || st.f_blocks == 0 || st.f_bfree > st.f_blocks)
        return -1;
    double used = (double)(st.f_blocks - st.f_bfree);
    double usable = used + (double)st.f_bavail;
    return usable > 0 ? used * 100.0 / usable : 100.0;
}

static struct fl_tcs_source source_of(const struct fl_tcs *telemetry)
{
    return (struct fl_tcs_source){
        .brain = telemetry->config.brain,
        .stats = telemetry->config.stats,
        .cluster = telemetry->config.cluster,
        .instance_arn = fl_buf_str(&telemetry->instance),
        .root_percent = used_percent("/"),
        .data_percent = used_percent(telemetry->config.data_dir.p),
    };
}

/* Every message is signed: header lines, an empty line, the JSON. */
static void send_signed(struct fl_tcs *telemetry, struct fl_str json)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf frame = FL_BUF_INIT(FL_TELEMETRY_FRAME_MAX + HEADERS_MAX);
    struct fl_header *headers;
    size_t count = fl_aws_sign_websocket(telemetry->config.aws, "ecs", fl_buf_str(&telemetry->url),
                                         json, arena, &headers);
    for (size_t i = 1; i <= count; i++) { /* Host comes last */
        const struct fl_header *header = &headers[i % count];
        fl_buf_printf(&frame, "%.*s: %.*s\r\n", FL_STR_ARG(header->name),
                      FL_STR_ARG(header->value));
    }
    fl_buf_add_z(&frame, "\r\n");
    fl_buf_add_str(&frame, json);
    if (!frame.overflow)
        fl_ws_send(telemetry->ws, fl_buf_str(&frame));
}

static struct fl_str new_message_id(char text[MESSAGE_ID_SIZE])
{
    uint8_t bytes[16];
    fl_random_bytes(bytes, sizeof(bytes));
    fl_hex(bytes, sizeof(bytes), text);
    return fl_str_of(text);
}

typedef const struct fl_task *(*round_writer)(const struct fl_tcs_source *source,
                                              struct fl_str message_id, int64_t wall_ms,
                                              const struct fl_task *after,
                                              struct fl_json_writer *jw);

/* A round: as many messages as it takes, all with one id. */
static void publish_round(struct fl_tcs *telemetry, round_writer write)
{
    const struct fl_tcs_source source = source_of(telemetry);
    const struct fl_task *after = NULL;
    char text[MESSAGE_ID_SIZE];
    struct fl_str id = new_message_id(text);
    int64_t wall_ms = fl_clock_wall_ms();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_TELEMETRY_FRAME_MAX);
    do {
        struct fl_json_writer jw = {.buf = &buf};
        fl_buf_clear(&buf);
        after = write(&source, id, wall_ms, after, &jw);
        if (buf.overflow)
            fl_log_warn("a telemetry message is too large and is left out");
        else
            send_signed(telemetry, fl_buf_str(&buf));
    } while (after);
}

static void publish_status(struct fl_tcs *telemetry, int64_t now_ms)
{
    const struct fl_tcs_source source = source_of(telemetry);
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_TELEMETRY_FRAME_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    struct fl_tcs_status *status = &telemetry->status;
    char text[MESSAGE_ID_SIZE];
    bool is_well = telemetry->config.is_well(telemetry->config.context);
    bool changed = status->changed_ms == 0 || is_well != status->is_well;
    if (!changed && telemetry->status_told_ms && now_ms - telemetry->status_told_ms < STATUS_MS)
        return;
    telemetry->status_told_ms = now_ms;
    status->is_well = is_well;
    status->updated_ms = fl_clock_wall_ms();
    if (changed)
        status->changed_ms = status->updated_ms;
    fl_tcs_write_status(&source, new_message_id(text), status->updated_ms, status, &jw);
    send_signed(telemetry, fl_buf_str(&buf));
}

static void publish_health(struct fl_tcs *telemetry)
{
    const struct fl_tcs_source source = source_of(telemetry);
    telemetry->health_due = false;
    if (fl_tcs_has_health(&source))
        publish_round(telemetry, fl_tcs_write_health);
}

static void publish(struct fl_tcs *telemetry, int64_t now_ms)
{
    if (!telemetry->config.metrics_off) {
        publish_round(telemetry, fl_tcs_write_metrics);
        fl_stats_next_round(telemetry->config.stats);
    }
    publish_health(telemetry);
    publish_status(telemetry, now_ms);
    telemetry->published_ms = now_ms;
}

static void sample(struct fl_tcs *telemetry, int64_t now_ms, bool counters)
{
    if (!telemetry->config.metrics_off)
        fl_stats_sample(telemetry->config.stats, now_ms * 1000000, counters);
    telemetry->sampled_ms = now_ms;
}

/* ---- the connection ---- */

static void note_failure(struct fl_tcs *telemetry, struct fl_str why)
{
    char text[sizeof(telemetry->last_failure)];
    (void)snprintf(text, sizeof(text), "telemetry: the control plane cannot be reached: %.*s",
                   FL_STR_ARG(fl_str_sub(why, 0, 180)));
    if (strcmp(text, telemetry->last_failure) != 0)
        fl_log_warn("%s; trying again", text);
    memcpy(telemetry->last_failure, text, sizeof(text));
}

static void try_again(struct fl_tcs *telemetry)
{
    int64_t ms = telemetry->pause_ms ? FL_MIN(telemetry->pause_ms * 2, (int64_t)LONGEST_PAUSE_MS)
                                     : FIRST_PAUSE_MS;
    telemetry->pause_ms = ms;
    wait_for(telemetry,
             ms * 4 / 5 + (int64_t)fl_rand_below(&telemetry->rand, (uint64_t)(ms * 2 / 5) + 1));
}

static void heard(struct fl_tcs *telemetry)
{
    telemetry->heard_ms = fl_clock_mono_ms();
    telemetry->silence_ms = SILENCE_MS + (int64_t)fl_rand_below(&telemetry->rand, SILENCE_MS);
}

static void on_opened(void *context, FL_UNUSED struct fl_ws *ws)
{
    struct fl_tcs *telemetry = context;
    int64_t now_ms = fl_clock_mono_ms();
    if (telemetry->closing)
        return;
    telemetry->open = true;
    telemetry->last_failure[0] = '\0';
    telemetry->opened_ms = telemetry->published_ms = now_ms;
    telemetry->ends_ms =
        now_ms + LIFETIME_MS + (int64_t)fl_rand_below(&telemetry->rand, LIFETIME_JITTER_MS);
    telemetry->status_told_ms = 0;
    heard(telemetry);
    sample(telemetry, now_ms, true);
    fl_stats_next_round(telemetry->config.stats);
    publish_status(telemetry, now_ms);
    publish_health(telemetry);
    wait_for(telemetry, telemetry->config.sample_ms);
}

/* Only these keep a session alive. */
static bool is_sign_of_life(struct fl_str type)
{
    static const char *const types[] = {"HeartbeatMessage", "AckPublishMetric", "AckPublishHealth",
                                        "AckPublishInstanceStatus"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(types); i++)
        if (fl_str_is(type, types[i]))
            return true;
    return false;
}

static void on_message(void *context, FL_UNUSED struct fl_ws *ws, struct fl_str text)
{
    struct fl_tcs *telemetry = context;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str type = fl_json_text(fl_json_get(fl_json_read(text, arena, NULL), "type"));
    if (telemetry->closing)
        return;
    if (is_sign_of_life(type)) {
        heard(telemetry);
        return;
    }
    fl_log_warn("telemetry: the control plane says %.*s",
                FL_STR_ARG(fl_str_sub(type.n ? type : text, 0, 200)));
    if (fl_str_is(type, "StopTelemetrySessionMessage") && telemetry->ws)
        fl_ws_close(telemetry->ws, 1000, FL_STR("asked to stop"));
}

static void free_telemetry(struct fl_tcs *telemetry)
{
    fl_buf_free(&telemetry->endpoint);
    fl_buf_free(&telemetry->instance);
    fl_buf_free(&telemetry->url);
    free(telemetry);
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, FL_UNUSED uint16_t code,
                      FL_UNUSED unsigned http_status, struct fl_str text)
{
    struct fl_tcs *telemetry = context;
    bool was_open = telemetry->open;
    telemetry->ws = NULL;
    telemetry->open = false;
    if (telemetry->closing) {
        free_telemetry(telemetry);
        return;
    }
    if (!was_open)
        note_failure(telemetry, text);
    else if (fl_clock_mono_ms() - telemetry->opened_ms >= STABLE_MS)
        telemetry->pause_ms = 0;
    try_again(telemetry);
}

static void add_parameter(struct fl_buf *url, const char *name, struct fl_str value)
{
    fl_buf_printf(url, "%c%s=", memchr(url->p, '?', url->n) ? '&' : '?', name);
    fl_url_encode(url, value);
}

static void open_connection(struct fl_tcs *telemetry)
{
    static const struct fl_ws_callbacks callbacks = {
        .opened = on_opened, .message = on_message, .closed = on_closed};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_buf *url = &telemetry->url;
    struct fl_header *headers;
    if (telemetry->endpoint.n == 0)
        return;
    fl_buf_clear(url);
    fl_buf_add_str(url, fl_buf_str(&telemetry->endpoint));
    fl_buf_add_z(url, "ws");
    add_parameter(url, "agentHash", FL_STR("fairlead"));
    add_parameter(url, "agentVersion", FL_STR(FL_VERSION));
    add_parameter(url, "cluster", telemetry->config.cluster);
    add_parameter(url, "containerInstance", fl_buf_str(&telemetry->instance));
    size_t count = fl_aws_sign_websocket(telemetry->config.aws, "ecs", fl_buf_str(url), FL_STR(""),
                                         arena, &headers);
    telemetry->ws = fl_ws_connect(telemetry->config.loop, fl_buf_str(url), telemetry->config.pins,
                                  headers, count, &callbacks, telemetry);
}

/* ---- time ---- */

static int64_t publish_interval(const struct fl_tcs *telemetry)
{
    return telemetry->config.publish_ms ? telemetry->config.publish_ms : PUBLISH_MS;
}

static void end_connection(struct fl_tcs *telemetry, const char *why)
{
    telemetry->pause_ms = 0;
    fl_ws_close(telemetry->ws, 1000, fl_str_of(why));
}

/* Samples and rounds are counted from the connection's beginning; a round waits for the sample that
 * falls next to its time. */
static void tick(struct fl_tcs *telemetry)
{
    int64_t now_ms = fl_clock_mono_ms();
    int64_t next_ms = telemetry->sampled_ms + telemetry->config.sample_ms;
    if (telemetry->health_due)
        publish_health(telemetry);
    if (now_ms < next_ms) {
        wait_for(telemetry, next_ms - now_ms);
        return;
    }
    bool due = now_ms - telemetry->published_ms >=
               publish_interval(telemetry) - telemetry->config.sample_ms / 2;
    sample(telemetry, now_ms, due);
    wait_for(telemetry, telemetry->config.sample_ms);
    if (due)
        publish(telemetry, now_ms);
    if (now_ms - telemetry->heard_ms > telemetry->silence_ms)
        end_connection(telemetry, "silence");
    else if (now_ms >= telemetry->ends_ms)
        end_connection(telemetry, "ConnectionExpired: Reconnect to continue");
}

static void on_timer(uv_timer_t *timer)
{
    struct fl_tcs *telemetry = timer->data;
    if (telemetry->open)
        tick(telemetry);
    else if (!telemetry->ws)
        open_connection(telemetry);
}

/* ---- begin and end ---- */

struct fl_tcs *fl_tcs_new(const struct fl_tcs_config *config)
{
    uint8_t seed[32];
    struct fl_tcs *telemetry = fl_calloc(1, sizeof(*telemetry));
    telemetry->config = *config;
    telemetry->endpoint = FL_BUF_INIT(ENDPOINT_MAX);
    telemetry->instance = FL_BUF_INIT(ENDPOINT_MAX);
    telemetry->url = FL_BUF_INIT(4 * ENDPOINT_MAX);
    fl_random_bytes(seed, sizeof(seed));
    fl_rand_seed(&telemetry->rand, seed);
    telemetry->timer = fl_calloc(1, sizeof(*telemetry->timer));
    telemetry->timer->data = telemetry;
    (void)uv_timer_init(config->loop, telemetry->timer);
    return telemetry;
}

/* False: the buffer held just that already. */
static bool put(struct fl_buf *buf, struct fl_str text, const char *ending)
{
    FL_CLEANUP_BUF struct fl_buf whole = FL_BUF_INIT(ENDPOINT_MAX);
    fl_buf_add_str(&whole, text);
    if (text.n > 0 && !fl_str_ends(text, fl_str_of(ending)))
        fl_buf_add_z(&whole, ending);
    if (fl_str_eq(fl_buf_str(&whole), fl_buf_str(buf)))
        return false;
    fl_buf_clear(buf);
    fl_buf_add_str(buf, fl_buf_str(&whole));
    return true;
}

/* A connection speaks for the instance, and to the place, that it was opened for. */
void fl_tcs_discovered(struct fl_tcs *telemetry, struct fl_str endpoint, struct fl_str instance_arn)
{
    bool moved = put(&telemetry->endpoint, endpoint, "/");
    moved |= put(&telemetry->instance, instance_arn, "");
    if (!telemetry->ws)
        wait_for(telemetry, 0);
    else if (moved)
        end_connection(telemetry, "another instance or endpoint");
}

void fl_tcs_health_changed(struct fl_tcs *telemetry)
{
    if (!telemetry->open || telemetry->health_due)
        return;
    telemetry->health_due = true;
    wait_for(telemetry, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void fl_tcs_close(struct fl_tcs *telemetry)
{
    if (!telemetry)
        return;
    telemetry->closing = true;
    uv_close((uv_handle_t *)telemetry->timer, on_timer_closed);
    if (telemetry->ws)
        fl_ws_close(telemetry->ws, 1001, FL_STR("the agent ends"));
    else
        free_telemetry(telemetry);
}
