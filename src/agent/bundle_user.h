/* Who a container runs as: "name", "name:group", "uid" or "uid:gid", as Docker reads them. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { FL_BUNDLE_MAX_GROUPS = 1024, FL_BUNDLE_ETC_MAX = 4 * 1024 * 1024 };

struct fl_bundle_user {
    uint32_t uid;
    uint32_t gid;
    uint32_t *groups; /* supplementary; in the arena */
    size_t group_count;
};

/* Resolves a user by the texts of the image's passwd and group files (empty when it has none).
 * An empty user is root. Pure. -ENOENT or -ERANGE with Docker's sentence. */
int fl_bundle_user_resolve(struct fl_str user, struct fl_str passwd, struct fl_str group,
                           struct fl_arena *arena, struct fl_bundle_user *ret_user,
                           struct fl_err *err);
/* Reads the file `etc/<name>` that a container over these layers (topmost first) would see, within
 * each layer and following no link out of it. Empty when there is none, or none that is sane. */
struct fl_str fl_bundle_read_etc(const struct fl_str *layers, size_t layer_count, const char *name,
                                 struct fl_arena *arena);
