/* store-proof: what our files promise, tried against power cuts and failing calls.
 *
 *   store-proof [--states N] [--failing N] [--stride N] [--seed S] [--subject NAME] [--only RUN]
 *               [--stop]
 *
 * Each subject gets N states (--states), and each of its calls, or one in --stride of them, fails
 * in each way for N workloads (--failing). --only repeats one run from the number that a failure
 * prints, --stop ends with the first failure. Every time some runs leave out all syncs, and the
 * proof must find that. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "run.h"

struct options {
    uint64_t states, failing, stride, seed, only;
    const char *subject;
    bool drop_syncs;
    bool stop; /* at the first thing that is wrong */
};

static const struct proof_subject *const subjects[] = {&proof_store, &proof_logs, &proof_files};
static int tests, failed;

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void report(bool good, const struct proof_subject *subject, const char *what)
{
    (void)printf("%sok %d - %s: %s\n", good ? "" : "not ", ++tests, subject->name, what);
    (void)fflush(stdout);
    failed += !good;
}

static bool try_run(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
                    uint64_t max_states, const struct options *options, struct proof_totals *totals)
{
    char why[800];
    bool good =
        proof_run(disk, subject, seed, max_states, options->drop_syncs, totals, why, sizeof(why));
    if (!good && !options->drop_syncs)
        (void)printf("# %s: %s\n# repeat: store-proof --subject %s --only %" PRIu64 "\n",
                     subject->name, why, subject->name, seed);
    return good;
}

static void power_cuts(struct proof_disk *disk, const struct proof_subject *subject,
                       const struct options *options)
{
    struct proof_totals totals = {0};
    double begun = now_s();
    uint64_t wrong = 0;
    char text[200];
    for (uint64_t i = 0; totals.states < options->states && wrong < (options->stop ? 1 : 3); i++)
        wrong +=
            !try_run(disk, subject, proof_mix(options->seed, i), options->states, options, &totals);
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " power cuts over %" PRIu64 " processes, %" PRIu64
                   " runs wrong (seed %" PRIu64 ", %.0f states/s)",
                   totals.states, totals.lives, wrong, options->seed,
                   (double)totals.states / (now_s() - begun));
    report(wrong == 0, subject, text);
}

static void one_run(struct proof_disk *disk, const struct proof_subject *subject,
                    const struct options *options)
{
    struct proof_totals totals = {0};
    char text[100];
    bool good = try_run(disk, subject, options->only, UINT64_MAX, options, &totals);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " power cuts over %" PRIu64 " processes",
                   totals.states, totals.lives);
    report(good, subject, text);
}

/* The proof of the proof. */
static void without_syncs(struct proof_disk *disk, const struct proof_subject *subject,
                          const struct options *given)
{
    struct options options = *given;
    struct proof_totals totals = {0};
    bool found = false;
    char text[200];
    options.drop_syncs = true;
    for (uint64_t i = 0; !found && totals.states < 2000; i++)
        found = !try_run(disk, subject, proof_mix(options.seed, i), 2000, &options, &totals);
    (void)snprintf(text, sizeof(text), "left-out syncs are %s after %" PRIu64 " power cuts",
                   found ? "found" : "not found", totals.states);
    report(found, subject, text);
}

static const struct proof_plan failures[] = {
    {.error = EIO},
    {.error = EIO, .forever = true},
    {.error = ENOSPC},
    {.error = ENOSPC, .forever = true},
    {.error = ENOSPC, .cut_short = true},
    {.error = ENOSPC, .forever = true, .cut_short = true},
};

/* The calls of one workload fail in one way, one after the other. */
static bool fail_each_call(struct proof_disk *disk, const struct proof_subject *subject,
                           uint64_t seed, struct proof_plan plan, uint32_t stride,
                           struct proof_totals *totals)
{
    char why[800];
    bool more = true;
    for (plan.fail_at = 1 + (uint32_t)(seed % stride); more; plan.fail_at += stride) {
        if (proof_run_failing(disk, subject, seed, &plan, totals, why, sizeof(why), &more))
            continue;
        (void)printf("# %s: call %u fails with %s%s%s, workload %" PRIu64 ": %s\n", subject->name,
                     plan.fail_at, strerror(plan.error), plan.forever ? ", for ever" : "",
                     plan.cut_short ? ", after a half" : "", seed, why);
        return false;
    }
    return true;
}

static void failing_calls(struct proof_disk *disk, const struct proof_subject *subject,
                          const struct options *options)
{
    struct proof_totals totals = {0};
    bool good = true;
    char text[300];
    for (uint64_t i = 0; i < options->failing; i++)
        for (size_t j = 0; j < FL_ARRAY_SIZE(failures) && (good || !options->stop); j++)
            good &= fail_each_call(disk, subject, proof_mix(options->seed, 1000 + i), failures[j],
                                   (uint32_t)options->stride, &totals);
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " workloads with failing calls, %" PRIu64
                   " failures injected, %" PRIu64 " processes stopped, %" PRIu64
                   " refused to start, %" PRIu64 " transactions undone, %" PRIu64
                   " power cuts (seed %" PRIu64 ")",
                   totals.runs, totals.injected, totals.stops, totals.refusals, totals.undone,
                   totals.states, options->seed);
    report(good, subject, text);
}

static void prove(struct proof_disk *disk, const struct proof_subject *subject,
                  const struct options *options)
{
    if (options->subject && strcmp(options->subject, subject->name) != 0)
        return;
    if (options->only) {
        one_run(disk, subject, options);
        return;
    }
    if (options->states)
        power_cuts(disk, subject, options);
    if (options->stop && failed)
        return;
    without_syncs(disk, subject, options);
    if (options->failing)
        failing_calls(disk, subject, options);
}

static struct options parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"states", required_argument, NULL, 'n'}, {"failing", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},   {"subject", required_argument, NULL, 'u'},
        {"only", required_argument, NULL, 'o'},   {"stride", required_argument, NULL, 'r'},
        {"stop", no_argument, NULL, 'x'},         {0},
    };
    struct options options = {.states = 700, .failing = 1, .stride = 30, .seed = 1};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'n')
            options.states = strtoull(optarg, NULL, 10);
        else if (option == 'f')
            options.failing = strtoull(optarg, NULL, 10);
        else if (option == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else if (option == 'u')
            options.subject = optarg;
        else if (option == 'o')
            options.only = strtoull(optarg, NULL, 10);
        else if (option == 'x')
            options.stop = true;
        else if (option == 'r')
            options.stride = FL_MAX(strtoull(optarg, NULL, 10), 1);
        else
            exit(2);
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    struct proof_disk *disk = proof_disk_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(subjects); i++)
        prove(disk, subjects[i], &options);
    (void)printf("1..%d\n", tests);
    proof_disk_clear(disk, true);
    return failed > 0;
}
