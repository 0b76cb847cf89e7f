/* Signatures: those of AWS's published test suite and of botocore must verify and be reproduced,
 * and everything that is altered, late, early, doubled, left unsigned or ill-scoped must be
 * refused. Method: known requests as constants; each refusal changes one thing in a request that
 * verifies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/sigv4.h"

#define KEY_ID "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SUITE_DATE "20150830T123600Z"
#define SUITE_MS INT64_C(1440938160000)
#define BOTO_DATE "20261120T100000Z"
#define BOTO_MS INT64_C(1795168800000)
#define TOKEN "FwoGZXIvYXdzEXAMPLE//token+=="

enum { MAX_HEADERS = 12 };

/* A request that a test may change before it is verified. */
struct fixture {
    struct fl_arena *arena;
    struct fl_sigv4_cache *cache;
    struct fl_header headers[MAX_HEADERS];
    struct fl_sigv4_request request;
    struct fl_credentials key;
    int64_t now_ms;
    struct fl_sigv4_result result;
};

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    f->arena = fl_arena_new();
    f->cache = fl_sigv4_cache_new();
    f->key = (struct fl_credentials){FL_STR(KEY_ID), FL_STR(SECRET), {NULL, 0}};
    f->request =
        (struct fl_sigv4_request){FL_STR("GET"), FL_STR("/"), {"", 0}, f->headers, 0, {"", 0}};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fl_sigv4_cache_free(f->cache);
    fl_arena_free(f->arena);
    free(f);
    return 0;
}

static void reset(struct fixture *f)
{
    f->request =
        (struct fl_sigv4_request){FL_STR("GET"), FL_STR("/"), {"", 0}, f->headers, 0, {"", 0}};
    f->key.session_token = (struct fl_str){NULL, 0};
}

static void add(struct fixture *f, const char *name, const char *value)
{
    assert_true(f->request.header_count < MAX_HEADERS);
    f->headers[f->request.header_count++] = (struct fl_header){fl_str_of(name), fl_str_of(value)};
}

static struct fl_header *header(struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->request.header_count; i++) {
        if (fl_str_case_eq(f->headers[i].name, fl_str_of(name)))
            return &f->headers[i];
    }
    fail_msg("no header %s", name);
    return NULL;
}

static bool lookup(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key)
{
    const struct fixture *f = context;
    if (!fl_str_eq(access_key_id, f->key.access_key_id))
        return false;
    *ret_key = f->key;
    return true;
}

static enum fl_sigv4_status verify(struct fixture *f)
{
    f->result =
        fl_sigv4_verify(&f->request, FL_STR("us-east-1"), f->now_ms, f->cache, lookup, f, f->arena);
    return f->result.status;
}

static void assert_text(const struct fixture *f, const char *text)
{
    assert_string_equal(fl_str_z(f->arena, f->result.text), text);
}

static void suite_request(struct fixture *f, const char *path, const char *query)
{
    reset(f);
    f->now_ms = SUITE_MS;
    f->request.path = fl_str_of(path);
    f->request.query = fl_str_of(query);
    add(f, "Host", "example.amazonaws.com");
    add(f, "X-Amz-Date", SUITE_DATE);
}

static void authorize(struct fixture *f, const char *scope, const char *names, const char *mac)
{
    struct fl_str value =
        fl_str_printf(f->arena, "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s",
                      scope, names, mac);
    add(f, "Authorization", value.p);
}

#define SUITE_SCOPE KEY_ID "/20150830/us-east-1/service/aws4_request"
#define BOTO_SCOPE KEY_ID "/20261120/us-east-1/"

