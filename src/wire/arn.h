/* Amazon resource names and the short forms that ECS accepts instead. No I/O. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct fl_arn {
    struct fl_str service;
    struct fl_str region;
    struct fl_str account;
    struct fl_str type; /* "task", "cluster", …: before the first '/' or ':' of the resource */
    struct fl_str rest; /* what follows it */
};

/* Takes "arn:aws…:service:region:account:type/rest" apart; the parts point into text. */
bool fl_arn_parse(struct fl_str text, struct fl_arn *ret_arn);

/* The last part of an ARN or of "cluster/id", or the text itself: what ECS accepts as an id. */
struct fl_str fl_arn_last(struct fl_str text);

/* "arn:aws:ecs:<region>:<account>:<type>/<rest>". */
struct fl_str fl_arn_ecs(struct fl_arena *arena, struct fl_str region, struct fl_str account,
                         const char *type, struct fl_str rest);
