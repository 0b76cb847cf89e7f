/* The cluster query language's grammar: every parsed text is written back with all its parentheses
 * and compared, so that precedence and quoting show; refusals name what is wrong and where; random
 * texts made of the language's own pieces must be parsed or refused, within the bounds, without
 * harm. The seed of the random part is fixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/id.h"
#include "wire/query.h"

static const char *const operator_texts[] = {
    [FL_QUERY_EQ] = "==",         [FL_QUERY_NE] = "!=",
    [FL_QUERY_GT] = ">",          [FL_QUERY_GE] = ">=",
    [FL_QUERY_LT] = "<",          [FL_QUERY_LE] = "<=",
    [FL_QUERY_EXISTS] = "exists", [FL_QUERY_NOT_EXISTS] = "!exists",
    [FL_QUERY_IN] = "in",         [FL_QUERY_NOT_IN] = "!in",
    [FL_QUERY_MATCHES] = "=~",    [FL_QUERY_NOT_MATCHES] = "!~",
};

static void write_test(const struct fl_query *q, struct fl_buf *out)
{
    fl_buf_printf(out, "%.*s %s", FL_STR_ARG(q->subject), operator_texts[q->op]);
    for (size_t i = 0; i < q->argument_count; i++)
        fl_buf_printf(out, " <%.*s>", FL_STR_ARG(q->arguments[i]));
}

static void write_query(const struct fl_query *q, struct fl_buf *out)
{
    fl_buf_add_char(out, '(');
    switch (q->kind) {
    case FL_QUERY_TEST:
        write_test(q, out);
        break;
    case FL_QUERY_NOT:
        fl_buf_add_z(out, "not ");
        write_query(q->left, out);
        break;
    case FL_QUERY_AND:
    case FL_QUERY_OR:
        write_query(q->left, out);
        fl_buf_add_z(out, q->kind == FL_QUERY_AND ? " and " : " or ");
        write_query(q->right, out);
        break;
    }
    fl_buf_add_char(out, ')');
}

static void assert_reads(const char *text, const char *expected)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf out = FL_BUF_INIT(1 << 20);
    struct fl_err err = {0};
    struct fl_query *query = fl_query_parse(fl_str_of(text), arena, &err);
    if (!query)
        print_message("# %s: %s\n", text, err.text);
    assert_non_null(query);
    write_query(query, &out);
    assert_string_equal(out.p, expected);
}

static void assert_refused(const char *text, const char *why)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err = {0};
    assert_null(fl_query_parse(fl_str_of(text), arena, &err));
    if (!strstr(err.text, why))
        print_message("# %s: %s\n", text, err.text);
    assert_non_null(strstr(err.text, why));
}

static void every_operator_is_read_as_symbol_and_as_word(FL_UNUSED void **state)
{
    static const char *const pairs[][2] = {
        {"==", "equals"},      {"!=", "not_equals"},
        {">", "greater_than"}, {">=", "greater_than_equal"},
        {"<", "less_than"},    {"<=", "less_than_equal"},
        {"in", "IN"},          {"!in", "not_in"},
        {"=~", "matches"},     {"!~", "not_matches"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(pairs); i++) {
        for (size_t form = 0; form < 2; form++) {
            char text[80], expected[80];
            const char *op = strcmp(pairs[i][0], "in") == 0 ? "in" : pairs[i][0];
            (void)snprintf(text, sizeof(text), "a:b %s c.d-1", pairs[i][form]);
            (void)snprintf(expected, sizeof(expected), "(a:b %s <c.d-1>)", op);
            assert_reads(text, expected);
        }
    }
    assert_reads("a exists", "(a exists)");
    assert_reads("a !exists", "(a !exists)");
    assert_reads("a not_exists", "(a !exists)");
    assert_reads("a==b", "(a == <b>)");
    assert_reads("a>=1", "(a >= <1>)");
    assert_reads("a>1", "(a > <1>)");
    assert_reads("a!=b", "(a != <b>)");
}

static void and_binds_closer_than_or_and_not_closest(FL_UNUSED void **state)
{
    assert_reads("a == 1 or b == 2 and c == 3", "((a == <1>) or ((b == <2>) and (c == <3>)))");
    assert_reads("a == 1 && b == 2 || c == 3", "(((a == <1>) and (b == <2>)) or (c == <3>))");
    assert_reads("(a == 1 or b == 2) and c == 3", "(((a == <1>) or (b == <2>)) and (c == <3>))");
    assert_reads("not a == 1 and b == 2", "((not (a == <1>)) and (b == <2>))");
    assert_reads("not(a == 1 and b == 2)", "(not ((a == <1>) and (b == <2>)))");
    assert_reads("!(a exists)", "(not (a exists))");
    assert_reads("!!a exists", "(not (not (a exists)))");
    assert_reads("a == 1 and b == 2 and c == 3", "(((a == <1>) and (b == <2>)) and (c == <3>))");
    assert_reads("A == 1 AND b == 2 OR NOT c == 3",
                 "(((A == <1>) and (b == <2>)) or (not (c == <3>)))");
    assert_reads("notes == 1 and order == 2", "((notes == <1>) and (order == <2>))");
}

static void literals_may_be_quoted_and_lists_go_with_in(FL_UNUSED void **state)
{
    assert_reads("a == 'x y'", "(a == <x y>)");
    assert_reads("a == \"it's\"", "(a == <it's>)");
    assert_reads("a == ''", "(a == <>)");
    assert_reads("a == 'and'", "(a == <and>)");
    assert_reads("a in [x]", "(a in <x>)");
    assert_reads("a in [ x , 'y z',\"w\" ]", "(a in <x> <y z> <w>)");
    assert_reads("a in[x,y]", "(a in <x> <y>)");
    assert_reads("a !in [us-east-1a, us-east-1b]", "(a !in <us-east-1a> <us-east-1b>)");
    assert_reads("a in x", "(a in <x>)");
    assert_reads("attribute:ecs.instance-type =~ t2.*", "(attribute:ecs.instance-type =~ <t2.*>)");
    assert_reads("a =~ '[tc](2|3).*'", "(a =~ <[tc](2|3).*>)");
    assert_reads("(a =~ ^x$)", "(a =~ <^x$>)");
    assert_reads("task:group == service:production", "(task:group == <service:production>)");
    assert_reads("\t a\n==\r1 ", "(a == <1>)");
}

static void what_the_grammar_does_not_allow_is_refused(FL_UNUSED void **state)
{
    assert_refused("", "a subject is expected at character 1");
    assert_refused("   ", "a subject is expected");
    assert_refused("a", "an operator is expected at character 2");
    assert_refused("a ==", "an argument is expected");
    assert_refused("a == 'x", "an argument is expected");
    assert_refused("a == \"x'", "an argument is expected");
    assert_refused("a = b", "an operator is expected");
    assert_refused("a is b", "an operator is expected");
    assert_refused("a !info", "an operator is expected");
    assert_refused("a !existsx", "an operator is expected");
    assert_refused("== b", "a subject is expected");
    assert_refused("(a == b", "')' is expected");
    assert_refused("a == b)", "the end is expected");
    assert_refused("a == b c", "the end is expected");
    assert_refused("a == b and", "a subject is expected");
    assert_refused("a == b or or c == d", "an operator is expected");
    assert_refused("not", "a subject is expected");
    assert_refused("()", "a subject is expected");
    assert_refused("a in []", "an argument is expected");
    assert_refused("a in [x", "an argument is expected");
    assert_refused("a in [x,]", "an argument is expected");
    assert_refused("a in [,x]", "an argument is expected");
    assert_refused("a == [x,y]", "an argument is expected");
    assert_refused("a =~ [tc]2", "an argument is expected");
    assert_refused("a exists b", "the end is expected");
    assert_refused("'a' == b", "a subject is expected");
}

static void repeat_text(struct fl_buf *out, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fl_buf_add_z(out, text);
}

static void length_depth_and_lists_are_bounded(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err;
    repeat_text(&text, "(", FL_QUERY_MAX_DEPTH - 1);
    fl_buf_add_z(&text, "a == b");
    repeat_text(&text, ")", FL_QUERY_MAX_DEPTH - 1);
    assert_non_null(fl_query_parse(fl_buf_str(&text), arena, &err));
    fl_buf_clear(&text);
    repeat_text(&text, "!", FL_QUERY_MAX_DEPTH);
    fl_buf_add_z(&text, "a exists");
    assert_refused(text.p, "nested too deeply");
    fl_buf_clear(&text);
    repeat_text(&text, "a exists && ", 166);
    fl_buf_add_z(&text, "b>1");
    assert_true(text.n <= FL_QUERY_MAX_LENGTH);
    assert_non_null(fl_query_parse(fl_buf_str(&text), arena, &err));
    fl_buf_clear(&text);
    fl_buf_add_z(&text, "a in [x");
    repeat_text(&text, ",x", FL_QUERY_MAX_ITEMS - 1);
    fl_buf_add_z(&text, "]");
    assert_non_null(fl_query_parse(fl_buf_str(&text), arena, &err));
    text.n--;
    fl_buf_add_z(&text, ",x]");
    assert_refused(text.p, "an argument is expected");
    fl_buf_clear(&text);
    fl_buf_add_z(&text, "a == ");
    repeat_text(&text, "x", FL_QUERY_MAX_LENGTH - text.n);
    assert_non_null(fl_query_parse(fl_buf_str(&text), arena, &err));
    fl_buf_add_z(&text, "x");
    assert_refused(text.p, "too long");
}

static void random_texts_do_no_harm(FL_UNUSED void **state)
{
    static const char *const pieces[] = {
        "a",  "attribute:x", "==", "!=", ">=", "<",   ">", "in",  "!in",      "not_in", "exists",
        "!",  "!exists",     "=~", "!~", "(",  ")",   "[", "]",   ",",        "'",      "\"",
        "or", "and",         "||", "&&", "&",  "not", "x", "x y", "\xc3\xa9", "\t",     "\x01",
    };
    struct fl_rand rand;
    uint8_t seed[32] = {1};
    size_t parsed = 0;
    fl_rand_seed(&rand, seed);
    for (int round = 0; round < 20000; round++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 16);
        struct fl_err err = {0};
        size_t count = fl_rand_below(&rand, 12);
        for (size_t i = 0; i < count; i++) {
            fl_buf_add_z(&text, pieces[fl_rand_below(&rand, FL_ARRAY_SIZE(pieces))]);
            if (fl_rand_below(&rand, 4))
                fl_buf_add_char(&text, ' ');
        }
        if (text.n && fl_rand_below(&rand, 8) == 0)
            text.p[fl_rand_below(&rand, text.n)] = (char)fl_rand_u64(&rand);
        FL_CLEANUP_BUF struct fl_buf out = FL_BUF_INIT(1 << 20);
        struct fl_query *query = fl_query_parse(fl_buf_str(&text), arena, &err);
        if (query)
            write_query(query, &out);
        assert_true(query || err.text[0]);
        parsed += query != NULL;
    }
    assert_true(parsed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_is_read_as_symbol_and_as_word),
        cmocka_unit_test(and_binds_closer_than_or_and_not_closest),
        cmocka_unit_test(literals_may_be_quoted_and_lists_go_with_in),
        cmocka_unit_test(what_the_grammar_does_not_allow_is_refused),
        cmocka_unit_test(length_depth_and_lists_are_bounded),
        cmocka_unit_test(random_texts_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
