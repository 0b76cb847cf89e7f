/* The values of tasks' secrets, asked for at the server's Secrets Manager and Parameter Store with
 * each task's execution role, as ECS's agent does.
 *
 * All of a task's are asked for at once, a secret once however many of its keys are wanted, and ten
 * parameters a call. What may be better later is tried again with growing pauses: an answer that
 * says so for two minutes, a server that does not answer for an hour. Values are in memory alone,
 * until the task is forgotten. */
#pragma once

#include <uv.h>

#include "agent/credentials.h"
#include "image/auth.h"
#include "net/aws_client.h"
#include "wire/task_spec.h"

struct fl_task_secrets;

struct fl_task_secrets_config {
    uv_loop_t *loop;
    struct fl_aws_client *aws;
    const struct fl_wallet *wallet;
    /* Whether anybody still waits for the task. */
    bool (*is_wanted)(void *context, struct fl_str task_arn);
    void *context;
};

struct fl_task_secrets *fl_task_secrets_new(const struct fl_task_secrets_config *config);
/* The HTTP client must be gone: nothing comes any more. Who waits is not told. */
void fl_task_secrets_free(struct fl_task_secrets *secrets);

/* Whether a container, or any of the task's, has a secret or a registry's password to be asked for.
 */
bool fl_task_secrets_has_any(const struct fl_container_spec *container);
bool fl_task_secrets_are_needed(const struct fl_task_spec *task);

/* error: empty when all values are here, else why not, in ECS's words, without any value. */
typedef void (*fl_task_secrets_done)(void *context, struct fl_str error);
/* done is called once, maybe before this returns. */
void fl_task_secrets_ensure(struct fl_task_secrets *secrets, const struct fl_task_spec *task,
                            fl_task_secrets_done done, void *context);
/* The task's credentials have come, or new ones. */
void fl_task_secrets_try(struct fl_task_secrets *secrets);
void fl_task_secrets_forget(struct fl_task_secrets *secrets, struct fl_str task_arn);

/* A container's variables (or the options of its log driver) with their values, in the arena.
 * False: one of them is not here. */
bool fl_task_secrets_pairs(const struct fl_task_secrets *secrets, struct fl_str task_arn,
                           const struct fl_container_spec *container, bool log_options,
                           struct fl_arena *arena, struct fl_key_value **ret_pairs,
                           size_t *ret_count);
/* What the container's image is pulled with, in the arena. False: there is nothing, or not here. */
bool fl_task_secrets_login(const struct fl_task_secrets *secrets, struct fl_str task_arn,
                           const struct fl_container_spec *container, struct fl_arena *arena,
                           struct fl_registry_login *ret_login);
