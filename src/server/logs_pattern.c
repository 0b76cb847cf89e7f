/* Parsing of filter patterns into terms, and the search for them. */
#include "server/logs_pattern.h"

#include <errno.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct fl_str skip_blanks(struct fl_str s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = fl_str_from(s, 1);
    return s;
}

/* What CloudWatch reads as another kind of pattern by its first character. */
static const char *other_syntax(char first)
{
    switch (first) {
    case '{':
        return "JSON filter patterns ('{ … }')";
    case '[':
        return "space-delimited filter patterns ('[ … ]')";
    case '%':
        return "regular expressions in filter patterns ('%…%')";
    }
    return NULL;
}

/* Characters of an unquoted term: CloudWatch wants anything but letters, digits and '_' quoted;
 * the marks that mean something elsewhere are refused, the rest is taken as it stands. */
static int check_unquoted(struct fl_str term, struct fl_err *err)
{
    for (size_t i = 0; i < term.n; i++)
        if (strchr("\"{}[]%()", term.p[i]))
            return fl_err_set(err, -EINVAL,
                              "Invalid character(s) in term '%.*s'; terms with other than "
                              "alphanumeric characters must be quoted.",
                              FL_STR_ARG(term));
    return 0;
}

static int take_quoted(struct fl_str *rest, struct fl_arena *arena, struct fl_str *ret_term,
                       struct fl_err *err)
{
    char *text = fl_arena_alloc(arena, rest->n);
    size_t n = 0;
    for (size_t i = 1; i < rest->n; i++) {
        char c = rest->p[i];
        if (c == '"') {
            *ret_term = (struct fl_str){text, n};
            *rest = fl_str_from(*rest, i + 1);
            return 0;
        }
        if (c == '\\' && i + 1 < rest->n)
            c = rest->p[++i];
        text[n++] = c;
    }
    return fl_err_set(err, -EINVAL, "Invalid filter pattern: a quotation mark is not closed.");
}

static int take_word(struct fl_str *rest, struct fl_str *ret_term, struct fl_err *err)
{
    size_t n = 0;
    while (n < rest->n && !is_blank(rest->p[n]))
        n++;
    *ret_term = fl_str_sub(*rest, 0, n);
    *rest = fl_str_from(*rest, n);
    return check_unquoted(*ret_term, err);
}

static int take_term(struct fl_str *rest, struct fl_arena *arena, struct fl_logs_term *ret_term,
                     struct fl_err *err)
{
    const char *other = other_syntax(rest->p[0]);
    ret_term->kind = FL_LOGS_TERM_ALL;
    if (other)
        return fl_err_set(err, -EINVAL, "Invalid filter pattern: %s are not implemented.", other);
    if (rest->p[0] == '-' || rest->p[0] == '?') {
        ret_term->kind = rest->p[0] == '-' ? FL_LOGS_TERM_NONE : FL_LOGS_TERM_ANY;
        *rest = fl_str_from(*rest, 1);
    }
    int status = rest->n > 0 && rest->p[0] == '"' ? take_quoted(rest, arena, &ret_term->text, err)
                                                  : take_word(rest, &ret_term->text, err);
    if (status == 0 && ret_term->text.n == 0)
        status = fl_err_set(err, -EINVAL, "Invalid filter pattern: a term is empty.");
    return status;
}

int fl_logs_pattern_parse(struct fl_str text, struct fl_arena *arena,
                          struct fl_logs_pattern *ret_pattern, struct fl_err *err)
{
    struct fl_logs_pattern pattern = {
        .terms = fl_arena_new_array(arena, struct fl_logs_term, text.n / 2 + 1)};
    struct fl_str rest = skip_blanks(text);
    while (rest.n > 0) {
        FL_ASSERT(pattern.count < text.n);
        int status = take_term(&rest, arena, &pattern.terms[pattern.count], err);
        if (status < 0)
            return status;
        pattern.count++;
        if (rest.n > 0 && !is_blank(rest.p[0]))
            return fl_err_set(err, -EINVAL,
                              "Invalid filter pattern: a blank is missing behind a phrase.");
        rest = skip_blanks(rest);
    }
    *ret_pattern = pattern;
    return 0;
}

bool fl_logs_pattern_matches(const struct fl_logs_pattern *pattern, struct fl_str message)
{
    bool any_wanted = false, any_found = false;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct fl_logs_term *term = &pattern->terms[i];
        bool found = fl_str_contains(message, term->text);
        if ((term->kind == FL_LOGS_TERM_ALL && !found) ||
            (term->kind == FL_LOGS_TERM_NONE && found))
            return false;
        if (term->kind == FL_LOGS_TERM_ANY) {
            any_wanted = true;
            any_found = any_found || found;
        }
    }
    return !any_wanted || any_found;
}
