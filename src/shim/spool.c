/* Output into records; the cap, by blocking or by a ring. */
#include "shim/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    CAP_BYTES = 64 * 1024 * 1024,
    LOOK_EVERY_BYTES = 1024 * 1024,
    HEADER_MAX = 32,
    BLOCK_BYTES = 4096,
};

int spool_open(struct spool *spool, int dir_fd, bool is_shipped)
{
    spool->fd = openat(dir_fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (spool->fd < 0)
        return -errno;
    spool->is_shipped = is_shipped;
    spool->cap_bytes = CAP_BYTES;
    spool->streams[0].tag = 'o';
    spool->streams[1].tag = 'e';
    spool->streams[0].fd = spool->streams[1].fd = -1;
    return 0;
}

/* Without a shipper the oldest half goes; the reader skips the hole and the cut line after it. */
static void punch_oldest_half(struct spool *spool, off_t size)
{
    off_t end = (size - spool->cap_bytes / 2) / BLOCK_BYTES * BLOCK_BYTES;
    if (end > 0)
        (void)fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, end);
}

static void look_for_room(struct spool *spool)
{
    struct stat st;
    spool->unchecked = 0;
    spool->is_blocked = false;
    if (fstat(spool->fd, &st) < 0 || (int64_t)st.st_blocks * 512 <= spool->cap_bytes)
        return;
    if (spool->is_shipped)
        spool->is_blocked = true;
    else
        punch_oldest_half(spool, st.st_size);
}

/* A full disk keeps the records here and blocks; any other failure cannot be waited out. */
static void write_out(struct spool *spool)
{
    size_t done = 0;
    while (done < spool->out_n) {
        ssize_t n = write(spool->fd, spool->out + done, spool->out_n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
            spool->is_blocked = true;
            break;
        }
        if (n < 0)
            done = spool->out_n;
        else
            done += (size_t)n;
    }
    spool->unchecked += (int64_t)done;
    spool->out_n -= done;
    memmove(spool->out, spool->out + done, spool->out_n);
}

static void add_record(struct spool *spool, char tag, char kind, const char *text, size_t n)
{
    if (spool->out_n + HEADER_MAX + n + 1 > sizeof(spool->out))
        write_out(spool);
    if (spool->out_n + HEADER_MAX + n + 1 > sizeof(spool->out))
        spool->out_n = 0; /* only while finishing on a full disk */
    char *at = spool->out + spool->out_n;
    int header = snprintf(at, HEADER_MAX, "%lld %c %c ", (long long)fl_clock_wall_ms(), tag, kind);
    memcpy(at + header, text, n);
    at[(size_t)header + n] = '\n';
    spool->out_n += (size_t)header + n + 1;
}

static void cut_lines(struct spool *spool, struct spool_stream *stream)
{
    size_t start = 0;
    const char *newline;
    while (start < stream->n &&
           (newline = memchr(stream->text + start, '\n', stream->n - start)) != NULL) {
        size_t n = (size_t)(newline - stream->text) - start;
        add_record(spool, stream->tag, 'F', stream->text + start, n);
        start += n + 1;
    }
    if (start == 0 && stream->n == sizeof(stream->text)) {
        add_record(spool, stream->tag, 'P', stream->text, stream->n);
        start = stream->n;
    }
    stream->n -= start;
    memmove(stream->text, stream->text + start, stream->n);
}

static void end_stream(struct spool *spool, struct spool_stream *stream)
{
    if (stream->fd >= 0)
        (void)close(stream->fd);
    stream->fd = -1;
    if (stream->n > 0)
        add_record(spool, stream->tag, 'F', stream->text, stream->n);
    stream->n = 0;
}

void spool_pump(struct spool *spool, struct spool_stream *stream)
{
    ssize_t n = read(stream->fd, stream->text + stream->n, sizeof(stream->text) - stream->n);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        end_stream(spool, stream);
    } else {
        stream->n += (size_t)n;
        cut_lines(spool, stream);
    }
    write_out(spool);
    if (spool->unchecked >= LOOK_EVERY_BYTES)
        look_for_room(spool);
}

bool spool_has_room(struct spool *spool)
{
    if (!spool->is_blocked)
        return true;
    look_for_room(spool);
    if (!spool->is_blocked)
        write_out(spool);
    return !spool->is_blocked;
}

bool spool_is_done(const struct spool *spool)
{
    return spool->streams[0].fd < 0 && spool->streams[1].fd < 0;
}

void spool_finish(struct spool *spool)
{
    end_stream(spool, &spool->streams[0]);
    end_stream(spool, &spool->streams[1]);
    write_out(spool);
    (void)fdatasync(spool->fd);
}
