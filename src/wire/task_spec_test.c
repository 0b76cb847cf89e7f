/* The task object on the wire. Method: what is encoded is decoded again and compared member by
 * member; a text as AWS's control plane sends it is decoded; broken ones are refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/json.h"
#include "wire/task_spec.h"

static int decode_text(const char *text, struct fl_arena *arena, struct fl_task_spec *ret_spec,
                       struct fl_err *err)
{
    const struct fl_json *json = fl_json_read(fl_str_of(text), arena, err);
    assert_non_null(json);
    return fl_task_spec_decode(json, arena, ret_spec, err);
}

static struct fl_task_spec sample(struct fl_container_spec *containers)
{
    static struct fl_str entry[] = {{"/bin/sh", 7}, {"-c", 2}}, command[] = {{"echo \"hi\"", 9}};
    static struct fl_key_value env[] = {{{"A", 1}, {"1", 1}}, {{"B", 1}, {"", 0}}};
    static struct fl_secret_spec secrets[] = {
        {{"PW", 2}, {"arn:s:k::", 9}, {"eu", 2}, FL_SECRET_ASM, false},
        {{"tag", 3}, {"/app/tag", 8}, {"", 0}, FL_SECRET_SSM, true}};
    static struct fl_key_value options[] = {{{"awslogs-group", 13}, {"/g", 2}}};
    static struct fl_port_mapping ports[] = {
        {80, 0, false, 0}, {53, 5353, true, 0}, {9000, 0, false, 10}};
    static struct fl_ulimit ulimits[] = {{{"nofile", 6}, 1024, -1}};
    static struct fl_mount_point mounts[] = {{{"data", 4}, {"/data", 5}, true}};
    static struct fl_volume_spec volumes[] = {{.name = {"data", 4}, .host_path = {"/srv", 4}},
                                              {.name = {"tmp", 3}}};
    containers[0] = (struct fl_container_spec){.name = FL_STR("web"),
                                               .image = FL_STR("web:1"),
                                               .arn = FL_STR("arn:c"),
                                               .essential = true,
                                               .cpu_units = 256,
                                               .memory_mib = 128,
                                               .memory_reservation_mib = 64,
                                               .entry_point = entry,
                                               .entry_point_count = 2,
                                               .command = command,
                                               .command_count = 1,
                                               .environment = env,
                                               .environment_count = 2,
                                               .registry_secret = FL_STR("arn:login"),
                                               .registry_secret_region = FL_STR("us"),
                                               .secrets = secrets,
                                               .secret_count = 2,
                                               .ports = ports,
                                               .port_count = 3,
                                               .user = FL_STR("1000:1000"),
                                               .working_dir = FL_STR("/srv"),
                                               .hostname = FL_STR("h"),
                                               .stop_timeout_s = 5,
                                               .readonly_rootfs = true,
                                               .privileged = true,
                                               .labels = env,
                                               .label_count = 1,
                                               .ulimits = ulimits,
                                               .ulimit_count = 1,
                                               .mounts = mounts,
                                               .mount_count = 1,
                                               .log_driver = FL_STR("awslogs"),
                                               .log_options = options,
                                               .log_option_count = 1};
    containers[1] = (struct fl_container_spec){
        .name = FL_STR("side"), .image = FL_STR("side"), .stop_timeout_s = -1};
    return (struct fl_task_spec){.arn = FL_STR("arn:t"),
                                 .cluster_arn = FL_STR("arn:cl"),
                                 .family = FL_STR("f"),
                                 .revision = FL_STR("3"),
                                 .desired_running = true,
                                 .network_mode = FL_NET_HOST,
                                 .cpu_units = 256,
                                 .memory_mib = 512,
                                 .group = FL_STR("family:f"),
                                 .launch_type = FL_STR("EC2"),
                                 .containers = containers,
                                 .container_count = 2,
                                 .volumes = volumes,
                                 .volume_count = 2};
}

static void assert_str(struct fl_str actual, const char *expected)
{
    assert_int_equal(actual.n, strlen(expected));
    assert_memory_equal(actual.p ? actual.p : "", expected, actual.n);
}

static void assert_full_container(const struct fl_container_spec *c)
{
    assert_str(c->name, "web");
    assert_str(c->image, "web:1");
    assert_str(c->arn, "arn:c");
    assert_true(c->essential && c->readonly_rootfs && c->privileged);
    assert_int_equal(c->cpu_units, 256);
    assert_int_equal(c->memory_mib, 128);
    assert_int_equal(c->memory_reservation_mib, 64);
    assert_int_equal(c->entry_point_count, 2);
    assert_str(c->entry_point[1], "-c");
    assert_int_equal(c->command_count, 1);
    assert_str(c->command[0], "echo \"hi\"");
    assert_int_equal(c->environment_count, 2);
    assert_str(c->environment[1].key, "B");
    assert_str(c->environment[1].value, "");
    assert_str(c->registry_secret, "arn:login");
    assert_str(c->registry_secret_region, "us");
    assert_int_equal(c->secret_count, 2);
    assert_str(c->secrets[0].name, "PW");
    assert_str(c->secrets[0].value_from, "arn:s:k::");
    assert_str(c->secrets[0].region, "eu");
    assert_true(c->secrets[0].provider == FL_SECRET_ASM && !c->secrets[0].is_log_option);
    assert_str(c->secrets[1].value_from, "/app/tag");
    assert_true(c->secrets[1].provider == FL_SECRET_SSM && c->secrets[1].is_log_option);
    assert_int_equal(c->port_count, 3);
    assert_int_equal(c->ports[2].container_port, 9000);
    assert_int_equal(c->ports[2].more, 10);
    assert_int_equal(c->ports[1].host_port, 5353);
    assert_true(c->ports[1].udp && !c->ports[0].udp);
    assert_str(c->user, "1000:1000");
    assert_str(c->working_dir, "/srv");
    assert_str(c->hostname, "h");
    assert_int_equal(c->stop_timeout_s, 5);
    assert_int_equal(c->label_count, 1);
    assert_int_equal(c->ulimit_count, 1);
    assert_str(c->ulimits[0].name, "nofile");
    assert_int_equal(c->ulimits[0].soft, 1024);
    assert_int_equal(c->ulimits[0].hard, -1);
    assert_true(c->mount_count == 1 && c->mounts[0].read_only);
    assert_str(c->log_driver, "awslogs");
    assert_str(c->log_options[0].value, "/g");
}

static void assert_sample(const struct fl_task_spec *out)
{
    assert_str(out->arn, "arn:t");
    assert_str(out->cluster_arn, "arn:cl");
    assert_str(out->family, "f");
    assert_str(out->revision, "3");
    assert_true(out->desired_running);
    assert_int_equal(out->network_mode, FL_NET_HOST);
    assert_int_equal(out->cpu_units, 256);
    assert_int_equal(out->memory_mib, 512);
    assert_str(out->group, "family:f");
    assert_str(out->launch_type, "EC2");
    assert_int_equal(out->container_count, 2);
    assert_full_container(&out->containers[0]);
    assert_false(out->containers[1].essential);
    assert_null(out->containers[1].entry_point);
    assert_int_equal(out->containers[1].stop_timeout_s, -1);
    assert_int_equal(out->volume_count, 2);
    assert_str(out->volumes[0].host_path, "/srv");
    assert_str(out->volumes[1].host_path, "");
}

static void what_is_encoded_is_decoded(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(65536);
    struct fl_container_spec containers[2];
    struct fl_task_spec in = sample(containers), out;
    struct fl_err err;
    fl_task_spec_encode(&in, &buf);
    assert_int_equal(decode_text(buf.p, arena, &out, &err), 0);
    assert_sample(&out);
}

/* The original is overwritten afterwards: nothing of the copy may lie in it. */
static void a_copy_is_the_same_and_its_own(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_arena *first = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(65536);
    struct fl_container_spec containers[2];
    struct fl_task_spec in = sample(containers), out, copy;
    struct fl_err err;
    fl_task_spec_encode(&in, &buf);
    assert_int_equal(decode_text(buf.p, first, &out, &err), 0);
    fl_task_spec_copy(&out, arena, &copy);
    fl_arena_free(first);
    assert_sample(&copy);
}

