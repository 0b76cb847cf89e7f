/* Images on this host. Everything here runs in the loop; only fairlead-unpack (a process) and the
 * final flush of a layer (a worker thread) take time.
 *
 * A pull is an image being made ready, with all who wait for it; a job is one layer being unpacked,
 * for however many pulls. A job's directory is layers/tmp.<salt> until it is whole, flushed and
 * renamed to layers/<hex>: what has that name is complete, also after a power cut. */
#include "agent/images.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <uthash.h>

#include "agent/images_internal.h"
#include "base/fs.h"
#include "image/store.h"

enum { CACHE_MAX = 512 };

/* A resolved image whose layers are all unpacked. */
struct cached {
    char hex[65]; /* of the manifest that the reference names: the key */
    struct fl_arena *arena;
    struct fl_image_ready ready;
    UT_hash_handle hh;
};

struct waiter {
    fl_images_done done;
    void *context;
    STAILQ_ENTRY(waiter) link;
};

struct pull {
    struct cached *image; /* enters the cache when nothing is missing */
    struct fl_digest *layers;
    struct fl_digest *diff_ids;
    bool *present;
    size_t count, missing;
    char *error; /* set once a layer failed */
    STAILQ_HEAD(, waiter) waiters;
    TAILQ_ENTRY(pull) link;
};
TAILQ_HEAD(pulls, pull);

struct fl_images {
    struct fl_arena *arena;
    struct fl_registry_identity identity;
    struct fl_str registry_dir;
    struct fl_image_store *store; /* NULL until the store exists */
    struct fl_str layers_dir;
    struct fl_unpacker *unpacker;
    struct cached *cache;
    struct pulls pulls;
};

static void cached_free(struct cached *image)
{
    if (image)
        fl_arena_free(image->arena);
}

static void pull_free(struct pull *pull)
{
    struct waiter *waiter;
    while ((waiter = STAILQ_FIRST(&pull->waiters)) != NULL) {
        STAILQ_REMOVE_HEAD(&pull->waiters, link);
        free(waiter);
    }
    cached_free(pull->image);
    free(pull->present);
    free(pull->error);
    free(pull);
}

static void layer_done(void *context, const struct fl_digest *digest, struct fl_str error);

int fl_images_open(uv_loop_t *loop, const struct fl_images_config *config,
                   struct fl_images **ret_images, struct fl_err *err)
{
    struct fl_images *images = fl_calloc(1, sizeof(*images));
    images->arena = fl_arena_new();
    images->identity = (struct fl_registry_identity){
        fl_str_dup(images->arena, config->account), fl_str_dup(images->arena, config->region),
        fl_str_dup(images->arena, config->registry_host)};
    images->registry_dir = fl_str_dup(images->arena, config->registry_dir);
    images->layers_dir = fl_str_printf(images->arena, "%.*s/layers", FL_STR_ARG(config->data_dir));
    TAILQ_INIT(&images->pulls);
    int rc = fl_unpacker_open(loop, config->libexec_dir, images->layers_dir, layer_done, images,
                              &images->unpacker, err);
    if (rc < 0) {
        fl_images_close(images);
        return rc;
    }
    *ret_images = images;
    return 0;
}

void fl_images_close(struct fl_images *images)
{
    struct cached *image, *next;
    struct pull *pull;
    if (!images)
        return;
    fl_unpacker_close(images->unpacker);
    while ((pull = TAILQ_FIRST(&images->pulls)) != NULL) {
        TAILQ_REMOVE(&images->pulls, pull, link);
        pull_free(pull);
    }
    HASH_ITER(hh, images->cache, image, next)
    {
        HASH_DEL(images->cache, image);
        cached_free(image);
    }
    fl_image_store_close(images->store);
    fl_arena_free(images->arena);
    free(images);
}

/* The oldest image goes when the cache is full. */
static void cache_add(struct fl_images *images, struct cached *image)
{
    if (HASH_COUNT(images->cache) >= CACHE_MAX) {
        struct cached *oldest = images->cache;
        HASH_DEL(images->cache, oldest);
        cached_free(oldest);
    }
    HASH_ADD(hh, images->cache, hex, 64, image);
}

/* Pulls that have nothing missing, or that failed, leave the list before anyone is told: who is
 * told may ask for the next image. */
static void settle(struct fl_images *images)
{
    struct pulls settled = TAILQ_HEAD_INITIALIZER(settled);
    struct pull *pull, *next;
    for (pull = TAILQ_FIRST(&images->pulls); pull; pull = next) {
        next = TAILQ_NEXT(pull, link);
        if (pull->missing && !pull->error)
            continue;
        TAILQ_REMOVE(&images->pulls, pull, link);
        TAILQ_INSERT_TAIL(&settled, pull, link);
    }
    while ((pull = TAILQ_FIRST(&settled)) != NULL) {
        struct waiter *waiter;
        TAILQ_REMOVE(&settled, pull, link);
        STAILQ_FOREACH (waiter, &pull->waiters, link)
            waiter->done(waiter->context, pull->error ? NULL : &pull->image->ready,
                         fl_str_of(pull->error));
        /* Somebody told may have asked for the same image again. */
        struct cached *known = NULL;
        HASH_FIND(hh, images->cache, pull->image->hex, 64, known);
        if (!pull->error && !known)
            cache_add(images, FL_TAKE_PTR(pull->image));
        pull_free(pull);
    }
}

