/* The ids by which containers reach their metadata: made from the container's id with a key that
 * only the agent has, so that they cannot be guessed, need no table, and hold over the agent's
 * restarts. An id is the container's 64 hex digits, a dash, and 32 hex digits (128 bits). */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FL_METADATA_KEY_SIZE = 32, FL_METADATA_ID_SIZE = 64 + 1 + 32 + 1 };

/* Reads the key in `dir`, or makes it (0600). */
int fl_metadata_key_open(struct fl_str dir, uint8_t ret_key[FL_METADATA_KEY_SIZE],
                         struct fl_err *err);
/* container_id: 64 hex digits. */
void fl_metadata_id_make(const uint8_t key[FL_METADATA_KEY_SIZE], struct fl_str container_id,
                         char ret_id[FL_METADATA_ID_SIZE]);
/* The container that an id of ours is for, pointing into it; false for every other text. */
bool fl_metadata_id_read(const uint8_t key[FL_METADATA_KEY_SIZE], struct fl_str id,
                         struct fl_str *ret_container_id);
