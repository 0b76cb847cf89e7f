/* The file, JSON with a version, and the token's text. */
#include "agent/admission.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "wire/json.h"

enum { VERSION = 1, MAX_FILE = 16 * 1024, MAX_HOST = 256 };

int fl_admission_read(struct fl_str token, struct fl_admission *ret_admission, struct fl_err *err)
{
    struct fl_str hash = token, id = FL_STR(""), secret = FL_STR("");
    struct fl_tls_pins pins = {0};
    bool is_whole = fl_str_split(&hash, ':', &id) && id.n && hash.n;
    if (is_whole && fl_str_index(hash, ':') < 0) {
        *ret_admission =
            (struct fl_admission){.machine_key = {.access_key_id = id, .secret = hash}};
        return 0;
    }
    if (!is_whole || !fl_str_split(&hash, ':', &secret) || secret.n == 0 ||
        !fl_tls_pins_add(&pins, hash))
        return fl_err_set(err, -EINVAL,
                          "--token wants what `fairlead token create` printed: ID:SECRET:HASH");
    *ret_admission = (struct fl_admission){.token = fl_str_sub(token, 0, id.n + 1 + secret.n),
                                           .certificate = hash};
    return 0;
}

/* The URL's host, without brackets. */
static struct fl_str host_of(struct fl_str url)
{
    const char *mark = url.n ? memmem(url.p, url.n, "://", 3) : NULL;
    struct fl_str host = mark ? fl_str_from(url, (size_t)(mark - url.p) + 3) : url;
    ptrdiff_t slash = fl_str_index(host, '/');
    host = slash < 0 ? host : fl_str_sub(host, 0, (size_t)slash);
    if (fl_str_starts(host, FL_STR("["))) {
        ptrdiff_t end = fl_str_index(host, ']');
        return end < 0 ? host : fl_str_sub(host, 1, (size_t)end - 1);
    }
    ptrdiff_t colon = fl_str_rindex(host, ':');
    return colon < 0 ? host : fl_str_sub(host, 0, (size_t)colon);
}

/* An address is this machine's if it can be bound. Names are not asked for: who answers them is not
 * on this machine. */
static bool is_own_address(const char *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *info = NULL;
    if (getaddrinfo(host, "0", &hints, &info) != 0)
        return false;
    FL_CLEANUP_FD int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_own = fd >= 0 && bind(fd, info->ai_addr, info->ai_addrlen) == 0;
    freeaddrinfo(info);
    return is_own;
}

bool fl_admission_is_safe(struct fl_str url)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str host = host_of(url);
    if (fl_str_starts(url, FL_STR("https://")))
        return true;
    if (fl_str_is(host, "localhost") || fl_str_ends(host, FL_STR(".localhost")))
        return true;
    return host.n > 0 && host.n < MAX_HOST && is_own_address(fl_str_z(arena, host));
}

static const char *path_of(struct fl_str dir, struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/admission", FL_STR_ARG(dir)).p;
}

int fl_admitted_read(struct fl_str dir, struct fl_arena *arena, struct fl_admitted *ret_admitted,
                     struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_FILE);
    struct fl_admitted found = {0};
    const char *path = path_of(dir, arena);
    int r = fl_fs_read(AT_FDCWD, path, MAX_FILE, &buf);
    if (r < 0 && r != -ENOENT)
        return fl_err_errno(err, r, "%s cannot be read", path);
    if (r == 0) {
        const struct fl_json *json = fl_json_read(fl_buf_str(&buf), arena, NULL);
        const struct fl_json *server = fl_json_get(json, "server");
        const struct fl_json *hashes = fl_json_get(json, "certificates");
        if (fl_json_int(fl_json_get(json, "version")) != VERSION)
            return fl_err_set(err, -EINVAL, "%s is none of this release", path);
        found.key.access_key_id = fl_json_text(fl_json_get(json, "accessKeyId"));
        found.key.secret = fl_json_text(fl_json_get(json, "secretAccessKey"));
        found.server = fl_json_text(server);
        for (size_t i = 0; i < fl_json_items(hashes); i++)
            (void)fl_tls_pins_add(&found.pins, fl_json_text(fl_json_item(hashes, i)));
    }
    *ret_admitted = found;
    return 0;
}

int fl_admitted_save(struct fl_str dir, const struct fl_admitted *admitted, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_FILE);
    struct fl_json_writer jw = {.buf = &buf};
    const char *path = path_of(dir, arena);
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "version", VERSION);
    fl_jw_member_str(&jw, "accessKeyId", admitted->key.access_key_id);
    fl_jw_member_str(&jw, "secretAccessKey", admitted->key.secret);
    if (admitted->server.n)
        fl_jw_member_str(&jw, "server", admitted->server);
    fl_jw_key(&jw, "certificates");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < admitted->pins.count; i++)
        fl_jw_str(&jw, fl_str_of(admitted->pins.hash[i]));
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    int r = fl_fs_write_atomic(AT_FDCWD, path, fl_buf_str(&buf), 0600);
    return r < 0 ? fl_err_errno(err, r, "%s cannot be written", path) : 0;
}
