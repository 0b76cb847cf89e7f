/* Clusters, and pages of listings: names, repeated creation, what is missing, tokens good and bad.
 * Requests as a client sends them; after each part a core built from the records must agree. */
#include "core/core_fixture.h"

static void a_cluster_is_made_once(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    assert_string_equal(fix_text(f, "cluster.clusterName"), "default");
    assert_string_equal(fix_text(f, "cluster.clusterArn"),
                        "arn:aws:ecs:eu-central-1:000000000000:cluster/default");
    assert_string_equal(fix_text(f, "cluster.status"), "ACTIVE");
    assert_int_equal(f->records_put, 1);
    fix_ok(f, "CreateCluster", "{'clusterName':'default','tags':[{'key':'a','value':'b'}]}");
    assert_int_equal(f->records_put, 0);
    assert_int_equal(fix_size(f, "cluster.tags"), 0);
    fix_ok(f, "CreateCluster",
           "{'clusterName':'A-b_9','tags':[{'key':'a','value':'b'}],"
           "'settings':[{'name':'containerInsights','value':'enabled'}],"
           "'configuration':{'executeCommandConfiguration':{'logging':'DEFAULT'}}}");
    assert_string_equal(fix_text(f, "cluster.tags.0.key"), "a");
    fix_recover(f, true);
    fix_ok(f, "DescribeClusters", "{'clusters':['A-b_9']}");
    assert_int_equal(fix_size(f, "clusters.0.tags"), 0);
    assert_null(fix_at(f->reply, "clusters.0.configuration"));
    fix_ok(f, "DescribeClusters",
           "{'clusters':['A-b_9'],'include':['TAGS','SETTINGS','CONFIGURATIONS']}");
    assert_string_equal(fix_text(f, "clusters.0.tags.0.value"), "b");
    assert_string_equal(fix_text(f, "clusters.0.settings.0.value"), "enabled");
    assert_non_null(fix_at(f->reply, "clusters.0.configuration.executeCommandConfiguration"));
    fix_free(f);
}

static void wrong_names_are_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    static const char *const names[] = {"", "a b", "a/b", "a.b", "\xc3\xa9", "a:b"};
    char longest[257];
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        assert_int_equal(fix_call(f, "CreateCluster", "{'clusterName':'%s'}", names[i]), 400);
        assert_string_equal(fix_text(f, "__type"), "InvalidParameterException");
        assert_int_equal(f->records_put, 0);
    }
    memset(longest, 'x', 256);
    longest[256] = '\0';
    assert_int_equal(fix_call(f, "CreateCluster", "{'clusterName':'%s'}", longest), 400);
    longest[255] = '\0';
    fix_ok(f, "CreateCluster", "{'clusterName':'%s'}", longest);
    fix_refused(f, "ClientException", "Capacity providers are not implemented yet.",
                "CreateCluster", "{'clusterName':'x','capacityProviders':['FARGATE']}");
    FL_CLEANUP_BUF struct fl_buf big = FL_BUF_INIT(1 << 20);
    fl_buf_add_z(&big, "{\"configuration\":{\"executeCommandConfiguration\":{\"kmsKeyId\":\"");
    while (big.n < 70000)
        fl_buf_add_z(&big, "0123456789");
    fl_buf_add_z(&big, "\"}}}");
    assert_int_equal(fix_send(f, "CreateCluster", fl_buf_str(&big)), 400);
    fix_free(f);
}

static void what_is_missing_is_told(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "DescribeClusters", "{}");
    assert_int_equal(fix_size(f, "clusters"), 0);
    assert_string_equal(fix_text(f, "failures.0.arn"),
                        "arn:aws:ecs:eu-central-1:000000000000:cluster/default");
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    fix_ok(f, "CreateCluster", "{'clusterName':'c'}");
    fix_ok(f, "DescribeClusters",
           "{'clusters':['x','c','arn:aws:ecs:eu-central-1:000000000000:cluster/c','y']}");
    assert_int_equal(fix_size(f, "clusters"), 2);
    assert_int_equal(fix_size(f, "failures"), 2);
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "ListTasks", "{}");
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "RunTask",
                "{'cluster':'nope','taskDefinition':'web'}");
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "ListContainerInstances",
                "{'cluster':'nope'}");
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "RegisterContainerInstance",
                "{'cluster':'nope'}");
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "DiscoverPollEndpoint",
                "{'cluster':'nope'}");
    fix_ok(f, "DiscoverPollEndpoint", "{'cluster':'c','containerInstance':'x'}");
    assert_string_equal(fix_text(f, "endpoint"), "http://127.0.0.1:4566/acs");
    FL_CLEANUP_BUF struct fl_buf many = FL_BUF_INIT(1 << 16);
    fl_buf_add_z(&many, "{\"clusters\":[\"a\"");
    for (int i = 0; i < 100; i++)
        fl_buf_add_z(&many, ",\"a\"");
    fl_buf_add_z(&many, "]}");
    assert_int_equal(fix_send(f, "DescribeClusters", fl_buf_str(&many)), 400);
    fix_free(f);
}

