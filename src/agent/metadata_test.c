/* The parts of the metadata endpoint that need no network: documents, the file, paths and refusals,
 * ids, the throttle. Method: a task as the control plane sends it, put into a known state;
 * documents compared with ECS's members, spelling and omissions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/metadata_documents.h"
#include "agent/metadata_file.h"
#include "agent/metadata_id.h"
#include "agent/metadata_route.h"
#include "agent/metadata_throttle.h"
#include "base/fs.h"

#define ARN "arn:aws:ecs:eu-west-1:111122223333:task/default/0123456789abcdef0123456789abcdef"
#define CONTAINER_ARN "arn:aws:ecs:eu-west-1:111122223333:container/default/x/11111111"
#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"

static int64_t created(FL_UNUSED void *context, FL_UNUSED struct fl_str container_id)
{
    return 1763629204300;
}

static const struct fl_metadata_facts facts = {
    .cluster = {"default", 7},
    .instance_arn = {"arn:i", 5},
    .zone = {"eu-west-1a", 10},
    .host_address = {"10.0.1.5", 8},
    .created_ms = created,
};

static struct fl_str *text_list(struct fl_arena *arena, const char *text)
{
    struct fl_str *list = fl_arena_new_array(arena, struct fl_str, 1);
    list[0] = fl_str_of(text);
    return list;
}

/* The task of the example: built as the control plane builds it, so that the wire form is as real
 * as it can be. */
static struct fl_task *make_task(void)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_key_value label = {FL_STR("team"), FL_STR("blue")};
    struct fl_key_value options[] = {{FL_STR("awslogs-group"), FL_STR("/ecs/web")},
                                     {FL_STR("awslogs-stream-prefix"), FL_STR("ecs")},
                                     {FL_STR("splunk-token"), FL_STR("hidden")}};
    struct fl_mount_point mounts[] = {{FL_STR("host"), FL_STR("/h"), true},
                                      {FL_STR("own"), FL_STR("/o"), false}};
    struct fl_volume_spec volumes[] = {{.name = FL_STR("host"), .host_path = FL_STR("/srv")},
                                       {.name = FL_STR("own")}};
    struct fl_container_spec container = {
        .name = FL_STR("app_1"),
        .image = FL_STR("web:1"),
        .arn = FL_STR(CONTAINER_ARN),
        .essential = true,
        .cpu_units = 256,
        .memory_mib = 512,
        .command = text_list(arena, "x"),
        .command_count = 1,
        .stop_timeout_s = -1,
        .labels = &label,
        .label_count = 1,
        .mounts = mounts,
        .mount_count = 2,
        .log_driver = FL_STR("awslogs"),
        .log_options = options,
        .log_option_count = 3,
    };
    struct fl_task_spec spec = {
        .arn = FL_STR(ARN),
        .cluster_arn = FL_STR("arn:c"),
        .family = FL_STR("web"),
        .revision = FL_STR("7"),
        .desired_running = true,
        .cpu_units = 512,
        .memory_mib = 1024,
        .group = FL_STR("service:web-svc"),
        .launch_type = FL_STR("EC2"),
        .containers = &container,
        .container_count = 1,
        .volumes = volumes,
        .volume_count = 2,
    };
    struct fl_err err = {0};
    struct fl_task *task = fl_task_new(FL_STR(ARN), FL_STR("arn:c"));
    assert_int_equal(fl_task_set_spec(task, &spec, 65536, &err), 0);
    return task;
}

static void let_run(struct fl_task *task)
{
    static struct fl_task_binding binding = {.container_port = 80, .host_port = 49153};
    struct fl_task_container *container = &task->containers[0];
    memcpy(container->id, ID, sizeof(container->id));
    container->state = FL_CONTAINER_RUNNING;
    container->launched = true;
    container->image_digest = FL_STR("sha256:9d0e");
    container->log_stream = FL_STR("ecs/app_1/0123");
    memcpy(container->address, (const uint8_t[]){172, 17, 0, 3}, 4);
    container->bindings = &binding;
    container->binding_count = 1;
    container->started_ms = 1763629204600;
    task->desired_running = true;
    task->status = FL_TASK_RUNNING;
    task->pull_started_ms = 1763629201500;
    task->pull_stopped_ms = 1763629204250;
}

