/* The text of our nftables table; see the header. */
#include "agent/net_rules.h"

#include <stdio.h>

bool fl_rules_tag_valid(struct fl_str tag)
{
    if (tag.n < 1 || tag.n > 9 || tag.p[0] < 'a' || tag.p[0] > 'z')
        return false;
    for (size_t i = 0; i < tag.n; i++)
        if (!(tag.p[i] >= 'a' && tag.p[i] <= 'z') && !(tag.p[i] >= '0' && tag.p[i] <= '9'))
            return false;
    return true;
}

void fl_rules_ensure_table(struct fl_buf *text, struct fl_str tag)
{
    fl_buf_printf(text, "add table ip %.*s\n", FL_STR_ARG(tag));
}

void fl_rules_delete_table(struct fl_buf *text, struct fl_str tag)
{
    fl_rules_ensure_table(text, tag);
    fl_buf_printf(text, "delete table ip %.*s\n", FL_STR_ARG(tag));
}

uint32_t fl_rules_metadata_address(void)
{
    return 169U << 24 | 254U << 16 | 170U << 8 | 2;
}

static void add_service(struct fl_buf *text, const char *from, uint16_t port, uint32_t address,
                        uint16_t target_port)
{
    char metadata[FL_IPV4_TEXT_SIZE], target[FL_IPV4_TEXT_SIZE];
    if (port == 0)
        return;
    fl_ipv4_text(fl_rules_metadata_address(), metadata);
    fl_ipv4_text(address, target);
    fl_buf_printf(text, "%sip daddr %s tcp dport %u dnat ip to %s:%u\n", from, metadata, port,
                  target, target_port);
}

/* Only what comes from the bridge is led to the metadata, and what the host itself sends: nothing
 * that arrives over another link, whatever address it asks for. */
static void add_services(struct fl_buf *text, const char *from,
                         const struct fl_rule_services *services)
{
    enum { LOOPBACK = 0x7f000001, HTTP = 80 };
    add_service(text, from, services->metadata_port ? HTTP : 0, LOOPBACK, services->metadata_port);
    add_service(text, from, services->api_port, services->api_address, services->api_target_port);
}

/* 127.0.0.0/8 is not published to what comes in over a link: only the host itself has it. The
 * services come first: a task may publish port 80 of every address. */
static void add_publishing(struct fl_buf *text, struct fl_str tag,
                           const struct fl_rule_services *services)
{
    static const char ports[] = "fib daddr type local dnat ip to tcp dport map @tcp_ports\n"
                                "fib daddr type local dnat ip to udp dport map @udp_ports\n"
                                "}\n";
    char from[32];
    (void)snprintf(from, sizeof(from), "iifname \"%.*s\" ", FL_STR_ARG(tag));
    fl_buf_add_z(text, "map tcp_ports { type inet_service : ipv4_addr . inet_service; }\n"
                       "map udp_ports { type inet_service : ipv4_addr . inet_service; }\n"
                       "chain prerouting {\n"
                       "type nat hook prerouting priority -100; policy accept;\n"
                       "ip daddr 127.0.0.0/8 return\n");
    add_services(text, from, services);
    fl_buf_add_z(text, ports);
    fl_buf_add_z(text, "chain output {\n"
                       "type nat hook output priority -100; policy accept;\n");
    if (services->for_host)
        add_services(text, "", services);
    fl_buf_add_z(text, ports);
}

/* A container that reaches a container through a port of the host must see the answer come back
 * the same way, hence the second rule; 127.0.0.1 means nothing on the bridge, hence the third. */
static void add_masquerading(struct fl_buf *text, struct fl_str tag, const char *subnet)
{
    fl_buf_printf(text,
                  "chain postrouting {\n"
                  "type nat hook postrouting priority 100; policy accept;\n"
                  "ip saddr %s oifname != \"%.*s\" masquerade\n"
                  "oifname \"%.*s\" ip saddr %s ct status dnat masquerade\n"
                  "oifname \"%.*s\" ip saddr 127.0.0.0/8 masquerade\n"
                  "}\n",
                  subnet, FL_STR_ARG(tag), FL_STR_ARG(tag), subnet, FL_STR_ARG(tag));
}

static void add_shield(struct fl_buf *text, uint16_t port)
{
    if (port)
        fl_buf_printf(text, "iifname != \"lo\" ip daddr 127.0.0.0/8 tcp dport %u drop\n", port);
}

/* route_localnet opens the host's 127.0.0.0/8 to the bridge; this closes it again, and for the
 * agent's own listeners on every other link too, where somebody else may have opened it. A
 * container speaks for addresses of the subnet only. */
static void add_guard(struct fl_buf *text, struct fl_str tag, const char *subnet,
                      const struct fl_rule_services *services)
{
    fl_buf_printf(text,
                  "chain guard {\n"
                  "type filter hook prerouting priority -300; policy accept;\n"
                  "iifname \"%.*s\" ip daddr 127.0.0.0/8 drop\n"
                  "iifname \"%.*s\" ip saddr != %s drop\n",
                  FL_STR_ARG(tag), FL_STR_ARG(tag), subnet);
    add_shield(text, services->metadata_port);
    add_shield(text, services->introspection_port);
    fl_buf_add_z(text, "}\n");
}

void fl_rules_table(struct fl_buf *text, struct fl_str tag, struct fl_subnet subnet,
                    const struct fl_rule_services *services)
{
    char subnet_text[FL_SUBNET_TEXT_SIZE];
    fl_subnet_text(subnet, subnet_text);
    fl_rules_delete_table(text, tag);
    fl_buf_printf(text, "table ip %.*s {\n", FL_STR_ARG(tag));
    add_publishing(text, tag, services);
    add_masquerading(text, tag, subnet_text);
    add_guard(text, tag, subnet_text, services);
    fl_buf_add_z(text, "}\n");
}

static void change_ports(struct fl_buf *text, const char *verb, struct fl_str tag, bool udp,
                         const struct fl_rule_port *ports, size_t port_count)
{
    char address[FL_IPV4_TEXT_SIZE];
    size_t found = 0;
    for (size_t i = 0; i < port_count; i++) {
        if (ports[i].udp != udp)
            continue;
        if (found++ == 0)
            fl_buf_printf(text, "%s element ip %.*s %s_ports { ", verb, FL_STR_ARG(tag),
                          udp ? "udp" : "tcp");
        else
            fl_buf_add_z(text, ", ");
        fl_ipv4_text(ports[i].address, address);
        fl_buf_printf(text, "%u : %s . %u", ports[i].host_port, address, ports[i].container_port);
    }
    if (found)
        fl_buf_add_z(text, " }\n");
}

void fl_rules_add_ports(struct fl_buf *text, struct fl_str tag, const struct fl_rule_port *ports,
                        size_t port_count)
{
    change_ports(text, "add", tag, false, ports, port_count);
    change_ports(text, "add", tag, true, ports, port_count);
}

void fl_rules_delete_ports(struct fl_buf *text, struct fl_str tag, const struct fl_rule_port *ports,
                           size_t port_count)
{
    change_ports(text, "delete", tag, false, ports, port_count);
    change_ports(text, "delete", tag, true, ports, port_count);
}
