/* For tests and measurements of the runtime: a temporary installation with one busybox layer, a
 * loop, and a record of what was told of each container. Functions stop the process where the
 * ground gives way; assertions are the tests' own. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtime.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"

enum { FIXTURE_MAX = 1024, FIXTURE_WAIT_MS = 20000 };

struct fixture_record {
    char id[65];
    bool is_told; /* started or failed */
    bool is_started;
    bool is_failed;
    bool is_exited;
    bool oom_killed;
    int exit_code;
    int64_t started_us; /* monotonic, when it was told */
    char reason[1024];
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t timer;
    struct fl_runtime *runtime;
    struct fl_arena *arena;
    char dir[64];
    char layer[96];
    char data_dir[96];
    char tag[16];
    size_t count;
    struct fixture_record records[FIXTURE_MAX];
};

static inline int64_t fixture_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline struct fixture_record *fixture_record(struct fixture *f, struct fl_str id)
{
    for (size_t i = 0; i < f->count; i++)
        if (fl_str_is(id, f->records[i].id))
            return &f->records[i];
    FL_ASSERT(f->count < FIXTURE_MAX && id.n < sizeof(f->records[0].id));
    struct fixture_record *record = &f->records[f->count++];
    *record = (struct fixture_record){.exit_code = -1};
    memcpy(record->id, id.p, id.n);
    return record;
}

static inline void fixture_started(void *context, struct fl_str id, int64_t wall_ms)
{
    struct fixture_record *record = fixture_record(context, id);
    FL_ASSERT(wall_ms > 0 && !record->is_started && !record->is_exited);
    record->is_started = record->is_told = true;
    record->started_us = fixture_now_us();
}

static inline void fixture_failed(void *context, struct fl_str id, struct fl_str reason)
{
    struct fixture_record *record = fixture_record(context, id);
    FL_ASSERT(!record->is_started && !record->is_failed);
    record->is_failed = record->is_told = true;
    (void)snprintf(record->reason, sizeof(record->reason), "%.*s", FL_STR_ARG(reason));
}

static inline void fixture_exited(void *context, struct fl_str id, int code, bool oom,
                                  int64_t wall_ms)
{
    struct fixture_record *record = fixture_record(context, id);
    FL_ASSERT(wall_ms > 0 && record->is_started && !record->is_exited);
    record->is_exited = true;
    record->exit_code = code;
    record->oom_killed = oom;
}

static inline void fixture_write(const char *dir, const char *name, const char *text)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    FL_ASSERT(n > 0 && (size_t)n < sizeof(path));
    FL_ASSERT(fl_fs_write_fast(AT_FDCWD, path, fl_str_of(text), 0644) == 0);
}

/* busybox knows itself by its name, so one link per command is enough. */
static inline void fixture_make_layer(struct fixture *f)
{
    static const char *const commands[] = {"sh",   "sleep", "cat",    "id",      "echo", "true",
                                           "dd",   "ls",    "tail",   "seq",     "kill", "mount",
                                           "env",  "pwd",   "swapon", "grep",    "yes",  "unshare",
                                           "head", "touch", "stat",   "hostname"};
    static const char *const dirs[] = {"", "/bin", "/etc", "/tmp", "/proc", "/sys", "/dev", "/srv"};
    char path[512];
    char command[256];
    for (size_t i = 0; i < FL_ARRAY_SIZE(dirs); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", f->layer, dirs[i]);
        FL_ASSERT(fl_fs_mkdirs(path, 0755) == 0);
    }
    (void)snprintf(command, sizeof(command), "cp /bin/busybox %s/bin/busybox", f->layer);
    FL_ASSERT(system(command) == 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(commands); i++) {
        (void)snprintf(path, sizeof(path), "%s/bin/%s", f->layer, commands[i]);
        FL_ASSERT(symlink("busybox", path) == 0);
    }
    fixture_write(f->layer, "etc/passwd",
                  "root:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002::/home/web:/bin/sh\n");
    fixture_write(f->layer, "etc/group", "root:x:0:\nweb:x:1002:\nlog:x:1003:web\n");
}

/* Beside this program (the bench), or in the folder `shim` there (the tests). Asked for once: in a
 * chroot, /proc/self/exe has another name after the mount namespace has changed. */
