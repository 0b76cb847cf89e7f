/* Resolving and compiling the seccomp profile of containers-common's format. */
#include "agent/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/seccomp_shrink.h"
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

static bool find_named(const struct named *table, size_t count, const struct fl_json *name,
                       uint32_t *ret_value)
{
    const char *text = fl_json_z(name);
    for (size_t i = 0; text && i < count; i++)
        if (strcmp(table[i].name, text) == 0) {
            *ret_value = table[i].value;
            return true;
        }
    return false;
}

static bool host_has_cap(const struct fl_seccomp_host *host, struct fl_str cap)
{
    for (size_t i = 0; i < host->cap_count; i++)
        if (fl_str_is(cap, host->caps[i]))
            return true;
    return false;
}

static bool lists_arch(const struct fl_json *list, const struct fl_seccomp_host *host)
{
    for (size_t i = 0; i < fl_json_items(list); i++)
        if (fl_str_is(fl_json_text(fl_json_item(list, i)), host->arch))
            return true;
    return false;
}

/* Does the kernel reach "4.8"? Without a readable number the rule does not apply. */
static bool reaches_kernel(const struct fl_json *wanted, const struct fl_seccomp_host *host)
{
    int64_t major;
    int64_t minor;
    struct fl_str text = fl_json_text(wanted);
    struct fl_str head;
    if (!fl_str_split(&text, '.', &head) || !fl_str_to_i64(head, &major) ||
        !fl_str_to_i64(text, &minor))
        return false;
    return host->kernel_major > major ||
           (host->kernel_major == major && host->kernel_minor >= minor);
}

/* Included needs every capability; excluded is who has any. */
static bool applies(const struct fl_json *rule, const struct fl_seccomp_host *host)
{
    const struct fl_json *in = fl_json_get(rule, "includes");
    const struct fl_json *ex = fl_json_get(rule, "excludes");
    const struct fl_json *in_arches = fl_json_get(in, "arches");
    const struct fl_json *in_kernel = fl_json_get(in, "minKernel");
    const struct fl_json *ex_kernel = fl_json_get(ex, "minKernel");
    const struct fl_json *in_caps = fl_json_get(in, "caps"), *ex_caps = fl_json_get(ex, "caps");
    if (fl_json_items(in_arches) > 0 && !lists_arch(in_arches, host))
        return false;
    if (lists_arch(fl_json_get(ex, "arches"), host))
        return false;
    for (size_t i = 0; i < fl_json_items(in_caps); i++)
        if (!host_has_cap(host, fl_json_text(fl_json_item(in_caps, i))))
            return false;
    for (size_t i = 0; i < fl_json_items(ex_caps); i++)
        if (host_has_cap(host, fl_json_text(fl_json_item(ex_caps, i))))
            return false;
    if (in_kernel && !reaches_kernel(in_kernel, host))
        return false;
    return !(ex_kernel && reaches_kernel(ex_kernel, host));
}

static void copy_member(struct fl_json_writer *jw, const struct fl_json *from, const char *key)
{
    const struct fl_json *value = fl_json_get(from, key);
    if (!value || value->kind == FL_JSON_NULL)
        return;
    fl_jw_key(jw, key);
    fl_jw_json(jw, value);
}

/* Docker's set of capabilities lets a container make device nodes. It cannot open what it may not
 * have, but a node of the host's disk has no business in a volume: block devices are not made. */
static const struct {
    const char *name;
    int mode_index;
} node_makers[] = {{"mknod", 1}, {"mknodat", 2}};

static bool makes_nodes(struct fl_str name)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(node_makers); i++)
        if (fl_str_is(name, node_makers[i].name))
            return true;
    return false;
}

static void write_mode(struct fl_json_writer *jw, int index, int64_t kind)
{
    fl_jw_object_begin(jw);
    fl_jw_member_int(jw, "index", index);
    fl_jw_member_int(jw, "value", S_IFMT);
    fl_jw_member_int(jw, "valueTwo", kind);
    fl_jw_member_str(jw, "op", FL_STR("SCMP_CMP_MASKED_EQ"));
    fl_jw_object_end(jw);
}

static void write_node_rule(struct fl_json_writer *jw, size_t maker, const char *action,
                            const int64_t *kinds, size_t count)
{
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "names");
    fl_jw_array_begin(jw);
    fl_jw_str(jw, fl_str_of(node_makers[maker].name));
    fl_jw_array_end(jw);
    fl_jw_member_str(jw, "action", fl_str_of(action));
    if (strcmp(action, "SCMP_ACT_ERRNO") == 0)
        fl_jw_member_int(jw, "errnoRet", EPERM);
    fl_jw_key(jw, "args");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < count; i++)
        write_mode(jw, node_makers[maker].mode_index, kinds[i]);
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

