/* Layers being unpacked: at most RUNNING_MAX helpers at once, the rest waits its turn.
 *
 * A job passes through: queued, a process (with a feed, where the layer comes from a registry: it
 * is unpacked while it comes), a worker thread that renames (or removes), gone; the flush comes
 * later (image_marks.h). A layer gets its name only when the process and the feed have both ended
 * well. Every job that began is told of exactly once, unless the unpacker was closed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/image_marks.h"
#include "agent/images_internal.h"
#include "agent/pull_feed.h"
#include "base/fs.h"
#include "base/id.h"
#include "image/unpacker.h"

enum { RUNNING_MAX = 4, TMP_NAME_SIZE = 4 + 16 + 1 };

struct job {
    struct fl_unpacker *unpacker;
    struct fl_layer_order order;
    bool running;
    struct fl_feed *feed; /* NULL: none, or it has ended */
    bool feed_broken;     /* the process ended before the layer did */
    bool process_gone;
    bool dropped; /* its end interests nobody */
    uv_process_t process;
    uv_work_t work;
    struct fl_unpack_channels channels;
    int dir_fd;
    char tmp_name[TMP_NAME_SIZE];
    struct fl_err err; /* status 0 while all is well */
    TAILQ_ENTRY(job) link;
};
TAILQ_HEAD(jobs, job);

struct fl_unpacker {
    uv_loop_t *loop;
    struct fl_arena *arena;
    struct fl_str libexec_dir;
    fl_unpacker_done done;
    void *context;
    int layers_fd;
    struct fl_image_marks *marks;
    struct jobs jobs;
    unsigned running;
    bool held;
    bool closing;
};

static void clear_unfinished(int layers_fd)
{
    int fd = openat(layers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    if (!dir)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, "tmp.", 4) == 0)
            (void)fl_fs_remove_tree(layers_fd, entry->d_name);
    }
    (void)closedir(dir);
}

static void unpacker_free(struct fl_unpacker *unpacker)
{
    fl_cleanup_fd(&unpacker->layers_fd);
    fl_arena_free(unpacker->arena);
    free(unpacker);
}

int fl_unpacker_open(uv_loop_t *loop, struct fl_str libexec_dir, struct fl_str layers_dir,
                     fl_unpacker_done done, void *context, struct fl_unpacker **ret_unpacker,
                     struct fl_err *err)
{
    struct fl_unpacker *unpacker = fl_calloc(1, sizeof(*unpacker));
    unpacker->loop = loop;
    unpacker->arena = fl_arena_new();
    unpacker->libexec_dir = fl_str_dup(unpacker->arena, libexec_dir);
    unpacker->done = done;
    unpacker->context = context;
    TAILQ_INIT(&unpacker->jobs);
    const char *path = fl_str_z(unpacker->arena, layers_dir);
    int rc = fl_fs_mkdirs(path, 0700);
    unpacker->layers_fd = rc < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (unpacker->layers_fd < 0) {
        rc = fl_err_errno(err, rc < 0 ? rc : -errno, "cannot open %s", path);
        unpacker_free(unpacker);
        return rc;
    }
    rc = fl_image_marks_open(loop, unpacker->layers_fd,
                             fl_str_printf(unpacker->arena, "%s.flushed", path).p, &unpacker->marks,
                             err);
    if (rc < 0) {
        unpacker_free(unpacker);
        return rc;
    }
    clear_unfinished(unpacker->layers_fd);
    *ret_unpacker = unpacker;
    return 0;
}

static void job_free(struct job *job)
{
    TAILQ_REMOVE(&job->unpacker->jobs, job, link);
    fl_source_unref(job->order.source);
    fl_cleanup_fd(&job->dir_fd);
    fl_unpack_channels_close(&job->channels);
    free(job);
}

void fl_unpacker_close(struct fl_unpacker *unpacker)
{
    struct job *job, *next;
    if (!unpacker)
        return;
    unpacker->closing = true;
    fl_image_marks_close(FL_TAKE_PTR(unpacker->marks));
    for (job = TAILQ_FIRST(&unpacker->jobs); job; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->feed)
            fl_feed_cancel(FL_TAKE_PTR(job->feed));
        if (!job->running)
            job_free(job);
        else if (!job->process_gone && uv_is_active((uv_handle_t *)&job->process))
            (void)uv_process_kill(&job->process, SIGKILL);
    }
    if (unpacker->running == 0)
        unpacker_free(unpacker);
}

