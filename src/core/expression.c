/* Tests on attributes and on what is known of an instance. A subject that is missing fails every
 * test but !exists: `attribute:stack != prod` selects instances that have the attribute. */
#include "core/expression.h"

#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_LIMIT = 10000, MAX_SUBJECT = 1024 };

struct fl_expression {
    const struct fl_query *query;
    struct fl_expression *left, *right;
    pcre2_code *pattern; /* MATCHES, NOT_MATCHES; in the arena */
    pcre2_match_context *limits;
    pcre2_match_data *match;
};

static void *arena_malloc(PCRE2_SIZE size, void *arena)
{
    return fl_arena_alloc(arena, size);
}

static void arena_free(FL_UNUSED void *ptr, FL_UNUSED void *arena)
{
}

bool fl_instance_attribute(const struct fl_instance *instance, struct fl_str name,
                           struct fl_str *ret_value)
{
    const struct ecs_Attribute_list *list = &instance->rec->attributes;
    for (size_t i = 0; i < list->n; i++) {
        if (!fl_str_eq(list->items[i].name, name))
            continue;
        *ret_value = list->items[i].value;
        return true;
    }
    return false;
}

/* ECS's words match by full string, so the pattern is anchored at both ends. */
static int compile_pattern(struct fl_decision *d, struct fl_expression *e, struct fl_str text)
{
    pcre2_general_context *general =
        pcre2_general_context_create(arena_malloc, arena_free, d->arena);
    pcre2_compile_context *context = pcre2_compile_context_create(general);
    int code;
    PCRE2_SIZE at;
    (void)pcre2_set_parens_nest_limit(context, FL_QUERY_MAX_DEPTH);
    e->pattern = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_ANCHORED | PCRE2_ENDANCHORED,
                               &code, &at, context);
    if (!e->pattern)
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid expression: '%.*s' is no regular expression.", FL_STR_ARG(text));
    e->limits = pcre2_match_context_create(general);
    (void)pcre2_set_match_limit(e->limits, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(e->limits, MATCH_LIMIT);
    (void)pcre2_set_heap_limit(e->limits, 1024);
    e->match = pcre2_match_data_create(1, general);
    return 0;
}

static const char *const subjects[] = {
    "agentConnected",
    "agentVersion",
    "ec2InstanceId",
    "runningTasksCount",
};

static int check_subject(struct fl_decision *d, struct fl_str subject)
{
    if (fl_str_starts(subject, FL_STR("attribute:")) && subject.n > strlen("attribute:"))
        return 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(subjects); i++)
        if (fl_str_is(subject, subjects[i]))
            return 0;
    if (fl_str_is(subject, "registeredAt") || fl_str_is(subject, "task:group"))
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid expression: the subject '%.*s' is not implemented yet.",
                         FL_STR_ARG(subject));
    return fl_refuse(d, "InvalidParameterException", "Invalid expression: unknown subject '%.*s'.",
                     FL_STR_ARG(subject));
}

static struct fl_expression *compile(struct fl_decision *d, const struct fl_query *query)
{
    struct fl_expression *e = fl_arena_new_object(d->arena, struct fl_expression);
    e->query = query;
    if (query->kind == FL_QUERY_TEST) {
        if (check_subject(d, query->subject) < 0)
            return NULL;
        bool is_pattern = query->op == FL_QUERY_MATCHES || query->op == FL_QUERY_NOT_MATCHES;
        if (is_pattern && compile_pattern(d, e, query->arguments[0]) < 0)
            return NULL;
        return e;
    }
    e->left = compile(d, query->left);
    if (!e->left)
        return NULL;
    if (query->right && !(e->right = compile(d, query->right)))
        return NULL;
    return e;
}

struct fl_expression *fl_expression_compile(struct fl_decision *d, struct fl_str text)
{
    struct fl_err err;
    struct fl_query *query = fl_query_parse(text, d->arena, &err);
    if (!query) {
        (void)fl_refuse(d, "InvalidParameterException", "Invalid expression '%.*s': %s.",
                        FL_STR_ARG(text), err.text);
        return NULL;
    }
    return compile(d, query);
}

