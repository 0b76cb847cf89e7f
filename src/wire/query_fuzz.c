/* The query language: an accepted text's tree, written out again, is read as the same tree. */
#include "wire/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* False for a literal that no quotes can hold. */
static bool write_literal(struct fl_buf *buf, struct fl_str text)
{
    char quote = fl_str_index(text, '"') < 0 ? '"' : '\'';
    if (fl_str_index(text, quote) >= 0)
        return false;
    fl_buf_add_char(buf, quote);
    fl_buf_add_str(buf, text);
    fl_buf_add_char(buf, quote);
    return true;
}

static bool write_test(struct fl_buf *buf, const struct fl_query *query)
{
    static const char *const operators[] = {
        "==", "!=", ">", ">=", "<", "<=", "exists", "!exists", "in", "!in", "=~", "!~"};
    bool good = query->subject.n > 0;
    bool is_list = query->op == FL_QUERY_IN || query->op == FL_QUERY_NOT_IN;
    fl_buf_add_str(buf, query->subject);
    fl_buf_printf(buf, " %s%s", operators[query->op], is_list ? "[" : " ");
    for (size_t i = 0; i < query->argument_count; i++) {
        if (i > 0)
            fl_buf_add_char(buf, ',');
        good = write_literal(buf, query->arguments[i]) && good;
    }
    if (is_list)
        fl_buf_add_char(buf, ']');
    return good;
}

static bool write_query(struct fl_buf *buf, const struct fl_query *query)
{
    bool good = true;
    switch (query->kind) {
    case FL_QUERY_TEST:
        return write_test(buf, query);
    case FL_QUERY_NOT:
        fl_buf_add_z(buf, "!(");
        good = write_query(buf, query->left);
        fl_buf_add_char(buf, ')');
        return good;
    case FL_QUERY_AND:
    case FL_QUERY_OR:
        fl_buf_add_char(buf, '(');
        good = write_query(buf, query->left);
        fl_buf_add_z(buf, query->kind == FL_QUERY_AND ? ")&&(" : ")||(");
        good = write_query(buf, query->right) && good;
        fl_buf_add_char(buf, ')');
        return good;
    }
    return false;
}

static bool same(const struct fl_query *a, const struct fl_query *b)
{
    if (!a || !b)
        return a == b;
    if (a->kind != b->kind || !same(a->left, b->left) || !same(a->right, b->right))
        return false;
    if (a->kind != FL_QUERY_TEST)
        return true;
    if (a->op != b->op || !fl_str_eq(a->subject, b->subject) ||
        a->argument_count != b->argument_count)
        return false;
    for (size_t i = 0; i < a->argument_count; i++)
        if (!fl_str_eq(a->arguments[i], b->arguments[i]))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_err err;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    struct fl_query *first = fl_query_parse((struct fl_str){(const char *)bytes, n}, arena, &err);
    if (!first || !write_query(&buf, first))
        return 0;
    struct fl_query *second = fl_query_parse(fl_buf_str(&buf), arena, &err);
    /* The parentheses count as nesting and as length; short texts cannot reach either bound. */
    FL_ASSERT(second || n > FL_QUERY_MAX_DEPTH / 2);
    FL_ASSERT(!second || same(first, second));
    return 0;
}
