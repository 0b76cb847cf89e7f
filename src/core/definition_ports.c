/* What RegisterTaskDefinition refuses about port mappings, in ECS's words where they are known. */
#include "core/definition_check.h"

enum { MAX_PORTS = 100, MAX_PORT = 65535, MAX_PORT_NAME = 64 };

/* A span of ports as it has to be unique in the task. */
struct span {
    int64_t first, last;
    bool is_udp;
};

static bool read_range(struct fl_str text, struct span *ret_span)
{
    uint16_t first, more;
    if (!fl_port_range_read(text, &first, &more))
        return false;
    ret_span->first = first;
    ret_span->last = (int64_t)first + more;
    return true;
}

static bool is_port_name(struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c == '-' && i > 0)))
            return false;
    }
    return s.n > 0 && s.n <= MAX_PORT_NAME;
}

static int check_range(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       const struct ecs_ContainerDefinition *c, const struct ecs_PortMapping *port)
{
    struct span span;
    enum ecs_NetworkMode mode = fl_network_mode(in);
    if (FL_HAS(port, ecs_PortMapping, containerPort) || FL_HAS(port, ecs_PortMapping, hostPort))
        return fl_refuse(d, "ClientException",
                         "Invalid port mapping for container '%.*s': cannot specify both single "
                         "port and port range.",
                         FL_STR_ARG(c->name));
    if (!read_range(port->containerPortRange, &span))
        return fl_refuse(d, "ClientException",
                         "Invalid 'containerPortRange' setting for container '%.*s'.",
                         FL_STR_ARG(c->name));
    if (mode != ECS_NetworkMode_bridge && mode != ECS_NetworkMode_awsvpc)
        return fl_refuse(d, "ClientException",
                         "'containerPortRange' is not supported when networkMode=%s.",
                         fl_enum_text(&ecs_enum_NetworkMode, (int)mode));
    return 0;
}

static int check_single(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                        const struct ecs_ContainerDefinition *c, const struct ecs_PortMapping *port)
{
    enum ecs_NetworkMode mode = fl_network_mode(in);
    bool must_match = mode == ECS_NetworkMode_host || mode == ECS_NetworkMode_awsvpc;
    if (port->containerPort < 1 || port->containerPort > MAX_PORT || port->hostPort < 0 ||
        port->hostPort > MAX_PORT)
        return fl_refuse(d, "ClientException",
                         "Container '%.*s' has an invalid port mapping: ports are between 1 and "
                         "65535.",
                         FL_STR_ARG(c->name));
    if (must_match && port->hostPort != 0 && port->hostPort != port->containerPort)
        return fl_refuse(d, "ClientException",
                         "When networkMode=%s, the host ports and container ports in port mappings "
                         "must match.",
                         fl_enum_text(&ecs_enum_NetworkMode, (int)mode));
    return 0;
}

static int check_mapping(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                         const struct ecs_ContainerDefinition *c,
                         const struct ecs_PortMapping *port)
{
    if (FL_HAS(port, ecs_PortMapping, name) && !is_port_name(port->name))
        return fl_refuse(d, "ClientException",
                         "The port mapping name '%.*s' is not valid: up to 64 lowercase letters, "
                         "numbers, underscores and hyphens, not beginning with a hyphen.",
                         (int)FL_MIN(port->name.n, (size_t)100), port->name.p);
    if (FL_HAS(port, ecs_PortMapping, appProtocol) && !FL_HAS(port, ecs_PortMapping, name))
        return fl_refuse(d, "ClientException",
                         "A port mapping with 'appProtocol' must have a 'name'.");
    return FL_HAS(port, ecs_PortMapping, containerPortRange) ? check_range(d, in, c, port)
                                                             : check_single(d, in, c, port);
}

/* What the mapping takes for itself in the task: a range of container ports, or a host port. */
static bool takes(const struct ecs_RegisterTaskDefinitionRequest *in,
                  const struct ecs_PortMapping *port, struct span *ret_span)
{
    ret_span->is_udp = port->protocol == ECS_TransportProtocol_udp;
    if (FL_HAS(port, ecs_PortMapping, containerPortRange))
        return read_range(port->containerPortRange, ret_span);
    ret_span->first =
        fl_network_mode(in) == ECS_NetworkMode_bridge ? port->hostPort : port->containerPort;
    ret_span->last = ret_span->first;
    return ret_span->first != 0;
}

static int check_pair(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                      const struct ecs_PortMapping *a, const struct ecs_PortMapping *b)
{
    struct span x, y;
    bool ranges_a = FL_HAS(a, ecs_PortMapping, containerPortRange);
    bool ranges_b = FL_HAS(b, ecs_PortMapping, containerPortRange);
    if (a->name.n && fl_str_eq(a->name, b->name))
        return fl_refuse(d, "ClientException",
                         "The port mapping name '%.*s' is already used in the task definition.",
                         FL_STR_ARG(a->name));
    if (ranges_a != ranges_b || !takes(in, a, &x) || !takes(in, b, &y))
        return 0;
    if (x.is_udp != y.is_udp || x.last < y.first || y.last < x.first)
        return 0;
    return fl_refuse(d, "ClientException", "The %s port %lld is used multiple times in task.",
                     !ranges_a && fl_network_mode(in) == ECS_NetworkMode_bridge ? "host"
                                                                                : "container",
                     (long long)FL_MAX(x.first, y.first));
}

int fl_check_ports(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    const struct ecs_PortMapping **all = fl_arena_new_array(
        d->arena, const struct ecs_PortMapping *, in->containerDefinitions.n *MAX_PORTS);
    size_t n = 0;
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        if (c->portMappings.n > MAX_PORTS)
            return fl_refuse(d, "ClientException",
                             "Container '%.*s' has more than %d port mappings.",
                             FL_STR_ARG(c->name), MAX_PORTS);
        if (c->portMappings.n && fl_network_mode(in) == ECS_NetworkMode_none)
            return fl_refuse(d, "ClientException",
                             "Port mappings are not supported when networkMode=none.");
        for (size_t k = 0; k < c->portMappings.n; k++) {
            if (check_mapping(d, in, c, &c->portMappings.items[k]) < 0)
                return -1;
            for (size_t m = 0; m < n; m++)
                if (check_pair(d, in, all[m], &c->portMappings.items[k]) < 0)
                    return -1;
            all[n++] = &c->portMappings.items[k];
        }
    }
    return 0;
}
