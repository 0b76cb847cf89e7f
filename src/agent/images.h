/* Images on a host: names resolved, in the built-in registry's store where that is on this machine,
 * else in a registry; layers unpacked once and shared.
 *
 * A layer lies in <agent data>/layers/<hex digest of its blob>/ once it is whole (renamed into
 * place); the confined helper fairlead-unpack wrote it. */
#pragma once

#include <uv.h>

#include "agent/pull.h"
#include "agent/runtime.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

struct fl_images;

/* ECS_IMAGE_PULL_BEHAVIOR, for images of registries. */
enum fl_pull_behavior {
    FL_PULL_DEFAULT,      /* asked for each time; what was pulled before, if that fails */
    FL_PULL_ALWAYS,       /* asked for each time */
    FL_PULL_ONCE,         /* unless a pull of this host has brought it */
    FL_PULL_PREFER_CACHED /* unless it is there */
};

struct fl_images_config {
    struct fl_str registry_dir; /* the built-in store (src/image) */
    struct fl_str data_dir;     /* the agent's */
    struct fl_str libexec_dir;
    struct fl_str account; /* for <account>.dkr.ecr.<region>.amazonaws.com names */
    struct fl_str region;
    struct fl_str registry_host; /* "127.0.0.1:4566" */
    struct fl_puller *puller;    /* NULL: only what the built-in store has */
    enum fl_pull_behavior behavior;
    int64_t pull_timeout_ms; /* ECS_IMAGE_PULL_TIMEOUT */
    int64_t manifest_timeout_ms;
    /* Cleanup: each_used tells of the images that containers of this host are made from
     * ("sha256:…", as struct fl_image_ready gives it); NULL: nothing is ever removed. */
    void (*each_used)(void *context, void (*use)(void *use_context, struct fl_str digest),
                      void *use_context);
    void (*ailment_changed)(void *context); /* fl_images_ailment says something else */
    void *context;
    bool no_cleanup; /* by age */
    int64_t cleanup_interval_ms;
    int64_t cleanup_age_ms;   /* since its pull */
    int64_t untracked_age_ms; /* of layers that belong to no image */
    int64_t cleanup_count;    /* images at a time */
    int64_t room_check_ms;    /* how often the disk is looked at; 0: 5 s */
    struct fl_str excluded;   /* "name:tag,…": never removed */
};

int fl_images_open(uv_loop_t *loop, const struct fl_images_config *config,
                   struct fl_images **ret_images, struct fl_err *err);
void fl_images_close(struct fl_images *images);

struct fl_image_ready {
    struct fl_str digest; /* "sha256:…" of the manifest */
    struct fl_image_config config;
    struct fl_str *layers; /* absolute directories, topmost first */
    size_t layer_count;
};

/* What ECS calls the failure: CannotPullContainerError, CannotPullImageManifestError,
 * DockerTimeoutError. */
enum fl_image_failure { FL_IMAGE_CANNOT_PULL, FL_IMAGE_CANNOT_PULL_MANIFEST, FL_IMAGE_TIMEOUT };

/* ready, or NULL and the sentence behind the failure's name. Valid during the call. */
typedef void (*fl_images_done)(void *context, const struct fl_image_ready *ready,
                               enum fl_image_failure failure, struct fl_str error);

/* Makes an image ready to run: resolves its name, fetches and unpacks what is missing (one pull for
 * many waiting that have the same login). done may run before this returns when nothing had to be
 * unpacked. login: for the registry that the name says, in place of the operator's; NULL: none;
 * copied. */
void fl_images_ensure(struct fl_images *images, struct fl_str name,
                      const struct fl_registry_login *login, fl_images_done done, void *context);

/* The same for a person who asks for it: a registry is asked whatever ECS_IMAGE_PULL_BEHAVIOR says,
 * and when it does not give the image, none that is here stands in. */
void fl_images_pull(struct fl_images *images, struct fl_str name, fl_images_done done,
                    void *context);

/* One JSON object about what the waiter with this context waits for: {"layers":[…]}, as
 * image_desk.h has it; no layers while the name is being looked up. */
void fl_images_write_progress(const struct fl_images *images, const void *context,
                              struct fl_json_writer *jw);

/* A container whose image is here is about to start: pulls hold still, so that it starts as if
 * there were none. Each is ended once, when it has started or will not. However many there are, and
 * however long they last, pulls are held no more than half of the time. */
void fl_images_start_begins(struct fl_images *images);
void fl_images_start_ends(struct fl_images *images);

/* Why nothing can be pulled (the disk is full), a sentence; NULL: something can. */
const char *fl_images_ailment(const struct fl_images *images);

/* The file in <agent data>/images/ that `fairlead status` shows: what is being pulled, what is
 * here, the disk. JSON, replaced while something is under way and when it has changed. */
#define FL_IMAGES_STATUS_FILE "status.json"
