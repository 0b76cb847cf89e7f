/* What the simulator's files share: the world, its actors, and how they act on it.
 *
 * Whatever happens is an event of the queue; whatever is random comes from sim_below. Both the core
 * and the brain have a struct fl_task of their own, so audit_core.c alone looks into the core. */
#pragma once

#include <sys/queue.h>

#include "base/bug.h"
#include "base/id.h"
#include "core/core.h"
#include "shapes/ecs_shapes.h"
#include "sim/disk.h"
#include "sim/queue.h"
#include "sim/services.h"
#include "sim/sim.h"
#include "task/brain.h"

#define SIM_SERVER UINT32_MAX
#define SIM_CLIENTS (UINT32_MAX - 1)
#define SIM_NOWHERE UINT32_MAX

#define SIM_MS INT64_C(1000)
#define SIM_SECOND (1000 * SIM_MS)
#define SIM_MINUTE (60 * SIM_SECOND)
#define SIM_HOUR (60 * SIM_MINUTE)

enum { SIM_PAYLOAD_TASKS = 100 }; /* in one frame, at most */
enum { SIM_ID = 33, SIM_NOTES = 48, SIM_REVISIONS = 4096, SIM_MAX_COUNT = 10 };
/* RunTask's, then those of services, then those of hooks. */
enum {
    SIM_FAMILIES = 12,
    SIM_HOOK_FAMILIES = SIM_FAMILIES + SIM_KINDS,
    SIM_ALL_FAMILIES = SIM_HOOK_FAMILIES + SIM_HOOKS
};

/* A task as an answer shows it. */
struct sim_shown {
    char id[SIM_ID];
    int status, code; /* code: 0, or one more than the enum's value */
    bool is_stopping;
    bool is_well_told; /* its health follows from that of its containers */
    int64_t version;
    uint64_t reason; /* a hash */
};

/* A container instance as an answer shows it. */
struct sim_shown_instance {
    char id[SIM_ID];
    int status;
    int64_t version;
};

/* What an answer says to those who read it. */
struct sim_answer {
    struct sim_shown *tasks;
    size_t task_count;
    struct sim_shown_instance *instances;
    size_t instance_count;
    struct fl_str instance_arn;
    int revision;
};

/* What a frame tells of one task's health. */
struct sim_told_health {
    struct fl_str task; /* id */
    struct fl_core_health *containers;
    size_t container_count;
};

/* A call, an answer, a frame, or an order within one: under way, perhaps twice, and not changed
 * any more. Everything in it lives in its arena; both are used again by others. */
struct sim_message {
    struct fl_arena *arena;
    struct sim_message *next_free;
    uint32_t holders;
    uint32_t from;
    int operation;        /* call, answer */
    uint64_t nonce;       /* call of an agent: which process, */
    char speaker[SIM_ID]; /* and as which container instance; empty: none yet */
    unsigned status;      /* answer; 0: no connection */
    const void *input;    /* call: decoded; NULL: the text says it */
    struct fl_str text;   /* in a run with codecs: a call's or answer's body, an order; a refusal */
    struct sim_answer answer;
    struct fl_brain_order order; /* decoded, in an order */
    uint64_t ref;                /* acknowledgement: of which payload; handshake: the nonce */
    uint64_t connection;         /* frames */
    struct fl_acs_header header;
    struct fl_acs_task *tasks; /* manifest, question and answer about what is to stop */
    size_t task_count;
    struct sim_told_health *health;
    size_t health_count;
    struct sim_message **orders; /* payload */
    size_t order_count, order_bytes;
};

/* Chances in a thousand, and mean times between; 0: never. Drawn from the seed. */
struct sim_knobs {
    int64_t latency_us;
    unsigned loss, duplicate, slow; /* of calls and their answers */
    unsigned pull_fails, launch_fails, hangs, lies, ignores_term;
    int64_t server_kill_us, host_kill_us, reboot_us, wipe_us, partition_us, break_us, clock_us;
    int64_t full_us, zombie_us, freeze_us, clone_us, loss_us;
    int64_t sync_us; /* a disk's usual sync */
    unsigned slow_sync;
};

