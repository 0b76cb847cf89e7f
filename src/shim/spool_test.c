/* Goal: output becomes records, none lost, and the file stays within its cap. Method: a pipe into
 * a spool in a temporary directory, with a cap small enough to reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "shim/spool.h"

enum { SMALL_CAP = 4 * 1024 * 1024 };

struct bench {
    char dir[64];
    int dir_fd;
    int write_end;
    struct spool spool;
};

static struct bench bench;

static int set_up(void **state)
{
    int fds[2];
    memset(&bench, 0, sizeof(bench));
    (void)snprintf(bench.dir, sizeof(bench.dir), "/tmp/fairlead-spool-XXXXXX");
    assert_non_null(mkdtemp(bench.dir));
    bench.dir_fd = open(bench.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* As the shim does it: what compresses is told a name. */
    assert_int_equal(fchdir(bench.dir_fd), 0);
    const struct spool_orders orders = {.is_shipped = true, .cap_bytes = SMALL_CAP};
    assert_int_equal(spool_open(&bench.spool, bench.dir_fd, &orders), 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    bench.spool.streams[0].fd = fds[0];
    bench.write_end = fds[1];
    *state = &bench;
    return 0;
}

static int tear_down(FL_UNUSED void **state)
{
    if (bench.write_end >= 0)
        (void)close(bench.write_end);
    if (bench.spool.fd >= 0)
        (void)close(bench.spool.fd);
    (void)close(bench.dir_fd);
    return fl_fs_remove_tree(AT_FDCWD, bench.dir);
}

/* The same pipe, with other orders. */
static void reopen(struct bench *b, const struct spool_orders *orders)
{
    int fd = b->spool.streams[0].fd;
    (void)close(b->spool.fd);
    memset(&b->spool, 0, sizeof(b->spool));
    assert_int_equal(spool_open(&b->spool, b->dir_fd, orders), 0);
    b->spool.streams[0].fd = fd;
}

static void feed(struct bench *b, const char *bytes, size_t n)
{
    assert_int_equal(fl_fs_write_all(b->write_end, bytes, n), 0);
    (void)spool_pump(&b->spool, &b->spool.streams[0]);
}

/* The file with its times cut off, so that it can be compared. */
static void expect_records(struct bench *b, const char *expected)
{
    struct fl_buf raw = FL_BUF_INIT(1 << 20);
    struct fl_buf text = FL_BUF_INIT(1 << 20);
    struct fl_str line;
    assert_int_equal(fl_fs_read(b->dir_fd, "log", 1 << 20, &raw), 0);
    struct fl_str rest = fl_buf_str(&raw);
    while (fl_str_split(&rest, '\n', &line)) {
        assert_true(fl_str_index(line, ' ') == 13);
        fl_buf_add_str(&text, fl_str_from(line, 14));
        fl_buf_add_char(&text, '\n');
    }
    assert_string_equal(text.p ? text.p : "", expected);
    fl_buf_free(&raw);
    fl_buf_free(&text);
}

static void lines_become_records(void **state)
{
    struct bench *b = *state;
    feed(b, "one\n\ntw", 7);
    expect_records(b, "o F one\no F \n");
    feed(b, "o\nlast", 6);
    expect_records(b, "o F one\no F \no F two\n");
    (void)close(FL_TAKE_FD(b->write_end));
    (void)spool_pump(&b->spool, &b->spool.streams[0]);
    assert_true(spool_is_done(&b->spool));
    expect_records(b, "o F one\no F \no F two\no F last\n");
}

static void long_lines_are_cut(void **state)
{
    struct bench *b = *state;
    static char bytes[SPOOL_TEXT_MAX + 2];
    memset(bytes, 'x', sizeof(bytes));
    bytes[SPOOL_TEXT_MAX + 1] = '\n';
    assert_int_equal(fl_fs_write_all(b->write_end, bytes, sizeof(bytes)), 0);
    (void)spool_pump(&b->spool, &b->spool.streams[0]);
    struct fl_buf raw = FL_BUF_INIT(1 << 20);
    assert_int_equal(fl_fs_read(b->dir_fd, "log", 1 << 20, &raw), 0);
    struct fl_str rest = fl_buf_str(&raw);
    struct fl_str line;
    assert_true(fl_str_split(&rest, '\n', &line));
    assert_true(fl_str_starts(fl_str_from(line, 13), FL_STR(" o P xxx")));
    assert_int_equal(line.n, 13 + 5 + SPOOL_TEXT_MAX);
    assert_true(fl_str_split(&rest, '\n', &line));
    assert_true(fl_str_is(fl_str_from(line, 13), " o F x"));
    assert_int_equal(rest.n, 0);
    fl_buf_free(&raw);
}

