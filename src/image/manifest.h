/* Manifests, indexes and image configurations: Docker schema 2 and OCI, as hostile JSON. Pure. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "image/digest.h"

enum {
    FL_MANIFEST_MAX_BYTES = 4 << 20,
    FL_CONFIG_MAX_BYTES = 4 << 20,
    FL_LAYERS_MAX = 127,
    FL_VOLUMES_MAX = 256,
    FL_INDEX_MANIFESTS_MAX = 512,
    FL_CONFIG_STRINGS_MAX = 4096, /* each of entry point, command, environment */
    FL_MEDIA_TYPE_MAX = 128
};

#define FL_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define FL_MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define FL_MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define FL_MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define FL_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define FL_MEDIA_DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"

/* What a manifest says of a blob. Strings lie in the arena that the parser was given. */
struct fl_descriptor {
    struct fl_str media_type;
    struct fl_digest digest;
    uint64_t size;
    struct fl_str os; /* of an index's entries; empty when not said */
    struct fl_str architecture;
    struct fl_str variant;
    struct fl_str
        name; /* annotation io.containerd.image.name or org.opencontainers.image.ref.name */
};

/* An image manifest (is_index false: config and layers, base first) or an index (manifests). */
struct fl_manifest {
    bool is_index;
    struct fl_str media_type;
    struct fl_descriptor config;
    struct fl_descriptor *layers;
    size_t layer_count;
    struct fl_descriptor *manifests;
    size_t manifest_count;
    bool has_subject; /* OCI 1.1: the manifest is about another one */
    struct fl_digest subject;
    struct fl_str artifact_type; /* empty when not said */
};

/* media_type may be empty: the document's own, or its members, then tell what it is. */
int fl_manifest_parse(struct fl_str bytes, struct fl_str media_type, struct fl_arena *arena,
                      struct fl_manifest *ret_manifest, struct fl_err *err);

/* The entry of an index for linux on this machine's architecture; NULL if there is none. Of several
 * the one whose variant this machine surely has (amd64 v1, arm64 v8), or that names none, counts
 * first; one that asks for more (amd64 v3) is never taken. Entries that name no platform match when
 * nothing better does. */
const struct fl_descriptor *fl_manifest_choose(const struct fl_manifest *index);
/* "amd64" or "arm64"; the architecture this program was built for, as images call it. */
struct fl_str fl_image_architecture(void);

/* What an image's configuration says that matters for running it. */
struct fl_oci_config {
    struct fl_str os;
    struct fl_str architecture;
    struct fl_str *entry_point;
    size_t entry_point_count;
    struct fl_str *command;
    size_t command_count;
    struct fl_str *environment;
    size_t environment_count;
    struct fl_str user;
    struct fl_str working_dir;
    struct fl_str stop_signal;
    struct fl_str *volumes; /* paths; at most FL_VOLUMES_MAX */
    size_t volume_count;
    struct fl_str created; /* RFC 3339 or empty */
    struct fl_digest *diff_ids;
    size_t diff_id_count;
};

int fl_oci_config_parse(struct fl_str bytes, struct fl_arena *arena,
                        struct fl_oci_config *ret_config, struct fl_err *err);
