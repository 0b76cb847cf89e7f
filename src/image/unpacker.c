/* The caller's side of fairlead-unpack. What comes back is as foreign as the archive: capped,
 * cleaned, and paths are followed only beneath the directory. */
#include "image/unpacker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { REPORT_BYTES = 16 << 20, COMPLAINT_BYTES = 4096, COMPLAINT_SHOWN = 400 };

static int sealed_memory(const char *name, off_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
        int rc = -errno;
        (void)close(fd);
        return rc;
    }
    return fd;
}

int fl_unpack_channels_open(struct fl_unpack_channels *ret_channels, struct fl_err *err)
{
    int report = sealed_memory("unpack-report", REPORT_BYTES);
    if (report < 0)
        return fl_err_errno(err, report, "cannot make a memory file");
    int complaint = sealed_memory("unpack-complaint", COMPLAINT_BYTES);
    if (complaint < 0) {
        (void)close(report);
        return fl_err_errno(err, complaint, "cannot make a memory file");
    }
    *ret_channels = (struct fl_unpack_channels){report, complaint};
    return 0;
}

void fl_unpack_channels_close(struct fl_unpack_channels *channels)
{
    fl_cleanup_fd(&channels->report_fd);
    fl_cleanup_fd(&channels->complaint_fd);
    *channels = (struct fl_unpack_channels){-1, -1};
}

struct fl_str fl_unpack_complaint(const struct fl_unpack_channels *channels, struct fl_arena *arena)
{
    char text[COMPLAINT_SHOWN];
    ssize_t got = pread(channels->complaint_fd, text, sizeof(text), 0);
    size_t n = 0;
    while ((ssize_t)n < got && text[n] && text[n] != '\n') {
        if (text[n] < ' ' || text[n] > '~')
            text[n] = '?';
        n++;
    }
    if (n == 0)
        return FL_STR("the unpacking program died");
    return fl_str_dup(arena, (struct fl_str){text, n});
}

static int mark(int dir_fd, const char *path)
{
    const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                                 .resolve =
                                     RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    FL_CLEANUP_FD int fd = (int)syscall(SYS_openat2, dir_fd, *path ? path : ".", &how, sizeof(how));
    /* A later entry may have replaced the directory; then nothing needs hiding. */
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    return fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0 ? -errno : 0;
}

int fl_unpack_mark_opaque(const struct fl_unpack_channels *channels, int dir_fd, struct fl_err *err)
{
    int rc = 0;
    off_t end = lseek(channels->report_fd, 0, SEEK_CUR);
    if (end <= 0)
        return end < 0 ? fl_err_errno(err, -errno, "cannot read the report") : 0;
    char *map = mmap(NULL, REPORT_BYTES, PROT_READ, MAP_PRIVATE, channels->report_fd, 0);
    if (map == MAP_FAILED)
        return fl_err_errno(err, -errno, "cannot read the report");
    /* The helper shares the offset: it stands behind what it wrote. */
    struct fl_str rest = {map, FL_MIN((size_t)end, (size_t)REPORT_BYTES - 1)};
    while (rc == 0 && rest.n) {
        size_t n = strnlen(rest.p, rest.n);
        if (n == rest.n)
            break;
        rc = mark(dir_fd, rest.p);
        rest = fl_str_from(rest, n + 1);
    }
    (void)munmap(map, REPORT_BYTES);
    return rc < 0 ? fl_err_errno(err, rc, "cannot mark a directory as opaque") : 0;
}

const char *fl_unpack_program(struct fl_str libexec_dir, struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/fairlead-unpack", FL_STR_ARG(libexec_dir)).p;
}

/* Copies of the descriptors above those that the helper expects, so that putting one in place
 * cannot overwrite another. */
enum { COPY_FROM = 10, CHANNELS = 5 };

static int spawn(char *const *argv, const int fds[CHANNELS], pid_t *ret_pid)
{
    char *env[] = {NULL};
    posix_spawn_file_actions_t actions;
    int copies[CHANNELS];
    int rc = posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < CHANNELS; i++) {
        copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, COPY_FROM);
        if (rc == 0)
            rc = copies[i] < 0 ? errno : posix_spawn_file_actions_adddup2(&actions, copies[i], i);
    }
    if (rc == 0)
        rc = posix_spawn(ret_pid, argv[0], &actions, NULL, argv, env);
    for (int i = 0; i < CHANNELS; i++)
        fl_cleanup_fd(&copies[i]);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBADMSG;
}

static int run_with(char *const *argv, int archive_fd, int dir_fd,
                    const struct fl_unpack_channels *channels, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_FD int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fds[CHANNELS] = {null, channels->report_fd, channels->complaint_fd, archive_fd,
                               dir_fd};
    pid_t pid = 0;
    int rc = spawn(argv, fds, &pid);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot start %s", argv[0]);
    rc = wait_for(pid);
    if (rc < 0) {
        struct fl_str complaint = fl_unpack_complaint(channels, arena);
        return fl_err_set(err, rc, "%.*s", FL_STR_ARG(complaint));
    }
    return 0;
}

/* mode is the helper's; diff_id may be NULL. */
static int run(struct fl_str libexec_dir, const char *mode, const struct fl_digest *diff_id,
               int archive_fd, int dir_fd, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_unpack_channels channels;
    char *const argv[] = {
        fl_arena_memdup(arena, fl_unpack_program(libexec_dir, arena),
                        strlen(fl_unpack_program(libexec_dir, arena))),
        fl_arena_memdup(arena, mode, strlen(mode)),
        diff_id ? fl_arena_memdup(arena, "--diff-id", 9) : NULL,
        diff_id ? fl_arena_memdup(arena, diff_id->hex, 64) : NULL,
        NULL,
    };
    int rc = fl_unpack_channels_open(&channels, err);
    if (rc < 0)
        return rc;
    rc = run_with(argv, archive_fd, dir_fd, &channels, err);
    fl_unpack_channels_close(&channels);
    return rc;
}

int fl_unpack_archive(struct fl_str libexec_dir, int archive_fd, int dir_fd, struct fl_err *err)
{
    return run(libexec_dir, "archive", NULL, archive_fd, dir_fd, err);
}

int fl_unpack_check(struct fl_str libexec_dir, int archive_fd, int dir_fd,
                    const struct fl_digest *diff_id, struct fl_err *err)
{
    return run(libexec_dir, "check", diff_id, archive_fd, dir_fd, err);
}
