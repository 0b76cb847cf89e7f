/* Images on a host: resolved in a store made here, unpacked by the real helper from the build
 * directory. Needs root: without it nothing is tested. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/images.h"
#include "base/fs.h"
#include "image/store.h"

struct fixture {
    char dir[40];
    struct fl_arena *arena;
    struct fl_image_store *store;
    uv_loop_t loop;
    struct fl_images *images;
    /* Of the cleanup. */
    int64_t cleanup_age_ms, cleanup_count; /* count 0: no cleanup */
    const char *excluded;
    struct fl_str used; /* the manifest of a container here */
    uv_timer_t patience;
};

/* What done told, last and how often. */
struct told {
    char digest[80];
    int times;
    bool ready;
    char error[600];
    size_t layer_count;
    char layers[4][PATH_MAX];
    char command[64];
};

static struct fl_str beneath(struct fixture *f, const char *name)
{
    return fl_str_printf(f->arena, "%s/%s", f->dir, name);
}

static struct fl_str libexec_dir(struct fl_arena *arena)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self));
    assert_true(n > 0);
    struct fl_str path = {self, (size_t)n};
    return fl_str_printf(arena, "%.*s/libexec", (int)fl_str_rindex(path, '/'), self);
}

static void each_used(void *context, void (*use)(void *use_context, struct fl_str digest),
                      void *use_context)
{
    struct fixture *f = context;
    if (f->used.n)
        use(use_context, f->used);
}

static void open_images(struct fixture *f)
{
    const struct fl_images_config config = {
        .each_used = f->cleanup_count ? each_used : NULL,
        .context = f,
        .room_check_ms = 20,
        .cleanup_interval_ms = 1,
        .cleanup_age_ms = f->cleanup_age_ms,
        .untracked_age_ms = f->cleanup_age_ms,
        .cleanup_count = f->cleanup_count,
        .excluded = fl_str_of(f->excluded),
        .registry_dir = beneath(f, "registry"),
        .data_dir = beneath(f, "agent"),
        .libexec_dir = libexec_dir(f->arena),
        .account = FL_STR("000000000000"),
        .region = FL_STR("us-east-1"),
        .registry_host = FL_STR("127.0.0.1:4566"),
    };
    struct fl_err err = {0};
    assert_int_equal(fl_images_open(&f->loop, &config, &f->images, &err), 0);
}

