/* Throughput end to end: a real `fairlead server` on a data directory and a port of its own, driven
 * over HTTP and ACS websockets by clients, agents and readers that exist on the wire only.
 *
 * One thread and one epoll descriptor generate the load; it shares the machine with the server, so
 * the CPU time of both is printed. Requests are signed as any client signs; one whose text is the
 * same is signed once a second, which the server cannot tell. Agents acknowledge every payload and
 * report every task RUNNING. Anything unexpected ends the run with a line on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fs.h"
#include "wire/json.h"
#include "wire/sigv4.h"

enum {
    MAX_CONNECTIONS = 1024,
    MAX_INPUT = 4 << 20,
    MAX_ARN = 160,
    MAX_LATENCIES = 4 << 20,
    TASKS_A_CALL = 10,
    MOST_NOT_RUNNING = 3000, /* clients wait while so many tasks have not been reported */
    RECOVERED_TASKS = 100000,
    WAIT_S = 60,
};

enum role { ROLE_CLIENT, ROLE_READER, ROLE_REPORTER, ROLE_ACS, ROLE_TIMER };

struct connection {
    enum role role;
    int fd;
    bool is_busy;
    int64_t begun_ns;
    struct fl_buf in;
    struct fl_buf out; /* a signed request that can be sent again */
    int64_t signed_s;
};

struct key {
    struct fl_credentials credentials;
};

struct bench {
    const char *program;
    char scratch_dir[64]; /* holds the server's log and data */
    char dir[80];
    char listen[32];
    uint16_t port;
    pid_t server;
    int epoll_fd, timer_fd;
    struct fl_arena *arena; /* lives as long as the run */
    struct fl_arena *scratch;
    struct key operator_key, agent_key;
    struct connection connections[MAX_CONNECTIONS];
    size_t connection_count;
    /* What is going on. */
    bool is_running;       /* clients start calls */
    double calls_a_second; /* 0: closed loop */
    int64_t next_due_ns;
    int64_t *latencies;
    size_t latency_count;
    size_t accepted, running, described;
    char (*arns)[MAX_ARN]; /* every task placed, in order of arrival at its agent */
    size_t arn_count, arn_cap, arn_sent;
};

static _Noreturn void stop(struct bench *bench, const char *what, struct fl_str detail)
{
    (void)fprintf(stderr, "throughput: %s: %.*s\n", what, (int)FL_MIN(detail.n, (size_t)400),
                  detail.p ? detail.p : "");
    if (bench->server > 0)
        (void)kill(bench->server, SIGKILL);
    exit(1);
}

static void must(struct bench *bench, bool holds, const char *what)
{
    if (!holds)
        stop(bench, what, fl_str_of(strerror(errno)));
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- the server ---- */

static uint16_t free_port(struct bench *bench)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bench,
         fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
             getsockname(fd, (struct sockaddr *)&address, &size) == 0,
         "no free port");
    return ntohs(address.sin_port);
}

static void start_server(struct bench *bench)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/server.log", bench->scratch_dir);
    bench->server = fork();
    must(bench, bench->server >= 0, "fork");
    if (bench->server > 0)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
    }
    (void)execl(bench->program, "fairlead", "server", "--data-dir", bench->dir, "--listen",
                bench->listen, (char *)NULL);
    _exit(127);
}

static int try_connect(const struct bench *bench)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons(bench->port)};
    const int one = 1;
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return FL_TAKE_FD(fd);
}

static int connect_patiently(struct bench *bench)
{
    int64_t deadline_ns = now_ns() + (int64_t)WAIT_S * 1000000000;
    int fd;
    while ((fd = try_connect(bench)) < 0) {
        if (now_ns() > deadline_ns || waitpid(bench->server, NULL, WNOHANG) != 0)
            stop(bench, "the server does not answer; its log is in", fl_str_of(bench->scratch_dir));
        (void)usleep(1000);
    }
    return fd;
}

