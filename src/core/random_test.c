/* A random life of a control plane: definitions, hosts, sessions, tasks, services, stops, reports
 * (many of them twice, late or of tasks long gone) and timers in any order, with the core rebuilt
 * from its records again and again. What is checked is what a user would notice: a state never goes
 * back, no host gives more than it has nor a port twice, a repeated report changes nothing, and a
 * recovered core answers like the one before it. Fixed seeds, printed. */
#include "core/core_fixture.h"

enum { ROUNDS = 1500, HOSTS = 6, MAX_TASKS = 8000, DEFINITIONS = 8 };

static const char *const clusters[] = {"default", "other"};
static const char *const statuses[] = {"PENDING", "RUNNING", "STOPPED"};

struct seen_task {
    char arn[160];
    size_t cluster;
    int status; /* index in statuses */
};

struct world {
    struct fix *f;
    struct fl_rand rand;
    struct {
        char id[64];
        size_t cluster;
        bool connected;
    } hosts[HOSTS];
    struct seen_task tasks[MAX_TASKS];
    size_t task_count;
    int64_t revisions[DEFINITIONS]; /* the highest seen of each family */
};

static size_t below(struct world *w, size_t bound)
{
    return (size_t)fl_rand_below(&w->rand, bound);
}

static void register_again(struct world *w, size_t i)
{
    fix_ok(w->f, "RegisterContainerInstance",
           "{'cluster':'%s','containerInstanceArn':'%s','platformDevices':[{'id':'GPU-0','type':"
           "'GPU'},{'id':'GPU-1','type':'GPU'}],'totalResources':["
           "{'name':'CPU','type':'INTEGER','integerValue':1000},"
           "{'name':'MEMORY','type':'INTEGER','integerValue':1500}]}",
           clusters[w->hosts[i].cluster], w->hosts[i].id);
}

static void add_host(struct world *w, size_t i)
{
    char rack[60];
    w->hosts[i].cluster = i % 2;
    w->hosts[i].connected = true;
    (void)snprintf(rack, sizeof(rack), "{'name':'rack','value':'r%zu'}", i / 2);
    fix_add_instance(w->f, clusters[i % 2], 1000, 1500, rack, w->hosts[i].id);
    register_again(w, i);
}

static void register_some(struct world *w)
{
    char port[120] = "";
    char gpus[80] = "";
    size_t which = below(w, DEFINITIONS);
    if (below(w, 5) == 0)
        (void)snprintf(gpus, sizeof(gpus), ",'resourceRequirements':[{'type':'GPU','value':'%zu'}]",
                       1 + below(w, 2));
    if (below(w, 2))
        (void)snprintf(port, sizeof(port),
                       ",'portMappings':[{'containerPort':80,'hostPort':%zu,'protocol':'%s'}]",
                       9000 + below(w, 3), below(w, 2) ? "tcp" : "udp");
    fix_ok(w->f, "RegisterTaskDefinition",
           "{'family':'f%zu','containerDefinitions':[{'name':'app','image':'i','cpu':%zu,"
           "'memory':%zu%s%s},{'name':'side','image':'i','memory':8,'essential':false}]}",
           which, below(w, 300), 4 + below(w, 300), port, gpus);
    int64_t revision = fix_int(w->f, "taskDefinition.revision");
    assert_int_equal(revision, w->revisions[which] + 1);
    w->revisions[which] = revision;
}

static void deregister_some(struct world *w)
{
    size_t which = below(w, DEFINITIONS);
    /* Old ones mostly: what is deregistered can be run no more. */
    size_t revision = 1 + below(w, (size_t)FL_MAX(w->revisions[which], (int64_t)1));
    (void)fix_call(w->f, "DeregisterTaskDefinition", "{'taskDefinition':'f%zu:%zu'}", which,
                   revision);
    if (below(w, 2))
        fix_ok(w->f, "DeleteTaskDefinitions", "{'taskDefinitions':['f%zu:%zu','f%zu:1']}", which,
               revision, which);
}

