/* From a container's config.json to the orders of fairlead-exec. What is not understood is refused:
 * a command with less confinement than its container would be a way out of it. */
#include <errno.h>

#include "agent/bundle.h"
#include "agent/bundle_args.h"
#include "agent/exec.h"
#include "agent/seccomp.h"
#include "base/exec_orders.h"
#include "wire/json.h"

enum { SECCOMP_MAX = 1 << 20, DEFAULT_UMASK = 0022 };

void fl_exec_add(struct fl_buf *orders, uint32_t key, const void *bytes, size_t n)
{
    const struct fl_exec_item item = {.key = key, .length = (uint32_t)n};
    fl_buf_add(orders, (const char *)&item, sizeof(item));
    fl_buf_add(orders, bytes, n);
}

void fl_exec_add_text(struct fl_buf *orders, uint32_t key, struct fl_str text)
{
    const struct fl_exec_item item = {.key = key, .length = (uint32_t)text.n + 1};
    fl_buf_add(orders, (const char *)&item, sizeof(item));
    fl_buf_add_str(orders, text);
    fl_buf_add(orders, "", 1);
}

void fl_exec_add_number(struct fl_buf *orders, uint32_t key, int64_t number)
{
    fl_exec_add(orders, key, &number, sizeof(number));
}

static uint64_t cap_mask(const struct fl_json *list)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < fl_json_items(list); i++)
        for (int cap = 0; cap < FL_BUNDLE_CAP_COUNT; cap++)
            if (fl_str_is(fl_json_text(fl_json_item(list, i)), fl_bundle_all_caps[cap]))
                mask |= UINT64_C(1) << cap;
    return mask;
}

static void add_caps(const struct fl_json *process, struct fl_buf *orders)
{
    static const char *const sets[] = {"bounding", "effective", "permitted", "inheritable",
                                       "ambient"};
    const struct fl_json *caps = fl_json_get(process, "capabilities");
    int64_t masks[FL_ARRAY_SIZE(sets)];
    for (size_t i = 0; i < FL_ARRAY_SIZE(sets); i++)
        masks[i] = (int64_t)cap_mask(fl_json_get(caps, sets[i]));
    fl_exec_add(orders, FL_EXEC_CAPS, masks, sizeof(masks));
}

static void add_user(const struct fl_json *process, struct fl_buf *orders)
{
    const struct fl_json *user = fl_json_get(process, "user");
    const struct fl_json *groups = fl_json_get(user, "additionalGids");
    const struct fl_json *mask = fl_json_get(user, "umask");
    const int64_t ids[] = {fl_json_int(fl_json_get(user, "uid")),
                           fl_json_int(fl_json_get(user, "gid"))};
    fl_exec_add(orders, FL_EXEC_USER, ids, sizeof(ids));
    for (size_t i = 0; i < fl_json_items(groups); i++)
        fl_exec_add_number(orders, FL_EXEC_GROUP, fl_json_int(fl_json_item(groups, i)));
    fl_exec_add_number(orders, FL_EXEC_UMASK, mask ? fl_json_int(mask) : DEFAULT_UMASK);
}

/* "Without limit" is a number beyond what JSON integers of ours hold: -1 takes its place, with the
 * same bits. Digits within strings are left alone. */
static void replace_infinity(char *text, size_t n)
{
    static const char infinity[] = "18446744073709551615";
    const size_t length = sizeof(infinity) - 1;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && n - i >= length && memcmp(text + i, infinity, length) == 0)
            memcpy(text + i, "-1                  ", length);
    }
}

static int64_t limit_value(const struct fl_json *limit, const char *key)
{
    return fl_json_int(fl_json_get(limit, key));
}

