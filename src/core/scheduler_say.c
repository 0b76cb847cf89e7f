/* What the scheduler says when it can do nothing. Every look comes to the same conclusion, so that
 * these events are put only when they have not been said since things last went well. */
#include "core/scheduler.h"

/* Instances that are asked why; and how long one answer is good enough. */
enum { MAX_ASKED = 1000, ASK_AGAIN_MS = 60 * 1000, AGENTS_BACK_MS = 60 * 1000 };

#define UNPLACED                                                                                   \
    "was unable to place a task because no container instance met all of its requirements."
#define GUIDE                                                                                      \
    "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."

/* The one that gets furthest in the order of obstacles, and of these lacks least; NULL: none. */
static const struct fl_instance *closest(const struct fl_schedule *s,
                                         const struct fl_placement *placement,
                                         enum fl_obstacle *ret_obstacle)
{
    const struct fl_instance *best = NULL;
    struct fl_hindrance least = {0};
    struct fl_instance *at;
    int asked = 0;
    RB_FOREACH (at, fl_instance_tree, &s->service->cluster->instances) {
        struct fl_hindrance h = fl_placement_hindrance(placement, at);
        if (h.obstacle == FL_OBSTACLE_INACTIVE || h.obstacle == FL_OBSTACLE_NONE)
            continue;
        if (asked++ == MAX_ASKED)
            break;
        if (best && (h.obstacle < least.obstacle ||
                     (h.obstacle == least.obstacle && h.lacks >= least.lacks)))
            continue;
        best = at;
        least = h;
    }
    *ret_obstacle = least.obstacle;
    return best;
}

static const char *words_for(enum fl_obstacle obstacle)
{
    switch (obstacle) {
    case FL_OBSTACLE_CPU:
        return "has insufficient CPU units available";
    case FL_OBSTACLE_MEMORY:
        return "has insufficient memory available";
    case FL_OBSTACLE_PORTS:
        return "is already using a port required by your task";
    case FL_OBSTACLE_ATTRIBUTE:
        return "is missing an attribute required by your task";
    case FL_OBSTACLE_AGENT:
        return "doesn't have the agent connected";
    case FL_OBSTACLE_IMPAIRED:
        return "encountered error \"AGENT\"";
    case FL_OBSTACLE_MEMBER_OF:
        return "encountered error \"MemberOf placement constraint unsatisfied.\"";
    case FL_OBSTACLE_DISTINCT:
        return "encountered error \"DistinctInstance placement constraint unsatisfied.\"";
    case FL_OBSTACLE_GPU:
        return "encountered error \"RESOURCE:GPU\"";
    case FL_OBSTACLE_NONE:
    case FL_OBSTACLE_INACTIVE:
        break;
    }
    return "";
}

/* The newest event of the kind, unless a task was started since, or it is too old. */
static const struct fl_service_event *last_unplaced(const struct fl_schedule *s)
{
    const struct fl_service_event *event;
    TAILQ_FOREACH_REVERSE(event, &s->service->events, fl_service_event_list, in_service)
    {
        struct fl_str said = fl_service_said(event);
        if (!fl_event_is_recent(s->d, event) || fl_str_starts(said, FL_STR("has started")))
            return NULL;
        if (fl_str_starts(said, FL_STR(UNPLACED)))
            return event;
    }
    return NULL;
}

/* The cause was said already, if perhaps of another instance. */
static bool was_said(const struct fl_schedule *s, const char *words)
{
    const struct fl_service_event *event = last_unplaced(s);
    for (; event; event = TAILQ_PREV(event, fl_service_event_list, in_service)) {
        struct fl_str said = fl_service_said(event);
        if (!fl_event_is_recent(s->d, event) || fl_str_starts(said, FL_STR("has started")))
            return false;
        if (fl_str_starts(said, FL_STR(UNPLACED)) && fl_str_contains(said, fl_str_of(words)))
            return true;
    }
    return false;
}

/* Whoever waits looks whenever there is room somewhere: the instances are not asked each time. */
static bool was_asked(const struct fl_schedule *s)
{
    int64_t at_ms = s->service->asked_ms;
    return at_ms <= s->d->now_ms && at_ms + ASK_AGAIN_MS > s->d->now_ms;
}

/* After a restart of the server no agent is connected: that is our doing, and over in a moment. */
static bool is_on_its_way(struct fl_schedule *s, enum fl_obstacle obstacle)
{
    return obstacle == FL_OBSTACLE_AGENT &&
           fl_schedule_await(s, s->d->core->since_ms + AGENTS_BACK_MS);
}

void fl_schedule_say_unplaced(struct fl_schedule *s, const struct fl_launch *launch)
{
    static const char nowhere[] = "Reason: No Container Instances were found in your cluster";
    const struct fl_service_event *last = last_unplaced(s);
    enum fl_obstacle obstacle;
    if (last) {
        (void)fl_schedule_await(s, last->rec->createdAt + FL_EVENT_AGAIN_MS);
        if (was_asked(s))
            return;
    }
    s->service->asked_ms = s->d->now_ms;
    const struct fl_instance *instance = closest(s, &launch->placement, &obstacle);
    const char *words = instance ? words_for(obstacle) : nowhere;
    if (was_said(s, words) || (instance && is_on_its_way(s, obstacle)))
        return;
    if (instance)
        fl_service_say(s->d, s->service,
                       UNPLACED " The closest matching (container-instance %.*s) %s. " GUIDE,
                       FL_STR_ARG(instance->rec->id), words);
    else
        fl_service_say(s->d, s->service, UNPLACED " %s. " GUIDE, words);
}

/* Is nothing under way, something missing, and the ceiling reached? */
static bool is_stuck(const struct fl_schedule *s)
{
    size_t there = 0;
    bool lacks = false;
    for (size_t i = 0; i < s->count; i++) {
        const struct fl_census *census = &s->censuses[i];
        there += census->count - census->in_state[FL_MEMBER_LOST];
        lacks |= census->may_start && census->wanted > fl_census_good(census);
        if (census->in_state[FL_MEMBER_GOING] || census->in_state[FL_MEMBER_PENDING] ||
            census->in_state[FL_MEMBER_SETTLING] || census->in_state[FL_MEMBER_UNHEALTHY])
            return false;
    }
    return lacks && there >= s->ceiling;
}

void fl_schedule_say_blocked(struct fl_schedule *s)
{
    fl_service_say_until(s->d, s->service, "has ",
                         "was unable to stop or start tasks during a deployment because of the "
                         "service deployment configuration. Update the minimumHealthyPercent or "
                         "maximumPercent value and try again.");
}

void fl_schedule_say_stuck(struct fl_schedule *s)
{
    if (is_stuck(s))
        fl_schedule_say_blocked(s);
}
