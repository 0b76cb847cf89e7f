/* Goal: a command in a running container is as confined as the container's first process, ends when
 * its time is over with all that it started, and leaves nothing; and a container can be started
 * again on what it left. Method: real busybox containers, in which commands compare themselves with
 * process 1 by what the kernel says of both. Needs root; exits 77 without. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/exec.h"
#include "agent/runtime_fixture.h"

static struct fixture fixture;
static struct fl_execer *execer;

struct told {
    bool done;
    int status;
    bool timed_out;
    char output[8192];
};

static void on_done(void *context, const struct fl_exec_result *result)
{
    struct told *told = context;
    told->done = true;
    told->status = result->status;
    told->timed_out = result->timed_out;
    (void)snprintf(told->output, sizeof(told->output), "%.*s", FL_STR_ARG(result->output));
}

static void begin(const struct fixture_record *record, const char *program, const char *script,
                  int64_t timeout_ms, struct told *told)
{
    const struct fl_str args[] = {fl_str_of(program), FL_STR("-c"), fl_str_of(script)};
    const struct fl_exec_order order = {
        .container_id = fl_str_of(record->id),
        .args = args,
        .arg_count = 3,
        .timeout_ms = timeout_ms,
        .output_max = 4096,
    };
    *told = (struct told){.status = -2};
    fl_exec_start(execer, &order, on_done, told);
}

static struct told command(const struct fixture_record *record, const char *script,
                           int64_t timeout_ms)
{
    struct told told;
    begin(record, "/bin/sh", script, timeout_ms, &told);
    assert_true(fixture_await(&fixture, &told.done));
    return told;
}

static void expect(const struct fixture_record *record, const char *script, int status,
                   const char *output)
{
    struct told told = command(record, script, 10000);
    if (told.status != status || strcmp(told.output, output) != 0)
        fail_msg("status %d, output <%s> instead of %d, <%s>", told.status, told.output, status,
                 output);
}

static struct fixture_record *start(struct fixture_want *want, const char *script)
{
    struct fl_err err = {.text = ""};
    struct fixture_record *record;
    fixture_script(&fixture, want, script);
    int rc = fixture_launch(&fixture, want, &record, &err);
    if (rc < 0)
        fail_msg("launch: %s", err.text);
    if (!fixture_await(&fixture, &record->is_told) || record->is_failed)
        fail_msg("not started: %s", record->reason);
    return record;
}

static void stop(struct fixture_record *record)
{
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_int_equal(fl_runtime_remove(fixture.runtime, fl_str_of(record->id), NULL), 0);
}

/* Everything that the kernel tells of a process's rights, of process 1 and of the command. */
static const char compare[] =
    "for f in status limits cgroup oom_score_adj uid_map loginuid; do\n"
    "  one=$(grep -Ev '^(Name|State|Tgid|Pid|Ngid|PPid|NStgid|NSpid|NSpgid|NSsid|Vm|Rss|Huge|Sig|"
    "Shd|Threads|voluntary|nonvol|THP|Untag|Core|FDSize|Mems|x86)' /proc/1/$f)\n"
    "  self=$(grep -Ev '^(Name|State|Tgid|Pid|Ngid|PPid|NStgid|NSpid|NSpgid|NSsid|Vm|Rss|Huge|Sig|"
    "Shd|Threads|voluntary|nonvol|THP|Untag|Core|FDSize|Mems|x86)' /proc/self/$f)\n"
    "  [ \"$one\" = \"$self\" ] || echo \"$f: <$one> <$self>\"\n"
    "done\n"
    "for n in cgroup ipc mnt net pid uts user; do\n"
    "  one=$(ls -l /proc/1/ns/$n 2>&1); self=$(ls -l /proc/self/ns/$n)\n"
    "  [ \"${one##*-> }\" = \"${self##*-> }\" ] || echo \"$n: $one, $self\"\n"
    "done\n"
    "grep -E '^(Cap|Seccomp|NoNew|Uid|Groups)' /proc/self/status > /dev/null && echo compared";

