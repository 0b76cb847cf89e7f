/* Placement against a naive oracle: thousands of random RunTask, StopTask and reports on a cluster
 * of unlike hosts. The test keeps a plain model of hosts and tasks; every task must go to one of
 * the hosts that the model calls best, and when none is left every host must give the model's
 * reason. What the core says is free must be what the model has left. Fixed seeds, printed on
 * failure. */
#include "core/core_fixture.h"

enum { HOSTS = 9, MAX_JOBS = 400, DEFINITIONS = 6, GROUPS = 3, ROUNDS = 2500, FIRST_PORT = 8000 };

struct host {
    char id[64];
    int cpu, memory;
    const char *rack; /* NULL: has none */
    const char *zone;
    bool connected;
};

struct job {
    char arn[160];
    int host, definition, group;
    bool stopping;
};

struct definition {
    int cpu, memory, port; /* port 0: none */
};

enum strategy { BY_RANDOM, BY_HOST, BY_RACK, BY_ZONE, BY_CPU, BY_MEMORY, STRATEGIES };
static const char *const strategy_texts[STRATEGIES] = {
    [BY_RANDOM] = "{'type':'random'}",
    [BY_HOST] = "{'type':'spread','field':'instanceId'}",
    [BY_RACK] = "{'type':'spread','field':'attribute:rack'}",
    [BY_ZONE] = "{'type':'spread','field':'attribute:zone'}",
    [BY_CPU] = "{'type':'binpack','field':'cpu'}",
    [BY_MEMORY] = "{'type':'binpack','field':'MEMORY'}",
};

struct model {
    struct fix *f;
    struct fl_rand rand;
    struct host hosts[HOSTS];
    struct definition definitions[DEFINITIONS];
    struct job jobs[MAX_JOBS];
    int job_count;
};

/* One RunTask call. */
struct call {
    int definition, group, count;
    bool distinct;
    const char *rack; /* memberOf attribute:rack; NULL: anywhere */
    enum strategy strategies[3];
    int strategy_count;
};

static int below(struct model *m, int bound)
{
    return (int)fl_rand_below(&m->rand, (uint64_t)bound);
}

static int left_of(const struct model *m, int host, bool cpu)
{
    int left = cpu ? m->hosts[host].cpu : m->hosts[host].memory;
    for (int i = 0; i < m->job_count; i++)
        if (m->jobs[i].host == host)
            left -= cpu ? m->definitions[m->jobs[i].definition].cpu
                        : m->definitions[m->jobs[i].definition].memory;
    return left;
}

static bool port_taken(const struct model *m, int host, int port)
{
    for (int i = 0; i < m->job_count; i++)
        if (m->jobs[i].host == host && m->definitions[m->jobs[i].definition].port == port)
            return true;
    return false;
}

static int count_group(const struct model *m, int host, int group)
{
    int count = 0;
    for (int i = 0; i < m->job_count; i++)
        count += m->jobs[i].host == host && m->jobs[i].group == group && !m->jobs[i].stopping;
    return count;
}

static const char *reason(const struct model *m, const struct call *c, int host)
{
    const struct host *h = &m->hosts[host];
    const struct definition *d = &m->definitions[c->definition];
    if (!h->connected)
        return "AGENT";
    if (c->rack && (!h->rack || strcmp(h->rack, c->rack) != 0))
        return "MemberOf placement constraint unsatisfied.";
    if (c->distinct && count_group(m, host, c->group))
        return "DistinctInstance placement constraint unsatisfied.";
    if (left_of(m, host, true) < d->cpu)
        return "RESOURCE:CPU";
    if (left_of(m, host, false) < d->memory)
        return "RESOURCE:MEMORY";
    if (d->port && port_taken(m, host, d->port))
        return "RESOURCE:PORTS";
    return NULL;
}

static int spread(const struct model *m, int host, int group, bool by_rack)
{
    const char *mine = by_rack ? m->hosts[host].rack : m->hosts[host].zone;
    int count = 0;
    if (!mine)
        return INT32_MAX;
    for (int i = 0; i < HOSTS; i++) {
        const char *other = by_rack ? m->hosts[i].rack : m->hosts[i].zone;
        if (other && strcmp(mine, other) == 0)
            count += count_group(m, i, group);
    }
    return count;
}

static int score(const struct model *m, const struct call *c, enum strategy strategy, int host)
{
    switch (strategy) {
    case BY_HOST:
        return count_group(m, host, c->group);
    case BY_RACK:
    case BY_ZONE:
        return spread(m, host, c->group, strategy == BY_RACK);
    case BY_CPU:
    case BY_MEMORY:
        return left_of(m, host, strategy == BY_CPU);
    case BY_RANDOM:
    case STRATEGIES:
        break;
    }
    return 0;
}