static json_t *task_document(const struct fl_task *task, enum fl_metadata_version version,
                             const struct fl_metadata_tags *tags)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(256 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_metadata_write_task(&facts, task, version, tags, &jw);
    json_t *json = json_loadb(buf.p, buf.n, 0, NULL);
    assert_non_null(json);
    return json;
}

static void assert_same(json_t *found, const char *wanted)
{
    json_t *right = json_loads(wanted, 0, NULL);
    assert_non_null(right);
    if (!json_equal(found, right)) {
        char *text = json_dumps(found, JSON_SORT_KEYS);
        print_message("found: %s\n", text);
        free(text);
    }
    assert_true(json_equal(found, right));
    json_decref(right);
    json_decref(found);
}

#define V2_CONTAINER                                                                               \
    "\"DockerId\":\"" ID "\",\"Name\":\"app_1\","                                                  \
    "\"DockerName\":\"ecs-web-7-app1-c0ffee00c0ffee00c0ff\",\"Image\":\"web:1\","                  \
    "\"ImageID\":\"sha256:9d0e\",\"Ports\":[{\"ContainerPort\":80,\"Protocol\":\"tcp\","           \
    "\"HostPort\":49153,\"HostIp\":\"0.0.0.0\"}],\"Labels\":{"                                     \
    "\"com.amazonaws.ecs.cluster\":\"default\",\"com.amazonaws.ecs.container-name\":\"app_1\","    \
    "\"com.amazonaws.ecs.task-arn\":\"" ARN "\","                                                  \
    "\"com.amazonaws.ecs.task-definition-family\":\"web\","                                        \
    "\"com.amazonaws.ecs.task-definition-version\":\"7\",\"team\":\"blue\"},"                      \
    "\"DesiredStatus\":\"RUNNING\",\"KnownStatus\":\"RUNNING\","                                   \
    "\"Limits\":{\"CPU\":256,\"Memory\":512},\"CreatedAt\":\"2025-11-20T09:00:04.300Z\","          \
    "\"StartedAt\":\"2025-11-20T09:00:04.600Z\",\"Type\":\"NORMAL\","                              \
    "\"Volumes\":[{\"Source\":\"/srv\",\"Destination\":\"/h\"},"                                   \
    "{\"DockerName\":\"own\",\"Destination\":\"/o\"}],\"LogDriver\":\"awslogs\","                  \
    "\"LogOptions\":{\"awslogs-group\":\"/ecs/web\",\"awslogs-stream\":\"ecs/app_1/0123\"},"       \
    "\"ContainerARN\":\"" CONTAINER_ARN "\","                                                      \
    "\"Networks\":[{\"NetworkMode\":\"bridge\",\"IPv4Addresses\":[\"172.17.0.3\"]}]"

#define TASK                                                                                       \
    "\"Cluster\":\"default\",\"TaskARN\":\"" ARN "\",\"Family\":\"web\",\"Revision\":\"7\","       \
    "\"DesiredStatus\":\"RUNNING\",\"KnownStatus\":\"RUNNING\","                                   \
    "\"Limits\":{\"CPU\":0.5,\"Memory\":1024},\"PullStartedAt\":\"2025-11-20T09:00:01.500Z\","     \
    "\"PullStoppedAt\":\"2025-11-20T09:00:04.250Z\",\"AvailabilityZone\":\"eu-west-1a\","          \
    "\"LaunchType\":\"EC2\""

static void a_running_task_is_shown_as_ecs_does(FL_UNUSED void **state)
{
    struct fl_task *task = make_task();
    let_run(task);
    assert_same(task_document(task, FL_METADATA_V3, NULL),
                "{" TASK ",\"Containers\":[{" V2_CONTAINER "}]}");
    assert_same(task_document(task, FL_METADATA_V4, NULL),
                "{" TASK ",\"ServiceName\":\"web-svc\",\"Group\":\"service:web-svc\","
                "\"FaultInjectionEnabled\":false,\"Containers\":[{" V2_CONTAINER
                ",\"Snapshotter\":\"overlayfs\"}]}");
    fl_task_free(task);
}