static size_t fill(struct bench *b, size_t most)
{
    static char bytes[SPOOL_TEXT_MAX];
    size_t done = 0;
    memset(bytes, 'y', sizeof(bytes));
    bytes[sizeof(bytes) - 1] = '\n';
    while (done < most && spool_has_room(&b->spool)) {
        feed(b, bytes, sizeof(bytes));
        done += sizeof(bytes);
    }
    return done;
}

/* Nothing is read beyond the cap until the shipper has punched what it has sent. */
static void full_spool_blocks(void **state)
{
    struct bench *b = *state;
    size_t done = fill(b, 4 * SMALL_CAP);
    assert_true(done >= SMALL_CAP && done < 2 * SMALL_CAP);
    assert_false(spool_has_room(&b->spool));
    assert_int_equal(
        fallocate(b->spool.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SMALL_CAP), 0);
    assert_true(spool_has_room(&b->spool));
}

static void the_end_of_the_container_is_not_held_back(void **state)
{
    struct bench *b = *state;
    (void)fill(b, 4 * SMALL_CAP);
    assert_false(spool_has_room(&b->spool));
    b->spool.is_ending = true;
    assert_true(spool_has_room(&b->spool));
}

static void read_file(struct bench *b, const char *name, struct fl_buf *buf)
{
    *buf = FL_BUF_INIT(64 << 20);
    assert_int_equal(fl_fs_read(b->dir_fd, name, 64 << 20, buf), 0);
}

/* Without blocking, what finds no room is counted, and told where it is missing. */
static void a_full_spool_drops_and_says_so(void **state)
{
    struct bench *b = *state;
    enum { LINES = 300 };
    const struct spool_orders orders = {.is_shipped = true, .drops = true, .cap_bytes = 100000};
    struct fl_buf text;
    reopen(b, &orders);
    assert_int_equal(fill(b, LINES * SPOOL_TEXT_MAX), LINES * SPOOL_TEXT_MAX);
    assert_true(spool_has_room(&b->spool));
    int64_t dropped = b->spool.dropped_lines;
    assert_true(dropped > LINES - 20 && dropped < LINES);
    assert_int_equal(fallocate(b->spool.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20),
                     0);
    feed(b, "room again\n", 11);
    assert_int_equal(b->spool.dropped_lines, 0);
    read_file(b, "log", &text);
    char note[40];
    (void)snprintf(note, sizeof(note), " d F %lld lines (", (long long)dropped);
    assert_true(fl_str_contains(fl_buf_str(&text), fl_str_of(note)));
    assert_true(fl_str_ends(fl_buf_str(&text), FL_STR(" o F room again\n")));
    fl_buf_free(&text);
}

static void what_was_dropped_last_is_told_at_the_end(void **state)
{
    struct bench *b = *state;
    const struct spool_orders orders = {.is_shipped = true, .drops = true, .cap_bytes = 1};
    struct fl_buf text;
    reopen(b, &orders);
    (void)fill(b, 1 << 20);
    assert_true(b->spool.dropped_lines > 0);
    spool_finish(&b->spool);
    read_file(b, "log", &text);
    assert_true(fl_str_contains(fl_buf_str(&text), FL_STR(" d F ")));
    fl_buf_free(&text);
}

/* A line may look like a record, with a time and the tag of our own notes: it is text. */
static void lines_that_look_like_records_are_text(void **state)
{
    struct bench *b = *state;
    feed(b, "1 d F 9 lines\n1763640000000 e P x\n", 34);
    expect_records(b, "o F 1 d F 9 lines\no F 1763640000000 e P x\n");
}

/* Megabytes without a newline: pieces of a bounded length, and no character torn. */
static void a_line_without_end_is_bounded(void **state)
{
    struct bench *b = *state;
    static char bytes[3 * 8192];
    struct fl_buf text;
    struct fl_str line;
    size_t total = 0;
    for (size_t i = 0; i + 3 <= sizeof(bytes); i += 3)
        memcpy(bytes + i, "\xe2\x82\xac", 3);
    for (int i = 0; i < 50; i++)
        feed(b, bytes, sizeof(bytes));
    assert_true(b->spool.streams[0].n <= SPOOL_TEXT_MAX);
    read_file(b, "log", &text);
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line)) {
        struct fl_str piece = fl_str_from(line, 18);
        assert_true(piece.n <= SPOOL_TEXT_MAX && piece.n % 3 == 0);
        total += piece.n;
    }
    assert_int_equal(total + b->spool.streams[0].n, 50 * sizeof(bytes));
    fl_buf_free(&text);
}

