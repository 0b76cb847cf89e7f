/* The archive as a stream: decompression (gzip, zstd, none) in one libarchive reader, the tar
 * format in a second one fed by the first, so that every decompressed byte is counted and hashed
 * once. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/id.h"
#include "libexec/unpack.h"

struct fl_tar {
    struct archive *raw; /* decompresses */
    struct archive *tar;
    EVP_MD_CTX *hash;
    struct fl_unpack_limits limits;
    uint64_t bytes;   /* decompressed so far */
    uint64_t claimed; /* sizes of the entries so far, holes included */
    uint64_t entries;
    bool raw_at_end;
    struct fl_err failure; /* of the decompressing side; status 0 if none */
};

static int check_bomb(struct fl_tar *tar, struct fl_err *err)
{
    uint64_t packed = (uint64_t)FL_MAX(1, archive_filter_bytes(tar->raw, -1));
    if (FL_MAX(tar->bytes, tar->claimed) > tar->limits.bytes)
        return fl_err_set(err, -EFBIG, "the archive unpacks to more than %llu bytes",
                          (unsigned long long)tar->limits.bytes);
    if (tar->bytes > FL_UNPACK_RATIO_FROM && tar->bytes / packed >= FL_UNPACK_RATIO_MAX)
        return fl_err_set(err, -EFBIG, "the archive unpacks to more than %d times its size",
                          FL_UNPACK_RATIO_MAX);
    return 0;
}

/* libarchive's words, if it has any. */
static const char *reason(struct archive *archive)
{
    const char *text = archive_error_string(archive);
    return fl_printable(text && *text ? text : "no reason given");
}

static ssize_t read_raw(struct fl_tar *tar, const void **ret_bytes)
{
    size_t n = 0;
    int64_t offset = 0;
    if (tar->raw_at_end)
        return 0;
    int rc = archive_read_data_block(tar->raw, ret_bytes, &n, &offset);
    if (rc == ARCHIVE_EOF) {
        tar->raw_at_end = true;
        return 0;
    }
    if (rc != ARCHIVE_OK) {
        (void)fl_err_set(&tar->failure, -EBADMSG, "the archive's compression is damaged: %s",
                         reason(tar->raw));
        return -1;
    }
    tar->bytes += n;
    FL_ASSERT(EVP_DigestUpdate(tar->hash, *ret_bytes, n) == 1);
    return check_bomb(tar, &tar->failure) < 0 ? -1 : (ssize_t)n;
}

static la_ssize_t feed(struct archive *archive, void *context, const void **ret_bytes)
{
    struct fl_tar *tar = context;
    ssize_t n = 0;
    /* An empty block would read as the end of the stream. */
    do
        n = read_raw(tar, ret_bytes);
    while (n == 0 && !tar->raw_at_end);
    if (n < 0)
        archive_set_error(archive, EIO, "%s", tar->failure.text);
    return n;
}

static int open_raw(struct fl_tar *tar, int fd, struct fl_err *err)
{
    struct archive_entry *whole = NULL;
    tar->raw = archive_read_new();
    FL_ASSERT(tar->raw);
    (void)archive_read_support_filter_gzip(tar->raw);
    (void)archive_read_support_filter_zstd(tar->raw);
    (void)archive_read_support_format_raw(tar->raw);
    (void)archive_read_support_format_empty(tar->raw);
    if (archive_read_open_fd(tar->raw, fd, 256 << 10) != ARCHIVE_OK)
        return fl_err_set(err, -EBADMSG, "the archive cannot be read: %s", reason(tar->raw));
    int rc = archive_read_next_header(tar->raw, &whole);
    if (rc == ARCHIVE_EOF)
        return fl_err_set(err, -EBADMSG, "the archive is empty");
    if (rc != ARCHIVE_OK)
        return fl_err_set(err, -EBADMSG, "the archive cannot be read: %s", reason(tar->raw));
    return 0;
}

/* Which side failed is told by the decompressing side's own error. */
static int complain(struct fl_tar *tar, struct fl_err *err)
{
    if (tar->failure.status) {
        *err = tar->failure;
        return err->status;
    }
    return fl_err_set(err, -EBADMSG, "the archive is damaged or no tar: %s", reason(tar->tar));
}

int fl_tar_open(int fd, const struct fl_unpack_limits *limits, struct fl_tar **ret_tar,
                struct fl_err *err)
{
    struct fl_tar *tar = fl_calloc(1, sizeof(*tar));
    tar->limits = *limits;
    tar->hash = EVP_MD_CTX_new();
    FL_ASSERT(tar->hash && EVP_DigestInit_ex(tar->hash, EVP_sha256(), NULL) == 1);
    int rc = open_raw(tar, fd, err);
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
    while (!tar->raw_at_end && n >= 0)
        n = read_raw(tar, &bytes);
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
    if (tar->raw)
        (void)archive_read_free(tar->raw);
    EVP_MD_CTX_free(tar->hash);
    free(tar);
}
