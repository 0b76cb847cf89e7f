/* Filter patterns: the input's first line is the pattern, the rest a message. Whatever is accepted
 * decides; a pattern of one word and the same with '-' before it decide differently; what a JSON or
 * space-delimited pattern extracts comes from the message. */
#include "server/logs_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void see(void *context, struct fl_str name, struct fl_str value)
{
    const struct fl_str *message = context;
    FL_ASSERT(name.n > 1 && name.p[0] == '$');
    FL_ASSERT(value.n <= FL_MAX(message->n * 4, (size_t)64));
}

static bool is_one_word(struct fl_str text)
{
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!((text.p[i] | 0x20) >= 'a' && (text.p[i] | 0x20) <= 'z'))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_err err;
    const struct fl_logs_pattern *pattern, *opposite;
    struct fl_str message = {(const char *)bytes, n}, text = FL_STR("");
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_ARENA struct fl_arena *scratch = fl_arena_new();
    (void)fl_str_split(&message, '\n', &text);
    text = fl_str_sub(text, 0, 1024);
    if (fl_logs_pattern_parse(text, arena, &pattern, &err) < 0)
        return 0;
    bool matches = fl_logs_pattern_matches(pattern, message, scratch);
    FL_ASSERT(fl_logs_pattern_effort(pattern) <= 16 * 1024);
    if (matches)
        fl_logs_pattern_extract(pattern, message, scratch, see, &message);
    if (!is_one_word(text))
        return 0;
    text = fl_str_printf(arena, "-%.*s", FL_STR_ARG(text));
    FL_ASSERT(fl_logs_pattern_parse(text, arena, &opposite, &err) == 0);
    FL_ASSERT(fl_logs_pattern_matches(opposite, message, scratch) != matches);
    return 0;
}
