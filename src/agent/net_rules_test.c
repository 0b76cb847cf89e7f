/* The nftables text: what a change says, and that nothing but a valid tag can get into it. Whether
 * the kernel takes the text and does what we mean is network_test's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/net_rules.h"

static const struct fl_rule_services none;
static const struct fl_rules v4 = {
    .tag = {"fl1", 3}, .subnet = {0xac120000, 20}, .services = &none};

static const struct fl_rule_port ports[] = {
    {.address = 0xac120002, .container_port = 80, .host_port = 8080},
    {.address = 0xac120002, .container_port = 53, .host_port = 5353, .udp = true},
    {.address = 0xac120002, .container_port = 81, .host_port = 65535},
};

static void only_plain_tags_are_valid(FL_UNUSED void **state)
{
    static const char *const bad[] = {
        "", "1fl", "Fl1", "fl-1", "fl 1", "fl\"1", "fl1a2b3c4d", "fl;flush ruleset", "fl\n"};
    assert_true(fl_rules_tag_valid(FL_STR("fl1a2b3c")));
    assert_true(fl_rules_tag_valid(FL_STR("f")));
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_false(fl_rules_tag_valid(fl_str_of(bad[i])));
    assert_false(fl_rules_tag_valid((struct fl_str){"fl\0x", 4}));
}

static void ports_go_to_the_map_of_their_protocol(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    fl_rules_add_ports(&text, &v4, ports, 3);
    assert_string_equal(text.p, "add element ip fl1 tcp_ports { 8080 : 172.18.0.2 . 80, "
                                "65535 : 172.18.0.2 . 81 }\n"
                                "add element ip fl1 udp_ports { 5353 : 172.18.0.2 . 53 }\n");
}

static void a_change_of_no_ports_says_nothing(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    fl_rules_add_ports(&text, &v4, ports, 0);
    fl_rules_delete_ports(&text, &v4, NULL, 0);
    assert_int_equal(text.n, 0);
    fl_rules_delete_ports(&text, &v4, ports + 1, 1);
    assert_string_equal(text.p, "delete element ip fl1 udp_ports { 5353 : 172.18.0.2 . 53 }\n");
}

static void the_table_replaces_only_itself(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(65536);
    struct fl_str all;
    fl_rules_tables(&text, &v4);
    all = fl_buf_str(&text);
    assert_true(
        fl_str_starts(all, FL_STR("add table ip fl1\ndelete table ip fl1\ntable ip fl1 {")));
    assert_true(fl_str_contains(all, FL_STR("ip saddr 172.18.0.0/20 oifname != \"fl1\"")));
    assert_false(fl_str_contains(all, FL_STR("flush")));
    assert_false(fl_str_contains(all, FL_STR("169.254.170.2")));
}

/* A range is one element a port; with IPv6, the same ports lead to the address that goes with it.
 */
static void ranges_and_ipv6_are_more_elements(FL_UNUSED void **state)
{
    static const struct fl_rule_port range = {.address = 0xac120002,
                                              .container_port = 8000,
                                              .host_port = 65533,
                                              .udp = true,
                                              .more = 2,
                                              .ipv6 = true};
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    struct fl_rules v6 = v4;
    v6.ipv6 = true;
    fl_rules_add_ports(&text, &v6, &range, 1);
    struct fl_str all = fl_buf_str(&text), line;
    assert_true(fl_str_split(&all, '\n', &line));
    assert_true(fl_str_is(line, "add element ip fl1 udp_ports { 65533 : 172.18.0.2 . 8000, "
                                "65534 : 172.18.0.2 . 8001, 65535 : 172.18.0.2 . 8002 }"));
    assert_true(fl_str_starts(all, FL_STR("add element ip6 fl1 udp_ports { 65533 : fd")));
    assert_true(fl_str_contains(all, FL_STR("::ac12:2 . 8002 }")));
    fl_buf_clear(&text);
    fl_rules_tables(&text, &v6);
    assert_true(fl_str_contains(fl_buf_str(&text), FL_STR("\ntable ip6 fl1 {")));
}

static void the_loopback_guard_can_be_left_out(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(65536);
    struct fl_rules open = v4;
    fl_rules_tables(&text, &v4);
    assert_true(fl_str_contains(fl_buf_str(&text), FL_STR("\" ip daddr 127.0.0.0/8 drop")));
    open.loopback_open = true;
    fl_buf_clear(&text);
    fl_rules_tables(&text, &open);
    assert_false(fl_str_contains(fl_buf_str(&text), FL_STR("\" ip daddr 127.0.0.0/8 drop")));
}

static size_t count(struct fl_str text, const char *what)
{
    size_t found = 0;
    for (const char *at = text.p; (at = strstr(at, what)) != NULL; at++)
        found++;
    return found;
}

static void services_are_for_the_bridge_and_shielded(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(65536);
    struct fl_rule_services services = {.metadata_port = 51679,
                                        .introspection_port = 51678,
                                        .api_port = 4566,
                                        .api_address = 0x7f000001,
                                        .api_target_port = 4567};
    const struct fl_rules rules = {
        .tag = FL_STR("fl1"), .subnet = {0xac120000, 20}, .services = &services};
    fl_rules_tables(&text, &rules);
    struct fl_str all = fl_buf_str(&text);
    assert_int_equal(count(all, "iifname \"fl1\" ip daddr 169.254.170.2 tcp dport 80 dnat ip to "
                                "127.0.0.1:51679\n"),
                     1);
    assert_int_equal(count(all, "iifname \"fl1\" ip daddr 169.254.170.2 tcp dport 4566 dnat ip to "
                                "127.0.0.1:4567\n"),
                     1);
    assert_int_equal(count(all, "169.254.170.2"), 2);
    assert_int_equal(count(all, "iifname != \"lo\" ip daddr 127.0.0.0/8 tcp dport 51679 drop\n"),
                     1);
    assert_int_equal(count(all, "iifname != \"lo\" ip daddr 127.0.0.0/8 tcp dport 51678 drop\n"),
                     1);
    fl_buf_clear(&text);
    services.for_host = true;
    fl_rules_tables(&text, &rules);
    assert_int_equal(count(fl_buf_str(&text), "169.254.170.2"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_plain_tags_are_valid),
        cmocka_unit_test(ports_go_to_the_map_of_their_protocol),
        cmocka_unit_test(a_change_of_no_ports_says_nothing),
        cmocka_unit_test(the_table_replaces_only_itself),
        cmocka_unit_test(ranges_and_ipv6_are_more_elements),
        cmocka_unit_test(the_loopback_guard_can_be_left_out),
        cmocka_unit_test(services_are_for_the_bridge_and_shielded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
