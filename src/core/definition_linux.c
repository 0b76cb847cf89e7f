/* What RegisterTaskDefinition refuses of the members that reach into a container's kernel
 * interfaces: links, name resolution, volumes of others, sysctls, capabilities, devices, swap.
 *
 * The agent checks all of it again: a definition may come from another control plane. */
#include "core/decide.h"
#include "wire/task_spec.h"

enum { MAX_ITEMS = 600, MAX_HOSTNAME = 253, MAX_SWAPPINESS = 100, MAX_SIZE_MIB = 1 << 30 };

#define INVALID "Invalid setting for container '%.*s'. "

static bool is_made_of(struct fl_str text, const char *more)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr(more, c))))
            return false;
    }
    return text.n > 0;
}

static bool is_hostname(struct fl_str text)
{
    return text.n <= MAX_HOSTNAME && is_made_of(text, "-._");
}

static bool is_address(struct fl_str text)
{
    return text.n <= 45 && is_made_of(text, ".:");
}

/* The container's number as a bit, there are few; 0: no such container. */
static uint32_t bit_of(const struct ecs_RegisterTaskDefinitionRequest *in, struct fl_str name)
{
    for (size_t i = 0; i < in->containerDefinitions.n; i++)
        if (fl_str_eq(in->containerDefinitions.items[i].name, name))
            return UINT32_C(1) << i;
    return 0;
}

static bool has_mode(const struct ecs_RegisterTaskDefinitionRequest *in, enum ecs_NetworkMode mode)
{
    return FL_HAS(in, ecs_RegisterTaskDefinitionRequest, networkMode) && in->networkMode == mode;
}

static struct fl_str link_target(struct fl_str link)
{
    ptrdiff_t colon = fl_str_index(link, ':');
    return colon < 0 ? link : fl_str_sub(link, 0, (size_t)colon);
}

static int check_links(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       const struct ecs_ContainerDefinition *c)
{
    bool is_bridge = !FL_HAS(in, ecs_RegisterTaskDefinitionRequest, networkMode) ||
                     in->networkMode == ECS_NetworkMode_bridge;
    if (c->links.n > 0 && !is_bridge)
        return fl_refuse(d, "ClientException", "Links are not supported when networkMode=%s.",
                         fl_enum_text(&ecs_enum_NetworkMode, (int)in->networkMode));
    for (size_t i = 0; i < c->links.n; i++) {
        struct fl_str link = c->links.items[i], target = link_target(link);
        if (target.n < link.n && !is_hostname(fl_str_from(link, target.n + 1)))
            return fl_refuse(d, "ClientException", INVALID "The link '%.*s' has no valid alias.",
                             FL_STR_ARG(c->name), FL_STR_ARG(link));
        if (fl_str_eq(target, c->name) || !bit_of(in, target))
            return fl_refuse(d, "ClientException",
                             INVALID "It links to '%.*s', which is no other container of the task.",
                             FL_STR_ARG(c->name), FL_STR_ARG(target));
    }
    return 0;
}

static int check_volumes_from(struct fl_decision *d,
                              const struct ecs_RegisterTaskDefinitionRequest *in,
                              const struct ecs_ContainerDefinition *c)
{
    for (size_t i = 0; i < c->volumesFrom.n; i++) {
        struct fl_str source = c->volumesFrom.items[i].sourceContainer;
        if (fl_str_eq(source, c->name) || !bit_of(in, source))
            return fl_refuse(d, "ClientException",
                             "Invalid 'volumesFrom' setting. Unknown container: '%.*s'",
                             FL_STR_ARG(source));
    }
    return 0;
}

/* What the containers of `set` (bits by number) need directly, by links and volumesFrom. */
static uint32_t needed_by(const struct ecs_RegisterTaskDefinitionRequest *in, uint32_t set)
{
    uint32_t needed = 0;
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        if (!(set & (UINT32_C(1) << i)))
            continue;
        for (size_t k = 0; k < c->links.n; k++)
            needed |= bit_of(in, link_target(c->links.items[k]));
        for (size_t k = 0; k < c->volumesFrom.n; k++)
            needed |= bit_of(in, c->volumesFrom.items[k].sourceContainer);
    }
    return needed;
}