bool fl_unpacker_has(const struct fl_unpacker *unpacker, const struct fl_digest *digest)
{
    struct stat st;
    return fstatat(unpacker->layers_fd, digest->hex, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

/* The worker's part: the layer gets its name when it is whole. */
static int publish(struct job *job, struct fl_err *err)
{
    int layers_fd = job->unpacker->layers_fd;
    int rc = fl_unpack_mark_opaque(&job->channels, job->dir_fd, err);
    if (rc < 0)
        return rc;
    if (renameat(layers_fd, job->tmp_name, layers_fd, job->order.digest.hex) < 0)
        return fl_err_errno(err, -errno, "cannot store the layer sha256:%s", job->order.digest.hex);
    return 0;
}

static void work(uv_work_t *req)
{
    struct job *job = req->data;
    if (!job->err.status)
        (void)publish(job, &job->err);
    if (job->err.status)
        (void)fl_fs_remove_tree(job->unpacker->layers_fd, job->tmp_name);
}

static int start_job(struct job *job, struct fl_err *err);

/* Starts what waits, as far as the bound and a hold allow; a job that cannot start is told of and
 * gone. */
static void start_more(struct fl_unpacker *unpacker)
{
    struct job *job, *next;
    for (job = TAILQ_FIRST(&unpacker->jobs); job; job = next) {
        next = TAILQ_NEXT(job, link);
        if (unpacker->held || unpacker->running == RUNNING_MAX)
            return;
        struct fl_err err = {0};
        if (job->running || start_job(job, &err) == 0)
            continue;
        struct fl_digest digest = job->order.digest;
        job_free(job);
        unpacker->done(unpacker->context, &digest, fl_str_of(err.text));
        next = TAILQ_FIRST(&unpacker->jobs);
    }
}

static void after_work(uv_work_t *req, FL_UNUSED int status)
{
    struct job *job = req->data;
    struct fl_unpacker *unpacker = job->unpacker;
    struct fl_digest digest = job->order.digest;
    struct fl_err err = job->err;
    bool dropped = job->dropped;
    job_free(job);
    unpacker->running--;
    if (unpacker->closing) {
        if (unpacker->running == 0)
            unpacker_free(unpacker);
        return;
    }
    if (!err.status)
        fl_image_marks_add(unpacker->marks, &digest);
    start_more(unpacker);
    if (!dropped)
        unpacker->done(unpacker->context, &digest, fl_str_of(err.status ? err.text : ""));
}

static void finish_job(struct job *job)
{
    if (job->feed && job->process_gone && job->err.status)
        fl_feed_cancel(FL_TAKE_PTR(job->feed));
    if (job->feed || !job->process_gone)
        return;
    if (job->feed_broken && !job->err.status)
        (void)fl_err_set(&job->err, -EPIPE, "failed to register layer: sha256:%.12s: it ends early",
                         job->order.digest.hex);
    job->work.data = job;
    if (uv_queue_work(job->unpacker->loop, &job->work, work, after_work) == 0)
        return;
    (void)fl_err_set(&job->err, -ENOMEM, "no worker for the layer sha256:%s",
                     job->order.digest.hex);
    work(&job->work);
    after_work(&job->work, 0);
}

static void process_closed(uv_handle_t *handle)
{
    struct job *job = handle->data;
    job->process_gone = true;
    finish_job(job);
}

/* What the process was given is not the layer: what it made of it goes. */
static void feed_done(void *context, struct fl_str error, bool broken)
{
    struct job *job = context;
    job->feed = NULL;
    job->feed_broken = broken;
    if (error.n && !broken && !job->err.status)
        (void)fl_err_set(&job->err, -EIO, "failed to copy: %.*s", FL_STR_ARG(error));
    if (error.n && !job->process_gone && uv_is_active((uv_handle_t *)&job->process))
        (void)uv_process_kill(&job->process, SIGKILL);
    finish_job(job);
}

static void process_exited(uv_process_t *process, int64_t exit_status, int term_signal)
{
    struct job *job = process->data;
    if ((exit_status != 0 || term_signal != 0) && !job->err.status) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_str complaint = fl_unpack_complaint(&job->channels, arena);
        (void)fl_err_set(&job->err, -EBADMSG, "failed to register layer: sha256:%.12s: %.*s",
                         job->order.digest.hex, FL_STR_ARG(complaint));
    }
    uv_close((uv_handle_t *)process, process_closed);
}

/* Order as in libexec/unpack.h. */
static void spawn_process(struct job *job, int null_fd, int blob_fd)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *program = fl_unpack_program(job->unpacker->libexec_dir, arena);
    char *const file = (char *)(uintptr_t)program;
    char mode[] = "layer", flag[] = "--diff-id";
    char *args[] = {file, mode, flag, job->order.diff_id.hex, NULL}, *env[] = {NULL};
    const int fds[] = {null_fd, job->channels.report_fd, job->channels.complaint_fd, blob_fd,
                       job->dir_fd};
    uv_stdio_container_t stdio[FL_ARRAY_SIZE(fds)];
    for (size_t i = 0; i < FL_ARRAY_SIZE(fds); i++)
        stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fds[i]};
    const uv_process_options_t options = {.exit_cb = process_exited,
                                          .file = program,
                                          .args = args,
                                          .env = env,
                                          .stdio = stdio,
                                          .stdio_count = (int)FL_ARRAY_SIZE(fds)};
    job->process.data = job;
    int rc = uv_spawn(job->unpacker->loop, &job->process, &options);
    if (rc == 0)
        return;
    (void)fl_err_errno(&job->err, rc, "cannot start %s", program);
    uv_close((uv_handle_t *)&job->process, process_closed);
}

