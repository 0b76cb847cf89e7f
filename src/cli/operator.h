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
/* A member of a request, both ending in NUL. */
struct fl_operator_member {
    const char *name;
    const char *value;
};

/* Values that several answers brought together. */
struct fl_operator_items {
    const struct fl_json **items;
    size_t n;
};

/* Calls an ECS operation, or one of our own by its whole target ("Fairlead_….Explain"), with
 * members that are strings. 0 and the answer; -errno without an answer (server away); -EPROTO with
 * the error's code and text. Answers of this and the next live in the operator's arena. */
int fl_operator_call(struct fl_operator *caller, const char *operation,
                     const struct fl_operator_member *members, size_t count, unsigned timeout_ms,
                     const struct fl_json **ret_answer, struct fl_err *err);
/* The same with any body. */
int fl_operator_send(struct fl_operator *caller, const char *operation, struct fl_str body,
                     unsigned timeout_ms, const struct fl_json **ret_answer, struct fl_err *err);
/* All pages of a listing: what the member `list` of every answer holds. */
int fl_operator_list(struct fl_operator *caller, const char *operation,
                     const struct fl_operator_member *members, size_t count, const char *list,
                     struct fl_operator_items *ret_items, struct fl_err *err);
/* ARNs of the clusters. */
int fl_operator_clusters(struct fl_operator *caller, struct fl_operator_items *ret_arns,
                         struct fl_err *err);
/* Describes what is listed in a cluster: what ("DescribeTasks", "tasks") makes of the ARNs. */
int fl_operator_describe(struct fl_operator *caller, const char *operation, const char *cluster,
                         const char *member, const struct fl_operator_items *arns,
                         struct fl_operator_items *ret_items, struct fl_err *err);
/* Prints JSON text on stdout, a line for each value. */
void fl_operator_print(struct fl_str json);
/* Asks every running task of every cluster to stop and waits until none runs; patience_ms bounds
 * the whole. Services start nothing meanwhile, and nothing after a success until the server is
 * started again. *ret_left tells how many still run. */
int fl_operator_stop_tasks(struct fl_operator *caller, const char *reason, unsigned patience_ms,
                           size_t *ret_left, struct fl_err *err);
