/* Goal: a record comes back from a store that was opened again, and from nothing else: not changed,
 * not under another name, not without its key; and nothing of it can be read in the file.
 * Method: vaults over a store in a directory of their own, whose records are tampered with as they
 * are loaded; what is told to be durable is awaited in the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "server/vault.h"
#include "shapes/rec_shapes.h"

struct fixture {
    uv_loop_t loop;
    struct fl_arena *arena;
    struct fl_store *store;
    struct fl_vault *vault;
    char dir[64];
    unsigned durable;
    struct fl_err err;
    void (*tamper)(struct fl_str *key, char *value, size_t *n); /* or NULL */
};

static const char *path_of(struct fixture *f, const char *name)
{
    return fl_str_printf(f->arena, "%s/%s", f->dir, name).p;
}

static int load_record(void *context, struct fl_str key, struct fl_str value)
{
    struct fixture *f = context;
    char *copy = fl_arena_memdup(f->arena, value.p, value.n);
    size_t n = value.n;
    if (f->tamper)
        f->tamper(&key, copy, &n);
    return fl_vault_load_record(f->vault, key, (struct fl_str){copy, n}, &f->err);
}

static int start(struct fixture *f)
{
    int rc = fl_vault_open(fl_str_of(f->dir), &f->vault, &f->err);
    if (rc < 0)
        return rc;
    assert_int_equal(fl_store_open_sqlite(path_of(f, "server.db"), &f->loop, &f->store, &f->err),
                     0);
    rc = fl_store_load(f->store, load_record, f, &f->err);
    return rc < 0 ? rc : fl_vault_attach(f->vault, f->store, &f->err);
}

