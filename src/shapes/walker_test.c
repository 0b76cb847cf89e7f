/* The walker over real shapes: what goes in comes out, what is wrong is named with its path.
 * Method: JSON texts against the tables of api/ecs.api, api/logs.api and api/records.api. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/id.h"
#include "shapes/ecs_shapes.h"
#include "shapes/logs_shapes.h"
#include "shapes/rec_shapes.h"

/* Members in the table's order, so that encoding gives the same bytes. */
static const char REGISTER[] =
    "{\"family\":\"web\",\"taskRoleArn\":\"arn:aws:iam::1:role/r\",\"networkMode\":\"awsvpc\","
    "\"containerDefinitions\":[{\"name\":\"app\",\"image\":\"nginx:1\",\"cpu\":10,\"memory\":128,"
    "\"links\":[],\"portMappings\":[{\"containerPort\":80,\"hostPort\":0,\"protocol\":\"tcp\"},"
    "{\"containerPort\":443}],\"essential\":true,\"entryPoint\":[\"sh\",\"-c\"],"
    "\"command\":[\"echo \\\"\\u00e4\\\"\"],\"environment\":[{\"name\":\"A\",\"value\":\"\"}],"
    "\"linuxParameters\":{\"capabilities\":{\"add\":[\"NET_ADMIN\"]},\"initProcessEnabled\":false},"
    "\"dependsOn\":[{\"containerName\":\"x\",\"condition\":\"HEALTHY\"}],"
    "\"dockerLabels\":{\"b\":\"2\",\"a\":\"1\"},\"logConfiguration\":{\"logDriver\":\"json-file\","
    "\"options\":{\"max-size\":\"1m\"}}},{\"name\":\"side\",\"image\":\"busybox\"}],"
    "\"volumes\":[{\"name\":\"v\",\"host\":{\"sourcePath\":\"/srv\"}}],"
    "\"requiresCompatibilities\":[\"EC2\",\"FARGATE\"],\"cpu\":\"256\",\"memory\":\"512\","
    "\"tags\":[{\"key\":\"k\",\"value\":\"v\"}]}";

static int decode(const struct fl_shape *shape, const char *text, struct fl_arena *arena,
                  void *object, struct fl_shape_error *err)
{
    struct fl_err parse_err = {0};
    const struct fl_json *json = fl_json_read(fl_str_of(text), arena, &parse_err);
    if (!json)
        fail_msg("%s", parse_err.text);
    return fl_shape_decode(shape, json, arena, object, err);
}

static void assert_encodes(const struct fl_shape *shape, const void *object, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 16);
    fl_shape_encode(shape, object, &buf);
    assert_string_equal(buf.p, expected);
}

static void same_json(const char *a, const char *b)
{
    json_t *one = json_loads(a, JSON_DECODE_ANY, NULL),
           *other = json_loads(b, JSON_DECODE_ANY, NULL);
    bool is_same = one && other && json_equal(one, other);
    json_decref(one);
    json_decref(other);
    if (!is_same)
        fail_msg("not the same:\n%s\n%s", a, b);
}

static void check_register(const struct ecs_RegisterTaskDefinitionRequest *r)
{
    assert_true(fl_str_is(r->family, "web"));
    assert_int_equal(r->networkMode, ECS_NetworkMode_awsvpc);
    assert_int_equal(r->containerDefinitions.n, 2);
    const struct ecs_ContainerDefinition *c = &r->containerDefinitions.items[0];
    assert_int_equal(c->memory, 128);
    assert_true(FL_HAS(c, ecs_ContainerDefinition, links));
    assert_false(FL_HAS(c, ecs_ContainerDefinition, memoryReservation));
    assert_int_equal(c->links.n, 0);
    assert_int_equal(c->portMappings.items[1].containerPort, 443);
    assert_false(FL_HAS(&c->portMappings.items[1], ecs_PortMapping, hostPort));
    assert_true(fl_str_is(c->command.items[0], "echo \"\xc3\xa4\""));
    assert_int_equal(c->linuxParameters->capabilities->add.n, 1);
    assert_false(c->linuxParameters->initProcessEnabled);
    assert_int_equal(c->dockerLabels.n, 2);
    assert_true(fl_str_is(c->dockerLabels.items[0].key, "b"));
    assert_int_equal(c->logConfiguration->logDriver, ECS_LogDriver_json_file);
    assert_int_equal(r->requiresCompatibilities.items[1], ECS_Compatibility_FARGATE);
}

