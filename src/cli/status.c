/* `fairlead status`: what runs. The JSON form is stable: members are added, never changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/images.h"
#include "base/fs.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/fold.h"
#include "cli/install.h"
#include "cli/operator.h"

enum {
    MAX_REPORT = 256 << 20,
    CALL_TIMEOUT_MS = 30 * 1000,
    LABEL_WIDTH = 10,      /* of the rows for people */
    MOST_MEASURED = 10000, /* tasks; what more of them use is told by instance and cluster alone */
};

/* What is told about each cluster: how the API lists and describes it, and the members of the
 * API's objects under our names. */
struct listing {
    const char *member;
    const char *list, *arns, *describe, *objects;
    const char *pairs[6][2];
};

enum { INSTANCES, SERVICES, TASKS, LISTINGS };

static const struct listing listings[LISTINGS] = {
    [INSTANCES] = {"instances",
                   "ListContainerInstances",
                   "containerInstanceArns",
                   "DescribeContainerInstances",
                   "containerInstances",
                   {{"arn", "containerInstanceArn"},
                    {"status", "status"},
                    {"agentConnected", "agentConnected"},
                    {"runningTasks", "runningTasksCount"},
                    {"pendingTasks", "pendingTasksCount"}}},
    [SERVICES] = {"services",
                  "ListServices",
                  "serviceArns",
                  "DescribeServices",
                  "services",
                  {{"arn", "serviceArn"},
                   {"status", "status"},
                   {"taskDefinition", "taskDefinition"},
                   {"desiredTasks", "desiredCount"},
                   {"runningTasks", "runningCount"},
                   {"pendingTasks", "pendingCount"}}},
    [TASKS] = {"tasks",
               "ListTasks",
               "taskArns",
               "DescribeTasks",
               "tasks",
               {{"arn", "taskArn"},
                {"taskDefinition", "taskDefinitionArn"},
                {"lastStatus", "lastStatus"},
                {"desiredStatus", "desiredStatus"}}},
};

/* What has been measured of an instance or a task, by id. */
struct measure {
    const char *id;
    const struct fl_json *object;
};

struct measures {
    struct measure *items; /* in the order of their ids */
    size_t n;
};

struct report {
    const struct fl_options *options;
    pid_t server, agent;                       /* 0: does not run */
    struct fl_operator_items *found[LISTINGS]; /* of each cluster */
    size_t cluster_count;
    const struct fl_json *measured; /* what agents have measured, by cluster; NULL: not known */
    struct measures by_id[LISTINGS];
    const struct fl_json *images; /* this host's, as its agent says; NULL: it says nothing */
};

/* ---- gathering ---- */

static pid_t find_role(struct fl_str data_dir, const char *name)
{
    FL_CLEANUP_DAEMON struct fl_daemon daemon = fl_daemon_find(data_dir, name);
    return FL_MAX(daemon.pid, 0);
}

static int find(struct fl_operator *caller, const struct listing *listing, const char *cluster,
                struct fl_operator_items *ret_found, struct fl_err *err)
{
    const struct fl_operator_member query = {"cluster", cluster};
    struct fl_operator_items arns;
    int r = fl_operator_list(caller, listing->list, &query, 1, listing->arns, &arns, err);
    if (r == 0)
        r = fl_operator_describe(caller, listing->describe, cluster, listing->objects, &arns,
                                 ret_found, err);
    return r;
}

static int by_id(const void *a, const void *b)
{
    const struct measure *x = a, *y = b;
    return strcmp(x->id, y->id);
}

/* Adds the list's objects, whose member `key` is their id. */
static void add_measures(struct measures *measures, const struct fl_json *list, const char *key)
{
    for (size_t i = 0; i < fl_json_items(list); i++) {
        const struct fl_json *object = fl_json_item(list, i);
        const char *id = fl_json_z(fl_json_get(object, key));
        if (id)
            measures->items[measures->n++] = (struct measure){id, object};
    }
}

static const struct fl_json *instances_of(const struct report *report, size_t cluster)
{
    return fl_json_get(fl_json_item(report->measured, cluster), "containerInstances");
}

