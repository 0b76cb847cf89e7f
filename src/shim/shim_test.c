/* Goal: the shim tells the truth whatever the runtime does. Method: the real shim with shell
 * scripts in the runtime's place: one that hangs, one that fails, one that lies, one whose
 * "container" leaves its output to a grandchild. Needs root. argv[1] or FAIRLEAD_TEST_SHIM is the
 * shim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mounts.h"

static const char *shim_path;
static char dir[64];
static struct fl_arena *arena;

static struct fl_str path_of(const char *name)
{
    return fl_str_printf(arena, "%s/%s", dir, name);
}

static void write_orders(const char *script, const char *more)
{
    struct fl_str text =
        fl_str_printf(arena,
                      "boot here\ntimeout_ms 20000\nnetns 0\nshipped 1\nstate %s/state\n"
                      "layer %s/layer\nrun /bin/sh\nrun -c\nrun %s\n%s",
                      dir, dir, script, more);
    assert_int_equal(fl_fs_write_fast(AT_FDCWD, path_of("orders").p, text, 0600), 0);
}

static struct fl_str read_told(const char *name)
{
    struct fl_buf text = FL_BUF_INIT(65536);
    (void)fl_fs_read(AT_FDCWD, path_of(name).p, 65536, &text);
    struct fl_str copy = fl_str_dup(arena, fl_buf_str(&text));
    fl_buf_free(&text);
    return copy;
}

/* Runs the shim to its end and returns its exit status; an overlay is mounted once only. */
static int run_shim(void)
{
    static const char *const old[] = {"upper", "work", "started", "failed", "exit"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(old); i++)
        (void)fl_fs_remove_tree(AT_FDCWD, path_of(old[i]).p);
    char *argv[] = {(char *)(uintptr_t)shim_path, dir, NULL};
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    (void)posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd < 3; fd++) /* a shim that hangs must not hold the test's output */
        (void)posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    assert_int_equal(posix_spawn(&pid, shim_path, &actions, NULL, argv, environment), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)alarm(30);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)alarm(0);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int set_up(FL_UNUSED void **state)
{
    arena = fl_arena_new();
    (void)snprintf(dir, sizeof(dir), "/tmp/fairlead-shim-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return fl_fs_mkdirs(path_of("layer").p, 0755);
}

static int tear_down(FL_UNUSED void **state)
{
    int rc = fl_fs_remove_tree(AT_FDCWD, dir);
    fl_arena_free(arena);
    return rc;
}

static void hanging_runtime_is_ended(FL_UNUSED void **state)
{
    write_orders("exec sleep 1000", "timeout_ms 300\n");
    assert_int_equal(run_shim(), 1);
    assert_true(
        fl_str_is(read_told("failed"), "runtime the container runtime did not finish in time"));
    assert_int_equal(read_told("started").n, 0);
}

static void failing_runtime_is_quoted(FL_UNUSED void **state)
{
    write_orders("echo no such thing > runtime.log; exit 3", "");
    assert_int_equal(run_shim(), 1);
    assert_true(fl_str_is(read_told("failed"), "runtime no such thing\n"));
}

static void lying_runtime_is_a_failure(FL_UNUSED void **state)
{
    write_orders("exit 0", "");
    assert_int_equal(run_shim(), 1);
    assert_true(fl_str_starts(read_told("failed"), FL_STR("runtime the container runtime ended")));
}

static void process_of_others_is_a_failure(FL_UNUSED void **state)
{
    write_orders("echo 2 > pid", "");
    assert_int_equal(run_shim(), 1);
    assert_true(fl_str_starts(read_told("failed"), FL_STR("runtime the container runtime ended")));
    assert_int_equal(read_told("started").n, 0);
}

static void bad_orders_are_refused(FL_UNUSED void **state)
{
    write_orders("exit 0", "nonsense 1\n");
    assert_int_equal(run_shim(), 1);
    assert_true(fl_str_starts(read_told("failed"), FL_STR("cannot read the orders")));
    write_orders("exit 0", "layer /nonexistent\n");
    assert_int_equal(run_shim(), 1);
    assert_true(fl_str_starts(read_told("failed"), FL_STR("cannot mount the root file system")));
}

/* The "container" is a process that its runtime leaves behind: the shim inherits it. */
static void exit_is_told_after_started(FL_UNUSED void **state)
{
    write_orders("{ sleep 0.1; echo out; echo err >&2; exit 9; } & echo $! > pid", "");
    assert_int_equal(run_shim(), 0);
    assert_true(fl_str_ends(read_told("started"), FL_STR(" here\n")));
    assert_true(fl_str_starts(read_told("exit"), FL_STR("9 0 ")));
    assert_true(fl_str_contains(read_told("log"), FL_STR(" o F out\n")));
    assert_true(fl_str_contains(read_told("log"), FL_STR(" e F err\n")));
    assert_int_equal(read_told("failed").n, 0);
}

/* For a "container" that may end before its runtime: not before the shell, which would wait for
 * it, has become another program or is gone. */
#define UNTIL_NOBODY_WAITS "while grep -q \"^sh$\" /proc/$PPID/comm; do :; done; "

static void early_end_is_not_lost(FL_UNUSED void **state)
{
    write_orders("sh -c '" UNTIL_NOBODY_WAITS "exit 4' & echo $! > pid; exec sleep 0.3", "");
    assert_int_equal(run_shim(), 0);
    assert_true(fl_str_starts(read_told("exit"), FL_STR("4 0 ")));
}

/* Whoever still holds the pipe delays the news for two seconds, not for ever. */
static void grandchild_does_not_hold_the_exit(FL_UNUSED void **state)
{
    write_orders("sh -c '" UNTIL_NOBODY_WAITS "sleep 1000 & echo $! > grandchild; kill -TERM $$' & "
                 "echo $! > pid; exec sleep 0.1",
                 "");
    assert_int_equal(run_shim(), 0);
    assert_true(fl_str_starts(read_told("exit"), FL_STR("143 0 ")));
    int64_t pid;
    assert_true(fl_str_to_i64(fl_str_trim(read_told("grandchild")), &pid));
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0); /* it lives: nobody waited for its end */
}

