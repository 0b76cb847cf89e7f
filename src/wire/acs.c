/* Frames of the agent protocol. The table of type names is the only place that knows them. */
#include "wire/acs.h"

#include <errno.h>

static const struct {
    const char *name;
    enum fl_acs_type type;
} types[] = {
    {"PayloadMessage", FL_ACS_PAYLOAD},
    {"HeartbeatMessage", FL_ACS_HEARTBEAT},
    {"TaskManifestMessage", FL_ACS_TASK_MANIFEST},
    {"TaskStopVerificationAck", FL_ACS_STOP_VERIFICATION_ACK},
    {"IAMRoleCredentialsMessage", FL_ACS_CREDENTIALS},
    {"CloseMessage", FL_ACS_CLOSE},
    {"ErrorMessage", FL_ACS_ERROR},
    {"ServerException", FL_ACS_ERROR},
    {"BadRequestException", FL_ACS_ERROR},
    {"InvalidClusterException", FL_ACS_ERROR},
    {"AccessDeniedException", FL_ACS_ERROR},
    {"InvalidInstanceException", FL_ACS_ERROR},
    {"InactiveInstanceException", FL_ACS_INACTIVE_INSTANCE},
    {"FairleadKeyMessage", FL_ACS_KEY},
    {"FairleadCertificatesMessage", FL_ACS_CERTIFICATES},
    {"AckRequest", FL_ACS_ACK},
    {"NackRequest", FL_ACS_NACK},
    {"HeartbeatAckRequest", FL_ACS_HEARTBEAT_ACK},
    {"TaskStopVerificationMessage", FL_ACS_STOP_VERIFICATION},
    {"IAMRoleCredentialsAckRequest", FL_ACS_CREDENTIALS_ACK},
};

/* How a role is named in messages, and the member of a Task object that holds its credentials. */
static const struct {
    const char *type;
    const char *member;
} roles[FL_ACS_ROLES] = {
    [FL_ACS_ROLE_TASK] = {"TaskApplication", "roleCredentials"},
    [FL_ACS_ROLE_EXECUTION] = {"TaskExecution", "executionRoleCredentials"},
};

static struct fl_json_writer frame_begin(struct fl_buf *buf, const char *type)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "type", fl_str_of(type));
    fl_jw_key(&jw, "message");
    fl_jw_object_begin(&jw);
    return jw;
}

static void frame_end(struct fl_json_writer *jw)
{
    fl_jw_object_end(jw);
    fl_jw_object_end(jw);
}

static void header_write(struct fl_json_writer *jw, const struct fl_acs_header *header)
{
    fl_jw_member_str(jw, "clusterArn", header->cluster_arn);
    fl_jw_member_str(jw, "containerInstanceArn", header->instance_arn);
    fl_jw_member_str(jw, "messageId", header->message_id);
    fl_jw_member_int(jw, "generatedAt", header->generated_ms);
}

static void tasks_write(struct fl_json_writer *jw, const char *key, const struct fl_acs_task *tasks,
                        size_t task_count)
{
    fl_jw_key(jw, key);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < task_count; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "taskArn", tasks[i].arn);
        fl_jw_member_str(jw, "taskClusterArn", tasks[i].cluster_arn);
        fl_jw_member_str(jw, "desiredStatus",
                         tasks[i].desired_running ? FL_STR("RUNNING") : FL_STR("STOPPED"));
        if (tasks[i].is_running) {
            fl_jw_key(jw, "fairlead");
            fl_jw_object_begin(jw);
            fl_jw_member_bool(jw, "running", true);
            fl_jw_object_end(jw);
        }
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

void fl_acs_payload(struct fl_buf *buf, const struct fl_acs_header *header,
                    const struct fl_str *tasks, size_t task_count)
{
    struct fl_json_writer jw = frame_begin(buf, "PayloadMessage");
    header_write(&jw, header);
    fl_jw_member_int(&jw, "seqNum", header->seq);
    fl_jw_key(&jw, "tasks");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < task_count; i++)
        fl_jw_raw(&jw, tasks[i]);
    fl_jw_array_end(&jw);
    frame_end(&jw);
}

