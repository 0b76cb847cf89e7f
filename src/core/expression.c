/* Tests on attributes and on what is known of an instance. A subject that is missing fails every
 * test but !exists: `attribute:stack != prod` selects instances that have the attribute.
 * `task:group` asks whether the instance has tasks of such a group, those that are being stopped
 * left out; its negative tests ask whether it has none. */
#include "core/expression.h"

#include <errno.h>
#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_LIMIT = 10000, MAX_SUBJECT = 1024 };

struct fl_expression {
    const struct fl_query *query;
    struct fl_expression *left, *right;
    const struct subject *subject;
    pcre2_code *pattern; /* MATCHES, NOT_MATCHES */
    pcre2_match_context *limits;
    pcre2_match_data *match;
    int64_t time_s; /* registeredAt's argument */
};

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
static int compile_pattern(struct fl_expression *e, struct fl_str text, struct fl_err *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code;
    PCRE2_SIZE at;
    FL_ASSERT(context);
    (void)pcre2_set_parens_nest_limit(context, FL_QUERY_MAX_DEPTH);
    e->pattern = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_ANCHORED | PCRE2_ENDANCHORED,
                               &code, &at, context);
    pcre2_compile_context_free(context);
    if (!e->pattern)
        return fl_err_set(err, -EINVAL, "Invalid expression: '%.*s' is no regular expression.",
                          FL_STR_ARG(text));
    e->limits = pcre2_match_context_create(NULL);
    e->match = pcre2_match_data_create(1, NULL);
    FL_ASSERT(e->limits && e->match);
    (void)pcre2_set_match_limit(e->limits, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(e->limits, MATCH_LIMIT);
    (void)pcre2_set_heap_limit(e->limits, 1024);
    return 0;
}

enum subject_kind {
    ATTRIBUTE,
    AGENT_CONNECTED,
    AGENT_VERSION,
    EC2_INSTANCE,
    REGISTERED_AT,
    RUNNING_TASKS,
    TASK_GROUP,
};

#define BIT(op) (1u << FL_QUERY_##op)
#define EQUALITY (BIT(EQ) | BIT(NE))
#define ORDER (BIT(GT) | BIT(GE) | BIT(LT) | BIT(LE))
#define SETS (BIT(IN) | BIT(NOT_IN) | BIT(MATCHES) | BIT(NOT_MATCHES))
#define EXISTENCE (BIT(EXISTS) | BIT(NOT_EXISTS))

static const struct subject {
    const char *name;
    enum subject_kind kind;
    unsigned operators;
} subjects[] = {
    {"agentConnected", AGENT_CONNECTED, EQUALITY | SETS},
    {"agentVersion", AGENT_VERSION, EQUALITY | ORDER | SETS},
    {"ec2InstanceId", EC2_INSTANCE, EQUALITY | SETS},
    {"registeredAt", REGISTERED_AT, EQUALITY | ORDER},
    {"runningTasksCount", RUNNING_TASKS, EQUALITY | ORDER},
    {"task:group", TASK_GROUP, EQUALITY | SETS},
};
static const struct subject attribute_subject = {"attribute:", ATTRIBUTE,
                                                 EQUALITY | ORDER | SETS | EXISTENCE};

static const struct subject *find_subject(struct fl_str name)
{
    if (fl_str_starts(name, FL_STR("attribute:")) && name.n > strlen("attribute:"))
        return &attribute_subject;
    for (size_t i = 0; i < FL_ARRAY_SIZE(subjects); i++)
        if (fl_str_is(name, subjects[i].name))
            return &subjects[i];
    return NULL;
}

static int compile_test(struct fl_expression *e, struct fl_err *err)
{
    const struct fl_query *query = e->query;
    bool is_pattern = query->op == FL_QUERY_MATCHES || query->op == FL_QUERY_NOT_MATCHES;
    e->subject = find_subject(query->subject);
    if (!e->subject)
        return fl_err_set(err, -EINVAL, "Invalid expression: unknown subject '%.*s'.",
                          FL_STR_ARG(query->subject));
    if (!(e->subject->operators >> query->op & 1))
        return fl_err_set(err, -EINVAL,
                          "Invalid expression: '%.*s' cannot be compared with this operator.",
                          FL_STR_ARG(query->subject));
    if (e->subject->kind == REGISTERED_AT && !fl_expression_time(query->arguments[0], &e->time_s))
        return fl_err_set(err, -EINVAL,
                          "Invalid expression: '%.*s' is no time like 2018-06-18T22:28:28+00:00.",
                          FL_STR_ARG(query->arguments[0]));
    return is_pattern ? compile_pattern(e, query->arguments[0], err) : 0;
}

static int compile(struct fl_arena *arena, const struct fl_query *query,
                   struct fl_expression **ret_expression, struct fl_err *err)
{
    struct fl_expression *e = fl_arena_new_object(arena, struct fl_expression);
    *ret_expression = e;
    e->query = query;
    if (query->kind == FL_QUERY_TEST)
        return compile_test(e, err);
    int rc = compile(arena, query->left, &e->left, err);
    return rc == 0 && query->right ? compile(arena, query->right, &e->right, err) : rc;
}

struct fl_expression *fl_expression_compile(struct fl_arena *arena, struct fl_str text,
                                            struct fl_err *err)
{
    struct fl_err reason;
    struct fl_expression *e = NULL;
    struct fl_query *query = fl_query_parse(text, arena, &reason);
    if (!query) {
        (void)fl_err_set(err, -EINVAL, "Invalid expression '%.*s': %s.", FL_STR_ARG(text),
                         reason.text);
        return NULL;
    }
    if (compile(arena, query, &e, err) == 0)
        return e;
    fl_expression_free(e);
    return NULL;
}

