/* IPv4 ranges and the address pool; see the header. */
#include "agent/net_subnet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_OFFSET = 2, LAST_OFFSET = FL_SUBNET_SIZE - 2 };

/* Where to look for a free range: first the neighbourhood of Docker's networks, which nobody routes
 * to by habit, last the ranges of home routers. */
static const struct candidates {
    uint32_t first;
    uint32_t step;
    uint32_t count;
} candidates[] = {
    {0xac120000, 0x10000, 14},  /* 172.18.0.0 – 172.31.0.0 */
    {0x0a400000, 0x10000, 128}, /* 10.64.0.0 – 10.191.0.0 */
    {0xc0a80000, 0x01000, 16},  /* 192.168.0.0 – 192.168.240.0 */
};

static uint32_t mask_of(uint8_t prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

struct fl_subnet fl_subnet_of(uint32_t address, uint8_t prefix)
{
    return (struct fl_subnet){address & mask_of(prefix), prefix};
}

bool fl_subnet_contains(struct fl_subnet subnet, uint32_t address)
{
    return (address & mask_of(subnet.prefix)) == subnet.base;
}

bool fl_subnet_overlaps(struct fl_subnet a, struct fl_subnet b)
{
    return a.prefix < b.prefix ? fl_subnet_contains(a, b.base) : fl_subnet_contains(b, a.base);
}

static bool is_free(struct fl_subnet subnet, const struct fl_subnet *used, size_t used_count)
{
    for (size_t i = 0; i < used_count; i++)
        if (fl_subnet_overlaps(subnet, used[i]))
            return false;
    return true;
}

bool fl_subnet_choose(const struct fl_subnet *used, size_t used_count, struct fl_subnet *ret)
{
    for (size_t c = 0; c < FL_ARRAY_SIZE(candidates); c++) {
        for (uint32_t i = 0; i < candidates[c].count; i++) {
            struct fl_subnet subnet = {candidates[c].first + i * candidates[c].step,
                                       FL_SUBNET_PREFIX};
            if (!is_free(subnet, used, used_count))
                continue;
            *ret = subnet;
            return true;
        }
    }
    return false;
}

bool fl_subnet_parse(struct fl_str text, struct fl_subnet *ret)
{
    struct fl_str address, part;
    uint32_t base = 0;
    uint64_t number;
    if (!fl_str_split(&text, '/', &address))
        return false;
    for (int i = 0; i < 4; i++) {
        if (!fl_str_split(&address, '.', &part) || !fl_str_to_u64(part, &number) || number > 255)
            return false;
        base = base << 8 | (uint32_t)number;
    }
    if (address.n || !fl_str_to_u64(text, &number) || number > 32)
        return false;
    if (base & ~mask_of((uint8_t)number))
        return false;
    *ret = (struct fl_subnet){base, (uint8_t)number};
    return true;
}

void fl_ipv4_text(uint32_t address, char ret_text[FL_IPV4_TEXT_SIZE])
{
    uint8_t b[4];
    fl_ipv4_bytes(address, b);
    snprintf(ret_text, FL_IPV4_TEXT_SIZE, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
}

void fl_subnet_text(struct fl_subnet subnet, char ret_text[FL_SUBNET_TEXT_SIZE])
{
    char address[FL_IPV4_TEXT_SIZE];
    fl_ipv4_text(subnet.base, address);
    snprintf(ret_text, FL_SUBNET_TEXT_SIZE, "%s/%u", address, subnet.prefix % 100u);
}

uint32_t fl_ipv4_of(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

void fl_ipv4_bytes(uint32_t address, uint8_t ret_bytes[4])
{
    for (int i = 0; i < 4; i++)
        ret_bytes[i] = (uint8_t)(address >> (24 - 8 * i));
}

void fl_ipv4_mac(uint32_t address, uint8_t ret_mac[6])
{
    ret_mac[0] = 0x02;
    ret_mac[1] = 0x66;
    fl_ipv4_bytes(address, ret_mac + 2);
}

/* FNV-1a spreads the tags over the forty bits that tell unique local networks apart. */
void fl_ipv6_of(struct fl_str tag, uint32_t address, uint8_t ret_bytes[16])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < tag.n; i++)
        hash = (hash ^ (uint8_t)tag.p[i]) * UINT64_C(0x100000001b3);
    memset(ret_bytes, 0, 16);
    ret_bytes[0] = 0xfd;
    for (int i = 0; i < 5; i++)
        ret_bytes[1 + i] = (uint8_t)(hash >> (8 * i));
    fl_ipv4_bytes(address, ret_bytes + 12);
}

void fl_ipv6_text(const uint8_t bytes[16], char ret_text[FL_IPV6_TEXT_SIZE])
{
    (void)inet_ntop(AF_INET6, bytes, ret_text, FL_IPV6_TEXT_SIZE);
}

static bool is_taken(const struct fl_address_pool *pool, uint32_t offset)
{
    return pool->taken[offset / 8] & 1u << offset % 8;
}

bool fl_address_take(struct fl_address_pool *pool, uint32_t *ret_address)
{
    uint32_t offset = pool->last;
    for (uint32_t i = FIRST_OFFSET; i <= LAST_OFFSET; i++) {
        offset = offset < FIRST_OFFSET || offset >= LAST_OFFSET ? FIRST_OFFSET : offset + 1;
        if (is_taken(pool, offset))
            continue;
        pool->taken[offset / 8] |= (uint8_t)(1u << offset % 8);
        pool->last = offset;
        *ret_address = pool->subnet.base + offset;
        return true;
    }
    return false;
}

static bool offset_of(const struct fl_address_pool *pool, uint32_t address, uint32_t *ret_offset)
{
    *ret_offset = address - pool->subnet.base;
    return fl_subnet_contains(pool->subnet, address) && *ret_offset >= FIRST_OFFSET &&
           *ret_offset <= LAST_OFFSET;
}

bool fl_address_claim(struct fl_address_pool *pool, uint32_t address)
{
    uint32_t offset;
    if (!offset_of(pool, address, &offset) || is_taken(pool, offset))
        return false;
    pool->taken[offset / 8] |= (uint8_t)(1u << offset % 8);
    pool->last = FL_MAX(pool->last, offset);
    return true;
}

void fl_address_free(struct fl_address_pool *pool, uint32_t address)
{
    uint32_t offset;
    if (offset_of(pool, address, &offset))
        pool->taken[offset / 8] &= (uint8_t) ~(1u << offset % 8);
}
