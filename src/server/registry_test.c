/* What of the registry needs no server: routes and ranges, tokens that verify themselves, the count
 * of uploads, lifecycle policies. Time is the test's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/lifecycle.h"
#include "server/registry_internal.h"
#include "server/registry_route.h"
#include "server/registry_token.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int setup(void **state)
{
    *state = fl_arena_new();
    return 0;
}

static int teardown(void **state)
{
    fl_arena_free(*state);
    return 0;
}

/* ---- routes ---- */

static void expect(const char *path, enum fl_registry_what what, const char *repository,
                   const char *reference)
{
    struct fl_registry_route route = fl_registry_route_of(fl_str_of(path));
    assert_int_equal(route.what, what);
    assert_true(fl_str_is(route.repository, repository));
    assert_true(fl_str_is(route.reference, reference));
}

static void paths_are_taken_apart_from_their_end(FL_UNUSED void **state)
{
    expect("/v2/", FL_REGISTRY_BASE, "", "");
    expect("/v2", FL_REGISTRY_BASE, "", "");
    expect("/v2/_catalog", FL_REGISTRY_CATALOG, "", "");
    expect("/v2/a/tags/list", FL_REGISTRY_TAGS, "a", "");
    expect("/v2/a/b/manifests/1.0", FL_REGISTRY_MANIFEST, "a/b", "1.0");
    expect("/v2/a/blobs/uploads/", FL_REGISTRY_UPLOADS, "a", "");
    expect("/v2/a/blobs/uploads", FL_REGISTRY_UPLOADS, "a", "");
    expect("/v2/a/blobs/uploads/x-1", FL_REGISTRY_UPLOAD, "a", "x-1");
    expect("/v2/a/blobs/b/blobs/sha256:" HEX, FL_REGISTRY_BLOB, "a/blobs/b", "sha256:" HEX);
    expect("/v2/tags/list/tags/list", FL_REGISTRY_TAGS, "tags/list", "");
    expect("/v2/a", FL_REGISTRY_NOTHING, "", "");
    expect("/v2/a/uploads/x", FL_REGISTRY_NOTHING, "", "");
    expect("/v3/a/tags/list", FL_REGISTRY_NOTHING, "", "");
    assert_int_equal(fl_registry_route_of(FL_STR("/v2/../tags/list")).what, FL_REGISTRY_BAD_NAME);
    assert_int_equal(fl_registry_route_of(FL_STR("/v2//tags/list")).what, FL_REGISTRY_BAD_NAME);
    assert_true(fl_registry_route_of(FL_STR("/v2/a/manifests/..")).bad_reference);
    assert_true(fl_registry_route_of(FL_STR("/v2/a/blobs/sha256:0")).bad_reference);
    assert_true(fl_registry_route_of(FL_STR("/v2/a/manifests/sha256:" HEX)).has_digest);
}

