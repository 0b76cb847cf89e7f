/* Random lives of services alone: REPLICA, DAEMON and EXTERNAL ones are made, rolled, stopped on
 * the way, scaled, deleted and made again under the same names; their tasks start, fail, lose their
 * health, are protected, are stopped by hand; their hosts drain, go away, come back or for good;
 * definitions go while revisions name them; hours pass, and the clock is set back. Whatever
 * happens, the scheduler comes to rest, and a core built from the records answers as the live one;
 * when all is well again, the services come to be as they are wanted. Fixed seeds, printed. */
#include "core/service_fixture.h"

enum { ROUNDS = 700, HOSTS = 6, SERVICES = 6, DEFINITIONS = 3, MINUTE_MS = 60 * 1000 };

struct world {
    struct place *p;
    struct fl_rand rand;
    bool is_draining[PLACE_MAX_HOSTS];
    char rollout[300]; /* ARN of one that was seen last */
};

static size_t below(struct world *w, size_t bound)
{
    return (size_t)fl_rand_below(&w->rand, bound);
}

#define CHOOSE(w, list) ((list)[below(w, FL_ARRAY_SIZE(list))])

static void add_host(struct world *w)
{
    static const char *const zones[] = {"a", "b", "c"};
    if (w->p->host_count < PLACE_MAX_HOSTS)
        (void)place_add_host(w->p, CHOOSE(w, zones), 2000);
}

/* The third one's container has health checks, the second one is too big for most hosts' rest. */
static void register_one(struct world *w, size_t which)
{
    char family[8];
    (void)snprintf(family, sizeof(family), "f%zu", which);
    fix_register(w->p->f, family, which == 1 ? 450 : 100, 50,
                 which == 2 ? ",'healthCheck':{'command':['CMD','true']}" : "");
}

static void change_definitions(struct world *w)
{
    struct fix *f = w->p->f;
    size_t which = below(w, DEFINITIONS), revision = 1 + below(w, 4);
    if (below(w, 2)) {
        register_one(w, which);
        return;
    }
    (void)fix_call(f, "DeregisterTaskDefinition", "{'taskDefinition':'f%zu:%zu'}", which, revision);
    (void)fix_call(f, "DeleteTaskDefinitions", "{'taskDefinitions':['f%zu:%zu']}", which, revision);
}

/* ---- what users ask for ---- */

static const char *const wishes[] = {
    "",
    "",
    ",'placementStrategy':[{'type':'binpack','field':'memory'}]",
    ",'placementConstraints':[{'type':'distinctInstance'}]",
    ",'placementConstraints':[{'type':'memberOf','expression':'attribute:no == where'}]",
    ",'deploymentConfiguration':{'minimumHealthyPercent':0,'maximumPercent':100}",
    ",'deploymentConfiguration':{'minimumHealthyPercent':50,'maximumPercent':150}",
    ",'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':true}}",
    ",'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':false,"
    "'thresholdConfiguration':{'type':'COUNT','value':1}}}",
    ",'deploymentConfiguration':{'bakeTimeInMinutes':7}",
    ",'deploymentConfiguration':{'strategy':'BLUE_GREEN','bakeTimeInMinutes':3}",
    ",'deploymentConfiguration':{'strategy':'LINEAR','linearConfiguration':{'stepPercent':40,"
    "'stepBakeTimeInMinutes':1}}",
    ",'deploymentConfiguration':{'strategy':'CANARY','canaryConfiguration':{'canaryPercent':20,"
    "'canaryBakeTimeInMinutes':2}}",
    ",'deploymentConfiguration':{'strategy':'ROLLING'}",
    ",'healthCheckGracePeriodSeconds':30,'enableECSManagedTags':true",
    ",'availabilityZoneRebalancing':'ENABLED'",
    ",'availabilityZoneRebalancing':'DISABLED'",
};

static const char *const kinds[] = {
    "", "", "", ",'schedulingStrategy':'DAEMON'", ",'deploymentController':{'type':'EXTERNAL'}",
};

