/* Frames of the agent protocol, from either end: reading the header, the list of tasks and the text
 * of any frame is safe, and a task object that is accepted comes back the same from our encoder. */
#include "wire/acs.h"
#include "wire/json.h"
#include "wire/task_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { SPEC_MAX = 64 << 20 };

static bool decode(struct fl_str text, struct fl_arena *arena, struct fl_task_spec *ret_spec)
{
    struct fl_err err;
    const struct fl_json *json = fl_json_read(text, arena, &err);
    return json && fl_task_spec_decode(json, arena, ret_spec, &err) == 0;
}

static void round_trip(const struct fl_json *json, struct fl_arena *arena)
{
    struct fl_err err;
    struct fl_task_spec first, second;
    FL_CLEANUP_BUF struct fl_buf once = FL_BUF_INIT(SPEC_MAX);
    FL_CLEANUP_BUF struct fl_buf twice = FL_BUF_INIT(SPEC_MAX);
    if (fl_task_spec_decode(json, arena, &first, &err) < 0)
        return;
    fl_task_spec_encode(&first, &once);
    FL_ASSERT(!once.overflow && decode(fl_buf_str(&once), arena, &second));
    fl_task_spec_encode(&second, &twice);
    FL_ASSERT(fl_str_eq(fl_buf_str(&once), fl_buf_str(&twice)));
}

static void read_message(const struct fl_acs_message *message, struct fl_arena *arena)
{
    struct fl_err err;
    struct fl_acs_task *tasks;
    size_t count;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(SPEC_MAX);
    struct fl_acs_header header = fl_acs_read_header(message);
    fl_acs_ack(&buf, &header);
    fl_acs_close(&buf, message->text);
    if (fl_acs_read_tasks(message, arena, &tasks, &count, &err) == 0) {
        fl_acs_manifest(&buf, &header, tasks, count);
        fl_acs_stop_verification(&buf, header.message_id, tasks, count);
    }
    struct fl_acs_credentials roles[FL_ACS_ROLES] = {0};
    enum fl_acs_role role;
    struct fl_str task_arn;
    (void)fl_acs_read_credentials(message, &task_arn, &role, &roles[0]);
    for (size_t i = 0; i < FL_ACS_ROLES; i++)
        (void)fl_acs_read_task_credentials(message->body, (enum fl_acs_role)i, &roles[i]);
    fl_acs_credentials_ack(&buf, header.message_id, &roles[0]);
    const struct fl_json *specs = fl_json_get(message->body, "tasks");
    for (size_t i = 0; i < fl_json_items(specs); i++)
        round_trip(fl_json_item(specs, i), arena);
    round_trip(message->body, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_err err;
    struct fl_acs_message message;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (fl_acs_decode((struct fl_str){(const char *)bytes, n}, arena, &message, &err) < 0)
        return 0;
    FL_ASSERT(message.body);
    read_message(&message, arena);
    return 0;
}
