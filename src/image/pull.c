/* Origins, redirects, ranges and the operator's word on registries. */
#include "image/pull.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#include "wire/json.h"

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

/* A name or an IPv4 address, or an IPv6 address in brackets; its length, 0 if it is none. */
static size_t host_length(struct fl_str s)
{
    size_t n = 0;
    if (s.n && s.p[0] == '[') {
        n = 1;
        while (n < s.n && (isxdigit((unsigned char)s.p[n]) || s.p[n] == ':' || s.p[n] == '.'))
            n++;
        return n > 1 && n < s.n && s.p[n] == ']' ? n + 1 : 0;
    }
    while (n < s.n && is_host_char(s.p[n]))
        n++;
    return n && s.p[0] != '-' && s.p[0] != '.' ? n : 0;
}

static bool cut_port(struct fl_str *rest, uint16_t *port)
{
    size_t n = 1;
    uint64_t number;
    if (rest->n == 0 || rest->p[0] != ':')
        return true;
    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    if (!fl_str_to_u64(fl_str_sub(*rest, 1, n - 1), &number) || number == 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    *rest = fl_str_from(*rest, n);
    return true;
}

static bool is_plain(struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '\\' || s.p[i] == '#')
            return false;
    return true;
}

static struct fl_str after_scheme(struct fl_str url, bool *tls)
{
    static const struct {
        const char *text;
        bool tls;
    } schemes[] = {{"https://", true}, {"http://", false}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(schemes); i++) {
        size_t n = strlen(schemes[i].text);
        if (fl_str_case_eq(fl_str_sub(url, 0, FL_MIN(n, url.n)), fl_str_of(schemes[i].text))) {
            *tls = schemes[i].tls;
            return fl_str_from(url, n);
        }
    }
    return FL_STR("");
}

bool fl_origin_parse(struct fl_str url, struct fl_origin *ret_origin, struct fl_str *ret_rest)
{
    struct fl_origin origin = {0};
    if (url.n > FL_PULL_URL_MAX || !is_plain(url))
        return false;
    struct fl_str rest = after_scheme(url, &origin.tls);
    size_t n = host_length(rest);
    if (n == 0)
        return false;
    origin.host = fl_str_sub(rest, 0, n);
    origin.port = origin.tls ? 443 : 80;
    rest = fl_str_from(rest, n);
    size_t left = rest.n;
    if (!cut_port(&rest, &origin.port) || (rest.n && rest.p[0] != '/' && rest.p[0] != '?'))
        return false;
    origin.authority = (struct fl_str){origin.host.p, n + left - rest.n};
    *ret_origin = origin;
    *ret_rest = rest;
    return true;
}

bool fl_origin_eq(const struct fl_origin *a, const struct fl_origin *b)
{
    return a->tls == b->tls && a->port == b->port && fl_str_case_eq(a->host, b->host);
}

/* As an IPv4 or IPv6 address; 4, 16, or 0 bytes. What a resolver would take for an address without
 * being one in full ("127.1", "0x7f.1", "2130706433") counts as 127.0.0.1. */
static size_t address_of(struct fl_str host, uint8_t bytes[16])
{
    char text[64];
    struct in_addr loose;
    if (host.n == 0 || host.n >= sizeof(text))
        return 0;
    bool brackets = host.p[0] == '[';
    memcpy(text, host.p + brackets, host.n - 2 * brackets);
    text[host.n - 2 * brackets] = '\0';
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        if (memcmp(bytes, mapped, sizeof(mapped)) != 0)
            return 16;
        memmove(bytes, bytes + 12, 4);
        return 4;
    }
    if (inet_aton(text, &loose) == 0)
        return 0;
    memcpy(bytes, &loose, 4);
    return 4;
}

bool fl_host_is_loopback(struct fl_str host)
{
    static const uint8_t six[16] = {[15] = 1};
    uint8_t bytes[16];
    size_t n = address_of(host, bytes);
    if (n == 4)
        return bytes[0] == 127;
    if (n == 16)
        return memcmp(bytes, six, 16) == 0;
    return fl_str_case_eq(host, FL_STR("localhost"));
}

