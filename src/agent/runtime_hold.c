/* The namespaces that the containers of a task share (pidMode and ipcMode "task").
 *
 * A holder, started with the task's first container, keeps them: `fairlead-shim --hold`. It ends
 * when nobody holds a shared lock on the task's file any more; every shim of the task does, for as
 * long as it lives, and so do we while we give it one, and between two runs of a container that is
 * to be started again. So the namespaces are there exactly as long as a container is, whatever
 * becomes of the agent.
 *
 *     <data>/run/hold/<task>       the lock file; holds "<holder> <start time> <process 1>"
 *     <data>/run/hold/<task>.shm   where the holder, and it alone, mounts the shared memory */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/fs.h"
#include "base/spawn.h"

enum { FREE_FD = 10, ANSWER_MS = 5000, SHM_BYTES = 64 << 20 };

static struct fl_str lock_path(const struct fl_runtime *runtime, struct fl_str task_id,
                               struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/run/hold/%.*s", FL_STR_ARG(runtime->data_dir),
                         FL_STR_ARG(task_id));
}

static struct fl_str group_path(const struct fl_runtime *runtime, struct fl_str task_id,
                                struct fl_arena *arena)
{
    return fl_runtime_cgroup_path(runtime, task_id, FL_STR("holder"), arena);
}

/* The lock file, locked shared; a holder that is ending has it for itself, then another file takes
 * its place. */
static int lock_shared(const char *path)
{
    for (int i = 0; i < 2; i++) {
        FL_CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
            int high = fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD);
            return high < 0 ? -errno : high;
        }
        (void)unlink(path);
    }
    return -EBUSY;
}

/* The holder that the file names, if it lives. */
static bool find_holder(const char *path, struct fl_arena *arena, struct fl_runtime_hold *hold)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256);
    struct fl_str word[3];
    int64_t number[3];
    if (fl_fs_read(AT_FDCWD, path, 256, &text) < 0)
        return false;
    struct fl_str rest = fl_str_trim(fl_str_dup(arena, fl_buf_str(&text)));
    for (size_t i = 0; i < 3; i++)
        if (!fl_str_split(&rest, ' ', &word[i]) || !fl_str_to_i64(word[i], &number[i]))
            return false;
    FL_CLEANUP_FD int pidfd = fl_runtime_open_process((pid_t)number[0], number[1]);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    hold->holder_pid = (pid_t)number[0];
    hold->init_pid = (pid_t)number[2];
    return pidfd >= 0 && poll(&ended, 1, 0) == 0;
}

static int64_t shm_bytes(const struct fl_task_spec *task)
{
    int64_t most = SHM_BYTES;
    for (size_t i = 0; i < task->container_count; i++)
        most = FL_MAX(most, task->containers[i].docker.shm_size_bytes);
    return most;
}

static int spawn(struct fl_runtime *runtime, const char *path, const struct fl_runtime_hold *hold,
                 const struct fl_task_spec *task, int answer_fd, pid_t *ret_pid)
{
    char size[32];
    bool pid = task->pid_mode == FL_NS_TASK, ipc = task->ipc_mode == FL_NS_TASK;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    (void)snprintf(size, sizeof(size), "%lld", (long long)shm_bytes(task));
    char *argv[] = {(char *)(uintptr_t)runtime->shim_path.p,
                    (char *)"--hold",
                    (char *)(uintptr_t)path,
                    (char *)(uintptr_t)hold->shm.p,
                    size,
                    (char *)(pid && ipc ? "pid,ipc"
                             : pid      ? "pid"
                                        : "ipc"),
                    NULL};
    if (posix_spawnattr_init(&attr) != 0 || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    fl_spawn_reset_signals(&attr, POSIX_SPAWN_SETSID);
    (void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, answer_fd, STDOUT_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
    int rc = posix_spawn(ret_pid, argv[0], &actions, &attr, argv, fl_spawn_environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return -rc;
}

/* "<holder> <process 1>" after about a millisecond, or the pipe's end. */
static int read_answer(int fd, struct fl_runtime_hold *hold)
{
    char text[64] = "";
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&waited, 1, ANSWER_MS) == 1 ? read(fd, text, sizeof(text) - 1) : -1;
    struct fl_str rest = fl_str_trim((struct fl_str){text, n > 0 ? (size_t)n : 0});
    struct fl_str word;
    int64_t holder, init;
    if (!fl_str_split(&rest, ' ', &word) || !fl_str_to_i64(word, &holder) ||
        !fl_str_to_i64(rest, &init))
        return -EIO;
    hold->holder_pid = (pid_t)holder;
    hold->init_pid = (pid_t)init;
    return 0;
}

static int write_holder(const struct fl_runtime_hold *hold)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "%d %lld %d\n", (int)hold->holder_pid,
                     (long long)fl_runtime_start_time(hold->holder_pid), (int)hold->init_pid);
    if (ftruncate(hold->lock_fd, 0) < 0 || lseek(hold->lock_fd, 0, SEEK_SET) < 0)
        return -errno;
    return fl_fs_write_all(hold->lock_fd, text, (size_t)n);
}

