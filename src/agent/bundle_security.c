/* Capabilities by name, Docker's rules of adding and dropping them, security options. Pure. */
#include "agent/bundle_security.h"

#include <ctype.h>
#include <errno.h>

enum { NAME_MAX_BYTES = 40 };

const char *const fl_bundle_default_caps[FL_BUNDLE_DEFAULT_CAPS] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

/* By number, as in linux/capability.h. */
const char *const fl_bundle_all_caps[FL_BUNDLE_CAP_COUNT] = {"CAP_CHOWN",
                                                             "CAP_DAC_OVERRIDE",
                                                             "CAP_DAC_READ_SEARCH",
                                                             "CAP_FOWNER",
                                                             "CAP_FSETID",
                                                             "CAP_KILL",
                                                             "CAP_SETGID",
                                                             "CAP_SETUID",
                                                             "CAP_SETPCAP",
                                                             "CAP_LINUX_IMMUTABLE",
                                                             "CAP_NET_BIND_SERVICE",
                                                             "CAP_NET_BROADCAST",
                                                             "CAP_NET_ADMIN",
                                                             "CAP_NET_RAW",
                                                             "CAP_IPC_LOCK",
                                                             "CAP_IPC_OWNER",
                                                             "CAP_SYS_MODULE",
                                                             "CAP_SYS_RAWIO",
                                                             "CAP_SYS_CHROOT",
                                                             "CAP_SYS_PTRACE",
                                                             "CAP_SYS_PACCT",
                                                             "CAP_SYS_ADMIN",
                                                             "CAP_SYS_BOOT",
                                                             "CAP_SYS_NICE",
                                                             "CAP_SYS_RESOURCE",
                                                             "CAP_SYS_TIME",
                                                             "CAP_SYS_TTY_CONFIG",
                                                             "CAP_MKNOD",
                                                             "CAP_LEASE",
                                                             "CAP_AUDIT_WRITE",
                                                             "CAP_AUDIT_CONTROL",
                                                             "CAP_SETFCAP",
                                                             "CAP_MAC_OVERRIDE",
                                                             "CAP_MAC_ADMIN",
                                                             "CAP_SYSLOG",
                                                             "CAP_WAKE_ALARM",
                                                             "CAP_BLOCK_SUSPEND",
                                                             "CAP_AUDIT_READ",
                                                             "CAP_PERFMON",
                                                             "CAP_BPF",
                                                             "CAP_CHECKPOINT_RESTORE"};

/* The number of "SYS_PTRACE" or "cap_sys_ptrace"; -1: unknown. */
static int cap_number(struct fl_str name)
{
    const size_t prefix = strlen("CAP_");
    bool has_prefix =
        name.n > prefix && fl_str_case_eq(fl_str_sub(name, 0, prefix), FL_STR("CAP_"));
    for (int i = 0; i < FL_BUNDLE_CAP_COUNT; i++)
        if (fl_str_case_eq(name, fl_str_of(fl_bundle_all_caps[i] + (has_prefix ? 0 : prefix))))
            return i;
    return -1;
}

static int read_caps(const struct fl_str *names, size_t count, const char *member,
                     uint64_t *ret_bits, bool *ret_all, struct fl_err *err)
{
    *ret_bits = 0;
    *ret_all = false;
    for (size_t i = 0; i < count; i++) {
        int number = cap_number(names[i]);
        if (fl_str_case_eq(names[i], FL_STR("ALL")))
            *ret_all = true;
        else if (number >= 0)
            *ret_bits |= UINT64_C(1) << number;
        else
            return fl_err_set(err, -EINVAL, "invalid %s: unknown capability: \"%.*s\"", member,
                              FL_STR_ARG(fl_str_sub(names[i], 0, NAME_MAX_BYTES)));
    }
    return 0;
}

