/* Asking fairlead-exec, and hearing what became of it. It is started with the first request, serves
 * all, ends with us, and is started again with the next one when it has died. */
#include "agent/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/exec_orders.h"
#include "base/fs.h"
#include "base/spawn.h"

/* Our descriptors that are given away must not be those of the helper while it is being started. */
enum {
    FREE_FD = 10,
    HELPER_GRACE_MS = 5000, /* more than its own */
    ANSWER_MAX = sizeof(struct fl_exec_answer) + FL_EXEC_OUTPUT_MAX
};

struct fl_exec {
    struct fl_execer *execer;
    struct fl_arena *arena;
    struct fl_exec_order order;
    fl_exec_done done;
    void *context;
    int answer_fd;
    uv_poll_t *poll;
    uv_timer_t *deadline; /* of the helper itself, should it hang */
    struct fl_buf answer;
    TAILQ_ENTRY(fl_exec) queue;
};

struct fl_execer {
    uv_loop_t *loop;
    struct fl_runtime *runtime;
    char *path;
    int program_fd;  /* a sealed copy of the helper, which no container can write to; -1: not yet */
    pid_t pid;       /* the helper; 0: none runs */
    int requests_fd; /* our end of its socket; -1: none runs */
    uv_poll_t *lost; /* the helper has closed its end */
    unsigned running;
    TAILQ_HEAD(, fl_exec) waiting;
    TAILQ_HEAD(, fl_exec) started;
    uv_async_t *pump; /* starts what waits, outside of any caller */
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void exec_free(struct fl_exec *exec)
{
    if (exec->poll)
        uv_close((uv_handle_t *)exec->poll, free_handle);
    if (exec->deadline)
        uv_close((uv_handle_t *)exec->deadline, free_handle);
    if (exec->answer_fd >= 0)
        (void)close(exec->answer_fd);
    fl_buf_free(&exec->answer);
    fl_arena_free(exec->arena);
}

static void finish(struct fl_exec *exec, const struct fl_exec_result *result)
{
    struct fl_execer *execer = exec->execer;
    execer->running--;
    TAILQ_REMOVE(&execer->started, exec, queue);
    if (!TAILQ_EMPTY(&execer->waiting))
        (void)uv_async_send(execer->pump);
    exec->done(exec->context, result);
    exec_free(exec);
}

static void refuse(struct fl_exec *exec, const char *sentence)
{
    const struct fl_exec_result result = {.status = -1, .output = fl_str_of(sentence)};
    finish(exec, &result);
}

static void tell(struct fl_exec *exec)
{
    struct fl_exec_answer head;
    struct fl_str bytes = fl_buf_str(&exec->answer);
    if (bytes.n < sizeof(head)) {
        refuse(exec, "the helper program ended without an answer");
        return;
    }
    memcpy(&head, bytes.p, sizeof(head));
    const struct fl_exec_result result = {
        .status = head.status,
        .timed_out = head.timed_out != 0,
        .output = fl_str_from(bytes, sizeof(head)),
    };
    finish(exec, &result);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct fl_exec *exec = poll->data;
    char bytes[4096];
    ssize_t n;
    (void)status;
    (void)events;
    while ((n = read(exec->answer_fd, bytes, sizeof(bytes))) > 0)
        fl_buf_add(&exec->answer, bytes, (size_t)n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    tell(exec);
}

/* ---- the orders ---- */

/* The groups that the container is in, as its shim was told. */
static int add_cgroups(const struct fl_runtime *runtime, struct fl_str id, struct fl_arena *arena,
                       struct fl_buf *orders)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(2 * FL_RUNTIME_FILE_MAX);
    struct fl_str line;
    struct fl_str path =
        fl_str_printf(arena, "%.*s/orders", FL_STR_ARG(fl_runtime_dir(runtime, id, arena)));
    int rc = fl_fs_read(AT_FDCWD, path.p, 2 * FL_RUNTIME_FILE_MAX, &text);
    if (rc < 0)
        return rc;
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_starts(line, FL_STR("cgroup ")))
            fl_exec_add_text(orders, FL_EXEC_CGROUP, fl_str_from(line, strlen("cgroup ")));
    return 0;
}

