/* A life of the control plane told by text: each line is one event, its first byte says which, the
 * rest is the JSON of an API command. "$t3", "$i0", "$d1" and "$r1" stand for the tasks, instances,
 * service deployments and service revisions made so far, whose names no text can guess; a cluster,
 * a connected instance and a definition are there from the beginning. Who is refused has changed
 * nothing; the assertions of core stay on.
 *
 * One input in so many, chosen by its bytes, goes the whole way, too: what leaves the core is text,
 * and at the end a core rebuilt from the records must answer as the live one does. The others leave
 * that out, which makes them twenty times as quick; what the core decides is the same. */
#include "base/fuzz.h"
#include "core/core_fixture.h"
#include "core/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MAX_LINES = 24, MAX_NAMES = 10, NAME_SIZE = 200, MAX_TEXT = 32 * 1024 };
enum { MAX_PREPARED = 8, WHOLE_WAY_ONE_IN = 64 };

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
                                       "CreateService",
                                       "DeleteTaskDefinitions",
                                       "ListTaskDefinitionFamilies",
                                       "TagResource",
                                       "UntagResource",
                                       "ListTagsForResource",
                                       "PutAccountSetting",
                                       "DeleteAccountSetting",
                                       "ListAccountSettings",
                                       "UpdateCluster",
                                       "DeleteCluster",
                                       "UpdateService",
                                       "DeleteService",
                                       "DescribeServices",
                                       "ListServices",
                                       "ListServiceDeployments",
                                       "DescribeServiceDeployments",
                                       "DescribeServiceRevisions",
                                       "StopServiceDeployment",
                                       "ContinueServiceDeployment",
                                       "CreateTaskSet",
                                       "UpdateTaskSet",
                                       "DeleteTaskSet",
                                       "DescribeTaskSets",
                                       "UpdateServicePrimaryTaskSet",
                                       "UpdateTaskProtection",
                                       "GetTaskProtection"};

/* The first commands of every life. */
static const char *const beginning[][2] = {
    {"CreateCluster", "{}"},
    {"RegisterContainerInstance",
     "{\"totalResources\":[{\"name\":\"CPU\",\"type\":\"INTEGER\",\"integerValue\":1000},"
     "{\"name\":\"MEMORY\",\"type\":\"INTEGER\",\"integerValue\":1500},{\"name\":\"PORTS\","
     "\"type\":"
     "\"STRINGSET\",\"stringSetValue\":[\"22\"]}],\"attributes\":[{\"name\":\"rack\",\"value\":"
     "\"r1\"}]}"},
    {"RegisterTaskDefinition",
     "{\"family\":\"f\",\"containerDefinitions\":[{\"name\":\"app\",\"image\":\"busybox:1\","
     "\"cpu\":10,\"memory\":64,\"portMappings\":[{\"containerPort\":80,\"hostPort\":8080}]}]}"}};

struct names {
    char text[MAX_NAMES][NAME_SIZE];
    size_t n;
};

struct life {
    struct fl_core *core;
    struct fix *f; /* NULL: the short way */
    struct fl_turn turn;
    int64_t now_ms;
    uint64_t seed;
    uint64_t sessions[MAX_NAMES], next_session;
    struct names tasks;
    struct names instances;
    struct names rollouts, revisions;
    struct fl_arena *arena; /* of a line */
    /* What the last step brought about. */
    unsigned status;
    size_t records_put;
};

/* What the beginning leaves: made once, copied into every life. */
static struct {
    struct fl_arena *arena;
    struct {
        enum fl_record_kind kind;
        const void *object;
    } records[MAX_PREPARED];
    size_t record_count;
    struct fix *f;
    struct names instances;
} prepared;

static void remember(struct names *names, struct fl_str arn)
{
    if (arn.n == 0 || names->n == MAX_NAMES || arn.n >= NAME_SIZE)
        return;
    for (size_t i = 0; i < names->n; i++)
        if (fl_str_is(arn, names->text[i]))
            return;
    (void)snprintf(names->text[names->n++], NAME_SIZE, "%.*s", FL_STR_ARG(arn));
}

/* ---- steps ---- */

static void *take_record(FL_UNUSED void *context, FL_UNUSED int kind, FL_UNUSED const void *record)
{
    static char is_there;
    return &is_there;
}

