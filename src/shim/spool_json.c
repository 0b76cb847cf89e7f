/* Lines as Docker's json-file driver writes them, in files that are rotated: `json.log` is the
 * present one, `json.log.1` the one before it, and so on, compressed ones with ".gz". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "shim/process.h"
#include "shim/spool.h"

enum {
    FILE_BYTES = 32 * 1024 * 1024,
    FILE_COUNT = 2,
    NAME_SIZE = 48,
};

#define NAME "json.log"

static int open_file(struct spool *spool, int more_flags)
{
    struct stat st;
    spool->fd = openat(spool->dir_fd, NAME,
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | more_flags, 0640);
    if (spool->fd < 0)
        return -errno;
    spool->file_size = fstat(spool->fd, &st) == 0 ? st.st_size : 0;
    return 0;
}

int spool_json_open(struct spool *spool)
{
    if (spool->orders.file_bytes <= 0)
        spool->orders.file_bytes = FILE_BYTES;
    if (spool->orders.file_count <= 0)
        spool->orders.file_count = FILE_COUNT;
    return open_file(spool, 0);
}

/* Bytes of the character that text begins with, 0 when it is none (RFC 3629). */
static size_t char_length(const unsigned char *s, size_t n)
{
    size_t length = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
               (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : length;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* One character that is not plain; *taken gets its bytes. Returns how many were written. */
static size_t escape_one(char *to, const unsigned char *text, size_t n, size_t *taken)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char c = text[0];
    *taken = 1;
    if (c >= 0x80) {
        size_t length = char_length(text, n);
        memcpy(to, length ? (const char *)text : "\\ufffd", length ? length : 6);
        *taken = length ? length : 1;
        return length ? length : 6;
    }
    const char *both = strchr("\"\"\\\\\nn\rr\tt", c);
    if (c && both && (c == '"' || c == '\\' || c < 0x20)) {
        to[0] = '\\';
        to[1] = c == '"' || c == '\\' ? (char)c : both[1];
        return 2;
    }
    memcpy(to, "\\u00", 4);
    to[4] = digits[c >> 4];
    to[5] = digits[c & 15];
    return 6;
}

size_t spool_json_escape(char *to, const char *text, size_t n)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t at = 0, written = 0;
    while (at < n) {
        size_t run = at, taken;
        while (run < n && is_plain(from[run]))
            run++;
        memcpy(to + written, from + at, run - at);
        written += run - at;
        at = run;
        if (at == n)
            break;
        written += escape_one(to + written, from + at, n - at, &taken);
        at += taken;
    }
    return written;
}

static void name_of(char name[NAME_SIZE], int64_t number, const char *suffix)
{
    (void)snprintf(name, NAME_SIZE, NAME ".%lld%s", (long long)number, suffix);
}

static void compress_first(struct spool *spool)
{
    char *const argv[] = {"gzip", "-f", NAME ".1", NULL};
    pid_t pid = process_start("/bin/gzip", argv, -1, -1, -1);
    spool->compressor = FL_MAX(pid, 0);
}

/* A file that is being compressed keeps its name until that is done, as with Docker. */
static void await_compressor(struct spool *spool)
{
    while (spool->compressor > 0 && waitpid(spool->compressor, NULL, 0) < 0 && errno == EINTR)
        continue;
    spool->compressor = 0;
}

static void move_up(struct spool *spool)
{
    char from[NAME_SIZE], to[NAME_SIZE];
    static const char *const suffixes[] = {"", ".gz"};
    for (int64_t i = spool->orders.file_count - 1; i >= 1; i--)
        for (size_t s = 0; s < FL_ARRAY_SIZE(suffixes); s++) {
            name_of(to, i, suffixes[s]);
            (void)unlinkat(spool->dir_fd, to, 0);
            name_of(from, i - 1, suffixes[s]);
            if (i > 1)
                (void)renameat(spool->dir_fd, from, spool->dir_fd, to);
        }
    if (spool->orders.file_count > 1)
        (void)renameat(spool->dir_fd, NAME, spool->dir_fd, NAME ".1");
}

void spool_json_rotate(struct spool *spool, size_t n)
{
    if (spool->file_size == 0 || spool->file_size + (int64_t)n <= spool->orders.file_bytes)
        return;
    await_compressor(spool);
    (void)close(FL_TAKE_FD(spool->fd));
    move_up(spool);
    if (open_file(spool, spool->orders.file_count > 1 ? 0 : O_TRUNC) < 0)
        return;
    if (spool->orders.compresses && spool->orders.file_count > 1)
        compress_first(spool);
}
