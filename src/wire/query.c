/* Recursive descent over the cluster query language. */
#include "wire/query.h"

#include <errno.h>

struct parser {
    struct fl_str text; /* a copy in the arena */
    size_t at;
    int depth;
    struct fl_arena *arena;
    struct fl_err *err;
};

static struct fl_query *parse_or(struct parser *p);

static void *fail(struct parser *p, const char *what)
{
    (void)fl_err_set(p->err, -EINVAL, "%s at character %zu", what, p->at + 1);
    return NULL;
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->text.n && strchr(" \t\r\n", p->text.p[p->at]))
        p->at++;
}

static bool is_word_char(char c)
{
    return c && !strchr(" \t\r\n()[],'\"=!<>~&|", c);
}

static struct fl_str peek_word(struct parser *p)
{
    size_t end = p->at;
    while (end < p->text.n && is_word_char(p->text.p[end]))
        end++;
    return fl_str_sub(p->text, p->at, end - p->at);
}

/* Takes a symbol, or a word that stands for it, if it comes next. */
static bool take(struct parser *p, const char *symbol, const char *word)
{
    skip_blanks(p);
    struct fl_str rest = fl_str_from(p->text, p->at);
    size_t n = symbol ? strlen(symbol) : 0;
    bool is_whole = n && !(is_word_char(symbol[n - 1]) && rest.n > n && is_word_char(rest.p[n]));
    if (is_whole && fl_str_starts(rest, fl_str_of(symbol))) {
        p->at += n;
        return true;
    }
    if (word && fl_str_case_eq(peek_word(p), fl_str_of(word))) {
        p->at += strlen(word);
        return true;
    }
    return false;
}

static bool take_literal(struct parser *p, struct fl_str *ret_literal)
{
    skip_blanks(p);
    char quote = p->at < p->text.n ? p->text.p[p->at] : '\0';
    if (quote == '\'' || quote == '"') {
        struct fl_str rest = fl_str_from(p->text, p->at + 1);
        ptrdiff_t end = fl_str_index(rest, quote);
        if (end < 0)
            return false;
        *ret_literal = fl_str_sub(rest, 0, (size_t)end);
        p->at += (size_t)end + 2;
        return true;
    }
    /* A bare literal may hold what regular expressions are made of. */
    size_t end = p->at;
    while (end < p->text.n && !strchr(" \t\r\n()[],", p->text.p[end]))
        end++;
    *ret_literal = fl_str_sub(p->text, p->at, end - p->at);
    p->at = end;
    return ret_literal->n > 0;
}

static bool take_operator(struct parser *p, enum fl_query_operator *ret_op)
{
    static const struct {
        const char *symbol;
        const char *word;
        enum fl_query_operator op;
    } operators[] = {
        {"==", "equals", FL_QUERY_EQ},
        {"!=", "not_equals", FL_QUERY_NE},
        {">=", "greater_than_equal", FL_QUERY_GE},
        {"<=", "less_than_equal", FL_QUERY_LE},
        {">", "greater_than", FL_QUERY_GT},
        {"<", "less_than", FL_QUERY_LT},
        {"!exists", "not_exists", FL_QUERY_NOT_EXISTS},
        {NULL, "exists", FL_QUERY_EXISTS},
        {"!in", "not_in", FL_QUERY_NOT_IN},
        {NULL, "in", FL_QUERY_IN},
        {"=~", "matches", FL_QUERY_MATCHES},
        {"!~", "not_matches", FL_QUERY_NOT_MATCHES},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(operators); i++) {
        if (take(p, operators[i].symbol, operators[i].word)) {
            *ret_op = operators[i].op;
            return true;
        }
    }
    return false;
}

/* A literal, or a list of them where the operator is one on lists. */
static bool take_arguments(struct parser *p, struct fl_query *test)
{
    bool is_list_operator = test->op == FL_QUERY_IN || test->op == FL_QUERY_NOT_IN;
    if (!is_list_operator || !take(p, "[", NULL)) {
        test->arguments = fl_arena_new_object(p->arena, struct fl_str);
        test->argument_count = 1;
        return take_literal(p, &test->arguments[0]);
    }
    test->arguments = fl_arena_new_array(p->arena, struct fl_str, FL_QUERY_MAX_ITEMS);
    do {
        if (test->argument_count == FL_QUERY_MAX_ITEMS ||
            !take_literal(p, &test->arguments[test->argument_count]))
            return false;
        test->argument_count++;
    } while (take(p, ",", NULL));
    return take(p, "]", NULL);
}

static struct fl_query *parse_test(struct parser *p)
{
    struct fl_query *test = fl_arena_new_object(p->arena, struct fl_query);
    test->kind = FL_QUERY_TEST;
    skip_blanks(p);
    test->subject = peek_word(p);
    if (test->subject.n == 0)
        return fail(p, "a subject is expected");
    p->at += test->subject.n;
    if (!take_operator(p, &test->op))
        return fail(p, "an operator is expected");
    if (test->op == FL_QUERY_EXISTS || test->op == FL_QUERY_NOT_EXISTS)
        return test;
    if (!take_arguments(p, test))
        return fail(p, "an argument is expected");
    return test;
}

static struct fl_query *parse_unary(struct parser *p)
{
    if (++p->depth > FL_QUERY_MAX_DEPTH)
        return fail(p, "the expression is nested too deeply");
    struct fl_query *result;
    if (take(p, "!", "not")) {
        result = fl_arena_new_object(p->arena, struct fl_query);
        result->kind = FL_QUERY_NOT;
        result->left = parse_unary(p);
        if (!result->left)
            return NULL;
    } else if (take(p, "(", NULL)) {
        result = parse_or(p);
        if (!result)
            return NULL;
        if (!take(p, ")", NULL))
            return fail(p, "')' is expected");
    } else {
        result = parse_test(p);
    }
    p->depth--;
    return result;
}

static struct fl_query *join(struct parser *p, enum fl_query_kind kind, struct fl_query *left,
                             struct fl_query *right)
{
    struct fl_query *both = fl_arena_new_object(p->arena, struct fl_query);
    *both = (struct fl_query){.kind = kind, .left = left, .right = right};
    return right ? both : NULL;
}

static struct fl_query *parse_and(struct parser *p)
{
    struct fl_query *left = parse_unary(p);
    while (left && take(p, "&&", "and"))
        left = join(p, FL_QUERY_AND, left, parse_unary(p));
    return left;
}

static struct fl_query *parse_or(struct parser *p)
{
    struct fl_query *left = parse_and(p);
    while (left && take(p, "||", "or"))
        left = join(p, FL_QUERY_OR, left, parse_and(p));
    return left;
}

struct fl_query *fl_query_parse(struct fl_str text, struct fl_arena *arena, struct fl_err *err)
{
    struct parser p = {.text = fl_str_dup(arena, text), .arena = arena, .err = err};
    if (text.n > FL_QUERY_MAX_LENGTH)
        return fail(&p, "the expression is too long");
    struct fl_query *query = parse_or(&p);
    skip_blanks(&p);
    if (query && p.at < p.text.n)
        return fail(&p, "'and', 'or' or the end is expected");
    return query;
}
