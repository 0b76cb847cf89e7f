/* Whole images: from a digest to configuration and layers. */
#include <errno.h>

#include "image/store.h"

int fl_image_store_read_manifest(const struct fl_image_store *store, const struct fl_digest *digest,
                                 struct fl_arena *arena, struct fl_manifest *ret_manifest,
                                 struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    int rc = fl_image_store_read_blob(store, digest, FL_MANIFEST_MAX_BYTES, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the manifest sha256:%s", digest->hex);
    return fl_manifest_parse(fl_buf_str(&buf), FL_STR(""), arena, ret_manifest, err);
}

static int read_config(const struct fl_image_store *store, struct fl_arena *arena,
                       struct fl_image *image, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_CONFIG_MAX_BYTES);
    const struct fl_digest *digest = &image->manifest.config.digest;
    int rc = fl_image_store_read_blob(store, digest, FL_CONFIG_MAX_BYTES, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the image configuration sha256:%s", digest->hex);
    rc = fl_oci_config_parse(fl_buf_str(&buf), arena, &image->config, err);
    if (rc < 0)
        return rc;
    if (image->config.diff_id_count != image->manifest.layer_count)
        return fl_err_set(err, -EINVAL, "the image configuration has %zu diff_ids for %zu layers",
                          image->config.diff_id_count, image->manifest.layer_count);
    return 0;
}

int fl_image_store_read_image(const struct fl_image_store *store, const struct fl_digest *digest,
                              struct fl_arena *arena, struct fl_image *ret_image,
                              struct fl_err *err)
{
    struct fl_image image = {.digest = *digest};
    int rc = fl_image_store_read_manifest(store, digest, arena, &image.manifest, err);
    if (rc < 0)
        return rc;
    if (image.manifest.is_index) {
        const struct fl_descriptor *chosen = fl_manifest_choose(&image.manifest);
        if (!chosen)
            return fl_err_set(err, -ENOENT,
                              "no matching manifest for linux/%.*s in the manifest list entries",
                              FL_STR_ARG(fl_image_architecture()));
        image.digest = chosen->digest;
        rc = fl_image_store_read_manifest(store, &image.digest, arena, &image.manifest, err);
        if (rc == 0 && image.manifest.is_index)
            rc = fl_err_set(err, -EINVAL, "the image index lists another index");
    }
    if (rc == 0)
        rc = read_config(store, arena, &image, err);
    if (rc == 0)
        *ret_image = image;
    return rc;
}