static void the_published_suite_verifies(void **state)
{
    static const struct {
        const char *method, *path, *query, *mac;
    } cases[] = {
        {"GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"GET", "/example/..", "",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"GET", "//", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"GET", "/", "Param2=value2&Param1=value1",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        suite_request(f, cases[i].path, cases[i].query);
        f->request.method = fl_str_of(cases[i].method);
        authorize(f, SUITE_SCOPE, "host;x-amz-date", cases[i].mac);
        assert_int_equal(verify(f), FL_SIGV4_OK);
        assert_true(fl_str_is(f->result.access_key_id, KEY_ID));
        assert_true(fl_str_is(f->result.region, "us-east-1"));
        assert_true(fl_str_is(f->result.service, "service"));
    }
}

static void header_values_are_trimmed_and_blanks_collapsed(void **state)
{
    struct fixture *f = *state;
    suite_request(f, "/", "");
    add(f, "My-Header1", " value1");
    add(f, "My-Header2", " \"a   b   c\"");
    authorize(f, SUITE_SCOPE, "host;my-header1;my-header2;x-amz-date",
              "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
    assert_int_equal(verify(f), FL_SIGV4_OK);
}

static void the_documented_iam_example_verifies(void **state)
{
    struct fixture *f = *state;
    reset(f);
    f->now_ms = SUITE_MS;
    f->request.query = FL_STR("Action=ListUsers&Version=2010-05-08");
    add(f, "Host", "iam.amazonaws.com");
    add(f, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    add(f, "X-Amz-Date", SUITE_DATE);
    authorize(f, KEY_ID "/20150830/us-east-1/iam/aws4_request", "content-type;host;x-amz-date",
              "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    assert_int_equal(verify(f), FL_SIGV4_OK);
}

/* botocore 1.44.5: ecs.run_task, without X-Amz-Content-Sha256. */
static void boto_run_task(struct fixture *f)
{
    reset(f);
    f->now_ms = BOTO_MS;
    f->request.method = FL_STR("POST");
    f->request.body = FL_STR(
        "{\"cluster\": \"default\", \"taskDefinition\": \"web:1\", \"clientToken\": \"t-1\"}");
    add(f, "Host", "127.0.0.1:4566");
    add(f, "X-Amz-Target", "AmazonEC2ContainerServiceV20141113.RunTask");
    add(f, "Content-Type", "application/x-amz-json-1.1");
    add(f, "User-Agent", "Botocore/1.44.5");
    add(f, "X-Amz-Date", BOTO_DATE);
    authorize(f, BOTO_SCOPE "ecs/aws4_request", "content-type;host;x-amz-date;x-amz-target",
              "7664c2aab90ae16ea49ab173cd0c492c545299db2c159b0804e6ea70a2cf322b");
}

static void boto_with_token(struct fixture *f)
{
    reset(f);
    f->now_ms = BOTO_MS;
    f->key.session_token = FL_STR(TOKEN);
    f->request.method = FL_STR("POST");
    f->request.body = FL_STR("{}");
    add(f, "Host", "127.0.0.1:4566");
    add(f, "X-Amz-Target", "AmazonEC2ContainerServiceV20141113.ListClusters");
    add(f, "Content-Type", "application/x-amz-json-1.1");
    add(f, "X-Amz-Date", BOTO_DATE);
    add(f, "X-Amz-Security-Token", TOKEN);
    authorize(f, BOTO_SCOPE "ecs/aws4_request",
              "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
              "d88bb09a892991852331f7fccbbd2479e92e81a4d1fb68f45770d9ec84f687fb");
}

static void boto_get(struct fixture *f, const char *path, const char *query, const char *service,
                     const char *mac)
{
    reset(f);
    f->now_ms = BOTO_MS;
    f->request.path = fl_str_of(path);
    f->request.query = fl_str_of(query);
    add(f, "Host", "127.0.0.1:4566");
    add(f, "X-Amz-Date", BOTO_DATE);
    authorize(f, fl_str_printf(f->arena, BOTO_SCOPE "%s/aws4_request", service).p,
              "host;x-amz-date", mac);
}

static void what_botocore_signs_verifies(void **state)
{
    struct fixture *f = *state;
    boto_run_task(f);
    assert_int_equal(verify(f), FL_SIGV4_OK);
    assert_int_equal(verify(f), FL_SIGV4_OK); /* now from the cache */
    boto_with_token(f);
    assert_int_equal(verify(f), FL_SIGV4_OK);
    boto_get(f, "/tags/arn%3Aaws%3Ascheduler%3Aus-east-1%3A000000000000%3Aschedule-group%2Fa%20b",
             "", "scheduler", "e50042a3d360ae3e1a049b9e6104a194e56e5b090b52100b23457ee0e19507b7");
    assert_int_equal(verify(f), FL_SIGV4_OK);
    boto_get(f, "/2015-02-01/tags/fs-12345678/", "Marker=a%20b%2B%2F%3D%26%C3%BC&MaxItems=5",
             "elasticfilesystem",
             "dbfe8d8573dba2bde258c6fe1bbb0811275f929d714375343cc6cefde7969957");
    assert_int_equal(verify(f), FL_SIGV4_OK);
}

/* Our own signer: a request with everything in it. */
static void own_request(struct fixture *f)
{
    struct fl_header made[FL_SIGV4_SIGNED_HEADERS];
    reset(f);
    f->now_ms = BOTO_MS;
    f->key.session_token = FL_STR(TOKEN);
    f->request.method = FL_STR("POST");
    f->request.path = FL_STR("/v1/a%20b//c/");
    f->request.query = FL_STR("b=2&a=1&a=0&empty=&lone&odd=/:");
    f->request.body = FL_STR("{\"x\":1}");
    add(f, "Host", "localhost:4566");
    add(f, "X-Amz-Target", "T.Op");
    size_t n = fl_sigv4_sign(&f->request, &f->key, FL_STR("us-east-1"), FL_STR("ecs"), BOTO_MS,
                             f->arena, made);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++)
        add(f, made[i].name.p, made[i].value.p);
    assert_int_equal(verify(f), FL_SIGV4_OK);
}

static void what_we_sign_verifies(void **state)
{
    own_request(*state);
}

static void our_signature_is_the_published_one(void **state)
{
    struct fixture *f = *state;
    struct fl_header made[FL_SIGV4_SIGNED_HEADERS];
    struct fl_header host = {FL_STR("Host"), FL_STR("example.amazonaws.com")};
    f->request.headers = &host;
    f->request.header_count = 1;
    assert_int_equal(fl_sigv4_sign(&f->request, &f->key, FL_STR("us-east-1"), FL_STR("service"),
                                   SUITE_MS, f->arena, made),
                     3);
    /* The suite does not sign X-Amz-Content-Sha256, we do: everything but the end is the same. */
    assert_true(
        fl_str_starts(made[0].value, FL_STR("AWS4-HMAC-SHA256 Credential=" SUITE_SCOPE
                                            ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
                                            "Signature=")));
    assert_true(fl_str_is(made[1].value, SUITE_DATE));
    assert_true(fl_str_is(made[2].value,
                          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
}

static void the_clock_may_differ_by_five_minutes(void **state)
{
    struct fixture *f = *state;
    boto_run_task(f);
    const int64_t skew_ms = 300000;
    f->now_ms = BOTO_MS + skew_ms;
    assert_int_equal(verify(f), FL_SIGV4_OK);
    f->now_ms = BOTO_MS - skew_ms;
    assert_int_equal(verify(f), FL_SIGV4_OK);
    f->now_ms = BOTO_MS + skew_ms + 1000;
    assert_int_equal(verify(f), FL_SIGV4_EXPIRED);
    assert_text(f, "Signature expired: 20261120T100000Z is now earlier than 20261120T100001Z "
                   "(20261120T100501Z - 5 min.)");
    f->now_ms = BOTO_MS - skew_ms - 1000;
    assert_int_equal(verify(f), FL_SIGV4_EXPIRED);
    assert_text(f, "Signature not yet current: 20261120T100000Z is still later than "
                   "20261120T095959Z (20261120T095459Z + 5 min.)");
}

static void what_is_altered_is_refused(void **state)
{
    struct fixture *f = *state;
    own_request(f);
    f->request.body = FL_STR("{\"x\":2}");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    own_request(f);
    f->request.path = FL_STR("/v1/a%20b/d/");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    own_request(f);
    f->request.query = FL_STR("b=2&a=1&a=0&empty=&lone&odd=/;");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    own_request(f);
    f->request.method = FL_STR("PUT");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    own_request(f);
    header(f, "X-Amz-Target")->value = FL_STR("T.Other");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    assert_text(f, "The request signature we calculated does not match the signature you provided. "
                   "Check your AWS Secret Access Key and signing method. Consult the service "
                   "documentation for details.");
    own_request(f);
    f->key.secret = FL_STR("another");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    boto_run_task(f); /* no claimed hash: the body itself counts */
    f->request.body = FL_STR("{}");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
}

static void unsigned_and_streaming_bodies_are_refused(void **state)
{
    struct fixture *f = *state;
    own_request(f);
    header(f, "X-Amz-Content-Sha256")->value = FL_STR("UNSIGNED-PAYLOAD");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    header(f, "X-Amz-Content-Sha256")->value = FL_STR("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
}

static void a_signed_header_given_twice_is_refused(void **state)
{
    struct fixture *f = *state;
    boto_run_task(f);
    add(f, "x-amz-target", "AmazonEC2ContainerServiceV20141113.RunTask");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    boto_run_task(f);
    f->headers[f->request.header_count] = *header(f, "Authorization");
    f->request.header_count++;
    assert_int_equal(verify(f), FL_SIGV4_INCOMPLETE);
}

/* A request signed without one header, then sent with it. */
static void signed_without(struct fixture *f, const char *left_out)
{
    struct fl_header made[FL_SIGV4_SIGNED_HEADERS];
    reset(f);
    f->now_ms = BOTO_MS;
    f->request.method = FL_STR("POST");
    if (strcmp(left_out, "Host") != 0)
        add(f, "Host", "localhost:4566");
    size_t n = fl_sigv4_sign(&f->request, &f->key, FL_STR("us-east-1"), FL_STR("ecs"), BOTO_MS,
                             f->arena, made);
    for (size_t i = 0; i < n; i++)
        add(f, made[i].name.p, made[i].value.p);
    add(f, left_out, TOKEN);
}

static void what_must_be_signed_is(void **state)
{
    struct fixture *f = *state;
    signed_without(f, "Host");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    assert_text(f, "'Host' must be a 'SignedHeader' in the AWS Authorization.");
    signed_without(f, "X-Amz-Target");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    assert_text(f, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.");
    signed_without(f, "X-Amz-Security-Token");
    f->key.session_token = FL_STR(TOKEN);
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    signed_without(f, "User-Agent");
    assert_int_equal(verify(f), FL_SIGV4_OK);

    suite_request(f, "/", "");
    authorize(f, SUITE_SCOPE, "host", "00");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    assert_text(f, "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.");
}

static void odd_lists_of_signed_headers_are_refused(void **state)
{
    static const char *const lists[] = {"x-amz-date;host", "host;host;x-amz-date",
                                        "Host;X-Amz-Date", "host;not-there;x-amz-date", ";"};
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(lists); i++) {
        suite_request(f, "/", "");
        authorize(f, SUITE_SCOPE, lists[i],
                  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    }
}

static enum fl_sigv4_status with_scope(struct fixture *f, const char *scope)
{
    suite_request(f, "/", "");
    authorize(f, scope, "host;x-amz-date",
              "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    return verify(f);
}

static void the_scope_must_fit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(with_scope(f, SUITE_SCOPE), FL_SIGV4_OK);
    assert_int_equal(with_scope(f, KEY_ID "/20150830/eu-west-1/service/aws4_request"),
                     FL_SIGV4_WRONG_SCOPE);
    assert_text(f, "Credential should be scoped to region 'us-east-1', which this server runs as, "
                   "not 'eu-west-1': use that region or start fairlead with --region eu-west-1.");
    assert_int_equal(with_scope(f, KEY_ID "/20150829/us-east-1/service/aws4_request"),
                     FL_SIGV4_WRONG_SCOPE);
    assert_text(f, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
                   "from HTTP: '20150829' != '20150830', from '20150830T123600Z'.");
    assert_int_equal(with_scope(f, KEY_ID "/20150830/us-east-1/service/aws5_request"),
                     FL_SIGV4_WRONG_SCOPE);
    assert_int_equal(with_scope(f, KEY_ID "/20150830/us-east-1//aws4_request"),
                     FL_SIGV4_WRONG_SCOPE);
    assert_int_equal(with_scope(f, KEY_ID "/20150830/us-east-1/ecs/aws4_request"),
                     FL_SIGV4_MISMATCH);
    assert_int_equal(with_scope(f, KEY_ID "/20150830/us-east-1/aws4_request"), FL_SIGV4_INCOMPLETE);
    assert_int_equal(with_scope(f, KEY_ID "/20150830/us-east-1/service/aws4_request/x"),
                     FL_SIGV4_INCOMPLETE);
    assert_int_equal(with_scope(f, "AKIDOTHER/20150830/us-east-1/service/aws4_request"),
                     FL_SIGV4_UNKNOWN_KEY);
    assert_text(f, "The security token included in the request is invalid.");
}

static void the_session_token_belongs_to_the_key(void **state)
{
    struct fixture *f = *state;
    boto_with_token(f);
    header(f, "X-Amz-Security-Token")->value = FL_STR("FwoGZXIvYXdzEXAMPLE//token+=!");
    assert_int_equal(verify(f), FL_SIGV4_UNKNOWN_KEY);
    boto_with_token(f);
    header(f, "X-Amz-Security-Token")->name = FL_STR("X-Other");
    assert_int_equal(verify(f), FL_SIGV4_UNKNOWN_KEY);
    boto_with_token(f);
    f->key.session_token = (struct fl_str){NULL, 0};
    assert_int_equal(verify(f), FL_SIGV4_UNKNOWN_KEY);
    boto_run_task(f);
    f->key.session_token = FL_STR(TOKEN);
    assert_int_equal(verify(f), FL_SIGV4_UNKNOWN_KEY);
}

static void unsigned_and_incomplete_requests_say_what_lacks(void **state)
{
    struct fixture *f = *state;
    suite_request(f, "/", "");
    assert_int_equal(verify(f), FL_SIGV4_MISSING);
    assert_text(f, "Missing Authentication Token");
    add(f, "Authorization", "Basic QVdTOng=");
    assert_int_equal(verify(f), FL_SIGV4_MISSING);
    header(f, "Authorization")->value = FL_STR("AWS4-HMAC-SHA256 Signature=00");
    assert_int_equal(verify(f), FL_SIGV4_INCOMPLETE);
    assert_text(f, "Authorization header requires 'Credential' parameter. Authorization header "
                   "requires 'SignedHeaders' parameter.");
    header(f, "Authorization")->value =
        FL_STR("AWS4-HMAC-SHA256 Signature=00,Signature=01,Credential=a,SignedHeaders=b");
    assert_int_equal(verify(f), FL_SIGV4_INCOMPLETE);
    header(f, "Authorization")->value =
        FL_STR("AWS4-HMAC-SHA256 Credential=" SUITE_SCOPE ",SignedHeaders=host,Signature=00");
    header(f, "X-Amz-Date")->name = FL_STR("Date");
    assert_int_equal(verify(f), FL_SIGV4_INCOMPLETE);
    assert_text(f, "Authorization header requires existence of a 'X-Amz-Date' header.");
}

static void dates_that_are_none_are_refused(void **state)
{
    static const char *const dates[] = {"20150230T123600Z",  "20150830T243600Z", "20150830123600",
                                        "2015-08-30T12:36Z", "20150830T1236 0Z", "x"};
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(dates); i++) {
        suite_request(f, "/", "");
        header(f, "X-Amz-Date")->value = fl_str_of(dates[i]);
        authorize(f, SUITE_SCOPE, "host;x-amz-date", "00");
        assert_int_equal(verify(f), FL_SIGV4_INCOMPLETE);
    }
}

static void a_rotated_secret_is_not_served_from_the_cache(void **state)
{
    struct fixture *f = *state;
    own_request(f);
    f->key.secret = FL_STR("rotated");
    assert_int_equal(verify(f), FL_SIGV4_MISMATCH);
    f->key.secret = FL_STR(SECRET);
    assert_int_equal(verify(f), FL_SIGV4_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_published_suite_verifies),
        CASE(header_values_are_trimmed_and_blanks_collapsed),
        CASE(the_documented_iam_example_verifies),
        CASE(what_botocore_signs_verifies),
        CASE(what_we_sign_verifies),
        CASE(our_signature_is_the_published_one),
        CASE(the_clock_may_differ_by_five_minutes),
        CASE(what_is_altered_is_refused),
        CASE(unsigned_and_streaming_bodies_are_refused),
        CASE(a_signed_header_given_twice_is_refused),
        CASE(what_must_be_signed_is),
        CASE(odd_lists_of_signed_headers_are_refused),
        CASE(the_scope_must_fit),
        CASE(the_session_token_belongs_to_the_key),
        CASE(unsigned_and_incomplete_requests_say_what_lacks),
        CASE(dates_that_are_none_are_refused),
        CASE(a_rotated_secret_is_not_served_from_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
