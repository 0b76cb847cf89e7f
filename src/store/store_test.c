/* The store, memory and SQLite: order of done, what a later op means, load order, epochs, refusals,
 * and that what was acknowledged survives SIGKILL. Method: a loop per test, files in a temporary
 * directory, children that are killed or that fail on purpose. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "store/store.h"

struct fixture {
    uv_loop_t loop;
    struct fl_store *store;
    char dir[64];
    char path[80];
};

static void open_sqlite(struct fixture *f)
{
    struct fl_err err = {0};
    if (fl_store_open_sqlite(f->path, &f->loop, &f->store, &err) != 0)
        fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
    fl_store_close(f->store);
    f->store = NULL;
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-store-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/state.db", f->dir);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int setup_sqlite(void **state)
{
    (void)setup(state);
    open_sqlite(*state);
    return 0;
}

static int setup_memory(void **state)
{
    (void)setup(state);
    struct fixture *f = *state;
    f->store = fl_store_open_memory(&f->loop);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store)
        close_store(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    free(f);
    return 0;
}

struct seen {
    char text[4096];
    size_t n;
};

static int add_record(void *context, struct fl_str key, struct fl_str value)
{
    struct seen *seen = context;
    seen->n += (size_t)snprintf(seen->text + seen->n, sizeof(seen->text) - seen->n, "%.*s=%.*s;",
                                FL_STR_ARG(key), FL_STR_ARG(value));
    return 0;
}

static void assert_holds(struct fixture *f, const char *text)
{
    struct seen seen = {0};
    assert_int_equal(fl_store_load(f->store, add_record, &seen, NULL), 0);
    assert_string_equal(seen.text, text);
}

struct order {
    int next;
    bool wrong;
};

struct mark {
    struct order *order;
    int number;
};

static void note_order(void *context)
{
    struct mark *mark = context;
    if (mark->order->next++ != mark->number)
        mark->order->wrong = true;
}

static void dones_come_in_the_order_of_commits(void **state)
{
    enum { COMMITS = 500 };
    struct fixture *f = *state;
    struct order order = {0};
    struct mark marks[COMMITS];
    struct fl_store_op op = {FL_STR("k"), FL_STR("v")};
    for (int i = 0; i < COMMITS; i++) {
        marks[i] = (struct mark){&order, i};
        fl_store_commit(f->store, &op, i % 3 == 0 ? 0 : 1, note_order, &marks[i]);
    }
    assert_int_equal(order.next, 0);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(order.next, COMMITS);
    assert_false(order.wrong);
}

static void nothing(FL_UNUSED void *context)
{
}

static void commit_samples(struct fixture *f)
{
    static const struct fl_store_op first[] = {
        {FL_STR("b"), FL_STR("1")}, {FL_STR("a"), FL_STR("2")},  {FL_STR("b"), FL_STR("3")},
        {FL_STR("d"), FL_STR("4")}, {FL_STR("ab"), FL_STR("5")}, {FL_STR("\xff"), FL_STR("6")},
    };
    static const struct fl_store_op second[] = {
        {FL_STR("d"), FL_STR("")}, {FL_STR("none"), FL_STR("")}, {FL_STR("c"), FL_STR("7")},
        {FL_STR("c"), FL_STR("")}, {FL_STR("c"), FL_STR("8")},
    };
    fl_store_commit(f->store, first, FL_ARRAY_SIZE(first), nothing, NULL);
    fl_store_commit(f->store, second, FL_ARRAY_SIZE(second), nothing, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void later_ops_win_and_records_load_in_key_order(void **state)
{
    struct fixture *f = *state;
    commit_samples(f);
    close_store(f);
    open_sqlite(f);
    assert_holds(f, "a=2;ab=5;b=3;c=8;\xff=6;");
}

static int refuse_third(void *context, FL_UNUSED struct fl_str key, FL_UNUSED struct fl_str value)
{
    return ++*(int *)context == 3 ? -77 : 0;
}

static void a_load_can_be_ended(void **state)
{
    struct fixture *f = *state;
    int calls = 0;
    commit_samples(f);
    close_store(f);
    open_sqlite(f);
    assert_int_equal(fl_store_load(f->store, refuse_third, &calls, NULL), -77);
    assert_int_equal(calls, 3);
}

static void the_epoch_grows_with_every_open(void **state)
{
    struct fixture *f = *state;
    for (uint64_t epoch = 1; epoch <= 4; epoch++) {
        assert_int_equal(fl_store_epoch(f->store), epoch);
        close_store(f);
        open_sqlite(f);
    }
}

static void closing_waits_for_what_is_queued(void **state)
{
    struct fixture *f = *state;
    struct order order = {0};
    struct mark mark = {&order, 0};
    struct fl_store_op op = {FL_STR("k"), FL_STR("v")};
    fl_store_commit(f->store, &op, 1, note_order, &mark);
    close_store(f);
    assert_int_equal(order.next, 1);
    open_sqlite(f);
    assert_holds(f, "k=v;");
}

static void the_files_are_the_owners_alone(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

struct copied {
    struct fixture *f;
    int status; /* 1: not yet */
    size_t commits;
    bool writes_on; /* a commit at every turn, until the copy is made */
};

