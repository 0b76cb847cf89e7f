/* Watching containers: their directories by inotify, their shims by pidfd.
 *
 * A callback may remove the very container it is told of, so after each one the container is
 * looked up again by its id. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

enum { GRACE_MS = 2000, GRACE_TICK_MS = 100, LOST_EXIT_CODE = 137 };

struct fl_runtime_container *fl_runtime_find(struct fl_runtime *runtime, struct fl_str id)
{
    struct fl_runtime_container *container = NULL;
    HASH_FIND(by_id, runtime->containers, id.p, id.n, container);
    return container;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_handle(uv_handle_t *handle)
{
    if (handle && !uv_is_closing(handle))
        uv_close(handle, free_handle);
}

static void stop_watching_shim(struct fl_runtime_container *container)
{
    close_handle((uv_handle_t *)FL_TAKE_PTR(container->shim_poll));
    if (container->shim_pidfd >= 0)
        (void)close(FL_TAKE_FD(container->shim_pidfd));
}

/* Tells that it runs, once; true when the container is still in the table. */
static bool look_for_started(struct fl_runtime_container *container, struct fl_arena *arena)
{
    struct fl_runtime *runtime = container->runtime;
    struct fl_str id = fl_str_dup(arena, fl_str_of(container->id));
    struct fl_str words[4];
    int64_t pid;
    int64_t start_time;
    int64_t wall_ms;
    if (fl_runtime_read_words(runtime, id, "started", arena, words, 4) != 4 ||
        !fl_str_to_i64(words[0], &pid) || !fl_str_to_i64(words[1], &start_time) ||
        !fl_str_to_i64(words[2], &wall_ms))
        return true;
    container->pid = (pid_t)pid;
    container->start_time = start_time;
    container->state = FL_RUNTIME_STARTED;
    runtime->callbacks.started(runtime->context, id, wall_ms);
    container = fl_runtime_find(runtime, id);
    if (container && container->pending_signal)
        (void)fl_runtime_kill(runtime, id, container->pending_signal);
    return container != NULL;
}

static bool look_for_failed(struct fl_runtime_container *container, struct fl_arena *arena)
{
    struct fl_runtime *runtime = container->runtime;
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_RUNTIME_FILE_MAX);
    struct fl_str id = fl_str_dup(arena, fl_str_of(container->id));
    struct fl_str path =
        fl_str_printf(arena, "%.*s/failed", FL_STR_ARG(fl_runtime_dir(runtime, id, arena)));
    if (fl_fs_read(AT_FDCWD, path.p, FL_RUNTIME_FILE_MAX, &text) < 0)
        return true;
    struct fl_str reason = fl_str_trim(fl_buf_str(&text));
    if (fl_str_starts(reason, FL_STR("runtime ")))
        reason = fl_runtime_sentence(fl_str_from(reason, strlen("runtime ")), arena);
    container->state = FL_RUNTIME_ENDED;
    runtime->callbacks.failed(runtime->context, id, reason);
    return fl_runtime_find(runtime, id) != NULL;
}

static bool look_for_exit(struct fl_runtime_container *container, struct fl_arena *arena)
{
    struct fl_runtime *runtime = container->runtime;
    struct fl_str id = fl_str_dup(arena, fl_str_of(container->id));
    struct fl_str words[3];
    int64_t code;
    int64_t oom;
    int64_t wall_ms;
    if (fl_runtime_read_words(runtime, id, "exit", arena, words, 3) != 3 ||
        !fl_str_to_i64(words[0], &code) || !fl_str_to_i64(words[1], &oom) ||
        !fl_str_to_i64(words[2], &wall_ms))
        return true;
    container->state = FL_RUNTIME_ENDED;
    runtime->callbacks.exited(runtime->context, id, (int)code, oom != 0, wall_ms);
    return fl_runtime_find(runtime, id) != NULL;
}

/* Tells what the directory says and has not been told; true when the container is still there. */
static bool look(struct fl_runtime_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    container->is_dirty = false;
    if (container->state == FL_RUNTIME_LAUNCHED && !look_for_started(container, arena))
        return false;
    if (container->state == FL_RUNTIME_LAUNCHED && !look_for_failed(container, arena))
        return false;
    if (container->state == FL_RUNTIME_STARTED && !look_for_exit(container, arena))
        return false;
    return true;
}

/* The shim is gone and has told no end: whatever is left of the container is killed, and its end
 * written down in the shim's place. */
