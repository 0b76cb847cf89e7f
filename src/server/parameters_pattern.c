/* PCRE2 with limits; see the header. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "server/parameters_pattern.h"

#include <errno.h>
#include <pcre2.h>

enum {
    NEST_MAX = 50,
    MATCH_STEPS = 500 * 1000, /* some tens of milliseconds */
    HEAP_KIB = 16 * 1024,
};

struct fl_parameters_pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

static pcre2_code *compile(struct fl_str text, int *ret_error, size_t *ret_at)
{
    const uint32_t options =
        PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_ALT_BSUX | PCRE2_NEVER_BACKSLASH_C;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    (void)pcre2_set_parens_nest_limit(context, NEST_MAX);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text.p, text.n, options, ret_error, ret_at, context);
    pcre2_compile_context_free(context);
    return code;
}

struct fl_parameters_pattern *fl_parameters_pattern_new(struct fl_str text, struct fl_err *err)
{
    int error;
    size_t at;
    pcre2_code *code = compile(text, &error, &at);
    if (!code) {
        PCRE2_UCHAR reason[128] = "";
        (void)pcre2_get_error_message(error, reason, sizeof(reason));
        (void)fl_err_set(err, -EINVAL,
                         "The request does not meet the regular expression requirement: %s at "
                         "character %zu.",
                         (const char *)reason, at);
        return NULL;
    }
    struct fl_parameters_pattern *pattern = fl_calloc(1, sizeof(*pattern));
    pattern->code = code;
    pattern->match = pcre2_match_data_create(1, NULL);
    pattern->limits = pcre2_match_context_create(NULL);
    (void)pcre2_set_match_limit(pattern->limits, MATCH_STEPS);
    (void)pcre2_set_depth_limit(pattern->limits, MATCH_STEPS);
    (void)pcre2_set_heap_limit(pattern->limits, HEAP_KIB);
    return pattern;
}

void fl_parameters_pattern_free(struct fl_parameters_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_match_context_free(pattern->limits);
    pcre2_match_data_free(pattern->match);
    pcre2_code_free(pattern->code);
    free(pattern);
}

int fl_parameters_pattern_match(struct fl_parameters_pattern *pattern, struct fl_str text)
{
    int rc = pcre2_match(pattern->code, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, 0, 0,
                         pattern->match, pattern->limits);
    if (rc >= 0)
        return 1;
    return rc == PCRE2_ERROR_NOMATCH ? 0 : -E2BIG;
}
