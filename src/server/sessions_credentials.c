/* Credentials of tasks' roles, on their way to agents: with each task that is to run, for every
 * task of an agent that has just come (it keeps them in memory alone), and again and again in time.
 */
#include "server/sessions_internal.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "wire/acs.h"

struct fl_str fl_session_with_credentials(struct fl_session_link *session,
                                          const struct fl_core_effect *effect)
{
    const struct fl_issuer *issuer = session->owner->issuer;
    struct fl_acs_credentials roles[FL_ACS_ROLES];
    int64_t now_ms = fl_clock_wall_ms();
    if (!effect->roles)
        return fl_str_dup(session->task_arena, effect->task);
    for (size_t i = 0; i < FL_ACS_ROLES; i++)
        fl_issuer_make(issuer, effect->roles, (enum fl_acs_role)i, now_ms, session->task_arena,
                       &roles[i]);
    return fl_acs_with_credentials(session->task_arena, effect->task, roles);
}

/* The messages of a round have its number in their ids, so that their acknowledgements are counted
 * without being looked for. */
static void send_one(struct fl_session_link *session, const struct fl_core_roles *roles,
                     enum fl_acs_role role)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_acs_credentials credentials;
    const struct fl_acs_task task = {.arn = roles->task_arn, .cluster_arn = roles->cluster_arn};
    fl_issuer_make(session->owner->issuer, roles, role, fl_clock_wall_ms(), arena, &credentials);
    if (!credentials.id.n)
        return;
    struct fl_str id = fl_str_printf(arena, "%s-%zu", session->round, ++session->round_unacked);
    fl_acs_credentials(&buf, id, &task, role, &credentials);
    FL_ASSERT(!buf.overflow);
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

static void send_both(void *context, const struct fl_core_roles *roles)
{
    for (size_t i = 0; i < FL_ACS_ROLES; i++)
        send_one(context, roles, (enum fl_acs_role)i);
}

void fl_session_refresh_credentials(struct fl_session_link *session)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    uint8_t bytes[(FL_SESSION_ROUND_SIZE - 1) / 2];
    int64_t life_ms = fl_issuer_life_ms(session->owner->issuer);
    if (session->round_unacked > 0)
        fl_log_warn("agent of instance %.*s: %zu credentials of the last round were not taken",
                    FL_STR_ARG(session->instance), session->round_unacked);
    fl_random_bytes(bytes, sizeof(bytes));
    fl_hex(bytes, sizeof(bytes), session->round);
    session->round_unacked = 0;
    session->refresh_ms = fl_clock_mono_ms() + life_ms / 3;
    fl_core_each_roles(session->owner->core, session->cluster, session->instance, arena, send_both,
                       session);
}

void fl_session_take_credentials_ack(struct fl_session_link *session, struct fl_str message_id)
{
    if (session->round_unacked > 0 && fl_str_starts(message_id, fl_str_of(session->round)))
        session->round_unacked--;
}