static void a_stopped_container_tells_its_end(FL_UNUSED void **state)
{
    struct fl_task *task = make_task();
    let_run(task);
    task->containers[0].state = FL_CONTAINER_STOPPED;
    task->containers[0].has_exit_code = true;
    task->containers[0].exit_code = 137;
    task->containers[0].finished_ms = 1763629204600;
    task->desired_running = false;
    json_t *json = task_document(task, FL_METADATA_V4, NULL);
    const json_t *container = json_array_get(json_object_get(json, "Containers"), 0);
    assert_int_equal(json_integer_value(json_object_get(container, "ExitCode")), 137);
    assert_string_equal(json_string_value(json_object_get(container, "KnownStatus")), "STOPPED");
    assert_string_equal(json_string_value(json_object_get(container, "FinishedAt")),
                        "2025-11-20T09:00:04.600Z");
    assert_string_equal(json_string_value(json_object_get(json, "DesiredStatus")), "STOPPED");
    json_decref(json);
    fl_task_free(task);
}

static void health_and_restarts_are_shown_where_there_are_any(FL_UNUSED void **state)
{
    struct fl_task *task = make_task();
    struct fl_container_spec spec = *task->containers[0].spec;
    struct fl_str check = FL_STR("CMD");
    let_run(task);
    spec.health_check.test = &check;
    spec.health_check.test_count = 1;
    spec.restart.enabled = true;
    task->containers[0].spec = &spec;
    task->containers[0].restarts = 2;
    task->containers[0].run_started_ms = 1763629235000;
    task->containers[0].health = FL_HEALTH_UNHEALTHY;
    task->containers[0].health_since_ms = 1763629235000;
    task->containers[0].health_exit_code = 1;
    json_t *json = task_document(task, FL_METADATA_V4, NULL);
    const json_t *container = json_array_get(json_object_get(json, "Containers"), 0);
    assert_int_equal(json_integer_value(json_object_get(container, "RestartCount")), 2);
    assert_string_equal(json_string_value(json_object_get(container, "StartedAt")),
                        "2025-11-20T09:00:35.000Z");
    assert_same(json_incref(json_object_get(container, "Health")),
                "{\"status\":\"UNHEALTHY\",\"statusSince\":\"2025-11-20T09:00:35.000Z\","
                "\"exitCode\":1}");
    json_decref(json);
    json = task_document(task, FL_METADATA_V3, NULL);
    container = json_array_get(json_object_get(json, "Containers"), 0);
    assert_null(json_object_get(container, "RestartCount"));
    assert_non_null(json_object_get(container, "Health"));
    json_decref(json);
    fl_task_free(task);
}

static void what_is_not_known_yet_is_left_out(FL_UNUSED void **state)
{
    static const char *const absent[] = {"Ports",      "CreatedAt", "StartedAt",  "ExitCode",
                                         "FinishedAt", "Networks",  "Snapshotter"};
    struct fl_task *task = make_task();
    memcpy(task->containers[0].id, ID, sizeof(task->containers[0].id));
    json_t *json = task_document(task, FL_METADATA_V4, NULL);
    const json_t *container = json_array_get(json_object_get(json, "Containers"), 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(absent); i++)
        assert_null(json_object_get(container, absent[i]));
    assert_null(json_object_get(json, "PullStartedAt"));
    assert_string_equal(json_string_value(json_object_get(json, "KnownStatus")), "NONE");
    json_decref(json);
    fl_task_free(task);
}

static void tags_or_their_errors_are_in_the_document(FL_UNUSED void **state)
{
    struct fl_task *task = make_task();
    let_run(task);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *list =
        fl_json_read(FL_STR("[{\"key\":\"colour\",\"value\":\"red\"}]"), arena, NULL);
    const struct fl_metadata_tags tags[2] = {{.tags = list},
                                             {.error_field = FL_STR("ContainerInstanceTags"),
                                              .error_code = FL_STR("AccessDeniedException"),
                                              .error_message = FL_STR("no"),
                                              .status = 400,
                                              .resource_arn = FL_STR("arn:i")}};
    json_t *json = task_document(task, FL_METADATA_V3, tags);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "TaskTags"), "colour")), "red");
    assert_null(json_object_get(json, "ContainerInstanceTags"));
    json_t *errors = json_incref(json_object_get(json, "Errors"));
    assert_same(errors, "[{\"ErrorField\":\"ContainerInstanceTags\",\"ErrorCode\":"
                        "\"AccessDeniedException\",\"ErrorMessage\":\"no\",\"StatusCode\":400,"
                        "\"ResourceARN\":\"arn:i\"}]");
    json_decref(json);
    fl_task_free(task);
}

