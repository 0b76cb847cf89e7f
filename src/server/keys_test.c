/* Goal: a key is good for one instance, as long as no newer one was used and the instance lives; a
 * token admits as many hosts as it says, and not those that are somebody else's.
 * Method: keys over a core without a server, and a store that forgets; what is told to be durable
 * is awaited in the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "server/certificate.h"
#include "server/keys.h"
#include "shapes/ecs_shapes.h"

#define ONE "11111111111111111111111111111111"
#define TWO "22222222222222222222222222222222"

struct fixture {
    uv_loop_t loop;
    struct fl_arena *arena;
    struct fl_core *core;
    struct fl_store *store;
    struct fl_keys *keys;
    char dir[64];
    unsigned durable;
    uint8_t seed;
};

static struct fl_keys *load(struct fixture *f)
{
    struct fl_keys *keys = NULL;
    struct fl_err err = {0};
    assert_int_equal(fl_keys_load(fl_str_of(f->dir), 1, &keys, &err), 0);
    fl_keys_attach(keys, f->core, f->store);
    return keys;
}

static int setup(void **state)
{
    static const char key[] = "{\"accessKeyId\":\"AK%s\",\"secretAccessKey\":\"s\"}";
    static const char *const names[] = {"operator", "agent"};
    const struct fl_core_config config = {.region = FL_STR("us-east-1"),
                                          .account = FL_STR("000000000000"),
                                          .endpoint = FL_STR("http://a/acs")};
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-keys-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->arena = fl_arena_new();
    assert_int_equal(fl_fs_mkdirs(fl_str_printf(f->arena, "%s/keys", f->dir).p, 0700), 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        const char *path = fl_str_printf(f->arena, "%s/keys/%s.json", f->dir, names[i]).p;
        assert_int_equal(
            fl_fs_write_atomic(AT_FDCWD, path, fl_str_printf(f->arena, key, names[i]), 0600), 0);
    }
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->core = fl_core_new(&config);
    f->store = fl_store_open_memory(&f->loop);
    f->keys = load(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    fl_store_close(f->store);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    fl_keys_free(f->keys);
    fl_core_free(f->core);
    fl_arena_free(f->arena);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    free(f);
    return 0;
}

static void on_durable(void *context)
{
    struct fixture *f = context;
    f->durable++;
}

static void step(struct fixture *f, int operation, const void *input)
{
    struct fl_turn turn;
    struct fl_core_event event = {.kind = FL_CORE_EVENT_COMMAND,
                                  .now_ms = fl_clock_wall_ms(),
                                  .operation = operation,
                                  .input = input};
    event.seed[0] = ++f->seed;
    fl_turn_init(&turn);
    fl_core_step(f->core, &event, &turn);
    assert_int_equal(turn.effects[0].status, 200);
    fl_turn_free(&turn);
}

/* Registers an instance whose id is the client token's digits. */
static void registers(struct fixture *f, const char *uuid)
{
    struct ecs_CreateClusterRequest create = {0};
    struct ecs_RegisterContainerInstanceRequest in = {0};
    struct ecs_Resource resources[2] = {0};
    static const char *const names[] = {"CPU", "MEMORY"};
    for (size_t i = 0; i < 2; i++) {
        FL_SET(&resources[i], ecs_Resource, name, fl_str_of(names[i]));
        FL_SET(&resources[i], ecs_Resource, integerValue, 1024);
    }
    const struct ecs_Resource_list list = {2, resources};
    step(f, ECS_OP_CreateCluster, &create);
    FL_SET(&in, ecs_RegisterContainerInstanceRequest, clientToken, fl_str_of(uuid));
    FL_SET(&in, ecs_RegisterContainerInstanceRequest, totalResources, list);
    step(f, ECS_OP_RegisterContainerInstance, &in);
}

static void deregisters(struct fixture *f, const char *id)
{
    struct ecs_DeregisterContainerInstanceRequest in = {0};
    FL_SET(&in, ecs_DeregisterContainerInstanceRequest, containerInstance, fl_str_of(id));
    FL_SET(&in, ecs_DeregisterContainerInstanceRequest, force, true);
    step(f, ECS_OP_DeregisterContainerInstance, &in);
}

static struct fl_str token_of(struct fixture *f, int64_t uses, int64_t expires_ms)
{
    struct fl_str id, secret;
    assert_true(
        fl_keys_make_token(f->keys, uses, expires_ms, f->arena, &id, &secret, on_durable, f));
    return fl_str_printf(f->arena, "%.*s:%.*s", FL_STR_ARG(id), FL_STR_ARG(secret));
}