static void layer_done(void *context, const struct fl_digest *digest, struct fl_str error)
{
    struct fl_images *images = context;
    struct pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        for (size_t i = 0; i < pull->count; i++) {
            if (pull->present[i] || !fl_digest_eq(&pull->layers[i], digest))
                continue;
            if (error.n && !pull->error)
                pull->error = fl_strndup(error.p, error.n);
            if (!error.n) {
                pull->present[i] = true;
                pull->missing--;
            }
        }
    }
    settle(images);
}

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
                        struct cached *cached)
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

static struct pull *pull_new(struct fl_images *images, const struct fl_digest *digest,
                             struct fl_err *err)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_image image;
    if (fl_image_store_read_image(images->store, digest, arena, &image, err) < 0) {
        fl_arena_free(arena);
        return NULL;
    }
    struct cached *cached = fl_arena_new_object(arena, struct cached);
    memcpy(cached->hex, digest->hex, sizeof(cached->hex));
    cached->arena = arena;
    cached->ready.digest = fl_str_printf(arena, "sha256:%s", image.digest.hex);
    take_config(&image.config, &cached->ready.config);
    name_layers(images, &image, cached);
    struct pull *pull = fl_calloc(1, sizeof(*pull));
    STAILQ_INIT(&pull->waiters);
    pull->image = cached;
    pull->count = pull->missing = image.manifest.layer_count;
    pull->present = fl_calloc(pull->count + 1, sizeof(*pull->present));
    pull->diff_ids = image.config.diff_ids;
    pull->layers = fl_arena_new_array(arena, struct fl_digest, pull->count + 1);
    for (size_t i = 0; i < pull->count; i++)
        pull->layers[i] = image.manifest.layers[i].digest;
    return pull;
}

/* Looks for what is unpacked already, and sees to the rest. */
static void pull_start(struct fl_images *images, struct pull *pull)
{
    for (size_t i = 0; i < pull->count; i++) {
        if (fl_unpacker_has(images->unpacker, &pull->layers[i])) {
            pull->present[i] = true;
            pull->missing--;
        }
    }
    for (size_t i = 0; i < pull->count && !pull->error; i++) {
        struct fl_err err = {0};
        if (!pull->present[i] && fl_unpacker_add(images->unpacker, images->store, &pull->layers[i],
                                                 &pull->diff_ids[i], &err) < 0)
            pull->error = fl_strndup(err.text, strlen(err.text));
    }
}

static void wait_on(struct pull *pull, fl_images_done done, void *context)
{
    struct waiter *waiter = fl_calloc(1, sizeof(*waiter));
    waiter->done = done;
    waiter->context = context;
    STAILQ_INSERT_TAIL(&pull->waiters, waiter, link);
}

static void fail(fl_images_done done, void *context, const char *text)
{
    done(context, NULL, fl_str_of(text));
}

/* Which manifest a name means, from the built-in registry's references. */
static int resolve(struct fl_images *images, struct fl_str text, struct fl_arena *arena,
                   struct fl_digest *ret_digest, struct fl_err *err)
{
    struct fl_image_name name;
    struct fl_ref ref;
    int rc = fl_image_name_parse(text, &name, err);
    if (rc < 0)
        return rc;
    enum fl_image_place place = fl_image_name_place(&name, &images->identity);
    struct fl_str full = fl_image_name_full(&name, arena);
    struct fl_str shown = fl_str_sub(full, 0, FL_MIN(full.n, (size_t)300));
    if (!images->store)
        (void)fl_image_store_open(images->registry_dir, false, &images->store, NULL);
    bool known = images->store && place != FL_IMAGE_REMOTE &&
                 fl_image_store_has_repository(images->store, name.repository);
    if (!known && place != FL_IMAGE_BUILTIN)
        return fl_err_set(err, -ENOENT,
                          "failed to resolve reference \"%.*s\": not found (pulling from other "
                          "registries is not implemented yet)",
                          FL_STR_ARG(shown));
    if (known && name.has_digest && fl_image_store_has(images->store, &name.digest, NULL)) {
        *ret_digest = name.digest;
        return 0;
    }
    if (!known || name.has_digest ||
        fl_image_store_get_ref(images->store, name.repository, name.tag, arena, &ref) < 0)
        return fl_err_set(err, -ENOENT, "failed to resolve reference \"%.*s\": not found",
                          FL_STR_ARG(place == FL_IMAGE_SHORT ? text : shown));
    *ret_digest = ref.digest;
    return 0;
}

static struct pull *find_pull(struct fl_images *images, const struct fl_digest *digest)
{
    struct pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link) {
        if (memcmp(pull->image->hex, digest->hex, 64) == 0)
            return pull;
    }
    return NULL;
}

void fl_images_ensure(struct fl_images *images, struct fl_str name, fl_images_done done,
                      void *context)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_digest digest;
    struct fl_err err = {0};
    struct cached *known = NULL;
    if (resolve(images, name, arena, &digest, &err) < 0) {
        fail(done, context, err.text);
        return;
    }
    HASH_FIND(hh, images->cache, digest.hex, 64, known);
    if (known) {
        done(context, &known->ready, FL_STR(""));
        return;
    }
    struct pull *pull = find_pull(images, &digest);
    if (pull) {
        wait_on(pull, done, context);
        return;
    }
    pull = pull_new(images, &digest, &err);
    if (!pull) {
        fail(done, context, err.text);
        return;
    }
    wait_on(pull, done, context);
    TAILQ_INSERT_TAIL(&images->pulls, pull, link);
    pull_start(images, pull);
    settle(images);
}
