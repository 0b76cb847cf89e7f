/* Images on this host. Everything here runs in the loop; only fairlead-unpack (a process) and what
 * waits for the disk (worker threads) take time.
 *
 *   name ─► built-in store? ─► digest ─► cached? ─► ready
 *       └─► images_find.c ───┘              └► a pull: its layers, and all who wait for it
 *
 * A layer is unpacked once, for however many pulls. Its directory is layers/tmp.<salt> until it is
 * whole and renamed to layers/<hex>: what has that name is complete, and after a power cut what may
 * not be is known (image_marks.h). */
#include "agent/images.h"

#include <errno.h>
#include <fcntl.h>

#include "agent/images_internal.h"
#include "base/clock.h"
#include "base/log.h"

enum { TICK_MS = 500, PROGRESS_MS = 10000 };

static void cached_free(struct fl_cached_image *image)
{
    if (image)
        fl_arena_free(image->arena);
}

void fl_images_wait(struct fl_image_waiters *waiters, fl_images_done done, void *context)
{
    struct fl_image_waiter *waiter = fl_calloc(1, sizeof(*waiter));
    waiter->done = done;
    waiter->context = context;
    STAILQ_INSERT_TAIL(waiters, waiter, link);
}

void fl_images_forget(struct fl_image_waiters *waiters)
{
    struct fl_image_waiter *waiter;
    while ((waiter = STAILQ_FIRST(waiters)) != NULL) {
        STAILQ_REMOVE_HEAD(waiters, link);
        free(waiter);
    }
}

static void tell(struct fl_image_waiters *waiters, const struct fl_image_ready *ready,
                 enum fl_image_failure failure, struct fl_str error)
{
    struct fl_image_waiter *waiter;
    STAILQ_FOREACH (waiter, waiters, link)
        waiter->done(waiter->context, ready, failure, error);
    fl_images_forget(waiters);
}

void fl_images_fail(struct fl_image_waiters *waiters, enum fl_image_failure failure,
                    const char *text)
{
    tell(waiters, NULL, failure, fl_str_of(text));
}

static void pull_free(struct fl_pull *pull)
{
    fl_images_forget(&pull->waiters);
    cached_free(pull->image);
    fl_source_unref(pull->source);
    if (pull->login_arena)
        fl_arena_free(pull->login_arena);
    free(pull->present);
    free(pull->was_present);
    free(pull->error);
    free(pull);
}

static void layer_done(void *context, const struct fl_digest *digest, struct fl_str error);

static struct fl_images_config copy_config(const struct fl_images_config *config,
                                           struct fl_arena *arena)
{
    struct fl_images_config copy = *config;
    copy.registry_dir = fl_str_dup(arena, config->registry_dir);
    copy.data_dir = fl_str_dup(arena, config->data_dir);
    copy.libexec_dir = fl_str_dup(arena, config->libexec_dir);
    copy.account = fl_str_dup(arena, config->account);
    copy.region = fl_str_dup(arena, config->region);
    copy.registry_host = fl_str_dup(arena, config->registry_host);
    copy.excluded = fl_str_dup(arena, config->excluded);
    return copy;
}

static uv_timer_t *timer_new(uv_loop_t *loop, struct fl_images *images)
{
    uv_timer_t *timer = fl_calloc(1, sizeof(*timer));
    FL_ASSERT(uv_timer_init(loop, timer) == 0);
    timer->data = images;
    return timer;
}