static int set_up(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-images.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->arena = fl_arena_new();
    assert_int_equal(fl_image_store_open(beneath(f, "registry"), true, &f->store, NULL), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    open_images(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fl_images_close(f->images);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    fl_image_store_close(f->store);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    fl_arena_free(f->arena);
    free(f);
    return 0;
}

/* A tar of one empty file. */
static struct fl_str make_tar(struct fl_arena *arena, const char *name)
{
    char *tar = fl_arena_alloc(arena, 3 * 512);
    unsigned sum = 0;
    (void)snprintf(tar, 100, "%s", name);
    memcpy(tar + 100, "0000644\0000000000\0000000000\00000000000000\00000000000000", 48);
    memset(tar + 148, ' ', 8);
    tar[156] = '0';
    memcpy(tar + 257, "ustar\00000", 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)tar[i];
    (void)snprintf(tar + 148, 8, "%06o", sum);
    return (struct fl_str){tar, 3 * 512};
}

static struct fl_digest put(struct fixture *f, struct fl_str bytes)
{
    struct fl_digest digest;
    assert_true(fl_image_store_put(f->store, bytes, &digest, NULL) >= 0);
    return digest;
}

/* An image of layers that hold one file each, named as files says. With lie, the configuration
 * gives the layers other digests than they have. */
static void make_image(struct fixture *f, const char *tag, const char *const *files, size_t count,
                       bool lie)
{
    FL_CLEANUP_BUF struct fl_buf ids = FL_BUF_INIT(4096), layers = FL_BUF_INIT(4096);
    for (size_t i = 0; i < count; i++) {
        struct fl_digest digest = put(f, make_tar(f->arena, files[i]));
        fl_buf_printf(&layers, "%s{\"size\":1536,\"digest\":\"sha256:%s\"}", i ? "," : "",
                      digest.hex);
        if (lie)
            digest = fl_digest_of(FL_STR("lie"));
        fl_buf_printf(&ids, "%s\"sha256:%s\"", i ? "," : "", digest.hex);
    }
    struct fl_digest config =
        put(f, fl_str_printf(f->arena,
                             "{\"config\":{\"Cmd\":[\"/%s\"]},\"rootfs\":{\"diff_ids\":[%s]}}",
                             files[0], ids.p));
    struct fl_str manifest = fl_str_printf(f->arena,
                                           "{\"schemaVersion\":2,\"config\":{\"size\":1,"
                                           "\"digest\":\"sha256:%s\"},\"layers\":[%s]}",
                                           config.hex, layers.p);
    const struct fl_ref ref = {FL_STR("app"), fl_str_of(tag), put(f, manifest), manifest.n,
                               FL_STR("")};
    assert_int_equal(fl_image_store_set_ref(f->store, &ref, NULL), 0);
}

static void done(void *context, const struct fl_image_ready *ready,
                 FL_UNUSED enum fl_image_failure failure, struct fl_str error)
{
    struct told *told = context;
    told->times++;
    told->ready = ready != NULL;
    (void)snprintf(told->error, sizeof(told->error), "%.*s", FL_STR_ARG(error));
    if (!ready)
        return;
    told->layer_count = ready->layer_count;
    (void)snprintf(told->digest, sizeof(told->digest), "%.*s", FL_STR_ARG(ready->digest));
    for (size_t i = 0; i < FL_MIN(ready->layer_count, 4); i++)
        (void)snprintf(told->layers[i], PATH_MAX, "%.*s", FL_STR_ARG(ready->layers[i]));
    (void)snprintf(told->command, sizeof(told->command), "%.*s",
                   FL_STR_ARG(ready->config.command[0]));
}

static struct told ensure(struct fixture *f, const char *name)
{
    struct told told = {0};
    fl_images_ensure(f->images, fl_str_of(name), NULL, done, &told);
    while (!told.times && uv_run(&f->loop, UV_RUN_ONCE))
        ;
    assert_int_equal(told.times, 1);
    return told;
}

static bool exists(const char *dir, const char *name)
{
    char path[PATH_MAX + 64];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return lstat(path, &st) == 0;
}

static int count_files(struct fixture *f, const char *where)
{
    DIR *dir = opendir(beneath(f, where).p);
    struct dirent *entry;
    int count = 0;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

static int count_layers(struct fixture *f)
{
    return count_files(f, "agent/layers");
}

static void layers_are_unpacked_once_for_all_who_wait(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"base", "top"};
    struct told told[3] = {0}, warm = {0};
    make_image(f, "1", files, 2, false);
    for (int i = 0; i < 3; i++)
        fl_images_ensure(f->images, FL_STR("app:1"), NULL, done, &told[i]);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(told[i].times, 1);
        assert_true(told[i].ready);
        assert_int_equal(told[i].layer_count, 2);
        assert_true(exists(told[i].layers[0], "top"));
        assert_true(exists(told[i].layers[1], "base"));
        assert_string_equal(told[i].command, "/base");
    }
    assert_int_equal(count_layers(f), 2);
    fl_images_ensure(f->images, FL_STR("127.0.0.1:4566/app:1"), NULL, done, &warm);
    assert_int_equal(warm.times, 1);
    assert_true(warm.ready);
}

static void layers_outlive_the_agent_and_leftovers_do_not(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"base"};
    struct told told = {0};
    make_image(f, "1", files, 1, false);
    assert_true(ensure(f, "app:1").ready);
    fl_images_close(f->images);
    assert_int_equal(fl_fs_mkdirs(beneath(f, "agent/layers/tmp.1234/x").p, 0700), 0);
    open_images(f);
    assert_int_equal(count_layers(f), 1);
    fl_images_ensure(f->images, FL_STR("app:1"), NULL, done, &told);
    assert_true(told.ready);
}

static void one_layer_twice_is_one_directory(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"a", "b", "a"};
    make_image(f, "1", files, 3, false);
    struct told told = ensure(f, "app:1");
    assert_true(told.ready);
    assert_int_equal(told.layer_count, 2);
    assert_true(exists(told.layers[0], "a") && exists(told.layers[1], "b"));
}

static void a_bad_layer_is_refused_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"a", "b", "c"}, *const escape[] = {"../a"};
    make_image(f, "1", files, 3, true);
    make_image(f, "2", escape, 1, false);
    for (int i = 0; i < 2; i++) {
        struct told told = ensure(f, "app:1");
        assert_false(told.ready);
        assert_non_null(strstr(told.error, "digest mismatch"));
    }
    assert_non_null(strstr(ensure(f, "app:2").error, "\"..\""));
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(count_layers(f), 0);
}

static void what_does_not_exist_is_told(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"a"};
    make_image(f, "1", files, 1, false);
    assert_string_equal(ensure(f, "nope").error,
                        "failed to resolve reference \"docker.io/library/nope:latest\": not found");
    assert_non_null(strstr(ensure(f, "quay.io/x/y:1").error, "\"quay.io/x/y:1\": not found"));
    assert_string_equal(ensure(f, "app:2").error,
                        "failed to resolve reference \"app:2\": not found");
    assert_string_equal(ensure(f, "127.0.0.1:4566/none:1").error,
                        "failed to resolve reference \"127.0.0.1:4566/none:1\": not found");
    assert_non_null(strstr(ensure(f, "../x").error, "invalid reference format"));
}

static void closing_while_a_layer_unpacks_is_quiet(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"a", "b", "c", "d"};
    struct told told = {0};
    make_image(f, "1", files, 4, false);
    fl_images_ensure(f->images, FL_STR("app:1"), NULL, done, &told);
    fl_images_close(f->images);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(told.times, 0);
    open_images(f);
    assert_true(ensure(f, "app:1").ready);
}