static void credentials_write(struct fl_json_writer *jw, const char *key,
                              const struct fl_acs_credentials *credentials)
{
    fl_jw_key(jw, key);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "credentialsId", credentials->id);
    fl_jw_member_str(jw, "roleArn", credentials->role_arn);
    fl_jw_member_str(jw, "accessKeyId", credentials->access_key_id);
    fl_jw_member_str(jw, "secretAccessKey", credentials->secret);
    fl_jw_member_str(jw, "sessionToken", credentials->session_token);
    fl_jw_member_str(jw, "expiration", credentials->expiration);
    fl_jw_object_end(jw);
}

/* The core makes the Task object, and who has the keys adds to it: in front of its last brace. */
struct fl_str fl_acs_with_credentials(struct fl_arena *arena, struct fl_str task,
                                      const struct fl_acs_credentials credentials[FL_ACS_ROLES])
{
    enum { MOST = 32 * 1024 };
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(task.n + MOST);
    struct fl_json_writer jw = {.buf = &buf};
    FL_ASSERT(fl_str_ends(task, FL_STR("}")));
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < FL_ACS_ROLES; i++)
        if (credentials[i].id.n)
            credentials_write(&jw, roles[i].member, &credentials[i]);
    fl_jw_object_end(&jw);
    struct fl_str added = fl_str_from(fl_buf_str(&buf), 1);
    if (added.n == 1)
        return task;
    return fl_str_printf(arena, "%.*s,%.*s", (int)task.n - 1, task.p, FL_STR_ARG(added));
}

void fl_acs_credentials(struct fl_buf *buf, struct fl_str message_id,
                        const struct fl_acs_task *task, enum fl_acs_role role,
                        const struct fl_acs_credentials *credentials)
{
    struct fl_json_writer jw = frame_begin(buf, "IAMRoleCredentialsMessage");
    fl_jw_member_str(&jw, "messageId", message_id);
    fl_jw_member_str(&jw, "taskArn", task->arn);
    fl_jw_member_str(&jw, "taskClusterArn", task->cluster_arn);
    fl_jw_member_str(&jw, "roleType", fl_str_of(roles[role].type));
    credentials_write(&jw, "roleCredentials", credentials);
    frame_end(&jw);
}

void fl_acs_heartbeat(struct fl_buf *buf, struct fl_str message_id)
{
    struct fl_json_writer jw = frame_begin(buf, "HeartbeatMessage");
    fl_jw_member_bool(&jw, "healthy", true);
    if (message_id.n)
        fl_jw_member_str(&jw, "messageId", message_id);
    frame_end(&jw);
}

void fl_acs_manifest(struct fl_buf *buf, const struct fl_acs_header *header,
                     const struct fl_acs_task *tasks, size_t task_count)
{
    struct fl_json_writer jw = frame_begin(buf, "TaskManifestMessage");
    header_write(&jw, header);
    fl_jw_member_int(&jw, "timeline", header->seq);
    tasks_write(&jw, "tasks", tasks, task_count);
    frame_end(&jw);
}

void fl_acs_stop_verification_ack(struct fl_buf *buf, struct fl_str message_id,
                                  int64_t generated_ms, const struct fl_acs_task *tasks,
                                  size_t task_count)
{
    struct fl_json_writer jw = frame_begin(buf, "TaskStopVerificationAck");
    fl_jw_member_str(&jw, "messageId", message_id);
    fl_jw_member_int(&jw, "generatedAt", generated_ms);
    tasks_write(&jw, "stopTasks", tasks, task_count);
    frame_end(&jw);
}

static void text_frame(struct fl_buf *buf, const char *type, struct fl_str text)
{
    struct fl_json_writer jw = frame_begin(buf, type);
    fl_jw_member_str(&jw, "message", text);
    frame_end(&jw);
}

void fl_acs_key(struct fl_buf *buf, struct fl_str access_key_id, struct fl_str secret)
{
    struct fl_json_writer jw = frame_begin(buf, "FairleadKeyMessage");
    fl_jw_member_str(&jw, "accessKeyId", access_key_id);
    fl_jw_member_str(&jw, "secretAccessKey", secret);
    frame_end(&jw);
}

