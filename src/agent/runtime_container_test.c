/* Goal: a container runs as a user of ECS expects and leaves nothing. Method: real containers with
 * busybox, started through the runtime's public calls, the shim and the OCI runtime; what is
 * claimed is read from inside the container or from the host's cgroups and processes. Needs root;
 * exits 77 without. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/runtime_fixture.h"
#include "agent/runtime_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_SANITIZER
#endif
#endif

static struct fixture fixture;

static struct fixture_record *start(struct fixture_want *want)
{
    struct fl_err err = {.text = ""};
    struct fixture_record *record;
    int rc = fixture_launch(&fixture, want, &record, &err);
    if (rc < 0)
        fail_msg("launch: %s", err.text);
    if (!fixture_await(&fixture, &record->is_told) || record->is_failed)
        fail_msg("not started: %s", record->reason);
    return record;
}

static struct fixture_record *run(struct fixture_want *want, const char *script)
{
    fixture_script(&fixture, want, script);
    struct fixture_record *record = start(want);
    assert_true(fixture_await(&fixture, &record->is_exited));
    return record;
}

static void discard(struct fixture_record *record)
{
    assert_int_equal(fl_runtime_remove(fixture.runtime, fl_str_of(record->id), NULL), 0);
}

/* Runs a script that must succeed and print exactly this on stdout. */
static void expect_output(struct fixture_want *want, const char *script, const char *output)
{
    struct fixture_record *record = run(want, script);
    struct fl_str text = fixture_output(&fixture, record->id, 'o');
    struct fl_str errors = fixture_output(&fixture, record->id, 'e');
    if (!fl_str_is(text, output))
        fail_msg("output <%.*s> stderr <%.*s> instead of <%s>", FL_STR_ARG(text),
                 FL_STR_ARG(errors), output);
    assert_int_equal(record->exit_code, 0);
    discard(record);
}

static void test_output_and_code(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    struct fixture_record *record =
        run(&want, "seq 1 20000; echo problem >&2; echo -n unfinished; exit 7");
    struct fl_str text = fixture_output(&fixture, record->id, 'o');
    assert_int_equal(record->exit_code, 7);
    assert_false(record->oom_killed);
    assert_true(fl_str_starts(text, FL_STR("1\n2\n3\n")));
    assert_true(fl_str_ends(text, FL_STR("\n19999\n20000\nunfinished\n")));
    assert_true(fl_str_is(fixture_output(&fixture, record->id, 'e'), "problem\n"));
    discard(record);
}

static void test_long_line(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    struct fixture_record *record = run(&want, "head -c 100000 /dev/zero | cat -v; echo");
    struct fl_str text = fixture_output(&fixture, record->id, 'o');
    assert_int_equal(text.n, 200001);
    discard(record);
}

static void test_signal(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    fixture_script(&fixture, &want, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    struct fixture_record *record = start(&want);
    while (fixture_output(&fixture, record->id, 'o').n == 0)
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGTERM), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_int_equal(record->exit_code, 3);
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGTERM), 0);
    discard(record);

    fixture_script(&fixture, &want, "sleep 1000");
    record = start(&want);
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_int_equal(record->exit_code, 137);
    assert_false(record->oom_killed);
    discard(record);
}

/* A signal may be asked for before the container runs; it arrives. */
static void test_early_kill(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fl_err err;
    struct fixture_record *record;
    (void)state;
    fixture_script(&fixture, &want, "sleep 1000");
    assert_int_equal(fixture_launch(&fixture, &want, &record, &err), 0);
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_true(record->is_started);
    assert_int_equal(record->exit_code, 137);
    discard(record);
}

