/* From a call to its handler and the answer, which leaves when what it saw and changed is durable;
 * which secret an id means; and the end of those that were deleted. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/secrets_internal.h"

/* Twenty values or a hundred descriptions, each character escaped, are less. */
enum { ANSWER_MAX = 32 << 20, SWEEP_MS = 60 * 1000, SUFFIX = 6 };

static const struct {
    int operation;
    fl_secrets_handler handler;
} operations[] = {
    {SECRETS_OP_BatchGetSecretValue, fl_secrets_batch_get_value},
    {SECRETS_OP_CreateSecret, fl_secrets_create},
    {SECRETS_OP_DeleteResourcePolicy, fl_secrets_delete_policy},
    {SECRETS_OP_DeleteSecret, fl_secrets_delete},
    {SECRETS_OP_DescribeSecret, fl_secrets_describe},
    {SECRETS_OP_GetRandomPassword, fl_secrets_make_password},
    {SECRETS_OP_GetResourcePolicy, fl_secrets_get_policy},
    {SECRETS_OP_GetSecretValue, fl_secrets_get_value},
    {SECRETS_OP_ListSecretVersionIds, fl_secrets_list_versions},
    {SECRETS_OP_ListSecrets, fl_secrets_list},
    {SECRETS_OP_PutSecretValue, fl_secrets_put_value},
    {SECRETS_OP_RestoreSecret, fl_secrets_restore},
    {SECRETS_OP_TagResource, fl_secrets_tag},
    {SECRETS_OP_UntagResource, fl_secrets_untag},
    {SECRETS_OP_UpdateSecret, fl_secrets_update},
    {SECRETS_OP_UpdateSecretVersionStage, fl_secrets_update_stage},
};

bool fl_secrets_execution_may(int operation)
{
    return operation == SECRETS_OP_GetSecretValue;
}

/* ---- open and close ---- */

static void on_timer(uv_timer_t *timer)
{
    fl_secrets_sweep(timer->data, fl_clock_wall_ms());
}

struct fl_secrets *fl_secrets_open(uv_loop_t *loop, struct fl_vault *vault, struct fl_str region,
                                   struct fl_str account)
{
    struct fl_secrets *secrets = fl_calloc(1, sizeof(*secrets));
    secrets->vault = vault;
    secrets->region = fl_strndup(region.p, region.n);
    secrets->account = fl_strndup(account.p, account.n);
    (void)uv_timer_init(loop, &secrets->timer);
    secrets->timer.data = secrets;
    uv_unref((uv_handle_t *)&secrets->timer);
    (void)uv_timer_start(&secrets->timer, on_timer, 0, SWEEP_MS);
    return secrets;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct fl_secrets *secrets = handle->data;
    free(secrets->region);
    free(secrets->account);
    free(secrets);
}

void fl_secrets_close(struct fl_secrets *secrets)
{
    if (secrets)
        uv_close((uv_handle_t *)&secrets->timer, on_timer_closed);
}

void fl_secrets_sweep(struct fl_secrets *secrets, int64_t now_ms)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str name = FL_STR("");
    const struct rec_Secret *secret;
    bool has_erased = false;
    while ((secret = fl_vault_next(secrets->vault, FL_VAULT_SECRET, name, &name))) {
        if (!fl_secrets_is_deleted(secret) || secret->deleteAt > now_ms)
            continue;
        name = fl_str_dup(arena, name);
        fl_log_info("secret %.*s: its recovery window has ended, it is erased", FL_STR_ARG(name));
        fl_secrets_erase(secrets, secret);
        has_erased = true;
    }
    if (has_erased)
        fl_vault_commit(secrets->vault, NULL, NULL);
}

/* ---- calls ---- */

void fl_secrets_fail(struct fl_secrets_call *call, const char *code, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    if (call->error)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    call->error = code;
    call->error_text = fl_str_dup(call->arena, fl_str_of(text));
}

static void answer(void *context)
{
    struct fl_secrets_call *call = context;
    if (call->error)
        call->reply(call->context, 400, fl_str_of(call->error), call->error_text);
    else
        call->reply(call->context, 200, FL_STR(""), call->answer);
}

/* As the vault is now: what later calls change is not seen. */
static void encode(struct fl_secrets_call *call)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(ANSWER_MAX);
    const struct fl_shape *shape = secrets_service.operations[call->operation].output;
    if (call->error || !shape)
        return;
    fl_shape_encode(shape, call->output, &buf);
    if (buf.overflow)
        fl_secrets_fail(call, secrets_error_InvalidRequestException,
                        "The answer would be too long: ask for less of it at once.");
    else
        call->answer = fl_str_dup(call->arena, fl_buf_str(&buf));
}