static void create(struct world *w, size_t service)
{
    const char *kind = CHOOSE(w, kinds);
    char more[100] = "";
    if (!strstr(kind, "EXTERNAL"))
        (void)snprintf(more, sizeof(more), ",'taskDefinition':'f%zu'", below(w, DEFINITIONS));
    if (!strstr(kind, "DAEMON"))
        (void)snprintf(more + strlen(more), sizeof(more) - strlen(more), ",'desiredCount':%zu",
                       below(w, 7));
    (void)fix_call(w->p->f, "CreateService", "{'serviceName':'s%zu'%s%s%s}", service, kind, more,
                   CHOOSE(w, wishes));
}

static void update(struct world *w, size_t service)
{
    struct fix *f = w->p->f;
    switch (below(w, 4)) {
    case 0:
        (void)fix_call(f, "UpdateService", "{'service':'s%zu'%s}", service, CHOOSE(w, wishes));
        return;
    case 1:
        (void)fix_call(f, "UpdateService", "{'service':'s%zu','desiredCount':%zu}", service,
                       below(w, 8));
        return;
    case 2:
        (void)fix_call(f, "UpdateService", "{'service':'s%zu','taskDefinition':'f%zu'}", service,
                       below(w, DEFINITIONS));
        return;
    default:
        (void)fix_call(f, "UpdateService", "{'service':'s%zu','forceNewDeployment':true%s}",
                       service, CHOOSE(w, wishes));
    }
}

static void end_rollout(struct world *w, size_t service)
{
    struct fix *f = w->p->f;
    fix_ok(f, "DescribeServices", "{'services':['s%zu']}", service);
    const char *arn = fix_text(f, "services.0.currentServiceDeployment");
    if (below(w, 4))
        (void)snprintf(w->rollout, sizeof(w->rollout), "%s", arn);
    if (below(w, 2))
        (void)fix_call(f, "StopServiceDeployment", "{'serviceDeploymentArn':'%s'}", w->rollout);
    else
        (void)fix_call(f, "ContinueServiceDeployment",
                       "{'serviceDeploymentArn':'%s','hookId':'x','action':'CONTINUE'}",
                       w->rollout);
}

static void change_sets(struct world *w, size_t service)
{
    struct fix *f = w->p->f;
    char set[200];
    if (below(w, 3) == 0) {
        (void)fix_call(f, "CreateTaskSet",
                       "{'cluster':'default','service':'s%zu','taskDefinition':'f%zu',"
                       "'scale':{'value':%zu,'unit':'PERCENT'}}",
                       service, below(w, DEFINITIONS), below(w, 101));
        return;
    }
    if (fix_call(f, "DescribeTaskSets", "{'cluster':'default','service':'s%zu'}", service) != 200 ||
        fix_size(f, "taskSets") == 0)
        return;
    const struct fl_json *sets = fix_at(f->reply, "taskSets");
    (void)snprintf(
        set, sizeof(set), "%s",
        fl_json_z(fl_json_get(fl_json_item(sets, below(w, fl_json_items(sets))), "taskSetArn")));
    switch (below(w, 3)) {
    case 0:
        (void)fix_call(f, "UpdateTaskSet",
                       "{'cluster':'default','service':'s%zu','taskSet':'%s',"
                       "'scale':{'value':%zu.5,'unit':'PERCENT'}}",
                       service, set, below(w, 100));
        return;
    case 1:
        (void)fix_call(f, "UpdateServicePrimaryTaskSet",
                       "{'cluster':'default','service':'s%zu','primaryTaskSet':'%s'}", service,
                       set);
        return;
    default:
        (void)fix_call(f, "DeleteTaskSet",
                       "{'cluster':'default','service':'s%zu','taskSet':'%s','force':%s}", service,
                       set, below(w, 2) ? "true" : "false");
    }
}