static void write_node_rules(struct fl_json_writer *jw)
{
    static const int64_t allowed[] = {0, S_IFREG, S_IFCHR, S_IFIFO, S_IFSOCK},
                         refused[] = {S_IFBLK};
    for (size_t i = 0; i < FL_ARRAY_SIZE(node_makers); i++) {
        write_node_rule(jw, i, "SCMP_ACT_ALLOW", allowed, FL_ARRAY_SIZE(allowed));
        write_node_rule(jw, i, "SCMP_ACT_ERRNO", refused, FL_ARRAY_SIZE(refused));
    }
}

/* The rule's names but those that make nodes; true when there were such, allowed without condition.
 */
static bool write_names(struct fl_json_writer *jw, const struct fl_json *rule, bool is_free)
{
    const struct fl_json *names = fl_json_get(rule, "names");
    bool found = false;
    fl_jw_key(jw, "names");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < fl_json_items(names); i++) {
        bool makes = is_free && makes_nodes(fl_json_text(fl_json_item(names, i)));
        found |= makes;
        if (!makes)
            fl_jw_json(jw, fl_json_item(names, i));
    }
    fl_jw_array_end(jw);
    return found;
}

static void resolve_rule(struct fl_json_writer *jw, const struct fl_json *rule)
{
    bool has_args = fl_json_items(fl_json_get(rule, "args")) > 0;
    bool is_free =
        !has_args && fl_str_is(fl_json_text(fl_json_get(rule, "action")), "SCMP_ACT_ALLOW");
    fl_jw_object_begin(jw);
    bool makes_some = write_names(jw, rule, is_free);
    copy_member(jw, rule, "action");
    copy_member(jw, rule, "errnoRet");
    if (has_args)
        copy_member(jw, rule, "args");
    fl_jw_object_end(jw);
    if (makes_some)
        write_node_rules(jw);
}

/* The native architecture and those whose programs run on it too. */
static void resolve_arches(struct fl_json_writer *jw, const struct fl_json *profile,
                           const struct fl_seccomp_host *host)
{
    const struct fl_json *maps = fl_json_get(profile, "archMap");
    const char *native = NULL;
    for (size_t i = 0; i < FL_ARRAY_SIZE(machines); i++)
        if (strcmp(machines[i].go, host->arch) == 0)
            native = machines[i].scmp;
    if (!native)
        return;
    fl_jw_str(jw, fl_str_of(native));
    for (size_t i = 0; i < fl_json_items(maps); i++) {
        const struct fl_json *map = fl_json_item(maps, i);
        const struct fl_json *subs = fl_json_get(map, "subArchitectures");
        if (!fl_str_is(fl_json_text(fl_json_get(map, "architecture")), native))
            continue;
        for (size_t j = 0; j < fl_json_items(subs); j++)
            fl_jw_json(jw, fl_json_item(subs, j));
    }
}

int fl_seccomp_resolve(const struct fl_json *profile, const struct fl_seccomp_host *host,
                       struct fl_buf *ret_oci, struct fl_err *err)
{
    const struct fl_json *rules = fl_json_get(profile, "syscalls");
    struct fl_json_writer jw = {.buf = ret_oci};
    if (!fl_json_z(fl_json_get(profile, "defaultAction")) || !fl_json_is(rules, FL_JSON_ARRAY))
        return fl_err_set(err, -EINVAL, "the seccomp profile has no defaultAction or no syscalls");
    fl_jw_object_begin(&jw);
    copy_member(&jw, profile, "defaultAction");
    copy_member(&jw, profile, "defaultErrnoRet");
    fl_jw_key(&jw, "architectures");
    fl_jw_array_begin(&jw);
    resolve_arches(&jw, profile, host);
    fl_jw_array_end(&jw);
    fl_jw_key(&jw, "syscalls");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < fl_json_items(rules); i++)
        if (applies(fl_json_item(rules, i), host))
            resolve_rule(&jw, fl_json_item(rules, i));
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    return ret_oci->overflow ? fl_err_set(err, -EFBIG, "the seccomp profile is too large") : 0;
}

/* SCMP_ACT_ERRNO carries a number; EPERM where the profile names none. */
static bool read_action(const struct fl_json *name, const struct fl_json *errno_ret,
                        uint32_t *ret_action)
{
    if (!find_named(actions, FL_ARRAY_SIZE(actions), name, ret_action))
        return false;
    if (*ret_action == SCMP_ACT_ERRNO(0))
        *ret_action = SCMP_ACT_ERRNO(
            (uint32_t)(fl_json_is(errno_ret, FL_JSON_INTEGER) ? fl_json_int(errno_ret) : EPERM) &
            0xffffU);
    return true;
}

