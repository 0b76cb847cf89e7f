/* Which kind of pattern it is, patterns of terms, and what all kinds share. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "server/logs_pattern_internal.h"

enum { MAX_DEPTH = 32, MAX_REGEXES = 2, MAX_NUMBER = 64, JSON_EFFORT = 12, FIELDS_EFFORT = 4 };

struct term {
    struct fl_str text;
    const struct fl_logs_regex *regex;
    enum { TERM_ALL, TERM_NONE, TERM_ANY } kind;
};

struct fl_logs_pattern {
    enum { KIND_TERMS, KIND_JSON, KIND_FIELDS } kind;
    struct term *terms;
    size_t count;
    bool any_counts; /* no other terms than ?any */
    const struct fl_logs_node *json;
    const struct fl_logs_fields *fields;
    size_t effort;
};

/* ---- what all kinds share ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int fl_logs_pattern_bad(struct fl_logs_parser *parser, const char *why)
{
    return fl_err_set(parser->err, -EINVAL, "Invalid filter pattern: %s.", why);
}

void fl_logs_pattern_skip_blanks(struct fl_logs_parser *parser)
{
    while (parser->rest.n > 0 && is_blank(parser->rest.p[0]))
        parser->rest = fl_str_from(parser->rest, 1);
}

bool fl_logs_pattern_take(struct fl_logs_parser *parser, const char *text)
{
    struct fl_str wanted = fl_str_of(text);
    if (!fl_str_starts(parser->rest, wanted))
        return false;
    parser->rest = fl_str_from(parser->rest, wanted.n);
    return true;
}

/* Behind a star all that follows may be compared again for every byte of a value. */
static void count_wild(struct fl_logs_parser *parser, const struct fl_logs_operand *operand)
{
    bool has_star = false;
    for (size_t i = 0; i < operand->text.n; i++) {
        has_star = has_star || operand->is_wild[i];
        parser->effort += has_star;
    }
}

int fl_logs_pattern_take_quoted(struct fl_logs_parser *parser, struct fl_logs_operand *ret_operand)
{
    struct fl_str rest = parser->rest;
    char *text = fl_arena_alloc(parser->arena, rest.n);
    bool *is_wild = fl_arena_new_array(parser->arena, bool, rest.n);
    size_t n = 0;
    for (size_t i = 1; i < rest.n; i++) {
        char c = rest.p[i];
        if (c == '"') {
            *ret_operand =
                (struct fl_logs_operand){.text = {text, n}, .is_wild = is_wild, .is_quoted = true};
            count_wild(parser, ret_operand);
            parser->rest = fl_str_from(rest, i + 1);
            return 0;
        }
        is_wild[n] = c == '*';
        if (c == '\\' && i + 1 < rest.n)
            c = rest.p[++i];
        text[n++] = c;
    }
    return fl_logs_pattern_bad(parser, "a quotation mark is not closed");
}

int fl_logs_pattern_take_regex(struct fl_logs_parser *parser,
                               const struct fl_logs_regex **ret_regex)
{
    size_t n = 1;
    while (n < parser->rest.n && parser->rest.p[n] != '%')
        n += parser->rest.p[n] == '\\' ? 2 : 1;
    if (n >= parser->rest.n)
        return fl_logs_pattern_bad(parser, "a regular expression is not closed by %");
    if (++parser->regexes > MAX_REGEXES)
        return fl_logs_pattern_bad(parser, "more than two regular expressions");
    int r = fl_logs_regex_compile(fl_str_sub(parser->rest, 1, n - 1), parser->arena, ret_regex,
                                  parser->err);
    parser->rest = fl_str_from(parser->rest, n + 1);
    if (r == 0)
        parser->effort += fl_logs_regex_effort(*ret_regex);
    return r;
}

bool fl_logs_pattern_number(struct fl_str text, double *ret_number)
{
    char copy[MAX_NUMBER];
    char *end;
    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!strchr("0123456789+-.eE", text.p[i]))
            return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    double number = strtod(copy, &end);
    if (*end || !isfinite(number))
        return false;
    *ret_number = number;
    return true;
}

/* An operand without quotes ends where a blank or a mark of the pattern's own stands. */
static bool ends_bare(const struct fl_logs_parser *parser, struct fl_str rest)
{
    const char *marks = parser->is_json ? " \t\r\n(){}\"" : " \t\r\n,]()\"";
    return !rest.p[0] || strchr(marks, rest.p[0]) || fl_str_starts(rest, FL_STR("&&")) ||
           fl_str_starts(rest, FL_STR("||"));
}

