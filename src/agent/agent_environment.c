/* What ECS puts into every container's environment, and the metadata file beside it.
 *
 * The order of precedence is the bundle's: image, then these, then the definition. Only the region
 * gives way to the image, too, as in ECS. */
#include "agent/agent_internal.h"
#include "agent/metadata_file.h"
#include "base/log.h"

enum { MOST_VARIABLES = 12 };

struct variables {
    struct fl_key_value *items;
    size_t n;
};

static void add(struct variables *variables, const char *name, struct fl_str value)
{
    FL_ASSERT(variables->n < MOST_VARIABLES);
    variables->items[variables->n++] = (struct fl_key_value){fl_str_of(name), value};
}

static bool names(struct fl_str item, const char *name)
{
    size_t n = strlen(name);
    return item.n > n && memcmp(item.p, name, n) == 0 && item.p[n] == '=';
}

/* "GPU-a,GPU-b": what NVIDIA's programs go by. */
static struct fl_str gpu_list(const struct fl_container_spec *spec, struct fl_arena *arena)
{
    struct fl_str list = FL_STR("");
    for (size_t i = 0; i < spec->gpu_count; i++)
        list = fl_str_printf(arena, "%.*s%s%.*s", FL_STR_ARG(list), i ? "," : "",
                             FL_STR_ARG(spec->gpus[i]));
    return list;
}

/* Either of the two, given by the image or the definition, is the whole answer. */
static bool has_region(const struct fl_launch *launch)
{
    static const char *const both[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    for (size_t which = 0; which < FL_ARRAY_SIZE(both); which++) {
        for (size_t i = 0; i < launch->container->environment_count; i++)
            if (fl_str_is(launch->container->environment[i].key, both[which]))
                return true;
        for (size_t i = 0; i < launch->image->environment_count; i++)
            if (names(launch->image->environment[i], both[which]))
                return true;
    }
    return false;
}

/* Where the host has the address, everybody uses it; else the host's own processes have another
 * way. */
static struct fl_str metadata_host(const struct fl_agent *agent, enum fl_network_mode mode,
                                   struct fl_arena *arena)
{
    if (mode != FL_NET_HOST || agent->has_metadata_address)
        return FL_STR(FL_METADATA_HOST);
    return fl_str_printf(arena, "127.0.0.1:%u", fl_metadata_port(agent->metadata));
}

/* A server on the host's loopback is led to from the bridge, and so is the agent's way to one that
 * is reached by TLS; any other is reached as it is named. Empty: there is no way. */
static struct fl_str api_url(const struct fl_agent *agent, enum fl_network_mode mode,
                             struct fl_arena *arena)
{
    struct fl_str url = agent->config.server_url;
    bool is_led = agent->services.api_host.n > 0;
    if (mode == FL_NET_NONE)
        return FL_STR("");
    if (mode == FL_NET_HOST && agent->tunnel)
        return fl_str_printf(arena, "http://127.0.0.1:%u", fl_tunnel_port(agent->tunnel));
    if (mode == FL_NET_HOST || !is_led)
        return mode != FL_NET_HOST && agent->services.api_port == 0 ? FL_STR("") : url;
    bool is_tls = fl_str_starts(url, FL_STR("https:")) && !agent->tunnel;
    const char *scheme = is_tls ? "https" : "http";
    return fl_str_printf(arena, "%s://" FL_METADATA_HOST ":%u", scheme,
                         fl_network_api_port(&agent->services));
}

static void add_metadata(struct fl_agent *agent, const struct fl_task_container *container,
                         struct fl_arena *arena, struct variables *variables)
{
    char id[FL_METADATA_ID_SIZE];
    struct fl_str host = metadata_host(agent, container->task->spec->network_mode, arena);
    fl_metadata_id(agent->metadata, fl_str_of(container->id), id);
    add(variables, "ECS_CONTAINER_METADATA_URI",
        fl_str_printf(arena, "http://%.*s/v3/%s", FL_STR_ARG(host), id));
    add(variables, "ECS_CONTAINER_METADATA_URI_V4",
        fl_str_printf(arena, "http://%.*s/v4/%s", FL_STR_ARG(host), id));
    add(variables, "ECS_AGENT_URI",
        fl_str_printf(arena, "http://%.*s/api/%s", FL_STR_ARG(host), id));
}

/* SDKs ask 169.254.170.2 where they are told a path; where that is another installation's, they are
 * told all of it. */
static void add_credentials(struct fl_agent *agent, const struct fl_task_spec *task,
                            struct fl_arena *arena, struct variables *variables)
{
    struct fl_str host = metadata_host(agent, task->network_mode, arena);
    if (!task->credentials_id.n || !fl_agent_lends(agent, task->network_mode))
        return;
    struct fl_str path =
        fl_str_printf(arena, "/v2/credentials/%.*s", FL_STR_ARG(task->credentials_id));
    if (fl_str_is(host, FL_METADATA_HOST))
        add(variables, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path);
    else
        add(variables, "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            fl_str_printf(arena, "http://%.*s%.*s", FL_STR_ARG(host), FL_STR_ARG(path)));
}

/* A file that cannot be written does not keep the container from running, as in ECS. */
static void add_file(struct fl_agent *agent, const struct fl_task_container *container,
                     struct fl_arena *arena, struct variables *variables, struct fl_launch *launch)
{
    struct fl_err err = {0};
    if (fl_metadata_file_write(agent->dir, &agent->facts, container, false, &err) < 0) {
        fl_log_warn("container %.12s: its metadata file: %s", container->id, err.text);
        return;
    }
    launch->metadata_dir = fl_metadata_file_dir(agent->dir, &agent->facts, container, arena);
    launch->metadata_mount = fl_metadata_file_mount(container, arena);
    add(variables, "ECS_CONTAINER_METADATA_FILE",
        fl_str_printf(arena, "%.*s/" FL_METADATA_FILE, FL_STR_ARG(launch->metadata_mount)));
}

void fl_agent_add_environment(struct fl_agent *agent, const struct fl_task_container *container,
                              struct fl_arena *arena, struct fl_launch *launch)
{
    struct variables variables = {
        .items = fl_arena_new_array(arena, struct fl_key_value, MOST_VARIABLES)};
    struct fl_str url = api_url(agent, container->task->spec->network_mode, arena);
    add(&variables, "AWS_EXECUTION_ENV", FL_STR("AWS_ECS_EC2"));
    if (!has_region(launch)) {
        add(&variables, "AWS_REGION", agent->config.region);
        add(&variables, "AWS_DEFAULT_REGION", agent->config.region);
    }
    if (url.n > 0)
        add(&variables, "AWS_ENDPOINT_URL", url);
    if (container->spec->gpu_count > 0)
        add(&variables, "NVIDIA_VISIBLE_DEVICES", gpu_list(container->spec, arena));
    add_metadata(agent, container, arena, &variables);
    add_credentials(agent, container->task->spec, arena, &variables);
    if (agent->config.ecs.container_metadata)
        add_file(agent, container, arena, &variables, launch);
    launch->extra_environment = variables.items;
    launch->extra_environment_count = variables.n;
}
