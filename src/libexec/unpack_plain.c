/* The archive's bytes without their compression. gzip, which nearly all layers are in, by ISA-L:
 * inflating is most of what unpacking costs, and it takes less than half of zlib's time for it.
 * zstd and none by libarchive's raw reader, which is fed from the same buffer. */
#include <errno.h>
#include <isa-l/igzip_lib.h>

#include "libexec/unpack.h"

enum { IN_BYTES = 256 << 10, OUT_BYTES = 256 << 10, MAGIC_BYTES = 2 };

struct fl_plain {
    int fd;
    uint64_t packed; /* read so far */
    uint8_t *in;     /* IN_BYTES; in[at..n) is not used yet */
    size_t at, n;
    bool in_at_end;
    struct archive *raw; /* NULL: gzip */
    struct inflate_state *gzip;
    uint8_t *out; /* OUT_BYTES */
};

static bool is_gzip(const struct fl_plain *plain)
{
    return plain->n - plain->at >= MAGIC_BYTES && plain->in[plain->at] == 0x1f &&
           plain->in[plain->at + 1] == 0x8b;
}

/* Reads until `least` unused bytes are there, or the end. */
static int fill(struct fl_plain *plain, size_t least, struct fl_err *err)
{
    memmove(plain->in, plain->in + plain->at, plain->n - plain->at);
    plain->n -= plain->at;
    plain->at = 0;
    while (plain->n < least && !plain->in_at_end) {
        ssize_t got = read(plain->fd, plain->in + plain->n, IN_BYTES - plain->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fl_err_errno(err, -errno, "the archive cannot be read");
        plain->in_at_end = got == 0;
        plain->n += (size_t)got;
        plain->packed += (uint64_t)got;
    }
    return 0;
}

/* ---- gzip ---- */

static const char *gzip_reason(int rc)
{
    switch (rc) {
    case ISAL_INVALID_BLOCK:
    case ISAL_INVALID_SYMBOL:
    case ISAL_INVALID_LOOKBACK:
        return "invalid deflate data";
    case ISAL_INVALID_WRAPPER:
    case ISAL_UNSUPPORTED_METHOD:
        return "invalid gzip header";
    case ISAL_INCORRECT_CHECKSUM:
        return "wrong gzip checksum";
    }
    return "invalid gzip data";
}

static void gzip_begin(struct fl_plain *plain)
{
    isal_inflate_init(plain->gzip);
    plain->gzip->crc_flag = ISAL_GZIP;
}

static bool gzip_is_done(const struct fl_plain *plain)
{
    return plain->gzip->block_state == ISAL_BLOCK_FINISH;
}

/* Members follow each other; what follows them and is none is nobody's. 1: there is one more. */
static int gzip_next_member(struct fl_plain *plain, struct fl_err *err)
{
    int rc = fill(plain, MAGIC_BYTES, err);
    if (rc < 0 || !is_gzip(plain))
        return rc;
    gzip_begin(plain);
    return 1;
}

/* 1 with bytes, 0 with none yet. Every step takes something or gives something, or is the last. */
static int gzip_step(struct fl_plain *plain, size_t *ret_n, struct fl_err *err)
{
    struct inflate_state *gzip = plain->gzip;
    size_t n = plain->n - plain->at;
    gzip->next_in = plain->in + plain->at;
    gzip->avail_in = (uint32_t)n;
    gzip->next_out = plain->out;
    gzip->avail_out = OUT_BYTES;
    int rc = isal_inflate(gzip);
    plain->at = plain->n - gzip->avail_in;
    *ret_n = OUT_BYTES - gzip->avail_out;
    if (rc == ISAL_DECOMP_OK && (*ret_n > 0 || gzip->avail_in < n || gzip_is_done(plain)))
        return *ret_n > 0;
    return fl_err_set(err, -EBADMSG, "the archive's compression is damaged: %s",
                      rc == ISAL_DECOMP_OK && n == 0 ? "truncated gzip data" : gzip_reason(rc));
}

static int gzip_next(struct fl_plain *plain, const void **ret_bytes, size_t *ret_n,
                     struct fl_err *err)
{
    int rc = 0;
    *ret_bytes = plain->out;
    while (rc == 0) {
        rc = gzip_is_done(plain) ? gzip_next_member(plain, err) : fill(plain, 1, err);
        if (rc < 0 || gzip_is_done(plain))
            break;
        rc = gzip_step(plain, ret_n, err);
    }
    return rc;
}

/* ---- the rest ---- */

static la_ssize_t feed_raw(struct archive *archive, void *context, const void **ret_bytes)
{
    struct fl_plain *plain = context;
    struct fl_err err = {0};
    if (fill(plain, 1, &err) < 0) {
        archive_set_error(archive, EIO, "%s", err.text);
        return -1;
    }
    *ret_bytes = plain->in + plain->at;
    size_t n = plain->n - plain->at;
    plain->at = plain->n;
    return (la_ssize_t)n;
}

static int raw_open(struct fl_plain *plain, struct fl_err *err)
{
    struct archive_entry *whole = NULL;
    plain->raw = archive_read_new();
    FL_ASSERT(plain->raw);
    (void)archive_read_support_filter_zstd(plain->raw);
    (void)archive_read_support_format_raw(plain->raw);
    (void)archive_read_support_format_empty(plain->raw);
    int rc = archive_read_open(plain->raw, plain, NULL, feed_raw, NULL);
    if (rc == ARCHIVE_OK)
        rc = archive_read_next_header(plain->raw, &whole);
    if (rc == ARCHIVE_EOF)
        return fl_err_set(err, -EBADMSG, "the archive is empty");
    return rc == ARCHIVE_OK ? 0
                            : fl_err_set(err, -EBADMSG, "the archive cannot be read: %s",
                                         fl_archive_reason(plain->raw));
}

static int raw_next(struct fl_plain *plain, const void **ret_bytes, size_t *ret_n,
                    struct fl_err *err)
{
    int64_t offset = 0;
    int rc = ARCHIVE_OK;
    *ret_n = 0;
    while (rc == ARCHIVE_OK && *ret_n == 0)
        rc = archive_read_data_block(plain->raw, ret_bytes, ret_n, &offset);
    if (rc == ARCHIVE_EOF)
        return 0;
    return rc == ARCHIVE_OK ? 1
                            : fl_err_set(err, -EBADMSG, "the archive's compression is damaged: %s",
                                         fl_archive_reason(plain->raw));
}

/* ---- both ---- */

int fl_plain_open(int fd, struct fl_plain **ret_plain, struct fl_err *err)
{
    struct fl_plain *plain = fl_calloc(1, sizeof(*plain));
    plain->fd = fd;
    plain->in = fl_malloc(IN_BYTES);
    int rc = fill(plain, MAGIC_BYTES, err);
    if (rc == 0 && is_gzip(plain)) {
        plain->gzip = fl_calloc(1, sizeof(*plain->gzip));
        plain->out = fl_malloc(OUT_BYTES);
        gzip_begin(plain);
    } else if (rc == 0) {
        rc = raw_open(plain, err);
    }
    if (rc < 0)
        fl_plain_close(plain);
    else
        *ret_plain = plain;
    return rc;
}

int fl_plain_next(struct fl_plain *plain, const void **ret_bytes, size_t *ret_n, struct fl_err *err)
{
    return plain->raw ? raw_next(plain, ret_bytes, ret_n, err)
                      : gzip_next(plain, ret_bytes, ret_n, err);
}

uint64_t fl_plain_packed(const struct fl_plain *plain)
{
    return plain->packed;
}

void fl_plain_close(struct fl_plain *plain)
{
    if (!plain)
        return;
    if (plain->raw)
        (void)archive_read_free(plain->raw);
    free(plain->gzip);
    free(plain->out);
    free(plain->in);
    free(plain);
}
