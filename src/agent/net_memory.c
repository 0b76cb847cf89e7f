/* {"subnet": "10.1.0.0/20", "boot": "…", "forwards": ["ipv4"]}: what was switched on before the
 * last boot is switched on no more, so it counts only with the boot's id. */
#include "agent/net_memory.h"

#include <errno.h>
#include <fcntl.h>

#include "agent/config_host.h"
#include "base/fs.h"
#include "wire/json.h"

enum { FILE_MAX = 4096 };

#define FILE_NAME "network.json"

static int open_dir(struct fl_str path)
{
    FL_CLEANUP_FREE char *path_z = fl_strndup(path.p, path.n);
    int fd = open(path_z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static bool holds(const struct fl_json *list, const char *word)
{
    for (size_t i = 0; i < fl_json_items(list); i++)
        if (fl_str_is(fl_json_text(fl_json_item(list, i)), word))
            return true;
    return false;
}

void fl_net_memory_read(struct fl_str data_dir, struct fl_net_memory *ret_memory)
{
    FL_CLEANUP_FD int dir_fd = open_dir(data_dir);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf bytes = FL_BUF_INIT(FILE_MAX);
    struct fl_subnet subnet;
    *ret_memory = (struct fl_net_memory){0};
    if (dir_fd < 0 || fl_fs_read(dir_fd, FILE_NAME, FILE_MAX - 1, &bytes) < 0 || !bytes.n)
        return;
    const struct fl_json *json = fl_json_read(fl_buf_str(&bytes), arena, NULL);
    if (fl_subnet_parse(fl_json_text(fl_json_get(json, "subnet")), &subnet) &&
        subnet.prefix == FL_SUBNET_PREFIX)
        ret_memory->subnet = subnet;
    if (!fl_str_eq(fl_json_text(fl_json_get(json, "boot")), fl_config_boot_id(arena)))
        return;
    ret_memory->forwards_ipv4 = holds(fl_json_get(json, "forwards"), "ipv4");
    ret_memory->forwards_ipv6 = holds(fl_json_get(json, "forwards"), "ipv6");
}

static void write_memory(struct fl_buf *text, const struct fl_net_memory *memory,
                         struct fl_arena *arena)
{
    char subnet[FL_SUBNET_TEXT_SIZE];
    struct fl_json_writer jw = {.buf = text};
    fl_subnet_text(memory->subnet, subnet);
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "subnet", fl_str_of(subnet));
    fl_jw_member_str(&jw, "boot", fl_config_boot_id(arena));
    fl_jw_key(&jw, "forwards");
    fl_jw_array_begin(&jw);
    if (memory->forwards_ipv4)
        fl_jw_str(&jw, FL_STR("ipv4"));
    if (memory->forwards_ipv6)
        fl_jw_str(&jw, FL_STR("ipv6"));
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    fl_buf_add_char(text, '\n');
}

int fl_net_memory_write(struct fl_str data_dir, const struct fl_net_memory *memory,
                        struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    FL_CLEANUP_FD int dir_fd = open_dir(data_dir);
    write_memory(&text, memory, arena);
    int rc = dir_fd < 0 ? dir_fd : fl_fs_write_atomic(dir_fd, FILE_NAME, fl_buf_str(&text), 0600);
    return rc < 0 ? fl_err_errno(err, rc, "cannot write %s", FILE_NAME) : 0;
}

int fl_net_memory_remove(struct fl_str data_dir, struct fl_err *err)
{
    FL_CLEANUP_FD int dir_fd = open_dir(data_dir);
    if (dir_fd == -ENOENT || (dir_fd >= 0 && unlinkat(dir_fd, FILE_NAME, 0) == 0))
        return 0;
    int rc = dir_fd < 0 ? dir_fd : -errno;
    return rc == -ENOENT ? 0 : fl_err_errno(err, rc, "cannot remove %s", FILE_NAME);
}
