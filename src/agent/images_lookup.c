/* manifests/<tag> ─► an index? manifests/<digest> ─► blobs/<configuration>. Every step after the
 * first asks for a digest and gets that or nothing. */
#include "agent/images_lookup.h"

#include <errno.h>

struct fl_lookup {
    struct fl_arena *arena;
    struct fl_lookup_order order;
    fl_lookup_done done;
    void *context;
    size_t host;
    struct fl_source *source;
    struct fl_fetch *fetch;
    struct fl_manifest manifest;
    struct fl_looked_up found;
};

static const char accepted[] = FL_MEDIA_OCI_INDEX
    ", " FL_MEDIA_DOCKER_INDEX ", " FL_MEDIA_OCI_MANIFEST ", " FL_MEDIA_DOCKER_MANIFEST;

static void lookup_free(struct fl_lookup *lookup)
{
    fl_source_unref(lookup->source);
    fl_arena_free(lookup->arena);
    free(lookup);
}

void fl_lookup_cancel(struct fl_lookup *lookup)
{
    if (lookup->fetch)
        fl_fetch_cancel(lookup->fetch);
    lookup_free(lookup);
}

static void end(struct fl_lookup *lookup)
{
    lookup->found.source = lookup->source;
    lookup->done(lookup->context, &lookup->found);
    lookup_free(lookup);
}

static void fail(struct fl_lookup *lookup, struct fl_str error)
{
    lookup->found.error = fl_str_dup(lookup->arena, error);
    end(lookup);
}

static void fetch(struct fl_lookup *lookup, struct fl_str path, const struct fl_descriptor *what,
                  uint64_t max, fl_fetch_done done)
{
    const struct fl_fetch_order order = {.path = path,
                                         .accept = what ? FL_STR("") : fl_str_of(accepted),
                                         .size = what ? what->size : 0,
                                         .max = max,
                                         .digest = what ? &what->digest : NULL};
    lookup->fetch = fl_fetch_start(lookup->source, &order, done, lookup);
}

static void on_config(void *context, const struct fl_fetched *fetched)
{
    struct fl_lookup *lookup = context;
    lookup->fetch = NULL;
    if (fetched->failure != FL_FETCH_DONE) {
        lookup->found.is_timeout = fetched->failure == FL_FETCH_IDLE;
        fail(lookup, fetched->error);
        return;
    }
    lookup->found.config = fetched->body;
    end(lookup);
}

static void get_config(struct fl_lookup *lookup)
{
    char path[6 + FL_DIGEST_TEXT_SIZE] = "blobs/";
    const struct fl_descriptor *config = &lookup->manifest.config;
    if (config->size == 0 || config->size > FL_CONFIG_MAX_BYTES) {
        fail(lookup, FL_STR("the image configuration is empty or too large"));
        return;
    }
    fl_digest_text(&config->digest, path + 6);
    fetch(lookup, fl_str_of(path), config, FL_CONFIG_MAX_BYTES, on_config);
}

/* A layer that says nothing, or too much, is refused before any is fetched. */
static int check_layers(const struct fl_manifest *manifest, struct fl_err *err)
{
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (manifest->layers[i].size == 0 || manifest->layers[i].size > FL_BLOB_MAX_BYTES)
            return fl_err_set(err, -EINVAL, "a layer of %llu bytes is empty or too large",
                              (unsigned long long)manifest->layers[i].size);
    return 0;
}

static void on_manifest(void *context, const struct fl_fetched *fetched);

/* Docker's own media types for a choice's manifest are asked for as well as OCI's. */
static void choose(struct fl_lookup *lookup)
{
    char path[10 + FL_DIGEST_TEXT_SIZE] = "manifests/";
    const struct fl_descriptor *chosen = fl_manifest_choose(&lookup->manifest);
    if (!chosen) {
        fail(lookup, fl_str_printf(lookup->arena,
                                   "no matching manifest for linux/%.*s in the manifest list "
                                   "entries",
                                   FL_STR_ARG(fl_image_architecture())));
        return;
    }
    if (chosen->size == 0 || chosen->size > FL_MANIFEST_MAX_BYTES) {
        fail(lookup, FL_STR("the image's manifest is empty or too large"));
        return;
    }
    lookup->found.image = chosen->digest;
    fl_digest_text(&chosen->digest, path + 10);
    const struct fl_fetch_order order = {.path = fl_str_of(path),
                                         .accept = fl_str_of(accepted),
                                         .size = chosen->size,
                                         .max = chosen->size,
                                         .digest = &chosen->digest};
    lookup->fetch = fl_fetch_start(lookup->source, &order, on_manifest, lookup);
}

