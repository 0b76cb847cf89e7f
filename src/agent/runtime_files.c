/* A container's directory and its process: paths, words of small files, identity of processes. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/fs.h"

/* What becomes part of paths and of lines of orders; the control plane chose it. */
bool fl_runtime_id_is_valid(struct fl_str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!isalnum((unsigned char)id.p[i]) && id.p[i] != '-' && id.p[i] != '_')
            return false;
    return id.n > 0 && id.n <= FL_RUNTIME_ID_MAX;
}

struct fl_str fl_runtime_dir(const struct fl_runtime *runtime, struct fl_str id,
                             struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/containers/%.*s", FL_STR_ARG(runtime->data_dir),
                         FL_STR_ARG(id));
}

struct fl_str fl_runtime_log_path(const struct fl_runtime *runtime, struct fl_str container_id,
                                  struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/containers/%.*s/log", FL_STR_ARG(runtime->data_dir),
                         FL_STR_ARG(container_id));
}

int fl_runtime_read_words(const struct fl_runtime *runtime, struct fl_str id, const char *name,
                          struct fl_arena *arena, struct fl_str *ret_words, size_t max)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_RUNTIME_FILE_MAX);
    struct fl_str path =
        fl_str_printf(arena, "%.*s/%s", FL_STR_ARG(fl_runtime_dir(runtime, id, arena)), name);
    struct fl_str word;
    size_t count = 0;
    int rc = fl_fs_read(AT_FDCWD, path.p, FL_RUNTIME_FILE_MAX, &text);
    if (rc < 0)
        return rc;
    struct fl_str rest = fl_str_trim(fl_str_dup(arena, fl_buf_str(&text)));
    while (count < max && fl_str_split(&rest, ' ', &word))
        ret_words[count++] = word;
    return (int)count;
}

struct fl_str fl_runtime_cgroup_path(const struct fl_runtime *runtime, struct fl_str task_id,
                                     struct fl_str id, struct fl_arena *arena)
{
    return fl_str_printf(arena, "/%.*s/%.*s%s%.*s", FL_STR_ARG(runtime->tag), FL_STR_ARG(task_id),
                         id.n ? "/" : "", FL_STR_ARG(id));
}

struct fl_str fl_runtime_ordered_cgroup(const struct fl_runtime *runtime, struct fl_str id,
                                        struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_RUNTIME_FILE_MAX * 2);
    struct fl_str path =
        fl_str_printf(arena, "%.*s/orders", FL_STR_ARG(fl_runtime_dir(runtime, id, arena)));
    struct fl_str line;
    if (fl_fs_read(AT_FDCWD, path.p, FL_RUNTIME_FILE_MAX * 2, &text) < 0)
        return FL_STR("");
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_starts(line, FL_STR("group ")))
            return fl_str_dup(arena, fl_str_from(line, strlen("group ")));
    return FL_STR("");
}

int64_t fl_runtime_start_time(pid_t pid)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(8192);
    char path[64];
    int64_t value = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int rc = fl_fs_read(AT_FDCWD, path, 8192, &text);
    if (rc < 0)
        return rc;
    /* The command may hold anything; fields count from the last ')'. */
    ptrdiff_t end = fl_str_rindex(fl_buf_str(&text), ')');
    struct fl_str rest = fl_str_from(fl_buf_str(&text), (size_t)(end + 2));
    struct fl_str field = {NULL, 0};
    for (int i = 3; i <= 22; i++)
        if (!fl_str_split(&rest, ' ', &field))
            return -EINVAL;
    return fl_str_to_i64(field, &value) ? value : -EINVAL;
}

/* The descriptor is opened first: the number cannot pass to another process after the check. */
int fl_runtime_open_process(pid_t pid, int64_t start_time)
{
    if (pid <= 1)
        return -ESRCH;
    FL_CLEANUP_FD int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return -errno;
    if (fl_runtime_start_time(pid) != start_time)
        return -ESRCH;
    return FL_TAKE_FD(fd);
}

/* The first quoted part of a text, by either of two quotes. */
static struct fl_str quoted(struct fl_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '`' && text.p[i] != '\'' && text.p[i] != '"')
            continue;
        struct fl_str rest = fl_str_from(text, i + 1);
        for (size_t j = 0; j < rest.n; j++)
            if (rest.p[j] == '`' || rest.p[j] == '\'' || rest.p[j] == '"')
                return fl_str_sub(rest, 0, j);
    }
    return FL_STR("");
}

static struct fl_str last_line(struct fl_str raw)
{
    struct fl_str text = fl_str_trim(raw);
    ptrdiff_t newline = fl_str_rindex(text, '\n');
    return newline < 0 ? text : fl_str_from(text, (size_t)newline + 1);
}

/* "2026-…Z: error: message" and the like: only the message is wanted. */
static struct fl_str strip_stamp(struct fl_str line)
{
    if (line.n > 11 && line.p[4] == '-' && line.p[10] == 'T') {
        struct fl_str stamp;
        if (fl_str_split(&line, ' ', &stamp))
            line = fl_str_trim(line);
    }
    if (fl_str_starts(line, FL_STR("[error]")) || fl_str_starts(line, FL_STR("error:")))
        line = fl_str_trim(fl_str_from(line, strlen("[error]") - (line.p[0] != '[')));
    return line;
}

/* runc's `time="…" level=error msg="…"`: the message without its quotes and backslashes. */
static struct fl_str take_message(struct fl_str line, struct fl_arena *arena)
{
    static const char key[] = " msg=\"";
    const char *start = memmem(line.p, line.n, key, strlen(key));
    if (!start)
        return line;
    struct fl_str rest = fl_str_from(line, (size_t)(start - line.p) + strlen(key));
    char *text = fl_arena_alloc(arena, rest.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < rest.n && rest.p[i] != '"'; i++) {
        if (rest.p[i] == '\\' && i + 1 < rest.n)
            i++;
        text[n++] = rest.p[i];
    }
    return (struct fl_str){text, n};
}

struct fl_str fl_runtime_sentence(struct fl_str raw, struct fl_arena *arena)
{
    struct fl_str line = take_message(strip_stamp(last_line(raw)), arena);
    const char *start = "OCI runtime create failed: unable to start container process";
    if (fl_str_contains(line, FL_STR("not found in $PATH")))
        return fl_str_printf(arena,
                             "%s: exec: \"%.*s\": executable file not found in $PATH: unknown",
                             start, FL_STR_ARG(quoted(line)));
    return fl_str_printf(arena, "%s: %.*s: unknown", start, FL_STR_ARG(line));
}
