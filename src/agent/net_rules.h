/* The text of our nftables table, and of changes to it. Pure.
 *
 * Published ports are elements of two maps, so that a change costs the same however many there
 * are. Nothing but the installation's tag and numbers goes into the text. */
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
};

/* A tag names a link, a table and rules: 1 to 9 lower-case letters and digits, a letter first. */
bool fl_rules_tag_valid(struct fl_str tag);
/* One transaction that puts table "ip <tag>" in place, empty of ports, whatever was there before.
 */
void fl_rules_table(struct fl_buf *text, struct fl_str tag, struct fl_subnet subnet);
/* Publishes or unpublishes ports; nothing for none. */
void fl_rules_add_ports(struct fl_buf *text, struct fl_str tag, const struct fl_rule_port *ports,
                        size_t port_count);
void fl_rules_delete_ports(struct fl_buf *text, struct fl_str tag, const struct fl_rule_port *ports,
                           size_t port_count);
/* Makes the table exist without touching what is in it. */
void fl_rules_ensure_table(struct fl_buf *text, struct fl_str tag);
/* Removes the table; no error when there is none. */
void fl_rules_delete_table(struct fl_buf *text, struct fl_str tag);
