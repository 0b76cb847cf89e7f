/* What a whole server weighs with 1,000,000 tasks on 100,000 instances, and how long it takes to
 * start with them.
 *
 * The production core makes the records, by the API's own commands, and the production store keeps
 * them; then a real `fairlead server` starts on that directory, and the kernel says what it has. */
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "core/core.h"
#include "shapes/ecs_shapes.h"
#include "store/store.h"

enum { A_CALL = 10, A_BATCH = 2000, WAIT_S = 120 };

struct bench {
    const char *program;
    char dir[64];
    uint16_t port;
    pid_t server;
    uv_loop_t loop;
    struct fl_core *core;
    struct fl_store *store;
    struct fl_turn turn; /* what waits to be committed */
    struct fl_arena *arena;
    uint64_t seed;
    int64_t now_ms;
};

static _Noreturn void stop(struct bench *bench, const char *what)
{
    (void)fprintf(stderr, "memory: %s (in %s)\n", what, bench->dir);
    if (bench->server > 0)
        (void)kill(bench->server, SIGKILL);
    exit(1);
}

/* ---- the records ---- */

static void durable(FL_UNUSED void *context)
{
}

static void commit(struct bench *bench)
{
    size_t count = bench->turn.record_count;
    FL_CLEANUP_FREE struct fl_store_op *ops = fl_calloc(count, sizeof(*ops));
    for (size_t i = 0; i < count; i++)
        ops[i] = (struct fl_store_op){bench->turn.records[i].key, bench->turn.records[i].value};
    fl_store_commit(bench->store, ops, count, durable, NULL);
    (void)uv_run(&bench->loop, UV_RUN_DEFAULT);
    fl_turn_clear(&bench->turn);
}

static void step(struct bench *bench, struct fl_core_event *event)
{
    bench->seed++;
    bench->now_ms += bench->seed % 100 == 0;
    event->now_ms = bench->now_ms;
    memcpy(event->seed, &bench->seed, sizeof(bench->seed));
    fl_core_step(bench->core, event, &bench->turn);
}

/* One API call. What it answers lives until the next one. */
static struct fl_str call(struct bench *bench, const char *operation, const char *text)
{
    struct fl_err err;
    struct fl_shape_error fault;
    struct fl_core_event event = {.kind = FL_CORE_EVENT_COMMAND};
    fl_arena_reset(bench->arena);
    const struct fl_json *json = fl_json_read(fl_str_of(text), bench->arena, &err);
    event.operation = fl_aws_service_find(&ecs_service, fl_str_of(operation));
    const struct fl_shape *shape = ecs_service.operations[event.operation].input;
    void *input = fl_arena_alloc(bench->arena, fl_shape_size(shape));
    if (!json || fl_shape_decode(shape, json, bench->arena, input, &fault) < 0)
        stop(bench, text);
    event.input = input;
    event.input_size = strlen(text);
    step(bench, &event);
    const struct fl_core_effect *reply = &bench->turn.effects[bench->turn.effect_count - 1];
    if (reply->status != 200)
        stop(bench, reply->body.p);
    struct fl_str body = fl_str_dup(bench->arena, reply->body);
    if (bench->turn.record_count >= A_BATCH)
        commit(bench);
    return body;
}

static void connect_agent(struct bench *bench, struct fl_str registered)
{
    const struct fl_json *answer = fl_json_read(registered, bench->arena, NULL);
    struct fl_str arn =
        fl_json_text(fl_json_get(fl_json_get(answer, "containerInstance"), "containerInstanceArn"));
    struct fl_core_event event = {.kind = FL_CORE_EVENT_AGENT_CONNECTED,
                                  .cluster = FL_STR("default"),
                                  .instance = fl_str_from(arn, (size_t)fl_str_rindex(arn, '/') + 1),
                                  .session = bench->seed};
    step(bench, &event);
}

