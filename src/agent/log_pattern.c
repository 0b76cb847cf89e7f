/* PCRE2 with limits; what is matched are bytes. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "agent/log_pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <time.h>

enum {
    PATTERN_MAX = 8192,
    NEST_MAX = 50,
    MATCH_STEPS = 20000,
    MATCH_DEPTH = 1000,
    HEAP_KIB = 256,
    LINE_MAX_BYTES = 16 * 1024, /* of a line that are looked at */
    SLOW_US = 1000,             /* of one line; what is slower counts */
    PATIENCE_US = 200000,       /* with all slow lines together */
};

struct fl_log_pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    int64_t spent_us; /* on slow lines */
};

static pcre2_code *compile(struct fl_str text, int *ret_error)
{
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    (void)pcre2_set_parens_nest_limit(context, NEST_MAX);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_NEVER_BACKSLASH_C, ret_error, &at, context);
    pcre2_compile_context_free(context);
    return code;
}

struct fl_log_pattern *fl_log_pattern_new(struct fl_str text, struct fl_err *err)
{
    PCRE2_UCHAR reason[128] = "it is too long";
    int error = 0;
    pcre2_code *code = text.n <= PATTERN_MAX ? compile(text, &error) : NULL;
    if (!code) {
        if (text.n <= PATTERN_MAX)
            (void)pcre2_get_error_message(error, reason, sizeof(reason));
        (void)fl_err_set(err, -EINVAL, "could not parse the pattern \"%.*s\" of a log opt: %s",
                         FL_STR_ARG(fl_str_sub(text, 0, 100)), (const char *)reason);
        return NULL;
    }
    struct fl_log_pattern *pattern = fl_calloc(1, sizeof(*pattern));
    pattern->code = code;
    pattern->match = pcre2_match_data_create(1, NULL);
    pattern->limits = pcre2_match_context_create(NULL);
    (void)pcre2_set_match_limit(pattern->limits, MATCH_STEPS);
    (void)pcre2_set_depth_limit(pattern->limits, MATCH_DEPTH);
    (void)pcre2_set_heap_limit(pattern->limits, HEAP_KIB);
    return pattern;
}

void fl_log_pattern_free(struct fl_log_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_match_context_free(pattern->limits);
    pcre2_match_data_free(pattern->match);
    pcre2_code_free(pattern->code);
    free(pattern);
}

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

bool fl_log_pattern_matches(struct fl_log_pattern *pattern, struct fl_str line)
{
    if (pattern->spent_us > PATIENCE_US)
        return true;
    int64_t before_us = now_us();
    bool matches = pcre2_match(pattern->code, (PCRE2_SPTR)(line.p ? line.p : ""),
                               FL_MIN(line.n, (size_t)LINE_MAX_BYTES), 0, 0, pattern->match,
                               pattern->limits) >= 0;
    int64_t took_us = now_us() - before_us;
    if (took_us > SLOW_US)
        pattern->spent_us += took_us;
    return matches;
}
