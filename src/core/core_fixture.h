/* For the core's tests: a core, the records that it has brought about, and a way to ask it things
 * in JSON. After any step a second core can be built from the records alone and compared with the
 * live one by asking both the same questions: recovery must equal the model. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/id.h"
#include "core/core.h"
#include "shapes/ecs_shapes.h"
#include "wire/acs.h"
#include "wire/json.h"

enum { FIX_MAX_SESSIONS = 64 };

struct fix_record {
    char *key;
    char *value;
};

struct fix_session {
    char cluster[64];
    char instance[64];
    uint64_t session;
};

struct fix {
    struct fl_core *core;
    int64_t now_ms;
    uint64_t seed;
    uint64_t next_session;
    struct fix_record *records;
    size_t record_count;
    struct fix_session sessions[FIX_MAX_SESSIONS];
    size_t session_count;
    /* What the last step brought about. */
    unsigned status;
    struct fl_arena *answer; /* holds what follows; NULL without it */
    const struct fl_json *reply;
    char *reply_text;
    size_t records_put;
    const struct fl_json *sent; /* [{"cluster":…,"instance":…,"task":{…} or "closed":true}] */
};

static const char fix_account[] = "000000000000";
static const char fix_region[] = "eu-central-1";
/* Cores that are made from now on; a test that wants it sets it for itself. */
static bool fix_is_strict;

static inline struct fl_core *fix_new_core(void)
{
    struct fl_core_config config = {
        .region = fl_str_of(fix_region),
        .account = fl_str_of(fix_account),
        .endpoint = FL_STR("http://127.0.0.1:4566/acs"),
        .telemetry = FL_STR("http://127.0.0.1:4566/tcs"),
        .settle_ms = FL_CORE_STRICT_SETTLE_MS,
        .lost_after_ms = 120 * 1000,
        .strict = fix_is_strict,
    };
    return fl_core_new(&config);
}

static inline struct fix *fix_new(void)
{
    struct fix *f = fl_calloc(1, sizeof(*f));
    f->core = fix_new_core();
    f->now_ms = 1700000000123;
    f->next_session = 1;
    return f;
}

static inline void fix_forget_answer(struct fix *f)
{
    fl_arena_free(f->answer);
    free(f->reply_text);
    f->answer = NULL;
    f->reply = NULL;
    f->sent = NULL;
    f->reply_text = NULL;
    f->status = 0;
    f->records_put = 0;
}

static inline void fix_free(struct fix *f)
{
    fix_forget_answer(f);
    fl_core_free(f->core);
    for (size_t i = 0; i < f->record_count; i++) {
        free(f->records[i].key);
        free(f->records[i].value);
    }
    free(f->records);
    free(f);
}