static void change_some(struct world *w)
{
    static const char *const values[] = {"enabled", "disabled", "enhanced"};
    size_t task = below(w, FL_MAX(w->task_count, (size_t)1));
    if (w->task_count)
        (void)fix_call(w->f, below(w, 2) ? "TagResource" : "UntagResource",
                       "{'resourceArn':'%s','tags':[{'key':'k%zu','value':'v'}],'tagKeys':['k']}",
                       w->tasks[task].arn, below(w, 60));
    (void)fix_call(w->f, "PutAccountSetting", "{'name':'containerInsights','value':'%s'}",
                   values[below(w, 3)]);
    (void)fix_call(w->f, "UpdateClusterSettings",
                   "{'cluster':'other','settings':[{'name':'containerInsights','value':'%s'}]}",
                   values[below(w, 3)]);
    (void)fix_call(w->f, "DeleteCluster", "{'cluster':'other'}"); /* there are instances */
    assert_int_equal(w->f->status, 400);
}

static void remember_arn(struct world *w, size_t cluster, const char *arn)
{
    for (size_t i = 0; i < w->task_count; i++)
        if (strcmp(w->tasks[i].arn, arn) == 0)
            return;
    assert_true(w->task_count < MAX_TASKS);
    struct seen_task *seen = &w->tasks[w->task_count++];
    seen->cluster = cluster;
    (void)snprintf(seen->arn, sizeof(seen->arn), "%s", arn);
}

static void remember_tasks(struct world *w, size_t cluster)
{
    for (size_t i = 0; i < fix_size(w->f, "tasks"); i++)
        remember_arn(
            w, cluster,
            fl_json_z(fl_json_get(fl_json_item(fix_at(w->f->reply, "tasks"), i), "taskArn")));
}

static void run_some(struct world *w)
{
    static const char *const extras[] = {
        "",
        ",'placementStrategy':[{'type':'spread','field':'attribute:rack'}]",
        ",'placementStrategy':[{'type':'binpack','field':'cpu'}]",
        ",'placementConstraints':[{'type':'distinctInstance'}]",
        ",'placementConstraints':[{'type':'memberOf','expression':'runningTasksCount < 3'}]",
        ",'startedBy':'x','tags':[{'key':'k','value':'v'}]",
        ",'overrides':{'containerOverrides':[{'name':'side','cpu':10,'command':['x']}]}",
        ",'count':11",
        ",'launchType':'FARGATE'",
    };
    size_t cluster = below(w, 2);
    char token[40] = "";
    if (below(w, 4) == 0)
        (void)snprintf(token, sizeof(token), ",'clientToken':'t%zu'", below(w, 40));
    (void)fix_call(w->f, "RunTask", "{'cluster':'%s','taskDefinition':'f%zu','count':%zu%s%s}",
                   clusters[cluster], below(w, DEFINITIONS), 1 + below(w, 3), token,
                   extras[below(w, FL_ARRAY_SIZE(extras))]);
    if (w->f->records_put > 0) /* a repeated token shows tasks that we have */
        remember_tasks(w, cluster);
}

static void start_some(struct world *w)
{
    size_t host = below(w, HOSTS), cluster = w->hosts[host].cluster;
    (void)fix_call(w->f, "StartTask",
                   "{'cluster':'%s','taskDefinition':'f%zu','containerInstances':['%s','x','%s']}",
                   clusters[cluster], below(w, DEFINITIONS), w->hosts[host].id, w->hosts[host].id);
    if (w->f->records_put > 0)
        remember_tasks(w, cluster);
}

/* Asking changes nothing, whatever the state. */
static void explain_some(struct world *w)
{
    char definition[16];
    size_t cluster = below(w, 2);
    (void)snprintf(definition, sizeof(definition), "f%zu", below(w, DEFINITIONS));
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_EXPLAIN,
        .cluster = fl_str_of(clusters[cluster]),
        .definition = fl_str_of(definition),
    };
    if (below(w, 4) == 0)
        event.service = FL_STR("s0");
    else if (w->task_count && below(w, 2))
        event.task = fl_str_of(w->tasks[below(w, w->task_count)].arn);
    fix_step(w->f, &event);
    assert_int_equal(w->f->records_put, 0);
    if (w->f->status == 200)
        assert_true(fix_int(w->f, "fitting") <= fix_int(w->f, "instances"));
}

