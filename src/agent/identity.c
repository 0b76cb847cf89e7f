/* The file <agent's data>/identity, JSON with a version. */
#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/id.h"
#include "wire/json.h"

enum { IDENTITY_VERSION = 1, IDENTITY_MAX = 16 * 1024 };

static const char *path_of(struct fl_str dir, struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/identity", FL_STR_ARG(dir)).p;
}

static void get_word(const struct fl_json *json, const char *name, char ret_word[FL_IDENTITY_WORD])
{
    struct fl_str text = fl_json_text(fl_json_get(json, name));
    (void)snprintf(ret_word, FL_IDENTITY_WORD, "%.*s", FL_STR_ARG(text));
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
    get_word(json, "machine", ret_identity->machine.id);
    get_word(json, "board", ret_identity->machine.board);
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
    if (identity->machine.id[0])
        fl_jw_member_str(&jw, "machine", fl_str_of(identity->machine.id));
    if (identity->machine.board[0])
        fl_jw_member_str(&jw, "board", fl_str_of(identity->machine.board));
    fl_jw_object_end(&jw);
    const char *path = path_of(dir, arena);
    int r = fl_fs_write_atomic(AT_FDCWD, path, fl_buf_str(&buf), 0600);
    return r < 0 ? fl_err_errno(err, r, "%s cannot be written", path) : 0;
}

void fl_identity_renew(struct fl_identity *identity, struct fl_arena *arena)
{
    identity->instance_arn = (struct fl_str){0};
    identity->client_token = make_token(arena);
}

static bool differs(const char *a, const char *b)
{
    return a[0] && b[0] && strcmp(a, b) != 0;
}

/* What was not known before is noted now. */
static bool learn(char known[FL_IDENTITY_WORD], const char now[FL_IDENTITY_WORD])
{
    if (known[0] || !now[0])
        return false;
    memcpy(known, now, FL_IDENTITY_WORD);
    return true;
}

/* Is the identity of this machine? Of what is not known now or then nothing is concluded. */
static int compare(struct fl_str dir, const struct fl_machine *machine, struct fl_arena *arena,
                   struct fl_identity *identity, struct fl_err *err)
{
    if (differs(identity->machine.id, machine->id) ||
        differs(identity->machine.board, machine->board)) {
        fl_identity_renew(identity, arena);
        identity->machine = *machine;
        identity->is_foreign = true;
        return 0;
    }
    bool is_news = learn(identity->machine.id, machine->id);
    is_news |= learn(identity->machine.board, machine->board);
    return is_news ? fl_identity_save(dir, identity, err) : 0;
}

static void make_nonce(char ret_nonce[FL_IDENTITY_WORD])
{
    uint8_t bytes[(FL_IDENTITY_WORD - 1) / 2];
    fl_random_bytes(bytes, sizeof(bytes));
    fl_hex(bytes, sizeof(bytes), ret_nonce);
}

int fl_identity_open(struct fl_str dir, const struct fl_machine *machine, struct fl_arena *arena,
                     struct fl_identity *ret_identity, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(IDENTITY_MAX);
    const char *path = path_of(dir, arena);
    int r = fl_fs_read(AT_FDCWD, path, IDENTITY_MAX, &buf);
    if (r != 0 && r != -ENOENT)
        return fl_err_errno(err, r, "%s cannot be read", path);
    if (r == 0) {
        r = parse(fl_buf_str(&buf), arena, ret_identity, err);
        if (r == 0)
            r = compare(dir, machine, arena, ret_identity, err);
    } else {
        *ret_identity =
            (struct fl_identity){.client_token = make_token(arena), .machine = *machine};
        r = fl_identity_save(dir, ret_identity, err);
    }
    make_nonce(ret_identity->nonce);
    return r;
}
