/* Credentials of tasks' roles, as the control plane sends them: in memory alone, by the id under
 * which containers ask for them. Bounded by the tasks that there are: each has two roles at most.
 */
#pragma once

#include "wire/acs.h"

struct fl_wallet;

struct fl_wallet *fl_wallet_new(void);
void fl_wallet_free(struct fl_wallet *wallet);

/* Keeps credentials, in place of earlier ones of the same role. Without an access key the id alone
 * is known: what an agent remembers of the time before its restart. False: the id is none that
 * could be part of a path, or is another task's. */
bool fl_wallet_put(struct fl_wallet *wallet, struct fl_str task_arn, enum fl_acs_role role,
                   const struct fl_acs_credentials *credentials);
/* The task that has ended needs them no more. */
void fl_wallet_forget(struct fl_wallet *wallet, struct fl_str task_arn);

/* The credentials with that id, NULL: none. Valid until the next change; ret_task_arn and ret_role
 * say whose they are. */
const struct fl_acs_credentials *fl_wallet_find(const struct fl_wallet *wallet, struct fl_str id,
                                                struct fl_str *ret_task_arn,
                                                enum fl_acs_role *ret_role);
/* A task's, NULL: it has none, or they have not come yet. */
const struct fl_acs_credentials *fl_wallet_of(const struct fl_wallet *wallet,
                                              struct fl_str task_arn, enum fl_acs_role role);
