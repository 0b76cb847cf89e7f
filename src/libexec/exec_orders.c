/* The orders of fairlead-exec, read from what the agent wrote. */
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "libexec/exec.h"

static int add_text(char **list, size_t *count, size_t max, char *text)
{
    if (*count == max)
        return -E2BIG;
    list[(*count)++] = text;
    return 0;
}

static int take_text(struct exec_orders *o, enum fl_exec_key key, char *text, size_t length)
{
    if (length == 0 || text[length - 1] != '\0' || strlen(text) != length - 1)
        return -EINVAL;
    switch (key) {
    case FL_EXEC_ARG:
        return add_text(o->args, &o->arg_count, FL_EXEC_ARGS_MAX, text);
    case FL_EXEC_ENV:
        return add_text(o->envs, &o->env_count, FL_EXEC_ENVS_MAX, text);
    case FL_EXEC_CGROUP:
        return add_text((char **)o->cgroups, &o->cgroup_count, FL_EXEC_CGROUPS_MAX, text);
    case FL_EXEC_CWD:
        o->cwd = text;
        return 0;
    case FL_EXEC_PROFILE:
        o->profile = text;
        return 0;
    case FL_EXEC_LABEL:
        o->label = text;
        return 0;
    case FL_EXEC_USER:
    case FL_EXEC_GROUP:
    case FL_EXEC_CAPS:
    case FL_EXEC_LIMIT:
    case FL_EXEC_OOM:
    case FL_EXEC_NO_NEW_PRIV:
    case FL_EXEC_UMASK:
    case FL_EXEC_SECCOMP:
    case FL_EXEC_TIMEOUT:
    case FL_EXEC_OUTPUT:
        break;
    }
    return -EINVAL;
}

static void take_caps(struct exec_orders *o, const int64_t *masks)
{
    o->bounding = (uint64_t)masks[0];
    o->effective = (uint64_t)masks[1];
    o->permitted = (uint64_t)masks[2];
    o->inheritable = (uint64_t)masks[3];
    o->ambient = (uint64_t)masks[4];
    o->is_confined = true;
}

static int take_limit(struct exec_orders *o, const int64_t *n)
{
    if (o->limit_count == FL_EXEC_LIMITS_MAX || n[0] < 0 || n[0] >= RLIM_NLIMITS)
        return -EINVAL;
    o->limits[o->limit_count++] = (struct exec_limit){(int)n[0], {(rlim_t)n[1], (rlim_t)n[2]}};
    return 0;
}

static int take_numbers(struct exec_orders *o, enum fl_exec_key key, const int64_t *n)
{
    switch (key) {
    case FL_EXEC_USER:
        o->uid = (uid_t)n[0];
        o->gid = (gid_t)n[1];
        return 0;
    case FL_EXEC_GROUP:
        if (o->group_count == FL_EXEC_GROUPS_MAX)
            return -E2BIG;
        o->groups[o->group_count++] = (gid_t)n[0];
        return 0;
    case FL_EXEC_CAPS:
        take_caps(o, n);
        return 0;
    case FL_EXEC_LIMIT:
        return take_limit(o, n);
    case FL_EXEC_OOM:
        o->has_oom = true;
        o->oom_score_adj = (int)n[0];
        return 0;
    case FL_EXEC_NO_NEW_PRIV:
        o->no_new_privileges = n[0] != 0;
        return 0;
    case FL_EXEC_UMASK:
        o->umask = (mode_t)n[0] & 0777;
        return 0;
    case FL_EXEC_TIMEOUT:
        o->timeout_ms = n[0];
        return 0;
    case FL_EXEC_OUTPUT:
        o->output_max = n[0] < 0 || n[0] > FL_EXEC_OUTPUT_MAX ? FL_EXEC_OUTPUT_MAX : (size_t)n[0];
        return 0;
    case FL_EXEC_PROFILE:
    case FL_EXEC_LABEL:
    case FL_EXEC_ARG:
    case FL_EXEC_ENV:
    case FL_EXEC_CWD:
    case FL_EXEC_CGROUP:
    case FL_EXEC_SECCOMP:
        break;
    }
    return -EINVAL;
}

/* How many numbers a key comes with; 0: it comes with text. */
static size_t number_count(uint32_t key)
{
    static const uint8_t counts[] = {
        [FL_EXEC_USER] = 2,  [FL_EXEC_GROUP] = 1,   [FL_EXEC_CAPS] = 5,
        [FL_EXEC_LIMIT] = 3, [FL_EXEC_OOM] = 1,     [FL_EXEC_NO_NEW_PRIV] = 1,
        [FL_EXEC_UMASK] = 1, [FL_EXEC_TIMEOUT] = 1, [FL_EXEC_OUTPUT] = 1,
    };
    return key < sizeof(counts) ? counts[key] : 0;
}

static int take(struct exec_orders *o, uint32_t key, char *bytes, size_t length)
{
    int64_t numbers[5] = {0};
    size_t count = number_count(key);
    if (key == FL_EXEC_SECCOMP) {
        o->seccomp = bytes;
        o->seccomp_bytes = length;
        return length == 0 || length % sizeof(struct sock_filter) != 0 ? -EINVAL : 0;
    }
    if (count == 0)
        return take_text(o, (enum fl_exec_key)key, bytes, length);
    if (length != count * sizeof(numbers[0]))
        return -EINVAL;
    memcpy(numbers, bytes, length);
    return take_numbers(o, (enum fl_exec_key)key, numbers);
}

int exec_orders_read(int fd, struct exec_orders *o)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > FL_EXEC_ORDERS_MAX)
        return -EINVAL;
    size_t size = (size_t)st.st_size;
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    for (size_t at = 0; at < size;) {
        struct fl_exec_item item;
        if (size - at < sizeof(item))
            return -EINVAL;
        memcpy(&item, bytes + at, sizeof(item));
        at += sizeof(item);
        if (item.length > size - at)
            return -EINVAL;
        int rc = take(o, item.key, bytes + at, item.length);
        if (rc < 0)
            return rc;
        at += item.length;
    }
    return 0;
}

bool exec_orders_are_whole(const struct exec_orders *o)
{
    return o->arg_count > 0 && o->cwd && o->cgroup_count > 0 && o->timeout_ms > 0 && o->is_confined;
}
