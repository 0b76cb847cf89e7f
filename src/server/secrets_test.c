/* Goal: what only time brings about in Secrets Manager: a deleted secret is erased when its window
 * has ended and not before, also by a server that was away meanwhile; the day of the last reading;
 * and that answers wait for what they saw.
 * Method: calls at times of the test's choosing, over a vault in a directory of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "server/secrets.h"
#include "shapes/rec_shapes.h"
#include "shapes/secrets_shapes.h"

static const int64_t day_ms = 24 * 60 * 60 * 1000;
/* A time of day that is not midnight; far off, so that the timer's sweep finds nothing to do. */
static const int64_t start_ms = INT64_C(40000) * 24 * 60 * 60 * 1000 + 12345;

struct fixture {
    uv_loop_t loop;
    struct fl_arena *arena;
    struct fl_store *store;
    struct fl_vault *vault;
    struct fl_secrets *secrets;
    char dir[64];
    struct fl_err err;
    int64_t now_ms;
    bool answered;
    unsigned status;
    struct fl_str code, body;
};

static int load_record(void *context, struct fl_str key, struct fl_str value)
{
    struct fixture *f = context;
    return fl_vault_load_record(f->vault, key, value, &f->err);
}

static void start(struct fixture *f)
{
    const char *path = fl_str_printf(f->arena, "%s/server.db", f->dir).p;
    assert_int_equal(fl_vault_open(fl_str_of(f->dir), &f->vault, &f->err), 0);
    assert_int_equal(fl_store_open_sqlite(path, &f->loop, &f->store, &f->err), 0);
    assert_int_equal(fl_store_load(f->store, load_record, f, &f->err), 0);
    assert_int_equal(fl_vault_attach(f->vault, f->store, &f->err), 0);
    f->secrets = fl_secrets_open(&f->loop, f->vault, FL_STR("us-east-1"), FL_STR("000000000000"));
}

