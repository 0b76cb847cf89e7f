/* Small parts of the agent without I/O of their own: settings, attributes, files of containers.
 * Method: known inputs, outputs compared; the host's own files are only read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/agent_attributes.h"
#include "agent/agent_internal.h"
#include "agent/config_host.h"

static void settings_have_defaults_and_bounds(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err;
    struct fl_agent_config full;
    struct fl_agent_config config = {
        .data_dir = FL_STR("/d"), .libexec_dir = FL_STR("/l"), .ecs_config = FL_STR("/dev/null")};
    assert_int_equal(fl_config_complete(&config, arena, &full, &err), 0);
    assert_true(fl_str_is(full.cluster, "default"));
    assert_true(fl_str_is(full.registry_dir, "/d/registry"));
    assert_true(full.cpu_units >= 1024 && full.memory_mib > 0);
    config.memory_mib = 100;
    assert_int_equal(setenv("ECS_RESERVED_MEMORY", "40", 1), 0);
    assert_int_equal(fl_config_complete(&config, arena, &full, &err), 0);
    assert_int_equal(full.memory_mib, 60);
    assert_int_equal(setenv("ECS_RESERVED_MEMORY", "100", 1), 0);
    assert_int_not_equal(fl_config_complete(&config, arena, &full, &err), 0);
    assert_int_equal(unsetenv("ECS_RESERVED_MEMORY"), 0);
}

static void custom_attributes_are_name_and_value(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_str given[] = {FL_STR("rack=7=a"), FL_STR("ssd")};
    const struct fl_agent_config config = {
        .zone = FL_STR("z1"), .attributes = given, .attribute_count = 2};
    size_t count;
    struct fl_key_value *list = fl_agent_custom_attributes(&config, arena, &count);
    assert_int_equal(count, 3);
    assert_true(fl_str_is(list[0].key, "ecs.availability-zone"));
    assert_true(fl_str_is(list[1].key, "rack") && fl_str_is(list[1].value, "7=a"));
    assert_true(fl_str_is(list[2].key, "ssd") && list[2].value.n == 0);
}

static void hosts_names_the_container(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const uint8_t address[4] = {10, 1, 2, 3}, none[4] = {0};
    struct fl_str text = fl_agent_etc_hosts(FL_NET_BRIDGE, address, FL_STR("web"), arena);
    assert_true(fl_str_contains(text, FL_STR("127.0.0.1\tlocalhost\n")));
    assert_true(fl_str_contains(text, FL_STR("10.1.2.3\tweb\n")));
    text = fl_agent_etc_hosts(FL_NET_NONE, none, FL_STR("web"), arena);
    assert_true(fl_str_contains(text, FL_STR("127.0.1.1\tweb\n")));
}

static void loopback_resolvers_stay_outside(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str kept = fl_agent_filter_resolv_conf(
        FL_STR("search x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n"), arena);
    assert_true(fl_str_is(kept, "search x\nnameserver 10.0.0.2\n"));
    struct fl_str alone = FL_STR("nameserver 127.0.0.53\noptions edns0\n");
    assert_true(fl_str_eq(fl_agent_filter_resolv_conf(alone, arena), alone));
    assert_true(
        fl_str_is(fl_agent_filter_resolv_conf(FL_STR("nameserver ::1\nnameserver fd00::1"), arena),
                  "nameserver fd00::1\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_have_defaults_and_bounds),
        cmocka_unit_test(custom_attributes_are_name_and_value),
        cmocka_unit_test(hosts_names_the_container),
        cmocka_unit_test(loopback_resolvers_stay_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
