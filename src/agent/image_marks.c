/* Flushing in the background: one at a time, for all layers that have come until then. */
#include "agent/image_marks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config_host.h"
#include "base/fs.h"
#include "base/log.h"

enum { DELAY_MS = 1000, BOOT_ID_MAX = 64 };

static const char boot_file[] = "boot";

struct batch {
    struct fl_image_marks *marks; /* NULL: closed meanwhile */
    int layers_fd, marks_fd;
    struct fl_digest *layers;
    size_t count;
    int rc;
    uv_work_t work;
};

struct fl_image_marks {
    uv_loop_t *loop;
    int layers_fd, marks_fd;
    struct fl_digest *waiting;
    size_t count, cap;
    struct batch *flushing;
    uv_timer_t *delay;
};

/* ---- flushing ---- */

static void flush(uv_work_t *work)
{
    struct batch *batch = work->data;
    batch->rc = syncfs(batch->layers_fd) < 0 ? -errno : 0;
    for (size_t i = 0; i < batch->count && batch->rc == 0; i++) {
        int fd = openat(batch->marks_fd, batch->layers[i].hex,
                        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            batch->rc = -errno;
        else
            (void)close(fd);
    }
    if (batch->rc == 0 && fsync(batch->marks_fd) < 0)
        batch->rc = -errno;
}

static void begin_flush(uv_timer_t *timer);

static void wait_a_little(struct fl_image_marks *marks)
{
    if (!marks->flushing && !uv_is_active((uv_handle_t *)marks->delay))
        (void)uv_timer_start(marks->delay, begin_flush, DELAY_MS, 0);
}

static void after_flush(uv_work_t *work, FL_UNUSED int status)
{
    struct batch *batch = work->data;
    struct fl_image_marks *marks = batch->marks;
    if (batch->rc < 0)
        fl_log_warn("images: layers cannot be flushed: %s", strerror(-batch->rc));
    (void)close(batch->layers_fd);
    (void)close(batch->marks_fd);
    free(batch->layers);
    free(batch);
    if (!marks)
        return;
    marks->flushing = NULL;
    if (marks->count)
        wait_a_little(marks);
}

static void begin_flush(uv_timer_t *timer)
{
    struct fl_image_marks *marks = timer->data;
    struct batch *batch = fl_calloc(1, sizeof(*batch));
    batch->marks = marks;
    batch->layers_fd = fcntl(marks->layers_fd, F_DUPFD_CLOEXEC, 0);
    batch->marks_fd = fcntl(marks->marks_fd, F_DUPFD_CLOEXEC, 0);
    batch->layers = FL_TAKE_PTR(marks->waiting);
    batch->count = marks->count;
    batch->work.data = batch;
    marks->count = marks->cap = 0;
    marks->flushing = batch;
    if (uv_queue_work(marks->loop, &batch->work, flush, after_flush) < 0) {
        batch->rc = -ENOMEM;
        after_flush(&batch->work, 0);
    }
}

void fl_image_marks_add(struct fl_image_marks *marks, const struct fl_digest *layer)
{
    if (marks->count == marks->cap) {
        marks->cap = FL_MAX((size_t)16, marks->cap * 2);
        marks->waiting = fl_realloc(marks->waiting, marks->cap * sizeof(*marks->waiting));
    }
    marks->waiting[marks->count++] = *layer;
    wait_a_little(marks);
}

void fl_image_marks_forget(int layers_fd, const char *hex)
{
    char path[sizeof("../layers.flushed/") + 64];
    (void)snprintf(path, sizeof(path), "../layers.flushed/%s", hex);
    (void)unlinkat(layers_fd, path, 0);
}

/* ---- the beginning ---- */

static bool is_marked(const struct fl_image_marks *marks, const char *hex)
{
    struct stat st;
    return fstatat(marks->marks_fd, hex, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A leftover's name: who opens the layers removes it. */
static void disown(const struct fl_image_marks *marks, const char *hex)
{
    char name[4 + 64 + 1];
    (void)snprintf(name, sizeof(name), "tmp.%s", hex);
    (void)renameat(marks->layers_fd, hex, marks->layers_fd, name);
}

static void look_through(struct fl_image_marks *marks, bool same_boot)
{
    int fd = openat(marks->layers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        struct fl_digest layer;
        if (!fl_digest_parse_hex(fl_str_of(entry->d_name), &layer) || is_marked(marks, layer.hex))
            continue;
        if (same_boot)
            fl_image_marks_add(marks, &layer);
        else
            disown(marks, layer.hex);
    }
    if (dir)
        (void)closedir(dir);
}

/* Marks of layers that have been removed. */
static void forget_old(const struct fl_image_marks *marks)
{
    int fd = openat(marks->marks_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct fl_digest layer;
    struct stat st;
    while (dir && (entry = readdir(dir)) != NULL)
        if (fl_digest_parse_hex(fl_str_of(entry->d_name), &layer) &&
            fstatat(marks->layers_fd, layer.hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
            (void)unlinkat(marks->marks_fd, layer.hex, 0);
    if (dir)
        (void)closedir(dir);
}

/* What was unpacked before there were marks was flushed before it had its name. */
static bool is_same_boot(const struct fl_image_marks *marks, bool is_new, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf last = FL_BUF_INIT(BOOT_ID_MAX);
    struct fl_str boot = fl_config_boot_id(arena);
    if (fl_fs_read(marks->marks_fd, boot_file, last.max, &last) == 0 &&
        fl_str_eq(fl_buf_str(&last), boot))
        return true;
    int rc = fl_fs_write_atomic(marks->marks_fd, boot_file, boot, 0600);
    if (rc < 0)
        (void)fl_err_errno(err, rc, "cannot note the boot");
    return is_new;
}

int fl_image_marks_open(uv_loop_t *loop, int layers_fd, const char *dir,
                        struct fl_image_marks **ret_marks, struct fl_err *err)
{
    struct stat st;
    struct fl_err failure = {0};
    bool is_new = lstat(dir, &st) < 0;
    int rc = fl_fs_mkdirs(dir, 0700);
    int fd = rc < 0 ? rc : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fl_err_errno(err, rc < 0 ? rc : -errno, "cannot open %s", dir);
    struct fl_image_marks *marks = fl_calloc(1, sizeof(*marks));
    marks->loop = loop;
    marks->layers_fd = layers_fd;
    marks->marks_fd = fd;
    marks->delay = fl_calloc(1, sizeof(*marks->delay));
    FL_ASSERT(uv_timer_init(loop, marks->delay) == 0);
    marks->delay->data = marks;
    bool same_boot = is_same_boot(marks, is_new, &failure);
    if (failure.status) {
        fl_image_marks_close(marks);
        return fl_err_set(err, failure.status, "%s: %s", dir, failure.text);
    }
    look_through(marks, same_boot);
    forget_old(marks);
    *ret_marks = marks;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void fl_image_marks_close(struct fl_image_marks *marks)
{
    if (!marks)
        return;
    if (marks->flushing)
        marks->flushing->marks = NULL;
    (void)uv_timer_stop(marks->delay);
    uv_close((uv_handle_t *)marks->delay, on_closed);
    (void)close(marks->marks_fd);
    free(marks->waiting);
    free(marks);
}