static void the_command_is_as_confined_as_the_container(FL_UNUSED void **state)
{
    static struct fl_ulimit limits[] = {{{"nofile", 6}, 77, 99}, {{"core", 4}, -1, -1}};
    static struct fl_key_value env[] = {{{"WORD", 4}, {"18446744073709551615", 20}}};
    struct fixture_want wants[] = {
        {.task_id = "plain"},
        {.task_id = "user",
         .container = {.user = FL_STR("web:1003"),
                       .working_dir = FL_STR("/srv"),
                       .ulimits = limits,
                       .ulimit_count = 2,
                       .environment = env,
                       .environment_count = 1,
                       .memory_mib = 64}},
        {.task_id = "readonly", .container = {.readonly_rootfs = true}},
        {.task_id = "privileged", .container = {.privileged = true}},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(wants); i++) {
        struct fixture_record *record = start(&wants[i], "exec sleep 1000");
        expect(record, compare, 0, "compared\n");
        stop(record);
    }
    struct fixture_record *record = start(&wants[1], "exec sleep 1000");
    expect(record, "id -u; id -G; pwd; ulimit -n; ulimit -c; echo $WORD", 0,
           "1001\n1003\n/srv\n77\nunlimited\n18446744073709551615\n");
    expect(record, "echo x > /srv/x", 1, "/bin/sh: can't create /srv/x: Permission denied\n");
    stop(record);
}

static void what_the_container_may_not_do_the_command_may_not(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record = start(&want, "exec sleep 1000");
    struct told told = command(record, "mount -t tmpfs x /tmp", 10000);
    assert_int_not_equal(told.status, 0);
    told = command(record, "unshare -m true", 10000);
    assert_int_not_equal(told.status, 0);
    expect(record, "ls /proc/self/fd", 0, "0\n1\n2\n3\n");    /* 3 is the folder being read */
    expect(record, "set -- /proc/[0-9]*; echo $#", 0, "2\n"); /* the container's and this one */
    expect(record, "cat", 0, "");
    stop(record);
}

static void results_are_told(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record = start(&want, "exec sleep 1000");
    struct told told;
    expect(record, "echo out; echo err >&2; exit 7", 7, "out\nerr\n");
    expect(record, "kill -9 $$", 137, "");
    told = command(record, "head -c 100000 /dev/zero | cat -v", 10000);
    assert_int_equal(told.status, 0);
    assert_int_equal(strlen(told.output), 4096);
    begin(record, "sh", "echo found", 10000, &told);
    assert_true(fixture_await(&fixture, &told.done));
    assert_string_equal(told.output, "found\n");
    begin(record, "no-such-program", "", 10000, &told);
    assert_true(fixture_await(&fixture, &told.done));
    assert_int_equal(told.status, 127);
    assert_string_equal(told.output, "no-such-program: No such file or directory\n");
    begin(record, "/etc/passwd", "", 10000, &told);
    assert_true(fixture_await(&fixture, &told.done));
    assert_int_equal(told.status, 126);
    stop(record);
    told = command(record, "true", 10000);
    assert_int_equal(told.status, -1);
    assert_string_equal(told.output, "the container does not run");
}

static void time_runs_out_for_all_that_was_started(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record = start(&want, "exec sleep 1000");
    struct told told =
        command(record, "echo before; (sleep 300; true) & sleep 300 | cat; echo never", 500);
    int tries = 0;
    assert_true(told.timed_out);
    assert_string_equal(told.output, "before\n");
    do /* the killed ones take a moment to be gone */
        told = command(record, "grep -l 'slee[p]' /proc/[0-9]*/cmdline", 10000);
    while (strcmp(told.output, "/proc/1/cmdline\n") != 0 && tries++ < 1000);
    assert_string_equal(told.output, "/proc/1/cmdline\n");
    told = command(record, "while :; do echo yes; done", 500); /* output without end */
    assert_true(told.timed_out);
    assert_int_equal(strlen(told.output), 4096);
    stop(record);
}