static void a_task_definition_goes_there_and_back(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_RegisterTaskDefinitionRequest request;
    struct fl_shape_error err = {0};
    const struct fl_shape *shape = &ecs_shape_RegisterTaskDefinitionRequest;
    if (decode(shape, REGISTER, arena, &request, &err) < 0)
        fail_msg("%s: %s", err.path, err.text);
    check_register(&request);
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 16);
    fl_shape_encode(shape, &request, &buf);
    same_json(buf.p, REGISTER);
}

static void copies_are_equal_and_stand_alone(FL_UNUSED void **state)
{
    struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_ARENA struct fl_arena *second = fl_arena_new();
    struct ecs_RegisterTaskDefinitionRequest request;
    struct fl_shape_error err;
    const struct fl_shape *shape = &ecs_shape_RegisterTaskDefinitionRequest;
    assert_int_equal(decode(shape, REGISTER, arena, &request, &err), 0);
    struct ecs_RegisterTaskDefinitionRequest *clone = fl_shape_clone(shape, &request);
    struct ecs_RegisterTaskDefinitionRequest *copy = fl_shape_copy(shape, &request, second);
    assert_true(fl_shape_equal(shape, &request, clone) && fl_shape_equal(shape, clone, copy));
    assert_true(fl_shape_clone_size(shape, clone) > fl_shape_size(shape));
    memset(&request, 0xff, sizeof(request));
    fl_arena_free(arena);
    check_register(clone);
    check_register(copy);
    assert_int_equal(strlen(clone->family.p), clone->family.n);
    clone->containerDefinitions.items[1].name = FL_STR("other");
    assert_false(fl_shape_equal(shape, clone, copy));
    free(clone);
}

static void differences_are_seen(FL_UNUSED void **state)
{
    static const char *const texts[] = {
        "{\"name\":\"a\"}",
        "{\"name\":\"b\"}",
        "{\"name\":\"a\",\"cpu\":1}",
        "{\"name\":\"a\",\"cpu\":2}",
        "{\"name\":\"a\",\"essential\":true}",
        "{\"name\":\"a\",\"links\":[]}",
        "{\"name\":\"a\",\"links\":[\"x\"]}",
        "{\"name\":\"a\",\"dockerLabels\":{\"x\":\"1\"}}",
        "{\"name\":\"a\",\"dockerLabels\":{\"x\":\"2\"}}",
        "{\"name\":\"a\",\"linuxParameters\":{}}",
        "{\"name\":\"a\",\"linuxParameters\":{\"swappiness\":3}}",
        "{\"name\":\"a\",\"versionConsistency\":\"enabled\"}",
        "{\"name\":\"a\",\"versionConsistency\":\"disabled\"}",
    };
    enum { N = FL_ARRAY_SIZE(texts) };
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_ContainerDefinition objects[N];
    struct fl_shape_error err;
    for (size_t i = 0; i < N; i++)
        assert_int_equal(decode(&ecs_shape_ContainerDefinition, texts[i], arena, &objects[i], &err),
                         0);
    for (size_t i = 0; i < N * N; i++)
        assert_int_equal(
            fl_shape_equal(&ecs_shape_ContainerDefinition, &objects[i / N], &objects[i % N]),
            i / N == i % N);
}

static void refused(const struct fl_shape *shape, const char *text, enum fl_shape_fault fault,
                    const char *path, const char *sentence)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    void *object = fl_arena_alloc(arena, fl_shape_size(shape));
    struct fl_shape_error err = {0};
    assert_int_equal(decode(shape, text, arena, object, &err), -22);
    assert_string_equal(err.path, path);
    assert_string_equal(err.text, sentence);
    assert_int_equal(err.fault, fault);
}

