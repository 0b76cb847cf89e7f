/* Systems Manager's Parameter Store: the operations of api/ssm.api that are served, on the loop's
 * thread, over records of the vault. docs/secrets.md says how it differs from AWS's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "server/vault.h"

struct fl_parameters_caller {
    struct fl_vault *vault;
    struct fl_str region;
    struct fl_str account;
    struct fl_str user; /* its ARN: LastModifiedUser of what it changes */
};

/* status 200: body is the answer's JSON. 400 or 500: error_code is AWS's name and body the sentence
 * for its message. The strings are valid during the call. */
typedef void (*fl_parameters_reply)(void *context, unsigned status, struct fl_str error_code,
                                    struct fl_str body);

/* May an execution role call it? It reads what a task's secrets name. */
bool fl_parameters_execution_may(int operation);

/* Carries out operation (enum ssm_operation, one that has shapes) on its decoded and validated
 * input. The reply comes when what the call saw and changed is durable, maybe at once; input, arena
 * and the caller's strings must live until then. */
void fl_parameters_handle(const struct fl_parameters_caller *caller, int operation,
                          const void *input, struct fl_arena *arena, int64_t now_ms,
                          fl_parameters_reply reply, void *context);
