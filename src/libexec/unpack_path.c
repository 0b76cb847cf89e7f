/* Paths inside an archive: cut, cleaned, bounded. */
#include <errno.h>
#include <stdio.h>

#include "libexec/unpack.h"

const char *fl_printable(const char *text)
{
    static char shown[256];
    size_t n = 0;
    for (; text && text[n] && n < sizeof(shown) - 1; n++)
        shown[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
    shown[n] = '\0';
    return shown;
}

static int add_component(struct fl_member *member, size_t *n, struct fl_str part)
{
    if (*n + 1 + part.n > FL_UNPACK_PATH_MAX)
        return -ENAMETOOLONG;
    member->parent_n = *n;
    if (*n)
        member->path[(*n)++] = '/';
    member->name = member->path + *n;
    memcpy(member->path + *n, part.p, part.n);
    *n += part.n;
    member->path[*n] = '\0';
    return 0;
}

int fl_member_parse(const char *text, struct fl_member *ret_member, struct fl_err *err)
{
    struct fl_str rest = fl_str_of(text), part;
    size_t n = 0, depth = 0;
    ret_member->path[0] = '\0';
    ret_member->name = ret_member->path;
    ret_member->parent_n = 0;
    if (!text || !*text)
        return fl_err_set(err, -EBADMSG, "the archive has an entry without a name");
    while (fl_str_split(&rest, '/', &part)) {
        if (part.n == 0 || fl_str_is(part, "."))
            continue;
        if (fl_str_is(part, ".."))
            return fl_err_set(err, -EBADMSG, "the archive has a path with \"..\": %s",
                              fl_printable(text));
        if (++depth > FL_UNPACK_DEPTH_MAX || add_component(ret_member, &n, part) < 0)
            return fl_err_set(err, -ENAMETOOLONG, "the archive has a path that is too long: %s",
                              fl_printable(text));
    }
    return 0;
}
