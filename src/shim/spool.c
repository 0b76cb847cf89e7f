/* Output into records; the cap, by blocking or by counting what is dropped. */
#include "shim/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

enum {
    CAP_BYTES = 64 * 1024 * 1024,
    LOOK_EVERY_BYTES = 1024 * 1024,
    NOTE_MAX = 200,
    NOTE_EVERY_MS = 1000,
    LITTLE_BYTES = SPOOL_READ_MAX / 2,
};

/* The shipper punches out what it has sent, so what is left begins at the first data; where blocks
 * are large, one may stay behind, and where the file system takes blocks in advance, they count. */
static void look_for_room(struct spool *spool)
{
    struct stat st;
    spool->unchecked = 0;
    spool->is_blocked = false;
    if (!spool->orders.is_shipped || fstat(spool->fd, &st) < 0)
        return;
    off_t start = lseek(spool->fd, 0, SEEK_DATA);
    spool->used = start < 0 ? 0 : FL_MIN(st.st_size - start, (int64_t)st.st_blocks * 512);
    spool->is_blocked = spool->used > spool->orders.cap_bytes;
}

int spool_open(struct spool *spool, int dir_fd, const struct spool_orders *orders)
{
    spool->orders = *orders;
    spool->dir_fd = dir_fd;
    spool->fd = -1;
    spool->streams[0].tag = 'o';
    spool->streams[1].tag = 'e';
    spool->streams[0].fd = spool->streams[1].fd = -1;
    if (spool->orders.cap_bytes <= 0)
        spool->orders.cap_bytes = CAP_BYTES;
    spool->orders.cap_bytes = FL_MAX(spool->orders.cap_bytes, (int64_t)SPOOL_CAP_MIN);
    if (orders->is_silent)
        return 0;
    if (!orders->is_shipped)
        return spool_json_open(spool);
    spool->fd = openat(dir_fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (spool->fd < 0)
        return -errno;
    look_for_room(spool);
    return 0;
}

static int64_t count_lines(const char *text, size_t n)
{
    int64_t lines = 0;
    for (const char *at = text; (at = memchr(at, '\n', n - (size_t)(at - text))) != NULL; at++)
        lines++;
    return lines;
}

static void drop_out(struct spool *spool)
{
    spool->dropped_lines += count_lines(spool->out, spool->out_n);
    spool->dropped_bytes += (int64_t)spool->out_n;
    spool->out_n = 0;
}

/* A full disk keeps the records here and blocks, or drops them; any other failure cannot be waited
 * out. */
static void write_out(struct spool *spool)
{
    size_t done = 0;
    if (!spool->orders.is_shipped && spool->out_n > 0)
        spool_json_rotate(spool, spool->out_n);
    while (done < spool->out_n) {
        ssize_t n = write(spool->fd, spool->out + done, spool->out_n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT) && !spool->orders.drops) {
            spool->is_blocked = true;
            break;
        }
        if (n < 0)
            break;
        done += (size_t)n;
    }
    spool->unchecked += (int64_t)done;
    spool->file_size += (int64_t)done;
    spool->out_n -= done;
    memmove(spool->out, spool->out + done, spool->out_n);
    if (spool->out_n > 0 && !spool->is_blocked)
        drop_out(spool);
}

/* Room for n bytes of output. What a full disk left here goes only while finishing. */
static char *reserve(struct spool *spool, size_t n)
{
    if (spool->out_n + n > sizeof(spool->out))
        write_out(spool);
    if (spool->out_n + n > sizeof(spool->out))
        drop_out(spool);
    return spool->out + spool->out_n;
}

static char *put(char *to, const char *bytes, size_t n)
{
    memcpy(to, bytes, n);
    return to + n;
}

static void add_json(struct spool *spool, int which, bool is_partial, const char *text, size_t n)
{
    char *at = reserve(spool, SPOOL_JSON_FRAME_MAX + SPOOL_JSON_CHAR_MAX * n);
    char *to = put(at, "{\"log\":\"", 8);
    to += spool_json_escape(to, text, n);
    if (!is_partial)
        to = put(to, "\\n", 2);
    to = put(to, spool->heads[which], spool->head_n[which]);
    spool->out_n += (size_t)(to - at);
    if (spool->orders.attrs) {
        size_t attrs_n = strlen(spool->orders.attrs);
        memcpy(reserve(spool, attrs_n), spool->orders.attrs, attrs_n);
        spool->out_n += attrs_n;
    }
    memcpy(reserve(spool, spool->tail_n), spool->tail, spool->tail_n);
    spool->out_n += spool->tail_n;
}

static void add_record(struct spool *spool, int which, bool is_partial, const char *text, size_t n)
{
    if (spool->is_skipping || spool->orders.is_silent) {
        spool->dropped_lines += !is_partial;
        spool->dropped_bytes += (int64_t)n;
        return;
    }
    if (!spool->orders.is_shipped) {
        add_json(spool, which, is_partial, text, n);
        return;
    }
    char *at = reserve(spool, spool->head_n[which] + n + 1);
    char *to = put(at, spool->heads[which], spool->head_n[which]);
    to[-2] = is_partial ? 'P' : 'F';
    to = put(to, text, n);
    *to++ = '\n';
    spool->out_n += (size_t)(to - at);
}

