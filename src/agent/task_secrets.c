/* One bundle per task: what is wanted (items), the calls that bring it, who waits. Calls are sent
 * by `pump`, which runs whenever something may have changed; a bundle is active until all is here
 * or one call has failed for good. */
#include "agent/task_secrets.h"

#include <openssl/crypto.h>
#include <sys/queue.h>
#include <uthash.h>

#include "agent/task_secrets_ask.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/arn.h"

enum {
    FLYING_MAX = 32, /* calls at a time, of all tasks */
    TICK_MS = 250,
    PAUSE_MIN_MS = 250,
    PAUSE_MAX_MS = 10 * 1000,
    TROUBLE_MAX_MS = 2 * 60 * 1000,  /* answers that say: later */
    SILENCE_MAX_MS = 60 * 60 * 1000, /* no answer, or nobody to ask as */
    CALL_TIMEOUT_MS = 10 * 1000
};

struct waiter {
    STAILQ_ENTRY(waiter) link;
    fl_task_secrets_done done;
    void *context;
};
STAILQ_HEAD(waiters, waiter);

enum call_state { TO_DO, FLYING, DONE };

struct call {
    struct bundle *bundle;
    struct fl_secret_question question;
    enum call_state state;
};

struct bundle {
    UT_hash_handle hh; /* by task_arn, unless forgotten */
    TAILQ_ENTRY(bundle) link;
    struct fl_task_secrets *secrets;
    struct fl_arena *arena;
    struct fl_str task_arn;
    struct fl_secret_item *items;
    size_t item_count;
    struct call *calls;
    size_t call_count;
    unsigned flying;
    struct waiters waiters;
    bool is_active;
    bool is_forgotten;  /* it goes with its last call */
    int64_t begun_ms;   /* monotonic, as the next two */
    int64_t trouble_ms; /* when an answer first said: later; 0: none has */
    int64_t due_ms;
    int64_t pause_ms;
};

TAILQ_HEAD(bundles, bundle);

struct fl_task_secrets {
    struct fl_task_secrets_config config;
    uv_timer_t *tick; /* while a bundle is active */
    struct bundle *by_task;
    struct bundles active;
    struct bundles forgotten;
    unsigned flying;
};

static void pump(struct fl_task_secrets *secrets);

static void on_tick(uv_timer_t *timer)
{
    pump(timer->data);
}

struct fl_task_secrets *fl_task_secrets_new(const struct fl_task_secrets_config *config)
{
    struct fl_task_secrets *secrets = fl_calloc(1, sizeof(*secrets));
    secrets->config = *config;
    TAILQ_INIT(&secrets->active);
    TAILQ_INIT(&secrets->forgotten);
    secrets->tick = fl_calloc(1, sizeof(*secrets->tick));
    FL_ASSERT(uv_timer_init(config->loop, secrets->tick) == 0);
    secrets->tick->data = secrets;
    return secrets;
}

static void bundle_free(struct bundle *bundle)
{
    struct waiter *waiter;
    while ((waiter = STAILQ_FIRST(&bundle->waiters)) != NULL) {
        STAILQ_REMOVE_HEAD(&bundle->waiters, link);
        free(waiter);
    }
    for (size_t i = 0; i < bundle->item_count; i++)
        OPENSSL_cleanse((void *)(uintptr_t)bundle->items[i].value.p, bundle->items[i].value.n);
    fl_arena_free(bundle->arena);
    free(bundle);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void fl_task_secrets_free(struct fl_task_secrets *secrets)
{
    struct bundle *bundle, *next;
    if (!secrets)
        return;
    HASH_ITER(hh, secrets->by_task, bundle, next)
    {
        HASH_DEL(secrets->by_task, bundle);
        bundle_free(bundle);
    }
    while ((bundle = TAILQ_FIRST(&secrets->forgotten)) != NULL) {
        TAILQ_REMOVE(&secrets->forgotten, bundle, link);
        bundle_free(bundle);
    }
    uv_close((uv_handle_t *)secrets->tick, on_timer_closed);
    free(secrets);
}

/* ---- bundles ---- */

static struct bundle *find(const struct fl_task_secrets *secrets, struct fl_str task_arn)
{
    struct bundle *bundle;
    HASH_FIND(hh, secrets->by_task, task_arn.p, task_arn.n, bundle);
    return bundle;
}

static struct bundle *bundle_new(struct fl_task_secrets *secrets, const struct fl_task_spec *task)
{
    struct bundle *bundle = fl_calloc(1, sizeof(*bundle));
    struct fl_arena *arena = bundle->arena = fl_arena_new();
    struct fl_secret_question *questions;
    bundle->secrets = secrets;
    bundle->task_arn = fl_str_dup(arena, task->arn);
    STAILQ_INIT(&bundle->waiters);
    bundle->items = fl_secret_items(task, arena, &bundle->item_count);
    questions = fl_secret_questions(bundle->items, bundle->item_count, arena, &bundle->call_count);
    bundle->calls = fl_arena_new_array(arena, struct call, bundle->call_count);
    for (size_t i = 0; i < bundle->call_count; i++)
        bundle->calls[i] = (struct call){.bundle = bundle, .question = questions[i]};
    bundle->is_active = true;
    bundle->begun_ms = fl_clock_mono_ms();
    bundle->pause_ms = PAUSE_MIN_MS;
    HASH_ADD_KEYPTR(hh, secrets->by_task, bundle->task_arn.p, bundle->task_arn.n, bundle);
    TAILQ_INSERT_TAIL(&secrets->active, bundle, link);
    return bundle;
}

static void deactivate(struct bundle *bundle)
{
    if (!bundle->is_active)
        return;
    bundle->is_active = false;
    TAILQ_REMOVE(&bundle->secrets->active, bundle, link);
}

static void forget(struct bundle *bundle)
{
    struct fl_task_secrets *secrets = bundle->secrets;
    deactivate(bundle);
    HASH_DEL(secrets->by_task, bundle);
    if (bundle->flying == 0) {
        bundle_free(bundle);
        return;
    }
    bundle->is_forgotten = true;
    TAILQ_INSERT_TAIL(&secrets->forgotten, bundle, link);
}

/* Who is told may ask for anything, so the bundle is settled before. */
static void finish(struct bundle *bundle, struct fl_str error)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
    struct fl_str text = fl_str_dup(arena, error);
    struct waiter *waiter;
    STAILQ_CONCAT(&waiters, &bundle->waiters);
    if (text.n > 0)
        forget(bundle);
    else
        deactivate(bundle);
    while ((waiter = STAILQ_FIRST(&waiters)) != NULL) {
        STAILQ_REMOVE_HEAD(&waiters, link);
        waiter->done(waiter->context, text);
        free(waiter);
    }
}

