/* The brain's effects, each carried out by the part of the agent that can. */
#include "agent/agent_internal.h"
#include "base/log.h"

enum { FRAME_MAX = 1024 * 1024 };

static void send_ack(struct fl_agent *agent, const struct fl_effect *effect)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FRAME_MAX);
    fl_acs_ack(&buf, &effect->header);
    fl_session_send(agent->session, fl_buf_str(&buf));
}

static void send_verification(struct fl_agent *agent, const struct fl_effect *effect)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FRAME_MAX);
    fl_acs_stop_verification(&buf, effect->header.message_id, effect->tasks, effect->task_count);
    if (!buf.overflow)
        fl_session_send(agent->session, fl_buf_str(&buf));
}

static void send_signal(struct fl_agent *agent, const struct fl_effect *effect)
{
    int r = fl_runtime_kill(agent->runtime, effect->container_id, (int)effect->number);
    if (r < 0)
        fl_log_warn("container %.*s: signal %d: %s", FL_STR_ARG(effect->container_id),
                    (int)effect->number, strerror(-r));
}

void fl_agent_carry_out(struct fl_agent *agent, const struct fl_effect *effect)
{
    switch (effect->type) {
    case FL_EFFECT_ENSURE_IMAGE:
        fl_agent_ensure_image(agent, effect->container_id);
        break;
    case FL_EFFECT_PREPARE:
        fl_agent_prepare(agent, effect->container_id);
        break;
    case FL_EFFECT_LAUNCH:
        fl_agent_launch(agent, effect->container_id);
        break;
    case FL_EFFECT_ADOPT:
        fl_agent_adopt(agent, effect->container_id);
        break;
    case FL_EFFECT_SIGNAL:
        send_signal(agent, effect);
        break;
    case FL_EFFECT_CHECK_HEALTH:
        fl_agent_check_health(agent, effect->container_id);
        break;
    case FL_EFFECT_RELEASE:
        fl_agent_release(agent, effect->container_id);
        break;
    case FL_EFFECT_REPORT:
        fl_reporter_send(agent->reporter, effect->task_arn, effect->number, effect->text);
        break;
    case FL_EFFECT_ACK:
        send_ack(agent, effect);
        break;
    case FL_EFFECT_STOP_VERIFICATION:
        send_verification(agent, effect);
        break;
    case FL_EFFECT_REMOVE:
        fl_agent_remove(agent, effect->task_arn);
        break;
    }
}
