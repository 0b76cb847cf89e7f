/* GPUs found beneath injected directories, and what a container gets of them. Nodes need a
 * privilege to be made: where it is missing, that part is skipped. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "agent/bundle_devices.h"
#include "agent/gpus.h"

static char top[] = "/tmp/fairlead-gpus-XXXXXX";

static const char *below(const char *name)
{
    static char path[4][256];
    static int next;
    char *at = path[next++ % 4];
    (void)snprintf(at, sizeof(path[0]), "%s/%s", top, name);
    return at;
}

static void add_driver(const char *bus, const char *text)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "gpus/%s", bus);
    assert_int_equal(mkdir(below(name), 0755), 0);
    (void)snprintf(name, sizeof(name), "gpus/%s/information", bus);
    FILE *file = fopen(below(name), "we");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(FL_UNUSED void **state)
{
    assert_non_null(mkdtemp(top));
    assert_int_equal(mkdir(below("dev"), 0755), 0);
    assert_int_equal(mkdir(below("gpus"), 0755), 0);
    add_driver("0000:01:00.0", "Model: \t\t Fake\nGPU UUID: \t GPU-one\nDevice Minor: \t 1\n");
    add_driver("0000:02:00.0", "GPU UUID: \t GPU-zero\nDevice Minor: \t 0\nBus Type: PCIe\n");
    add_driver("0000:03:00.0", "GPU UUID: \t GPU-no-node\nDevice Minor: \t 7\n");
    add_driver("0000:04:00.0", "GPU UUID: \t GPU-????\n");
    return 0;
}

static int tear_down(FL_UNUSED void **state)
{
    static const char *const files[] = {"dev/nvidia0",
                                        "dev/nvidia1",
                                        "dev/nvidiactl",
                                        "gpus/0000:01:00.0/information",
                                        "gpus/0000:02:00.0/information",
                                        "gpus/0000:03:00.0/information",
                                        "gpus/0000:04:00.0/information"};
    static const char *const dirs[] = {"gpus/0000:01:00.0",
                                       "gpus/0000:02:00.0",
                                       "gpus/0000:03:00.0",
                                       "gpus/0000:04:00.0",
                                       "gpus",
                                       "dev",
                                       ""};
    for (size_t i = 0; i < FL_ARRAY_SIZE(files); i++)
        (void)unlink(below(files[i]));
    for (size_t i = 0; i < FL_ARRAY_SIZE(dirs); i++)
        (void)rmdir(below(dirs[i]));
    return 0;
}

static void a_host_without_them_has_none(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_gpus gpus;
    fl_gpus_find(below("nothing"), below("dev"), arena, &gpus);
    assert_int_equal(gpus.n, 0);
    assert_int_equal(gpus.shared_count, 0);
    fl_gpus_find(below("gpus"), below("dev"), arena, &gpus);
    assert_int_equal(gpus.n, 0); /* the driver alone is not enough */
}

static void nodes_follow_ids(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    struct fl_json_writer jw = {.buf = &text};
    struct fl_gpus gpus;
    struct fl_str *nodes, ids[] = {FL_STR("GPU-one"), FL_STR("GPU-other")};
    struct fl_err err;
    size_t count;
    if (mknod(below("dev/nvidia0"), S_IFCHR | 0666, makedev(195, 0)) < 0)
        skip();
    assert_int_equal(mknod(below("dev/nvidia1"), S_IFCHR | 0666, makedev(195, 1)), 0);
    assert_int_equal(mknod(below("dev/nvidiactl"), S_IFCHR | 0666, makedev(195, 255)), 0);
    fl_gpus_find(below("gpus"), below("dev"), arena, &gpus);
    assert_int_equal(gpus.n, 2);
    assert_true(fl_str_is(gpus.items[0].id, "GPU-zero"));
    assert_true(fl_str_is(gpus.items[1].id, "GPU-one"));
    assert_int_equal(fl_gpus_nodes(&gpus, ids, 1, arena, &nodes, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_true(fl_str_ends(nodes[0], FL_STR("/dev/nvidia1")));
    assert_true(fl_str_ends(nodes[1], FL_STR("/dev/nvidiactl")));
    fl_jw_array_begin(&jw);
    fl_bundle_nodes(nodes, count, &jw);
    fl_bundle_allow_nodes(nodes, count, &jw);
    fl_jw_array_end(&jw);
    const struct fl_json *json = fl_json_read(fl_buf_str(&text), arena, NULL);
    assert_int_equal(fl_json_items(json), 4);
    assert_string_equal(fl_json_z(fl_json_get(fl_json_item(json, 0), "path")), "/dev/nvidia1");
    assert_int_equal(fl_json_int(fl_json_get(fl_json_item(json, 2), "minor")), 1);
    assert_int_equal(fl_gpus_nodes(&gpus, ids, 2, arena, &nodes, &count, &err), -ENODEV);
    assert_string_equal(err.text, "GPU GPU-other is not on this host");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_without_them_has_none),
        cmocka_unit_test(nodes_follow_ids),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