static void a_cluster_is_updated_and_deleted(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    char instance[64], arn[200];
    fix_ok(f, "CreateCluster", "{'clusterName':'c','tags':[{'key':'a','value':'b'}]}");
    assert_string_equal(fix_text(f, "cluster.settings.0.name"), "containerInsights");
    assert_string_equal(fix_text(f, "cluster.settings.0.value"), "disabled");
    fix_ok(f, "UpdateClusterSettings",
           "{'cluster':'c','settings':[{'name':'containerInsights','value':'enhanced'}]}");
    assert_string_equal(fix_text(f, "cluster.settings.0.value"), "enhanced");
    fix_refused(f, "InvalidParameterException",
                "Invalid cluster setting: the value of containerInsights should be one of "
                "[enhanced,enabled,disabled]",
                "UpdateClusterSettings",
                "{'cluster':'c','settings':[{'name':'containerInsights','value':'maybe'}]}");
    fix_ok(f, "UpdateCluster",
           "{'cluster':'c','configuration':{'executeCommandConfiguration':{'logging':'NONE'}}}");
    assert_string_equal(fix_text(f, "cluster.settings.0.value"), "enhanced");
    assert_string_equal(fix_text(f, "cluster.configuration.executeCommandConfiguration.logging"),
                        "NONE");
    fix_refused(f, "InvalidParameterException",
                "You must set logging to 'OVERRIDE' when you supply a log configuration.",
                "UpdateCluster",
                "{'cluster':'c','configuration':{'executeCommandConfiguration':{'logging':'NONE',"
                "'logConfiguration':{'s3BucketName':'b'}}}}");
    fix_add_instance(f, "c", 1024, 1024, "", instance);
    fix_register(f, "web", 0, 64, "");
    fix_ok(f, "RunTask", "{'cluster':'c','taskDefinition':'web'}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    fix_ok(f, "DescribeClusters", "{'clusters':['c'],'include':['STATISTICS','ATTACHMENTS']}");
    assert_string_equal(fix_text(f, "clusters.0.statistics.2.name"), "pendingEC2TasksCount");
    assert_string_equal(fix_text(f, "clusters.0.statistics.2.value"), "1");
    assert_int_equal(fix_size(f, "clusters.0.statistics"), 8);
    assert_true(fl_json_is(fix_at(f->reply, "clusters.0.attachments"), FL_JSON_ARRAY));
    fix_refused(f, "ClusterContainsContainerInstancesException",
                "The Cluster cannot be deleted while Container Instances are active or draining.",
                "DeleteCluster", "{'cluster':'c'}");
    fix_recover(f, true);
    fix_free(f);
}

static void a_deleted_cluster_stays_describable(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{'clusterName':'c','tags':[{'key':'a','value':'b'}]}");
    fix_ok(f, "DeleteCluster", "{'cluster':'arn:aws:ecs:eu-central-1:000000000000:cluster/c'}");
    assert_string_equal(fix_text(f, "cluster.status"), "INACTIVE");
    assert_int_equal(fix_size(f, "cluster.tags"), 0);
    fix_ok(f, "DescribeClusters", "{'clusters':['c']}");
    assert_string_equal(fix_text(f, "clusters.0.status"), "INACTIVE");
    fix_ok(f, "ListClusters", "{}");
    assert_int_equal(fix_size(f, "clusterArns"), 0);
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "DeleteCluster",
                "{'cluster':'c'}");
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "UpdateCluster",
                "{'cluster':'c'}");
    fix_recover(f, true);
    fix_ok(f, "CreateCluster", "{'clusterName':'c'}");
    assert_string_equal(fix_text(f, "cluster.status"), "ACTIVE");
    fix_free(f);
}

static void pages_hold_every_cluster_once(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    enum { COUNT = 123 };
    for (int i = 0; i < COUNT; i++)
        fix_ok(f, "CreateCluster", "{'clusterName':'c%03d'}", (i * 50) % COUNT);
    fix_recover(f, true);
    fix_ok(f, "ListClusters", "{}");
    assert_int_equal(fix_size(f, "clusterArns"), 100);
    char token[200] = "";
    int seen = 0, pages = 0;
    do {
        fix_ok(f, "ListClusters", "{'maxResults':10,'nextToken':'%s'}", token);
        for (size_t i = 0; i < fix_size(f, "clusterArns"); i++) {
            char expected[20];
            (void)snprintf(expected, sizeof(expected), "c%03d", seen++);
            const char *arn = fl_json_z(fl_json_item(fix_at(f->reply, "clusterArns"), i));
            assert_string_equal(fix_id(arn), expected);
        }
        const char *next = fl_json_z(fix_at(f->reply, "nextToken"));
        (void)snprintf(token, sizeof(token), "%s", next ? next : "");
        pages++;
        /* A cluster made meanwhile before the page's end must not disturb the pages. */
        fix_ok(f, "CreateCluster", "{'clusterName':'a%03d'}", pages);
    } while (token[0]);
    assert_int_equal(seen, COUNT);
    assert_int_equal(pages, 13);
    fix_free(f);
}

