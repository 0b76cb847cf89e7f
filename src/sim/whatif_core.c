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

json_t *whatif_answer(struct whatif *w, const char *what)
{
    const struct fl_core_effect *reply = whatif_reply(w);
    FL_ASSERT(reply);
    json_t *json = fl_json_parse(reply->body, NULL);
    if (reply->status == 200)
        return json;
    const char *message = json_string_value(json_object_get(json, "message"));
    (void)fl_err_set(w->err, -EINVAL, "%s is refused: %s", what,
                     message ? message : "for an unknown reason");
    json_decref(json);
    return NULL;
}

int whatif_command(struct whatif *w, int operation, const json_t *json, const char *what)
{
    const struct fl_shape *shape = ecs_service.operations[operation].input;
    struct fl_shape_error fault;
    fl_arena_reset(w->arena);
    void *input = fl_arena_alloc(w->arena, fl_shape_size(shape));
    FL_CLEANUP_FREE char *text = json_dumps(json, JSON_ENCODE_ANY);
    if (fl_shape_decode(shape, fl_json_read(fl_str_of(text), w->arena, NULL), w->arena, input,
                        &fault) < 0)
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

json_t *whatif_ask(struct whatif *w, int operation, const json_t *json, const char *what)
{
    return whatif_command(w, operation, json, what) < 0 ? NULL : whatif_answer(w, what);
}

/* ---- the beginning ---- */

static void add_attribute(json_t *list, const char *name, const char *value)
{
    if (value)
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", value));
    else
        (void)json_array_append_new(list, json_pack("{s:s}", "name", name));
}

static json_t *host_body(const struct whatif_hosts *hosts, uint32_t index)
{
    size_t zones = json_array_size(hosts->zones);
    json_t *attributes = json_array(), *value;
    const char *key;
    add_attribute(attributes, "com.amazonaws.ecs.capability.docker-remote-api.1.18", NULL);
    if (zones)
        add_attribute(attributes, "ecs.availability-zone",
                      json_string_value(json_array_get(hosts->zones, index % zones)));
    if (hosts->type)
        add_attribute(attributes, "ecs.instance-type", json_string_value(hosts->type));
    json_object_foreach ((json_t *)hosts->attributes, key, value)
        add_attribute(attributes, key, json_string_value(value));
    return json_pack("{s:s, s:[{s:s, s:s, s:i}, {s:s, s:s, s:i}, {s:s, s:s, s:[s]}], s:o}",
                     "cluster", "default", "totalResources", "name", "CPU", "type", "INTEGER",
                     "integerValue", hosts->cpu, "name", "MEMORY", "type", "INTEGER",
                     "integerValue", hosts->memory, "name", "PORTS", "type", "STRINGSET",
                     "stringSetValue", "22", "attributes", attributes);
}

static int add_host(struct whatif *w, const struct whatif_hosts *hosts, uint32_t index)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "a host of hosts[%zu]",
                   (size_t)(hosts - w->scenario->hosts));
    FL_CLEANUP_JSON json_t *body = host_body(hosts, index);
    FL_CLEANUP_JSON json_t *answer = whatif_ask(w, ECS_OP_RegisterContainerInstance, body, what);
    if (!answer)
        return -EINVAL;
    struct fl_str arn = fl_json_str(
        json_object_get(json_object_get(answer, "containerInstance"), "containerInstanceArn"));
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
static void split_constraints(const json_t *constraints, json_t *definition, json_t *run)
{
    json_t *of_definition = json_array(), *of_run = json_array(), *item;
    size_t i;
    json_array_foreach ((json_t *)constraints, i, item) {
        const char *type = json_string_value(json_object_get(item, "type"));
        bool is_member_of = type && strcmp(type, "memberOf") == 0;
        (void)json_array_append(is_member_of ? of_definition : of_run, item);
    }
    (void)json_object_set_new(definition, "placementConstraints", of_definition);
    (void)json_object_set_new(run, "placementConstraints", of_run);
}

static int add_definition(struct whatif *w, uint32_t index)
{
    const struct whatif_definition *def = &w->scenario->definitions[index];
    json_t *ports = json_array(), *run, *value;
    size_t i;
    char what[64];
    (void)snprintf(what, sizeof(what), "definitions[%u]", index);
    json_array_foreach ((json_t *)def->ports, i, value)
        (void)json_array_append_new(
            ports, json_pack("{s:O, s:O}", "containerPort", value, "hostPort", value));
    FL_CLEANUP_JSON json_t *body =
        json_pack("{s:s, s:[{s:s, s:s, s:i, s:i, s:o}]}", "family", def->family,
                  "containerDefinitions", "name", "app", "image", "app:1", "cpu", def->cpu,
                  "memory", def->memory, "portMappings", ports);
    run = w->runs[index] =
        json_pack("{s:s, s:s}", "cluster", "default", "taskDefinition", def->family);
    if (!body || !run)
        return fl_err_set(w->err, -EINVAL, "the scenario's %s cannot be used", what);
    split_constraints(def->constraints, body, run);
    if (def->strategy)
        (void)json_object_set(run, "placementStrategy", (json_t *)def->strategy);
    FL_CLEANUP_JSON json_t *answer = whatif_ask(w, ECS_OP_RegisterTaskDefinition, body, what);
    return answer ? 0 : -EINVAL;
}

int whatif_set_up(struct whatif *w)
{
    struct fl_core_config config = {.region = FL_STR("eu-central-1"),
                                    .account = FL_STR("000000000000"),
                                    .endpoint = FL_STR("http://127.0.0.1")};
    w->core = fl_core_new(&config);
    FL_CLEANUP_JSON json_t *cluster = json_pack("{s:s}", "clusterName", "default");
    FL_CLEANUP_JSON json_t *made = whatif_ask(w, ECS_OP_CreateCluster, cluster, "the cluster");
    int rc = made ? 0 : -EINVAL;
    for (size_t i = 0; rc == 0 && i < w->scenario->hosts_count; i++)
        for (uint32_t k = 0; rc == 0 && k < w->scenario->hosts[i].count; k++)
            rc = add_host(w, &w->scenario->hosts[i], k);
    for (uint32_t i = 0; rc == 0 && i < w->scenario->definition_count; i++)
        rc = add_definition(w, i);
    return rc;
}
