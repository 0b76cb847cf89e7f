/* The spool: a container's output as lines in a file.
 *
 * For a shipper the file is `log`, its records are "<wall_ms> <o|e> <F|P> <text>\n": o is stdout,
 * e stderr; P says that the line goes on in the stream's next record. Text is at most
 * SPOOL_TEXT_MAX bytes and holds no newline. When the cap is reached the pipes are read no further,
 * which holds the container back, and nothing is lost; with `drops` they are read on, and what
 * finds no room is counted and told in a record of stream d when there is room, once a second.
 *
 * Without a shipper the lines are written as Docker's json-file driver does, or nowhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SPOOL_TEXT_MAX = 16 * 1024,
    SPOOL_READ_MAX = 4 * SPOOL_TEXT_MAX,
    SPOOL_OUT_MAX = 8 * SPOOL_TEXT_MAX,
    SPOOL_CAP_MIN = 64 * 1024,
};

/* What becomes of the output; zero is Docker's json-file with our default bounds. */
struct spool_orders {
    bool is_shipped;
    bool is_silent;     /* nothing is kept */
    bool drops;         /* never blocks the container */
    bool compresses;    /* rotated files of json-file */
    int64_t cap_bytes;  /* of what is not shipped yet; 0: SPOOL_CAP_BYTES */
    int64_t file_bytes; /* a file of json-file is rotated when it has them; 0: the default */
    int64_t file_count; /* of json-file, the present one too; 0: the default */
    const char *attrs;  /* of json-file: a member `"attrs":{…},` for each line; NULL: none */
};

struct spool_stream {
    int fd; /* read end; -1 once it has ended */
    char tag;
    size_t n;
    char text[SPOOL_READ_MAX]; /* what is read and not yet a record */
};

struct spool {
    int fd; /* -1 when nothing is kept */
    int dir_fd;
    struct spool_orders orders;
    bool is_blocked;   /* the last look found no room */
    bool is_ending;    /* the container has ended: the cap holds nobody back any more */
    bool is_skipping;  /* what is being read is dropped */
    int64_t used;      /* bytes that nobody has shipped, as the last look found */
    int64_t unchecked; /* bytes written since that look */
    int64_t file_size; /* of the present file of json-file */
    int64_t dropped_lines;
    int64_t dropped_bytes;
    int64_t read_ms;  /* wall clock: of the present read */
    int64_t told_ms;  /* when dropped lines were last told */
    pid_t compressor; /* of a rotated file; 0: none runs. Who reaps it sets that */
    struct spool_stream streams[2];
    char heads[2][64]; /* what records of the present read begin with, per stream */
    size_t head_n[2];
    char tail[80]; /* and what lines of json-file end with */
    size_t tail_n;
    size_t out_n;
    char out[SPOOL_OUT_MAX]; /* records on their way to the file */
};

/* Opens the file beneath dir_fd, which must stay open, for appending. */
int spool_open(struct spool *spool, int dir_fd, const struct spool_orders *orders);
/* Reads once from a stream that poll called readable, and writes what became records. True when
 * little came: who waits a moment before the next call gets more at once. */
bool spool_pump(struct spool *spool, struct spool_stream *stream);
/* Looks again whether there is room; true when the pipes may be read. */
bool spool_has_room(struct spool *spool);
/* Both streams have ended. */
bool spool_is_done(const struct spool *spool);
/* Closes the pipes, writes the last unfinished lines, makes the file durable. */
void spool_finish(struct spool *spool);

/* spool_json.c: the lines of Docker's json-file driver. */
enum {
    SPOOL_JSON_CHAR_MAX = 6, /* the longest that a byte becomes */
    SPOOL_JSON_FRAME_MAX = 192,
};
int spool_json_open(struct spool *spool);
/* Escapes text into to, which has room for SPOOL_JSON_CHAR_MAX times as many bytes; what is not
 * UTF-8 becomes U+FFFD. Returns the length. */
size_t spool_json_escape(char *to, const char *text, size_t n);
/* Before `n` more bytes are written: goes on in a new file where the present one is full. */
void spool_json_rotate(struct spool *spool, size_t n);