static void bury(struct fl_runtime_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_runtime *runtime = container->runtime;
    struct fl_str id = fl_str_of(container->id);
    struct fl_str group = fl_runtime_ordered_cgroup(runtime, id, arena);
    bool had_started = container->state == FL_RUNTIME_STARTED;
    FL_CLEANUP_FD int pidfd =
        had_started ? fl_runtime_open_process(container->pid, container->start_time) : -1;
    if (pidfd >= 0)
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    if (group.n > 0)
        fl_cgroup_kill(&runtime->cgroup, group.p);
    fl_log_warn("container %s: its monitor was killed; the container is ended", container->id);
    struct fl_str dir = fl_runtime_dir(runtime, id, arena);
    struct fl_str path =
        fl_str_printf(arena, "%.*s/%s", FL_STR_ARG(dir), had_started ? "exit" : "failed");
    struct fl_str text = had_started ? fl_str_printf(arena, "%d 0 %lld\n", LOST_EXIT_CODE,
                                                     (long long)fl_clock_wall_ms())
                                     : FL_STR("the container's monitor was killed");
    int rc = fl_fs_write_atomic(AT_FDCWD, path.p, text, 0600);
    if (rc < 0)
        fl_log_error("cannot write %s: %s", path.p, strerror(-rc));
    (void)look(container);
}

static void on_shim_end(uv_poll_t *poll, int status, int events)
{
    struct fl_runtime_container *container = poll->data;
    (void)status;
    (void)events;
    stop_watching_shim(container);
    if (container->shim_child > 0)
        (void)waitpid(container->shim_child, NULL, WNOHANG);
    container->shim_child = 0;
    if (look(container) && container->state != FL_RUNTIME_ENDED)
        bury(container);
}

int fl_runtime_watch_shim(struct fl_runtime_container *container, int pidfd)
{
    uv_poll_t *poll = fl_calloc(1, sizeof(*poll));
    int rc = uv_poll_init(container->runtime->loop, poll, pidfd);
    if (rc < 0) {
        free(poll);
        (void)close(pidfd);
        return rc;
    }
    poll->data = container;
    container->shim_poll = poll;
    container->shim_pidfd = pidfd;
    return uv_poll_start(poll, UV_READABLE, on_shim_end);
}

static void take_event(struct fl_runtime *runtime, const struct inotify_event *event)
{
    struct fl_runtime_container *container = NULL;
    HASH_FIND(by_watch, runtime->watches, &event->wd, sizeof(event->wd), container);
    if (container)
        (void)look(container);
}

static void mark_all(struct fl_runtime *runtime)
{
    struct fl_runtime_container *container;
    struct fl_runtime_container *next;
    HASH_ITER(by_id, runtime->containers, container, next)
    {
        container->is_dirty = true;
    }
    (void)uv_async_send(runtime->look_again);
}

