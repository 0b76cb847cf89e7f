/* Registration, discovery, the websocket and reports against a control plane in this very process.
 * Method: a real HTTP server on a loopback port plays the control plane from a script (cluster
 * missing, errors, lost connections); what it was asked and what the session makes of it is
 * compared. Times are awaited as conditions, never slept for. */
#include "net/test_loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/reporter.h"
#include "agent/session.h"
#include "base/fs.h"
#include "base/log.h"
#include "net/aws_client.h"
#include "wire/acs.h"
#include "wire/json.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define INSTANCE "arn:aws:ecs:r:a:container-instance/default/i1"

struct plane {
    struct test_loop t;
    char dir[64];
    struct fl_http_client *http;
    struct fl_aws_client *aws;
    struct fl_session *session;
    struct fl_admitted admitted;
    struct fl_admission admission;
    char endpoint[64];
    struct fl_arena *arena;
    struct fl_ws *ws; /* the server's end */
    bool has_cluster;
    unsigned failures;            /* calls to be answered with 500 first */
    const char *join_refusals[2]; /* bodies; then joining succeeds */
    unsigned joined;
    char join_body[256];
    const char *dead_key; /* calls signed with it are refused */
    char signed_by[512];  /* Authorization of the last call */
    unsigned registered, discovered, upgraded, opened, reports;
    bool sent_instance; /* the last registration named the instance */
    bool sent_custom;
    unsigned messages; /* got by the session */
    char heard[256];   /* last frame of the session */
    char query[1024];  /* of the last upgrade */
    int64_t acked;
};

static void on_ws_message(void *context, FL_UNUSED struct fl_ws *ws, struct fl_str text)
{
    struct plane *plane = context;
    (void)snprintf(plane->heard, sizeof(plane->heard), "%.*s", FL_STR_ARG(text));
}

static void on_ws_closed(void *context, FL_UNUSED struct fl_ws *ws, FL_UNUSED uint16_t code,
                         FL_UNUSED unsigned status, FL_UNUSED struct fl_str text)
{
    struct plane *plane = context;
    plane->ws = NULL;
}

static void reply(struct fl_http_exchange *exchange, unsigned status, const char *body)
{
    fl_http_reply(exchange, status, NULL, 0, fl_str_of(body));
}

static bool has_attribute(const struct fl_json *request, const char *name)
{
    const struct fl_json *list = fl_json_get(request, "attributes");
    for (size_t i = 0; i < fl_json_items(list); i++)
        if (fl_str_is(fl_json_text(fl_json_get(fl_json_item(list, i), "name")), name))
            return true;
    return false;
}

static void on_register(struct plane *plane, struct fl_http_exchange *exchange)
{
    const struct fl_json *request = fl_json_read(exchange->body, exchange->arena, NULL);
    if (!plane->has_cluster) {
        reply(exchange, 400,
              "{\"__type\":\"ClusterNotFoundException\",\"message\":\"Cluster not found.\"}");
        return;
    }
    plane->registered++;
    plane->sent_instance = fl_json_get(request, "containerInstanceArn") != NULL;
    plane->sent_custom = has_attribute(request, "rack");
    assert_true(has_attribute(request, "fairlead.protocol"));
    assert_int_equal(fl_json_items(fl_json_get(request, "totalResources")), 4);
    reply(exchange, 200, "{\"containerInstance\":{\"containerInstanceArn\":\"" INSTANCE "\"}}");
}

static void on_discover(struct plane *plane, struct fl_http_exchange *exchange)
{
    char body[128];
    plane->discovered++;
    (void)snprintf(body, sizeof(body), "{\"endpoint\":\"http://127.0.0.1:%u/acs\"}",
                   fl_http_server_port(plane->t.server));
    reply(exchange, 200, body);
}

static void on_upgrade(struct plane *plane, struct fl_http_exchange *exchange)
{
    static const struct fl_ws_callbacks callbacks = {.message = on_ws_message,
                                                     .closed = on_ws_closed};
    plane->upgraded++;
    (void)snprintf(plane->query, sizeof(plane->query), "%.*s", FL_STR_ARG(exchange->query));
    assert_true(fl_http_header(exchange, "Authorization").n > 0);
    plane->ws = fl_http_upgrade(exchange, &callbacks, plane);
}

static void on_join(struct plane *plane, struct fl_http_exchange *exchange)
{
    (void)snprintf(plane->join_body, sizeof(plane->join_body), "%.*s", FL_STR_ARG(exchange->body));
    for (size_t i = 0; i < FL_ARRAY_SIZE(plane->join_refusals); i++) {
        if (!plane->join_refusals[i])
            continue;
        reply(exchange, 400, plane->join_refusals[i]);
        plane->join_refusals[i] = NULL;
        return;
    }
    plane->joined++;
    reply(exchange, 200,
          "{\"accessKeyId\":\"OWN1\",\"secretAccessKey\":\"s1\",\"certificates\":[\"" HASH "\"]}");
}