static void ranges_are_within_their_blob(FL_UNUSED void **state)
{
    uint64_t a, b;
    assert_true(fl_registry_content_range(FL_STR("0-9"), &a, &b) && a == 0 && b == 9);
    assert_true(fl_registry_content_range(FL_STR("bytes 5-5/6"), &a, &b) && a == 5 && b == 5);
    assert_false(fl_registry_content_range(FL_STR("9-0"), &a, &b));
    assert_false(fl_registry_content_range(FL_STR("-9"), &a, &b));
    assert_false(fl_registry_content_range(FL_STR("0-99999999999999999999"), &a, &b));
    static const struct {
        const char *text;
        enum fl_registry_range want;
        uint64_t offset, n;
    } rows[] = {
        {"bytes=0-0", FL_REGISTRY_RANGE_PART, 0, 1},
        {"bytes=90-", FL_REGISTRY_RANGE_PART, 90, 10},
        {"bytes=90-1000", FL_REGISTRY_RANGE_PART, 90, 10},
        {"bytes=-1000", FL_REGISTRY_RANGE_PART, 0, 100},
        {"bytes=-1", FL_REGISTRY_RANGE_PART, 99, 1},
        {"bytes=-0", FL_REGISTRY_RANGE_OUTSIDE, 0, 0},
        {"bytes=100-", FL_REGISTRY_RANGE_OUTSIDE, 0, 0},
        {"bytes=0-0,5-5", FL_REGISTRY_RANGE_NONE, 0, 0},
        {"bytes=5-4", FL_REGISTRY_RANGE_NONE, 0, 0},
        {"", FL_REGISTRY_RANGE_NONE, 0, 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        a = b = 0;
        assert_int_equal(fl_registry_range_of(fl_str_of(rows[i].text), 100, &a, &b), rows[i].want);
        assert_true(a == rows[i].offset && b == rows[i].n);
    }
}

/* ---- tokens ---- */

static void tokens_verify_themselves(void **state)
{
    struct fl_arena *arena = *state;
    struct fl_registry_key key = fl_registry_key_of(FL_STR("secret"));
    struct fl_registry_key other = fl_registry_key_of(FL_STR("another"));
    struct fl_str token = fl_registry_token_make(&key, FL_ROLE_AGENT, 1000, arena);
    enum fl_role role;
    int64_t expires_ms;
    assert_int_equal(fl_registry_token_check(&key, token, 999, &role, &expires_ms),
                     FL_REGISTRY_TOKEN_OK);
    assert_int_equal(role, FL_ROLE_AGENT);
    assert_int_equal(expires_ms, 1000);
    assert_int_equal(fl_registry_token_check(&key, token, 1000, &role, NULL),
                     FL_REGISTRY_TOKEN_EXPIRED);
    assert_int_equal(fl_registry_token_check(&other, token, 0, &role, NULL),
                     FL_REGISTRY_TOKEN_WRONG);
    for (size_t i = 0; i < token.n; i++) {
        char *changed = fl_arena_memdup(arena, token.p, token.n);
        changed[i] ^= 1;
        assert_int_equal(
            fl_registry_token_check(&key, (struct fl_str){changed, token.n}, 0, &role, NULL),
            FL_REGISTRY_TOKEN_WRONG);
    }
    assert_int_equal(fl_registry_token_check(&key, FL_STR(""), 0, &role, NULL),
                     FL_REGISTRY_TOKEN_WRONG);
}

static void downloads_are_signed(void **state)
{
    struct fl_registry_key key = fl_registry_key_of(FL_STR("secret"));
    struct fl_str signature = fl_registry_sign_path(&key, FL_STR("/v2/a"), 1000, *state);
    assert_true(fl_registry_path_signed(&key, FL_STR("/v2/a"), FL_STR("1000"), signature, 999));
    assert_false(fl_registry_path_signed(&key, FL_STR("/v2/a"), FL_STR("1000"), signature, 1000));
    assert_false(fl_registry_path_signed(&key, FL_STR("/v2/b"), FL_STR("1000"), signature, 999));
    assert_false(fl_registry_path_signed(&key, FL_STR("/v2/a"), FL_STR("1001"), signature, 999));
}

/* ---- uploads ---- */

static void uploads_are_bounded_and_expire(FL_UNUSED void **state)
{
    struct fl_registry registry = {0};
    struct fl_upload *upload, *busy = NULL, *fresh;
    TAILQ_INIT(&registry.uploads);
    for (size_t i = 0; i < FL_REGISTRY_UPLOADS_MAX; i++) {
        upload = fl_upload_new(&registry, FL_STR("app"));
        assert_ptr_equal(fl_upload_find(&registry, FL_STR("app"), fl_str_of(upload->id)), upload);
        assert_null(fl_upload_find(&registry, FL_STR("other"), fl_str_of(upload->id)));
    }
    assert_null(fl_upload_new(&registry, FL_STR("app")));
    TAILQ_FOREACH (upload, &registry.uploads, link) {
        upload->touched_ms = fl_clock_mono_ms() - FL_REGISTRY_IDLE_MS - 1;
        busy = upload;
    }
    busy->is_busy = true;
    /* There is room again at once, for nothing came for the others; the busy one stays. */
    fresh = fl_upload_new(&registry, FL_STR("app"));
    assert_non_null(fresh);
    assert_int_equal(registry.upload_count, 2);
    fl_upload_expire(&registry);
    assert_int_equal(registry.upload_count, 2);
    busy->is_busy = false;
    fl_upload_expire(&registry);
    assert_int_equal(registry.upload_count, 1);
    fl_upload_drop(&registry, fresh);
}

/* ---- lifecycle policies ---- */

#define RULE(priority, selection)                                                                  \
    "{\"rulePriority\":" #priority ",\"selection\":{" selection                                    \
    "},\"action\":{\"type\":\"expire\"}}"
#define COUNT(n) "\"countType\":\"imageCountMoreThan\",\"countNumber\":" #n
#define DAYS(n) "\"countType\":\"sinceImagePushed\",\"countUnit\":\"days\",\"countNumber\":" #n
#define DAY_MS INT64_C(86400000)

static struct fl_str tags[][2] = {
    {FL_STR("prod-1"), FL_STR("prod-1b")},
    {FL_STR("prod-2"), FL_STR("beta-2")},
    {FL_STR("beta-3"), {0}},
    {{0}, {0}},
    {{0}, {0}},
};

/* Image i was pushed i + 1 days ago. Which rule expires which image, as text. */
static void expire(struct fl_arena *arena, const char *rules, const char *want)
{
    enum { N = FL_ARRAY_SIZE(tags) };
    struct fl_repository_image images[N] = {0};
    struct fl_lifecycle_policy policy;
    struct fl_err err = {0};
    int32_t by[N];
    bool is_kept[N] = {false, false, false, false, true};
    FL_CLEANUP_BUF struct fl_buf got = FL_BUF_INIT(100);
    for (size_t i = 0; i < N; i++) {
        images[i].pushed_at_ms = 100 * DAY_MS - ((int64_t)i + 1) * DAY_MS;
        images[i].tags = tags[i];
        images[i].tag_count = (tags[i][0].n > 0) + (tags[i][1].n > 0);
        images[i].digest.hex[0] = (char)('a' + i);
    }
    struct fl_str text = fl_str_printf(arena, "{\"rules\":[%s]}", rules);
    assert_int_equal(fl_lifecycle_parse(text, arena, &policy, &err), 0);
    fl_lifecycle_apply(&policy, images, N, is_kept, 100 * DAY_MS, by);
    for (size_t i = 0; i < N; i++)
        fl_buf_printf(&got, "%d", by[i]);
    assert_string_equal(got.p, want);
}

static void rules_expire_by_count_and_age(void **state)
{
    expire(*state, RULE(1, "\"tagStatus\":\"any\"," COUNT(2)), "00110"); /* the last is kept */
    expire(*state, RULE(1, "\"tagStatus\":\"any\"," DAYS(2)), "00110");
    expire(*state, RULE(7, "\"tagStatus\":\"untagged\"," COUNT(1)), "00000");
    expire(*state, RULE(7, "\"tagStatus\":\"untagged\"," DAYS(3)), "00070");
    expire(*state, RULE(1, "\"tagStatus\":\"tagged\",\"tagPrefixList\":[\"prod\"]," COUNT(1)),
           "01000");
    /* All of a list must fit. */
    expire(*state,
           RULE(1, "\"tagStatus\":\"tagged\",\"tagPrefixList\":[\"prod\",\"beta\"]," DAYS(1)),
           "01000");
    expire(*state, RULE(1, "\"tagStatus\":\"tagged\",\"tagPatternList\":[\"*a-*\"]," DAYS(1)),
           "01100");
}

static void an_image_belongs_to_the_first_rule_that_selects_it(void **state)
{
    /* The first rule keeps prod-2 from the second, which still counts it. */
    expire(*state,
           RULE(2, "\"tagStatus\":\"tagged\",\"tagPrefixList\":[\"beta\"]," COUNT(1)) "," RULE(
               1, "\"tagStatus\":\"tagged\",\"tagPrefixList\":[\"prod\"]," COUNT(5)),
           "00200");
    expire(*state,
           RULE(1, "\"tagStatus\":\"tagged\",\"tagPrefixList\":[\"prod\"]," COUNT(1)) "," RULE(
               9, "\"tagStatus\":\"any\"," DAYS(1)),
           "01990");
}

static void what_is_no_policy_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"rules\":[]}",
        "{\"rules\":[1]}",
        "{\"rules\":[{}]}",
        "{\"rules\":[" RULE(0, "\"tagStatus\":\"any\"," COUNT(1)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"some\"," COUNT(1)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"tagged\"," COUNT(1)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"tagged\",\"tagPrefixList\":[]," COUNT(1)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"any\",\"tagPrefixList\":[\"a\"]," COUNT(1)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"any\"," COUNT(0)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"any\",\"countType\":\"sinceImagePushed\","
                               "\"countNumber\":1") "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"any\",\"countType\":\"sinceImagePulled\","
                               "\"countUnit\":\"days\",\"countNumber\":1") "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"any\"," COUNT(1)) "," RULE(
            1, "\"tagStatus\":\"untagged\"," COUNT(1)) "]}",
        "{\"rules\":[" RULE(1, "\"tagStatus\":\"any\"," COUNT(1)) "," RULE(
            2, "\"tagStatus\":\"untagged\"," COUNT(1)) "]}",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        struct fl_lifecycle_policy policy;
        struct fl_err err = {0};
        assert_int_equal(fl_lifecycle_parse(fl_str_of(bad[i]), *state, &policy, &err), -EINVAL);
        assert_true(fl_str_starts(fl_str_of(err.text), FL_STR("Invalid parameter at ")));
    }
}

static void patterns_have_stars(FL_UNUSED void **state)
{
    assert_true(fl_lifecycle_glob(FL_STR("*"), FL_STR("")));
    assert_true(fl_lifecycle_glob(FL_STR("a*c*e"), FL_STR("abccde")));
    assert_true(fl_lifecycle_glob(FL_STR("**x"), FL_STR("x")));
    assert_false(fl_lifecycle_glob(FL_STR("a*c"), FL_STR("abcd")));
    assert_false(fl_lifecycle_glob(FL_STR(""), FL_STR("a")));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(paths_are_taken_apart_from_their_end),
        CASE(ranges_are_within_their_blob),
        CASE(tokens_verify_themselves),
        CASE(downloads_are_signed),
        CASE(uploads_are_bounded_and_expire),
        CASE(rules_expire_by_count_and_age),
        CASE(an_image_belongs_to_the_first_rule_that_selects_it),
        CASE(what_is_no_policy_is_refused),
        CASE(patterns_have_stars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
