/* docker-archive: manifest.json lists images by configuration, names and layer files. The layers
 * are stored as they are (plain tars, as a rule), with a manifest of our making. */
#include <errno.h>

#include "image/load_internal.h"
#include "wire/json.h"

enum { IMAGES_MAX = 64 };

struct docker_layer {
    struct fl_digest digest;
    uint64_t size;
    const char *media_type;
};

/* Compression by the file's first bytes. */
static int layer_media_type(const struct fl_load *load, const char *member,
                            const char **ret_media_type, struct fl_err *err)
{
    unsigned char magic[4] = {0};
    FL_CLEANUP_FD int fd = fl_load_open(load, member, err);
    if (fd < 0)
        return fd;
    if (read(fd, magic, sizeof(magic)) < 0)
        return fl_err_errno(err, -errno, "a layer cannot be read");
    *ret_media_type = FL_MEDIA_OCI_LAYER;
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        *ret_media_type = FL_MEDIA_OCI_LAYER "+gzip";
    if (memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0)
        *ret_media_type = FL_MEDIA_OCI_LAYER "+zstd";
    return 0;
}

/* A plain layer's digest is its diff_id; a compressed one's is known only when it is unpacked. */
static int load_layer(struct fl_load *load, const struct fl_json *json,
                      const struct fl_digest *diff_id, struct docker_layer *layer,
                      struct fl_err *err)
{
    const char *member = fl_json_z(json);
    if (!member)
        return fl_err_set(err, -EINVAL, "the archive's manifest.json lists an invalid layer");
    int rc = layer_media_type(load, member, &layer->media_type, err);
    if (rc < 0)
        return rc;
    bool plain = strcmp(layer->media_type, FL_MEDIA_OCI_LAYER) == 0;
    rc = fl_load_blob(load, member, plain ? diff_id : NULL, &layer->digest, &layer->size, err);
    return rc < 0 ? rc : fl_load_check_layer(load, &layer->digest, diff_id, err);
}

static void write_descriptor(struct fl_json_writer *jw, const char *media_type,
                             const struct fl_digest *digest, uint64_t size)
{
    char text[FL_DIGEST_TEXT_SIZE];
    fl_digest_text(digest, text);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "mediaType", fl_str_of(media_type));
    fl_jw_member_str(jw, "digest", fl_str_of(text));
    fl_jw_member_int(jw, "size", (int64_t)size);
    fl_jw_object_end(jw);
}

static int store_manifest(struct fl_load *load, const struct docker_layer *config,
                          const struct docker_layer *layers, size_t layer_count,
                          struct fl_digest *ret_digest, uint64_t *ret_size, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "schemaVersion", 2);
    fl_jw_member_str(&jw, "mediaType", FL_STR(FL_MEDIA_OCI_MANIFEST));
    fl_jw_key(&jw, "config");
    write_descriptor(&jw, config->media_type, &config->digest, config->size);
    fl_jw_key(&jw, "layers");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < layer_count; i++)
        write_descriptor(&jw, layers[i].media_type, &layers[i].digest, layers[i].size);
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    *ret_size = buf.n;
    int rc = fl_image_store_put(load->store, fl_buf_str(&buf), ret_digest, err);
    if (rc >= 0)
        fl_load_note(load, rc, ret_digest);
    return FL_MIN(rc, 0);
}

/* The file's name is the digest, in both customs ("<hex>.json", "blobs/sha256/<hex>"). */
static int load_config(struct fl_load *load, const char *member, struct docker_layer *config,
                       struct fl_oci_config *ret_parsed, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_CONFIG_MAX_BYTES);
    struct fl_str name = fl_str_of(member);
    struct fl_digest expected;
    name = fl_str_from(name, (size_t)(fl_str_rindex(name, '/') + 1));
    if (fl_str_ends(name, FL_STR(".json")))
        name = fl_str_sub(name, 0, name.n - 5);
    bool known = fl_digest_parse_hex(name, &expected);
    config->media_type = FL_MEDIA_OCI_CONFIG;
    int rc =
        fl_load_blob(load, member, known ? &expected : NULL, &config->digest, &config->size, err);
    if (rc < 0)
        return rc;
    rc = fl_image_store_read_blob(load->store, &config->digest, FL_CONFIG_MAX_BYTES, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "the image configuration cannot be read");
    return fl_oci_config_parse(fl_buf_str(&buf), load->arena, ret_parsed, err);
}

static int add_names(struct fl_load *load, const struct fl_json *tags,
                     const struct fl_digest *digest, uint64_t size, struct fl_err *err)
{
    struct fl_str media_type = FL_STR(FL_MEDIA_OCI_MANIFEST);
    if (load->name.n)
        return fl_load_add_ref(load, FL_STR(""), digest, size, media_type, err);
    if (fl_json_items(tags) == 0)
        return fl_err_set(err, -EINVAL, "the image has no name: give NAME:TAG");
    for (size_t i = 0; i < fl_json_items(tags); i++) {
        int rc = fl_load_add_ref(load, fl_json_text(fl_json_item(tags, i)), digest, size,
                                 media_type, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int load_image(struct fl_load *load, const struct fl_json *json, struct fl_err *err)
{
    const char *config_member = fl_json_z(fl_json_get(json, "Config"));
    const struct fl_json *files = fl_json_get(json, "Layers");
    size_t count = fl_json_items(files);
    struct docker_layer config = {0}, layers[FL_LAYERS_MAX] = {0};
    struct fl_oci_config parsed;
    struct fl_digest digest;
    uint64_t size = 0;
    if (!config_member || count > FL_LAYERS_MAX)
        return fl_err_set(err, -EINVAL,
                          "the archive's manifest.json names no Config or more than %d layers",
                          FL_LAYERS_MAX);
    int rc = load_config(load, config_member, &config, &parsed, err);
    if (rc == 0 && parsed.diff_id_count != count)
        rc = fl_err_set(err, -EINVAL, "the image configuration has %zu diff_ids for %zu layers",
                        parsed.diff_id_count, count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = load_layer(load, fl_json_item(files, i), &parsed.diff_ids[i], &layers[i], err);
    if (rc == 0)
        rc = store_manifest(load, &config, layers, count, &digest, &size, err);
    return rc < 0 ? rc : add_names(load, fl_json_get(json, "RepoTags"), &digest, size, err);
}

int fl_load_docker(struct fl_load *load, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    int rc = fl_load_read(load, "manifest.json", &text, err);
    if (rc < 0)
        return rc;
    const struct fl_json *root = fl_json_read(fl_buf_str(&text), load->arena, err);
    size_t count = fl_json_items(root);
    if (!root)
        return -EINVAL;
    if (count == 0 || count > IMAGES_MAX)
        return fl_err_set(err, -EINVAL,
                          "the archive's manifest.json lists %zu images (1 to %d are taken)", count,
                          IMAGES_MAX);
    if (load->name.n && count > 1)
        return fl_err_set(err, -EINVAL, "the archive holds %zu images: one NAME does not do",
                          count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = load_image(load, fl_json_item(root, i), err);
    return rc;
}