static int start_holder(struct fl_runtime *runtime, const struct fl_launch *launch,
                        const char *path, struct fl_arena *arena, struct fl_runtime_hold *hold)
{
    pid_t pid;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    int rc = spawn(runtime, path, hold, launch->task, fds[1], &pid);
    (void)close(fds[1]);
    if (rc == 0)
        (void)waitpid(pid, NULL, 0);
    if (rc == 0)
        rc = read_answer(fds[0], hold);
    (void)close(fds[0]);
    struct fl_str group = group_path(runtime, launch->task_id, arena);
    if (rc == 0)
        rc = fl_cgroup_enter(&runtime->cgroup, group.p, hold->holder_pid);
    if (rc == 0 && hold->init_pid != hold->holder_pid)
        rc = fl_cgroup_enter(&runtime->cgroup, group.p, hold->init_pid);
    return rc == 0 ? write_holder(hold) : rc;
}

static int find_or_start(struct fl_runtime *runtime, const struct fl_launch *launch,
                         struct fl_arena *arena, struct fl_runtime_hold *hold)
{
    struct fl_str path = lock_path(runtime, launch->task_id, arena);
    int rc = fl_fs_mkdirs(hold->shm.p, 0700);
    hold->lock_fd = rc < 0 ? rc : lock_shared(path.p);
    if (hold->lock_fd < 0)
        return hold->lock_fd;
    if (find_holder(path.p, arena, hold))
        return 0;
    return start_holder(runtime, launch, path.p, arena, hold);
}

int fl_runtime_hold(struct fl_runtime *runtime, const struct fl_launch *launch,
                    struct fl_arena *arena, struct fl_runtime_hold *ret_hold, struct fl_err *err)
{
    struct fl_runtime_hold hold = {.lock_fd = -1};
    *ret_hold = hold;
    if (launch->task->pid_mode != FL_NS_TASK && launch->task->ipc_mode != FL_NS_TASK)
        return 0;
    hold.shm = fl_str_printf(arena, "%s.shm", lock_path(runtime, launch->task_id, arena).p);
    int rc = find_or_start(runtime, launch, arena, &hold);
    if (rc == 0)
        *ret_hold = hold;
    else if (hold.lock_fd >= 0)
        (void)close(hold.lock_fd);
    return rc < 0 ? fl_err_errno(err, rc, "cannot make the task's shared namespaces") : 0;
}

void fl_runtime_keep_hold(struct fl_runtime *runtime, struct fl_str container_id, int lock_fd)
{
    struct fl_runtime_container *container = fl_runtime_find(runtime, container_id);
    FL_ASSERT(container && container->lock_fd < 0);
    container->lock_fd = lock_fd;
}

void fl_runtime_let_go(struct fl_runtime *runtime, struct fl_str container_id)
{
    struct fl_runtime_container *container = fl_runtime_find(runtime, container_id);
    fl_runtime_memory_clear(runtime, container_id);
    if (!container || container->lock_fd < 0)
        return;
    (void)close(container->lock_fd);
    container->lock_fd = -1;
}

void fl_runtime_hold_remove(struct fl_runtime *runtime, struct fl_str task_id,
                            struct fl_arena *arena)
{
    struct fl_str path = lock_path(runtime, task_id, arena);
    struct fl_str group = group_path(runtime, task_id, arena);
    struct stat st;
    if (lstat(path.p, &st) < 0)
        return;
    fl_cgroup_kill(&runtime->cgroup, group.p);
    fl_cgroup_remove(&runtime->cgroup, group.p);
    (void)unlink(path.p);
    (void)rmdir(fl_str_printf(arena, "%s.shm", path.p).p);
}