static void add_instances(struct bench *bench, size_t count)
{
    static const char *const types[] = {"m5.large", "m5.xlarge", "m5.2xlarge", "t3.large"};
    for (size_t i = 0; i < count; i++) {
        char text[2048];
        (void)snprintf(
            text, sizeof(text),
            "{\"totalResources\":["
            "{\"name\":\"CPU\",\"type\":\"INTEGER\",\"integerValue\":8192},"
            "{\"name\":\"MEMORY\",\"type\":\"INTEGER\",\"integerValue\":32768},"
            "{\"name\":\"PORTS\",\"type\":\"STRINGSET\",\"stringSetValue\":[\"22\",\"51678\"]}],"
            "\"versionInfo\":{\"agentVersion\":\"1.0.0\",\"agentHash\":\"0123abcd\","
            "\"dockerVersion\":\"fairlead\"},\"attributes\":["
            "{\"name\":\"ecs.availability-zone\",\"value\":\"eu-central-1%c\"},"
            "{\"name\":\"ecs.instance-type\",\"value\":\"%s\"},"
            "{\"name\":\"ecs.os-type\",\"value\":\"linux\"},"
            "{\"name\":\"ecs.cpu-architecture\",\"value\":\"x86_64\"},"
            "{\"name\":\"rack\",\"value\":\"rack-%zu\"}]}",
            "abc"[i % 3], types[i / 3 % 4], i / 40);
        connect_agent(bench, call(bench, "RegisterContainerInstance", text));
    }
}

/* Ten tasks, each reported as it runs: only what is true in the end is committed. */
static void add_tasks(struct bench *bench)
{
    char arns[A_CALL][128];
    size_t count = 0;
    struct fl_str body = call(bench, "RunTask", "{\"taskDefinition\":\"web\",\"count\":10}");
    const struct fl_json *answer = fl_json_read(body, bench->arena, NULL);
    const struct fl_json *tasks = fl_json_get(answer, "tasks");
    if (fl_json_items(tasks) != A_CALL)
        stop(bench, body.p);
    for (; count < A_CALL; count++)
        (void)snprintf(arns[count], sizeof(arns[count]), "%s",
                       fl_json_z(fl_json_get(fl_json_item(tasks, count), "taskArn")));
    for (size_t i = 0; i < count; i++) {
        char text[1024];
        const char *id = strrchr(arns[i], '/') + 1;
        (void)snprintf(
            text, sizeof(text),
            "{\"task\":\"%.127s\",\"status\":\"RUNNING\",\"pullStartedAt\":1700000101,"
            "\"pullStoppedAt\":1700000102,\"containers\":[{\"containerName\":\"app\","
            "\"status\":\"RUNNING\",\"runtimeId\":\"%.32s%.32s\",\"imageDigest\":\"sha256:"
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904aabbccddeeff001122334455\","
            "\"networkBindings\":[{\"bindIP\":\"0.0.0.0\",\"containerPort\":80,"
            "\"hostPort\":32768,\"protocol\":\"tcp\"}]}]}",
            arns[i], id, id);
        (void)call(bench, "SubmitTaskStateChange", text);
    }
}

static void make_records(struct bench *bench, size_t instances, size_t tasks)
{
    const struct fl_core_config config = {.region = FL_STR("us-east-1"),
                                          .account = FL_STR("000000000000"),
                                          .endpoint = FL_STR("http://127.0.0.1/acs")};
    char path[128];
    struct fl_err err;
    (void)snprintf(path, sizeof(path), "%s/server.db", bench->dir);
    (void)uv_loop_init(&bench->loop);
    if (fl_store_open_sqlite(path, &bench->loop, &bench->store, &err) < 0)
        stop(bench, err.text);
    bench->core = fl_core_new(&config);
    fl_turn_init(&bench->turn);
    (void)call(bench, "CreateCluster", "{}");
    (void)call(bench, "RegisterTaskDefinition",
               "{\"family\":\"web\",\"containerDefinitions\":[{\"name\":\"app\",\"image\":"
               "\"web:1\",\"cpu\":128,\"memory\":512,\"portMappings\":[{\"containerPort\":80}]}]}");
    add_instances(bench, instances);
    for (size_t i = 0; i < tasks; i += A_CALL)
        add_tasks(bench);
    commit(bench);
    fl_turn_free(&bench->turn);
    fl_store_close(bench->store);
    (void)uv_run(&bench->loop, UV_RUN_DEFAULT);
    fl_core_free(bench->core);
}

/* ---- the server ---- */

static struct sockaddr_in address_of(const struct bench *bench)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons(bench->port)};
}

