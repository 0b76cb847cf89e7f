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
    MAX_BODY = 1 << 20,
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

int fl_operator_send(struct fl_operator *caller, const char *operation, struct fl_str body,
                     unsigned timeout_ms, const struct fl_json **ret_answer, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char target[128];
    (void)snprintf(target, sizeof(target), "%s%s",
                   strchr(operation, '.') ? "" : "AmazonEC2ContainerServiceV20141113.", operation);
    struct fl_http_response response = {0};
    int r =
        fl_aws_call_wait(&caller->config, "ecs", target, body, timeout_ms, arena, &response, err);
    if (r < 0)
        return r;
    if (response.status >= 400) {
        struct fl_str code;
        struct fl_str message;
        fl_aws_error(&response, arena, &code, &message);
        bool is_ours = strchr(operation, '.') != NULL; /* a name that nobody knows */
        return fl_err_set(err, -EPROTO, "%s%s%.*s: %.*s", is_ours ? "" : operation,
                          is_ours ? "" : ": ", FL_STR_ARG(code), FL_STR_ARG(message));
    }
    const struct fl_json *answer = fl_json_read(response.body, caller->arena, err);
    if (!answer)
        return -EPROTO;
    *ret_answer = answer;
    return 0;
}

static struct fl_json_writer begin(struct fl_buf *buf, const struct fl_operator_member *members,
                                   size_t count)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < count; i++)
        fl_jw_member_str(&jw, members[i].name, fl_str_of(members[i].value));
    return jw;
}

int fl_operator_call(struct fl_operator *caller, const char *operation,
                     const struct fl_operator_member *members, size_t count, unsigned timeout_ms,
                     const struct fl_json **ret_answer, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(MAX_BODY);
    struct fl_json_writer jw = begin(&body, members, count);
    fl_jw_object_end(&jw);
    return fl_operator_send(caller, operation, fl_buf_str(&body), timeout_ms, ret_answer, err);
}

static void add_items(struct fl_operator *caller, struct fl_operator_items *items,
                      const struct fl_json *list)
{
    size_t more = fl_json_items(list);
    const struct fl_json **all =
        fl_arena_new_array(caller->arena, const struct fl_json *, items->n + more + 1);
    if (items->n)
        memcpy(all, items->items, items->n * sizeof(*all));
    for (size_t i = 0; i < more; i++)
        all[items->n++] = fl_json_item(list, i);
    items->items = all;
}

int fl_operator_list(struct fl_operator *caller, const char *operation,
                     const struct fl_operator_member *members, size_t count, const char *list,
                     struct fl_operator_items *ret_items, struct fl_err *err)
{
    struct fl_operator_items items = {0};
    const struct fl_json *next = NULL;
    for (int page = 0; page < MAX_PAGES; page++) {
        FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(MAX_BODY);
        struct fl_json_writer jw = begin(&body, members, count);
        const struct fl_json *answer;
        if (next)
            fl_jw_member_str(&jw, "nextToken", fl_json_text(next));
        fl_jw_object_end(&jw);
        int r =
            fl_operator_send(caller, operation, fl_buf_str(&body), CALL_TIMEOUT_MS, &answer, err);
        if (r < 0)
            return r;
        add_items(caller, &items, fl_json_get(answer, list));
        next = fl_json_get(answer, "nextToken");
        if (!fl_json_is(next, FL_JSON_STRING))
            break;
    }
    *ret_items = items;
    return 0;
}

int fl_operator_clusters(struct fl_operator *caller, struct fl_operator_items *ret_arns,
                         struct fl_err *err)
{
    return fl_operator_list(caller, "ListClusters", NULL, 0, "clusterArns", ret_arns, err);
}

/* What may be described at a time. */
static size_t portion_of(const char *operation)
{
    return strcmp(operation, "DescribeServices") == 0 ? 10 : DESCRIBE_PORTION;
}

int fl_operator_describe(struct fl_operator *caller, const char *operation, const char *cluster,
                         const char *member, const struct fl_operator_items *arns,
                         struct fl_operator_items *ret_items, struct fl_err *err)
{
    const struct fl_operator_member members[] = {{"cluster", cluster}};
    struct fl_operator_items items = {0};
    size_t portion = portion_of(operation);
    for (size_t from = 0; from < arns->n; from += portion) {
        FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(MAX_BODY);
        struct fl_json_writer jw = begin(&body, members, FL_ARRAY_SIZE(members));
        const struct fl_json *answer;
        fl_jw_key(&jw, member);
        fl_jw_array_begin(&jw);
        for (size_t i = from; i < arns->n && i < from + portion; i++)
            fl_jw_str(&jw, fl_json_text(arns->items[i]));
        fl_jw_array_end(&jw);
        fl_jw_object_end(&jw);
        int r =
            fl_operator_send(caller, operation, fl_buf_str(&body), CALL_TIMEOUT_MS, &answer, err);
        if (r < 0)
            return r;
        add_items(caller, &items, fl_json_get(answer, member));
    }
    *ret_items = items;
    return 0;
}