/* An agent that dies takes the commands with it, and nothing else. */
static void commands_end_with_who_asked(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record = start(&want, "exec sleep 1000");
    struct told told, started;
    begin(record, "/bin/sh", "touch /tmp/begun; exec sleep 300", 300000, &told);
    do
        started = command(record, "[ -e /tmp/begun ]", 10000);
    while (started.status != 0);
    fl_execer_close(execer);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    execer = fl_execer_open(&fixture.loop, fixture.runtime,
                            fl_str_printf(arena, "%s/../libexec", fixture_libexec(arena).p));
    do
        started = command(record, "set -- /proc/[0-9]*; [ $# = 2 ]", 10000);
    while (started.status != 0);
    assert_false(told.done);
    stop(record);
}

/* The youngest child of a process; 0 when there is none, or where the kernel does not tell. */
static pid_t youngest_child(pid_t of)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    char path[64];
    int64_t pid = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)of, (int)of);
    if (fl_fs_read(AT_FDCWD, path, 4096, &text) < 0)
        return 0;
    struct fl_str rest = fl_str_trim(fl_buf_str(&text));
    (void)fl_str_to_i64(fl_str_from(rest, (size_t)(fl_str_rindex(rest, ' ') + 1)), &pid);
    return (pid_t)pid;
}

/* The helper, which has begun with the first command; no container may be there. */
static pid_t find_helper(void)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record = start(&want, "exec sleep 1000");
    expect(record, "true", 0, "");
    stop(record);
    return youngest_child(getpid());
}

static void expect_nothing_left(const struct fixture_record *record)
{
    struct told told;
    do
        told = command(record, "set -- /proc/[0-9]*; [ $# = 2 ]", 10000);
    while (told.status != 0);
}

static void a_helper_that_hangs_is_ended(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct told told;
    pid_t helper = find_helper();
    if (helper == 0)
        skip();
    struct fixture_record *record = start(&want, "exec sleep 1000");
    begin(record, "/bin/sh", "exec sleep 300", 2000, &told);
    /* Who serves the request, once the command runs: before, nothing would end it with the helper.
     */
    pid_t server = 0;
    while ((server == 0 || youngest_child(server) == 0) && !told.done) {
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
        server = youngest_child(helper);
    }
    assert_int_equal(kill(server, SIGSTOP), 0);
    assert_true(fixture_await(&fixture, &told.done));
    assert_int_equal(told.status, -1);
    expect_nothing_left(record);
    stop(record);
}

static void a_helper_that_takes_nothing_is_replaced(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct told told;
    pid_t helper = find_helper();
    if (helper == 0)
        skip();
    struct fixture_record *record = start(&want, "exec sleep 1000");
    assert_int_equal(kill(helper, SIGSTOP), 0);
    begin(record, "/bin/sh", "true", 1000, &told);
    assert_true(fixture_await(&fixture, &told.done));
    assert_int_equal(told.status, -1);
    expect(record, "echo again", 0, "again\n");
    stop(record);
}

static void a_helper_that_died_is_started_again(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    pid_t helper = find_helper();
    if (helper == 0)
        skip();
    struct fixture_record *record = start(&want, "exec sleep 1000");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(helper, SIGKILL), 0);
        while (kill(helper, 0) == 0)
            (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
        expect(record, "echo again", 0, "again\n");
        helper = youngest_child(getpid());
    }
    stop(record);
}

static void many_wait_their_turn(FL_UNUSED void **state)
{
    enum { MANY = 3 * FL_EXEC_PARALLEL };
    static struct told told[MANY];
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record = start(&want, "exec sleep 1000");
    for (int i = 0; i < MANY; i++)
        begin(record, "/bin/sh", "echo x >> /tmp/count", 20000, &told[i]);
    for (int i = 0; i < MANY; i++) {
        assert_true(fixture_await(&fixture, &told[i].done));
        assert_int_equal(told[i].status, 0);
    }
    expect(record, "grep -c x /tmp/count", 0, "48\n");
    stop(record);
}

