/* What-if's core: its calls and answers, and the hosts and definitions that it begins with. */
#include <errno.h>
#include <stdio.h>

#include "shapes/ecs_shapes.h"
#include "sim/whatif_impl.h"
#include "wire/json.h"

void whatif_step(struct whatif *w, struct fl_core_event *event)
{
    event->now_ms = WHATIF_BEGIN_MS + w->now_ms;
    for (size_t i = 0; i < sizeof(event->seed); i += sizeof(uint64_t)) {
        uint64_t word = fl_rand_u64(&w->rand);
        memcpy(event->seed + i, &word, sizeof(word));
    }
    fl_turn_clear(&w->turn);
    fl_core_step(w->core, event, &w->turn);
    w->totals->steps++;
}

const struct fl_core_effect *whatif_reply(const struct whatif *w)
{
    for (size_t i = 0; i < w->turn.effect_count; i++)
        if (w->turn.effects[i].kind == FL_CORE_EFFECT_REPLY)
            return &w->turn.effects[i];
    return NULL;
}

const struct fl_json *whatif_answer(struct whatif *w, const char *what)
{
    const struct fl_core_effect *reply = whatif_reply(w);
    FL_ASSERT(reply);
    const struct fl_json *json = fl_json_read(reply->body, w->arena, NULL);
    if (reply->status == 200)
        return json;
    const char *message = fl_json_z(fl_json_get(json, "message"));
    (void)fl_err_set(w->err, -EINVAL, "%s is refused: %s", what,
                     message ? message : "for an unknown reason");
    return NULL;
}

int whatif_command(struct whatif *w, int operation, const struct fl_buf *body, const char *what)
{
    const struct fl_shape *shape = ecs_service.operations[operation].input;
    struct fl_shape_error fault;
    fl_arena_reset(w->arena);
    void *input = fl_arena_alloc(w->arena, fl_shape_size(shape));
    const struct fl_json *json = fl_json_read(fl_buf_str(body), w->arena, w->err);
    if (!json)
        return -EINVAL;
    if (fl_shape_decode(shape, json, w->arena, input, &fault) < 0)
        return fl_err_set(w->err, -EINVAL, "%s is refused: %s", what, fault.text);
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_COMMAND,
        .operation = operation,
        .input = input,
        .input_size = 1024,
    };
    whatif_step(w, &event);
    return 0;
}

const struct fl_json *whatif_ask(struct whatif *w, int operation, const struct fl_buf *body,
                                 const char *what)
{
    return whatif_command(w, operation, body, what) < 0 ? NULL : whatif_answer(w, what);
}

/* ---- the beginning ---- */

static void add_attribute(struct fl_json_writer *jw, const char *name, const struct fl_json *value)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", fl_str_of(name));
    if (value)
        fl_jw_member_str(jw, "value", fl_json_text(value));
    fl_jw_object_end(jw);
}

static void add_resource(struct fl_json_writer *jw, const char *name, int value)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", fl_str_of(name));
    fl_jw_member_str(jw, "type", FL_STR("INTEGER"));
    fl_jw_member_int(jw, "integerValue", value);
    fl_jw_object_end(jw);
}

static void write_host(const struct whatif_hosts *hosts, uint32_t index, struct fl_buf *body)
{
    struct fl_json_writer jw = {.buf = body};
    size_t zones = fl_json_items(hosts->zones);
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", FL_STR("default"));
    fl_jw_key(&jw, "totalResources");
    fl_jw_array_begin(&jw);
    add_resource(&jw, "CPU", hosts->cpu);
    add_resource(&jw, "MEMORY", hosts->memory);
    fl_jw_raw(&jw, FL_STR("{\"name\":\"PORTS\",\"type\":\"STRINGSET\","
                          "\"stringSetValue\":[\"22\"]}"));
    fl_jw_array_end(&jw);
    fl_jw_key(&jw, "attributes");
    fl_jw_array_begin(&jw);
    add_attribute(&jw, "com.amazonaws.ecs.capability.docker-remote-api.1.18", NULL);
    if (zones)
        add_attribute(&jw, "ecs.availability-zone", fl_json_item(hosts->zones, index % zones));
    if (hosts->type)
        add_attribute(&jw, "ecs.instance-type", hosts->type);
    for (size_t i = 0; i < fl_json_members(hosts->attributes); i++)
        add_attribute(&jw, fl_json_z(fl_json_member_name(hosts->attributes, i)),
                      fl_json_member(hosts->attributes, i));
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
}

