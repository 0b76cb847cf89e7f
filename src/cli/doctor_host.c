/* The host under the doctor's eyes: kernel, control groups, KVM, names, clock, disk. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/kvm_probe.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/doctor.h"
#include "net/tls.h"

enum {
    FILE_MAX = 1 << 20,
    MODULES_MAX = 8 << 20,
    OLDEST_MAJOR = 5, /* openat2, pidfd_open, close_range, MOVE_MOUNT: all there since 5.10 */
    OLDEST_MINOR = 10,
    LEAST_FREE_MIB = 1024,
    LEAST_FREE_PERCENT = 5,
};

struct fl_finding fl_doctor_kernel(const struct fl_options *options)
{
    struct utsname host;
    unsigned major = 0, minor = 0;
    if (uname(&host) < 0 || sscanf(host.release, "%5u.%5u", &major, &minor) != 2)
        return (struct fl_finding){FL_NOTE, FL_STR("the kernel does not tell its version")};
    bool old = major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR);
    if (old)
        return (struct fl_finding){
            FL_WRONG, fl_str_printf(options->arena, "Linux %s is too old: boot %d.%d or newer",
                                    host.release, OLDEST_MAJOR, OLDEST_MINOR)};
    return (struct fl_finding){FL_FINE, fl_str_printf(options->arena, "Linux %s", host.release)};
}

/* Whether the first mount would load it: a fresh host shows no file system that nobody used yet. */
static bool has_overlay_module(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MODULES_MAX);
    struct utsname host;
    char path[sizeof(host.release) + 64];
    if (uname(&host) < 0)
        return false;
    (void)snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", host.release);
    return fl_fs_read(AT_FDCWD, path, MODULES_MAX, &text) == 0 &&
           fl_str_contains(fl_buf_str(&text), FL_STR("/overlay.ko"));
}

struct fl_finding fl_doctor_overlay(const struct fl_options *options)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    (void)options;
    if (fl_fs_read(AT_FDCWD, "/proc/filesystems", FILE_MAX, &text) == 0 &&
        fl_str_contains(fl_buf_str(&text), FL_STR("\toverlay\n")))
        return (struct fl_finding){FL_FINE, FL_STR("the kernel has overlayfs")};
    if (has_overlay_module())
        return (struct fl_finding){FL_FINE, FL_STR("the kernel has overlayfs, as a module")};
    return (struct fl_finding){FL_WRONG, FL_STR("the kernel shows no overlayfs: modprobe overlay")};
}

struct fl_finding fl_doctor_cgroups(const struct fl_options *options)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    (void)options;
    if (fl_fs_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", FILE_MAX, &text) == 0) {
        if (fl_str_contains(fl_buf_str(&text), FL_STR("memory")))
            return (struct fl_finding){FL_FINE, FL_STR("cgroup v2")};
        return (struct fl_finding){FL_WRONG,
                                   FL_STR("cgroup v2 without the memory controller: boot the "
                                          "kernel with cgroup_enable=memory")};
    }
    bool unified = access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0;
    if (access("/sys/fs/cgroup/memory", F_OK) == 0)
        return (struct fl_finding){FL_FINE,
                                   unified ? FL_STR("cgroup v1, hybrid") : FL_STR("cgroup v1")};
    return (struct fl_finding){FL_NOTE,
                               FL_STR("no cgroups are mounted at /sys/fs/cgroup: the agent "
                                      "mounts its own")};
}

struct fl_finding fl_doctor_kvm(const struct fl_options *options)
{
    (void)options;
    switch (fl_kvm_probe()) {
    case FL_KVM_WORKS:
        return (struct fl_finding){FL_FINE, FL_STR("KVM ran a guest")};
    case FL_KVM_ABSENT:
        return (struct fl_finding){FL_NOTE, FL_STR("no KVM here: virtual machines will be emulated "
                                                   "(load kvm_intel or kvm_amd, or allow nested "
                                                   "virtualization, and run as root)")};
    case FL_KVM_BROKEN:
        return (struct fl_finding){FL_NOTE, FL_STR("/dev/kvm opens, but a tiny guest did not come "
                                                   "to its end within a second: virtual machines "
                                                   "will be emulated (the hypervisor under this "
                                                   "host must allow nested virtualization)")};
    }
    return (struct fl_finding){FL_NOTE, FL_STR("")};
}

/* Some actions put a prefix before the API's host. Nobody is asked: a resolver that is away would
 * keep the doctor waiting. */
struct fl_finding fl_doctor_api_names(const struct fl_options *options)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    (void)options;
    if (fl_fs_read(AT_FDCWD, "/etc/hosts", FILE_MAX, &text) == 0 &&
        fl_str_contains(fl_buf_str(&text), FL_STR("stream-api.fairlead.localhost")))
        return (struct fl_finding){FL_FINE, FL_STR("the API's names are in /etc/hosts")};
    return (struct fl_finding){FL_NOTE,
                               FL_STR("stream-api.fairlead.localhost is not in /etc/hosts, so live "
                                      "tails of logs may find no server: `fairlead up` adds it")};
}