/* ---- the ledger: what is true, and who knows it ---- */

enum sim_instance_status { SIM_INSTANCE_ACTIVE, SIM_INSTANCE_DRAINING, SIM_INSTANCE_INACTIVE };

/* A container instance as the core's records have it. */
struct sim_instance {
    uint64_t key;
    char id[SIM_ID];
    uint32_t host;    /* whose it is, SIM_NOWHERE once that host has forgotten it */
    uint32_t machine; /* whose it has ever been */
    int64_t cpu, memory, cpu_used, memory_used;
    bool exists, drop_put;
    bool leave_asked; /* somebody has wanted it deregistered */
    enum sim_instance_status status;
    int64_t version, inactive_ms;
    int64_t inactive_us; /* simulated */
    int64_t away_ms;     /* when the core was told that its agent has gone; 0: not in this life */
    int64_t low_ms;      /* the same, had it been said anew whenever the clock was set back */
    unsigned marks;      /* while something is counted */
    /* As somebody has been told; 0: nobody has. */
    enum sim_instance_status seen_status;
    int64_t seen_version;
};

/* What the checks of a task's essential containers say together. */
enum sim_checks { SIM_CHECKS_NONE, SIM_CHECKS_UNKNOWN, SIM_CHECKS_PASSED, SIM_CHECKS_FAILED };

struct sim_task {
    uint64_t key;
    char id[SIM_ID];
    /* As the core's records have it now. */
    bool exists, drop_put;
    int status, desired, code;
    int64_t version, stopped_ms, cpu, memory;
    uint64_t reason;
    uint32_t instance;
    uint32_t token; /* operation that it was made by, +1 */
    /* Of a service's task: */
    uint32_t service; /* counted from 1; 0: it is nobody's */
    int family;
    bool is_given_up; /* it is to end where nobody has been heard of for long: it counts no more */
    int64_t deployment, started_ms, protected_ms;
    int64_t started_us; /* simulated: when that was said */
    enum sim_checks checks;
    /* As somebody has been told. */
    bool is_seen, stop_is_seen;
    int seen_status, seen_code;
    int64_t seen_version;
    uint64_t seen_reason;
    /* What really is. */
    uint32_t running; /* containers */
    uint32_t running_on;
    bool stop_put;   /* a stop has ever been asked for */
    bool troubled;   /* something of it has ended by itself */
    bool is_ending;  /* its host's agent means it to end, and has from an earlier step on */
    bool has_worked; /* a container of it has ended with 0 */
};

struct sim_ledger {
    struct sim_task *tasks;
    size_t task_count, task_cap;
    struct sim_index by_task;
    struct sim_instance *instances;
    size_t instance_count, instance_cap;
    struct sim_index by_instance;
    int revision_seen[SIM_ALL_FAMILIES]; /* acknowledged, the highest */
    uint64_t revisions[SIM_ALL_FAMILIES][SIM_REVISIONS / 64];
    size_t live; /* tasks that exist */
};

/* ---- the server ---- */

struct sim_turn {
    struct sim_commit commit; /* first: the disk hands it back */
    size_t write_cap;
    struct sim_turn *next_free;
    struct fl_turn turn;
};

struct sim_session; /* server_session.c */

struct sim_server {
    struct fl_core *core;
    bool up;
    uint32_t life;
    int64_t frozen_us; /* until when the process does nothing */
    struct sim_disk disk;
    struct sim_turn *open;
    int64_t clock_ms; /* what its wall clock is ahead */
    int64_t due_ms;
    uint64_t due_number;
    int64_t started_us, clock_set_us;
    int64_t since_ms; /* when the core was told of the first event of this life; 0: it was not */
    int64_t low_since_ms; /* the same, had it been said anew whenever the clock was set back */
    int64_t last_ms;      /* the time that the core was told last */
    uint64_t epoch;
    uint32_t counter;
    uint64_t last_number;
    struct sim_session *by_instance;   /* uthash */
    struct sim_session *by_connection; /* uthash */
    struct sim_session *first_dirty;
    struct sim_turn *free_turns;
    size_t turns;
};