static json_t *file_document(const struct fl_str path)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    assert_int_equal(fl_fs_read(AT_FDCWD, path.p, 64 * 1024 - 1, &buf), 0);
    return json_loadb(buf.p, buf.n, 0, NULL);
}

/* Each port of a range by itself, and each family: what Docker would tell. */
static void ranges_and_ipv6_are_shown(FL_UNUSED void **state)
{
    static struct fl_task_binding bindings[] = {{80, 49153, false, 0, true},
                                                {9000, 40000, true, 1000, false}};
    struct fl_task *task = make_task();
    let_run(task);
    task->containers[0].bindings = bindings;
    task->containers[0].binding_count = 2;
    json_t *json = task_document(task, FL_METADATA_V4, NULL);
    json_t *ports =
        json_object_get(json_array_get(json_object_get(json, "Containers"), 0), "Ports");
    assert_int_equal(json_array_size(ports), 201); /* two hundred ports, one of them twice */
    json_incref(json_array_get(ports, 1));
    assert_same(json_array_get(ports, 1), "{\"ContainerPort\":80,\"Protocol\":\"tcp\","
                                          "\"HostPort\":49153,\"HostIp\":\"::\"}");
    json_incref(json_array_get(ports, 3));
    assert_same(json_array_get(ports, 3), "{\"ContainerPort\":9001,\"Protocol\":\"udp\","
                                          "\"HostPort\":40001,\"HostIp\":\"0.0.0.0\"}");
    json_decref(json);
    fl_task_free(task);
}

static void the_file_has_two_stages(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char dir[] = "/tmp/fairlead-metadata-XXXXXX";
    struct fl_err err = {0};
    struct fl_task *task = make_task();
    let_run(task);
    assert_non_null(mkdtemp(dir));
    struct fl_str path = fl_str_printf(
        arena, "%s/metadata/default/0123456789abcdef0123456789abcdef/app_1/" FL_METADATA_FILE, dir);
    assert_int_equal(
        fl_metadata_file_write(fl_str_of(dir), &facts, &task->containers[0], false, &err), 0);
    assert_same(file_document(path),
                "{\"Cluster\":\"default\",\"ContainerInstanceARN\":\"arn:i\",\"TaskARN\":\"" ARN
                "\",\"TaskDefinitionFamily\":\"web\",\"TaskDefinitionRevision\":\"7\","
                "\"ContainerName\":\"app_1\",\"MetadataFileStatus\":\"INITIAL\"}");
    assert_int_equal(
        fl_metadata_file_write(fl_str_of(dir), &facts, &task->containers[0], true, &err), 0);
    assert_same(file_document(path),
                "{\"Cluster\":\"default\",\"ContainerInstanceARN\":\"arn:i\",\"TaskARN\":\"" ARN
                "\",\"TaskDefinitionFamily\":\"web\",\"TaskDefinitionRevision\":\"7\","
                "\"ContainerID\":\"" ID "\",\"ContainerName\":\"app_1\",\"DockerContainerName\":"
                "\"/ecs-web-7-app1-c0ffee00c0ffee00c0ff\",\"ImageID\":\"sha256:9d0e\","
                "\"ImageName\":\"web:1\",\"PortMappings\":[{\"ContainerPort\":80,\"Protocol\":"
                "\"tcp\",\"HostPort\":49153,\"BindIp\":\"0.0.0.0\"}],\"Networks\":[{"
                "\"NetworkMode\":\"bridge\",\"IPv4Addresses\":[\"172.17.0.3\"]}],"
                "\"MetadataFileStatus\":\"READY\",\"AvailabilityZone\":\"eu-west-1a\","
                "\"HostPrivateIPv4Address\":\"10.0.1.5\"}");
    fl_metadata_file_remove(fl_str_of(dir), &facts, FL_STR(ARN));
    assert_int_equal(access(path.p, F_OK), -1);
    /* A name from outside that would lead elsewhere is none. */
    struct fl_metadata_facts odd = facts;
    odd.cluster = FL_STR("..");
    assert_true(fl_metadata_file_write(fl_str_of(dir), &odd, &task->containers[0], true, &err) < 0);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, dir), 0);
    fl_task_free(task);
}