static void on_copied(void *context, int status, FL_UNUSED const struct fl_err *err)
{
    struct copied *copied = context;
    copied->status = status;
}

/* Records of four pages each, so that a copy takes many slices. */
static void commit_big(void *context)
{
    static char value[16384];
    struct copied *copied = context;
    if (copied->status != 1)
        return;
    static const struct fl_store_op op = {FL_STR("last"), {value, sizeof(value)}};
    memset(value, 'v', sizeof(value));
    copied->commits++;
    fl_store_commit(copied->f->store, &op, 1, copied->writes_on ? commit_big : nothing, copied);
}

static int count_record(void *context, FL_UNUSED struct fl_str key, FL_UNUSED struct fl_str value)
{
    ++*(size_t *)context;
    return 0;
}

static void fill(struct fixture *f, size_t count)
{
    static char value[16384];
    char key[16];
    memset(value, 'x', sizeof(value));
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(key, sizeof(key), "%zu", i);
        struct fl_store_op op = {fl_str_of(key), {value, sizeof(value)}};
        fl_store_commit(f->store, &op, 1, nothing, NULL);
        (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    }
}

static void a_copy_is_whole_whatever_is_written_meanwhile(void **state)
{
    enum { RECORDS = 400 };
    struct fixture *f = *state;
    struct copied copied = {.f = f, .status = 1, .writes_on = true};
    char path[96];
    fill(f, RECORDS);
    (void)snprintf(path, sizeof(path), "%s/copy.db", f->dir);
    fl_store_copy(f->store, path, on_copied, &copied);
    commit_big(&copied);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(copied.status, 0);
    assert_true(copied.commits > 2); /* commits did not wait for the copy */
    copied.status = 1;
    fl_store_copy(f->store, path, on_copied, &copied);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(copied.status < 0); /* nothing is copied over what exists */
    close_store(f);
    assert_int_equal(fl_store_verify(path, 41, NULL), 0);
    (void)snprintf(f->path, sizeof(f->path), "%.79s", path);
    open_sqlite(f);
    size_t count = 0;
    assert_int_equal(fl_store_load(f->store, count_record, &count, NULL), 0);
    assert_int_equal(count, RECORDS + 1);
    assert_int_equal(fl_store_epoch(f->store), 1 + 41 + 1);
}

static void a_store_that_closes_gives_its_copy_up(void **state)
{
    struct fixture *f = *state;
    struct copied copied = {.f = f, .status = 1};
    char path[96];
    fill(f, 400);
    (void)snprintf(path, sizeof(path), "%s/copy.db", f->dir);
    fl_store_copy(f->store, path, on_copied, &copied);
    close_store(f);
    assert_int_equal(copied.status, -ECANCELED);
    assert_int_equal(access(path, F_OK), -1);
}

static void closing_waits_for_what_is_queued_in_memory(void **state)
{
    struct fixture *f = *state;
    struct order order = {0};
    struct mark mark = {&order, 0};
    fl_store_commit(f->store, NULL, 0, note_order, &mark);
    close_store(f);
    assert_int_equal(order.next, 1);
}

/* Runs f in a child; its wait status. */
static int in_child(void (*run)(struct fixture *f), struct fixture *f)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run(f);
        _exit(99);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void try_second_open(struct fixture *f)
{
    uv_loop_t loop;
    struct fl_store *store;
    struct fl_err err = {0};
    (void)uv_loop_init(&loop);
    int status = fl_store_open_sqlite(f->path, &loop, &store, &err);
    _exit(status == -EBUSY && strstr(err.text, "another process") ? 0 : 1);
}

