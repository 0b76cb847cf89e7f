/* Leftovers: see the header. Hierarchies are mounted afresh in a mount namespace of a child's own,
 * because those of the host may be laid out in any way, or not be mounted at all. */
#include "cli/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mounts.h"
#include "cli/daemons.h"

enum {
    FILE_MAX = 16 << 20,
    MAX_DEPTH = 16,
    EMPTY_WAIT_MS = 10 * 1000,
    MAX_SHIMS = 4096,
};

static void pause_ms(unsigned ms)
{
    const struct timespec pause = {.tv_nsec = (long)ms * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
}

/* Kills what is in the group and below, and counts it. */
static size_t kill_group(int parent, const char *name, int depth)
{
    FL_CLEANUP_FD int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    FL_CLEANUP_BUF struct fl_buf procs = FL_BUF_INIT(FILE_MAX);
    if (dir < 0 || depth > MAX_DEPTH)
        return 0;
    size_t killed = 0;
    struct fl_str line;
    (void)fl_fs_read(dir, "cgroup.procs", FILE_MAX, &procs);
    struct fl_str rest = fl_buf_str(&procs);
    while (fl_str_split(&rest, '\n', &line)) {
        uint64_t pid;
        if (!fl_str_to_u64(line, &pid) || pid == 0)
            continue;
        (void)kill((pid_t)pid, SIGKILL);
        killed++;
    }
    DIR *list = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
    for (struct dirent *entry = list ? readdir(list) : NULL; entry; entry = readdir(list)) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            killed += kill_group(dir, entry->d_name, depth + 1);
    }
    if (list)
        (void)closedir(list);
    return killed;
}

static int remove_group(int parent, const char *name, int depth)
{
    FL_CLEANUP_FD int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? 0 : -errno;
    if (depth > MAX_DEPTH)
        return -ELOOP;
    DIR *list = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
    for (struct dirent *entry = list ? readdir(list) : NULL; entry; entry = readdir(list)) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            (void)remove_group(dir, entry->d_name, depth + 1);
    }
    if (list)
        (void)closedir(list);
    return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Mounts the hierarchy of one line of /proc/self/cgroup ("id:controllers:path") at dir. */
static bool mount_hierarchy(struct fl_str line, const char *dir)
{
    struct fl_str id;
    struct fl_str controllers = {0};
    if (!fl_str_split(&line, ':', &id) || !fl_str_split(&line, ':', &controllers))
        return false;
    char options[512];
    bool named = fl_str_starts(controllers, FL_STR("name="));
    (void)snprintf(options, sizeof(options), "%s%.*s", named ? "none," : "",
                   FL_STR_ARG(controllers));
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (controllers.n == 0)
        return mount("cgroup2", dir, "cgroup2", flags, NULL) == 0;
    return mount("cgroup", dir, "cgroup", flags, options) == 0;
}

static int empty_hierarchy(int dir, const char *tag)
{
    int64_t deadline = fl_clock_mono_ms() + EMPTY_WAIT_MS;
    while (kill_group(dir, tag, 0) > 0 && fl_clock_mono_ms() < deadline)
        pause_ms(2);
    int r = remove_group(dir, tag, 0);
    for (; r == -EBUSY && fl_clock_mono_ms() < deadline; r = remove_group(dir, tag, 0))
        pause_ms(5);
    return r;
}

static int write_in(int dir, const char *name, struct fl_str text)
{
    FL_CLEANUP_FD int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fl_fs_write_all(fd, text.p, text.n);
}

/* Processes that made room for our groups go back, unless another installation's groups are there:
 * these keep the controllers in use. */
static void move_back(int dir)
{
    FL_CLEANUP_BUF struct fl_buf procs = FL_BUF_INIT(FILE_MAX);
    struct fl_str line;
    const char *room = &FL_CGROUP_ROOM[1];
    if (faccessat(dir, room, F_OK, 0) < 0 ||
        write_in(dir, "cgroup.subtree_control", FL_STR("-memory -cpu -pids -cpuset -io")) < 0 ||
        fl_fs_read(dir, &(FL_CGROUP_ROOM "/cgroup.procs")[1], FILE_MAX, &procs) < 0)
        return;
    struct fl_str rest = fl_buf_str(&procs);
    while (fl_str_split(&rest, '\n', &line))
        (void)write_in(dir, "cgroup.procs", line);
    (void)unlinkat(dir, room, AT_REMOVEDIR);
}

