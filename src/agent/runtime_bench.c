/* Measures launches: `runtime-bench COUNT PAUSE_MS` starts that many `sleep`s through the runtime,
 * one after the other (each awaited until it is told as started) beside crun alone with the same
 * bundle, prints the times from the call to that moment, then the rate with all of them asked for
 * at once, and the time to end them all. */
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "agent/runtime_fixture.h"

static struct fixture fixture;

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static struct fixture_record *launch_sleep(struct fixture *f)
{
    struct fixture_want want = {.container.memory_mib = 64};
    struct fl_err err;
    struct fixture_record *record;
    static struct fl_str args[] = {{"/bin/sleep", 10}, {"1000", 4}};
    want.container.command = args;
    want.container.command_count = 2;
    if (fixture_launch(f, &want, &record, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return record;
}

static void await_started(struct fixture *f, struct fixture_record *record)
{
    if (!fixture_await(f, &record->is_started)) {
        (void)fprintf(stderr, "not started: %s\n", record->reason);
        exit(1);
    }
}

static void run_command(char *const argv[])
{
    pid_t pid;
    int status = 0;
    FL_ASSERT(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0);
    FL_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
}

/* The same bundle given to crun alone: no monitor, no overlay, no log. */
static void make_bare_bundle(struct fixture *f, const struct fixture_record *record)
{
    char *from = (char *)(uintptr_t)fl_str_printf(f->arena, "%s/containers/%s/config.json",
                                                  f->data_dir, record->id)
                     .p;
    char *to = (char *)(uintptr_t)fl_str_printf(f->arena, "%s/config.json", f->dir).p;
    char *const copy[] = {(char *)"/bin/cp", from, to, NULL};
    run_command(copy);
    FL_ASSERT(symlink("layer", fl_str_printf(f->arena, "%s/rootfs", f->dir).p) == 0);
}

static void call_crun(struct fixture *f, bool is_delete, size_t number)
{
    char *root = (char *)(uintptr_t)fl_str_printf(f->arena, "--root=%s/crun", f->dir).p;
    char *id = (char *)(uintptr_t)fl_str_printf(f->arena, "bare%zu", number).p;
    char *bundle = (char *)(uintptr_t)fl_str_printf(f->arena, "--bundle=%s", f->dir).p;
    char *const run[] = {(char *)"/usr/bin/crun",
                         root,
                         (char *)"--cgroup-manager=cgroupfs",
                         (char *)"run",
                         (char *)"--detach",
                         bundle,
                         id,
                         NULL};
    char *const delete[] = {(char *)"/usr/bin/crun",
                            root,
                            (char *)"--cgroup-manager=cgroupfs",
                            (char *)"delete",
                            (char *)"--force",
                            id,
                            NULL};
    run_command(is_delete ? delete : run);
}

static void print_times(const char *what, int64_t *took_us, size_t count)
{
    qsort(took_us, count, sizeof(*took_us), compare);
    (void)printf("  %-28s p50 %6.2f ms  p90 %6.2f ms  max %6.2f ms\n", what,
                 (double)took_us[count / 2] / 1000, (double)took_us[count * 9 / 10] / 1000,
                 (double)took_us[count - 1] / 1000);
}

/* Ours and crun alone take turns, so that both see the same machine. */
static void run_one_by_one(struct fixture *f, size_t count, int pause_ms)
{
    int64_t *ours_us = fl_calloc(count, sizeof(*ours_us));
    int64_t *bare_us = fl_calloc(count, sizeof(*bare_us));
    for (size_t i = 0; i < count; i++) {
        (void)usleep((useconds_t)pause_ms * 1000);
        int64_t start_us = fixture_now_us();
        struct fixture_record *record = launch_sleep(f);
        await_started(f, record);
        ours_us[i] = record->started_us - start_us;
        if (access(fl_str_printf(f->arena, "%s/rootfs", f->dir).p, F_OK) < 0)
            make_bare_bundle(f, record);
        (void)usleep((useconds_t)pause_ms * 1000);
        start_us = fixture_now_us();
        call_crun(f, false, i);
        bare_us[i] = fixture_now_us() - start_us;
    }
    (void)printf("%zu launches, %d ms apart:\n", count, pause_ms);
    print_times("ours, call to told as started", ours_us, count);
    print_times("crun run --detach alone", bare_us, count);
    for (size_t i = 0; i < count; i++)
        call_crun(f, true, i);
    free(ours_us);
    free(bare_us);
}

static void run_at_once(struct fixture *f, size_t count)
{
    size_t first = f->count;
    int64_t start_us = fixture_now_us();
    for (size_t i = 0; i < count; i++)
        (void)launch_sleep(f);
    int64_t asked_us = fixture_now_us();
    for (size_t i = first; i < f->count; i++)
        await_started(f, &f->records[i]);
    int64_t end_us = fixture_now_us();
    (void)printf("%zu at once: %.0f/s (asking took %.2f ms each)\n", count,
                 (double)count * 1e6 / (double)(end_us - start_us),
                 (double)(asked_us - start_us) / 1000 / (double)count);
}

static void end_all(struct fixture *f)
{
    int64_t start_us = fixture_now_us();
    for (size_t i = 0; i < f->count; i++)
        (void)fl_runtime_kill(f->runtime, fl_str_of(f->records[i].id), SIGKILL);
    for (size_t i = 0; i < f->count; i++)
        FL_ASSERT(fixture_await(f, &f->records[i].is_exited));
    (void)printf("%zu killed and told: %.0f ms\n", f->count,
                 (double)(fixture_now_us() - start_us) / 1000);
    for (size_t i = 0; i < f->count; i++)
        FL_ASSERT(fl_runtime_remove(f->runtime, fl_str_of(f->records[i].id), NULL) == 0);
    fl_runtime_remove_task(f->runtime, FL_STR("task"));
}

int main(int argc, char *argv[])
{
    int64_t count = 50;
    int64_t pause_ms = 100;
    if (geteuid() != 0)
        return 77;
    if ((argc > 1 && !fl_str_to_i64(fl_str_of(argv[1]), &count)) ||
        (argc > 2 && !fl_str_to_i64(fl_str_of(argv[2]), &pause_ms)) || count < 1 || count > 300)
        return 2;
    fixture_open(&fixture);
    (void)printf("%.*s\n", FL_STR_ARG(fl_runtime_describe(fixture.runtime)));
    run_one_by_one(&fixture, (size_t)count, 0);
    run_one_by_one(&fixture, (size_t)count, (int)pause_ms);
    run_at_once(&fixture, (size_t)count);
    end_all(&fixture);
    fixture_close(&fixture);
    return 0;
}
