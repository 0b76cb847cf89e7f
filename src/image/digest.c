/* SHA-256 digests over OpenSSL's EVP. */
#include "image/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "base/id.h"

struct fl_hasher {
    EVP_MD_CTX *context;
};

bool fl_digest_parse_hex(struct fl_str hex, struct fl_digest *ret_digest)
{
    if (hex.n != 64)
        return false;
    for (size_t i = 0; i < hex.n; i++) {
        char c = hex.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    memcpy(ret_digest->hex, hex.p, 64);
    ret_digest->hex[64] = '\0';
    return true;
}

bool fl_digest_parse(struct fl_str text, struct fl_digest *ret_digest)
{
    if (!fl_str_starts(text, FL_STR("sha256:")))
        return false;
    return fl_digest_parse_hex(fl_str_from(text, 7), ret_digest);
}

void fl_digest_text(const struct fl_digest *digest, char ret_text[FL_DIGEST_TEXT_SIZE])
{
    (void)snprintf(ret_text, FL_DIGEST_TEXT_SIZE, "sha256:%s", digest->hex);
}

bool fl_digest_eq(const struct fl_digest *a, const struct fl_digest *b)
{
    return memcmp(a->hex, b->hex, 64) == 0;
}

struct fl_hasher *fl_hasher_new(void)
{
    struct fl_hasher *hasher = fl_malloc(sizeof(*hasher));
    hasher->context = EVP_MD_CTX_new();
    FL_ASSERT(hasher->context && EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) == 1);
    return hasher;
}

void fl_hasher_add(struct fl_hasher *hasher, const void *bytes, size_t n)
{
    FL_ASSERT(EVP_DigestUpdate(hasher->context, bytes, n) == 1);
}

struct fl_digest fl_hasher_end(struct fl_hasher *hasher)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    struct fl_digest digest;
    FL_ASSERT(EVP_DigestFinal_ex(hasher->context, raw, &n) == 1 && n == 32);
    fl_hex(raw, 32, digest.hex);
    return digest;
}

void fl_hasher_free(struct fl_hasher *hasher)
{
    if (!hasher)
        return;
    EVP_MD_CTX_free(hasher->context);
    free(hasher);
}

struct fl_digest fl_digest_of(struct fl_str bytes)
{
    FL_CLEANUP_HASHER struct fl_hasher *hasher = fl_hasher_new();
    fl_hasher_add(hasher, bytes.p, bytes.n);
    return fl_hasher_end(hasher);
}
