/* What `valueFrom` of a secret says, and what is taken out of the secret's text. Pure.
 *
 * A secret is named by its ARN, or by the ARN and three more parts, each of which may be empty:
 * `arn:…:secret:NAME:json-key:version-stage:version-id`. The sentences of refusals are the ECS
 * agent's and say nothing of a value. */
#pragma once

#include "base/err.h"
#include "wire/json.h"

enum { FL_SECRET_VALUE_MAX = 64 << 10 };

struct fl_secret_ref {
    struct fl_str secret_id; /* the ARN without what was added, or a name */
    struct fl_str json_key;  /* empty: the whole text */
    struct fl_str version_stage;
    struct fl_str version_id;
};

/* The parts point into text. -EINVAL with a sentence for an ARN of another number of parts. */
int fl_secret_ref_parse(struct fl_str text, struct fl_secret_ref *ret_ref, struct fl_err *err);

/* The value at a key of a secret that is a JSON object, in the arena: a string as it is, anything
 * else as JSON. -EINVAL: the text is no such object; -ENOENT: it has no such key;
 * -E2BIG: as JSON it is longer than FL_SECRET_VALUE_MAX. */
int fl_secret_pick(struct fl_str text, struct fl_str json_key, struct fl_arena *arena,
                   struct fl_str *ret_value, struct fl_err *err);

/* A registry's user and password: {"username": …, "password": …}, in the arena. -EINVAL with a
 * sentence for anything else. */
int fl_secret_read_login(struct fl_str text, struct fl_arena *arena, struct fl_str *ret_user,
                         struct fl_str *ret_password, struct fl_err *err);