static void tokens_and_page_sizes_are_checked(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    static const char *const tokens[] = {"x", "0", "zz", "61zz", "616"};
    fix_ok(f, "CreateCluster", "{}");
    for (size_t i = 0; i < FL_ARRAY_SIZE(tokens); i++)
        fix_refused(f, "InvalidParameterException", "Invalid token.", "ListClusters",
                    "{'nextToken':'%s'}", tokens[i]);
    FL_CLEANUP_BUF struct fl_buf big = FL_BUF_INIT(1 << 20);
    fl_buf_add_z(&big, "{\"nextToken\":\"");
    while (big.n < 5000)
        fl_buf_add_z(&big, "61");
    fl_buf_add_z(&big, "\"}");
    assert_int_equal(fix_send(f, "ListClusters", fl_buf_str(&big)), 400);
    static const int sizes[] = {0, -1, 101, 1000000};
    for (size_t i = 0; i < FL_ARRAY_SIZE(sizes); i++)
        fix_refused(f, "InvalidParameterException", "maxResults should be between 1 and 100.",
                    "ListTasks", "{'maxResults':%d}", sizes[i]);
    /* Another listing's token is only a place to go on from. */
    fix_ok(f, "ListTaskDefinitions", "{'nextToken':'616263'}");
    fix_ok(f, "ListTaskDefinitions", "{'nextToken':'613a39393939393939393939393939'}");
    fix_free(f);
}

static void what_is_not_implemented_says_so(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_refused(f, "ClientException", "DescribeCapacityProviders is not implemented yet.",
                "DescribeCapacityProviders", "{}");
    fix_free(f);
}

static void broken_records_are_refused_when_loaded(FL_UNUSED void **state)
{
    static const char *const rows[][3] = {
        {"x/a", "{\"v\":1}", "unknown kind"},
        {"c/", "{\"v\":1}", "unknown kind"},
        {"c/a", "", ""},
        {"c/a", "{\"v\":2,\"name\":\"a\",\"status\":\"ACTIVE\"}", "version"},
        {"c/a", "{\"name\":\"a\",\"status\":\"ACTIVE\"}", "version"},
        {"c/a", "{\"v\":1,\"status\":\"ACTIVE\"}", "name"},
        {"i/a/1",
         "{\"v\":1,\"id\":\"1\",\"cluster\":\"a\",\"status\":\"ACTIVE\",\"cpu\":1,\"memory\":1,"
         "\"registeredAt\":1,\"version\":1}",
         "does not exist"},
        {"t/a/1",
         "{\"v\":2,\"id\":\"1\",\"cluster\":\"a\",\"family\":\"f\",\"revision\":1,"
         "\"status\":\"PENDING\",\"desired\":\"RUNNING\",\"group\":\"g\",\"cpu\":1,\"memory\":1,"
         "\"createdAt\":1,\"version\":1}",
         "does not lie where"},
        {"t/000000000001000/a/1",
         "{\"v\":2,\"id\":\"1\",\"cluster\":\"a\",\"family\":\"f\",\"revision\":1,"
         "\"status\":\"PENDING\",\"desired\":\"RUNNING\",\"group\":\"g\",\"cpu\":1,\"memory\":1,"
         "\"createdAt\":1,\"version\":1}",
         "does not exist"},
        {"t/a/1",
         "{\"v\":1,\"id\":\"1\",\"cluster\":\"a\",\"family\":\"f\",\"revision\":1,"
         "\"status\":\"PENDING\",\"desired\":\"RUNNING\",\"group\":\"g\",\"cpu\":1,\"memory\":1,"
         "\"createdAt\":1,\"version\":1}",
         "does not exist"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_core *core = fix_new_core();
        struct fl_err err = {0};
        assert_true(fl_core_load(core, fl_str_of(rows[i][0]), fl_str_of(rows[i][1]), &err) < 0);
        if (!strstr(err.text, rows[i][2]))
            print_message("# %s: %s\n", rows[i][0], err.text);
        assert_non_null(strstr(err.text, rows[i][2]));
        fl_core_free(core);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_is_made_once),
        cmocka_unit_test(wrong_names_are_refused),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(a_cluster_is_updated_and_deleted),
        cmocka_unit_test(a_deleted_cluster_stays_describable),
        cmocka_unit_test(pages_hold_every_cluster_once),
        cmocka_unit_test(tokens_and_page_sizes_are_checked),
        cmocka_unit_test(what_is_not_implemented_says_so),
        cmocka_unit_test(broken_records_are_refused_when_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