void fl_acs_certificates(struct fl_buf *buf, const struct fl_str *hashes, size_t count)
{
    struct fl_json_writer jw = frame_begin(buf, "FairleadCertificatesMessage");
    fl_jw_key(&jw, "certificates");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < count; i++)
        fl_jw_str(&jw, hashes[i]);
    fl_jw_array_end(&jw);
    frame_end(&jw);
}

void fl_acs_close(struct fl_buf *buf, struct fl_str text)
{
    text_frame(buf, "CloseMessage", text);
}

void fl_acs_error(struct fl_buf *buf, const char *type, struct fl_str text)
{
    text_frame(buf, type, text);
}

void fl_acs_ack(struct fl_buf *buf, const struct fl_acs_header *header)
{
    struct fl_json_writer jw = frame_begin(buf, "AckRequest");
    fl_jw_member_str(&jw, "cluster", header->cluster_arn);
    fl_jw_member_str(&jw, "containerInstance", header->instance_arn);
    fl_jw_member_str(&jw, "messageId", header->message_id);
    frame_end(&jw);
}

void fl_acs_heartbeat_ack(struct fl_buf *buf, struct fl_str message_id)
{
    struct fl_json_writer jw = frame_begin(buf, "HeartbeatAckRequest");
    fl_jw_member_str(&jw, "messageId", message_id);
    frame_end(&jw);
}

void fl_acs_credentials_ack(struct fl_buf *buf, struct fl_str message_id,
                            const struct fl_acs_credentials *credentials)
{
    struct fl_json_writer jw = frame_begin(buf, "IAMRoleCredentialsAckRequest");
    fl_jw_member_str(&jw, "messageId", message_id);
    fl_jw_member_str(&jw, "expiration", credentials->expiration);
    fl_jw_member_str(&jw, "credentialsId", credentials->id);
    frame_end(&jw);
}

void fl_acs_stop_verification(struct fl_buf *buf, struct fl_str message_id,
                              const struct fl_acs_task *tasks, size_t task_count)
{
    struct fl_json_writer jw = frame_begin(buf, "TaskStopVerificationMessage");
    fl_jw_member_str(&jw, "messageId", message_id);
    tasks_write(&jw, "stopCandidates", tasks, task_count);
    frame_end(&jw);
}

static enum fl_acs_type type_of(struct fl_str name)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(types); i++)
        if (fl_str_is(name, types[i].name))
            return types[i].type;
    return FL_ACS_OTHER;
}

/* {"XException": "text"}, exactly one member, is {"type": "XException", "message": {"message":
 * "text"}}: the object itself is taken for the inner one. */
static bool read_short_form(const struct fl_json *root, struct fl_acs_message *ret_message)
{
    if (fl_json_members(root) != 1 || !fl_json_is(fl_json_member(root, 0), FL_JSON_STRING))
        return false;
    ret_message->type_name = fl_json_text(fl_json_member_name(root, 0));
    ret_message->text = fl_json_text(fl_json_member(root, 0));
    ret_message->body = root;
    return true;
}

int fl_acs_decode(struct fl_str text, struct fl_arena *arena, struct fl_acs_message *ret_message,
                  struct fl_err *err)
{
    const struct fl_json *root = fl_json_read(text, arena, err);
    if (!root)
        return -EINVAL;
    struct fl_acs_message message = {
        .type_name = fl_json_text(fl_json_get(root, "type")),
        .body = fl_json_get(root, "message"),
    };
    if (fl_json_is(message.body, FL_JSON_OBJECT))
        message.text = fl_json_text(fl_json_get(message.body, "message"));
    else if (!read_short_form(root, &message))
        message.type_name = FL_STR("");
    if (message.type_name.n == 0)
        return fl_err_set(err, -EINVAL, "the frame is no {\"type\", \"message\"} envelope");
    message.type = type_of(message.type_name);
    *ret_message = message;
    return 0;
}

/* The server names cluster and instance with ARNs, the agent's acknowledgement without "Arn". */
static struct fl_str either(const struct fl_json *body, const char *name, const char *other)
{
    struct fl_str value = fl_json_text(fl_json_get(body, name));
    return value.n ? value : fl_json_text(fl_json_get(body, other));
}

