/* {"port": 51679} */
#include "agent/port_file.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/log.h"
#include "wire/json.h"

enum { FILE_MAX = 256 };

uint16_t fl_port_file_read(struct fl_str dir, const char *name)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    const char *path = fl_str_printf(arena, "%.*s/%s", FL_STR_ARG(dir), name).p;
    if (fl_fs_read(AT_FDCWD, path, FILE_MAX - 1, &text) < 0)
        return 0;
    int64_t port = fl_json_int(fl_json_get(fl_json_read(fl_buf_str(&text), arena, NULL), "port"));
    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

void fl_port_file_write(struct fl_str dir, const char *name, uint16_t port)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *path = fl_str_printf(arena, "%.*s/%s", FL_STR_ARG(dir), name).p;
    char text[64];
    (void)snprintf(text, sizeof(text), "{\"port\": %u}\n", port);
    int r = fl_fs_write_atomic(AT_FDCWD, path, fl_str_of(text), 0600);
    if (r < 0)
        fl_log_warn("%s cannot be written: %s", path, strerror(-r));
}