static void paths_lead_where_ecs_has_them(FL_UNUSED void **state)
{
    static const struct {
        const char *path;
        enum fl_metadata_what what;
        const char *id;
        int version;
        bool by_address;
    } rows[] = {
        {"/v4/a", FL_METADATA_CONTAINER, "a", 4, false},
        {"/v4/a/task", FL_METADATA_TASK, "a", 4, false},
        {"/v4/a/taskWithTags", FL_METADATA_TASK_TAGS, "a", 4, false},
        {"/v4/a/stats", FL_METADATA_CONTAINER_STATS, "a", 4, false},
        {"/v4/a/task/stats", FL_METADATA_TASK_STATS, "a", 4, false},
        {"/v3/a/task/stats", FL_METADATA_TASK_STATS, "a", 3, false},
        {"/v3/a", FL_METADATA_CONTAINER, "a", 3, false},
        {"/v2/metadata", FL_METADATA_TASK, "", 2, true},
        {"/v2/metadata/", FL_METADATA_TASK, "", 2, true},
        {"/v2/metadata/d", FL_METADATA_CONTAINER, "d", 2, true},
        {"/v2/metadataWithTags", FL_METADATA_TASK_TAGS, "", 2, true},
        {"/v2/stats/d", FL_METADATA_CONTAINER_STATS, "d", 2, true},
        {"/v2/stats", FL_METADATA_TASK_STATS, "", 2, true},
        {"/v2/credentials/c", FL_METADATA_CREDENTIALS, "c", 2, true},
        {"/v1/credentials", FL_METADATA_CREDENTIALS, "q", 2, false},
        {"/api/a/task-protection/v1/state", FL_METADATA_PROTECTION, "a", 2, false},
    };
    static const char *const nothing[] = {"/",
                                          "/v4",
                                          "/v4/a/tasks",
                                          "/v4/a/task/stats/x",
                                          "/v5/a",
                                          "/v2",
                                          "/v2/x",
                                          "/v2/metadata/d/e",
                                          "/v4a/a",
                                          "/v1/other",
                                          "/api/a",
                                          "",
                                          "/v4/a/stats/b/c/d/e/f"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_metadata_route route = fl_metadata_route(fl_str_of(rows[i].path), FL_STR("id=q"));
        assert_int_equal(route.what, rows[i].what);
        assert_true(fl_str_is(route.id, rows[i].id));
        assert_int_equal(route.version, rows[i].version);
        assert_int_equal(route.by_address, rows[i].by_address);
    }
    for (size_t i = 0; i < FL_ARRAY_SIZE(nothing); i++)
        assert_int_equal(fl_metadata_route(fl_str_of(nothing[i]), FL_STR("")).what,
                         FL_METADATA_NOTHING);
}

static void refusals_are_in_ecs_words(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str text;
    struct fl_metadata_route route = fl_metadata_route(FL_STR("/v4/abc"), FL_STR(""));
    assert_int_equal(fl_metadata_refusal(&route, FL_STR("10.0.0.1"), arena, &text), 404);
    assert_true(fl_str_is(text, "V4 container metadata handler: unable to get container ID from "
                                "request: unable to get docker ID from v3 endpoint ID: abc"));
    route = fl_metadata_route(FL_STR("/v3/abc/task"), FL_STR(""));
    assert_int_equal(fl_metadata_refusal(&route, FL_STR("10.0.0.1"), arena, &text), 500);
    assert_true(fl_str_is(text, "V3 task metadata handler: unable to get task arn from request: "
                                "unable to get task Arn from v3 endpoint ID: abc"));
    route = fl_metadata_route(FL_STR("/v2/metadata"), FL_STR(""));
    assert_int_equal(fl_metadata_refusal(&route, FL_STR("10.0.0.1"), arena, &text), 500);
    assert_true(fl_str_contains(text, FL_STR("'10.0.0.1'")));
    assert_true(fl_str_is(fl_metadata_cleaned(FL_STR("//v4//a/"), arena), "/v4/a/"));
    assert_int_equal(fl_metadata_cleaned(FL_STR("/v4/a/"), arena).n, 0);
}

