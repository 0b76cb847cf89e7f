/* Image names: "[host/]repository[:tag][@sha256:…]", and which registry a name means. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "image/digest.h"

enum { FL_REPOSITORY_MAX = 255, FL_TAG_MAX = 128 };

struct fl_image_name {
    struct fl_str host;       /* empty when the name has none */
    struct fl_str repository; /* valid as fl_repository_valid says */
    struct fl_str tag;        /* "latest" when neither tag nor digest is given; may be empty */
    bool has_digest;
    struct fl_digest digest;
};

/* Lower-case words joined by '.', '_', '__', dashes and '/', at most FL_REPOSITORY_MAX bytes: no
 * such name is ".", ".." or absolute. */
bool fl_repository_valid(struct fl_str repository);
bool fl_tag_valid(struct fl_str tag);

/* The parts point into text. -EINVAL with a sentence for what is no image name. */
int fl_image_name_parse(struct fl_str text, struct fl_image_name *ret_name, struct fl_err *err);

/* Names by which the built-in registry goes. */
struct fl_registry_identity {
    struct fl_str account;
    struct fl_str region;
    struct fl_str registry_host; /* "127.0.0.1:4566" */
};

enum fl_image_place {
    FL_IMAGE_BUILTIN, /* the built-in registry's, whether it exists there or not */
    FL_IMAGE_SHORT,   /* no host: the built-in registry's if it has the repository, else docker.io's
                       */
    FL_IMAGE_REMOTE,  /* another registry's */
};
enum fl_image_place fl_image_name_place(const struct fl_image_name *name,
                                        const struct fl_registry_identity *identity);

/* The name with everything written out, as container engines print it:
 * "docker.io/library/app:latest". In the arena. */
struct fl_str fl_image_name_full(const struct fl_image_name *name, struct fl_arena *arena);