static void stop(struct fixture *f)
{
    if (f->store)
        fl_store_close(FL_TAKE_PTR(f->store));
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    fl_vault_free(FL_TAKE_PTR(f->vault));
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-vault-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->arena = fl_arena_new();
    assert_int_equal(fl_fs_mkdirs(path_of(f, "keys"), 0700), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(start(f), 0);
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

static void on_durable(void *context)
{
    struct fixture *f = context;
    f->durable++;
}

static void put(struct fixture *f, const char *id, const char *text)
{
    struct rec_SecretValue rec = {0};
    FL_SET(&rec, rec_SecretValue, v, 1);
    FL_SET(&rec, rec_SecretValue, text, fl_str_of(text));
    fl_vault_put(f->vault, FL_VAULT_SECRET_VALUE, fl_str_of(id), &rec);
}

static void commit(struct fixture *f)
{
    unsigned before = f->durable;
    fl_vault_commit(f->vault, on_durable, f);
    while (f->durable == before)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
}

/* Empty: there is none. */
static struct fl_str text_of(struct fixture *f, const char *id)
{
    const struct rec_SecretValue *rec =
        fl_vault_get(f->vault, FL_VAULT_SECRET_VALUE, fl_str_of(id));
    return rec ? rec->text : FL_STR("");
}

static void test_records_come_back(void **state)
{
    struct fixture *f = *state;
    put(f, "b", "second");
    put(f, "a", "first");
    put(f, "a", "first again");
    put(f, "c", "third");
    fl_vault_remove(f->vault, FL_VAULT_SECRET_VALUE, FL_STR("c"));
    fl_vault_remove(f->vault, FL_VAULT_SECRET_VALUE, FL_STR("never was"));
    commit(f);
    stop(f);
    assert_int_equal(start(f), 0);
    assert_true(fl_str_is(text_of(f, "a"), "first again"));
    assert_true(fl_str_is(text_of(f, "b"), "second"));
    assert_int_equal(text_of(f, "c").n, 0);
    assert_int_equal(fl_vault_count(f->vault, FL_VAULT_SECRET_VALUE), 2);
    assert_int_equal(fl_vault_count(f->vault, FL_VAULT_SECRET), 0);
}

static void test_records_have_an_order(void **state)
{
    struct fixture *f = *state;
    struct rec_Secret other = {0};
    struct fl_str id = FL_STR("");
    FL_SET(&other, rec_Secret, v, 1);
    fl_vault_put(f->vault, FL_VAULT_SECRET, FL_STR("z"), &other);
    put(f, "b", "2");
    put(f, "a", "1");
    assert_non_null(fl_vault_next(f->vault, FL_VAULT_SECRET_VALUE, id, &id));
    assert_true(fl_str_is(id, "a"));
    assert_non_null(fl_vault_next(f->vault, FL_VAULT_SECRET_VALUE, id, &id));
    assert_true(fl_str_is(id, "b"));
    assert_null(fl_vault_next(f->vault, FL_VAULT_SECRET_VALUE, id, &id));
    assert_non_null(fl_vault_next(f->vault, FL_VAULT_SECRET, FL_STR("y"), &id));
    assert_null(fl_vault_next(f->vault, FL_VAULT_SECRET, FL_STR("z"), &id));
    commit(f);
}

/* Who looks while a change is on its way waits for it; who looks later does not. */
static void test_an_answer_waits_for_what_it_saw(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    fl_vault_commit(f->vault, NULL, NULL);
    fl_vault_commit(f->vault, on_durable, f);
    assert_int_equal(f->durable, 0);
    while (f->durable == 0)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    fl_vault_commit(f->vault, on_durable, f);
    assert_int_equal(f->durable, 2);
}

static bool contains(struct fixture *f, const char *name, const char *text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(16 << 20);
    int rc = fl_fs_read(AT_FDCWD, path_of(f, name), 16 << 20, &buf);
    return rc == 0 && fl_str_contains(fl_buf_str(&buf), fl_str_of(text));
}

static void test_nothing_can_be_read_in_the_file(void **state)
{
    struct fixture *f = *state;
    put(f, "visible-name", "correct horse battery staple");
    commit(f);
    assert_true(contains(f, "server.db-wal", "visible-name") ||
                contains(f, "server.db", "visible-name"));
    assert_false(contains(f, "server.db-wal", "horse battery"));
    stop(f);
    assert_true(contains(f, "server.db", "visible-name"));
    assert_false(contains(f, "server.db", "horse battery"));
}

static void test_the_key_is_for_its_owner_alone(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(path_of(f, "keys/vault.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 64);
}

static void flip_first(FL_UNUSED struct fl_str *key, char *value, FL_UNUSED size_t *n)
{
    value[0] ^= 1;
}

static void flip_nonce(FL_UNUSED struct fl_str *key, char *value, FL_UNUSED size_t *n)
{
    value[5] ^= 1;
}

static void flip_text(FL_UNUSED struct fl_str *key, char *value, FL_UNUSED size_t *n)
{
    value[20] ^= 1;
}

static void flip_tag(FL_UNUSED struct fl_str *key, char *value, size_t *n)
{
    value[*n - 1] ^= 1;
}

static void cut(FL_UNUSED struct fl_str *key, FL_UNUSED char *value, size_t *n)
{
    (*n)--;
}

static void cut_short(FL_UNUSED struct fl_str *key, FL_UNUSED char *value, size_t *n)
{
    *n = 3;
}

static void rename_it(struct fl_str *key, FL_UNUSED char *value, FL_UNUSED size_t *n)
{
    *key = FL_STR("v/value/another");
}

static void test_a_record_that_was_changed_is_refused(void **state)
{
    static void (*const rows[])(struct fl_str *, char *, size_t *) = {
        flip_first, flip_nonce, flip_text, flip_tag, cut, cut_short, rename_it};
    struct fixture *f = *state;
    put(f, "a", "correct horse battery staple");
    commit(f);
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        stop(f);
        f->tamper = rows[i];
        assert_int_equal(start(f), -EBADMSG);
        assert_non_null(strstr(f->err.text, "v/value/a"));
        assert_null(strstr(f->err.text, "horse"));
    }
    stop(f);
    f->tamper = NULL;
    assert_int_equal(start(f), 0);
}

static void write_key(struct fixture *f, const char *text)
{
    assert_int_equal(
        fl_fs_write_atomic(AT_FDCWD, path_of(f, "keys/vault.key"), fl_str_of(text), 0600), 0);
}

static void test_another_key_or_none_opens_nothing(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    put(f, "a", "x");
    commit(f);
    stop(f);
    write_key(f, "0000000000000000000000000000000000000000000000000000000000000000");
    assert_int_equal(start(f), -EBADMSG);
    stop(f);
    write_key(f, "short");
    assert_int_equal(start(f), -EINVAL);
    assert_int_equal(remove(path_of(f, "keys/vault.key")), 0);
    assert_int_equal(start(f), -ENOKEY);
    assert_non_null(strstr(f->err.text, "keys/vault.key is missing"));
    assert_int_equal(stat(path_of(f, "keys/vault.key"), &st), -1);
}

static void test_there_is_an_end_to_what_it_takes(void **state)
{
    enum { TEXT = 60000 };
    struct fixture *f = *state;
    char *text = fl_calloc(1, TEXT + 1), id[16];
    unsigned count = 0;
    struct fl_store *store = fl_store_open_memory(&f->loop);
    assert_int_equal(fl_vault_attach(f->vault, store, &f->err), 0);
    memset(text, 'x', TEXT);
    while (fl_vault_has_room(f->vault)) {
        (void)snprintf(id, sizeof(id), "%u", count++);
        put(f, id, text);
        if (count % 64 == 0)
            commit(f);
    }
    assert_in_range(count, FL_VAULT_MAX_BYTES / TEXT * 99 / 100, FL_VAULT_MAX_BYTES / TEXT);
    fl_vault_remove(f->vault, FL_VAULT_SECRET_VALUE, FL_STR("0"));
    assert_true(fl_vault_has_room(f->vault));
    commit(f);
    fl_store_close(store);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_have_an_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_waits_for_what_it_saw, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_can_be_read_in_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_key_is_for_its_owner_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_record_that_was_changed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_key_or_none_opens_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_there_is_an_end_to_what_it_takes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
