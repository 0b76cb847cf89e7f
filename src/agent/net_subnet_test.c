/* The choice of a subnet and the addresses in it: pure functions, tried at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/net_subnet.h"

static struct fl_subnet subnet(const char *text)
{
    struct fl_subnet parsed;
    if (!fl_subnet_parse(fl_str_of(text), &parsed))
        fail_msg("%s", text);
    return parsed;
}

static void malformed_subnets_are_refused(FL_UNUSED void **state)
{
    static const char *const bad[] = {"",
                                      "172.18.0.0",
                                      "172.18.0.0/",
                                      "172.18.0/20",
                                      "172.18.0.0.0/20",
                                      "172.18.0.256/20",
                                      "172.18.0.0/33",
                                      "172.18.0.1/20",
                                      "172.18..0/20",
                                      "172.18.0.0/20/1",
                                      "a.b.c.d/20",
                                      "-1.0.0.0/8"};
    struct fl_subnet parsed;
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        if (fl_subnet_parse(fl_str_of(bad[i]), &parsed))
            fail_msg("%s", bad[i]);
}

static void text_goes_there_and_back(FL_UNUSED void **state)
{
    static const char *const good[] = {"0.0.0.0/0", "172.18.16.0/20", "255.255.255.255/32"};
    char text[FL_SUBNET_TEXT_SIZE];
    for (size_t i = 0; i < FL_ARRAY_SIZE(good); i++) {
        fl_subnet_text(subnet(good[i]), text);
        assert_string_equal(text, good[i]);
    }
}

static void overlap_is_seen_from_both_sides(FL_UNUSED void **state)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        {"172.18.0.0/20", "172.18.0.0/16", true},   {"172.18.0.0/20", "172.18.15.255/32", true},
        {"172.18.0.0/20", "172.18.16.0/20", false}, {"172.18.0.0/20", "0.0.0.0/0", true},
        {"10.0.0.0/8", "172.18.0.0/20", false},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fl_subnet a = subnet(cases[i].a), b = subnet(cases[i].b);
        assert_int_equal(fl_subnet_overlaps(a, b), cases[i].overlap);
        assert_int_equal(fl_subnet_overlaps(b, a), cases[i].overlap);
    }
}

static void expect_choice(const struct fl_subnet *used, size_t count, const char *expected)
{
    struct fl_subnet chosen;
    char text[FL_SUBNET_TEXT_SIZE];
    assert_true(fl_subnet_choose(used, count, &chosen));
    fl_subnet_text(chosen, text);
    assert_string_equal(text, expected);
}

static void the_first_free_candidate_is_chosen(FL_UNUSED void **state)
{
    struct fl_subnet used[] = {subnet("172.17.0.0/16"),  subnet("172.18.7.9/32"),
                               subnet("172.16.0.0/12"),  subnet("10.0.0.0/8"),
                               subnet("192.168.0.0/20"), subnet("192.168.0.0/16")};
    struct fl_subnet none;
    expect_choice(used, 0, "172.18.0.0/20");
    expect_choice(used, 2, "172.19.0.0/20");
    expect_choice(used, 3, "10.64.0.0/20");
    expect_choice(used, 5, "192.168.16.0/20");
    assert_false(fl_subnet_choose(used, 6, &none));
}

static void addresses_rotate_and_run_out(FL_UNUSED void **state)
{
    struct fl_address_pool pool = {.subnet = subnet("10.64.0.0/20")};
    uint32_t first, second, address;
    assert_true(fl_address_take(&pool, &first));
    assert_int_equal(first, fl_ipv4_of((uint8_t[]){10, 64, 0, 2}));
    fl_address_free(&pool, first);
    assert_true(fl_address_take(&pool, &second));
    assert_int_equal(second, first + 1);
    for (int i = 0; i < FL_SUBNET_SIZE - 4; i++) {
        assert_true(fl_address_take(&pool, &address));
        assert_in_range(address, first, pool.subnet.base + FL_SUBNET_SIZE - 2);
    }
    assert_false(fl_address_take(&pool, &address));
    fl_address_free(&pool, second);
    assert_true(fl_address_take(&pool, &address));
    assert_int_equal(address, second);
}

static void a_claimed_address_is_not_given(FL_UNUSED void **state)
{
    struct fl_address_pool pool = {.subnet = subnet("10.64.0.0/20")};
    uint32_t base = pool.subnet.base, address;
    assert_true(fl_address_claim(&pool, base + 2));
    assert_false(fl_address_claim(&pool, base + 2));
    assert_true(fl_address_take(&pool, &address));
    assert_int_equal(address, base + 3);
    assert_false(fl_address_claim(&pool, base));
    assert_false(fl_address_claim(&pool, base + 1));
    assert_false(fl_address_claim(&pool, base + FL_SUBNET_SIZE - 1));
    assert_false(fl_address_claim(&pool, base + FL_SUBNET_SIZE + 2));
    fl_address_free(&pool, base - 1);
    fl_address_free(&pool, base + FL_SUBNET_SIZE + 2);
}

static void a_link_address_follows_the_address(FL_UNUSED void **state)
{
    uint8_t mac[6];
    fl_ipv4_mac(fl_ipv4_of((uint8_t[]){172, 18, 0, 2}), mac);
    assert_memory_equal(mac, ((uint8_t[]){2, 0x66, 172, 18, 0, 2}), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_subnets_are_refused),
        cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(overlap_is_seen_from_both_sides),
        cmocka_unit_test(the_first_free_candidate_is_chosen),
        cmocka_unit_test(addresses_rotate_and_run_out),
        cmocka_unit_test(a_claimed_address_is_not_given),
        cmocka_unit_test(a_link_address_follows_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