static void handle(void *context, struct fl_http_exchange *exchange)
{
    struct plane *plane = context;
    struct fl_str target = fl_http_header(exchange, "X-Amz-Target");
    (void)snprintf(plane->signed_by, sizeof(plane->signed_by), "%.*s",
                   FL_STR_ARG(fl_http_header(exchange, "Authorization")));
    if (plane->dead_key && strstr(plane->signed_by, plane->dead_key)) {
        reply(exchange, 400, "{\"__type\":\"UnrecognizedClientException\",\"message\":\"no\"}");
    } else if (fl_str_ends(target, FL_STR(".Join"))) {
        on_join(plane, exchange);
    } else if (plane->failures > 0) {
        plane->failures--;
        reply(exchange, 500, "{\"__type\":\"ServerException\",\"message\":\"later\"}");
    } else if (fl_str_is(exchange->path, "/acs/ws")) {
        on_upgrade(plane, exchange);
    } else if (fl_str_ends(target, FL_STR(".RegisterContainerInstance"))) {
        on_register(plane, exchange);
    } else if (fl_str_ends(target, FL_STR(".CreateCluster"))) {
        plane->has_cluster = true;
        reply(exchange, 200, "{}");
    } else if (fl_str_ends(target, FL_STR(".DiscoverPollEndpoint"))) {
        on_discover(plane, exchange);
    } else if (fl_str_ends(target, FL_STR(".SubmitTaskStateChange"))) {
        plane->reports++;
        reply(exchange, 200, "{\"acknowledgment\":\"x\"}");
    } else {
        reply(exchange, 404, "{}");
    }
}

static void on_discovered(FL_UNUSED void *context, FL_UNUSED struct fl_str telemetry_endpoint,
                          struct fl_str instance_arn)
{
    assert_true(instance_arn.n > 0);
}

static void on_opened(void *context)
{
    struct plane *plane = context;
    plane->opened++;
}

static void on_message(void *context, FL_UNUSED struct fl_str text)
{
    struct plane *plane = context;
    plane->messages++;
}

static struct plane *plane_new(void)
{
    struct plane *plane = fl_calloc(1, sizeof(*plane));
    struct fl_err err;
    plane->arena = fl_arena_new();
    fl_log_set_level(FL_LOG_ERROR);
    test_start(&plane->t, handle, plane);
    (void)snprintf(plane->dir, sizeof(plane->dir), "/tmp/fl-session-XXXXXX");
    assert_non_null(mkdtemp(plane->dir));
    (void)snprintf(plane->endpoint, sizeof(plane->endpoint), "http://127.0.0.1:%u",
                   fl_http_server_port(plane->t.server));
    const struct fl_aws_config config = {.endpoint = fl_str_of(plane->endpoint),
                                         .region = FL_STR("us-east-1"),
                                         .key = {FL_STR("AKID"), FL_STR("secret"), {0}}};
    assert_int_equal(fl_http_client_new(&plane->t.loop, &plane->http, &err), 0);
    plane->aws = fl_aws_client_new(plane->http, &config);
    plane->admitted.key = config.key;
    return plane;
}

static void session_start(struct plane *plane)
{
    static const struct fl_session_callbacks callbacks = {
        .discovered = on_discovered, .opened = on_opened, .message = on_message};
    static const struct fl_key_value capabilities[] = {{{"fairlead.protocol", 17}, {"1", 1}}};
    static const struct fl_key_value custom[] = {{{"rack", 4}, {"7", 1}}};
    static const struct fl_machine machine;
    struct fl_identity identity;
    struct fl_err err;
    assert_int_equal(
        fl_identity_open(fl_str_of(plane->dir), &machine, plane->arena, &identity, &err), 0);
    const struct fl_session_config config = {.loop = &plane->t.loop,
                                             .identity = identity,
                                             .aws = plane->aws,
                                             .http = plane->http,
                                             .server_url = fl_str_of(plane->endpoint),
                                             .admitted = &plane->admitted,
                                             .admission = plane->admission,
                                             .state_dir = fl_str_of(plane->dir),
                                             .cluster = FL_STR("default"),
                                             .describe = FL_STR("crun 1"),
                                             .capabilities = capabilities,
                                             .capability_count = 1,
                                             .custom = custom,
                                             .custom_count = 1,
                                             .cpu_units = 2048,
                                             .memory_mib = 1000};
    plane->session = fl_session_start(&config, &callbacks, plane);
}

