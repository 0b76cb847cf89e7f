/* Secrets Manager: the operations of api/secretsmanager.api that are served, over the vault, all on
 * the loop's thread. Secrets that were deleted are gone for good when their time has come. */
#pragma once

#include <uv.h>

#include "base/arena.h"
#include "server/vault.h"

struct fl_secrets;

/* region and account are copied; the vault is attached, and outlives it. */
struct fl_secrets *fl_secrets_open(uv_loop_t *loop, struct fl_vault *vault, struct fl_str region,
                                   struct fl_str account);
/* The loop must run once more for the timer to close. */
void fl_secrets_close(struct fl_secrets *secrets);

/* What an execution role may call: what starting a task needs. */
bool fl_secrets_execution_may(int operation);

/* status 200: body is the answer's JSON. 400: error_code is AWS's name and body the sentence for
 * its message. The strings are valid during the call. */
typedef void (*fl_secrets_reply)(void *context, unsigned status, struct fl_str error_code,
                                 struct fl_str body);

/* Carries out operation (enum secrets_operation), which has an input, on its decoded and validated
 * input. input and arena must live until the reply. */
void fl_secrets_handle(struct fl_secrets *secrets, int operation, const void *input,
                       struct fl_arena *arena, int64_t now_ms, fl_secrets_reply reply,
                       void *context);

/* Erases the secrets whose recovery window has ended; done every minute. */
void fl_secrets_sweep(struct fl_secrets *secrets, int64_t now_ms);