/* So that each row finds its own at once. */
static void sort_measures(struct report *report, struct fl_arena *arena)
{
    size_t count[LISTINGS] = {0};
    for (size_t at = 0; at < fl_json_items(report->measured); at++) {
        const struct fl_json *instances = instances_of(report, at);
        count[INSTANCES] += fl_json_items(instances);
        for (size_t i = 0; i < fl_json_items(instances); i++)
            count[TASKS] += fl_json_items(fl_json_get(fl_json_item(instances, i), "tasks"));
    }
    for (size_t which = 0; which < LISTINGS; which++)
        report->by_id[which].items = fl_arena_new_array(arena, struct measure, count[which]);
    for (size_t at = 0; at < fl_json_items(report->measured); at++) {
        const struct fl_json *instances = instances_of(report, at);
        add_measures(&report->by_id[INSTANCES], instances, "containerInstance");
        for (size_t i = 0; i < fl_json_items(instances); i++)
            add_measures(&report->by_id[TASKS], fl_json_get(fl_json_item(instances, i), "tasks"),
                         "task");
    }
    for (size_t which = 0; which < LISTINGS; which++)
        if (report->by_id[which].n > 0)
            qsort(report->by_id[which].items, report->by_id[which].n, sizeof(struct measure),
                  by_id);
}

static int find_measures(struct report *report, struct fl_operator *caller, struct fl_err *err)
{
    const struct fl_json *answer;
    size_t tasks = 0;
    for (size_t at = 0; at < report->cluster_count; at++)
        tasks += report->found[TASKS][at].n;
    struct fl_str request = tasks <= MOST_MEASURED ? FL_STR("{\"instances\":true,\"tasks\":true}")
                                                   : FL_STR("{\"instances\":true}");
    int r = fl_operator_send(caller, "Fairlead_20261120.Utilization", request, CALL_TIMEOUT_MS,
                             &answer, err);
    if (r < 0)
        return r;
    report->measured = fl_json_get(answer, "clusters");
    sort_measures(report, caller->arena);
    return 0;
}

/* What has been found until something fails stays in the report. */
static int ask_server(struct report *report, struct fl_err *err)
{
    struct fl_operator caller;
    struct fl_operator_items clusters;
    int r = fl_operator_open(report->options, &caller, err);
    if (r == 0)
        r = fl_operator_clusters(&caller, &clusters, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < LISTINGS; i++)
        report->found[i] =
            fl_arena_new_array(caller.arena, struct fl_operator_items, clusters.n + 1);
    report->cluster_count = clusters.n;
    for (size_t at = 0; r == 0 && at < clusters.n; at++) {
        const char *arn = fl_json_z(clusters.items[at]);
        for (size_t i = 0; r == 0 && i < LISTINGS; i++)
            r = find(&caller, &listings[i], arn ? arn : "", &report->found[i][at], err);
    }
    return r == 0 ? find_measures(report, &caller, err) : r;
}

/* What the agent of this machine wrote last, if it runs. */
static void find_images(struct report *report, struct fl_arena *arena)
{
    enum { MAX_FILE = 1 << 20 };
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_FILE);
    struct fl_str path = fl_str_printf(arena, "%s/agent/images/" FL_IMAGES_STATUS_FILE,
                                       report->options->value[FL_OPTION_DATA_DIR].p);
    if (report->agent > 0 && fl_fs_read(AT_FDCWD, path.p, text.max, &text) == 0)
        report->images = fl_json_read(fl_buf_str(&text), arena, NULL);
}

/* ---- for programs ---- */

static void write_role(struct fl_json_writer *jw, const char *name, pid_t pid)
{
    fl_jw_key(jw, name);
    fl_jw_object_begin(jw);
    fl_jw_member_bool(jw, "running", pid > 0);
    fl_jw_member_int(jw, "pid", pid);
    fl_jw_object_end(jw);
}

static void write_object(struct fl_json_writer *jw, const struct listing *listing,
                         const struct fl_json *object)
{
    static const struct fl_json nothing = {.kind = FL_JSON_NULL};
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < FL_ARRAY_SIZE(listing->pairs) && listing->pairs[i][0]; i++) {
        const struct fl_json *value = fl_json_get(object, listing->pairs[i][1]);
        fl_jw_key(jw, listing->pairs[i][0]);
        fl_jw_json(jw, value ? value : &nothing);
    }
    fl_jw_object_end(jw);
}

static void write_listing(struct fl_json_writer *jw, const struct report *report, size_t which)
{
    fl_jw_key(jw, listings[which].member);
    fl_jw_array_begin(jw);
    for (size_t at = 0; at < report->cluster_count; at++) {
        const struct fl_operator_items *found = &report->found[which][at];
        for (size_t i = 0; i < found->n; i++)
            write_object(jw, &listings[which], found->items[i]);
    }
    fl_jw_array_end(jw);
}

