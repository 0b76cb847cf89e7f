/* What is going to happen: events by time, those of one time in the order in which they were put.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim;
struct sim_event;
struct sim_message;

/* A kind of event: its name in traces, and what it does. */
struct sim_action {
    const char *name;
    void (*fire)(struct sim *sim, struct sim_event *event);
};

struct sim_event {
    int64_t at_us;
    uint64_t order;
    const struct sim_action *action;
    uint32_t who;  /* a host's index, SIM_SERVER or SIM_CLIENTS */
    uint32_t life; /* of the process that it is meant for; another one never sees it */
    uint64_t number;
    struct sim_message *message; /* owned; freed after the event */
};

struct sim_queue {
    struct sim_event *heap;
    size_t count, cap;
    uint64_t next_order;
};

void sim_queue_put(struct sim_queue *queue, struct sim_event event);
/* False when there is none. */
bool sim_queue_take(struct sim_queue *queue, struct sim_event *ret_event);
/* The time of the next one, or INT64_MAX. */
int64_t sim_queue_next(const struct sim_queue *queue);
void sim_queue_free(struct sim_queue *queue);