static void *take_task(FL_UNUSED void *context, FL_UNUSED const struct fl_task_spec *spec)
{
    return NULL;
}

static void learn_tasks(struct life *life, const struct ecs_Task *tasks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        remember(&life->tasks, tasks[i].taskArn);
}

static void learn_service(struct life *life, const struct ecs_Service *service)
{
    remember(&life->rollouts, service->currentServiceDeployment);
    for (size_t i = 0; i < service->currentServiceRevisions.n; i++)
        remember(&life->revisions, service->currentServiceRevisions.items[i].arn);
}

static void learn_listed(struct life *life, const struct ecs_ListTasksResponse *list)
{
    for (size_t i = 0; i < list->taskArns.n; i++)
        remember(&life->tasks, list->taskArns.items[i]);
}

static void *take_answer(void *context, int operation, const void *output)
{
    const struct ecs_RunTaskResponse *run = output;
    const struct ecs_StartTaskResponse *start = output;
    const struct ecs_RegisterContainerInstanceResponse *instance = output;
    if (operation == ECS_OP_RunTask)
        learn_tasks(context, run->tasks.items, run->tasks.n);
    else if (operation == ECS_OP_StartTask)
        learn_tasks(context, start->tasks.items, start->tasks.n);
    else if (operation == ECS_OP_ListTasks)
        learn_listed(context, output);
    else if (operation == ECS_OP_CreateService)
        learn_service(context, ((const struct ecs_CreateServiceResponse *)output)->service);
    else if (operation == ECS_OP_UpdateService)
        learn_service(context, ((const struct ecs_UpdateServiceResponse *)output)->service);
    else if (operation == ECS_OP_RegisterContainerInstance)
        remember(&((struct life *)context)->instances,
                 instance->containerInstance->containerInstanceArn);
    return NULL;
}

static void short_step(struct life *life, struct fl_core_event *event)
{
    const struct fl_core_taker taker = {take_record, take_answer, take_task, life};
    event->now_ms = life->now_ms;
    life->seed++;
    memcpy(event->seed, &life->seed, sizeof(life->seed));
    fl_turn_clear(&life->turn);
    life->turn.taker = &taker;
    fl_core_step(life->core, event, &life->turn);
    life->records_put = life->turn.record_count;
    life->status = 0;
    for (size_t i = 0; i < life->turn.effect_count; i++)
        if (life->turn.effects[i].kind == FL_CORE_EFFECT_REPLY)
            life->status = life->turn.effects[i].status;
}

static void learn(struct life *life)
{
    const struct fl_json *tasks = fix_at(life->f->reply, "tasks");
    for (size_t i = 0; i < fl_json_items(tasks); i++)
        remember(&life->tasks, fl_json_text(fl_json_get(fl_json_item(tasks, i), "taskArn")));
    const struct fl_json *arns = fix_at(life->f->reply, "taskArns");
    for (size_t i = 0; i < fl_json_items(arns); i++)
        remember(&life->tasks, fl_json_text(fl_json_item(arns, i)));
    remember(&life->instances,
             fl_json_text(fix_at(life->f->reply, "containerInstance.containerInstanceArn")));
    remember(&life->rollouts,
             fl_json_text(fix_at(life->f->reply, "service.currentServiceDeployment")));
    const struct fl_json *revisions = fix_at(life->f->reply, "service.currentServiceRevisions");
    for (size_t i = 0; i < fl_json_items(revisions); i++)
        remember(&life->revisions, fl_json_text(fl_json_get(fl_json_item(revisions, i), "arn")));
}

static void step(struct life *life, struct fl_core_event *event)
{
    if (!life->f) {
        short_step(life, event);
        return;
    }
    life->f->now_ms = life->now_ms;
    fix_step(life->f, event);
    life->status = life->f->status;
    life->records_put = life->f->records_put;
    if (life->status == 200)
        learn(life);
}

/* ---- lines ---- */

static const char *named(const struct life *life, char kind, char digit)
{
    const struct names *names = kind == 't'   ? &life->tasks
                                : kind == 'i' ? &life->instances
                                : kind == 'd' ? &life->rollouts
                                : kind == 'r' ? &life->revisions
                                              : NULL;
    if (!names || digit < '0' || (size_t)(digit - '0') >= names->n)
        return NULL;
    return names->text[digit - '0'];
}