static int find_caps(const struct fl_container_spec *container, uint64_t *ret_caps,
                     struct fl_err *err)
{
    const struct fl_docker_spec *docker = &container->docker;
    const uint64_t every = (UINT64_C(1) << FL_BUNDLE_CAP_COUNT) - 1;
    uint64_t add, drop;
    bool add_all, drop_all;
    int rc = read_caps(docker->cap_add, docker->cap_add_count, "CapAdd", &add, &add_all, err);
    if (rc == 0)
        rc = read_caps(docker->cap_drop, docker->cap_drop_count, "CapDrop", &drop, &drop_all, err);
    if (rc < 0)
        return rc;
    if (container->privileged)
        *ret_caps = every;
    else if (add_all)
        *ret_caps = drop_all ? 0 : every & ~drop;
    else if (drop_all)
        *ret_caps = add;
    else
        *ret_caps = (FL_BUNDLE_DEFAULT_CAP_BITS & ~drop) | add;
    return 0;
}

/* "name", "name:value" and "name=value" are the same option. */
static struct fl_str option_value(struct fl_str option, struct fl_str *ret_name)
{
    for (size_t i = 0; i < option.n; i++)
        if (option.p[i] == ':' || option.p[i] == '=') {
            *ret_name = fl_str_sub(option, 0, i);
            return fl_str_from(option, i + 1);
        }
    *ret_name = option;
    return FL_STR("");
}

static bool is_profile_name(struct fl_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isgraph((unsigned char)name.p[i]))
            return false;
    return name.n > 0 && name.n < 256;
}

/* The names of an SELinux label's parts in options, and what containers have without them. */
static const struct {
    const char *name;
    const char *usual;
} label_parts[FL_BUNDLE_LABEL_PARTS] = {
    {"user", "system_u"}, {"role", "system_r"}, {"type", "container_t"}, {"level", "s0"}};

struct fl_str fl_bundle_label(const struct fl_bundle_security *security, struct fl_arena *arena)
{
    struct fl_str label = FL_STR("");
    for (size_t i = 0; i < FL_BUNDLE_LABEL_PARTS; i++) {
        struct fl_str part =
            security->label[i].n ? security->label[i] : fl_str_of(label_parts[i].usual);
        label =
            fl_str_printf(arena, "%.*s%s%.*s", FL_STR_ARG(label), i ? ":" : "", FL_STR_ARG(part));
    }
    return label;
}

/* "type:x", "level:s0:c1,c2", or "disable", which is what containers have that ask for nothing. */
static bool take_label(struct fl_str value, struct fl_bundle_security *security)
{
    struct fl_str name;
    if (fl_str_is(value, "disable")) {
        security->has_label = false;
        return true;
    }
    if (!fl_str_split(&value, ':', &name) || !is_profile_name(value))
        return false;
    for (size_t i = 0; i < FL_BUNDLE_LABEL_PARTS; i++) {
        bool is_level = i + 1 == FL_BUNDLE_LABEL_PARTS;
        if (!fl_str_is(name, label_parts[i].name) || (!is_level && fl_str_index(value, ':') >= 0))
            continue;
        security->label[i] = value;
        security->has_label = true;
        return true;
    }
    return false;
}

static int take_option(struct fl_str option, struct fl_bundle_security *security,
                       struct fl_err *err)
{
    struct fl_str name;
    struct fl_str value = option_value(option, &name);
    if (fl_str_is(name, "no-new-privileges") &&
        (value.n == 0 || fl_str_is(value, "true") || fl_str_is(value, "false")))
        security->no_new_privileges = !fl_str_is(value, "false");
    else if (fl_str_is(name, "seccomp") && fl_str_is(value, "unconfined"))
        security->no_seccomp = true;
    else if (fl_str_is(name, "apparmor") && is_profile_name(value))
        security->apparmor = value;
    else if (!fl_str_is(name, "label") || !take_label(value, security))
        return fl_err_set(err, -EINVAL, "the security option '%.*s' is not supported",
                          FL_STR_ARG(fl_str_sub(option, 0, NAME_MAX_BYTES)));
    return 0;
}

int fl_bundle_security(const struct fl_container_spec *container,
                       struct fl_bundle_security *ret_security, struct fl_err *err)
{
    struct fl_bundle_security security = {.no_seccomp = container->privileged};
    int rc = find_caps(container, &security.caps, err);
    for (size_t i = 0; rc == 0 && i < container->docker.security_option_count; i++)
        rc = take_option(container->docker.security_options[i], &security, err);
    if (rc == 0)
        *ret_security = security;
    return rc;
}
