/* Starting a container that has ended once more: its directory, with bundle, orders, spool and
 * upper layer, is used again.
 *
 * What the last shim told goes first and the number of the run is written next, durably; so whoever
 * finds a lower number than it expects knows that nothing of the new run has begun. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/fs.h"

int fl_runtime_run(const struct fl_runtime *runtime, struct fl_str container_id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str words[1];
    int64_t run = 0;
    if (fl_runtime_read_words(runtime, container_id, "run", arena, words, 1) != 1 ||
        !fl_str_to_i64(words[0], &run) || run < 0 || run > INT32_MAX)
        return 0;
    return (int)run;
}

static int forget_last_run(int dir_fd)
{
    static const char *const names[] = {"started", "failed", "exit", "shim", "pid", "runtime.log"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        if (unlinkat(dir_fd, names[i], 0) < 0 && errno != ENOENT)
            return -errno;
    return 0;
}

/* overlayfs mounts an upper directory without sync only once with one work directory. */
static int forget_mount(int dir_fd)
{
    int rc = fl_fs_remove_tree(dir_fd, "work");
    return rc == -ENOENT ? 0 : rc;
}

/* The container sees this very file, so it is not replaced. */
static int write_hosts(int dir_fd, struct fl_str text)
{
    FL_CLEANUP_FD int fd = openat(dir_fd, "hosts", O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fl_fs_write_all(fd, text.p, text.n);
}

static int make_ready(const struct fl_relaunch *relaunch, const char *dir)
{
    char number[16];
    FL_CLEANUP_FD int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir_fd < 0)
        return -errno;
    int rc = forget_last_run(dir_fd);
    if (rc == 0)
        rc = forget_mount(dir_fd);
    if (rc == 0)
        rc = write_hosts(dir_fd, relaunch->etc_hosts);
    int n = snprintf(number, sizeof(number), "%d\n", relaunch->run);
    if (rc == 0)
        rc = fl_fs_write_atomic(dir_fd, "run", (struct fl_str){number, (size_t)n}, 0600);
    return rc;
}

/* A copy of text with what is between `before` and `after` replaced, where both are. */
static struct fl_str replace_between(struct fl_str text, const char *before, const char *after,
                                     struct fl_str by, struct fl_arena *arena)
{
    const char *from = memmem(text.p, text.n, before, strlen(before));
    if (!from)
        return text;
    size_t head = (size_t)(from - text.p) + strlen(before);
    const char *to = memmem(text.p + head, text.n - head, after, strlen(after));
    if (!to)
        return text;
    return fl_str_printf(arena, "%.*s%.*s%.*s", (int)head, text.p, FL_STR_ARG(by),
                         FL_STR_ARG(fl_str_from(text, (size_t)(to - text.p))));
}

static int rewrite(const char *dir, const char *name, size_t max, const char *before,
                   const char *after, pid_t pid, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(max);
    FL_CLEANUP_FD int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = dir_fd < 0 ? -errno : fl_fs_read(dir_fd, name, max, &text);
    if (rc < 0)
        return rc;
    struct fl_str changed = replace_between(fl_buf_str(&text), before, after,
                                            fl_str_printf(arena, "%d", (int)pid), arena);
    return fl_str_eq(changed, fl_buf_str(&text)) ? 0
                                                 : fl_fs_write_atomic(dir_fd, name, changed, 0600);
}

/* Orders and bundle name the holder of the namespaces that the task's containers share. When nobody
 * kept them (no container of the task ran for a moment, nor did an agent), there are new ones. What
 * is looked for cannot be part of anything else: a value in the orders ends with its line, and in
 * the bundle's strings each quotation mark has a backslash. */
static int follow_holder(const struct fl_runtime_hold *held, struct fl_str dir,
                         struct fl_str config_dir, struct fl_arena *arena)
{
    int rc = rewrite(dir.p, "orders", 2 * FL_RUNTIME_FILE_MAX, "\nholder ", "\n", held->holder_pid,
                     arena);
    if (rc == 0)
        rc = rewrite(config_dir.p, "config.json", FL_BUNDLE_CONFIG_MAX,
                     "{\"type\":\"pid\",\"path\":\"/proc/", "/ns/pid\"}", held->init_pid, arena);
    return rc;
}

static int hold(struct fl_runtime *runtime, const struct fl_relaunch *relaunch,
                struct fl_arena *arena, int *ret_lock_fd, struct fl_err *err)
{
    const struct fl_launch launch = {.container_id = relaunch->container_id,
                                     .task_id = relaunch->task_id,
                                     .task = relaunch->task};
    struct fl_runtime_hold held;
    int rc = fl_runtime_hold(runtime, &launch, arena, &held, err);
    if (rc == 0 && held.lock_fd >= 0) {
        struct fl_str dir = fl_runtime_dir(runtime, relaunch->container_id, arena);
        rc = follow_holder(&held, dir,
                           fl_runtime_config_dir(runtime, relaunch->container_id, arena), arena);
        if (rc < 0)
            (void)fl_err_errno(err, rc, "cannot tell the container of its task's namespaces");
    }
    if (rc == 0)
        *ret_lock_fd = FL_TAKE_FD(held.lock_fd);
    if (held.lock_fd >= 0)
        (void)close(held.lock_fd);
    return rc;
}

int fl_runtime_relaunch(struct fl_runtime *runtime, const struct fl_relaunch *relaunch,
                        struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_runtime_container *container = fl_runtime_find(runtime, relaunch->container_id);
    struct fl_str dir = fl_runtime_dir(runtime, relaunch->container_id, arena);
    if (container && container->state != FL_RUNTIME_ENDED)
        return fl_err_set(err, -EBUSY, "the container has not ended");
    FL_CLEANUP_FD int lock_fd = -1;
    int rc = hold(runtime, relaunch, arena, &lock_fd, err);
    if (rc < 0)
        return rc;
    if (container)
        fl_runtime_watch_remove(container);
    rc = make_ready(relaunch, dir.p);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make %s ready for another start", dir.p);
    rc = fl_runtime_start(runtime, relaunch->container_id, dir, relaunch->netns_fd, lock_fd, err);
    if (rc == 0 && lock_fd >= 0)
        fl_runtime_keep_hold(runtime, relaunch->container_id, FL_TAKE_FD(lock_fd));
    return rc;
}
