/* Becoming a process of the container: its cgroups, namespaces, limits, user, capabilities and
 * filter of system calls, in this order, so that each step still has the rights it needs and the
 * command has none that the container's first process had not.
 *
 * While it is half inside, nothing in the container may get hold of it: it cannot be dumped, and so
 * neither traced nor looked into through /proc, and it keeps no descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libexec/exec.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP)

static int join_cgroups(const struct exec_orders *o, const int *fds)
{
    for (size_t i = 0; i < o->cgroup_count; i++)
        if (write(fds[i], "0", 1) != 1)
            return -errno;
    return 0;
}

/* Of the host's /proc, while it can still be seen. */
static int set_oom_score(const struct exec_orders *o)
{
    char text[16];
    if (!o->has_oom)
        return 0;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int n = snprintf(text, sizeof(text), "%d", o->oom_score_adj);
    int rc = fd < 0 || write(fd, text, (size_t)n) != n ? -errno : 0;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int write_attribute(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t n = strlen(text);
    int rc = fd < 0 || write(fd, text, n) != (ssize_t)n ? -errno : 0;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* Asked of the security modules now, granted with the program's start. AppArmor has a file of its
 * own where it is not the only one. */
static int ask_modules(const struct exec_orders *o)
{
    char text[512];
    int rc = o->label ? write_attribute("/proc/self/attr/exec", o->label) : 0;
    if (rc < 0 || !o->profile)
        return rc;
    int n = snprintf(text, sizeof(text), "exec %s", o->profile);
    if (n < 0 || (size_t)n >= sizeof(text))
        return -ENAMETOOLONG;
    rc = write_attribute("/proc/self/attr/apparmor/exec", text);
    return rc == -ENOENT ? write_attribute("/proc/self/attr/exec", text) : rc;
}

static int enter_namespaces(void)
{
    if (setns(FL_EXEC_PIDFD, NAMESPACES) < 0)
        return -errno;
    return close_range(3, ~0U, 0) < 0 ? -errno : 0;
}

/* What leads out of the root has no path from it (CVE-2024-21626). */
static int enter_directory(const char *cwd)
{
    char path[PATH_MAX];
    if (chdir(cwd) < 0)
        return -errno;
    if (syscall(SYS_getcwd, path, sizeof(path)) < 0)
        return -errno;
    return path[0] == '/' ? 0 : -EXDEV;
}

static int set_limits(const struct exec_orders *o)
{
    for (size_t i = 0; i < o->limit_count; i++)
        if (setrlimit((__rlimit_resource_t)o->limits[i].number, &o->limits[i].value) < 0)
            return -errno;
    return 0;
}

/* A keyring of the agent's session is nothing for a container. */
static int leave_keyring(void)
{
    long rc = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
    return rc < 0 && errno != ENOSYS ? -errno : 0;
}

static int drop_bounding(uint64_t keep)
{
    for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(keep & (UINT64_C(1) << cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -errno;
    return 0;
}

static int set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++)
        data[i] = (struct __user_cap_data_struct){
            .effective = (uint32_t)(effective >> (32 * i)),
            .permitted = (uint32_t)(permitted >> (32 * i)),
            .inheritable = (uint32_t)(inheritable >> (32 * i)),
        };
    return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int set_user(const struct exec_orders *o)
{
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(o->group_count, o->groups) < 0 ||
        setresgid(o->gid, o->gid, o->gid) < 0 || setresuid(o->uid, o->uid, o->uid) < 0)
        return -errno;
    /* Changing the user undoes both: that nobody looks in, and that who watches takes us along. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

/* Without no_new_privs a filter needs CAP_SYS_ADMIN, so that is given up after it. */
static int set_filter(const struct exec_orders *o)
{
    struct sock_fprog program = {
        .len = (unsigned short)(o->seccomp_bytes / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(uintptr_t)o->seccomp,
    };
    if (o->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (!o->seccomp)
        return 0;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

static int set_privileges(const struct exec_orders *o)
{
    const uint64_t filtering = UINT64_C(1) << CAP_SYS_ADMIN;
    int rc = set_capabilities(o->permitted | filtering, o->permitted | filtering, o->inheritable);
    if (rc == 0)
        rc = set_filter(o);
    if (rc == 0)
        rc = set_capabilities(o->effective, o->permitted, o->inheritable);
    for (unsigned long cap = 0; rc == 0 && cap < 64; cap++)
        if ((o->ambient & (UINT64_C(1) << cap)) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            rc = -errno;
    return rc;
}

static const char *find_path(char *const *envs)
{
    for (; *envs; envs++)
        if (strncmp(*envs, "PATH=", 5) == 0)
            return *envs + 5;
    return DEFAULT_PATH;
}

/* As execvpe, with the container's PATH and without its shell for scripts that name none. */
static int execute(const struct exec_orders *o)
{
    char path[PATH_MAX];
    int rc = -ENOENT;
    if (strchr(o->args[0], '/')) {
        (void)execve(o->args[0], o->args, o->envs);
        return -errno;
    }
    for (const char *at = find_path(o->envs); at; at = strchr(at, ':')) {
        at += *at == ':';
        int n = snprintf(path, sizeof(path), "%.*s/%s", (int)strcspn(at, ":"), at, o->args[0]);
        if (n < 0 || (size_t)n >= sizeof(path))
            continue;
        (void)execve(path, o->args, o->envs);
        if (errno != ENOENT && errno != ENOTDIR)
            rc = -errno;
    }
    return rc;
}

int exec_become(const struct exec_orders *o, const int *cgroup_fds, const char **ret_what)
{
    int rc;
#define STEP(what, call)                                                                           \
    do {                                                                                           \
        *ret_what = what;                                                                          \
        rc = (call);                                                                               \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
    } while (0)
    STEP("session", setsid() < 0 ? -errno : 0);
    STEP("oom_score_adj", set_oom_score(o));
    STEP("profile", ask_modules(o));
    STEP("cgroup", join_cgroups(o, cgroup_fds));
    STEP("namespaces", enter_namespaces());
    STEP(o->cwd, enter_directory(o->cwd));
    STEP("limits", set_limits(o));
    STEP("keyring", leave_keyring());
    (void)umask(o->umask);
    STEP("capabilities", drop_bounding(o->bounding));
    STEP("user", set_user(o));
    STEP("privileges", set_privileges(o));
    STEP(o->args[0], execute(o));
#undef STEP
    return rc;
}