static bool is_complete(const struct bundle *bundle)
{
    for (size_t i = 0; i < bundle->call_count; i++)
        if (bundle->calls[i].state != DONE)
            return false;
    return true;
}

/* ---- calls ---- */

static void try_later(struct call *call, const struct fl_secret_answer *answer, int64_t now_ms)
{
    struct bundle *bundle = call->bundle;
    call->state = TO_DO;
    if (answer->has_answered && bundle->trouble_ms == 0)
        bundle->trouble_ms = now_ms;
    if (!answer->has_answered)
        bundle->trouble_ms = 0;
    if ((bundle->trouble_ms > 0 && now_ms - bundle->trouble_ms > TROUBLE_MAX_MS) ||
        now_ms - bundle->begun_ms > SILENCE_MAX_MS) {
        finish(bundle, answer->error);
        return;
    }
    if (bundle->pause_ms == PAUSE_MIN_MS)
        fl_log_info("task %.*s: its secrets are asked for again: %.*s",
                    FL_STR_ARG(fl_arn_last(bundle->task_arn)), FL_STR_ARG(answer->error));
    bundle->due_ms = now_ms + bundle->pause_ms;
    bundle->pause_ms = FL_MIN(bundle->pause_ms * 2, (int64_t)PAUSE_MAX_MS);
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct call *call = context;
    struct bundle *bundle = call->bundle;
    struct fl_task_secrets *secrets = bundle->secrets;
    struct fl_secret_answer answer;
    bundle->flying--;
    secrets->flying--;
    if (bundle->is_forgotten) {
        if (bundle->flying == 0) {
            TAILQ_REMOVE(&secrets->forgotten, bundle, link);
            bundle_free(bundle);
        }
    } else {
        fl_secret_take(&call->question, response, bundle->arena, arena, &answer);
        call->state = DONE;
        if (answer.may_come_later)
            try_later(call, &answer, fl_clock_mono_ms());
        else if (answer.error.n > 0 || is_complete(bundle))
            finish(bundle, answer.error);
    }
    pump(secrets);
}

static void ask(struct call *call, const struct fl_acs_credentials *role)
{
    struct bundle *bundle = call->bundle;
    struct fl_task_secrets *secrets = bundle->secrets;
    const struct fl_credentials key = {role->access_key_id, role->secret, role->session_token};
    bool is_asm = call->question.provider == FL_SECRET_ASM;
    const struct fl_aws_request request = {
        .service = is_asm ? "secretsmanager" : "ssm",
        .target = is_asm ? "secretsmanager.GetSecretValue" : "AmazonSSM.GetParameters",
        .body = call->question.body,
        .timeout_ms = CALL_TIMEOUT_MS,
        .key = &key,
    };
    call->state = FLYING;
    bundle->flying++;
    secrets->flying++;
    fl_aws_send(secrets->config.aws, &request, on_answer, call);
}

