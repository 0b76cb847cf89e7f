/* The audit log; see the header. A line is one write to a file that is appended to. */
#include "agent/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

enum { LINE_MAX_BYTES = 4096, SHOWN_MAX = 200 };

struct fl_audit {
    struct fl_arena *arena;
    struct fl_str path;
    int fd;
    int64_t size;
    bool has_failed; /* said so once */
};

static int open_file(struct fl_audit *audit)
{
    struct stat st;
    FL_CLEANUP_FD int fd =
        open(audit->path.p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    audit->fd = FL_TAKE_FD(fd);
    audit->size = st.st_size;
    return 0;
}

static int make_folder(struct fl_audit *audit)
{
    ptrdiff_t slash = fl_str_rindex(audit->path, '/');
    if (slash <= 0)
        return 0;
    return fl_fs_mkdirs(fl_str_z(audit->arena, fl_str_sub(audit->path, 0, (size_t)slash)), 0700);
}

int fl_audit_open(struct fl_str path, struct fl_audit **ret_audit, struct fl_err *err)
{
    struct fl_audit *audit = fl_calloc(1, sizeof(*audit));
    audit->arena = fl_arena_new();
    audit->path = fl_str_dup(audit->arena, path);
    audit->fd = -1;
    int rc = make_folder(audit);
    if (rc == 0)
        rc = open_file(audit);
    if (rc < 0) {
        (void)fl_err_errno(err, rc, "cannot write %s", audit->path.p);
        fl_audit_close(audit);
        return rc;
    }
    *ret_audit = audit;
    return 0;
}

void fl_audit_close(struct fl_audit *audit)
{
    if (!audit)
        return;
    if (audit->fd >= 0)
        (void)close(audit->fd);
    fl_arena_free(audit->arena);
    free(audit);
}

static int turn_over(struct fl_audit *audit)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *older = fl_str_printf(arena, "%s.1", audit->path.p).p;
    if (rename(audit->path.p, older) < 0 && errno != ENOENT) /* somebody has removed it */
        return -errno;
    fl_cleanup_fd(&audit->fd);
    audit->fd = -1;
    return open_file(audit);
}

/* Quotation marks, control characters and what is no ASCII become '?'. */
static void add_quoted(struct fl_buf *line, struct fl_str text)
{
    text = fl_str_sub(text, 0, SHOWN_MAX);
    fl_buf_add_char(line, '"');
    for (size_t i = 0; i < text.n; i++) {
        bool is_plain = text.p[i] >= ' ' && text.p[i] <= '~' && text.p[i] != '"';
        fl_buf_add_char(line, is_plain ? text.p[i] : '?');
    }
    fl_buf_add_char(line, '"');
}

static struct fl_str or_dash(struct fl_str text)
{
    return text.n ? text : FL_STR("-");
}

static void write_line(const struct fl_audit_entry *entry, struct fl_buf *line)
{
    char when[FL_RFC3339_SIZE];
    fl_time_rfc3339(fl_clock_wall_ms(), when);
    fl_buf_printf(line, "%s %u %.*s ", when, entry->status, FL_STR_ARG(or_dash(entry->peer)));
    add_quoted(line, entry->path);
    fl_buf_add_char(line, ' ');
    add_quoted(line, entry->user_agent);
    fl_buf_printf(line, " %.*s GetCredentials 1 %.*s %.*s\n", FL_STR_ARG(or_dash(entry->task_arn)),
                  FL_STR_ARG(or_dash(entry->cluster)), FL_STR_ARG(or_dash(entry->instance_arn)));
}

void fl_audit_note(struct fl_audit *audit, const struct fl_audit_entry *entry)
{
    FL_CLEANUP_BUF struct fl_buf line = FL_BUF_INIT(LINE_MAX_BYTES);
    if (!audit)
        return;
    write_line(entry, &line);
    int rc = audit->fd < 0 || audit->size >= FL_AUDIT_MAX ? turn_over(audit) : 0;
    if (rc == 0)
        rc = fl_fs_write_all(audit->fd, line.p, line.n);
    if (rc == 0)
        audit->size += (int64_t)line.n;
    if (rc < 0 && !audit->has_failed)
        fl_log_warn("%s cannot be written: %s", audit->path.p, strerror(-rc));
    audit->has_failed = rc < 0;
}