/* token "": the machine's key. */
static const char *joins(struct fixture *f, struct fl_str token, const char *instance,
                         struct fl_credentials *ret_key)
{
    const struct fl_join join = {.is_local = token.n == 0,
                                 .token = token,
                                 .cluster = FL_STR("default"),
                                 .instance = fl_str_of(instance)};
    unsigned before = f->durable;
    const char *why = fl_keys_join(f->keys, &join, f->arena, ret_key, on_durable, f);
    while (!why && f->durable == before)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    return why;
}

static bool is_good(struct fixture *f, const struct fl_credentials *key)
{
    struct fl_credentials found;
    return fl_keys_lookup(f->keys, key->access_key_id, &found) &&
           fl_str_eq(found.secret, key->secret);
}

static void test_a_token_admits_as_many_as_it_says(void **state)
{
    struct fixture *f = *state;
    struct fl_credentials one, again, two;
    struct fl_str token = token_of(f, 1, 0);
    assert_null(joins(f, token, ONE, &one));
    assert_null(joins(f, token, ONE, &again));
    assert_true(fl_str_eq(one.secret, again.secret) && is_good(f, &one));
    assert_string_equal(joins(f, token, TWO, &two), "The join token has been used up.");
    assert_false(fl_keys_has(f->keys, FL_STR(TWO)));
    struct fl_caller caller;
    fl_keys_used(f->keys, one.access_key_id, &caller);
    assert_true(fl_str_is(caller.instance, ONE) && caller.role == FL_ROLE_AGENT);
}

static void test_bad_tokens_admit_nobody(void **state)
{
    struct fixture *f = *state;
    struct fl_credentials key;
    struct fl_str good = token_of(f, 9, 0);
    struct fl_str wrong = fl_str_printf(f->arena, "%.*sx", FL_STR_ARG(good));
    static const char *const texts[] = {"x", ":", "a:b", "FLT:", "::::"};
    assert_string_equal(joins(f, wrong, ONE, &key), "The join token is not valid.");
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++)
        assert_string_equal(joins(f, fl_str_of(texts[i]), ONE, &key),
                            "The join token is not valid.");
    struct fl_str late = token_of(f, 9, fl_clock_wall_ms() + 1);
    int64_t until_ms = fl_clock_mono_ms() + 3;
    while (fl_clock_mono_ms() < until_ms)
        ;
    assert_string_equal(joins(f, late, ONE, &key), "The join token has expired.");
    struct fl_str id = fl_str_sub(good, 0, (size_t)fl_str_index(good, ':'));
    assert_true(fl_keys_remove_token(f->keys, id, NULL, NULL));
    assert_false(fl_keys_remove_token(f->keys, id, NULL, NULL));
    assert_string_equal(joins(f, good, ONE, &key), "The join token is not valid.");
}

/* Ids of instances are no secrets: who has a token cannot become one that is there. */
static void test_nobody_takes_another_ones_place(void **state)
{
    struct fixture *f = *state;
    struct fl_credentials key, local;
    struct fl_str token = token_of(f, 9, 0), other = token_of(f, 9, 0);
    assert_null(joins(f, token, ONE, &key));
    assert_non_null(strstr(joins(f, other, ONE, &local), "has a key of its own"));
    assert_non_null(strstr(joins(f, FL_STR(""), ONE, &local), "has a key of its own"));
    registers(f, "11111111-1111-1111-1111-111111111111");
    registers(f, "22222222-2222-2222-2222-222222222222");
    assert_non_null(strstr(joins(f, token, ONE, &local), "is registered already"));
    assert_non_null(strstr(joins(f, token, TWO, &local), "is registered already"));
    /* An earlier release's agent on this machine is given its own. */
    assert_null(joins(f, FL_STR(""), TWO, &local));
    assert_true(is_good(f, &local) && is_good(f, &key));
    /* It has lost its key: the one that was lost is dead. */
    struct fl_credentials anew;
    assert_null(joins(f, FL_STR(""), TWO, &anew));
    assert_true(is_good(f, &anew));
    assert_false(is_good(f, &local));
}

static void test_a_key_dies_with_its_instance(void **state)
{
    struct fixture *f = *state;
    struct fl_credentials key;
    struct fl_str token = token_of(f, 1, 0);
    assert_null(joins(f, token, ONE, &key));
    assert_true(is_good(f, &key));
    registers(f, "11111111-1111-1111-1111-111111111111");
    assert_true(is_good(f, &key));
    deregisters(f, ONE);
    assert_false(is_good(f, &key));
    assert_string_equal(joins(f, token, ONE, &key), "The container instance was deregistered.");
    fl_keys_sweep(f->keys);
    assert_false(fl_keys_has(f->keys, FL_STR(ONE)));
}

