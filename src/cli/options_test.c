/* Goal: options come from the right place, and wrong ones are refused. Method: parsing by the real
 * table; refusals, which end the process, in children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/options.h"

enum { MAX_WORDS = 16 };

static void parse(enum fl_command command, const char *const *words, struct fl_arena *arena,
                  struct fl_options *ret_options)
{
    char *argv[MAX_WORDS + 2] = {(char *)"up"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    fl_options_parse(command, "test", argc, argv, arena, ret_options);
}

static int status_of(const char *const *words)
{
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, 2);
        struct fl_options options;
        parse(FL_COMMAND_UP, words, fl_arena_new(), &options);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void defaults_are_the_contract(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    parse(FL_COMMAND_UP, (const char *const[]){"--data-dir", "/nonexistent/fl", NULL}, arena,
          &options);
    assert_string_equal(options.value[FL_OPTION_LISTEN].p, "127.0.0.1:4566");
    assert_string_equal(options.value[FL_OPTION_REGION].p, "us-east-1");
    assert_string_equal(options.value[FL_OPTION_ACCOUNT].p, "000000000000");
    assert_string_equal(fl_options_endpoint(&options).p, "http://127.0.0.1:4566");
    assert_false(fl_options_on(&options, FL_OPTION_STRICT));
    assert_int_equal(fl_options_number(&options, FL_OPTION_CPU_UNITS), 0);
}

static void a_flag_wins_over_the_environment(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    (void)setenv("FAIRLEAD_REGION", "eu-west-1", 1);
    (void)setenv("FAIRLEAD_CPU_UNITS", "4096", 1);
    parse(FL_COMMAND_UP,
          (const char *const[]){"--region=eu-west-2", "--data-dir", "/nonexistent/fl", NULL}, arena,
          &options);
    (void)unsetenv("FAIRLEAD_REGION");
    (void)unsetenv("FAIRLEAD_CPU_UNITS");
    assert_string_equal(options.value[FL_OPTION_REGION].p, "eu-west-2");
    assert_int_equal(fl_options_number(&options, FL_OPTION_CPU_UNITS), 4096);
}

static void what_up_was_told_is_remembered(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    char dir[] = "/tmp/fairlead-options-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/options.json", dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    (void)fputs("{\"listen\":\"127.0.0.1:4999\",\"region\":\"eu-north-1\"}", file);
    (void)fclose(file);
    parse(FL_COMMAND_UP, (const char *const[]){"--data-dir", dir, "--region", "us-west-2", NULL},
          arena, &options);
    (void)unlink(path);
    (void)rmdir(dir);
    assert_string_equal(options.value[FL_OPTION_LISTEN].p, "127.0.0.1:4999");
    assert_string_equal(options.value[FL_OPTION_REGION].p, "us-west-2");
}

static void the_data_directory_has_one_name(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    parse(FL_COMMAND_UP, (const char *const[]){"--data-dir", "/tmp/../tmp/no-such//", NULL}, arena,
          &options);
    assert_string_equal(options.value[FL_OPTION_DATA_DIR].p, "/tmp/no-such");
}

static void wrong_usage_ends_with_status_2(FL_UNUSED void **state)
{
    assert_int_equal(status_of((const char *const[]){"--listen", "4566", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--listen", "127.0.0.1:70000", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--listen", "127.0.0.1:0", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--account", "12345", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--region", "a/b", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--cpu-units", "-1", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--cpu-units", "0", NULL}), 2);
    assert_int_equal(status_of((const char *const[]){"--data-dir", "/", NULL}), 2);
}

static void listen_addresses_split(FL_UNUSED void **state)
{
    struct fl_str host;
    uint16_t port;
    assert_true(fl_options_split_listen(FL_STR("[::1]:80"), &host, &port));
    assert_true(fl_str_is(host, "::1"));
    assert_int_equal(port, 80);
    assert_false(fl_options_split_listen(FL_STR("[::1:80"), &host, &port));
    assert_false(fl_options_split_listen(FL_STR(":80"), &host, &port));
    assert_false(fl_options_split_listen(FL_STR("host"), &host, &port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_contract),
        cmocka_unit_test(a_flag_wins_over_the_environment),
        cmocka_unit_test(what_up_was_told_is_remembered),
        cmocka_unit_test(the_data_directory_has_one_name),
        cmocka_unit_test(wrong_usage_ends_with_status_2),
        cmocka_unit_test(listen_addresses_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