int fl_images_open(uv_loop_t *loop, const struct fl_images_config *config,
                   struct fl_images **ret_images, struct fl_err *err)
{
    struct fl_images *images = fl_calloc(1, sizeof(*images));
    struct fl_arena *arena = images->arena = fl_arena_new();
    images->config = copy_config(config, arena);
    images->identity = (struct fl_registry_identity){images->config.account, images->config.region,
                                                     images->config.registry_host};
    images->layers_dir = fl_str_printf(arena, "%.*s/layers", FL_STR_ARG(config->data_dir));
    TAILQ_INIT(&images->pulls);
    TAILQ_INIT(&images->searches);
    images->tick = timer_new(loop, images);
    images->room = timer_new(loop, images);
    fl_images_yield_open(images, timer_new(loop, images));
    int rc = fl_unpacker_open(loop, config->libexec_dir, images->layers_dir, layer_done, images,
                              &images->unpacker, err);
    if (rc == 0)
        rc =
            fl_image_records_open(fl_str_printf(arena, "%.*s/images", FL_STR_ARG(config->data_dir)),
                                  &images->records, err);
    if (rc < 0) {
        fl_images_close(images);
        return rc;
    }
    fl_images_cleanup_start(images);
    fl_images_report(images);
    *ret_images = images;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void fl_images_close(struct fl_images *images)
{
    struct fl_cached_image *image, *next;
    struct fl_pull *pull;
    if (!images)
        return;
    fl_unpacker_close(images->unpacker);
    fl_images_search_free_all(images);
    while ((pull = TAILQ_FIRST(&images->pulls)) != NULL) {
        TAILQ_REMOVE(&images->pulls, pull, link);
        pull_free(pull);
    }
    HASH_ITER(hh, images->cache, image, next)
    {
        HASH_DEL(images->cache, image);
        cached_free(image);
    }
    fl_images_cleanup_close(images);
    uv_close((uv_handle_t *)images->tick, on_timer_closed);
    uv_close((uv_handle_t *)images->room, on_timer_closed);
    uv_close((uv_handle_t *)images->yielding.timer, on_timer_closed);
    if (images->reported_arena)
        fl_arena_free(images->reported_arena);
    fl_image_records_close(images->records);
    fl_image_store_close(images->store);
    fl_arena_free(images->arena);
    free(images);
}

/* ---- what is ready ---- */

/* The oldest image goes when the cache is full. */
static void cache_add(struct fl_images *images, struct fl_cached_image *image)
{
    if (HASH_COUNT(images->cache) >= FL_IMAGES_CACHE_MAX) {
        struct fl_cached_image *oldest = images->cache;
        HASH_DEL(images->cache, oldest);
        cached_free(oldest);
    }
    HASH_ADD(hh, images->cache, hex, 64, image);
}

void fl_images_uncache(struct fl_images *images, const struct fl_digest *digest)
{
    struct fl_cached_image *known = NULL;
    HASH_FIND(hh, images->cache, digest->hex, 64, known);
    if (!known)
        return;
    HASH_DEL(images->cache, known);
    cached_free(known);
}

/* Somebody told may have asked for the same image again. */
static void keep(struct fl_images *images, struct fl_pull *pull)
{
    struct fl_cached_image *known = NULL;
    pull->facts.pulled_ms = pull->facts.used_ms = fl_clock_wall_ms();
    int rc = fl_image_records_put(images->records, &pull->facts, pull->name);
    if (rc < 0)
        fl_log_warn("image %.*s: no record of it can be kept: %s", FL_STR_ARG(pull->name),
                    strerror(-rc));
    pull->image->record = fl_image_records_find(images->records, &pull->facts.digest);
    HASH_FIND(hh, images->cache, pull->image->hex, 64, known);
    if (!known)
        cache_add(images, FL_TAKE_PTR(pull->image));
}

static void log_end(const struct fl_pull *pull)
{
    uint64_t bytes = 0;
    size_t layers = 0;
    for (size_t i = 0; i < pull->count; i++) {
        bytes += pull->was_present[i] ? 0 : pull->sizes[i];
        layers += !pull->was_present[i];
    }
    if (layers && !pull->error)
        fl_log_info("image %.*s: %zu of %zu layers (%llu bytes) in %lld ms", FL_STR_ARG(pull->name),
                    layers, pull->count, (unsigned long long)bytes,
                    (long long)(fl_clock_mono_ms() - pull->begun_ms));
}

static bool is_wanted(const struct fl_images *images, const struct fl_digest *layer)
{
    const struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        for (size_t i = 0; i < pull->count; i++)
            if (!pull->present[i] && fl_digest_eq(&pull->facts.layers[i], layer))
                return true;
    }
    return false;
}

/* What a pull that has failed was still waiting for. */
static void drop_layers(struct fl_images *images, const struct fl_pull *pull)
{
    for (size_t i = 0; i < pull->count; i++)
        if (!pull->present[i] && !is_wanted(images, &pull->facts.layers[i]))
            fl_unpacker_drop(images->unpacker, &pull->facts.layers[i]);
}

/* Pulls that have nothing missing, or that failed, leave the list before anyone is told: who is
 * told may ask for the next image. */
