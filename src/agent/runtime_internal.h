/* What the runtime's parts share: the table of watched containers. */
#pragma once

#include <uthash.h>

#include "agent/bundle.h"
#include "agent/cgroup.h"
#include "agent/runtime.h"
#include "agent/seccomp.h"

enum { FL_RUNTIME_ID_MAX = 128, FL_RUNTIME_FILE_MAX = 64 * 1024 };

/* What of a container has been told. Started comes before exited, always; failed comes alone. */
enum fl_runtime_state { FL_RUNTIME_LAUNCHED, FL_RUNTIME_STARTED, FL_RUNTIME_ENDED };

struct fl_runtime_container {
    char id[FL_RUNTIME_ID_MAX + 1];
    struct fl_runtime *runtime;
    enum fl_runtime_state state;
    int watch; /* inotify's number for the directory */
    int shim_pidfd;
    uv_poll_t *shim_poll;
    pid_t shim_child; /* to be reaped by us; 0 for an adopted or a launched one */
    bool is_asked;    /* the launcher has not answered yet */
    pid_t pid;        /* the container's first process */
    int64_t start_time;
    int pending_signal;   /* asked for before the container had started */
    int64_t grace_end_ms; /* monotonic; an adopted one whose shim has not shown itself; 0: none */
    bool is_dirty;        /* to be looked at when the loop comes around */
    int lock_fd;          /* of the shared namespaces, of one that may be started again; -1: none */
    UT_hash_handle by_id;
    UT_hash_handle by_watch;
};

/* A compiled profile. Few sets of capabilities are in use on a host; beyond the most that are kept,
 * the default one serves. */
struct fl_runtime_profile {
    struct fl_runtime_profile *next;
    uint64_t caps;
    struct fl_seccomp seccomp;
};

struct fl_runtime {
    uv_loop_t *loop;
    struct fl_arena *arena; /* for what lives as long as the runtime */
    struct fl_str data_dir;
    struct fl_str shim_path;
    struct fl_str tag;
    bool no_task_limits;
    int64_t task_pids;
    int64_t start_timeout_ms;
    int64_t cpu_period_ms;
    struct fl_str runtime_path; /* crun or runc */
    struct fl_str runtime_version;
    int program_fd;  /* a sealed copy of its program; -1: none */
    int launcher_fd; /* our end of the launcher's socket; -1: there is none */
    pid_t launcher_pid;
    uv_poll_t *launcher_poll;
    struct fl_str runtime_root; /* its state */
    struct fl_str memory_root;  /* for what must not be on a disk; empty: there is no such place */
    struct fl_str boot_id;
    struct fl_str description;
    struct fl_runtime_callbacks callbacks;
    void *context;
    struct fl_cgroup cgroup;
    struct fl_seccomp seccomp;
    struct fl_runtime_profile *profiles; /* seccomp for other capabilities than the default ones */
    struct fl_bundle_host host;
    int inotify_fd;
    uv_poll_t *inotify_poll;
    uv_async_t *look_again;
    uv_timer_t *grace_timer;
    struct fl_runtime_container *containers;
    struct fl_runtime_container *watches;
};

/* runtime_watch.c */
int fl_runtime_watch_open(struct fl_runtime *runtime, struct fl_err *err);
void fl_runtime_watch_close(struct fl_runtime *runtime);
/* Adds a container to the table and watches its directory; NULL with err filled. */
struct fl_runtime_container *fl_runtime_watch_add(struct fl_runtime *runtime, struct fl_str id,
                                                  struct fl_err *err);
/* Watches a shim by its pidfd, which is taken over. */
int fl_runtime_watch_shim(struct fl_runtime_container *container, int pidfd);
/* Looks at the container when the loop comes around. */
void fl_runtime_watch_later(struct fl_runtime_container *container);
/* Waits for the shim of a container that was launched but a moment ago. */
void fl_runtime_watch_grace(struct fl_runtime_container *container);
void fl_runtime_watch_remove(struct fl_runtime_container *container);
struct fl_runtime_container *fl_runtime_find(struct fl_runtime *runtime, struct fl_str id);

/* runtime_files.c */
/* 1 to FL_RUNTIME_ID_MAX of [A-Za-z0-9_-]. */
bool fl_runtime_id_is_valid(struct fl_str id);
struct fl_str fl_runtime_dir(const struct fl_runtime *runtime, struct fl_str id,
                             struct fl_arena *arena);
