/* Starting: what a deployment lacks, one after the other, as long as there is room below the
 * ceiling and on the instances. */
#include "core/scheduler.h"

/* Tasks of one event's sentence. */
enum { BATCH = 10 };

int fl_schedule_launch(struct fl_schedule *s, const struct fl_census *census,
                       struct fl_launch *ret_launch)
{
    const struct fl_revision *revision =
        fl_service_revision(s->service, census->deployment->number);
    FL_ASSERT(revision && revision->definition);
    return fl_service_prepare(s->d, s->service->rec, revision->rec, revision->definition,
                              ret_launch);
}

void fl_schedule_say_started(struct fl_schedule *s, struct fl_task *const *tasks, size_t n,
                             size_t replaced)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1024);
    for (size_t i = 0; i < n; i++)
        fl_buf_printf(&text, " (task %.*s)", FL_STR_ARG(tasks[i]->rec->id));
    fl_buf_add_z(&text, ".");
    if (replaced)
        fl_buf_printf(&text, " Amazon ECS replaced %zu tasks due to an unhealthy status.",
                      replaced);
    if (n)
        fl_service_say_of(s->d, s->service, tasks[0]->rec->deployment, "has started %zu tasks:%.*s",
                          n, FL_STR_ARG(fl_buf_str(&text)));
}

/* How many were started. */
static size_t launch_some(struct fl_schedule *s, const struct fl_census *census, size_t count)
{
    struct fl_task *started[BATCH] = {0};
    struct fl_launch launch;
    size_t n = 0;
    if (fl_schedule_launch(s, census, &launch) < 0) {
        fl_schedule_refused(s, census);
        return 0;
    }
    while (n < count) {
        struct fl_instance *instance =
            fl_placement_choose(s->d, &launch.placement, s->service->cluster);
        if (!instance)
            break;
        started[n++] = fl_launch_on(s->d, &launch, instance);
    }
    s->started += n;
    fl_schedule_say_started(s, started, n, FL_MIN(n, census->in_state[FL_MEMBER_UNHEALTHY]));
    if (n < count) {
        fl_service_set_waiting(s->service, true);
        fl_schedule_say_unplaced(s, &launch);
    }
    return n;
}

static size_t alive(const struct fl_schedule *s)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += fl_census_there(&s->censuses[i]);
    return sum;
}

void fl_schedule_start(struct fl_schedule *s)
{
    size_t there = alive(s);
    for (size_t i = 0; i < s->count; i++) {
        const struct fl_census *census = &s->censuses[i];
        size_t good = fl_census_good(census);
        size_t room = FL_MIN(fl_count_above(s->ceiling, there),
                             fl_count_above(census->ceiling, fl_census_there(census)));
        if (!census->may_start || census->wanted <= good || room == 0)
            continue;
        room = FL_MIN(FL_MIN(census->wanted - good, room), (size_t)BATCH);
        if ((room = fl_schedule_allowance(s, room)) > 0)
            there += launch_some(s, census, room);
    }
}
