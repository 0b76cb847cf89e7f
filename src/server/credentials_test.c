/* Credentials of tasks' roles. Method: what one issuer makes, another one with the same directory
 * must know again, and nobody else; every change of a token must be noticed. That a session lives
 * as long as its task is seen with a real cluster (tests/integration). */
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

#include "base/fs.h"
#include "server/credentials.h"

enum { NOW = 1000000 };

struct fixture {
    char dir[40];
    struct fl_arena *arena;
    struct fl_core *core;
    struct fl_issuer *issuer;
};

static const struct fl_core_roles roles = {
    .task = {"0123", 4},
    .task_arn = {"arn:aws:ecs:r:1:task/c/0123", 27},
    .cluster_arn = {"arn:aws:ecs:r:1:cluster/c", 25},
    .task_role = {"arn:aws:iam::123456789012:role/path/app", 39},
};

static struct fl_issuer *open_in(const struct fixture *f)
{
    struct fl_issuer *issuer = NULL;
    struct fl_err err = {0};
    assert_int_equal(fl_issuer_open(fl_str_of(f->dir), f->core, 0, &issuer, &err), 0);
    return issuer;
}

static int set_up(void **state)
{
    static const struct fl_core_config config = {.region = {"r", 1}, .account = {"1", 1}};
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fairlead-issuer-XXXXXX");
    f->arena = fl_arena_new();
    f->core = fl_core_new(&config);
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(fl_fs_mkdirs(fl_str_printf(f->arena, "%s/keys", f->dir).p, 0700), 0);
    f->issuer = open_in(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fl_issuer_free(f->issuer);
    fl_core_free(f->core);
    (void)fl_fs_remove_tree(AT_FDCWD, f->dir);
    fl_arena_free(f->arena);
    free(f);
    return 0;
}

static struct fl_acs_credentials make(const struct fixture *f, int64_t now_ms)
{
    struct fl_acs_credentials made;
    fl_issuer_make(f->issuer, &roles, FL_ACS_ROLE_TASK, now_ms, f->arena, &made);
    return made;
}

static bool look_up(const struct fixture *f, const struct fl_issuer *issuer, struct fl_str id,
                    struct fl_str token, struct fl_credentials *ret_key)
{
    struct fl_role_session session;
    return fl_issuer_look_up(issuer, id, token, NOW, f->arena, ret_key, &session);
}

static void what_was_made_is_known_again(void **state)
{
    const struct fixture *f = *state;
    struct fl_acs_credentials made = make(f, NOW);
    struct fl_credentials key;
    struct fl_role_session session;
    struct fl_issuer *later = open_in(f);
    assert_true(fl_str_starts(made.access_key_id, FL_STR("ASIA")));
    assert_int_equal(made.access_key_id.n, 20);
    assert_int_equal(made.secret.n, 40);
    assert_true(fl_str_is(made.expiration, "1970-01-01T01:16:40Z"));
    assert_true(fl_issuer_look_up(later, made.access_key_id, made.session_token, NOW, f->arena,
                                  &key, &session));
    assert_true(fl_str_eq(key.secret, made.secret));
    assert_true(fl_str_eq(session.role_arn, roles.task_role));
    assert_true(fl_str_is(session.account, "123456789012"));
    assert_true(fl_str_is(session.principal, "arn:aws:sts::123456789012:assumed-role/app/0123"));
    assert_true(fl_str_ends(session.user_id, FL_STR(":0123")));
    assert_true(session.is_over); /* there is no such task */
    fl_issuer_free(later);
}

static void the_id_stays_and_the_keys_change(void **state)
{
    const struct fixture *f = *state;
    struct fl_acs_credentials first = make(f, NOW), second = make(f, NOW + 60000);
    struct fl_credentials key;
    assert_true(fl_str_eq(first.id, second.id));
    assert_int_equal(first.id.n, 36);
    assert_false(fl_str_eq(first.access_key_id, second.access_key_id));
    assert_false(fl_str_eq(first.secret, second.secret));
    assert_false(look_up(f, f->issuer, first.access_key_id, second.session_token, &key));
}

static void a_task_without_the_role_gets_nothing(void **state)
{
    const struct fixture *f = *state;
    struct fl_acs_credentials made;
    fl_issuer_make(f->issuer, &roles, FL_ACS_ROLE_EXECUTION, NOW, f->arena, &made);
    assert_int_equal(made.id.n, 0);
}

static void a_changed_token_is_not_taken(void **state)
{
    const struct fixture *f = *state;
    struct fl_acs_credentials made = make(f, NOW);
    struct fl_credentials key;
    for (size_t i = 0; i < made.session_token.n; i++) {
        struct fl_str changed = fl_str_dup(f->arena, made.session_token);
        char *byte = (char *)(uintptr_t)&changed.p[i];
        *byte = *byte == 'A' ? 'B' : 'A';
        assert_false(look_up(f, f->issuer, made.access_key_id, changed, &key));
        changed = fl_str_sub(made.session_token, 0, i);
        assert_false(look_up(f, f->issuer, made.access_key_id, changed, &key));
    }
    assert_false(look_up(f, f->issuer, made.access_key_id,
                         fl_str_printf(f->arena, "%.*sAAAA", FL_STR_ARG(made.session_token)),
                         &key));
}

static void another_installation_does_not_know_them(void **state)
{
    const struct fixture *f = *state;
    struct fl_acs_credentials made = make(f, NOW);
    struct fl_credentials key;
    struct stat st;
    const char *path = fl_str_printf(f->arena, "%s/keys/sessions.key", f->dir).p;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(path), 0);
    struct fl_issuer *other = open_in(f);
    assert_false(look_up(f, other, made.access_key_id, made.session_token, &key));
    fl_issuer_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_made_is_known_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_id_stays_and_the_keys_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_task_without_the_role_gets_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_token_is_not_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_installation_does_not_know_them, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