static void stop(struct fixture *f)
{
    fl_secrets_close(f->secrets);
    fl_store_close(f->store);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    fl_vault_free(f->vault);
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-secrets-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->arena = fl_arena_new();
    f->now_ms = start_ms;
    assert_int_equal(fl_fs_mkdirs(fl_str_printf(f->arena, "%s/keys", f->dir).p, 0700), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stop(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    fl_arena_free(f->arena);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    free(f);
    return 0;
}

static void on_reply(void *context, unsigned status, struct fl_str code, struct fl_str body)
{
    struct fixture *f = context;
    f->answered = true;
    f->status = status;
    f->code = fl_str_dup(f->arena, code);
    f->body = fl_str_dup(f->arena, body);
}

static void begin(struct fixture *f, int operation, const char *members)
{
    const struct fl_operation *op = &secrets_service.operations[operation];
    const struct fl_json *json = fl_json_read(fl_str_of(members), f->arena, &f->err);
    void *input = fl_arena_alloc(f->arena, fl_shape_size(op->input));
    struct fl_shape_error fault;
    assert_non_null(json);
    assert_int_equal(fl_shape_decode(op->input, json, f->arena, input, &fault), 0);
    f->answered = false;
    fl_secrets_handle(f->secrets, operation, input, f->arena, f->now_ms, on_reply, f);
}

static unsigned call(struct fixture *f, int operation, const char *members)
{
    begin(f, operation, members);
    while (!f->answered)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    return f->status;
}

static int64_t seconds_of(struct fixture *f, const char *member)
{
    const struct fl_json *json = fl_json_read(f->body, f->arena, &f->err);
    return fl_json_int(fl_json_get(json, member));
}

#define NAMED "{\"SecretId\":\"s\"}"

static void make(struct fixture *f)
{
    assert_int_equal(call(f, SECRETS_OP_CreateSecret, "{\"Name\":\"s\",\"SecretString\":\"x\"}"),
                     200);
}

static void test_a_deleted_secret_is_erased_when_its_time_has_come(void **state)
{
    struct fixture *f = *state;
    make(f);
    assert_int_equal(
        call(f, SECRETS_OP_DeleteSecret, "{\"SecretId\":\"s\",\"RecoveryWindowInDays\":7}"), 200);
    fl_secrets_sweep(f->secrets, start_ms + 7 * day_ms - 1);
    assert_int_equal(call(f, SECRETS_OP_DescribeSecret, NAMED), 200);
    fl_secrets_sweep(f->secrets, start_ms + 7 * day_ms);
    assert_int_equal(call(f, SECRETS_OP_DescribeSecret, NAMED), 400);
    assert_true(fl_str_is(f->code, "ResourceNotFoundException"));
    assert_int_equal(fl_vault_count(f->vault, FL_VAULT_SECRET_VALUE), 0);
    stop(f);
    start(f);
    assert_int_equal(fl_vault_count(f->vault, FL_VAULT_SECRET), 0);
    assert_int_equal(fl_vault_count(f->vault, FL_VAULT_SECRET_VALUE), 0);
    make(f);
}

static void test_a_restored_secret_is_not(void **state)
{
    struct fixture *f = *state;
    make(f);
    assert_int_equal(call(f, SECRETS_OP_DeleteSecret, NAMED), 200);
    assert_int_equal(call(f, SECRETS_OP_RestoreSecret, NAMED), 200);
    fl_secrets_sweep(f->secrets, start_ms + 365 * day_ms);
    assert_int_equal(call(f, SECRETS_OP_GetSecretValue, NAMED), 200);
}

static void on_idle(FL_UNUSED uv_idle_t *handle)
{
}

static void test_a_server_that_was_away_erases_what_is_due(void **state)
{
    struct fixture *f = *state;
    f->now_ms = day_ms; /* long ago */
    make(f);
    assert_int_equal(call(f, SECRETS_OP_DeleteSecret, NAMED), 200);
    stop(f);
    start(f);
    uv_idle_t others; /* the server's other handles, which keep its loop going */
    (void)uv_idle_init(&f->loop, &others);
    (void)uv_idle_start(&others, on_idle);
    while (fl_vault_count(f->vault, FL_VAULT_SECRET) > 0)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    uv_close((uv_handle_t *)&others, NULL);
    assert_int_equal(call(f, SECRETS_OP_RestoreSecret, NAMED), 400);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void test_the_day_of_the_last_reading_is_kept(void **state)
{
    struct fixture *f = *state;
    make(f);
    assert_int_equal(call(f, SECRETS_OP_DescribeSecret, NAMED), 200);
    assert_false(fl_str_contains(f->body, FL_STR("LastAccessedDate")));
    for (int64_t day = 0; day < 3; day++) {
        f->now_ms = start_ms + day * day_ms;
        assert_int_equal(call(f, SECRETS_OP_GetSecretValue, NAMED), 200);
        assert_int_equal(call(f, SECRETS_OP_GetSecretValue, NAMED), 200);
        assert_int_equal(call(f, SECRETS_OP_DescribeSecret, NAMED), 200);
        assert_int_equal(seconds_of(f, "LastAccessedDate"), f->now_ms / day_ms * day_ms / 1000);
    }
}

/* A reading that comes while a change is on its way sees the change, and is not answered before it
 * is durable; one that comes later is answered at once. */
static void test_answers_wait_for_what_they_saw(void **state)
{
    struct fixture *f = *state;
    make(f);
    assert_int_equal(call(f, SECRETS_OP_GetSecretValue, NAMED), 200);
    begin(f, SECRETS_OP_GetSecretValue, NAMED);
    assert_true(f->answered);
    begin(f, SECRETS_OP_PutSecretValue, "{\"SecretId\":\"s\",\"SecretString\":\"y\"}");
    assert_false(f->answered);
    begin(f, SECRETS_OP_DescribeSecret, NAMED);
    assert_false(f->answered);
    while (!f->answered || f->body.n == 0 || !fl_str_contains(f->body, FL_STR("AWSPREVIOUS")))
        (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void test_a_full_vault_refuses_more(void **state)
{
    enum { TEXT = 60000 };
    struct fixture *f = *state;
    struct fl_store *store = fl_store_open_memory(&f->loop);
    struct rec_SecretValue rec = {0};
    char *text = fl_calloc(1, TEXT + 1), id[16];
    make(f);
    assert_int_equal(fl_vault_attach(f->vault, store, &f->err), 0);
    memset(text, 'x', TEXT);
    FL_SET(&rec, rec_SecretValue, v, 1);
    FL_SET(&rec, rec_SecretValue, text, fl_str_of(text));
    for (unsigned n = 0; fl_vault_has_room(f->vault); n++) {
        (void)snprintf(id, sizeof(id), "%u", n);
        fl_vault_put(f->vault, FL_VAULT_SECRET_VALUE, fl_str_of(id), &rec);
        if (n % 64 == 0)
            fl_vault_commit(f->vault, NULL, NULL);
    }
    assert_int_equal(call(f, SECRETS_OP_CreateSecret, "{\"Name\":\"n\"}"), 400);
    assert_true(fl_str_is(f->code, "LimitExceededException"));
    assert_int_equal(
        call(f, SECRETS_OP_PutSecretValue, "{\"SecretId\":\"s\",\"SecretString\":\"y\"}"), 400);
    assert_true(fl_str_is(f->code, "LimitExceededException"));
    assert_int_equal(
        call(f, SECRETS_OP_UpdateSecret, "{\"SecretId\":\"s\",\"SecretString\":\"y\"}"), 400);
    assert_true(fl_str_is(f->code, "LimitExceededException"));
    assert_int_equal(call(f, SECRETS_OP_GetSecretValue, NAMED), 200);
    fl_store_close(store);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_deleted_secret_is_erased_when_its_time_has_come,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_restored_secret_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_was_away_erases_what_is_due, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_day_of_the_last_reading_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_wait_for_what_they_saw, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_vault_refuses_more, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
