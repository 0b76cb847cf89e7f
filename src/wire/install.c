/* The installation's name; see the header. */
#include "wire/install.h"

#include <openssl/sha.h>

#include "base/id.h"

void fl_install_tag(struct fl_str data_dir, char ret_tag[FL_INSTALL_TAG_SIZE])
{
    while (data_dir.n > 1 && data_dir.p[data_dir.n - 1] == '/')
        data_dir.n--;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)data_dir.p, data_dir.n, digest);
    memcpy(ret_tag, "fl", 2);
    fl_hex(digest, 3, ret_tag + 2);
}
