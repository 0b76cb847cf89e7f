/* `fairlead status`: what runs. The JSON form is stable: members are added, never changed. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/install.h"
#include "cli/operator.h"

static json_t *role(struct fl_str data_dir, const char *name)
{
    FL_CLEANUP_DAEMON struct fl_daemon daemon = fl_daemon_find(data_dir, name);
    return json_pack("{s:b, s:I}", "running", daemon.pid > 0, "pid", (json_int_t)daemon.pid);
}

/* Copies members of an API object under our names. */
static json_t *pick(const json_t *object, const char *const pairs[][2], size_t count)
{
    json_t *picked = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(object, pairs[i][1]);
        (void)json_object_set(picked, pairs[i][0], value ? value : json_null());
    }
    return picked;
}

static int add_instances(struct fl_operator *caller, const char *cluster, json_t *list,
                         struct fl_err *err)
{
    static const char *const members[][2] = {
        {"arn", "containerInstanceArn"},       {"status", "status"},
        {"agentConnected", "agentConnected"},  {"runningTasks", "runningTasksCount"},
        {"pendingTasks", "pendingTasksCount"},
    };
    FL_CLEANUP_JSON json_t *arns = NULL;
    FL_CLEANUP_JSON json_t *found = NULL;
    int r =
        fl_operator_list(caller, "ListContainerInstances", json_pack("{s:s}", "cluster", cluster),
                         "containerInstanceArns", &arns, err);
    if (r == 0)
        r = fl_operator_describe(caller, "DescribeContainerInstances", cluster,
                                 "containerInstances", arns, &found, err);
    size_t index;
    json_t *instance;
    json_array_foreach (found, index, instance) {
        (void)json_array_append_new(list, pick(instance, members, FL_ARRAY_SIZE(members)));
    }
    return r;
}

static int add_tasks(struct fl_operator *caller, const char *cluster, json_t *list,
                     struct fl_err *err)
{
    static const char *const members[][2] = {
        {"arn", "taskArn"},
        {"taskDefinition", "taskDefinitionArn"},
        {"lastStatus", "lastStatus"},
        {"desiredStatus", "desiredStatus"},
    };
    FL_CLEANUP_JSON json_t *arns = NULL;
    FL_CLEANUP_JSON json_t *found = NULL;
    int r = fl_operator_list(caller, "ListTasks", json_pack("{s:s}", "cluster", cluster),
                             "taskArns", &arns, err);
    if (r == 0)
        r = fl_operator_describe(caller, "DescribeTasks", cluster, "tasks", arns, &found, err);
    size_t index;
    json_t *task;
    json_array_foreach (found, index, task) {
        (void)json_array_append_new(list, pick(task, members, FL_ARRAY_SIZE(members)));
    }
    return r;
}

static int ask_server(const struct fl_options *options, json_t *report, struct fl_err *err)
{
    struct fl_operator caller;
    FL_CLEANUP_JSON json_t *clusters = NULL;
    int r = fl_operator_open(options, &caller, err);
    if (r == 0)
        r = fl_operator_clusters(&caller, &clusters, err);
    size_t index;
    json_t *cluster;
    json_array_foreach (clusters, index, cluster) {
        const char *arn = json_string_value(cluster);
        if (r == 0)
            r = add_instances(&caller, arn, json_object_get(report, "instances"), err);
        if (r == 0)
            r = add_tasks(&caller, arn, json_object_get(report, "tasks"), err);
    }
    return r;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static const char *short_arn(const char *arn)
{
    const char *slash = strrchr(arn, '/');
    return slash ? slash + 1 : arn;
}

static void print_role(const json_t *report, const char *name)
{
    const json_t *found = json_object_get(report, name);
    if (json_is_true(json_object_get(found, "running")))
        (void)printf("%-9s process %d\n", name,
                     (int)json_integer_value(json_object_get(found, "pid")));
    else
        (void)printf("%-9s does not run\n", name);
}

static void print_report(const json_t *report)
{
    (void)printf("endpoint  %s, region %s, account %s\ndata      %s\n", text_of(report, "endpoint"),
                 text_of(report, "region"), text_of(report, "account"), text_of(report, "dataDir"));
    print_role(report, "server");
    print_role(report, "agent");
    size_t index;
    json_t *item;
    json_array_foreach (json_object_get(report, "instances"), index, item) {
        bool connected = json_is_true(json_object_get(item, "agentConnected"));
        (void)printf("instance  %s  %s, agent %s, %d tasks running, %d pending\n",
                     short_arn(text_of(item, "arn")), text_of(item, "status"),
                     connected ? "connected" : "away",
                     (int)json_integer_value(json_object_get(item, "runningTasks")),
                     (int)json_integer_value(json_object_get(item, "pendingTasks")));
    }
    json_array_foreach (json_object_get(report, "tasks"), index, item) {
        (void)printf("task      %s  %s  %s\n", short_arn(text_of(item, "arn")),
                     short_arn(text_of(item, "taskDefinition")), text_of(item, "lastStatus"));
    }
}

/* The status's own verdict, one line for stderr; NULL when all is well. */
static const char *verdict(const json_t *report, int r, const struct fl_err *err)
{
    if (!json_is_true(json_object_get(json_object_get(report, "server"), "running")))
        return "the server does not run: `sudo fairlead up` starts it";
    if (!json_is_true(json_object_get(json_object_get(report, "agent"), "running")))
        return "the agent does not run: `sudo fairlead up` starts it";
    return r < 0 ? err->text : NULL;
}

int fl_cli_status(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_STATUS, "Tells what runs.", argc, argv, arena, &options);
    struct fl_str data_dir = options.value[FL_OPTION_DATA_DIR];
    struct fl_err err = {0};
    int r = fl_install_check(data_dir, &err);
    if (r < 0) {
        const char *hint = r == -EACCES ? ": run `sudo fairlead status`" : "";
        (void)fprintf(stderr, "fairlead: %s%s\n", err.text, hint);
        return 1;
    }
    FL_CLEANUP_JSON json_t *report =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:[], s:[]}", "dataDir", data_dir.p, "endpoint",
                  fl_options_endpoint(&options).p, "region", options.value[FL_OPTION_REGION].p,
                  "account", options.value[FL_OPTION_ACCOUNT].p, "server", role(data_dir, "server"),
                  "agent", role(data_dir, "agent"), "instances", "tasks");
    FL_ASSERT(report);
    if (json_is_true(json_object_get(json_object_get(report, "server"), "running")))
        r = ask_server(&options, report, &err);
    if (fl_options_on(&options, FL_OPTION_JSON)) {
        (void)json_dumpf(report, stdout, JSON_INDENT(2));
        (void)fputc('\n', stdout);
    } else {
        print_report(report);
    }
    const char *complaint = verdict(report, r, &err);
    if (complaint)
        (void)fprintf(stderr, "fairlead: %s\n", complaint);
    return complaint ? 1 : 0;
}
