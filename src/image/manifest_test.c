/* Manifests and configurations as real tools write them, and as nobody should. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/manifest.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int parse(struct fl_arena *arena, const char *json, struct fl_manifest *ret)
{
    struct fl_err err = {0};
    int rc = fl_manifest_parse(fl_str_of(json), FL_STR(""), arena, ret, &err);
    assert_true((rc == 0) == (err.text[0] == '\0'));
    return rc;
}

static void a_docker_manifest_is_read(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_manifest m;
    assert_int_equal(parse(arena,
                           "{\"schemaVersion\":2,\"mediaType\":\"" FL_MEDIA_DOCKER_MANIFEST "\","
                           "\"config\":{\"mediaType\":\"x\",\"size\":7,\"digest\":\"" A "\"},"
                           "\"layers\":[{\"size\":9,\"digest\":\"" B
                           "\"},{\"size\":1,\"digest\":\"" A "\"}]}",
                           &m),
                     0);
    assert_false(m.is_index);
    assert_int_equal(m.layer_count, 2);
    assert_int_equal(m.config.size, 7);
    assert_string_equal(m.layers[0].digest.hex, &B[7]);
}

static void an_index_yields_this_machines_image(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str mine = fl_image_architecture();
    struct fl_manifest m;
    struct fl_str text =
        fl_str_printf(arena,
                      "{\"schemaVersion\":2,\"manifests\":["
                      "{\"size\":1,\"digest\":\"" A
                      "\",\"platform\":{\"os\":\"linux\",\"architecture\":\"s390x\"}},"
                      "{\"size\":1,\"digest\":\"" B
                      "\",\"platform\":{\"os\":\"linux\",\"architecture\":\"%.*s\"}}"
                      "]}",
                      FL_STR_ARG(mine));
    assert_int_equal(parse(arena, text.p, &m), 0);
    assert_true(m.is_index);
    assert_string_equal(fl_manifest_choose(&m)->digest.hex, &B[7]);
    m.manifest_count = 1;
    assert_null(fl_manifest_choose(&m));
}

static void bad_manifests_are_refused(FL_UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"schemaVersion\":1}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"layers\":7,\"config\":{\"size\":1,\"digest\":\"" A "\"}}",
        "{\"schemaVersion\":2,\"layers\":[]}",
        "{\"schemaVersion\":2,\"layers\":[{}],\"config\":{\"size\":1,\"digest\":\"" A "\"}}",
        "{\"schemaVersion\":2,\"layers\":[],\"config\":{\"size\":-1,\"digest\":\"" A "\"}}",
        "{\"schemaVersion\":2,\"layers\":[],\"config\":{\"size\":1,\"digest\":\"sha256:../../x\"}}",
        "{\"schemaVersion\":2,\"layers\":[],\"config\":{\"size\":1,\"digest\":\"sha512:aa\"}}",
        "{\"schemaVersion\":2,\"mediaType\":\"text/plain\",\"layers\":[],"
        "\"config\":{\"size\":1,\"digest\":\"" A "\"}}",
    };
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        struct fl_manifest m;
        assert_true(parse(arena, bad[i], &m) < 0);
    }
}

static void too_many_layers_are_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    struct fl_manifest m;
    fl_buf_add_z(&buf,
                 "{\"schemaVersion\":2,\"config\":{\"size\":1,\"digest\":\"" A "\"},\"layers\":[");
    for (int i = 0; i <= FL_LAYERS_MAX; i++)
        fl_buf_printf(&buf, "%s{\"size\":1,\"digest\":\"" A "\"}", i ? "," : "");
    fl_buf_add_z(&buf, "]}");
    assert_int_equal(parse(arena, buf.p, &m), -E2BIG);
}

static void a_configuration_is_read(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_oci_config c;
    struct fl_str json =
        FL_STR("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Entrypoint\":null,"
               "\"Cmd\":[\"/bin/sh\",\"-c\",\"x\"],\"Env\":[\"A=b\"],\"User\":\"1:2\","
               "\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGINT\"},"
               "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" A "\",\"" B "\"]}}");
    assert_int_equal(fl_oci_config_parse(json, arena, &c, NULL), 0);
    assert_int_equal(c.entry_point_count, 0);
    assert_int_equal(c.command_count, 3);
    assert_true(fl_str_is(c.command[2], "x"));
    assert_true(fl_str_is(c.environment[0], "A=b"));
    assert_true(fl_str_is(c.user, "1:2") && fl_str_is(c.working_dir, "/w"));
    assert_true(fl_str_is(c.stop_signal, "SIGINT"));
    assert_int_equal(c.diff_id_count, 2);
    assert_string_equal(c.diff_ids[1].hex, &B[7]);
}

static void bad_configurations_are_refused(FL_UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"config\":{\"Cmd\":\"sh\"}}",
        "{\"config\":{\"Cmd\":[1]}}",
        "{\"config\":{\"Env\":[\"a\\u0000b\"]}}",
        "{\"rootfs\":{\"diff_ids\":[\"x\"]}}",
    };
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        struct fl_oci_config c;
        struct fl_err err = {0};
        assert_true(fl_oci_config_parse(fl_str_of(bad[i]), arena, &c, &err) < 0);
        assert_true(err.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_docker_manifest_is_read),
        cmocka_unit_test(an_index_yields_this_machines_image),
        cmocka_unit_test(bad_manifests_are_refused),
        cmocka_unit_test(too_many_layers_are_refused),
        cmocka_unit_test(a_configuration_is_read),
        cmocka_unit_test(bad_configurations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
