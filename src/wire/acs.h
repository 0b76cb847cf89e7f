/* The agent communication service: the messages that control plane and agent exchange over the
 * websocket, as text frames {"type": …, "message": …}. Building and reading, no I/O.
 *
 * Sequence numbers: seqNum of a payload and timeline of a manifest feed one counter per instance,
 * epoch · 2^32 + counter, where epoch is the server's store epoch. JSON numbers are exact up to
 * 2^53, so an epoch stays below 2^21. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

/* Messages, tasks or ARNs beyond these are refused by the decoder's callers and never made. */
enum { FL_ACS_MAX_TASKS = 1000, FL_ACS_MAX_MANIFEST = 10000 };

#define FL_ACS_MAX_EPOCH UINT64_C(0x1fffff)

static inline int64_t fl_acs_seq(uint64_t epoch, uint32_t counter)
{
    return (int64_t)((epoch & FL_ACS_MAX_EPOCH) << 32 | counter);
}

/* The epoch inside a sequence number; 0 for one that is negative. */
static inline uint64_t fl_acs_seq_epoch(int64_t seq)
{
    return seq < 0 ? 0 : (uint64_t)seq >> 32;
}

/* Why either end closes a connection that has lived long enough; the agent comes back at once. */
#define FL_ACS_EXPIRED "ConnectionExpired: Reconnect to continue"

/* Our extension to the session's URL: a word that another process of the same identity does not
 * have. The official agent sends none. */
#define FL_ACS_NONCE "fairleadNonce"
/* The same word, and the container instance's ARN, as headers of its calls. */
#define FL_ACS_NONCE_HEADER "X-Fairlead-Nonce"
#define FL_ACS_INSTANCE_HEADER "X-Fairlead-Instance"
/* The log stream that a ShipLogs is about, as a query's parameter: stream=… */
#define FL_ACS_STREAM_HEADER "X-Fairlead-Stream"

/* Types that one of the two ends handles; the rest is FL_ACS_OTHER and dropped. */
enum fl_acs_type {
    FL_ACS_OTHER,
    FL_ACS_PAYLOAD,               /* server: tasks to start or stop */
    FL_ACS_HEARTBEAT,             /* server */
    FL_ACS_TASK_MANIFEST,         /* server: all tasks it believes in */
    FL_ACS_STOP_VERIFICATION_ACK, /* server: stop exactly these */
    FL_ACS_CREDENTIALS,           /* server: IAMRoleCredentialsMessage */
    FL_ACS_CLOSE,                 /* server: informational */
    FL_ACS_ERROR,                 /* server: one of the exceptions, or ErrorMessage */
    FL_ACS_INACTIVE_INSTANCE,     /* server: InactiveInstanceException */
    FL_ACS_KEY,                   /* server: the agent's next key; ours, like the one after it */
    FL_ACS_CERTIFICATES,          /* server: hashes of the certificates to believe */
    FL_ACS_ACK,                   /* agent: AckRequest */
    FL_ACS_NACK,                  /* agent: NackRequest */
    FL_ACS_HEARTBEAT_ACK,         /* agent */
    FL_ACS_STOP_VERIFICATION,     /* agent: tasks it has and the manifest has not */
    FL_ACS_CREDENTIALS_ACK,       /* agent: IAMRoleCredentialsAckRequest */
};

/* Who a message speaks to, and which one it is. */
struct fl_acs_header {
    struct fl_str cluster_arn;
    struct fl_str instance_arn;
    struct fl_str message_id;
    int64_t seq;          /* payload, manifest */
    int64_t generated_ms; /* wall clock */
};

/* One task by name, in manifests and stop lists. */
struct fl_acs_task {
    struct fl_str arn;
    struct fl_str cluster_arn;
    bool desired_running;
    bool is_running; /* manifests of ours: the agent has said so. An extension: fairlead.running */
};

/* The two roles that a task may have: what its containers call as, and what its agent pulls images
 * and ships logs as. */
enum fl_acs_role { FL_ACS_ROLE_TASK, FL_ACS_ROLE_EXECUTION, FL_ACS_ROLES };

