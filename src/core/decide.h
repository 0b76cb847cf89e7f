/* Deciding one event: what handlers are given, and the few ways in which they act. Private to core.
 *
 * A handler first checks everything and refuses without having put anything; then it puts records,
 * which are applied at once, so that what it looks at next is already true. */
#pragma once

#include "base/bug.h"
#include "base/id.h"
#include "core/state.h"

struct fl_decision {
    struct fl_core *core;
    struct fl_turn *turn;
    struct fl_arena *arena; /* the turn's */
    int64_t now_ms;
    struct fl_rand rand;
    size_t input_size;
    struct fl_str reached_at;
    const char *error_code; /* set by fl_refuse */
    struct fl_str error_text;
    struct fl_str_list error_ids; /* ConflictException's resourceIds */
};

/* Refuses the command with an API error; returns -1, so that handlers can return it. */
int fl_refuse(struct fl_decision *d, const char *code, const char *fmt, ...) FL_PRINTF(3, 4);

/* Of the request's canonical encoding: tells a retry from another request. */
struct fl_str fl_request_hash(struct fl_decision *d, const struct fl_shape *shape,
                              const void *request);

/* Makes a record durable and true: encodes it into the turn, then applies it. */
void fl_put(struct fl_decision *d, enum fl_record_kind kind, const void *rec);
/* Has the record of that key deleted; taking it out of the state is the caller's. */
void fl_delete_record(struct fl_decision *d, enum fl_record_kind kind, const void *rec);
/* Deletes a stopped task's record. */
void fl_drop_task(struct fl_decision *d, struct fl_task *task);
/* Deletes a doomed definition's record; its family remembers the number. */
void fl_drop_definition(struct fl_decision *d, struct fl_definition *definition);
void fl_drop_setting(struct fl_decision *d, struct fl_setting *setting);
/* Deletes the record of an INACTIVE instance that no task's record names. */
void fl_drop_instance(struct fl_decision *d, struct fl_instance *instance);
/* Sends an agent a list of its tasks; everything is in the turn's arena. */
void fl_send_tasks(struct fl_decision *d, const struct fl_instance *instance,
                   enum fl_core_effect_kind kind, const struct fl_acs_task *tasks, size_t count,
                   struct fl_str message_id);
/* Ends the instance's session: it is registered no more. */
void fl_close_agent(struct fl_decision *d, const struct fl_instance *instance);
/* Tells the task's agent what is wanted of the task, if it is connected. */
void fl_send_task(struct fl_decision *d, const struct fl_task *task);

/* At most max bytes, no character cut in two: what is kept must read back as it was. */
struct fl_str fl_cut(struct fl_str s, size_t max);
/* 32 hex digits: ECS's task and instance ids. */
struct fl_str fl_new_id(struct fl_decision *d);
/* A version 4 UUID in its usual form. */
struct fl_str fl_new_uuid(struct fl_decision *d);

/* The cluster that a request names (name or ARN; empty: "default"). NULL after refusing. */
struct fl_cluster *fl_find_cluster(struct fl_decision *d, struct fl_str name);
/* The id behind an id, "cluster/id" or an ARN of that type. */
struct fl_str fl_id_of(struct fl_str text);

struct fl_str fl_cluster_arn(struct fl_decision *d, struct fl_str name);
struct fl_str fl_instance_arn(struct fl_decision *d, const struct rec_Instance *rec);
struct fl_str fl_task_arn(struct fl_decision *d, const struct rec_Task *rec);
struct fl_str fl_container_arn(struct fl_decision *d, const struct rec_Task *task,
                               const struct rec_TaskContainer *container);

/* One operation: reads input, fills output (zeroed), returns 0 or fl_refuse's value. */
typedef int (*fl_handler)(struct fl_decision *d, const void *input, void *output);

/* clusters.c */
int fl_create_cluster(struct fl_decision *d, const void *input, void *output);
int fl_describe_clusters(struct fl_decision *d, const void *input, void *output);
int fl_list_clusters(struct fl_decision *d, const void *input, void *output);
int fl_update_cluster(struct fl_decision *d, const void *input, void *output);
int fl_update_cluster_settings(struct fl_decision *d, const void *input, void *output);
int fl_delete_cluster(struct fl_decision *d, const void *input, void *output);
/* tags.c */
int fl_tag_resource(struct fl_decision *d, const void *input, void *output);
int fl_untag_resource(struct fl_decision *d, const void *input, void *output);
int fl_list_tags(struct fl_decision *d, const void *input, void *output);
/* settings.c */
int fl_put_setting(struct fl_decision *d, const void *input, void *output);
int fl_put_default_setting(struct fl_decision *d, const void *input, void *output);
int fl_delete_setting(struct fl_decision *d, const void *input, void *output);
int fl_list_settings(struct fl_decision *d, const void *input, void *output);
/* definitions.c */
int fl_register_definition(struct fl_decision *d, const void *input, void *output);
int fl_describe_definition(struct fl_decision *d, const void *input, void *output);
int fl_list_definitions(struct fl_decision *d, const void *input, void *output);
int fl_deregister_definition(struct fl_decision *d, const void *input, void *output);
int fl_list_families(struct fl_decision *d, const void *input, void *output);
int fl_delete_definitions(struct fl_decision *d, const void *input, void *output);
/* run_task.c, tasks.c */
int fl_run_task(struct fl_decision *d, const void *input, void *output);
int fl_start_task(struct fl_decision *d, const void *input, void *output);
int fl_stop_task(struct fl_decision *d, const void *input, void *output);
int fl_describe_tasks(struct fl_decision *d, const void *input, void *output);
int fl_list_tasks(struct fl_decision *d, const void *input, void *output);
/* instances.c */
int fl_register_instance(struct fl_decision *d, const void *input, void *output);
int fl_describe_instances(struct fl_decision *d, const void *input, void *output);
int fl_list_instances(struct fl_decision *d, const void *input, void *output);
int fl_discover_poll_endpoint(struct fl_decision *d, const void *input, void *output);
/* instance_state.c */
int fl_deregister_instance(struct fl_decision *d, const void *input, void *output);
int fl_update_instances_state(struct fl_decision *d, const void *input, void *output);
int fl_update_agent(struct fl_decision *d, const void *input, void *output);
/* attributes.c */
int fl_put_attributes(struct fl_decision *d, const void *input, void *output);
int fl_delete_attributes(struct fl_decision *d, const void *input, void *output);
int fl_list_attributes(struct fl_decision *d, const void *input, void *output);
void fl_agent_connected(struct fl_decision *d, const struct fl_core_event *event);
void fl_agent_disconnected(struct fl_decision *d, const struct fl_core_event *event);
/* manifest.c */
void fl_send_manifest(struct fl_decision *d, struct fl_instance *instance);
void fl_verify_stops(struct fl_decision *d, const struct fl_core_event *event);
/* health.c */
void fl_take_health(struct fl_decision *d, const struct fl_core_event *event);
void fl_take_instance_health(struct fl_decision *d, const struct fl_core_event *event);
/* reports.c */
int fl_submit_task_state(struct fl_decision *d, const void *input, void *output);
int fl_submit_container_state(struct fl_decision *d, const void *input, void *output);
int fl_submit_attachment_states(struct fl_decision *d, const void *input, void *output);

