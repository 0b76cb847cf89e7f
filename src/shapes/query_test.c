/* The Query protocol over real shapes: parameters become the JSON that the walker decodes, objects
 * become XML. The shapes are ECS's, which have every kind of member. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "shapes/ecs_shapes.h"
#include "shapes/query.h"
#include "shapes/sts_shapes.h"

static void expect_json(const struct fl_shape *shape, const char *form_text, const char *expected)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 16);
    struct fl_form form;
    struct fl_err err;
    assert_int_equal(fl_form_parse(arena, fl_str_of(form_text), &form, &err), 0);
    fl_query_to_json(shape, &form, &buf);
    assert_string_equal(buf.p, expected);
}

static void parameters_become_members(FL_UNUSED void **state)
{
    expect_json(&sts_shape_GetCallerIdentityRequest, "Action=GetCallerIdentity&Version=2011-06-15",
                "{}");
    expect_json(&ecs_shape_CreateClusterRequest,
                "clusterName=7&unknown=1&tags.member.2.key=b&tags.member.1.key=a&"
                "tags.member.1.value=x%22y",
                "{\"clusterName\":\"7\",\"tags\":[{\"key\":\"a\",\"value\":\"x\\\"y\"},"
                "{\"key\":\"b\"}]}");
    expect_json(&ecs_shape_RunTaskRequest,
                "count=3&enableECSManagedTags=true&taskDefinition=t&launchType=EC2",
                "{\"count\":3,\"enableECSManagedTags\":true,\"launchType\":\"EC2\","
                "\"taskDefinition\":\"t\"}");
    expect_json(&ecs_shape_DescribeTasksRequest, "tasks.1=a&tasks.2=b&tasks.4=c",
                "{\"tasks\":[\"a\",\"b\"]}");
    expect_json(&ecs_shape_ContainerDefinition,
                "dockerLabels.entry.1.key=k&dockerLabels.entry.1.value=v&"
                "dockerLabels.entry.2.key=n",
                "{\"dockerLabels\":{\"k\":\"v\",\"n\":\"\"}}");
    expect_json(&ecs_shape_DescribeTasksRequest, "tasks=", "{\"tasks\":[]}");
}

static void what_is_no_number_stays_text(FL_UNUSED void **state)
{
    static const char *const texts[] = {"",   "x",    "1x",  "01",  "-", "1.",
                                        ".5", "1..2", "--1", "1e5", "-0"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++) {
        char form[40], json[60];
        (void)snprintf(form, sizeof(form), "count=%s", texts[i]);
        (void)snprintf(json, sizeof(json), "{\"count\":\"%s\"}", texts[i]);
        expect_json(&ecs_shape_RunTaskRequest, form, json);
    }
    expect_json(&ecs_shape_RunTaskRequest, "count=-12", "{\"count\":-12}");
    expect_json(&ecs_shape_RunTaskRequest, "count=0", "{\"count\":0}");
    expect_json(&ecs_shape_RunTaskRequest, "enableECSManagedTags=1",
                "{\"enableECSManagedTags\":\"1\"}");
}

static void names_are_bounded(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf form = FL_BUF_INIT(1 << 16);
    fl_buf_add_z(&form, "tasks.member.1");
    for (int i = 0; i < 1000; i++)
        fl_buf_add_z(&form, ".member.1");
    fl_buf_add_z(&form, "=x");
    expect_json(&ecs_shape_DescribeTasksRequest, form.p, "{\"tasks\":[\"\"]}");
}

static void objects_become_elements(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 16);
    struct ecs_Tag tags[2] = {{0}, {0}};
    struct fl_str_map_item label = {FL_STR("k"), FL_STR("v")};
    struct ecs_ContainerDefinition container = {0};
    struct ecs_Task task = {0};
    FL_SET(&tags[0], ecs_Tag, key, FL_STR("a<b>&\"c\""));
    FL_SET(&tags[1], ecs_Tag, value, FL_STR("\x01\r"));
    FL_SET(&task, ecs_Task, createdAt, 1763651045123);
    FL_SET(&task, ecs_Task, enableExecuteCommand, true);
    FL_SET(&task, ecs_Task, launchType, ECS_LaunchType_EC2);
    FL_SET(&task, ecs_Task, tags, ((struct ecs_Tag_list){2, tags}));
    FL_SET(&task, ecs_Task, version, -7);
    fl_query_encode(&ecs_shape_Task, &task, &buf);
    assert_string_equal(buf.p,
                        "<createdAt>2025-11-20T15:04:05.123Z</createdAt>"
                        "<enableExecuteCommand>true</enableExecuteCommand>"
                        "<launchType>EC2</launchType><tags><member><key>a&lt;b&gt;&amp;&quot;c"
                        "&quot;</key></member><member><value>\xef\xbf\xbd&#13;</value></member>"
                        "</tags><version>-7</version>");
    fl_buf_clear(&buf);
    FL_SET(&container, ecs_ContainerDefinition, dockerLabels, ((struct fl_str_map){1, &label}));
    fl_query_encode(&ecs_shape_ContainerDefinition, &container, &buf);
    assert_string_equal(buf.p, "<dockerLabels><entry><key>k</key><value>v</value></entry>"
                               "</dockerLabels>");
}

static void days_are_those_of_the_calendar(FL_UNUSED void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1735689599999, "2024-12-31T23:59:59.999Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(200);
        char expected[100];
        struct ecs_Task task = {0};
        FL_SET(&task, ecs_Task, createdAt, rows[i].ms);
        fl_query_encode(&ecs_shape_Task, &task, &buf);
        (void)snprintf(expected, sizeof(expected), "<createdAt>%s</createdAt>", rows[i].text);
        assert_string_equal(buf.p, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_become_members),
        cmocka_unit_test(what_is_no_number_stays_text),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(objects_become_elements),
        cmocka_unit_test(days_are_those_of_the_calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
