/* A life of the control plane told by text: each line is one event, its first byte says which, the
 * rest is the JSON of an API command. "$t3" and "$i0" stand for the tasks and instances made so
 * far, whose names no text can guess. At the end a core rebuilt from the records must answer as the
 * live one does. The assertions of core stay on. */
#include "core/core_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MAX_LINES = 60, MAX_NAMES = 10, NAME_SIZE = 200, MAX_TEXT = 32 * 1024 };

/* 'a' is the first. */
static const char *const commands[] = {"RegisterTaskDefinition",
                                       "RegisterContainerInstance",
                                       "RunTask",
                                       "SubmitTaskStateChange",
                                       "StopTask",
                                       "DescribeTasks",
                                       "ListTasks",
                                       "CreateCluster",
                                       "DescribeClusters",
                                       "ListClusters",
                                       "DeregisterTaskDefinition",
                                       "DescribeTaskDefinition",
                                       "ListTaskDefinitions",
                                       "DescribeContainerInstances",
                                       "ListContainerInstances",
                                       "SubmitContainerStateChange",
                                       "SubmitAttachmentStateChanges",
                                       "DiscoverPollEndpoint",
                                       "UpdateContainerInstancesState",
                                       "StartTask",
                                       "CreateService"};

struct names {
    char text[MAX_NAMES][NAME_SIZE];
    size_t n;
};

struct life {
    struct fix *f;
    struct names tasks;
    struct names instances;
};

static void remember(struct names *names, const char *arn)
{
    if (!arn || names->n == MAX_NAMES || strlen(arn) >= NAME_SIZE)
        return;
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->text[i], arn) == 0)
            return;
    (void)snprintf(names->text[names->n++], NAME_SIZE, "%s", arn);
}

static void learn(struct life *life)
{
    const struct fl_json *tasks = fix_at(life->f->reply, "tasks");
    for (size_t i = 0; i < fl_json_items(tasks); i++)
        remember(&life->tasks, fl_json_z(fl_json_get(fl_json_item(tasks, i), "taskArn")));
    remember(&life->instances,
             fl_json_z(fix_at(life->f->reply, "containerInstance.containerInstanceArn")));
}

static const char *named(const struct life *life, char kind, char digit)
{
    const struct names *names = kind == 't' ? &life->tasks : &life->instances;
    if ((kind != 't' && kind != 'i') || digit < '0' || (size_t)(digit - '0') >= names->n)
        return NULL;
    return names->text[digit - '0'];
}

static void substitute(const struct life *life, struct fl_str text, struct fl_buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        const char *name =
            text.p[i] == '$' && i + 2 < text.n ? named(life, text.p[i + 1], text.p[i + 2]) : NULL;
        if (name)
            fl_buf_add_z(out, name);
        else
            fl_buf_add_char(out, text.p[i]);
        i += name ? 2 : 0;
    }
}

static void command(struct life *life, const char *operation, struct fl_str text)
{
    struct fl_err err;
    FL_CLEANUP_BUF struct fl_buf request = FL_BUF_INIT(MAX_TEXT);
    substitute(life, text, &request);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(fl_buf_str(&request), arena, &err);
    if (!json || request.overflow)
        return;
    if (fix_send(life->f, operation, fl_buf_str(&request)) == 200)
        learn(life);
    else
        assert_int_equal(life->f->records_put, 0);
}

/* "arn:…:container-instance/<cluster>/<id>", as far as the fixture has room for them. */
static bool take_apart(const char *arn, char ret_cluster[64], char ret_id[64])
{
    const char *slash = strchr(arn, '/'), *last = strrchr(arn, '/');
    if (!slash || last == slash || last - slash > 60)
        return false;
    (void)snprintf(ret_cluster, 64, "%.*s", (int)(last - slash - 1), slash + 1);
    (void)snprintf(ret_id, 64, "%s", last + 1);
    return true;
}

static void connect_or_not(struct life *life, char kind, char digit)
{
    char cluster[64], id[64];
    const char *arn = named(life, 'i', digit);
    if (!arn || !take_apart(arn, cluster, id))
        return;
    if (kind == '+') {
        (void)fix_connect(life->f, cluster, id);
        return;
    }
    for (size_t i = 0; i < life->f->session_count; i++)
        if (strcmp(life->f->sessions[i].instance, id) == 0 && life->f->sessions[i].session)
            fix_disconnect(life->f, cluster, id, life->f->sessions[i].session);
}

static void explain(struct life *life, struct fl_str text, bool is_task)
{
    FL_CLEANUP_BUF struct fl_buf name = FL_BUF_INIT(MAX_TEXT);
    substitute(life, text, &name);
    struct fl_core_event event = {.kind = FL_CORE_EVENT_EXPLAIN};
    if (is_task)
        event.task = fl_buf_str(&name);
    else
        event.definition = fl_buf_str(&name);
    fix_step(life->f, &event);
    assert_int_equal(life->f->records_put, 0);
}

static void live_a_line(struct life *life, struct fl_str line)
{
    char kind = line.n > 0 ? line.p[0] : '\0';
    size_t index = (size_t)(unsigned char)kind - 'a';
    life->f->now_ms += 7;
    if (index < FL_ARRAY_SIZE(commands))
        command(life, commands[index], fl_str_from(line, 1));
    else if ((kind == '+' || kind == '-') && line.n > 1)
        connect_or_not(life, kind, line.p[1]);
    else if (kind == 'E' || kind == 'F')
        explain(life, fl_str_from(line, 1), kind == 'F');
    else if (kind == 'T')
        fix_timer(life->f);
    else if (kind == 'H')
        life->f->now_ms += FL_CORE_STOPPED_TASK_MS / 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct life *life = fl_calloc(1, sizeof(*life));
    struct fl_str rest = {(const char *)bytes, n}, line;
    life->f = fix_new();
    for (int i = 0; i < MAX_LINES && fl_str_split(&rest, '\n', &line); i++)
        live_a_line(life, line);
    fix_recover(life->f, false);
    fix_free(life->f);
    free(life);
    return 0;
}
