/* How a container finds others by name: extra hosts, links, name servers of its own.
 *
 * Everything here comes from a definition and becomes lines of files or variables: what could be
 * more than one word is refused. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#include "agent/agent_internal.h"

enum { FILE_MAX = 256 * 1024, NAME_LENGTH_MAX = 253, SHORT_ID = 12 };

static bool is_name(struct fl_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !strchr("-._", name.p[i]))
            return false;
    return name.n > 0 && name.n <= NAME_LENGTH_MAX;
}

static bool is_address(struct fl_str text, struct fl_arena *arena)
{
    uint8_t bytes[16];
    const char *z = fl_str_z(arena, text);
    return text.n < INET6_ADDRSTRLEN && strlen(z) == text.n &&
           (inet_pton(AF_INET, z, bytes) == 1 || inet_pton(AF_INET6, z, bytes) == 1);
}

/* "name:address", and the address may hold colons. */
static int add_extra_host(struct fl_str entry, struct fl_arena *arena, struct fl_buf *hosts,
                          struct fl_err *err)
{
    ptrdiff_t colon = fl_str_index(entry, ':');
    struct fl_str shown = fl_str_sub(entry, 0, 100);
    if (colon < 1 || !is_name(fl_str_sub(entry, 0, (size_t)colon)))
        return fl_err_set(err, -EINVAL, "bad format for add-host: \"%.*s\"", FL_STR_ARG(shown));
    struct fl_str address = fl_str_from(entry, (size_t)colon + 1);
    if (!is_address(address, arena))
        return fl_err_set(err, -EINVAL, "invalid IP address in add-host: \"%.*s\"",
                          FL_STR_ARG(fl_str_sub(address, 0, 100)));
    fl_buf_printf(hosts, "%.*s\t%.*s\n", FL_STR_ARG(address), (int)colon, entry.p);
    return 0;
}

static const struct fl_task_container *find_linked(const struct fl_task_container *container,
                                                   struct fl_str link, struct fl_str *ret_alias)
{
    const struct fl_task *task = container->task;
    ptrdiff_t colon = fl_str_index(link, ':');
    struct fl_str name = colon < 0 ? link : fl_str_sub(link, 0, (size_t)colon);
    *ret_alias = colon < 0 ? link : fl_str_from(link, (size_t)colon + 1);
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_str_eq(task->containers[i].spec->name, name))
            return &task->containers[i];
    return NULL;
}

static int check_link(const struct fl_task_container *container, struct fl_str link,
                      const struct fl_task_container **ret_linked, struct fl_str *ret_alias,
                      struct fl_err *err)
{
    const struct fl_task_container *linked = find_linked(container, link, ret_alias);
    struct fl_str shown = fl_str_sub(link, 0, 100);
    if (container->task->spec->network_mode != FL_NET_BRIDGE)
        return fl_err_set(err, -EINVAL,
                          "conflicting options: host type networking can't be used with links. "
                          "This would result in undefined behavior");
    if (!linked || linked == container || !is_name(*ret_alias))
        return fl_err_set(err, -EINVAL, "could not get container for %.*s", FL_STR_ARG(shown));
    /* One that is starting again has the address that it had. */
    if (linked->state != FL_CONTAINER_RUNNING &&
        (linked->restarts == 0 || linked->state == FL_CONTAINER_STOPPED))
        return fl_err_set(err, -EINVAL,
                          "Cannot link to a non running container: /%.*s AS /%.*s/%.*s",
                          FL_STR_ARG(linked->spec->name), FL_STR_ARG(container->spec->name),
                          FL_STR_ARG(*ret_alias));
    *ret_linked = linked;
    return 0;
}

static void write_address(const struct fl_task_container *linked, char ret_text[INET_ADDRSTRLEN])
{
    (void)inet_ntop(AF_INET, linked->address, ret_text, INET_ADDRSTRLEN);
}

