/* The host's devices, for privileged containers. */
#pragma once

#include "wire/json.h"

/* Those of the paths that are device nodes, as items of an OCI linux.devices array; in the
 * container they lie in /dev under their last name. */
void fl_bundle_nodes(const struct fl_str *paths, size_t count, struct fl_json_writer *jw);
/* The same as items of linux.resources.devices that allow reading and writing. */
void fl_bundle_allow_nodes(const struct fl_str *paths, size_t count, struct fl_json_writer *jw);

enum { FL_BUNDLE_MAX_DEVICES = 1024 };

/* Writes an OCI linux.devices array with the character and block devices beneath dir ("/dev"),
 * without those that every container has of its own (pts, shm, mqueue and the standard ones). */
void fl_bundle_devices(const char *dir, struct fl_json_writer *jw);
