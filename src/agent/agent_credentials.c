/* Credentials of tasks' roles on their way from the control plane to containers. They are kept in
 * memory alone; what a restart leaves is the ids, which are in the tasks' specifications, and a
 * control plane that sends all of them to an agent that has just begun. Ids are never logged. */
#include "agent/agent_internal.h"
#include "base/log.h"

bool fl_agent_lends(const struct fl_agent *agent, enum fl_network_mode mode)
{
    switch (mode) {
    case FL_NET_HOST:
        return agent->config.ecs.task_role_host;
    case FL_NET_BRIDGE:
    case FL_NET_AWSVPC:
        return agent->config.ecs.task_role;
    case FL_NET_NONE:
        break;
    }
    return false;
}

static bool is_wanted(const struct fl_agent *agent, struct fl_str task_arn, enum fl_acs_role role)
{
    const struct fl_task *task = fl_brain_task(agent->brain, task_arn);
    return task && task->spec && task->status != FL_TASK_STOPPED &&
           (role == FL_ACS_ROLE_EXECUTION || fl_agent_lends(agent, task->spec->network_mode));
}

/* Containers hold the id that came with their task: what comes later is theirs, whatever its id (a
 * control plane that was restored without its keys). */
static struct fl_acs_credentials under_first_id(const struct fl_agent *agent,
                                                struct fl_str task_arn, enum fl_acs_role role,
                                                const struct fl_acs_credentials *credentials)
{
    const struct fl_task *task = fl_brain_task(agent->brain, task_arn);
    struct fl_acs_credentials kept = *credentials;
    if (role == FL_ACS_ROLE_TASK && task->spec->credentials_id.n > 0)
        kept.id = task->spec->credentials_id;
    return kept;
}

static void keep(struct fl_agent *agent, struct fl_str task_arn, enum fl_acs_role role,
                 const struct fl_acs_credentials *credentials)
{
    struct fl_acs_credentials kept = under_first_id(agent, task_arn, role, credentials);
    if (!fl_wallet_put(agent->wallet, task_arn, role, &kept))
        fl_log_warn("task %.*s: its credentials have an id that cannot be used",
                    FL_STR_ARG(fl_task_id(task_arn)));
    else if (role == FL_ACS_ROLE_EXECUTION)
        fl_task_secrets_try(agent->secrets);
}

/* What is not wanted here is acknowledged, too: sending it again would change nothing. */
static void take(struct fl_agent *agent, struct fl_str task_arn, enum fl_acs_role role,
                 const struct fl_acs_credentials *credentials, struct fl_str message_id)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(16 * 1024);
    if (is_wanted(agent, task_arn, role))
        keep(agent, task_arn, role, credentials);
    fl_acs_credentials_ack(&buf, message_id, credentials);
    if (!buf.overflow)
        fl_session_send(agent->session, fl_buf_str(&buf));
}

void fl_agent_take_task_credentials(struct fl_agent *agent, const struct fl_json *task,
                                    struct fl_str message_id)
{
    struct fl_acs_credentials credentials;
    struct fl_str arn = fl_json_text(fl_json_get(task, "arn"));
    for (size_t i = 0; i < FL_ACS_ROLES; i++)
        if (fl_acs_read_task_credentials(task, (enum fl_acs_role)i, &credentials))
            take(agent, arn, (enum fl_acs_role)i, &credentials, message_id);
}

void fl_agent_take_credentials(struct fl_agent *agent, const struct fl_acs_message *message)
{
    struct fl_acs_credentials credentials;
    struct fl_str arn, message_id = fl_acs_read_header(message).message_id;
    enum fl_acs_role role;
    if (!message_id.n || !fl_acs_read_credentials(message, &arn, &role, &credentials))
        fl_log_warn("credentials without names are dropped");
    else if (fl_brain_task(agent->brain, arn))
        take(agent, arn, role, &credentials, message_id);
    else
        fl_log_debug("credentials of a task that is not here are dropped");
}

void fl_agent_expect_credentials(struct fl_agent *agent)
{
    const struct fl_task *task = NULL;
    while ((task = fl_brain_next_task(agent->brain, task)) != NULL) {
        if (!is_wanted(agent, task->arn, FL_ACS_ROLE_TASK) || !task->spec->credentials_id.n)
            continue;
        const struct fl_acs_credentials none_yet = {.id = task->spec->credentials_id};
        (void)fl_wallet_put(agent->wallet, task->arn, FL_ACS_ROLE_TASK, &none_yet);
    }
}