static fl_secrets_handler find_handler(int operation)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(operations); i++)
        if (operations[i].operation == operation)
            return operations[i].handler;
    return NULL;
}

void fl_secrets_handle(struct fl_secrets *secrets, int operation, const void *input,
                       struct fl_arena *arena, int64_t now_ms, fl_secrets_reply reply,
                       void *context)
{
    const struct fl_operation *op = &secrets_service.operations[operation];
    fl_secrets_handler handler = find_handler(operation);
    FL_ASSERT(handler);
    struct fl_secrets_call *call = fl_arena_new_object(arena, struct fl_secrets_call);
    *call = (struct fl_secrets_call){
        .secrets = secrets,
        .operation = operation,
        .input = input,
        .output = op->output ? fl_arena_alloc(arena, fl_shape_size(op->output)) : NULL,
        .arena = arena,
        .now_ms = now_ms,
        .reply = reply,
        .context = context,
    };
    handler(call);
    encode(call);
    fl_vault_commit(secrets->vault, answer, call);
}

/* ---- which secret ---- */

struct fl_str fl_secrets_arn(const struct fl_secrets_call *call, const struct rec_Secret *secret)
{
    return fl_str_printf(call->arena, "arn:aws:secretsmanager:%s:%s:secret:%.*s-%.*s",
                         call->secrets->region, call->secrets->account, FL_STR_ARG(secret->name),
                         FL_STR_ARG(secret->suffix));
}

static const struct rec_Secret *find(const struct fl_secrets_call *call, struct fl_str name)
{
    return fl_vault_get(call->secrets->vault, FL_VAULT_SECRET, name);
}

/* What follows "secret:" may be a name that itself ends as one with a suffix does. */
static const struct rec_Secret *find_by_arn(const struct fl_secrets_call *call, struct fl_str rest)
{
    const struct rec_Secret *secret = NULL;
    if (rest.n > SUFFIX + 1 && rest.p[rest.n - SUFFIX - 1] == '-')
        secret = find(call, fl_str_sub(rest, 0, rest.n - SUFFIX - 1));
    if (secret && fl_str_eq(secret->suffix, fl_str_from(rest, rest.n - SUFFIX)))
        return secret;
    return find(call, rest);
}

const struct rec_Secret *fl_secrets_look_up(const struct fl_secrets_call *call, struct fl_str id)
{
    struct fl_str head =
        fl_str_printf(call->arena, "arn:aws:secretsmanager:%s:%s:secret:", call->secrets->region,
                      call->secrets->account);
    return fl_str_starts(id, head) ? find_by_arn(call, fl_str_from(id, head.n)) : find(call, id);
}

const struct rec_Secret *fl_secrets_need(struct fl_secrets_call *call, struct fl_str id)
{
    const struct rec_Secret *secret = fl_secrets_look_up(call, id);
    if (!secret)
        fl_secrets_fail(call, secrets_error_ResourceNotFoundException,
                        "Secrets Manager can't find the specified secret.");
    return secret;
}

const struct rec_Secret *fl_secrets_need_live(struct fl_secrets_call *call, struct fl_str id)
{
    const struct rec_Secret *secret = fl_secrets_need(call, id);
    if (!secret || !fl_secrets_is_deleted(secret))
        return secret;
    fl_secrets_fail(call, secrets_error_InvalidRequestException,
                    "You can't perform this operation on the secret because it was marked for "
                    "deletion.");
    return NULL;
}

bool fl_secrets_is_deleted(const struct rec_Secret *secret)
{
    return FL_HAS(secret, rec_Secret, deleteAt);
}

struct rec_Secret *fl_secrets_edit(struct fl_secrets_call *call, const struct rec_Secret *secret)
{
    return fl_shape_copy(&rec_shape_Secret, secret, call->arena);
}

void fl_secrets_save(struct fl_secrets_call *call, struct rec_Secret *secret)
{
    FL_SET(secret, rec_Secret, changedAt, call->now_ms);
    fl_vault_put(call->secrets->vault, FL_VAULT_SECRET, secret->name, secret);
}

bool fl_secrets_check_room(struct fl_secrets_call *call)
{
    if (fl_vault_has_room(call->secrets->vault))
        return true;
    fl_secrets_fail(call, secrets_error_LimitExceededException,
                    "You've reached the quota of this server for secrets and their versions.");
    return false;
}