static void a_container_is_started_again_on_what_it_left(FL_UNUSED void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fl_err err = {.text = ""};
    struct fixture_record *record =
        start(&want, "echo run >> /srv/runs; cat /srv/runs; cat /etc/hosts; exit 3");
    for (int run = 1; run <= 3; run++) {
        assert_true(fixture_await(&fixture, &record->is_exited));
        assert_int_equal(record->exit_code, 3);
        assert_int_equal(fl_runtime_run(fixture.runtime, fl_str_of(record->id)), run - 1);
        const struct fl_relaunch again = {.container_id = fl_str_of(record->id),
                                          .task_id = FL_STR("task"),
                                          .task = &want.task,
                                          .run = run,
                                          .etc_hosts = FL_STR("10.0.0.1 again\n"),
                                          .netns_fd = -1};
        record->is_started = record->is_told = record->is_exited = false;
        if (fl_runtime_relaunch(fixture.runtime, &again, &err) < 0)
            fail_msg("relaunch: %s", err.text);
        assert_int_equal(fl_runtime_relaunch(fixture.runtime, &again, NULL), -EBUSY);
        if (run == 2) { /* the agent dies, and the next one finds the run */
            fl_execer_close(execer);
            fixture_stop(&fixture);
            record->is_started = record->is_told = record->is_exited = false;
            fixture_start(&fixture);
            FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
            execer =
                fl_execer_open(&fixture.loop, fixture.runtime,
                               fl_str_printf(arena, "%s/../libexec", fixture_libexec(arena).p));
            assert_int_equal(fl_runtime_run(fixture.runtime, fl_str_of(record->id)), 2);
            assert_int_equal(fl_runtime_adopt(fixture.runtime, fl_str_of(record->id), &err), 0);
        }
    }
    assert_true(fixture_await(&fixture, &record->is_exited));
    struct fl_str text = fixture_output(&fixture, record->id, 'o');
    assert_true(fl_str_is(text,
                          "run\n127.0.0.1 localhost\nrun\nrun\n10.0.0.1 again\nrun\nrun\nrun\n"
                          "10.0.0.1 again\nrun\nrun\nrun\nrun\n10.0.0.1 again\n"));
    assert_int_equal(fl_runtime_remove(fixture.runtime, fl_str_of(record->id), NULL), 0);
}

/* A profile or a label that the kernel does not know: the command is not run without it. */
static void a_command_is_not_run_with_less_than_the_containers_profile(FL_UNUSED void **state)
{
    static const char *const members[] = {"\"apparmorProfile\":\"fairlead-nobody-has-this\",",
                                          "\"selinuxLabel\":\"no:such:label:s0\","};
    for (size_t i = 0; i < FL_ARRAY_SIZE(members); i++) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fixture_want want = {.task_id = "task"};
        struct fixture_record *record = start(&want, "exec sleep 1000");
        const char *path =
            fl_str_printf(arena, "%s/containers/%s/config.json", fixture.data_dir, record->id).p;
        assert_int_equal(fl_fs_read(AT_FDCWD, path, text.max, &text), 0);
        const char *process = strstr(text.p, "\"process\":{");
        assert_non_null(process);
        size_t head = (size_t)(process - text.p) + strlen("\"process\":{");
        struct fl_str changed =
            fl_str_printf(arena, "%.*s%s%s", (int)head, text.p, members[i], text.p + head);
        assert_int_equal(fl_fs_write_fast(AT_FDCWD, path, changed, 0600), 0);
        struct told told = command(record, "echo no", 10000);
        assert_int_equal(told.status, 126);
        assert_null(strstr(told.output, "no\n"));
        assert_non_null(strstr(told.output, "profile"));
        stop(record);
    }
}

