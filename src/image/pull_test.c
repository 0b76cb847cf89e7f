/* Where pulls go and whom they believe: origins, redirects, ranges, what operators write down,
 * challenges, realms, tokens, credentials. Method: texts in, verdicts out; mostly lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/auth.h"

static bool parses(const char *url)
{
    struct fl_origin origin;
    struct fl_str rest;
    return fl_origin_parse(fl_str_of(url), &origin, &rest);
}

static void origins_have_one_reading(FL_UNUSED void **state)
{
    struct fl_origin origin;
    struct fl_str rest;
    assert_true(fl_origin_parse(FL_STR("https://a.example:5000/v2/?x"), &origin, &rest));
    assert_true(origin.tls && origin.port == 5000 && fl_str_is(origin.host, "a.example"));
    assert_true(fl_str_is(origin.authority, "a.example:5000") && fl_str_is(rest, "/v2/?x"));
    assert_true(fl_origin_parse(FL_STR("HTTP://[::1]"), &origin, &rest));
    assert_true(!origin.tls && origin.port == 80 && fl_str_is(origin.host, "[::1]"));
    assert_true(fl_str_is(origin.authority, "[::1]") && rest.n == 0);
    static const char *const bad[] = {
        "",           "ftp://a/",       "http://",         "http://u@a/",    "http://a:b@c/",
        "http://a b", "http://a\\@b/",  "http://a:0/",     "http://a:99999", "http://a:/",
        "http:///x",  "http://a#@b/",   "http://[::1",     "http://[x]/",    "http://a\n/",
        "//a/",       "http://a:80:80", "http://a\x7f/",   "https:/a",       "http://a;b/",
        "http://-a/", "http://.a/",     "http://\xc3\xa9/"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        if (parses(bad[i]))
            fail_msg("\"%s\" was accepted", bad[i]);
}

static void every_spelling_of_this_machine_is_known(FL_UNUSED void **state)
{
    static const char *const own[] = {"localhost",
                                      "LOCALHOST",
                                      "x.localhost",
                                      "127.0.0.1",
                                      "127.9.9.9",
                                      "127.1",
                                      "0x7f.1",
                                      "2130706433",
                                      "0.0.0.0",
                                      "0",
                                      "[::1]",
                                      "[::]",
                                      "[::ffff:127.0.0.1]",
                                      "169.254.169.254",
                                      "[fe80::1]",
                                      "[::ffff:169.254.170.2]"};
    static const char *const others[] = {
        "example.com",          "128.0.0.1", "10.0.0.1", "[2001:db8::1]", "localhost.example.com",
        "127.0.0.1.example.com"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(own); i++)
        if (!fl_host_is_own(fl_str_of(own[i])))
            fail_msg("%s is this machine's own", own[i]);
    for (size_t i = 0; i < FL_ARRAY_SIZE(others); i++)
        if (fl_host_is_own(fl_str_of(others[i])) || fl_host_is_loopback(fl_str_of(others[i])))
            fail_msg("%s is somebody else's", others[i]);
    assert_true(fl_host_is_loopback(FL_STR("[::1]")) && fl_host_is_loopback(FL_STR("127.1")));
    assert_false(fl_host_is_loopback(FL_STR("169.254.169.254")));
}

/* What following it gives: the URL, with "same " before it where credentials may go along, or the
 * refusal. */
static const char *redirect(struct fl_arena *arena, const char *from, const char *to)
{
    struct fl_str url;
    struct fl_err err = {0};
    bool same;
    if (fl_redirect_resolve(fl_str_of(from), fl_str_of(to), arena, &url, &same, &err) < 0)
        return fl_str_dup(arena, fl_str_of(err.text)).p;
    return fl_str_printf(arena, "%s%.*s", same ? "same " : "", FL_STR_ARG(url)).p;
}

