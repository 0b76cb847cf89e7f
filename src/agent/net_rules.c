/* The text of our nftables table; see the header. */
#include "agent/net_rules.h"

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

/* 127.0.0.0/8 is not published to what comes in over a link: only the host itself has it. */
static void add_publishing(struct fl_buf *text)
{
    fl_buf_add_z(text, "map tcp_ports { type inet_service : ipv4_addr . inet_service; }\n"
                       "map udp_ports { type inet_service : ipv4_addr . inet_service; }\n"
                       "chain prerouting {\n"
                       "type nat hook prerouting priority -100; policy accept;\n"
                       "ip daddr 127.0.0.0/8 return\n"
                       "fib daddr type local dnat ip to tcp dport map @tcp_ports\n"
                       "fib daddr type local dnat ip to udp dport map @udp_ports\n"
                       "}\n"
                       "chain output {\n"
                       "type nat hook output priority -100; policy accept;\n"
                       "fib daddr type local dnat ip to tcp dport map @tcp_ports\n"
                       "fib daddr type local dnat ip to udp dport map @udp_ports\n"
                       "}\n");
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

/* route_localnet opens the host's 127.0.0.0/8 to the bridge; this closes it again. A container
 * speaks for addresses of the subnet only. */
static void add_guard(struct fl_buf *text, struct fl_str tag, const char *subnet)
{
    fl_buf_printf(text,
                  "chain guard {\n"
                  "type filter hook prerouting priority -300; policy accept;\n"
                  "iifname \"%.*s\" ip daddr 127.0.0.0/8 drop\n"
                  "iifname \"%.*s\" ip saddr != %s drop\n"
                  "}\n",
                  FL_STR_ARG(tag), FL_STR_ARG(tag), subnet);
}

void fl_rules_table(struct fl_buf *text, struct fl_str tag, struct fl_subnet subnet)
{
    char subnet_text[FL_SUBNET_TEXT_SIZE];
    fl_subnet_text(subnet, subnet_text);
    fl_rules_delete_table(text, tag);
    fl_buf_printf(text, "table ip %.*s {\n", FL_STR_ARG(tag));
    add_publishing(text);
    add_masquerading(text, tag, subnet_text);
    add_guard(text, tag, subnet_text);
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
