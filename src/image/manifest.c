/* Manifests and configurations: every member is checked for type and bounds before it is used. */
#include "image/manifest.h"

#include <errno.h>

#include "wire/json.h"

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#error "no image architecture is known for this machine"
#endif

struct fl_str fl_image_architecture(void)
{
    return FL_STR(ARCHITECTURE);
}

static struct fl_str member(const json_t *object, const char *key, struct fl_arena *arena)
{
    return fl_str_dup(arena, fl_json_str(json_object_get(object, key)));
}

static int parse_descriptor(const json_t *json, struct fl_arena *arena,
                            struct fl_descriptor *ret_descriptor, struct fl_err *err)
{
    const json_t *size = json_object_get(json, "size");
    const json_t *platform = json_object_get(json, "platform");
    const json_t *annotations = json_object_get(json, "annotations");
    struct fl_descriptor d = {.media_type = member(json, "mediaType", arena)};
    if (!fl_digest_parse(fl_json_str(json_object_get(json, "digest")), &d.digest))
        return fl_err_set(err, -EINVAL, "the manifest names a blob without a sha256 digest");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return fl_err_set(err, -EINVAL, "the manifest names a blob without a valid size");
    if (d.media_type.n > FL_MEDIA_TYPE_MAX)
        return fl_err_set(err, -EINVAL, "the manifest names a blob of an overlong media type");
    d.size = (uint64_t)json_integer_value(size);
    d.os = member(platform, "os", arena);
    d.architecture = member(platform, "architecture", arena);
    d.name = member(annotations, "io.containerd.image.name", arena);
    if (d.name.n == 0)
        d.name = member(annotations, "org.opencontainers.image.ref.name", arena);
    *ret_descriptor = d;
    return 0;
}

static int parse_descriptors(const json_t *array, size_t max, const char *what,
                             struct fl_arena *arena, struct fl_descriptor **ret_list,
                             size_t *ret_count, struct fl_err *err)
{
    size_t n = json_array_size(array);
    if (!json_is_array(array))
        return fl_err_set(err, -EINVAL, "the manifest has no %s", what);
    if (n > max)
        return fl_err_set(err, -E2BIG, "the manifest has %zu %s, more than %zu", n, what, max);
    struct fl_descriptor *list = fl_arena_new_array(arena, struct fl_descriptor, n + 1);
    for (size_t i = 0; i < n; i++) {
        int rc = parse_descriptor(json_array_get(array, i), arena, &list[i], err);
        if (rc < 0)
            return rc;
    }
    *ret_list = list;
    *ret_count = n;
    return 0;
}

static bool says_index(struct fl_str media_type, const json_t *root)
{
    if (media_type.n == 0)
        return json_is_array(json_object_get(root, "manifests"));
    return fl_str_is(media_type, FL_MEDIA_OCI_INDEX) ||
           fl_str_is(media_type, FL_MEDIA_DOCKER_INDEX);
}

static bool media_type_known(struct fl_str media_type)
{
    return media_type.n == 0 || fl_str_is(media_type, FL_MEDIA_OCI_INDEX) ||
           fl_str_is(media_type, FL_MEDIA_DOCKER_INDEX) ||
           fl_str_is(media_type, FL_MEDIA_OCI_MANIFEST) ||
           fl_str_is(media_type, FL_MEDIA_DOCKER_MANIFEST);
}

int fl_manifest_parse(struct fl_str bytes, struct fl_str media_type, struct fl_arena *arena,
                      struct fl_manifest *ret_manifest, struct fl_err *err)
{
    struct fl_manifest m = {0};
    if (bytes.n > FL_MANIFEST_MAX_BYTES)
        return fl_err_set(err, -EFBIG, "the manifest is larger than %d bytes",
                          FL_MANIFEST_MAX_BYTES);
    FL_CLEANUP_JSON json_t *root = fl_json_parse(bytes, err);
    if (!root || !json_is_object(root))
        return fl_err_set(err, -EINVAL, "the manifest is not a JSON object");
    if (json_integer_value(json_object_get(root, "schemaVersion")) != 2)
        return fl_err_set(err, -EINVAL, "the manifest is not of schema version 2");
    m.media_type = member(root, "mediaType", arena);
    if (m.media_type.n == 0)
        m.media_type = fl_str_dup(arena, media_type);
    if (m.media_type.n > FL_MEDIA_TYPE_MAX || !media_type_known(m.media_type))
        return fl_err_set(err, -EINVAL, "\"%.*s\" is no image manifest's media type",
                          (int)FL_MIN(m.media_type.n, FL_MEDIA_TYPE_MAX), m.media_type.p);
    m.is_index = says_index(m.media_type, root);
    if (m.media_type.n == 0)
        m.media_type = m.is_index ? FL_STR(FL_MEDIA_OCI_INDEX) : FL_STR(FL_MEDIA_OCI_MANIFEST);
    int rc = m.is_index
                 ? parse_descriptors(json_object_get(root, "manifests"), FL_INDEX_MANIFESTS_MAX,
                                     "manifests", arena, &m.manifests, &m.manifest_count, err)
                 : parse_descriptors(json_object_get(root, "layers"), FL_LAYERS_MAX, "layers",
                                     arena, &m.layers, &m.layer_count, err);
    if (rc == 0 && !m.is_index)
        rc = parse_descriptor(json_object_get(root, "config"), arena, &m.config, err);
    if (rc == 0)
        *ret_manifest = m;
    return rc;
}