/* ---- hosts ---- */

enum sim_stage { SIM_REGISTER, SIM_CONNECT, SIM_OPEN };
enum sim_container_state { SIM_STARTING, SIM_FAILED, SIM_RUNNING, SIM_DEAD };

/* How a container lives, which its image says: for ever, until its work is done, until something
 * happens to it while there is load, or never long. */
enum sim_living {
    SIM_SERVICE,
    SIM_BATCH,
    SIM_FLAKY,
    SIM_CRASHING,
    SIM_STILLBORN, /* it cannot be started */
    SIM_ILL,       /* no check finds it well */
    SIM_DONE,      /* its work is done soon, and well */
    SIM_WRONG,     /* soon, and not */
};

/* What really exists of a container. It outlives the agent. */
struct sim_container {
    struct sim_container *next;
    uint64_t key;
    char id[FL_CONTAINER_ID_SIZE];
    enum sim_container_state state;
    int exit_code;
    int run;             /* the number of its last start */
    uint32_t watched_by; /* life of the agent that watches it; 0: nobody */
    uint32_t task;       /* in the ledger */
    enum sim_living living;
    int64_t ran_ms, ended_ms; /* wall clock: of the present or last run */
    int64_t first_ms;         /* monotonic: when it first ran; 0: never */
    int64_t told_ms;          /* the same: when its agent learned of that */
    int64_t term_ms;          /* monotonic: when it was first told to end; 0: it was not */
    bool was_well;            /* a check has ever found so */
    bool is_ill;              /* as checks find it now */
};

/* What the agent's memory holds of a container: src/agent/agent_launch.c. */
struct sim_live {
    struct sim_live *next;
    uint64_t key;
    char id[FL_CONTAINER_ID_SIZE];
    bool busy, attached, launching, released;
    /* Of the present run, as the auditor counts it from what checks say. */
    enum fl_health health;
    int64_t streak;
    int64_t checked_ms; /* monotonic: when a check was last answered; 0: none was */
};

struct sim_report {
    TAILQ_ENTRY(sim_report) entry;
    struct sim_message *call;
    struct fl_str task_arn; /* behind the structure */
    int64_t seq, pause_us, due_us;
    uint64_t ref;
    bool under_way;
};

struct sim_host_turn {
    struct sim_commit commit; /* first */
    size_t write_cap;
    struct sim_host_turn *next_free;
    struct fl_arena *arena;
    struct fl_brain_turn brain;
    uint64_t epoch; /* of the payloads obeyed in it */
};

/* When the last frame of a connection arrives, for the newest ones of a host: clones have several.
 */
enum { SIM_ORDERED = 4 };
struct sim_order {
    uint64_t connection;
    int64_t last_us;
};

struct sim_host {
    uint32_t index;
    bool up;
    bool is_gone;        /* for good */
    uint32_t life, boot; /* of the agent, of the machine */
    int64_t frozen_us;   /* until when the agent does nothing */
    struct fl_brain *brain;
    struct sim_disk disk;
    char instance_arn[160]; /* the identity file: */
    char client_token[37];
    uint32_t machine;    /* whose it is */
    bool was_registered; /* by this agent */
    struct sim_host_turn *open;
    int64_t booted_us, clock_ms, drift_ppm;
    int64_t due_ms; /* monotonic; what the timer is armed for */
    int64_t started_us;
    uint32_t due_number;
    struct sim_container *containers;
    struct sim_live *live;
    TAILQ_HEAD(, sim_report) reports;
    unsigned reports_under_way;
    int64_t reports_due_us;
    /* session */
    enum sim_stage stage;
    uint64_t connection, silence_number;
    int64_t pause_us, opened_us;
    int64_t silent_us; /* when the connection counts as dead, if nothing is heard until then */
    unsigned connect_failures;
    uint64_t call; /* of the call that the session waits for; 0: none */
    bool making_cluster;
    /* network: until when nothing gets through, to the server and from it */
    int64_t blocked_us[2];
    struct sim_order order[2][SIM_ORDERED]; /* frames of a connection keep their order */
    uint64_t epoch;                         /* highest that has been obeyed with effect */
    struct sim_message *old_frame;          /* a payload of an epoch gone by */
    uint64_t old_epoch;
    int64_t last_seq; /* of the present server's payloads */
};