static void run_again(struct fixture_record *record, const struct fixture_want *want, int run)
{
    struct fl_err err = {.text = ""};
    const struct fl_relaunch again = {.container_id = fl_str_of(record->id),
                                      .task_id = fl_str_of(want->task_id),
                                      .task = &want->task,
                                      .run = run,
                                      .etc_hosts = FL_STR("127.0.0.1 localhost\n"),
                                      .netns_fd = -1};
    record->is_started = record->is_told = record->is_exited = false;
    if (fl_runtime_relaunch(fixture.runtime, &again, &err) < 0)
        fail_msg("relaunch: %s", err.text);
    if (!fixture_await(&fixture, &record->is_exited))
        fail_msg("run %d has not ended: %s", run, record->reason);
    assert_int_equal(record->exit_code, 0);
}

/* A task of one container, so that no other holds the namespaces between two of its runs: with a
 * restart policy the agent does, and what is in the shared memory stays; after the agent's end
 * there are new ones. */
static void a_container_is_started_again_in_its_tasks_namespaces(FL_UNUSED void **state)
{
    struct fl_err err = {.text = ""};
    struct fixture_want want = {.task_id = "shared"};
    want.task.pid_mode = FL_NS_TASK;
    want.task.ipc_mode = FL_NS_TASK;
    want.container.restart.enabled = true;
    struct fixture_record *record =
        start(&want, "echo x >> /dev/shm/x; cat /dev/shm/x; [ $$ != 1 ] && echo inner");
    assert_true(fixture_await(&fixture, &record->is_exited));
    run_again(record, &want, 1);
    fl_execer_close(execer);
    fixture_stop(&fixture);
    fixture_start(&fixture);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    execer = fl_execer_open(&fixture.loop, fixture.runtime,
                            fl_str_printf(arena, "%s/../libexec", fixture_libexec(arena).p));
    record->is_started = record->is_told = record->is_exited = false;
    assert_int_equal(fl_runtime_adopt(fixture.runtime, fl_str_of(record->id), &err), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    run_again(record, &want, 2);
    run_again(record, &want, 3);
    struct fl_str text = fixture_output(&fixture, record->id, 'o');
    if (!fl_str_is(text, "x\ninner\nx\nx\ninner\nx\ninner\nx\nx\ninner\n"))
        fail_msg("it said %.*s", FL_STR_ARG(text));
    fl_runtime_let_go(fixture.runtime, fl_str_of(record->id));
    assert_int_equal(fl_runtime_remove(fixture.runtime, fl_str_of(record->id), NULL), 0);
}

static int open_fixture(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fixture_open(&fixture);
    execer = fl_execer_open(&fixture.loop, fixture.runtime,
                            fl_str_printf(arena, "%s/../libexec", fixture_libexec(arena).p));
    return 0;
}

static int close_fixture(FL_UNUSED void **state)
{
    static const char *const tasks[] = {"shared", "task",     "plain",
                                        "user",   "readonly", "privileged"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(tasks); i++)
        fl_runtime_remove_task(fixture.runtime, fl_str_of(tasks[i]));
    fl_execer_close(execer);
    fixture_close(&fixture);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_is_as_confined_as_the_container),
        cmocka_unit_test(what_the_container_may_not_do_the_command_may_not),
        cmocka_unit_test(results_are_told),
        cmocka_unit_test(time_runs_out_for_all_that_was_started),
        cmocka_unit_test(commands_end_with_who_asked),
        cmocka_unit_test(a_helper_that_hangs_is_ended),
        cmocka_unit_test(a_helper_that_takes_nothing_is_replaced),
        cmocka_unit_test(a_helper_that_died_is_started_again),
        cmocka_unit_test(many_wait_their_turn),
        cmocka_unit_test(a_command_is_not_run_with_less_than_the_containers_profile),
        cmocka_unit_test(a_container_is_started_again_on_what_it_left),
        cmocka_unit_test(a_container_is_started_again_in_its_tasks_namespaces),
    };
    if (geteuid() != 0)
        return 77;
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
