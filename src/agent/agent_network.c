/* Looks after the host's network while tasks run: what somebody else did to our packet filter's
 * tables is noticed and mended, and what the next containers need is made in advance. */
#include "agent/agent_internal.h"
#include "base/log.h"

enum { LOOK_EVERY_MS = 1000, QUIET_AFTER_MS = 50 };

/* Said once for each time, or a firewall that will not have our tables would fill the log. */
static void on_look(uv_timer_t *timer)
{
    struct fl_agent *agent = timer->data;
    struct fl_err err = {0};
    int r = 0;
    if (!fl_network_mend(agent->network, &r, &err)) {
        agent->network_is_broken = false;
        return;
    }
    if (r == 0)
        fl_log_warn("the host's packet filter was flushed or changed: published ports are in place "
                    "again");
    else if (!agent->network_is_broken)
        fl_log_error("the host's packet filter was changed and cannot be mended: %s", err.text);
    agent->network_is_broken = r < 0;
}

static void on_quiet(uv_timer_t *timer)
{
    struct fl_agent *agent = timer->data;
    if (agent->launching == 0)
        fl_network_stock(agent->network);
}

/* Not at once: whoever waits for the start is told of it first. */
void fl_agent_network_launched(struct fl_agent *agent)
{
    uv_timer_t *timer = &agent->network_quiet;
    if (timer->data && !uv_is_active((uv_handle_t *)timer))
        (void)uv_timer_start(timer, on_quiet, QUIET_AFTER_MS, 0);
}

void fl_agent_network_watch(struct fl_agent *agent)
{
    agent->network_look.data = agent;
    (void)uv_timer_init(&agent->loop, &agent->network_look);
    (void)uv_timer_start(&agent->network_look, on_look, LOOK_EVERY_MS, LOOK_EVERY_MS);
    agent->network_quiet.data = agent;
    (void)uv_timer_init(&agent->loop, &agent->network_quiet);
    fl_agent_network_launched(agent);
}

void fl_agent_network_unwatch(struct fl_agent *agent)
{
    if (!agent->network_look.data)
        return;
    uv_close((uv_handle_t *)&agent->network_look, NULL);
    uv_close((uv_handle_t *)&agent->network_quiet, NULL);
    agent->network_quiet.data = NULL;
}