static int take_bare(struct fl_logs_parser *parser, struct fl_logs_operand *ret_operand)
{
    size_t n = 0;
    while (n < parser->rest.n && !ends_bare(parser, fl_str_from(parser->rest, n)))
        n++;
    if (n == 0)
        return fl_logs_pattern_bad(parser, "a value is missing behind an operator");
    bool *is_wild = fl_arena_new_array(parser->arena, bool, n);
    for (size_t i = 0; i < n; i++)
        is_wild[i] = parser->rest.p[i] == '*';
    *ret_operand =
        (struct fl_logs_operand){.text = fl_str_sub(parser->rest, 0, n), .is_wild = is_wild};
    count_wild(parser, ret_operand);
    ret_operand->is_number = fl_logs_pattern_number(ret_operand->text, &ret_operand->number);
    parser->rest = fl_str_from(parser->rest, n);
    return 0;
}

int fl_logs_pattern_take_comparison(struct fl_logs_parser *parser, struct fl_logs_node *node)
{
    static const struct {
        const char *text;
        enum fl_logs_op op;
    } ops[] = {{"!=", FL_LOGS_OP_NE}, {"<=", FL_LOGS_OP_LE}, {">=", FL_LOGS_OP_GE},
               {"=", FL_LOGS_OP_EQ},  {"<", FL_LOGS_OP_LT},  {">", FL_LOGS_OP_GT}};
    size_t i = 0;
    while (i < FL_ARRAY_SIZE(ops) && !fl_logs_pattern_take(parser, ops[i].text))
        i++;
    if (i == FL_ARRAY_SIZE(ops))
        return fl_logs_pattern_bad(parser, "an operator is missing");
    node->op = ops[i].op;
    fl_logs_pattern_skip_blanks(parser);
    bool is_equality = node->op == FL_LOGS_OP_EQ || node->op == FL_LOGS_OP_NE;
    char first = parser->rest.n > 0 ? parser->rest.p[0] : '\0';
    int r = first == '"'   ? fl_logs_pattern_take_quoted(parser, &node->operand)
            : first == '%' ? fl_logs_pattern_take_regex(parser, &node->operand.regex)
                           : take_bare(parser, &node->operand);
    if (r == 0 && !is_equality && !node->operand.is_number)
        return fl_logs_pattern_bad(parser, "<, <=, > and >= compare with numbers");
    return r;
}

