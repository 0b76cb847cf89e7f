/* For tests of services: what becomes of their tasks when agents obey or fail, events and rollouts
 * (fix_…); and where they are: hosts in zones that come and go (place_…). */
#pragma once

#include "core/core_fixture.h"

/* A core with a cluster, two instances of 1000 CPU units and MiB, and the definition "web" of 100
 * and 50. */
static inline struct fix *fix_ready(void)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    for (int i = 0; i < 2; i++)
        fix_add_instance(f, "default", 1000, 1000, "", instance);
    fix_register(f, "web", 100, 50, "");
    return f;
}

/* Tasks of that desired status, by what they are now, are reported as another status; of a health
 * that is not empty only. Returns how many. */
static inline size_t fix_report_all(struct fix *f, const char *desired, const char *last,
                                    const char *to, const char *more)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    size_t count = 0;
    fix_ok(f, "ListTasks", "{'desiredStatus':'%s'}", desired);
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    for (size_t i = 0; i < fl_json_items(arns); i++) {
        const char *arn = fl_json_z(fl_json_item(arns, i));
        fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
        if (strcmp(fix_text(f, "tasks.0.lastStatus"), last) != 0)
            continue;
        fix_report(f, arn, to, more);
        count++;
    }
    return count;
}

/* What is to stop has stopped. */
static inline void fix_stop_all(struct fix *f)
{
    (void)fix_report_all(f, "STOPPED", "PENDING", "STOPPED", "");
    (void)fix_report_all(f, "STOPPED", "RUNNING", "STOPPED", "");
    fix_schedule(f);
}

/* Every task that is wanted has started, every other one has stopped. */
static inline void fix_obey(struct fix *f)
{
    (void)fix_report_all(f, "RUNNING", "PENDING", "RUNNING", "");
    fix_stop_all(f);
}

/* The tasks that have not started fail to, for this reason. Returns how many. */
static inline size_t fix_fail(struct fix *f, const char *reason)
{
    char more[400];
    (void)snprintf(more, sizeof(more), ",'reason':'%s'", reason);
    size_t count = fix_report_all(f, "RUNNING", "PENDING", "STOPPED", more);
    fix_schedule(f);
    return count;
}

/* Obeys until the service is as it is to be. */
static inline void fix_settle(struct fix *f)
{
    for (int i = 0; i < 20; i++) {
        fix_schedule(f);
        fix_obey(f);
        f->now_ms += FL_CORE_STRICT_SETTLE_MS;
        fix_schedule(f);
    }
}

static inline const char *fix_service(struct fix *f, const char *path)
{
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    return fix_text(f, path);
}

static inline int64_t fix_service_int(struct fix *f, const char *path)
{
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    return fix_int(f, path);
}

/* How many of the service's events hold these words. */
static inline int fix_said(struct fix *f, const char *words)
{
    int count = 0;
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    const struct fl_json *events = fix_at(f->reply, "services.0.events");
    for (size_t i = 0; i < fl_json_items(events); i++)
        count += strstr(fl_json_z(fl_json_get(fl_json_item(events, i), "message")), words) != NULL;
    return count;
}

static inline const char *fix_newest_event(struct fix *f)
{
    return fix_service(f, "services.0.events.0.message");
}

/* A member of the record of the youngest rollout, as text; "(none)". It lives until the next call.
 */
static inline const char *fix_rollout(struct fix *f, const char *path)
{
    static char text[2048];
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *youngest = NULL;
    for (size_t i = fix_find_record(f, "o/"); i < fix_find_record(f, "o0"); i++) {
        const struct fl_json *at = fix_parse(fl_str_of(f->records[i].value), arena);
        if (!youngest || fl_json_number(fl_json_get(at, "createdAt")) >=
                             fl_json_number(fl_json_get(youngest, "createdAt")))
            youngest = at;
    }
    const struct fl_json *value = fix_at(youngest, path);
    if (fl_json_is(value, FL_JSON_INTEGER))
        (void)snprintf(text, sizeof(text), "%lld", (long long)fl_json_int(value));
    else
        (void)snprintf(text, sizeof(text), "%s", value ? fl_json_z(value) : "(none)");
    return text;
}

/* A restarted server looks at every service, finds nothing to do, and waits for something to
 * happen: nothing is put, not even at a second look. */
static inline void fix_quiet(struct fix *f)
{
    fix_schedule(f);
    for (int i = 0; i < 2; i++) {
        fix_recover(f, true);
        fix_timer(f);
        if (f->records_put)
            print_message("# a quiet look put %zu records\n", f->records_put);
        assert_int_equal(f->records_put, 0);
        fix_timer(f);
        assert_int_equal(f->records_put, 0);
        assert_true(fl_core_next_due(f->core) > f->now_ms);
    }
}

/* ---- hosts ---- */

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
    char attributes[200];
    size_t at = p->host_count++;
    assert_true(at < PLACE_MAX_HOSTS);
    (void)snprintf(attributes, sizeof(attributes),
                   "{'name':'ecs.availability-zone','value':'eu-central-1%s'}", zone);
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
