/* The block in the hosts file: there once however often it is added, gone without a trace, never
 * another installation's, and only where the names lead to the API. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fs.h"
#include "cli/hosts.h"

struct fixture {
    struct fl_arena *arena;
    char dir[64];
    char path[80];
    struct fl_options options[2]; /* two installations */
};

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-hosts-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/hosts", f->dir);
    f->arena = fl_arena_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(f->options); i++) {
        f->options[i].arena = f->arena;
        f->options[i].value[FL_OPTION_DATA_DIR] = i ? FL_STR("/one") : FL_STR("/other");
        f->options[i].value[FL_OPTION_LISTEN] = FL_STR("127.0.0.1:4566");
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    fl_arena_free(f->arena);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *text)
{
    assert_int_equal(fl_fs_write_fast(AT_FDCWD, f->path, fl_str_of(text), 0644), 0);
}

static const char *read_file(struct fixture *f)
{
    struct fl_buf buf = FL_BUF_INIT(1 << 16);
    assert_int_equal(fl_fs_read(AT_FDCWD, f->path, buf.max, &buf), 0);
    const char *text = fl_str_z(f->arena, fl_buf_str(&buf));
    fl_buf_free(&buf);
    return text;
}

static void blocks_come_once_and_go_without_a_trace(void **state)
{
    struct fixture *f = *state;
    write_file(f, "127.0.0.1 localhost\n::1 six");
    assert_int_equal(fl_hosts_add(&f->options[0], f->path, NULL), 0);
    const char *one = read_file(f);
    assert_non_null(strstr(one, "\n::1 six\n# begin fairlead fl"));
    assert_non_null(strstr(one, "127.0.0.1 api.fairlead.localhost stream-api.fairlead.localhost"));
    assert_int_equal(fl_hosts_add(&f->options[0], f->path, NULL), 0);
    assert_string_equal(read_file(f), one);
    assert_int_equal(fl_hosts_add(&f->options[1], f->path, NULL), 0);
    assert_int_equal(fl_hosts_remove(FL_STR("/other"), f->path, NULL), 0);
    assert_non_null(strstr(read_file(f), "api.fairlead.localhost"));
    assert_int_equal(fl_hosts_remove(FL_STR("/one"), f->path, NULL), 0);
    assert_string_equal(read_file(f), "127.0.0.1 localhost\n::1 six\n");
    assert_int_equal(fl_hosts_remove(FL_STR("/one"), f->path, NULL), 0);
}

static void a_file_that_is_linked_to_is_written_where_it_lies(void **state)
{
    struct fixture *f = *state;
    char link[96];
    write_file(f, "127.0.0.1 localhost\n");
    (void)snprintf(link, sizeof(link), "%s/link", f->dir);
    assert_int_equal(symlink(f->path, link), 0);
    assert_int_equal(fl_hosts_add(&f->options[0], link, NULL), 0);
    assert_non_null(strstr(read_file(f), "api.fairlead.localhost"));
    assert_int_equal(fl_hosts_remove(FL_STR("/other"), link, NULL), 0);
    assert_string_equal(read_file(f), "127.0.0.1 localhost\n");
}

static void clients_get_the_name_where_it_leads_to_the_api(void **state)
{
    struct fixture *f = *state;
    write_file(f, "");
    assert_true(fl_str_is(fl_hosts_endpoint(&f->options[0], f->path), "http://127.0.0.1:4566"));
    assert_int_equal(fl_hosts_add(&f->options[0], f->path, NULL), 0);
    assert_true(fl_str_is(fl_hosts_endpoint(&f->options[0], f->path),
                          "http://api.fairlead.localhost:4566"));
    assert_true(fl_str_is(fl_hosts_endpoint(&f->options[1], f->path), "http://127.0.0.1:4566"));
    f->options[0].value[FL_OPTION_LISTEN] = FL_STR("10.0.0.1:80");
    assert_true(fl_str_is(fl_hosts_endpoint(&f->options[0], f->path), "http://10.0.0.1:80"));
    assert_int_equal(fl_hosts_add(&f->options[0], f->path, NULL), 0);
    assert_string_equal(read_file(f), "");
}

static void everybody_goes_on_reading_the_file(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    write_file(f, "127.0.0.1 localhost\n");
    assert_int_equal(chmod(f->path, 0644), 0);
    mode_t mask = umask(077);
    assert_int_equal(fl_hosts_add(&f->options[0], f->path, NULL), 0);
    assert_int_equal(umask(mask), 077);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
}

static void a_file_that_is_missing_is_said(void **state)
{
    struct fixture *f = *state;
    struct fl_err err = {0};
    assert_true(fl_hosts_add(&f->options[0], f->path, &err) < 0);
    assert_non_null(strstr(err.text, "cannot read"));
    assert_int_equal(fl_hosts_remove(FL_STR("/one"), f->path, NULL), 0);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(blocks_come_once_and_go_without_a_trace),
        WITH(a_file_that_is_linked_to_is_written_where_it_lies),
        WITH(clients_get_the_name_where_it_leads_to_the_api),
        WITH(everybody_goes_on_reading_the_file),
        WITH(a_file_that_is_missing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
