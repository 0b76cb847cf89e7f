/* A path, a Content-Range and a Range, one line each: whatever passes is within its grammar. */
#include "server/registry_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_path(struct fl_str path)
{
    struct fl_registry_route route = fl_registry_route_of(path);
    FL_ASSERT(route.what != FL_REGISTRY_NOTHING || route.repository.n == 0);
    if (route.repository.n && route.what != FL_REGISTRY_BAD_NAME)
        FL_ASSERT(fl_repository_valid(route.repository));
    if (route.what == FL_REGISTRY_MANIFEST && !route.bad_reference)
        FL_ASSERT(route.has_digest || fl_tag_valid(route.reference));
    if (route.what == FL_REGISTRY_BLOB && !route.bad_reference)
        FL_ASSERT(route.has_digest);
}

static void check_range(struct fl_str text, uint64_t size)
{
    uint64_t offset, length;
    if (fl_registry_range_of(text, size, &offset, &length) == FL_REGISTRY_RANGE_PART)
        FL_ASSERT(length > 0 && offset < size && length <= size - offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_str rest = {(const char *)bytes, n}, path = {0}, content_range = {0}, range = {0};
    uint64_t first, last;
    (void)fl_str_split(&rest, '\n', &path);
    (void)fl_str_split(&rest, '\n', &content_range);
    (void)fl_str_split(&rest, '\n', &range);
    check_path(path);
    if (fl_registry_content_range(content_range, &first, &last))
        FL_ASSERT(first <= last);
    check_range(range, 0);
    check_range(range, 1000);
    check_range(range, UINT64_MAX);
    return 0;
}
