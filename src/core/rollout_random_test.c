/* Rollouts of every kind, as chance wills: tasks start, fail, end, turn ill; users deploy, scale,
 * stop what is under way; the server is restarted. Whatever has happened, the scheduler comes to
 * rest, a rebuilt core agrees, one deployment is PRIMARY and one rollout at most is open; and when
 * tasks start again, the service is as it was asked to be. A number as argument is the first seed.
 */
#include "base/id.h"
#include "core/rollout_fixture.h"

enum { LIVES = 12, STEPS = 60 };

static uint64_t first_seed = 1;

static const char *const configs[] = {
    "'minimumHealthyPercent':100,'maximumPercent':200",
    "'minimumHealthyPercent':50,'maximumPercent':150,'bakeTimeInMinutes':1",
    "'minimumHealthyPercent':0,'maximumPercent':100",
    ("'minimumHealthyPercent':50,'maximumPercent':100,'earlySuccessCriteria':{'enable':true,"
     "'healthyPercent':50,'sourceServiceRevisionCleanup':'DEFERRED'}"),
    "'strategy':'BLUE_GREEN','bakeTimeInMinutes':1",
};

static const char *const breakers[] = {
    "",
    ",'deploymentCircuitBreaker':{'enable':true,'rollback':true}",
    ",'deploymentCircuitBreaker':{'enable':true,'rollback':false,'resetOnHealthyTask':false}",
    (",'deploymentCircuitBreaker':{'enable':true,'rollback':true,"
     "'thresholdConfiguration':{'type':'COUNT','value':1}}"),
};

static const char *const ends[] = {
    "",
    ",'reason':'CannotPullContainerError: later'",
    ",'reason':'CannotPullContainerError: not found'",
    ",'containers':[{'containerName':'app','status':'STOPPED','exitCode':1}]",
};

/* Some of the tasks do something. */
static void play_agents(struct fix *f, struct fl_rand *rand)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    bool is_stop = fl_rand_below(rand, 3) == 0;
    fix_ok(f, "ListTasks", "{'desiredStatus':'%s'}", is_stop ? "STOPPED" : "RUNNING");
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    for (size_t i = 0; i < fl_json_items(arns); i++) {
        const char *arn = fl_json_z(fl_json_item(arns, i));
        if (fl_rand_below(rand, 2))
            continue;
        if (!is_stop && fl_rand_below(rand, 2))
            fix_report(f, arn, "RUNNING", "");
        else if (is_stop || fl_rand_below(rand, 2))
            fix_report(f, arn, "STOPPED", ends[fl_rand_below(rand, FL_ARRAY_SIZE(ends))]);
    }
}

static void play_user(struct fix *f, struct fl_rand *rand)
{
    char id[64];
    switch (fl_rand_below(rand, 6)) {
    case 0:
    case 1:
        fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
        return;
    case 2:
        fix_ok(f, "UpdateService", "{'service':'s','desiredCount':%d}",
               (int)fl_rand_below(rand, 6));
        return;
    case 3:
        (void)snprintf(id, sizeof(id), "%s", fix_rollout(f, "id"));
        (void)fix_call(f, "StopServiceDeployment",
                       "{'serviceDeploymentArn':'arn:aws:ecs:%s:%s:service-deployment/default/s/"
                       "%s'}",
                       fix_region, fix_account, id);
        return;
    case 4:
        fix_ok(f, "UpdateService",
               "{'service':'s','deploymentConfiguration':{'maximumPercent':200%s}}",
               breakers[fl_rand_below(rand, FL_ARRAY_SIZE(breakers))]);
        return;
    default:
        fix_recover(f, true);
    }
}

static void check(struct fix *f)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    size_t primary = 0, open = 0;
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    for (size_t i = 0; i < fix_size(f, "services.0.deployments"); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "services.0.deployments.%zu.status", i);
        primary += strcmp(fix_text(f, path), "PRIMARY") == 0;
    }
    assert_int_equal(primary, 1);
    for (size_t i = fix_find_record(f, "o/"); i < fix_find_record(f, "o0"); i++)
        open += !fl_json_get(fix_parse(fl_str_of(f->records[i].value), arena), "finishedAt");
    assert_true(open <= 1);
}

/* The last deployment is a good one. */
static void check_end(struct fix *f)
{
    f->now_ms += 1000;
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':3,'forceNewDeployment':true}");
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_int_equal(fix_int(f, "services.0.runningCount"), 3);
    assert_string_equal(fix_rollout(f, "status"), "SUCCESSFUL");
    fix_quiet(f);
}

static void lives(FL_UNUSED void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + LIVES; seed++) {
        uint8_t bytes[32] = {0};
        struct fl_rand rand;
        struct fix *f = fix_ready();
        memcpy(bytes, &seed, sizeof(seed));
        fl_rand_seed(&rand, bytes);
        print_message("# seed %llu\n", (unsigned long long)seed);
        fix_ok(f, "CreateService",
               "{'serviceName':'s','taskDefinition':'web','desiredCount':%d,"
               "'deploymentConfiguration':{%s%s}}",
               (int)fl_rand_below(&rand, 6), configs[fl_rand_below(&rand, FL_ARRAY_SIZE(configs))],
               breakers[fl_rand_below(&rand, FL_ARRAY_SIZE(breakers))]);
        for (int i = 0; i < STEPS; i++) {
            if (fl_rand_below(&rand, 4))
                play_agents(f, &rand);
            else
                play_user(f, &rand);
            if (fl_rand_below(&rand, 2))
                fix_schedule(f);
            if (fl_rand_below(&rand, 2))
                f->now_ms += (int64_t)fl_rand_below(&rand, 50 * 1000);
            if (fl_rand_below(&rand, 4) == 0)
                fix_quiet(f);
            check(f);
        }
        check_end(f);
        fix_free(f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives),
    };
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
