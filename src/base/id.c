/* xoshiro256** and hexadecimal; the system's generator. */
#include "base/id.h"

#include <stdio.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void fl_rand_seed(struct fl_rand *rand, const uint8_t seed[32])
{
    memcpy(rand->s, seed, sizeof(rand->s));
    rand->s[0] ^= 0x9e3779b97f4a7c15u; /* the all-zero state would yield zeros for ever */
    for (int i = 0; i < 8; i++)
        (void)fl_rand_u64(rand);
}

uint64_t fl_rand_u64(struct fl_rand *rand)
{
    uint64_t *s = rand->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t fl_rand_below(struct fl_rand *rand, uint64_t bound)
{
    FL_ASSERT(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value = fl_rand_u64(rand);
    while (value >= limit)
        value = fl_rand_u64(rand);
    return value % bound;
}

void fl_hex(const void *bytes, size_t n, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) {
        ret_text[2 * i] = digits[b[i] >> 4];
        ret_text[2 * i + 1] = digits[b[i] & 15];
    }
    ret_text[2 * n] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool fl_unhex(struct fl_str s, void *ret_bytes, size_t n)
{
    uint8_t *b = ret_bytes;
    if (s.n != 2 * n)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (digit_value(s.p[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(digit_value(s.p[2 * i]) << 4 | digit_value(s.p[2 * i + 1]));
    return true;
}

void fl_random_bytes(void *bytes, size_t n)
{
    uint8_t *b = bytes;
    while (n > 0) {
        ssize_t got = getrandom(b, n, 0);
        if (got <= 0) {
            (void)fputs("fairlead: the system has no random numbers\n", stderr);
            abort();
        }
        b += got;
        n -= (size_t)got;
    }
}

void fl_random_take(struct fl_random_stock *stock, void *ret_bytes, size_t n)
{
    FL_ASSERT(n <= sizeof(stock->bytes));
    if (stock->left < n) {
        fl_random_bytes(stock->bytes, sizeof(stock->bytes));
        stock->left = sizeof(stock->bytes);
    }
    stock->left -= n;
    memcpy(ret_bytes, stock->bytes + stock->left, n);
    memset(stock->bytes + stock->left, 0, n);
}