/* ---- clients ---- */

struct sim_operation {
    int operation;
    uint32_t attempt, attempts_left;
    uint32_t timed_attempt; /* has had its answer, or its time */
    uint32_t count, placed, live;
    uint32_t tasks[SIM_MAX_COUNT]; /* of the first answer, in the ledger */
    bool has_token, is_done, is_answered;
    uint32_t token_of; /* it has the token of another call, and another body: that one, +1 */
    int family, revision;
    int status;               /* wanted of instances */
    uint32_t service;         /* that it is about, +1 */
    int64_t service_version;  /* that has what it asks for; 0: none yet */
    struct sim_message *call; /* sent with each attempt; NULL once it is done */
};

struct sim_clients {
    struct sim_operation *operations;
    size_t count, cap;
    uint64_t asked; /* tasks */
    size_t open;
};

struct sim_note {
    int64_t at_us;
    const char *what;
    uint32_t who;
    uint64_t number;
};

struct sim {
    struct fl_sim_config config;
    struct fl_sim_result *result;
    struct fl_rand rand, samples;
    int64_t now_us;
    struct sim_queue queue;
    struct sim_knobs knobs;
    bool faults_on, ended;
    int64_t load_until_us, faults_until_us, end_us;
    bool codecs; /* what is called, answered, ordered, stored goes through JSON */
    struct fl_core_taker core_taker;
    struct fl_brain_taker brain_taker;
    struct sim_message *free_messages;
    struct sim_host_turn *free_turns;
    struct sim_server server;
    struct sim_host *hosts;
    size_t host_count;
    size_t identity_count; /* that there have ever been */
    struct sim_clients clients;
    struct sim_ledger ledger;
    bool has_services;
    bool is_strict; /* this and what follows: the core's */
    int64_t settle_ms, lost_after_ms;
    struct sim_services services;
    uint64_t next_ref, next_connection, next_message;
    uint64_t step;  /* events that came up */
    uint64_t count; /* and did something */
    int64_t next_full_check_us;
    struct sim_note notes[SIM_NOTES];
    size_t note_count;
};

/* ---- sim.c ---- */
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_chance(struct sim *sim, unsigned in_a_thousand);
/* Somewhere between half of it and one and a half. */
int64_t sim_about(struct sim *sim, int64_t us);
/* The event under way was for nobody (any more), and is not counted: a timer that would have been
 * stopped, news of what is gone. */
void sim_void(struct sim *sim);
/* There is load. Afterwards everything that was begun comes to a good end. */
bool sim_is_busy(const struct sim *sim);
/* A chance that is there only while faults are. */
bool sim_fault(struct sim *sim, unsigned in_a_thousand);
void sim_note(struct sim *sim, const char *what, uint32_t who, uint64_t number);
void sim_at(struct sim *sim, int64_t after_us, const struct sim_action *action, uint32_t who,
            uint64_t number, struct sim_message *message);
/* The same for what no process' death prevents. An event with a message is always of that kind. */
void sim_at_any(struct sim *sim, int64_t after_us, const struct sim_action *action, uint32_t who,
                uint64_t number, struct sim_message *message);
/* The present life of who: events for another one are dropped. */
uint32_t sim_life(const struct sim *sim, uint32_t who);
/* The first violation ends the run. */
void sim_violation(struct sim *sim, const char *invariant, const char *fmt, ...) FL_PRINTF(3, 4);
void sim_seed(struct sim *sim, uint8_t ret_seed[32]);
void sim_fault_counted(struct sim *sim, const char *what, uint32_t who);
int64_t sim_wall_ms(const struct sim *sim);