static bool needs_itself(const struct ecs_RegisterTaskDefinitionRequest *in, struct fl_str name)
{
    uint32_t needed = needed_by(in, bit_of(in, name));
    for (size_t i = 0; i < in->containerDefinitions.n; i++)
        needed |= needed_by(in, needed);
    return (needed & bit_of(in, name)) != 0;
}

/* What an interface of the task's own rules out. */
static int check_awsvpc(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                        const struct ecs_ContainerDefinition *c)
{
    const struct {
        const char *what;
        bool is_given;
    } rows[] = {
        {"Disable Networking is", c->disableNetworking},
        {"DNS servers are", c->dnsServers.n > 0},
        {"DNS search domains are", c->dnsSearchDomains.n > 0},
        {"Extra hosts are", c->extraHosts.n > 0},
        {"hostname is", c->hostname.n > 0},
    };
    for (size_t i = 0; has_mode(in, ECS_NetworkMode_awsvpc) && i < FL_ARRAY_SIZE(rows); i++)
        if (rows[i].is_given)
            return fl_refuse(d, "ClientException",
                             "%s not supported on container when networkMode=awsvpc.",
                             rows[i].what);
    return 0;
}

static int check_names(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       const struct ecs_ContainerDefinition *c)
{
    if (check_awsvpc(d, in, c) < 0)
        return -1;
    if (c->hostname.n && !is_hostname(c->hostname))
        return fl_refuse(d, "ClientException",
                         INVALID "The 'hostname' contains invalid characters.",
                         FL_STR_ARG(c->name));
    for (size_t i = 0; i < c->dnsServers.n; i++)
        if (!is_address(c->dnsServers.items[i]))
            return fl_refuse(d, "ClientException",
                             INVALID "The 'dnsServers' must be a list of IP addresses.",
                             FL_STR_ARG(c->name));
    for (size_t i = 0; i < c->dnsSearchDomains.n; i++)
        if (!is_hostname(c->dnsSearchDomains.items[i]))
            return fl_refuse(d, "ClientException",
                             INVALID "The 'dnsSearchDomains' contain invalid characters.",
                             FL_STR_ARG(c->name));
    for (size_t i = 0; i < c->extraHosts.n; i++)
        if (!is_hostname(c->extraHosts.items[i].hostname) ||
            !is_address(c->extraHosts.items[i].ipAddress))
            return fl_refuse(d, "ClientException",
                             INVALID "Each of the 'extraHosts' needs a host name and an IP "
                                     "address.",
                             FL_STR_ARG(c->name));
    return 0;
}

static int check_sysctl(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                        const struct ecs_ContainerDefinition *c,
                        const struct ecs_SystemControl *control)
{
    struct fl_str name = control->namespace;
    bool is_net = fl_str_starts(name, FL_STR("net."));
    if (!is_made_of(name, "._-/") || fl_str_contains(name, FL_STR("..")) ||
        (!is_net && !fl_is_ipc_sysctl(name)))
        return fl_refuse(d, "ClientException",
                         INVALID "The system control '%.*s' is not a namespaced kernel parameter.",
                         FL_STR_ARG(c->name), FL_STR_ARG(name));
    if (is_net && has_mode(in, ECS_NetworkMode_host))
        return fl_refuse(d, "ClientException",
                         "When networkMode=host, the network system control '%.*s' is not "
                         "supported.",
                         FL_STR_ARG(name));
    if (!is_net && FL_HAS(in, ecs_RegisterTaskDefinitionRequest, ipcMode) &&
        in->ipcMode == ECS_IpcMode_host)
        return fl_refuse(d, "ClientException",
                         "When ipcMode=host, the IPC system control '%.*s' is not supported.",
                         FL_STR_ARG(name));
    return 0;
}