/* A "container" that ends at once. */
#define BRIEF "sh -c '" UNTIL_NOBODY_WAITS "exit 0' & echo $! > pid; exec sleep 0.1"

/* What the "runtime" finds in the root file system is what was mounted there. */
static void mounts_are_made_before_the_runtime_runs(FL_UNUSED void **state)
{
    assert_int_equal(fl_fs_mkdirs(path_of("volume/sub").p, 0755), 0);
    assert_int_equal(symlink("/deep/er", path_of("layer/link").p), 0);
    write_orders("sh -c '" UNTIL_NOBODY_WAITS "echo new > rootfs/deep/er/f; touch rootfs/t/x || "
                 "exit 3; touch rootfs/ro/y && exit 4; exit 9' & echo $! > pid; exec sleep 0.1",
                 fl_str_printf(arena,
                               "mount b%s/volume\nat w/link\nmount t1 size=1m\nat w/t\n"
                               "mount b%s/volume\nat r/ro\nmount b%s/orders\nat r/one\n",
                               dir, dir, dir)
                     .p);
    assert_int_equal(run_shim(), 0);
    struct fl_str told = read_told("exit");
    assert_true(fl_str_starts(told, FL_STR("3 0 "))); /* flag 1: read-only */
    assert_true(fl_str_is(read_told("volume/f"), "new\n"));
    assert_int_equal(read_told("volume/y").n, 0);
}

static void places_that_lead_away_are_refused(FL_UNUSED void **state)
{
    static const char *const places[] = {"/p",     "/p/sys/kernel", "/up/proc/1",    "/s/x",
                                         "/round", "/all",          "/dangling/self"};
    assert_int_equal(symlink("/proc", path_of("layer/p").p), 0);
    assert_int_equal(symlink("../../..", path_of("layer/up").p), 0);
    assert_int_equal(symlink("sys", path_of("layer/s").p), 0);
    assert_int_equal(symlink("round", path_of("layer/round").p), 0);
    assert_int_equal(symlink("/", path_of("layer/all").p), 0);
    assert_int_equal(symlink("/none/../proc", path_of("layer/dangling").p), 0);
    assert_int_equal(fl_fs_mkdirs(path_of("volume").p, 0755), 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(places); i++) {
        struct fl_str order = fl_str_printf(arena, "mount b%s/volume\nat w%s\n", dir, places[i]);
        write_orders("exit 0", order.p);
        assert_int_equal(run_shim(), 1);
        if (!fl_str_starts(read_told("failed"), FL_STR("invalid mount path")))
            fail_msg("%s: %.*s", places[i], FL_STR_ARG(read_told("failed")));
        write_orders("exit 0", fl_str_printf(arena, "place %s\n", places[i]).p);
        assert_int_equal(run_shim(), 1);
    }
}