static void ask(struct world *w)
{
    size_t service = below(w, SERVICES), what = below(w, 20);
    if (what < 5)
        create(w, service);
    else if (what < 11)
        update(w, service);
    else if (what < 14)
        (void)fix_call(w->p->f, "DeleteService", "{'service':'s%zu','force':%s}", service,
                       below(w, 2) ? "true" : "false");
    else if (what < 16)
        end_rollout(w, service);
    else if (what < 19)
        change_sets(w, service);
    else
        (void)fix_call(w->p->f, "TagResource",
                       "{'resourceArn':'arn:aws:ecs:eu-central-1:000000000000:service/default/s%zu'"
                       ",'tags':[{'key':'k%zu','value':'v'}]}",
                       service, below(w, 60));
}

/* ---- what becomes of tasks and hosts ---- */

static void touch_task(struct world *w, const char *arn)
{
    static const char *const failures[] = {
        "CannotPullContainerError: pull image manifest has been retried: not found", "Task failed",
        "CannotStartContainerError: x"};
    struct fix *f = w->p->f;
    switch (below(w, 12)) {
    case 0:
        fix_ok(f, "SubmitTaskStateChange", "{'task':'%s','status':'STOPPED','reason':'%s'}", arn,
               CHOOSE(w, failures));
        return;
    case 1:
        (void)fix_call(f, "StopTask", "{'task':'%s'}", arn);
        return;
    case 2:
        (void)fix_call(f, "UpdateTaskProtection",
                       "{'cluster':'default','tasks':['%s'],'protectionEnabled':%s}", arn,
                       below(w, 3) ? "true" : "false");
        return;
    case 3:
    case 4:
        fix_report(f, arn, "RUNNING",
                   below(w, 2) ? ",'containers':[{'containerName':'app','status':'RUNNING',"
                                 "'healthStatus':'UNHEALTHY'}]"
                               : ",'containers':[{'containerName':'app','status':'RUNNING',"
                                 "'healthStatus':'HEALTHY'}]");
        return;
    default:
        fix_report(f, arn, "RUNNING", "");
    }
}

/* Some of a host's tasks do something; most of what is to stop does. */
static void touch_tasks(struct world *w)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    size_t host = below(w, w->p->host_count);
    const struct fl_json *arns = place_tasks(w->p, (int)host, "RUNNING", arena);
    for (size_t i = 0; i < fl_json_items(arns); i++)
        if (below(w, 3))
            touch_task(w, fl_json_z(fl_json_item(arns, i)));
    arns = place_tasks(w->p, (int)host, "STOPPED", arena);
    for (size_t i = 0; w->p->sessions[host] && i < fl_json_items(arns); i++)
        if (below(w, 4))
            fix_report(w->p->f, fl_json_z(fl_json_item(arns, i)), "STOPPED", "");
}

static void touch_host(struct world *w)
{
    struct place *p = w->p;
    size_t host = below(w, p->host_count), what = below(w, 20);
    if (what == 0) {
        (void)fix_call(p->f, "DeregisterContainerInstance",
                       "{'containerInstance':'%s','force':true}", p->hosts[host]);
        p->sessions[host] = 0;
        add_host(w);
    } else if (what < 8) {
        w->is_draining[host] = !w->is_draining[host];
        (void)fix_call(p->f, "UpdateContainerInstancesState",
                       "{'containerInstances':['%s'],'status':'%s'}", p->hosts[host],
                       w->is_draining[host] ? "DRAINING" : "ACTIVE");
    } else if (p->sessions[host]) {
        place_away(p, host);
    } else {
        place_back(p, host);
    }
}

static void pass_time(struct world *w)
{
    static const int64_t spans_ms[] = {
        1000,       1000,           10 * 1000,      FL_CORE_STRICT_SETTLE_MS,
        130 * 1000, 12 * MINUTE_MS, 70 * MINUTE_MS, 7 * 60 * (int64_t)MINUTE_MS};
    if (below(w, 40) == 0)
        w->p->f->now_ms -= 3 * 24 * 60 * (int64_t)MINUTE_MS;
    else
        w->p->f->now_ms += CHOOSE(w, spans_ms);
}

