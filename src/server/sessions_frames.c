/* What a session sends and hears. */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "server/sessions_internal.h"
#include "wire/acs.h"

static void new_message_id(char ret_id[FL_SESSION_ID_SIZE])
{
    uint8_t bytes[16];
    fl_random_bytes(bytes, sizeof(bytes));
    fl_hex(bytes, sizeof(bytes), ret_id);
}

static void remember_unacked(struct fl_session_link *session, const char *id)
{
    if (session->unacked_count == FL_SESSION_MAX_UNACKED) {
        fl_session_end(session, "too many messages wait for an acknowledgement");
        return;
    }
    struct fl_unacked *entry = &session->unacked[session->unacked_count++];
    memcpy(entry->id, id, FL_SESSION_ID_SIZE);
    entry->sent_ms = fl_clock_mono_ms();
}

static struct fl_acs_header new_header(struct fl_session_link *session, char id[FL_SESSION_ID_SIZE])
{
    new_message_id(id);
    return (struct fl_acs_header){
        .cluster_arn = session->cluster_arn,
        .instance_arn = session->instance_arn,
        .message_id = fl_str_of(id),
        .seq = fl_acs_seq(session->owner->epoch, ++session->owner->counter),
        .generated_ms = fl_clock_wall_ms(),
    };
}

static void send_payload(struct fl_session_link *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_WS_MAX_MESSAGE);
    char id[FL_SESSION_ID_SIZE];
    if (session->task_count == 0)
        return;
    struct fl_acs_header header = new_header(session, id);
    fl_acs_payload(&buf, &header, session->tasks, session->task_count);
    FL_ASSERT(!buf.overflow);
    fl_ws_send(session->ws, fl_buf_str(&buf));
    remember_unacked(session, id);
    session->task_count = session->task_bytes = 0;
    LIST_REMOVE(session, to_send);
    fl_arena_reset(session->task_arena);
}

void fl_sessions_task(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    struct fl_session_link *session = fl_sessions_find(sessions, effect->cluster, effect->instance);
    if (!session || session->is_closing)
        return;
    if (session->task_count == FL_SESSION_PAYLOAD_TASKS ||
        session->task_bytes + effect->task.n > FL_SESSION_PAYLOAD_BYTES)
        send_payload(session);
    if (session->task_count == 0)
        LIST_INSERT_HEAD(&sessions->to_send, session, to_send);
    struct fl_str task = fl_session_with_credentials(session, effect);
    session->tasks[session->task_count++] = task;
    session->task_bytes += task.n;
}

void fl_sessions_flush(struct fl_sessions *sessions)
{
    while (!LIST_EMPTY(&sessions->to_send))
        send_payload(LIST_FIRST(&sessions->to_send));
}

/* An agent believes a manifest only if it is newer than every payload that it has seen: so what
 * was gathered for it goes first. It need not be acknowledged: the next one says the same. */
void fl_sessions_manifest(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_WS_MAX_MESSAGE);
    struct fl_session_link *session = fl_sessions_find(sessions, effect->cluster, effect->instance);
    char id[FL_SESSION_ID_SIZE];
    if (!session || session->is_closing)
        return;
    send_payload(session);
    struct fl_acs_header header = new_header(session, id);
    fl_acs_manifest(&buf, &header, effect->tasks, effect->task_count);
    if (!buf.overflow)
        fl_ws_send(session->ws, fl_buf_str(&buf));
}

/* Whoever sends nonsense, or asks about the same again and again, does not fill our log. */
static bool may_log(struct fl_session_link *session)
{
    return session->log_lines++ < FL_SESSION_LOG_LINES;
}

static void complain(struct fl_session_link *session, const char *text)
{
    if (may_log(session))
        fl_log_warn("agent of instance %.*s: %s", FL_STR_ARG(session->instance), text);
}

void fl_sessions_stop_list(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_WS_MAX_MESSAGE);
    struct fl_session_link *session = fl_sessions_find(sessions, effect->cluster, effect->instance);
    if (!session || session->is_closing)
        return;
    if (effect->task_count && may_log(session))
        fl_log_info("agent of instance %.*s: told to stop %zu tasks that are not wanted there",
                    FL_STR_ARG(session->instance), effect->task_count);
    fl_acs_stop_verification_ack(&buf, effect->message_id, fl_clock_wall_ms(), effect->tasks,
                                 effect->task_count);
    if (!buf.overflow)
        fl_ws_send(session->ws, fl_buf_str(&buf));
}