/* The alias, the other's hostname, its name: Docker's line. */
static int add_link(const struct fl_task_container *container, struct fl_str link,
                    struct fl_buf *hosts, struct fl_err *err)
{
    const struct fl_task_container *linked;
    struct fl_str alias;
    char address[INET_ADDRSTRLEN];
    int rc = check_link(container, link, &linked, &alias, err);
    if (rc < 0)
        return rc;
    write_address(linked, address);
    fl_buf_printf(hosts, "%s\t%.*s", address, FL_STR_ARG(alias));
    if (is_name(linked->spec->hostname))
        fl_buf_printf(hosts, " %.*s", FL_STR_ARG(linked->spec->hostname));
    else
        fl_buf_printf(hosts, " %.*s", SHORT_ID, linked->id);
    if (!fl_str_eq(alias, linked->spec->name) && is_name(linked->spec->name))
        fl_buf_printf(hosts, " %.*s", FL_STR_ARG(linked->spec->name));
    fl_buf_add_char(hosts, '\n');
    return 0;
}

int fl_agent_add_hosts(const struct fl_task_container *container, struct fl_arena *arena,
                       struct fl_str *hosts, struct fl_err *err)
{
    const struct fl_container_spec *spec = container->spec;
    int rc = 0;
    if (spec->hostname.n > 0 && !is_name(spec->hostname))
        return fl_err_set(err, -EINVAL, "invalid hostname: \"%.*s\"",
                          FL_STR_ARG(fl_str_sub(spec->hostname, 0, 100)));
    if (spec->docker.extra_host_count == 0 && spec->link_count == 0)
        return 0;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FILE_MAX);
    fl_buf_add_str(&buf, *hosts);
    if (buf.n > 0 && buf.p[buf.n - 1] != '\n')
        fl_buf_add_char(&buf, '\n');
    for (size_t i = 0; rc == 0 && i < spec->docker.extra_host_count; i++)
        rc = add_extra_host(spec->docker.extra_hosts[i], arena, &buf, err);
    for (size_t i = 0; rc == 0 && i < spec->link_count; i++)
        rc = add_link(container, spec->links[i], &buf, err);
    if (rc == 0 && buf.overflow)
        rc = fl_err_set(err, -E2BIG, "too many hosts");
    if (rc == 0)
        *hosts = fl_str_dup(arena, fl_buf_str(&buf));
    return rc;
}

/* "db-1" as "DB_1": what a shell takes for a variable's name. */
static struct fl_str variable_name(struct fl_str alias, struct fl_arena *arena)
{
    char *text = fl_arena_alloc(arena, alias.n + 1);
    for (size_t i = 0; i < alias.n; i++)
        text[i] =
            isalnum((unsigned char)alias.p[i]) ? (char)toupper((unsigned char)alias.p[i]) : '_';
    return (struct fl_str){text, alias.n};
}

struct variables {
    struct fl_key_value *items;
    size_t count;
    struct fl_arena *arena;
    struct fl_str prefix;
};

static void add_variable(struct variables *v, struct fl_str suffix, struct fl_str value)
{
    v->items[v->count++] = (struct fl_key_value){
        fl_str_printf(v->arena, "%.*s_%.*s", FL_STR_ARG(v->prefix), FL_STR_ARG(suffix)), value};
}

/* DB_PORT, DB_PORT_80_TCP, …_ADDR, …_PORT, …_PROTO. */
static void add_port(struct variables *v, const char *address, const struct fl_port_mapping *port,
                     bool is_first)
{
    const char *lower = port->udp ? "udp" : "tcp", *upper = port->udp ? "UDP" : "TCP";
    struct fl_str url = fl_str_printf(v->arena, "%s://%s:%u", lower, address, port->container_port);
    struct fl_str name = fl_str_printf(v->arena, "PORT_%u_%s", port->container_port, upper);
    if (is_first)
        add_variable(v, FL_STR("PORT"), url);
    add_variable(v, name, url);
    add_variable(v, fl_str_printf(v->arena, "%s_ADDR", name.p),
                 fl_str_printf(v->arena, "%s", address));
    add_variable(v, fl_str_printf(v->arena, "%s_PORT", name.p),
                 fl_str_printf(v->arena, "%u", port->container_port));
    add_variable(v, fl_str_printf(v->arena, "%s_PROTO", name.p), fl_str_of(lower));
}

