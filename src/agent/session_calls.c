/* Registration and websocket URL, as the protocol wants them. */
#include "agent/session_calls.h"
#include "agent/gpus.h"

#include "wire/acs.h"
#include "wire/json.h"
#include "wire/url.h"

static void write_attributes(struct fl_json_writer *jw, const struct fl_key_value *items,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "name", items[i].key);
        if (items[i].value.n > 0)
            fl_jw_member_str(jw, "value", items[i].value);
        fl_jw_object_end(jw);
    }
}

static void write_integer(struct fl_json_writer *jw, const char *name, int64_t value)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", fl_str_of(name));
    fl_jw_member_str(jw, "type", FL_STR("INTEGER"));
    fl_jw_member_int(jw, "integerValue", value);
    fl_jw_object_end(jw);
}

static void write_set(struct fl_json_writer *jw, const char *name, struct fl_ecs_texts set)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", fl_str_of(name));
    fl_jw_member_str(jw, "type", FL_STR("STRINGSET"));
    fl_jw_key(jw, "stringSetValue");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < set.n; i++)
        fl_jw_str(jw, set.items[i]);
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

/* A document of our own, where there is none of EC2's: which machine this is. */
static void write_document(struct fl_json_writer *jw, struct fl_str instance_id)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    struct fl_json_writer document = {.buf = &buf};
    if (instance_id.n) {
        fl_jw_object_begin(&document);
        fl_jw_member_str(&document, "instanceId", instance_id);
        fl_jw_object_end(&document);
    }
    fl_jw_member_str(jw, "instanceIdentityDocument", fl_buf_str(&buf));
}

static void write_tags(struct fl_json_writer *jw, struct fl_ecs_pairs tags)
{
    if (tags.n == 0)
        return;
    fl_jw_key(jw, "tags");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < tags.n; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "key", tags.items[i].key);
        fl_jw_member_str(jw, "value", tags.items[i].value);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_gpus(struct fl_json_writer *jw, const struct fl_gpus *gpus)
{
    if (!gpus || gpus->n == 0)
        return;
    fl_jw_key(jw, "platformDevices");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < gpus->n; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "id", gpus->items[i].id);
        fl_jw_member_str(jw, "type", FL_STR("GPU"));
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

void fl_session_write_register(const struct fl_session_config *config,
                               const struct fl_identity *identity, struct fl_buf *buf)
{
    struct fl_json_writer jw = {.buf = buf};
    bool again = identity->instance_arn.n > 0;
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", config->cluster);
    fl_jw_member_str(&jw, "clientToken", identity->client_token);
    if (again)
        fl_jw_member_str(&jw, "containerInstanceArn", identity->instance_arn);
    write_document(&jw, config->ec2_instance_id);
    fl_jw_member_str(&jw, "instanceIdentityDocumentSignature", FL_STR(""));
    fl_jw_key(&jw, "totalResources");
    fl_jw_array_begin(&jw);
    write_integer(&jw, "CPU", config->cpu_units);
    write_integer(&jw, "MEMORY", config->memory_mib);
    write_set(&jw, "PORTS", config->reserved_ports);
    write_set(&jw, "PORTS_UDP", config->reserved_ports_udp);
    fl_jw_array_end(&jw);
    fl_jw_key(&jw, "attributes");
    fl_jw_array_begin(&jw);
    write_attributes(&jw, config->capabilities, config->capability_count);
    if (!again)
        write_attributes(&jw, config->custom, config->custom_count);
    fl_jw_array_end(&jw);
    write_gpus(&jw, config->gpus);
    if (!again)
        write_tags(&jw, config->tags);
    fl_jw_object_end(&jw);
}

struct fl_str fl_session_read_registered(struct fl_str body, struct fl_arena *arena)
{
    FL_CLEANUP_ARENA struct fl_arena *passing = fl_arena_new();
    const struct fl_json *json = fl_json_read(body, passing, NULL);
    const struct fl_json *instance = fl_json_get(json, "containerInstance");
    return fl_str_dup(arena, fl_json_text(fl_json_get(instance, "containerInstanceArn")));
}

static void add_parameter(struct fl_buf *buf, const char *name, struct fl_str value)
{
    fl_buf_printf(buf, "%s%s=", buf->n ? "&" : "", name);
    fl_url_encode(buf, value);
}

struct fl_str fl_session_url(struct fl_str endpoint, const struct fl_session_config *config,
                             const struct fl_identity *identity, bool send_credentials,
                             struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf query = FL_BUF_INIT(16 * 1024);
    add_parameter(&query, "agentHash", FL_STR("fairlead"));
    add_parameter(&query, "agentVersion", FL_STR(FL_VERSION));
    add_parameter(&query, "clusterArn", config->cluster);
    add_parameter(&query, "containerInstanceArn", identity->instance_arn);
    add_parameter(&query, "dockerVersion", config->describe);
    add_parameter(&query, FL_ACS_NONCE, fl_str_of(identity->nonce));
    add_parameter(&query, "protocolVersion", FL_STR("2"));
    add_parameter(&query, "sendCredentials", send_credentials ? FL_STR("true") : FL_STR("false"));
    add_parameter(&query, "seqNum", FL_STR("1"));
    return fl_str_printf(arena, "%.*sws?%.*s", FL_STR_ARG(endpoint),
                         FL_STR_ARG(fl_buf_str(&query)));
}
