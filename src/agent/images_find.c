/* Names that a registry is asked about: whether it is asked at all (ECS_IMAGE_PULL_BEHAVIOR), once
 * for all who want the same, and what is done when it does not answer. */
#include "agent/images_internal.h"
#include "base/clock.h"
#include "base/log.h"

static void search_free(struct fl_search *search)
{
    TAILQ_REMOVE(&search->images->searches, search, link);
    fl_images_forget(&search->waiters);
    fl_arena_free(search->arena);
    free(search);
}

void fl_images_search_free_all(struct fl_images *images)
{
    struct fl_search *search;
    while ((search = TAILQ_FIRST(&images->searches)) != NULL) {
        fl_lookup_cancel(search->lookup);
        search_free(search);
    }
}

/* As Go prints a time.Duration of whole seconds. */
struct fl_str fl_images_duration(int64_t ms, struct fl_arena *arena)
{
    long long s = ms / 1000;
    if (s >= 3600)
        return fl_str_printf(arena, "%lldh%lldm%llds", s / 3600, s / 60 % 60, s % 60);
    if (s >= 60)
        return fl_str_printf(arena, "%lldm%llds", s / 60, s % 60);
    return fl_str_printf(arena, "%llds", s);
}

/* What an earlier pull brought under this name, all of it still here; NULL: nothing. */
static const struct fl_image_record *cached_under(const struct fl_images *images,
                                                  struct fl_str name)
{
    const struct fl_image_record *record = fl_image_records_named(images->records, name);
    return record && fl_images_has(images, &record->digest) ? record : NULL;
}

static bool may_use_cached(enum fl_pull_behavior behavior)
{
    switch (behavior) {
    case FL_PULL_DEFAULT:
    case FL_PULL_ONCE:
    case FL_PULL_PREFER_CACHED:
        return true;
    case FL_PULL_ALWAYS:
        return false;
    }
    return false;
}

/* The registry has not given it. ECS's agent then starts from the image that it has, unless it was
 * told to pull always. */
static void not_found(struct fl_search *search, enum fl_image_failure failure, struct fl_str error)
{
    struct fl_images *images = search->images;
    enum fl_pull_behavior behavior = images->config.behavior;
    const struct fl_image_record *record =
        may_use_cached(behavior) && !search->afresh ? cached_under(images, search->name) : NULL;
    struct fl_image_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str name = fl_str_dup(arena, search->name);
    struct fl_registry_login login = fl_images_copy_login(&search->login, arena);
    const char *text = fl_str_z(arena, error);
    STAILQ_CONCAT(&waiters, &search->waiters);
    search_free(search);
    if (record) {
        struct fl_digest digest = record->digest;
        fl_log_warn("image %.*s: the cached one is used: %s", FL_STR_ARG(name), text);
        fl_images_provide(images, &digest, name, NULL, &login, &waiters);
        return;
    }
    if (failure == FL_IMAGE_CANNOT_PULL && (behavior == FL_PULL_ALWAYS || behavior == FL_PULL_ONCE))
        failure = FL_IMAGE_CANNOT_PULL_MANIFEST;
    fl_images_fail(&waiters, failure, text);
}

static void on_found(void *context, const struct fl_looked_up *found)
{
    struct fl_search *search = context;
    struct fl_images *images = search->images;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (found->error.n) {
        not_found(search, FL_IMAGE_CANNOT_PULL,
                  fl_str_printf(arena, "failed to resolve reference \"%.*s\": %.*s",
                                (int)FL_MIN(search->name.n, (size_t)300), search->name.p,
                                FL_STR_ARG(found->error)));
        return;
    }
    struct fl_image_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
    struct fl_str name = fl_str_dup(arena, search->name);
    struct fl_registry_login login = fl_images_copy_login(&search->login, arena);
    STAILQ_CONCAT(&waiters, &search->waiters);
    search_free(search);
    fl_images_provide(images, &found->digest, name, found, &login, &waiters);
}