static void plane_free(struct plane *plane)
{
    fl_http_client_free(plane->http);
    fl_session_close(plane->session);
    TEST_AWAIT(&plane->t, plane->ws == NULL);
    test_stop(&plane->t);
    fl_aws_client_free(plane->aws);
    fl_arena_free(plane->arena);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, plane->dir), 0);
    free(plane);
}

static void a_missing_cluster_is_made_and_the_host_registered(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    assert_int_equal(plane->registered, 1);
    assert_int_equal(plane->discovered, 1);
    assert_false(plane->sent_instance);
    assert_true(plane->sent_custom);
    assert_non_null(strstr(plane->query, "sendCredentials=true"));
    assert_non_null(strstr(plane->query, "containerInstanceArn=arn%3Aaws%3Aecs"));
    assert_non_null(strstr(plane->query, "protocolVersion=2"));
    plane_free(plane);
}

static void frames_go_both_ways(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    fl_ws_send(plane->ws, FL_STR("{\"type\":\"HeartbeatMessage\",\"message\":{}}"));
    TEST_AWAIT(&plane->t, plane->messages == 1);
    fl_session_send(plane->session, FL_STR("hello"));
    TEST_AWAIT(&plane->t, strcmp(plane->heard, "hello") == 0);
    plane_free(plane);
}

static void a_lost_connection_is_opened_again(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    fl_ws_close(plane->ws, 1000, FL_STR("ConnectionExpired: Reconnect to continue"));
    TEST_AWAIT(&plane->t, plane->opened == 2);
    assert_int_equal(plane->registered, 1);
    assert_non_null(strstr(plane->query, "sendCredentials=false"));
    plane_free(plane);
}

static void errors_are_outlived_and_a_refused_handshake_registers_again(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    plane->failures = 2;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    plane->failures = 1;
    fl_ws_close(plane->ws, 1000, FL_STR(""));
    TEST_AWAIT(&plane->t, plane->opened == 2);
    assert_int_equal(plane->registered, 2);
    assert_true(plane->sent_instance);
    plane_free(plane);
}

static void the_identity_outlives_the_agent(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    fl_session_close(plane->session);
    TEST_AWAIT(&plane->t, plane->ws == NULL);
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 2);
    assert_true(plane->sent_instance);
    assert_false(plane->sent_custom);
    plane_free(plane);
}

/* What the agent would find when it is started again. */
static struct fl_admitted kept(struct plane *plane)
{
    struct fl_admitted admitted;
    struct fl_err err;
    assert_int_equal(fl_admitted_read(fl_str_of(plane->dir), plane->arena, &admitted, &err), 0);
    return admitted;
}

static void a_host_joins_once_and_keeps_its_key(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    plane->admitted.key = (struct fl_credentials){0};
    plane->admission.token = FL_STR("id:secret");
    plane->join_refusals[0] = "{\"__type\":\"ServerException\",\"message\":\"later\"}";
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    assert_int_equal(plane->joined, 1);
    assert_non_null(strstr(plane->join_body, "\"cluster\":\"default\""));
    assert_non_null(strstr(plane->signed_by, "Credential=OWN1/"));
    struct fl_admitted admitted = kept(plane);
    assert_true(fl_str_is(admitted.key.access_key_id, "OWN1"));
    assert_string_equal(admitted.pins.hash[0], HASH);
    plane_free(plane);
}

static void a_server_that_knows_no_joining_is_joined_by_the_machines_key(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    plane->admission.machine_key = plane->admitted.key;
    plane->admitted.key = (struct fl_credentials){0};
    plane->join_refusals[0] = "{\"__type\":\"UnknownOperationException\",\"message\":\"what?\"}";
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    assert_int_equal(plane->joined, 0);
    assert_int_equal(kept(plane).key.secret.n, 0);
    plane_free(plane);
}

static void a_key_that_has_died_leads_to_a_new_instance(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    fl_session_close(plane->session);
    TEST_AWAIT(&plane->t, plane->ws == NULL);
    plane->dead_key = "AKID";
    plane->admission.token = FL_STR("id:secret");
    plane->join_refusals[0] = "{\"__type\":\"AccessDeniedException\",\"message\":\"The container "
                              "instance was deregistered.\"}";
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 2);
    assert_int_equal(plane->joined, 1);
    assert_false(plane->sent_instance);
    assert_true(fl_str_is(kept(plane).key.access_key_id, "OWN1"));
    plane_free(plane);
}

