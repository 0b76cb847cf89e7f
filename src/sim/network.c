/* Calls find their way one by one: lost, late, doubled, overtaking each other. A connection's
 * frames come in their order or not at all. A partition holds back one direction, or both. */
#include "sim/world.h"

enum { TO_SERVER, FROM_SERVER };

static int64_t latency(struct sim *sim)
{
    int64_t us =
        sim->knobs.latency_us / 2 + (int64_t)sim_below(sim, (uint64_t)sim->knobs.latency_us);
    if (sim_fault(sim, sim->knobs.slow))
        us += (int64_t)sim_below(sim, 12 * SIM_SECOND);
    return us;
}

/* From now until it has arrived, partitions considered. */
static int64_t journey(struct sim *sim, uint32_t host, int direction)
{
    int64_t us = latency(sim);
    if (host < sim->host_count && sim->hosts[host].blocked_us[direction] > sim->now_us)
        us += sim->hosts[host].blocked_us[direction] - sim->now_us;
    return us;
}

void sim_call(struct sim *sim, uint32_t from, uint64_t ref, struct sim_message *message)
{
    message->from = from;
    if (sim_fault(sim, sim->knobs.loss)) {
        sim_fault_counted(sim, "a call is lost", from);
        sim_message_free(sim, message);
        return;
    }
    if (sim_fault(sim, sim->knobs.duplicate)) {
        sim_fault_counted(sim, "a call is doubled", from);
        int64_t late_us = (int64_t)sim_below(sim, 3 * SIM_SECOND);
        sim_at(sim, late_us + journey(sim, from, TO_SERVER), &sim_server_call, SIM_SERVER, ref,
               sim_message_hold(message));
    }
    sim_at(sim, journey(sim, from, TO_SERVER), &sim_server_call, SIM_SERVER, ref, message);
}

static void fire_answer(struct sim *sim, struct sim_event *event)
{
    if (event->who == SIM_CLIENTS) {
        sim_clients_answer(sim, event);
        return;
    }
    struct sim_host *host = &sim->hosts[event->who];
    if (!sim_report_answer(sim, host, event->number, event->message->status))
        sim_session_answer(sim, host, event);
}

void sim_answer(struct sim *sim, uint32_t to, uint64_t ref, struct sim_message *message)
{
    static const struct sim_action arrives = {"an answer arrives", fire_answer};
    if (sim_fault(sim, sim->knobs.loss)) {
        sim_fault_counted(sim, "an answer is lost", to);
        sim_message_free(sim, message);
        return;
    }
    sim_at(sim, journey(sim, to, FROM_SERVER), &arrives, to, ref, message);
}

/* The connection's place; that of the oldest one, if it has none. */
static struct sim_order *order_of(struct sim_order places[SIM_ORDERED], uint64_t connection)
{
    struct sim_order *oldest = &places[0];
    for (int i = 0; i < SIM_ORDERED; i++) {
        if (places[i].connection == connection)
            return &places[i];
        if (places[i].connection < oldest->connection)
            oldest = &places[i];
    }
    *oldest = (struct sim_order){.connection = connection};
    return oldest;
}

/* Another connection's frames do not wait for those of a former one, which may be stuck in a
 * partition for an hour. */
static int64_t in_order(struct sim *sim, uint32_t host, int direction, uint64_t connection)
{
    struct sim_order *order = order_of(sim->hosts[host].order[direction], connection);
    int64_t at_us = sim->now_us + journey(sim, host, direction);
    order->last_us = FL_MAX(order->last_us, at_us);
    return order->last_us - sim->now_us;
}

void sim_frame_to_host(struct sim *sim, uint32_t host, const struct sim_action *action,
                       struct sim_message *message)
{
    sim_at(sim, in_order(sim, host, FROM_SERVER, message->connection), action, host,
           message->connection, message);
}

void sim_frame_to_server(struct sim *sim, uint32_t host, const struct sim_action *action,
                         struct sim_message *message)
{
    message->from = host;
    sim_at(sim, in_order(sim, host, TO_SERVER, message->connection), action, SIM_SERVER,
           message->connection, message);
}