/* Reads a name, an id, "cluster/id" or an ARN, which must be of the type, the account and the
 * region: the part behind the last '/'. 0 or refused. */
int fl_read_name(struct fl_decision *d, struct fl_str text, const char *type,
                 struct fl_str *ret_name);
/* Checks tags that a user gives, in code's words: keys not empty, not twice, not reserved ("aws:").
 * 0 or refused. */
int fl_check_tags(struct fl_decision *d, const struct ecs_Tag_list *tags, const char *code);
/* The account's own principal: what calls are made as. */
struct fl_str fl_root_arn(struct fl_decision *d);
/* The value of an account setting that counts for the account. */
struct fl_str fl_effective_setting(struct fl_decision *d, enum ecs_SettingName name);

/* The revision that "family", "family:revision" or an ARN names; a family alone is its latest
 * ACTIVE one. NULL when there is none (nothing is refused). */
struct fl_definition *fl_find_definition(struct fl_decision *d, struct fl_str name);
/* An instance as the API shows it. What is shown is valid until its record is replaced. */
void fl_show_instance(struct fl_decision *d, const struct fl_instance *instance,
                      const struct ecs_ContainerInstanceField_list *include,
                      struct ecs_ContainerInstance *out);
/* An instance's checks and what follows from them. */
struct ecs_ContainerInstanceHealthStatus *fl_show_health(struct fl_decision *d,
                                                         const struct fl_instance *instance);
/* A failure for an instance named by id or ARN; the reason is of static life. */
void fl_fail_instance(struct fl_decision *d, const struct fl_cluster *cluster, struct fl_str given,
                      const char *reason, struct ecs_Failure *ret_failure);
/* Makes an instance INACTIVE; its tasks are STOPPED for this reason, wherever they are. */
void fl_retire_instance(struct fl_decision *d, struct fl_instance *instance,
                        enum ecs_TaskStopCode code, struct fl_str reason);
/* A task as the API shows it. */
void fl_show_task(struct fl_decision *d, const struct fl_task *task, bool with_tags,
                  struct ecs_Task *ret_task);
/* What the health checks of a task's essential containers say; containers without one say nothing.
 */
enum fl_checks { FL_CHECKS_NONE, FL_CHECKS_PASSED, FL_CHECKS_UNKNOWN, FL_CHECKS_FAILED };
enum fl_checks fl_task_checks(const struct fl_task *task);
/* A stop that is asked for: puts the record, tells the agent. No effect on a stopped task. */
void fl_request_stop(struct fl_decision *d, struct fl_task *task, enum ecs_TaskStopCode code,
                     struct fl_str reason);
/* Checks a definition to be registered in ECS's words; 0 or refused. */
int fl_check_definition(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in);
/* The part of it that reaches into the kernel, of one container (definition_linux.c). The
 * definition has at most 32 containers. */
int fl_check_linux(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                   const struct ecs_ContainerDefinition *c);
/* The part of it that is about dependencies, timeouts, health checks, restart policies. */
int fl_check_life(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in);
/* Fills in the members of a health check that ECS gives back whether or not they were sent. */
void fl_default_life(struct ecs_ContainerDefinition *c);
/* Fills requiresAttributes. */
void fl_derive_attributes(struct fl_decision *d, struct ecs_TaskDefinition *def);
/* A role's name or ARN, or nothing. */
bool fl_is_role(struct fl_str text);
/* The task's roles, its overrides considered, in the decision's arena; NULL: it has none. */
const struct fl_core_roles *fl_roles_of(struct fl_decision *d, const struct fl_task *task);
struct fl_container_spec;
/* What a container's agent is told of its secrets and of its registry's password. */
void fl_task_object_secrets(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                            struct fl_container_spec *spec);
/* The protocol's Task object for a task's agent, into an effect. */
void fl_task_object(struct fl_decision *d, const struct fl_task *task,
                    struct fl_core_effect *effect);
