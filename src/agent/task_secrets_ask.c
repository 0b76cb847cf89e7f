/* Questions to Secrets Manager (one secret each) and to Parameter Store (ten names each). */
#include "agent/task_secrets_ask.h"

#include "net/aws_client.h"

enum { PARAMETERS_MAX = 10, BODY_MAX = 64 << 10, ERROR_MAX = 700 };

/* ---- items ---- */

static bool is_known(const struct fl_secret_item *items, size_t count,
                     const struct fl_secret_item *item)
{
    for (size_t i = 0; i < count; i++)
        if (items[i].provider == item->provider && items[i].is_login == item->is_login &&
            fl_str_eq(items[i].value_from, item->value_from))
            return true;
    return false;
}

static void add_item(struct fl_secret_item *items, size_t *count, struct fl_secret_item item,
                     struct fl_arena *arena)
{
    if (is_known(items, *count, &item))
        return;
    item.value_from = fl_str_dup(arena, item.value_from);
    item.region = fl_str_dup(arena, item.region);
    if (item.provider == FL_SECRET_ASM)
        item.is_malformed = fl_secret_ref_parse(item.value_from, &item.ref, NULL) < 0;
    items[(*count)++] = item;
}

struct fl_secret_item *fl_secret_items(const struct fl_task_spec *task, struct fl_arena *arena,
                                       size_t *ret_count)
{
    size_t most = 0, count = 0;
    for (size_t i = 0; i < task->container_count; i++)
        most += task->containers[i].secret_count + 1;
    struct fl_secret_item *items = fl_arena_new_array(arena, struct fl_secret_item, most);
    for (size_t i = 0; i < task->container_count; i++) {
        const struct fl_container_spec *c = &task->containers[i];
        for (size_t k = 0; k < c->secret_count; k++)
            add_item(items, &count,
                     (struct fl_secret_item){.provider = c->secrets[k].provider,
                                             .value_from = c->secrets[k].value_from,
                                             .region = c->secrets[k].region},
                     arena);
        if (c->registry_secret.n > 0)
            add_item(items, &count,
                     (struct fl_secret_item){.provider = FL_SECRET_ASM,
                                             .value_from = c->registry_secret,
                                             .region = c->registry_secret_region,
                                             .is_login = true},
                     arena);
    }
    *ret_count = count;
    return items;
}

/* ---- questions ---- */

static struct fl_str secret_body(const struct fl_secret_ref *ref, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(BODY_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "SecretId", ref->secret_id);
    if (ref->version_id.n > 0)
        fl_jw_member_str(&jw, "VersionId", ref->version_id);
    if (ref->version_stage.n > 0)
        fl_jw_member_str(&jw, "VersionStage", ref->version_stage);
    fl_jw_object_end(&jw);
    return fl_str_dup(arena, fl_buf_str(&buf));
}

static struct fl_str parameters_body(const struct fl_secret_question *question,
                                     struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(BODY_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "Names");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < question->item_count; i++)
        fl_jw_str(&jw, question->items[i]->value_from);
    fl_jw_array_end(&jw);
    fl_jw_member_bool(&jw, "WithDecryption", true);
    fl_jw_object_end(&jw);
    return fl_str_dup(arena, fl_buf_str(&buf));
}

/* Whether the item's value comes with what the question asks for already, or may be added to it. */
static bool fits(const struct fl_secret_question *question, const struct fl_secret_item *item)
{
    const struct fl_secret_item *first = question->items[0];
    if (question->provider != item->provider || !fl_str_eq(first->region, item->region))
        return false;
    if (item->provider == FL_SECRET_SSM)
        return question->item_count < PARAMETERS_MAX;
    return fl_str_eq(first->ref.secret_id, item->ref.secret_id) &&
           fl_str_eq(first->ref.version_id, item->ref.version_id) &&
           fl_str_eq(first->ref.version_stage, item->ref.version_stage);
}

struct fl_secret_question *fl_secret_questions(struct fl_secret_item *items, size_t count,
                                               struct fl_arena *arena, size_t *ret_count)
{
    struct fl_secret_question *questions =
        fl_arena_new_array(arena, struct fl_secret_question, count);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < n && !fits(&questions[at], &items[i]))
            at++;
        if (at == n) {
            questions[n++].items = fl_arena_new_array(arena, struct fl_secret_item *, count);
            questions[at].provider = items[i].provider;
        }
        questions[at].items[questions[at].item_count++] = &items[i];
    }
    for (size_t i = 0; i < n; i++)
        questions[i].body = questions[i].provider == FL_SECRET_ASM
                                ? secret_body(&questions[i].items[0]->ref, arena)
                                : parameters_body(&questions[i], arena);
    *ret_count = n;
    return questions;
}

/* ---- answers ---- */

static struct fl_str sentence(const struct fl_secret_item *item, struct fl_str why,
                              struct fl_arena *arena)
{
    why = fl_str_sub(why, 0, ERROR_MAX);
    if (item->provider == FL_SECRET_SSM)
        return fl_str_printf(arena, "Fetching secret data from SSM Parameter Store in %.*s: %.*s",
                             FL_STR_ARG(item->region), FL_STR_ARG(why));
    if (item->is_login)
        return fl_str_printf(arena, "asm fetching secret from the service for %.*s: %.*s",
                             FL_STR_ARG(item->value_from), FL_STR_ARG(why));
    return fl_str_printf(arena,
                         "Fetching secret data from AWS Secrets Manager in region %.*s: secret "
                         "%.*s: %.*s",
                         FL_STR_ARG(item->region),
                         FL_STR_ARG(item->is_malformed ? item->value_from : item->ref.secret_id),
                         FL_STR_ARG(why));
}