/* Conditions, timeouts, restart policy and health check, and that a container without any of them
 * has none. */
static void a_life_is_encoded_and_decoded(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(65536);
    static struct fl_dependency on[] = {{{"side", 4}, FL_WHEN_HEALTHY}};
    static struct fl_str test[] = {{"CMD-SHELL", 9}, {"exit 0", 6}};
    static int64_t codes[] = {0, 143};
    struct fl_container_spec containers[2];
    struct fl_task_spec in = sample(containers), out;
    struct fl_err err = {0};
    containers[0].depends_on = on;
    containers[0].depends_on_count = 1;
    containers[0].start_timeout_s = 9;
    containers[0].restart = (struct fl_restart_policy){true, codes, 2, 60};
    containers[1].health_check = (struct fl_health_check){test, 2, 5000, 2000, 10000, 7};
    fl_task_spec_encode(&in, &buf);
    assert_int_equal(decode_text(buf.p, arena, &out, &err), 0);
    const struct fl_container_spec *c = out.containers;
    assert_int_equal(c[0].depends_on_count, 1);
    assert_str(c[0].depends_on[0].container, "side");
    assert_int_equal(c[0].depends_on[0].condition, FL_WHEN_HEALTHY);
    assert_int_equal(c[0].start_timeout_s, 9);
    assert_true(c[0].restart.enabled && !c[1].restart.enabled);
    assert_int_equal(c[0].restart.ignored_exit_code_count, 2);
    assert_int_equal(c[0].restart.ignored_exit_codes[1], 143);
    assert_int_equal(c[0].restart.attempt_period_s, 60);
    assert_int_equal(c[0].health_check.test_count + c[1].depends_on_count, 0);
    assert_int_equal(c[1].health_check.test_count, 2);
    assert_str(c[1].health_check.test[1], "exit 0");
    assert_int_equal(c[1].health_check.interval_ms, 5000);
    assert_int_equal(c[1].health_check.timeout_ms, 2000);
    assert_int_equal(c[1].health_check.start_period_ms, 10000);
    assert_int_equal(c[1].health_check.retries, 7);
}