static void test_sigpipe_is_default(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    expect_output(&want, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status",
                  "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_oom(void **state)
{
    struct fixture_want want = {.task_id = "task", .container.memory_mib = 16};
    (void)state;
    struct fixture_record *record = run(&want, "exec tail -c 64m /dev/zero");
    assert_int_equal(record->exit_code, 137);
    assert_true(record->oom_killed);
    discard(record);

    struct fixture_want task = {.task_id = "oomtask", .task.memory_mib = 16, .task.cpu_units = 512};
    record = run(&task, "exec tail -c 64m /dev/zero");
    assert_int_equal(record->exit_code, 137);
    assert_true(record->oom_killed);
    discard(record);
    fl_runtime_remove_task(fixture.runtime, FL_STR("oomtask"));
}

static void test_user_and_dir(void **state)
{
    struct fixture_want want = {.task_id = "task", .container.user = FL_STR("web")};
    struct fixture_record *record;
    struct fl_err err;
    (void)state;
    want.container.working_dir = FL_STR("/srv");
    expect_output(&want, "id -u; id -g; id -G; pwd; grep CapEff /proc/self/status",
                  "1001\n1002\n1002 1003\n/srv\nCapEff:\t0000000000000000\n");
    want.container.user = FL_STR("5:6");
    want.container.working_dir = FL_STR("");
    expect_output(&want, "id -u; id -g; pwd", "5\n6\n/\n");
    want.container.user = FL_STR("nobody-here");
    assert_int_equal(fixture_launch(&fixture, &want, &record, &err), -ENOENT);
    assert_string_equal(err.text,
                        "unable to find user nobody-here: no matching entries in passwd file");
}

/* The fourteen of Docker, as a mask: everything that could be raised is in the bounding set. */
static void test_capabilities(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    expect_output(&want, "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status",
                  "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n"
                  "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n"
                  "CapAmb:\t0000000000000000\n");
}

static void test_seccomp(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    expect_output(&want,
                  "grep -E '^Seccomp:' /proc/self/status; swapon /etc/passwd 2>&1; "
                  "mount -t tmpfs none /tmp 2>&1 | grep -c 'denied\\|permitted'",
                  "Seccomp:\t2\nswapon: /etc/passwd: Operation not permitted\n1\n");
}

static void test_privileged(void **state)
{
    struct fixture_want want = {.task_id = "task", .container.privileged = true};
    (void)state;
    expect_output(&want,
                  "grep -E '^Seccomp:' /proc/self/status; mount -t tmpfs none /tmp && echo ok; "
                  "[ -e /dev/kmsg ] && echo devices",
                  "Seccomp:\t0\nok\ndevices\n");
}

static void test_no_foreign_descriptors(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    /* 3 is the directory that ls itself reads. */
    expect_output(&want, "exec ls /proc/self/fd", "0\n1\n2\n3\n");
}

static void test_environment(void **state)
{
    struct fl_key_value pairs[] = {{FL_STR("COLOR"), FL_STR("blue \"sky\"\n")},
                                   {FL_STR("HOME"), FL_STR("/srv")}};
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    want.container.environment = pairs;
    want.container.environment_count = 2;
    expect_output(&want,
                  "echo \"$COLOR|$HOME|$HOSTNAME|$PATH\"; hostname; cat /etc/hostname /etc/hosts",
                  "blue \"sky\"\n|/srv|box|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                  "/sbin:/bin\nbox\nbox\n127.0.0.1 localhost\n");
}

/* busybox's grep -r would follow the link to what is in memory. */
static bool is_on_disk(const char *text)
{
    char command[256];
    (void)snprintf(command, sizeof(command),
                   "find %s -type f -exec grep -qaF %s {} \\; -print | tee /dev/stderr | grep -q .",
                   fixture.dir, text);
    return system(command) == 0;
}

static bool is_in_memory(const char *text)
{
    char command[256];
    (void)snprintf(command, sizeof(command),
                   "grep -rqaF %s /run/fairlead-%s /dev/shm/fairlead-%s 2>/dev/null", text,
                   fixture.tag, fixture.tag);
    return system(command) == 0;
}

/* A secret is in the container and in no file of ours; it is gone with the container's last end,
 * but for the log driver's options. */
static void test_secrets(void **state)
{
    const struct fl_key_value secrets[] = {{FL_STR("PW"), FL_STR("hush-variable")}};
    const struct fl_key_value options[] = {{FL_STR("tag"), FL_STR("hush-option")}};
    struct fl_key_value pairs[] = {{FL_STR("PW"), FL_STR("open")}};
    struct fixture_want want = {.task_id = "task", .secrets = secrets, .log_secrets = options};
    struct fl_key_value *kept;
    size_t count;
    (void)state;
    want.container.environment = pairs;
    want.container.environment_count = 1;
    fixture_script(&fixture, &want, "test \"$PW\" = hush-variable && echo right; exec sleep 1000");
    struct fixture_record *record = start(&want);
    struct fl_str id = fl_str_of(record->id);
    while (fixture_output(&fixture, record->id, 'o').n == 0)
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    assert_true(fl_str_is(fixture_output(&fixture, record->id, 'o'), "right\n"));
    assert_false(is_on_disk("hush-variable") || is_on_disk("hush-option"));
    assert_true(fl_runtime_log_secrets(fixture.runtime, id, fixture.arena, &kept, &count));
    assert_int_equal(count, 1);
    assert_true(fl_str_is(kept[0].key, "tag") && fl_str_is(kept[0].value, "hush-option"));
    assert_int_equal(fl_runtime_kill(fixture.runtime, id, SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_true(is_in_memory("hush-variable"));
    fl_runtime_let_go(fixture.runtime, id);
    assert_false(is_in_memory("hush-variable"));
    assert_true(is_in_memory("hush-option"));
    discard(record);
    assert_false(is_in_memory("hush-option"));
    assert_false(is_on_disk("hush-variable") || is_on_disk("hush-option"));
}

static void test_root_is_isolated(void **state)
{
    struct fixture_want want = {.task_id = "task", .container.readonly_rootfs = true};
    (void)state;
    expect_output(&want, "touch /x 2>&1; touch /proc/sys/kernel/x 2>/dev/null || echo no; echo $$",
                  "touch: /x: Read-only file system\nno\n1\n");
    want.container.readonly_rootfs = false;
    expect_output(&want, "touch /x && stat -c '%a %u' / && cat /proc/keys | head -c 1", "755 0\n");
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/x", fixture.layer);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_volumes(void **state)
{
    char host_path[96];
    struct fl_volume_spec volumes[] = {{.name = FL_STR("shared")}, {.name = FL_STR("host")}};
    struct fl_mount_point mounts[] = {{FL_STR("host"), FL_STR("/data/sub"), true},
                                      {FL_STR("shared"), FL_STR("/data"), false}};
    struct fixture_want want = {.task_id = "voltask"};
    (void)state;
    (void)snprintf(host_path, sizeof(host_path), "%s/given", fixture.dir);
    volumes[1].host_path = fl_str_of(host_path);
    want.task.volumes = volumes;
    want.task.volume_count = 2;
    want.container.mounts = mounts;
    want.container.mount_count = 2;
    expect_output(&want, "echo hello > /data/f; touch /data/sub/x 2>&1; echo done",
                  "touch: /data/sub/x: Read-only file system\ndone\n");
    want.container.mount_count = 2;
    expect_output(&want, "cat /data/f", "hello\n");
    fl_runtime_remove_task(fixture.runtime, FL_STR("voltask"));
}

static void test_rlimit(void **state)
{
    struct fl_ulimit limits[] = {{FL_STR("nofile"), 100, 200}, {FL_STR("nproc"), -1, -1}};
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    want.container.ulimits = limits;
    want.container.ulimit_count = 2;
    expect_output(&want, "ulimit -Sn; ulimit -Hn", "100\n200\n");
}

static void test_cgroup_placement(void **state)
{
    struct fixture_want want = {
        .task_id = "task", .container.memory_mib = 32, .container.cpu_units = 128};
    char path[512];
    struct fl_buf text = FL_BUF_INIT(4096);
    (void)state;
    if (access("/sys/fs/cgroup/memory", F_OK) != 0)
        skip();
    fixture_script(&fixture, &want, "sleep 1000");
    struct fixture_record *record = start(&want);
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/memory/%s/task/%s/memory.limit_in_bytes",
                   fixture.tag, record->id);
    assert_int_equal(fl_fs_read(AT_FDCWD, path, 4096, &text), 0);
    assert_true(fl_str_is(fl_buf_str(&text), "33554432\n"));
    fl_buf_clear(&text);
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu/%s/task/%s/cpu.shares", fixture.tag,
                   record->id);
    assert_int_equal(fl_fs_read(AT_FDCWD, path, 4096, &text), 0);
    assert_true(fl_str_is(fl_buf_str(&text), "128\n"));
    fl_buf_clear(&text);
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/devices/%s/task/%s/devices.list",
                   fixture.tag, record->id);
    assert_int_equal(fl_fs_read(AT_FDCWD, path, 4096, &text), 0);
    assert_false(fl_str_contains(fl_buf_str(&text), FL_STR("a *:* rwm")));
    assert_true(fl_str_contains(fl_buf_str(&text), FL_STR("c 1:3 rwm")));
    fl_buf_free(&text);
    assert_int_equal(fl_runtime_remove(fixture.runtime, fl_str_of(record->id), NULL), -EBUSY);
    (void)fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL);
    assert_true(fixture_await(&fixture, &record->is_exited));
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/memory/%s/task/%s", fixture.tag, record->id);
    assert_int_equal(access(path, F_OK), -1);
    discard(record);
}

static void test_command_not_found(void **state)
{
    struct fl_str args[] = {FL_STR("nope")};
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record;
    struct fl_err err;
    (void)state;
    want.container.command = args;
    want.container.command_count = 1;
    assert_int_equal(fixture_launch(&fixture, &want, &record, &err), 0);
    assert_true(fixture_await(&fixture, &record->is_failed));
    assert_string_equal(record->reason,
                        "OCI runtime create failed: unable to start container process: exec: "
                        "\"nope\": executable file not found in $PATH: unknown");
    discard(record);
}

static void take_id(int fd, const struct fixture_record *record)
{
    if (write(fd, record->id, 64) != 64)
        _exit(1);
}

/* The life of an agent that is killed: one container has ended, one runs, one has just begun. */
static _Noreturn void be_first_agent(int fd)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record;
    fixture_start(&fixture);
    fixture_script(&fixture, &want, "exit 6");
    record = start(&want);
    if (!fixture_await(&fixture, &record->is_exited))
        _exit(1);
    take_id(fd, record);
    fixture_script(&fixture, &want, "sleep 0.5; echo late; exit 5");
    take_id(fd, start(&want));
    fixture_script(&fixture, &want, "echo quick; exit 4");
    if (fixture_launch(&fixture, &want, &record, NULL) < 0)
        _exit(1);
    take_id(fd, record);
    (void)raise(SIGKILL);
    _exit(1);
}

/* Another program of the same file, as a forked child of a process with threads may do nothing but
 * begin anew. */
static pid_t start_first_agent(int fd)
{
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", fd);
    char *const argv[] = {(char *)"first-agent", fixture.dir, fixture.tag, number, NULL};
    (void)setenv("FAIRLEAD_TEST_LIBEXEC", fixture_libexec(fixture.arena).p, 1);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)fcntl(fd, F_SETFD, 0);
        (void)execv("/proc/self/exe", argv);
        _exit(1);
    }
    return pid;
}

