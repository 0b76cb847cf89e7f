/* Manifests and configurations: every member is checked for type and bounds before it is used. */
#include "image/manifest.h"

#include <errno.h>

#include "wire/json.h"

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#define VARIANT "v1"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#define VARIANT "v8"
#else
#error "no image architecture is known for this machine"
#endif

struct fl_str fl_image_architecture(void)
{
    return FL_STR(ARCHITECTURE);
}

static struct fl_str member(const struct fl_json *object, const char *key)
{
    return fl_json_text(fl_json_get(object, key));
}

static int parse_descriptor(const struct fl_json *json, struct fl_descriptor *ret_descriptor,
                            struct fl_err *err)
{
    const struct fl_json *size = fl_json_get(json, "size");
    const struct fl_json *platform = fl_json_get(json, "platform");
    const struct fl_json *annotations = fl_json_get(json, "annotations");
    struct fl_descriptor d = {.media_type = member(json, "mediaType")};
    if (!fl_digest_parse(fl_json_text(fl_json_get(json, "digest")), &d.digest))
        return fl_err_set(err, -EINVAL, "the manifest names a blob without a sha256 digest");
    if (!fl_json_is(size, FL_JSON_INTEGER) || fl_json_int(size) < 0)
        return fl_err_set(err, -EINVAL, "the manifest names a blob without a valid size");
    if (d.media_type.n > FL_MEDIA_TYPE_MAX)
        return fl_err_set(err, -EINVAL, "the manifest names a blob of an overlong media type");
    d.size = (uint64_t)fl_json_int(size);
    d.os = member(platform, "os");
    d.architecture = member(platform, "architecture");
    d.variant = member(platform, "variant");
    d.name = member(annotations, "io.containerd.image.name");
    if (d.name.n == 0)
        d.name = member(annotations, "org.opencontainers.image.ref.name");
    *ret_descriptor = d;
    return 0;
}

static int parse_descriptors(const struct fl_json *array, size_t max, const char *what,
                             struct fl_arena *arena, struct fl_descriptor **ret_list,
                             size_t *ret_count, struct fl_err *err)
{
    size_t n = fl_json_items(array);
    if (!fl_json_is(array, FL_JSON_ARRAY))
        return fl_err_set(err, -EINVAL, "the manifest has no %s", what);
    if (n > max)
        return fl_err_set(err, -E2BIG, "the manifest has %zu %s, more than %zu", n, what, max);
    struct fl_descriptor *list = fl_arena_new_array(arena, struct fl_descriptor, n + 1);
    for (size_t i = 0; i < n; i++) {
        int rc = parse_descriptor(fl_json_item(array, i), &list[i], err);
        if (rc < 0)
            return rc;
    }
    *ret_list = list;
    *ret_count = n;
    return 0;
}

static int parse_subject(const struct fl_json *root, struct fl_manifest *m, struct fl_err *err)
{
    const struct fl_json *subject = fl_json_get(root, "subject");
    m->artifact_type = member(root, "artifactType");
    if (m->artifact_type.n > FL_MEDIA_TYPE_MAX)
        return fl_err_set(err, -EINVAL, "the manifest's artifactType is overlong");
    if (!subject || fl_json_is(subject, FL_JSON_NULL))
        return 0;
    m->has_subject = fl_digest_parse(member(subject, "digest"), &m->subject);
    if (!m->has_subject)
        return fl_err_set(err, -EINVAL, "the manifest's subject has no sha256 digest");
    return 0;
}