static void test_the_former_key_is_good_until_the_next_is_used(void **state)
{
    struct fixture *f = *state;
    struct fl_credentials first, next, later;
    struct fl_caller caller;
    assert_null(joins(f, token_of(f, 1, 0), ONE, &first));
    int64_t until_ms = fl_clock_wall_ms() + 5;
    while (fl_clock_wall_ms() < until_ms)
        ;
    assert_true(fl_keys_offer(f->keys, FL_STR(ONE), f->arena, &next));
    assert_false(fl_keys_offer(f->keys, FL_STR(TWO), f->arena, &later));
    assert_true(is_good(f, &first) && is_good(f, &next));
    assert_false(fl_str_eq(first.secret, next.secret));
    fl_keys_used(f->keys, first.access_key_id, &caller);
    assert_true(is_good(f, &first));
    fl_keys_used(f->keys, next.access_key_id, &caller);
    assert_true(fl_str_is(caller.instance, ONE));
    assert_false(is_good(f, &first));
    assert_true(is_good(f, &next));
    /* It was given just now. */
    f->keys = (fl_keys_free(f->keys), load(f));
    assert_false(fl_keys_has(f->keys, FL_STR(ONE)));
}

static void test_what_is_no_key(void **state)
{
    struct fixture *f = *state;
    struct fl_credentials key, found;
    static const char *const ids[] = {"",
                                      "FLIA",
                                      "FLIA" ONE,
                                      "FLIA" ONE "0",
                                      "FLIA" ONE "01",
                                      "AKnobody",
                                      "FLIA" ONE "x",
                                      "FLIA" ONE "-1",
                                      "FLIA" ONE "5000",
                                      "FLIA" TWO "1",
                                      "FLIA" ONE "99999999999999999999"};
    assert_null(joins(f, token_of(f, 1, 0), ONE, &key));
    for (size_t i = 0; i < FL_ARRAY_SIZE(ids); i++)
        assert_false(fl_keys_lookup(f->keys, fl_str_of(ids[i]), &found));
    assert_true(fl_keys_lookup(f->keys, FL_STR("AKoperator"), &found));
    assert_true(fl_keys_lookup(f->keys, FL_STR("AKagent"), &found));
}

static void test_records_of_no_release_are_refused(void **state)
{
    struct fixture *f = *state;
    struct fl_err err;
    static const char *const rows[][2] = {
        {"a/key/x", "{\"v\":2}"},  {"a/key/x", "{}"},       {"a/token/x", "{\"v\":1}"},
        {"a/else/x", "{\"v\":1}"}, {"a/key/x", "nonsense"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        assert_true(
            fl_keys_load_record(f->keys, fl_str_of(rows[i][0]), fl_str_of(rows[i][1]), &err) < 0);
}

static void test_a_certificate_is_kept_and_announced_before_it_is_used(void **state)
{
    enum { LIFE_MS = 2000 };
    struct fixture *f = *state;
    struct fl_certificate *certificate;
    struct fl_err err = {0};
    assert_int_equal(fl_certificate_open(fl_str_of(f->dir), LIFE_MS, &certificate, &err), 0);
    assert_int_equal(fl_certificate_pins(certificate)->count, 0);
    assert_int_equal(fl_certificate_renew(certificate, &err), FL_CERTIFICATE_SAME);
    assert_non_null(fl_certificate_pem(certificate, &err));
    struct fl_tls_pins first = *fl_certificate_pins(certificate);
    assert_int_equal(first.count, 1);
    fl_certificate_free(certificate);
    assert_int_equal(fl_certificate_open(fl_str_of(f->dir), LIFE_MS, &certificate, &err), 0);
    assert_string_equal(fl_certificate_pins(certificate)->hash[0], first.hash[0]);
    enum fl_certificate_change change;
    int64_t until_ms = fl_clock_mono_ms() + 20 * 1000;
    while (!(change = fl_certificate_renew(certificate, &err)))
        assert_true(fl_clock_mono_ms() < until_ms);
    assert_int_equal(change, FL_CERTIFICATE_ANNOUNCE);
    struct fl_tls_pins both = *fl_certificate_pins(certificate);
    assert_int_equal(both.count, 2);
    assert_string_equal(both.hash[0], first.hash[0]);
    while (!(change = fl_certificate_renew(certificate, &err)))
        assert_true(fl_clock_mono_ms() < until_ms);
    assert_int_equal(change, FL_CERTIFICATE_USE);
    assert_int_equal(fl_certificate_pins(certificate)->count, 1);
    assert_string_equal(fl_certificate_pins(certificate)->hash[0], both.hash[1]);
    fl_certificate_free(certificate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_token_admits_as_many_as_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_tokens_admit_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_takes_another_ones_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_dies_with_its_instance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_former_key_is_good_until_the_next_is_used, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_of_no_release_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_certificate_is_kept_and_announced_before_it_is_used,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