static int stop_task(struct fl_operator *caller, const char *cluster, const struct fl_json *task,
                     const char *reason, struct fl_err *err)
{
    const char *arn = fl_json_z(fl_json_get(task, "taskArn"));
    const struct fl_operator_member members[] = {
        {"cluster", cluster}, {"task", arn ? arn : ""}, {"reason", reason}};
    const struct fl_json *answer;
    return fl_operator_call(caller, "StopTask", members, FL_ARRAY_SIZE(members), CALL_TIMEOUT_MS,
                            &answer, err);
}

/* One StopTask per task that is to run; *ret_running counts the tasks that are not stopped yet. */
static int stop_cluster(struct fl_operator *caller, const char *cluster, const char *reason,
                        size_t *ret_running, struct fl_err *err)
{
    static const char *const wanted[] = {"RUNNING", "STOPPED"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(wanted); i++) {
        const struct fl_operator_member query[] = {{"cluster", cluster},
                                                   {"desiredStatus", wanted[i]}};
        struct fl_operator_items arns, tasks;
        int r = fl_operator_list(caller, "ListTasks", query, FL_ARRAY_SIZE(query), "taskArns",
                                 &arns, err);
        if (r == 0)
            r = fl_operator_describe(caller, "DescribeTasks", cluster, "tasks", &arns, &tasks, err);
        for (size_t at = 0; r == 0 && at < tasks.n; at++) {
            const struct fl_json *status = fl_json_get(tasks.items[at], "lastStatus");
            if (fl_str_is(fl_json_text(status), "STOPPED"))
                continue;
            ++*ret_running;
            if (i == 0 && reason)
                r = stop_task(caller, cluster, tasks.items[at], reason, err);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* A service would start anew what is stopped. */
static int hold(struct fl_operator *caller, bool is_held, struct fl_err *err)
{
    const struct fl_json *answer;
    return fl_operator_send(caller, "Fairlead_20261120.Hold",
                            is_held ? FL_STR("{\"held\":true}") : FL_STR("{\"held\":false}"),
                            CALL_TIMEOUT_MS, &answer, err);
}

static int stop_all(struct fl_operator *caller, const char *reason, unsigned patience_ms,
                    size_t *ret_left, struct fl_err *err)
{
    int64_t deadline = fl_clock_mono_ms() + patience_ms;
    struct fl_operator_items clusters;
    int r = fl_operator_clusters(caller, &clusters, err);
    for (bool first = true; r == 0; first = false) {
        *ret_left = 0;
        for (size_t i = 0; i < clusters.n; i++) {
            const char *arn = fl_json_z(clusters.items[i]);
            r = stop_cluster(caller, arn ? arn : "", first ? reason : NULL, ret_left, err);
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

int fl_operator_stop_tasks(struct fl_operator *caller, const char *reason, unsigned patience_ms,
                           size_t *ret_left, struct fl_err *err)
{
    int r = hold(caller, true, err);
    if (r == 0)
        r = stop_all(caller, reason, patience_ms, ret_left, err);
    if (r < 0 || *ret_left > 0)
        (void)hold(caller, false, NULL);
    return r;
}

static void print_line(unsigned depth)
{
    (void)printf("\n%*s", (int)(2 * depth), "");
}

void fl_operator_print(struct fl_str json)
{
    bool in_string = false;
    unsigned depth = 0;
    for (size_t i = 0; i < json.n; i++) {
        char c = json.p[i], next = i + 1 < json.n ? json.p[i + 1] : '\0';
        bool opens = !in_string && (c == '{' || c == '[');
        bool closes = !in_string && (c == '}' || c == ']');
        bool is_empty = closes && i > 0 && (json.p[i - 1] == '{' || json.p[i - 1] == '[');
        depth -= closes;
        if (closes && !is_empty)
            print_line(depth);
        (void)putchar(c);
        depth += opens;
        if ((opens && next != '}' && next != ']') || (!in_string && c == ','))
            print_line(depth);
        else if (!in_string && c == ':')
            (void)putchar(' ');
        if (in_string && c == '\\' && next)
            (void)putchar(json.p[++i]);
        else if (c == '"')
            in_string = !in_string;
    }
    (void)putchar('\n');
}
