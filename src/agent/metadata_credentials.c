/* The credentials endpoint's answers, in ECS's words; each is noted in the audit log. */
#include "agent/metadata_internal.h"

struct answer {
    unsigned status;
    const char *code;
    const char *words;
};

static const struct answer no_id = {400, "NoIdInRequest", "No Credential ID in the request"};
static const struct answer wrong_id = {400, "InvalidIdInRequest", "Credentials not found"};
static const struct answer not_yet = {503, "CredentialsUninitialized",
                                      "Credentials uninitialized for ID"};

static void refuse(struct fl_http_exchange *exchange, const struct fl_metadata_route *route,
                   const struct answer *answer)
{
    fl_metadata_reply(exchange, answer->status,
                      fl_str_printf(exchange->arena,
                                    "{\"code\":\"%s\",\"message\":\"CredentialsV%dRequest: "
                                    "%s\",\"HTTPErrorCode\":%u}",
                                    answer->code, route->by_address ? 2 : 1, answer->words,
                                    answer->status));
}

static void lend(struct fl_http_exchange *exchange, const struct fl_acs_credentials *credentials)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "RoleArn", credentials->role_arn);
    fl_jw_member_str(&jw, "AccessKeyId", credentials->access_key_id);
    fl_jw_member_str(&jw, "SecretAccessKey", credentials->secret);
    fl_jw_member_str(&jw, "Token", credentials->session_token);
    fl_jw_member_str(&jw, "Expiration", credentials->expiration);
    fl_jw_object_end(&jw);
    fl_metadata_reply(exchange, 200, fl_buf_str(&buf));
}

void fl_metadata_reply_credentials(const struct fl_metadata *metadata,
                                   struct fl_http_exchange *exchange,
                                   const struct fl_metadata_route *route,
                                   const struct fl_task *task)
{
    const struct fl_acs_credentials *credentials =
        task ? fl_wallet_of(metadata->config.wallet, task->arn, FL_ACS_ROLE_TASK) : NULL;
    const struct answer *refusal = !route->id.n   ? &no_id
                                   : !task        ? &wrong_id
                                   : !credentials ? &not_yet
                                                  : NULL;
    const struct fl_audit_entry entry = {
        .status = refusal ? refusal->status : 200,
        .peer = exchange->peer,
        .path = route->by_address ? FL_STR("/v2/credentials") : FL_STR("/v1/credentials"),
        .user_agent = fl_http_header(exchange, "User-Agent"),
        .task_arn = task ? task->arn : FL_STR(""),
        .cluster = metadata->config.facts->cluster,
        .instance_arn = metadata->config.facts->instance_arn,
    };
    fl_audit_note(metadata->config.audit, &entry);
    if (refusal)
        refuse(exchange, route, refusal);
    else
        lend(exchange, credentials);
}
