/* IPv4 ranges: the choice of the bridge's subnet, and the addresses in it. Pure.
 *
 * Addresses are uint32_t in the host's byte order, so that they can be counted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { FL_SUBNET_PREFIX = 20, FL_SUBNET_SIZE = 1 << (32 - FL_SUBNET_PREFIX) };

struct fl_subnet {
    uint32_t base; /* lowest address; no bit set beyond the prefix */
    uint8_t prefix;
};

/* The range of that prefix which holds the address. */
struct fl_subnet fl_subnet_of(uint32_t address, uint8_t prefix);
bool fl_subnet_overlaps(struct fl_subnet a, struct fl_subnet b);
bool fl_subnet_contains(struct fl_subnet subnet, uint32_t address);
/* The first private /20 of our candidates that overlaps none of the used ranges; false when every
 * one does. */
bool fl_subnet_choose(const struct fl_subnet *used, size_t used_count, struct fl_subnet *ret);
/* "172.18.0.0/20": false unless all four numbers and the prefix are well-formed and no bit is set
 * beyond the prefix. */
bool fl_subnet_parse(struct fl_str text, struct fl_subnet *ret);

#define FL_SUBNET_TEXT_SIZE 19
void fl_subnet_text(struct fl_subnet subnet, char ret_text[FL_SUBNET_TEXT_SIZE]);
#define FL_IPV4_TEXT_SIZE 16
void fl_ipv4_text(uint32_t address, char ret_text[FL_IPV4_TEXT_SIZE]);
uint32_t fl_ipv4_of(const uint8_t bytes[4]);
void fl_ipv4_bytes(uint32_t address, uint8_t ret_bytes[4]);
/* The link-layer address that goes with an IPv4 address: locally administered, so that a
 * neighbour's cache stays right when the address gets a new owner. */
void fl_ipv4_mac(uint32_t address, uint8_t ret_mac[6]);

/* The IPv6 address that goes with an IPv4 address of an installation: the installation's own unique
 * local network of FL_IPV6_PREFIX bits, chosen by its tag, then the IPv4 address. */
enum { FL_IPV6_PREFIX = 64 };
void fl_ipv6_of(struct fl_str tag, uint32_t address, uint8_t ret_bytes[16]);
#define FL_IPV6_TEXT_SIZE 46
void fl_ipv6_text(const uint8_t bytes[16], char ret_text[FL_IPV6_TEXT_SIZE]);

/* Which addresses of a /20 are taken. The next one is searched behind the last one given, so that
 * an address rests as long as possible before it is used again. Zeroed memory plus the subnet is a
 * valid, empty pool. */
struct fl_address_pool {
    struct fl_subnet subnet;
    uint32_t last; /* offset given last */
    uint8_t taken[FL_SUBNET_SIZE / 8];
};

/* False when the pool is exhausted. Never the network's, the gateway's (.1) or the last address. */
bool fl_address_take(struct fl_address_pool *pool, uint32_t *ret_address);
/* Takes a certain address (one of an adopted container): false when it is not of the pool or taken
 * already. */
bool fl_address_claim(struct fl_address_pool *pool, uint32_t address);
void fl_address_free(struct fl_address_pool *pool, uint32_t address);