struct fl_acs_header fl_acs_read_header(const struct fl_acs_message *message)
{
    const struct fl_json *body = message->body;
    const struct fl_json *seq = fl_json_get(body, "seqNum");
    if (!seq)
        seq = fl_json_get(body, "timeline");
    return (struct fl_acs_header){
        .cluster_arn = either(body, "clusterArn", "cluster"),
        .instance_arn = either(body, "containerInstanceArn", "containerInstance"),
        .message_id = fl_json_text(fl_json_get(body, "messageId")),
        .seq = fl_json_int(seq),
        .generated_ms = fl_json_int(fl_json_get(body, "generatedAt")),
    };
}

static const struct fl_json *task_list(const struct fl_acs_message *message)
{
    static const char *const names[] = {"tasks", "stopCandidates", "stopTasks"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        const struct fl_json *list = fl_json_get(message->body, names[i]);
        if (fl_json_is(list, FL_JSON_ARRAY))
            return list;
    }
    return NULL;
}

int fl_acs_read_tasks(const struct fl_acs_message *message, struct fl_arena *arena,
                      struct fl_acs_task **ret_tasks, size_t *ret_count, struct fl_err *err)
{
    const struct fl_json *list = task_list(message);
    size_t count = fl_json_items(list);
    if (count > FL_ACS_MAX_MANIFEST)
        return fl_err_set(err, -EINVAL, "%zu tasks in one message", count);
    struct fl_acs_task *tasks = fl_arena_new_array(arena, struct fl_acs_task, count);
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        struct fl_str arn = fl_json_text(fl_json_get(item, "taskArn"));
        if (arn.n == 0)
            return fl_err_set(err, -EINVAL, "task %zu has no taskArn", i);
        tasks[i] = (struct fl_acs_task){
            .arn = fl_str_dup(arena, arn),
            .cluster_arn = fl_str_dup(arena, fl_json_text(fl_json_get(item, "taskClusterArn"))),
            .desired_running =
                fl_str_is(fl_json_text(fl_json_get(item, "desiredStatus")), "RUNNING"),
            .is_running = fl_json_is_true(fl_json_get(fl_json_get(item, "fairlead"), "running")),
        };
    }
    *ret_tasks = tasks;
    *ret_count = count;
    return 0;
}

static bool credentials_read(const struct fl_json *json, struct fl_acs_credentials *ret_credentials)
{
    struct fl_acs_credentials found = {
        .id = fl_json_text(fl_json_get(json, "credentialsId")),
        .role_arn = fl_json_text(fl_json_get(json, "roleArn")),
        .access_key_id = fl_json_text(fl_json_get(json, "accessKeyId")),
        .secret = fl_json_text(fl_json_get(json, "secretAccessKey")),
        .session_token = fl_json_text(fl_json_get(json, "sessionToken")),
        .expiration = fl_json_text(fl_json_get(json, "expiration")),
    };
    if (!found.id.n || !found.access_key_id.n || !found.secret.n || !found.session_token.n)
        return false;
    *ret_credentials = found;
    return true;
}

bool fl_acs_read_task_credentials(const struct fl_json *task, enum fl_acs_role role,
                                  struct fl_acs_credentials *ret_credentials)
{
    return credentials_read(fl_json_get(task, roles[role].member), ret_credentials);
}

bool fl_acs_read_credentials(const struct fl_acs_message *message, struct fl_str *ret_task_arn,
                             enum fl_acs_role *ret_role, struct fl_acs_credentials *ret_credentials)
{
    struct fl_str type = fl_json_text(fl_json_get(message->body, "roleType"));
    struct fl_str arn = fl_json_text(fl_json_get(message->body, "taskArn"));
    bool is_execution = fl_str_is(type, roles[FL_ACS_ROLE_EXECUTION].type);
    if (!arn.n || (!is_execution && !fl_str_is(type, roles[FL_ACS_ROLE_TASK].type)) ||
        !credentials_read(fl_json_get(message->body, "roleCredentials"), ret_credentials))
        return false;
    *ret_task_arn = arn;
    *ret_role = is_execution ? FL_ACS_ROLE_EXECUTION : FL_ACS_ROLE_TASK;
    return true;
}
