/* Documents with tags: two calls of ListTagsForResource, then the answer. An error of a call is a
 * row of the document's Errors, as in ECS. */
#include "agent/metadata_internal.h"

#include "agent/session_calls.h"

enum { MOST_ASKING = 32, MOST_OF_A_TASK = 4, CALL_TIMEOUT_MS = 5000, BODY_MAX = 4096 };

struct fl_metadata_asking {
    LIST_ENTRY(fl_metadata_asking) link;
    struct fl_metadata *metadata;
    struct fl_http_exchange *exchange; /* its arena holds the texts */
    struct fl_str task_arn;
    enum fl_metadata_version version;
    struct fl_metadata_tags tags[2];
    int next; /* which of the two is asked for */
};

static void ask_next(struct fl_metadata_asking *asking);

static void forget(struct fl_metadata_asking *asking)
{
    LIST_REMOVE(asking, link);
    asking->metadata->asking_count--;
    free(asking);
}

/* The task may have been removed meanwhile. */
static void answer(struct fl_metadata_asking *asking)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_METADATA_DOCUMENT_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_metadata_config *config = &asking->metadata->config;
    const struct fl_task *task = fl_brain_task(config->brain, asking->task_arn);
    if (task && task->spec)
        fl_metadata_write_task(config->facts, task, asking->version, asking->tags, &jw);
    if (buf.n > 0 && !buf.overflow)
        fl_metadata_reply(asking->exchange, 200, fl_buf_str(&buf));
    else
        fl_metadata_reply_error(asking->exchange, 500, FL_STR("failed to get task metadata"));
    forget(asking);
}

static void on_tags(void *context, const struct fl_http_response *response)
{
    struct fl_metadata_asking *asking = context;
    struct fl_metadata_tags *tags = &asking->tags[asking->next];
    tags->status = response->status;
    if (response->status == 200)
        tags->tags =
            fl_json_get(fl_json_read(response->body, asking->exchange->arena, NULL), "tags");
    if (!fl_json_is(tags->tags, FL_JSON_ARRAY)) {
        tags->tags = NULL;
        fl_aws_error(response, asking->exchange->arena, &tags->error_code, &tags->error_message);
    }
    asking->next++;
    ask_next(asking);
}

static void ask_next(struct fl_metadata_asking *asking)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(BODY_MAX);
    struct fl_json_writer jw = {.buf = &body};
    if (asking->next == 2) {
        answer(asking);
        return;
    }
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "resourceArn", asking->tags[asking->next].resource_arn);
    fl_jw_object_end(&jw);
    fl_aws_call(asking->metadata->config.aws, "ecs", FL_ECS_TARGET "ListTagsForResource",
                fl_buf_str(&body), CALL_TIMEOUT_MS, on_tags, asking);
}

/* While the control plane is slow, a task that asks again and again must not take all places. */
static bool has_room(const struct fl_metadata *metadata, const struct fl_task *task)
{
    const struct fl_metadata_asking *asking;
    int of_task = 0;
    LIST_FOREACH (asking, &metadata->asking, link)
        of_task += fl_str_eq(asking->task_arn, task->arn);
    return metadata->asking_count < MOST_ASKING && of_task < MOST_OF_A_TASK;
}

void fl_metadata_tags_ask(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                          const struct fl_task *task, enum fl_metadata_version version)
{
    if (!has_room(metadata, task)) {
        fl_metadata_reply_throttled(exchange);
        return;
    }
    struct fl_arena *arena = exchange->arena;
    struct fl_metadata_asking *asking = fl_calloc(1, sizeof(*asking));
    asking->metadata = metadata;
    asking->exchange = exchange;
    asking->version = version;
    asking->task_arn = fl_str_dup(arena, task->arn);
    asking->tags[0] = (struct fl_metadata_tags){.error_field = FL_STR("TaskTags"),
                                                .resource_arn = asking->task_arn};
    asking->tags[1] = (struct fl_metadata_tags){
        .error_field = FL_STR("ContainerInstanceTags"),
        .resource_arn = fl_str_dup(arena, metadata->config.facts->instance_arn)};
    LIST_INSERT_HEAD(&metadata->asking, asking, link);
    metadata->asking_count++;
    ask_next(asking);
}

void fl_metadata_tags_end(struct fl_metadata *metadata)
{
    struct fl_metadata_asking *asking;
    while ((asking = LIST_FIRST(&metadata->asking)) != NULL) {
        fl_metadata_reply_error(asking->exchange, 500, FL_STR("failed to get task metadata"));
        forget(asking);
    }
}
