/* OCI layout: index.json leads to manifests, those to blobs/sha256/. Of an index of several
 * platforms this machine's image is taken. */
#include <errno.h>

#include "image/load_internal.h"
#include "wire/json.h"

static const char *blob_path(struct fl_load *load, const struct fl_digest *digest)
{
    return fl_str_printf(load->arena, "blobs/sha256/%s", digest->hex).p;
}

static int copy_blob(struct fl_load *load, const struct fl_digest *digest, uint64_t *ret_size,
                     struct fl_err *err)
{
    struct fl_digest stored;
    return fl_load_blob(load, blob_path(load, digest), digest, &stored, ret_size, err);
}

static int read_manifest(struct fl_load *load, const struct fl_descriptor *descriptor,
                         struct fl_manifest *ret_manifest, uint64_t *ret_size, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    int rc = copy_blob(load, &descriptor->digest, ret_size, err);
    if (rc < 0)
        return rc;
    rc = fl_image_store_read_blob(load->store, &descriptor->digest, FL_MANIFEST_MAX_BYTES, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "the manifest cannot be read");
    return fl_manifest_parse(fl_buf_str(&buf), descriptor->media_type, load->arena, ret_manifest,
                             err);
}

static int copy_parts(struct fl_load *load, const struct fl_manifest *manifest, struct fl_err *err)
{
    uint64_t size = 0;
    int rc = copy_blob(load, &manifest->config.digest, &size, err);
    for (size_t i = 0; rc == 0 && i < manifest->layer_count; i++)
        rc = copy_blob(load, &manifest->layers[i].digest, &size, err);
    return rc;
}

/* "app:1" is a name, "1" only a tag of nothing. */
static bool is_full_name(struct fl_str name)
{
    return fl_str_index(name, ':') >= 0 || fl_str_index(name, '/') >= 0;
}

static int load_entry(struct fl_load *load, const struct fl_descriptor *entry, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_descriptor *chosen = entry;
    struct fl_manifest manifest;
    struct fl_image image;
    uint64_t size = 0;
    if (load->name.n == 0 && !is_full_name(entry->name))
        return fl_err_set(err, -EINVAL, "the image has no name: give NAME:TAG");
    int rc = read_manifest(load, chosen, &manifest, &size, err);
    if (rc == 0 && manifest.is_index) {
        chosen = fl_manifest_choose(&manifest);
        if (!chosen)
            return fl_err_set(err, -ENOENT, "the image has no variant for linux/%.*s",
                              FL_STR_ARG(fl_image_architecture()));
        rc = read_manifest(load, chosen, &manifest, &size, err);
        if (rc == 0 && manifest.is_index)
            rc = fl_err_set(err, -EINVAL, "the image index lists another index");
    }
    if (rc == 0)
        rc = copy_parts(load, &manifest, err);
    if (rc == 0)
        rc = fl_image_store_read_image(load->store, &chosen->digest, arena, &image, err);
    for (size_t i = 0; rc == 0 && i < image.manifest.layer_count; i++)
        rc = fl_load_check_layer(load, &image.manifest.layers[i].digest, &image.config.diff_ids[i],
                                 err);
    if (rc < 0)
        return rc;
    return fl_load_add_ref(load, entry->name, &chosen->digest, size, manifest.media_type, err);
}

static int parse_index(struct fl_load *load, struct fl_manifest *ret_index, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    int rc = fl_load_read(load, "index.json", &text, err);
    if (rc == 0)
        rc = fl_manifest_parse(fl_buf_str(&text), FL_STR(FL_MEDIA_OCI_INDEX), load->arena,
                               ret_index, err);
    if (rc == 0 && (!ret_index->is_index || ret_index->manifest_count == 0))
        rc = fl_err_set(err, -EINVAL, "the layout's index.json lists no image");
    return rc;
}

int fl_load_oci(struct fl_load *load, struct fl_err *err)
{
    struct fl_manifest index;
    int rc = parse_index(load, &index, err);
    if (rc < 0)
        return rc;
    if (load->name.n && index.manifest_count > 1) {
        const struct fl_descriptor *chosen = fl_manifest_choose(&index);
        /* Variants of one image, or different ones: only the former answer to one name. */
        if (!chosen || chosen->architecture.n == 0)
            return fl_err_set(err, -EINVAL, "the layout holds %zu images: one NAME does not do",
                              index.manifest_count);
        return load_entry(load, chosen, err);
    }
    for (size_t i = 0; rc == 0 && i < index.manifest_count; i++)
        rc = load_entry(load, &index.manifests[i], err);
    return rc;
}