static void silence_keeps_nothing(void **state)
{
    struct bench *b = *state;
    const struct spool_orders orders = {.is_silent = true};
    reopen(b, &orders);
    assert_int_equal(fill(b, 4 * SMALL_CAP), 4 * SMALL_CAP);
    spool_finish(&b->spool);
    assert_int_equal(b->spool.fd, -1);
}

/* ---- json-file ---- */

/* json.log with the times cut out. */
static void expect_json(struct bench *b, const char *expected)
{
    struct fl_buf raw, text = FL_BUF_INIT(1 << 20);
    struct fl_str line;
    read_file(b, "json.log", &raw);
    struct fl_str rest = fl_buf_str(&raw);
    while (fl_str_split(&rest, '\n', &line)) {
        static const char form[] = "\"time\":\"2026-11-20T18:00:00.123456789Z\"}";
        size_t n = line.n - strlen(form);
        assert_true(fl_str_starts(fl_str_from(line, n), FL_STR("\"time\":\"2")));
        assert_true(fl_str_ends(line, FL_STR("Z\"}")));
        fl_buf_add_str(&text, fl_str_sub(line, 0, n));
        fl_buf_add_char(&text, '\n');
    }
    assert_string_equal(text.p ? text.p : "", expected);
    fl_buf_free(&raw);
    fl_buf_free(&text);
}

static void json_lines_are_dockers(void **state)
{
    struct bench *b = *state;
    const struct spool_orders orders = {.attrs = "\"attrs\":{\"k\":\"v\"},"};
    reopen(b, &orders);
    feed(b, "a \"b\" \\\t\x01\x7f\n\n\xc3\xa4\xff\xe2\x82\n", 18);
#define TAIL "\",\"stream\":\"stdout\",\"attrs\":{\"k\":\"v\"},\n"
    expect_json(b, "{\"log\":\"a \\\"b\\\" \\\\\\t\\u0001\\u007f\\n" TAIL "{\"log\":\"\\n" TAIL
                   "{\"log\":\"\xc3\xa4\\ufffd\\ufffd\\ufffd\\n" TAIL);
#undef TAIL
}

static void json_files_are_rotated(void **state)
{
    struct bench *b = *state;
    const struct spool_orders orders = {.file_bytes = 100000, .file_count = 3};
    struct stat st;
    reopen(b, &orders);
    (void)fill(b, 1 << 20);
    static const char *const names[] = {"json.log", "json.log.1", "json.log.2"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        assert_int_equal(fstatat(b->dir_fd, names[i], &st, 0), 0);
        assert_true(st.st_size > 0 && st.st_size <= 100000);
    }
    assert_int_equal(fstatat(b->dir_fd, "json.log.3", &st, 0), -1);
}

static void a_single_json_file_begins_anew(void **state)
{
    struct bench *b = *state;
    const struct spool_orders orders = {.file_bytes = 100000, .file_count = 1};
    struct stat st;
    reopen(b, &orders);
    (void)fill(b, 1 << 20);
    assert_int_equal(fstatat(b->dir_fd, "json.log", &st, 0), 0);
    assert_true(st.st_size > 0 && st.st_size <= 100000);
    assert_int_equal(fstatat(b->dir_fd, "json.log.1", &st, 0), -1);
}

static void rotated_json_files_are_compressed(void **state)
{
    struct bench *b = *state;
    const struct spool_orders orders = {.file_bytes = 50000, .file_count = 3, .compresses = true};
    struct stat st;
    reopen(b, &orders);
    (void)fill(b, 1 << 20);
    assert_true(b->spool.compressor > 0);
    assert_int_equal(waitpid(b->spool.compressor, NULL, 0), b->spool.compressor);
    b->spool.compressor = 0;
    assert_int_equal(fstatat(b->dir_fd, "json.log.1.gz", &st, 0), 0);
    assert_int_equal(fstatat(b->dir_fd, "json.log.2.gz", &st, 0), 0);
    assert_int_equal(fstatat(b->dir_fd, "json.log.1", &st, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_become_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_spool_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_the_container_is_not_held_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_spool_drops_and_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_dropped_last_is_told_at_the_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(lines_that_look_like_records_are_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_without_end_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silence_keeps_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_lines_are_dockers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_files_are_rotated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_single_json_file_begins_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rotated_json_files_are_compressed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
