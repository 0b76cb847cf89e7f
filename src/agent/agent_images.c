/* Images as the agent is configured: ecs.config's words, the operator's registries, the server. */
#include "agent/agent_internal.h"
#include "base/log.h"

static struct fl_str host_and_port(struct fl_str url)
{
    const char *mark = url.n ? memmem(url.p, url.n, "://", 3) : NULL;
    struct fl_str rest = mark ? fl_str_from(url, (size_t)(mark - url.p) + 3) : url;
    ptrdiff_t slash = fl_str_index(rest, '/');
    return slash < 0 ? rest : fl_str_sub(rest, 0, (size_t)slash);
}

static enum fl_pull_behavior behavior(struct fl_str word)
{
    static const char *const words[] = {
        [FL_PULL_DEFAULT] = "default",
        [FL_PULL_ALWAYS] = "always",
        [FL_PULL_ONCE] = "once",
        [FL_PULL_PREFER_CACHED] = "prefer-cached",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(words); i++)
        if (fl_str_is(word, words[i]))
            return (enum fl_pull_behavior)i;
    return FL_PULL_DEFAULT;
}

/* ECS removes nothing by age then: what is cached is what is wanted. */
static bool prefers_cached(const struct fl_ecs_settings *ecs)
{
    return behavior(ecs->pull_behavior) == FL_PULL_PREFER_CACHED;
}

/* Every container of a task that the brain still knows; also of stopped ones, until they are
 * removed. */
static void each_used(void *context, void (*use)(void *use_context, struct fl_str digest),
                      void *use_context)
{
    const struct fl_agent *agent = context;
    const struct fl_task *task = NULL;
    while ((task = fl_brain_next_task(agent->brain, task)) != NULL)
        for (size_t i = 0; i < task->container_count; i++)
            if (task->containers[i].image_digest.n)
                use(use_context, task->containers[i].image_digest);
}

static void ailment_changed(void *context)
{
    const struct fl_agent *agent = context;
    if (agent->telemetry)
        fl_tcs_health_changed(agent->telemetry);
}

static const char *failure_name(enum fl_image_failure failure)
{
    return fl_failure_name(fl_agent_image_failure(failure));
}

/* Tasks do not depend on it. */
static void open_desk(struct fl_agent *agent)
{
    struct fl_err err = {0};
    const struct fl_image_desk_config desk = {
        .loop = &agent->loop,
        .images = agent->images,
        .dir = fl_str_printf(agent->arena, "%.*s/images", FL_STR_ARG(agent->dir)),
        .failure_name = failure_name,
    };
    if (fl_image_desk_open(&desk, &agent->desk, &err) < 0)
        fl_log_warn("`fairlead image pull` will not work: %s", err.text);
}

int fl_agent_images_open(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_agent_config *config = &agent->config;
    const struct fl_ecs_settings *ecs = &config->ecs;
    const struct fl_puller_config puller = {.loop = &agent->loop,
                                            .http = agent->http,
                                            .aws = agent->aws,
                                            .registries_file = config->registries,
                                            .login_type = ecs->engine_auth_type,
                                            .login_data = ecs->engine_auth_data,
                                            .proxy = ecs->http_proxy,
                                            .no_proxy = ecs->no_proxy,
                                            .idle_timeout_ms = (unsigned)ecs->pull_inactivity_ms};
    int r = fl_puller_open(&puller, &agent->puller, err);
    if (r < 0)
        return r;
    const struct fl_images_config images = {
        .registry_dir = config->registry_dir,
        .data_dir = agent->dir,
        .libexec_dir = config->libexec_dir,
        .account = config->account,
        .region = config->region,
        .registry_host = host_and_port(config->server_url),
        .puller = agent->puller,
        .behavior = behavior(ecs->pull_behavior),
        .pull_timeout_ms = ecs->pull_timeout_ms,
        .manifest_timeout_ms = ecs->manifest_timeout_ms,
        .each_used = each_used,
        .ailment_changed = ailment_changed,
        .context = agent,
        .no_cleanup = ecs->disable_image_cleanup || prefers_cached(ecs),
        .cleanup_interval_ms = ecs->image_cleanup_interval_ms,
        .cleanup_age_ms = ecs->image_cleanup_age_ms,
        .untracked_age_ms = ecs->untracked_cleanup_age_ms,
        .cleanup_count = ecs->images_per_cycle,
        .excluded = ecs->excluded_images,
    };
    r = fl_images_open(&agent->loop, &images, &agent->images, err);
    if (r == 0)
        open_desk(agent);
    return r;
}

void fl_agent_images_close(struct fl_agent *agent)
{
    fl_images_close(agent->images);
    fl_image_desk_close(FL_TAKE_PTR(agent->desk));
    fl_puller_close(agent->puller);
    agent->images = NULL;
    agent->puller = NULL;
}
