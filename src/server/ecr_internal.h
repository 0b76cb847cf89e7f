/* One request to the ECR API on its way. For ecr*.c only. */
#pragma once

#include "server/ecr.h"
#include "server/registry_internal.h"
#include "shapes/ecr_shapes.h"

/* A hundred manifests of 4 MiB may be asked for at once; this many bytes of them are given. */
enum { FL_ECR_ANSWER_MAX = 32 << 20 };

struct fl_ecr_call;
typedef void (*fl_ecr_handler)(struct fl_ecr_call *call);

struct fl_ecr_operation {
    int operation;
    bool is_exclusive;     /* changes repositories */
    fl_ecr_handler before; /* on the loop's thread; after a failure nothing follows. Or NULL */
    fl_ecr_handler run;    /* on a worker */
    fl_ecr_handler after;  /* on the loop's thread, whatever the worker found. Or NULL */
};

struct fl_ecr_call {
    struct fl_registry_job job;
    struct fl_registry *registry;
    const struct fl_ecr_operation *operation;
    const void *input;
    void *output; /* the operation's structure, zeroed */
    enum fl_role role;
    struct fl_arena *arena;
    int64_t now_ms;
    const char *error; /* NULL: none */
    struct fl_str error_text;
    bool has_run;
    bool has_changed; /* something may be there to collect */
    struct fl_upload *upload;
    fl_ecr_reply reply;
    void *context;
};

/* Makes the answer a refusal; the first one stays. */
void fl_ecr_fail(struct fl_ecr_call *call, const char *code, const char *fmt, ...) FL_PRINTF(3, 4);
/* For a failure of the store's. */
void fl_ecr_fail_store(struct fl_ecr_call *call, const struct fl_err *err);

/* The repository's settings; false after failing the call when there is no such repository (or
 * registry: an empty id means ours). */
bool fl_ecr_need(struct fl_ecr_call *call, struct fl_str registry_id, struct fl_str name,
                 struct rec_Repository *ret_record);
bool fl_ecr_save(struct fl_ecr_call *call, struct fl_str name, const struct rec_Repository *record);
/* The images of a repository, by digest; false after failing the call. */
bool fl_ecr_images(struct fl_ecr_call *call, struct fl_str name,
                   struct fl_repository_image **ret_images, size_t *ret_count);
/* "sha256:…" in the call's arena. */
struct fl_str fl_ecr_digest(struct fl_ecr_call *call, const struct fl_digest *digest);

/* A page of count things: [*ret_from, *ret_to), and the token of the next one (empty: none). False
 * after failing the call. */
bool fl_ecr_page(struct fl_ecr_call *call, struct fl_str token, size_t max, size_t count,
                 size_t *ret_from, size_t *ret_to, struct fl_str *ret_next);

/* Is the image one that a filter by tags lets through? */
bool fl_ecr_has_tags(const struct fl_repository_image *image, bool has_filter,
                     enum ecr_TagStatus status);

void fl_ecr_batch_check_layers(struct fl_ecr_call *call);
void fl_ecr_batch_delete_image(struct fl_ecr_call *call);
void fl_ecr_batch_get_image(struct fl_ecr_call *call);
void fl_ecr_before_complete(struct fl_ecr_call *call);
void fl_ecr_complete_upload(struct fl_ecr_call *call);
void fl_ecr_after_complete(struct fl_ecr_call *call);
void fl_ecr_create_repository(struct fl_ecr_call *call);
void fl_ecr_delete_lifecycle(struct fl_ecr_call *call);
void fl_ecr_delete_policy(struct fl_ecr_call *call);
void fl_ecr_delete_repository(struct fl_ecr_call *call);
void fl_ecr_describe_images(struct fl_ecr_call *call);
void fl_ecr_describe_repositories(struct fl_ecr_call *call);
void fl_ecr_get_download_url(struct fl_ecr_call *call);
void fl_ecr_get_lifecycle(struct fl_ecr_call *call);
void fl_ecr_get_lifecycle_preview(struct fl_ecr_call *call);
void fl_ecr_get_policy(struct fl_ecr_call *call);
void fl_ecr_initiate_upload(struct fl_ecr_call *call);
void fl_ecr_after_initiate(struct fl_ecr_call *call);
void fl_ecr_list_images(struct fl_ecr_call *call);
void fl_ecr_list_tags(struct fl_ecr_call *call);
void fl_ecr_put_image(struct fl_ecr_call *call);
void fl_ecr_put_lifecycle(struct fl_ecr_call *call);
void fl_ecr_put_mutability(struct fl_ecr_call *call);
void fl_ecr_put_scanning(struct fl_ecr_call *call);
void fl_ecr_set_policy(struct fl_ecr_call *call);
void fl_ecr_start_lifecycle_preview(struct fl_ecr_call *call);
void fl_ecr_tag(struct fl_ecr_call *call);
void fl_ecr_untag(struct fl_ecr_call *call);
void fl_ecr_before_part(struct fl_ecr_call *call);
void fl_ecr_upload_part(struct fl_ecr_call *call);
void fl_ecr_after_part(struct fl_ecr_call *call);