static struct fl_str substitute(const struct life *life, struct fl_str text,
                                char ret_text[MAX_TEXT])
{
    size_t n = 0;
    if (fl_str_index(text, '$') < 0)
        return text;
    for (size_t i = 0; i < text.n && n < MAX_TEXT - NAME_SIZE; i++) {
        const char *name =
            text.p[i] == '$' && i + 2 < text.n ? named(life, text.p[i + 1], text.p[i + 2]) : NULL;
        size_t name_n = name ? strlen(name) : 0;
        if (name)
            memcpy(ret_text + n, name, name_n);
        else
            ret_text[n] = text.p[i];
        n += name ? name_n : 1;
        i += name ? 2 : 0;
    }
    return (struct fl_str){ret_text, n};
}

/* In the service's tables: finding a name among all operations takes longer than most. */
static int operation_of(size_t command)
{
    static int known[FL_ARRAY_SIZE(commands)];
    if (known[command] == 0)
        known[command] = 1 + fl_aws_service_find(&ecs_service, fl_str_of(commands[command]));
    assert_true(known[command] > 0);
    return known[command] - 1;
}

static void command(struct life *life, size_t index, struct fl_str text)
{
    struct fl_shape_error error;
    static char bytes[MAX_TEXT];
    struct fl_str request = substitute(life, text, bytes);
    int operation = operation_of(index);
    const struct fl_json *json = fl_json_read(request, life->arena, NULL);
    const struct fl_shape *shape = ecs_service.operations[operation].input;
    void *input = json ? fl_arena_alloc(life->arena, fl_shape_size(shape)) : NULL;
    if (!json || fl_shape_decode(shape, json, life->arena, input, &error) < 0)
        return;
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_COMMAND,
        .request_id = 7,
        .operation = operation,
        .input = input,
        .input_size = request.n,
    };
    step(life, &event);
    assert_true(life->status == 200 || life->records_put == 0);
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

static void session_event(struct life *life, enum fl_core_event_kind kind, const char *cluster,
                          const char *id, uint64_t session)
{
    struct fl_core_event event = {
        .kind = kind,
        .cluster = fl_str_of(cluster),
        .instance = fl_str_of(id),
        .session = session,
        .agent_version = FL_STR("1.2.3"),
        .agent_hash = FL_STR("abcdef"),
        .docker_version = FL_STR("none"),
    };
    short_step(life, &event);
}

static void long_connect_or_not(struct life *life, char kind, const char *cluster, const char *id)
{
    life->f->now_ms = life->now_ms;
    if (kind == '+')
        (void)fix_connect(life->f, cluster, id);
    for (size_t i = 0; kind == '-' && i < life->f->session_count; i++)
        if (strcmp(life->f->sessions[i].instance, id) == 0 && life->f->sessions[i].session)
            fix_disconnect(life->f, cluster, id, life->f->sessions[i].session);
}

static void connect_or_not(struct life *life, char kind, char digit)
{
    char cluster[64], id[64];
    const char *arn = named(life, 'i', digit);
    if (!arn || !take_apart(arn, cluster, id))
        return;
    uint64_t *session = &life->sessions[digit - '0'];
    if (life->f) {
        long_connect_or_not(life, kind, cluster, id);
    } else if (kind == '+') {
        *session = life->next_session++;
        session_event(life, FL_CORE_EVENT_AGENT_CONNECTED, cluster, id, *session);
    } else if (*session) {
        session_event(life, FL_CORE_EVENT_AGENT_DISCONNECTED, cluster, id, *session);
        *session = 0;
    }
}

static void explain(struct life *life, struct fl_str text, char kind)
{
    static char bytes[MAX_TEXT];
    struct fl_str name = substitute(life, text, bytes);
    struct fl_core_event event = {.kind = FL_CORE_EVENT_EXPLAIN};
    if (kind == 'F')
        event.task = name;
    else if (kind == 'G')
        event.service = name;
    else
        event.definition = name;
    step(life, &event);
    assert_int_equal(life->records_put, 0);
}

/* A timer brings about all that is due: services come to rest within so many looks. */
static void wait_for_rest(struct life *life)
{
    enum { MAX_LOOKS = 3000 };
    const struct fl_core *core = life->f ? life->f->core : life->core;
    for (int i = 0; fl_core_next_due(core) <= life->now_ms; i++) {
        assert_true(i < MAX_LOOKS);
        step(life, &(struct fl_core_event){.kind = FL_CORE_EVENT_TIMER});
    }
    step(life, &(struct fl_core_event){.kind = FL_CORE_EVENT_TIMER});
}