static void redirects_lead_where_they_may(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *from = "https://r.example/v2/a/blobs/x?y";
    assert_string_equal(redirect(arena, from, "/b?c"), "same https://r.example/b?c");
    assert_string_equal(redirect(arena, from, "https://R.example:443/b"),
                        "same https://R.example:443/b");
    assert_string_equal(redirect(arena, from, "https://s.example/b"), "https://s.example/b");
    assert_string_equal(redirect(arena, from, "https://r.example:444/b"),
                        "https://r.example:444/b");
    assert_string_equal(redirect(arena, "http://r.example", "/b"), "same http://r.example/b");
    assert_non_null(strstr(redirect(arena, from, "http://r.example/b"), "from https to"));
    assert_non_null(strstr(redirect(arena, from, "https://169.254.169.254/"), "this machine"));
    assert_non_null(
        strstr(redirect(arena, "http://10.0.0.1:5000/", "http://127.1/"), "this machine"));
    assert_string_equal(redirect(arena, "http://127.0.0.1:1/", "http://localhost:2/"),
                        "http://localhost:2/");
    static const char *const bad[] = {
        "",     "//s.example/b", "b", "?c", "javascript:1", "/a b", "https://r.example\r\nX: y/",
        "/\xff"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_non_null(strstr(redirect(arena, from, bad[i]), "no plain"));
}

static void ranges_are_what_was_asked_for(FL_UNUSED void **state)
{
    assert_true(fl_content_range_fits(FL_STR("bytes 100-199/200"), 100, 200));
    assert_true(fl_content_range_fits(FL_STR("bytes 100-150/*"), 100, 200));
    static const char *const bad[] = {"",
                                      "bytes 0-199/200",
                                      "bytes 101-199/200",
                                      "bytes 100-200/200",
                                      "bytes 100-99/200",
                                      "bytes 100-199/201",
                                      "items 100-199/200",
                                      "bytes 100-199",
                                      "bytes -100-199/200",
                                      "bytes 99999999999999999999-5/200"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        if (fl_content_range_fits(fl_str_of(bad[i]), 100, 200))
            fail_msg("\"%s\" was accepted", bad[i]);
}

static void registries_are_configured(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_registries r = {0};
    struct fl_err err;
    assert_int_equal(fl_registries_parse(FL_STR("{\"docker.io\":{\"mirrors\":[\"https://m/\"]},"
                                                "\"10.0.0.1:5000\":{\"insecure\":true},"
                                                "\"x.example\":{\"ca\":\"/etc/x.pem\"}}"),
                                         arena, &r, &err),
                     0);
    assert_int_equal(r.count, 3);
    assert_true(fl_str_is(fl_registries_find(&r, FL_STR("docker.io"))->mirrors[0], "https://m"));
    assert_null(fl_registries_find(&r, FL_STR("quay.io")));
    static const char *const urls[][2] = {{"docker.io", "https://registry-1.docker.io"},
                                          {"10.0.0.1:5000", "http://10.0.0.1:5000"},
                                          {"10.0.0.1", "https://10.0.0.1"},
                                          {"localhost:5000", "http://localhost:5000"},
                                          {"127.0.0.1:80", "http://127.0.0.1:80"},
                                          {"x.example", "https://x.example"}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(urls); i++)
        assert_true(fl_str_is(fl_registry_url(&r, fl_str_of(urls[i][0]), arena), urls[i][1]));
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"a\":1}",
                                      "{\"a\":{\"mirrors\":[\"m\"]}}",
                                      "{\"a\":{\"mirrors\":[\"https://m/v2\"]}}",
                                      "{\"a\":{\"ca\":\"x.pem\"}}",
                                      "{\"a\":{\"insecure\":\"no\"}}",
                                      "{\"a\":{\"mirror\":[]}}",
                                      "{\"\":{}}"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_true(fl_registries_parse(fl_str_of(bad[i]), arena, &r, &err) < 0);
}

static void challenges_are_read(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_challenge c = fl_challenge_parse(
        FL_STR("Bearer realm=\"https://auth.example/token\",service=\"a \\\"b\\\"\",scope=x"),
        arena);
    assert_int_equal(c.kind, FL_CHALLENGE_BEARER);
    assert_true(fl_str_is(c.realm, "https://auth.example/token"));
    assert_true(fl_str_is(c.service, "a \"b\""));
    c = fl_challenge_parse(FL_STR("Digest realm=\"x\", nonce=\"y\", Basic realm=\"z\""), arena);
    assert_int_equal(c.kind, FL_CHALLENGE_BASIC);
    assert_int_equal(fl_challenge_parse(FL_STR("basic"), arena).kind, FL_CHALLENGE_BASIC);
    static const char *const none[] = {"",
                                       "Bearer",
                                       "Bearer realm=\"ftp://x\"",
                                       "Bearer realm=\"https://u@x/\"",
                                       "Bearer realm=\"https://x",
                                       "Negotiate abc==",
                                       "=",
                                       ",,,,",
                                       "Bearer realm=https://x y"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(none); i++)
        if (fl_challenge_parse(fl_str_of(none[i]), arena).kind == FL_CHALLENGE_BEARER)
            fail_msg("\"%s\" was accepted", none[i]);
}

static const char *token_url(struct fl_arena *arena, const char *registry, const char *realm)
{
    const struct fl_challenge challenge = {FL_CHALLENGE_BEARER, fl_str_of(realm), FL_STR("s&t")};
    struct fl_str url;
    struct fl_err err = {0};
    if (fl_token_url(fl_str_of(registry), &challenge, FL_STR("a/b"), arena, &url, &err) < 0)
        return fl_str_dup(arena, fl_str_of(err.text)).p;
    return url.p;
}

static void realms_are_asked_where_they_may_be(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *asked = "service=s%26t&scope=repository%3Aa%2Fb%3Apull";
    const char *url = token_url(arena, "https://r.example", "https://auth.example/token?x=y");
    assert_true(fl_str_starts(fl_str_of(url), FL_STR("https://auth.example/token?x=y&")));
    assert_non_null(strstr(url, asked));
    assert_non_null(
        strstr(token_url(arena, "http://10.0.0.1:5000", "http://10.0.0.1:6000/t"), asked));
    assert_non_null(strstr(token_url(arena, "https://r.example", "http://r.example/t"), "only"));
    assert_non_null(strstr(token_url(arena, "http://10.0.0.1", "http://10.0.0.2/t"), "only"));
    assert_non_null(
        strstr(token_url(arena, "https://r.example", "https://127.0.0.1/t"), "this machine"));
}

static void tokens_are_read(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str token;
    int64_t life;
    struct fl_err err;
    assert_int_equal(fl_token_parse(FL_STR("{\"token\":\"a.b\"}"), arena, &token, &life, &err), 0);
    assert_true(fl_str_is(token, "a.b") && life == 60);
    assert_int_equal(fl_token_parse(FL_STR("{\"access_token\":\"c\",\"expires_in\":300}"), arena,
                                    &token, &life, &err),
                     0);
    assert_true(fl_str_is(token, "c") && life == 300);
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"token\":1}",
                                      "{\"token\":\"a\\r\\nX: y\"}",
                                      "{\"token\":\"a b\"}",
                                      "{\"token\":\"\\u00e9\"}"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_true(fl_token_parse(fl_str_of(bad[i]), arena, &token, &life, &err) < 0);
}

static void logins_belong_to_their_registry(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_registry_logins l;
    struct fl_err err;
    /* "mara:se:cret" */
    assert_int_equal(
        fl_registry_logins_parse(FL_STR("dockercfg"),
                                 FL_STR("{\"https://index.docker.io/v1/\":{\"auth\":"
                                        "\"bWFyYTpzZTpjcmV0\",\"email\":\"x\"},"
                                        "\"r.example:5000\":{\"username\":\"u\",\"password\":"
                                        "\"p\"}}"),
                                 arena, &l, &err),
        0);
    const struct fl_registry_login *login = fl_registry_logins_find(&l, FL_STR("docker.io"));
    assert_true(login && fl_str_is(login->user, "mara") && fl_str_is(login->password, "se:cret"));
    assert_non_null(fl_registry_logins_find(&l, FL_STR("r.example:5000")));
    assert_null(fl_registry_logins_find(&l, FL_STR("r.example")));
    assert_int_equal(fl_registry_logins_parse(FL_STR("docker"),
                                              FL_STR("{\"auths\":{\"https://q.example\":{\"auth\":"
                                                     "\"YTpi\"}}}"),
                                              arena, &l, &err),
                     0);
    assert_true(fl_str_is(fl_registry_logins_find(&l, FL_STR("q.example"))->password, "b"));
    assert_true(fl_str_is(fl_basic_authorization(FL_STR("a"), FL_STR("b"), arena), "Basic YTpi"));
    static const char *const bad[] = {"", "[]", "{\"a\":{}}", "{\"a\":{\"auth\":\"secret!\"}}",
                                      "{\"a\":{\"auth\":\"c2VjcmV0\"}}"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        assert_true(fl_registry_logins_parse(FL_STR("docker"), fl_str_of(bad[i]), arena, &l, &err) <
                    0);
        assert_null(strstr(err.text, "secret"));
    }
    assert_true(fl_registry_logins_parse(FL_STR("other"), FL_STR("{}"), arena, &l, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_have_one_reading),
        cmocka_unit_test(every_spelling_of_this_machine_is_known),
        cmocka_unit_test(redirects_lead_where_they_may),
        cmocka_unit_test(ranges_are_what_was_asked_for),
        cmocka_unit_test(registries_are_configured),
        cmocka_unit_test(challenges_are_read),
        cmocka_unit_test(realms_are_asked_where_they_may_be),
        cmocka_unit_test(tokens_are_read),
        cmocka_unit_test(logins_belong_to_their_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
