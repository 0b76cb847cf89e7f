/* Collecting: what lifecycle policies expire, what nobody tagged, and blobs that nothing leads to.
 *
 * It is told beforehand what tasks and task definitions need, and neither expires that nor removes
 * its blobs. It runs every ten minutes, and soon after something was deleted. */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/lifecycle.h"
#include "server/registry_internal.h"

enum { EVERY_MS = 10 * 60 * 1000, SOON_MS = 2000, FIRST_MS = 30 * 1000 };

struct collecting {
    struct fl_registry_job job;
    struct fl_digest *needed; /* sorted */
    size_t needed_count, needed_cap;
    uint64_t freed_bytes;
    size_t expired;
    int rc;
    struct fl_err err;
};

static void add_needed(void *list, struct fl_str image)
{
    struct collecting *c = list;
    struct fl_digest digest;
    ptrdiff_t at = fl_str_rindex(image, '@');
    if (!fl_digest_parse(at < 0 ? image : fl_str_from(image, (size_t)at + 1), &digest))
        return;
    if (c->needed_count == c->needed_cap) {
        c->needed_cap = FL_MAX((size_t)64, c->needed_cap * 2);
        c->needed = fl_realloc(c->needed, c->needed_cap * sizeof(*c->needed));
    }
    c->needed[c->needed_count++] = digest;
}

static int by_hex(const void *a, const void *b)
{
    return memcmp(a, b, 64);
}

/* Sorted, each once: a thousand revisions may name the same image, whose manifest is read for each
 * digest. */
static void sort_needed(struct collecting *c)
{
    size_t kept = 0;
    if (c->needed_count)
        qsort(c->needed, c->needed_count, sizeof(*c->needed), by_hex);
    for (size_t i = 0; i < c->needed_count; i++)
        if (i == 0 || by_hex(&c->needed[i], &c->needed[i - 1]) != 0)
            c->needed[kept++] = c->needed[i];
    c->needed_count = kept;
}

static bool is_needed(const struct collecting *c, const struct fl_digest *digest)
{
    return c->needed_count &&
           bsearch(digest, c->needed, c->needed_count, sizeof(*c->needed), by_hex);
}

static struct fl_repository_image *find(struct fl_repository_image *images, size_t count,
                                        const struct fl_digest *digest)
{
    struct fl_repository_image key = {.digest = *digest};
    return count ? bsearch(&key, images, count, sizeof(*images), by_hex) : NULL;
}

void fl_registry_mark_kept(const struct fl_registry *registry, struct fl_repository_image *images,
                           size_t count, bool *is_kept)
{
    for (size_t i = 0; i < count; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_manifest manifest;
        if (images[i].has_subject && find(images, count, &images[i].subject))
            is_kept[i] = true;
        if (fl_image_store_read_manifest(registry->store, &images[i].digest, arena, &manifest,
                                         NULL) < 0)
            continue;
        for (size_t m = 0; m < manifest.manifest_count; m++) {
            struct fl_repository_image *listed = find(images, count, &manifest.manifests[m].digest);
            if (listed)
                is_kept[listed - images] = true;
        }
    }
}

static void expire_image(struct collecting *c, struct fl_str repository,
                         const struct fl_repository_image *image)
{
    if (fl_repository_remove_listed(c->job.registry->store, repository, image) == 0)
        c->expired++;
}

static void expire_by_policy(struct collecting *c, struct fl_str repository,
                             struct rec_Repository *record, struct fl_repository_image *images,
                             size_t count, const bool *is_kept, struct fl_arena *arena)
{
    struct fl_lifecycle_policy policy;
    int32_t *by = fl_arena_new_array(arena, int32_t, count + 1);
    int64_t now_ms = fl_clock_wall_ms();
    if (fl_lifecycle_parse(record->lifecyclePolicyText, arena, &policy, NULL) < 0)
        return;
    fl_lifecycle_apply(&policy, images, count, is_kept, now_ms, by);
    for (size_t i = 0; i < count; i++)
        if (by[i] > 0)
            expire_image(c, repository, &images[i]);
    FL_SET(record, rec_Repository, lastEvaluatedAt, now_ms);
    (void)fl_registry_write_settings(c->job.registry, repository, record, NULL);
}

