/* The agent's glue: what its files share.
 *
 * Everything happens on the loop's thread. An event is stepped through the brain as soon as it
 * comes; what the brain answers is collected in the present turn, which is committed at the end of
 * the loop's iteration; its effects leave when the commit is durable. */
#pragma once

#include <sys/queue.h>
#include <uthash.h>
#include <uv.h>

#include "agent/agent.h"
#include "agent/credentials.h"
#include "agent/exec.h"
#include "agent/gpus.h"
#include "agent/image_desk.h"
#include "agent/images.h"
#include "agent/introspection.h"
#include "agent/log_shipper.h"
#include "agent/metadata.h"
#include "agent/network.h"
#include "agent/reporter.h"
#include "agent/resolver.h"
#include "agent/runtime.h"
#include "agent/session.h"
#include "agent/task_secrets.h"
#include "agent/telemetry.h"
#include "agent/tunnel.h"
#include "store/store.h"
#include "task/brain.h"

struct turn;
struct fl_check;

/* What the glue holds of a container from its image's readiness to its release. */
struct fl_live {
    UT_hash_handle hh; /* by id */
    struct fl_agent *agent;
    struct fl_arena *arena;
    char id[FL_CONTAINER_ID_SIZE];
    bool starting; /* fl_images_start_begins has been told of it */
    bool busy;     /* an answer is on the way that will find this */
    bool released;
    int64_t pull_started_ms;
    struct fl_image_ready image;
    struct fl_endpoint endpoint;
    bool attached;
    bool queued;    /* for its launch */
    bool launching; /* launched, and not yet heard of */
    TAILQ_ENTRY(fl_live) queue;
    /* An exit that waits until the log is shipped. */
    bool exit_held;
    struct fl_brain_event exit;
    uv_timer_t *exit_timer;
};

/* A container whose log is followed and not yet shipped to its end. */
struct fl_shipping {
    UT_hash_handle hh; /* by id */
    struct fl_agent *agent;
    char id[FL_CONTAINER_ID_SIZE];
    bool finishing;
    bool remove_after; /* the task's removal waits for it */
};

struct fl_agent {
    uv_loop_t loop;
    struct fl_arena *arena; /* lives as long as the agent */
    struct fl_agent_config config;
    struct fl_str dir; /* <data_dir>/agent */
    struct fl_str hostname;
    struct fl_gpus gpus; /* none unless ECS_ENABLE_GPU_SUPPORT */
    struct fl_brain *brain;
    struct fl_store *store;
    struct fl_runtime *runtime;
    struct fl_execer *execer;
    struct fl_check *checks; /* health checks under way */
    struct fl_puller *puller;
    struct fl_images *images;
    struct fl_image_desk *desk; /* NULL: people cannot ask for pulls */
    struct fl_network *network;
    struct fl_http_client *http;
    struct fl_aws_client *aws;
    struct fl_log_shipper *shipper;
    struct fl_reporter *reporter;
    struct fl_identity identity;
    struct fl_admitted admitted;
    struct fl_session *session;
    struct fl_stats *stats;
    struct fl_metadata_facts facts;
    struct fl_wallet *wallet;
    struct fl_task_secrets *secrets;
    struct fl_audit *audit;
    struct fl_metadata *metadata;
    struct fl_introspection *introspection; /* NULL: somebody else has its port */
    struct fl_resolver *resolver;
    struct fl_tcs *telemetry;
    struct fl_tunnel *tunnel; /* NULL: tasks reach the server by themselves */
    struct fl_network_services services;
    bool has_metadata_address; /* the host's own processes reach it, too */
    struct turn *turn;         /* collecting; NULL: nothing has happened since the last commit */
    struct fl_live *live;
    TAILQ_HEAD(fl_live_queue, fl_live) launch_queue;
    unsigned launching;
    struct fl_shipping *shipping;
    uv_prepare_t before_poll; /* both commit the present turn */
    uv_check_t after_poll;
    uv_timer_t due; /* the brain's */
    uv_signal_t on_term;
    uv_signal_t on_int;
    uv_timer_t network_look;
    uv_timer_t network_quiet; /* a while after a launch */
    bool network_is_broken;   /* and it has been said */
    bool ending;
};

/* agent_turn.c */
void fl_agent_turns_start(struct fl_agent *agent);
void fl_agent_turns_stop(struct fl_agent *agent);
/* Steps one event; its times and seed are filled in here. False: the brain refused it. */
bool fl_agent_post(struct fl_agent *agent, struct fl_brain_event *event);

/* agent_effects.c: one effect, after its turn is durable. */
void fl_agent_carry_out(struct fl_agent *agent, const struct fl_effect *effect);

