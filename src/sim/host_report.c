/* Reports, each repeated until it is taken, by the rules of src/agent/reporter.c. */
#include "sim/world.h"

enum {
    PARALLEL = 16,
    FIRST_PAUSE_MS = 1000,
    LONGEST_PAUSE_MS = 30 * 1000,
    CALL_TIMEOUT_MS = 10 * 1000,
};

static void pump(struct sim *sim, struct sim_host *host);

static void fire_due(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    host->reports_due_us = INT64_MAX;
    pump(sim, host);
}

static void put_off(struct sim *sim, struct sim_report *report)
{
    report->pause_us = report->pause_us == 0
                           ? FIRST_PAUSE_MS * SIM_MS
                           : FL_MIN(2 * report->pause_us, LONGEST_PAUSE_MS * SIM_MS);
    report->due_us = sim->now_us + report->pause_us;
}

static struct sim_report *find_call(const struct sim_host *host, uint64_t ref)
{
    struct sim_report *report;
    TAILQ_FOREACH (report, &host->reports, entry)
        if (report->under_way && report->ref == ref)
            return report;
    return NULL;
}

static void report_free(struct sim *sim, struct sim_host *host, struct sim_report *report)
{
    TAILQ_REMOVE(&host->reports, report, entry);
    sim_message_free(sim, report->call);
    free(report);
}

static void ended(struct sim *sim, struct sim_host *host, struct sim_report *report,
                  unsigned status)
{
    host->reports_under_way--;
    report->under_way = false;
    if (FL_BUG(28, false, status != 200)) { /* 28: it is taken to have arrived */
        put_off(sim, report);
        return;
    }
    struct fl_brain_event acked = {.type = FL_EVENT_REPORT_ACKED};
    acked.report.task_arn = report->task_arn;
    acked.report.seq = report->seq;
    (void)sim_host_post(sim, host, &acked);
    report_free(sim, host, report);
}

bool sim_report_answer(struct sim *sim, struct sim_host *host, uint64_t ref, unsigned status)
{
    struct sim_report *report = host->up ? find_call(host, ref) : NULL;
    if (!report)
        return false;
    ended(sim, host, report, status);
    pump(sim, host);
    return true;
}

static void fire_timeout(struct sim *sim, struct sim_event *event)
{
    if (!sim_report_answer(sim, &sim->hosts[event->who], event->number, 0))
        sim_void(sim);
}

static void call(struct sim *sim, struct sim_host *host, struct sim_report *report)
{
    static const struct sim_action timeout = {"a report is given up", fire_timeout};
    report->ref = ++sim->next_ref;
    report->under_way = true;
    host->reports_under_way++;
    sim_at(sim, CALL_TIMEOUT_MS * SIM_MS, &timeout, host->index, report->ref, NULL);
    sim_session_introduce(host, report->call);
    sim_call(sim, host->index, report->ref, sim_message_hold(report->call));
}

static void set_timer(struct sim *sim, struct sim_host *host, int64_t due_us)
{
    static const struct sim_action due = {"a report is due", fire_due};
    if (due_us >= host->reports_due_us || FL_BUG(5, true, false)) /* the timer is not armed again */
        return;
    host->reports_due_us = due_us;
    sim_at(sim, due_us - sim->now_us, &due, host->index, 0, NULL);
}

static void pump(struct sim *sim, struct sim_host *host)
{
    int64_t next_us = INT64_MAX;
    struct sim_report *report;
    TAILQ_FOREACH (report, &host->reports, entry) {
        if (host->reports_under_way >= PARALLEL)
            break;
        if (report->under_way)
            continue;
        if (report->due_us > sim->now_us)
            next_us = FL_MIN(next_us, report->due_us);
        else
            call(sim, host, report);
    }
    if (next_us != INT64_MAX)
        set_timer(sim, host, next_us);
}

static struct sim_message *call_of(struct sim *sim, struct fl_effect *effect)
{
    struct sim_message *call = FL_TAKE_PTR(effect->object);
    if (call)
        return call;
    call = sim_message_new(sim);
    call->operation = ECS_OP_SubmitTaskStateChange;
    call->text = fl_str_dup(call->arena, effect->text);
    return call;
}

void sim_report_send(struct sim *sim, struct sim_host *host, struct fl_effect *effect)
{
    struct sim_report *report = fl_malloc(sizeof(*report) + effect->task_arn.n);
    char *bytes = (char *)(report + 1);
    memcpy(bytes, effect->task_arn.p, effect->task_arn.n);
    *report =
        (struct sim_report){.task_arn = {bytes, effect->task_arn.n}, .call = call_of(sim, effect)};
    report->seq = effect->number;
    TAILQ_INSERT_TAIL(&host->reports, report, entry);
    pump(sim, host);
}

void sim_report_hurry(struct sim *sim, struct sim_host *host)
{
    struct sim_report *report;
    TAILQ_FOREACH (report, &host->reports, entry) {
        report->due_us = 0;
        report->pause_us = 0;
    }
    pump(sim, host);
}

void sim_report_forget(struct sim *sim, struct sim_host *host)
{
    struct sim_report *report;
    while ((report = TAILQ_FIRST(&host->reports)) != NULL)
        report_free(sim, host, report);
    host->reports_under_way = 0;
    host->reports_due_us = INT64_MAX;
}
