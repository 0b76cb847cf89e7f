/* The registry's life and its jobs. */
#include "server/registry.h"

#include <errno.h>

#include "base/clock.h"
#include "server/registry_internal.h"

enum { LOCK_RETRY_MS = 50 };

/* ---- jobs ---- */

static void start_next(struct fl_registry *registry);

static void on_work(uv_work_t *work)
{
    struct fl_registry_job *job = FL_CONTAINER_OF(work, struct fl_registry_job, work);
    job->run(job);
}

static void on_worked(uv_work_t *work, FL_UNUSED int status)
{
    struct fl_registry_job *job = FL_CONTAINER_OF(work, struct fl_registry_job, work);
    struct fl_registry *registry = job->registry;
    registry->job_count--;
    if (job->is_exclusive) {
        fl_image_store_unlock(registry->store);
        TAILQ_REMOVE(&registry->queue, job, link);
        registry->is_running_exclusive = false;
    }
    job->done(job);
    start_next(registry);
}

static void start(struct fl_registry_job *job)
{
    if (job->begin)
        job->begin(job);
    FL_ASSERT(uv_queue_work(job->registry->loop, &job->work, on_work, on_worked) == 0);
}

static void on_lock_retry(uv_timer_t *timer)
{
    start_next(timer->data);
}

/* While another process loads an image, changes wait; no worker does. */
static void start_next(struct fl_registry *registry)
{
    struct fl_registry_job *job = TAILQ_FIRST(&registry->queue);
    if (!job || registry->is_running_exclusive)
        return;
    if (fl_image_store_try_lock(registry->store) < 0) {
        (void)uv_timer_start(&registry->lock_retry, on_lock_retry, LOCK_RETRY_MS, 0);
        return;
    }
    registry->is_running_exclusive = true;
    start(job);
}

void fl_registry_submit(struct fl_registry *registry, struct fl_registry_job *job)
{
    job->registry = registry;
    registry->job_count++;
    if (!job->is_exclusive) {
        start(job);
        return;
    }
    TAILQ_INSERT_TAIL(&registry->queue, job, link);
    start_next(registry);
}

/* ---- settings ---- */

/* Of a repository that was made by a push or a load: as old as its oldest image. */
static int made_by_push(const struct fl_registry *registry, struct fl_str repository,
                        struct fl_arena *arena, struct rec_Repository *record)
{
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    if (!fl_image_store_has_repository(registry->store, repository))
        return -ENOENT;
    int rc = fl_repository_list_images(registry->store, repository, arena, &images, &count);
    int64_t oldest_ms = count ? INT64_MAX : fl_clock_wall_ms();
    for (size_t i = 0; rc == 0 && i < count; i++)
        oldest_ms = FL_MIN(oldest_ms, images[i].pushed_at_ms);
    FL_SET(record, rec_Repository, v, 1);
    FL_SET(record, rec_Repository, createdAt, oldest_ms);
    return rc;
}

int fl_registry_read_settings(const struct fl_registry *registry, struct fl_str repository,
                              struct fl_arena *arena, struct rec_Repository *ret_record)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_REPOSITORY_RECORD_MAX);
    struct fl_shape_error fault;
    struct rec_Repository record = {0};
    int rc = fl_repository_read_record(registry->store, repository, &buf);
    if (rc == -ENOENT) {
        rc = made_by_push(registry, repository, arena, &record);
    } else if (rc == 0) {
        const struct fl_json *json = fl_json_read(fl_buf_str(&buf), arena, NULL);
        if (!json || fl_shape_decode(&rec_shape_Repository, json, arena, &record, &fault) < 0)
            rc = -EBADMSG;
    }
    if (rc == 0)
        *ret_record = record;
    return rc;
}

int fl_registry_write_settings(struct fl_registry *registry, struct fl_str repository,
                               const struct rec_Repository *record, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_REPOSITORY_RECORD_MAX);
    fl_shape_encode(&rec_shape_Repository, record, &buf);
    if (buf.overflow)
        return fl_err_set(err, -EFBIG, "the repository's settings are too long");
    return fl_repository_write_record(registry->store, repository, fl_buf_str(&buf), err);
}

/* ---- life ---- */

int fl_registry_open(uv_loop_t *loop, const struct fl_registry_config *config,
                     struct fl_registry **ret_registry, struct fl_err *err)
{
    struct fl_image_store *store = NULL;
    int rc = fl_image_store_open(config->dir, true, &store, err);
    if (rc < 0)
        return rc;
    rc = fl_image_store_attend(store);
    if (rc < 0) {
        fl_image_store_close(store);
        return fl_err_set(err, -EBUSY, "another server serves the images in %.*s",
                          FL_STR_ARG(config->dir));
    }
    struct fl_registry *registry = fl_calloc(1, sizeof(*registry));
    registry->loop = loop;
    registry->store = store;
    registry->arena = fl_arena_new();
    registry->host = fl_str_dup(registry->arena, config->host);
    registry->region = fl_str_dup(registry->arena, config->region);
    registry->account = fl_str_dup(registry->arena, config->account);
    registry->key = fl_registry_key_of(config->operator_key.secret);
    registry->strict = config->strict;
    registry->each_needed = config->each_needed;
    registry->context = config->context;
    TAILQ_INIT(&registry->uploads);
    TAILQ_INIT(&registry->queue);
    (void)uv_timer_init(loop, &registry->lock_retry);
    (void)uv_timer_init(loop, &registry->collect);
    registry->open_timers = 2;
    registry->lock_retry.data = registry->collect.data = registry;
    fl_registry_start_collecting(registry);
    *ret_registry = registry;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct fl_registry *registry = handle->data;
    if (--registry->open_timers > 0)
        return;
    fl_image_store_close(registry->store);
    fl_arena_free(registry->arena);
    free(registry);
}

/* Jobs that wait for their turn, or for another process, end without having run. */
static void give_up_waiting(struct fl_registry *registry)
{
    struct fl_registry_job *first = TAILQ_FIRST(&registry->queue), *job;
    struct fl_registry_job *running = registry->is_running_exclusive ? first : NULL;
    while ((job = TAILQ_LAST(&registry->queue, fl_registry_jobs)) != running) {
        TAILQ_REMOVE(&registry->queue, job, link);
        registry->job_count--;
        job->done(job);
    }
}

void fl_registry_close(struct fl_registry *registry)
{
    struct fl_upload *upload;
    if (!registry)
        return;
    registry->is_closing = true;
    give_up_waiting(registry);
    while (registry->job_count > 0)
        (void)uv_run(registry->loop, UV_RUN_ONCE);
    while ((upload = TAILQ_FIRST(&registry->uploads)) != NULL)
        fl_upload_leave(registry, upload);
    uv_close((uv_handle_t *)&registry->lock_retry, on_timer_closed);
    uv_close((uv_handle_t *)&registry->collect, on_timer_closed);
}