/* Links of a volume, which a container may have made, count as those of the image. */
static void links_in_volumes_lead_nowhere(FL_UNUSED void **state)
{
    assert_int_equal(fl_fs_mkdirs(path_of("volume").p, 0755), 0);
    assert_int_equal(fl_fs_mkdirs(path_of("outside").p, 0755), 0);
    assert_int_equal(symlink("/proc", path_of("volume/p").p), 0);
    assert_int_equal(symlink(path_of("outside").p, path_of("volume/host").p), 0);
    write_orders("exit 0", fl_str_printf(arena,
                                         "mount b%s/volume\nat w/v\nmount b%s/layer\n"
                                         "at w/v/p/self\n",
                                         dir, dir)
                               .p);
    assert_int_equal(run_shim(), 1);
    assert_true(fl_str_contains(read_told("failed"), FL_STR("leads into /proc")));
    write_orders(BRIEF, fl_str_printf(arena,
                                      "mount b%s/volume\nat w/v\nmount b%s/layer\n"
                                      "at w/v/host/new\n",
                                      dir, dir)
                            .p);
    (void)run_shim();
    assert_int_equal(access(path_of("outside/new").p, F_OK), -1);
}

static void volumes_are_filled_once(FL_UNUSED void **state)
{
    assert_int_equal(fl_fs_mkdirs(path_of("layer/data/sub").p, 0755), 0);
    assert_int_equal(fl_fs_mkdirs(path_of("volume").p, 0755), 0);
    assert_int_equal(
        fl_fs_write_fast(AT_FDCWD, path_of("layer/data/sub/f").p, FL_STR("image"), 04711), 0);
    assert_int_equal(symlink("/etc/shadow", path_of("layer/data/link").p), 0);
    assert_int_equal(chmod(path_of("layer/data").p, 01755), 0);
    struct fl_str order = fl_str_printf(arena, "fill %s/volume\nfrom /data\n", dir);
    for (int i = 0; i < 2; i++) {
        struct stat st;
        char target[64] = "";
        write_orders(BRIEF, order.p);
        assert_int_equal(run_shim(), 0);
        assert_true(fl_str_is(read_told("volume/sub/f"), i == 0 ? "image" : "changed"));
        assert_int_equal(stat(path_of("volume").p, &st), 0);
        assert_int_equal(st.st_mode & 07777, 01755);
        assert_true(readlink(path_of("volume/link").p, target, sizeof(target) - 1) > 0);
        assert_string_equal(target, "/etc/shadow");
        assert_int_equal(
            fl_fs_write_fast(AT_FDCWD, path_of("volume/sub/f").p, FL_STR("changed"), 0600), 0);
    }
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hanging_runtime_is_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_runtime_is_quoted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lying_runtime_is_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(process_of_others_is_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_orders_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exit_is_told_after_started, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_end_is_not_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(grandchild_does_not_hold_the_exit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mounts_are_made_before_the_runtime_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_that_lead_away_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_in_volumes_lead_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(volumes_are_filled_once, set_up, tear_down),
    };
    const char *given = argc > 1 ? argv[1] : getenv("FAIRLEAD_TEST_SHIM");
    FL_CLEANUP_FREE char *whole_path = given ? realpath(given, NULL) : NULL;
    shim_path = whole_path;
    if (geteuid() != 0 || !shim_path) {
        (void)puts("1..0 # SKIP needs root and the shim's path");
        return 77;
    }
    /* As the agent does: from a shared root, which systemd's is, the shim's mounts would spread. */
    if (fl_mounts_unshare(NULL) < 0) {
        (void)puts("1..0 # SKIP cannot make a mount namespace");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
