/* JSON patterns: where a value lies ("$.a.b", "$.a[0]", "$.a[*].b", "$['a b']") and what is said
 * of it. A step with a star stands for all members or items; one that fits is enough. */
#include "server/logs_pattern_internal.h"
#include "wire/json.h"

enum { MAX_STEPS = 32, MAX_STARS = 2 };

struct step {
    struct fl_str name; /* of a member */
    size_t index;       /* of an item */
    enum { STEP_NAME, STEP_INDEX, STEP_ALL } kind;
};

struct fl_logs_selector {
    struct fl_str text;
    struct step steps[MAX_STEPS];
    size_t count;
    size_t stars;
};

/* ---- reading ---- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_-:@/#", c)) || (unsigned char)c >= 128;
}

static int take_name(struct fl_logs_parser *parser, struct step *step)
{
    size_t n = 0;
    if (fl_logs_pattern_take(parser, "*")) {
        step->kind = STEP_ALL;
        return 0;
    }
    while (n < parser->rest.n && is_name_char(parser->rest.p[n]))
        n++;
    if (n == 0)
        return fl_logs_pattern_bad(parser, "the name of a property is missing");
    step->kind = STEP_NAME;
    step->name = fl_str_sub(parser->rest, 0, n);
    parser->rest = fl_str_from(parser->rest, n);
    return 0;
}

/* What stands between [ and ]: a number, a star, or a name in quotation marks of either kind. */
static int take_bracket(struct fl_logs_parser *parser, struct step *step)
{
    ptrdiff_t end = fl_str_index(parser->rest, ']');
    struct fl_str inner = fl_str_trim(fl_str_sub(parser->rest, 0, end < 0 ? 0 : (size_t)end));
    uint64_t index;
    bool is_name = inner.n > 2 && (inner.p[0] == '\'' || inner.p[0] == '"') &&
                   inner.p[inner.n - 1] == inner.p[0];
    if (is_name)
        *step = (struct step){.kind = STEP_NAME, .name = fl_str_sub(inner, 1, inner.n - 2)};
    else if (fl_str_is(inner, "*"))
        step->kind = STEP_ALL;
    else if (fl_str_to_u64(inner, &index) && index <= UINT32_MAX)
        *step = (struct step){.kind = STEP_INDEX, .index = index};
    else
        return fl_logs_pattern_bad(parser, "[] of a selector wants a number, * or a quoted name");
    parser->rest = fl_str_from(parser->rest, (size_t)end + 1);
    return 0;
}

static int take_selector(struct fl_logs_parser *parser,
                         const struct fl_logs_selector **ret_selector)
{
    struct fl_logs_selector *selector = fl_arena_new_object(parser->arena, struct fl_logs_selector);
    struct fl_str begin = parser->rest;
    if (!fl_logs_pattern_take(parser, "$"))
        return fl_logs_pattern_bad(parser, "a selector begins with $");
    for (;;) {
        struct step step = {0};
        int r;
        if (fl_logs_pattern_take(parser, "["))
            r = take_bracket(parser, &step);
        else if (fl_logs_pattern_take(parser, ".["))
            r = take_bracket(parser, &step);
        else if (fl_logs_pattern_take(parser, "."))
            r = take_name(parser, &step);
        else
            break;
        if (r < 0)
            return r;
        selector->stars += step.kind == STEP_ALL;
        if (selector->count == MAX_STEPS || selector->stars > MAX_STARS)
            return fl_logs_pattern_bad(parser, "a selector has too many parts, or stars");
        selector->steps[selector->count++] = step;
    }
    selector->text = fl_str_sub(begin, 0, begin.n - parser->rest.n);
    *ret_selector = selector;
    return selector->count > 0 ? 0 : fl_logs_pattern_bad(parser, "a selector names no property");
}

/* Words in capitals, as CloudWatch wants them. */
static bool take_state(struct fl_logs_parser *parser, enum fl_logs_op *ret_op)
{
    static const struct {
        const char *words[2];
        enum fl_logs_op op;
    } states[] = {{{"IS", "NULL"}, FL_LOGS_OP_IS_NULL},
                  {{"IS", "TRUE"}, FL_LOGS_OP_IS_TRUE},
                  {{"IS", "FALSE"}, FL_LOGS_OP_IS_FALSE},
                  {{"NOT", "EXISTS"}, FL_LOGS_OP_NOT_EXISTS},
                  {{"EXISTS", ""}, FL_LOGS_OP_EXISTS}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(states); i++) {
        struct fl_str saved = parser->rest;
        bool taken = fl_logs_pattern_take(parser, states[i].words[0]);
        fl_logs_pattern_skip_blanks(parser);
        if (taken && fl_logs_pattern_take(parser, states[i].words[1])) {
            *ret_op = states[i].op;
            return true;
        }
        parser->rest = saved;
    }
    return false;
}

int fl_logs_json_take_test(struct fl_logs_parser *parser, struct fl_logs_node *node)
{
    int r = take_selector(parser, &node->selector);
    if (r < 0)
        return r;
    parser->effort += node->selector->count;
    fl_logs_pattern_skip_blanks(parser);
    if (take_state(parser, &node->op))
        return 0;
    return fl_logs_pattern_take_comparison(parser, node);
}

/* ---- matching ---- */