static void the_next_key_is_kept_and_used_at_once(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf frame = FL_BUF_INIT(4096);
    struct fl_acs_message message;
    struct fl_err err;
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    fl_acs_key(&frame, FL_STR("OWN2"), FL_STR("s2"));
    assert_int_equal(fl_acs_decode(fl_buf_str(&frame), plane->arena, &message, &err), 0);
    assert_int_equal(message.type, FL_ACS_KEY);
    fl_session_take_key(plane->session, message.body);
    assert_true(fl_str_is(kept(plane).key.access_key_id, "OWN2"));
    TEST_AWAIT(&plane->t, strstr(plane->signed_by, "Credential=OWN2/"));
    struct fl_str hash = FL_STR(HASH);
    fl_buf_clear(&frame);
    fl_acs_certificates(&frame, &hash, 1);
    assert_int_equal(fl_acs_decode(fl_buf_str(&frame), plane->arena, &message, &err), 0);
    fl_session_take_certificates(plane->session, message.body);
    assert_string_equal(kept(plane).pins.hash[0], HASH);
    plane_free(plane);
}

static void a_server_that_has_moved_is_found_under_its_advertised_name(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    plane->admitted.server = fl_str_of(plane->endpoint);
    fl_aws_client_set_endpoint(plane->aws, FL_STR("http://127.0.0.1:1"));
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    plane_free(plane);
}

static void tokens_and_ways_are_read(FL_UNUSED void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      ":",
                                      "a:",
                                      ":b",
                                      "a:b:",
                                      "a:b:c",
                                      "a::" HASH,
                                      ":b:" HASH,
                                      "a:b:" HASH ":d",
                                      "a:b:" HASH "0"};
    static const char *const safe[] = {"http://127.0.0.1:4566", "http://localhost",
                                       "http://[::1]:1", "http://api.fairlead.localhost:4566/x",
                                       "https://far.example"};
    static const char *const unsafe[] = {"http://192.0.2.1:4566",  "http://far.example",
                                         "http://[2001:db8::1]:1", "http://",
                                         "ftp://far.example",      "http://localhost.example"};
    struct fl_admission admission;
    struct fl_err err;
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_true(fl_admission_read(fl_str_of(bad[i]), &admission, &err) < 0);
    assert_int_equal(fl_admission_read(FL_STR("a:b:" HASH), &admission, &err), 0);
    assert_true(fl_str_is(admission.token, "a:b") && fl_str_is(admission.certificate, HASH));
    assert_int_equal(fl_admission_read(FL_STR("a:b"), &admission, &err), 0);
    assert_true(fl_str_is(admission.machine_key.secret, "b") && admission.token.n == 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(safe); i++)
        assert_true(fl_admission_is_safe(fl_str_of(safe[i])));
    for (size_t i = 0; i < FL_ARRAY_SIZE(unsafe); i++)
        assert_false(fl_admission_is_safe(fl_str_of(unsafe[i])));
}

static void on_acked(void *context, FL_UNUSED struct fl_str task_arn, int64_t seq)
{
    struct plane *plane = context;
    plane->acked += seq;
}

static void reports_are_repeated_until_taken(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->has_cluster = true;
    session_start(plane);
    TEST_AWAIT(&plane->t, plane->opened == 1);
    struct fl_reporter *reporter = fl_reporter_new(&plane->t.loop, plane->aws, on_acked, plane);
    plane->failures = 1;
    fl_reporter_send(reporter, FL_STR("t1"), 5, FL_STR("{\"task\":\"t1\"}"));
    TEST_AWAIT(&plane->t, plane->failures == 0);
    fl_reporter_hurry(reporter);
    TEST_AWAIT(&plane->t, plane->acked == 5);
    for (int i = 0; i < 3 * FL_REPORTER_PARALLEL; i++)
        fl_reporter_send(reporter, FL_STR("t2"), 1, FL_STR("{\"task\":\"t2\"}"));
    TEST_AWAIT(&plane->t, plane->acked == 5 + 3 * FL_REPORTER_PARALLEL);
    assert_int_equal(plane->reports, 1 + 3 * FL_REPORTER_PARALLEL);
    fl_reporter_free(reporter);
    plane_free(plane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_cluster_is_made_and_the_host_registered),
        cmocka_unit_test(frames_go_both_ways),
        cmocka_unit_test(a_lost_connection_is_opened_again),
        cmocka_unit_test(errors_are_outlived_and_a_refused_handshake_registers_again),
        cmocka_unit_test(the_identity_outlives_the_agent),
        cmocka_unit_test(reports_are_repeated_until_taken),
        cmocka_unit_test(a_host_joins_once_and_keeps_its_key),
        cmocka_unit_test(a_server_that_knows_no_joining_is_joined_by_the_machines_key),
        cmocka_unit_test(a_key_that_has_died_leads_to_a_new_instance),
        cmocka_unit_test(the_next_key_is_kept_and_used_at_once),
        cmocka_unit_test(a_server_that_has_moved_is_found_under_its_advertised_name),
        cmocka_unit_test(tokens_and_ways_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
