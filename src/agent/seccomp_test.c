/* Goal: the distribution's profile becomes the filter it describes. Method: rules that apply to
 * some hosts only are resolved for made-up hosts; a small profile is compiled and installed in a
 * child process, which reports what the kernel answers. Refusals included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/bundle.h"
#include "agent/seccomp.h"
#include "agent/seccomp_shrink.h"
#include "wire/json.h"

static const char *const caps[] = {"CAP_CHOWN", "CAP_KILL"};
static const struct fl_seccomp_host host = {
    .arch = "amd64", .caps = caps, .cap_count = 2, .kernel_major = 5, .kernel_minor = 10};

static const struct fl_json *resolve(const char *text, struct fl_arena *arena, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf oci = FL_BUF_INIT(1 << 20);
    const struct fl_json *profile = fl_json_read(fl_str_of(text), arena, err);
    assert_non_null(profile);
    return fl_seccomp_resolve(profile, &host, &oci, err) < 0
               ? NULL
               : fl_json_read(fl_buf_str(&oci), arena, err);
}

/* Rules "a0", "a1" … apply to the host above, the others do not. */
static const struct {
    const char *name;
    const char *members;
} rules_by_host[] = {
    {"a0", ""},
    {"-", ",\"includes\":{\"arches\":[\"arm64\"]}"},
    {"a1", ",\"includes\":{\"arches\":[\"x32\",\"amd64\"]}"},
    {"a2", ",\"includes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_KILL\"]}"},
    {"-", ",\"includes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_SYS_ADMIN\"]}"},
    {"-", ",\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\",\"CAP_KILL\"]}"},
    {"a3", ",\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}"},
    {"a4", ",\"includes\":{\"minKernel\":\"4.8\"}"},
    {"-", ",\"includes\":{\"minKernel\":\"5.11\"}"},
    {"-", ",\"excludes\":{\"arches\":[\"amd64\"]}"},
    {"a5", ",\"args\":null,\"errnoRet\":1"},
};

static void write_profile(struct fl_buf *text)
{
    fl_buf_add_z(text, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"archMap\":["
                       "{\"architecture\":\"SCMP_ARCH_X86_64\","
                       "\"subArchitectures\":[\"SCMP_ARCH_X86\"]},"
                       "{\"architecture\":\"SCMP_ARCH_AARCH64\",\"subArchitectures\":[]}],"
                       "\"syscalls\":[");
    for (size_t i = 0; i < FL_ARRAY_SIZE(rules_by_host); i++)
        fl_buf_printf(text, "%s{\"names\":[\"%s\"],\"action\":\"SCMP_ACT_ALLOW\"%s}", i ? "," : "",
                      rules_by_host[i].name, rules_by_host[i].members);
    fl_buf_add_z(text, "]}");
}

static void rules_apply_by_host(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(65536);
    write_profile(&text);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *oci = resolve(text.p, arena, NULL);
    assert_non_null(oci);
    const struct fl_json *rules = fl_json_get(oci, "syscalls");
    assert_int_equal(fl_json_items(rules), 6);
    for (size_t i = 0; i < 6; i++) {
        const struct fl_json *rule = fl_json_item(rules, i);
        const char *name = fl_json_z(fl_json_item(fl_json_get(rule, "names"), 0));
        assert_int_equal(name[1], '0' + (int)i);
        assert_null(fl_json_get(rule, "includes"));
        assert_null(fl_json_get(rule, "args"));
    }
    assert_int_equal(fl_json_items(fl_json_get(oci, "architectures")), 2);
}

static void what_is_no_profile_is_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err;
    struct fl_buf program = FL_BUF_INIT(1 << 20);
    assert_null(resolve("{}", arena, &err));
    assert_null(resolve("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":3}", arena, &err));
    const struct fl_json *bad_action =
        fl_json_read(FL_STR("{\"defaultAction\":\"NOPE\",\"syscalls\":[]}"), arena, NULL);
    assert_true(fl_seccomp_compile(bad_action, &program, &err) < 0);
    const struct fl_json *bad_operator = fl_json_read(
        FL_STR("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\"],"
               "\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"op\":\"NOPE\"}]}]}"),
        arena, NULL);
    assert_true(fl_seccomp_compile(bad_operator, &program, &err) < 0);
    struct fl_seccomp seccomp;
    assert_true(fl_seccomp_load("/nonexistent", caps, 2, &seccomp, &err) < 0);
    assert_non_null(strstr(err.text, "golang-github-containers-common"));
    fl_buf_free(&program);
}