static int make_directory(struct job *job)
{
    int layers_fd = job->unpacker->layers_fd;
    uint8_t salt[8];
    memcpy(job->tmp_name, "tmp.", 4);
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), job->tmp_name + 4);
    if (mkdirat(layers_fd, job->tmp_name, 0755) < 0)
        return -errno;
    job->dir_fd = openat(layers_fd, job->tmp_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return job->dir_fd < 0 ? -errno : 0;
}

static int open_layer(struct job *job, int *ret_fd, struct fl_err *err)
{
    const struct fl_layer_order *order = &job->order;
    if (!order->store)
        return fl_feed_start(job->unpacker->loop, order->source, &order->digest, order->size,
                             feed_done, job, &job->feed, ret_fd, err);
    int fd = fl_image_store_open_blob(order->store, &order->digest);
    if (fd < 0)
        return fl_err_errno(err, fd, "cannot read the layer sha256:%s", order->digest.hex);
    *ret_fd = fd;
    return 0;
}

/* From here on the job ends in after_work, except when this returns an error. */
static int start_job(struct job *job, struct fl_err *err)
{
    FL_CLEANUP_FD int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    FL_CLEANUP_FD int blob_fd = -1;
    int rc = fl_unpack_channels_open(&job->channels, err);
    if (rc < 0)
        return rc;
    rc = make_directory(job);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make a directory for the layer sha256:%s",
                            job->order.digest.hex);
    rc = open_layer(job, &blob_fd, err);
    if (rc < 0) {
        (void)unlinkat(job->unpacker->layers_fd, job->tmp_name, AT_REMOVEDIR);
        return rc;
    }
    job->running = true;
    job->unpacker->running++;
    spawn_process(job, null_fd, blob_fd);
    return 0;
}

static struct job *find_job(const struct fl_unpacker *unpacker, const struct fl_digest *digest)
{
    struct job *job;
    TAILQ_FOREACH (job, &unpacker->jobs, link) {
        if (!job->dropped && fl_digest_eq(&job->order.digest, digest))
            return job;
    }
    return NULL;
}

int fl_unpacker_add(struct fl_unpacker *unpacker, const struct fl_layer_order *order,
                    struct fl_err *err)
{
    if (find_job(unpacker, &order->digest))
        return 0;
    struct job *job = fl_calloc(1, sizeof(*job));
    *job = (struct job){.unpacker = unpacker, .order = *order, .channels = {-1, -1}, .dir_fd = -1};
    if (job->order.source)
        (void)fl_source_ref(job->order.source);
    TAILQ_INSERT_TAIL(&unpacker->jobs, job, link);
    if (unpacker->held || unpacker->running == RUNNING_MAX)
        return 0;
    int rc = start_job(job, err);
    if (rc < 0)
        job_free(job);
    return rc;
}

void fl_unpacker_hold(struct fl_unpacker *unpacker, bool is_held)
{
    struct job *job;
    unpacker->held = is_held;
    TAILQ_FOREACH (job, &unpacker->jobs, link) {
        if (job->feed)
            fl_feed_hold(job->feed, is_held);
        if (job->running && !job->process_gone && uv_is_active((uv_handle_t *)&job->process))
            (void)uv_process_kill(&job->process, is_held ? SIGURG : SIGCONT);
    }
    start_more(unpacker);
}

uint64_t fl_unpacker_received(const struct fl_unpacker *unpacker, const struct fl_digest *digest)
{
    const struct job *job = find_job(unpacker, digest);
    if (!job || !job->running)
        return 0;
    return job->feed ? fl_feed_received(job->feed) : job->order.size;
}

void fl_unpacker_drop(struct fl_unpacker *unpacker, const struct fl_digest *digest)
{
    struct job *job = find_job(unpacker, digest);
    if (!job)
        return;
    job->dropped = true;
    if (!job->running)
        job_free(job);
    else if (!job->process_gone && uv_is_active((uv_handle_t *)&job->process))
        (void)uv_process_kill(&job->process, SIGKILL);
}