/* "application/…; charset=utf-8" without what follows. Registries that say nothing useful let the
 * document speak for itself. */
static struct fl_str media_type_of(struct fl_str content_type)
{
    struct fl_str type;
    if (!fl_str_split(&content_type, ';', &type))
        return FL_STR("");
    type = fl_str_trim(type);
    return fl_str_is(type, "application/json") || fl_str_starts(type, FL_STR("text/plain")) ||
                   fl_str_is(type, "application/octet-stream")
               ? FL_STR("")
               : type;
}

static void on_manifest(void *context, const struct fl_fetched *fetched)
{
    struct fl_lookup *lookup = context;
    struct fl_err err = {0};
    bool was_index = lookup->manifest.is_index;
    lookup->fetch = NULL;
    if (fetched->failure != FL_FETCH_DONE) {
        fail(lookup, fetched->error);
        return;
    }
    struct fl_str body = fl_str_dup(lookup->arena, fetched->body);
    int rc = fl_manifest_parse(body, media_type_of(fetched->content_type), lookup->arena,
                               &lookup->manifest, &err);
    if (rc == 0 && was_index && lookup->manifest.is_index)
        rc = fl_err_set(&err, -EINVAL, "the image index lists another index");
    if (rc == 0)
        rc = check_layers(&lookup->manifest, &err);
    if (rc < 0) {
        fail(lookup, fl_str_of(err.text));
        return;
    }
    if (lookup->manifest.is_index) {
        choose(lookup);
        return;
    }
    lookup->found.image = fetched->digest;
    lookup->found.manifest = body;
    get_config(lookup);
}

static void ask_next(struct fl_lookup *lookup);

static void on_name(void *context, const struct fl_fetched *fetched)
{
    struct fl_lookup *lookup = context;
    bool unknown = fetched->failure == FL_FETCH_NOT_FOUND || fetched->failure == FL_FETCH_DENIED;
    if (unknown && lookup->host + 1 < lookup->order.host_count) {
        lookup->fetch = NULL;
        lookup->host++;
        ask_next(lookup);
        return;
    }
    if (fetched->failure == FL_FETCH_DONE) {
        lookup->found.digest = fetched->digest;
        if (lookup->order.known(lookup->context, &fetched->digest)) {
            lookup->found.is_known = true;
            end(lookup);
            return;
        }
    }
    lookup->found.is_timeout = fetched->failure == FL_FETCH_IDLE;
    on_manifest(lookup, fetched);
}

static void ask_next(struct fl_lookup *lookup)
{
    const struct fl_image_name *name = &lookup->order.name;
    struct fl_str host = lookup->order.hosts[lookup->host], repository = name->repository;
    if (fl_str_is(host, "docker.io") && fl_str_index(repository, '/') < 0)
        repository = fl_str_printf(lookup->arena, "library/%.*s", FL_STR_ARG(repository));
    fl_source_unref(lookup->source);
    lookup->source = fl_source_new(lookup->order.puller, host, repository, lookup->order.login);
    struct fl_str path =
        name->has_digest ? fl_str_printf(lookup->arena, "manifests/sha256:%s", name->digest.hex)
                         : fl_str_printf(lookup->arena, "manifests/%.*s", FL_STR_ARG(name->tag));
    const struct fl_fetch_order order = {.path = path,
                                         .accept = fl_str_of(accepted),
                                         .max = FL_MANIFEST_MAX_BYTES,
                                         .digest = name->has_digest ? &name->digest : NULL};
    lookup->fetch = fl_fetch_start(lookup->source, &order, on_name, lookup);
}

struct fl_lookup *fl_lookup_start(const struct fl_lookup_order *order, fl_lookup_done done,
                                  void *context)
{
    struct fl_lookup *lookup = fl_calloc(1, sizeof(*lookup));
    struct fl_arena *arena = lookup->arena = fl_arena_new();
    lookup->order = *order;
    if (order->login) {
        struct fl_registry_login *login = fl_arena_new_object(arena, struct fl_registry_login);
        login->user = fl_str_dup(arena, order->login->user);
        login->password = fl_str_dup(arena, order->login->password);
        lookup->order.login = login;
    }
    lookup->order.name.host = fl_str_dup(arena, order->name.host);
    lookup->order.name.repository = fl_str_dup(arena, order->name.repository);
    lookup->order.name.tag = fl_str_dup(arena, order->name.tag);
    for (size_t i = 0; i < order->host_count; i++)
        lookup->order.hosts[i] = fl_str_dup(arena, order->hosts[i]);
    lookup->done = done;
    lookup->context = context;
    ask_next(lookup);
    return lookup;
}
