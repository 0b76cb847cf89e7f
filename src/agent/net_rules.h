/* The text of our nftables table, and of changes to it. Pure.
 *
 * Published ports are elements of two maps a table, so that a change costs the same however many
 * there are. Nothing but the installation's tag and numbers goes into the text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/net_subnet.h"
#include "base/str.h"

struct fl_rule_port {
    uint32_t address; /* the container's */
    uint16_t container_port;
    uint16_t host_port;
    bool udp;
    uint16_t more; /* of a range: how many ports follow, on both sides */
    bool ipv6;     /* the container has an IPv6 address, too */
};

/* What tasks reach at the metadata address (fl_rules_metadata_address), and who answers. */
struct fl_rule_services {
    uint16_t metadata_port;      /* on the host's 127.0.0.1; 0: nobody answers */
    uint16_t introspection_port; /* shielded likewise; 0: none */
    uint16_t resolver_port;      /* likewise, tcp and udp; 0: nobody answers */
    uint16_t api_port;           /* at the metadata address; 0: nobody answers */
    uint32_t api_address;        /* where the API really listens, on this host */
    uint16_t api_target_port;
    bool for_host; /* the host's own processes are led there, too */
};

/* 169.254.170.2, where ECS's tasks look for their metadata. */
uint32_t fl_rules_metadata_address(void);

/* A tag names a link, a table and rules: 1 to 9 lower-case letters and digits, a letter first. */
bool fl_rules_tag_valid(struct fl_str tag);

/* What the tables are about. */
struct fl_rules {
    struct fl_str tag;
    struct fl_subnet subnet;
    bool ipv6;          /* there is a table "ip6 <tag>", too */
    bool ipv6_loopback; /* ports are published on ::1 */
    bool loopback_open; /* the bridge reaches what the host listens to on 127.0.0.0/8 */
    const struct fl_rule_services *services;
};

/* The maps of published ports. */
#define FL_RULES_TCP_PORTS "tcp_ports"
#define FL_RULES_UDP_PORTS "udp_ports"

/* One transaction that puts the tables in place, empty of ports, whatever was there before. */
void fl_rules_tables(struct fl_buf *text, const struct fl_rules *rules);
/* Publishes or unpublishes ports; nothing for none. */
void fl_rules_add_ports(struct fl_buf *text, const struct fl_rules *rules,
                        const struct fl_rule_port *ports, size_t port_count);
void fl_rules_delete_ports(struct fl_buf *text, const struct fl_rules *rules,
                           const struct fl_rule_port *ports, size_t port_count);
/* Makes the tables exist without touching what is in them. */
void fl_rules_ensure_tables(struct fl_buf *text, struct fl_str tag, bool ipv6);
/* Removes the table of a family ("ip", "ip6"); no error when there is none. */
void fl_rules_delete_table(struct fl_buf *text, const char *family, struct fl_str tag);