/* ---- message.c ---- */
/* Held once. */
struct sim_message *sim_message_new(struct sim *sim);
struct sim_message *sim_message_hold(struct sim_message *message);
/* One holder less; NULL is fine. */
void sim_message_free(struct sim *sim, struct sim_message *message);
/* The end of the run: frees what was kept for being used again. */
void sim_messages_end(struct sim *sim);
/* Makes it a call; the input, in its arena, is an object of the operation's shape. */
void sim_message_ask(struct sim *sim, struct sim_message *message, int operation,
                     const void *input);
/* The input of a call; NULL after a violation. */
const void *sim_message_asked(struct sim *sim, struct sim_message *message);
/* Reads an operation's output into the message's answer. */
void sim_answer_read(struct sim_message *message, int operation, const void *output);
/* Copies a list of tasks into it. */
void sim_message_list(struct sim_message *message, const struct fl_acs_task *tasks, size_t count);
/* What an answer of status 200 says. */
const struct sim_answer *sim_message_answered(struct sim *sim, struct sim_message *message,
                                              int operation);
/* Has an order's text decoded, if there is one. */
void sim_order_read(struct sim *sim, struct sim_message *order);

/* ---- network.c ---- */
/* A call to the server. The answer (or its absence) comes to whoever asked. Both take the message.
 */
void sim_call(struct sim *sim, uint32_t from, uint64_t ref, struct sim_message *message);
void sim_answer(struct sim *sim, uint32_t to, uint64_t ref, struct sim_message *message);
/* A frame of a connection. Takes the message. */
void sim_frame_to_host(struct sim *sim, uint32_t host, const struct sim_action *action,
                       struct sim_message *message);
void sim_frame_to_server(struct sim *sim, uint32_t host, const struct sim_action *action,
                         struct sim_message *message);

/* ---- server.c ---- */
extern const struct sim_action sim_server_call;
/* An event for the core, in the open turn. */
void sim_server_step(struct sim *sim, struct fl_core_event *event);
void sim_server_init(struct sim *sim);
void sim_server_start(struct sim *sim);
void sim_server_kill(struct sim *sim);
void sim_server_free(struct sim *sim);
int64_t sim_server_wall_ms(const struct sim *sim);
/* A core that has loaded what is durable and what is on its way: NULL after a violation. */
struct fl_core *sim_server_rebuild(struct sim *sim);
/* ---- server_session.c ---- */
extern const struct sim_action sim_server_connect, sim_server_ack, sim_server_heard,
    sim_server_closed, sim_server_heartbeat, sim_server_verify, sim_server_health;
#define SIM_HEARTBEAT_US (30 * SIM_SECOND)
/* Takes the effect's task, for the payload that the next flush sends. */
void sim_sessions_task(struct sim *sim, struct fl_core_effect *effect);
void sim_sessions_flush(struct sim *sim);
/* Sends the effect's tasks: all of the instance, or those to stop. */
void sim_sessions_list(struct sim *sim, const struct fl_core_effect *effect);
/* The effect's instance is INACTIVE. */
void sim_sessions_end(struct sim *sim, const struct fl_core_effect *effect);
/* The server has died. */
void sim_sessions_drop(struct sim *sim);
/* Is the agent heard that makes this call? Not while another one holds its instance's session. */
bool sim_sessions_hear(struct sim *sim, const struct sim_message *call);
/* Every open session tells the given core that its agent is there. */
void sim_server_tell_sessions(struct sim *sim, struct fl_core *core);
bool sim_server_has_session(struct sim *sim, struct fl_str instance);
bool sim_server_is_connected(const struct sim *sim, uint32_t host);

