/* Users and groups of an image. Its files are foreign: nothing outside a layer is reached, sizes
 * are capped, only regular files are read. */
#include "agent/bundle_user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fs.h"

enum { FIELDS_MAX = 7 };

/* One line of passwd or group: name, password, number, then what differs. */
struct entry {
    struct fl_str fields[FIELDS_MAX];
    size_t count;
    uint32_t number;
};

static bool to_id(struct fl_str text, uint32_t *ret_id)
{
    uint64_t value;
    if (!fl_str_to_u64(text, &value) || value > INT32_MAX)
        return false;
    *ret_id = (uint32_t)value;
    return true;
}

/* Cuts a line at colons; false for a comment or a line without a usable number. */
static bool parse_entry(struct fl_str line, struct entry *ret_entry)
{
    struct entry entry = {.count = 0};
    line = fl_str_trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return false;
    while (entry.count < FIELDS_MAX) {
        ptrdiff_t colon = fl_str_index(line, ':');
        entry.fields[entry.count++] = colon < 0 ? line : fl_str_sub(line, 0, (size_t)colon);
        if (colon < 0)
            break;
        line = fl_str_from(line, (size_t)colon + 1);
    }
    if (entry.count < 3 || !to_id(entry.fields[2], &entry.number))
        return false;
    *ret_entry = entry;
    return true;
}

/* The first entry of that name or, where the text is a number, of that id. */
static bool find_entry(struct fl_str file, struct fl_str wanted, struct entry *ret_entry)
{
    struct fl_str line;
    uint32_t id;
    bool is_number = to_id(wanted, &id);
    while (fl_str_split(&file, '\n', &line))
        if (parse_entry(line, ret_entry) &&
            (fl_str_eq(ret_entry->fields[0], wanted) || (is_number && ret_entry->number == id)))
            return true;
    return false;
}

static bool lists_member(struct fl_str members, struct fl_str name)
{
    struct fl_str member;
    while (fl_str_split(&members, ',', &member))
        if (fl_str_eq(fl_str_trim(member), name))
            return true;
    return false;
}

static void add_memberships(struct fl_str file, struct fl_str name, struct fl_arena *arena,
                            struct fl_bundle_user *user)
{
    struct fl_str line;
    struct entry entry;
    user->groups = fl_arena_new_array(arena, uint32_t, FL_BUNDLE_MAX_GROUPS);
    while (fl_str_split(&file, '\n', &line)) {
        if (!parse_entry(line, &entry) || entry.count < 4 || !lists_member(entry.fields[3], name))
            continue;
        if (user->group_count < FL_BUNDLE_MAX_GROUPS)
            user->groups[user->group_count++] = entry.number;
    }
}

static bool is_digits(struct fl_str text)
{
    size_t i = text.n > 0 && text.p[0] == '-';
    for (; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return text.n > 0;
}

static int unknown(struct fl_err *err, const char *kind, struct fl_str name, const char *file)
{
    if (is_digits(name))
        return fl_err_set(err, -ERANGE, "uids and gids must be in range 0-2147483647");
    return fl_err_set(err, -ENOENT, "unable to find %s %.*s: no matching entries in %s file", kind,
                      FL_STR_ARG(name), file);
}

int fl_bundle_user_resolve(struct fl_str user, struct fl_str passwd, struct fl_str group,
                           struct fl_arena *arena, struct fl_bundle_user *ret_user,
                           struct fl_err *err)
{
    struct fl_bundle_user found = {.uid = 0};
    struct entry entry = {.count = 0};
    ptrdiff_t colon = fl_str_index(user, ':');
    struct fl_str name = colon < 0 ? user : fl_str_sub(user, 0, (size_t)colon);
    struct fl_str group_name = colon < 0 ? FL_STR("") : fl_str_from(user, (size_t)colon + 1);
    if (name.n == 0)
        name = FL_STR("0");
    bool is_listed = find_entry(passwd, name, &entry);
    if (is_listed) {
        found.uid = entry.number;
        if (entry.count > 3)
            (void)to_id(entry.fields[3], &found.gid);
    } else if (!to_id(name, &found.uid)) {
        return unknown(err, "user", name, "passwd");
    }
    if (group_name.n > 0) {
        if (find_entry(group, group_name, &entry))
            found.gid = entry.number;
        else if (!to_id(group_name, &found.gid))
            return unknown(err, "group", group_name, "group");
    } else if (is_listed) {
        add_memberships(group, entry.fields[0], arena, &found);
    }
    *ret_user = found;
    return 0;
}

static int open_beneath(int root_fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

/* A whiteout hides what lies below; so does an opaque directory, and a file in its place. */
static bool hides_below(int layer_fd)
{
    char proc[64];
    char value[2] = "";
    struct stat st;
    FL_CLEANUP_FD int etc_fd = open_beneath(layer_fd, "etc", O_PATH | O_NOFOLLOW);
    if (etc_fd < 0)
        return false;
    if (fstat(etc_fd, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)))
        return true;
    (void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", etc_fd);
    return getxattr(proc, "trusted.overlay.opaque", value, sizeof(value)) >= 1 && value[0] == 'y';
}

static bool read_regular(int fd, struct fl_buf *text)
{
    struct stat st;
    char chunk[16384];
    ssize_t n;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FL_BUNDLE_ETC_MAX)
        return false;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        fl_buf_add(text, chunk, (size_t)n);
    return n == 0 && !text->overflow;
}

/* 1: this layer decides (text may be empty); 0: look further down. */
static int read_in_layer(struct fl_str layer, const char *name, struct fl_arena *arena,
                         struct fl_buf *text)
{
    FL_CLEANUP_FD int layer_fd = open(fl_str_z(arena, layer), O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *path = fl_str_printf(arena, "etc/%s", name).p;
    if (layer_fd < 0)
        return 0;
    FL_CLEANUP_FD int fd = open_beneath(layer_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        if (!read_regular(fd, text))
            fl_buf_clear(text);
        return 1;
    }
    return fd != -ENOENT || hides_below(layer_fd);
}

struct fl_str fl_bundle_read_etc(const struct fl_str *layers, size_t layer_count, const char *name,
                                 struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_BUNDLE_ETC_MAX);
    for (size_t i = 0; i < layer_count; i++)
        if (read_in_layer(layers[i], name, arena, &text))
            break;
    return fl_str_dup(arena, fl_buf_str(&text));
}