/* Credentials of one role of one task. */
struct fl_acs_credentials {
    struct fl_str id; /* credentialsId: part of the address where containers ask; empty: none */
    struct fl_str role_arn;
    struct fl_str access_key_id;
    struct fl_str secret;
    struct fl_str session_token;
    struct fl_str expiration; /* RFC 3339; told on as it is */
};

/* Server's messages. Each appends one whole frame to buf. */

/* tasks: Task objects as JSON (fl_task_spec_encode). */
void fl_acs_payload(struct fl_buf *buf, const struct fl_acs_header *header,
                    const struct fl_str *tasks, size_t task_count);
/* A Task object of a payload with credentials of its roles added; those without an id are not. */
struct fl_str fl_acs_with_credentials(struct fl_arena *arena, struct fl_str task,
                                      const struct fl_acs_credentials roles[FL_ACS_ROLES]);
void fl_acs_credentials(struct fl_buf *buf, struct fl_str message_id,
                        const struct fl_acs_task *task, enum fl_acs_role role,
                        const struct fl_acs_credentials *credentials);
/* Without an id (telemetry's) when that is empty. */
void fl_acs_heartbeat(struct fl_buf *buf, struct fl_str message_id);
void fl_acs_manifest(struct fl_buf *buf, const struct fl_acs_header *header,
                     const struct fl_acs_task *tasks, size_t task_count);
void fl_acs_stop_verification_ack(struct fl_buf *buf, struct fl_str message_id,
                                  int64_t generated_ms, const struct fl_acs_task *tasks,
                                  size_t task_count);
void fl_acs_close(struct fl_buf *buf, struct fl_str text);
/* The body of a refused upgrade, and the frame before an error close: type is the exception's
 * name ("InactiveInstanceException"). */
void fl_acs_error(struct fl_buf *buf, const char *type, struct fl_str text);

/* To agents that have a nonce. */
void fl_acs_key(struct fl_buf *buf, struct fl_str access_key_id, struct fl_str secret);
void fl_acs_certificates(struct fl_buf *buf, const struct fl_str *hashes, size_t count);

/* Agent's messages. */

/* Cluster, instance and message id are those of the message acknowledged. */
void fl_acs_ack(struct fl_buf *buf, const struct fl_acs_header *header);
void fl_acs_heartbeat_ack(struct fl_buf *buf, struct fl_str message_id);
void fl_acs_credentials_ack(struct fl_buf *buf, struct fl_str message_id,
                            const struct fl_acs_credentials *credentials);
/* message_id: the manifest's. */
void fl_acs_stop_verification(struct fl_buf *buf, struct fl_str message_id,
                              const struct fl_acs_task *tasks, size_t task_count);

/* Reading. */
struct fl_acs_message {
    enum fl_acs_type type;
    struct fl_str type_name;
    struct fl_str text;         /* the sentence of an error or close message */
    const struct fl_json *body; /* the "message" object; never NULL after success */
};

/* Decodes one frame of either end into the arena. The short error form {"XException": "text"} is
 * read as a message of that type with that text. -EINVAL with err for what is no envelope. */
int fl_acs_decode(struct fl_str text, struct fl_arena *arena, struct fl_acs_message *ret_message,
                  struct fl_err *err);

/* Header members of a message's body; absent ones are empty or 0. Valid as long as the
 * arena. */
struct fl_acs_header fl_acs_read_header(const struct fl_acs_message *message);
/* The list of named tasks (manifest, stop verification, its ack) in the arena: -EINVAL when it is
 * longer than FL_ACS_MAX_MANIFEST or holds something without a taskArn. */
int fl_acs_read_tasks(const struct fl_acs_message *message, struct fl_arena *arena,
                      struct fl_acs_task **ret_tasks, size_t *ret_count, struct fl_err *err);

/* Credentials of a role in a payload's Task object, or of FL_ACS_CREDENTIALS' body: valid as long
 * as the arena. False: there are none, or they lack a part. */
bool fl_acs_read_task_credentials(const struct fl_json *task, enum fl_acs_role role,
                                  struct fl_acs_credentials *ret_credentials);
bool fl_acs_read_credentials(const struct fl_acs_message *message, struct fl_str *ret_task_arn,
                             enum fl_acs_role *ret_role,
                             struct fl_acs_credentials *ret_credentials);
