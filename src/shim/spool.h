/* The spool: a container's output as lines in a file.
 *
 * Records are "<wall_ms> <o|e> <F|P> <text>\n": o is stdout, e stderr; P says that the line goes
 * on in the stream's next record. Text is at most SPOOL_TEXT_MAX bytes and holds no newline.
 * Nothing read is dropped: what the file does not take (disk full, cap reached while a shipper
 * is behind) stays in the buffers and in the pipe, which holds the container back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_TEXT_MAX = 16 * 1024,
    SPOOL_OUT_MAX = 4 * SPOOL_TEXT_MAX,
};

struct spool_stream {
    int fd; /* read end; -1 once it has ended */
    char tag;
    size_t n;
    char text[SPOOL_TEXT_MAX]; /* what is read and not yet a record */
};

struct spool {
    int fd;
    bool is_shipped;
    bool is_blocked; /* the last look found no room */
    int64_t cap_bytes;
    int64_t unchecked; /* bytes written since that look */
    struct spool_stream streams[2];
    size_t out_n;
    char out[SPOOL_OUT_MAX]; /* records on their way to the file */
};

/* Opens `log` beneath dir_fd for appending. */
int spool_open(struct spool *spool, int dir_fd, bool is_shipped);
/* Reads once from a stream that poll called readable, and writes what became records. */
void spool_pump(struct spool *spool, struct spool_stream *stream);
/* Looks again whether there is room; true when the pipes may be read. */
bool spool_has_room(struct spool *spool);
/* Both streams have ended. */
bool spool_is_done(const struct spool *spool);
/* Closes the pipes, writes the last unfinished lines, makes the file durable. */
void spool_finish(struct spool *spool);
