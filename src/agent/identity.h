/* Who this host is to its control plane, on disk: the container instance's ARN and, from before it
 * was given, the token that makes a repeated registration the same one. Never discarded. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_identity {
    struct fl_str client_token;
    struct fl_str instance_arn; /* empty: not registered yet */
};

/* Reads <dir>/identity, or makes one with a fresh token. Texts are in the arena. */
int fl_identity_open(struct fl_str dir, struct fl_arena *arena, struct fl_identity *ret_identity,
                     struct fl_err *err);
int fl_identity_save(struct fl_str dir, const struct fl_identity *identity, struct fl_err *err);
