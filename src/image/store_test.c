/* The store in a temporary directory: blobs by digest, references by name, collection; what is
 * wrong is refused and leaves no file. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "image/name.h"
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

static void a_blob_is_written_in_several_goes(void **state)
{
    struct fixture *f = *state;
    struct fl_digest name = fl_digest_of(FL_STR("a secret")), whole = fl_digest_of(FL_STR("abcd"));
    struct fl_blob_writer *writer = NULL;
    uint64_t size = 0;
    /* What is given up goes as a whole. */
    assert_int_equal(fl_blob_writer_resume(f->store, &name, &writer, NULL), 0);
    fl_blob_writer_abort(writer);
    assert_false(fl_image_store_has_upload(f->store, &name, &size));
    for (const char *piece = "abcd"; *piece; piece++) {
        assert_int_equal(fl_blob_writer_resume(f->store, &name, &writer, NULL), 0);
        assert_int_equal(fl_blob_writer_add(writer, piece, 1, NULL), 0);
        if (piece[1])
            fl_blob_writer_suspend(writer);
        assert_true(fl_image_store_has_upload(f->store, &name, &size));
        assert_int_equal(size, piece[1] ? 5 - strlen(piece) : 4);
    }
    assert_int_equal(fl_blob_writer_commit(writer, &whole, NULL, NULL), 0);
    assert_true(fl_image_store_has(f->store, &whole, NULL));
    assert_true(is_empty(f, "uploads"));
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
    assert_true(fl_image_store_has_repository(f->store, FL_STR("app")));
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR("app"), FL_STR("2")), 0);
    assert_false(fl_image_store_has_repository(f->store, FL_STR("app")));
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

static void what_is_needed_or_renewed_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t freed = 0;
    bool is_used = false;
    struct fl_digest config = put(f, "{\"rootfs\":{\"diff_ids\":[]}}"), young = put(f, "young");
    const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct fl_str text = fl_str_printf(
        f->arena,
        "{\"schemaVersion\":2,\"layers\":[],\"config\":{\"size\":1,\"digest\":\"sha256:%s\"}}",
        config.hex);
    struct fl_digest manifest = put(f, text.p);
    const struct fl_digest all[] = {config, young, manifest};
    int blobs = open(fl_str_printf(f->arena, "%s/blobs/sha256", f->dir).p,
                     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < FL_ARRAY_SIZE(all); i++)
        assert_int_equal(utimensat(blobs, all[i].hex, long_ago, 0), 0);
    (void)close(blobs);
    assert_int_equal(fl_image_store_set_needed(f->store, &manifest, 1, NULL), 0);
    assert_true(fl_image_store_renew(f->store, &young, NULL));
    assert_int_equal(fl_image_store_is_used(f->store, &config, &is_used, NULL), 0);
    assert_true(is_used);
    assert_int_equal(fl_image_store_collect(f->store, 3600, &freed, NULL), 0);
    assert_int_equal(freed, 0);
    assert_int_equal(fl_image_store_set_needed(f->store, NULL, 0, NULL), 0);
    assert_int_equal(fl_image_store_collect(f->store, 3600, &freed, NULL), 0);
    assert_true(fl_image_store_has(f->store, &young, NULL));
    assert_false(fl_image_store_has(f->store, &config, NULL));
    assert_false(fl_image_store_has(f->store, &manifest, NULL));
    assert_true(is_empty(f, "tmp"));
}

/* Which images a repository has, tag for tag: "digest:tag,tag ". */
static const char *images_of(struct fixture *f, const char *repository)
{
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    struct fl_str text = FL_STR("");
    assert_int_equal(
        fl_repository_list_images(f->store, fl_str_of(repository), f->arena, &images, &count), 0);
    for (size_t i = 0; i < count; i++) {
        text = fl_str_printf(f->arena, "%.*s%.1s:", FL_STR_ARG(text), images[i].digest.hex);
        for (size_t t = 0; t < images[i].tag_count; t++)
            text = fl_str_printf(f->arena, "%.*s%.*s,", FL_STR_ARG(text),
                                 FL_STR_ARG(images[i].tags[t]));
    }
    return text.p;
}