/* The first record whose key is not below the given one. */
static inline size_t fix_find_record(const struct fix *f, const char *key)
{
    size_t low = 0, high = f->record_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(f->records[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline void fix_store(struct fix *f, const struct fl_record *record)
{
    char *key = fl_strndup(record->key.p, record->key.n);
    size_t at = fix_find_record(f, key);
    bool found = at < f->record_count && strcmp(f->records[at].key, key) == 0;
    if (record->value.n == 0) {
        assert_true(found);
        free(f->records[at].key);
        free(f->records[at].value);
        f->record_count--;
        memmove(&f->records[at], &f->records[at + 1], (f->record_count - at) * sizeof(*f->records));
        free(key);
        return;
    }
    if (!found) {
        f->records = fl_realloc(f->records, (f->record_count + 1) * sizeof(*f->records));
        memmove(&f->records[at + 1], &f->records[at], (f->record_count - at) * sizeof(*f->records));
        f->records[at] = (struct fix_record){key, NULL};
        f->record_count++;
    } else {
        free(key);
        free(f->records[at].value);
    }
    f->records[at].value = fl_strndup(record->value.p, record->value.n);
}

static inline const struct fl_json *fix_parse(struct fl_str text, struct fl_arena *arena)
{
    struct fl_err err = {0};
    const struct fl_json *json = fl_json_read(text, arena, &err);
    if (!json)
        print_message("# not JSON (%s): %.*s\n", err.text, FL_STR_ARG(text));
    assert_non_null(json);
    return json;
}

/* A copy that outlives the next step. */
static inline const struct fl_json *fix_copy(const struct fl_json *json, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 << 20);
    fl_jw_json(&(struct fl_json_writer){.buf = &text}, json);
    return fix_parse(fl_buf_str(&text), arena);
}

/* {"list":"manifest" or "stop","id":…,"tasks":{<arn>: desired RUNNING?}} */
static inline void fix_take_list(const struct fl_core_effect *effect, struct fl_json_writer *sent)
{
    bool is_manifest = effect->kind == FL_CORE_EFFECT_AGENT_MANIFEST;
    fl_jw_object_begin(sent);
    fl_jw_member_str(sent, "list", is_manifest ? FL_STR("manifest") : FL_STR("stop"));
    fl_jw_member_str(sent, "id", effect->message_id);
    fl_jw_key(sent, "tasks");
    fl_jw_object_begin(sent);
    for (size_t i = 0; i < effect->task_count; i++) {
        fl_jw_key_str(sent, effect->tasks[i].arn);
        fl_jw_bool(sent, effect->tasks[i].desired_running);
    }
    fl_jw_object_end(sent);
    fl_jw_object_end(sent);
}

static inline void fix_take_effect(struct fix *f, const struct fl_core_effect *effect,
                                   struct fl_json_writer *sent)
{
    switch (effect->kind) {
    case FL_CORE_EFFECT_REPLY:
        assert_null(f->reply);
        f->status = effect->status;
        f->reply = fix_parse(effect->body, f->answer);
        f->reply_text = fl_strndup(effect->body.p, effect->body.n);
        return;
    case FL_CORE_EFFECT_AGENT_TASK:
        fl_jw_object_begin(sent);
        fl_jw_member_str(sent, "cluster", effect->cluster);
        fl_jw_member_str(sent, "instance", effect->instance);
        fl_jw_key(sent, "task");
        fl_jw_raw(sent, effect->task);
        fl_jw_object_end(sent);
        return;
    case FL_CORE_EFFECT_AGENT_MANIFEST:
    case FL_CORE_EFFECT_AGENT_STOP_LIST:
        fix_take_list(effect, sent);
        return;
    case FL_CORE_EFFECT_AGENT_CLOSE:
        fl_jw_object_begin(sent);
        fl_jw_member_str(sent, "cluster", effect->cluster);
        fl_jw_member_str(sent, "instance", effect->instance);
        fl_jw_member_bool(sent, "closed", true);
        fl_jw_object_end(sent);
        return;
    }
}

/* Steps the core with an event whose time and seed are the fixture's. */
static inline void fix_step(struct fix *f, struct fl_core_event *event)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 << 20);
    struct fl_json_writer sent = {.buf = &text};
    struct fl_turn turn;
    event->now_ms = f->now_ms;
    f->seed++;
    memcpy(event->seed, &f->seed, sizeof(f->seed));
    fix_forget_answer(f);
    f->answer = fl_arena_new();
    fl_jw_array_begin(&sent);
    fl_turn_init(&turn);
    fl_core_step(f->core, event, &turn);
    for (size_t i = 0; i < turn.record_count; i++)
        fix_store(f, &turn.records[i]);
    f->records_put = turn.record_count;
    for (size_t i = 0; i < turn.effect_count; i++)
        fix_take_effect(f, &turn.effects[i], &sent);
    fl_jw_array_end(&sent);
    f->sent = fix_parse(fl_buf_str(&text), f->answer);
    fl_turn_free(&turn);
}

/* Sends a request given as JSON text. What the tables refuse shows as status 400 with the table's
 * sentence, as the server would answer. */
static inline unsigned fix_send(struct fix *f, const char *operation, struct fl_str text)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fix_parse(text, arena);
    struct fl_shape_error err;
    int index = fl_aws_service_find(&ecs_service, fl_str_of(operation));
    assert_true(index >= 0);
    const struct fl_shape *shape = ecs_service.operations[index].input;
    void *input = fl_arena_alloc(arena, fl_shape_size(shape));
    if (fl_shape_decode(shape, json, arena, input, &err) < 0) {
        fix_forget_answer(f);
        f->status = 400;
        FL_CLEANUP_BUF struct fl_buf refusal = FL_BUF_INIT(4096);
        struct fl_json_writer jw = {.buf = &refusal};
        fl_jw_object_begin(&jw);
        fl_jw_member_str(&jw, "__type", FL_STR("shape"));
        fl_jw_member_str(&jw, "message", fl_str_of(err.text));
        fl_jw_object_end(&jw);
        f->answer = fl_arena_new();
        f->reply = fix_parse(fl_buf_str(&refusal), f->answer);
        return f->status;
    }
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_COMMAND,
        .request_id = 7,
        .operation = index,
        .input = input,
        .input_size = text.n,
    };
    fix_step(f, &event);
    assert_non_null(f->reply);
    return f->status;
}