static void a_second_process_is_refused(void **state)
{
    int status = in_child(try_second_open, *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void files_of_another_kind_are_refused(void **state)
{
    struct fixture *f = *state;
    struct fl_err err = {0};
    assert_int_equal(
        fl_fs_write_fast(AT_FDCWD, f->path, FL_STR("this is no database at all"), 0600), 0);
    assert_int_equal(fl_store_open_sqlite(f->path, &f->loop, &f->store, &err), -EIO);
    assert_true(strlen(err.text) > 0);
    assert_null(f->store);
}

/* A full disk, played by a limit on file sizes. */
static void commit_beyond_the_limit(struct fixture *f)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null, STDERR_FILENO);
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    open_sqlite(f);
    struct fl_store_op op = {FL_STR("k"), {fl_calloc(1, 4 << 20), 4 << 20}};
    fl_store_commit(f->store, &op, 1, nothing, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void a_failing_disk_stops_the_process(void **state)
{
    int status = in_child(commit_beyond_the_limit, *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), FL_STORE_EXIT);
}

enum { KILL_AFTER = 200, IN_FLIGHT = 8 };

struct writer {
    struct fixture *f;
    int pipe;
    int committed; /* next number to commit */
    int acknowledged;
};

struct numbered {
    struct writer *writer;
    char key[16];
    struct fl_store_op op;
};

static void commit_next(struct writer *writer);

static void acknowledge(void *context)
{
    struct numbered *numbered = context;
    struct writer *writer = numbered->writer;
    (void)!write(writer->pipe, numbered->key, 8);
    free(numbered);
    if (++writer->acknowledged == KILL_AFTER)
        (void)raise(SIGKILL);
    commit_next(writer);
}

static void commit_next(struct writer *writer)
{
    struct numbered *numbered = fl_calloc(1, sizeof(*numbered));
    numbered->writer = writer;
    (void)snprintf(numbered->key, sizeof(numbered->key), "%08d", writer->committed++);
    numbered->op = (struct fl_store_op){{numbered->key, 8}, FL_STR("x")};
    fl_store_commit(writer->f->store, &numbered->op, 1, acknowledge, numbered);
}

static int crash_pipe;

static void write_until_killed(struct fixture *f)
{
    struct writer writer = {.f = f, .pipe = crash_pipe};
    open_sqlite(f);
    for (int i = 0; i < IN_FLIGHT; i++)
        commit_next(&writer);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void what_was_acknowledged_survives_a_kill(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    char expected[KILL_AFTER * 8 + 1];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    crash_pipe = ends[1];
    int status = in_child(write_until_killed, f);
    assert_true(WIFSIGNALED(status));
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], expected, sizeof(expected)), KILL_AFTER * 8);
    (void)close(ends[0]);
    open_sqlite(f);
    struct seen seen = {0};
    assert_int_equal(fl_store_load(f->store, add_record, &seen, NULL), 0);
    for (int i = 0; i < KILL_AFTER; i++)
        assert_memory_equal(seen.text + i * 11, expected + i * 8, 8);
}

static void memory_commits_are_done_later_and_kept(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fl_store_epoch(f->store), 1);
    assert_holds(f, "");
    commit_samples(f);
    assert_holds(f, "a=2;ab=5;b=3;c=8;\xff=6;");
}

#define WITH(kind, test) cmocka_unit_test_setup_teardown(test, setup##kind, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(_sqlite, dones_come_in_the_order_of_commits),
        WITH(_memory, dones_come_in_the_order_of_commits),
        WITH(_memory, memory_commits_are_done_later_and_kept),
        WITH(_memory, closing_waits_for_what_is_queued_in_memory),
        WITH(_sqlite, later_ops_win_and_records_load_in_key_order),
        WITH(_sqlite, a_load_can_be_ended),
        WITH(_sqlite, the_epoch_grows_with_every_open),
        WITH(_sqlite, closing_waits_for_what_is_queued),
        WITH(_sqlite, the_files_are_the_owners_alone),
        WITH(_sqlite, a_second_process_is_refused),
        WITH(_sqlite, a_copy_is_whole_whatever_is_written_meanwhile),
        WITH(_sqlite, a_store_that_closes_gives_its_copy_up),
        WITH(, files_of_another_kind_are_refused),
        WITH(, a_failing_disk_stops_the_process),
        WITH(, what_was_acknowledged_survives_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
