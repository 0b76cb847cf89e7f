/* Space-delimited patterns: names for a message's fields, one by one, with conditions. A field is a
 * word, or whatever stands between [ and ] or between quotation marks. "..." stands for any number
 * of fields. */
#include "server/logs_pattern_internal.h"

enum { MAX_FIELDS = 128 };

struct field {
    struct fl_str name;
    const struct fl_logs_node *condition; /* NULL: none */
};

struct fl_logs_fields {
    struct field *items;
    size_t count;
    bool has_gap;
    size_t gap; /* the "..." stands before this item */
};

/* A message's fields; those beyond the bound are counted alone. */
struct split {
    struct fl_str first[MAX_FIELDS];
    struct fl_str last[MAX_FIELDS]; /* a ring: field i lies at i % MAX_FIELDS */
    size_t count;
};

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* The name is looked ahead for: within brackets it may come later. */
static struct fl_str name_ahead(struct fl_str rest)
{
    size_t n = 0;
    while (rest.n > 0 && (rest.p[0] == '(' || rest.p[0] == ' ' || rest.p[0] == '\t'))
        rest = fl_str_from(rest, 1);
    while (n < rest.n && is_name_char(rest.p[n]))
        n++;
    return fl_str_sub(rest, 0, n);
}

static int take_field(struct fl_logs_parser *parser, struct field *field)
{
    field->name = parser->field_name = name_ahead(parser->rest);
    if (field->name.n == 0)
        return fl_logs_pattern_bad(parser, "the name of a field is missing");
    struct fl_str behind = fl_str_from(parser->rest, field->name.n);
    behind = fl_str_trim(behind);
    bool is_bare = fl_str_starts(parser->rest, field->name) && behind.n > 0 &&
                   (behind.p[0] == ',' || behind.p[0] == ']');
    if (!is_bare)
        return fl_logs_pattern_take_expression(parser, &field->condition);
    parser->rest = fl_str_from(parser->rest, field->name.n);
    return 0;
}

static int take_item(struct fl_logs_parser *parser, struct fl_logs_fields *fields)
{
    fl_logs_pattern_skip_blanks(parser);
    if (fl_logs_pattern_take(parser, "...")) {
        if (fields->has_gap)
            return fl_logs_pattern_bad(parser, "... stands twice");
        fields->has_gap = true;
        fields->gap = fields->count;
        return 0;
    }
    if (fields->count == MAX_FIELDS)
        return fl_logs_pattern_bad(parser, "more than 128 fields");
    parser->field = fields->count;
    return take_field(parser, &fields->items[fields->count++]);
}

int fl_logs_fields_parse(struct fl_logs_parser *parser, const struct fl_logs_fields **ret_fields)
{
    struct fl_logs_fields *fields = fl_arena_new_object(parser->arena, struct fl_logs_fields);
    fields->items = fl_arena_new_array(parser->arena, struct field, MAX_FIELDS);
    do {
        int r = take_item(parser, fields);
        if (r < 0)
            return r;
        fl_logs_pattern_skip_blanks(parser);
    } while (fl_logs_pattern_take(parser, ","));
    if (!fl_logs_pattern_take(parser, "]"))
        return fl_logs_pattern_bad(parser, "the closing ] is missing");
    *ret_fields = fields;
    return 0;
}

/* ---- matching ---- */

/* What stands between the first byte of rest and the next end. What was not found once is not
 * sought again: *has_end says so. */
static bool take_enclosed(struct fl_str *rest, char end, bool *has_end, struct fl_str *ret_word)
{
    struct fl_str inner = fl_str_from(*rest, 1);
    ptrdiff_t at = *has_end ? fl_str_index(inner, end) : -1;
    *has_end = at >= 0;
    if (at < 0)
        return false;
    *rest = fl_str_from(inner, (size_t)at + 1);
    *ret_word = fl_str_sub(inner, 0, (size_t)at);
    return true;
}

/* One field off the front of rest, which begins with none of the blanks. */
static struct fl_str take_word(struct fl_str *rest, bool *has_bracket, bool *has_quote)
{
    struct fl_str enclosed;
    size_t n = 0;
    if ((rest->p[0] == '[' && take_enclosed(rest, ']', has_bracket, &enclosed)) ||
        (rest->p[0] == '"' && take_enclosed(rest, '"', has_quote, &enclosed)))
        return enclosed;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    struct fl_str word = fl_str_sub(*rest, 0, n);
    *rest = fl_str_from(*rest, n);
    return word;
}

static void split(struct fl_str message, struct split *ret_split)
{
    struct fl_str rest = fl_str_trim(message);
    bool has_bracket = true, has_quote = true;
    ret_split->count = 0;
    while (rest.n > 0) {
        struct fl_str word = take_word(&rest, &has_bracket, &has_quote);
        if (ret_split->count < MAX_FIELDS)
            ret_split->first[ret_split->count] = word;
        ret_split->last[ret_split->count++ % MAX_FIELDS] = word;
        while (rest.n > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t'))
            rest = fl_str_from(rest, 1);
    }
}

static bool fits(const struct fl_logs_fields *fields, const struct split *split)
{
    return fields->has_gap ? split->count >= fields->count : split->count == fields->count;
}

/* The word that item i stands for. */
static struct fl_str word_of(const struct fl_logs_fields *fields, const struct split *split,
                             size_t i)
{
    if (!fields->has_gap || i < fields->gap)
        return split->first[i];
    return split->last[(split->count - fields->count + i) % MAX_FIELDS];
}

static bool evaluate(const struct fl_logs_node *node, const struct fl_logs_value *value)
{
    switch (node->kind) {
    case FL_LOGS_NODE_AND:
        return evaluate(node->left, value) && evaluate(node->right, value);
    case FL_LOGS_NODE_OR:
        return evaluate(node->left, value) || evaluate(node->right, value);
    case FL_LOGS_NODE_TEST:
        break;
    }
    return fl_logs_pattern_compare(node, value);
}

bool fl_logs_fields_match(const struct fl_logs_fields *fields, struct fl_str message)
{
    struct split words;
    split(message, &words);
    if (!fits(fields, &words))
        return false;
    for (size_t i = 0; i < fields->count; i++) {
        struct fl_logs_value value = {.text = word_of(fields, &words, i), .is_string = true};
        if (!fields->items[i].condition)
            continue;
        value.is_number = fl_logs_pattern_number(value.text, &value.number);
        if (!evaluate(fields->items[i].condition, &value))
            return false;
    }
    return true;
}

void fl_logs_fields_extract(const struct fl_logs_fields *fields, struct fl_str message,
                            struct fl_arena *scratch, fl_logs_pattern_each each, void *context)
{
    struct split words;
    split(message, &words);
    if (!fits(fields, &words))
        return;
    for (size_t i = 0; i < fields->count; i++) {
        struct fl_str name = fields->items[i].name;
        each(context, fl_str_printf(scratch, "$%.*s", FL_STR_ARG(name)),
             word_of(fields, &words, i));
    }
}
