/* A run: the world is made, events happen in their order, everything is checked, the world ends. */
#include "sim/sim.h"

#include <stdio.h>

#include "sim/world.h"

enum { CHECKS = 5 }; /* full checks in a run */
/* A throttled deployment tries again within 27 minutes. */
#define SERVICES_REST_US (30 * SIM_MINUTE)

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return fl_rand_below(&sim->rand, bound);
}

bool sim_chance(struct sim *sim, unsigned in_a_thousand)
{
    return in_a_thousand > 0 && sim_below(sim, 1000) < in_a_thousand;
}

bool sim_fault(struct sim *sim, unsigned in_a_thousand)
{
    return sim->faults_on && sim_chance(sim, in_a_thousand);
}

bool sim_is_busy(const struct sim *sim)
{
    return sim->now_us < sim->load_until_us;
}

void sim_void(struct sim *sim)
{
    sim->count--;
}

int64_t sim_about(struct sim *sim, int64_t us)
{
    return us / 2 + (int64_t)sim_below(sim, (uint64_t)us + 1);
}

void sim_seed(struct sim *sim, uint8_t ret_seed[32])
{
    for (size_t i = 0; i < 4; i++) {
        uint64_t word = fl_rand_u64(&sim->rand);
        memcpy(ret_seed + 8 * i, &word, sizeof(word));
    }
}

int64_t sim_wall_ms(const struct sim *sim)
{
    return INT64_C(1700000000000) + sim->now_us / SIM_MS;
}

uint32_t sim_life(const struct sim *sim, uint32_t who)
{
    if (who == SIM_SERVER)
        return sim->server.life;
    return who < sim->host_count ? sim->hosts[who].life : 0;
}

static void put(struct sim *sim, int64_t after_us, struct sim_event event)
{
    event.at_us = sim->now_us + FL_MAX(after_us, INT64_C(0));
    sim_queue_put(&sim->queue, event);
}

void sim_at(struct sim *sim, int64_t after_us, const struct sim_action *action, uint32_t who,
            uint64_t number, struct sim_message *message)
{
    put(sim, after_us,
        (struct sim_event){.action = action,
                           .who = who,
                           .life = message ? 0 : sim_life(sim, who),
                           .number = number,
                           .message = message});
}

void sim_at_any(struct sim *sim, int64_t after_us, const struct sim_action *action, uint32_t who,
                uint64_t number, struct sim_message *message)
{
    put(sim, after_us,
        (struct sim_event){.action = action, .who = who, .number = number, .message = message});
}