static void live_a_line(struct life *life, struct fl_str line)
{
    char kind = line.n > 0 ? line.p[0] : '\0';
    size_t index = (size_t)(unsigned char)kind - 'a';
    life->now_ms += 7;
    fl_arena_reset(life->arena);
    if (index < FL_ARRAY_SIZE(commands))
        command(life, index, fl_str_from(line, 1));
    else if ((kind == '+' || kind == '-') && line.n > 1)
        connect_or_not(life, kind, line.p[1]);
    else if (kind == 'E' || kind == 'F' || kind == 'G')
        explain(life, fl_str_from(line, 1), kind);
    else if (kind == 'T')
        wait_for_rest(life);
    else if (kind == 'M')
        life->now_ms += FL_CORE_STRICT_SETTLE_MS;
    else if (kind == 'H')
        life->now_ms += FL_CORE_STOPPED_TASK_MS / 2;
}

/* ---- beginnings ---- */

/* Both ways begin with what these records say. */
static void prepare_record(const struct fix_record *record)
{
    struct fl_shape_error error;
    enum fl_record_kind kind = FL_RECORD_CLUSTER;
    struct fl_err err = {0};
    while (kind < FL_RECORD_KINDS && "cidfsmnort"[kind] != record->key[0])
        kind++;
    const struct fl_json *json = fl_json_read(fl_str_of(record->value), prepared.arena, &err);
    const struct fl_shape *shape = fl_record_shape(kind);
    void *object = fl_arena_alloc(prepared.arena, fl_shape_size(shape));
    assert_true(prepared.record_count < MAX_PREPARED);
    assert_int_equal(fl_shape_decode(shape, json, prepared.arena, object, &error), 0);
    prepared.records[prepared.record_count].kind = kind;
    prepared.records[prepared.record_count++].object = object;
}

static void prepare(void)
{
    struct fix *f = prepared.f = fix_new();
    prepared.arena = fl_arena_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(beginning); i++) {
        assert_int_equal(fix_send(f, beginning[i][0], fl_str_of(beginning[i][1])), 200);
        remember(&prepared.instances,
                 fl_json_text(fix_at(f->reply, "containerInstance.containerInstanceArn")));
    }
    for (size_t i = 0; i < f->record_count; i++)
        prepare_record(&f->records[i]);
}

static void begin_long(struct life *life)
{
    life->f = fix_new();
    life->f->seed = life->seed;
    for (size_t i = 0; i < prepared.f->record_count; i++) {
        const struct fix_record *record = &prepared.f->records[i];
        struct fl_record copy = {.key = fl_str_of(record->key), .value = fl_str_of(record->value)};
        fix_store(life->f, &copy);
    }
    fl_core_free(life->f->core);
    life->f->core = fix_load(life->f);
}

static void begin_short(struct life *life)
{
    life->core = fix_new_core();
    for (size_t i = 0; i < prepared.record_count; i++)
        fl_state_apply(life->core, prepared.records[i].kind, prepared.records[i].object);
}

static void end(struct life *life)
{
    if (life->f) {
        fix_recover(life->f, false);
        fix_free(life->f);
    }
    fl_core_free(life->core);
}

static void live(const uint8_t *bytes, size_t n, bool whole_way)
{
    static struct life life; /* its arenas are used again */
    struct fl_str rest = {(const char *)bytes, n}, line;
    struct fl_turn turn = life.turn;
    life = (struct life){.arena = life.arena, .now_ms = prepared.f->now_ms};
    life.turn = turn;
    life.seed = prepared.f->seed;
    life.next_session = 1;
    life.instances = prepared.instances;
    if (!life.arena) {
        life.arena = fl_arena_new();
        fl_turn_init(&life.turn);
    }
    (whole_way ? begin_long : begin_short)(&life);
    connect_or_not(&life, '+', '0');
    for (int i = 0; i < MAX_LINES && fl_str_split(&rest, '\n', &line); i++)
        live_a_line(&life, line);
    end(&life);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (!prepared.f)
        prepare();
    live(bytes, n, false);
    if (fl_fuzz_one_in(WHOLE_WAY_ONE_IN, bytes, n))
        live(bytes, n, true);
    return 0;
}