static void images_stay_without_tags_until_removed(void **state)
{
    struct fixture *f = *state;
    struct fl_ref ref = {FL_STR("app"), FL_STR("1"), fl_digest_of(FL_STR("one")), 3, FL_STR("x")};
    struct fl_digest one = ref.digest, two = fl_digest_of(FL_STR("two")); /* "7…", "3…" */
    assert_string_equal(images_of(f, "app"), "");
    assert_int_equal(fl_image_store_set_ref(f->store, &ref, NULL), 0);
    ref.tag = FL_STR("latest");
    assert_int_equal(fl_image_store_set_ref(f->store, &ref, NULL), 0);
    assert_string_equal(images_of(f, "app"), "7:1,latest,");
    ref.digest = two;
    assert_int_equal(fl_image_store_set_ref(f->store, &ref, NULL), 0);
    ref.tag = FL_STR("1");
    assert_int_equal(fl_image_store_set_ref(f->store, &ref, NULL), 0);
    assert_string_equal(images_of(f, "app"), "3:1,latest,7:");
    /* An image goes with its last tag, or by itself with all of them. */
    assert_int_equal(fl_repository_remove_image(f->store, FL_STR("app"), &one), 0);
    assert_int_equal(fl_repository_remove_image(f->store, FL_STR("app"), &one), -ENOENT);
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR("app"), FL_STR("1")), 0);
    assert_string_equal(images_of(f, "app"), "3:latest,");
    assert_int_equal(fl_repository_remove_image(f->store, FL_STR("app"), &two), 0);
    assert_false(fl_image_store_has_repository(f->store, FL_STR("app")));
}

/* A listing that comes in the middle of a push, and one after a crash, must not show it. */
static void a_reference_being_written_is_no_tag(void **state)
{
    struct fixture *f = *state;
    char events[4096] __attribute__((aligned(8)));
    assert_int_equal(set(f, "app", "1"), 0);
    FL_CLEANUP_FD int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(
        inotify_add_watch(watch, fl_str_printf(f->arena, "%s/refs/app", f->dir).p, IN_CREATE) >= 0);
    assert_int_equal(set(f, "app", "2"), 0);
    assert_true(read(watch, events, sizeof(events)) > 0);
    assert_false(fl_tag_valid(fl_str_of(((struct inotify_event *)(void *)events)->name)));
}

/* As many images with a tag each as would not fit into memory if each had room for all tags. */
static void a_repository_of_many_images_is_listed(void **state)
{
    struct fixture *f = *state;
    enum { IMAGES = 3000, MAX_GROWTH = 32 << 20 };
    struct fl_repository_image *images = NULL;
    size_t count = 0, before = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_int_equal(set(f, "many", "first"), 0);
    int refs =
        open(fl_str_printf(f->arena, "%s/refs/many", f->dir).p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < IMAGES; i++) {
        char tag[16], text[160];
        (void)snprintf(tag, sizeof(tag), "t%d", i);
        (void)snprintf(text, sizeof(text), "sha256:%064x 1 x\n", i);
        int fd = openat(refs, tag, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(write(fd, text, strlen(text)) > 0);
        (void)close(fd);
    }
    (void)close(refs);
    assert_int_equal(fl_repository_list_images(f->store, FL_STR("many"), f->arena, &images, &count),
                     0);
    assert_int_equal(count, IMAGES + 1);
    assert_true(fl_str_is(images[IMAGES - 1].tags[0], "t2999"));
    assert_true(mallinfo2().uordblks + mallinfo2().hblkhd - before < MAX_GROWTH);
}

static void a_repository_that_was_made_stays_empty(void **state)
{
    struct fixture *f = *state;
    struct fl_str *names = NULL;
    size_t count = 0;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(100);
    assert_int_equal(fl_repository_read_record(f->store, FL_STR("a/b"), &buf), -ENOENT);
    assert_int_equal(fl_repository_write_record(f->store, FL_STR("a/b"), FL_STR("{}"), NULL), 0);
    assert_int_equal(fl_repository_read_record(f->store, FL_STR("a/b"), &buf), 0);
    assert_int_equal(set(f, "a/b", "1"), 0);
    assert_int_equal(set(f, "other", "1"), 0);
    assert_int_equal(fl_image_store_remove_ref(f->store, FL_STR("a/b"), FL_STR("1")), 0);
    assert_true(fl_image_store_has_repository(f->store, FL_STR("a/b")));
    assert_int_equal(fl_repository_list(f->store, f->arena, &names, &count), 0);
    assert_int_equal(count, 2);
    assert_true(fl_str_is(names[0], "a/b") && fl_str_is(names[1], "other"));
    assert_int_equal(fl_repository_remove(f->store, FL_STR("a/b")), 0);
    assert_int_equal(fl_repository_remove(f->store, FL_STR("a/b")), -ENOENT);
    assert_int_equal(fl_repository_remove(f->store, FL_STR("../x")), -EINVAL);
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
        TEST(a_blob_is_written_in_several_goes),
        TEST(references_are_listed_in_order),
        TEST(hostile_references_are_refused),
        TEST(a_repository_goes_with_its_last_tag),
        TEST(only_what_no_image_needs_is_collected),
        TEST(what_is_needed_or_renewed_is_kept),
        TEST(images_stay_without_tags_until_removed),
        TEST(a_reference_being_written_is_no_tag),
        TEST(a_repository_of_many_images_is_listed),
        TEST(a_repository_that_was_made_stays_empty),
        cmocka_unit_test(no_store_is_not_made_by_looking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