static void wrong_types_are_named(FL_UNUSED void **state)
{
    const struct fl_shape *reg = &ecs_shape_RegisterTaskDefinitionRequest;
    refused(reg, "[]", FL_SHAPE_TYPE, "", "the body must be an object, not a list");
    refused(reg, "{\"family\":1}", FL_SHAPE_TYPE, "family",
            "family must be a string, not a number");
    refused(reg, "{\"containerDefinitions\":{}}", FL_SHAPE_TYPE, "containerDefinitions",
            "containerDefinitions must be a list, not an object");
    refused(reg, "{\"containerDefinitions\":[null]}", FL_SHAPE_TYPE, "containerDefinitions[0]",
            "containerDefinitions[0] must be an object, not null");
    refused(reg, "{\"containerDefinitions\":[{},{\"cpu\":\"1\"}]}", FL_SHAPE_TYPE,
            "containerDefinitions[1].cpu",
            "containerDefinitions[1].cpu must be an integer of 32 bits, not a string");
    refused(reg, "{\"containerDefinitions\":[{\"essential\":\"true\"}]}", FL_SHAPE_TYPE,
            "containerDefinitions[0].essential",
            "containerDefinitions[0].essential must be a boolean, not a string");
    refused(reg, "{\"containerDefinitions\":[{\"dockerLabels\":{\"a\":[]}}]}", FL_SHAPE_TYPE,
            "containerDefinitions[0].dockerLabels[a]",
            "containerDefinitions[0].dockerLabels[a] must be a string, not a list");
    refused(reg, "{\"runtimePlatform\":\"LINUX\"}", FL_SHAPE_TYPE, "runtimePlatform",
            "runtimePlatform must be an object, not a string");
    refused(reg, "{\"networkMode\":true}", FL_SHAPE_TYPE, "networkMode",
            "networkMode must be a string, not a boolean");
}

static void numbers_stay_within_their_bits(FL_UNUSED void **state)
{
    const struct fl_shape *run = &ecs_shape_RunTaskRequest;
    static const char *const bad[] = {"2147483648", "-2147483649", "1.5", "1e300"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(128);
        fl_buf_printf(&buf, "{\"taskDefinition\":\"a\",\"count\":%s}", bad[i]);
        refused(run, buf.p, FL_SHAPE_TYPE, "count",
                "count must be an integer of 32 bits, not a number");
    }
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_RunTaskRequest request;
    struct fl_shape_error err;
    assert_int_equal(decode(run, "{\"taskDefinition\":\"a\",\"count\":3.0}", arena, &request, &err),
                     0);
    assert_int_equal(request.count, 3);
}

static void values_out_of_bounds_are_refused(FL_UNUSED void **state)
{
    refused(&ecs_shape_RunTaskRequest, "{\"taskDefinition\":\"a\",\"launchType\":\"ec2\"}",
            FL_SHAPE_ENUM, "launchType",
            "launchType 'ec2' is not valid: must be one of "
            "[EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]");
    refused(&ecs_shape_RegisterTaskDefinitionRequest,
            "{\"family\":\"f\",\"containerDefinitions\":[{\"portMappings\":[{},"
            "{\"protocol\":\"sctp\"}]}]}",
            FL_SHAPE_ENUM, "containerDefinitions[0].portMappings[1].protocol",
            "containerDefinitions[0].portMappings[1].protocol 'sctp' is not valid: "
            "must be one of [tcp, udp]");
    refused(&ecs_shape_CapacityProviderStrategyItem, "{\"capacityProvider\":\"p\",\"weight\":1001}",
            FL_SHAPE_RANGE, "weight", "weight must be between 0 and 1000, not 1001");
    refused(&ecs_shape_Tag, "{\"key\":\"\"}", FL_SHAPE_LENGTH, "key",
            "key has 0 characters, but must have between 1 and 128");
    refused(&ecs_shape_Tag, "{\"key\":\"a*\"}", FL_SHAPE_PATTERN, "key",
            "key 'a*' is not valid: it must match [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*");
    refused(&logs_shape_PutLogEventsRequest,
            "{\"logGroupName\":\"g\",\"logStreamName\":\"s\",\"logEvents\":[]}", FL_SHAPE_LENGTH,
            "logEvents", "logEvents has 0 items, but must have between 1 and 10000");
    refused(&logs_shape_CreateLogGroupRequest, "{\"logGroupName\":\"g\",\"tags\":{\"\":\"x\"}}",
            FL_SHAPE_LENGTH, "tags[]", "tags[] has 0 characters, but must have between 1 and 128");
}

static void required_members_are_required(FL_UNUSED void **state)
{
    refused(&ecs_shape_RunTaskRequest, "{\"count\":1}", FL_SHAPE_REQUIRED, "taskDefinition",
            "taskDefinition is required");
    refused(&ecs_shape_RunTaskRequest, "{\"taskDefinition\":null}", FL_SHAPE_REQUIRED,
            "taskDefinition", "taskDefinition is required");
    refused(&rec_shape_TaskDefinition, "{\"v\":1}", FL_SHAPE_REQUIRED, "definition",
            "definition is required");
    refused(&ecs_shape_RegisterTaskDefinitionRequest,
            "{\"family\":\"f\",\"containerDefinitions\":[],\"placementConstraints\":[],"
            "\"proxyConfiguration\":{}}",
            FL_SHAPE_REQUIRED, "proxyConfiguration.containerName",
            "proxyConfiguration.containerName is required");
}