/* Reads `name` in the container's directory as words; the number of words, or -errno. */
int fl_runtime_read_words(const struct fl_runtime *runtime, struct fl_str id, const char *name,
                          struct fl_arena *arena, struct fl_str *ret_words, size_t max);
/* The group of a container or, with an empty id, of a task. */
struct fl_str fl_runtime_cgroup_path(const struct fl_runtime *runtime, struct fl_str task_id,
                                     struct fl_str id, struct fl_arena *arena);
/* The same, as the orders of a launched container have it; empty when unreadable. */
struct fl_str fl_runtime_ordered_cgroup(const struct fl_runtime *runtime, struct fl_str id,
                                        struct fl_arena *arena);
/* Docker's sentence for what the runtime's log says. */
struct fl_str fl_runtime_sentence(struct fl_str raw, struct fl_arena *arena);
/* /proc/<pid>/stat's start time, -errno when there is no such process. */
int64_t fl_runtime_start_time(pid_t pid);
/* A pidfd of exactly the process that started then; -ESRCH when it is gone. */
int fl_runtime_open_process(pid_t pid, int64_t start_time);

/* runtime_memory.c: what must not be on a disk. */
struct fl_str fl_runtime_memory_root(struct fl_str tag, struct fl_arena *arena);
/* The container's directory there, whether it exists or not. */
struct fl_str fl_runtime_memory_dir(const struct fl_runtime *runtime, struct fl_str id,
                                    struct fl_arena *arena);
/* Makes it and writes the configuration and the log driver's options that are secret. */
int fl_runtime_memory_make(const struct fl_runtime *runtime, struct fl_str id, struct fl_str config,
                           const struct fl_launch *launch, struct fl_err *err);
/* Where config.json really is, and what is made of it may be. */
struct fl_str fl_runtime_config_dir(const struct fl_runtime *runtime, struct fl_str id,
                                    struct fl_arena *arena);
/* The container will not be started again. */
void fl_runtime_memory_clear(const struct fl_runtime *runtime, struct fl_str id);
void fl_runtime_memory_remove(const struct fl_runtime *runtime, struct fl_str id);

/* runtime_hold.c: namespaces that a task's containers share. */
struct fl_runtime_hold {
    int lock_fd; /* held shared; while anybody holds it, the namespaces live. -1: none needed */
    pid_t holder_pid; /* has the shared memory, and the IPC namespace if that is shared */
    pid_t init_pid;   /* process 1 of the shared pid namespace, or the holder again */
    struct fl_str shm;
};
/* Finds the task's holder or starts one; nothing where the task shares nothing. The caller closes
 * lock_fd once the shim has it, or gives it to fl_runtime_keep_hold. */
int fl_runtime_hold(struct fl_runtime *runtime, const struct fl_launch *launch,
                    struct fl_arena *arena, struct fl_runtime_hold *ret_hold, struct fl_err *err);
/* Keeps the namespaces until fl_runtime_let_go, also while the container is between two runs: what
 * is in its shared memory stays. The descriptor is taken over. */
void fl_runtime_keep_hold(struct fl_runtime *runtime, struct fl_str container_id, int lock_fd);
/* Removes what the holder of a task that is over has left. */
void fl_runtime_hold_remove(struct fl_runtime *runtime, struct fl_str task_id,
                            struct fl_arena *arena);

/* runtime_launch.c */
/* A sealed copy of a program in memory, its descriptor at least 10; -errno. */
int fl_runtime_seal_program(const char *path);
/* Watches the container's directory and starts its shim, as the orders in it say. lock_fd: -1, or
 * at least 10. */
int fl_runtime_start(struct fl_runtime *runtime, struct fl_str id, struct fl_str dir, int netns_fd,
                     int lock_fd, struct fl_err *err);
int fl_runtime_spawn_shim(struct fl_runtime *runtime, struct fl_str dir, int netns_fd, int lock_fd,
                          pid_t *ret_pid);

/* runtime_launcher.c: a process that has the runtime loaded, of which shims are copies. */
/* Starts it; without it (another runtime, one that is linked statically) shims are spawned. */
void fl_runtime_launcher_open(struct fl_runtime *runtime);
void fl_runtime_launcher_close(struct fl_runtime *runtime);
/* Asks it for the container's shim; 0 (its pidfd is watched when the answer comes), or -errno when
 * it does not take the order: nothing was begun. */
int fl_runtime_launcher_ask(struct fl_runtime *runtime, struct fl_runtime_container *container,
                            struct fl_str dir, int netns_fd, int lock_fd);