struct fl_str fl_secret_mistake(const struct fl_secret_item *items, size_t count,
                                struct fl_arena *arena)
{
    struct fl_secret_ref ref;
    struct fl_err err = {0};
    for (size_t i = 0; i < count; i++)
        if (items[i].is_malformed && fl_secret_ref_parse(items[i].value_from, &ref, &err) < 0)
            return sentence(&items[i], fl_str_of(err.text), arena);
    return FL_STR("");
}

static void refuse(const struct fl_secret_item *item, struct fl_str why, struct fl_arena *scratch,
                   struct fl_secret_answer *answer)
{
    answer->error = sentence(item, why, scratch);
}

/* Credentials that have just run out are renewed before long. */
static bool is_passing(const struct fl_http_response *response, struct fl_str code)
{
    static const char *const codes[] = {"Throttl",
                                        "TooManyRequests",
                                        "RequestLimitExceeded",
                                        "Expired",
                                        "ServiceUnavailable",
                                        "InternalServiceError",
                                        "InternalServerError",
                                        "InternalFailure"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(codes); i++)
        if (fl_str_contains(code, fl_str_of(codes[i])))
            return true;
    return response->status == 0 || response->status >= 500 || response->status == 429;
}

static void take_refusal(const struct fl_secret_question *question,
                         const struct fl_http_response *response, struct fl_arena *scratch,
                         struct fl_secret_answer *answer)
{
    struct fl_str code, message;
    fl_aws_error(response, scratch, &code, &message);
    answer->may_come_later = is_passing(response, code);
    refuse(question->items[0],
           fl_str_printf(scratch, "%.*s: %.*s",
                         FL_STR_ARG(response->status == 0 ? FL_STR("no answer") : code),
                         FL_STR_ARG(message)),
           scratch, answer);
}

/* What the item wants of the secret's text. */
static int take_text(struct fl_secret_item *item, struct fl_str text, struct fl_arena *keep,
                     struct fl_arena *scratch, struct fl_err *err)
{
    struct fl_str user, password, value = text;
    int rc = 0;
    if (item->is_login)
        rc = fl_secret_read_login(text, scratch, &user, &password, err);
    else if (item->ref.json_key.n > 0)
        rc = fl_secret_pick(text, item->ref.json_key, scratch, &value, err);
    if (rc == 0)
        item->value = fl_str_dup(keep, value);
    return rc;
}

static void take_secret(const struct fl_secret_question *question, const struct fl_json *json,
                        struct fl_arena *keep, struct fl_arena *scratch,
                        struct fl_secret_answer *answer)
{
    const struct fl_json *text = fl_json_get(json, "SecretString");
    for (size_t i = 0; i < question->item_count && answer->error.n == 0; i++) {
        struct fl_secret_item *item = question->items[i];
        struct fl_err err = {0};
        if (!fl_json_is(text, FL_JSON_STRING))
            refuse(item, FL_STR("retrieved secret from Secrets Manager has no SecretString"),
                   scratch, answer);
        else if (take_text(item, fl_json_text(text), keep, scratch, &err) < 0 && item->is_login)
            answer->error = fl_str_dup(scratch, fl_str_of(err.text));
        else if (err.status < 0)
            refuse(item, fl_str_of(err.text), scratch, answer);
    }
}

/* A parameter is told by its name, whichever of its two names was asked for. */
static const struct fl_json *find_parameter(const struct fl_json *list, struct fl_str name)
{
    for (size_t i = 0; i < fl_json_items(list); i++) {
        const struct fl_json *parameter = fl_json_item(list, i);
        if (fl_str_eq(fl_json_text(fl_json_get(parameter, "Name")), name) ||
            fl_str_eq(fl_json_text(fl_json_get(parameter, "ARN")), name))
            return parameter;
    }
    return NULL;
}

static void take_parameters(const struct fl_secret_question *question, const struct fl_json *json,
                            struct fl_arena *keep, struct fl_arena *scratch,
                            struct fl_secret_answer *answer)
{
    FL_CLEANUP_BUF struct fl_buf missing = FL_BUF_INIT(BODY_MAX);
    const struct fl_json *list = fl_json_get(json, "Parameters");
    for (size_t i = 0; i < question->item_count; i++) {
        struct fl_secret_item *item = question->items[i];
        const struct fl_json *parameter = find_parameter(list, item->value_from);
        const struct fl_json *value = fl_json_get(parameter, "Value");
        if (fl_json_is(value, FL_JSON_STRING))
            item->value = fl_str_dup(keep, fl_json_text(value));
        else
            fl_buf_printf(&missing, "%s%.*s", missing.n ? "," : "", FL_STR_ARG(item->value_from));
    }
    if (missing.n > 0)
        refuse(question->items[0],
               fl_str_printf(scratch, "invalid parameters: %.*s", (int)missing.n, missing.p),
               scratch, answer);
}

void fl_secret_take(const struct fl_secret_question *question,
                    const struct fl_http_response *response, struct fl_arena *keep,
                    struct fl_arena *scratch, struct fl_secret_answer *ret_answer)
{
    struct fl_secret_answer answer = {.has_answered = response->status != 0};
    const struct fl_json *json =
        response->status == 200 ? fl_json_read(response->body, scratch, NULL) : NULL;
    if (response->status != 200)
        take_refusal(question, response, scratch, &answer);
    else if (!fl_json_is(json, FL_JSON_OBJECT))
        refuse(question->items[0], FL_STR("the answer is not understood"), scratch, &answer);
    else if (question->provider == FL_SECRET_ASM)
        take_secret(question, json, keep, scratch, &answer);
    else
        take_parameters(question, json, keep, scratch, &answer);
    *ret_answer = answer;
}