static struct fl_logs_value value_of(const struct fl_json *json, char number[64])
{
    struct fl_logs_value value = {0};
    switch (json->kind) {
    case FL_JSON_STRING:
        value.text = fl_json_text(json);
        value.is_string = true;
        break;
    case FL_JSON_TRUE:
        value.text = FL_STR("true");
        break;
    case FL_JSON_FALSE:
        value.text = FL_STR("false");
        break;
    case FL_JSON_INTEGER:
    case FL_JSON_REAL: {
        struct fl_buf buf = FL_BUF_INIT(60);
        struct fl_json_writer jw = {.buf = &buf};
        fl_jw_json(&jw, json);
        memcpy(number, fl_buf_str(&buf).p, buf.n);
        value = (struct fl_logs_value){
            .text = {number, buf.n}, .is_number = true, .number = fl_json_number(json)};
        fl_buf_free(&buf);
        break;
    }
    case FL_JSON_NULL:
    case FL_JSON_ARRAY:
    case FL_JSON_OBJECT:
        break;
    }
    return value;
}

static bool holds(const struct fl_logs_node *node, const struct fl_json *json)
{
    char number[64];
    bool is_plain =
        json->kind != FL_JSON_NULL && json->kind != FL_JSON_ARRAY && json->kind != FL_JSON_OBJECT;
    switch (node->op) {
    case FL_LOGS_OP_IS_NULL:
        return json->kind == FL_JSON_NULL;
    case FL_LOGS_OP_IS_TRUE:
        return json->kind == FL_JSON_TRUE;
    case FL_LOGS_OP_IS_FALSE:
        return json->kind == FL_JSON_FALSE;
    case FL_LOGS_OP_EXISTS:
    case FL_LOGS_OP_NOT_EXISTS:
        return true;
    case FL_LOGS_OP_EQ:
    case FL_LOGS_OP_NE:
    case FL_LOGS_OP_LT:
    case FL_LOGS_OP_LE:
    case FL_LOGS_OP_GT:
    case FL_LOGS_OP_GE:
        break;
    }
    struct fl_logs_value value = value_of(json, number);
    return is_plain && fl_logs_pattern_compare(node, &value);
}

static const struct fl_json *member(const struct fl_json *json, struct fl_str name)
{
    for (size_t i = 0; i < fl_json_members(json); i++)
        if (fl_str_eq(fl_json_text(fl_json_member_name(json, i)), name))
            return fl_json_member(json, i);
    return NULL;
}

typedef bool (*visit)(void *context, const struct fl_json *json);

/* Every value that the steps from `step` on lead to, until one is enough. The stars bound the
 * branches: the rest is one way. */
static bool walk(const struct fl_logs_selector *selector, size_t step, const struct fl_json *json,
                 visit visit_value, void *context)
{
    if (!json)
        return false;
    if (step == selector->count)
        return visit_value(context, json);
    const struct step *at = &selector->steps[step];
    switch (at->kind) {
    case STEP_NAME:
        return walk(selector, step + 1, member(json, at->name), visit_value, context);
    case STEP_INDEX:
        return walk(selector, step + 1, fl_json_item(json, at->index), visit_value, context);
    case STEP_ALL:
        break;
    }
    for (size_t i = 0; i < fl_json_members(json); i++)
        if (walk(selector, step + 1, fl_json_member(json, i), visit_value, context))
            return true;
    for (size_t i = 0; i < fl_json_items(json); i++)
        if (walk(selector, step + 1, fl_json_item(json, i), visit_value, context))
            return true;
    return false;
}

static bool visit_holds(void *context, const struct fl_json *json)
{
    return holds(context, json);
}

static bool test(const struct fl_logs_node *node, const struct fl_json *json)
{
    bool found = walk(node->selector, 0, json, visit_holds, (void *)node);
    return node->op == FL_LOGS_OP_NOT_EXISTS ? !found : found;
}

static bool evaluate(const struct fl_logs_node *node, const struct fl_json *json)
{
    switch (node->kind) {
    case FL_LOGS_NODE_AND:
        return evaluate(node->left, json) && evaluate(node->right, json);
    case FL_LOGS_NODE_OR:
        return evaluate(node->left, json) || evaluate(node->right, json);
    case FL_LOGS_NODE_TEST:
        break;
    }
    return test(node, json);
}

/* NULL when the message is no JSON object or array; most lines that are not say so at once. */
static const struct fl_json *read_message(struct fl_str message, struct fl_arena *scratch)
{
    struct fl_str text = fl_str_trim(message);
    fl_arena_reset(scratch);
    if (text.n < 2 || (text.p[0] != '{' && text.p[0] != '['))
        return NULL;
    return fl_json_read(text, scratch, NULL);
}

bool fl_logs_json_matches(const struct fl_logs_node *node, struct fl_str message,
                          struct fl_arena *scratch)
{
    const struct fl_json *json = read_message(message, scratch);
    return json && evaluate(node, json);
}

/* ---- extracting ---- */

struct extraction {
    const struct fl_json *json;
    const struct fl_logs_selector *selector;
    fl_logs_pattern_each each;
    void *context;
};

static bool visit_extract(void *context, const struct fl_json *json)
{
    const struct extraction *extraction = context;
    char number[64];
    if (json->kind != FL_JSON_ARRAY && json->kind != FL_JSON_OBJECT) {
        struct fl_logs_value value = value_of(json, number);
        extraction->each(extraction->context, extraction->selector->text, value.text);
    }
    return true;
}

static void extract(struct extraction *extraction, const struct fl_logs_node *node)
{
    if (node->kind != FL_LOGS_NODE_TEST) {
        extract(extraction, node->left);
        extract(extraction, node->right);
        return;
    }
    extraction->selector = node->selector;
    (void)walk(node->selector, 0, extraction->json, visit_extract, extraction);
}

void fl_logs_json_extract(const struct fl_logs_node *node, struct fl_str message,
                          struct fl_arena *scratch, fl_logs_pattern_each each, void *context)
{
    struct extraction extraction = {
        .json = read_message(message, scratch), .each = each, .context = context};
    if (extraction.json)
        extract(&extraction, node);
}