static int make_confinement(const struct fl_runtime *runtime, struct fl_str id,
                            struct fl_arena *arena, struct fl_buf *orders, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf config = FL_BUF_INIT(FL_BUNDLE_CONFIG_MAX);
    struct fl_str path =
        fl_str_printf(arena, "%s/config.json", fl_runtime_config_dir(runtime, id, arena).p);
    int rc = fl_fs_read(AT_FDCWD, path.p, FL_BUNDLE_CONFIG_MAX, &config);
    if (rc == 0)
        rc = add_cgroups(runtime, id, arena, orders);
    if (rc < 0)
        return fl_err_errno(err, rc, "the container's configuration cannot be read");
    rc = fl_exec_confine(&config, orders, err);
    if (rc == 0 && orders->overflow)
        rc = fl_err_set(err, -E2BIG, "the container's configuration is too large");
    return rc;
}

/* A container is configured once, however often it is started, so its confinement stays, too. */
static int open_confinement(const struct fl_exec *exec, struct fl_err *err)
{
    const struct fl_runtime *runtime = exec->execer->runtime;
    struct fl_str id = exec->order.container_id;
    struct fl_str path = fl_str_printf(exec->arena, "%s/" FL_EXEC_CONFINEMENT,
                                       fl_runtime_config_dir(runtime, id, exec->arena).p);
    int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        return fd;
    FL_CLEANUP_BUF struct fl_buf orders = FL_BUF_INIT(FL_EXEC_ORDERS_MAX);
    int rc = make_confinement(runtime, id, exec->arena, &orders, err);
    if (rc < 0)
        return rc;
    rc = fl_fs_write_fast(AT_FDCWD, path.p, fl_buf_str(&orders), 0600);
    fd = rc < 0 ? rc : open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? fl_err_errno(err, rc < 0 ? rc : -errno, "cannot write %s", path.p) : fd;
}

static void make_orders(const struct fl_exec_order *order, struct fl_buf *orders)
{
    fl_exec_add_number(orders, FL_EXEC_TIMEOUT, order->timeout_ms);
    fl_exec_add_number(orders, FL_EXEC_OUTPUT, (int64_t)order->output_max);
    for (size_t i = 0; i < order->arg_count; i++)
        fl_exec_add_text(orders, FL_EXEC_ARG, order->args[i]);
}

static int write_orders(const struct fl_exec *exec, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf orders = FL_BUF_INIT(FL_EXEC_ORDERS_MAX);
    make_orders(&exec->order, &orders);
    if (orders.overflow)
        return fl_err_set(err, -E2BIG, "the command is too large");
    int fd = memfd_create("orders", MFD_CLOEXEC);
    int rc = fd < 0 ? -errno : fl_fs_write_all(fd, orders.p, orders.n);
    if (rc == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return fl_err_errno(err, rc, "cannot write the orders");
}

/* ---- the helper ---- */

static int above(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, FREE_FD);
    (void)close(*fd);
    *fd = moved;
    return moved < 0 ? -errno : 0;
}