static void print_json(const struct report *report)
{
    static const struct fl_json no_list = {.kind = FL_JSON_ARRAY};
    static const struct fl_json nothing = {.kind = FL_JSON_NULL};
    const struct fl_options *options = report->options;
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_REPORT);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "dataDir", options->value[FL_OPTION_DATA_DIR]);
    fl_jw_member_str(&jw, "endpoint", fl_options_endpoint(options));
    fl_jw_member_str(&jw, "region", options->value[FL_OPTION_REGION]);
    fl_jw_member_str(&jw, "account", options->value[FL_OPTION_ACCOUNT]);
    write_role(&jw, "server", report->server);
    write_role(&jw, "agent", report->agent);
    for (size_t i = 0; i < LISTINGS; i++)
        write_listing(&jw, report, i);
    fl_jw_key(&jw, "images");
    fl_jw_json(&jw, report->images ? report->images : &nothing);
    fl_jw_key(&jw, "utilization");
    fl_jw_json(&jw, report->measured ? report->measured : &no_list);
    fl_jw_object_end(&jw);
    fl_operator_print(fl_buf_str(&text));
}

/* ---- for people ---- */

static const char *text_of(const struct fl_json *object, const char *key)
{
    const char *text = fl_json_z(fl_json_get(object, key));
    return text ? text : "-";
}

static const char *short_arn(const char *arn)
{
    const char *slash = strrchr(arn, '/');
    return slash ? slash + 1 : arn;
}

static long long number(const struct fl_json *object, const char *key)
{
    return (long long)fl_json_int(fl_json_get(object, key));
}

static void print_role(struct fl_buf *text, const char *name, pid_t pid)
{
    if (pid > 0)
        fl_buf_printf(text, "%-9s process %d\n", name, (int)pid);
    else
        fl_buf_printf(text, "%-9s does not run\n", name);
}

static const struct fl_json *measure_of(const struct report *report, size_t which, const char *id)
{
    const struct measures *measures = &report->by_id[which];
    const struct measure probe = {.id = id};
    const struct measure *found =
        measures->n ? bsearch(&probe, measures->items, measures->n, sizeof(probe), by_id) : NULL;
    return found ? found->object : NULL;
}

/* ", 12 CPU units, 40 MiB used", where an agent has measured it. */
static void print_used(struct fl_buf *text, const struct fl_json *measured)
{
    if (fl_json_get(measured, "cpuUsed"))
        fl_buf_printf(text, ", %.0f CPU units, %.0f MiB used",
                      fl_json_number(fl_json_get(measured, "cpuUsed")),
                      fl_json_number(fl_json_get(measured, "memoryUsed")));
    fl_buf_add_char(text, '\n');
}

static void print_instance(struct fl_buf *text, const struct report *report,
                           const struct fl_json *instance)
{
    bool connected = fl_json_is_true(fl_json_get(instance, "agentConnected"));
    const char *id = short_arn(text_of(instance, "containerInstanceArn"));
    fl_buf_printf(text, "instance  %s  %s, agent %s, %d tasks running, %d pending", id,
                  text_of(instance, "status"), connected ? "connected" : "away",
                  (int)fl_json_int(fl_json_get(instance, "runningTasksCount")),
                  (int)fl_json_int(fl_json_get(instance, "pendingTasksCount")));
    print_used(text, measure_of(report, INSTANCES, id));
}

static const char *rollout_of(const struct fl_json *service)
{
    const struct fl_json *primary = fl_json_item(fl_json_get(service, "deployments"), 0);
    const char *state = fl_json_z(fl_json_get(primary, "rolloutState"));
    return state && strcmp(state, "COMPLETED") != 0 ? state : NULL;
}

static void print_service(struct fl_buf *text, const struct report *report,
                          const struct fl_json *service)
{
    const char *rollout = rollout_of(service);
    (void)report;
    fl_buf_printf(text, "service   %s  %s  %s, %d of %d tasks running, %d pending%s%s\n",
                  short_arn(text_of(service, "serviceArn")),
                  short_arn(text_of(service, "taskDefinition")), text_of(service, "status"),
                  (int)fl_json_int(fl_json_get(service, "runningCount")),
                  (int)fl_json_int(fl_json_get(service, "desiredCount")),
                  (int)fl_json_int(fl_json_get(service, "pendingCount")),
                  rollout ? ", deployment " : "", rollout ? rollout : "");
}

