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
    assert_int_equal(spool_open(&bench.spool, bench.dir_fd, true), 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    bench.spool.streams[0].fd = fds[0];
    bench.spool.cap_bytes = SMALL_CAP;
    bench.write_end = fds[1];
    *state = &bench;
    return 0;
}

static int tear_down(FL_UNUSED void **state)
{
    if (bench.write_end >= 0)
        (void)close(bench.write_end);
    (void)close(bench.spool.fd);
    (void)close(bench.dir_fd);
    return fl_fs_remove_tree(AT_FDCWD, bench.dir);
}

static void feed(struct bench *b, const char *bytes, size_t n)
{
    assert_int_equal(fl_fs_write_all(b->write_end, bytes, n), 0);
    spool_pump(&b->spool, &b->spool.streams[0]);
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
    spool_pump(&b->spool, &b->spool.streams[0]);
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
    spool_pump(&b->spool, &b->spool.streams[0]);
    spool_pump(&b->spool, &b->spool.streams[0]);
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

static int64_t allocated(struct bench *b)
{
    struct stat st;
    assert_int_equal(fstat(b->spool.fd, &st), 0);
    return (int64_t)st.st_blocks * 512;
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

static void unshipped_spool_is_a_ring(void **state)
{
    struct bench *b = *state;
    b->spool.is_shipped = false;
    assert_int_equal(fill(b, 4 * SMALL_CAP), 4 * SMALL_CAP);
    assert_true(allocated(b) <= SMALL_CAP + 2 * 1024 * 1024);
    assert_true(allocated(b) >= SMALL_CAP / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_become_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_spool_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unshipped_spool_is_a_ring, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
