/* Two keys, read once at start. */
#include "server/keys.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "wire/json.h"

enum { KEY_COUNT = 2, MAX_KEY_FILE = 4096 };

struct fl_keys {
    struct fl_arena *arena;
    struct fl_credentials keys[KEY_COUNT]; /* by role */
};

static int read_key(struct fl_keys *keys, struct fl_str data_dir, const char *name,
                    struct fl_credentials *ret_key, struct fl_err *err)
{
    struct fl_str path = fl_str_printf(keys->arena, "%.*s/keys/%s", FL_STR_ARG(data_dir), name);
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_KEY_FILE);
    int rc = fl_fs_read(AT_FDCWD, path.p, MAX_KEY_FILE, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the key file %s", path.p);
    const struct fl_json *json = fl_json_read(fl_buf_str(&buf), keys->arena, err);
    if (!json)
        return -EINVAL;
    struct fl_str id = fl_json_text(fl_json_get(json, "accessKeyId"));
    struct fl_str secret = fl_json_text(fl_json_get(json, "secretAccessKey"));
    if (id.n == 0 || secret.n == 0)
        return fl_err_set(err, -EINVAL, "the key file %s holds no key", path.p);
    ret_key->access_key_id = id;
    ret_key->secret = secret;
    return 0;
}

int fl_keys_load(struct fl_str data_dir, struct fl_keys **ret_keys, struct fl_err *err)
{
    struct fl_keys *keys = fl_calloc(1, sizeof(*keys));
    keys->arena = fl_arena_new();
    int rc = read_key(keys, data_dir, "operator.json", &keys->keys[FL_ROLE_OPERATOR], err);
    if (rc == 0)
        rc = read_key(keys, data_dir, "agent.json", &keys->keys[FL_ROLE_AGENT], err);
    if (rc < 0) {
        fl_keys_free(keys);
        return rc;
    }
    *ret_keys = keys;
    return 0;
}

void fl_keys_free(struct fl_keys *keys)
{
    if (!keys)
        return;
    fl_arena_free(keys->arena);
    free(keys);
}

bool fl_keys_lookup(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key)
{
    const struct fl_keys *keys = context;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (!fl_str_eq(keys->keys[i].access_key_id, access_key_id))
            continue;
        *ret_key = keys->keys[i];
        return true;
    }
    return false;
}

enum fl_role fl_keys_role(const struct fl_keys *keys, struct fl_str access_key_id)
{
    bool is_operator = fl_str_eq(keys->keys[FL_ROLE_OPERATOR].access_key_id, access_key_id);
    return is_operator ? FL_ROLE_OPERATOR : FL_ROLE_AGENT;
}

struct fl_credentials fl_keys_operator(const struct fl_keys *keys)
{
    return keys->keys[FL_ROLE_OPERATOR];
}