static void add_link_variables(struct variables *v, const struct fl_task_container *container,
                               const struct fl_task_container *linked, struct fl_str alias)
{
    char address[INET_ADDRSTRLEN];
    const struct fl_container_spec *spec = linked->spec;
    v->prefix = variable_name(alias, v->arena);
    write_address(linked, address);
    add_variable(v, FL_STR("NAME"),
                 fl_str_printf(v->arena, "/%.*s/%.*s", FL_STR_ARG(container->spec->name),
                               FL_STR_ARG(alias)));
    for (size_t i = 0; i < spec->port_count; i++)
        add_port(v, address, &spec->ports[i], i == 0);
    for (size_t i = 0; i < spec->environment_count; i++)
        add_variable(v, fl_str_printf(v->arena, "ENV_%.*s", FL_STR_ARG(spec->environment[i].key)),
                     spec->environment[i].value);
}

int fl_agent_link_variables(const struct fl_task_container *container, struct fl_arena *arena,
                            struct fl_key_value **ret_items, size_t *ret_count, struct fl_err *err)
{
    size_t most = 0;
    const struct fl_task_container *linked;
    struct fl_str alias;
    *ret_count = 0;
    for (size_t i = 0; i < container->spec->link_count; i++) {
        int rc = check_link(container, container->spec->links[i], &linked, &alias, err);
        if (rc < 0)
            return rc;
        most += 2 + 5 * linked->spec->port_count + linked->spec->environment_count;
    }
    struct variables v = {.items = fl_arena_new_array(arena, struct fl_key_value, most),
                          .arena = arena};
    for (size_t i = 0; i < container->spec->link_count; i++) {
        (void)check_link(container, container->spec->links[i], &linked, &alias, NULL);
        add_link_variables(&v, container, linked, alias);
    }
    *ret_items = v.items;
    *ret_count = v.count;
    return 0;
}

/* What the definition does not name stays the host's. */
static void keep_lines(struct fl_str text, const char *keyword, struct fl_buf *buf)
{
    struct fl_str line;
    while (fl_str_split(&text, '\n', &line))
        if (fl_str_starts(line, fl_str_of(keyword))) {
            fl_buf_add_str(buf, line);
            fl_buf_add_char(buf, '\n');
        }
}

static int add_servers(const struct fl_docker_spec *docker, struct fl_arena *arena,
                       struct fl_buf *buf, struct fl_err *err)
{
    for (size_t i = 0; i < docker->dns_server_count; i++) {
        if (!is_address(docker->dns_servers[i], arena))
            return fl_err_set(err, -EINVAL, "%.*s is not an ip address",
                              FL_STR_ARG(fl_str_sub(docker->dns_servers[i], 0, 100)));
        fl_buf_printf(buf, "nameserver %.*s\n", FL_STR_ARG(docker->dns_servers[i]));
    }
    return 0;
}

/* "." alone: no domain is searched. */
static int add_search(const struct fl_docker_spec *docker, struct fl_buf *buf, struct fl_err *err)
{
    bool is_none = docker->dns_search_count == 1 && fl_str_is(docker->dns_search[0], ".");
    for (size_t i = 0; i < docker->dns_search_count; i++)
        if (!is_name(docker->dns_search[i]))
            return fl_err_set(err, -EINVAL, "%.*s is not a valid domain",
                              FL_STR_ARG(fl_str_sub(docker->dns_search[i], 0, 100)));
    if (is_none)
        return 0;
    fl_buf_add_z(buf, "search");
    for (size_t i = 0; i < docker->dns_search_count; i++)
        fl_buf_printf(buf, " %.*s", FL_STR_ARG(docker->dns_search[i]));
    fl_buf_add_char(buf, '\n');
    return 0;
}

int fl_agent_set_dns(const struct fl_container_spec *spec, struct fl_arena *arena,
                     struct fl_str *resolv_conf, struct fl_err *err)
{
    const struct fl_docker_spec *docker = &spec->docker;
    int rc = 0;
    if (docker->dns_server_count == 0 && docker->dns_search_count == 0)
        return 0;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FILE_MAX);
    if (docker->dns_search_count > 0)
        rc = add_search(docker, &buf, err);
    else
        keep_lines(*resolv_conf, "search", &buf);
    if (rc == 0 && docker->dns_server_count > 0)
        rc = add_servers(docker, arena, &buf, err);
    else
        keep_lines(*resolv_conf, "nameserver", &buf);
    keep_lines(*resolv_conf, "options", &buf);
    if (rc == 0)
        *resolv_conf = fl_str_dup(arena, fl_buf_str(&buf));
    return rc;
}