const struct fl_descriptor *fl_manifest_choose(const struct fl_manifest *index)
{
    const struct fl_descriptor *unnamed = NULL;
    for (size_t i = 0; i < index->manifest_count; i++) {
        const struct fl_descriptor *d = &index->manifests[i];
        if (fl_str_is(d->os, "linux") && fl_str_is(d->architecture, ARCHITECTURE))
            return d;
        if (d->architecture.n == 0 && !unnamed)
            unnamed = d;
    }
    return unnamed;
}

/* A list of strings, or null; a NUL inside a string cannot cross into a process and is refused. */
static int parse_strings(const json_t *json, const char *what, struct fl_arena *arena,
                         struct fl_str **ret_list, size_t *ret_count, struct fl_err *err)
{
    size_t n = json_array_size(json);
    if (json && !json_is_array(json) && !json_is_null(json))
        return fl_err_set(err, -EINVAL, "the image configuration's %s is no list", what);
    if (n > FL_CONFIG_STRINGS_MAX)
        return fl_err_set(err, -E2BIG, "the image configuration's %s has more than %d items", what,
                          FL_CONFIG_STRINGS_MAX);
    struct fl_str *list = fl_arena_new_array(arena, struct fl_str, n + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(json, i);
        struct fl_str text = fl_json_str(item);
        if (!json_is_string(item) || fl_str_index(text, '\0') >= 0)
            return fl_err_set(err, -EINVAL, "the image configuration's %s holds no plain string",
                              what);
        list[i] = fl_str_dup(arena, text);
    }
    *ret_list = list;
    *ret_count = n;
    return 0;
}

static int parse_diff_ids(const json_t *json, struct fl_arena *arena, struct fl_oci_config *config,
                          struct fl_err *err)
{
    size_t n = json_array_size(json);
    if (n > FL_LAYERS_MAX)
        return fl_err_set(err, -E2BIG, "the image configuration has more than %d layers",
                          FL_LAYERS_MAX);
    config->diff_ids = fl_arena_new_array(arena, struct fl_digest, n + 1);
    config->diff_id_count = n;
    for (size_t i = 0; i < n; i++) {
        if (!fl_digest_parse(fl_json_str(json_array_get(json, i)), &config->diff_ids[i]))
            return fl_err_set(err, -EINVAL, "the image configuration has an invalid diff_id");
    }
    return 0;
}

/* {"/data": {}}: the keys count. */
static int parse_volumes(const json_t *json, struct fl_arena *arena, struct fl_oci_config *config,
                         struct fl_err *err)
{
    const char *key;
    json_t *value;
    size_t n = json_object_size(json);
    if (n > FL_VOLUMES_MAX)
        return fl_err_set(err, -E2BIG, "the image configuration has more than %d volumes",
                          FL_VOLUMES_MAX);
    config->volumes = fl_arena_new_array(arena, struct fl_str, n + 1);
    json_object_foreach ((json_t *)json, key, value)
        config->volumes[config->volume_count++] = fl_str_dup(arena, fl_str_of(key));
    return 0;
}

static int parse_process(const json_t *json, struct fl_arena *arena, struct fl_oci_config *c,
                         struct fl_err *err)
{
    int rc = parse_strings(json_object_get(json, "Entrypoint"), "Entrypoint", arena,
                           &c->entry_point, &c->entry_point_count, err);
    if (rc == 0)
        rc = parse_strings(json_object_get(json, "Cmd"), "Cmd", arena, &c->command,
                           &c->command_count, err);
    if (rc == 0)
        rc = parse_strings(json_object_get(json, "Env"), "Env", arena, &c->environment,
                           &c->environment_count, err);
    if (rc == 0)
        rc = parse_volumes(json_object_get(json, "Volumes"), arena, c, err);
    c->user = member(json, "User", arena);
    c->working_dir = member(json, "WorkingDir", arena);
    c->stop_signal = member(json, "StopSignal", arena);
    return rc;
}

int fl_oci_config_parse(struct fl_str bytes, struct fl_arena *arena,
                        struct fl_oci_config *ret_config, struct fl_err *err)
{
    struct fl_oci_config c = {0};
    if (bytes.n > FL_CONFIG_MAX_BYTES)
        return fl_err_set(err, -EFBIG, "the image configuration is larger than %d bytes",
                          FL_CONFIG_MAX_BYTES);
    FL_CLEANUP_JSON json_t *root = fl_json_parse(bytes, err);
    if (!root || !json_is_object(root))
        return fl_err_set(err, -EINVAL, "the image configuration is not a JSON object");
    c.os = member(root, "os", arena);
    c.architecture = member(root, "architecture", arena);
    c.created = member(root, "created", arena);
    int rc = parse_process(json_object_get(root, "config"), arena, &c, err);
    if (rc == 0)
        rc = parse_diff_ids(json_object_get(json_object_get(root, "rootfs"), "diff_ids"), arena, &c,
                            err);
    if (rc == 0)
        *ret_config = c;
    return rc;
}