static void expire_untagged(struct collecting *c, struct fl_str repository,
                            const struct fl_repository_image *images, size_t count,
                            const bool *is_kept)
{
    int64_t before_ms = fl_clock_wall_ms() - (int64_t)FL_REGISTRY_UNTAGGED_S * 1000;
    for (size_t i = 0; i < count; i++)
        if (images[i].tag_count == 0 && !is_kept[i] && images[i].pushed_at_ms < before_ms)
            expire_image(c, repository, &images[i]);
}

static void expire_repository(struct collecting *c, struct fl_str repository)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_REPOSITORY_RECORD_MAX);
    struct fl_registry *registry = c->job.registry;
    struct rec_Repository record;
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    bool is_made = fl_repository_read_record(registry->store, repository, &buf) != -ENOENT;
    if (fl_registry_read_settings(registry, repository, arena, &record) < 0)
        return;
    bool has_policy = FL_HAS(&record, rec_Repository, lifecyclePolicyText);
    if ((is_made && !has_policy) ||
        fl_repository_list_images(registry->store, repository, arena, &images, &count) < 0)
        return;
    bool *is_kept = fl_arena_new_array(arena, bool, count + 1);
    for (size_t i = 0; i < count; i++)
        is_kept[i] = is_needed(c, &images[i].digest);
    fl_registry_mark_kept(registry, images, count, is_kept);
    if (has_policy)
        expire_by_policy(c, repository, &record, images, count, is_kept, arena);
    else
        expire_untagged(c, repository, images, count, is_kept);
}

/* The lock may have been waited for: what is needed is what is needed now. */
static void begin(struct fl_registry_job *job)
{
    if (job->registry->each_needed)
        job->registry->each_needed(job->registry->context, add_needed,
                                   FL_CONTAINER_OF(job, struct collecting, job));
}

static void run(struct fl_registry_job *job)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct collecting *c = FL_CONTAINER_OF(job, struct collecting, job);
    struct fl_image_store *store = job->registry->store;
    struct fl_str *names = NULL;
    size_t count = 0;
    sort_needed(c);
    c->rc = fl_image_store_set_needed(store, c->needed, c->needed_count, &c->err);
    if (c->rc == 0 && fl_repository_list(store, arena, &names, &count) < 0)
        c->rc = fl_err_set(&c->err, -EIO, "cannot list the repositories");
    for (size_t i = 0; c->rc == 0 && i < count; i++)
        expire_repository(c, names[i]);
    if (c->rc == 0)
        c->rc = fl_image_store_collect(store, FL_REGISTRY_GRACE_S, &c->freed_bytes, &c->err);
}

static void on_due(uv_timer_t *timer);

static void done(struct fl_registry_job *job)
{
    struct collecting *c = FL_CONTAINER_OF(job, struct collecting, job);
    struct fl_registry *registry = job->registry;
    if (c->rc < 0)
        fl_log_warn("images are not collected: %s", c->err.text);
    else if (c->expired || c->freed_bytes)
        fl_log_info("images: %zu expired, %llu bytes freed", c->expired,
                    (unsigned long long)c->freed_bytes);
    registry->is_collecting = false;
    if (!uv_is_active((uv_handle_t *)&registry->collect))
        (void)uv_timer_start(&registry->collect, on_due, EVERY_MS, 0);
    free(c->needed);
    free(c);
}

static void on_due(uv_timer_t *timer)
{
    struct fl_registry *registry = timer->data;
    fl_upload_expire(registry);
    if (registry->is_closing)
        return;
    if (registry->is_collecting) {
        fl_registry_collect_soon(registry);
        return;
    }
    struct collecting *c = fl_calloc(1, sizeof(*c));
    c->job.is_exclusive = true;
    c->job.begin = begin;
    c->job.run = run;
    c->job.done = done;
    registry->is_collecting = true;
    fl_registry_submit(registry, &c->job);
}

void fl_registry_start_collecting(struct fl_registry *registry)
{
    (void)uv_timer_start(&registry->collect, on_due, FIRST_MS, 0);
}

void fl_registry_collect_soon(struct fl_registry *registry)
{
    if (!registry->is_closing && (!uv_is_active((uv_handle_t *)&registry->collect) ||
                                  uv_timer_get_due_in(&registry->collect) > SOON_MS))
        (void)uv_timer_start(&registry->collect, on_due, SOON_MS, 0);
}
