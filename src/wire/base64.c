/* OpenSSL's blocks, which are lenient: white space at the ends is theirs to skip and ours to
 * refuse. */
#include "wire/base64.h"

#include <openssl/evp.h>

enum { MAX_TEXT = 1 << 30 };

struct fl_str fl_base64_encode(struct fl_arena *arena, struct fl_str bytes)
{
    FL_ASSERT(bytes.n <= MAX_TEXT);
    unsigned char *text = fl_arena_alloc(arena, 4 * ((bytes.n + 2) / 3) + 1);
    int n = EVP_EncodeBlock(text, (const unsigned char *)bytes.p, (int)bytes.n);
    return (struct fl_str){(char *)text, (size_t)n};
}

bool fl_base64_decode(struct fl_str text, struct fl_arena *arena, struct fl_str *ret_bytes)
{
    size_t padding = 0;
    if (text.n % 4 != 0 || text.n > MAX_TEXT)
        return false;
    while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < text.n - padding; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '=')
            return false;
    unsigned char *bytes = fl_arena_alloc(arena, text.n / 4 * 3 + 1);
    int n = text.n ? EVP_DecodeBlock(bytes, (const unsigned char *)text.p, (int)text.n) : 0;
    if (n < (int)padding)
        return false;
    *ret_bytes = (struct fl_str){(char *)bytes, (size_t)n - padding};
    return true;
}
