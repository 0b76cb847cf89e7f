/* Ids by HMAC-SHA-256, cut to 128 bits; compared in constant time. */
#include "agent/metadata_id.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/fs.h"
#include "base/id.h"

enum { CONTAINER_ID = 64, MAC_BYTES = 16 };

int fl_metadata_key_open(struct fl_str dir, uint8_t ret_key[FL_METADATA_KEY_SIZE],
                         struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256);
    char hex[2 * FL_METADATA_KEY_SIZE + 1];
    const char *path = fl_str_printf(arena, "%.*s/metadata.key", FL_STR_ARG(dir)).p;
    int r = fl_fs_read(AT_FDCWD, path, 255, &text);
    if (r == 0 && fl_unhex(fl_str_trim(fl_buf_str(&text)), ret_key, FL_METADATA_KEY_SIZE))
        return 0;
    if (r < 0 && r != -ENOENT)
        return fl_err_errno(err, r, "%s cannot be read", path);
    fl_random_bytes(ret_key, FL_METADATA_KEY_SIZE);
    fl_hex(ret_key, FL_METADATA_KEY_SIZE, hex);
    r = fl_fs_write_atomic(AT_FDCWD, path, fl_str_of(hex), 0600);
    return r < 0 ? fl_err_errno(err, r, "%s cannot be written", path) : 0;
}

void fl_metadata_id_make(const uint8_t key[FL_METADATA_KEY_SIZE], struct fl_str container_id,
                         char ret_id[FL_METADATA_ID_SIZE])
{
    uint8_t mac[EVP_MAX_MD_SIZE] = {0};
    unsigned n = sizeof(mac);
    FL_ASSERT(container_id.n == CONTAINER_ID);
    FL_ASSERT(HMAC(EVP_sha256(), key, FL_METADATA_KEY_SIZE, (const uint8_t *)container_id.p,
                   container_id.n, mac, &n));
    memcpy(ret_id, container_id.p, CONTAINER_ID);
    ret_id[CONTAINER_ID] = '-';
    fl_hex(mac, MAC_BYTES, ret_id + CONTAINER_ID + 1);
}

bool fl_metadata_id_read(const uint8_t key[FL_METADATA_KEY_SIZE], struct fl_str id,
                         struct fl_str *ret_container_id)
{
    char right[FL_METADATA_ID_SIZE];
    if (id.n != FL_METADATA_ID_SIZE - 1)
        return false;
    fl_metadata_id_make(key, fl_str_sub(id, 0, CONTAINER_ID), right);
    if (CRYPTO_memcmp(right, id.p, id.n) != 0)
        return false;
    *ret_container_id = fl_str_sub(id, 0, CONTAINER_ID);
    return true;
}