/* Child: returns the exit status. */
static int in_own_namespace(const char *tag)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    if (fl_mounts_unshare(NULL) < 0 ||
        fl_fs_read(AT_FDCWD, "/proc/self/cgroup", FILE_MAX, &text) < 0)
        return 1;
    int status = 0;
    struct fl_str rest = fl_buf_str(&text);
    struct fl_str line;
    while (fl_str_split(&rest, '\n', &line)) {
        /* /tmp is hidden for this process alone, and only while it looks. */
        if (line.n == 0 || !mount_hierarchy(line, "/tmp"))
            continue;
        FL_CLEANUP_FD int dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || empty_hierarchy(dir, tag) < 0)
            status = 2;
        else
            move_back(dir);
        (void)umount2("/tmp", MNT_DETACH);
    }
    return status;
}

int fl_leftovers_remove_cgroups(const char *tag, struct fl_err *err)
{
    pid_t child = fork();
    if (child < 0)
        return fl_err_errno(err, -errno, "cannot fork");
    if (child == 0)
        _exit(in_own_namespace(tag));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        return fl_err_set(err, -EBUSY, "the cgroups /%s cannot be emptied and removed", tag);
    return 0;
}

struct shims {
    struct fl_str data_dir;
    int fds[MAX_SHIMS];
    size_t count;
};

/* A shim of this installation has a path of the data directory among its arguments. */
static bool note_shim(void *context, pid_t pid, struct fl_str arguments)
{
    struct shims *shims = context;
    struct fl_str part;
    if (!fl_str_split(&arguments, '\0', &part) || !fl_str_ends(part, FL_STR("/fairlead-shim")))
        return true;
    while (fl_str_split(&arguments, '\0', &part)) {
        bool inside = fl_str_starts(part, shims->data_dir) && part.n > shims->data_dir.n &&
                      part.p[shims->data_dir.n] == '/';
        if (inside && shims->count < MAX_SHIMS) {
            int fd = pidfd_open(pid, 0);
            if (fd >= 0)
                shims->fds[shims->count++] = fd;
            break;
        }
    }
    return shims->count < MAX_SHIMS;
}

void fl_leftovers_end_shims(struct fl_str data_dir, unsigned patience_ms)
{
    static struct shims shims;
    shims = (struct shims){.data_dir = data_dir};
    fl_daemon_each_process(note_shim, &shims);
    int64_t deadline = fl_clock_mono_ms() + patience_ms;
    for (size_t i = 0; i < shims.count; i++) {
        struct pollfd fd = {.fd = shims.fds[i], .events = POLLIN};
        if (poll(&fd, 1, (int)FL_MAX(0, deadline - fl_clock_mono_ms())) == 0) {
            (void)pidfd_send_signal(fd.fd, SIGKILL, NULL, 0);
            (void)poll(&fd, 1, 1000);
        }
        (void)close(fd.fd);
    }
}

int fl_leftovers_check_mounts(struct fl_str data_dir, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    int r = fl_fs_read(AT_FDCWD, "/proc/self/mountinfo", FILE_MAX, &text);
    if (r < 0)
        return fl_err_errno(err, r, "cannot read /proc/self/mountinfo");
    struct fl_str rest = fl_buf_str(&text);
    struct fl_str line;
    while (fl_str_split(&rest, '\n', &line)) {
        struct fl_str field = {0};
        for (int i = 0; i < 5; i++)
            (void)fl_str_split(&line, ' ', &field);
        bool inside =
            fl_str_starts(field, data_dir) && field.n > data_dir.n && field.p[data_dir.n] == '/';
        if (inside)
            return fl_err_set(err, -EBUSY, "%.*s is still mounted: unmount it first",
                              FL_STR_ARG(field));
    }
    return 0;
}
