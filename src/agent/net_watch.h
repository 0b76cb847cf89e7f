/* Notices when somebody else changes our nftables tables (`nft flush ruleset`, a firewall's
 * reload).
 *
 * The kernel counts the ruleset's changes. While its count is that of last time and our own changes
 * since, nobody else changed any rule of the host, and that is all that is asked. Else our tables'
 * rules and elements are counted, and compared with what they have to be. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct fl_net_watch;

/* Of the tables "ip <tag>", and "ip6 <tag>" if ipv6. */
int fl_net_watch_open(struct fl_str tag, bool ipv6, struct fl_net_watch **ret_watch,
                      struct fl_err *err);
void fl_net_watch_close(struct fl_net_watch *watch);

/* The tables have been written as a whole. */
void fl_net_watch_written(struct fl_net_watch *watch);
/* One transaction of ours has added that many elements (or taken out, if negative). */
void fl_net_watch_changed(struct fl_net_watch *watch, long elements);
enum fl_net_watch_word {
    FL_NET_QUIET,   /* nobody else changed a rule, or the kernel cannot be asked */
    FL_NET_STIRRED, /* somebody did, and not ours */
    FL_NET_DAMAGED, /* our tables do not hold what they have to */
};
/* What became of the host's rules since the last look. */
enum fl_net_watch_word fl_net_watch_look(struct fl_net_watch *watch);
/* Whether Docker's chain for others (DOCKER-USER, where nftables keep it) lacks our rules. */
bool fl_net_watch_docker_lacks_us(struct fl_net_watch *watch);
