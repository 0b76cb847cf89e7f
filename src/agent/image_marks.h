/* Which unpacked layers are on the disk, so that nobody has to wait for that.
 *
 * A layer may be used as soon as it is whole. It is flushed later, and then gets a mark, a file in
 * layers.flushed/, beside the layers, that is on the disk itself. After another boot what has no
 * mark may be anything, and goes; within one boot it is as good as a flushed one. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "image/digest.h"

struct fl_image_marks;

/* Drops from the layers (a directory's descriptor, kept) what an earlier boot has not flushed, and
 * sees to the flush of what this one has not. */
int fl_image_marks_open(uv_loop_t *loop, int layers_fd, const char *dir,
                        struct fl_image_marks **ret_marks, struct fl_err *err);
void fl_image_marks_close(struct fl_image_marks *marks);
/* A layer is there: it is flushed and marked before long. */
void fl_image_marks_add(struct fl_image_marks *marks, const struct fl_digest *layer);
/* A layer is about to be removed. */
void fl_image_marks_forget(int layers_fd, const char *hex);