/* ---- host.c ---- */
extern const struct sim_action sim_host_start_action;
void sim_hosts_init(struct sim *sim);
void sim_hosts_end(struct sim *sim);
int32_t sim_host_cpu(const struct sim_host *host);
/* Its agent takes manifests; older ones do not. */
bool sim_host_has_manifests(const struct sim_host *host);
/* Its agent makes images ready while dependencies are waited for. */
bool sim_host_pulls_upfront(const struct sim_host *host);
void sim_host_init(struct sim *sim, struct sim_host *host, uint32_t index);
void sim_host_start(struct sim *sim, struct sim_host *host);
void sim_host_kill(struct sim *sim, struct sim_host *host);
void sim_host_reboot(struct sim *sim, struct sim_host *host);
void sim_host_wipe(struct sim *sim, struct sim_host *host);
/* It never returns. */
void sim_host_lose(struct sim *sim, struct sim_host *host);
/* Installed anew with a copy of another host's data directory. */
void sim_host_clone(struct sim *sim, struct sim_host *host, const struct sim_host *from);
/* Forgets the container instance: the next registration makes a new one. */
void sim_host_renew_identity(struct sim *sim, struct sim_host *host);
/* The id of the container instance that the host is, or is going to be. */
void sim_host_instance_id(const struct sim_host *host, char ret_id[SIM_ID]);
/* Tells one agent's process from another. */
uint64_t sim_host_nonce(const struct sim_host *host);
int sim_host_load(struct fl_brain *brain, const struct sim_record *record, struct fl_err *err);
void sim_host_free(struct sim *sim, struct sim_host *host);
bool sim_host_post(struct sim *sim, struct sim_host *host, struct fl_brain_event *event);
int64_t sim_host_mono_ms(const struct sim *sim, const struct sim_host *host);
int64_t sim_host_wall_ms(const struct sim *sim, const struct sim_host *host);

/* ---- host_runtime.c ---- */
void sim_runtime_ensure_image(struct sim *sim, struct sim_host *host, struct fl_str id);
void sim_runtime_prepare(struct sim *sim, struct sim_host *host, struct fl_str id);
void sim_runtime_launch(struct sim *sim, struct sim_host *host, struct fl_str id);
void sim_runtime_adopt(struct sim *sim, struct sim_host *host, struct fl_str id);
void sim_runtime_signal(struct sim *sim, struct sim_host *host, struct fl_str id, int number);
void sim_runtime_release(struct sim *sim, struct sim_host *host, struct fl_str id);
void sim_runtime_check(struct sim *sim, struct sim_host *host, struct fl_str id);
void sim_runtime_remove(struct sim *sim, struct sim_host *host, struct fl_str task_arn);
/* The agent has died: its memory of containers goes. */
void sim_runtime_forget(struct sim_host *host);
/* The machine has died: its containers go. */
void sim_runtime_die(struct sim *sim, struct sim_host *host);
/* About so long, and sometimes much longer. */
int64_t sim_runtime_delay(struct sim *sim, int64_t us);
/* NULL: there is none. */
struct sim_container *sim_runtime_container(const struct sim_host *host, uint64_t key);
struct sim_live *sim_runtime_live(const struct sim_host *host, uint64_t key);

/* ---- host_health.c ---- */
/* For as long as this connection lasts, the control plane is told of health. */
void sim_health_start(struct sim *sim, struct sim_host *host);

/* ---- host_session.c, host_report.c ---- */
extern const struct sim_action sim_host_payload, sim_host_heartbeat, sim_host_opened,
    sim_host_refused, sim_host_closed, sim_host_old_payload, sim_host_manifest, sim_host_stop_list;
/* Who makes the call: each attempt says so anew. */
void sim_session_introduce(const struct sim_host *host, struct sim_message *call);
void sim_session_start(struct sim *sim, struct sim_host *host);
void sim_session_answer(struct sim *sim, struct sim_host *host, const struct sim_event *event);
/* Asks which of these tasks it is to stop. */
void sim_session_verify(struct sim *sim, struct sim_host *host, const struct fl_effect *effect);
void sim_session_send_ack(struct sim *sim, struct sim_host *host, struct fl_str message_id);
/* Takes the call out of the effect. */
void sim_report_send(struct sim *sim, struct sim_host *host, struct fl_effect *effect);
/* False: it is none of the reporter's calls. */
bool sim_report_answer(struct sim *sim, struct sim_host *host, uint64_t ref, unsigned status);
void sim_report_hurry(struct sim *sim, struct sim_host *host);
void sim_report_forget(struct sim *sim, struct sim_host *host);

