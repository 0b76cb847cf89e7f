/* ecs.config: every variable that is honoured, what is said about the others, and refusals.
 * Method: a file in a temporary directory and the environment, settings and notes compared. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/ecs_config.h"

struct outcome {
    struct fl_arena *arena;
    struct fl_ecs_settings settings;
    struct fl_ecs_notes notes;
    struct fl_err err;
    int r;
};

static void forget(struct outcome *outcome)
{
    fl_arena_free(outcome->arena);
}
#define OUTCOME __attribute__((cleanup(forget))) struct outcome

static struct outcome read_text(const char *text)
{
    struct outcome outcome = {.arena = fl_arena_new()};
    char path[] = "/tmp/fairlead-ecs-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    outcome.r = fl_ecs_config_read(path, true, outcome.arena, &outcome.settings, &outcome.notes,
                                   &outcome.err);
    assert_int_equal(unlink(path), 0);
    return outcome;
}

static bool is_noted(const struct outcome *outcome, const char *text)
{
    for (size_t i = 0; i < outcome->notes.n; i++)
        if (fl_str_contains(outcome->notes.lines[i], fl_str_of(text)))
            return true;
    return false;
}

static void durations_are_read_as_go_writes_them(FL_UNUSED void **state)
{
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("3h")), 3 * 3600 * 1000);
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("1h30m")), 90 * 60 * 1000);
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("1m500ms")), 60500);
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("10")), -1);
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("s")), -1);
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("1.5h")), -1);
    assert_int_equal(fl_ecs_config_duration_ms(FL_STR("99999999h")), -1);
}

static void a_file_in_use_works_unchanged(FL_UNUSED void **state)
{
    OUTCOME o = read_text("ECS_CLUSTER=production\n"
                          "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=3h\n"
                          "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached\n"
                          "ECS_NUM_IMAGES_DELETE_PER_CYCLE=10\n"
                          "ECS_RESERVED_MEMORY=256\n"
                          "ECS_ENABLE_CONTAINER_METADATA=true\n"
                          "ECS_ENABLE_TASK_IAM_ROLE=true\n"
                          "ECS_AVAILABLE_LOGGING_DRIVERS=[\"awslogs\",\"fluentd\",\"syslog\"]\n");
    assert_int_equal(o.r, 0);
    assert_true(fl_str_is(o.settings.cluster, "production"));
    assert_int_equal(o.settings.cleanup_delay_ms, 3 * 3600 * 1000);
    assert_int_equal(o.settings.reserved_memory_mib, 256);
    assert_true(o.settings.container_metadata);
    assert_int_equal(o.settings.logging_drivers.n, 3);
    assert_true(fl_str_is(o.settings.logging_drivers.items[2], "syslog"));
    assert_true(fl_str_is(o.settings.pull_behavior, "prefer-cached"));
    assert_int_equal(o.settings.images_per_cycle, 10);
    assert_int_equal(o.settings.image_cleanup_age_ms, 3600 * 1000);
    assert_int_equal(o.notes.n, 0);
    assert_true(o.settings.task_role);
}

static void every_kind_of_value_is_read(FL_UNUSED void **state)
{
    OUTCOME o = read_text("# a comment\n\n"
                          "ECS_RESERVED_PORTS=[22, \"80\"]\n"
                          "ECS_RESERVED_PORTS_UDP=[53]\n"
                          "ECS_LOGLEVEL=Debug\n"
                          "ECS_DISABLE_METRICS=true\n"
                          "ECS_POLLING_METRICS_WAIT_DURATION=15s\n"
                          "ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT=true\n"
                          "ECS_DISABLE_PRIVILEGED=true\n"
                          "ECS_CONTAINER_STOP_TIMEOUT=7s\n"
                          "ECS_INSTANCE_ATTRIBUTES='{\"rack\":\"7\",\"ssd\":\"\"}'\n"
                          "ECS_ENABLE_TASK_CPU_MEM_LIMIT=false\n"
                          "ECS_TASK_METADATA_RPS_LIMIT=10,20\n"
                          "ECS_CONTAINER_INSTANCE_TAGS={\"team\":\"a\"}\n"
                          "ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS=true\n"
                          "ECS_ENABLE_GPU_SUPPORT=true\n"
                          "ECS_DYNAMIC_HOST_PORT_RANGE=40000-40100\n"
                          "ECS_TASK_PIDS_LIMIT=100\n"
                          "ECS_ENABLE_TASK_IAM_ROLE=false\n"
                          "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST=0\n"
                          "ECS_AUDIT_LOGFILE=/a/b\n"
                          "ECS_AUDIT_LOGFILE_DISABLED=true\n"
                          "ECS_SELINUX_CAPABLE=true\n"
                          "ECS_APPARMOR_CAPABLE=true\n"
                          "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1m\n"
                          "ECS_CONTAINER_START_TIMEOUT=5m\n"
                          "ECS_CGROUP_CPU_PERIOD=10ms\n"
                          "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG=true\n"
                          "ECS_PROPAGATE_TASK_MEMORY_LIMIT_CGROUPV2=true\n"
                          "ECS_BACKEND_HOST=http://127.0.0.1:4566");
    const struct fl_ecs_settings *s = &o.settings;
    assert_int_equal(o.r, 0);
    assert_int_equal(o.notes.n, 0);
    assert_int_equal(s->reserved_ports.n, 2);
    assert_true(fl_str_is(s->reserved_ports.items[1], "80"));
    assert_int_equal(s->reserved_ports_udp.n, 1);
    assert_true(fl_str_is(s->log_level, "debug"));
    assert_true(s->disable_metrics && s->pull_dependents_upfront && s->disable_privileged);
    assert_int_equal(s->polling_interval_ms, 15000);
    assert_int_equal(s->stop_timeout_ms, 7000);
    assert_false(s->task_cpu_mem_limit);
    assert_int_equal(s->instance_attributes.n, 2);
    assert_int_equal(s->metadata_rps.low, 10);
    assert_int_equal(s->metadata_rps.high, 20);
    assert_true(fl_str_is(s->instance_tags.items[0].value, "a"));
    assert_true(s->offhost_introspection && s->gpu_support);
    assert_int_equal(s->dynamic_ports.low, 40000);
    assert_int_equal(s->dynamic_ports.high, 40100);
    assert_int_equal(s->task_pids_limit, 100);
    assert_false(s->task_role || s->task_role_host);
    assert_true(s->selinux && s->apparmor && s->match_shared_volumes && s->propagate_memory);
    assert_true(s->audit_off && fl_str_is(s->audit_file, "/a/b"));
    assert_int_equal(s->cleanup_jitter_ms, 60000);
    assert_int_equal(s->start_timeout_ms, 300000);
    assert_int_equal(s->cpu_period_ms, 10);
    assert_true(fl_str_is(s->backend_host, "http://127.0.0.1:4566"));
}

static void what_is_not_understood_leaves_the_default_and_is_said(FL_UNUSED void **state)
{
    static const char *const lines[] = {
        "ECS_RESERVED_PORTS=22",
        "ECS_RESERVED_PORTS=[70000]",
        "ECS_RESERVED_PORTS_UDP=[0]",
        "ECS_LOGLEVEL=loud",
        "ECS_DISABLE_METRICS=perhaps",
        "ECS_ENABLE_TASK_CPU_MEM_LIMIT=perhaps",
        "ECS_POLLING_METRICS_WAIT_DURATION=1s",
        "ECS_POLLING_METRICS_WAIT_DURATION=21s",
        "ECS_RESERVED_MEMORY=-1",
        "ECS_RESERVED_MEMORY=1GB",
        "ECS_AVAILABLE_LOGGING_DRIVERS=awslogs",
        "ECS_AVAILABLE_LOGGING_DRIVERS=[{}]",
        "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1ms",
        "ECS_INSTANCE_ATTRIBUTES={\"a\":1}",
        "ECS_TASK_METADATA_RPS_LIMIT=60,40",
        "ECS_DYNAMIC_HOST_PORT_RANGE=1-70000",
        "ECS_TASK_PIDS_LIMIT=0",
    };
    OUTCOME fresh = read_text("");
    for (size_t i = 0; i < FL_ARRAY_SIZE(lines); i++) {
        OUTCOME o = read_text(lines[i]);
        assert_int_equal(o.r, 0);
        assert_int_equal(o.notes.n, 1);
        assert_true(is_noted(&o, "is not understood"));
        assert_int_equal(o.settings.reserved_ports.n, fresh.settings.reserved_ports.n);
        assert_int_equal(o.settings.cleanup_delay_ms, fresh.settings.cleanup_delay_ms);
        assert_int_equal(o.settings.polling_interval_ms, fresh.settings.polling_interval_ms);
        assert_int_equal(o.settings.metadata_rps.low, fresh.settings.metadata_rps.low);
        assert_int_equal(o.settings.dynamic_ports.high, 0);
        assert_int_equal(o.settings.reserved_memory_mib, 0);
        assert_false(o.settings.disable_metrics);
        assert_true(o.settings.task_cpu_mem_limit);
        assert_true(o.settings.task_role && o.settings.task_role_host);
        assert_int_equal(o.settings.cpu_period_ms, 100);
        assert_int_equal(o.settings.start_timeout_ms, 180000);
        assert_int_equal(o.settings.logging_drivers.n, fresh.settings.logging_drivers.n);
    }
}

static void what_has_no_effect_is_named(FL_UNUSED void **state)
{
    OUTCOME o = read_text("DOCKER_HOST=unix:///x\nECS_FOO=1\nLANG=C\n");
    assert_int_equal(o.r, 0);
    assert_true(is_noted(&o, "DOCKER_HOST has no effect here"));
    assert_true(is_noted(&o, "ECS_FOO is not a variable of the ECS agent"));
    assert_int_equal(o.notes.n, 3);
}

static void the_environment_wins(FL_UNUSED void **state)
{
    assert_int_equal(setenv("ECS_CLUSTER", "b", 1), 0);
    OUTCOME o = read_text("ECS_CLUSTER=a\nECS_RESERVED_MEMORY=5\n");
    assert_int_equal(unsetenv("ECS_CLUSTER"), 0);
    assert_true(fl_str_is(o.settings.cluster, "b"));
    assert_int_equal(o.settings.reserved_memory_mib, 5);
    assert_int_equal(setenv("ECS_CLUSTER", "", 1), 0);
    OUTCOME empty = read_text("ECS_CLUSTER=a\n");
    assert_int_equal(unsetenv("ECS_CLUSTER"), 0);
    assert_true(fl_str_is(empty.settings.cluster, "a"));
}

static void a_broken_file_is_refused_by_line(FL_UNUSED void **state)
{
    OUTCOME o = read_text("ECS_CLUSTER=a\nnonsense\n");
    assert_int_equal(o.r, -EINVAL);
    assert_non_null(strstr(o.err.text, "line 2: \"nonsense\" is not NAME=VALUE"));
    struct fl_ecs_settings settings;
    struct fl_ecs_notes notes;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err;
    assert_int_equal(fl_ecs_config_read("/nonexistent", true, arena, &settings, &notes, &err),
                     -ENOENT);
    assert_int_equal(fl_ecs_config_read("/nonexistent", false, arena, &settings, &notes, &err), 0);
    assert_int_equal(settings.stop_timeout_ms, 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_as_go_writes_them),
        cmocka_unit_test(a_file_in_use_works_unchanged),
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(what_is_not_understood_leaves_the_default_and_is_said),
        cmocka_unit_test(what_has_no_effect_is_named),
        cmocka_unit_test(the_environment_wins),
        cmocka_unit_test(a_broken_file_is_refused_by_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