/* What services have started nobody has told us. */
static void find_tasks(struct world *w)
{
    static const char *const desired[] = {"RUNNING", "STOPPED"};
    for (size_t i = 0; i < 4; i++) {
        char token[200] = "";
        do {
            fix_ok(w->f, "ListTasks", "{'cluster':'%s','desiredStatus':'%s','nextToken':'%s'}",
                   clusters[i / 2], desired[i % 2], token);
            const char *next = fl_json_z(fix_at(w->f->reply, "nextToken"));
            (void)snprintf(token, sizeof(token), "%s", next ? next : "");
            for (size_t k = 0; k < fix_size(w->f, "taskArns"); k++)
                remember_arn(w, i / 2, fl_json_z(fl_json_item(fix_at(w->f->reply, "taskArns"), k)));
        } while (token[0]);
    }
}

/* What may be said with CreateService and with UpdateService. */
static const char *const wishes[] = {
    "",
    ",'placementStrategy':[{'type':'binpack','field':'memory'}]",
    ",'placementConstraints':[{'type':'distinctInstance'}]",
    ",'deploymentConfiguration':{'minimumHealthyPercent':0,'maximumPercent':100}",
    ",'deploymentConfiguration':{'minimumHealthyPercent':50,'maximumPercent':150}",
    ",'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':true}}",
    ",'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':false}}",
    ",'healthCheckGracePeriodSeconds':5,'enableECSManagedTags':true",
    ",'availabilityZoneRebalancing':'DISABLED'",
};

static void serve_some(struct world *w)
{
    static const char *const strategies[] = {"REPLICA", "REPLICA", "DAEMON"};
    const char *wish = wishes[below(w, FL_ARRAY_SIZE(wishes))], *cluster = clusters[below(w, 2)];
    size_t service = below(w, 4), definition = below(w, DEFINITIONS), count = below(w, 5);
    switch (below(w, 8)) {
    case 0:
    case 1:
    case 2:
        (void)fix_call(w->f, "CreateService",
                       "{'cluster':'%s','serviceName':'s%zu','taskDefinition':'f%zu',"
                       "'desiredCount':%zu%s}",
                       cluster, service, definition, count, wish);
        return;
    case 3:
        (void)fix_call(w->f, "CreateService",
                       "{'cluster':'%s','serviceName':'s%zu','taskDefinition':'f%zu',"
                       "'schedulingStrategy':'%s'%s}",
                       cluster, service, definition, strategies[below(w, 3)], wish);
        return;
    case 4:
        (void)fix_call(w->f, "UpdateService", "{'cluster':'%s','service':'s%zu'%s}", cluster,
                       service, wish);
        return;
    case 5:
        (void)fix_call(w->f, "UpdateService",
                       "{'cluster':'%s','service':'s%zu','desiredCount':%zu}", cluster, service,
                       count);
        return;
    case 6:
        (void)fix_call(w->f, "UpdateService",
                       "{'cluster':'%s','service':'s%zu','taskDefinition':'f%zu',"
                       "'forceNewDeployment':true}",
                       cluster, service, definition);
        return;
    default:
        (void)fix_call(w->f, "DeleteService", "{'cluster':'%s','service':'s%zu','force':%s}",
                       cluster, service, below(w, 2) ? "true" : "false");
    }
}

static void look_around(struct world *w)
{
    fix_schedule(w->f);
    find_tasks(w);
}

static void stop_some(struct world *w)
{
    if (w->task_count == 0)
        return;
    const struct seen_task *task = &w->tasks[below(w, w->task_count)];
    (void)fix_call(w->f, "StopTask", "{'cluster':'%s','task':'%s'}", clusters[task->cluster],
                   task->arn);
}

