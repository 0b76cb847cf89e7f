/* Allowed patterns: the input's first line is the pattern, the rest a value. Whatever is accepted
 * decides, and decides the same in a group; what may be left out matches nothing at all, too. */
#include "server/parameters_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Decides as `first` did, or was refused: the group may make it too deep or too large. */
static void check_around(const char *before, struct fl_str text, const char *behind,
                         struct fl_str value, bool first, struct fl_arena *arena)
{
    const struct fl_parameters_pattern *pattern;
    struct fl_err err;
    text = fl_str_printf(arena, "%s%.*s%s", before, FL_STR_ARG(text), behind);
    if (fl_parameters_pattern_compile(text, arena, &pattern, &err) == 0)
        FL_ASSERT(fl_parameters_pattern_matches(pattern, value, arena) == first);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_err err = {0};
    const struct fl_parameters_pattern *pattern;
    struct fl_str value = {(const char *)bytes, n}, text = FL_STR("");
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    (void)fl_str_split(&value, '\n', &text);
    text = fl_str_sub(text, 0, 1024);
    if (memchr(text.p ? text.p : "", 0, text.n))
        return 0;
    if (fl_parameters_pattern_compile(text, arena, &pattern, &err) < 0) {
        FL_ASSERT(err.text[0]);
        return 0;
    }
    bool matches = fl_parameters_pattern_matches(pattern, value, arena);
    check_around("(?:", text, ")", value, matches, arena);
    check_around("((", text, "){1})", value, matches, arena);
    check_around("(?:", text, ")?", FL_STR(""), true, arena);
    check_around("(?:", text, ")*", FL_STR(""), true, arena);
    return 0;
}