static void on_patience(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop until so many layers are there; with `settled`, a while longer, as they may not
 * become fewer. */
static void await_layers(struct fixture *f, int count, bool settled)
{
    bool over = false;
    assert_int_equal(uv_timer_init(&f->loop, &f->patience), 0);
    f->patience.data = &over;
    assert_int_equal(uv_timer_start(&f->patience, on_patience, settled ? 300 : 10000, 0), 0);
    while (!over && (settled || count_layers(f) != count))
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&f->patience, NULL);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(count_layers(f), count);
}

/* Closes images and opens them again with a cleanup of so many at a time. */
static void clean_from_now(struct fixture *f, int64_t age_ms, int64_t count)
{
    fl_images_close(f->images);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    f->cleanup_age_ms = age_ms;
    f->cleanup_count = count;
    open_images(f);
}

/* What the disk holds when the power is cut before the flush: anything. */
static void after_another_boot_what_was_not_flushed_is_made_anew(void **state)
{
    struct fixture *f = *state;
    static const char *const one[] = {"a"}, *const two[] = {"b"};
    make_image(f, "1", one, 1, false);
    make_image(f, "2", two, 1, false);
    struct told told = ensure(f, "app:1");
    while (count_files(f, "agent/layers.flushed") < 2) /* the boot's id, and a mark */
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(ensure(f, "app:2").ready);
    fl_images_close(f->images);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    open_images(f);
    assert_int_equal(count_layers(f), 2);
    fl_images_close(f->images);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(fl_fs_write_fast(AT_FDCWD, beneath(f, "agent/layers.flushed/boot").p,
                                      FL_STR("another"), 0600),
                     0);
    open_images(f);
    assert_int_equal(count_layers(f), 1);
    assert_true(exists(told.layers[0], "a"));
    assert_true(ensure(f, "app:2").ready);
    assert_int_equal(count_layers(f), 2);
}

static void what_nobody_uses_goes_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    static const char *const one[] = {"base", "a"}, *const two[] = {"base", "b"},
                             *const three[] = {"c"};
    make_image(f, "1", one, 2, false);
    make_image(f, "2", two, 2, false);
    make_image(f, "3", three, 1, false);
    for (const char *name = "123"; *name; name++) {
        struct told told = ensure(f, fl_str_printf(f->arena, "app:%c", *name).p);
        assert_true(told.ready);
        if (*name == '2')
            f->used = fl_str_dup(f->arena, fl_str_of(told.digest));
    }
    assert_int_equal(count_layers(f), 4);
    clean_from_now(f, 3600 * 1000, 5);
    await_layers(f, 4, true); /* too young */
    f->excluded = "app:3, other:7";
    clean_from_now(f, 0, 5);
    await_layers(f, 3, false); /* the layer that the first alone had */
    await_layers(f, 3, true);
    f->excluded = "";
    clean_from_now(f, 0, 1);
    await_layers(f, 2, false);
    await_layers(f, 2, true);
    f->used = FL_STR("");
    await_layers(f, 0, false);
    /* What is gone is made anew. */
    f->cleanup_count = 0;
    clean_from_now(f, 0, 0);
    assert_true(ensure(f, "app:1").ready);
    assert_int_equal(count_layers(f), 2);
}

static void pulls_wait_for_starts_and_go_on_whatever_these_do(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"a", "b", "c", "d", "e", "f"};
    struct told told = {0};
    make_image(f, "1", files, 6, false);
    fl_images_start_begins(f->images);
    fl_images_ensure(f->images, FL_STR("app:1"), NULL, done, &told);
    assert_int_equal(count_layers(f), 0);
    fl_images_start_begins(f->images);
    fl_images_start_ends(f->images);
    assert_int_equal(count_layers(f), 0);
    /* The other start never ends. */
    while (!told.times)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(told.ready);
    fl_images_start_ends(f->images);
}

static void layers_of_an_image_that_is_not_known_stay(void **state)
{
    struct fixture *f = *state;
    static const char *const one[] = {"a"};
    make_image(f, "1", one, 1, false);
    assert_true(ensure(f, "app:1").ready);
    f->used = FL_STR("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    clean_from_now(f, 0, 5);
    await_layers(f, 1, true);
    f->used = FL_STR("");
    await_layers(f, 0, false);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(layers_are_unpacked_once_for_all_who_wait),
        TEST(layers_outlive_the_agent_and_leftovers_do_not),
        TEST(one_layer_twice_is_one_directory),
        TEST(a_bad_layer_is_refused_and_leaves_nothing),
        TEST(what_does_not_exist_is_told),
        TEST(closing_while_a_layer_unpacks_is_quiet),
        TEST(after_another_boot_what_was_not_flushed_is_made_anew),
        TEST(what_nobody_uses_goes_and_nothing_else),
        TEST(layers_of_an_image_that_is_not_known_stay),
        TEST(pulls_wait_for_starts_and_go_on_whatever_these_do),
    };
    if (geteuid() != 0) {
        (void)puts("1..0 # SKIP needs root");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