static void report_some(struct world *w)
{
    if (w->task_count == 0)
        return;
    /* Mostly of young tasks, sometimes of any. */
    size_t back = below(w, 3) ? FL_MIN(w->task_count, (size_t)30) : w->task_count;
    struct seen_task *task = &w->tasks[w->task_count - 1 - below(w, back)];
    size_t status = below(w, 3);
    char more[240];
    (void)snprintf(more, sizeof(more),
                   ",'containers':[{'containerName':'app','status':'%s'%s,'runtimeId':'r%zu',"
                   "'imageDigest':'sha256:%zu'}]",
                   statuses[below(w, 3)], below(w, 2) ? ",'exitCode':1" : "", below(w, 2),
                   below(w, 3));
    fix_report(w->f, task->arn, statuses[status], below(w, 2) ? more : "");
    if (status == 2)
        task->status = 2;
    if (below(w, 2)) {
        w->f->now_ms += 1;
        fix_report(w->f, task->arn, statuses[status], "");
        assert_int_equal(w->f->records_put, 0);
    }
}

static void touch_host(struct world *w)
{
    size_t i = below(w, HOSTS);
    if (below(w, 4) == 0) {
        register_again(w, i);
        return;
    }
    if (w->hosts[i].connected)
        fix_disconnect(w->f, clusters[w->hosts[i].cluster], w->hosts[i].id,
                       w->f->sessions[i].session);
    else
        (void)fix_connect(w->f, clusters[w->hosts[i].cluster], w->hosts[i].id);
    w->hosts[i].connected = !w->hosts[i].connected;
}

static void pass_time(struct world *w)
{
    w->f->now_ms += (int64_t)below(w, 20 * 60 * 1000);
    look_around(w);
    fix_timer(w->f);
    assert_int_equal(w->f->records_put, 0);
}

static void do_something(struct world *w)
{
    size_t what = below(w, 100);
    w->f->now_ms += (int64_t)below(w, 2000);
    if (what < 8)
        register_some(w);
    else if (what < 10)
        deregister_some(w);
    else if (what < 16)
        serve_some(w);
    else if (what < 22)
        look_around(w);
    else if (what < 34)
        run_some(w);
    else if (what < 38)
        start_some(w);
    else if (what < 40)
        explain_some(w);
    else if (what < 42)
        change_some(w);
    else if (what < 50)
        stop_some(w);
    else if (what < 90)
        report_some(w);
    else if (what < 97)
        touch_host(w);
    else
        pass_time(w);
}

static int status_index(const char *text)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(statuses[i], text) == 0)
            return i;
    print_message("# unexpected status %s\n", text);
    fail();
    return -1;
}

struct sums {
    int64_t cpu, memory, running, pending, gpus[2];
};

static void add_task(const struct fl_json *task, struct sums *sums)
{
    int status = status_index(fl_json_z(fl_json_get(task, "lastStatus")));
    if (status == 2)
        return;
    sums->cpu += atoll(fl_json_z(fl_json_get(task, "cpu")));
    sums->memory += atoll(fl_json_z(fl_json_get(task, "memory")));
    const struct fl_json *gpus = fix_at(task, "containers.0.gpuIds");
    for (size_t i = 0; i < fl_json_items(gpus); i++)
        sums->gpus[fl_json_z(fl_json_item(gpus, i))[4] - '0']++;
    sums->running += status == 1;
    sums->pending += status == 0;
}

/* Every task that is remembered: its state is not behind what was seen before; its size counts on
 * its host. */
