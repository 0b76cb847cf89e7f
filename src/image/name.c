/* Image names: grammar, defaults, and the place that a name means. */
#include "image/name.h"

#include <errno.h>

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* One path component: words joined by one '.', one or two '_', or any number of '-'. */
static bool component_valid(struct fl_str part)
{
    size_t i = 0;
    if (part.n == 0 || !is_word(part.p[0]) || !is_word(part.p[part.n - 1]))
        return false;
    while (i < part.n) {
        if (is_word(part.p[i])) {
            i++;
            continue;
        }
        char separator = part.p[i];
        size_t run = 0;
        while (i < part.n && part.p[i] == separator) {
            run++;
            i++;
        }
        if (!is_word(part.p[i]))
            return false;
        if (!(separator == '-' || (separator == '.' && run == 1) || (separator == '_' && run <= 2)))
            return false;
    }
    return true;
}

bool fl_repository_valid(struct fl_str repository)
{
    struct fl_str rest = repository, part;
    if (repository.n == 0 || repository.n > FL_REPOSITORY_MAX ||
        repository.p[repository.n - 1] == '/')
        return false;
    while (fl_str_split(&rest, '/', &part)) {
        if (!component_valid(part))
            return false;
    }
    return true;
}

bool fl_tag_valid(struct fl_str tag)
{
    if (tag.n == 0 || tag.n > FL_TAG_MAX || tag.p[0] == '.' || tag.p[0] == '-')
        return false;
    for (size_t i = 0; i < tag.n; i++) {
        char c = tag.p[i];
        if (!is_word(c) && !(c >= 'A' && c <= 'Z') && c != '_' && c != '.' && c != '-')
            return false;
    }
    return true;
}

/* A first part names a registry if it looks like a host: with a dot or a port, or localhost. */
static bool is_host(struct fl_str part)
{
    return fl_str_index(part, '.') >= 0 || fl_str_index(part, ':') >= 0 ||
           fl_str_is(part, "localhost");
}

/* A host name or IPv4 address, then maybe a colon and a port. */
static bool host_valid(struct fl_str host)
{
    ptrdiff_t colon = fl_str_index(host, ':');
    struct fl_str name = colon < 0 ? host : fl_str_sub(host, 0, (size_t)colon);
    uint64_t port = 1;
    if (colon >= 0 && !fl_str_to_u64(fl_str_from(host, (size_t)colon + 1), &port))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = is_word(c) || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return name.n > 0 && host.n <= FL_REPOSITORY_MAX && port > 0 && port <= UINT16_MAX;
}

static int refuse(struct fl_str text, struct fl_err *err)
{
    struct fl_str shown = fl_str_sub(text, 0, FL_MIN(text.n, 300));
    return fl_err_set(err, -EINVAL, "invalid reference format: \"%.*s\" is no image name",
                      FL_STR_ARG(shown));
}

static bool cut_tag_and_digest(struct fl_str *rest, struct fl_image_name *name)
{
    ptrdiff_t at = fl_str_index(*rest, '@');
    if (at >= 0) {
        if (!fl_digest_parse(fl_str_from(*rest, (size_t)at + 1), &name->digest))
            return false;
        name->has_digest = true;
        *rest = fl_str_sub(*rest, 0, (size_t)at);
    }
    ptrdiff_t colon = fl_str_rindex(*rest, ':');
    if (colon >= 0 && colon > fl_str_rindex(*rest, '/')) {
        name->tag = fl_str_from(*rest, (size_t)colon + 1);
        *rest = fl_str_sub(*rest, 0, (size_t)colon);
        return fl_tag_valid(name->tag);
    }
    if (!name->has_digest)
        name->tag = FL_STR("latest");
    return true;
}

int fl_image_name_parse(struct fl_str text, struct fl_image_name *ret_name, struct fl_err *err)
{
    struct fl_image_name name = {0};
    struct fl_str rest = text;
    if (!cut_tag_and_digest(&rest, &name))
        return refuse(text, err);
    ptrdiff_t slash = fl_str_index(rest, '/');
    if (slash > 0 && is_host(fl_str_sub(rest, 0, (size_t)slash))) {
        name.host = fl_str_sub(rest, 0, (size_t)slash);
        rest = fl_str_from(rest, (size_t)slash + 1);
    }
    name.repository = rest;
    if (!fl_repository_valid(rest) || (name.host.n && !host_valid(name.host)))
        return refuse(text, err);
    *ret_name = name;
    return 0;
}

static bool is_ecr_host(struct fl_str host, const struct fl_registry_identity *identity)
{
    struct fl_str middle = FL_STR(".dkr.ecr."), end = FL_STR(".amazonaws.com");
    if (host.n != identity->account.n + middle.n + identity->region.n + end.n)
        return false;
    if (!fl_str_starts(host, identity->account))
        return false;
    struct fl_str rest = fl_str_from(host, identity->account.n);
    if (!fl_str_starts(rest, middle))
        return false;
    rest = fl_str_from(rest, middle.n);
    return fl_str_starts(rest, identity->region) &&
           fl_str_eq(fl_str_from(rest, identity->region.n), end);
}

/* "localhost" with the registry's own port means the registry too. */
static bool is_own_localhost(struct fl_str host, struct fl_str registry_host)
{
    ptrdiff_t colon = fl_str_rindex(registry_host, ':');
    struct fl_str local = FL_STR("localhost");
    return colon >= 0 && fl_str_starts(host, local) &&
           fl_str_eq(fl_str_from(host, local.n), fl_str_from(registry_host, (size_t)colon));
}

enum fl_image_place fl_image_name_place(const struct fl_image_name *name,
                                        const struct fl_registry_identity *identity)
{
    if (name->host.n == 0)
        return FL_IMAGE_SHORT;
    if (fl_str_eq(name->host, identity->registry_host) ||
        is_own_localhost(name->host, identity->registry_host) || is_ecr_host(name->host, identity))
        return FL_IMAGE_BUILTIN;
    return FL_IMAGE_REMOTE;
}

struct fl_str fl_image_name_full(const struct fl_image_name *name, struct fl_arena *arena)
{
    struct fl_str host = name->host.n ? name->host : FL_STR("docker.io");
    bool bare = fl_str_is(host, "docker.io") && fl_str_index(name->repository, '/') < 0;
    return fl_str_printf(arena, "%.*s/%s%.*s%s%.*s%s%s", FL_STR_ARG(host), bare ? "library/" : "",
                         FL_STR_ARG(name->repository), name->tag.n ? ":" : "",
                         FL_STR_ARG(name->tag), name->has_digest ? "@sha256:" : "",
                         name->has_digest ? name->digest.hex : "");
}