void fl_session_send_heartbeat(struct fl_session_link *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    char id[FL_SESSION_ID_SIZE];
    new_message_id(id);
    fl_acs_heartbeat(&buf, fl_str_of(id));
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

/* Who does not call himself by a nonce is no agent of ours, and would not understand. */
void fl_session_offer_key(struct fl_session_link *session)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    struct fl_credentials key;
    if (!session->owner->keys || !session->nonce.n ||
        !fl_keys_offer(session->owner->keys, session->instance, arena, &key))
        return;
    fl_acs_key(&buf, key.access_key_id, key.secret);
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

void fl_session_send_certificates(struct fl_session_link *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    struct fl_str hashes[FL_TLS_MAX_PINS];
    const struct fl_certificate *certificate = session->owner->certificate;
    if (!certificate || !session->nonce.n || session->is_closing)
        return;
    const struct fl_tls_pins *pins = fl_certificate_pins(certificate);
    for (size_t i = 0; i < pins->count; i++)
        hashes[i] = fl_str_of(pins->hash[i]);
    if (pins->count == 0)
        return;
    fl_acs_certificates(&buf, hashes, pins->count);
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

void fl_session_send_inactive(struct fl_session_link *session, const char *text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_error(&buf, "InactiveInstanceException", fl_str_of(text));
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

static void take_ack(struct fl_session_link *session, struct fl_str id)
{
    for (size_t i = 0; i < session->unacked_count; i++) {
        if (!fl_str_is(id, session->unacked[i].id))
            continue;
        session->unacked_count--;
        memmove(&session->unacked[i], &session->unacked[i + 1],
                (session->unacked_count - i) * sizeof(session->unacked[0]));
        return;
    }
}

/* The core compares the tasks with its records, and answers by an effect. */
static void ask_core(struct fl_session_link *session, const struct fl_acs_message *message,
                     const struct fl_acs_header *header)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_core_event event = {.message_id = header->message_id};
    struct fl_acs_task *tasks;
    struct fl_err err;
    if (fl_acs_read_tasks(message, arena, &tasks, &event.task_count, &err) < 0) {
        complain(session, err.text);
        return;
    }
    event.tasks = tasks;
    fl_session_tell(session, FL_CORE_EVENT_STOP_VERIFICATION, &event);
}

static void take_message(struct fl_session_link *session, const struct fl_acs_message *message)
{
    struct fl_acs_header header = fl_acs_read_header(message);
    switch (message->type) {
    case FL_ACS_ACK:
        take_ack(session, header.message_id);
        return;
    case FL_ACS_NACK:
        complain(session, "a message was refused");
        return;
    case FL_ACS_STOP_VERIFICATION:
        ask_core(session, message, &header);
        return;
    case FL_ACS_CREDENTIALS_ACK:
        fl_session_take_credentials_ack(session, header.message_id);
        return;
    case FL_ACS_HEARTBEAT_ACK: /* that something was heard is noted already */
    case FL_ACS_OTHER:
    case FL_ACS_PAYLOAD:
    case FL_ACS_HEARTBEAT:
    case FL_ACS_TASK_MANIFEST:
    case FL_ACS_STOP_VERIFICATION_ACK:
    case FL_ACS_CREDENTIALS:
    case FL_ACS_CLOSE:
    case FL_ACS_ERROR:
    case FL_ACS_INACTIVE_INSTANCE:
    case FL_ACS_KEY:
    case FL_ACS_CERTIFICATES:
        return;
    }
}

void fl_session_send_close(struct fl_session_link *session, const char *text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_close(&buf, fl_str_of(text));
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

void fl_session_take(struct fl_session_link *session, struct fl_str text)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_acs_message message;
    struct fl_err err;
    if (fl_acs_decode(text, arena, &message, &err) == 0)
        take_message(session, &message);
    else
        complain(session, err.text);
}