/* The same with the request as a format; apostrophes in it stand for quotation marks. */
static inline unsigned fix_call(struct fix *f, const char *operation, const char *fmt, ...)
    FL_PRINTF(3, 4);
static inline unsigned fix_call(struct fix *f, const char *operation, const char *fmt, ...)
{
    FL_CLEANUP_FREE char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++)
        if (text[i] == '\'')
            text[i] = '"';
    return fix_send(f, operation, (struct fl_str){text, (size_t)n});
}

/* A value of the last answer: "tasks.0.containers.1.name"; NULL when there is none. */
static inline const struct fl_json *fix_at(const struct fl_json *from, const char *path)
{
    struct fl_str rest = fl_str_of(path), part;
    const struct fl_json *at = from;
    while (at && fl_str_split(&rest, '.', &part)) {
        uint64_t index;
        char name[64];
        (void)snprintf(name, sizeof(name), "%.*s", FL_STR_ARG(part));
        if (fl_json_is(at, FL_JSON_ARRAY) && fl_str_to_u64(part, &index))
            at = fl_json_item(at, (size_t)index);
        else
            at = fl_json_get(at, name);
    }
    return at;
}

static inline const char *fix_text(const struct fix *f, const char *path)
{
    const char *text = fl_json_z(fix_at(f->reply, path));
    return text ? text : "(none)";
}

static inline int64_t fix_int(const struct fix *f, const char *path)
{
    const struct fl_json *value = fix_at(f->reply, path);
    if (!fl_json_is(value, FL_JSON_INTEGER))
        print_message("# no integer at %s in %s\n", path, f->reply_text);
    assert_true(fl_json_is(value, FL_JSON_INTEGER));
    return fl_json_int(value);
}

static inline size_t fix_size(const struct fix *f, const char *path)
{
    return fl_json_items(fix_at(f->reply, path));
}

#define fix_ok(f, ...)                                                                             \
    do {                                                                                           \
        if (fix_call(f, __VA_ARGS__) != 200)                                                       \
            print_message("# refused: %s\n",                                                       \
                          (f)->reply_text ? (f)->reply_text : fix_text(f, "message"));             \
        assert_int_equal((f)->status, 200);                                                        \
    } while (0)

/* The call is refused with this code and exactly these words, and changes nothing. */
#define fix_refused(f, code, words, ...)                                                           \
    do {                                                                                           \
        assert_int_equal(fix_call(f, __VA_ARGS__), 400);                                           \
        assert_string_equal(fix_text(f, "message"), words);                                        \
        assert_string_equal(fix_text(f, "__type"), code);                                          \
        assert_int_equal((f)->records_put, 0);                                                     \
        assert_int_equal(fl_json_items((f)->sent), 0);                                             \
    } while (0)

static inline void fix_agent_event(struct fix *f, enum fl_core_event_kind kind, const char *cluster,
                                   const char *instance, uint64_t session)
{
    struct fl_core_event event = {
        .kind = kind,
        .cluster = fl_str_of(cluster),
        .instance = fl_str_of(instance),
        .session = session,
        .agent_version = FL_STR("1.2.3"),
        .agent_hash = FL_STR("abcdef"),
        .docker_version = FL_STR("none"),
    };
    fix_step(f, &event);
}

/* Opens a session for an instance; returns its number. */
static inline uint64_t fix_connect(struct fix *f, const char *cluster, const char *instance)
{
    size_t at = 0;
    while (at < f->session_count && strcmp(f->sessions[at].instance, instance) != 0)
        at++;
    assert_true(at < FIX_MAX_SESSIONS);
    struct fix_session *s = &f->sessions[at];
    assert_true(snprintf(s->cluster, sizeof(s->cluster), "%s", cluster) < (int)sizeof(s->cluster));
    assert_true(snprintf(s->instance, sizeof(s->instance), "%s", instance) <
                (int)sizeof(s->instance));
    s->session = f->next_session++;
    f->session_count = FL_MAX(f->session_count, at + 1);
    fix_agent_event(f, FL_CORE_EVENT_AGENT_CONNECTED, cluster, instance, s->session);
    return s->session;
}