static void ids_cannot_be_made_up(FL_UNUSED void **state)
{
    char dir[] = "/tmp/fairlead-metadata-XXXXXX", id[FL_METADATA_ID_SIZE];
    uint8_t key[FL_METADATA_KEY_SIZE], again[FL_METADATA_KEY_SIZE];
    struct fl_err err = {0};
    struct fl_str container;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(fl_metadata_key_open(fl_str_of(dir), key, &err), 0);
    assert_int_equal(fl_metadata_key_open(fl_str_of(dir), again, &err), 0);
    assert_memory_equal(key, again, sizeof(key));
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    assert_int_equal(stat(fl_str_printf(arena, "%s/metadata.key", dir).p, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    fl_metadata_id_make(key, FL_STR(ID), id);
    assert_true(fl_metadata_id_read(key, fl_str_of(id), &container));
    assert_true(fl_str_is(container, ID));
    for (size_t i = 0; i < sizeof(id) - 1; i++) {
        id[i] ^= 1;
        assert_false(fl_metadata_id_read(key, fl_str_of(id), &container));
        id[i] ^= 1;
    }
    assert_false(fl_metadata_id_read(key, fl_str_sub(fl_str_of(id), 0, 96), &container));
    assert_false(fl_metadata_id_read(key, FL_STR(""), &container));
    key[0] ^= 1;
    assert_false(fl_metadata_id_read(key, fl_str_of(id), &container));
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, dir), 0);
}

static void a_bucket_lets_a_burst_and_then_the_rate_through(FL_UNUSED void **state)
{
    struct fl_metadata_throttle *throttle = fl_metadata_throttle_new(40, 60);
    int64_t now_ms = 1000000;
    for (int i = 0; i < 60; i++)
        assert_true(fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms));
    assert_false(fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms));
    assert_true(fl_metadata_throttle_take(throttle, FL_STR("b"), now_ms));
    assert_false(fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms + 24));
    assert_true(fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms + 25));
    assert_false(fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms + 25));
    int passed = 0;
    for (int64_t ms = 25; ms <= 10025; ms++)
        passed += fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms + ms);
    assert_int_equal(passed, 400);
    /* However long one waits, a burst is a burst. */
    now_ms += (int64_t)1 << 40;
    for (passed = 0; fl_metadata_throttle_take(throttle, FL_STR("a"), now_ms);)
        passed++;
    assert_int_equal(passed, 60);
    fl_metadata_throttle_free(throttle);
}

static void buckets_are_bounded(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_metadata_throttle *throttle = fl_metadata_throttle_new(40, 60);
    for (int i = 0; i < FL_METADATA_BUCKETS_MAX; i++)
        assert_true(fl_metadata_throttle_take(throttle, fl_str_printf(arena, "%d", i), 1000));
    assert_false(fl_metadata_throttle_take(throttle, FL_STR("new"), 1000));
    assert_true(fl_metadata_throttle_take(throttle, FL_STR("7"), 1000));
    assert_true(fl_metadata_throttle_take(throttle, FL_STR("new"), 60000));
    fl_metadata_throttle_free(throttle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_task_is_shown_as_ecs_does),
        cmocka_unit_test(a_stopped_container_tells_its_end),
        cmocka_unit_test(health_and_restarts_are_shown_where_there_are_any),
        cmocka_unit_test(what_is_not_known_yet_is_left_out),
        cmocka_unit_test(tags_or_their_errors_are_in_the_document),
        cmocka_unit_test(ranges_and_ipv6_are_shown),
        cmocka_unit_test(the_file_has_two_stages),
        cmocka_unit_test(paths_lead_where_ecs_has_them),
        cmocka_unit_test(refusals_are_in_ecs_words),
        cmocka_unit_test(ids_cannot_be_made_up),
        cmocka_unit_test(a_bucket_lets_a_burst_and_then_the_rate_through),
        cmocka_unit_test(buckets_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
