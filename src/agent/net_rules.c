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

static void ensure_table(struct fl_buf *text, const char *family, struct fl_str tag)
{
    fl_buf_printf(text, "add table %s %.*s\n", family, FL_STR_ARG(tag));
}

void fl_rules_ensure_tables(struct fl_buf *text, struct fl_str tag, bool ipv6)
{
    ensure_table(text, "ip", tag);
    if (ipv6)
        ensure_table(text, "ip6", tag);
}

void fl_rules_delete_table(struct fl_buf *text, const char *family, struct fl_str tag)
{
    ensure_table(text, family, tag);
    fl_buf_printf(text, "delete table %s %.*s\n", family, FL_STR_ARG(tag));
}

uint32_t fl_rules_metadata_address(void)
{
    return 169U << 24 | 254U << 16 | 170U << 8 | 2;
}

static void add_service(struct fl_buf *text, const char *from, const char *protocol, uint16_t port,
                        uint32_t address, uint16_t target_port)
{
    char metadata[FL_IPV4_TEXT_SIZE], target[FL_IPV4_TEXT_SIZE];
    if (target_port == 0 || port == 0)
        return;
    fl_ipv4_text(fl_rules_metadata_address(), metadata);
    fl_ipv4_text(address, target);
    fl_buf_printf(text, "%sip daddr %s %s dport %u dnat ip to %s:%u\n", from, metadata, protocol,
                  port, target, target_port);
}

/* Only what comes from the bridge is led to the metadata, and what the host itself sends: nothing
 * that arrives over another link, whatever address it asks for. */
static void add_services(struct fl_buf *text, const char *from,
                         const struct fl_rule_services *services)
{
    enum { LOOPBACK = 0x7f000001, HTTP = 80, DNS = 53 };
    add_service(text, from, "tcp", HTTP, LOOPBACK, services->metadata_port);
    add_service(text, from, "tcp", services->api_port, services->api_address,
                services->api_target_port);
    add_service(text, from, "udp", DNS, LOOPBACK, services->resolver_port);
    add_service(text, from, "tcp", DNS, LOOPBACK, services->resolver_port);
}

static void add_maps(struct fl_buf *text, const char *address_type)
{
    static const char *const names[] = {FL_RULES_TCP_PORTS, FL_RULES_UDP_PORTS};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        fl_buf_printf(text, "map %s { type inet_service : %s . inet_service; }\n", names[i],
                      address_type);
}

static void add_lookups(struct fl_buf *text, const char *family)
{
    fl_buf_printf(text,
                  "fib daddr type local dnat %s to tcp dport map @" FL_RULES_TCP_PORTS "\n"
                  "fib daddr type local dnat %s to udp dport map @" FL_RULES_UDP_PORTS "\n"
                  "}\n",
                  family, family);
}

/* 127.0.0.0/8 is not published to what comes in over a link: only the host itself has it. The
 * services come first: a task may publish port 80 of every address. */