static void settle(struct fl_images *images)
{
    struct fl_pulls settled = TAILQ_HEAD_INITIALIZER(settled);
    struct fl_pull *pull, *next;
    for (pull = TAILQ_FIRST(&images->pulls); pull; pull = next) {
        next = TAILQ_NEXT(pull, link);
        if (pull->missing && !pull->error)
            continue;
        TAILQ_REMOVE(&images->pulls, pull, link);
        TAILQ_INSERT_TAIL(&settled, pull, link);
    }
    while ((pull = TAILQ_FIRST(&settled)) != NULL) {
        TAILQ_REMOVE(&settled, pull, link);
        log_end(pull);
        if (pull->error)
            drop_layers(images, pull);
        tell(&pull->waiters, pull->error ? NULL : &pull->image->ready, pull->failure,
             fl_str_of(pull->error));
        if (!pull->error)
            keep(images, pull);
        pull_free(pull);
    }
}

static void fail_pull(struct fl_pull *pull, enum fl_image_failure failure, struct fl_str error)
{
    if (pull->error)
        return;
    pull->error = fl_strndup(error.p, error.n);
    pull->failure = failure;
}

static void layer_done(void *context, const struct fl_digest *digest, struct fl_str error)
{
    struct fl_images *images = context;
    struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        for (size_t i = 0; i < pull->count; i++) {
            if (pull->present[i] || !fl_digest_eq(&pull->facts.layers[i], digest))
                continue;
            if (error.n)
                fail_pull(pull, FL_IMAGE_CANNOT_PULL, error);
            if (!error.n) {
                pull->present[i] = true;
                pull->missing--;
            }
        }
    }
    settle(images);
}

/* ---- pulls ---- */

static void take_config(const struct fl_oci_config *from, struct fl_image_config *to)
{
    *to = (struct fl_image_config){
        .entry_point = from->entry_point,
        .entry_point_count = from->entry_point_count,
        .command = from->command,
        .command_count = from->command_count,
        .environment = from->environment,
        .environment_count = from->environment_count,
        .user = from->user,
        .working_dir = from->working_dir,
        .stop_signal = from->stop_signal,
        .volumes = from->volumes,
        .volume_count = from->volume_count,
    };
}

/* Directories in overlayfs' order, the topmost first; manifests begin with the base. A layer that
 * comes twice counts where it is uppermost: overlayfs takes a directory once, and the upper one
 * hides all that the lower one could show. */
static void name_layers(const struct fl_images *images, const struct fl_image *image,
                        struct fl_cached_image *cached)
{
    const struct fl_descriptor *layers = image->manifest.layers;
    size_t n = image->manifest.layer_count, count = 0;
    cached->ready.layers = fl_arena_new_array(cached->arena, struct fl_str, n + 1);
    for (size_t i = n; i-- > 0;) {
        bool twice = false;
        for (size_t above = i + 1; above < n; above++)
            twice |= fl_digest_eq(&layers[above].digest, &layers[i].digest);
        if (!twice)
            cached->ready.layers[count++] = fl_str_printf(
                cached->arena, "%.*s/%s", FL_STR_ARG(images->layers_dir), layers[i].digest.hex);
    }
    cached->ready.layer_count = count;
}

/* The texts of what has been looked up, for the image's record. */
static int read_found(const struct fl_looked_up *found, struct fl_arena *arena,
                      struct fl_image_record *facts, struct fl_image *ret_image, struct fl_err *err)
{
    facts->image = found->image;
    facts->manifest = fl_str_dup(arena, found->manifest);
    facts->config = fl_str_dup(arena, found->config);
    return fl_image_record_parse(facts, arena, ret_image, err);
}

static int read_image(struct fl_images *images, const struct fl_looked_up *found,
                      struct fl_arena *arena, struct fl_image_record *facts,
                      struct fl_image *ret_image, struct fl_err *err)
{
    const struct fl_image_record *record = fl_image_records_find(images->records, &facts->digest);
    if (found && !found->is_known)
        return read_found(found, arena, facts, ret_image, err);
    if (record && record->manifest.n)
        return read_found(&(struct fl_looked_up){.image = record->image,
                                                 .manifest = record->manifest,
                                                 .config = record->config},
                          arena, facts, ret_image, err);
    if (!images->store)
        return fl_err_set(err, -ENOENT, "the image sha256:%s is gone", facts->digest.hex);
    int rc = fl_image_store_read_image(images->store, &facts->digest, arena, ret_image, err);
    if (rc == 0)
        facts->image = ret_image->digest;
    return rc;
}

