/* For the tests of rollouts with stages: a service of two tasks, its agents, and where it is. */
#pragma once

#include "core/core_fixture.h"

enum { MINUTE = 60 * 1000 };

/* A core with a cluster, two instances, and the definitions "web" and "hook". */
static inline struct fix *staged_new(void)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    for (int i = 0; i < 2; i++)
        fix_add_instance(f, "default", 1024, 1000, "", instance);
    fix_register(f, "web", 100, 50, "");
    fix_register(f, "hook", 100, 50, "");
    return f;
}

/* Reports for every task that is listed with this desired status; only of this startedBy, unless
 * it is NULL. */
static inline void staged_report(struct fix *f, const char *filter, const char *status)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fix_ok(f, "ListTasks", "{%s}", filter);
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    for (size_t i = 0; i < fl_json_items(arns); i++)
        fix_report(f, fl_json_z(fl_json_item(arns, i)), status, "");
}

/* Agents do what they are told, and what runs has settled. */
static inline void staged_obey(struct fix *f)
{
    fix_schedule(f);
    staged_report(f, "'desiredStatus':'RUNNING'", "RUNNING");
    staged_report(f, "'desiredStatus':'STOPPED'", "STOPPED");
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    staged_report(f, "'desiredStatus':'STOPPED'", "STOPPED");
    fix_schedule(f);
}

static inline const struct fl_json *staged_record(const struct fix *f, const char *prefix,
                                                  const char *member, const char *value,
                                                  struct fl_arena *arena)
{
    const struct fl_json *last = NULL;
    for (size_t i = 0; i < f->record_count; i++) {
        if (strncmp(f->records[i].key, prefix, strlen(prefix)) != 0)
            continue;
        const struct fl_json *json = fix_parse(fl_str_of(f->records[i].value), arena);
        if (!member || strcmp(fl_json_z(fl_json_get(json, member)), value) == 0)
            last = json;
    }
    return last;
}

/* The record of the service deployment that is under way; else of the one that finished last. */
static inline const struct fl_json *staged_rollout(const struct fix *f, struct fl_arena *arena)
{
    const struct fl_json *service = staged_record(f, "m/", NULL, NULL, arena);
    const char *id = fl_json_z(fl_json_get(service, "rollout"));
    const struct fl_json *last = NULL;
    if (id && *id)
        return staged_record(f, "o/", "id", id, arena);
    for (size_t i = 0; i < f->record_count; i++) {
        if (strncmp(f->records[i].key, "o/", 2) != 0)
            continue;
        const struct fl_json *json = fix_parse(fl_str_of(f->records[i].value), arena);
        if (!last || fl_json_number(fl_json_get(json, "createdAt")) >=
                         fl_json_number(fl_json_get(last, "createdAt")))
            last = json;
    }
    return last;
}

static inline void staged_expect(struct fix *f, const char *member, const char *value)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *rollout = staged_rollout(f, arena);
    assert_non_null(rollout);
    assert_string_equal(fl_json_z(fl_json_get(rollout, member)), value);
}

/* The stage that is under way, and that a core built from the records is there, too. */
static inline void staged_at(struct fix *f, const char *stage)
{
    fix_schedule(f);
    staged_expect(f, "lifecycleStage", stage);
    staged_expect(f, "status", "IN_PROGRESS");
    fix_recover(f, true);
    fix_schedule(f);
    staged_expect(f, "lifecycleStage", stage);
    fix_timer(f);
    assert_int_equal(f->records_put, 0);
}

/* Running tasks of the deployments: of the PRIMARY, and of all others. */
static inline void staged_count(struct fix *f, int primary, int others)
{
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    int all = (int)fix_int(f, "services.0.runningCount");
    assert_int_equal(fix_int(f, "services.0.deployments.0.runningCount"), primary);
    assert_int_equal(all - primary, others);
}

static inline void staged_create(struct fix *f, const char *configuration)
{
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':2,"
           "'deploymentConfiguration':{%s}}",
           configuration);
}

static inline void staged_deploy(struct fix *f)
{
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    f->now_ms += 1;
}

/* A service whose first rollout is done. */
static inline void staged_create_done(struct fix *f, const char *configuration)
{
    staged_create(f, configuration);
    f->now_ms += 1;
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_count(f, 2, 0);
}
