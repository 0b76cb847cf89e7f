/* For tests of what becomes of a service's tasks: a cluster with two instances, agents that obey or
 * fail, and a look at events and rollouts. */
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