static struct fl_pull *pull_new(struct fl_images *images, const struct fl_digest *digest,
                                struct fl_str name, const struct fl_looked_up *found,
                                struct fl_err *err)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_image image;
    struct fl_image_record facts = {.digest = *digest};
    if (read_image(images, found, arena, &facts, &image, err) < 0) {
        fl_arena_free(arena);
        return NULL;
    }
    size_t count = image.manifest.layer_count;
    struct fl_cached_image *cached = fl_arena_new_object(arena, struct fl_cached_image);
    memcpy(cached->hex, digest->hex, sizeof(cached->hex));
    cached->arena = arena;
    cached->ready.digest = fl_str_printf(arena, "sha256:%s", image.digest.hex);
    take_config(&image.config, &cached->ready.config);
    name_layers(images, &image, cached);
    struct fl_pull *pull = fl_calloc(1, sizeof(*pull));
    STAILQ_INIT(&pull->waiters);
    pull->image = cached;
    pull->name = fl_str_dup(arena, name);
    pull->source = found && found->source ? fl_source_ref(found->source) : NULL;
    pull->begun_ms = fl_clock_mono_ms();
    pull->count = pull->missing = facts.layer_count = count;
    pull->present = fl_calloc(count + 1, sizeof(*pull->present));
    pull->was_present = fl_calloc(count + 1, sizeof(*pull->was_present));
    pull->diff_ids = image.config.diff_ids;
    pull->sizes = fl_arena_new_array(arena, uint64_t, count + 1);
    facts.layers = fl_arena_new_array(arena, struct fl_digest, count + 1);
    for (size_t i = 0; i < count; i++) {
        facts.layers[i] = image.manifest.layers[i].digest;
        facts.bytes += pull->sizes[i] = image.manifest.layers[i].size;
    }
    pull->facts = facts;
    return pull;
}

/* Unpacked it takes more than this, seldom less: a pull that surely does not fit is not begun. */
static uint64_t bytes_missing(const struct fl_pull *pull)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pull->count; i++)
        bytes += pull->present[i] ? 0 : pull->sizes[i];
    return bytes;
}

static void park(struct fl_images *images, struct fl_pull *pull, const struct fl_err *err)
{
    pull->parked = fl_images_make_room(images);
    if (!pull->parked)
        fail_pull(pull, FL_IMAGE_CANNOT_PULL,
                  fl_str_printf(pull->image->arena, "failed to register layer: %s", err->text));
}

/* Looks for what is unpacked already, and sees to the rest. */
static void pull_start(struct fl_images *images, struct fl_pull *pull)
{
    struct fl_err no_room = {0};
    pull->missing = pull->count;
    for (size_t i = 0; i < pull->count; i++) {
        pull->present[i] = pull->was_present[i] =
            fl_unpacker_has(images->unpacker, &pull->facts.layers[i]);
        pull->missing -= pull->present[i];
    }
    if (pull->missing && !fl_images_fits(images, bytes_missing(pull), &no_room)) {
        park(images, pull, &no_room);
        return;
    }
    for (size_t i = 0; i < pull->count && !pull->error; i++) {
        struct fl_err err = {0};
        const struct fl_layer_order order = {.store = pull->source ? NULL : images->store,
                                             .source = pull->source,
                                             .digest = pull->facts.layers[i],
                                             .diff_id = pull->diff_ids[i],
                                             .size = pull->sizes[i]};
        if (pull->present[i])
            continue;
        if (!order.store && !order.source)
            fail_pull(pull, FL_IMAGE_CANNOT_PULL, FL_STR("a layer of the image is gone"));
        else if (fl_unpacker_add(images->unpacker, &order, &err) < 0)
            fail_pull(pull, FL_IMAGE_CANNOT_PULL, fl_str_of(err.text));
    }
    if (pull->missing)
        fl_images_watch(images);
}

void fl_images_unpark(struct fl_images *images)
{
    struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        if (!pull->parked)
            continue;
        pull->parked = false;
        pull_start(images, pull);
    }
    settle(images);
}

bool fl_images_same_login(const struct fl_registry_login *a, const struct fl_registry_login *b)
{
    return fl_str_eq(a->user, b->user) && fl_str_eq(a->password, b->password);
}

struct fl_registry_login fl_images_copy_login(const struct fl_registry_login *login,
                                              struct fl_arena *arena)
{
    return (struct fl_registry_login){.user = fl_str_dup(arena, login->user),
                                      .password = fl_str_dup(arena, login->password)};
}