/* ---- clients.c ---- */
/* A call that is going to be made, its input in the message, which it takes; then an attempt. */
struct sim_operation *sim_client_call(struct sim *sim, int operation, struct sim_message *call,
                                      const void *input);
void sim_client_send(struct sim *sim, struct sim_operation *operation);
/* True while one of the call's tasks has not been forgotten: its token is known as long. */
bool sim_token_lives(const struct sim *sim, const struct sim_operation *operation);
void sim_clients_answer(struct sim *sim, const struct sim_event *event);
void sim_clients_free(struct sim *sim);

/* ---- definition.c ---- */
/* The containers of a new revision of a family. */
struct ecs_ContainerDefinition_list sim_definition_draw(struct sim *sim, struct fl_arena *arena,
                                                        int family);

/* ---- workload.c ---- */
void sim_clients_start(struct sim *sim);
void sim_client_stop(struct sim *sim, const char *id);
void sim_client_register(struct sim *sim, int family);
/* Somebody sees to it that the instances of a host that is gone are deregistered. */
void sim_client_write_off(struct sim *sim, uint32_t host);
/* The same token again, with another body. */
void sim_client_conflict(struct sim *sim, struct sim_operation *operation);

/* ---- faults.c ---- */
void sim_faults_draw(struct sim *sim);
void sim_faults_start(struct sim *sim);
/* Everything that was broken is mended. */
void sim_faults_stop(struct sim *sim);

/* ---- ledger.c ---- */
/* The number of a key, counted from 1; 0: unknown. */
uint32_t sim_index_find(const struct sim_index *index, uint64_t key);
void sim_index_add(struct sim_index *index, uint64_t key, size_t number);
uint64_t sim_key(struct fl_str id);
/* Found, or made. */
struct sim_task *sim_ledger_task(struct sim *sim, struct fl_str id);
struct sim_instance *sim_ledger_instance(struct sim *sim, struct fl_str id);
uint64_t sim_hash(struct fl_str text);
/* Somebody is shown a task: what is shown may not contradict what was shown before. */
struct sim_task *sim_ledger_see(struct sim *sim, const struct sim_shown *shown);
/* The same for an instance. */
struct sim_instance *sim_ledger_see_instance(struct sim *sim,
                                             const struct sim_shown_instance *shown);
/* -1: none that a record can have. */
int sim_instance_status(struct fl_str text);
void sim_ledger_free(struct sim *sim);

/* ---- audit.c ---- */
/* After a step of the core: the records from that one on are new. */
void sim_audit_records(struct sim *sim, const struct fl_turn *turn, size_t from, int64_t now_ms);
/* After a start: the core's memory is what was durable. */
void sim_audit_recovered(struct sim *sim);
/* Everything against everything, recovery included. */
void sim_audit_full(struct sim *sim);

/* ---- audit_host.c: what an agent makes of its containers ---- */
/* Records have been loaded, and nothing has been done yet. */
void sim_audit_boot(struct sim *sim, struct sim_host *host);
/* After a step of the brain: the effects from that one on are new. */
void sim_audit_effects(struct sim *sim, struct sim_host *host, const struct fl_effect *from);
/* Is the container to run once more, by its policy, now that it has ended? */
bool sim_audit_restarts(const struct sim_host *host, const struct sim_container *c);
/* After the brain has learned of an end, or of a check: what it was to make of it. */
void sim_audit_end(struct sim *sim, struct sim_host *host, const struct sim_container *c,
                   bool restarts);
void sim_audit_check(struct sim *sim, struct sim_host *host, const struct sim_container *c,
                     int exit_code);
/* Nobody's patience, and no check, is overdue. */
void sim_audit_overdue(struct sim *sim, const struct sim_host *host);

/* ---- audit_rest.c: the end of a run in liveness mode ---- */
/* Its host is gone for good, whatever its record says. */
bool sim_is_gone(const struct sim *sim, const struct sim_task *task);
void sim_audit_rest(struct sim *sim);
