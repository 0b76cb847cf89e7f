/* The metadata address: whose it is on this host, and what is led there. */
#include <arpa/inet.h>
#include <errno.h>

#include "agent/net_link.h"
#include "agent/net_state.h"

enum { HTTP_PORT = 80, OTHER_API_PORT = 4566, MAX_RANGES = 65536 };

uint16_t fl_network_api_port(const struct fl_network_services *services)
{
    return services->api_is_tunnel || services->api_port == HTTP_PORT ? OTHER_API_PORT
                                                                      : services->api_port;
}

static bool is_taken(struct fl_network *network)
{
    FL_CLEANUP_FREE struct fl_subnet *used = fl_calloc(MAX_RANGES, sizeof(*used));
    size_t count = 0;
    if (fl_link_used_ranges(network->sock, network->bridge_index, used, MAX_RANGES, &count) < 0)
        return true;
    for (size_t i = 0; i < count; i++)
        if (used[i].base == fl_rules_metadata_address() && used[i].prefix == 32)
            return true;
    return false;
}

/* With the address on the bridge there is a way to it also where no default route is. */
static int take_address(struct fl_network *network, bool *ret_has_address, struct fl_err *err)
{
    *ret_has_address = !is_taken(network);
    if (!*ret_has_address)
        return 0;
    int rc =
        fl_link_add_address(network->sock, network->bridge_index, fl_rules_metadata_address(), 32);
    return rc < 0
               ? fl_err_errno(err, rc, "cannot give bridge %s the metadata address", network->tag)
               : 0;
}

int fl_network_serve(struct fl_network *network, const struct fl_network_services *services,
                     bool *ret_has_address, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    uint8_t bytes[4];
    int rc = take_address(network, ret_has_address, err);
    if (rc < 0)
        return rc;
    network->services = (struct fl_rule_services){
        .metadata_port = services->metadata_port,
        .introspection_port = services->introspection_port,
        .resolver_port = services->resolver_port,
        .for_host = *ret_has_address,
    };
    if (services->api_host.n > 0 &&
        inet_pton(AF_INET, fl_str_z(arena, services->api_host), bytes) == 1) {
        network->services.api_port = fl_network_api_port(services);
        network->services.api_address = fl_ipv4_of(bytes);
        network->services.api_target_port = services->api_port;
    }
    return 0;
}

bool fl_network_is_container(const struct fl_network *network, const uint8_t address[4])
{
    uint32_t value = fl_ipv4_of(address);
    struct fl_subnet subnet = network->addresses.subnet;
    return fl_subnet_of(value, subnet.prefix).base == subnet.base && value != subnet.base + 1;
}
