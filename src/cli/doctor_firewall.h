/* Whether the host's packet filter drops what tasks in bridge mode send and are sent.
 *
 * Rules are read as programs print them, and judged by a rule of thumb: a chain that drops what
 * nothing before it accepted has to accept, in it or where it jumps to, what enters by our bridge,
 * and in forward what leaves to it, too. docs/network.md says what to allow. */
#pragma once

#include "cli/doctor.h"

struct fl_firewall;

/* tag: the bridge's name, which outlives it. */
struct fl_firewall *fl_firewall_new(const char *tag);
void fl_firewall_free(struct fl_firewall *firewall);
/* What `nft -s list ruleset` prints. The text outlives the firewall. */
void fl_firewall_read_nft(struct fl_firewall *firewall, struct fl_str text);
/* What `iptables-legacy -S` (program, a static word) prints. */
void fl_firewall_read_legacy(struct fl_firewall *firewall, const char *program, struct fl_str text);
/* WRONG with the commands that mend it; a NOTE where only the way out is missing. */
struct fl_finding fl_firewall_judge(const struct fl_firewall *firewall, struct fl_arena *arena);
