/* The C library's calls on files, as the code under test and SQLite find them in this executable:
 * they reach the kernel, and while a process records they are noted in the trace, or fail as the
 * plan says. Both names of each call are defined, with and without 64. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "disk.h"

enum { MAX_FDS = 1024, MAX_PATH = 512 };

static struct proof_disk *recorded; /* NULL: nothing is recorded */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int fd_nodes[MAX_FDS]; /* node + 1 */
static struct proof_rng salt;

int open64(const char *path, int flags, ...);
int openat64(int dir_fd, const char *path, int flags, ...);

static void lock(void)
{
    (void)pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&mutex);
}

static int node_of(int fd)
{
    return recorded && fd >= 0 && fd < MAX_FDS ? fd_nodes[fd] - 1 : -1;
}

void proof_record_begin(struct proof_disk *disk, uint64_t seed)
{
    disk->calls = disk->injected = disk->undone = 0;
    salt.state = seed;
    recorded = disk;
}

void proof_record_mark(const struct proof_mark *mark)
{
    lock();
    proof_disk_add(recorded, &(struct proof_op){.kind = PROOF_MARK, .mark = *mark});
    recorded->apply(recorded->model, mark);
    unlock();
}

/* Which call it is decides what can go wrong with it. */
enum call { READS, NEEDS_ROOM, OTHER };

/* Counts a call: 0, or the error that it fails with. */
static int count_call(enum call call)
{
    struct proof_plan *plan = &recorded->plan;
    uint32_t number = ++recorded->calls;
    if (plan->fail_at == 0 || number < plan->fail_at || (number > plan->fail_at && !plan->forever))
        return 0;
    if (plan->error == ENOSPC && call != NEEDS_ROOM)
        return 0;
    recorded->injected++;
    return plan->kill ? EIO : plan->error;
}

static int fail(int error)
{
    if (recorded->plan.kill)
        (void)syscall(SYS_kill, getpid(), SIGKILL);
    unlock();
    errno = error;
    return -1;
}

/* Where a path leads: the directory's node and the last name. */
struct place {
    int dir;             /* -1: not beneath the root */
    int node;            /* what the name means, -1: nothing */
    char name[MAX_PATH]; /* empty: the directory itself */
};

static bool beneath_root(const char **path)
{
    size_t n = strlen(recorded->root);
    if (strncmp(*path, recorded->root, n) != 0 || ((*path)[n] != '/' && (*path)[n] != '\0'))
        return false;
    *path += n;
    return true;
}

static struct place locate(int dir_fd, const char *path)
{
    struct place place = {.dir = -1, .node = -1};
    if (!recorded)
        return place;
    int at = path[0] == '/' ? (beneath_root(&path) ? PROOF_ROOT : -1) : node_of(dir_fd);
    while (at >= 0) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (n == 0 || (n == 1 && path[0] == '.' && path[1] == '\0')) {
            place.dir = place.node = at;
            return place;
        }
        if (path[n + strspn(path + n, "/")] == '\0') {
            place.dir = at;
            place.node = proof_disk_find(recorded, at, path, n);
            (void)snprintf(place.name, sizeof(place.name), "%.*s", (int)n, path);
            return place;
        }
        at = proof_disk_find(recorded, at, path, n);
        path += n;
    }
    return place;
}

static void opened(const struct place *place, int fd, int flags)
{
    int node = place->node;
    if (node < 0)
        node = proof_disk_create(recorded, place->dir, place->name, false);
    else if (flags & O_TRUNC)
        proof_disk_add(recorded, &(struct proof_op){.kind = PROOF_TRUNCATE, .node = node});
    if (fd < MAX_FDS)
        fd_nodes[fd] = node + 1;
}

static int do_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    if (!recorded)
        return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    lock();
    struct place place = locate(dir_fd, path);
    int error = place.dir < 0 ? 0 : count_call(flags & O_CREAT ? NEEDS_ROOM : OTHER);
    if (error)
        return fail(error);
    int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    if (fd >= 0 && place.dir >= 0)
        opened(&place, fd, flags);
    unlock();
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(args, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                          \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = mode_of(flags, args);                                                        \
        va_end(args);                                                                              \
        return do_open(AT_FDCWD, path, flags, mode);                                               \
    }
#define DEFINE_OPENAT(name)                                                                        \
    int name(int dir_fd, const char *path, int flags, ...)                                         \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = mode_of(flags, args);                                                        \
        va_end(args);                                                                              \
        return do_open(dir_fd, path, flags, mode);                                                 \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int close(int fd)
{
    if (recorded && fd >= 0 && fd < MAX_FDS) {
        lock();
        fd_nodes[fd] = 0;
        unlock();
    }
    return (int)syscall(SYS_close, fd);
}

static void note_write(int node, uint64_t offset, const void *bytes, size_t n)
{
    proof_disk_add(recorded, &(struct proof_op){.kind = PROOF_WRITE,
                                                .node = node,
                                                .offset = offset,
                                                .n = n,
                                                .bytes = proof_disk_keep(recorded, bytes, n)});
}

