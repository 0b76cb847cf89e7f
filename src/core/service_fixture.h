/* For tests of where a service's tasks are: hosts in zones, agents that obey, and what can be seen
 * of it. */
#pragma once

#include "core/core_fixture.h"

enum { PLACE_MAX_HOSTS = 16 };

struct place {
    struct fix *f;
    char hosts[PLACE_MAX_HOSTS][64];
    uint64_t sessions[PLACE_MAX_HOSTS];
    size_t host_count;
};

/* Adds a connected host in a zone ("a", "b", …). */
static inline size_t place_add_host(struct place *p, const char *zone, int cpu)
{
    char attributes[300];
    size_t at = p->host_count++;
    assert_true(at < PLACE_MAX_HOSTS);
    (void)snprintf(attributes, sizeof(attributes),
                   "{'name':'ecs.availability-zone','value':'eu-central-1%s'},"
                   "{'name':'com.amazonaws.ecs.capability.docker-remote-api.1.24'},"
                   "{'name':'ecs.capability.container-health-check'}",
                   zone);
    fix_add_instance(p->f, "default", cpu, 4000, attributes, p->hosts[at]);
    p->sessions[at] = p->f->next_session - 1;
    return at;
}

/* A cluster, and the definition "web" of 100 CPU units. */
static inline struct place *place_new(void)
{
    struct place *p = fl_calloc(1, sizeof(*p));
    p->f = fix_new();
    fix_ok(p->f, "CreateCluster", "{}");
    fix_register(p->f, "web", 100, 50, "");
    return p;
}

static inline void place_free(struct place *p)
{
    fix_recover(p->f, false);
    fix_free(p->f);
    free(p);
}

/* A core built from the records goes on in place of this one; who was away is away. */
static inline void place_restart(struct place *p)
{
    fix_recover(p->f, true);
    for (size_t i = 0; i < p->host_count; i++)
        if (p->sessions[i])
            for (size_t k = 0; k < p->f->session_count; k++)
                if (strcmp(p->f->sessions[k].instance, p->hosts[i]) == 0)
                    p->sessions[i] = p->f->sessions[k].session;
}

static inline void place_away(struct place *p, size_t host)
{
    fix_disconnect(p->f, "default", p->hosts[host], p->sessions[host]);
    p->sessions[host] = 0;
}

static inline void place_back(struct place *p, size_t host)
{
    p->sessions[host] = fix_connect(p->f, "default", p->hosts[host]);
}

static inline void place_drain(struct place *p, size_t host, const char *status)
{
    fix_ok(p->f, "UpdateContainerInstancesState", "{'containerInstances':['%s'],'status':'%s'}",
           p->hosts[host], status);
}

/* The tasks of a host, or of all (-1), whose desired status this is; at most 100. */
static inline const struct fl_json *place_tasks(struct place *p, int host, const char *desired,
                                                struct fl_arena *arena)
{
    if (host < 0)
        fix_ok(p->f, "ListTasks", "{'desiredStatus':'%s'}", desired);
    else
        fix_ok(p->f, "ListTasks", "{'containerInstance':'%s','desiredStatus':'%s'}", p->hosts[host],
               desired);
    return fix_copy(fix_at(p->f->reply, "taskArns"), arena);
}

static inline size_t place_count(struct place *p, int host)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    return fl_json_items(place_tasks(p, host, "RUNNING", arena));
}

/* Of the tasks that are wanted, those that run. */
static inline size_t place_running(struct place *p)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *arns = place_tasks(p, -1, "RUNNING", arena);
    size_t n = 0;
    for (size_t i = 0; i < fl_json_items(arns); i++) {
        fix_ok(p->f, "DescribeTasks", "{'tasks':['%s']}", fl_json_z(fl_json_item(arns, i)));
        n += strcmp(fix_text(p->f, "tasks.0.lastStatus"), "RUNNING") == 0;
    }
    return n;
}

/* Tasks that are not STOPPED, wanted or not. */
static inline int64_t place_all(struct place *p)
{
    fix_ok(p->f, "DescribeClusters", "{}");
    return fix_int(p->f, "clusters.0.runningTasksCount") +
           fix_int(p->f, "clusters.0.pendingTasksCount");
}

/* The first task on a host that is wanted. */
static inline void place_first(struct place *p, int host, char ret_arn[200])
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *arns = place_tasks(p, host, "RUNNING", arena);
    assert_true(fl_json_items(arns) > 0);
    (void)snprintf(ret_arn, 200, "%s", fl_json_z(fl_json_item(arns, 0)));
}

/* Agents that are there start what is wanted and end what is not; then the scheduler looks. */
static inline void place_obey(struct place *p)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (size_t host = 0; host < p->host_count; host++) {
        if (!p->sessions[host])
            continue;
        for (int round = 0; round < 2; round++) {
            const struct fl_json *arns =
                place_tasks(p, (int)host, round ? "STOPPED" : "RUNNING", arena);
            for (size_t i = 0; i < fl_json_items(arns); i++)
                fix_report(p->f, fl_json_z(fl_json_item(arns, i)), round ? "STOPPED" : "RUNNING",
                           "");
        }
    }
    fix_schedule(p->f);
}

/* Time goes by, and agents obey at once. */
static inline void place_pass(struct place *p, int64_t ms)
{
    enum { STEP_MS = 10 * 1000 };
    fix_schedule(p->f);
    place_obey(p);
    for (int64_t passed = 0; passed < ms; passed += STEP_MS) {
        p->f->now_ms += FL_MIN((int64_t)STEP_MS, ms - passed);
        fix_schedule(p->f);
        place_obey(p);
    }
}

/* Until nothing happens any more but what takes long. */
static inline void place_settle(struct place *p)
{
    place_pass(p, 5 * (int64_t)FL_CORE_STRICT_SETTLE_MS);
}

static inline void place_create(struct place *p, const char *more)
{
    fix_ok(p->f, "CreateService", "{'serviceName':'s','taskDefinition':'web'%s}", more);
    place_settle(p);
}

static inline int64_t place_service(struct place *p, const char *member)
{
    char path[100];
    fix_ok(p->f, "DescribeServices", "{'services':['s']}");
    (void)snprintf(path, sizeof(path), "services.0.%s", member);
    return fix_int(p->f, path);
}

/* How many events have this in their text. */
static inline size_t place_events(struct place *p, const char *text)
{
    size_t n = 0;
    fix_ok(p->f, "DescribeServices", "{'services':['s']}");
    const struct fl_json *events = fix_at(p->f->reply, "services.0.events");
    for (size_t i = 0; i < fl_json_items(events); i++)
        n += strstr(fl_json_z(fl_json_get(fl_json_item(events, i), "message")), text) != NULL;
    return n;
}

static inline bool place_is_steady(struct place *p)
{
    fix_ok(p->f, "DescribeServices", "{'services':['s']}");
    return fix_size(p->f, "services.0.deployments") == 1 &&
           fix_int(p->f, "services.0.runningCount") == fix_int(p->f, "services.0.desiredCount") &&
           fix_int(p->f, "services.0.pendingCount") == 0 &&
           strcmp(fix_text(p->f, "services.0.deployments.0.rolloutState"), "COMPLETED") == 0;
}

static inline void place_show_events(struct place *p)
{
    fix_ok(p->f, "DescribeServices", "{'services':['s']}");
    const struct fl_json *events = fix_at(p->f->reply, "services.0.events");
    for (size_t i = fl_json_items(events); i > 0; i--)
        print_message("# %s\n", fl_json_z(fl_json_get(fl_json_item(events, i - 1), "message")));
}