bool fl_host_is_own(struct fl_str host)
{
    static const uint8_t none[16];
    uint8_t bytes[16];
    size_t n = address_of(host, bytes);
    if (n == 4)
        return bytes[0] == 127 || bytes[0] == 0 || (bytes[0] == 169 && bytes[1] == 254);
    if (n == 16)
        return fl_host_is_loopback(host) || memcmp(bytes, none, 16) == 0 ||
               (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
    return fl_str_case_eq(host, FL_STR("localhost")) ||
           (host.n > 10 && fl_str_case_eq(fl_str_from(host, host.n - 10), FL_STR(".localhost")));
}

/* ---- the operator's word ---- */

static int parse_mirrors(const struct fl_json *list, struct fl_registry_entry *entry,
                         struct fl_err *err)
{
    if (fl_json_items(list) > FL_PULL_MIRRORS_MAX)
        return fl_err_set(err, -E2BIG, "\"%.*s\" has more than %d mirrors", FL_STR_ARG(entry->host),
                          FL_PULL_MIRRORS_MAX);
    for (size_t i = 0; i < fl_json_items(list); i++) {
        struct fl_str url = fl_json_text(fl_json_item(list, i)), rest;
        struct fl_origin origin;
        while (url.n && url.p[url.n - 1] == '/')
            url.n--;
        if (!fl_origin_parse(url, &origin, &rest) || rest.n)
            return fl_err_set(err, -EINVAL, "\"%.*s\" is no URL of a mirror: http(s)://HOST[:PORT]",
                              (int)FL_MIN(url.n, (size_t)100), url.p);
        entry->mirrors[entry->mirror_count++] = url;
    }
    return 0;
}

static int parse_entry(struct fl_str host, const struct fl_json *json,
                       struct fl_registry_entry *entry, struct fl_err *err)
{
    *entry = (struct fl_registry_entry){.host = host};
    if (!fl_json_is(json, FL_JSON_OBJECT) || host.n == 0 || host.n > FL_REPOSITORY_MAX)
        return fl_err_set(err, -EINVAL, "\"%.*s\" is no registry's name with an object",
                          (int)FL_MIN(host.n, (size_t)100), host.p);
    for (size_t i = 0; i < fl_json_members(json); i++) {
        struct fl_str name = fl_json_text(fl_json_member_name(json, i));
        const struct fl_json *value = fl_json_member(json, i);
        int rc = 0;
        if (fl_str_is(name, "mirrors") && fl_json_is(value, FL_JSON_ARRAY))
            rc = parse_mirrors(value, entry, err);
        else if (fl_str_is(name, "insecure") &&
                 (fl_json_is_true(value) || fl_json_is(value, FL_JSON_FALSE)))
            entry->insecure = fl_json_is_true(value);
        else if (fl_str_is(name, "ca") && fl_str_starts(fl_json_text(value), FL_STR("/")))
            entry->ca_file = fl_json_text(value);
        else
            rc = fl_err_set(err, -EINVAL,
                            "\"%.*s\": a registry has \"mirrors\" (a list), \"insecure\" (true or "
                            "false) and \"ca\" (an absolute path)",
                            FL_STR_ARG(host));
        if (rc < 0)
            return rc;
    }
    return 0;
}

int fl_registries_parse(struct fl_str text, struct fl_arena *arena,
                        struct fl_registries *ret_registries, struct fl_err *err)
{
    const struct fl_json *root = fl_json_read(text, arena, err);
    struct fl_registries found = {0};
    if (!root)
        return -EINVAL;
    if (!fl_json_is(root, FL_JSON_OBJECT) || fl_json_members(root) > FL_REGISTRIES_MAX)
        return fl_err_set(err, -EINVAL, "it is no JSON object of at most %d registries",
                          FL_REGISTRIES_MAX);
    found.items = fl_arena_new_array(arena, struct fl_registry_entry, fl_json_members(root) + 1);
    for (; found.count < fl_json_members(root); found.count++) {
        int rc = parse_entry(fl_json_text(fl_json_member_name(root, found.count)),
                             fl_json_member(root, found.count), &found.items[found.count], err);
        if (rc < 0)
            return rc;
    }
    *ret_registries = found;
    return 0;
}

const struct fl_registry_entry *fl_registries_find(const struct fl_registries *registries,
                                                   struct fl_str host)
{
    for (size_t i = 0; i < registries->count; i++)
        if (fl_str_case_eq(registries->items[i].host, host))
            return &registries->items[i];
    return NULL;
}

/* An image name's host without its port. */
static struct fl_str without_port(struct fl_str host)
{
    ptrdiff_t colon = fl_str_rindex(host, ':');
    return colon > 0 ? fl_str_sub(host, 0, (size_t)colon) : host;
}

struct fl_str fl_registry_url(const struct fl_registries *registries, struct fl_str host,
                              struct fl_arena *arena)
{
    const struct fl_registry_entry *entry = fl_registries_find(registries, host);
    bool plain = (entry && entry->insecure) || fl_host_is_loopback(without_port(host));
    if (fl_str_is(host, "docker.io"))
        host = FL_STR("registry-1.docker.io");
    return fl_str_printf(arena, "%s://%.*s", plain ? "http" : "https", FL_STR_ARG(host));
}

/* ---- redirects and ranges ---- */

int fl_redirect_resolve(struct fl_str url, struct fl_str location, struct fl_arena *arena,
                        struct fl_str *ret_url, bool *ret_same, struct fl_err *err)
{
    struct fl_origin from, to;
    struct fl_str rest, whole = location;
    struct fl_str shown = fl_str_sub(location, 0, FL_MIN(location.n, (size_t)100));
    bool parsed = fl_origin_parse(url, &from, &rest);
    FL_ASSERT(parsed);
    if (location.n && location.p[0] == '/' && (location.n < 2 || location.p[1] != '/'))
        whole = fl_str_printf(arena, "%s://%.*s%.*s", from.tls ? "https" : "http",
                              FL_STR_ARG(from.authority), FL_STR_ARG(location));
    if (!fl_origin_parse(whole, &to, &rest) || !is_plain(shown))
        return fl_err_set(err, -EPERM, "the registry redirects to what is no plain http(s) URL");
    if (from.tls && !to.tls)
        return fl_err_set(err, -EPERM, "the registry redirects from https to %.*s",
                          FL_STR_ARG(shown));
    if (fl_host_is_own(to.host) && !fl_host_is_own(from.host))
        return fl_err_set(err, -EPERM, "the registry redirects to this machine itself: %.*s",
                          FL_STR_ARG(shown));
    *ret_same = fl_origin_eq(&from, &to);
    *ret_url = fl_str_dup(arena, whole);
    return 0;
}

bool fl_content_range_fits(struct fl_str text, uint64_t from, uint64_t size)
{
    struct fl_str first, last;
    uint64_t a, b, total;
    if (!fl_str_starts(text, FL_STR("bytes ")))
        return false;
    text = fl_str_from(text, 6);
    if (!fl_str_split(&text, '-', &first) || !fl_str_split(&text, '/', &last) ||
        !fl_str_to_u64(first, &a) || !fl_str_to_u64(last, &b) || a != from || b < a || b >= size)
        return false;
    return fl_str_is(text, "*") || (fl_str_to_u64(text, &total) && total == size);
}
