/* Version consistency: tasks of a revision run the image that its first task got. */
#include "core/core_fixture.h"

#define DIGEST_A "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define DIGEST_B "sha256:ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct fix *fix_ready(const char *more, const char *image)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1024, 1000, "{'name':'ecs.cpu-architecture','value':'x86_64'}",
                     instance);
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'web','containerDefinitions':[{'name':'app','image':'%s','memory':50%s}]}",
           image, more);
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    return f;
}

static void first_task(struct fix *f, char ret_arn[200])
{
    fix_ok(f, "ListTasks", "{'serviceName':'s'}");
    (void)snprintf(ret_arn, 200, "%s", fix_text(f, "taskArns.0"));
}

static void report_digest(struct fix *f, const char *arn, const char *digest)
{
    char more[300];
    (void)snprintf(more, sizeof(more),
                   ",'containers':[{'containerName':'app','status':'RUNNING','imageDigest':'%s'}]",
                   digest);
    (void)fix_report(f, arn, "RUNNING", more);
}

/* What the agent is sent of the service's next task. */
static const char *next_image(struct fix *f)
{
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':2}");
    for (int i = 0; i < 100 && fl_core_next_due(f->core) <= f->now_ms; i++) {
        fix_timer(f);
        const char *image = fl_json_z(fix_at(f->sent, "0.task.containers.0.image"));
        if (image)
            return image;
    }
    return "(none)";
}

static void later_tasks_get_the_same_image(FL_UNUSED void **state)
{
    struct fix *f = fix_ready("", "busybox:1");
    char arn[200], revision[300];
    first_task(f, arn);
    report_digest(f, arn, DIGEST_A);
    assert_string_equal(next_image(f), "busybox:1@" DIGEST_A);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    (void)snprintf(revision, sizeof(revision), "%s",
                   fix_text(f, "services.0.currentServiceRevisions.0.arn"));
    fix_ok(f, "DescribeServiceRevisions", "{'serviceRevisionArns':['%s']}", revision);
    assert_string_equal(fix_text(f, "serviceRevisions.0.containerImages.0.imageDigest"), DIGEST_A);
    assert_string_equal(fix_text(f, "serviceRevisions.0.containerImages.0.image"), "busybox:1");
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "tasks.0.containers.0.image"), "busybox:1");
    fix_recover(f, true);
    /* Another revision finds out anew. */
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_ok(f, "DescribeServiceRevisions", "{'serviceRevisionArns':['%s']}",
           fix_text(f, "service.currentServiceRevisions.0.arn"));
    assert_null(fix_at(f->reply, "serviceRevisions.0.containerImages.0.imageDigest"));
    fix_free(f);
}

/* The first one counts, and only what is a digest. */
static void pins_stay(FL_UNUSED void **state)
{
    struct fix *f = fix_ready("", "busybox:1");
    char arn[200];
    first_task(f, arn);
    report_digest(f, arn, "sha256:00");
    report_digest(f, arn,
                  "sha256:zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    report_digest(f, arn, DIGEST_B);
    report_digest(f, arn, DIGEST_A);
    assert_string_equal(next_image(f), "busybox:1@" DIGEST_B);
    fix_free(f);
}

static void it_can_be_switched_off(FL_UNUSED void **state)
{
    static const char *const rows[][2] = {
        {",'versionConsistency':'disabled'", "busybox:1"},
        {"", "busybox@" DIGEST_B},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fix *f = fix_ready(rows[i][0], rows[i][1]);
        char arn[200];
        first_task(f, arn);
        report_digest(f, arn, DIGEST_A);
        assert_string_equal(next_image(f), rows[i][1]);
        fix_free(f);
    }
}

static void first_task_stops(struct fix *f)
{
    fix_ok(f, "ListTasks", "{'desiredStatus':'STOPPED'}");
    char arn[200];
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "taskArns.0"));
    (void)fix_report(f, arn, "STOPPED", "");
    fix_schedule(f);
}

/* Images for several architectures have a digest for each. */
static void architectures_differ(FL_UNUSED void **state)
{
    struct fix *f = fix_ready("", "busybox:1");
    char arn[200], instance[64];
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    first_task_stops(f);
    fix_add_instance(f, "default", 1024, 1000, "{'name':'ecs.cpu-architecture','value':'arm64'}",
                     instance);
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':1,"
           "'placementConstraints':[{'type':'distinctInstance'}]}");
    fix_schedule(f);
    first_task(f, arn);
    report_digest(f, arn, DIGEST_A);
    assert_string_equal(next_image(f), "busybox:1");
    fix_recover(f, true);
    fix_free(f);
}

/* Whatever agents call themselves, a revision's record stays small. */
static void pins_are_few(FL_UNUSED void **state)
{
    struct fix *f = fix_ready("", "busybox:1");
    char instance[64], attributes[100];
    fix_ok(f, "CreateService",
           "{'serviceName':'d','taskDefinition':'web','schedulingStrategy':'DAEMON'}");
    for (int i = 0; i < 20; i++) {
        (void)snprintf(attributes, sizeof(attributes),
                       "{'name':'ecs.cpu-architecture','value':'a%d'}", i);
        fix_add_instance(f, "default", 1024, 1000, attributes, instance);
        fix_schedule(f);
        fix_ok(f, "ListTasks", "{'serviceName':'d','containerInstance':'%s'}", instance);
        char arn[200];
        (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "taskArns.0"));
        report_digest(f, arn, DIGEST_A);
    }
    fix_ok(f, "DescribeServices", "{'services':['d']}");
    char key[200];
    (void)snprintf(key, sizeof(key), "r/default/d/%s",
                   fix_id(fix_text(f, "services.0.currentServiceRevisions.0.arn")));
    const char *value = f->records[fix_find_record(f, key)].value;
    size_t pins = 0;
    for (const char *at = value; (at = strstr(at, DIGEST_A)); at++)
        pins++;
    assert_int_equal(pins, 8);
    fix_free(f);
}

struct found {
    bool pinned;
};

static void look_for_digest(void *context, struct fl_str image)
{
    struct found *found = context;
    found->pinned |= fl_str_is(image, DIGEST_A);
}

/* What the service's next task is to run is not collected, even while none runs. */
static void pinned_images_are_kept(FL_UNUSED void **state)
{
    struct fix *f = fix_ready("", "busybox:1");
    struct found found = {0};
    char arn[200];
    first_task(f, arn);
    report_digest(f, arn, DIGEST_A);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':0}");
    fix_schedule(f);
    (void)fix_report(f, arn, "STOPPED", "");
    f->now_ms += FL_CORE_STOPPED_TASK_MS + 1;
    fix_schedule(f);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_int_equal(fix_size(f, "tasks"), 0);
    fl_core_each_image(f->core, look_for_digest, &found);
    assert_true(found.pinned);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_tasks_get_the_same_image),
        cmocka_unit_test(pins_stay),
        cmocka_unit_test(it_can_be_switched_off),
        cmocka_unit_test(architectures_differ),
        cmocka_unit_test(pins_are_few),
        cmocka_unit_test(pinned_images_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