void fl_images_search_expire(struct fl_images *images, int64_t now_ms)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    int64_t timeout_ms = images->config.manifest_timeout_ms;
    struct fl_search *search, *next;
    for (search = TAILQ_FIRST(&images->searches); search; search = next) {
        next = TAILQ_NEXT(search, link);
        if (timeout_ms <= 0 || now_ms - search->begun_ms <= timeout_ms)
            continue;
        fl_lookup_cancel(search->lookup);
        not_found(search, FL_IMAGE_TIMEOUT,
                  fl_str_printf(arena,
                                "Could not transition to MANIFEST_PULLED; timed out after waiting "
                                "%.*s",
                                FL_STR_ARG(fl_images_duration(timeout_ms, arena))));
        next = TAILQ_FIRST(&images->searches);
    }
}

/* Which registries a name may mean, in order. One without a host is the built-in registry's if that
 * knows it; where its store is on this machine, that has been asked already. */
static size_t hosts_of(const struct fl_images *images, const struct fl_image_name *name,
                       struct fl_str hosts[FL_LOOKUP_HOSTS_MAX])
{
    size_t count = 0;
    switch (fl_image_name_place(name, &images->identity)) {
    case FL_IMAGE_BUILTIN:
        hosts[count++] = FL_STR("");
        break;
    case FL_IMAGE_SHORT:
        if (!fl_images_has_servers_store(images))
            hosts[count++] = FL_STR("");
        hosts[count++] = FL_STR("docker.io");
        break;
    case FL_IMAGE_REMOTE:
        hosts[count++] = name->host;
        break;
    }
    return count;
}

static bool is_known(void *context, const struct fl_digest *digest)
{
    const struct fl_search *search = context;
    return fl_images_has(search->images, digest);
}

static struct fl_search *find_search(const struct fl_images *images,
                                     const struct fl_image_wish *wish)
{
    struct fl_search *search;
    TAILQ_FOREACH (search, &images->searches, link) {
        if (search->afresh == wish->afresh && fl_str_eq(search->name, wish->full) &&
            fl_images_same_login(&search->login, wish->login))
            return search;
    }
    return NULL;
}

static void search_start(struct fl_images *images, const struct fl_image_wish *wish,
                         fl_images_done done, void *context)
{
    struct fl_search *search = fl_calloc(1, sizeof(*search));
    struct fl_lookup_order order = {.puller = images->config.puller,
                                    .name = *wish->name,
                                    .login = wish->login->user.n ? wish->login : NULL,
                                    .known = is_known};
    order.host_count = hosts_of(images, wish->name, order.hosts);
    search->images = images;
    search->arena = fl_arena_new();
    search->name = fl_str_dup(search->arena, wish->full);
    search->login = fl_images_copy_login(wish->login, search->arena);
    search->afresh = wish->afresh;
    search->begun_ms = fl_clock_mono_ms();
    STAILQ_INIT(&search->waiters);
    fl_images_wait(&search->waiters, done, context);
    search->lookup = fl_lookup_start(&order, on_found, search);
    TAILQ_INSERT_TAIL(&images->searches, search, link);
    fl_images_watch(images);
}

void fl_images_search(struct fl_images *images, const struct fl_image_wish *wish,
                      fl_images_done done, void *context)
{
    enum fl_pull_behavior behavior = images->config.behavior;
    bool from_cache =
        !wish->afresh && (behavior == FL_PULL_ONCE || behavior == FL_PULL_PREFER_CACHED);
    const struct fl_image_record *record = from_cache ? cached_under(images, wish->full) : NULL;
    struct fl_search *search = record ? NULL : find_search(images, wish);
    if (search) {
        fl_images_wait(&search->waiters, done, context);
    } else if (record) {
        struct fl_image_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
        struct fl_digest digest = record->digest;
        fl_images_wait(&waiters, done, context);
        fl_images_provide(images, &digest, wish->full, NULL, wish->login, &waiters);
    } else {
        search_start(images, wish, done, context);
    }
}