static struct fl_pull *find_pull(struct fl_images *images, const struct fl_digest *digest,
                                 const struct fl_registry_login *login)
{
    struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        if (fl_digest_eq(&pull->facts.digest, digest) && fl_images_same_login(&pull->login, login))
            return pull;
    }
    return NULL;
}

static bool has_layers(const struct fl_images *images, const struct fl_image_record *record)
{
    for (size_t i = 0; i < record->layer_count; i++)
        if (!fl_unpacker_has(images->unpacker, &record->layers[i]))
            return false;
    return true;
}

bool fl_images_has(const struct fl_images *images, const struct fl_digest *digest)
{
    const struct fl_image_record *record = fl_image_records_find(images->records, digest);
    return record && record->manifest.n && has_layers(images, record);
}

/* An image that is ready goes by one more name; without a record nothing is to be said. */
static void note_use(struct fl_images *images, struct fl_cached_image *image, struct fl_str name)
{
    if (!image->record)
        return;
    image->record->used_ms = fl_clock_wall_ms();
    if (name.n)
        (void)fl_image_records_put(images->records, image->record, name);
}

void fl_images_provide(struct fl_images *images, const struct fl_digest *digest, struct fl_str name,
                       const struct fl_looked_up *found, const struct fl_registry_login *login,
                       struct fl_image_waiters *waiters)
{
    struct fl_err err = {0};
    struct fl_cached_image *known = NULL;
    HASH_FIND(hh, images->cache, digest->hex, 64, known);
    if (known) {
        note_use(images, known, found ? name : FL_STR(""));
        tell(waiters, &known->ready, FL_IMAGE_CANNOT_PULL, FL_STR(""));
        return;
    }
    struct fl_pull *pull = find_pull(images, digest, login);
    if (pull) {
        STAILQ_CONCAT(&pull->waiters, waiters);
        return;
    }
    pull = pull_new(images, digest, name, found, &err);
    if (!pull) {
        fl_images_fail(waiters, FL_IMAGE_CANNOT_PULL, err.text);
        return;
    }
    pull->login_arena = fl_arena_new();
    pull->login = fl_images_copy_login(login, pull->login_arena);
    STAILQ_CONCAT(&pull->waiters, waiters);
    TAILQ_INSERT_TAIL(&images->pulls, pull, link);
    pull_start(images, pull);
    settle(images);
}

/* ---- the clock ---- */

static void expire_pulls(struct fl_images *images, int64_t now_ms)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        if (images->config.pull_timeout_ms > 0 &&
            now_ms - pull->begun_ms > images->config.pull_timeout_ms)
            fail_pull(pull, FL_IMAGE_TIMEOUT,
                      fl_str_printf(
                          arena, "Could not transition to pulled; timed out after waiting %.*s",
                          FL_STR_ARG(fl_images_duration(images->config.pull_timeout_ms, arena))));
    }
    settle(images);
}

/* The room may go to somebody else, or an image may be larger than it seemed. */
static void stop_when_full(struct fl_images *images)
{
    struct fl_err err = {0};
    struct fl_pull *pull;
    if (fl_images_fits(images, 0, &err) || fl_images_make_room(images))
        return;
    TAILQ_FOREACH (pull, &images->pulls, link)
        fail_pull(pull, FL_IMAGE_CANNOT_PULL,
                  fl_str_printf(pull->image->arena, "failed to register layer: %s", err.text));
    settle(images);
}

/* A long pull says now and then that it goes on. */
static void say_progress(const struct fl_images *images, int64_t now_ms)
{
    struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        if (now_ms - FL_MAX(pull->begun_ms, pull->said_ms) < PROGRESS_MS)
            continue;
        pull->said_ms = now_ms;
        fl_log_info("image %.*s: %zu of %zu layers are here", FL_STR_ARG(pull->name),
                    pull->count - pull->missing, pull->count);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct fl_images *images = timer->data;
    int64_t now_ms = fl_clock_mono_ms();
    fl_images_search_expire(images, now_ms);
    expire_pulls(images, now_ms);
    if (!TAILQ_EMPTY(&images->pulls))
        stop_when_full(images);
    say_progress(images, now_ms);
    fl_images_report(images);
    if (TAILQ_EMPTY(&images->pulls) && TAILQ_EMPTY(&images->searches))
        (void)uv_timer_stop(images->tick);
}