/* Docker's zeros are its defaults, NONE and an image's own check are no check. */
static void health_checks_of_others_are_understood(FL_UNUSED void **state)
{
#define CHECKED(type, check)                                                                       \
    "{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\",\"image\":"      \
    "\"i\"" type ",\"dockerConfig\":{\"config\":\"{\\\"Healthcheck\\\":" check "}\"}}]}"
#define DOCKER ",\"healthCheckType\":\"docker\""
    static const struct {
        const char *text;
        int64_t interval_ms, retries;
    } cases[] = {
        {CHECKED(DOCKER, "{\\\"Test\\\":[\\\"CMD\\\",\\\"x\\\"]}"), 30000, 3},
        {CHECKED(DOCKER, "{\\\"Test\\\":[\\\"CMD\\\",\\\"x\\\"],\\\"Interval\\\":6000000000}"),
         6000, 3},
        {CHECKED(DOCKER, "{\\\"Test\\\":[\\\"NONE\\\"]}"), 0, 0},
        {CHECKED("", "{\\\"Test\\\":[\\\"CMD\\\",\\\"x\\\"]}"), 0, 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_task_spec spec;
        struct fl_err err = {0};
        assert_int_equal(decode_text(cases[i].text, arena, &spec, &err), 0);
        assert_int_equal(spec.containers[0].health_check.interval_ms, cases[i].interval_ms);
        assert_int_equal(spec.containers[0].health_check.retries, cases[i].retries);
    }
#undef CHECKED
#undef DOCKER
}

/* One of each, in the words of the protocol where it has some, else in Docker's. */
static struct fl_task_spec docker_sample(struct fl_container_spec *containers)
{
    static struct fl_str one[] = {{"a:b", 3}};
    static struct fl_key_value pair[] = {{{"/t", 2}, {"size=1m", 7}}};
    static struct fl_device_spec devices[] = {{{"/dev/x", 6}, {0}, {"r", 1}},
                                              {{"/d", 2}, {0}, {0}}};
    static struct fl_volumes_from from[] = {{{"side", 4}, true}};
    static struct fl_volume_spec volume = {.name = {"v", 1},
                                           .is_docker = true,
                                           .is_shared = true,
                                           .autoprovision = true,
                                           .driver = {"local", 5},
                                           .driver_opts = pair,
                                           .driver_opt_count = 1,
                                           .labels = pair,
                                           .label_count = 1};
    struct fl_task_spec spec = sample(containers);
    spec.pid_mode = FL_NS_TASK;
    spec.ipc_mode = FL_NS_NONE;
    spec.volumes = &volume;
    spec.volume_count = 1;
    containers[0].links = one;
    containers[0].volumes_from = from;
    containers[0].link_count = containers[0].volumes_from_count = 1;
    struct fl_docker_spec *docker = &containers[0].docker;
    docker->dns_servers = docker->dns_search = docker->extra_hosts = one;
    docker->dns_server_count = docker->dns_search_count = docker->extra_host_count = 1;
    docker->security_options = docker->cap_add = docker->cap_drop = one;
    docker->security_option_count = docker->cap_add_count = docker->cap_drop_count = 1;
    docker->devices = devices;
    docker->device_count = 2;
    docker->tmpfs = docker->sysctls = pair;
    docker->tmpfs_count = docker->sysctl_count = 1;
    docker->shm_size_bytes = 1 << 20;
    docker->memory_swap_bytes = 2 << 20;
    docker->has_swappiness = docker->init = docker->tty = docker->open_stdin = true;
    docker->network_disabled = true;
    return spec;
}

static void dockers_strings_carry_the_rest(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf first = FL_BUF_INIT(65536), second = FL_BUF_INIT(65536);
    struct fl_container_spec containers[2];
    struct fl_task_spec in = docker_sample(containers), out;
    struct fl_err err;
    fl_task_spec_encode(&in, &first);
    assert_int_equal(decode_text(first.p, arena, &out, &err), 0);
    fl_task_spec_encode(&out, &second);
    assert_string_equal(first.p, second.p);
    static const char *const said[] = {
        "\"pidMode\":\"task\"",
        "\"ipcMode\":\"none\"",
        "\"links\":[\"a:b\"]",
        "\"volumesFrom\":[{\"sourceContainer\":\"side\",\"readOnly\":true}]",
        "\\\"Tty\\\":true",
        "\\\"OpenStdin\\\":true",
        "\\\"NetworkDisabled\\\":true",
        "\\\"Dns\\\":[\\\"a:b\\\"]",
        "\\\"ExtraHosts\\\":[\\\"a:b\\\"]",
        "\\\"CapAdd\\\":",
        "{\\\"PathOnHost\\\":\\\"/dev/x\\\",\\\"PathInContainer\\\":\\\"/dev/x\\\",",
        ",\\\"CgroupPermissions\\\":\\\"r\\\"}",
        "\\\"Tmpfs\\\":{\\\"/t\\\":\\\"size=1m\\\"}",
        "\\\"MemorySwap\\\":2097152",
        "\\\"MemorySwappiness\\\":0",
        "\\\"Init\\\":true",
        "\\\"ShmSize\\\":1048576",
        "\"dockerVolumeConfiguration\":{\"scope\":\"shared\",\"autoprovision\":true",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(said); i++)
        if (!fl_str_contains(fl_buf_str(&first), fl_str_of(said[i])))
            fail_msg("%s is not in %s", said[i], first.p);
}

static void a_text_as_aws_sends_it_is_understood(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_task_spec spec;
    struct fl_err err;
    const char *text =
        "{\"arn\":\"a\",\"family\":\"f\",\"version\":\"1\",\"desiredStatus\":\"RUNNING\","
        "\"cpu\":0.25,\"overrides\":\"{}\",\"roleCredentials\":null,\"containers\":[{"
        "\"name\":\"c\",\"image\":\"i\",\"environment\":{\"X\":\"y\"},\"command\":[],"
        "\"overrides\":\"{\\\"command\\\":[\\\"other\\\"]}\",\"unknown\":{},"
        "\"dockerConfig\":{\"version\":\"1.17\",\"config\":\"{\\\"User\\\":\\\"u\\\"}\","
        "\"hostConfig\":\"{\\\"NetworkMode\\\":\\\"host\\\",\\\"CapAdd\\\":[]}\"}}]}";
    assert_int_equal(decode_text(text, arena, &spec, &err), 0);
    assert_int_equal(spec.cpu_units, 256);
    assert_int_equal(spec.network_mode, FL_NET_HOST);
    assert_true(spec.containers[0].essential);
    assert_int_equal(spec.containers[0].command_count, 1);
    assert_str(spec.containers[0].command[0], "other");
    assert_null(spec.containers[0].entry_point);
    assert_str(spec.containers[0].user, "u");
}

static void of_credentials_only_the_id_is_kept(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_task_spec spec, copy;
    struct fl_err err;
    const char *text =
        "{\"arn\":\"a\",\"family\":\"f\",\"version\":\"1\",\"desiredStatus\":\"RUNNING\","
        "\"roleCredentials\":{\"credentialsId\":\"the-id\",\"accessKeyId\":\"hidden\","
        "\"secretAccessKey\":\"hidden\",\"sessionToken\":\"hidden\"},"
        "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}";
    assert_int_equal(decode_text(text, arena, &spec, &err), 0);
    fl_task_spec_copy(&spec, arena, &copy);
    fl_task_spec_encode(&copy, &buf);
    assert_true(fl_str_contains(fl_buf_str(&buf), FL_STR("\"the-id\"")));
    assert_false(fl_str_contains(fl_buf_str(&buf), FL_STR("hidden")));
}

static void broken_objects_are_refused_by_name(FL_UNUSED void **state)
{
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"[]", "not an object"},
        {"{}", "arn"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\"}", "containers"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"X\"}", "desiredStatus"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\"}]}",
         "image"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[3]}", "name"},
        {"{\"arn\":1,\"desiredStatus\":\"RUNNING\"}", "arn is not a string"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"cpu\":-1}", "cpu"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"networkMode\":\"x\",\"containers\":"
         "[{\"name\":\"n\",\"image\":\"i\"}]}",
         "networkMode"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"dockerConfig\":{\"config\":\"{\"}}]}",
         "config"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"portMappings\":[{\"containerPort\":70000}]}]}",
         "containerPort"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"pidMode\":\"none\",\"containers\":"
         "[{\"name\":\"n\",\"image\":\"i\"}]}",
         "pidMode"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\"}],\"volumes\":[{\"name\":\"v\",\"type\":\"efs\"}]}",
         "efs is no type"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\"},{\"name\":\"n\",\"image\":\"i\"}]}",
         "twice"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"dependsOn\":[{\"containerName\":\"n\",\"condition\":\"START\"}]}]}",
         "dependsOn"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"dependsOn\":[{\"containerName\":\"m\",\"condition\":\"DONE\"}]}]}",
         "condition"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"secrets\":[{\"name\":\"A\",\"valueFrom\":\"p\",\"provider\":\"x\"}]}]}",
         "provider"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"secrets\":[{\"name\":\"A\",\"provider\":\"asm\"}]}]}",
         "valueFrom"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"secrets\":[{\"name\":\"A\",\"valueFrom\":\"p\",\"provider\":\"ssm\","
         "\"type\":\"MOUNT_POINT\"}]}]}",
         "type"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"secrets\":[{\"name\":\"A\",\"valueFrom\":\"p\",\"provider\":\"ssm\","
         "\"target\":\"X\"}]}]}",
         "target"},
        {"{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[{\"name\":\"n\","
         "\"image\":\"i\",\"registryAuthentication\":{\"type\":\"asm\"}}]}",
         "credentialsParameter"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_task_spec spec;
        struct fl_err err = {0};
        assert_int_not_equal(decode_text(cases[i].text, arena, &spec, &err), 0);
        assert_true(fl_str_contains(fl_str_of(err.text), fl_str_of(cases[i].named)));
    }
}

static void too_many_containers_are_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(65536);
    struct fl_task_spec spec;
    struct fl_err err;
    fl_buf_add_z(&buf, "{\"arn\":\"a\",\"desiredStatus\":\"RUNNING\",\"containers\":[");
    for (int i = 0; i <= FL_TASK_SPEC_MAX_CONTAINERS; i++)
        fl_buf_printf(&buf, "%s{\"name\":\"n%d\",\"image\":\"i\"}", i ? "," : "", i);
    fl_buf_add_z(&buf, "]}");
    assert_int_not_equal(decode_text(buf.p, arena, &spec, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(a_copy_is_the_same_and_its_own),
        cmocka_unit_test(a_life_is_encoded_and_decoded),
        cmocka_unit_test(health_checks_of_others_are_understood),
        cmocka_unit_test(dockers_strings_carry_the_rest),
        cmocka_unit_test(a_text_as_aws_sends_it_is_understood),
        cmocka_unit_test(of_credentials_only_the_id_is_kept),
        cmocka_unit_test(broken_objects_are_refused_by_name),
        cmocka_unit_test(too_many_containers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
