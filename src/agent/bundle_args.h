/* What a container runs, with which environment: image and definition merged by Docker's rules. */
#pragma once

#include "agent/runtime.h"

/* Where an init is mounted, if the definition wants one: Docker's place. */
#define FL_BUNDLE_INIT_PLACE "/sbin/docker-init"

/* The definition's entry point replaces the image's and drops its command; a command replaces
 * the image's command. -EINVAL with Docker's sentence when nothing is left to run. The
 * init, if wanted, comes first. */
int fl_bundle_args(const struct fl_container_spec *container, const struct fl_image_config *image,
                   struct fl_arena *arena, struct fl_str **ret_args, size_t *ret_count,
                   struct fl_err *err);
/* "NAME=value", each name once, where it came first with the value that came last: defaults (PATH,
 * HOSTNAME), image, launch->extra_environment, definition. */
void fl_bundle_environment(const struct fl_launch *launch, struct fl_str hostname,
                           struct fl_arena *arena, struct fl_str **ret_items, size_t *ret_count);
/* The number of a resource limit ("nofile"), -1 for none; its OCI name is RLIMIT_<upper case>. */
int fl_bundle_rlimit_number(struct fl_str name);
