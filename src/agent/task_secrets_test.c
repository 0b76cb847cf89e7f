/* What a task's secrets are asked for with, and what is made of the answers. Method: questions of
 * made-up tasks are looked at as the services would see them; answers, also impossible ones, are
 * given to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/task_secrets_ask.h"

#define ARN "arn:aws:secretsmanager:r:1:secret:"

struct asked {
    struct fl_arena *arena;
    struct fl_secret_item *items;
    size_t item_count;
    struct fl_secret_question *questions;
    size_t question_count;
};

static struct fl_secret_spec asm_secret(const char *value_from)
{
    return (struct fl_secret_spec){.name = FL_STR("A"),
                                   .value_from = fl_str_of(value_from),
                                   .region = FL_STR("r"),
                                   .provider = FL_SECRET_ASM};
}

static struct fl_secret_spec parameter(struct fl_str name)
{
    return (struct fl_secret_spec){
        .name = FL_STR("P"), .value_from = name, .region = FL_STR("r"), .provider = FL_SECRET_SSM};
}

static struct asked ask(struct fl_secret_spec *secrets, size_t count, const char *login)
{
    struct fl_container_spec containers[2] = {{.secrets = secrets, .secret_count = count},
                                              {.secrets = secrets,
                                               .secret_count = count,
                                               .registry_secret = fl_str_of(login),
                                               .registry_secret_region = FL_STR("r")}};
    const struct fl_task_spec task = {.containers = containers, .container_count = 2};
    struct asked asked = {.arena = fl_arena_new()};
    asked.items = fl_secret_items(&task, asked.arena, &asked.item_count);
    asked.questions =
        fl_secret_questions(asked.items, asked.item_count, asked.arena, &asked.question_count);
    return asked;
}

static struct fl_secret_answer take(struct asked *asked, size_t question, unsigned status,
                                    const char *body)
{
    struct fl_secret_answer answer;
    const struct fl_http_response response = {.status = status, .body = fl_str_of(body)};
    fl_secret_take(&asked->questions[question], &response, asked->arena, asked->arena, &answer);
    return answer;
}

static void a_secret_is_asked_for_once(void **state)
{
    struct fl_secret_spec secrets[] = {asm_secret(ARN "a"), asm_secret(ARN "a:x::"),
                                       asm_secret(ARN "a:y::"), asm_secret(ARN "a::OLD:"),
                                       asm_secret(ARN "b:::v1")};
    (void)state;
    struct asked asked = ask(secrets, FL_ARRAY_SIZE(secrets), ARN "a");
    assert_int_equal(asked.item_count, 6); /* both containers', and the login */
    assert_int_equal(asked.question_count, 3);
    assert_true(fl_str_is(asked.questions[0].body, "{\"SecretId\":\"" ARN "a\"}"));
    assert_true(
        fl_str_is(asked.questions[1].body, "{\"SecretId\":\"" ARN "a\",\"VersionStage\":\"OLD\"}"));
    assert_true(
        fl_str_is(asked.questions[2].body, "{\"SecretId\":\"" ARN "b\",\"VersionId\":\"v1\"}"));
    struct fl_secret_answer answer =
        take(&asked, 0, 200,
             "{\"SecretString\":\"{\\\"x\\\":\\\"1\\\",\\\"y\\\":2,\\\"username\\\":\\\"u\\\","
             "\\\"password\\\":\\\"p\\\"}\"}");
    assert_int_equal(answer.error.n, 0);
    assert_true(fl_str_is(asked.items[1].value, "1") && fl_str_is(asked.items[2].value, "2"));
    assert_true(asked.items[5].is_login && asked.items[5].value.n > 0);
    fl_arena_free(asked.arena);
}

static void parameters_are_asked_for_by_ten(void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_secret_spec secrets[25];
    (void)state;
    for (int i = 0; i < 25; i++)
        secrets[i] = parameter(fl_str_printf(arena, "/p/%d", i));
    secrets[24].region = FL_STR("elsewhere");
    struct asked asked = ask(secrets, 25, "");
    assert_int_equal(asked.question_count, 4);
    assert_int_equal(asked.questions[0].item_count, 10);
    assert_int_equal(asked.questions[2].item_count, 4);
    assert_int_equal(asked.questions[3].item_count, 1);
    assert_true(
        fl_str_is(asked.questions[3].body, "{\"Names\":[\"/p/24\"],\"WithDecryption\":true}"));
    fl_arena_free(asked.arena);
}