/* Installs the program and answers with the errno of personality(0xdead) and of getppid. */
static int try_program(const struct fl_buf *program)
{
    struct sock_fprog prog = {.len = (unsigned short)(program->n / sizeof(struct sock_filter)),
                              .filter = (struct sock_filter *)(void *)program->p};
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
            _exit(255);
        long denied = syscall(SYS_personality, 0xdeadUL);
        int denied_errno = denied < 0 ? errno : 0;
        bool allowed = syscall(SYS_personality, 0UL) >= 0 && syscall(SYS_getppid) > 0;
        _exit(allowed ? denied_errno : 254);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void program_does_what_it_says(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_buf program = FL_BUF_INIT(1 << 20);
    const struct fl_json *oci = fl_json_read(
        FL_STR("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"personality\","
               "\"no_such_call\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":22,\"args\":"
               "[{\"index\":0,\"value\":0,\"op\":\"SCMP_CMP_NE\"}]}]}"),
        arena, NULL);
    assert_int_equal(fl_seccomp_compile(oci, &program, NULL), 0);
    assert_int_equal(program.n % sizeof(struct sock_filter), 0);
    assert_int_equal(try_program(&program), EINVAL);
    fl_buf_free(&program);
}

/* The real file, where the distribution has it. */
static void distribution_profile_compiles(FL_UNUSED void **state)
{
    struct fl_seccomp seccomp;
    struct fl_err err = {.text = ""};
    if (access(FL_SECCOMP_PROFILE, R_OK) < 0)
        skip();
    if (fl_seccomp_load(FL_SECCOMP_PROFILE, fl_bundle_default_caps, FL_BUNDLE_DEFAULT_CAPS,
                        &seccomp, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(seccomp.base64.n > 1000 && seccomp.base64.n % 4 == 0);
    assert_true(fl_str_contains(seccomp.json, FL_STR("\"defaultErrnoRet\":38")));
    fl_seccomp_free(&seccomp);
}

/* ---- the shortened program ---- */

/* What the kernel would answer, of the instructions that occur. */
static uint32_t answer(const struct fl_buf *program, const struct seccomp_data *data)
{
    const struct sock_filter *f = (const void *)program->p;
    uint32_t a = 0;
    for (size_t at = 0;; at++) {
        bool yes = false;
        assert_true(at < program->n / sizeof(*f));
        switch (f[at].code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)data + f[at].k, sizeof(a));
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f[at].k;
            continue;
        case BPF_RET | BPF_K:
            return f[at].k;
        case BPF_JMP | BPF_JA:
            at += f[at].k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = a == f[at].k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            yes = a > f[at].k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = a >= f[at].k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            yes = (a & f[at].k) != 0;
            break;
        default:
            fail_msg("instruction %u", f[at].code);
        }
        at += yes ? f[at].jt : f[at].jf;
    }
}

/* Words that the program compares anything with, and their neighbours. */
static size_t list_words(const struct fl_buf *program, uint32_t *words, size_t max)
{
    const struct sock_filter *f = (const void *)program->p;
    size_t count = 0;
    for (size_t i = 0; i < program->n / sizeof(*f) && count + 4 <= max; i++)
        if (BPF_CLASS(f[i].code) == BPF_JMP && BPF_OP(f[i].code) != BPF_JA) {
            words[count++] = f[i].k - 1;
            words[count++] = f[i].k;
            words[count++] = f[i].k + 1;
        }
    words[count++] = UINT32_MAX;
    return count;
}

static void expect_same(const struct fl_buf *whole, const struct fl_buf *less, uint32_t arch,
                        uint32_t number, uint64_t arg)
{
    struct seccomp_data data = {.nr = (int)number, .arch = arch};
    for (size_t i = 0; i < FL_ARRAY_SIZE(data.args); i++)
        data.args[i] = arg;
    if (answer(whole, &data) != answer(less, &data))
        fail_msg("arch %x call %u arguments %llx: %x became %x", arch, number,
                 (unsigned long long)arg, answer(whole, &data), answer(less, &data));
}

/* Every architecture, every number at which an answer may change, and arguments of all kinds. */
static void expect_equal(const struct fl_buf *whole, const struct fl_buf *less)
{
    static const uint32_t arches[] = {
        AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0, UINT32_MAX};
    static uint32_t words[4 * BPF_MAXINSNS];
    size_t count = list_words(whole, words, FL_ARRAY_SIZE(words));
    for (size_t a = 0; a < FL_ARRAY_SIZE(arches); a++)
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < 64; j++)
                expect_same(whole, less, arches[a], words[i],
                            (uint64_t)(j % 3 ? 0 : words[(i + j) % count]) << 32 |
                                (j < 32 ? 1U << j : words[(i * 7 + j) % count]));
    for (uint32_t number = 0; number < 2000; number++)
        for (size_t a = 0; a < FL_ARRAY_SIZE(arches); a++) {
            expect_same(whole, less, arches[a], number, 0);
            expect_same(whole, less, arches[a], number | 0x40000000, 0x6000);
        }
}

static void shorter_program_answers_alike(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_buf whole = FL_BUF_INIT(1 << 20), less = FL_BUF_INIT(1 << 20);
    struct fl_seccomp seccomp;
    if (access(FL_SECCOMP_PROFILE, R_OK) < 0 ||
        fl_seccomp_load(FL_SECCOMP_PROFILE, fl_bundle_default_caps, FL_BUNDLE_DEFAULT_CAPS,
                        &seccomp, NULL) < 0)
        skip();
    const struct fl_json *oci = fl_json_read(seccomp.json, arena, NULL);
    assert_int_equal(fl_seccomp_compile(oci, &whole, NULL), 0);
    fl_buf_add(&less, whole.p, whole.n);
    fl_seccomp_shrink(&less);
    assert_true(less.n < whole.n / 2);
    assert_int_equal(seccomp.base64.n, (less.n + 2) / 3 * 4);
    expect_equal(&whole, &less);
    fl_buf_free(&whole);
    fl_buf_free(&less);
    fl_seccomp_free(&seccomp);
}

static void strange_programs_stay(FL_UNUSED void **state)
{
    static const struct sock_filter adds[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 1)};
    static const struct sock_filter endless[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                                                 BPF_STMT(BPF_JMP | BPF_JA, UINT32_MAX)};
    const struct fl_str programs[] = {{(const char *)adds, sizeof(adds)},
                                      {(const char *)endless, sizeof(endless)},
                                      {"seven b", 7},
                                      {"", 0}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(programs); i++) {
        FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 16);
        fl_buf_add_str(&buf, programs[i]);
        fl_seccomp_shrink(&buf);
        assert_true(fl_str_eq(fl_buf_str(&buf), programs[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_apply_by_host),
        cmocka_unit_test(what_is_no_profile_is_refused),
        cmocka_unit_test(program_does_what_it_says),
        cmocka_unit_test(distribution_profile_compiles),
        cmocka_unit_test(shorter_program_answers_alike),
        cmocka_unit_test(strange_programs_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
