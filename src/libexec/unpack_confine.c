/* Confinement: chroot, resource limits, capabilities, system-call filter, in that order.
 *
 * The root directory becomes the one to fill; with CAP_SYS_CHROOT gone and no descriptor of a
 * directory outside left open there is no way back. CAP_SYS_ADMIN is not kept: the one thing that
 * needs it, trusted.overlay.opaque, is left to the caller by report. */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libexec/unpack.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#endif

#ifdef ADDRESS_SANITIZER
/* The sanitizer's leak check wants /proc and ptrace at the end, which the confinement denies. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

enum { CPU_SECONDS_MAX = 3600, OPEN_FILES_MAX = 1024 };
/* zstd windows go up to 128 MiB; the names of a million directories fit beside them. */
#define ADDRESS_SPACE_MAX ((rlim_t)1536 << 20)

static const int allowed_calls[] = {
    SCMP_SYS(read),         SCMP_SYS(pread64),         SCMP_SYS(readv),
    SCMP_SYS(write),        SCMP_SYS(pwrite64),        SCMP_SYS(writev),
    SCMP_SYS(lseek),        SCMP_SYS(close),           SCMP_SYS(openat),
    SCMP_SYS(openat2),      SCMP_SYS(newfstatat),      SCMP_SYS(fstat),
    SCMP_SYS(statx),        SCMP_SYS(mkdirat),         SCMP_SYS(mknodat),
    SCMP_SYS(symlinkat),    SCMP_SYS(linkat),          SCMP_SYS(unlinkat),
    SCMP_SYS(readlinkat),   SCMP_SYS(fchdir),          SCMP_SYS(fchown),
    SCMP_SYS(fchownat),     SCMP_SYS(fchmod),          SCMP_SYS(fchmodat),
    SCMP_SYS(utimensat),    SCMP_SYS(lsetxattr),       SCMP_SYS(fsetxattr),
    SCMP_SYS(ftruncate),    SCMP_SYS(getdents64),      SCMP_SYS(fcntl),
    SCMP_SYS(mmap),         SCMP_SYS(munmap),          SCMP_SYS(mremap),
    SCMP_SYS(mprotect),     SCMP_SYS(madvise),         SCMP_SYS(brk),
    SCMP_SYS(futex),        SCMP_SYS(getrandom),       SCMP_SYS(clock_gettime),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),  SCMP_SYS(rt_sigreturn),
    SCMP_SYS(getpid),       SCMP_SYS(gettid),          SCMP_SYS(tgkill),
    SCMP_SYS(exit),         SCMP_SYS(exit_group),      SCMP_SYS(restart_syscall),
    SCMP_SYS(renameat),     SCMP_SYS(rt_sigtimedwait),
};

static int enter_directory(struct fl_err *err)
{
    /* Best effort: the chroot and the filter hold without these too. */
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) == 0)
        (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (fchdir(FL_UNPACK_DIR_FD) < 0 || chroot(".") < 0 || chdir("/") < 0)
        return fl_err_errno(err, -errno, "cannot enter the directory to fill");
    if (syscall(SYS_close_range, FL_UNPACK_DIR_FD, ~0U, 0) < 0)
        return fl_err_errno(err, -errno, "cannot close descriptors");
    return 0;
}

static int limit(int resource, rlim_t value)
{
    const struct rlimit bound = {value, value};
    return setrlimit((__rlimit_resource_t)resource, &bound) < 0 ? -errno : 0;
}

static int limit_resources(uint64_t file_bytes_max, struct fl_err *err)
{
    /* Beyond the largest file write fails with EFBIG, instead of a signal. */
    (void)signal(SIGXFSZ, SIG_IGN);
    int rc = limit(RLIMIT_FSIZE, file_bytes_max);
    if (rc == 0)
        rc = limit(RLIMIT_NOFILE, OPEN_FILES_MAX);
#ifndef ADDRESS_SANITIZER
    if (rc == 0)
        rc = limit(RLIMIT_AS, ADDRESS_SPACE_MAX);
#endif
    if (rc == 0)
        rc = limit(RLIMIT_CPU, CPU_SECONDS_MAX);
    if (rc == 0)
        rc = limit(RLIMIT_CORE, 0);
    return rc < 0 ? fl_err_errno(err, rc, "cannot limit resources") : 0;
}

static uint64_t bit(int capability)
{
    return (uint64_t)1 << capability;
}

static int drop_capabilities(bool owners, struct fl_err *err)
{
    uint64_t keep = owners ? bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER) |
                                 bit(CAP_FSETID) | bit(CAP_MKNOD) | bit(CAP_SETFCAP)
                           : 0;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
        {.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)},
    };
    for (int i = 0; i <= 63 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
            return fl_err_errno(err, -errno, "cannot drop a capability");
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, data) < 0)
        return fl_err_errno(err, -errno, "cannot drop capabilities");
    return 0;
}

static int filter_calls(struct fl_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = filter ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < FL_ARRAY_SIZE(allowed_calls); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc < 0 ? fl_err_errno(err, rc, "cannot filter system calls") : 0;
}

int fl_confine(bool owners, uint64_t file_bytes_max, struct fl_err *err)
{
    (void)umask(0);
    int rc = enter_directory(err);
    if (rc == 0)
        rc = limit_resources(file_bytes_max, err);
    if (rc == 0)
        rc = drop_capabilities(owners, err);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        rc = fl_err_errno(err, -errno, "cannot give up new privileges");
    if (rc == 0)
        rc = filter_calls(err);
    return rc;
}
