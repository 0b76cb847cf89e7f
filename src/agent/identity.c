/* The file <agent's data>/identity, JSON with a version. */
#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/id.h"
#include "wire/json.h"

enum { IDENTITY_VERSION = 1, IDENTITY_MAX = 16 * 1024 };

static const char *path_of(struct fl_str dir, struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/identity", FL_STR_ARG(dir)).p;
}

static int parse(struct fl_str text, struct fl_arena *arena, struct fl_identity *ret_identity,
                 struct fl_err *err)
{
    const struct fl_json *json = fl_json_read(text, arena, err);
    if (!json || fl_json_int(fl_json_get(json, "version")) != IDENTITY_VERSION)
        return fl_err_set(err, -EINVAL, "the agent's identity file is none of this release");
    *ret_identity = (struct fl_identity){
        .client_token = fl_json_text(fl_json_get(json, "clientToken")),
        .instance_arn = fl_json_text(fl_json_get(json, "containerInstanceArn")),
    };
    return 0;
}

/* A random UUID, as the API's client tokens look. */
static struct fl_str make_token(struct fl_arena *arena)
{
    uint8_t bytes[16];
    char hex[33];
    fl_random_bytes(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    fl_hex(bytes, sizeof(bytes), hex);
    return fl_str_printf(arena, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                         hex + 20);
}

int fl_identity_save(struct fl_str dir, const struct fl_identity *identity, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(IDENTITY_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "version", IDENTITY_VERSION);
    fl_jw_member_str(&jw, "clientToken", identity->client_token);
    if (identity->instance_arn.n > 0)
        fl_jw_member_str(&jw, "containerInstanceArn", identity->instance_arn);
    fl_jw_object_end(&jw);
    const char *path = path_of(dir, arena);
    int r = fl_fs_write_atomic(AT_FDCWD, path, fl_buf_str(&buf), 0600);
    return r < 0 ? fl_err_errno(err, r, "%s cannot be written", path) : 0;
}

int fl_identity_open(struct fl_str dir, struct fl_arena *arena, struct fl_identity *ret_identity,
                     struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(IDENTITY_MAX);
    const char *path = path_of(dir, arena);
    int r = fl_fs_read(AT_FDCWD, path, IDENTITY_MAX, &buf);
    if (r == 0)
        return parse(fl_buf_str(&buf), arena, ret_identity, err);
    if (r != -ENOENT)
        return fl_err_errno(err, r, "%s cannot be read", path);
    *ret_identity = (struct fl_identity){.client_token = make_token(arena)};
    return fl_identity_save(dir, ret_identity, err);
}