static int add_host(struct whatif *w, const struct whatif_hosts *hosts, uint32_t index)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "a host of hosts[%zu]",
                   (size_t)(hosts - w->scenario->hosts));
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(WHATIF_MAX_BODY);
    write_host(hosts, index, &body);
    const struct fl_json *answer = whatif_ask(w, ECS_OP_RegisterContainerInstance, &body, what);
    if (!answer)
        return -EINVAL;
    struct fl_str arn =
        fl_json_text(fl_json_get(fl_json_get(answer, "containerInstance"), "containerInstanceArn"));
    struct fl_core_event connected = {
        .kind = FL_CORE_EVENT_AGENT_CONNECTED,
        .cluster = FL_STR("default"),
        .instance = fl_str_from(arn, (size_t)fl_str_rindex(arn, '/') + 1),
        .session = ++w->sessions,
        .agent_version = FL_STR("0.1"),
        .agent_hash = FL_STR("sim"),
        .docker_version = FL_STR("none"),
    };
    whatif_step(w, &connected);
    return 0;
}

/* A definition may hold memberOf alone; what else there is goes with each call. */
static void write_constraints(struct fl_json_writer *jw, const struct fl_json *constraints,
                              bool of_definition)
{
    fl_jw_key(jw, "placementConstraints");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < fl_json_items(constraints); i++) {
        const struct fl_json *item = fl_json_item(constraints, i);
        bool is_member_of = fl_str_is(fl_json_text(fl_json_get(item, "type")), "memberOf");
        if (is_member_of == of_definition)
            fl_jw_json(jw, item);
    }
    fl_jw_array_end(jw);
}

static void write_container(struct fl_json_writer *jw, const struct whatif_definition *def)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", FL_STR("app"));
    fl_jw_member_str(jw, "image", FL_STR("app:1"));
    fl_jw_member_int(jw, "cpu", def->cpu);
    fl_jw_member_int(jw, "memory", def->memory);
    fl_jw_key(jw, "portMappings");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < fl_json_items(def->ports); i++) {
        int64_t port = fl_json_int(fl_json_item(def->ports, i));
        fl_jw_object_begin(jw);
        fl_jw_member_int(jw, "containerPort", port);
        fl_jw_member_int(jw, "hostPort", port);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

static void write_definition(const struct whatif_definition *def, struct fl_buf *body)
{
    struct fl_json_writer jw = {.buf = body};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "family", fl_str_of(def->family));
    fl_jw_key(&jw, "containerDefinitions");
    fl_jw_array_begin(&jw);
    write_container(&jw, def);
    fl_jw_array_end(&jw);
    write_constraints(&jw, def->constraints, true);
    fl_jw_object_end(&jw);
}

/* The object stays open: each call adds its count. */
static void write_run(const struct whatif_definition *def, struct fl_buf *body)
{
    struct fl_json_writer jw = {.buf = body};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", FL_STR("default"));
    fl_jw_member_str(&jw, "taskDefinition", fl_str_of(def->family));
    write_constraints(&jw, def->constraints, false);
    if (def->strategy) {
        fl_jw_key(&jw, "placementStrategy");
        fl_jw_json(&jw, def->strategy);
    }
}

static int add_definition(struct whatif *w, uint32_t index)
{
    const struct whatif_definition *def = &w->scenario->definitions[index];
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(WHATIF_MAX_BODY);
    char what[64];
    (void)snprintf(what, sizeof(what), "definitions[%u]", index);
    write_definition(def, &body);
    w->runs[index] = FL_BUF_INIT(WHATIF_MAX_BODY);
    write_run(def, &w->runs[index]);
    if (body.overflow || w->runs[index].overflow)
        return fl_err_set(w->err, -EINVAL, "the scenario's %s is too large", what);
    return whatif_ask(w, ECS_OP_RegisterTaskDefinition, &body, what) ? 0 : -EINVAL;
}

int whatif_set_up(struct whatif *w)
{
    struct fl_core_config config = {.region = FL_STR("eu-central-1"),
                                    .account = FL_STR("000000000000"),
                                    .endpoint = FL_STR("http://127.0.0.1")};
    w->core = fl_core_new(&config);
    FL_CLEANUP_BUF struct fl_buf cluster = FL_BUF_INIT(WHATIF_MAX_BODY);
    fl_buf_add_z(&cluster, "{\"clusterName\":\"default\"}");
    int rc = whatif_ask(w, ECS_OP_CreateCluster, &cluster, "the cluster") ? 0 : -EINVAL;
    for (size_t i = 0; rc == 0 && i < w->scenario->hosts_count; i++)
        for (uint32_t k = 0; rc == 0 && k < w->scenario->hosts[i].count; k++)
            rc = add_host(w, &w->scenario->hosts[i], k);
    for (uint32_t i = 0; rc == 0 && i < w->scenario->definition_count; i++)
        rc = add_definition(w, i);
    return rc;
}