void fl_images_watch(struct fl_images *images)
{
    if (!uv_is_active((uv_handle_t *)images->tick))
        (void)uv_timer_start(images->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- names ---- */

/* Which manifest a name means in the built-in store. -ENOENT: it is not there. */
static int resolve(struct fl_images *images, const struct fl_image_name *name,
                   struct fl_arena *arena, struct fl_digest *ret_digest)
{
    struct fl_ref ref;
    if (!images->store || fl_image_name_place(name, &images->identity) == FL_IMAGE_REMOTE ||
        !fl_image_store_has_repository(images->store, name->repository))
        return -ENOENT;
    if (name->has_digest && fl_image_store_has(images->store, &name->digest, NULL)) {
        *ret_digest = name->digest;
        return 0;
    }
    if (name->has_digest ||
        fl_image_store_get_ref(images->store, name->repository, name->tag, arena, &ref) < 0)
        return -ENOENT;
    *ret_digest = ref.digest;
    return 0;
}

/* Where the built-in registry has the repository, the name means that. */
static bool is_repository_here(const struct fl_images *images, const struct fl_image_name *name)
{
    return images->store && fl_image_name_place(name, &images->identity) == FL_IMAGE_SHORT &&
           fl_image_store_has_repository(images->store, name->repository);
}

bool fl_images_has_servers_store(const struct fl_images *images)
{
    ptrdiff_t colon = fl_str_rindex(images->identity.registry_host, ':');
    struct fl_str host = colon > 0 ? fl_str_sub(images->identity.registry_host, 0, (size_t)colon)
                                   : images->identity.registry_host;
    return images->store && fl_host_is_loopback(host);
}

/* What the built-in store has not, the server has not either: nobody else is asked. */
static bool is_decided_here(const struct fl_images *images, const struct fl_image_name *name)
{
    enum fl_image_place place = fl_image_name_place(name, &images->identity);
    if (!images->config.puller)
        return true;
    return fl_images_has_servers_store(images) &&
           (place == FL_IMAGE_BUILTIN || is_repository_here(images, name));
}

static void fail_unknown(const struct fl_images *images, const struct fl_image_name *name,
                         struct fl_str text, struct fl_arena *arena,
                         struct fl_image_waiters *waiters)
{
    struct fl_str shown = is_repository_here(images, name) ? text : fl_image_name_full(name, arena);
    fl_images_fail(waiters, FL_IMAGE_CANNOT_PULL,
                   fl_str_printf(arena, "failed to resolve reference \"%.*s\": not found",
                                 (int)FL_MIN(shown.n, (size_t)300), shown.p)
                       .p);
}

/* The name of an image in the built-in store, whichever of its registry's names was used. */
static struct fl_str own_name(const struct fl_images *images, const struct fl_image_name *name,
                              struct fl_arena *arena)
{
    struct fl_image_name own = *name;
    own.host = images->identity.registry_host;
    return fl_image_name_full(&own, arena);
}

static void make_ready(struct fl_images *images, struct fl_str name,
                       const struct fl_registry_login *login, bool afresh, fl_images_done done,
                       void *context)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_image_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
    struct fl_image_name parsed;
    struct fl_digest digest;
    struct fl_err err = {0};
    int rc = fl_image_name_parse(name, &parsed, &err);
    fl_images_wait(&waiters, done, context);
    if (rc < 0) {
        fl_images_fail(&waiters, FL_IMAGE_CANNOT_PULL, err.text);
        return;
    }
    if (!images->store)
        (void)fl_image_store_open(images->config.registry_dir, false, &images->store, NULL);
    if (resolve(images, &parsed, arena, &digest) == 0) {
        fl_images_provide(images, &digest, own_name(images, &parsed, arena), NULL, login, &waiters);
        return;
    }
    if (is_decided_here(images, &parsed)) {
        fail_unknown(images, &parsed, name, arena, &waiters);
        return;
    }
    fl_images_forget(&waiters);
    const struct fl_image_wish wish = {.name = &parsed,
                                       .full = fl_image_name_full(&parsed, arena),
                                       .afresh = afresh,
                                       .login = login};
    fl_images_search(images, &wish, done, context);
}

static const struct fl_registry_login no_login;

void fl_images_ensure(struct fl_images *images, struct fl_str name,
                      const struct fl_registry_login *login, fl_images_done done, void *context)
{
    make_ready(images, name, login ? login : &no_login, false, done, context);
}

void fl_images_pull(struct fl_images *images, struct fl_str name, fl_images_done done,
                    void *context)
{
    make_ready(images, name, &no_login, true, done, context);
}