static void print_task(struct fl_buf *text, const struct report *report, const struct fl_json *task)
{
    const char *id = short_arn(text_of(task, "taskArn"));
    fl_buf_printf(text, "task      %s  %s  %s", id, short_arn(text_of(task, "taskDefinitionArn")),
                  text_of(task, "lastStatus"));
    print_used(text, measure_of(report, TASKS, id));
}

static void print_cluster(struct fl_buf *text, const struct fl_json *cluster)
{
    long long instances = number(cluster, "instancesRegistered");
    fl_buf_printf(
        text, "cluster   %s  %lld instance%s, %lld of %lld CPU units and %lld of %lld MiB reserved",
        text_of(cluster, "cluster"), instances, instances == 1 ? "" : "s",
        (long long)fl_json_int(fl_json_get(cluster, "cpuReserved")),
        (long long)fl_json_int(fl_json_get(cluster, "cpuRegistered")),
        (long long)fl_json_int(fl_json_get(cluster, "memoryReserved")),
        (long long)fl_json_int(fl_json_get(cluster, "memoryRegistered")));
    print_used(text, fl_json_int(fl_json_get(cluster, "instancesMeasured")) > 0 ? cluster : NULL);
}

static void print_images(struct fl_buf *text, const struct fl_json *images)
{
    const struct fl_json *pulls = fl_json_get(images, "pulls");
    if (!images)
        return;
    fl_buf_printf(text,
                  "images    %lld here, %lld MiB reclaimed, %lld of %lld MiB of the disk free%s\n",
                  number(images, "images"), number(images, "reclaimedBytes") >> 20,
                  number(images, "diskAvailableMib"), number(images, "diskMib"),
                  fl_json_is_true(fl_json_get(images, "diskFull")) ? ": FULL" : "");
    for (size_t i = 0; i < fl_json_items(pulls); i++) {
        const struct fl_json *pull = fl_json_item(pulls, i);
        fl_buf_printf(text, "pull      %s  %lld of %lld layers, %lld of %lld MiB, %lld s\n",
                      text_of(pull, "image"), number(pull, "layersDone"), number(pull, "layers"),
                      number(pull, "bytesDone") >> 20, number(pull, "bytes") >> 20,
                      number(pull, "seconds"));
    }
}

static void print_report(const struct report *report)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_REPORT);
    struct fl_buf *text = &buf;
    static void (*const print[LISTINGS])(struct fl_buf * text, const struct report *report,
                                         const struct fl_json *object) = {
        [INSTANCES] = print_instance, [SERVICES] = print_service, [TASKS] = print_task};
    const struct fl_options *options = report->options;
    fl_buf_printf(text, "endpoint  %s, region %s, account %s\ndata      %s\n",
                  fl_options_endpoint(options).p, options->value[FL_OPTION_REGION].p,
                  options->value[FL_OPTION_ACCOUNT].p, options->value[FL_OPTION_DATA_DIR].p);
    print_role(text, "server", report->server);
    print_role(text, "agent", report->agent);
    print_images(text, report->images);
    for (size_t i = 0; i < fl_json_items(report->measured); i++)
        print_cluster(text, fl_json_item(report->measured, i));
    for (size_t which = 0; which < LISTINGS; which++)
        for (size_t at = 0; at < report->cluster_count; at++)
            for (size_t i = 0; i < report->found[which][at].n; i++)
                print[which](text, report, report->found[which][at].items[i]);
    fl_fold_print(fl_buf_str(text), LABEL_WIDTH);
}

/* The status's own verdict, one line for stderr; NULL when all is well. */
static const char *verdict(const struct report *report, int r, const struct fl_err *err)
{
    if (report->server == 0)
        return "the server does not run: `sudo fairlead up` starts it";
    if (report->agent == 0)
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
    struct report report = {.options = &options,
                            .server = find_role(data_dir, "server"),
                            .agent = find_role(data_dir, "agent")};
    find_images(&report, arena);
    if (report.server > 0)
        r = ask_server(&report, &err);
    if (fl_options_on(&options, FL_OPTION_JSON))
        print_json(&report);
    else
        print_report(&report);
    const char *complaint = verdict(&report, r, &err);
    if (complaint)
        (void)fprintf(stderr, "fairlead: %s\n", complaint);
    return complaint ? 1 : 0;
}
