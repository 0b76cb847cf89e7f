/* `fairlead sim`: runs of the simulator, one for each seed. */
#include <argp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/bug.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"
#include "sim/sim.h"
#include "sim/whatif.h"

enum { MAX_HOSTS = 100000, MAX_TASKS = 10000000, MAX_SERVICES = 100000, TASKS_A_HOST = 10 };

struct wanted {
    struct fl_sim_config config;
    uint64_t runs;
    bool mode_is_given;
    const char *from, *svg; /* what-if: the scenario's file and the plot's */
    bool verbose;
};

static bool read_number(const char *text, uint64_t max, uint64_t *ret_value)
{
    return fl_str_to_u64(fl_str_of(text), ret_value) && *ret_value <= max;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct wanted *wanted = state->input;
    uint64_t value = 0;
    bool is_good = true;
    switch (key) {
    case 's':
        is_good = read_number(arg, UINT64_MAX, &wanted->config.seed);
        break;
    case 'n':
        is_good = read_number(arg, MAX_HOSTS, &value) && value > 0;
        wanted->config.hosts = (unsigned)value;
        break;
    case 't':
        is_good = read_number(arg, MAX_TASKS, &value) && value > 0;
        wanted->config.tasks = (unsigned)value;
        break;
    case 'S':
        is_good = read_number(arg, MAX_SERVICES, &value) && value > 0;
        wanted->config.services = (unsigned)value;
        break;
    case 'r':
        is_good = read_number(arg, UINT32_MAX, &wanted->runs) && wanted->runs > 0;
        break;
    case 'm':
        is_good = strcmp(arg, "safety") == 0 || strcmp(arg, "liveness") == 0;
        wanted->config.mode = strcmp(arg, "safety") == 0 ? FL_SIM_SAFETY : FL_SIM_LIVENESS;
        wanted->mode_is_given = true;
        break;
    case 'j':
        is_good = strcmp(arg, "always") == 0 || strcmp(arg, "never") == 0;
        wanted->config.codecs =
            strcmp(arg, "never") == 0 ? FL_SIM_CODECS_NEVER : FL_SIM_CODECS_ALWAYS;
        break;
    case 'c':
        wanted->config.calm = true;
        break;
    case 'v':
        wanted->verbose = true;
        break;
    case 'f':
        wanted->from = arg;
        break;
    case 'g':
        wanted->svg = arg;
        break;
#ifdef FL_SEEDED_BUGS
    case 'b':
        is_good = read_number(arg, 1000, &value);
        fl_seeded_bug = (int)value;
        break;
#endif
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (!is_good)
        argp_error(state, "\"%s\" is not a value for this option", arg);
    return 0;
}

static const struct argp_option options[] = {
    {.name = "seed", .key = 's', .arg = "N", .doc = "the first seed (1)"},
    {.name = "runs", .key = 'r', .arg = "N", .doc = "so many seeds, one after the other (1)"},
    {.name = "hosts", .key = 'n', .arg = "N", .doc = "hosts in each run (10)"},
    {.name = "tasks", .key = 't', .arg = "N", .doc = "about so many tasks (ten for each host)"},
    {.name = "services",
     .key = 'S',
     .arg = "N",
     .doc =
         "instead of the usual load so many services of --tasks tasks each are created, then get "
         "a new definition, all at once"},
    {.name = "mode", .key = 'm', .arg = "MODE", .doc = "safety or liveness (by turns)"},
    {.name = "codecs",
     .key = 'j',
     .arg = "WHEN",
     .doc = "always or never: through the production's JSON (one seed in sixteen)"},
    {.name = "calm", .key = 'c', .doc = "no faults, for measuring"},
    {.name = "verbose", .key = 'v', .doc = "a line for each seed"},
    {.name = "from", .key = 'f', .arg = "FILE", .doc = "what if: plays the scenario of this file"},
    {.name = "svg", .key = 'g', .arg = "FILE", .doc = "with --from: the plot goes here"},
#ifdef FL_SEEDED_BUGS
    {.name = "bug", .key = 'b', .arg = "N", .doc = "with a deliberate defect"},
#endif
    {0},
};

/* An assertion of the code under test ends the process: the seed must not be lost with it. */
static char present_run[160];

static void on_abort(int number)
{
    ssize_t n = write(STDERR_FILENO, present_run, strlen(present_run));
    (void)n;
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_roll(const struct fl_sim_config *config, const struct fl_sim_result *result,
                       double used)
{
    char faults[64] = "no faults";
    if (!config->calm)
        (void)snprintf(faults, sizeof(faults), "%llu faults in %.0f minutes",
                       (unsigned long long)result->faults, (double)result->faults_ms / 6e4);
    (void)printf(
        "seed %llu, %s: %u services of %u tasks on %u hosts: complete after %.1f s, with a "
        "new definition after %.1f s more, by the simulated clock; %.2f s of CPU time\n",
        (unsigned long long)config->seed, faults, config->services, config->tasks, config->hosts,
        (double)result->created_ms / 1e3, (double)result->rolled_ms / 1e3, used);
}

static void run(const struct wanted *wanted, uint64_t i, struct fl_sim_result *total)
{
    struct fl_sim_config config = wanted->config;
    struct fl_sim_result result;
    config.seed += i;
    if (config.tasks == 0)
        config.tasks = TASKS_A_HOST * (config.services ? 1 : config.hosts);
    if (!wanted->mode_is_given)
        config.mode = config.seed % 2 ? FL_SIM_SAFETY : FL_SIM_LIVENESS;
    (void)snprintf(present_run, sizeof(present_run),
                   "sim: the process failed in seed %llu, hosts %u, tasks %u, %s\n",
                   (unsigned long long)config.seed, config.hosts, config.tasks,
                   config.mode == FL_SIM_SAFETY ? "safety" : "liveness");
    double begin = seconds();
    fl_sim_run(&config, &result);
    total->events += result.events;
    for (size_t k = 0; k < result.kind_count; k++)
        fl_sim_count(total, result.kinds[k].what, result.kinds[k].count);
    total->violations += result.violations;
    total->tasks += result.tasks;
    total->restarts += result.restarts;
    total->simulated_ms += result.simulated_ms;
    if (wanted->verbose)
        (void)printf("seed %llu: %llu events, %llu faults, %llu tasks, trace %016llx\n",
                     (unsigned long long)config.seed, (unsigned long long)result.events,
                     (unsigned long long)result.faults, (unsigned long long)result.tasks,
                     (unsigned long long)result.trace_hash);
    if (config.services && !result.violations)
        print_roll(&config, &result, seconds() - begin);
    if (result.violations)
        (void)printf("%s", result.text);
    (void)fflush(stdout);
}

static int what_if(const char *from, const char *svg_path)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_WHATIF_MAX_TEXT);
    FL_CLEANUP_BUF struct fl_buf table = FL_BUF_INIT(FL_WHATIF_MAX_OUTPUT);
    FL_CLEANUP_BUF struct fl_buf svg = FL_BUF_INIT(FL_WHATIF_MAX_OUTPUT);
    struct fl_whatif_totals totals;
    struct fl_err err = {0};
    double begin = seconds();
    int rc = fl_fs_read(AT_FDCWD, from, FL_WHATIF_MAX_TEXT, &text);
    if (rc < 0)
        (void)fl_err_errno(&err, rc, "cannot read %s", from);
    else
        rc = fl_whatif_run(fl_buf_str(&text), &table, svg_path ? &svg : NULL, &totals, &err);
    if (rc == 0 && svg_path) {
        rc = fl_fs_write_fast(AT_FDCWD, svg_path, fl_buf_str(&svg), 0644);
        if (rc < 0)
            (void)fl_err_errno(&err, rc, "cannot write %s", svg_path);
    }
    (void)fputs(table.p ? table.p : "", stdout);
    if (rc < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    double used = seconds() - begin;
    (void)fprintf(stderr, "events %llu (%.0f a second), %.1f s\n", (unsigned long long)totals.steps,
                  (double)totals.steps / (used > 0 ? used : 1), used);
    return 0;
}

int fl_cli_sim(int argc, char **argv)
{
    char name[] = "fairlead sim"; /* as its help calls it */
    struct wanted wanted = {.config = {.seed = 1, .hosts = 10}, .runs = 1};
    struct fl_sim_result total = {0};
    struct argp argp = {.options = options,
                        .parser = parse,
                        .doc = "Plays a control plane and its hosts with faults drawn from a seed, "
                               "and checks that nothing promised is broken."
                               "\vAn event is a call, an answer or a frame that arrives, a timer "
                               "that is due, something that completes, a sync, a commit, a "
                               "client's decision or a fault. What comes for a process that has "
                               "died, or a timer whose reason is gone, is not counted. The rate "
                               "is by CPU time, checks included."};
    argv[0] = name;
    argp_parse(&argp, argc, argv, 0, NULL, &wanted);
    if (wanted.svg && !wanted.from) {
        (void)fputs("fairlead: --svg needs a scenario, --from FILE\n", stderr);
        return 2;
    }
    if (wanted.from)
        return what_if(wanted.from, wanted.svg);
    (void)signal(SIGABRT, on_abort);
    double begin = seconds();
    for (uint64_t i = 0; i < wanted.runs; i++)
        run(&wanted, i, &total);
    double used = seconds() - begin;
    for (size_t i = 0; wanted.verbose && i < total.kind_count; i++)
        (void)printf("%8llu  %s\n", (unsigned long long)total.kinds[i].count, total.kinds[i].what);
    (void)printf("events %llu (%.0f a second), tasks %llu, restarts %llu, simulated hours %.1f\n",
                 (unsigned long long)total.events, (double)total.events / (used > 0 ? used : 1),
                 (unsigned long long)total.tasks, (unsigned long long)total.restarts,
                 (double)total.simulated_ms / 3.6e6);
    (void)printf("seeds %llu, faults %llu, violations %llu\n", (unsigned long long)wanted.runs,
                 (unsigned long long)total.faults, (unsigned long long)total.violations);
    return total.violations ? 1 : 0;
}
