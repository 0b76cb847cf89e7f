/* Credentials kept in memory. Goal: each id leads to its own task's, newer ones replace older ones,
 * what is forgotten is gone, and no id becomes a path that it should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/credentials.h"

static const struct fl_acs_credentials first = {
    .id = {"id-1", 4},
    .role_arn = {"arn:r", 5},
    .access_key_id = {"ASIA1", 5},
    .secret = {"secret", 6},
    .session_token = {"token", 5},
    .expiration = {"soon", 4},
};

static const struct fl_acs_credentials *find(const struct fl_wallet *wallet, const char *id,
                                             const char *task, enum fl_acs_role role)
{
    struct fl_str arn;
    enum fl_acs_role found_role;
    const struct fl_acs_credentials *found =
        fl_wallet_find(wallet, fl_str_of(id), &arn, &found_role);
    if (found) {
        assert_true(fl_str_is(arn, task));
        assert_int_equal(found_role, role);
    }
    return found;
}

static void newer_ones_replace_older_ones(FL_UNUSED void **state)
{
    struct fl_wallet *wallet = fl_wallet_new();
    struct fl_acs_credentials second = first;
    second.access_key_id = FL_STR("ASIA2");
    assert_true(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK, &first));
    assert_true(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK, &second));
    const struct fl_acs_credentials *found = find(wallet, "id-1", "t1", FL_ACS_ROLE_TASK);
    assert_true(fl_str_is(found->access_key_id, "ASIA2"));
    assert_ptr_equal(fl_wallet_of(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK), found);
    assert_null(fl_wallet_of(wallet, FL_STR("t1"), FL_ACS_ROLE_EXECUTION));
    second.id = FL_STR("id-2");
    assert_true(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK, &second));
    assert_null(find(wallet, "id-1", "t1", FL_ACS_ROLE_TASK));
    assert_non_null(find(wallet, "id-2", "t1", FL_ACS_ROLE_TASK));
    fl_wallet_free(wallet);
}

static void an_id_is_of_one_task_and_role(FL_UNUSED void **state)
{
    struct fl_wallet *wallet = fl_wallet_new();
    assert_true(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK, &first));
    assert_false(fl_wallet_put(wallet, FL_STR("t2"), FL_ACS_ROLE_TASK, &first));
    assert_false(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_EXECUTION, &first));
    fl_wallet_forget(wallet, FL_STR("t1"));
    assert_null(find(wallet, "id-1", "t1", FL_ACS_ROLE_TASK));
    assert_true(fl_wallet_put(wallet, FL_STR("t2"), FL_ACS_ROLE_EXECUTION, &first));
    assert_non_null(find(wallet, "id-1", "t2", FL_ACS_ROLE_EXECUTION));
    fl_wallet_free(wallet);
}

static void an_id_may_be_known_before_its_credentials(FL_UNUSED void **state)
{
    struct fl_wallet *wallet = fl_wallet_new();
    const struct fl_acs_credentials none_yet = {.id = first.id};
    assert_true(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK, &none_yet));
    assert_non_null(find(wallet, "id-1", "t1", FL_ACS_ROLE_TASK));
    assert_null(fl_wallet_of(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK));
    fl_wallet_free(wallet);
}

static void an_id_that_is_no_part_of_a_path_is_refused(FL_UNUSED void **state)
{
    static const char *const bad[] = {"", "a/b", "..", "a b", "a?b", "a\nb", "a=b"};
    struct fl_wallet *wallet = fl_wallet_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        struct fl_acs_credentials other = first;
        other.id = fl_str_of(bad[i]);
        assert_false(fl_wallet_put(wallet, FL_STR("t1"), FL_ACS_ROLE_TASK, &other));
    }
    assert_false(fl_wallet_put(wallet, FL_STR(""), FL_ACS_ROLE_TASK, &first));
    fl_wallet_free(wallet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_ones_replace_older_ones),
        cmocka_unit_test(an_id_is_of_one_task_and_role),
        cmocka_unit_test(an_id_may_be_known_before_its_credentials),
        cmocka_unit_test(an_id_that_is_no_part_of_a_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