/* The subject's value as text in buf where it is not text already; false when there is none. */
static bool subject_value(const struct fl_instance *instance, struct fl_str subject, char *buf,
                          size_t size, struct fl_str *ret_value)
{
    const struct rec_Instance *rec = instance->rec;
    if (fl_str_starts(subject, FL_STR("attribute:")))
        return fl_instance_attribute(instance, fl_str_from(subject, strlen("attribute:")),
                                     ret_value);
    if (fl_str_is(subject, "agentConnected")) {
        *ret_value = instance->connected ? FL_STR("true") : FL_STR("false");
    } else if (fl_str_is(subject, "agentVersion")) {
        *ret_value = rec->agentVersion;
    } else if (fl_str_is(subject, "ec2InstanceId")) {
        *ret_value = rec->ec2InstanceId;
    } else {
        int n = snprintf(buf, size, "%zu", instance->running_count);
        *ret_value = (struct fl_str){buf, (size_t)n};
    }
    return true;
}

/* Versions and counts: runs of digits compare as numbers, all else by bytes. */
static int natural_order(struct fl_str a, struct fl_str b)
{
    while (a.n && b.n) {
        size_t da = 0, db = 0;
        while (da < a.n && a.p[da] >= '0' && a.p[da] <= '9')
            da++;
        while (db < b.n && b.p[db] >= '0' && b.p[db] <= '9')
            db++;
        uint64_t va = 0, vb = 0;
        if (fl_str_to_u64(fl_str_sub(a, 0, da), &va) && fl_str_to_u64(fl_str_sub(b, 0, db), &vb)) {
            if (va != vb)
                return va < vb ? -1 : 1;
            a = fl_str_from(a, da);
            b = fl_str_from(b, db);
            continue;
        }
        if (a.p[0] != b.p[0])
            return a.p[0] < b.p[0] ? -1 : 1;
        a = fl_str_from(a, 1);
        b = fl_str_from(b, 1);
    }
    return a.n ? 1 : b.n ? -1 : 0;
}

static bool is_among(const struct fl_query *query, struct fl_str value)
{
    for (size_t i = 0; i < query->argument_count; i++)
        if (fl_str_eq(query->arguments[i], value))
            return true;
    return false;
}

/* A match that meets a limit decides nothing, so it passes neither of the two tests. */
static bool matches_pattern(const struct fl_expression *e, struct fl_str value)
{
    if (value.n > MAX_SUBJECT)
        return false;
    int rc = pcre2_match(e->pattern, (PCRE2_SPTR)(value.p ? value.p : ""), value.n, 0, 0, e->match,
                         e->limits);
    return e->query->op == FL_QUERY_MATCHES ? rc >= 0 : rc == PCRE2_ERROR_NOMATCH;
}

static bool test(const struct fl_expression *e, const struct fl_instance *instance)
{
    const struct fl_query *query = e->query;
    char buf[32];
    struct fl_str value;
    bool exists = subject_value(instance, query->subject, buf, sizeof(buf), &value);
    if (query->op == FL_QUERY_EXISTS || query->op == FL_QUERY_NOT_EXISTS)
        return exists == (query->op == FL_QUERY_EXISTS);
    if (!exists)
        return false;
    switch (query->op) {
    case FL_QUERY_EQ:
    case FL_QUERY_IN:
        return is_among(query, value);
    case FL_QUERY_NE:
    case FL_QUERY_NOT_IN:
        return !is_among(query, value);
    case FL_QUERY_GT:
        return natural_order(value, query->arguments[0]) > 0;
    case FL_QUERY_GE:
        return natural_order(value, query->arguments[0]) >= 0;
    case FL_QUERY_LT:
        return natural_order(value, query->arguments[0]) < 0;
    case FL_QUERY_LE:
        return natural_order(value, query->arguments[0]) <= 0;
    case FL_QUERY_MATCHES:
    case FL_QUERY_NOT_MATCHES:
        return matches_pattern(e, value);
    case FL_QUERY_EXISTS:
    case FL_QUERY_NOT_EXISTS:
        break;
    }
    return false;
}

bool fl_expression_matches(const struct fl_expression *e, const struct fl_instance *instance)
{
    switch (e->query->kind) {
    case FL_QUERY_AND:
        return fl_expression_matches(e->left, instance) &&
               fl_expression_matches(e->right, instance);
    case FL_QUERY_OR:
        return fl_expression_matches(e->left, instance) ||
               fl_expression_matches(e->right, instance);
    case FL_QUERY_NOT:
        return !fl_expression_matches(e->left, instance);
    case FL_QUERY_TEST:
        return test(e, instance);
    }
    return false;
}
