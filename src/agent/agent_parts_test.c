/* Small parts of the agent without I/O of their own: settings, attributes, files of containers.
 * Method: known inputs, outputs compared; the host's own files are only read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

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
    struct fl_str none = {0};
    struct fl_str kept = fl_agent_filter_resolv_conf(
        FL_STR("search x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n"), none, arena);
    assert_true(fl_str_is(kept, "search x\nnameserver 10.0.0.2\n"));
    kept = fl_agent_filter_resolv_conf(FL_STR("nameserver fd00::1\nnameserver 10.0.0.2\n"), none,
                                       arena);
    assert_true(fl_str_is(kept, "nameserver 10.0.0.2\n"));
}

/* The agent's, and behind it what systemd-resolved asks itself. */
static void a_host_with_a_stub_alone_lends_the_agents_resolver(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str host = FL_STR("nameserver 127.0.0.53\noptions edns0\n");
    struct fl_str upstream = FL_STR("# resolved's\nnameserver 10.0.0.2\nsearch x\n");
    assert_true(fl_str_is(fl_agent_filter_resolv_conf(host, upstream, arena),
                          "options edns0\nnameserver 169.254.170.2\nnameserver 10.0.0.2\n"));
    assert_true(fl_str_is(fl_agent_filter_resolv_conf(host, (struct fl_str){0}, arena),
                          "options edns0\nnameserver 169.254.170.2\n"));
    host = FL_STR("nameserver ::1\nnameserver fd00::1\nnameserver fe80::1%eth0");
    assert_true(
        fl_str_is(fl_agent_filter_resolv_conf(host, host, arena), "nameserver 169.254.170.2\n"));
}

/* A task of two: "web" links to "db", which runs. */
struct linked {
    struct fl_task_spec spec;
    struct fl_container_spec specs[2];
    struct fl_task task;
    struct fl_task_container containers[2];
};

static void link_two(struct linked *l)
{
    static struct fl_str link[] = {{"db:data-1", 9}};
    static struct fl_key_value env[] = {{{"A", 1}, {"b", 1}}};
    static struct fl_port_mapping ports[] = {{.container_port = 5432},
                                             {.container_port = 53, .udp = true}};
    *l = (struct linked){.spec = {.containers = l->specs, .container_count = 2}};
    l->specs[0] = (struct fl_container_spec){.name = FL_STR("web"), .links = link, .link_count = 1};
    l->specs[1] = (struct fl_container_spec){.name = FL_STR("db"),
                                             .environment = env,
                                             .environment_count = 1,
                                             .ports = ports,
                                             .port_count = 2};
    l->task = (struct fl_task){.spec = &l->spec, .containers = l->containers, .container_count = 2};
    for (int i = 0; i < 2; i++)
        l->containers[i] = (struct fl_task_container){
            .task = &l->task, .spec = &l->specs[i], .id = "0123456789abcdef"};
    l->containers[1].state = FL_CONTAINER_RUNNING;
    memcpy(l->containers[1].address, (uint8_t[]){10, 0, 0, 9}, 4);
}

static void links_become_lines_and_variables(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    static const char *const expected[] = {"DATA_1_NAME=/web/data-1",
                                           "DATA_1_PORT=tcp://10.0.0.9:5432",
                                           "DATA_1_PORT_5432_TCP=tcp://10.0.0.9:5432",
                                           "DATA_1_PORT_5432_TCP_ADDR=10.0.0.9",
                                           "DATA_1_PORT_5432_TCP_PORT=5432",
                                           "DATA_1_PORT_5432_TCP_PROTO=tcp",
                                           "DATA_1_PORT_53_UDP=udp://10.0.0.9:53",
                                           "DATA_1_PORT_53_UDP_ADDR=10.0.0.9",
                                           "DATA_1_PORT_53_UDP_PORT=53",
                                           "DATA_1_PORT_53_UDP_PROTO=udp",
                                           "DATA_1_ENV_A=b"};
    struct linked l;
    struct fl_str hosts = FL_STR("127.0.0.1\tlocalhost");
    struct fl_key_value *items;
    struct fl_err err;
    size_t count;
    link_two(&l);
    assert_int_equal(fl_agent_add_hosts(&l.containers[0], arena, &hosts, &err), 0);
    assert_true(fl_str_is(hosts, "127.0.0.1\tlocalhost\n10.0.0.9\tdata-1 0123456789ab db\n"));
    assert_int_equal(fl_agent_link_variables(&l.containers[0], arena, &items, &count, &err), 0);
    assert_int_equal(count, FL_ARRAY_SIZE(expected));
    for (size_t i = 0; i < count; i++)
        assert_true(fl_str_is(
            fl_str_printf(arena, "%.*s=%.*s", FL_STR_ARG(items[i].key), FL_STR_ARG(items[i].value)),
            expected[i]));
    l.containers[1].state = FL_CONTAINER_STOPPED;
    assert_int_equal(fl_agent_link_variables(&l.containers[0], arena, &items, &count, &err),
                     -EINVAL);
    assert_string_equal(err.text, "Cannot link to a non running container: /db AS /web/data-1");
}

static void names_with_more_than_a_name_are_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct linked l;
    struct fl_err err;
    struct fl_str item, hosts = FL_STR(""), resolv = FL_STR("nameserver 10.0.0.1\noptions x\n");
    struct fl_container_spec *spec = &l.specs[0];
    static const char *const bad_hosts[] = {
        "a",   ":1.2.3.4",   "a:", "a b:1.2.3.4", "a:1.2.3.4\n::1 b", "a\nb:1.2.3.4",
        "a:x", "a:1.2.3.4 b"};
    static const char *const bad_words[] = {"", "a b", "1.2.3.4\nsearch evil", "x y", "\n"};
    link_two(&l);
    spec->link_count = 0;
    spec->docker.extra_hosts = &item;
    spec->docker.extra_host_count = 1;
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad_hosts); i++) {
        item = fl_str_of(bad_hosts[i]);
        assert_int_equal(fl_agent_add_hosts(&l.containers[0], arena, &hosts, &err), -EINVAL);
    }
    item = FL_STR("six:fd00::1");
    assert_int_equal(fl_agent_add_hosts(&l.containers[0], arena, &hosts, &err), 0);
    assert_true(fl_str_is(hosts, "fd00::1\tsix\n"));
    spec->hostname = FL_STR("a\n1.2.3.4 b");
    assert_int_equal(fl_agent_add_hosts(&l.containers[0], arena, &hosts, &err), -EINVAL);
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad_words); i++) {
        item = fl_str_of(bad_words[i]);
        spec->docker = (struct fl_docker_spec){.dns_servers = &item, .dns_server_count = 1};
        assert_int_equal(fl_agent_set_dns(spec, arena, &resolv, &err), -EINVAL);
        spec->docker = (struct fl_docker_spec){.dns_search = &item, .dns_search_count = 1};
        assert_int_equal(fl_agent_set_dns(spec, arena, &resolv, &err), -EINVAL);
    }
    item = FL_STR("x.example");
    assert_int_equal(fl_agent_set_dns(spec, arena, &resolv, &err), 0);
    assert_true(fl_str_is(resolv, "search x.example\nnameserver 10.0.0.1\noptions x\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_have_defaults_and_bounds),
        cmocka_unit_test(custom_attributes_are_name_and_value),
        cmocka_unit_test(hosts_names_the_container),
        cmocka_unit_test(loopback_resolvers_stay_outside),
        cmocka_unit_test(a_host_with_a_stub_alone_lends_the_agents_resolver),
        cmocka_unit_test(links_become_lines_and_variables),
        cmocka_unit_test(names_with_more_than_a_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