static inline void fix_disconnect(struct fix *f, const char *cluster, const char *instance,
                                  uint64_t session)
{
    fix_agent_event(f, FL_CORE_EVENT_AGENT_DISCONNECTED, cluster, instance, session);
    for (size_t i = 0; i < f->session_count; i++)
        if (f->sessions[i].session == session)
            f->sessions[i].session = 0;
}

static inline void fix_timer(struct fix *f)
{
    struct fl_core_event event = {.kind = FL_CORE_EVENT_TIMER};
    fix_step(f, &event);
}

/* The id at the end of an ARN. */
static inline const char *fix_id(const char *arn)
{
    const char *slash = strrchr(arn, '/');
    return slash ? slash + 1 : arn;
}

/* Registers and connects an instance; writes its id. */
static inline void fix_add_instance(struct fix *f, const char *cluster, int cpu, int memory,
                                    const char *attributes, char ret_id[64])
{
    fix_ok(f, "RegisterContainerInstance",
           "{'cluster':'%s','totalResources':["
           "{'name':'CPU','type':'INTEGER','integerValue':%d},"
           "{'name':'MEMORY','type':'INTEGER','integerValue':%d},"
           "{'name':'PORTS','type':'STRINGSET','stringSetValue':['22','51678']}],"
           "'attributes':[%s]}",
           cluster, cpu, memory, attributes);
    (void)snprintf(ret_id, 64, "%s", fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
    (void)fix_connect(f, cluster, ret_id);
}

/* Recovery. */

static inline struct fl_core *fix_load(const struct fix *f)
{
    struct fl_core *core = fix_new_core();
    for (size_t i = 0; i < f->record_count; i++) {
        struct fl_err err = {0};
        int rc =
            fl_core_load(core, fl_str_of(f->records[i].key), fl_str_of(f->records[i].value), &err);
        if (rc < 0)
            print_message("# %s: %s\n%s\n", f->records[i].key, err.text, f->records[i].value);
        assert_int_equal(rc, 0);
    }
    return core;
}

/* Gives a rebuilt core the sessions that the agents would open again. They must put nothing: the
 * versions that they tell are in the records. */
static inline void fix_reconnect(struct fix *f)
{
    for (size_t i = 0; i < f->session_count; i++) {
        const struct fix_session *s = &f->sessions[i];
        if (!s->session)
            continue;
        fix_agent_event(f, FL_CORE_EVENT_AGENT_CONNECTED, s->cluster, s->instance, s->session);
        assert_int_equal(f->records_put, 0);
    }
}

/* Appends what the core answers to one question; questions change nothing. */
static inline void fix_ask(struct fix *f, struct fl_buf *out, const char *operation,
                           const char *request)
{
    (void)fix_send(f, operation, fl_str_of(request));
    assert_int_equal(f->records_put, 0);
    fl_buf_add_z(out, operation);
    fl_buf_add_z(out, f->reply_text);
    fl_buf_add_z(out, "\n");
}

/* Lists, page by page of `max`, and describes all that is listed, `max` at a time. `members` goes
 * into every request, as in "\"cluster\":\"c\",". */
static inline void fix_ask_all(struct fix *f, struct fl_buf *out, const char *list,
                               const char *listed, const char *filter, const char *describe,
                               const char *named, const char *members, int max)
{
    char token[1300] = "";
    do {
        FL_CLEANUP_BUF struct fl_buf request = FL_BUF_INIT(1 << 20);
        fl_buf_printf(&request, "{%s%s\"maxResults\":%d%s%s%s}", members, filter, max,
                      token[0] ? ",\"nextToken\":\"" : "", token, token[0] ? "\"" : "");
        fix_ask(f, out, list, request.p);
        assert_int_equal(f->status, 200);
        const char *next = fl_json_z(fix_at(f->reply, "nextToken"));
        (void)snprintf(token, sizeof(token), "%s", next ? next : "");
        const struct fl_json *names = fix_at(f->reply, listed);
        assert_true(fl_json_items(names) <= (size_t)max);
        if (fl_json_items(names) == 0)
            break;
        fl_buf_clear(&request);
        fl_buf_printf(&request, "{%s\"include\":[\"TAGS\"],\"%s\":", members, named);
        fl_jw_json(&(struct fl_json_writer){.buf = &request}, names);
        fl_buf_add_char(&request, '}');
        fix_ask(f, out, describe, request.p);
        assert_int_equal(f->status, 200);
    } while (token[0]);
}

static inline void fix_ask_definitions(struct fix *f, struct fl_buf *out, const char *status)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf request = FL_BUF_INIT(4096);
    fl_buf_printf(&request, "{\"status\":\"%s\",\"sort\":\"DESC\"}", status);
    fix_ask(f, out, "ListTaskDefinitions", request.p);
    const struct fl_json *names = fix_copy(fix_at(f->reply, "taskDefinitionArns"), arena);
    for (size_t i = 0; i < fl_json_items(names); i++) {
        fl_buf_clear(&request);
        fl_buf_printf(&request, "{\"taskDefinition\":\"%s\",\"include\":[\"TAGS\"]}",
                      fl_json_z(fl_json_item(names, i)));
        fix_ask(f, out, "DescribeTaskDefinition", request.p);
    }
}

