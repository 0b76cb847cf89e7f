/* The host's network for containers: one bridge, one nftables table, a network namespace per
 * container in bridge mode; host ports.
 *
 * Everything is named by the installation's tag ("fl1a2b3c"): the bridge is the tag itself, the
 * tables are "ip <tag>" and "ip6 <tag>". They are rebuilt from what the agent knows at start and
 * belong to us alone; Docker's and the user's rules are not touched. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/task_spec.h"

struct fl_network;

struct fl_network_config {
    struct fl_str tag;
    struct fl_str libexec_dir; /* where fairlead-nft lies */
    struct fl_str data_dir;    /* keeps the chosen subnet */
    uint16_t dynamic_low;      /* range of dynamic host ports; 0, 0: the kernel's local range */
    uint16_t dynamic_high;
    bool loopback_open; /* tasks may reach what the host listens to on 127.0.0.0/8 */
};

/* Chooses a free private subnet (the one of last time, if it still is), makes the bridge, forwards,
 * starts the nft helper and empties our table. */
int fl_network_open(const struct fl_network_config *config, struct fl_network **ret_network,
                    struct fl_err *err);
void fl_network_close(struct fl_network *network);
/* Removes bridge and table of an installation: for `uninstall`. */
int fl_network_destroy(const struct fl_network_config *config, struct fl_err *err);

/* What tasks are led to at 169.254.170.2. */
struct fl_network_services {
    uint16_t metadata_port;      /* the agent's listener on 127.0.0.1; 0: none */
    uint16_t introspection_port; /* the other one, not for tasks; 0: none */
    uint16_t resolver_port;      /* likewise on 127.0.0.1, led there from port 53; 0: none */
    struct fl_str api_host;      /* IPv4 of this host where the API listens, or the way to it does;
                                    empty: not led there */
    uint16_t api_port;
    bool api_is_tunnel; /* it is the agent's own way to a server elsewhere */
};

/* The port at 169.254.170.2 behind which the API answers: its own, unless that is 80; 4566 for one
 * elsewhere. */
uint16_t fl_network_api_port(const struct fl_network_services *services);
/* To be called between fl_network_open and fl_network_restore_begin: takes effect with the table.
 * The first installation of a host also has the address itself, so that the host's own processes
 * (host mode) get there: *ret_has_address says so. */
int fl_network_serve(struct fl_network *network, const struct fl_network_services *services,
                     bool *ret_has_address, struct fl_err *err);
/* Whether an address of the bridge's subnet can be a container's: not the host's own. */
bool fl_network_is_container(const struct fl_network *network, const uint8_t address[4]);

struct fl_binding {
    uint16_t container_port;
    uint16_t host_port;
    bool udp;
    uint16_t more; /* of a range: how many ports follow, on both sides; 0: it is a single one */
    bool ipv6;     /* published on the host's IPv6 addresses, too */
};

struct fl_endpoint {
    uint8_t address[4]; /* IPv4; 0.0.0.0 for none and host mode */
    struct fl_binding *bindings;
    size_t binding_count;
    int netns_fd; /* -1 in host mode; the caller closes it once the shim has it */
};

/* Gives a container its network. FL_NET_BRIDGE: a namespace with eth0, address, routes, and its
 * ports published (dynamic ones and ranges chosen; -EADDRINUSE with a sentence when a static one is
 * taken, -ENOSPC when there is no room for the others). Where the host has IPv6, they are published
 * on its IPv6 addresses, too. FL_NET_NONE: a namespace with only lo. FL_NET_HOST: nothing but
 * bindings that repeat the container ports. Bindings are in the arena. */
int fl_network_attach(struct fl_network *network, struct fl_str container_id,
                      enum fl_network_mode mode, const struct fl_port_mapping *ports,
                      size_t port_count, struct fl_arena *arena, struct fl_endpoint *ret_endpoint,
                      struct fl_err *err);
/* A new namespace for a container that is attached already and starts again: address, ports and
 * bindings stay as they are. -ENOENT when it is not attached (or not to the bridge). */
int fl_network_renew(struct fl_network *network, struct fl_str container_id, struct fl_arena *arena,
                     struct fl_endpoint *ret_endpoint, struct fl_err *err);
/* Takes over a running container's endpoint after the agent's restart. Calls between begin and end
 * become one transaction. */
void fl_network_restore_begin(struct fl_network *network);
int fl_network_restore(struct fl_network *network, struct fl_str container_id,
                       const struct fl_endpoint *endpoint, struct fl_err *err);
int fl_network_restore_end(struct fl_network *network, struct fl_err *err);
/* Notices what somebody else did to the tables since the last call (`nft flush ruleset`), and puts
 * them in place again: true when it had to, or tried to (err then tells of a failure, rc < 0).
 * Costs one question to the kernel when nobody changed any rule; to be called every second or so.
 */
bool fl_network_mend(struct fl_network *network, int *ret_rc, struct fl_err *err);
/* Makes namespaces in advance, for the next containers to start: half of an attachment's time is
 * their making. For a quiet moment. */
void fl_network_stock(struct fl_network *network);
/* Unpublishes the ports and frees the address; the namespace dies with its last process. */
void fl_network_detach(struct fl_network *network, struct fl_str container_id);
