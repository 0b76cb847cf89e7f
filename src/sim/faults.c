/* Faults: which ones there are in a run, and how often, is drawn from the seed; about one in three
 * kinds is left out, so that the others show what they would cover up. */
#include "sim/world.h"

/* Faults of hosts do not come more often than they would to so many. */
enum { MOST_AT_ONCE = 50 };

/* Every kind of repeated fault: its knob in struct sim_knobs, and what it does. */
typedef void (*fault_fn)(struct sim *sim);

/* One that is not gone for good; most are not. */
static struct sim_host *some_host(struct sim *sim)
{
    size_t i = sim_below(sim, sim->host_count);
    while (sim->hosts[i].is_gone)
        i = (i + 1) % sim->host_count;
    return &sim->hosts[i];
}

static void kill_server(struct sim *sim)
{
    sim_fault_counted(sim, "the server is killed", SIM_SERVER);
    sim_server_kill(sim);
}

static void kill_agent(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    if (!host->up)
        return;
    sim_fault_counted(sim, "the agent is killed", host->index);
    sim_host_kill(sim, host);
}

static void reboot(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    sim_fault_counted(sim, "the machine restarts", host->index);
    sim_host_reboot(sim, host);
}

static void wipe(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    sim_fault_counted(sim, "the machine is installed anew", host->index);
    sim_host_wipe(sim, host);
}

/* One way or both, one host or a share of them; now and then for an hour. */
static void partition(struct sim *sim)
{
    size_t count = sim_chance(sim, 700) ? 1 : 1 + sim_below(sim, sim->host_count);
    int64_t until_us =
        sim->now_us + (sim_chance(sim, 50) ? SIM_HOUR : (int64_t)sim_below(sim, 3 * SIM_MINUTE));
    uint64_t ways = 1 + sim_below(sim, 3);
    for (size_t i = 0; i < count; i++) {
        struct sim_host *host = some_host(sim);
        for (int way = 0; way < 2; way++)
            if (ways >> way & 1)
                host->blocked_us[way] = FL_MAX(host->blocked_us[way], until_us);
        sim_fault_counted(sim, "the network is cut", host->index);
    }
}

static void break_connection(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    if (!host->up || !host->connection)
        return;
    struct sim_message *message = sim_message_new(sim);
    message->connection = host->connection;
    sim_fault_counted(sim, "the connection breaks", host->index);
    sim_at(sim, (int64_t)sim_below(sim, SIM_SECOND), &sim_host_closed, host->index,
           host->connection, message);
    if (sim_chance(sim, 700))
        sim_at_any(sim, (int64_t)sim_below(sim, SIM_SECOND), &sim_server_closed, SIM_SERVER,
                   host->connection, NULL);
}

static void step_clock(struct sim *sim)
{
    static const int64_t steps_ms[] = {-3600000, -1000, -50, 50, 1000, 3600000};
    int64_t step_ms = steps_ms[sim_below(sim, FL_ARRAY_SIZE(steps_ms))];
    struct sim_host *host = some_host(sim);
    bool is_server = sim_chance(sim, 300);
    sim_fault_counted(sim, "the clock is set", is_server ? SIM_SERVER : host->index);
    if (is_server)
        sim->server.clock_ms += step_ms, sim->server.clock_set_us = sim->now_us;
    else
        host->clock_ms += step_ms;
}

static void fire_space(struct sim *sim, struct sim_event *event)
{
    if (event->who == SIM_SERVER)
        sim->server.disk.full = false;
    else
        sim->hosts[event->who].disk.full = false;
}

static void fill_disk(struct sim *sim)
{
    static const struct sim_action space = {"there is space on the disk again", fire_space};
    struct sim_host *host = some_host(sim);
    bool is_server = sim_chance(sim, 300);
    uint32_t who = is_server ? SIM_SERVER : host->index;
    sim_fault_counted(sim, "the disk fills up", who);
    if (is_server)
        sim->server.disk.full = true;
    else
        host->disk.full = true;
    sim_at_any(sim, (int64_t)sim_below(sim, SIM_MINUTE), &space, who, 0, NULL);
}

static void wake_zombie(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    if (!host->up || !host->old_frame || host->old_epoch >= host->epoch)
        return;
    sim_fault_counted(sim, "a replaced server is still there", host->index);
    sim_at(sim, 0, &sim_host_old_payload, host->index, 0, NULL);
}

static void freeze(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    bool is_server = sim_chance(sim, 200);
    int64_t *frozen_us = is_server ? &sim->server.frozen_us : &host->frozen_us;
    if (*frozen_us > sim->now_us) /* what waits for its end keeps its order */
        return;
    *frozen_us = sim->now_us + (int64_t)sim_below(sim, SIM_MINUTE);
    sim_fault_counted(sim, "the process is stopped for a while",
                      is_server ? SIM_SERVER : host->index);
}

static void clone_host(struct sim *sim)
{
    struct sim_host *host = some_host(sim), *from = some_host(sim);
    if (host == from || from->machine == host->index) /* not its own of former times */
        return;
    sim_fault_counted(sim, "a machine is cloned", from->index);
    sim_host_clone(sim, host, from);
}

