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

static int take_line(struct orders *o, const char *word, char *value)
{
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
    else if (strcmp(word, "timeout_ms") == 0)
        return fl_str_to_i64(fl_str_of(value), &o->run_timeout_ms) ? 0 : -EINVAL;
    else if (strcmp(word, "netns") == 0)
        o->has_netns = value[0] == '1';
    else if (strcmp(word, "runtime_fd") == 0)
        o->has_runtime_fd = value[0] == '1';
    else if (strcmp(word, "shipped") == 0)
        o->is_shipped = value[0] == '1';
    else
        return -EINVAL;
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
    if (rc == 0 && (o.run_count == 0 || o.layer_count == 0 || !o.state_dir || !o.boot_id))
        rc = -EINVAL;
    if (rc < 0) {
        fl_buf_free(&text);
        return rc;
    }
    *ret_orders = o;
    return 0;
}