static void find_port(struct bench *bench)
{
    struct sockaddr_in address = address_of(bench);
    socklen_t size = sizeof(address);
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        stop(bench, "no free port");
    bench->port = ntohs(address.sin_port);
}

static void start_server(struct bench *bench)
{
    char listen[32], path[80];
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", bench->port);
    bench->server = fork();
    if (bench->server < 0)
        stop(bench, "fork");
    if (bench->server > 0)
        return;
    (void)snprintf(path, sizeof(path), "%s.log", bench->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)dup2(fd, STDERR_FILENO);
    (void)execl(bench->program, "fairlead", "server", "--data-dir", bench->dir, "--listen", listen,
                (char *)NULL);
    _exit(127);
}

static bool answers(const struct bench *bench)
{
    static const char request[] = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    const struct sockaddr_in address = address_of(bench);
    char answer[16];
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
           send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
           recv(fd, answer, sizeof(answer), 0) > 0;
}

static void stop_server(struct bench *bench)
{
    (void)kill(bench->server, SIGTERM);
    (void)waitpid(bench->server, NULL, 0);
}

static int64_t wait_for_answer(struct bench *bench)
{
    int64_t begun_ms = fl_clock_mono_ms();
    while (!answers(bench)) {
        if (waitpid(bench->server, NULL, WNOHANG) != 0 ||
            fl_clock_mono_ms() - begun_ms > WAIT_S * 1000)
            stop(bench, "the server does not start");
        (void)usleep(10000);
    }
    return fl_clock_mono_ms() - begun_ms;
}

/* User and system time of the server so far. */
static double cpu_seconds(const struct bench *bench)
{
    char path[64];
    unsigned long user = 0, system = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", bench->server);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    (void)fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                 &system);
    (void)fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* A line of /proc/PID/smaps_rollup, in MiB. */
static double rolled_up(const struct bench *bench, const char *name)
{
    char path[64], line[256];
    long kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", bench->server);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0 && sscanf(line + strlen(name), ": %ld", &kib))
            break;
    if (file)
        (void)fclose(file);
    return (double)kib / 1024;
}

static int remove_entry(const char *path, FL_UNUSED const struct stat *info, FL_UNUSED int kind,
                        FL_UNUSED struct FTW *at)
{
    return remove(path);
}

static size_t argument(int argc, char **argv, int which, size_t otherwise)
{
    uint64_t value = 0;
    if (which >= argc || !fl_str_to_u64(fl_str_of(argv[which]), &value) || value == 0)
        return otherwise;
    return (size_t)value;
}

int main(int argc, char **argv)
{
    static struct bench bench = {.now_ms = 1700000100000};
    size_t tasks = argument(argc, argv, 2, 1000000), instances = argument(argc, argv, 3, 100000);
    struct stat file = {0};
    char path[128];
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench-memory FAIRLEAD [TASKS [INSTANCES]]\n");
        return 2;
    }
    bench.program = argv[1];
    bench.arena = fl_arena_new();
    (void)snprintf(bench.dir, sizeof(bench.dir), "/tmp/fairlead-memory-XXXXXX");
    if (!mkdtemp(bench.dir))
        stop(&bench, "no directory");
    find_port(&bench);
    start_server(&bench); /* makes the directory its own */
    (void)wait_for_answer(&bench);
    stop_server(&bench);
    make_records(&bench, instances, tasks);
    (void)snprintf(path, sizeof(path), "%s/server.db", bench.dir);
    (void)stat(path, &file);
    start_server(&bench);
    int64_t started_ms = wait_for_answer(&bench);
    (void)printf("%zu tasks on %zu instances: the server's PSS is %.0f MiB (goal 1024), anonymous "
                 "%.0f MiB; it started in %.2f s (%.2f s of CPU); the store's file has %.0f MiB.\n",
                 tasks, instances, rolled_up(&bench, "Pss"), rolled_up(&bench, "Anonymous"),
                 (double)started_ms / 1000, cpu_seconds(&bench), (double)file.st_size / (1 << 20));
    stop_server(&bench);
    fl_arena_free(bench.arena);
    (void)snprintf(path, sizeof(path), "%s.log", bench.dir);
    (void)unlink(path);
    (void)nftw(bench.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