static void mix(struct sim *sim, uint64_t value)
{
    uint64_t hash = sim->result->trace_hash ^ value;
    sim->result->trace_hash = (hash ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

void sim_note(struct sim *sim, const char *what, uint32_t who, uint64_t number)
{
    struct sim_note *note = &sim->notes[sim->note_count++ % SIM_NOTES];
    *note = (struct sim_note){sim->now_us, what, who, number};
    mix(sim, (uint64_t)sim->now_us);
    mix(sim, (uint64_t)who << 32 ^ number);
}

void fl_sim_count(struct fl_sim_result *result, const char *what, uint64_t count)
{
    size_t i = 0;
    while (i < result->kind_count && strcmp(result->kinds[i].what, what) != 0)
        i++;
    FL_ASSERT(i < FL_SIM_FAULT_KINDS);
    result->kinds[i].what = what;
    result->kinds[i].count += count;
    result->kind_count = FL_MAX(result->kind_count, i + 1);
    result->faults += count;
}

void sim_fault_counted(struct sim *sim, const char *what, uint32_t who)
{
    fl_sim_count(sim->result, what, 1);
    sim_note(sim, what, who, 0);
}

static void write_notes(const struct sim *sim, struct fl_buf *buf)
{
    size_t first = sim->note_count > SIM_NOTES ? sim->note_count - SIM_NOTES : 0;
    for (size_t i = first; i < sim->note_count; i++) {
        const struct sim_note *note = &sim->notes[i % SIM_NOTES];
        char who[24];
        (void)snprintf(who, sizeof(who), "host %u", note->who);
        fl_buf_printf(buf, "  %12.6f s  %-10s  %s (%llx)\n", (double)note->at_us / 1e6,
                      note->who == SIM_SERVER    ? "server"
                      : note->who == SIM_CLIENTS ? "client"
                                                 : who,
                      note->what, (unsigned long long)note->number);
    }
}

void sim_violation(struct sim *sim, const char *invariant, const char *fmt, ...)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(sizeof(sim->result->text) - 1);
    char text[1024];
    va_list args;
    if (sim->result->violations)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    sim->result->violations = 1;
    sim->ended = true;
    fl_buf_printf(&buf, "seed %llu, hosts %u, tasks %u, %s: %s is violated at step %llu: %s\n",
                  (unsigned long long)sim->config.seed, sim->config.hosts, sim->config.tasks,
                  sim->config.mode == FL_SIM_LIVENESS ? "liveness" : "safety", invariant,
                  (unsigned long long)sim->step, text);
    write_notes(sim, &buf);
    memcpy(sim->result->text, buf.p, buf.n);
    sim->result->text[buf.n] = '\0';
}

/* What a stopped process is told waits for it; containers and machines do not. */
static bool is_kept_waiting(struct sim *sim, const struct sim_event *event)
{
    bool is_for_process = event->life || event->message || event->action == &sim_server_closed;
    int64_t frozen_us = 0;
    if (event->who == SIM_SERVER)
        frozen_us = sim->server.frozen_us;
    else if (event->who < sim->host_count)
        frozen_us = sim->hosts[event->who].frozen_us;
    if (!is_for_process || frozen_us <= event->at_us)
        return false;
    struct sim_event later = *event;
    later.at_us = frozen_us;
    sim_queue_put(&sim->queue, later);
    return true;
}

static void fire(struct sim *sim, struct sim_event *event)
{
    if (is_kept_waiting(sim, event))
        return;
    bool is_stale = event->life && event->life != sim_life(sim, event->who);
    sim->now_us = event->at_us;
    sim->step++;
    if (!is_stale) {
        sim->count++;
        sim_note(sim, event->action->name, event->who, event->number);
        event->action->fire(sim, event);
    }
    sim_message_free(sim, event->message);
}

static void check_now_and_then(struct sim *sim)
{
    if (sim->now_us < sim->next_full_check_us)
        return;
    sim->next_full_check_us = sim->now_us + sim->end_us / CHECKS;
    sim_audit_full(sim);
}

static void play(struct sim *sim)
{
    struct sim_event event;
    while (!sim->ended && sim_queue_next(&sim->queue) <= sim->end_us) {
        (void)sim_queue_take(&sim->queue, &event);
        if (sim->faults_on && event.at_us >= sim->faults_until_us)
            sim_faults_stop(sim);
        fire(sim, &event);
        check_now_and_then(sim);
    }
    if (!sim->ended)
        sim_roll_check(sim);
    if (!sim->ended)
        sim_audit_full(sim);
    if (!sim->ended && sim->config.mode == FL_SIM_LIVENESS)
        sim_audit_rest(sim);
}

/* Time for the load, then for what the faults have left to come to rest. */
static void set_times(struct sim *sim)
{
    sim->load_until_us = SIM_MINUTE * (5 + (int64_t)sim_below(sim, 20));
    sim->end_us = sim->load_until_us + 3 * SIM_MINUTE;
    sim->faults_until_us = sim->end_us + 1;
    if (sim->config.mode == FL_SIM_LIVENESS) {
        sim->faults_until_us = sim->load_until_us;
        sim->end_us = sim->load_until_us + 15 * SIM_MINUTE;
    }
    sim->next_full_check_us = sim->end_us / CHECKS;
}

/* What the core is told of services; what they have to wait for is longer than what tasks have. */
static void draw_services(struct sim *sim)
{
    static const int64_t lost_ms[] = {0, 30 * 1000, 120 * 1000, 120 * 1000};
    sim->settle_ms = sim_chance(sim, 300) ? FL_CORE_STRICT_SETTLE_MS : 2000;
    sim->lost_after_ms = lost_ms[sim_below(sim, FL_ARRAY_SIZE(lost_ms))];
    sim->is_strict = !sim->config.services && sim_chance(sim, 150);
    if (sim->is_strict) {
        sim->settle_ms = FL_CORE_STRICT_SETTLE_MS;
        sim->lost_after_ms = 0;
    }
    if (sim->config.mode == FL_SIM_LIVENESS)
        sim->end_us += SERVICES_REST_US;
    sim->next_full_check_us = sim->end_us / CHECKS;
}

static bool has_codecs(const struct fl_sim_config *config)
{
    switch (config->codecs) {
    case FL_SIM_CODECS_SOMETIMES:
        return config->seed % 16 == 0;
    case FL_SIM_CODECS_NEVER:
        return false;
    case FL_SIM_CODECS_ALWAYS:
        return true;
    }
    return true;
}

static void begin(struct sim *sim)
{
    uint8_t seed[32] = {0};
    memcpy(seed, &sim->config.seed, sizeof(sim->config.seed));
    fl_rand_seed(&sim->rand, seed);
    fl_rand_seed(&sim->samples, seed);
    sim->codecs = has_codecs(&sim->config);
    sim->has_services = sim->config.services || sim->config.seed / 2 % 2 == 1;
    set_times(sim);
    if (sim->has_services)
        draw_services(sim);
    sim_faults_draw(sim);
    sim_server_init(sim);
    sim_hosts_init(sim);
    sim->host_count = sim->config.hosts;
    sim->hosts = fl_calloc(sim->host_count, sizeof(*sim->hosts));
    sim_server_start(sim);
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim_host_init(sim, &sim->hosts[i], i);
    if (sim->config.services)
        sim_roll_start(sim);
    else
        sim_clients_start(sim);
    sim_faults_start(sim);
}

static void finish(struct sim *sim)
{
    struct sim_event event;
    while (sim_queue_take(&sim->queue, &event))
        sim_message_free(sim, event.message);
    sim_queue_free(&sim->queue);
    for (size_t i = 0; i < sim->host_count; i++)
        sim_host_free(sim, &sim->hosts[i]);
    sim_hosts_end(sim);
    free(sim->hosts);
    sim_server_free(sim);
    sim_clients_free(sim);
    sim->result->tasks = sim->ledger.task_count;
    sim_services_free(sim);
    sim_ledger_free(sim);
    sim_messages_end(sim);
}

void fl_sim_run(const struct fl_sim_config *config, struct fl_sim_result *ret_result)
{
    struct sim *sim = fl_calloc(1, sizeof(*sim));
    *ret_result = (struct fl_sim_result){0};
    sim->config = *config;
    if (sim->config.tasks == 0)
        sim->config.tasks = 10 * sim->config.hosts;
    sim->result = ret_result;
    begin(sim);
    play(sim);
    ret_result->events = sim->count;
    ret_result->simulated_ms = sim->now_us / SIM_MS;
    finish(sim);
    free(sim);
}
