/* Ending an installation without its agent: containers, shims, cgroups. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/clock.h"

enum { END_MS = 5000 };

/* The shim has seen its container die and ends by itself; one that hangs is killed. */
static void await_shim(const struct fl_runtime *runtime, struct fl_str id, int64_t deadline_ms,
                       struct fl_arena *arena)
{
    struct fl_str words[2];
    int64_t pid;
    int64_t start_time;
    if (fl_runtime_read_words(runtime, id, "shim", arena, words, 2) != 2 ||
        !fl_str_to_i64(words[0], &pid) || !fl_str_to_i64(words[1], &start_time))
        return;
    FL_CLEANUP_FD int pidfd = fl_runtime_open_process((pid_t)pid, start_time);
    if (pidfd < 0)
        return;
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    int64_t left_ms = deadline_ms - fl_clock_mono_ms();
    if (poll(&poll_fd, 1, (int)FL_MAX(left_ms, 0)) != 0)
        return;
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    (void)poll(&poll_fd, 1, 1000);
}

static void await_shims(const struct fl_runtime *runtime, struct fl_arena *arena)
{
    struct fl_str path = fl_str_printf(arena, "%.*s/containers", FL_STR_ARG(runtime->data_dir));
    int64_t deadline_ms = fl_clock_mono_ms() + END_MS;
    DIR *dir = opendir(path.p);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            await_shim(runtime, fl_str_of(entry->d_name), deadline_ms, arena);
    if (dir)
        (void)closedir(dir);
}

int fl_runtime_destroy(const struct fl_runtime_config *config, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_runtime runtime = {.data_dir = config->data_dir, .tag = config->tag};
    int rc = fl_cgroup_open(&runtime.cgroup, err);
    if (rc < 0)
        return rc;
    struct fl_str group = fl_str_printf(arena, "/%.*s", FL_STR_ARG(config->tag));
    fl_cgroup_kill_tree(&runtime.cgroup, group.p);
    await_shims(&runtime, arena);
    fl_cgroup_kill_tree(&runtime.cgroup, group.p);
    if (!fl_cgroup_remove_tree(&runtime.cgroup, group.p))
        rc = fl_err_set(err, -EBUSY, "the cgroup %s still holds processes", group.p);
    fl_cgroup_close(&runtime.cgroup);
    fl_runtime_forget_memory(config->tag);
    return rc;
}
