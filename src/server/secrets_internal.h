/* One request to Secrets Manager on its way. For secrets*.c only.
 *
 * A handler checks everything first, and changes the vault only when nothing can fail any more. */
#pragma once

#include "server/secrets.h"
#include "shapes/rec_shapes.h"
#include "shapes/secrets_shapes.h"

#define FL_SECRETS_CURRENT "AWSCURRENT"
#define FL_SECRETS_PREVIOUS "AWSPREVIOUS"

/* AWS's quotas. */
enum {
    FL_SECRETS_MAX_TAGS = 50,
    FL_SECRETS_MAX_VERSIONS = 100,
    FL_SECRETS_MAX_STAGES = 20, /* of all versions of a secret */
    FL_SECRETS_MAX_VALUE = 65536,
};

struct fl_secrets {
    struct fl_vault *vault;
    char *region;
    char *account;
    uv_timer_t timer;
};

struct fl_secrets_call {
    struct fl_secrets *secrets;
    int operation;
    const void *input;
    void *output; /* the operation's structure, zeroed; NULL: it has none */
    struct fl_arena *arena;
    int64_t now_ms;
    const char *error; /* NULL: none */
    struct fl_str error_text;
    struct fl_str answer;
    fl_secrets_reply reply;
    void *context;
};
typedef void (*fl_secrets_handler)(struct fl_secrets_call *call);

/* Makes the answer a refusal; the first one stays. */
void fl_secrets_fail(struct fl_secrets_call *call, const char *code, const char *fmt, ...)
    FL_PRINTF(3, 4);

/* ---- secrets ---- */

/* The secret that a SecretId (name, ARN, ARN without the suffix) means; NULL: none. */
const struct rec_Secret *fl_secrets_look_up(const struct fl_secrets_call *call, struct fl_str id);
/* The same; NULL after failing the call. */
const struct rec_Secret *fl_secrets_need(struct fl_secrets_call *call, struct fl_str id);
/* The same; one that was deleted fails the call as well. */
const struct rec_Secret *fl_secrets_need_live(struct fl_secrets_call *call, struct fl_str id);
bool fl_secrets_is_deleted(const struct rec_Secret *secret);
struct fl_str fl_secrets_arn(const struct fl_secrets_call *call, const struct rec_Secret *secret);
/* A copy in the arena, to be changed and saved. */
struct rec_Secret *fl_secrets_edit(struct fl_secrets_call *call, const struct rec_Secret *secret);
/* Puts it, changed now. */
void fl_secrets_save(struct fl_secrets_call *call, struct rec_Secret *secret);
/* Removes it with all its values. */
void fl_secrets_erase(struct fl_secrets *secrets, const struct rec_Secret *secret);
/* False after failing the call: there is no room for another secret or version. */
bool fl_secrets_check_room(struct fl_secrets_call *call);

/* ---- values and versions ---- */

/* What a request brings; text or bytes (Base64), or neither. */
struct fl_secrets_value {
    bool has_text, has_bytes;
    struct fl_str text, bytes;
};
/* False after failing the call: both, or too long. */
bool fl_secrets_check_value(struct fl_secrets_call *call, const struct fl_secrets_value *value);
bool fl_secrets_has_value(const struct fl_secrets_value *value);

struct rec_SecretVersion *fl_secrets_find_version(const struct rec_Secret *secret,
                                                  struct fl_str id);
struct rec_SecretVersion *fl_secrets_find_stage(const struct rec_Secret *secret,
                                                struct fl_str stage);
const struct rec_SecretValue *fl_secrets_value_of(const struct fl_secrets_call *call,
                                                  const struct rec_Secret *secret,
                                                  struct fl_str version);
/* The id that a new version gets: the request's token, or one made up. */
struct fl_str fl_secrets_version_id(struct fl_secrets_call *call, struct fl_str token);
/* Has the version that value, or, where there is no such version, the value nothing? */
bool fl_secrets_is_same(const struct fl_secrets_call *call, const struct rec_Secret *secret,
                        struct fl_str version, const struct fl_secrets_value *value);
/* Adds a version with this value and these labels (none: the one of the current version) to the
 * copy of a secret, and puts the value: the caller saves the secret. A version that is there with
 * that value stays as it is. False after failing the call. */
bool fl_secrets_add_version(struct fl_secrets_call *call, struct rec_Secret *secret,
                            struct fl_str id, const struct fl_secrets_value *value,
                            struct fl_str_list stages);

/* ---- listing ---- */

struct fl_secrets_order {
    const struct secrets_Filter_list *filters;
    bool with_deleted;
    enum secrets_SortByType by;
    bool is_descending;
};
/* A page of secrets in that order, at most max of them. NULL after failing the call. */
const struct rec_Secret **fl_secrets_page(struct fl_secrets_call *call,
                                          const struct fl_secrets_order *order, struct fl_str token,
                                          size_t max, size_t *ret_count, struct fl_str *ret_next);

/* ---- operations ---- */

void fl_secrets_batch_get_value(struct fl_secrets_call *call);
void fl_secrets_create(struct fl_secrets_call *call);
void fl_secrets_delete(struct fl_secrets_call *call);
void fl_secrets_delete_policy(struct fl_secrets_call *call);
void fl_secrets_describe(struct fl_secrets_call *call);
void fl_secrets_get_policy(struct fl_secrets_call *call);
void fl_secrets_get_value(struct fl_secrets_call *call);
void fl_secrets_list(struct fl_secrets_call *call);
void fl_secrets_list_versions(struct fl_secrets_call *call);
void fl_secrets_make_password(struct fl_secrets_call *call);
void fl_secrets_put_value(struct fl_secrets_call *call);
void fl_secrets_restore(struct fl_secrets_call *call);
void fl_secrets_tag(struct fl_secrets_call *call);
void fl_secrets_untag(struct fl_secrets_call *call);
void fl_secrets_update(struct fl_secrets_call *call);
void fl_secrets_update_stage(struct fl_secrets_call *call);