/* argv: "first-agent", the fixture's directory and tag, the descriptor to write ids to. */
static _Noreturn void become_first_agent(char **argv)
{
    uint64_t fd = 0;
    (void)snprintf(fixture.dir, sizeof(fixture.dir), "%s", argv[1]);
    (void)snprintf(fixture.tag, sizeof(fixture.tag), "%s", argv[2]);
    FL_ASSERT(fl_str_to_u64(fl_str_of(argv[3]), &fd));
    (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    fixture.arena = fl_arena_new();
    (void)snprintf(fixture.layer, sizeof(fixture.layer), "%s/layer", fixture.dir);
    (void)snprintf(fixture.data_dir, sizeof(fixture.data_dir), "%s/agent", fixture.dir);
    be_first_agent((int)fd);
}

static void test_adoption(void **state)
{
    static const int codes[] = {6, 5, 4};
    struct fixture_record *records[3];
    char ids[3][65] = {{0}};
    int fds[2];
    int status;
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = start_first_agent(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read(fds[0], ids[i], 64), 64);
        records[i] = fixture_record(&fixture, fl_str_of(ids[i]));
        assert_int_equal(fl_runtime_adopt(fixture.runtime, fl_str_of(ids[i]), NULL), 0);
        assert_false(records[i]->is_started);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_true(fixture_await(&fixture, &records[i]->is_exited));
        assert_int_equal(records[i]->exit_code, codes[i]);
    }
    assert_true(fl_str_is(fixture_output(&fixture, ids[1], 'o'), "late\n"));
    for (size_t i = 0; i < 3; i++)
        discard(records[i]);
    assert_int_equal(fl_runtime_adopt(fixture.runtime, FL_STR("feed"), NULL), -ENOENT);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static int64_t read_number(const char *id, const char *name)
{
    struct fl_buf text = FL_BUF_INIT(256);
    struct fl_str word;
    char path[256];
    int64_t number = 0;
    (void)snprintf(path, sizeof(path), "%s/containers/%s/%s", fixture.data_dir, id, name);
    assert_int_equal(fl_fs_read(AT_FDCWD, path, 256, &text), 0);
    struct fl_str rest = fl_buf_str(&text);
    assert_true(fl_str_split(&rest, ' ', &word) && fl_str_to_i64(word, &number));
    fl_buf_free(&text);
    return number;
}

/* A killed monitor takes its container with it, and that is told as an end. */
static void test_killed_shim(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    (void)state;
    fixture_script(&fixture, &want, "sleep 1000");
    struct fixture_record *record = start(&want);
    pid_t container = (pid_t)read_number(record->id, "started");
    assert_int_equal(kill((pid_t)read_number(record->id, "shim"), SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_int_equal(record->exit_code, 137);
    for (int i = 0; i < 2000 && kill(container, 0) == 0; i++)
        (void)usleep(1000);
    discard(record);
}

static bool names_us(const char *file)
{
    struct fl_buf text = FL_BUF_INIT(16 * 1024 * 1024);
    assert_int_equal(fl_fs_read(AT_FDCWD, file, text.max, &text), 0);
    bool found = fl_str_contains(fl_buf_str(&text), fl_str_of(fixture.dir));
    fl_buf_free(&text);
    return found;
}

#ifndef WITH_SANITIZER
static void restart_agent(void)
{
    fixture_stop(&fixture);
    fixture_start(&fixture);
}

/* The launcher's end touches no container, and those that come later start without it. */
static void test_killed_launcher(void **state)
{
    struct fixture_want want = {.task_id = "task"}, more = {.task_id = "task"};
    (void)state;
    fixture_script(&fixture, &want, "sleep 1000");
    struct fixture_record *record = start(&want);
    assert_int_equal(kill(fixture.runtime->launcher_pid, SIGKILL), 0);
    while (fixture.runtime->launcher_fd >= 0)
        (void)uv_run(&fixture.loop, UV_RUN_ONCE);
    expect_output(&more, "echo later", "later\n");
    assert_false(record->is_exited);
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_int_equal(record->exit_code, 137);
    discard(record);
    restart_agent();
    assert_true(fixture.runtime->launcher_fd >= 0);
}

/* What it was asked for and never began is told as a failure. */
static void test_launch_lost(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fixture_record *record;
    struct fl_err err;
    (void)state;
    assert_int_equal(kill(fixture.runtime->launcher_pid, SIGSTOP), 0);
    fixture_script(&fixture, &want, "sleep 1000");
    assert_int_equal(fixture_launch(&fixture, &want, &record, &err), 0);
    assert_int_equal(kill(fixture.runtime->launcher_pid, SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_failed));
    assert_false(record->is_started);
    discard(record);
    restart_agent();
}
#endif

/* To who looks at processes, a shim is a shim. */
static void test_shim_has_its_name(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    char path[64];
    struct fl_buf text = FL_BUF_INIT(4096);
    (void)state;
    fixture_script(&fixture, &want, "sleep 1000");
    struct fixture_record *record = start(&want);
    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)read_number(record->id, "shim"));
    assert_int_equal(fl_fs_read(AT_FDCWD, path, 4096, &text), 0);
    struct fl_str rest = fl_buf_str(&text), word = {NULL, 0};
    assert_true(fl_str_split(&rest, '\0', &word));
    assert_true(fl_str_ends(word, FL_STR("/fairlead-shim")));
    assert_true(fl_str_split(&rest, '\0', &word));
    assert_true(fl_str_ends(word, fl_str_of(record->id)));
    assert_int_equal(fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL), 0);
    assert_true(fixture_await(&fixture, &record->is_exited));
    discard(record);
    fl_buf_free(&text);
}

