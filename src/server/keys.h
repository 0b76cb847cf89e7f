/* Access keys of an installation: who may call, and as what. */
#pragma once

#include "base/err.h"
#include "wire/sigv4.h"

/* The operator may do everything; the agent key only what agents do. The others have no key of
 * their own: their credentials are of a session (credentials.h). A task may call the API but
 * nothing that only agents or operators call; an execution role may write logs. */
enum fl_role { FL_ROLE_OPERATOR, FL_ROLE_AGENT, FL_ROLE_TASK, FL_ROLE_EXECUTION };

struct fl_keys;

/* Reads <data_dir>/keys/operator.json and agent.json ({"accessKeyId", "secretAccessKey"}). */
int fl_keys_load(struct fl_str data_dir, struct fl_keys **ret_keys, struct fl_err *err);
void fl_keys_free(struct fl_keys *keys);

/* A look-up for fl_sigv4_verify; context is the keys. */
bool fl_keys_lookup(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key);
/* The role of a key that verified. */
enum fl_role fl_keys_role(const struct fl_keys *keys, struct fl_str access_key_id);
/* The operator's key, for what is to be grown from it. */
struct fl_credentials fl_keys_operator(const struct fl_keys *keys);