void fl_expression_free(struct fl_expression *e)
{
    if (!e)
        return;
    fl_expression_free(e->left);
    fl_expression_free(e->right);
    pcre2_match_data_free(e->match);
    pcre2_match_context_free(e->limits);
    pcre2_code_free(e->pattern);
}

int fl_expression_check(struct fl_decision *d, struct fl_str text)
{
    struct fl_err err;
    struct fl_expression *e = fl_expression_compile(d->arena, text, &err);
    if (!e)
        return fl_refuse(d, "InvalidParameterException", "%s", err.text);
    fl_expression_free(e);
    return 0;
}

bool fl_expression_is_live(const struct fl_expression *e)
{
    if (e->query->kind == FL_QUERY_TEST)
        return e->subject->kind == RUNNING_TASKS || e->subject->kind == TASK_GROUP;
    return fl_expression_is_live(e->left) || (e->right && fl_expression_is_live(e->right));
}

/* The subject's value as text, in buf where it is not text already; false when there is none. */
static bool subject_value(const struct fl_instance *instance, const struct fl_expression *e,
                          char *buf, size_t size, struct fl_str *ret_value)
{
    const struct rec_Instance *rec = instance->rec;
    int n;
    switch (e->subject->kind) {
    case ATTRIBUTE:
        return fl_instance_attribute(instance, fl_str_from(e->query->subject, strlen("attribute:")),
                                     ret_value);
    case AGENT_CONNECTED:
        *ret_value = instance->connected ? FL_STR("true") : FL_STR("false");
        return true;
    case AGENT_VERSION:
        *ret_value = rec->agentVersion;
        return true;
    case EC2_INSTANCE:
        *ret_value = rec->ec2InstanceId;
        return true;
    case RUNNING_TASKS:
        n = snprintf(buf, size, "%zu", instance->running_count);
        *ret_value = (struct fl_str){buf, (size_t)n};
        return true;
    case REGISTERED_AT:
    case TASK_GROUP:
        break;
    }
    return false;
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

/* Matching is what PCRE2 says; it says a third thing when it meets a limit. */
static int match(const struct fl_expression *e, struct fl_str value)
{
    if (value.n > MAX_SUBJECT)
        return PCRE2_ERROR_MATCHLIMIT;
    return pcre2_match(e->pattern, (PCRE2_SPTR)(value.p ? value.p : ""), value.n, 0, 0, e->match,
                       e->limits);
}

static bool order_passes(enum fl_query_operator op, int order)
{
    return op == FL_QUERY_EQ   ? order == 0
           : op == FL_QUERY_NE ? order != 0
           : op == FL_QUERY_GT ? order > 0
           : op == FL_QUERY_GE ? order >= 0
           : op == FL_QUERY_LT ? order < 0
                               : order <= 0;
}

/* Seconds are what the language can say. */
static bool test_time(const struct fl_expression *e, const struct fl_instance *instance)
{
    int64_t at_s = instance->rec->registeredAt / 1000;
    return order_passes(e->query->op, at_s < e->time_s ? -1 : at_s > e->time_s);
}

static bool is_negative(enum fl_query_operator op)
{
    return op == FL_QUERY_NE || op == FL_QUERY_NOT_IN || op == FL_QUERY_NOT_MATCHES;
}

/* A match that meets a limit decides nothing, so it passes neither of the two tests. */
static bool test_groups(const struct fl_expression *e, const struct fl_instance *instance)
{
    bool found = false;
    for (uint32_t i = 0; i < instance->group_count; i++) {
        struct fl_str name = instance->groups[i].group->name;
        if (instance->groups[i].group->is_part)
            continue;
        if (!e->pattern) {
            found |= is_among(e->query, name);
            continue;
        }
        int rc = match(e, name);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return false;
        found |= rc >= 0;
    }
    return found != is_negative(e->query->op);
}

static bool test_value(const struct fl_expression *e, const struct fl_instance *instance)
{
    const struct fl_query *query = e->query;
    char buf[32];
    struct fl_str value;
    bool exists = subject_value(instance, e, buf, sizeof(buf), &value);
    if (!exists)
        return query->op == FL_QUERY_NOT_EXISTS;
    switch (query->op) {
    case FL_QUERY_EXISTS:
        return true;
    case FL_QUERY_NOT_EXISTS:
        return false;
    case FL_QUERY_EQ:
    case FL_QUERY_IN:
        return is_among(query, value);
    case FL_QUERY_NE:
    case FL_QUERY_NOT_IN:
        return !is_among(query, value);
    case FL_QUERY_GT:
    case FL_QUERY_GE:
    case FL_QUERY_LT:
    case FL_QUERY_LE:
        return order_passes(query->op, natural_order(value, query->arguments[0]));
    case FL_QUERY_MATCHES:
        return match(e, value) >= 0;
    case FL_QUERY_NOT_MATCHES:
        return match(e, value) == PCRE2_ERROR_NOMATCH;
    }
    return false;
}

static bool test(const struct fl_expression *e, const struct fl_instance *instance)
{
    if (e->subject->kind == REGISTERED_AT)
        return test_time(e, instance);
    return e->subject->kind == TASK_GROUP ? test_groups(e, instance) : test_value(e, instance);
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
