/* The store in a temporary directory: blobs by digest, references by name, collection; what is
 * wrong is refused and leaves no file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "image/repository.h"

struct fixture {
    char dir[32];
    struct fl_image_store *store;
    struct fl_arena *arena;
};

static int set_up(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-store.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->arena = fl_arena_new();
    assert_int_equal(fl_image_store_open(fl_str_of(f->dir), true, &f->store, NULL), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fl_image_store_close(f->store);
    fl_arena_free(f->arena);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    free(f);
    return 0;
}

/* True if a directory of the store holds nothing. */
static bool is_empty(const struct fixture *f, const char *name)
{
    struct fl_str path = fl_str_printf(f->arena, "%s/%s", f->dir, name);
    bool empty = rmdir(path.p) == 0;
    if (empty)
        assert_int_equal(fl_fs_mkdirs(path.p, 0700), 0);
    return empty;
}

static struct fl_digest put(struct fixture *f, const char *text)
{
    struct fl_digest digest;
    assert_true(fl_image_store_put(f->store, fl_str_of(text), &digest, NULL) >= 0);
    return digest;
}

static void a_blob_comes_back(void **state)
{
    struct fixture *f = *state;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(100);
    uint64_t size = 0;
    struct fl_digest digest = put(f, "abc");
    assert_string_equal(digest.hex,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(fl_image_store_has(f->store, &digest, &size));
    assert_int_equal(size, 3);
    assert_int_equal(fl_image_store_read_blob(f->store, &digest, 3, &buf), 0);
    assert_string_equal(buf.p, "abc");
    assert_int_equal(fl_image_store_read_blob(f->store, &digest, 2, &buf), -EFBIG);
    assert_int_equal(fl_image_store_put(f->store, FL_STR("abc"), &digest, NULL), 1);
    assert_true(is_empty(f, "tmp"));
}

static void a_wrong_digest_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct fl_digest expected = fl_digest_of(FL_STR("other")), digest;
    struct fl_blob_writer *writer = NULL;
    struct fl_err err = {0};
    assert_int_equal(fl_blob_writer_begin(f->store, &writer, &err), 0);
    assert_int_equal(fl_blob_writer_add(writer, "abc", 3, &err), 0);
    assert_int_equal(fl_blob_writer_commit(writer, &expected, &digest, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "digest mismatch"));
    assert_true(is_empty(f, "tmp"));
    assert_true(is_empty(f, "blobs/sha256"));
}

static int set(struct fixture *f, const char *repository, const char *tag)
{
    const struct fl_ref ref = {.repository = fl_str_of(repository),
                               .tag = fl_str_of(tag),
                               .digest = put(f, "{}"),
                               .size = 2,
                               .media_type = FL_STR(FL_MEDIA_OCI_MANIFEST)};
    return fl_image_store_set_ref(f->store, &ref, NULL);
}

static void references_are_listed_in_order(void **state)
{
    struct fixture *f = *state;
    struct fl_ref *refs = NULL, ref;
    size_t count = 0;
    assert_int_equal(set(f, "team/app", "2"), 0);
    assert_int_equal(set(f, "team/app", "1"), 0);
    assert_int_equal(set(f, "app", "latest"), 0);
    assert_int_equal(fl_image_store_list_refs(f->store, f->arena, &refs, &count), 0);
    assert_int_equal(count, 3);
    assert_true(fl_str_is(refs[0].repository, "app"));
    assert_true(fl_str_is(refs[1].repository, "team/app") && fl_str_is(refs[1].tag, "1"));
    assert_int_equal(
        fl_image_store_get_ref(f->store, FL_STR("team/app"), FL_STR("2"), f->arena, &ref), 0);
    assert_int_equal(ref.size, 2);
    assert_true(fl_str_is(ref.media_type, FL_MEDIA_OCI_MANIFEST));
    assert_int_equal(
        fl_image_store_get_ref(f->store, FL_STR("team/app"), FL_STR("3"), f->arena, &ref), -ENOENT);
}

static void hostile_references_are_refused(void **state)
{
    struct fixture *f = *state;
    struct fl_ref ref;
    assert_int_equal(set(f, "../x", "1"), -EINVAL);
    assert_int_equal(set(f, "a+b", "1"), -EINVAL);
    assert_int_equal(set(f, "a", ".."), -EINVAL);
    assert_int_equal(set(f, "a", "x/y"), -EINVAL);
    assert_int_equal(
        fl_image_store_get_ref(f->store, FL_STR("../tmp"), FL_STR("x"), f->arena, &ref), -EINVAL);
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR(".."), FL_STR("a")), -EINVAL);
    assert_true(is_empty(f, "refs"));
}

static void a_repository_goes_with_its_last_tag(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set(f, "app", "1"), 0);
    assert_int_equal(set(f, "app", "2"), 0);
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR("app"), FL_STR("1")), 0);
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR("app"), FL_STR("1")), -ENOENT);
    assert_true(fl_repository_exists(f->store, FL_STR("app")));
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR("app"), FL_STR("2")), 0);
    assert_false(fl_repository_exists(f->store, FL_STR("app")));
    assert_true(is_empty(f, "refs"));
}

static void only_what_no_image_needs_is_collected(void **state)
{
    struct fixture *f = *state;
    uint64_t freed = 0;
    struct fl_digest config = put(f, "{\"rootfs\":{\"diff_ids\":[]}}"), stray = put(f, "stray");
    struct fl_str text = fl_str_printf(
        f->arena,
        "{\"schemaVersion\":2,\"layers\":[],\"config\":{\"size\":1,\"digest\":\"sha256:%s\"}}",
        config.hex);
    const struct fl_ref ref = {FL_STR("app"), FL_STR("1"), put(f, text.p), text.n, FL_STR("")};
    assert_int_equal(fl_image_store_set_ref(f->store, &ref, NULL), 0);
    assert_int_equal(fl_image_store_collect(f->store, 3600, &freed, NULL), 0);
    assert_true(fl_image_store_has(f->store, &stray, NULL));
    assert_int_equal(fl_image_store_collect(f->store, 0, &freed, NULL), 0);
    assert_int_equal(freed, 5);
    assert_false(fl_image_store_has(f->store, &stray, NULL));
    assert_true(fl_image_store_has(f->store, &config, NULL));
    struct fl_image image;
    assert_int_equal(fl_image_store_read_image(f->store, &ref.digest, f->arena, &image, NULL), 0);
}

static void no_store_is_not_made_by_looking(FL_UNUSED void **state)
{
    struct fl_image_store *store = NULL;
    assert_int_equal(fl_image_store_open(FL_STR("/tmp/fl-no-such-store"), false, &store, NULL),
                     -ENOENT);
    assert_int_equal(access("/tmp/fl-no-such-store", F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_blob_comes_back),
        TEST(a_wrong_digest_leaves_nothing),
        TEST(references_are_listed_in_order),
        TEST(hostile_references_are_refused),
        TEST(a_repository_goes_with_its_last_tag),
        TEST(only_what_no_image_needs_is_collected),
        cmocka_unit_test(no_store_is_not_made_by_looking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
