/* What a container shares with its task or with the host, and kernel parameters of namespaces. */
#include <ctype.h>
#include <errno.h>

#include "agent/bundle_making.h"

enum { PARAMETER_MAX = 1024 };

static void write_namespace(struct fl_json_writer *jw, const char *type, struct fl_str path)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "type", fl_str_of(type));
    if (path.n > 0)
        fl_jw_member_str(jw, "path", path);
    fl_jw_object_end(jw);
}

/* The runtime inherits the shim's network namespace, and the task's IPC namespace too, where there
 * is one: what is not in this list is not changed. */
void fl_bundle_write_namespaces(struct fl_bundle_making *m)
{
    const struct fl_task_spec *task = m->launch->task;
    fl_jw_key(&m->jw, "namespaces");
    fl_jw_array_begin(&m->jw);
    if (task->pid_mode == FL_NS_TASK)
        write_namespace(&m->jw, "pid",
                        fl_str_printf(m->arena, "/proc/%d/ns/pid", (int)m->paths->holder_pid));
    else if (task->pid_mode != FL_NS_HOST)
        write_namespace(&m->jw, "pid", FL_STR(""));
    if (task->ipc_mode == FL_NS_PRIVATE || task->ipc_mode == FL_NS_NONE)
        write_namespace(&m->jw, "ipc", FL_STR(""));
    write_namespace(&m->jw, "uts", FL_STR(""));
    write_namespace(&m->jw, "mount", FL_STR(""));
    write_namespace(&m->jw, "cgroup", FL_STR(""));
    fl_jw_array_end(&m->jw);
}

/* It becomes a path and a line of orders: "net.core.somaxconn", never "net./../kernel". */
static bool is_parameter(const struct fl_key_value *sysctl)
{
    for (size_t i = 0; i < sysctl->key.n; i++)
        if (!isalnum((unsigned char)sysctl->key.p[i]) && !strchr("._-", sysctl->key.p[i]))
            return false;
    for (size_t i = 0; i < sysctl->value.n; i++)
        if (!isprint((unsigned char)sysctl->value.p[i]) && sysctl->value.p[i] != '\t')
            return false;
    return sysctl->key.n > 0 && sysctl->key.n < PARAMETER_MAX && sysctl->value.n < PARAMETER_MAX &&
           !fl_str_contains(sysctl->key, FL_STR(".."));
}

/* The runtime sets parameters only of namespaces that it has made; the shim is in the others. */
static void order_sysctl(struct fl_bundle_making *m, const struct fl_key_value *sysctl)
{
    fl_buf_add_z(m->orders, "sysctl ");
    for (size_t i = 0; i < sysctl->key.n; i++)
        fl_buf_add_char(m->orders, sysctl->key.p[i] == '.' ? '/' : sysctl->key.p[i]);
    fl_buf_printf(m->orders, " %.*s\n", FL_STR_ARG(sysctl->value));
}

static int refuse(struct fl_bundle_making *m, struct fl_str name, const char *why)
{
    return fl_err_set(m->err, -EINVAL, "sysctl '%.*s' %s", FL_STR_ARG(fl_str_sub(name, 0, 100)),
                      why);
}

static int take_sysctl(struct fl_bundle_making *m, const struct fl_key_value *sysctl)
{
    const struct fl_task_spec *task = m->launch->task;
    if (!is_parameter(sysctl))
        return refuse(m, sysctl->key, "is invalid");
    if (fl_str_starts(sysctl->key, FL_STR("net."))) {
        if (m->launch->netns_fd < 0)
            return refuse(m, sysctl->key, "is not allowed in the host's network namespace");
        order_sysctl(m, sysctl);
        return 0;
    }
    if (!fl_is_ipc_sysctl(sysctl->key))
        return refuse(m, sysctl->key, "is not whitelisted");
    if (task->ipc_mode == FL_NS_HOST)
        return refuse(m, sysctl->key, "is not allowed in the host's IPC namespace");
    if (task->ipc_mode == FL_NS_TASK)
        order_sysctl(m, sysctl);
    else
        fl_jw_member_str(&m->jw, fl_str_z(m->arena, sysctl->key), sysctl->value);
    return 0;
}

int fl_bundle_write_sysctls(struct fl_bundle_making *m)
{
    const struct fl_docker_spec *docker = &m->launch->container->docker;
    int rc = 0;
    if (docker->sysctl_count == 0)
        return 0;
    fl_jw_key(&m->jw, "sysctl");
    fl_jw_object_begin(&m->jw);
    for (size_t i = 0; rc == 0 && i < docker->sysctl_count; i++)
        rc = take_sysctl(m, &docker->sysctls[i]);
    fl_jw_object_end(&m->jw);
    return rc;
}