static inline struct fl_str fixture_libexec(struct fl_arena *arena)
{
    static char path[256];
    const char *given = getenv("FAIRLEAD_TEST_LIBEXEC");
    if (given)
        return fl_str_of(given);
    if (!*path) {
        FL_ASSERT(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
        (void)dirname(path);
    }
    struct fl_str dir = fl_str_dup(arena, fl_str_of(path));
    if (access(fl_str_printf(arena, "%s/fairlead-shim", dir.p).p, X_OK) == 0)
        return dir;
    return fl_str_printf(arena, "%s/shim", dir.p);
}

static inline void fixture_start(struct fixture *f)
{
    static const struct fl_runtime_callbacks callbacks = {
        .started = fixture_started, .failed = fixture_failed, .exited = fixture_exited};
    struct fl_err err;
    struct fl_runtime_config config = {
        .data_dir = fl_str_of(f->data_dir),
        .libexec_dir = fixture_libexec(f->arena),
        .tag = fl_str_of(f->tag),
    };
    FL_ASSERT(uv_loop_init(&f->loop) == 0 && uv_timer_init(&f->loop, &f->timer) == 0);
    if (fl_runtime_open(&f->loop, &config, &callbacks, f, &f->runtime, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

static inline void fixture_open(struct fixture *f)
{
    uint8_t salt[3];
    char hex[7];
    memset(f, 0, sizeof(*f));
    f->arena = fl_arena_new();
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fairlead-runtime-XXXXXX");
    FL_ASSERT(mkdtemp(f->dir) != NULL);
    (void)snprintf(f->layer, sizeof(f->layer), "%s/layer", f->dir);
    (void)snprintf(f->data_dir, sizeof(f->data_dir), "%s/agent", f->dir);
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), hex);
    (void)snprintf(f->tag, sizeof(f->tag), "fl%s", hex);
    fixture_make_layer(f);
    fixture_start(f);
}

/* The agent's end, without the containers'. */
static inline void fixture_stop(struct fixture *f)
{
    fl_runtime_close(f->runtime);
    uv_close((uv_handle_t *)&f->timer, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    FL_ASSERT(uv_loop_close(&f->loop) == 0);
    f->runtime = NULL;
}

static inline void fixture_close(struct fixture *f)
{
    const struct fl_runtime_config config = {.data_dir = fl_str_of(f->data_dir),
                                             .tag = fl_str_of(f->tag)};
    struct fl_err err = {.text = ""};
    fixture_stop(f);
    FL_ASSERT(fl_runtime_destroy(&config, &err) == 0);
    FL_ASSERT(fl_fs_remove_tree(AT_FDCWD, f->dir) == 0);
    fl_arena_free(f->arena);
}

static inline void fixture_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until *done; false after the longest wait. */
static inline bool fixture_await(struct fixture *f, const bool *done)
{
    int64_t deadline_us = fixture_now_us() + (int64_t)FIXTURE_WAIT_MS * 1000;
    FL_ASSERT(uv_timer_start(&f->timer, fixture_tick, 100, 100) == 0);
    while (!*done && fixture_now_us() < deadline_us)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    (void)uv_timer_stop(&f->timer);
    return *done;
}

/* What a test wants of a container; the rest is a task of one container without a network. */
struct fixture_want {
    struct fl_container_spec container;
    struct fl_task_spec task;
    struct fl_image_config image;
    const char *task_id;
    int netns_fd;                       /* 0: the host's */
    const struct fl_key_value *secrets; /* NULL: none; else one */
    const struct fl_key_value *log_secrets;
};

/* `sh -c script` for want->container. */
static inline void fixture_script(struct fixture *f, struct fixture_want *want, const char *script)
{
    struct fl_str *args = fl_arena_new_array(f->arena, struct fl_str, 3);
    args[0] = FL_STR("/bin/sh");
    args[1] = FL_STR("-c");
    args[2] = fl_str_of(script);
    want->container.command = args;
    want->container.command_count = 3;
}

static inline int fixture_launch(struct fixture *f, struct fixture_want *want,
                                 struct fixture_record **ret_record, struct fl_err *err)
{
    uint8_t bytes[32];
    char id[65];
    fl_random_bytes(bytes, sizeof(bytes));
    fl_hex(bytes, sizeof(bytes), id);
    struct fl_str layers[] = {fl_str_of(f->layer)};
    static const struct fl_log_plan spooled = {.kind = FL_LOG_AWSLOGS};
    struct fl_launch launch = {
        .container_id = fl_str_of(id),
        .task_id = fl_str_of(want->task_id ? want->task_id : "task"),
        .task = &want->task,
        .container = &want->container,
        .image = &want->image,
        .layers = layers,
        .layer_count = 1,
        .hostname = FL_STR("box"),
        .etc_hosts = FL_STR("127.0.0.1 localhost\n"),
        .etc_resolv_conf = FL_STR("nameserver 127.0.0.1\n"),
        .netns_fd = want->netns_fd > 0 ? want->netns_fd : -1,
        .log = &spooled,
        .secrets = want->secrets,
        .secret_count = want->secrets ? 1 : 0,
        .log_secrets = want->log_secrets,
        .log_secret_count = want->log_secrets ? 1 : 0,
    };
    *ret_record = fixture_record(f, launch.container_id);
    return fl_runtime_launch(f->runtime, &launch, err);
}

/* The spool's texts of one stream, lines joined as they were. */
static inline struct fl_str fixture_output(struct fixture *f, const char *id, char tag)
{
    struct fl_buf raw = FL_BUF_INIT(256 * 1024 * 1024);
    struct fl_buf text = FL_BUF_INIT(256 * 1024 * 1024);
    struct fl_str line;
    struct fl_str path = fl_runtime_log_path(f->runtime, fl_str_of(id), f->arena);
    FL_ASSERT(fl_fs_read(AT_FDCWD, path.p, raw.max, &raw) == 0);
    struct fl_str rest = fl_buf_str(&raw);
    while (fl_str_split(&rest, '\n', &line)) {
        ptrdiff_t space = fl_str_index(line, ' ');
        FL_ASSERT(space > 0 && line.n >= (size_t)space + 5);
        if (line.p[space + 1] != tag)
            continue;
        fl_buf_add_str(&text, fl_str_from(line, (size_t)space + 5));
        if (line.p[space + 3] == 'F')
            fl_buf_add_char(&text, '\n');
    }
    struct fl_str copy = fl_str_dup(f->arena, fl_buf_str(&text));
    fl_buf_free(&raw);
    fl_buf_free(&text);
    return copy;
}