/* Instances that no listing shows any more. */
static inline void fix_ask_inactive(struct fix *f, struct fl_buf *out)
{
    for (size_t i = 0; i < f->record_count; i++) {
        char request[600];
        struct fl_str rest = fl_str_of(f->records[i].key), kind, cluster = FL_STR("");
        if (!fl_str_split(&rest, '/', &kind) || !fl_str_is(kind, "i") ||
            !strstr(f->records[i].value, "\"INACTIVE\"") || !fl_str_split(&rest, '/', &cluster))
            continue;
        (void)snprintf(request, sizeof(request),
                       "{\"cluster\":\"%.*s\",\"containerInstances\":[\"%.*s\"]}",
                       FL_STR_ARG(cluster), FL_STR_ARG(rest));
        fix_ask(f, out, "DescribeContainerInstances", request);
    }
}

/* The newest service deployments of a service, each with the revision that it led to. */
static inline void fix_ask_rollouts(struct fix *f, struct fl_buf *out, const char *members)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fix_ask(f, out, "ListServiceDeployments", members);
    assert_int_equal(f->status, 200);
    const struct fl_json *list = fix_copy(fix_at(f->reply, "serviceDeployments"), arena);
    for (size_t i = 0; i < fl_json_items(list); i++) {
        char request[1200];
        const struct fl_json *item = fl_json_item(list, i);
        (void)snprintf(request, sizeof(request), "{\"serviceDeploymentArns\":[\"%s\"]}",
                       fl_json_z(fl_json_get(item, "serviceDeploymentArn")));
        fix_ask(f, out, "DescribeServiceDeployments", request);
        assert_int_equal(f->status, 200);
        (void)snprintf(request, sizeof(request), "{\"serviceRevisionArns\":[\"%s\"]}",
                       fl_json_z(fl_json_get(item, "targetServiceRevisionArn")));
        fix_ask(f, out, "DescribeServiceRevisions", request);
        assert_int_equal(f->status, 200);
    }
}

/* Services, INACTIVE ones too. */
static inline void fix_ask_services(struct fix *f, struct fl_buf *out)
{
    for (size_t i = fix_find_record(f, "m/"); i < fix_find_record(f, "m0"); i++) {
        char request[900];
        struct fl_str rest = fl_str_of(f->records[i].key), part, cluster = FL_STR("");
        (void)fl_str_split(&rest, '/', &part);
        (void)fl_str_split(&rest, '/', &cluster);
        if (!fl_core_has_cluster(f->core, cluster))
            continue;
        (void)snprintf(request, sizeof(request),
                       "{\"cluster\":\"%.*s\",\"services\":[\"%.*s\"],\"include\":[\"TAGS\"]}",
                       FL_STR_ARG(cluster), FL_STR_ARG(rest));
        fix_ask(f, out, "DescribeServices", request);
        assert_int_equal(f->status, 200);
        (void)snprintf(request, sizeof(request), "{\"cluster\":\"%.*s\",\"service\":\"%.*s\"}",
                       FL_STR_ARG(cluster), FL_STR_ARG(rest));
        fix_ask_rollouts(f, out, request);
    }
}

/* A core with services begins with a look at each. */
static inline int64_t fix_due(const struct fix *f)
{
    bool has_service = fix_find_record(f, "m/") < fix_find_record(f, "m0");
    return has_service ? 0 : fl_core_next_due(f->core);
}