static bool says_index(struct fl_str media_type, const struct fl_json *root)
{
    if (media_type.n == 0)
        return fl_json_is(fl_json_get(root, "manifests"), FL_JSON_ARRAY);
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
    const struct fl_json *root = fl_json_read(bytes, arena, err);
    if (!root || !fl_json_is(root, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL, "the manifest is not a JSON object");
    if (fl_json_int(fl_json_get(root, "schemaVersion")) != 2)
        return fl_err_set(err, -EINVAL, "the manifest is not of schema version 2");
    m.media_type = member(root, "mediaType");
    if (m.media_type.n == 0)
        m.media_type = fl_str_dup(arena, media_type);
    if (m.media_type.n > FL_MEDIA_TYPE_MAX || !media_type_known(m.media_type))
        return fl_err_set(err, -EINVAL, "\"%.*s\" is no image manifest's media type",
                          (int)FL_MIN(m.media_type.n, FL_MEDIA_TYPE_MAX), m.media_type.p);
    m.is_index = says_index(m.media_type, root);
    if (m.media_type.n == 0)
        m.media_type = m.is_index ? FL_STR(FL_MEDIA_OCI_INDEX) : FL_STR(FL_MEDIA_OCI_MANIFEST);
    int rc = m.is_index
                 ? parse_descriptors(fl_json_get(root, "manifests"), FL_INDEX_MANIFESTS_MAX,
                                     "manifests", arena, &m.manifests, &m.manifest_count, err)
                 : parse_descriptors(fl_json_get(root, "layers"), FL_LAYERS_MAX, "layers", arena,
                                     &m.layers, &m.layer_count, err);
    if (rc == 0 && !m.is_index)
        rc = parse_descriptor(fl_json_get(root, "config"), &m.config, err);
    if (rc == 0)
        rc = parse_subject(root, &m, err);
    if (rc == 0)
        *ret_manifest = m;
    return rc;
}

const struct fl_descriptor *fl_manifest_choose(const struct fl_manifest *index)
{
    const struct fl_descriptor *unnamed = NULL;
    for (size_t i = 0; i < index->manifest_count; i++) {
        const struct fl_descriptor *d = &index->manifests[i];
        bool runs = d->variant.n == 0 || fl_str_is(d->variant, VARIANT);
        if (fl_str_is(d->os, "linux") && fl_str_is(d->architecture, ARCHITECTURE) && runs)
            return d;
        if (d->architecture.n == 0 && !unnamed)
            unnamed = d;
    }
    return unnamed;
}

/* A list of strings, or null; a NUL inside a string cannot cross into a process and is refused. */
static int parse_strings(const struct fl_json *json, const char *what, struct fl_arena *arena,
                         struct fl_str **ret_list, size_t *ret_count, struct fl_err *err)
{
    size_t n = fl_json_items(json);
    if (json && !fl_json_is(json, FL_JSON_ARRAY) && !fl_json_is(json, FL_JSON_NULL))
        return fl_err_set(err, -EINVAL, "the image configuration's %s is no list", what);
    if (n > FL_CONFIG_STRINGS_MAX)
        return fl_err_set(err, -E2BIG, "the image configuration's %s has more than %d items", what,
                          FL_CONFIG_STRINGS_MAX);
    struct fl_str *list = fl_arena_new_array(arena, struct fl_str, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct fl_json *item = fl_json_item(json, i);
        struct fl_str text = fl_json_text(item);
        if (!fl_json_is(item, FL_JSON_STRING))
            return fl_err_set(err, -EINVAL, "the image configuration's %s holds no plain string",
                              what);
        list[i] = text;
    }
    *ret_list = list;
    *ret_count = n;
    return 0;
}

static int parse_diff_ids(const struct fl_json *json, struct fl_arena *arena,
                          struct fl_oci_config *config, struct fl_err *err)
{
    size_t n = fl_json_items(json);
    if (n > FL_LAYERS_MAX)
        return fl_err_set(err, -E2BIG, "the image configuration has more than %d layers",
                          FL_LAYERS_MAX);
    config->diff_ids = fl_arena_new_array(arena, struct fl_digest, n + 1);
    config->diff_id_count = n;
    for (size_t i = 0; i < n; i++) {
        if (!fl_digest_parse(fl_json_text(fl_json_item(json, i)), &config->diff_ids[i]))
            return fl_err_set(err, -EINVAL, "the image configuration has an invalid diff_id");
    }
    return 0;
}

/* {"/data": {}}: the keys count. */
static int parse_volumes(const struct fl_json *json, struct fl_arena *arena,
                         struct fl_oci_config *config, struct fl_err *err)
{
    size_t n = fl_json_members(json);
    if (n > FL_VOLUMES_MAX)
        return fl_err_set(err, -E2BIG, "the image configuration has more than %d volumes",
                          FL_VOLUMES_MAX);
    config->volumes = fl_arena_new_array(arena, struct fl_str, n + 1);
    for (size_t i = 0; i < n; i++)
        config->volumes[config->volume_count++] = fl_json_text(fl_json_member_name(json, i));
    return 0;
}

static int parse_process(const struct fl_json *json, struct fl_arena *arena,
                         struct fl_oci_config *c, struct fl_err *err)
{
    int rc = parse_strings(fl_json_get(json, "Entrypoint"), "Entrypoint", arena, &c->entry_point,
                           &c->entry_point_count, err);
    if (rc == 0)
        rc = parse_strings(fl_json_get(json, "Cmd"), "Cmd", arena, &c->command, &c->command_count,
                           err);
    if (rc == 0)
        rc = parse_strings(fl_json_get(json, "Env"), "Env", arena, &c->environment,
                           &c->environment_count, err);
    if (rc == 0)
        rc = parse_volumes(fl_json_get(json, "Volumes"), arena, c, err);
    c->user = member(json, "User");
    c->working_dir = member(json, "WorkingDir");
    c->stop_signal = member(json, "StopSignal");
    return rc;
}

int fl_oci_config_parse(struct fl_str bytes, struct fl_arena *arena,
                        struct fl_oci_config *ret_config, struct fl_err *err)
{
    struct fl_oci_config c = {0};
    if (bytes.n > FL_CONFIG_MAX_BYTES)
        return fl_err_set(err, -EFBIG, "the image configuration is larger than %d bytes",
                          FL_CONFIG_MAX_BYTES);
    const struct fl_json *root = fl_json_read(bytes, arena, err);
    if (!root || !fl_json_is(root, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL, "the image configuration is not a JSON object");
    c.os = member(root, "os");
    c.architecture = member(root, "architecture");
    c.created = member(root, "created");
    int rc = parse_process(fl_json_get(root, "config"), arena, &c, err);
    if (rc == 0)
        rc = parse_diff_ids(fl_json_get(fl_json_get(root, "rootfs"), "diff_ids"), arena, &c, err);
    if (rc == 0)
        *ret_config = c;
    return rc;
}