static bool read_args(const struct fl_json *args, struct scmp_arg_cmp *ret_args,
                      unsigned *ret_count)
{
    if (fl_json_items(args) > ARGS_MAX)
        return false;
    for (size_t i = 0; i < fl_json_items(args); i++) {
        const struct fl_json *arg = fl_json_item(args, i);
        uint32_t op;
        int64_t index = fl_json_int(fl_json_get(arg, "index"));
        if (!find_named(operators, FL_ARRAY_SIZE(operators), fl_json_get(arg, "op"), &op) ||
            index < 0 || index >= ARGS_MAX)
            return false;
        ret_args[i] = (struct scmp_arg_cmp){
            .arg = (unsigned)index,
            .op = (enum scmp_compare)op,
            .datum_a = (scmp_datum_t)fl_json_int(fl_json_get(arg, "value")),
            .datum_b = (scmp_datum_t)fl_json_int(fl_json_get(arg, "valueTwo")),
        };
    }
    *ret_count = (unsigned)fl_json_items(args);
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

static int add_names(scmp_filter_ctx ctx, const struct fl_json *rule, uint32_t default_action)
{
    struct scmp_arg_cmp args[ARGS_MAX];
    unsigned count;
    uint32_t action;
    const struct fl_json *names = fl_json_get(rule, "names");
    if (!read_action(fl_json_get(rule, "action"), fl_json_get(rule, "errnoRet"), &action) ||
        !read_args(fl_json_get(rule, "args"), args, &count))
        return -EINVAL;
    if (action == default_action)
        return 0;
    for (size_t i = 0; i < fl_json_items(names); i++) {
        const char *name = fl_json_z(fl_json_item(names, i));
        int number = name ? seccomp_syscall_resolve_name(name) : __NR_SCMP_ERROR;
        if (number == __NR_SCMP_ERROR) /* newer than this libseccomp: the default action */
            continue;
        int rc = add_rule(ctx, action, number, args, count);
        if (rc < 0 && rc != -EDOM) /* EDOM: not on this architecture */
            return rc;
    }
    return 0;
}

static int fill_filter(scmp_filter_ctx ctx, const struct fl_json *oci, uint32_t default_action)
{
    const struct fl_json *listed = fl_json_get(oci, "architectures");
    const struct fl_json *rules = fl_json_get(oci, "syscalls");
    uint32_t arch;
    for (size_t i = 0; i < fl_json_items(listed); i++) {
        if (!find_named(arches, FL_ARRAY_SIZE(arches), fl_json_item(listed, i), &arch))
            continue;
        int rc = seccomp_arch_add(ctx, arch);
        if (rc < 0 && rc != -EEXIST)
            return rc;
    }
    for (size_t i = 0; i < fl_json_items(rules); i++) {
        int rc = add_names(ctx, fl_json_item(rules, i), default_action);
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

int fl_seccomp_compile(const struct fl_json *oci, struct fl_buf *ret_program, struct fl_err *err)
{
    uint32_t default_action;
    if (!read_action(fl_json_get(oci, "defaultAction"), fl_json_get(oci, "defaultErrnoRet"),
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

/* What crun gets is compiled from what runc gets. */
static int finish_load(struct fl_buf *oci, struct fl_arena *arena, struct fl_seccomp *ret_seccomp,
                       struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf program = FL_BUF_INIT(PROGRAM_MAX);
    struct fl_buf base64 = FL_BUF_INIT(2 * PROGRAM_MAX);
    const struct fl_json *json = fl_json_read(fl_buf_str(oci), arena, err);
    int rc = json ? fl_seccomp_compile(json, &program, err) : -EINVAL;
    if (rc < 0)
        return rc;
    fl_seccomp_shrink(&program);
    add_base64(&base64, (const uint8_t *)program.p, program.n);
    ret_seccomp->json = fl_buf_str(oci);
    ret_seccomp->base64 = fl_buf_str(&base64);
    *oci = FL_BUF_INIT(0);
    return 0;
}

int fl_seccomp_load(const char *path, const char *const *caps, size_t cap_count,
                    struct fl_seccomp *ret_seccomp, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(PROFILE_MAX);
    FL_CLEANUP_BUF struct fl_buf oci = FL_BUF_INIT(2 * PROFILE_MAX);
    struct fl_seccomp_host host = {.caps = caps, .cap_count = cap_count};
    struct utsname name;
    int rc = fl_fs_read(AT_FDCWD, path, PROFILE_MAX, &text);
    if (rc < 0)
        return fl_err_errno(err, rc,
                            "cannot read the seccomp profile %s (it comes with the package "
                            "golang-github-containers-common)",
                            path);
    const struct fl_json *profile = fl_json_read(fl_buf_str(&text), arena, err);
    if (!profile)
        return -EINVAL;
    look_at_host(&host, &name);
    rc = fl_seccomp_resolve(profile, &host, &oci, err);
    return rc < 0 ? rc : finish_load(&oci, arena, ret_seccomp, err);
}

void fl_seccomp_free(struct fl_seccomp *seccomp)
{
    free((char *)(uintptr_t)seccomp->json.p);
    free((char *)(uintptr_t)seccomp->base64.p);
    *seccomp = (struct fl_seccomp){.json = {NULL, 0}};
}
