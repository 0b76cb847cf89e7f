/* What agents may ask of the API: what their protocol has, for their own instance and its tasks. */
#pragma once

#include "core/core.h"
#include "net/http_server.h"
#include "server/keys.h"

struct fl_access {
    const struct fl_keys *keys;
    const struct fl_core *core;
    const struct fl_caller *caller; /* an agent */
    struct fl_arena *arena;
};

/* May agents call this operation of ECS at all? */
bool fl_access_operation(int operation);
/* May this one, with this input? What it may not touch is told as an ARN's last parts. */
bool fl_access_input(const struct fl_access *access, int operation, const void *input,
                     struct fl_str *ret_resource);
/* May it add to this log stream? The streams of tasks end in the task's id. */
bool fl_access_stream(const struct fl_access *access, struct fl_str stream,
                      struct fl_str *ret_resource);
/* May it speak for this instance (id or ARN; cluster a name or ARN)? */
bool fl_access_instance(const struct fl_access *access, struct fl_str cluster,
                        struct fl_str instance, struct fl_str *ret_resource);