static ssize_t do_write(int fd, int node, const void *bytes, size_t n, off64_t offset)
{
    lock();
    int error = count_call(NEEDS_ROOM);
    size_t length = error && n > 1 && recorded->plan.cut_short ? n / 2 : n;
    if (error && length == n)
        return fail(error);
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (written > 0)
        note_write(node, (uint64_t)offset, bytes, (size_t)written);
    if (error && recorded->plan.kill)
        return fail(error);
    unlock();
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
    int node = node_of(fd);
    return node < 0 ? syscall(SYS_pwrite64, fd, bytes, n, offset)
                    : do_write(fd, node, bytes, n, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    return pwrite64(fd, bytes, n, offset);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    int node = node_of(fd);
    if (node < 0)
        return syscall(SYS_write, fd, bytes, n);
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t written = do_write(fd, node, bytes, n, offset);
    if (written > 0)
        (void)lseek64(fd, offset + written, SEEK_SET);
    return written;
}

static int count_read(int fd)
{
    if (node_of(fd) < 0)
        return 0;
    lock();
    int error = count_call(READS);
    if (error)
        return fail(error);
    unlock();
    return 0;
}

ssize_t read(int fd, void *bytes, size_t n)
{
    return count_read(fd) < 0 ? -1 : syscall(SYS_read, fd, bytes, n);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t offset)
{
    return count_read(fd) < 0 ? -1 : syscall(SYS_pread64, fd, bytes, n, offset);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t offset)
{
    return pread64(fd, bytes, n, offset);
}

int ftruncate64(int fd, off64_t size)
{
    int node = node_of(fd);
    if (node < 0)
        return (int)syscall(SYS_ftruncate, fd, size);
    lock();
    int error = count_call(OTHER);
    if (error)
        return fail(error);
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0)
        proof_disk_add(
            recorded,
            &(struct proof_op){.kind = PROOF_TRUNCATE, .node = node, .offset = (uint64_t)size});
    unlock();
    return rc;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

/* No sync reaches the kernel: nobody cuts its power. */
static int do_sync(int fd)
{
    int node = node_of(fd);
    if (node < 0)
        return 0;
    lock();
    bool is_dir = recorded->nodes[node].is_dir;
    int error = count_call(NEEDS_ROOM);
    if (!error && !recorded->plan.drop_syncs)
        proof_disk_add(recorded, &(struct proof_op){.kind = is_dir ? PROOF_SYNC_DIR : PROOF_SYNC,
                                                    .node = node});
    if (error && !is_dir && !recorded->plan.kill)
        proof_disk_add(recorded, &(struct proof_op){.kind = PROOF_SYNC_FAILED, .node = node});
    if (error)
        return fail(error);
    unlock();
    return 0;
}

int fsync(int fd)
{
    return do_sync(fd);
}

int fdatasync(int fd)
{
    return do_sync(fd);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    if (!recorded)
        return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    lock();
    struct place place = locate(dir_fd, path);
    int error = place.dir < 0 ? 0 : count_call(OTHER);
    if (error)
        return fail(error);
    int rc = (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    if (rc == 0 && place.node >= 0)
        proof_disk_unlink(recorded, place.dir, place.name);
    unlock();
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    if (!recorded)
        return (int)syscall(SYS_mkdirat, dir_fd, path, mode);
    lock();
    struct place place = locate(dir_fd, path);
    int error = place.dir < 0 ? 0 : count_call(NEEDS_ROOM);
    if (error)
        return fail(error);
    int rc = (int)syscall(SYS_mkdirat, dir_fd, path, mode);
    if (rc == 0 && place.dir >= 0)
        (void)proof_disk_create(recorded, place.dir, place.name, true);
    unlock();
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (!recorded)
        return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
    lock();
    struct place a = locate(from_fd, from), b = locate(to_fd, to);
    int error = a.dir < 0 ? 0 : count_call(NEEDS_ROOM);
    if (error)
        return fail(error);
    int rc = (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
    if (rc == 0 && a.dir >= 0)
        proof_disk_rename(recorded, a.dir, a.name, b.dir, b.name);
    unlock();
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* Names of temporary files come from here: a trace repeats from its seed. */
ssize_t getrandom(void *bytes, size_t n, unsigned flags)
{
    if (!recorded)
        return syscall(SYS_getrandom, bytes, n, flags);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)proof_random(&salt);
    return (ssize_t)n;
}

/* libuv's waiting, so that a worker can be held. */
static bool gate_closed;
static bool worker_waits; /* under the worker's mutex */
static uv_cond_t *wakened;

void uv_cond_wait(uv_cond_t *cond, uv_mutex_t *its_mutex)
{
    __atomic_store_n(&worker_waits, true, __ATOMIC_SEQ_CST);
    (void)pthread_cond_wait(cond, its_mutex);
    __atomic_store_n(&worker_waits, false, __ATOMIC_SEQ_CST);
}

void uv_cond_signal(uv_cond_t *cond)
{
    if (gate_closed)
        wakened = cond;
    else
        (void)pthread_cond_signal(cond);
}

void proof_gate_close(void)
{
    while (!__atomic_load_n(&worker_waits, __ATOMIC_SEQ_CST))
        (void)sched_yield();
    gate_closed = true;
}

void proof_gate_open(void)
{
    gate_closed = false;
    if (wakened)
        (void)pthread_cond_signal(wakened);
    wakened = NULL;
}