static void add_publishing(struct fl_buf *text, const struct fl_rules *rules)
{
    char from[32];
    (void)snprintf(from, sizeof(from), "iifname \"%.*s\" ", FL_STR_ARG(rules->tag));
    add_maps(text, "ipv4_addr");
    fl_buf_add_z(text, "chain prerouting {\n"
                       "type nat hook prerouting priority -100; policy accept;\n"
                       "ip daddr 127.0.0.0/8 return\n");
    add_services(text, from, rules->services);
    add_lookups(text, "ip");
    fl_buf_add_z(text, "chain output {\n"
                       "type nat hook output priority -100; policy accept;\n");
    if (rules->services->for_host)
        add_services(text, "", rules->services);
    add_lookups(text, "ip");
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

static void add_shield(struct fl_buf *text, const char *protocol, uint16_t port)
{
    if (port)
        fl_buf_printf(text, "iifname != \"lo\" ip daddr 127.0.0.0/8 %s dport %u drop\n", protocol,
                      port);
}

/* route_localnet opens the host's 127.0.0.0/8 to the bridge; this closes it again, and for the
 * agent's own listeners on every other link too, where somebody else may have opened it. A
 * container speaks for addresses of the subnet only. */
static void add_guard(struct fl_buf *text, const struct fl_rules *rules, const char *subnet)
{
    fl_buf_add_z(text, "chain guard {\n"
                       "type filter hook prerouting priority -300; policy accept;\n");
    if (!rules->loopback_open)
        fl_buf_printf(text, "iifname \"%.*s\" ip daddr 127.0.0.0/8 drop\n", FL_STR_ARG(rules->tag));
    fl_buf_printf(text, "iifname \"%.*s\" ip saddr != %s drop\n", FL_STR_ARG(rules->tag), subnet);
    add_shield(text, "tcp", rules->services->metadata_port);
    add_shield(text, "tcp", rules->services->introspection_port);
    add_shield(text, "tcp", rules->services->resolver_port);
    add_shield(text, "udp", rules->services->resolver_port);
    fl_buf_add_z(text, "}\n");
}

/* Containers have no way out by IPv6, and none back: whoever reaches a port of theirs seems to be
 * the host. What they send to others than the host is theirs to send from their own network only,
 * which keeps router advertisements (from link-local addresses) off the host, too. */
static void add_ipv6(struct fl_buf *text, const struct fl_rules *rules)
{
    uint8_t network[16];
    char prefix[FL_IPV6_TEXT_SIZE];
    fl_ipv6_of(rules->tag, 0, network);
    fl_ipv6_text(network, prefix);
    fl_rules_delete_table(text, "ip6", rules->tag);
    fl_buf_printf(text, "table ip6 %.*s {\n", FL_STR_ARG(rules->tag));
    add_maps(text, "ipv6_addr");
    fl_buf_add_z(text, "chain prerouting {\n"
                       "type nat hook prerouting priority -100; policy accept;\n");
    add_lookups(text, "ip6");
    fl_buf_add_z(text, "chain output {\n"
                       "type nat hook output priority -100; policy accept;\n");
    if (!rules->ipv6_loopback)
        fl_buf_add_z(text, "ip6 daddr ::1 return\n");
    add_lookups(text, "ip6");
    fl_buf_printf(text,
                  "chain postrouting {\n"
                  "type nat hook postrouting priority 100; policy accept;\n"
                  "oifname \"%.*s\" ct status dnat masquerade\n"
                  "}\n"
                  "chain guard {\n"
                  "type filter hook prerouting priority -300; policy accept;\n"
                  "iifname \"%.*s\" ip6 saddr != %s/%d drop\n"
                  "}\n"
                  "}\n",
                  FL_STR_ARG(rules->tag), FL_STR_ARG(rules->tag), prefix, FL_IPV6_PREFIX);
}

void fl_rules_tables(struct fl_buf *text, const struct fl_rules *rules)
{
    char subnet[FL_SUBNET_TEXT_SIZE];
    fl_subnet_text(rules->subnet, subnet);
    fl_rules_delete_table(text, "ip", rules->tag);
    fl_buf_printf(text, "table ip %.*s {\n", FL_STR_ARG(rules->tag));
    add_publishing(text, rules);
    add_masquerading(text, rules->tag, subnet);
    add_guard(text, rules, subnet);
    fl_buf_add_z(text, "}\n");
    if (rules->ipv6)
        add_ipv6(text, rules);
}

static void address_text(const struct fl_rules *rules, uint32_t address, bool ipv6,
                         char ret_text[FL_IPV6_TEXT_SIZE])
{
    uint8_t bytes[16];
    if (!ipv6) {
        fl_ipv4_text(address, ret_text);
        return;
    }
    fl_ipv6_of(rules->tag, address, bytes);
    fl_ipv6_text(bytes, ret_text);
}

struct change {
    const char *verb;
    const struct fl_rules *rules;
    bool ipv6;
    bool udp;
};

static void change_ports(struct fl_buf *text, const struct change *change,
                         const struct fl_rule_port *ports, size_t port_count)
{
    char address[FL_IPV6_TEXT_SIZE];
    bool begun = false;
    for (size_t i = 0; i < port_count; i++) {
        if (ports[i].udp != change->udp || (change->ipv6 && !ports[i].ipv6))
            continue;
        address_text(change->rules, ports[i].address, change->ipv6, address);
        for (unsigned k = 0; k <= ports[i].more; k++) {
            if (!begun)
                fl_buf_printf(text, "%s element %s %.*s %s { ", change->verb,
                              change->ipv6 ? "ip6" : "ip", FL_STR_ARG(change->rules->tag),
                              change->udp ? FL_RULES_UDP_PORTS : FL_RULES_TCP_PORTS);
            fl_buf_printf(text, "%s%u : %s . %u", begun ? ", " : "", ports[i].host_port + k,
                          address, ports[i].container_port + k);
            begun = true;
        }
    }
    if (begun)
        fl_buf_add_z(text, " }\n");
}

static void change_all(struct fl_buf *text, const char *verb, const struct fl_rules *rules,
                       const struct fl_rule_port *ports, size_t port_count)
{
    for (int ipv6 = 0; ipv6 <= rules->ipv6; ipv6++)
        for (int udp = 0; udp < 2; udp++) {
            const struct change change = {verb, rules, ipv6, udp};
            change_ports(text, &change, ports, port_count);
        }
}

void fl_rules_add_ports(struct fl_buf *text, const struct fl_rules *rules,
                        const struct fl_rule_port *ports, size_t port_count)
{
    change_all(text, "add", rules, ports, port_count);
}

void fl_rules_delete_ports(struct fl_buf *text, const struct fl_rules *rules,
                           const struct fl_rule_port *ports, size_t port_count)
{
    change_all(text, "delete", rules, ports, port_count);
}
