/* Filter patterns: the input's first line is the pattern, the rest a message. What is accepted has
 * terms that are not empty, and of two patterns that differ by a leading '-' only one matches. */
#include "server/logs_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_err err;
    struct fl_logs_pattern pattern;
    struct fl_str message = {(const char *)bytes, n}, text = FL_STR("");
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    (void)fl_str_split(&message, '\n', &text);
    if (fl_logs_pattern_parse(text, arena, &pattern, &err) < 0)
        return 0;
    for (size_t i = 0; i < pattern.count; i++)
        FL_ASSERT(pattern.terms[i].text.n > 0);
    bool matches = fl_logs_pattern_matches(&pattern, message);
    if (pattern.count != 1 || pattern.terms[0].kind == FL_LOGS_TERM_NONE)
        return 0;
    pattern.terms[0].kind = FL_LOGS_TERM_NONE;
    FL_ASSERT(fl_logs_pattern_matches(&pattern, message) != matches);
    return 0;
}