static void unbounded_lists_are_bounded_all_the_same(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    fl_buf_add_z(&buf, "{\"tasks\":[\"\"");
    for (int i = 0; i < 10000; i++)
        fl_buf_add_z(&buf, ",\"\"");
    fl_buf_add_z(&buf, "]}");
    refused(&ecs_shape_DescribeTasksRequest, buf.p, FL_SHAPE_LENGTH, "tasks",
            "tasks has 10001 items, but must have at most 10000");
}

/* A hostile value neither overruns the sentence nor is cut within a character. */
static void long_values_are_cut_in_errors(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    fl_buf_add_z(&buf, "{\"taskDefinition\":\"a\",\"launchType\":\"x");
    for (int i = 0; i < 5000; i++)
        fl_buf_add_z(&buf, "\xc3\xa4");
    fl_buf_add_z(&buf, "\"}");
    struct ecs_RunTaskRequest request;
    struct fl_shape_error err;
    assert_int_equal(decode(&ecs_shape_RunTaskRequest, buf.p, arena, &request, &err), -22);
    assert_non_null(strstr(err.text, "\xc3\xa4' is not valid: must be one of [EC2, "));
    fl_buf_clear(&buf);
    fl_buf_add_z(&buf, "{\"containerDefinitions\":[{\"dockerLabels\":{\"");
    for (int i = 0; i < 5000; i++)
        fl_buf_add_z(&buf, "k");
    fl_buf_add_z(&buf, "\":1}}]}");
    struct ecs_RegisterTaskDefinitionRequest registration;
    assert_int_equal(
        decode(&ecs_shape_RegisterTaskDefinitionRequest, buf.p, arena, &registration, &err), -22);
    assert_int_equal(strlen(err.path), sizeof(err.path) - 1);
}

static void unknown_and_null_members_are_absent(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_RunTaskRequest request;
    struct fl_shape_error err;
    assert_int_equal(decode(&ecs_shape_RunTaskRequest,
                            "{\"taskDefinition\":\"a\",\"count\":null,\"tags\":null,"
                            "\"notThere\":{\"x\":[1]},\"has\":1,\"TaskDefinition\":2}",
                            arena, &request, &err),
                     0);
    assert_int_equal(request.has, UINT64_C(1) << ecs_RunTaskRequest_taskDefinition);
    assert_encodes(&ecs_shape_RunTaskRequest, &request, "{\"taskDefinition\":\"a\"}");
}

static void times_records_and_imports_work(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct rec_TaskDefinition record;
    struct fl_shape_error err;
    const char *text = "{\"v\":1,\"definition\":{\"family\":\"f\",\"revision\":2,"
                       "\"registeredAt\":1763640000.123},\"tags\":[{\"key\":\"k\"}]}";
    assert_int_equal(decode(&rec_shape_TaskDefinition, text, arena, &record, &err), 0);
    assert_true(record.definition->registeredAt == INT64_C(1763640000123));
    assert_encodes(&rec_shape_TaskDefinition, &record, text);
    refused(&ecs_shape_TaskDefinition, "{\"registeredAt\":\"2025-01-01\"}", FL_SHAPE_TYPE,
            "registeredAt",
            "registeredAt must be a timestamp: a number of seconds since 1970, not a string");
    refused(&ecs_shape_TaskDefinition, "{\"registeredAt\":1e15}", FL_SHAPE_TYPE, "registeredAt",
            "registeredAt must be a timestamp: a number of seconds since 1970, not a number");
}

static void foreign_documents_stay_as_they_are(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_DeploymentLifecycleHook hook;
    struct fl_shape_error err;
    const char *text = "{\"hookDetails\":{\"b\":[1,{\"x\":null}],\"a\":\"y\"}}";
    assert_int_equal(decode(&ecs_shape_DeploymentLifecycleHook, text, arena, &hook, &err), 0);
    assert_encodes(&ecs_shape_DeploymentLifecycleHook, &hook, text);
}

static void empty_structures_are_empty_objects(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_TagResourceResponse response;
    struct fl_shape_error err;
    assert_int_equal(decode(&ecs_shape_TagResourceResponse, "{\"x\":1}", arena, &response, &err),
                     0);
    assert_encodes(&ecs_shape_TagResourceResponse, &response, "{}");
}