/* False: the bundle is gone. */
static bool advance(struct bundle *bundle, int64_t now_ms)
{
    struct fl_task_secrets *secrets = bundle->secrets;
    const struct fl_acs_credentials *role =
        fl_wallet_of(secrets->config.wallet, bundle->task_arn, FL_ACS_ROLE_EXECUTION);
    if (!secrets->config.is_wanted(secrets->config.context, bundle->task_arn)) {
        finish(bundle, FL_STR("the task is not wanted any more"));
        return false;
    }
    struct fl_str mistake = fl_secret_mistake(bundle->items, bundle->item_count, bundle->arena);
    if (mistake.n > 0) {
        finish(bundle, mistake);
        return false;
    }
    if (!role && now_ms - bundle->begun_ms > SILENCE_MAX_MS) {
        finish(bundle, FL_STR("Fetching secret data: unable to find execution role credentials"));
        return false;
    }
    for (size_t i = 0; role && now_ms >= bundle->due_ms && i < bundle->call_count; i++)
        if (bundle->calls[i].state == TO_DO && secrets->flying < FLYING_MAX)
            ask(&bundle->calls[i], role);
    return true;
}

static void pump(struct fl_task_secrets *secrets)
{
    int64_t now_ms = fl_clock_mono_ms();
    struct bundle *bundle = TAILQ_FIRST(&secrets->active);
    while (bundle)
        bundle = advance(bundle, now_ms) ? TAILQ_NEXT(bundle, link) : TAILQ_FIRST(&secrets->active);
    if (TAILQ_EMPTY(&secrets->active))
        (void)uv_timer_stop(secrets->tick);
    else if (!uv_is_active((uv_handle_t *)secrets->tick))
        (void)uv_timer_start(secrets->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- what is asked of us ---- */

bool fl_task_secrets_has_any(const struct fl_container_spec *container)
{
    return container->secret_count > 0 || container->registry_secret.n > 0;
}

bool fl_task_secrets_are_needed(const struct fl_task_spec *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_task_secrets_has_any(&task->containers[i]))
            return true;
    return false;
}

void fl_task_secrets_ensure(struct fl_task_secrets *secrets, const struct fl_task_spec *task,
                            fl_task_secrets_done done, void *context)
{
    struct bundle *bundle = find(secrets, task->arn);
    if ((bundle && !bundle->is_active) || !fl_task_secrets_are_needed(task)) {
        done(context, FL_STR(""));
        return;
    }
    if (!bundle)
        bundle = bundle_new(secrets, task);
    struct waiter *waiter = fl_calloc(1, sizeof(*waiter));
    waiter->done = done;
    waiter->context = context;
    STAILQ_INSERT_TAIL(&bundle->waiters, waiter, link);
    pump(secrets);
}

void fl_task_secrets_try(struct fl_task_secrets *secrets)
{
    pump(secrets);
}

void fl_task_secrets_forget(struct fl_task_secrets *secrets, struct fl_str task_arn)
{
    struct bundle *bundle = find(secrets, task_arn);
    if (bundle && !bundle->is_active)
        forget(bundle);
}

static const struct fl_secret_item *find_value(const struct fl_task_secrets *secrets,
                                               struct fl_str task_arn,
                                               enum fl_secret_provider provider,
                                               struct fl_str value_from)
{
    const struct bundle *bundle = find(secrets, task_arn);
    for (size_t i = 0; bundle && !bundle->is_active && i < bundle->item_count; i++)
        if (bundle->items[i].provider == provider &&
            fl_str_eq(bundle->items[i].value_from, value_from))
            return &bundle->items[i];
    return NULL;
}

bool fl_task_secrets_pairs(const struct fl_task_secrets *secrets, struct fl_str task_arn,
                           const struct fl_container_spec *container, bool log_options,
                           struct fl_arena *arena, struct fl_key_value **ret_pairs,
                           size_t *ret_count)
{
    struct fl_key_value *pairs =
        fl_arena_new_array(arena, struct fl_key_value, container->secret_count);
    size_t count = 0;
    for (size_t i = 0; i < container->secret_count; i++) {
        const struct fl_secret_spec *secret = &container->secrets[i];
        if (secret->is_log_option != log_options)
            continue;
        const struct fl_secret_item *item =
            find_value(secrets, task_arn, secret->provider, secret->value_from);
        if (!item)
            return false;
        pairs[count++] = (struct fl_key_value){secret->name, fl_str_dup(arena, item->value)};
    }
    *ret_pairs = pairs;
    *ret_count = count;
    return true;
}

bool fl_task_secrets_login(const struct fl_task_secrets *secrets, struct fl_str task_arn,
                           const struct fl_container_spec *container, struct fl_arena *arena,
                           struct fl_registry_login *ret_login)
{
    const struct fl_secret_item *item =
        container->registry_secret.n > 0
            ? find_value(secrets, task_arn, FL_SECRET_ASM, container->registry_secret)
            : NULL;
    struct fl_registry_login login = {0};
    if (!item || fl_secret_read_login(item->value, arena, &login.user, &login.password, NULL) < 0)
        return false;
    *ret_login = login;
    return true;
}