static void a_parameter_is_known_by_both_names(void **state)
{
    struct fl_secret_spec secrets[] = {parameter(FL_STR("/a")),
                                       parameter(FL_STR("arn:aws:ssm:r:1:parameter/b")),
                                       parameter(FL_STR("/c"))};
    static const char body[] =
        "{\"Parameters\":[{\"Name\":\"/b\",\"ARN\":\"arn:aws:ssm:r:1:parameter/b\",\"Value\":"
        "\"2\"},{\"Name\":\"/a\",\"Value\":\"1\"}],\"InvalidParameters\":[\"/c\"]}";
    (void)state;
    struct asked asked = ask(secrets, 3, "");
    struct fl_secret_answer answer = take(&asked, 0, 200, body);
    assert_true(fl_str_is(asked.items[0].value, "1") && fl_str_is(asked.items[1].value, "2"));
    assert_true(fl_str_is(answer.error, "Fetching secret data from SSM Parameter Store in r: "
                                        "invalid parameters: /c"));
    assert_false(answer.may_come_later);
    fl_arena_free(asked.arena);
}

static void answers_are_final_or_not(void **state)
{
    static const struct {
        unsigned status;
        const char *body, *says;
        bool later;
    } rows[] = {
        {400, "{\"__type\":\"ResourceNotFoundException\",\"Message\":\"no\"}",
         "ResourceNotFoundException: no", false},
        {400, "{\"__type\":\"AccessDeniedException\",\"Message\":\"no\"}", "AccessDenied", false},
        {400, "{\"__type\":\"ThrottlingException\"}", "ThrottlingException", true},
        {400, "{\"__type\":\"ExpiredTokenException\"}", "ExpiredTokenException", true},
        {500, "", "HTTP status 500", true},
        {429, "", "HTTP status 429", true},
        {404, "", "HTTP status 404", false},
        {0, "cannot connect", "no answer: cannot connect", true},
        {200, "no JSON", "not understood", false},
        {200, "[]", "not understood", false},
        {200, "{}", "no SecretString", false},
        {200, "{\"SecretString\":{}}", "no SecretString", false},
    };
    struct fl_secret_spec secrets[] = {asm_secret(ARN "a")};
    (void)state;
    struct asked asked = ask(secrets, 1, "");
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_secret_answer answer = take(&asked, 0, rows[i].status, rows[i].body);
        assert_true(fl_str_starts(answer.error,
                                  FL_STR("Fetching secret data from AWS Secrets Manager in region "
                                         "r: secret " ARN "a: ")));
        assert_true(fl_str_contains(answer.error, fl_str_of(rows[i].says)));
        assert_int_equal(answer.may_come_later, rows[i].later);
        assert_int_equal(answer.has_answered, rows[i].status != 0);
        assert_int_equal(asked.items[0].value.n, 0);
    }
    fl_arena_free(asked.arena);
}

static void a_mistake_is_said_before_anything_is_asked(void **state)
{
    struct fl_secret_spec secrets[] = {asm_secret(ARN "a"), asm_secret(ARN "a:key")};
    (void)state;
    struct asked asked = ask(secrets, 1, "");
    assert_int_equal(fl_secret_mistake(asked.items, asked.item_count, asked.arena).n, 0);
    fl_arena_free(asked.arena);
    asked = ask(secrets, 2, "");
    struct fl_str mistake = fl_secret_mistake(asked.items, asked.item_count, asked.arena);
    assert_true(fl_str_contains(mistake, FL_STR("secret " ARN "a:key: an invalid ARN format")));
    fl_arena_free(asked.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_asked_for_once),
        cmocka_unit_test(parameters_are_asked_for_by_ten),
        cmocka_unit_test(a_parameter_is_known_by_both_names),
        cmocka_unit_test(answers_are_final_or_not),
        cmocka_unit_test(a_mistake_is_said_before_anything_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
