/* Paths are taken apart from their end: a repository may be called a/blobs/b. */
#include "server/registry_route.h"

/* Cuts the last part off *path; false when there is no '/'. */
static bool cut_last(struct fl_str *path, struct fl_str *ret_last)
{
    ptrdiff_t slash = fl_str_rindex(*path, '/');
    if (slash < 0)
        return false;
    *ret_last = fl_str_from(*path, (size_t)slash + 1);
    *path = fl_str_sub(*path, 0, (size_t)slash);
    return true;
}

static struct fl_registry_route named(enum fl_registry_what what, struct fl_str repository,
                                      struct fl_str reference)
{
    struct fl_registry_route route = {
        .what = what, .repository = repository, .reference = reference};
    if (!fl_repository_valid(repository)) {
        route.what = FL_REGISTRY_BAD_NAME;
        return route;
    }
    route.has_digest = what != FL_REGISTRY_UPLOAD && fl_digest_parse(reference, &route.digest);
    switch (what) {
    case FL_REGISTRY_MANIFEST:
        route.bad_reference = !route.has_digest && !fl_tag_valid(reference);
        break;
    case FL_REGISTRY_BLOB:
    case FL_REGISTRY_REFERRERS:
        route.bad_reference = !route.has_digest;
        break;
    case FL_REGISTRY_NOTHING:
    case FL_REGISTRY_BAD_NAME:
    case FL_REGISTRY_BASE:
    case FL_REGISTRY_TOKEN:
    case FL_REGISTRY_CATALOG:
    case FL_REGISTRY_TAGS:
    case FL_REGISTRY_UPLOADS:
    case FL_REGISTRY_UPLOAD:
        break;
    }
    return route;
}

static struct fl_registry_route of_repository(struct fl_str rest)
{
    struct fl_str last = {0}, before = {0};
    if (!cut_last(&rest, &last) || !cut_last(&rest, &before))
        return (struct fl_registry_route){.what = FL_REGISTRY_NOTHING};
    if (fl_str_is(before, "tags") && fl_str_is(last, "list"))
        return named(FL_REGISTRY_TAGS, rest, FL_STR(""));
    if (fl_str_is(before, "manifests"))
        return named(FL_REGISTRY_MANIFEST, rest, last);
    if (fl_str_is(before, "referrers"))
        return named(FL_REGISTRY_REFERRERS, rest, last);
    if (fl_str_is(before, "blobs") && fl_str_is(last, "uploads"))
        return named(FL_REGISTRY_UPLOADS, rest, FL_STR(""));
    if (fl_str_is(before, "blobs"))
        return named(FL_REGISTRY_BLOB, rest, last);
    struct fl_str blobs = {0};
    if (!fl_str_is(before, "uploads") || !cut_last(&rest, &blobs) || !fl_str_is(blobs, "blobs"))
        return (struct fl_registry_route){.what = FL_REGISTRY_NOTHING};
    return named(last.n ? FL_REGISTRY_UPLOAD : FL_REGISTRY_UPLOADS, rest, last);
}

struct fl_registry_route fl_registry_route_of(struct fl_str path)
{
    struct fl_registry_route route = {.what = FL_REGISTRY_NOTHING};
    if (fl_str_is(path, "/v2") || fl_str_is(path, "/v2/"))
        route.what = FL_REGISTRY_BASE;
    else if (fl_str_is(path, "/v2/_token"))
        route.what = FL_REGISTRY_TOKEN;
    else if (fl_str_is(path, "/v2/_catalog"))
        route.what = FL_REGISTRY_CATALOG;
    else if (fl_str_starts(path, FL_STR("/v2/")))
        return of_repository(fl_str_from(path, 4));
    return route;
}

/* "a-b" */
static bool two_numbers(struct fl_str text, uint64_t *ret_first, uint64_t *ret_last)
{
    ptrdiff_t dash = fl_str_index(text, '-');
    return dash > 0 && fl_str_to_u64(fl_str_sub(text, 0, (size_t)dash), ret_first) &&
           fl_str_to_u64(fl_str_from(text, (size_t)dash + 1), ret_last);
}

bool fl_registry_content_range(struct fl_str text, uint64_t *ret_first, uint64_t *ret_last)
{
    uint64_t first, last;
    struct fl_str rest = fl_str_trim(text), range = {0};
    if (fl_str_starts(rest, FL_STR("bytes ")))
        rest = fl_str_trim(fl_str_from(rest, 6));
    if (!fl_str_split(&rest, '/', &range) || !two_numbers(range, &first, &last) || last < first)
        return false;
    *ret_first = first;
    *ret_last = last;
    return true;
}

enum fl_registry_range fl_registry_range_of(struct fl_str text, uint64_t size, uint64_t *ret_offset,
                                            uint64_t *ret_n)
{
    uint64_t first = 0, last = UINT64_MAX;
    struct fl_str range = fl_str_trim(text);
    if (!fl_str_starts(range, FL_STR("bytes=")))
        return FL_REGISTRY_RANGE_NONE;
    range = fl_str_from(range, 6);
    if (range.n && range.p[0] == '-') {
        if (!fl_str_to_u64(fl_str_from(range, 1), &last))
            return FL_REGISTRY_RANGE_NONE;
        first = size - FL_MIN(size, last);
        last = last ? UINT64_MAX : 0;
        if (last == 0)
            return FL_REGISTRY_RANGE_OUTSIDE;
    } else if (fl_str_ends(range, FL_STR("-"))) {
        if (!fl_str_to_u64(fl_str_sub(range, 0, range.n - 1), &first))
            return FL_REGISTRY_RANGE_NONE;
    } else if (!two_numbers(range, &first, &last) || last < first) {
        return FL_REGISTRY_RANGE_NONE;
    }
    if (first >= size)
        return FL_REGISTRY_RANGE_OUTSIDE;
    *ret_offset = first;
    *ret_n = FL_MIN(last, size - 1) - first + 1;
    return FL_REGISTRY_RANGE_PART;
}
