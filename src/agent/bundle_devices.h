/* The host's devices, for privileged containers. */
#pragma once

#include "wire/json.h"

enum { FL_BUNDLE_MAX_DEVICES = 1024 };

/* Writes an OCI linux.devices array with the character and block devices beneath dir ("/dev"),
 * without those that every container has of its own (pts, shm, mqueue and the standard ones). */
void fl_bundle_devices(const char *dir, struct fl_json_writer *jw);
