/* The operator's calls to the API: signed with the installation's operator key, JSON both ways. */
#pragma once

#include "base/err.h"
#include "cli/options.h"
#include "net/aws_client.h"
#include "wire/json.h"

struct fl_operator {
    struct fl_aws_config config;
    struct fl_arena *arena;
};

/* Reads the key; fails for who may not. */
int fl_operator_open(const struct fl_options *options, struct fl_operator *ret_operator,
                     struct fl_err *err);
/* Calls an ECS operation, or one of our own by its whole target ("Fairlead_….Explain"). body is
 * taken over (a new reference, NULL for {}). 0 and the answer (new reference); -errno without an
 * answer (server away); -EPROTO with the error's code and text. */
int fl_operator_call(struct fl_operator *caller, const char *operation, json_t *body,
                     unsigned timeout_ms, json_t **ret_answer, struct fl_err *err);
/* All pages of a listing: members of `list` from every answer, as one array (new reference). */
int fl_operator_list(struct fl_operator *caller, const char *operation, json_t *body,
                     const char *list, json_t **ret_items, struct fl_err *err);
/* ARNs of the clusters. */
int fl_operator_clusters(struct fl_operator *caller, json_t **ret_arns, struct fl_err *err);
/* Describes arns (an array) of a cluster in portions of 100: operation "DescribeTasks", member
 * "tasks"; new reference to an array. */
int fl_operator_describe(struct fl_operator *caller, const char *operation, const char *cluster,
                         const char *member, const json_t *arns, json_t **ret_items,
                         struct fl_err *err);
/* Asks every running task of every cluster to stop and waits until none runs; patience_ms bounds
 * the whole. *ret_left tells how many still run. */
int fl_operator_stop_tasks(struct fl_operator *caller, const char *reason, unsigned patience_ms,
                           size_t *ret_left, struct fl_err *err);
