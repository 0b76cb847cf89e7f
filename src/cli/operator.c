/* The operator's API client: see the header. */
#include "cli/operator.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "cli/install.h"

enum {
    CALL_TIMEOUT_MS = 10 * 1000,
    MAX_PAGES = 100000,
    DESCRIBE_PORTION = 100,
    POLL_MS = 20,
};

int fl_operator_open(const struct fl_options *options, struct fl_operator *ret_operator,
                     struct fl_err *err)
{
    struct fl_credentials key;
    int r = fl_install_read_key(options->value[FL_OPTION_DATA_DIR], "operator", options->arena,
                                &key, err);
    if (r < 0)
        return r;
    *ret_operator = (struct fl_operator){.config = {.endpoint = fl_options_endpoint(options),
                                                    .region = options->value[FL_OPTION_REGION],
                                                    .key = key},
                                         .arena = options->arena};
    return 0;
}

int fl_operator_call(struct fl_operator *caller, const char *operation, json_t *body,
                     unsigned timeout_ms, json_t **ret_answer, struct fl_err *err)
{
    FL_CLEANUP_JSON json_t *request = body ? body : json_object();
    FL_CLEANUP_FREE char *text = json_dumps(request, JSON_COMPACT);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char target[128];
    (void)snprintf(target, sizeof(target), "%s%s",
                   strchr(operation, '.') ? "" : "AmazonEC2ContainerServiceV20141113.", operation);
    struct fl_http_response response = {0};
    int r = fl_aws_call_wait(&caller->config, "ecs", target, fl_str_of(text), timeout_ms, arena,
                             &response, err);
    if (r < 0)
        return r;
    if (response.status >= 400) {
        struct fl_str code;
        struct fl_str message;
        fl_aws_error(&response, arena, &code, &message);
        return fl_err_set(err, -EPROTO, "%s: %.*s: %.*s", operation, FL_STR_ARG(code),
                          FL_STR_ARG(message));
    }
    json_t *answer = fl_json_parse(response.body, err);
    if (!answer)
        return -EPROTO;
    *ret_answer = answer;
    return 0;
}

int fl_operator_list(struct fl_operator *caller, const char *operation, json_t *body,
                     const char *list, json_t **ret_items, struct fl_err *err)
{
    FL_CLEANUP_JSON json_t *request = body ? body : json_object();
    FL_CLEANUP_JSON json_t *items = json_array();
    for (int page = 0; page < MAX_PAGES; page++) {
        FL_CLEANUP_JSON json_t *answer = NULL;
        int r = fl_operator_call(caller, operation, json_incref(request), CALL_TIMEOUT_MS, &answer,
                                 err);
        if (r < 0)
            return r;
        (void)json_array_extend(items, json_object_get(answer, list));
        json_t *next = json_object_get(answer, "nextToken");
        if (!json_is_string(next))
            break;
        (void)json_object_set(request, "nextToken", next);
    }
    *ret_items = FL_TAKE_PTR(items);
    return 0;
}

int fl_operator_clusters(struct fl_operator *caller, json_t **ret_arns, struct fl_err *err)
{
    return fl_operator_list(caller, "ListClusters", NULL, "clusterArns", ret_arns, err);
}

int fl_operator_describe(struct fl_operator *caller, const char *operation, const char *cluster,
                         const char *member, const json_t *arns, json_t **ret_items,
                         struct fl_err *err)
{
    FL_CLEANUP_JSON json_t *items = json_array();
    for (size_t from = 0; from < json_array_size(arns); from += DESCRIBE_PORTION) {
        FL_CLEANUP_JSON json_t *portion = json_array();
        for (size_t i = from; i < json_array_size(arns) && i < from + DESCRIBE_PORTION; i++)
            (void)json_array_append(portion, json_array_get(arns, i));
        json_t *request = json_pack("{s:s, s:O}", "cluster", cluster, member, portion);
        FL_CLEANUP_JSON json_t *answer = NULL;
        int r = fl_operator_call(caller, operation, request, CALL_TIMEOUT_MS, &answer, err);
        if (r < 0)
            return r;
        (void)json_array_extend(items, json_object_get(answer, member));
    }
    *ret_items = FL_TAKE_PTR(items);
    return 0;
}

/* One StopTask per task that is to run; *ret_running counts the tasks that are not stopped yet. */
static int stop_cluster(struct fl_operator *caller, const char *cluster, const char *reason,
                        size_t *ret_running, struct fl_err *err)
{
    static const char *const wanted[] = {"RUNNING", "STOPPED"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(wanted); i++) {
        FL_CLEANUP_JSON json_t *arns = NULL;
        FL_CLEANUP_JSON json_t *tasks = NULL;
        json_t *query = json_pack("{s:s, s:s}", "cluster", cluster, "desiredStatus", wanted[i]);
        int r = fl_operator_list(caller, "ListTasks", query, "taskArns", &arns, err);
        if (r == 0)
            r = fl_operator_describe(caller, "DescribeTasks", cluster, "tasks", arns, &tasks, err);
        if (r < 0)
            return r;
        size_t index;
        json_t *task;
        json_array_foreach (tasks, index, task) {
            if (fl_str_is(fl_json_str(json_object_get(task, "lastStatus")), "STOPPED"))
                continue;
            ++*ret_running;
            if (i > 0 || !reason)
                continue;
            json_t *stop = json_pack("{s:s, s:O, s:s}", "cluster", cluster, "task",
                                     json_object_get(task, "taskArn"), "reason", reason);
            FL_CLEANUP_JSON json_t *answer = NULL;
            r = fl_operator_call(caller, "StopTask", stop, CALL_TIMEOUT_MS, &answer, err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int fl_operator_stop_tasks(struct fl_operator *caller, const char *reason, unsigned patience_ms,
                           size_t *ret_left, struct fl_err *err)
{
    int64_t deadline = fl_clock_mono_ms() + patience_ms;
    FL_CLEANUP_JSON json_t *clusters = NULL;
    int r = fl_operator_clusters(caller, &clusters, err);
    for (bool first = true; r == 0; first = false) {
        *ret_left = 0;
        size_t index;
        json_t *arn;
        json_array_foreach (clusters, index, arn) {
            r = stop_cluster(caller, json_string_value(arn), first ? reason : NULL, ret_left, err);
            if (r < 0)
                return r;
        }
        if (*ret_left == 0 || fl_clock_mono_ms() >= deadline)
            break;
        const struct timespec pause = {.tv_nsec = POLL_MS * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    return r;
}
