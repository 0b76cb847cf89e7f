/* Credentials of tasks' roles: made for agents, verified when they come back as signatures.
 *
 * Nothing of them is kept. The session token says whose they are and until when, under a MAC by a
 * key of the installation (<data_dir>/keys/sessions.key, 0600); key id and secret follow from the
 * token. They end with their hour or with their task. The id under which a task's containers ask
 * for them follows from the task, so it is the same for the task's whole life. */
#pragma once

#include "core/core.h"
#include "wire/acs.h"
#include "wire/sigv4.h"

/* The longest that any are valid; agents are sent new ones three times as often. */
enum { FL_CREDENTIALS_LIFE_MS = 60 * 60 * 1000 };

struct fl_issuer;

/* Whose credentials a call is signed with. */
struct fl_role_session {
    enum fl_acs_role role;
    struct fl_str role_arn;
    struct fl_str account;   /* the role's */
    struct fl_str principal; /* arn:aws:sts::<account>:assumed-role/<role>/<task id> */
    struct fl_str user_id;   /* <the role's own id>:<task id> */
    bool is_over;            /* expired, or the task is STOPPED */
};

/* Reads the installation's key, or makes one. life_ms: 0: FL_CREDENTIALS_LIFE_MS. */
int fl_issuer_open(struct fl_str data_dir, const struct fl_core *core, int64_t life_ms,
                   struct fl_issuer **ret_issuer, struct fl_err *err);
void fl_issuer_free(struct fl_issuer *issuer);
int64_t fl_issuer_life_ms(const struct fl_issuer *issuer);

/* New credentials for one of a task's roles, in the arena; without an id when it has none. */
void fl_issuer_make(const struct fl_issuer *issuer, const struct fl_core_roles *roles,
                    enum fl_acs_role role, int64_t now_ms, struct fl_arena *arena,
                    struct fl_acs_credentials *ret_credentials);

/* The key behind an access key id and a session token, in the arena. False: not one of ours. True
 * also for a session that is over: whoever proves to have the secret may learn that. */
bool fl_issuer_look_up(const struct fl_issuer *issuer, struct fl_str access_key_id,
                       struct fl_str token, int64_t now_ms, struct fl_arena *arena,
                       struct fl_credentials *ret_key, struct fl_role_session *ret_session);
