/* What containers send as paths: a route's id is a part of the path, a cleaned path has nothing
 * left to clean, and no text is an id of ours that was not made with the key. The input is a path
 * and, behind a newline, a query. */
#include "agent/metadata_id.h"
#include "agent/metadata_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool lies_in(struct fl_str part, struct fl_str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* A right id can only have come from the corpus, which has none for this key. */
static void check_id(struct fl_str id)
{
    static const uint8_t key[FL_METADATA_KEY_SIZE] = {7};
    struct fl_str container_id;
    FL_ASSERT(!fl_metadata_id_read(key, id, &container_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str query = {(const char *)bytes, n}, path = {0}, text;
    if (!fl_str_split(&query, '\n', &path) || path.n == 0 || path.p[0] != '/')
        return 0;
    struct fl_str cleaned = fl_metadata_cleaned(path, arena);
    FL_ASSERT(cleaned.n < path.n && fl_metadata_cleaned(cleaned, arena).n == 0);
    struct fl_metadata_route route = fl_metadata_route(path, query);
    FL_ASSERT(lies_in(route.id, path) || lies_in(route.id, query));
    unsigned status = fl_metadata_refusal(&route, FL_STR("10.0.0.1"), arena, &text);
    FL_ASSERT((status == 404 || status == 500) && text.n > 0 && text.n < 512);
    check_id(route.id);
    return 0;
}
