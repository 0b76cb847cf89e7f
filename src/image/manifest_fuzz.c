/* Manifests, indexes and configurations, under each media type the first byte may claim. */
#include "image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const struct fl_manifest *manifest)
{
    FL_ASSERT(manifest->layer_count <= FL_LAYERS_MAX);
    FL_ASSERT(manifest->manifest_count <= FL_INDEX_MANIFESTS_MAX);
    if (manifest->is_index)
        (void)fl_manifest_choose(manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const types[] = {
        "",
        FL_MEDIA_OCI_MANIFEST,
        FL_MEDIA_OCI_INDEX,
        FL_MEDIA_DOCKER_MANIFEST,
        FL_MEDIA_DOCKER_INDEX,
        "text/html",
    };
    struct fl_err err;
    struct fl_manifest manifest;
    struct fl_oci_config config;
    if (n == 0)
        return 0;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str text = {(const char *)bytes + 1, n - 1};
    struct fl_str type = fl_str_of(types[bytes[0] % FL_ARRAY_SIZE(types)]);
    if (fl_manifest_parse(text, type, arena, &manifest, &err) == 0)
        check(&manifest);
    if (fl_oci_config_parse(text, arena, &config, &err) == 0)
        FL_ASSERT(config.entry_point_count <= FL_CONFIG_STRINGS_MAX &&
                  config.command_count <= FL_CONFIG_STRINGS_MAX &&
                  config.environment_count <= FL_CONFIG_STRINGS_MAX);
    return 0;
}