/* What all records of one read have in common: they get one time. */
static void set_heads(struct spool *spool)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    spool->read_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    for (int i = 0; i < 2; i++)
        spool->head_n[i] =
            (size_t)(spool->orders.is_shipped
                         ? snprintf(spool->heads[i], sizeof(spool->heads[i]), "%lld %c F ",
                                    (long long)spool->read_ms, spool->streams[i].tag)
                         : snprintf(spool->heads[i], sizeof(spool->heads[i]),
                                    "\",\"stream\":\"%s\",", i == 0 ? "stdout" : "stderr"));
    if (spool->orders.is_shipped)
        return;
    char time[FL_RFC3339_SIZE];
    fl_time_rfc3339((int64_t)now.tv_sec * 1000, time);
    spool->tail_n = (size_t)snprintf(spool->tail, sizeof(spool->tail),
                                     "\"time\":\"%.19s.%09ldZ\"}\n", time, (long)now.tv_nsec);
}

/* How much of a line that is too long makes a record: no character is torn. */
static size_t piece_length(const char *text)
{
    size_t n = SPOOL_TEXT_MAX;
    while (n > SPOOL_TEXT_MAX - 3 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return ((unsigned char)text[n] & 0xc0) == 0x80 ? SPOOL_TEXT_MAX : n;
}

static void cut_lines(struct spool *spool, struct spool_stream *stream)
{
    int which = (int)(stream - spool->streams);
    size_t start = 0;
    while (start < stream->n) {
        const char *text = stream->text + start;
        const char *newline = memchr(text, '\n', FL_MIN(stream->n - start, SPOOL_TEXT_MAX + 1UL));
        if (!newline && stream->n - start <= SPOOL_TEXT_MAX)
            break;
        size_t n = newline ? (size_t)(newline - text) : piece_length(text);
        add_record(spool, which, !newline, text, n);
        start += n + (newline != NULL);
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
        add_record(spool, (int)(stream - spool->streams), false, stream->text, stream->n);
    stream->n = 0;
}

/* Says in the log itself what is missing there. */
static void tell_dropped(struct spool *spool)
{
    char note[NOTE_MAX];
    if (spool->dropped_bytes == 0 || !spool->orders.drops || !spool->orders.is_shipped)
        return;
    int n =
        snprintf(note, sizeof(note),
                 "%lld d F %lld lines (%lld bytes) dropped here: the log's buffer of %lld bytes "
                 "was full and its mode is non-blocking\n",
                 (long long)spool->read_ms, (long long)spool->dropped_lines,
                 (long long)spool->dropped_bytes, (long long)spool->orders.cap_bytes);
    memcpy(reserve(spool, (size_t)n), note, (size_t)n);
    spool->out_n += (size_t)n;
    spool->dropped_lines = spool->dropped_bytes = 0;
    spool->told_ms = spool->read_ms;
}

/* Whether what is about to be read finds room; a look costs two calls. */
static void choose(struct spool *spool)
{
    if (!spool->orders.drops || !spool->orders.is_shipped)
        return;
    if (spool->used + spool->unchecked > spool->orders.cap_bytes)
        look_for_room(spool);
    spool->is_skipping = spool->used > spool->orders.cap_bytes;
    spool->is_blocked = false;
    int64_t quiet_ms = spool->read_ms - spool->told_ms;
    if (!spool->is_skipping && (quiet_ms >= NOTE_EVERY_MS || quiet_ms < 0))
        tell_dropped(spool);
}

bool spool_pump(struct spool *spool, struct spool_stream *stream)
{
    ssize_t n = read(stream->fd, stream->text + stream->n, sizeof(stream->text) - stream->n);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    set_heads(spool);
    choose(spool);
    if (n <= 0) {
        end_stream(spool, stream);
    } else {
        stream->n += (size_t)n;
        cut_lines(spool, stream);
    }
    write_out(spool);
    if (!spool->orders.drops && spool->unchecked >= LOOK_EVERY_BYTES)
        look_for_room(spool);
    return n > 0 && n < LITTLE_BYTES;
}

bool spool_has_room(struct spool *spool)
{
    if (!spool->is_blocked)
        return true;
    look_for_room(spool);
    if (!spool->is_blocked || spool->is_ending) {
        spool->is_blocked = false;
        write_out(spool);
    }
    return !spool->is_blocked;
}

bool spool_is_done(const struct spool *spool)
{
    return spool->streams[0].fd < 0 && spool->streams[1].fd < 0;
}

void spool_finish(struct spool *spool)
{
    set_heads(spool);
    end_stream(spool, &spool->streams[0]);
    end_stream(spool, &spool->streams[1]);
    tell_dropped(spool);
    if (spool->fd < 0)
        return;
    write_out(spool);
    (void)fdatasync(spool->fd);
}