/* An installation whose agent is gone is ended all the same. */
static void test_destroy(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    struct fl_runtime_config config = {.data_dir = fl_str_of(fixture.data_dir)};
    struct fl_err err = {.text = ""};
    char path[256];
    (void)state;
    fixture_script(&fixture, &want, "sleep 1000 & sleep 1000");
    struct fixture_record *record = start(&want);
    config.tag = fl_str_of(fixture.tag);
    if (fl_runtime_destroy(&config, &err) < 0)
        fail_msg("%s", err.text);
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/memory/%s", fixture.tag);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(fixture_await(&fixture, &record->is_exited));
    assert_int_equal(record->exit_code, 137);
    discard(record);
}

/* What a host that was restarted finds of its last boot has ended. */
static void test_reboot(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    char dir[256];
    (void)state;
    fixture_script(&fixture, &want, "sleep 1000");
    struct fixture_record *record = start(&want);
    char started[160];
    (void)snprintf(started, sizeof(started), "%d 1 1000 another-boot\n",
                   (int)read_number(record->id, "started"));
    (void)snprintf(dir, sizeof(dir), "%s/containers/0123abcd", fixture.data_dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    fixture_write(dir, "orders", "boot another-boot\n");
    fixture_write(dir, "started", started);
    assert_int_equal(fl_runtime_adopt(fixture.runtime, FL_STR("0123abcd"), NULL), 0);
    struct fixture_record *old = fixture_record(&fixture, FL_STR("0123abcd"));
    assert_true(fixture_await(&fixture, &old->is_exited));
    assert_true(old->is_started);
    assert_int_equal(old->exit_code, 137);
    discard(old);
    assert_false(record->is_exited); /* the number passed to another process, which lives */
    (void)fl_runtime_kill(fixture.runtime, fl_str_of(record->id), SIGKILL);
    assert_true(fixture_await(&fixture, &record->is_exited));
    discard(record);
}

/* The shim enters the network namespace it is given. */
static void test_network_namespace(void **state)
{
    struct fixture_want want = {.task_id = "task"};
    char path[64];
    int ready[2];
    char byte;
    (void)state;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        (void)pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    want.netns_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(want.netns_fd > 0);
    expect_output(&want, "tail -n +3 /proc/net/dev | grep -c :; ls /sys/class/net", "1\nlo\n");
    (void)close(want.netns_fd);
    (void)close(ready[0]);
    (void)close(ready[1]);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* Last: every container above was removed, so nothing of them may be left. */
static void test_nothing_left(void **state)
{
    char path[256];
    (void)state;
    fl_runtime_remove_task(fixture.runtime, FL_STR("task"));
    (void)snprintf(path, sizeof(path), "%s/containers", fixture.data_dir);
    assert_int_equal(rmdir(path), 0);
    (void)snprintf(path, sizeof(path), "%s/run/runtime", fixture.data_dir);
    assert_int_equal(rmdir(path), 0);
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/memory/%s/task", fixture.tag);
    assert_int_equal(access(path, F_OK), -1);
    assert_false(names_us("/proc/self/mountinfo"));
}

static int open_all(void **state)
{
    (void)state;
    fixture_open(&fixture);
    (void)signal(SIGPIPE, SIG_IGN); /* as the agent does: containers must not inherit it */
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_code),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_early_kill),
        cmocka_unit_test(test_sigpipe_is_default),
        cmocka_unit_test(test_oom),
        cmocka_unit_test(test_user_and_dir),
        cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_seccomp),
        cmocka_unit_test(test_privileged),
        cmocka_unit_test(test_no_foreign_descriptors),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_root_is_isolated),
        cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_rlimit),
        cmocka_unit_test(test_cgroup_placement),
        cmocka_unit_test(test_command_not_found),
        cmocka_unit_test(test_adoption),
        cmocka_unit_test(test_killed_shim),
#ifndef WITH_SANITIZER /* there is no launcher then */
        cmocka_unit_test(test_killed_launcher),
        cmocka_unit_test(test_launch_lost),
#endif
        cmocka_unit_test(test_shim_has_its_name),
        cmocka_unit_test(test_reboot),
        cmocka_unit_test(test_network_namespace),
        cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_nothing_left),
    };
    if (geteuid() != 0) {
        (void)puts("1..0 # SKIP needs root");
        return 77;
    }
    if (argc == 4 && strcmp(argv[0], "first-agent") == 0)
        become_first_agent(argv);
    return cmocka_run_group_tests(tests, open_all, close_all);
}