static void read_key(struct bench *bench, const char *name, struct key *key)
{
    char path[128];
    struct fl_buf buf = FL_BUF_INIT(4096);
    struct fl_err err;
    (void)snprintf(path, sizeof(path), "%s/keys/%s.json", bench->dir, name);
    must(bench, fl_fs_read(AT_FDCWD, path, 4096, &buf) >= 0, path);
    const struct fl_json *json = fl_json_read(fl_buf_str(&buf), bench->arena, &err);
    fl_buf_free(&buf);
    key->credentials.access_key_id = fl_json_text(fl_json_get(json, "accessKeyId"));
    key->credentials.secret = fl_json_text(fl_json_get(json, "secretAccessKey"));
}

/* User and system time of a process so far. */
static double cpu_seconds(pid_t pid)
{
    char path[64];
    unsigned long user = 0, system = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    (void)fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                 &system);
    (void)fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double pss_mib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %ld", &kib) == 1)
            break;
    if (file)
        (void)fclose(file);
    return (double)kib / 1024;
}

/* ---- requests ---- */

static void build(struct bench *bench, const struct key *key, const char *method,
                  struct fl_str path, struct fl_str query, const char *operation,
                  struct fl_str body, struct fl_buf *out)
{
    struct fl_header headers[2] = {{FL_STR("Host"), fl_str_of(bench->listen)}}, extra[4];
    size_t count = 1;
    if (operation)
        headers[count++] = (struct fl_header){
            FL_STR("X-Amz-Target"),
            fl_str_printf(bench->scratch, "AmazonEC2ContainerServiceV20141113.%s", operation)};
    const struct fl_sigv4_request request = {.method = fl_str_of(method),
                                             .path = path,
                                             .query = query,
                                             .headers = headers,
                                             .header_count = count,
                                             .body = body};
    size_t extras = fl_sigv4_sign(&request, &key->credentials, FL_STR("us-east-1"), FL_STR("ecs"),
                                  fl_clock_wall_ms(), bench->scratch, extra);
    fl_buf_clear(out);
    fl_buf_printf(out, "%s %.*s%s%.*s HTTP/1.1\r\n", method, FL_STR_ARG(path), query.n ? "?" : "",
                  FL_STR_ARG(query));
    for (size_t i = 0; i < count + extras; i++) {
        const struct fl_header *header = i < count ? &headers[i] : &extra[i - count];
        fl_buf_printf(out, "%.*s: %.*s\r\n", FL_STR_ARG(header->name), FL_STR_ARG(header->value));
    }
    if (!operation)
        fl_buf_add_z(out, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
                          "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    else
        fl_buf_printf(out, "Content-Length: %zu\r\n\r\n", body.n);
    fl_buf_add_str(out, body);
    fl_arena_reset(bench->scratch);
}

static void send_all(struct bench *bench, int fd, struct fl_str bytes)
{
    while (bytes.n > 0) {
        ssize_t sent = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        must(bench, sent > 0, "send");
        bytes = fl_str_from(bytes, (size_t)sent);
    }
}

/* Length of the answer at the buffer's front, 0 when it is not complete. */
static size_t answer_size(const struct fl_buf *in, struct fl_str *ret_body)
{
    const char *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return 0;
    size_t head = (size_t)(end - in->p) + 4, body = 0;
    const char *length = strcasestr(in->p, "\r\nContent-Length: ");
    if (length && length < end)
        body = strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
    if (in->n < head + body)
        return 0;
    *ret_body = (struct fl_str){in->p + head, body};
    return head + body;
}

static bool take_input(struct bench *bench, struct connection *connection)
{
    char *to = fl_buf_reserve(&connection->in, 256 * 1024);
    must(bench, to != NULL, "an answer is too large");
    ssize_t got = recv(connection->fd, to, 256 * 1024, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0)
        stop(bench, "the server closed a connection", fl_buf_str(&connection->in));
    connection->in.n += (size_t)got;
    connection->in.p[connection->in.n] = '\0';
    return true;
}

/* One call outside the load; the answer's body is in the arena. */
static struct fl_str call(struct bench *bench, const struct key *key, const char *operation,
                          struct fl_str body)
{
    struct fl_buf out = FL_BUF_INIT(MAX_INPUT);
    struct connection connection = {.fd = connect_patiently(bench), .in = FL_BUF_INIT(MAX_INPUT)};
    struct fl_str answer = {0};
    build(bench, key, "POST", FL_STR("/"), FL_STR(""), operation, body, &out);
    send_all(bench, connection.fd, fl_buf_str(&out));
    while (answer_size(&connection.in, &answer) == 0)
        (void)take_input(bench, &connection);
    if (!fl_str_starts(fl_buf_str(&connection.in), FL_STR("HTTP/1.1 200")))
        stop(bench, operation, fl_buf_str(&connection.in));
    answer = fl_str_dup(bench->arena, answer);
    fl_buf_free(&out);
    fl_buf_free(&connection.in);
    (void)close(connection.fd);
    return answer;
}

/* The text of the first string member of that name from `from` on; moves `from` behind it. */
static bool next_member(struct fl_str *from, const char *quoted_name, struct fl_str *ret_text)
{
    const char *at = from->n ? memmem(from->p, from->n, quoted_name, strlen(quoted_name)) : NULL;
    if (!at)
        return false;
    at += strlen(quoted_name);
    const char *end = memchr(at, '"', from->n - (size_t)(at - from->p));
    if (!end)
        return false;
    *ret_text = (struct fl_str){at, (size_t)(end - at)};
    *from = fl_str_from(*from, (size_t)(end - from->p));
    return true;
}

/* ---- the load ---- */

static struct connection *add_connection(struct bench *bench, enum role role, int fd)
{
    must(bench, bench->connection_count < MAX_CONNECTIONS, "too many connections");
    struct connection *connection = &bench->connections[bench->connection_count++];
    *connection = (struct connection){
        .role = role, .fd = fd, .in = FL_BUF_INIT(MAX_INPUT), .out = FL_BUF_INIT(MAX_INPUT)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    must(bench, epoll_ctl(bench->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    return connection;
}

static void begin(struct bench *bench, struct connection *connection, int64_t begun_ns)
{
    connection->is_busy = true;
    connection->begun_ns = begun_ns;
    send_all(bench, connection->fd, fl_buf_str(&connection->out));
}

static void run_tasks(struct bench *bench, struct connection *connection, int64_t begun_ns)
{
    int64_t second = fl_clock_wall_ms() / 1000;
    if (connection->signed_s != second) {
        build(bench, &bench->operator_key, "POST", FL_STR("/"), FL_STR(""), "RunTask",
              FL_STR("{\"taskDefinition\":\"bench\",\"count\":10}"), &connection->out);
        connection->signed_s = second;
    }
    begin(bench, connection, begun_ns);
}

static void describe(struct bench *bench, struct connection *connection)
{
    int64_t second = fl_clock_wall_ms() / 1000;
    if (connection->signed_s != second) {
        char body[MAX_ARN + 64];
        size_t which = ((size_t)connection->fd * 7919 + (size_t)second) % bench->arn_count;
        (void)snprintf(body, sizeof(body), "{\"tasks\":[\"%s\"]}", bench->arns[which]);
        build(bench, &bench->operator_key, "POST", FL_STR("/"), FL_STR(""), "DescribeTasks",
              fl_str_of(body), &connection->out);
        connection->signed_s = second;
    }
    begin(bench, connection, 0);
}

static void report(struct bench *bench, struct connection *connection)
{
    char body[MAX_ARN + 256];
    int n = snprintf(body, sizeof(body),
                     "{\"cluster\":\"default\",\"task\":\"%s\",\"status\":\"RUNNING\","
                     "\"containers\":[{\"containerName\":\"main\",\"status\":\"RUNNING\","
                     "\"runtimeId\":\"0123456789abcdef0123456789abcdef\"}]}",
                     bench->arns[bench->arn_sent++]);
    build(bench, &bench->agent_key, "POST", FL_STR("/"), FL_STR(""), "SubmitTaskStateChange",
          (struct fl_str){body, (size_t)n}, &connection->out);
    begin(bench, connection, 0);
}

static bool may_start(const struct bench *bench)
{
    return bench->is_running && bench->accepted - bench->running < MOST_NOT_RUNNING;
}

/* Gives every idle connection what waits for it. */
static void give_work(struct bench *bench, enum role wanted)
{
    int64_t now = now_ns();
    for (size_t i = 0; i < bench->connection_count; i++) {
        struct connection *connection = &bench->connections[i];
        if (connection->is_busy || connection->role != wanted)
            continue;
        if (wanted == ROLE_REPORTER && bench->arn_sent < bench->arn_count)
            report(bench, connection);
        if (wanted == ROLE_READER && bench->is_running)
            describe(bench, connection);
        if (wanted != ROLE_CLIENT || !may_start(bench))
            continue;
        if (bench->calls_a_second == 0) {
            run_tasks(bench, connection, now);
        } else if (bench->next_due_ns <= now) {
            run_tasks(bench, connection, bench->next_due_ns);
            bench->next_due_ns += (int64_t)(1e9 / bench->calls_a_second);
        }
    }
}

static void on_answer(struct bench *bench, struct connection *connection)
{
    struct fl_str body;
    size_t size = answer_size(&connection->in, &body);
    if (size == 0)
        return;
    struct fl_str answer = fl_buf_str(&connection->in);
    if (!fl_str_starts(answer, FL_STR("HTTP/1.1 200")) ||
        (connection->role == ROLE_CLIENT && !fl_str_contains(body, FL_STR("\"failures\":[]"))))
        stop(bench, "refused", answer);
    connection->is_busy = false;
    fl_buf_consume(&connection->in, size);
    if (connection->role == ROLE_CLIENT) {
        if (bench->latency_count < MAX_LATENCIES)
            bench->latencies[bench->latency_count++] = now_ns() - connection->begun_ns;
        bench->accepted += TASKS_A_CALL;
    }
    bench->running += connection->role == ROLE_REPORTER;
    bench->described += connection->role == ROLE_READER;
}

static void remember_task(struct bench *bench, struct fl_str arn)
{
    if (!fl_str_contains(arn, FL_STR(":task/")) || arn.n >= MAX_ARN)
        return;
    if (bench->arn_count == bench->arn_cap) {
        bench->arn_cap = FL_MAX(2 * bench->arn_cap, (size_t)65536);
        bench->arns = fl_realloc(bench->arns, bench->arn_cap * MAX_ARN);
    }
    memcpy(bench->arns[bench->arn_count], arn.p, arn.n);
    bench->arns[bench->arn_count++][arn.n] = '\0';
}

/* A text frame of a client, masked with zeroes: the bytes stay as they are. */
static void send_frame(struct bench *bench, struct connection *connection, struct fl_str text)
{
    struct fl_buf *out = &connection->out;
    const char mask[4] = {0};
    FL_ASSERT(text.n >= 126 && text.n < 65536);
    const unsigned char head[] = {0x81, 0x80 | 126, (unsigned char)(text.n >> 8),
                                  (unsigned char)text.n};
    fl_buf_clear(out);
    fl_buf_add(out, head, sizeof(head));
    fl_buf_add(out, mask, sizeof(mask));
    fl_buf_add_str(out, text);
    send_all(bench, connection->fd, fl_buf_str(out));
}

static void on_agent_message(struct bench *bench, struct connection *connection, struct fl_str text)
{
    bool is_heartbeat = fl_str_contains(fl_str_sub(text, 0, 64), FL_STR("HeartbeatMessage"));
    struct fl_str rest = text, id, arn;
    char reply[512];
    if (!next_member(&rest, "\"messageId\":\"", &id))
        return;
    /* Padded beyond 125 bytes, so that one kind of frame is enough. */
    int n =
        snprintf(reply, sizeof(reply), "{\"type\":\"%s\",\"message\":{\"messageId\":\"%.*s\"}}%*s",
                 is_heartbeat ? "HeartbeatAckRequest" : "AckRequest", FL_STR_ARG(id), 80, "");
    send_frame(bench, connection, (struct fl_str){reply, (size_t)n});
    rest = text;
    while (!is_heartbeat && next_member(&rest, "\"arn\":\"", &arn))
        remember_task(bench, arn);
}

static void on_frames(struct bench *bench, struct connection *connection)
{
    for (;;) {
        const unsigned char *p = (const unsigned char *)connection->in.p;
        size_t have = connection->in.n, head = 2, n;
        if (have < 2)
            return;
        if (p[0] != 0x81)
            stop(bench, "an agent's session ended", fl_buf_str(&connection->in));
        n = p[1] & 0x7f;
        head += n == 126 ? 2 : n == 127 ? 8 : 0;
        if (have < head)
            return;
        for (size_t i = 2, wide = 0; i < head; i++)
            n = wide = wide << 8 | p[i];
        if (have < head + n)
            return;
        on_agent_message(bench, connection, (struct fl_str){connection->in.p + head, n});
        fl_buf_consume(&connection->in, head + n);
    }
}

/* For the next call that is due; one that is overdue waits for a client, whose answer wakes us. */
static void arm_timer(struct bench *bench)
{
    struct itimerspec at = {0};
    if (bench->next_due_ns > now_ns())
        at.it_value =
            (struct timespec){bench->next_due_ns / 1000000000, bench->next_due_ns % 1000000000};
    (void)timerfd_settime(bench->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_event(struct bench *bench, struct connection *connection)
{
    uint64_t ticks;
    if (connection->role == ROLE_TIMER) {
        (void)!read(connection->fd, &ticks, sizeof(ticks));
        return;
    }
    if (!take_input(bench, connection))
        return;
    if (connection->role == ROLE_ACS)
        on_frames(bench, connection);
    else
        on_answer(bench, connection);
}

static void turn(struct bench *bench, enum role load)
{
    struct epoll_event events[256];
    give_work(bench, load);
    give_work(bench, ROLE_REPORTER);
    if (bench->calls_a_second > 0)
        arm_timer(bench);
    int n = epoll_wait(bench->epoll_fd, events, FL_ARRAY_SIZE(events), 5);
    for (int i = 0; i < n; i++)
        on_event(bench, events[i].data.ptr);
}

/* ---- measuring ---- */

struct measured {
    double seconds, server_cpu, own_cpu;
    size_t accepted, running, described;
    double p50_ms, p99_ms;
};

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static bool is_quiet(const struct bench *bench)
{
    for (size_t i = 0; i < bench->connection_count; i++)
        if (bench->connections[i].is_busy)
            return false;
    return bench->running == bench->accepted;
}

/* Load for so long or so many tasks (0: no bound), then until everything is reported. */
static struct measured load(struct bench *bench, enum role role, double seconds, size_t tasks,
                            double calls_a_second)
{
    size_t accepted = bench->accepted, running = bench->running, described = bench->described;
    double server = cpu_seconds(bench->server), own = cpu_seconds(getpid());
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9);
    bench->latency_count = 0;
    bench->calls_a_second = calls_a_second;
    bench->next_due_ns = begun;
    bench->is_running = true;
    while (now_ns() < end && (tasks == 0 || bench->accepted < tasks))
        turn(bench, role);
    struct measured m = {.seconds = (double)(now_ns() - begun) / 1e9,
                         .server_cpu = cpu_seconds(bench->server) - server,
                         .own_cpu = cpu_seconds(getpid()) - own,
                         .accepted = bench->accepted - accepted,
                         .running = bench->running - running,
                         .described = bench->described - described};
    bench->is_running = false;
    bench->calls_a_second = 0;
    for (end = now_ns() + (int64_t)WAIT_S * 1000000000; !is_quiet(bench); turn(bench, role))
        if (now_ns() > end)
            stop(bench, "tasks were not reported in time", FL_STR(""));
    qsort(bench->latencies, bench->latency_count, sizeof(int64_t), by_value);
    if (bench->latency_count > 0) {
        m.p50_ms = (double)bench->latencies[bench->latency_count / 2] / 1e6;
        m.p99_ms = (double)bench->latencies[bench->latency_count * 99 / 100] / 1e6;
    }
    return m;
}

static void print_tasks(const char *title, const struct measured *m)
{
    (void)printf("| %s | %.0f | %.0f | %.2f | %.2f | %.2f | %.2f |\n", title,
                 (double)m->accepted / m->seconds, (double)m->running / m->seconds, m->p50_ms,
                 m->p99_ms, m->server_cpu / m->seconds, m->own_cpu / m->seconds);
    (void)fflush(stdout);
}

/* ---- the run ---- */

static void add_agent(struct bench *bench)
{
    struct fl_str answer =
        call(bench, &bench->agent_key, "RegisterContainerInstance",
             FL_STR("{\"cluster\":\"default\",\"totalResources\":["
                    "{\"name\":\"CPU\",\"type\":\"INTEGER\",\"integerValue\":1000000000},"
                    "{\"name\":\"MEMORY\",\"type\":\"INTEGER\",\"integerValue\":1000000000}]}"));
    struct fl_str arn, cluster = FL_STR("default"), text;
    must(bench, next_member(&answer, "\"containerInstanceArn\":\"", &arn), "no instance");
    (void)call(bench, &bench->agent_key, "DiscoverPollEndpoint",
               fl_str_printf(bench->arena, "{\"containerInstance\":\"%.*s\"}", FL_STR_ARG(arn)));
    struct connection *connection = add_connection(bench, ROLE_ACS, connect_patiently(bench));
    struct fl_buf escaped = FL_BUF_INIT(1024);
    for (size_t i = 0; i < arn.n; i++) {
        if (arn.p[i] == ':' || arn.p[i] == '/')
            fl_buf_printf(&escaped, "%%%02X", arn.p[i]);
        else
            fl_buf_add_char(&escaped, arn.p[i]);
    }
    struct fl_str query =
        fl_str_printf(bench->arena,
                      "agentHash=0&agentVersion=1.105.1&clusterArn=%.*s&containerInstanceArn=%.*s"
                      "&protocolVersion=2&seqNum=1",
                      FL_STR_ARG(cluster), FL_STR_ARG(fl_buf_str(&escaped)));
    fl_buf_free(&escaped);
    build(bench, &bench->agent_key, "GET", FL_STR("/acs/ws"), query, NULL, FL_STR(""),
          &connection->out);
    send_all(bench, connection->fd, fl_buf_str(&connection->out));
    size_t size;
    while ((size = answer_size(&connection->in, &text)) == 0)
        (void)take_input(bench, connection);
    if (!fl_str_starts(fl_buf_str(&connection->in), FL_STR("HTTP/1.1 101")))
        stop(bench, "no session", fl_buf_str(&connection->in));
    fl_buf_consume(&connection->in, size);
    on_frames(bench, connection);
}

static void prepare(struct bench *bench, size_t agents, size_t clients, size_t reporters,
                    size_t readers)
{
    start_server(bench);
    (void)close(connect_patiently(bench));
    read_key(bench, "operator", &bench->operator_key);
    read_key(bench, "agent", &bench->agent_key);
    (void)call(bench, &bench->operator_key, "CreateCluster", FL_STR("{}"));
    (void)call(bench, &bench->operator_key, "RegisterTaskDefinition",
               FL_STR("{\"family\":\"bench\",\"networkMode\":\"host\",\"containerDefinitions\":[{"
                      "\"name\":\"main\",\"image\":\"busybox:1\",\"memory\":8}]}"));
    for (size_t i = 0; i < agents; i++)
        add_agent(bench);
    for (size_t i = 0; i < clients; i++)
        (void)add_connection(bench, ROLE_CLIENT, connect_patiently(bench));
    for (size_t i = 0; i < reporters; i++)
        (void)add_connection(bench, ROLE_REPORTER, connect_patiently(bench));
    for (size_t i = 0; i < readers; i++)
        (void)add_connection(bench, ROLE_READER, connect_patiently(bench));
    (void)add_connection(bench, ROLE_TIMER, bench->timer_fd);
}

static void measure_recovery(struct bench *bench)
{
    double before_mib = pss_mib(bench->server);
    char body[MAX_ARN + 64];
    (void)snprintf(body, sizeof(body), "{\"tasks\":[\"%s\"]}", bench->arns[bench->arn_count - 1]);
    (void)kill(bench->server, SIGKILL);
    (void)waitpid(bench->server, NULL, 0);
    for (size_t i = 0; i < bench->connection_count; i++)
        (void)close(bench->connections[i].fd);
    int64_t begun = now_ns();
    start_server(bench);
    struct fl_str answer = call(bench, &bench->operator_key, "DescribeTasks", fl_str_of(body));
    double seconds = (double)(now_ns() - begun) / 1e9, cpu = cpu_seconds(bench->server);
    if (!fl_str_contains(answer, FL_STR("\"lastStatus\":\"RUNNING\"")))
        stop(bench, "the last task reported is not RUNNING after a kill", answer);
    (void)printf("Recovery after kill -9 with %zu tasks: %.2f s from start to the first answer, "
                 "%.2f s of CPU (goal 1.00).\nPSS with them: %.1f MiB before, %.1f MiB after.\n",
                 bench->accepted, seconds, cpu, before_mib, pss_mib(bench->server));
}

static int remove_entry(const char *path, FL_UNUSED const struct stat *info, FL_UNUSED int kind,
                        FL_UNUSED struct FTW *at)
{
    return remove(path);
}

static size_t argument(int argc, char **argv, int which, size_t otherwise)
{
    uint64_t value = otherwise;
    if (which < argc && (!fl_str_to_u64(fl_str_of(argv[which]), &value) || value == 0))
        value = otherwise;
    return (size_t)value;
}

static void measure_load(struct bench *bench, double seconds)
{
    (void)printf("| load | tasks/s accepted | tasks/s RUNNING | call p50 ms | p99 ms | "
                 "server cores | generator cores |\n| --- | --: | --: | --: | --: | --: | --: |\n");
    struct measured full = load(bench, ROLE_CLIENT, seconds, 0, 0);
    print_tasks("full", &full);
    double half_rate = (double)full.running / full.seconds / TASKS_A_CALL / 2;
    struct measured half = load(bench, ROLE_CLIENT, seconds, 0, half_rate);
    print_tasks("half", &half);
    struct measured goal = load(bench, ROLE_CLIENT, seconds, 0, 5000.0 / TASKS_A_CALL);
    print_tasks("5000 tasks/s", &goal);
    (void)printf("\nTasks RUNNING per second of the server's CPU: %.0f.\n",
                 (double)full.running / full.server_cpu);
    (void)fflush(stdout);
}

static void measure_reads(struct bench *bench, double seconds)
{
    if (bench->arn_count == 0)
        (void)load(bench, ROLE_CLIENT, 1, 0, 0);
    struct measured reads = load(bench, ROLE_READER, seconds, 0, 0);
    (void)printf("\nSigned DescribeTasks: %.0f a second, %.0f per second of the server's CPU "
                 "(server %.2f cores, generator %.2f).\n",
                 (double)reads.described / reads.seconds,
                 (double)reads.described / reads.server_cpu, reads.server_cpu / reads.seconds,
                 reads.own_cpu / reads.seconds);
    (void)fflush(stdout);
}

/* Everything, or the one part that is named. */
static void measure(struct bench *bench, double seconds, const char *part)
{
    bool all = strcmp(part, "all") == 0;
    if (all || strcmp(part, "load") == 0)
        measure_load(bench, seconds);
    if (all || strcmp(part, "reads") == 0)
        measure_reads(bench, seconds);
    if (!all && strcmp(part, "recovery") != 0)
        return;
    (void)load(bench, ROLE_CLIENT, 10.0 * WAIT_S, RECOVERED_TASKS, 0);
    measure_recovery(bench);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    double load_average = 0;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench-throughput FAIRLEAD [SECONDS [AGENTS [CLIENTS "
                              "[REPORTERS [READERS [load|reads|recovery]]]]]]\n");
        return 2;
    }
    bench.program = argv[1];
    bench.arena = fl_arena_new();
    bench.scratch = fl_arena_new();
    bench.latencies = fl_calloc(MAX_LATENCIES, sizeof(int64_t));
    bench.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bench.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    bench.port = free_port(&bench);
    (void)snprintf(bench.listen, sizeof(bench.listen), "127.0.0.1:%u", bench.port);
    (void)snprintf(bench.scratch_dir, sizeof(bench.scratch_dir), "/tmp/fairlead-throughput-XXXXXX");
    must(&bench, mkdtemp(bench.scratch_dir) != NULL, bench.scratch_dir);
    (void)snprintf(bench.dir, sizeof(bench.dir), "%s/data", bench.scratch_dir);
    (void)getloadavg(&load_average, 1);
    (void)printf("Load average before: %.1f; %ld processors; data in %s\n\n", load_average,
                 sysconf(_SC_NPROCESSORS_ONLN), bench.scratch_dir);
    prepare(&bench, argument(argc, argv, 3, 20), argument(argc, argv, 4, 16),
            argument(argc, argv, 5, 256), argument(argc, argv, 6, 32));
    measure(&bench, (double)argument(argc, argv, 2, 5), argc > 7 ? argv[7] : "all");
    (void)kill(bench.server, SIGTERM);
    (void)waitpid(bench.server, NULL, 0);
    (void)nftw(bench.scratch_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