static void do_something(struct world *w)
{
    size_t what = below(w, 100);
    w->p->f->now_ms += (int64_t)below(w, 300);
    if (what < 25)
        ask(w);
    else if (what < 60)
        touch_tasks(w);
    else if (what < 72)
        touch_host(w);
    else if (what < 75)
        change_definitions(w);
    else
        pass_time(w);
    if (below(w, 4))
        fix_schedule(w->p->f);
    if (below(w, 12) == 0)
        place_restart(w->p);
    else if (below(w, 4) == 0)
        fix_recover(w->p->f, false);
}

/* ---- the end: nothing is in the way any more ---- */

/* Every task that runs is healthy. */
static void cure(struct world *w)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *arns = place_tasks(w->p, -1, "RUNNING", arena);
    for (size_t i = 0; i < fl_json_items(arns); i++)
        fix_report(w->p->f, fl_json_z(fl_json_item(arns, i)), "RUNNING",
                   ",'containers':[{'containerName':'app','status':'RUNNING',"
                   "'healthStatus':'HEALTHY'}]");
}

static void heal(struct world *w)
{
    struct place *p = w->p;
    for (size_t i = 0; i < p->host_count; i++) {
        if (fix_call(p->f, "UpdateContainerInstancesState",
                     "{'containerInstances':['%s'],'status':'ACTIVE'}", p->hosts[i]) == 200 &&
            fix_size(p->f, "containerInstances") == 1 && !p->sessions[i])
            place_back(p, i);
    }
    for (size_t i = 0; i < 30; i++) {
        p->f->now_ms += i < 4 ? 24 * 60 * (int64_t)MINUTE_MS : 0;
        cure(w);
        place_pass(p, MINUTE_MS);
    }
}

/* Who is not as wanted has a reason, and says so again and again. */
static void check_service(struct world *w, size_t service)
{
    struct fix *f = w->p->f;
    const char *first = "services.0.deployments.0.rolloutState";
    fix_ok(f, "DescribeServices", "{'services':['s%zu']}", service);
    if (fix_size(f, "services") == 0 || strcmp(fix_text(f, "services.0.status"), "ACTIVE") != 0 ||
        fix_size(f, "services.0.deployments") == 0 || strcmp(fix_text(f, first), "FAILED") == 0)
        return;
    bool is_whole = strcmp(fix_text(f, first), "COMPLETED") == 0 &&
                    fix_size(f, "services.0.deployments") == 1 &&
                    fix_int(f, "services.0.runningCount") == fix_int(f, "services.0.desiredCount");
    double said = fl_json_number(fix_at(f->reply, "services.0.events.0.createdAt")) * 1000;
    bool is_said = said + 25.0 * 60 * MINUTE_MS > (double)f->now_ms;
    if (!is_whole && !is_said)
        print_message("# s%zu: %s\n", service, f->reply_text);
    assert_true(is_whole || is_said);
}

static void live(uint8_t seed)
{
    struct world *w = fl_calloc(1, sizeof(*w));
    uint8_t bytes[32] = {seed};
    print_message("# seed %u\n", seed);
    fl_rand_seed(&w->rand, bytes);
    w->p = place_new();
    w->p->f->seed = (uint64_t)seed << 32;
    for (size_t i = 0; i < HOSTS; i++)
        add_host(w);
    for (size_t i = 0; i < DEFINITIONS; i++)
        register_one(w, i);
    for (int round = 0; round < ROUNDS; round++)
        do_something(w);
    heal(w);
    for (size_t i = 0; i < SERVICES; i++)
        check_service(w, i);
    place_free(w->p);
    free(w);
}

static void services_come_to_rest(FL_UNUSED void **state)
{
    static const uint8_t seeds[] = {1, 5, 8};
    for (size_t i = 0; i < FL_ARRAY_SIZE(seeds); i++)
        live(seeds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_come_to_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