/* Of a row of stars and other bytes: on a mismatch only the last star can take more. */
static bool matches_wild(const struct fl_logs_operand *operand, struct fl_str text)
{
    struct fl_str wild = operand->text;
    size_t i = 0, at = 0, star = SIZE_MAX, star_at = 0;
    while (at < text.n) {
        if (i < wild.n && operand->is_wild[i]) {
            star = i++;
            star_at = at;
        } else if (i < wild.n && wild.p[i] == text.p[at]) {
            i++;
            at++;
        } else if (star != SIZE_MAX) {
            i = star + 1;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (i < wild.n && operand->is_wild[i])
        i++;
    return i == wild.n;
}

static bool is_equal(const struct fl_logs_operand *operand, const struct fl_logs_value *value)
{
    if (operand->regex)
        return fl_logs_regex_matches(operand->regex, value->text);
    if (operand->is_quoted && !value->is_string)
        return false;
    if (operand->is_number && value->is_number)
        return operand->number == value->number;
    return matches_wild(operand, value->text);
}

bool fl_logs_pattern_compare(const struct fl_logs_node *node, const struct fl_logs_value *value)
{
    double right = node->operand.number;
    switch (node->op) {
    case FL_LOGS_OP_EQ:
        return is_equal(&node->operand, value);
    case FL_LOGS_OP_NE:
        return !is_equal(&node->operand, value);
    case FL_LOGS_OP_LT:
        return value->is_number && value->number < right;
    case FL_LOGS_OP_LE:
        return value->is_number && value->number <= right;
    case FL_LOGS_OP_GT:
        return value->is_number && value->number > right;
    case FL_LOGS_OP_GE:
        return value->is_number && value->number >= right;
    case FL_LOGS_OP_IS_NULL:
    case FL_LOGS_OP_IS_TRUE:
    case FL_LOGS_OP_IS_FALSE:
    case FL_LOGS_OP_EXISTS:
    case FL_LOGS_OP_NOT_EXISTS:
        break;
    }
    return false;
}

/* ---- conditions ---- */

static int take_field_test(struct fl_logs_parser *parser, struct fl_logs_node *node)
{
    if (!fl_str_starts(parser->rest, parser->field_name))
        return fl_logs_pattern_bad(parser, "a condition names another field than its own");
    parser->rest = fl_str_from(parser->rest, parser->field_name.n);
    fl_logs_pattern_skip_blanks(parser);
    node->field = parser->field;
    return fl_logs_pattern_take_comparison(parser, node);
}

static int take_operand_node(struct fl_logs_parser *parser, const struct fl_logs_node **ret_node)
{
    fl_logs_pattern_skip_blanks(parser);
    if (fl_logs_pattern_take(parser, "(")) {
        if (++parser->depth > MAX_DEPTH)
            return fl_logs_pattern_bad(parser, "brackets are nested too deeply");
        int r = fl_logs_pattern_take_expression(parser, ret_node);
        if (r == 0 && !fl_logs_pattern_take(parser, ")"))
            r = fl_logs_pattern_bad(parser, "a bracket is not closed");
        parser->depth--;
        return r;
    }
    struct fl_logs_node *node = fl_arena_new_object(parser->arena, struct fl_logs_node);
    node->kind = FL_LOGS_NODE_TEST;
    parser->effort++;
    *ret_node = node;
    return parser->is_json ? fl_logs_json_take_test(parser, node) : take_field_test(parser, node);
}

/* A chain of one operator, from left to right. */
static int take_chain(struct fl_logs_parser *parser, const char *mark, bool is_or,
                      const struct fl_logs_node **ret_node)
{
    const struct fl_logs_node *left = NULL, *right = NULL;
    int r = is_or ? take_chain(parser, "&&", false, &left) : take_operand_node(parser, &left);
    for (;;) {
        if (r < 0)
            return r;
        fl_logs_pattern_skip_blanks(parser);
        if (!fl_logs_pattern_take(parser, mark))
            break;
        r = is_or ? take_chain(parser, "&&", false, &right) : take_operand_node(parser, &right);
        struct fl_logs_node *node = fl_arena_new_object(parser->arena, struct fl_logs_node);
        node->kind = is_or ? FL_LOGS_NODE_OR : FL_LOGS_NODE_AND;
        node->left = left;
        node->right = right;
        left = node;
    }
    *ret_node = left;
    return 0;
}

int fl_logs_pattern_take_expression(struct fl_logs_parser *parser,
                                    const struct fl_logs_node **ret_node)
{
    return take_chain(parser, "||", true, ret_node);
}

/* ---- terms ---- */

/* CloudWatch wants anything but letters, digits and '_' quoted; the marks that mean something
 * elsewhere are refused, the rest is taken as it stands. */
static int take_word(struct fl_logs_parser *parser, struct fl_str *ret_text)
{
    size_t n = 0;
    while (n < parser->rest.n && !is_blank(parser->rest.p[n]))
        n++;
    struct fl_str word = fl_str_sub(parser->rest, 0, n);
    parser->rest = fl_str_from(parser->rest, n);
    for (size_t i = 0; i < word.n; i++)
        if (!word.p[i] || strchr("\"{}[]%()", word.p[i]))
            return fl_err_set(parser->err, -EINVAL,
                              "Invalid character(s) in term '%.*s'; terms with other than "
                              "alphanumeric characters must be quoted.",
                              FL_STR_ARG(word));
    *ret_text = word;
    return 0;
}

static int take_term(struct fl_logs_parser *parser, struct term *term)
{
    struct fl_logs_operand operand = {0};
    term->kind = TERM_ALL;
    if (fl_logs_pattern_take(parser, "-"))
        term->kind = TERM_NONE;
    else if (fl_logs_pattern_take(parser, "?"))
        term->kind = TERM_ANY;
    char first = parser->rest.n > 0 ? parser->rest.p[0] : ' ';
    int r = first == '"'   ? fl_logs_pattern_take_quoted(parser, &operand)
            : first == '%' ? fl_logs_pattern_take_regex(parser, &term->regex)
                           : take_word(parser, &term->text);
    if (first == '"')
        term->text = operand.text;
    if (r == 0 && !term->regex && term->text.n == 0)
        return fl_logs_pattern_bad(parser, "a term is empty");
    if (r == 0 && parser->rest.n > 0 && !is_blank(parser->rest.p[0]))
        return fl_logs_pattern_bad(parser, "a blank is missing behind a term");
    return r;
}

static int parse_terms(struct fl_logs_parser *parser, struct fl_logs_pattern *pattern)
{
    pattern->terms = fl_arena_new_array(parser->arena, struct term, parser->rest.n / 2 + 1);
    pattern->any_counts = true;
    while (parser->rest.n > 0) {
        struct term *term = &pattern->terms[pattern->count++];
        int r = take_term(parser, term);
        if (r < 0)
            return r;
        pattern->any_counts = pattern->any_counts && term->kind == TERM_ANY;
        parser->effort++;
        fl_logs_pattern_skip_blanks(parser);
    }
    return 0;
}

/* As in CloudWatch, ?any means something only where it stands alone or among its like. */
static bool match_terms(const struct fl_logs_pattern *pattern, struct fl_str message)
{
    bool any_found = pattern->count == 0 || !pattern->any_counts;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct term *term = &pattern->terms[i];
        if (term->kind == TERM_ANY && any_found)
            continue;
        bool found = term->regex ? fl_logs_regex_matches(term->regex, message)
                                 : fl_str_contains(message, term->text);
        if ((term->kind == TERM_ALL && !found) || (term->kind == TERM_NONE && found))
            return false;
        any_found = any_found || found;
    }
    return any_found;
}

/* ---- all of it ---- */

static int parse_json(struct fl_logs_parser *parser, struct fl_logs_pattern *pattern)
{
    pattern->kind = KIND_JSON;
    parser->is_json = true;
    parser->effort = JSON_EFFORT;
    int r = fl_logs_pattern_take_expression(parser, &pattern->json);
    if (r == 0 && !fl_logs_pattern_take(parser, "}"))
        r = fl_logs_pattern_bad(parser, "the closing } is missing");
    return r;
}

static int parse_fields(struct fl_logs_parser *parser, struct fl_logs_pattern *pattern)
{
    pattern->kind = KIND_FIELDS;
    parser->effort = FIELDS_EFFORT;
    return fl_logs_fields_parse(parser, &pattern->fields);
}

int fl_logs_pattern_parse(struct fl_str text, struct fl_arena *arena,
                          const struct fl_logs_pattern **ret_pattern, struct fl_err *err)
{
    struct fl_logs_pattern *pattern = fl_arena_new_object(arena, struct fl_logs_pattern);
    struct fl_logs_parser parser = {.rest = text, .arena = arena, .err = err};
    int r;
    fl_logs_pattern_skip_blanks(&parser);
    if (fl_logs_pattern_take(&parser, "{"))
        r = parse_json(&parser, pattern);
    else if (fl_logs_pattern_take(&parser, "["))
        r = parse_fields(&parser, pattern);
    else
        r = parse_terms(&parser, pattern);
    fl_logs_pattern_skip_blanks(&parser);
    if (r == 0 && parser.rest.n > 0)
        r = fl_logs_pattern_bad(&parser, "something follows its end");
    if (r < 0)
        return r;
    pattern->effort = parser.effort;
    *ret_pattern = pattern;
    return 0;
}

bool fl_logs_pattern_matches(const struct fl_logs_pattern *pattern, struct fl_str message,
                             struct fl_arena *scratch)
{
    switch (pattern->kind) {
    case KIND_TERMS:
        break;
    case KIND_JSON:
        return fl_logs_json_matches(pattern->json, message, scratch);
    case KIND_FIELDS:
        return fl_logs_fields_match(pattern->fields, message);
    }
    return match_terms(pattern, message);
}

size_t fl_logs_pattern_effort(const struct fl_logs_pattern *pattern)
{
    return pattern->effort;
}

void fl_logs_pattern_extract(const struct fl_logs_pattern *pattern, struct fl_str message,
                             struct fl_arena *scratch, fl_logs_pattern_each each, void *context)
{
    if (pattern->kind == KIND_JSON)
        fl_logs_json_extract(pattern->json, message, scratch, each, context);
    if (pattern->kind == KIND_FIELDS)
        fl_logs_fields_extract(pattern->fields, message, scratch, each, context);
}
