/* Frames of the agent protocol. Method: what one end builds the other end reads; both error forms
 * are read; what is no envelope is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/acs.h"
#include "wire/json.h"

static struct fl_acs_message read_frame(const struct fl_buf *buf, struct fl_arena *arena)
{
    struct fl_acs_message message;
    struct fl_err err;
    assert_false(buf->overflow);
    assert_int_equal(fl_acs_decode(fl_buf_str(buf), arena, &message, &err), 0);
    return message;
}

static const struct fl_acs_header header = {
    .cluster_arn = {"arn:c", 5},
    .instance_arn = {"arn:i", 5},
    .message_id = {"m1", 2},
    .seq = (INT64_C(3) << 32) + 7,
    .generated_ms = 1700000000000,
};

static void a_payload_carries_tasks_and_sequence(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    struct fl_str tasks[] = {FL_STR("{\"arn\":\"t1\"}"), FL_STR("{\"arn\":\"t2\"}")};
    fl_acs_payload(&buf, &header, tasks, 2);
    struct fl_acs_message message = read_frame(&buf, arena);
    struct fl_acs_header read = fl_acs_read_header(&message);
    assert_int_equal(message.type, FL_ACS_PAYLOAD);
    assert_int_equal(read.seq, header.seq);
    assert_int_equal(fl_acs_seq_epoch(read.seq), 3);
    assert_true(fl_str_eq(read.cluster_arn, header.cluster_arn));
    assert_true(fl_str_eq(read.message_id, header.message_id));
    assert_int_equal(fl_json_items(fl_json_get(message.body, "tasks")), 2);
}

static void an_acknowledgement_names_its_message(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_ack(&buf, &header);
    struct fl_acs_message message = read_frame(&buf, arena);
    struct fl_acs_header read = fl_acs_read_header(&message);
    assert_int_equal(message.type, FL_ACS_ACK);
    assert_true(fl_str_eq(read.cluster_arn, header.cluster_arn));
    assert_true(fl_str_eq(read.instance_arn, header.instance_arn));
    assert_true(fl_str_eq(read.message_id, header.message_id));
}

static const struct fl_acs_credentials lent = {
    .id = {"id-1", 4},
    .role_arn = {"arn:r", 5},
    .access_key_id = {"ASIA1", 5},
    .secret = {"sec\"ret", 7},
    .session_token = {"token", 5},
    .expiration = {"soon", 4},
};

static void assert_lent(const struct fl_acs_credentials *found)
{
    assert_true(fl_str_eq(found->id, lent.id));
    assert_true(fl_str_eq(found->role_arn, lent.role_arn));
    assert_true(fl_str_eq(found->access_key_id, lent.access_key_id));
    assert_true(fl_str_eq(found->secret, lent.secret));
    assert_true(fl_str_eq(found->session_token, lent.session_token));
    assert_true(fl_str_eq(found->expiration, lent.expiration));
}

static void a_task_carries_credentials_of_its_roles(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_acs_credentials both[FL_ACS_ROLES] = {lent, lent};
    const struct fl_acs_credentials none[FL_ACS_ROLES] = {0};
    struct fl_acs_credentials found;
    struct fl_str plain = FL_STR("{\"arn\":\"t1\"}");
    struct fl_str with = fl_acs_with_credentials(arena, plain, both);
    const struct fl_json *json = fl_json_read(with, arena, NULL);
    assert_true(fl_str_is(fl_json_text(fl_json_get(json, "arn")), "t1"));
    for (size_t i = 0; i < FL_ACS_ROLES; i++) {
        assert_true(fl_acs_read_task_credentials(json, (enum fl_acs_role)i, &found));
        assert_lent(&found);
    }
    assert_true(fl_str_eq(fl_acs_with_credentials(arena, plain, none), plain));
    json = fl_json_read(plain, arena, NULL);
    assert_false(fl_acs_read_task_credentials(json, FL_ACS_ROLE_TASK, &found));
}

static void credentials_come_and_are_acknowledged(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    const struct fl_acs_task task = {.arn = FL_STR("t1"), .cluster_arn = FL_STR("c")};
    struct fl_acs_credentials found;
    enum fl_acs_role role;
    struct fl_str arn;
    fl_acs_credentials(&buf, FL_STR("m2"), &task, FL_ACS_ROLE_EXECUTION, &lent);
    struct fl_acs_message message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_CREDENTIALS);
    assert_true(fl_acs_read_credentials(&message, &arn, &role, &found));
    assert_true(fl_str_is(arn, "t1"));
    assert_int_equal(role, FL_ACS_ROLE_EXECUTION);
    assert_lent(&found);
    fl_buf_clear(&buf);
    fl_acs_credentials_ack(&buf, FL_STR("m2"), &lent);
    message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_CREDENTIALS_ACK);
    assert_true(fl_str_is(fl_acs_read_header(&message).message_id, "m2"));
    assert_false(fl_acs_read_credentials(&message, &arn, &role, &found));
}

static void heartbeats_go_both_ways(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_heartbeat(&buf, FL_STR("h1"));
    struct fl_acs_message message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_HEARTBEAT);
    fl_buf_clear(&buf);
    fl_acs_heartbeat_ack(&buf, fl_acs_read_header(&message).message_id);
    message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_HEARTBEAT_ACK);
    assert_true(fl_str_is(fl_acs_read_header(&message).message_id, "h1"));
}

static void check_list(const struct fl_buf *buf, enum fl_acs_type type)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_acs_task *tasks;
    size_t count;
    struct fl_err err;
    struct fl_acs_message message = read_frame(buf, arena);
    assert_int_equal(message.type, type);
    assert_int_equal(fl_acs_read_tasks(&message, arena, &tasks, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_true(fl_str_is(tasks[0].arn, "t1") && tasks[0].desired_running && tasks[0].is_running);
    assert_false(tasks[1].is_running);
    assert_true(fl_str_is(tasks[1].cluster_arn, "c") && !tasks[1].desired_running);
}

static void lists_of_tasks_are_read_from_all_three_messages(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    const struct fl_acs_task tasks[] = {
        {FL_STR("t1"), FL_STR("c"), true, true},
        {FL_STR("t2"), FL_STR("c"), false, false},
    };
    fl_acs_manifest(&buf, &header, tasks, 2);
    check_list(&buf, FL_ACS_TASK_MANIFEST);
    fl_buf_clear(&buf);
    fl_acs_stop_verification(&buf, FL_STR("m1"), tasks, 2);
    check_list(&buf, FL_ACS_STOP_VERIFICATION);
    fl_buf_clear(&buf);
    fl_acs_stop_verification_ack(&buf, FL_STR("m1"), 1, tasks, 2);
    check_list(&buf, FL_ACS_STOP_VERIFICATION_ACK);
}

static void errors_are_read_in_both_forms(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_error(&buf, "InactiveInstanceException", FL_STR("gone"));
    struct fl_acs_message message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_INACTIVE_INSTANCE);
    assert_true(fl_str_is(message.text, "gone"));
    fl_buf_clear(&buf);
    fl_buf_add_z(&buf, "{\"InvalidClusterException\":\"which\"}");
    message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_ERROR);
    assert_true(fl_str_is(message.type_name, "InvalidClusterException"));
    assert_true(fl_str_is(message.text, "which"));
}

static void what_is_no_envelope_is_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"type\":\"X\"",
                                        "{\"message\":{}}",
                                        "\"x\"",
                                        "{\"type\":3,\"message\":{}}",
                                        "{\"a\":\"b\",\"c\":\"d\"}"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++) {
        struct fl_acs_message message;
        struct fl_err err;
        assert_int_not_equal(fl_acs_decode(fl_str_of(texts[i]), arena, &message, &err), 0);
    }
}

static void an_unknown_type_is_other(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_buf_add_z(&buf, "{\"type\":\"NeverHeardOf\",\"message\":{}}");
    struct fl_acs_message message = read_frame(&buf, arena);
    assert_int_equal(message.type, FL_ACS_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payload_carries_tasks_and_sequence),
        cmocka_unit_test(an_acknowledgement_names_its_message),
        cmocka_unit_test(a_task_carries_credentials_of_its_roles),
        cmocka_unit_test(credentials_come_and_are_acknowledged),
        cmocka_unit_test(heartbeats_go_both_ways),
        cmocka_unit_test(lists_of_tasks_are_read_from_all_three_messages),
        cmocka_unit_test(errors_are_read_in_both_forms),
        cmocka_unit_test(what_is_no_envelope_is_refused),
        cmocka_unit_test(an_unknown_type_is_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
