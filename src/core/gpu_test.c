/* GPUs as a user and an agent see them: registered by id, handed out whole, pinned to a container,
 * shown, sent, given back, the same after recovery; and what is refused. */
#include "core/core_fixture.h"

static const char gpu_resources[] =
    "'totalResources':[{'name':'CPU','type':'INTEGER','integerValue':4096},"
    "{'name':'MEMORY','type':'INTEGER','integerValue':4000},"
    "{'name':'GPU','type':'STRINGSET','stringSetValue':['GPU-a','GPU-b','GPU-c']}]";

static void add_gpu_instance(struct fix *f, char ret_id[64])
{
    fix_ok(f, "RegisterContainerInstance", "{%s}", gpu_resources);
    (void)snprintf(ret_id, 64, "%s", fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
    (void)fix_connect(f, "default", ret_id);
}

/* A definition of two containers, "app" with so many GPUs and "side" with none. */
static void register_gpu(struct fix *f, const char *family, int gpus)
{
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'%s','containerDefinitions':[{'name':'side','image':'b','memory':50},"
           "{'name':'app','image':'b','memory':50,"
           "'resourceRequirements':[{'type':'GPU','value':'%d'}]}]}",
           family, gpus);
}

/* Names of an instance's GPUs, all or those that remain: "GPU-a GPU-b". */
static void expect_gpus(struct fix *f, const char *instance, const char *which,
                        const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf seen = FL_BUF_INIT(1024);
    char path[80];
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", instance);
    (void)snprintf(path, sizeof(path), "containerInstances.0.%s.4.name", which);
    assert_string_equal(fix_text(f, path), "GPU");
    (void)snprintf(path, sizeof(path), "containerInstances.0.%s.4.stringSetValue", which);
    const struct fl_json *ids = fix_at(f->reply, path);
    for (size_t i = 0; i < fl_json_items(ids); i++)
        fl_buf_printf(&seen, "%s%s", i ? " " : "", fl_json_z(fl_json_item(ids, i)));
    assert_string_equal(seen.n ? seen.p : "", expected);
}

static void whole_gpus_are_pinned_and_given_back(FL_UNUSED void **state)
{
    char instance[64], plain[64], task[200];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 4096, 4000, "", plain);
    add_gpu_instance(f, instance);
    register_gpu(f, "train", 2);
    fix_ok(f, "RunTask", "{'taskDefinition':'train'}");
    (void)snprintf(task, sizeof(task), "%s", fix_text(f, "tasks.0.taskArn"));
    assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), instance);
    assert_int_equal(fix_size(f, "tasks.0.containers.0.gpuIds"), 0);
    assert_string_equal(fix_text(f, "tasks.0.containers.1.gpuIds.0"), "GPU-a");
    assert_string_equal(fix_text(f, "tasks.0.containers.1.gpuIds.1"), "GPU-b");
    assert_string_equal(fl_json_z(fix_at(f->sent, "0.task.associations.1.name")), "GPU-b");
    assert_string_equal(fl_json_z(fix_at(f->sent, "0.task.associations.1.type")), "gpu");
    assert_string_equal(fl_json_z(fix_at(f->sent, "0.task.associations.1.containers.0")), "app");
    expect_gpus(f, instance, "remainingResources", "GPU-c");
    expect_gpus(f, instance, "registeredResources", "GPU-a GPU-b GPU-c");
    fix_recover(f, true);
    expect_gpus(f, instance, "remainingResources", "GPU-c");
    fix_ok(f, "SubmitTaskStateChange",
           "{'task':'%s','status':'RUNNING','containers':[{'containerName':'app','status':"
           "'RUNNING'},{'containerName':'side','status':'RUNNING'}]}",
           task);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", task);
    assert_string_equal(fix_text(f, "tasks.0.containers.1.gpuIds.1"), "GPU-b");
    fix_ok(f, "SubmitTaskStateChange", "{'task':'%s','status':'STOPPED'}", task);
    expect_gpus(f, instance, "remainingResources", "GPU-a GPU-b GPU-c");
    fix_free(f);
}

