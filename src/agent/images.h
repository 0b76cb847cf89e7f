/* Images on a host: names resolved in the built-in registry, layers unpacked once and shared.
 *
 * A layer lies in <agent data>/layers/<hex digest of its blob>/ once it is whole (renamed into
 * place); the confined helper fairlead-unpack wrote it. */
#pragma once

#include <uv.h>

#include "agent/runtime.h"
#include "base/err.h"
#include "base/str.h"

struct fl_images;

struct fl_images_config {
    struct fl_str registry_dir; /* the built-in store (src/image) */
    struct fl_str data_dir;     /* the agent's */
    struct fl_str libexec_dir;
    struct fl_str account; /* for <account>.dkr.ecr.<region>.amazonaws.com names */
    struct fl_str region;
    struct fl_str registry_host; /* "127.0.0.1:4566" */
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

/* One of the two is set. error is the sentence behind CannotPullContainerError. Valid during the
 * call. */
typedef void (*fl_images_done)(void *context, const struct fl_image_ready *ready,
                               struct fl_str error);

/* Makes an image ready to run: resolves its name, unpacks what is missing (one unpack for many
 * waiting). done may run before this returns when nothing had to be unpacked. */
void fl_images_ensure(struct fl_images *images, struct fl_str name, fl_images_done done,
                      void *context);