/* At most a quarter of them, so that there is room for what was there. Who was told never to take a
 * host for lost is told by somebody, and now and then so are others. */
static void lose_host(struct sim *sim)
{
    struct sim_host *host = some_host(sim);
    size_t gone = 0;
    for (size_t i = 0; i < sim->host_count; i++)
        gone += sim->hosts[i].is_gone;
    if (4 * (gone + 1) > sim->host_count + 1)
        return;
    sim_fault_counted(sim, "a machine is gone for good", host->index);
    sim_host_lose(sim, host);
    if (sim->lost_after_ms == 0 || sim_chance(sim, 300))
        sim_client_write_off(sim, host->index);
}

struct kind {
    fault_fn act;
    size_t knob;     /* offset of its mean interval */
    int64_t mean_us; /* for one host, or for the server */
    bool is_per_host;
};

#define KNOB(member) offsetof(struct sim_knobs, member)
static const struct kind kinds[] = {
    {kill_server, KNOB(server_kill_us), 2 * SIM_MINUTE, false},
    {kill_agent, KNOB(host_kill_us), 5 * SIM_MINUTE, true},
    {reboot, KNOB(reboot_us), 40 * SIM_MINUTE, true},
    {wipe, KNOB(wipe_us), 120 * SIM_MINUTE, true},
    {partition, KNOB(partition_us), 30 * SIM_MINUTE, true},
    {break_connection, KNOB(break_us), 5 * SIM_MINUTE, true},
    {step_clock, KNOB(clock_us), 10 * SIM_MINUTE, false},
    {fill_disk, KNOB(full_us), 60 * SIM_MINUTE, true},
    {freeze, KNOB(freeze_us), 20 * SIM_MINUTE, true},
    {clone_host, KNOB(clone_us), 120 * SIM_MINUTE, true},
    {wake_zombie, KNOB(zombie_us), 5 * SIM_MINUTE, true},
    {lose_host, KNOB(loss_us), 40 * SIM_MINUTE, true},
};
#undef KNOB

static int64_t *knob_of(struct sim *sim, const struct kind *kind)
{
    return (int64_t *)(void *)((char *)&sim->knobs + kind->knob);
}

static unsigned draw(struct sim *sim, unsigned most)
{
    return sim_chance(sim, 333) ? 0 : (unsigned)sim_below(sim, most + 1);
}

void sim_faults_draw(struct sim *sim)
{
    struct sim_knobs *knobs = &sim->knobs;
    *knobs = (struct sim_knobs){.latency_us = 2 * SIM_MS, .sync_us = SIM_MS};
    if (sim->config.calm)
        return;
    knobs->latency_us = 100 + (int64_t)sim_below(sim, 40 * SIM_MS);
    knobs->sync_us = 200 + (int64_t)sim_below(sim, 20 * SIM_MS);
    knobs->loss = draw(sim, 50);
    knobs->duplicate = draw(sim, 50);
    knobs->slow = draw(sim, 50);
    knobs->pull_fails = draw(sim, 30);
    knobs->launch_fails = draw(sim, 30);
    knobs->hangs = draw(sim, 20);
    knobs->lies = draw(sim, 100);
    knobs->ignores_term = draw(sim, 500);
    knobs->slow_sync = draw(sim, 30);
    for (size_t i = 0; i < FL_ARRAY_SIZE(kinds); i++)
        if (!sim_chance(sim, 333))
            *knob_of(sim, &kinds[i]) = sim_about(sim, kinds[i].mean_us);
}

static void fire_fault(struct sim *sim, struct sim_event *event)
{
    const struct kind *kind = &kinds[event->number];
    int64_t mean_us = *knob_of(sim, kind);
    if (!sim->faults_on)
        return;
    kind->act(sim);
    if (kind->is_per_host)
        mean_us = 1 + mean_us / (int64_t)FL_MIN(sim->host_count, (size_t)MOST_AT_ONCE);
    sim_at(sim, (int64_t)sim_below(sim, 2 * (uint64_t)mean_us), event->action, SIM_CLIENTS,
           event->number, NULL);
}

static const struct sim_action fault_action = {"chance has it", fire_fault};

void sim_faults_start(struct sim *sim)
{
    sim->faults_on = !sim->config.calm;
    for (size_t i = 0; sim->faults_on && i < FL_ARRAY_SIZE(kinds); i++)
        if (*knob_of(sim, &kinds[i]))
            sim_at(sim, (int64_t)sim_below(sim, SIM_MINUTE), &fault_action, SIM_CLIENTS, i, NULL);
}

void sim_faults_stop(struct sim *sim)
{
    sim->faults_on = false;
    sim->server.disk.full = false;
    for (size_t i = 0; i < sim->host_count; i++) {
        sim->hosts[i].disk.full = false;
        sim->hosts[i].blocked_us[0] = sim->hosts[i].blocked_us[1] = 0;
    }
}