/* Containers with a network of their own reach no server on the host's loopback or by IPv6. */
struct fl_finding fl_doctor_names(const struct fl_options *options)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    (void)options;
    if (fl_fs_read(AT_FDCWD, "/etc/resolv.conf", FILE_MAX, &text) < 0)
        return (struct fl_finding){FL_NOTE, FL_STR("there is no /etc/resolv.conf, so tasks find no "
                                                   "names: write one, or give dnsServers in task "
                                                   "definitions")};
    struct fl_str rest = fl_buf_str(&text), line;
    while (fl_str_split(&rest, '\n', &line)) {
        line = fl_str_trim(line);
        if (!fl_str_starts(line, FL_STR("nameserver")))
            continue;
        if (!fl_str_contains(line, FL_STR(" 127.")) && !fl_str_contains(line, FL_STR(":")))
            return (struct fl_finding){FL_FINE,
                                       FL_STR("containers are given the host's name servers")};
    }
    return (struct fl_finding){FL_FINE, FL_STR("the agent asks the host's name servers for "
                                               "containers, which cannot reach them")};
}

struct fl_finding fl_doctor_clock(const struct fl_options *options)
{
    (void)options;
    struct timex state = {.modes = 0};
    if (adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC))
        return (struct fl_finding){FL_FINE, FL_STR("the clock is synchronized")};
    return (struct fl_finding){FL_NOTE, FL_STR("nothing keeps the clock right, and requests signed "
                                               "more than 5 minutes off are refused: apt-get "
                                               "install chrony")};
}

/* The data directory, or the nearest one above it that exists. */
static const char *existing(const struct fl_options *options)
{
    struct fl_str dir = options->value[FL_OPTION_DATA_DIR];
    while (dir.n > 1 && access(fl_str_z(options->arena, dir), F_OK) < 0)
        dir = fl_str_sub(dir, 0, (size_t)FL_MAX(fl_str_rindex(dir, '/'), (ptrdiff_t)1));
    return fl_str_z(options->arena, dir);
}

/* File systems that cannot hold the upper directory of a container, by their magic numbers. */
static const char *unfit(const char *dir)
{
    struct statfs fs;
    if (statfs(dir, &fs) < 0)
        return NULL;
    switch ((unsigned long)fs.f_type) {
    case OVERLAYFS_SUPER_MAGIC:
        return "overlayfs";
    case NFS_SUPER_MAGIC:
        return "NFS";
    case MSDOS_SUPER_MAGIC:
        return "FAT";
    }
    return NULL;
}

struct fl_finding fl_doctor_disk(const struct fl_options *options)
{
    const char *dir = existing(options), *kind = unfit(dir);
    struct statvfs fs;
    if (kind)
        return (struct fl_finding){
            FL_WRONG, fl_str_printf(options->arena,
                                    "%s is on %s, where containers cannot have their files: choose "
                                    "a --data-dir on ext4 or xfs",
                                    dir, kind)};
    if (statvfs(dir, &fs) < 0 || fs.f_blocks == 0)
        return (struct fl_finding){FL_NOTE,
                                   fl_str_printf(options->arena, "%s does not tell its size", dir)};
    uint64_t free_mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    uint64_t percent = (uint64_t)fs.f_bavail * 100 / fs.f_blocks;
    if (free_mib < LEAST_FREE_MIB || percent < LEAST_FREE_PERCENT)
        return (struct fl_finding){
            FL_WRONG,
            fl_str_printf(options->arena,
                          "%llu MiB (%llu %%) are free under %s: make room, or choose "
                          "another --data-dir",
                          (unsigned long long)free_mib, (unsigned long long)percent, dir)};
    return (struct fl_finding){FL_FINE, fl_str_printf(options->arena, "%llu MiB are free under %s",
                                                      (unsigned long long)free_mib, dir)};
}

/* The server renews it as long as it runs; hosts that are away meanwhile do not hear of it. */
struct fl_finding fl_doctor_certificate(const struct fl_options *options)
{
    enum { DAY_MS = 24 * 60 * 60 * 1000 };
    FL_CLEANUP_BUF struct fl_buf pem = FL_BUF_INIT(FL_TLS_MAX_PEM);
    struct fl_tls_certificate certificate;
    const char *path =
        fl_str_printf(options->arena, "%s/keys/tls.pem", options->value[FL_OPTION_DATA_DIR].p).p;
    if (fl_fs_read(AT_FDCWD, path, FL_TLS_MAX_PEM, &pem) < 0)
        return (struct fl_finding){FL_FINE, FL_STR("no certificate: other hosts have not joined")};
    if (fl_tls_read_certificate(fl_buf_str(&pem), &certificate, NULL) < 0)
        return (struct fl_finding){FL_WRONG,
                                   fl_str_printf(options->arena,
                                                 "%s holds no certificate: restore it from a "
                                                 "backup, or no other host gets in",
                                                 path)};
    int64_t left_ms = certificate.until_ms - fl_clock_wall_ms();
    int64_t life_ms = certificate.until_ms - certificate.from_ms;
    if (left_ms > life_ms / 12)
        return (struct fl_finding){
            FL_FINE, fl_str_printf(options->arena, "the server's certificate is good for %lld days",
                                   (long long)(left_ms / DAY_MS))};
    return (struct fl_finding){
        FL_WRONG,
        fl_str_printf(options->arena,
                      "the server's certificate %s and was not renewed in time: let the server "
                      "run, and give hosts that cannot connect afterwards a new token",
                      left_ms < 0 ? "has ended" : "ends soon")};
}
