/* The archive as a stream: what unpack_plain.c gives goes through a libarchive reader of tar, so
 * that every decompressed byte is counted and hashed once. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/id.h"
#include "libexec/unpack.h"

struct fl_tar {
    struct fl_plain *plain;
    struct archive *tar;
    EVP_MD_CTX *hash;
    struct fl_unpack_limits limits;
    uint64_t bytes;   /* decompressed so far */
    uint64_t claimed; /* sizes of the entries so far, holes included */
    uint64_t entries;
    bool plain_at_end;
    struct fl_err failure; /* of the decompressing side; status 0 if none */
};

static int check_bomb(struct fl_tar *tar, struct fl_err *err)
{
    uint64_t packed = FL_MAX((uint64_t)1, fl_plain_packed(tar->plain));
    if (FL_MAX(tar->bytes, tar->claimed) > tar->limits.bytes)
        return fl_err_set(err, -EFBIG, "the archive unpacks to more than %llu bytes",
                          (unsigned long long)tar->limits.bytes);
    if (tar->bytes > FL_UNPACK_RATIO_FROM && tar->bytes / packed >= FL_UNPACK_RATIO_MAX)
        return fl_err_set(err, -EFBIG, "the archive unpacks to more than %d times its size",
                          FL_UNPACK_RATIO_MAX);
    return 0;
}

const char *fl_archive_reason(struct archive *archive)
{
    const char *text = archive_error_string(archive);
    return fl_printable(text && *text ? text : "no reason given");
}

/* 0 at the end, -1 with the failure. */
static ssize_t read_plain(struct fl_tar *tar, const void **ret_bytes)
{
    size_t n = 0;
    if (tar->plain_at_end)
        return 0;
    int rc = fl_plain_next(tar->plain, ret_bytes, &n, &tar->failure);
    tar->plain_at_end = rc == 0;
    if (rc <= 0)
        return rc < 0 ? -1 : 0;
    tar->bytes += n;
    FL_ASSERT(EVP_DigestUpdate(tar->hash, *ret_bytes, n) == 1);
    return check_bomb(tar, &tar->failure) < 0 ? -1 : (ssize_t)n;
}

static la_ssize_t feed(struct archive *archive, void *context, const void **ret_bytes)
{
    struct fl_tar *tar = context;
    ssize_t n = read_plain(tar, ret_bytes);
    if (n < 0)
        archive_set_error(archive, EIO, "%s", tar->failure.text);
    return n;
}

/* Which side failed is told by the decompressing side's own error. */
static int complain(struct fl_tar *tar, struct fl_err *err)
{
    if (tar->failure.status) {
        *err = tar->failure;
        return err->status;
    }
    return fl_err_set(err, -EBADMSG, "the archive is damaged or no tar: %s",
                      fl_archive_reason(tar->tar));
}

int fl_tar_open(int fd, const struct fl_unpack_limits *limits, struct fl_tar **ret_tar,
                struct fl_err *err)
{
    struct fl_tar *tar = fl_calloc(1, sizeof(*tar));
    tar->limits = *limits;
    tar->hash = EVP_MD_CTX_new();
    FL_ASSERT(tar->hash && EVP_DigestInit_ex(tar->hash, EVP_sha256(), NULL) == 1);
    int rc = fl_plain_open(fd, &tar->plain, err);
    if (rc == 0) {
        tar->tar = archive_read_new();
        FL_ASSERT(tar->tar);
        (void)archive_read_support_format_tar(tar->tar);
        if (archive_read_open(tar->tar, tar, NULL, feed, NULL) != ARCHIVE_OK)
            rc = complain(tar, err);
    }
    if (rc < 0)
        fl_tar_close(tar);
    else
        *ret_tar = tar;
    return rc;
}

int fl_tar_next(struct fl_tar *tar, struct archive_entry **ret_entry, struct fl_err *err)
{
    int rc = archive_read_next_header(tar->tar, ret_entry);
    if (rc == ARCHIVE_EOF)
        return tar->failure.status ? complain(tar, err) : 0;
    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
        return complain(tar, err);
    if (++tar->entries > tar->limits.entries)
        return fl_err_set(err, -E2BIG, "the archive has more than %llu entries",
                          (unsigned long long)tar->limits.entries);
    int64_t size = archive_entry_size(*ret_entry);
    if (size < 0 || (uint64_t)size > tar->limits.bytes)
        return fl_err_set(err, -EFBIG, "the archive unpacks to more than %llu bytes",
                          (unsigned long long)tar->limits.bytes);
    tar->claimed += (uint64_t)size;
    rc = check_bomb(tar, err);
    return rc < 0 ? rc : 1;
}

int fl_tar_data(struct fl_tar *tar, const void **ret_bytes, size_t *ret_n, int64_t *ret_offset,
                struct fl_err *err)
{
    int rc = archive_read_data_block(tar->tar, ret_bytes, ret_n, ret_offset);
    if (rc == ARCHIVE_EOF)
        return 0;
    return rc == ARCHIVE_OK ? 1 : complain(tar, err);
}

int fl_tar_finish(struct fl_tar *tar, char ret_hex[65], struct fl_err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_n = 0;
    const void *bytes = NULL;
    ssize_t n = 0;
    while (!tar->plain_at_end && n >= 0)
        n = read_plain(tar, &bytes);
    if (n < 0)
        return complain(tar, err);
    FL_ASSERT(EVP_DigestFinal_ex(tar->hash, digest, &digest_n) == 1 && digest_n == 32);
    fl_hex(digest, 32, ret_hex);
    return 0;
}

void fl_tar_close(struct fl_tar *tar)
{
    if (!tar)
        return;
    if (tar->tar)
        (void)archive_read_free(tar->tar);
    fl_plain_close(tar->plain);
    EVP_MD_CTX_free(tar->hash);
    free(tar);
}
