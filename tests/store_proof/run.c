/* Lives in children, states in this process. */
#include "run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "store/store.h"

enum { TEXT_SIZE = 2048, LATEST_KILL = 500 };

static void live_in_child(struct proof_disk *disk, const struct proof_subject *subject,
                          uint64_t seed, int err_fd)
{
    struct proof_rng rng = {seed};
    (void)dup2(err_fd, STDERR_FILENO);
    proof_record_begin(disk, seed);
    _exit(subject->live(disk, &rng));
}

/* What the life said on stderr, and how many lines that is. */
static int read_text(int fd, char *text)
{
    ssize_t n = pread(fd, text, TEXT_SIZE - 1, 0);
    int lines = 0;
    text[FL_MAX(n, 0)] = '\0';
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    return lines;
}

static bool judge(struct proof_disk *disk, const struct proof_subject *subject, int status,
                  int lines, const char *text, struct proof_totals *totals, char *why, size_t size)
{
    const struct proof_plan *plan = &disk->plan;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (plan->kill && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    if (code == 0)
        return true;
    /* One line for the end, after those of what was refused before. */
    bool clear = disk->injected && lines == 1 + (subject->goes_on ? (int)disk->undone : 0);
    if (code == PROOF_REFUSED && clear) {
        totals->refusals++;
        return true;
    }
    if (code == FL_STORE_EXIT && clear && subject->may_stop) {
        totals->stops++;
        return true;
    }
    if (code == PROOF_VIOLATED)
        (void)snprintf(why, size, "a process found: %s", disk->complaint);
    else
        (void)snprintf(why, size, "a process ended with wait status %#x, %d lines: %s",
                       (unsigned)status, lines, text);
    return false;
}

static bool live(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
                 struct proof_totals *totals, char *why, size_t size)
{
    char text[TEXT_SIZE];
    int status;
    FL_CLEANUP_FD int err_fd = memfd_create("stderr", MFD_CLOEXEC);
    (void)fflush(NULL);
    pid_t pid = fork();
    FL_ASSERT(pid >= 0 && err_fd >= 0);
    if (pid == 0)
        live_in_child(disk, subject, seed, err_fd);
    FL_ASSERT(waitpid(pid, &status, 0) == pid);
    totals->lives++;
    totals->injected += disk->plan.kill ? 0 : disk->injected;
    totals->undone += disk->undone;
    return judge(disk, subject, status, read_text(err_fd, text), text, totals, why, size);
}

static bool try_state(struct proof_disk *disk, const struct proof_subject *subject,
                      struct proof_replay *replay, struct proof_rng *rng, const void *model,
                      struct proof_totals *totals, char *why, size_t size)
{
    char sentence[400];
    proof_disk_clear(disk, false);
    proof_replay_crash(replay, rng);
    totals->states++;
    if (subject->check(disk->root, model, sentence, sizeof(sentence)))
        return true;
    (void)snprintf(why, size, "after a power cut with %zu operations not synced: %s",
                   proof_replay_pending(replay), sentence);
    return false;
}

/* How many states are tried at a place: few where nothing can differ. */
static uint32_t tries_at(const struct proof_replay *replay, uint32_t one_in, struct proof_rng *rng)
{
    if (proof_below(rng, one_in) > 0)
        return 0;
    return proof_replay_pending(replay) ? 1 + proof_below(rng, 3) : proof_below(rng, 8) == 0;
}

/* Power cuts over the whole trace, at one place in one_in. */
static bool cut_power(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
                      uint32_t one_in, uint64_t max_states, struct proof_totals *totals, char *why,
                      size_t size)
{
    struct proof_rng rng = {seed};
    static uint8_t model[PROOF_MODEL_SIZE];
    struct proof_replay *replay = proof_replay_new(disk, seed);
    bool good = true;
    memcpy(model, disk->start, sizeof(model));
    for (size_t at = 1; good && proof_replay_step(replay, model); at++) {
        uint32_t tries = at < disk->first_op ? 0 : tries_at(replay, one_in, &rng);
        for (; good && tries && totals->states < max_states; tries--)
            good = try_state(disk, subject, replay, &rng, model, totals, why, size);
    }
    proof_replay_free(replay);
    return good;
}

/* The next generation starts on one of the states. */
static void restart_on_a_state(struct proof_disk *disk, uint64_t seed)
{
    struct proof_rng rng = {seed};
    static uint8_t model[PROOF_MODEL_SIZE];
    struct proof_replay *replay = proof_replay_new(disk, seed);
    size_t places = disk->op_count - disk->first_op;
    size_t place = disk->first_op + proof_below(&rng, (uint32_t)places + 1);
    memcpy(model, disk->start, sizeof(model));
    for (size_t at = 0; at < place; at++)
        (void)proof_replay_step(replay, model);
    proof_disk_clear(disk, false);
    proof_replay_crash(replay, &rng);
    proof_replay_free(replay);
    proof_disk_adopt(disk, model);
}

static void begin(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
                  struct proof_totals *totals)
{
    proof_sqlite_prepare(seed);
    proof_disk_restart(disk);
    disk->apply = subject->apply;
    subject->init(disk->start);
    subject->init(disk->model);
    totals->runs++;
}

static struct proof_plan draw_plan(struct proof_rng *rng, bool drop_syncs)
{
    static const int errors[] = {EIO, EIO, ENOSPC};
    struct proof_plan plan = {.drop_syncs = drop_syncs};
    uint32_t kind = proof_below(rng, 4);
    if (kind == 0)
        return plan;
    plan.fail_at = 1 + proof_below(rng, LATEST_KILL);
    plan.kill = kind > 1;
    plan.cut_short = proof_below(rng, 2);
    plan.forever = proof_below(rng, 2);
    plan.error = plan.kill ? EIO : errors[proof_below(rng, 3)];
    return plan;
}

bool proof_run(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
               uint64_t max_states, bool drop_syncs, struct proof_totals *totals, char *why,
               size_t size)
{
    struct proof_rng rng = {seed};
    uint32_t generations = 1 + proof_below(&rng, 3);
    begin(disk, subject, seed, totals);
    for (uint32_t i = 0; i < generations; i++) {
        uint32_t lives = 1 + proof_below(&rng, 3);
        for (uint32_t j = 0; j < lives; j++) {
            disk->plan = draw_plan(&rng, drop_syncs);
            if (!live(disk, subject, proof_random(&rng), totals, why, size))
                return false;
        }
        uint32_t one_in = 1 << proof_below(&rng, 6);
        if (!cut_power(disk, subject, proof_random(&rng), one_in, max_states, totals, why, size))
            return false;
        restart_on_a_state(disk, proof_random(&rng));
    }
    return true;
}

bool proof_run_failing(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
                       const struct proof_plan *plan, struct proof_totals *totals, char *why,
                       size_t size, bool *ret_more)
{
    begin(disk, subject, seed, totals);
    disk->plan = *plan;
    if (!live(disk, subject, seed, totals, why, size))
        return false;
    *ret_more = disk->calls >= plan->fail_at;
    if (disk->injected == 0)
        return true;
    disk->plan = (struct proof_plan){0};
    if (!live(disk, subject, seed + 1, totals, why, size))
        return false;
    return cut_power(disk, subject, seed + plan->fail_at, subject->cut_one_in, UINT64_MAX, totals,
                     why, size);
}
