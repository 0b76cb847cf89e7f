/* Reading the agent's orders; the file's text is kept for the life of the process. */
#include "shim/orders.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"

static int add_path(const char **list, size_t *count, size_t max, const char *value)
{
    if (*count >= max)
        return -EINVAL;
    list[(*count)++] = value;
    return 0;
}

static int add_arg(char **list, size_t *count, char *value)
{
    if (*count >= ORDERS_MAX_ARGS)
        return -EINVAL;
    list[(*count)++] = value;
    list[*count] = NULL;
    return 0;
}

static int add_item(struct orders_list *list, char *value)
{
    list->items = fl_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] = value;
    return 0;
}

static int take_pid(char *value, pid_t *ret_pid)
{
    int64_t number;
    if (!fl_str_to_i64(fl_str_of(value), &number) || number <= 1 || number > INT32_MAX)
        return -EINVAL;
    *ret_pid = (pid_t)number;
    return 0;
}

static bool take_flag(struct orders *o, const char *word, const char *value)
{
    const struct {
        const char *word;
        bool *flag;
    } flags[] = {
        {"runtime_fd", &o->has_runtime_fd}, {"netns", &o->has_netns},
        {"shipped", &o->log.is_shipped},    {"ipc", &o->joins_ipc},
        {"console", &o->has_console},       {"stdin", &o->has_stdin},
        {"kill", &o->kills_group},          {"silent", &o->log.is_silent},
        {"compress", &o->log.compresses},   {"drops", &o->log.drops},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(flags); i++)
        if (strcmp(word, flags[i].word) == 0) {
            *flags[i].flag = value[0] == '1';
            return true;
        }
    return false;
}

static bool take_number(struct orders *o, const char *word, const char *value, int *ret_rc)
{
    const struct {
        const char *word;
        int64_t *number;
    } numbers[] = {
        {"timeout_ms", &o->run_timeout_ms},
        {"buffer", &o->log.cap_bytes},
        {"file_bytes", &o->log.file_bytes},
        {"files", &o->log.file_count},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(numbers); i++)
        if (strcmp(word, numbers[i].word) == 0) {
            *ret_rc = fl_str_to_i64(fl_str_of(value), numbers[i].number) ? 0 : -EINVAL;
            return true;
        }
    return false;
}

static int take_line(struct orders *o, const char *word, char *value)
{
    int rc;
    if (take_number(o, word, value, &rc))
        return rc;
    if (strcmp(word, "layer") == 0)
        return add_path(o->layers, &o->layer_count, ORDERS_MAX_LAYERS, value);
    if (strcmp(word, "cgroup") == 0)
        return add_path(o->cgroups, &o->cgroup_count, ORDERS_MAX_CGROUPS, value);
    if (strcmp(word, "run") == 0)
        return add_arg(o->run, &o->run_count, value);
    if (strcmp(word, "delete") == 0)
        return add_arg(o->delete, &o->delete_count, value);
    if (strcmp(word, "oom") == 0)
        o->oom_file = value;
    else if (strcmp(word, "state") == 0)
        o->state_dir = value;
    else if (strcmp(word, "group") == 0)
        return 0; /* the agent's own note */
    else if (strcmp(word, "boot") == 0)
        o->boot_id = value;
    else if (strcmp(word, "attrs") == 0)
        o->log.attrs = value;
    else if (strcmp(word, "holder") == 0)
        return take_pid(value, &o->holder_pid);
    else if (strcmp(word, "place") == 0)
        return add_item(&o->places, value);
    else if (strcmp(word, "fill") == 0 || strcmp(word, "from") == 0)
        return add_item(&o->fills, value);
    else if (strcmp(word, "mount") == 0 || strcmp(word, "at") == 0)
        return value[0] ? add_item(&o->mounts, value) : -EINVAL;
    else if (strcmp(word, "sysctl") == 0)
        return add_item(&o->sysctls, value);
    else
        return take_flag(o, word, value) ? 0 : -EINVAL;
    return 0;
}

static int take_text(struct orders *o, char *text)
{
    while (*text) {
        char *end = strchr(text, '\n');
        char *space = strchr(text, ' ');
        if (!end || !space || space > end)
            return -EINVAL;
        *end = '\0';
        *space = '\0';
        int rc = take_line(o, text, space + 1);
        if (rc < 0)
            return rc;
        text = end + 1;
    }
    return 0;
}

int orders_read(int dir_fd, struct orders *ret_orders)
{
    struct fl_buf text = FL_BUF_INIT(ORDERS_MAX_BYTES);
    struct orders o = {.run_timeout_ms = 60000};
    int rc = fl_fs_read(dir_fd, "orders", ORDERS_MAX_BYTES, &text);
    if (rc < 0 || text.n == 0 || memchr(text.p, '\0', text.n)) {
        fl_buf_free(&text);
        return rc < 0 ? rc : -EINVAL;
    }
    rc = take_text(&o, text.p);
    if (rc == 0 && (o.run_count == 0 || o.layer_count == 0 || !o.state_dir || !o.boot_id ||
                    o.fills.count % 2 != 0 || o.mounts.count % 2 != 0))
        rc = -EINVAL;
    if (rc < 0) {
        fl_buf_free(&text);
        return rc;
    }
    *ret_orders = o;
    return 0;
}
