/* Former registrations of a machine: its data directory was lost, or it was installed anew, and it
 * has registered as another instance since. Nobody will ever report the end of what the former one
 * ran.
 *
 * A registration by itself proves nothing: its call may have been under way since before another
 * one. Nor is an instance a former one while its agent is connected: two machines may say that they
 * are one. So what is away while another one's agent is there is doubted, and taken to be lost when
 * that lasts. Doubts are no records: a restarted server has
 * them as soon as agents connect again. */
#include "core/former.h"

enum { FORMER_MS = 2 * 60 * 1000 };

/* The next instance of a machine, in no order that means anything: clocks are set. */
static struct fl_instance *next_of(const struct fl_core *core, struct fl_str machine,
                                   struct fl_instance *after)
{
    struct fl_instance *at =
        after ? RB_NEXT(fl_machine_tree, NULL, after) : fl_state_machine(core, machine);
    return at && fl_str_eq(at->rec->ec2InstanceId, machine) ? at : NULL;
}

static bool has_successor(const struct fl_core *core, const struct fl_instance *instance)
{
    struct fl_instance *at = NULL;
    if (!instance->has_machine)
        return false;
    while ((at = next_of(core, instance->rec->ec2InstanceId, at)))
        if (at != instance && at->connected)
            return true;
    return false;
}

/* Its tasks would wait for it for ever. */
static void retire(struct fl_decision *d, struct fl_instance *former)
{
    struct fl_str reason = fl_str_printf(
        d->arena, "Host (instance %.*s) registered anew: what its former registration ran is lost.",
        FL_STR_ARG(former->rec->ec2InstanceId));
    fl_retire_instance(d, former, ECS_TaskStopCode_TerminationNotice, reason);
}

static void doubt(struct fl_decision *d, struct fl_instance *instance)
{
    if (instance->is_doubted || FL_BUG(44, true, !has_successor(d->core, instance)))
        return;
    instance->is_doubted = true;
    instance->doubted_until_ms = d->now_ms + FORMER_MS;
    TAILQ_INSERT_TAIL(&d->core->doubted, instance, by_doubt);
}

void fl_former_connected(struct fl_decision *d, struct fl_instance *instance)
{
    struct fl_instance *at = NULL;
    fl_state_trust(d->core, instance);
    while (instance->has_machine && (at = next_of(d->core, instance->rec->ec2InstanceId, at)))
        if (!at->connected)
            doubt(d, at);
}

void fl_former_disconnected(struct fl_decision *d, struct fl_instance *instance)
{
    doubt(d, instance);
}

int64_t fl_former_due(const struct fl_core *core)
{
    const struct fl_instance *first = TAILQ_FIRST(&core->doubted);
    return first ? first->doubted_until_ms : INT64_MAX;
}

void fl_former_judge(struct fl_decision *d)
{
    struct fl_instance *instance;
    while ((instance = TAILQ_FIRST(&d->core->doubted))) {
        /* The clock may have been set back meanwhile. */
        instance->doubted_until_ms = FL_MIN(instance->doubted_until_ms, d->now_ms + FORMER_MS);
        if (instance->doubted_until_ms > d->now_ms)
            return;
        fl_state_trust(d->core, instance);
        if (!instance->connected && has_successor(d->core, instance))
            retire(d, instance);
    }
}