static void operations_and_enums_are_found(FL_UNUSED void **state)
{
    assert_int_equal(fl_aws_service_find(&ecs_service, FL_STR("RunTask")), ECS_OP_RunTask);
    assert_int_equal(fl_aws_service_find(&ecs_service, FL_STR("runTask")), -1);
    assert_int_equal(fl_aws_service_find(&ecs_service, FL_STR("")), -1);
    assert_int_equal(ecs_service.operation_count, 88);
    for (size_t i = 0; i < ecs_service.operation_count; i++) {
        struct fl_str name = fl_str_of(ecs_service.operations[i].name);
        assert_int_equal(fl_aws_service_find(&ecs_service, name), i);
    }
    assert_ptr_equal(ecs_service.operations[ECS_OP_RunTask].input, &ecs_shape_RunTaskRequest);
    assert_string_equal(fl_shape_name(&ecs_shape_RunTaskRequest), "RunTaskRequest");
    assert_string_equal(ecs_service.operations[ECS_OP_RunTask].errors[0], "AccessDeniedException");
    assert_null(logs_service.operations[LOGS_OP_PutSubscriptionFilter].input);
    assert_non_null(logs_service.operations[LOGS_OP_CreateLogGroup].input);
    assert_null(logs_service.operations[LOGS_OP_CreateLogGroup].output);
    assert_int_equal(fl_enum_value(&ecs_enum_LaunchType, FL_STR("FARGATE")),
                     ECS_LaunchType_FARGATE);
    assert_int_equal(fl_enum_value(&ecs_enum_LaunchType, FL_STR("")), -1);
    assert_string_equal(fl_enum_text(&ecs_enum_LogDriver, ECS_LogDriver_json_file), "json-file");
}

/* Decodes, encodes, decodes again: the same object, whatever survived the damage. */
static bool survives(const struct fl_shape *shape, struct fl_str text, struct fl_arena *arena)
{
    const struct fl_json *json = fl_json_read(text, arena, NULL);
    struct fl_shape_error err;
    void *object = fl_arena_alloc(arena, fl_shape_size(shape));
    if (!json || fl_shape_decode(shape, json, arena, object, &err) < 0)
        return false;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 16);
    fl_shape_encode(shape, object, &buf);
    const struct fl_json *again = fl_json_read(fl_buf_str(&buf), arena, NULL);
    void *second = fl_arena_alloc(arena, fl_shape_size(shape));
    assert_non_null(again);
    assert_int_equal(fl_shape_decode(shape, again, arena, second, &err), 0);
    assert_true(fl_shape_equal(shape, object, second));
    FL_CLEANUP_FREE void *clone = fl_shape_clone(shape, second);
    assert_true(fl_shape_equal(shape, object, clone));
    return true;
}

/* Damaged requests: bytes overwritten by bytes that JSON cares about. The seed is fixed. */
static void damaged_requests_are_refused_or_kept(FL_UNUSED void **state)
{
    static const char bytes[] = "{}[]\",:0123456789eE+-.ntf\\u \x00\x80\xc3\xff";
    const uint8_t seed[32] = {1};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_rand random;
    size_t kept = 0;
    fl_rand_seed(&random, seed);
    for (int round = 0; round < 5000; round++) {
        char text[sizeof(REGISTER)];
        memcpy(text, REGISTER, sizeof(text));
        for (uint64_t i = fl_rand_below(&random, 4); i > 0; i--)
            text[fl_rand_below(&random, sizeof(text) - 1)] =
                bytes[fl_rand_below(&random, sizeof(bytes) - 1)];
        kept += survives(&ecs_shape_RegisterTaskDefinitionRequest,
                         (struct fl_str){text, sizeof(text) - 1}, arena);
        fl_arena_reset(arena);
    }
    assert_in_range(kept, 1, 4999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_definition_goes_there_and_back),
        cmocka_unit_test(copies_are_equal_and_stand_alone),
        cmocka_unit_test(differences_are_seen),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(numbers_stay_within_their_bits),
        cmocka_unit_test(values_out_of_bounds_are_refused),
        cmocka_unit_test(required_members_are_required),
        cmocka_unit_test(unbounded_lists_are_bounded_all_the_same),
        cmocka_unit_test(long_values_are_cut_in_errors),
        cmocka_unit_test(unknown_and_null_members_are_absent),
        cmocka_unit_test(times_records_and_imports_work),
        cmocka_unit_test(foreign_documents_stay_as_they_are),
        cmocka_unit_test(empty_structures_are_empty_objects),
        cmocka_unit_test(operations_and_enums_are_found),
        cmocka_unit_test(damaged_requests_are_refused_or_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
