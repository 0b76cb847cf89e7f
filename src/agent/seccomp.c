/* Resolving and compiling the seccomp profile of containers-common's format. */
#include "agent/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fs.h"
#include "wire/json.h"

enum { PROFILE_MAX = 1024 * 1024, PROGRAM_MAX = 32 * 4096 * 8, ARGS_MAX = 6 };

struct named {
    const char *name;
    uint32_t value;
};

static const struct named actions[] = {
    {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
    {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
    {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
    {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
    {"SCMP_ACT_LOG", SCMP_ACT_LOG},
    {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
    {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
};

static const struct named operators[] = {
    {"SCMP_CMP_NE", SCMP_CMP_NE},
    {"SCMP_CMP_LT", SCMP_CMP_LT},
    {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ},
    {"SCMP_CMP_GE", SCMP_CMP_GE},
    {"SCMP_CMP_GT", SCMP_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

static const struct named arches[] = {
    {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},   {"SCMP_ARCH_X86", SCMP_ARCH_X86},
    {"SCMP_ARCH_X32", SCMP_ARCH_X32},         {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
    {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},         {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
    {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}, {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    {"SCMP_ARCH_S390", SCMP_ARCH_S390},
};

/* Go's names, which includes and excludes use, beside libseccomp's. */
static const struct {
    const char *go;
    const char *scmp;
    const char *machine; /* uname's */
} machines[] = {
    {"amd64", "SCMP_ARCH_X86_64", "x86_64"},     {"arm64", "SCMP_ARCH_AARCH64", "aarch64"},
    {"ppc64le", "SCMP_ARCH_PPC64LE", "ppc64le"}, {"riscv64", "SCMP_ARCH_RISCV64", "riscv64"},
    {"s390x", "SCMP_ARCH_S390X", "s390x"},
};

static bool find_named(const struct named *table, size_t count, const json_t *name,
                       uint32_t *ret_value)
{
    const char *text = json_string_value(name);
    for (size_t i = 0; text && i < count; i++)
        if (strcmp(table[i].name, text) == 0) {
            *ret_value = table[i].value;
            return true;
        }
    return false;
}

static bool host_has_cap(const struct fl_seccomp_host *host, const char *cap)
{
    for (size_t i = 0; i < host->cap_count; i++)
        if (strcmp(host->caps[i], cap) == 0)
            return true;
    return false;
}

static bool lists_arch(const json_t *list, const struct fl_seccomp_host *host)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (json_is_string(item) && strcmp(json_string_value(item), host->arch) == 0)
            return true;
    return false;
}

/* Does the kernel reach "4.8"? Without a readable number the rule does not apply. */
static bool reaches_kernel(const json_t *wanted, const struct fl_seccomp_host *host)
{
    int64_t major;
    int64_t minor;
    struct fl_str text = fl_json_str(wanted);
    struct fl_str head;
    if (!fl_str_split(&text, '.', &head) || !fl_str_to_i64(head, &major) ||
        !fl_str_to_i64(text, &minor))
        return false;
    return host->kernel_major > major ||
           (host->kernel_major == major && host->kernel_minor >= minor);
}

/* Included needs every capability; excluded is who has any. */
static bool applies(const json_t *rule, const struct fl_seccomp_host *host)
{
    const json_t *in = json_object_get(rule, "includes");
    const json_t *ex = json_object_get(rule, "excludes");
    const json_t *in_arches = json_object_get(in, "arches");
    const json_t *in_kernel = json_object_get(in, "minKernel");
    const json_t *ex_kernel = json_object_get(ex, "minKernel");
    size_t i;
    json_t *item;
    if (json_array_size(in_arches) > 0 && !lists_arch(in_arches, host))
        return false;
    if (lists_arch(json_object_get(ex, "arches"), host))
        return false;
    json_array_foreach (json_object_get(in, "caps"), i, item)
        if (!json_is_string(item) || !host_has_cap(host, json_string_value(item)))
            return false;
    json_array_foreach (json_object_get(ex, "caps"), i, item)
        if (json_is_string(item) && host_has_cap(host, json_string_value(item)))
            return false;
    if (in_kernel && !reaches_kernel(in_kernel, host))
        return false;
    return !(ex_kernel && reaches_kernel(ex_kernel, host));
}

static void copy_member(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value && !json_is_null(value))
        (void)json_object_set(to, key, value);
}

static json_t *resolve_rule(const json_t *rule)
{
    json_t *to = json_object();
    copy_member(to, rule, "names");
    copy_member(to, rule, "action");
    copy_member(to, rule, "errnoRet");
    if (json_array_size(json_object_get(rule, "args")) > 0)
        copy_member(to, rule, "args");
    return to;
}

/* The native architecture and those whose programs run on it too. */
static json_t *resolve_arches(const json_t *profile, const struct fl_seccomp_host *host)
{
    json_t *list = json_array();
    size_t i;
    size_t j;
    json_t *map;
    json_t *sub;
    const char *native = NULL;
    for (i = 0; i < FL_ARRAY_SIZE(machines); i++)
        if (strcmp(machines[i].go, host->arch) == 0)
            native = machines[i].scmp;
    if (!native)
        return list;
    (void)json_array_append_new(list, json_string(native));
    json_array_foreach (json_object_get(profile, "archMap"), i, map) {
        if (!fl_str_is(fl_json_str(json_object_get(map, "architecture")), native))
            continue;
        json_array_foreach (json_object_get(map, "subArchitectures"), j, sub)
            (void)json_array_append(list, sub);
    }
    return list;
}

json_t *fl_seccomp_resolve(const json_t *profile, const struct fl_seccomp_host *host,
                           struct fl_err *err)
{
    const json_t *rules = json_object_get(profile, "syscalls");
    size_t i;
    json_t *rule;
    if (!json_is_string(json_object_get(profile, "defaultAction")) || !json_is_array(rules)) {
        (void)fl_err_set(err, -EINVAL, "the seccomp profile has no defaultAction or no syscalls");
        return NULL;
    }
    json_t *oci = json_object();
    json_t *resolved = json_array();
    copy_member(oci, profile, "defaultAction");
    copy_member(oci, profile, "defaultErrnoRet");
    (void)json_object_set_new(oci, "architectures", resolve_arches(profile, host));
    json_array_foreach (rules, i, rule)
        if (applies(rule, host))
            (void)json_array_append_new(resolved, resolve_rule(rule));
    (void)json_object_set_new(oci, "syscalls", resolved);
    return oci;
}

/* SCMP_ACT_ERRNO carries a number; EPERM where the profile names none. */
static bool read_action(const json_t *name, const json_t *errno_ret, uint32_t *ret_action)
{
    if (!find_named(actions, FL_ARRAY_SIZE(actions), name, ret_action))
        return false;
    if (*ret_action == SCMP_ACT_ERRNO(0))
        *ret_action = SCMP_ACT_ERRNO(
            (uint32_t)(json_is_integer(errno_ret) ? json_integer_value(errno_ret) : EPERM) &
            0xffffU);
    return true;
}

static bool read_args(const json_t *args, struct scmp_arg_cmp *ret_args, unsigned *ret_count)
{
    size_t i;
    json_t *arg;
    if (json_array_size(args) > ARGS_MAX)
        return false;
    json_array_foreach (args, i, arg) {
        uint32_t op;
        json_int_t index = json_integer_value(json_object_get(arg, "index"));
        if (!find_named(operators, FL_ARRAY_SIZE(operators), json_object_get(arg, "op"), &op) ||
            index < 0 || index >= ARGS_MAX)
            return false;
        ret_args[i] = (struct scmp_arg_cmp){
            .arg = (unsigned)index,
            .op = (enum scmp_compare)op,
            .datum_a = (scmp_datum_t)json_integer_value(json_object_get(arg, "value")),
            .datum_b = (scmp_datum_t)json_integer_value(json_object_get(arg, "valueTwo")),
        };
    }
    *ret_count = (unsigned)json_array_size(args);
    return true;
}

static bool repeats_index(const struct scmp_arg_cmp *args, unsigned count)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < count; i++) {
        if (seen & (1U << args[i].arg))
            return true;
        seen |= 1U << args[i].arg;
    }
    return false;
}

/* Conditions on one argument that exclude each other are alternatives: one rule for each. */
static int add_rule(scmp_filter_ctx ctx, uint32_t action, int number,
                    const struct scmp_arg_cmp *args, unsigned count)
{
    int rc = 0;
    if (!repeats_index(args, count))
        return seccomp_rule_add_array(ctx, action, number, count, args);
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add_array(ctx, action, number, 1, &args[i]);
    return rc;
}

static int add_names(scmp_filter_ctx ctx, const json_t *rule, uint32_t default_action)
{
    struct scmp_arg_cmp args[ARGS_MAX];
    unsigned count;
    uint32_t action;
    size_t i;
    json_t *name;
    if (!read_action(json_object_get(rule, "action"), json_object_get(rule, "errnoRet"), &action) ||
        !read_args(json_object_get(rule, "args"), args, &count))
        return -EINVAL;
    if (action == default_action)
        return 0;
    json_array_foreach (json_object_get(rule, "names"), i, name) {
        int number = seccomp_syscall_resolve_name(json_string_value(name));
        if (number == __NR_SCMP_ERROR) /* newer than this libseccomp: the default action */
            continue;
        int rc = add_rule(ctx, action, number, args, count);
        if (rc < 0 && rc != -EDOM) /* EDOM: not on this architecture */
            return rc;
    }
    return 0;
}

static int fill_filter(scmp_filter_ctx ctx, const json_t *oci, uint32_t default_action)
{
    size_t i;
    json_t *item;
    uint32_t arch;
    json_array_foreach (json_object_get(oci, "architectures"), i, item) {
        if (!find_named(arches, FL_ARRAY_SIZE(arches), item, &arch))
            continue;
        int rc = seccomp_arch_add(ctx, arch);
        if (rc < 0 && rc != -EEXIST)
            return rc;
    }
    json_array_foreach (json_object_get(oci, "syscalls"), i, item) {
        int rc = add_names(ctx, item, default_action);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int export_program(scmp_filter_ctx ctx, struct fl_buf *ret_program)
{
    FL_CLEANUP_FD int fd = memfd_create("seccomp", MFD_CLOEXEC);
    char chunk[4096];
    ssize_t n;
    if (fd < 0)
        return -errno;
    int rc = seccomp_export_bpf(ctx, fd);
    if (rc < 0)
        return rc;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        fl_buf_add(ret_program, chunk, (size_t)n);
    if (n < 0)
        return -errno;
    return ret_program->overflow ? -EFBIG : 0;
}

int fl_seccomp_compile(const json_t *oci, struct fl_buf *ret_program, struct fl_err *err)
{
    uint32_t default_action;
    if (!read_action(json_object_get(oci, "defaultAction"), json_object_get(oci, "defaultErrnoRet"),
                     &default_action))
        return fl_err_set(err, -EINVAL, "the seccomp profile's defaultAction is unknown");
    scmp_filter_ctx ctx = seccomp_init(default_action);
    if (!ctx)
        return fl_err_set(err, -ENOMEM, "libseccomp refuses to start a filter");
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    int rc = fill_filter(ctx, oci, default_action);
    if (rc == 0)
        rc = export_program(ctx, ret_program);
    seccomp_release(ctx);
    return rc < 0 ? fl_err_errno(err, rc, "the seccomp profile does not compile") : 0;
}

static void add_base64(struct fl_buf *buf, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);
        fl_buf_add_char(buf, digits[v >> 18]);
        fl_buf_add_char(buf, digits[v >> 12 & 63]);
        fl_buf_add_char(buf, i + 1 < n ? digits[v >> 6 & 63] : '=');
        fl_buf_add_char(buf, i + 2 < n ? digits[v & 63] : '=');
    }
}

static void look_at_host(struct fl_seccomp_host *host, struct utsname *name)
{
    host->arch = "unknown";
    if (uname(name) < 0)
        return;
    (void)sscanf(name->release, "%d.%d", &host->kernel_major, &host->kernel_minor);
    for (size_t i = 0; i < FL_ARRAY_SIZE(machines); i++)
        if (strcmp(machines[i].machine, name->machine) == 0)
            host->arch = machines[i].go;
}

static int finish_load(json_t *oci, struct fl_seccomp *ret_seccomp, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf program = FL_BUF_INIT(PROGRAM_MAX);
    struct fl_buf base64 = FL_BUF_INIT(2 * PROGRAM_MAX);
    int rc = fl_seccomp_compile(oci, &program, err);
    if (rc < 0)
        return rc;
    char *json = json_dumps(oci, JSON_COMPACT);
    add_base64(&base64, (const uint8_t *)program.p, program.n);
    ret_seccomp->json = fl_str_of(json);
    ret_seccomp->base64 = fl_buf_str(&base64);
    return 0;
}

int fl_seccomp_load(const char *path, const char *const *caps, size_t cap_count,
                    struct fl_seccomp *ret_seccomp, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(PROFILE_MAX);
    struct fl_seccomp_host host = {.caps = caps, .cap_count = cap_count};
    struct utsname name;
    int rc = fl_fs_read(AT_FDCWD, path, PROFILE_MAX, &text);
    if (rc < 0)
        return fl_err_errno(err, rc,
                            "cannot read the seccomp profile %s (it comes with the package "
                            "golang-github-containers-common)",
                            path);
    FL_CLEANUP_JSON json_t *profile = fl_json_parse(fl_buf_str(&text), err);
    if (!profile)
        return -EINVAL;
    look_at_host(&host, &name);
    FL_CLEANUP_JSON json_t *oci = fl_seccomp_resolve(profile, &host, err);
    return oci ? finish_load(oci, ret_seccomp, err) : -EINVAL;
}

void fl_seccomp_free(struct fl_seccomp *seccomp)
{
    free((char *)(uintptr_t)seccomp->json.p);
    free((char *)(uintptr_t)seccomp->base64.p);
    *seccomp = (struct fl_seccomp){.json = {NULL, 0}};
}