static void too_few_are_told(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    add_gpu_instance(f, instance);
    register_gpu(f, "train", 2);
    fix_ok(f, "RunTask", "{'taskDefinition':'train','count':2}");
    assert_int_equal(fix_size(f, "tasks"), 1);
    assert_string_equal(fix_text(f, "failures.0.reason"), "RESOURCE:GPU");
    assert_string_equal(fix_text(f, "failures.0.detail"), "2 GPUs are needed, 1 of 3 are free");
    fix_ok(f, "StartTask", "{'taskDefinition':'train','containerInstances':['%s']}", instance);
    assert_string_equal(fix_text(f, "failures.0.reason"), "RESOURCE:GPU");
    fix_ok(f, "RunTask",
           "{'taskDefinition':'train','overrides':{'containerOverrides':[{'name':'app',"
           "'resourceRequirements':[{'type':'GPU','value':'1'}]}]}}");
    assert_string_equal(fix_text(f, "tasks.0.containers.1.gpuIds.0"), "GPU-c");
    expect_gpus(f, instance, "remainingResources", "");
    fix_recover(f, true);
    fix_free(f);
}

/* An agent may find other devices when it registers again: what tasks hold stays theirs. */
static void registering_again_changes_what_is_free(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    add_gpu_instance(f, instance);
    register_gpu(f, "train", 2);
    fix_ok(f, "RunTask", "{'taskDefinition':'train'}");
    const char *devices[] = {"{'id':'GPU-b','type':'GPU'},{'id':'GPU-d','type':'GPU'}",
                             "{'id':'GPU-d','type':'GPU'},{'id':'GPU-a','type':'GPU'}"};
    const char *free[] = {"GPU-d", "GPU-d"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(devices); i++) {
        fix_ok(f, "RegisterContainerInstance",
               "{'containerInstanceArn':'default/%s','platformDevices':[%s],'totalResources':["
               "{'name':'CPU','type':'INTEGER','integerValue':4096},"
               "{'name':'MEMORY','type':'INTEGER','integerValue':4000}]}",
               instance, devices[i]);
        expect_gpus(f, instance, "remainingResources", free[i]);
        fix_recover(f, true);
    }
    fix_free(f);
}

static void what_cannot_be_is_refused(FL_UNUSED void **state)
{
    static const char definition[] =
        "{'family':'f','containerDefinitions':[{'name':'app','image':'b','memory':50,"
        "'resourceRequirements':[%s]}]}";
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    const char *const values[] = {"0", "-1", "1.5", "65", "many", ""};
    for (size_t i = 0; i < FL_ARRAY_SIZE(values); i++) {
        char item[80];
        (void)snprintf(item, sizeof(item), "{'type':'GPU','value':'%s'}", values[i]);
        fix_refused(f, "ClientException",
                    "Container 'app': the value of a GPU requirement must be a whole number "
                    "between 1 and 64.",
                    "RegisterTaskDefinition", definition, item);
    }
    fix_refused(f, "ClientException", "Container 'app' has more than one requirement of type GPU.",
                "RegisterTaskDefinition", definition,
                "{'type':'GPU','value':'1'},{'type':'GPU','value':'1'}");
    fix_refused(f, "ClientException",
                "Container 'app': resource requirements of type InferenceAccelerator are not "
                "implemented.",
                "RegisterTaskDefinition", definition,
                "{'type':'InferenceAccelerator','value':'device1'}");
    fix_refused(f, "InvalidParameterException",
                "The id of a GPU must have between 1 and 128 characters.",
                "RegisterContainerInstance",
                "{'platformDevices':[{'id':'','type':'GPU'}],'totalResources':["
                "{'name':'CPU','type':'INTEGER','integerValue':1},"
                "{'name':'MEMORY','type':'INTEGER','integerValue':1}]}");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_gpus_are_pinned_and_given_back),
        cmocka_unit_test(too_few_are_told),
        cmocka_unit_test(registering_again_changes_what_is_free),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