/* Marks the hosts that are as good as any; returns how many. */
static int best_hosts(const struct model *m, const struct call *c, bool good[HOSTS])
{
    int count = 0;
    for (int i = 0; i < HOSTS; i++)
        good[i] = reason(m, c, i) == NULL;
    for (int s = 0; s < c->strategy_count && c->strategies[s] != BY_RANDOM; s++) {
        int best = INT32_MAX;
        for (int i = 0; i < HOSTS; i++)
            if (good[i])
                best = FL_MIN(best, score(m, c, c->strategies[s], i));
        for (int i = 0; i < HOSTS; i++)
            good[i] = good[i] && score(m, c, c->strategies[s], i) == best;
    }
    for (int i = 0; i < HOSTS; i++)
        count += good[i];
    return count;
}

static int host_of(const struct model *m, const char *id)
{
    for (int i = 0; i < HOSTS; i++)
        if (strcmp(m->hosts[i].id, id) == 0)
            return i;
    print_message("# unknown host %s\n", id);
    fail();
    return -1;
}

static struct call random_call(struct model *m)
{
    struct call c = {
        .definition = below(m, DEFINITIONS),
        .group = below(m, GROUPS),
        .count = 1 + below(m, 3),
        .distinct = below(m, 6) == 0,
        .strategy_count = below(m, 4),
    };
    if (below(m, 5) == 0)
        c.rack = below(m, 2) ? "r1" : "r2";
    for (int i = 0; i < c.strategy_count; i++)
        c.strategies[i] = (enum strategy)below(m, STRATEGIES);
    return c;
}

static void send_call(struct model *m, const struct call *c)
{
    FL_CLEANUP_BUF struct fl_buf more = FL_BUF_INIT(4096);
    fl_buf_add_z(&more, "'placementStrategy':[");
    for (int i = 0; i < c->strategy_count; i++)
        fl_buf_printf(&more, "%s%s", i ? "," : "", strategy_texts[c->strategies[i]]);
    fl_buf_add_z(&more, "],'placementConstraints':[");
    if (c->distinct)
        fl_buf_add_z(&more, "{'type':'distinctInstance'}");
    if (c->rack)
        fl_buf_printf(&more, "%s{'type':'memberOf','expression':'attribute:rack == %s'}",
                      c->distinct ? "," : "", c->rack);
    fl_buf_add_z(&more, "]");
    fix_ok(m->f, "RunTask", "{'taskDefinition':'d%d','group':'g%d','count':%d,%s}", c->definition,
           c->group, c->count, more.p);
}

static void expect_failures(struct model *m, const struct call *c)
{
    assert_int_equal(fix_size(m->f, "failures"), HOSTS);
    for (size_t i = 0; i < HOSTS; i++) {
        const struct fl_json *failure = fl_json_item(fix_at(m->f->reply, "failures"), i);
        int host = host_of(m, fix_id(fl_json_z(fl_json_get(failure, "arn"))));
        const char *expected = reason(m, c, host);
        assert_non_null(expected);
        assert_string_equal(fl_json_z(fl_json_get(failure, "reason")), expected);
    }
}

static void run_and_check(struct model *m)
{
    struct call c = random_call(m);
    bool good[HOSTS];
    if (m->job_count + c.count > MAX_JOBS)
        return;
    send_call(m, &c);
    size_t placed = fix_size(m->f, "tasks");
    for (size_t i = 0; i < placed; i++) {
        const struct fl_json *task = fl_json_item(fix_at(m->f->reply, "tasks"), i);
        const char *at = fl_json_z(fl_json_get(task, "containerInstanceArn"));
        int host = host_of(m, fix_id(at));
        assert_true(best_hosts(m, &c, good) > 0);
        assert_true(good[host]);
        struct job *job = &m->jobs[m->job_count++];
        *job = (struct job){.host = host, .definition = c.definition, .group = c.group};
        (void)snprintf(job->arn, sizeof(job->arn), "%s", fl_json_z(fl_json_get(task, "taskArn")));
    }
    if ((int)placed == c.count) {
        assert_int_equal(fix_size(m->f, "failures"), 0);
        return;
    }
    assert_int_equal(best_hosts(m, &c, good), 0);
    expect_failures(m, &c);
}

static void stop_or_end_one(struct model *m)
{
    if (m->job_count == 0)
        return;
    struct job *job = &m->jobs[below(m, m->job_count)];
    if (below(m, 3) == 0) {
        fix_ok(m->f, "StopTask", "{'task':'%s'}", job->arn);
        job->stopping = true;
        return;
    }
    fix_report(m->f, job->arn, "STOPPED", "");
    *job = m->jobs[--m->job_count];
}

static void toggle_one(struct model *m)
{
    int i = below(m, HOSTS);
    if (m->hosts[i].connected)
        fix_disconnect(m->f, "default", m->hosts[i].id, m->f->sessions[i].session);
    else
        (void)fix_connect(m->f, "default", m->hosts[i].id);
    m->hosts[i].connected = !m->hosts[i].connected;
}