static int add_limits(const struct fl_json *process, struct fl_buf *orders, struct fl_err *err)
{
    const struct fl_json *list = fl_json_get(process, "rlimits");
    for (size_t i = 0; i < fl_json_items(list); i++) {
        const struct fl_json *limit = fl_json_item(list, i);
        struct fl_str type = fl_json_text(fl_json_get(limit, "type"));
        struct fl_str name = fl_str_from(type, FL_MIN(type.n, strlen("RLIMIT_")));
        char lower[32];
        size_t n = 0;
        for (; n < name.n && n < sizeof(lower); n++)
            lower[n] = (char)(name.p[n] | 0x20);
        int number = fl_bundle_rlimit_number((struct fl_str){lower, n});
        if (number < 0)
            return fl_err_set(err, -EINVAL, "the limit %.*s is unknown", FL_STR_ARG(type));
        const int64_t numbers[] = {number, limit_value(limit, "soft"), limit_value(limit, "hard")};
        fl_exec_add(orders, FL_EXEC_LIMIT, numbers, sizeof(numbers));
    }
    return 0;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* False for what no encoder of ours writes. */
static bool decode_base64(struct fl_str text, struct fl_buf *ret_bytes)
{
    uint32_t bits = 0;
    int count = 0;
    while (text.n > 0 && text.p[text.n - 1] == '=')
        text.n--;
    for (size_t i = 0; i < text.n; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            const char byte = (char)(bits >> (count - 8));
            fl_buf_add(ret_bytes, &byte, 1);
            count -= 8;
        }
    }
    return true;
}

/* crun has the compiled program in an annotation, which counts only where linux.seccomp is, too;
 * runc has the profile itself. */
static int add_seccomp(const struct fl_json *config, struct fl_buf *orders, struct fl_err *err)
{
    const struct fl_json *profile = fl_json_get(fl_json_get(config, "linux"), "seccomp");
    const struct fl_json *annotations = fl_json_get(config, "annotations");
    struct fl_str base64 = fl_json_text(fl_json_get(annotations, "run.oci.seccomp_bpf_data"));
    FL_CLEANUP_BUF struct fl_buf program = FL_BUF_INIT(SECCOMP_MAX);
    if (!profile)
        return 0;
    if (base64.n > 0 && !decode_base64(base64, &program))
        return fl_err_set(err, -EINVAL, "the seccomp program is damaged");
    if (base64.n == 0) {
        int rc = fl_seccomp_compile(profile, &program, err);
        if (rc < 0)
            return rc;
    }
    fl_exec_add(orders, FL_EXEC_SECCOMP, program.p, program.n);
    return 0;
}

static void add_module(const struct fl_json *process, const char *member, enum fl_exec_key key,
                       struct fl_buf *orders)
{
    struct fl_str text = fl_json_text(fl_json_get(process, member));
    if (text.n > 0)
        fl_exec_add_text(orders, key, text);
}

static int check_known(const struct fl_json *config, struct fl_err *err)
{
    const struct fl_json *namespaces = fl_json_get(fl_json_get(config, "linux"), "namespaces");
    for (size_t i = 0; i < fl_json_items(namespaces); i++)
        if (fl_str_is(fl_json_text(fl_json_get(fl_json_item(namespaces, i), "type")), "user"))
            return fl_err_set(err, -ENOTSUP, "user namespaces are not supported for commands");
    return 0;
}

int fl_exec_confine(struct fl_buf *text, struct fl_buf *orders, struct fl_err *err)
{
    replace_infinity(text->p, text->n);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *config = fl_json_read(fl_buf_str(text), arena, err);
    const struct fl_json *process = fl_json_get(config, "process");
    const struct fl_json *env = fl_json_get(process, "env");
    if (!fl_json_is(process, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL, "the container's configuration is damaged");
    int rc = check_known(config, err);
    for (size_t i = 0; i < fl_json_items(env); i++)
        fl_exec_add_text(orders, FL_EXEC_ENV, fl_json_text(fl_json_item(env, i)));
    fl_exec_add_text(orders, FL_EXEC_CWD, fl_json_text(fl_json_get(process, "cwd")));
    add_user(process, orders);
    add_module(process, "apparmorProfile", FL_EXEC_PROFILE, orders);
    add_module(process, "selinuxLabel", FL_EXEC_LABEL, orders);
    add_caps(process, orders);
    if (fl_json_get(process, "oomScoreAdj"))
        fl_exec_add_number(orders, FL_EXEC_OOM, fl_json_int(fl_json_get(process, "oomScoreAdj")));
    if (fl_json_is_true(fl_json_get(process, "noNewPrivileges")))
        fl_exec_add_number(orders, FL_EXEC_NO_NEW_PRIV, 1);
    if (rc == 0)
        rc = add_limits(process, orders, err);
    if (rc == 0)
        rc = add_seccomp(config, orders, err);
    return rc;
}
