/* Goal: what is mounted in a namespace of one's own is not seen outside, in a chroot too. Method:
 * children that mount, a parent that looks. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/mounts.h"
#include "base/str.h"

enum { TABLE_MAX = 16 << 20 };

static bool is_mounted(const char *path)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(TABLE_MAX);
    char field[300];
    (void)snprintf(field, sizeof(field), " %s ", path);
    return fl_fs_read(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, &text) == 0 &&
           fl_str_contains(fl_buf_str(&text), fl_str_of(field));
}

/* 0 when a tmpfs mounted at `path` shows in this process's own namespace. */
static int mount_there(const char *path)
{
    if (fl_mounts_unshare(NULL) < 0)
        return 10;
    if (mount("none", path, "tmpfs", 0, NULL) < 0)
        return 11;
    return is_mounted(path) ? 0 : 12;
}

/* The same inside a chroot whose root is a plain directory. */
static int mount_in_chroot(const char *dir)
{
    char proc[300];
    (void)snprintf(proc, sizeof(proc), "%s/proc", dir);
    if (fl_mounts_unshare(NULL) < 0 || mkdir(proc, 0755) < 0 ||
        mount("proc", proc, "proc", 0, NULL) < 0 || chroot(dir) < 0 || chdir("/") < 0)
        return 20;
    if (mkdir("/inner", 0755) < 0)
        return 21;
    int r = mount_there("/inner");
    if (r != 0)
        return r;
    /* A runtime can change roots only where the root is a mount. */
    return is_mounted("/") ? 0 : 22;
}

static int in_child(int (*run)(const char *), const char *argument)
{
    pid_t child = fork();
    if (child == 0)
        _exit(run(argument));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void mounts_stay_inside(FL_UNUSED void **state)
{
    char dir[] = "/tmp/fairlead-mounts-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(in_child(mount_there, dir), 0);
    assert_false(is_mounted(dir));
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, dir), 0);
}

static void mounts_stay_inside_in_a_chroot(FL_UNUSED void **state)
{
    char dir[] = "/tmp/fairlead-mounts-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(in_child(mount_in_chroot, dir), 0);
    char inner[300];
    (void)snprintf(inner, sizeof(inner), "%s/inner", dir);
    assert_false(is_mounted(dir));
    assert_false(is_mounted(inner));
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, dir), 0);
}

int main(void)
{
    if (geteuid() != 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mounts_stay_inside),
        cmocka_unit_test(mounts_stay_inside_in_a_chroot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