/* Everything that a user can see, as one text. */
static inline void fix_see(struct fix *f, struct fl_buf *out)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_core_counts counts = fl_core_count(f->core);
    fl_buf_printf(out, "%zu %zu %zu %zu %zu, due %lld\n", counts.clusters, counts.instances,
                  counts.definitions, counts.services, counts.tasks, (long long)fix_due(f));
    fix_ask_definitions(f, out, "ACTIVE");
    fix_ask_definitions(f, out, "INACTIVE");
    fix_ask_definitions(f, out, "DELETE_IN_PROGRESS");
    fix_ask(f, out, "ListTaskDefinitionFamilies", "{}");
    fix_ask(f, out, "ListAccountSettings", "{\"effectiveSettings\":true}");
    fix_ask_all(f, out, "ListClusters", "clusterArns", "", "DescribeClusters", "clusters", "", 7);
    fix_ask_inactive(f, out);
    fix_ask_services(f, out);
    fix_ask(f, out, "ListClusters", "{}");
    const struct fl_json *clusters = fix_copy(fix_at(f->reply, "clusterArns"), arena);
    for (size_t i = 0; i < fl_json_items(clusters); i++) {
        char members[400];
        (void)snprintf(members, sizeof(members), "\"cluster\":\"%s\",",
                       fl_json_z(fl_json_item(clusters, i)));
        fix_ask_all(f, out, "ListContainerInstances", "containerInstanceArns", "",
                    "DescribeContainerInstances", "containerInstances", members, 17);
        fix_ask_all(f, out, "ListServices", "serviceArns", "", "DescribeServices", "services",
                    members, 10);
        fix_ask_all(f, out, "ListTasks", "taskArns", "", "DescribeTasks", "tasks", members, 71);
        fix_ask_all(f, out, "ListTasks", "taskArns", "\"desiredStatus\":\"STOPPED\",",
                    "DescribeTasks", "tasks", members, 100);
    }
}

static inline void fix_complain(const char *live, const char *loaded)
{
    size_t at = 0;
    while (live[at] && live[at] == loaded[at])
        at++;
    at = at > 200 ? at - 200 : 0;
    print_message("# live: %.400s\n# loaded: %.400s\n", live + at, loaded + at);
}

/* Builds a second core from the records alone and compares; with `adopt` it replaces the live one
 * and the agents' sessions are opened again. The last answer is kept. */
static inline void fix_recover(struct fix *f, bool adopt)
{
    FL_CLEANUP_BUF struct fl_buf live = FL_BUF_INIT(256 << 20);
    FL_CLEANUP_BUF struct fl_buf loaded = FL_BUF_INIT(256 << 20);
    struct fix kept = *f;
    uint64_t seed = f->seed;
    f->reply = f->sent = NULL;
    f->answer = NULL;
    f->reply_text = NULL;
    fix_see(f, &live);
    f->core = fix_load(f);
    fix_reconnect(f);
    fix_see(f, &loaded);
    if (strcmp(live.p, loaded.p) != 0)
        fix_complain(live.p, loaded.p);
    assert_string_equal(live.p, loaded.p);
    fix_forget_answer(f);
    f->seed = seed;
    f->status = kept.status;
    f->answer = kept.answer;
    f->reply = kept.reply;
    f->reply_text = kept.reply_text;
    f->sent = kept.sent;
    f->records_put = kept.records_put;
    if (adopt) {
        fl_core_free(kept.core);
    } else {
        fl_core_free(f->core);
        f->core = kept.core;
    }
}

/* A small definition, and the settings that most tests need. */
static inline void fix_register(struct fix *f, const char *family, int cpu, int memory,
                                const char *more)
{
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'%s','containerDefinitions':[{'name':'app','image':'busybox:1',"
           "'cpu':%d,'memory':%d%s}]}",
           family, cpu, memory, more);
}

/* Lets the scheduler look until there is nothing left to do now. */
static inline void fix_schedule(struct fix *f)
{
    for (int i = 0; fl_core_next_due(f->core) <= f->now_ms; i++) {
        assert_true(i < 1000);
        fix_timer(f);
    }
}

static inline unsigned fix_report(struct fix *f, const char *task, const char *status,
                                  const char *more)
{
    fix_ok(f, "SubmitTaskStateChange", "{'task':'%s','status':'%s'%s}", task, status, more);
    assert_string_equal(fix_text(f, "acknowledgment"), "OK");
    return f->status;
}
