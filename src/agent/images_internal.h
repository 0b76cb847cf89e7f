/* Layers being unpacked: the part of images.c that deals with processes and directories. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "image/store.h"

struct fl_unpacker;

/* A layer is whole, or could not be made so (error is a sentence). Never from within add. */
typedef void (*fl_unpacker_done)(void *context, const struct fl_digest *digest,
                                 struct fl_str error);

/* Makes layers_dir and clears it of what an earlier process left unfinished. */
int fl_unpacker_open(uv_loop_t *loop, struct fl_str libexec_dir, struct fl_str layers_dir,
                     fl_unpacker_done done, void *context, struct fl_unpacker **ret_unpacker,
                     struct fl_err *err);
/* Kills what runs; the memory goes when the loop has seen the last of it. Nobody is told. */
void fl_unpacker_close(struct fl_unpacker *unpacker);

bool fl_unpacker_has(const struct fl_unpacker *unpacker, const struct fl_digest *digest);
/* Has the layer unpacked, once for all who add it meanwhile. store must outlive the unpacker. */
int fl_unpacker_add(struct fl_unpacker *unpacker, const struct fl_image_store *store,
                    const struct fl_digest *digest, const struct fl_digest *diff_id,
                    struct fl_err *err);
