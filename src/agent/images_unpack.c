/* Layers being unpacked: at most RUNNING_MAX helpers at once, the rest waits its turn.
 *
 * A job passes through: queued, a process, a worker thread that flushes and renames (or removes),
 * gone. Every job that began is told of exactly once, unless the unpacker was closed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images_internal.h"
#include "base/fs.h"
#include "base/id.h"
#include "image/unpacker.h"

enum { RUNNING_MAX = 2, TMP_NAME_SIZE = 4 + 16 + 1 };

struct job {
    struct fl_unpacker *unpacker;
    const struct fl_image_store *store;
    struct fl_digest digest, diff_id;
    bool running;
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
    struct jobs jobs;
    unsigned running;
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
    clear_unfinished(unpacker->layers_fd);
    *ret_unpacker = unpacker;
    return 0;
}

static void job_free(struct job *job)
{
    TAILQ_REMOVE(&job->unpacker->jobs, job, link);
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
    for (job = TAILQ_FIRST(&unpacker->jobs); job; job = next) {
        next = TAILQ_NEXT(job, link);
        if (!job->running)
            job_free(job);
        else if (uv_is_active((uv_handle_t *)&job->process))
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

/* The worker's part: the layer gets its name only when all of it is on disk. */
static int publish(struct job *job, struct fl_err *err)
{
    int layers_fd = job->unpacker->layers_fd;
    int rc = fl_unpack_mark_opaque(&job->channels, job->dir_fd, err);
    if (rc < 0)
        return rc;
    if (syncfs(job->dir_fd) < 0 ||
        renameat(layers_fd, job->tmp_name, layers_fd, job->digest.hex) < 0 || fsync(layers_fd) < 0)
        return fl_err_errno(err, -errno, "cannot store the layer sha256:%s", job->digest.hex);
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

/* Starts what waits, as far as the bound allows; a job that cannot start is told of and gone. */
static void start_more(struct fl_unpacker *unpacker)
{
    struct job *job, *next;
    for (job = TAILQ_FIRST(&unpacker->jobs); job; job = next) {
        next = TAILQ_NEXT(job, link);
        if (unpacker->running == RUNNING_MAX)
            return;
        struct fl_err err = {0};
        if (job->running || start_job(job, &err) == 0)
            continue;
        struct fl_digest digest = job->digest;
        job_free(job);
        unpacker->done(unpacker->context, &digest, fl_str_of(err.text));
        next = TAILQ_FIRST(&unpacker->jobs);
    }
}

static void after_work(uv_work_t *req, FL_UNUSED int status)
{
    struct job *job = req->data;
    struct fl_unpacker *unpacker = job->unpacker;
    struct fl_digest digest = job->digest;
    struct fl_err err = job->err;
    job_free(job);
    unpacker->running--;
    if (unpacker->closing) {
        if (unpacker->running == 0)
            unpacker_free(unpacker);
        return;
    }
    start_more(unpacker);
    unpacker->done(unpacker->context, &digest, fl_str_of(err.status ? err.text : ""));
}

static void process_closed(uv_handle_t *handle)
{
    struct job *job = handle->data;
    job->work.data = job;
    if (uv_queue_work(job->unpacker->loop, &job->work, work, after_work) == 0)
        return;
    (void)fl_err_set(&job->err, -ENOMEM, "no worker for the layer sha256:%s", job->digest.hex);
    work(&job->work);
    after_work(&job->work, 0);
}

static void process_exited(uv_process_t *process, int64_t exit_status, int term_signal)
{
    struct job *job = process->data;
    if (exit_status != 0 || term_signal != 0) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_str complaint = fl_unpack_complaint(&job->channels, arena);
        (void)fl_err_set(&job->err, -EBADMSG, "failed to register layer: sha256:%.12s: %.*s",
                         job->digest.hex, FL_STR_ARG(complaint));
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
    char *args[] = {file, mode, flag, job->diff_id.hex, NULL}, *env[] = {NULL};
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

/* From here on the job ends in after_work, except when this returns an error. */
static int start_job(struct job *job, struct fl_err *err)
{
    FL_CLEANUP_FD int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    FL_CLEANUP_FD int blob_fd = fl_image_store_open_blob(job->store, &job->digest);
    if (blob_fd < 0)
        return fl_err_errno(err, blob_fd, "cannot read the layer sha256:%s", job->digest.hex);
    int rc = fl_unpack_channels_open(&job->channels, err);
    if (rc < 0)
        return rc;
    rc = make_directory(job);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make a directory for the layer sha256:%s",
                            job->digest.hex);
    job->running = true;
    job->unpacker->running++;
    spawn_process(job, null_fd, blob_fd);
    return 0;
}

int fl_unpacker_add(struct fl_unpacker *unpacker, const struct fl_image_store *store,
                    const struct fl_digest *digest, const struct fl_digest *diff_id,
                    struct fl_err *err)
{
    struct job *job;
    TAILQ_FOREACH (job, &unpacker->jobs, link) {
        if (fl_digest_eq(&job->digest, digest))
            return 0;
    }
    job = fl_calloc(1, sizeof(*job));
    *job = (struct job){.unpacker = unpacker,
                        .store = store,
                        .digest = *digest,
                        .diff_id = *diff_id,
                        .channels = {-1, -1},
                        .dir_fd = -1};
    TAILQ_INSERT_TAIL(&unpacker->jobs, job, link);
    if (unpacker->running == RUNNING_MAX)
        return 0;
    int rc = start_job(job, err);
    if (rc < 0)
        job_free(job);
    return rc;
}