static int check_linux(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_LinuxParameters *params = c->linuxParameters;
    if (!params)
        return 0;
    if (params->maxSwap < 0 || params->swappiness < 0 || params->swappiness > MAX_SWAPPINESS)
        return fl_refuse(d, "ClientException",
                         INVALID "The 'maxSwap' must not be negative and the 'swappiness' be "
                                 "between 0 and %d.",
                         FL_STR_ARG(c->name), MAX_SWAPPINESS);
    if (FL_HAS(params, ecs_LinuxParameters, sharedMemorySize) && params->sharedMemorySize <= 0)
        return fl_refuse(d, "ClientException",
                         INVALID "The 'sharedMemorySize' must be greater than 0.",
                         FL_STR_ARG(c->name));
    for (size_t i = 0; i < params->tmpfs.n; i++)
        if (params->tmpfs.items[i].size <= 0 || params->tmpfs.items[i].size > MAX_SIZE_MIB ||
            !fl_str_starts(params->tmpfs.items[i].containerPath, FL_STR("/")))
            return fl_refuse(d, "ClientException",
                             INVALID "Each 'tmpfs' needs an absolute path and a size greater than "
                                     "0.",
                             FL_STR_ARG(c->name));
    for (size_t i = 0; i < params->devices.n; i++)
        if (!fl_str_starts(params->devices.items[i].hostPath, FL_STR("/")))
            return fl_refuse(d, "ClientException",
                             INVALID "The host path of a device must be absolute.",
                             FL_STR_ARG(c->name));
    return 0;
}

static int check_security_options(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    static const char *const known[] = {
        "no-new-privileges", "apparmor:", "label:", "seccomp:unconfined", "credentialspec:"};
    for (size_t i = 0; i < c->dockerSecurityOptions.n; i++) {
        bool valid = false;
        for (size_t k = 0; k < FL_ARRAY_SIZE(known); k++)
            valid |= fl_str_starts(c->dockerSecurityOptions.items[i], fl_str_of(known[k]));
        if (!valid || c->dockerSecurityOptions.items[i].n > MAX_HOSTNAME)
            return fl_refuse(d, "ClientException", INVALID "'%.*s' is no valid security option.",
                             FL_STR_ARG(c->name),
                             FL_STR_ARG(fl_str_sub(c->dockerSecurityOptions.items[i], 0, 80)));
    }
    return 0;
}

/* Lists longer than an agent takes would make a task that can never start. */
static int check_lengths(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_LinuxParameters *params = c->linuxParameters;
    const struct {
        const char *member;
        size_t n;
    } lists[] = {
        {"links", c->links.n},
        {"volumesFrom", c->volumesFrom.n},
        {"dnsServers", c->dnsServers.n},
        {"dnsSearchDomains", c->dnsSearchDomains.n},
        {"extraHosts", c->extraHosts.n},
        {"dockerSecurityOptions", c->dockerSecurityOptions.n},
        {"systemControls", c->systemControls.n},
        {"devices", params ? params->devices.n : 0},
        {"tmpfs", params ? params->tmpfs.n : 0},
        {"capabilities", params && params->capabilities
                             ? params->capabilities->add.n + params->capabilities->drop.n
                             : 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(lists); i++)
        if (lists[i].n > MAX_ITEMS)
            return fl_refuse(d, "ClientException", "Container '%.*s' has more than %d items of %s.",
                             FL_STR_ARG(c->name), MAX_ITEMS, lists[i].member);
    return 0;
}

int fl_check_linux(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                   const struct ecs_ContainerDefinition *c)
{
    if (check_lengths(d, c) < 0 || check_links(d, in, c) < 0 || check_volumes_from(d, in, c) < 0 ||
        check_names(d, in, c) < 0 || check_linux(d, c) < 0 || check_security_options(d, c) < 0)
        return -1;
    if (needs_itself(in, c->name))
        return fl_refuse(d, "ClientException",
                         INVALID "Its links and 'volumesFrom' lead back to itself.",
                         FL_STR_ARG(c->name));
    for (size_t i = 0; i < c->systemControls.n; i++)
        if (check_sysctl(d, in, c, &c->systemControls.items[i]) < 0)
            return -1;
    return 0;
}