static void on_inotify(uv_poll_t *poll, int status, int events)
{
    struct fl_runtime *runtime = poll->data;
    _Alignas(struct inotify_event) char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
    ssize_t n;
    (void)status;
    (void)events;
    while ((n = read(runtime->inotify_fd, buffer, sizeof(buffer))) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(buffer + at);
            if (event->mask & IN_Q_OVERFLOW)
                mark_all(runtime);
            else
                take_event(runtime, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
}

static struct fl_runtime_container *next_dirty(struct fl_runtime *runtime)
{
    struct fl_runtime_container *container;
    struct fl_runtime_container *next;
    HASH_ITER(by_id, runtime->containers, container, next)
    {
        if (container->is_dirty)
            return container;
    }
    return NULL;
}

/* Callbacks may change the table, so each round starts anew. */
static void on_look_again(uv_async_t *async)
{
    struct fl_runtime *runtime = async->data;
    struct fl_runtime_container *container;
    while ((container = next_dirty(runtime)) != NULL) {
        bool is_lost = container->state != FL_RUNTIME_ENDED && !container->shim_poll &&
                       !container->is_asked && container->grace_end_ms == 0;
        if (look(container) && is_lost && container->state != FL_RUNTIME_ENDED)
            bury(container);
    }
}

/* An adopted container's shim writes its name first of all; one that has not after a while never
 * came to life. */
static bool find_late_shim(struct fl_runtime_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str words[2];
    int64_t pid;
    int64_t start_time;
    if (fl_runtime_read_words(container->runtime, fl_str_of(container->id), "shim", arena, words,
                              2) != 2 ||
        !fl_str_to_i64(words[0], &pid) || !fl_str_to_i64(words[1], &start_time))
        return fl_clock_mono_ms() >= container->grace_end_ms;
    int pidfd = fl_runtime_open_process((pid_t)pid, start_time);
    if (pidfd >= 0)
        (void)fl_runtime_watch_shim(container, pidfd);
    return true;
}

static void on_grace(uv_timer_t *timer)
{
    struct fl_runtime *runtime = timer->data;
    struct fl_runtime_container *container;
    struct fl_runtime_container *next;
    bool is_needed = false;
    HASH_ITER(by_id, runtime->containers, container, next)
    {
        if (container->grace_end_ms == 0)
            continue;
        if (find_late_shim(container)) {
            container->grace_end_ms = 0;
            fl_runtime_watch_later(container);
        } else {
            is_needed = true;
        }
    }
    if (!is_needed)
        (void)uv_timer_stop(timer);
}

void fl_runtime_watch_later(struct fl_runtime_container *container)
{
    container->is_dirty = true;
    (void)uv_async_send(container->runtime->look_again);
}

void fl_runtime_watch_grace(struct fl_runtime_container *container)
{
    container->grace_end_ms = fl_clock_mono_ms() + GRACE_MS;
    (void)uv_timer_start(container->runtime->grace_timer, on_grace, GRACE_TICK_MS, GRACE_TICK_MS);
}

struct fl_runtime_container *fl_runtime_watch_add(struct fl_runtime *runtime, struct fl_str id,
                                                  struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str dir = fl_runtime_dir(runtime, id, arena);
    if (id.n == 0 || id.n > FL_RUNTIME_ID_MAX || memchr(id.p, '/', id.n) || id.p[0] == '.') {
        (void)fl_err_set(err, -EINVAL, "the container id is invalid");
        return NULL;
    }
    if (fl_runtime_find(runtime, id)) {
        (void)fl_err_set(err, -EEXIST, "container %.*s is already watched", FL_STR_ARG(id));
        return NULL;
    }
    int watch = inotify_add_watch(runtime->inotify_fd, dir.p, IN_MOVED_TO | IN_ONLYDIR);
    if (watch < 0) {
        (void)fl_err_errno(err, -errno, "cannot watch %s", dir.p);
        return NULL;
    }
    struct fl_runtime_container *container = fl_calloc(1, sizeof(*container));
    container->lock_fd = -1;
    container->runtime = runtime;
    container->watch = watch;
    container->shim_pidfd = -1;
    memcpy(container->id, id.p, id.n);
    HASH_ADD_KEYPTR(by_id, runtime->containers, container->id, id.n, container);
    HASH_ADD(by_watch, runtime->watches, watch, sizeof(container->watch), container);
    return container;
}

/* A shim that still lives only has its own end before it. */
static void reap_child(struct fl_runtime_container *container)
{
    if (container->shim_child > 0)
        (void)waitpid(container->shim_child, NULL, 0);
}

void fl_runtime_watch_remove(struct fl_runtime_container *container)
{
    struct fl_runtime *runtime = container->runtime;
    if (container->state == FL_RUNTIME_ENDED)
        reap_child(container);
    stop_watching_shim(container);
    (void)inotify_rm_watch(runtime->inotify_fd, container->watch);
    HASH_DELETE(by_id, runtime->containers, container);
    HASH_DELETE(by_watch, runtime->watches, container);
    if (container->lock_fd >= 0)
        (void)close(container->lock_fd);
    free(container);
}

int fl_runtime_watch_open(struct fl_runtime *runtime, struct fl_err *err)
{
    runtime->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (runtime->inotify_fd < 0)
        return fl_err_errno(err, -errno, "cannot start inotify");
    runtime->inotify_poll = fl_calloc(1, sizeof(*runtime->inotify_poll));
    runtime->look_again = fl_calloc(1, sizeof(*runtime->look_again));
    runtime->grace_timer = fl_calloc(1, sizeof(*runtime->grace_timer));
    FL_ASSERT(uv_poll_init(runtime->loop, runtime->inotify_poll, runtime->inotify_fd) == 0);
    FL_ASSERT(uv_async_init(runtime->loop, runtime->look_again, on_look_again) == 0);
    FL_ASSERT(uv_timer_init(runtime->loop, runtime->grace_timer) == 0);
    runtime->inotify_poll->data = runtime->look_again->data = runtime->grace_timer->data = runtime;
    FL_ASSERT(uv_poll_start(runtime->inotify_poll, UV_READABLE, on_inotify) == 0);
    return 0;
}

void fl_runtime_watch_close(struct fl_runtime *runtime)
{
    struct fl_runtime_container *container;
    struct fl_runtime_container *next;
    HASH_ITER(by_id, runtime->containers, container, next)
    {
        fl_runtime_watch_remove(container);
    }
    close_handle((uv_handle_t *)runtime->inotify_poll);
    close_handle((uv_handle_t *)runtime->look_again);
    close_handle((uv_handle_t *)runtime->grace_timer);
    if (runtime->inotify_fd >= 0)
        (void)close(runtime->inotify_fd);
}