static void check_tasks(struct world *w, struct sums sums[HOSTS])
{
    for (size_t i = 0; i < w->task_count; i++) {
        struct seen_task *seen = &w->tasks[i];
        fix_ok(w->f, "DescribeTasks", "{'cluster':'%s','tasks':['%s']}", clusters[seen->cluster],
               seen->arn);
        const struct fl_json *task = fix_at(w->f->reply, "tasks.0");
        if (!task) { /* only what has stopped is ever forgotten */
            assert_int_equal(seen->status, 2);
            continue;
        }
        int status = status_index(fl_json_z(fl_json_get(task, "lastStatus")));
        assert_true(status >= seen->status);
        seen->status = status;
        const char *at = fl_json_z(fl_json_get(task, "containerInstanceArn"));
        for (size_t host = 0; host < HOSTS; host++)
            if (strcmp(w->hosts[host].id, fix_id(at)) == 0)
                add_task(task, &sums[host]);
    }
}

static void check_ports(const struct fl_json *ports)
{
    for (size_t a = 0; a < fl_json_items(ports); a++)
        for (size_t b = a + 1; b < fl_json_items(ports); b++)
            assert_string_not_equal(fl_json_z(fl_json_item(ports, a)),
                                    fl_json_z(fl_json_item(ports, b)));
}

/* Every GPU is held by one task or remains. */
static void check_gpus(const struct fl_json *host, const struct sums *sums)
{
    const struct fl_json *ids = fix_at(host, "remainingResources.4.stringSetValue");
    int64_t free[2] = {0};
    for (size_t i = 0; i < fl_json_items(ids); i++)
        free[fl_json_z(fl_json_item(ids, i))[4] - '0']++;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(free[i] + sums->gpus[i], 1);
}

static void check_hosts(struct world *w)
{
    struct sums sums[HOSTS] = {0};
    find_tasks(w);
    check_tasks(w, sums);
    for (size_t i = 0; i < HOSTS; i++) {
        fix_ok(w->f, "DescribeContainerInstances", "{'cluster':'%s','containerInstances':['%s']}",
               clusters[w->hosts[i].cluster], w->hosts[i].id);
        const struct fl_json *host = fix_at(w->f->reply, "containerInstances.0");
        assert_true(sums[i].cpu <= 1000 && sums[i].memory <= 1500);
        assert_int_equal(fl_json_int(fix_at(host, "remainingResources.0.integerValue")),
                         1000 - sums[i].cpu);
        assert_int_equal(fl_json_int(fix_at(host, "remainingResources.1.integerValue")),
                         1500 - sums[i].memory);
        assert_int_equal(fl_json_int(fix_at(host, "runningTasksCount")), sums[i].running);
        assert_int_equal(fl_json_int(fix_at(host, "pendingTasksCount")), sums[i].pending);
        assert_int_equal(fl_json_is_true(fix_at(host, "agentConnected")), w->hosts[i].connected);
        check_ports(fix_at(host, "remainingResources.2.stringSetValue"));
        check_ports(fix_at(host, "remainingResources.3.stringSetValue"));
        check_gpus(host, &sums[i]);
    }
}

static void live(uint8_t seed)
{
    struct world *w = fl_calloc(1, sizeof(*w));
    uint8_t bytes[32] = {seed};
    print_message("# seed %u\n", seed);
    fl_rand_seed(&w->rand, bytes);
    w->f = fix_new();
    w->f->seed = (uint64_t)seed << 32;
    for (size_t i = 0; i < 2; i++)
        fix_ok(w->f, "CreateCluster", "{'clusterName':'%s'}", clusters[i]);
    for (size_t i = 0; i < HOSTS; i++)
        add_host(w, i);
    for (size_t i = 0; i < DEFINITIONS; i++)
        register_some(w);
    for (int round = 0; round < ROUNDS; round++) {
        do_something(w);
        if (below(w, 60) == 0)
            fix_recover(w->f, below(w, 2));
        if (round % 250 == 249)
            check_hosts(w);
    }
    fix_recover(w->f, true);
    check_hosts(w);
    w->f->now_ms += 24 * (int64_t)FL_CORE_STOPPED_TASK_MS;
    pass_time(w);
    fix_recover(w->f, true);
    fix_free(w->f);
    free(w);
}

static void lives_hold_their_promises(FL_UNUSED void **state)
{
    for (uint8_t seed = 1; seed <= 4; seed++)
        live(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_hold_their_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
