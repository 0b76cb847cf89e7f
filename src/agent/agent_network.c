/* Looks after the host's network while tasks run: what somebody else did to our packet filter's
 * tables is noticed and mended. */
#include "agent/agent_internal.h"
#include "base/log.h"

enum { LOOK_EVERY_MS = 1000 };

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

void fl_agent_network_watch(struct fl_agent *agent)
{
    agent->network_look.data = agent;
    (void)uv_timer_init(&agent->loop, &agent->network_look);
    (void)uv_timer_start(&agent->network_look, on_look, LOOK_EVERY_MS, LOOK_EVERY_MS);
}

void fl_agent_network_unwatch(struct fl_agent *agent)
{
    if (agent->network_look.data)
        uv_close((uv_handle_t *)&agent->network_look, NULL);
}
