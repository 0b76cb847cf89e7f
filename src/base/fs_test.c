/* Removing trees that somebody else made. Method: real directories below a temporary one;
 * afterwards nothing is left of the tree, and nothing outside it is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fs.h"

struct fixture {
    char path[64];
    int fd;
};

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->path, sizeof(f->path), "/tmp/fairlead-fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->fd >= 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->path), 0);
    assert_true(access(f->path, F_OK) < 0);
    (void)close(f->fd);
    free(f);
    return 0;
}

static void make_file(int dir_fd, const char *name)
{
    FL_CLEANUP_FD int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

/* A chain of directories with a file in each, deeper than any path or descriptor table is long. */
static void make_deep(int dir_fd, int levels)
{
    int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    for (int i = 0; i < levels; i++) {
        const char *name = i == 0 ? "tree" : "d";
        assert_int_equal(mkdirat(fd, name, 0700), 0);
        int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(below >= 0);
        make_file(below, "file");
        (void)close(fd);
        fd = below;
    }
    (void)close(fd);
}

static void a_tree_of_any_depth_goes_with_few_descriptors(void **state)
{
    struct fixture *f = *state;
    struct rlimit old, few;
    make_deep(f->fd, 1000);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){100, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = fl_fs_remove_tree(f->fd, "tree");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rc, 0);
    assert_true(faccessat(f->fd, "tree", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
}

static void links_are_not_followed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdirat(f->fd, "kept", 0700), 0);
    assert_int_equal(mkdirat(f->fd, "tree", 0700), 0);
    assert_int_equal(symlinkat("../kept", f->fd, "tree/link"), 0);
    make_file(f->fd, "kept/file");
    assert_int_equal(fl_fs_remove_tree(f->fd, "tree"), 0);
    assert_int_equal(faccessat(f->fd, "kept/file", F_OK, 0), 0);
    assert_int_equal(symlinkat("kept", f->fd, "link"), 0);
    assert_int_equal(fl_fs_remove_tree(f->fd, "link"), 0);
    assert_int_equal(faccessat(f->fd, "kept/file", F_OK, 0), 0);
}

static void what_is_not_there_is_removed_already(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fl_fs_remove_tree(f->fd, "nothing"), 0);
    make_file(f->fd, "file");
    assert_int_equal(fl_fs_remove_tree(f->fd, "file"), 0);
    assert_true(faccessat(f->fd, "file", F_OK, 0) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tree_of_any_depth_goes_with_few_descriptors, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(links_are_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_removed_already, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