static int spawn(struct fl_execer *execer, int requests_fd, pid_t *ret_pid)
{
    char path[32];
    char *argv[] = {(char *)"fairlead-exec", NULL};
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    if (execer->program_fd < 0)
        execer->program_fd = fl_runtime_seal_program(execer->path);
    if (execer->program_fd < 0)
        return execer->program_fd;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", execer->program_fd);
    if (posix_spawnattr_init(&attr) != 0 || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    fl_spawn_reset_signals(&attr, POSIX_SPAWN_SETSID);
    (void)posix_spawn_file_actions_adddup2(&actions, requests_fd, STDIN_FILENO);
    (void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawn(ret_pid, path, &actions, &attr, argv, fl_spawn_environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return -rc;
}

static void end_helper(struct fl_execer *execer)
{
    if (execer->lost)
        uv_close((uv_handle_t *)FL_TAKE_PTR(execer->lost), free_handle);
    if (execer->requests_fd >= 0)
        (void)close(FL_TAKE_FD(execer->requests_fd));
    if (execer->pid <= 0)
        return;
    (void)kill(execer->pid, SIGKILL);
    (void)waitpid(execer->pid, NULL, 0);
    execer->pid = 0;
}

static void on_lost(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    end_helper(poll->data);
}

static int watch_helper(struct fl_execer *execer)
{
    uv_poll_t *poll = fl_calloc(1, sizeof(*poll));
    int rc = uv_poll_init(execer->loop, poll, execer->requests_fd);
    if (rc < 0) {
        free(poll);
        return rc;
    }
    poll->data = execer;
    execer->lost = poll;
    return uv_poll_start(poll, UV_READABLE | UV_DISCONNECT, on_lost);
}

static int start_helper(struct fl_execer *execer)
{
    int fds[2];
    if (execer->pid > 0)
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    execer->requests_fd = fds[0];
    int rc = above(&fds[1]);
    if (rc == 0)
        rc = spawn(execer, fds[1], &execer->pid);
    if (fds[1] >= 0)
        (void)close(fds[1]);
    if (rc == 0)
        rc = watch_helper(execer);
    if (rc < 0)
        end_helper(execer);
    return rc;
}

static int request(struct fl_execer *execer, const int given[FL_EXEC_FDS])
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(FL_EXEC_FDS * sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(FL_EXEC_FDS * sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = (char[]){0}, .iov_len = 1};
    const struct msghdr message = {.msg_iov = &part,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof(control)};
    memcpy(CMSG_DATA(&control.head), given, FL_EXEC_FDS * sizeof(int));
    int rc = start_helper(execer);
    if (rc < 0)
        return rc;
    return sendmsg(execer->requests_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* One that has died, and whose end was not heard of yet, is replaced. */
static int request_twice(struct fl_execer *execer, const int given[FL_EXEC_FDS])
{
    int rc = request(execer, given);
    if (rc != -EPIPE && rc != -ECONNRESET)
        return rc;
    end_helper(execer);
    return request(execer, given);
}

/* Its end closes the pipes of all requests, taken or not, and that is heard of; but who hangs may
 * hold this one's. */
static void on_deadline(uv_timer_t *timer)
{
    struct fl_exec *exec = timer->data;
    end_helper(exec->execer);
    refuse(exec, "the helper program ended without an answer");
}

static void set_deadline(struct fl_exec *exec)
{
    exec->deadline = fl_calloc(1, sizeof(*exec->deadline));
    exec->deadline->data = exec;
    (void)uv_timer_init(exec->execer->loop, exec->deadline);
    uv_update_time(exec->execer->loop);
    (void)uv_timer_start(exec->deadline, on_deadline,
                         (uint64_t)(exec->order.timeout_ms + HELPER_GRACE_MS), 0);
}

static int listen_to(struct fl_exec *exec)
{
    uv_poll_t *poll = fl_calloc(1, sizeof(*poll));
    int rc = uv_poll_init(exec->execer->loop, poll, exec->answer_fd);
    if (rc < 0) {
        free(poll);
        return rc;
    }
    poll->data = exec;
    exec->poll = poll;
    return uv_poll_start(poll, UV_READABLE | UV_DISCONNECT, on_answer);
}

static int ask_helper(struct fl_exec *exec, int orders_fd, int pidfd, int confinement_fd,
                      struct fl_err *err)
{
    int fds[2];
    int rc = pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make a pipe");
    exec->answer_fd = fds[0];
    if (fcntl(exec->answer_fd, F_SETFL, O_NONBLOCK) < 0)
        rc = -errno;
    const int given[FL_EXEC_FDS] = {orders_fd, fds[1], pidfd, confinement_fd};
    if (rc == 0)
        rc = request_twice(exec->execer, given);
    (void)close(fds[1]);
    if (rc == 0)
        rc = listen_to(exec);
    if (rc == 0)
        set_deadline(exec);
    return rc < 0 ? fl_err_errno(err, rc, "cannot start %s", exec->execer->path) : 0;
}

static int start(struct fl_exec *exec, struct fl_err *err)
{
    struct fl_runtime *runtime = exec->execer->runtime;
    const struct fl_runtime_container *container =
        fl_runtime_find(runtime, exec->order.container_id);
    if (!container || container->state != FL_RUNTIME_STARTED)
        return fl_err_set(err, -ESRCH, "the container does not run");
    FL_CLEANUP_FD int pidfd = fl_runtime_open_process(container->pid, container->start_time);
    if (pidfd < 0)
        return fl_err_set(err, -ESRCH, "the container does not run");
    FL_CLEANUP_FD int orders_fd = write_orders(exec, err);
    if (orders_fd < 0)
        return orders_fd;
    FL_CLEANUP_FD int confinement_fd = open_confinement(exec, err);
    if (confinement_fd < 0)
        return confinement_fd;
    return ask_helper(exec, orders_fd, pidfd, confinement_fd, err);
}

static void on_pump(uv_async_t *async)
{
    struct fl_execer *execer = async->data;
    struct fl_exec *exec;
    while (execer->running < FL_EXEC_PARALLEL && (exec = TAILQ_FIRST(&execer->waiting)) != NULL) {
        struct fl_err err = {0};
        TAILQ_REMOVE(&execer->waiting, exec, queue);
        TAILQ_INSERT_TAIL(&execer->started, exec, queue);
        execer->running++;
        if (start(exec, &err) < 0)
            refuse(exec, err.text);
    }
}

/* ---- the outside ---- */

struct fl_execer *fl_execer_open(uv_loop_t *loop, struct fl_runtime *runtime,
                                 struct fl_str libexec_dir)
{
    struct fl_execer *execer = fl_calloc(1, sizeof(*execer));
    execer->loop = loop;
    execer->runtime = runtime;
    execer->program_fd = execer->requests_fd = -1;
    FL_ASSERT(asprintf(&execer->path, "%.*s/fairlead-exec", FL_STR_ARG(libexec_dir)) > 0);
    TAILQ_INIT(&execer->waiting);
    TAILQ_INIT(&execer->started);
    execer->pump = fl_calloc(1, sizeof(*execer->pump));
    execer->pump->data = execer;
    FL_ASSERT(uv_async_init(loop, execer->pump, on_pump) == 0);
    return execer;
}

void fl_execer_close(struct fl_execer *execer)
{
    struct fl_exec *exec;
    if (!execer)
        return;
    while ((exec = TAILQ_FIRST(&execer->waiting)) != NULL) {
        TAILQ_REMOVE(&execer->waiting, exec, queue);
        exec_free(exec);
    }
    while ((exec = TAILQ_FIRST(&execer->started)) != NULL) {
        TAILQ_REMOVE(&execer->started, exec, queue);
        exec_free(exec);
    }
    end_helper(execer);
    uv_close((uv_handle_t *)execer->pump, free_handle);
    if (execer->program_fd >= 0)
        (void)close(execer->program_fd);
    free(execer->path);
    free(execer);
}

void fl_exec_start(struct fl_execer *execer, const struct fl_exec_order *order, fl_exec_done done,
                   void *context)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_exec *exec = fl_arena_new_object(arena, struct fl_exec);
    struct fl_str *args = fl_arena_new_array(arena, struct fl_str, order->arg_count);
    for (size_t i = 0; i < order->arg_count; i++)
        args[i] = fl_str_dup(arena, order->args[i]);
    exec->execer = execer;
    exec->arena = arena;
    exec->order = *order;
    exec->order.container_id = fl_str_dup(arena, order->container_id);
    exec->order.args = args;
    exec->done = done;
    exec->context = context;
    exec->answer_fd = -1;
    exec->answer = (struct fl_buf)FL_BUF_INIT(ANSWER_MAX);
    TAILQ_INSERT_TAIL(&execer->waiting, exec, queue);
    (void)uv_async_send(execer->pump);
}