static void compare_hosts(struct model *m)
{
    for (int i = 0; i < HOSTS; i++) {
        fix_ok(m->f, "DescribeContainerInstances", "{'containerInstances':['%s']}", m->hosts[i].id);
        int left_cpu = left_of(m, i, true), left_memory = left_of(m, i, false);
        assert_true(left_cpu >= 0 && left_memory >= 0);
        assert_int_equal(fix_int(m->f, "containerInstances.0.remainingResources.0.integerValue"),
                         left_cpu);
        assert_int_equal(fix_int(m->f, "containerInstances.0.remainingResources.1.integerValue"),
                         left_memory);
        size_t ports = 2; /* the host's own */
        for (int p = FIRST_PORT; p < FIRST_PORT + DEFINITIONS; p++)
            ports += port_taken(m, i, p);
        assert_int_equal(fix_size(m->f, "containerInstances.0.remainingResources.2.stringSetValue"),
                         ports);
    }
}

static void set_up(struct model *m, uint8_t seed)
{
    static const char *const racks[] = {"r1", "r2", "r3", NULL};
    uint8_t bytes[32] = {seed};
    fl_rand_seed(&m->rand, bytes);
    m->f = fix_new();
    fix_ok(m->f, "CreateCluster", "{}");
    for (int i = 0; i < HOSTS; i++) {
        struct host *h = &m->hosts[i];
        char attributes[200];
        h->cpu = 200 + 100 * below(m, 15);
        h->memory = 200 + 100 * below(m, 15);
        h->rack = racks[below(m, 4)];
        h->zone = below(m, 2) ? "z1" : "z2";
        h->connected = true;
        (void)snprintf(attributes, sizeof(attributes), "{'name':'zone','value':'%s'}%s%s%s",
                       h->zone, h->rack ? ",{'name':'rack','value':'" : "", h->rack ? h->rack : "",
                       h->rack ? "'}" : "");
        fix_add_instance(m->f, "default", h->cpu, h->memory, attributes, h->id);
    }
    for (int i = 0; i < DEFINITIONS; i++) {
        struct definition *d = &m->definitions[i];
        char family[8], port[100] = "";
        *d = (struct definition){.cpu = below(m, 4) * 50, .memory = 4 + below(m, 150)};
        if (below(m, 2)) {
            d->port = FIRST_PORT + below(m, 2);
            (void)snprintf(port, sizeof(port),
                           ",'portMappings':[{'containerPort':80,'hostPort':%d}]", d->port);
        }
        (void)snprintf(family, sizeof(family), "d%d", i);
        fix_register(m->f, family, d->cpu, d->memory, port);
    }
}

static void placements_are_the_oracles(FL_UNUSED void **state)
{
    for (uint8_t seed = 1; seed <= 2; seed++) {
        struct model *m = fl_calloc(1, sizeof(*m));
        print_message("# seed %u\n", seed);
        set_up(m, seed);
        for (int round = 0; round < ROUNDS; round++) {
            int what = below(m, 100);
            if (what < 55)
                run_and_check(m);
            else if (what < 97)
                stop_or_end_one(m);
            else
                toggle_one(m);
            if (round % 100 == 0)
                compare_hosts(m);
            if (round % 500 == 250)
                fix_recover(m->f, true);
        }
        fix_free(m->f);
        free(m);
    }
}

static void ties_are_broken_evenly(FL_UNUSED void **state)
{
    struct model *m = fl_calloc(1, sizeof(*m));
    int chosen[HOSTS] = {0};
    m->f = fix_new();
    fix_ok(m->f, "CreateCluster", "{}");
    fix_register(m->f, "web", 1, 4, "");
    for (int i = 0; i < HOSTS; i++)
        fix_add_instance(m->f, "default", 100, 100, "", m->hosts[i].id);
    for (int i = 0; i < 450; i++) {
        fix_ok(m->f, "RunTask", "{'taskDefinition':'web'%s}",
               i % 2 ? ",'placementStrategy':[{'type':'random'}]" : "");
        char arn[160];
        (void)snprintf(arn, sizeof(arn), "%s", fix_text(m->f, "tasks.0.taskArn"));
        chosen[host_of(m, fix_id(fix_text(m->f, "tasks.0.containerInstanceArn")))]++;
        fix_report(m->f, arn, "STOPPED", "");
    }
    for (int i = 0; i < HOSTS; i++)
        assert_in_range(chosen[i], 25, 80);
    fix_free(m->f);
    free(m);
}

/* The same events with the same seeds bring about the same bytes. */
static void placement_is_deterministic(FL_UNUSED void **state)
{
    struct fl_buf seen[2] = {FL_BUF_INIT(64 << 20), FL_BUF_INIT(64 << 20)};
    for (int run = 0; run < 2; run++) {
        struct model *m = fl_calloc(1, sizeof(*m));
        set_up(m, 7);
        for (int round = 0; round < 100; round++)
            run_and_check(m);
        fix_see(m->f, &seen[run]);
        fix_free(m->f);
        free(m);
    }
    assert_string_equal(seen[0].p, seen[1].p);
    fl_buf_free(&seen[0]);
    fl_buf_free(&seen[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placements_are_the_oracles),
        cmocka_unit_test(ties_are_broken_evenly),
        cmocka_unit_test(placement_is_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
