/* The audit log. Goal: a line has its ten fields whatever a container says, the file is the owner's
 * alone, and it does not grow for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/audit.h"
#include "base/fs.h"

static char dir[40];
static struct fl_arena *arena;

static struct fl_str path_of(const char *name)
{
    return fl_str_printf(arena, "%s/%s", dir, name);
}

static struct fl_str contents(const char *name)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(2 * FL_AUDIT_MAX);
    assert_int_equal(fl_fs_read(AT_FDCWD, path_of(name).p, text.max, &text), 0);
    return fl_str_dup(arena, fl_buf_str(&text));
}

static struct fl_audit *open_log(const char *name)
{
    struct fl_audit *audit = NULL;
    struct fl_err err = {0};
    if (fl_audit_open(path_of(name), &audit, &err) < 0)
        fail_msg("%s", err.text);
    return audit;
}

static struct fl_audit_entry entry = {
    .status = 200,
    .peer = {"10.0.0.2", 8},
    .path = {"/v2/credentials", 15},
    .user_agent = {"a \"b\"\nc\xc3\xa4", 9},
    .task_arn = {"arn:t", 5},
    .cluster = {"default", 7},
};

static void a_line_says_who_asked_for_what(FL_UNUSED void **state)
{
    struct stat st;
    struct fl_audit *audit = open_log("log/audit.log");
    fl_audit_note(audit, &entry);
    fl_audit_note(NULL, &entry);
    fl_audit_close(audit);
    struct fl_str text = contents("log/audit.log");
    ptrdiff_t space = fl_str_index(text, ' ');
    assert_true(fl_str_is(fl_str_from(text, (size_t)space + 1),
                          "200 10.0.0.2 \"/v2/credentials\" \"a ?b??c??\" arn:t GetCredentials 1 "
                          "default -\n"));
    assert_int_equal(stat(path_of("log/audit.log").p, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_full_file_makes_room(FL_UNUSED void **state)
{
    FILE *file = fopen(path_of("full").p, "we");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), FL_AUDIT_MAX - 10), 0);
    (void)fclose(file);
    struct fl_audit *audit = open_log("full");
    for (int i = 0; i < 3; i++)
        fl_audit_note(audit, &entry);
    fl_audit_close(audit);
    struct fl_str text = contents("full"), line;
    size_t lines = 0;
    while (fl_str_split(&text, '\n', &line))
        lines++;
    assert_int_equal(lines, 2);
    assert_true(contents("full.1").n > FL_AUDIT_MAX);
}

static void a_full_file_that_somebody_removed_is_begun_again(FL_UNUSED void **state)
{
    struct stat st;
    FILE *file = fopen(path_of("removed").p, "we");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), FL_AUDIT_MAX), 0);
    (void)fclose(file);
    struct fl_audit *audit = open_log("removed");
    assert_int_equal(unlink(path_of("removed").p), 0);
    fl_audit_note(audit, &entry);
    fl_audit_close(audit);
    assert_int_equal(stat(path_of("removed").p, &st), 0);
    assert_true(st.st_size > 0);
}

static void where_nothing_can_be_written_it_is_said(FL_UNUSED void **state)
{
    struct fl_audit *audit = NULL;
    struct fl_err err = {0};
    assert_true(fl_audit_open(FL_STR("/proc/no/such/place"), &audit, &err) < 0);
    assert_true(fl_str_contains(fl_str_of(err.text), FL_STR("/proc/no/such/place")));
}

static int set_up(FL_UNUSED void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/fairlead-audit-XXXXXX");
    arena = fl_arena_new();
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(FL_UNUSED void **state)
{
    fl_arena_free(arena);
    return fl_fs_remove_tree(AT_FDCWD, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_who_asked_for_what),
        cmocka_unit_test(a_full_file_makes_room),
        cmocka_unit_test(a_full_file_that_somebody_removed_is_begun_again),
        cmocka_unit_test(where_nothing_can_be_written_it_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