/* agent_launch.c */
void fl_agent_ensure_image(struct fl_agent *agent, struct fl_str container_id);
/* What the brain calls it. */
enum fl_failure fl_agent_image_failure(enum fl_image_failure failure);
void fl_agent_prepare(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_launch(struct fl_agent *agent, struct fl_str container_id);
/* Started or failed: the next one in the queue may go. */
void fl_agent_launch_ended(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_release(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_fail(struct fl_agent *agent, struct fl_str container_id, enum fl_effect_type effect,
                   enum fl_failure failure, struct fl_str text);
struct fl_live *fl_agent_live(struct fl_agent *agent, struct fl_str container_id);
struct fl_live *fl_agent_live_new(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_live_free_all(struct fl_agent *agent);

/* agent_exit.c: the runtime's callbacks; an exit is told once its log is shipped, or after a
 * second. */
extern const struct fl_runtime_callbacks fl_agent_runtime_callbacks;
void fl_agent_exit_log_shipped(struct fl_live *live);
void fl_agent_exit_forget(struct fl_live *live);

/* agent_logs.c */
bool fl_agent_is_shipped(const struct fl_container_spec *spec);
/* Whether that option's value, or (empty) any option's, is a secret. */
bool fl_agent_log_hides(const struct fl_container_spec *spec, struct fl_str option);
/* In the arena. 0, or -EINVAL with Docker's sentence about an option; -ENOKEY while values of
 * secret ones are not known. */
int fl_agent_log_target(struct fl_agent *agent, const struct fl_task_container *container,
                        struct fl_arena *arena, struct fl_log_target *ret_target,
                        struct fl_err *err);
/* A container that was ensured is launched: its spool is followed. */
void fl_agent_log_start(struct fl_agent *agent, const struct fl_task_container *container);
/* The shipper knows the container (ensured, or started after our own restart). */
void fl_agent_log_begin(struct fl_agent *agent, struct fl_str container_id);
/* The spool of a container that is started again, or was while its last lines were shipped, is
 * followed again. */
void fl_agent_log_resume(struct fl_agent *agent, const struct fl_task_container *container);
/* The container has ended, or will never run: the rest is shipped. True while it is under way. */
bool fl_agent_log_finish(struct fl_agent *agent, struct fl_str container_id);
/* True while lines are left; then the removal of the container's task is tried again at their
 * end. */
bool fl_agent_log_delays_removal(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_log_free_all(struct fl_agent *agent);

/* agent_files.c: contents of files that containers see; in the arena. */
struct fl_str fl_agent_hostname_of(const struct fl_agent *agent,
                                   const struct fl_task_container *container,
                                   struct fl_arena *arena);
struct fl_str fl_agent_etc_hosts(enum fl_network_mode mode, const uint8_t address[4],
                                 struct fl_str hostname, struct fl_arena *arena);
/* Without name servers on the host's loopback or with IPv6 addresses; if none is left, with the
 * agent's resolver, and behind it, for when no agent runs, those that systemd-resolved has above it
 * (`upstream`: its own file, or empty). */
struct fl_str fl_agent_filter_resolv_conf(struct fl_str host, struct fl_str upstream,
                                          struct fl_arena *arena);
struct fl_str fl_agent_etc_resolv_conf(enum fl_network_mode mode, struct fl_arena *arena);

/* agent_names.c: what a definition adds to these files and to the environment; 0, or -EINVAL with
 * Docker's sentence; a hostname of the definition's is checked here, too. Links are to containers
 * of the same task that run. */
int fl_agent_add_hosts(const struct fl_task_container *container, struct fl_arena *arena,
                       struct fl_str *hosts, struct fl_err *err);
int fl_agent_link_variables(const struct fl_task_container *container, struct fl_arena *arena,
                            struct fl_key_value **ret_items, size_t *ret_count, struct fl_err *err);
int fl_agent_set_dns(const struct fl_container_spec *spec, struct fl_arena *arena,
                     struct fl_str *resolv_conf, struct fl_err *err);

/* agent_images.c: images and what they are pulled with, as configured. */
int fl_agent_images_open(struct fl_agent *agent, struct fl_err *err);
void fl_agent_images_close(struct fl_agent *agent);

/* agent_network.c: looks every second whether our packet filter's tables are what they were. */
void fl_agent_network_watch(struct fl_agent *agent);
void fl_agent_network_unwatch(struct fl_agent *agent);
/* A launch has come to its end: the next one's namespace is made when it is quiet. */
void fl_agent_network_launched(struct fl_agent *agent);

/* agent_adopt.c */
void fl_agent_adopt(struct fl_agent *agent, struct fl_str container_id);
/* After a restart: network endpoints and log shipping of what lives or still has lines. */
void fl_agent_restore(struct fl_agent *agent);

/* agent_health.c: runs the container's health check, unless it is being run. */
void fl_agent_check_health(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_health_free_all(struct fl_agent *agent);

/* agent_remove.c */
void fl_agent_remove(struct fl_agent *agent, struct fl_str task_arn);

/* agent_services.c: metadata, statistics, introspection. */
int fl_agent_services_open(struct fl_agent *agent, struct fl_err *err);
void fl_agent_services_close(struct fl_agent *agent);
void fl_agent_services_discovered(struct fl_agent *agent, struct fl_str telemetry_endpoint,
                                  struct fl_str instance_arn);
/* A container runs (also: was adopted), has ended, its task is forgotten. */
void fl_agent_services_started(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_services_ended(struct fl_agent *agent, struct fl_str container_id);
void fl_agent_services_removed(struct fl_agent *agent, struct fl_str task_arn);

/* agent_environment.c: what ECS puts into a container's environment, and the metadata file. */
void fl_agent_add_environment(struct fl_agent *agent, const struct fl_task_container *container,
                              struct fl_arena *arena, struct fl_launch *launch);

/* agent_credentials.c */
/* Do tasks of that network mode get credentials of their role? */
bool fl_agent_lends(const struct fl_agent *agent, enum fl_network_mode mode);
/* Those in a payload's Task object, and those that come later; each is acknowledged. */
void fl_agent_take_task_credentials(struct fl_agent *agent, const struct fl_json *task,
                                    struct fl_str message_id);
void fl_agent_take_credentials(struct fl_agent *agent, const struct fl_acs_message *message);
/* After a restart: the ids that containers have are known before their credentials have come. */
void fl_agent_expect_credentials(struct fl_agent *agent);

/* agent_acs.c: one frame of the control plane's. */
void fl_agent_on_frame(struct fl_agent *agent, struct fl_str text);
