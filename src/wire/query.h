/* The cluster query language: text → tree. No I/O, no evaluation.
 *
 *   or_expr  := and_expr { ("or" | "||") and_expr }
 *   and_expr := unary { ("and" | "&&") unary }
 *   unary    := ("not" | "!") unary | "(" or_expr ")" | subject operator [argument]
 *   argument := literal | "[" literal { "," literal } "]"
 *
 * A literal is a bare word or stands in single or double quotes. Bounds: 2,000 characters, 100
 * nested operators, 200 list items. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FL_QUERY_MAX_LENGTH = 2000, FL_QUERY_MAX_DEPTH = 100, FL_QUERY_MAX_ITEMS = 200 };

enum fl_query_kind { FL_QUERY_AND, FL_QUERY_OR, FL_QUERY_NOT, FL_QUERY_TEST };

enum fl_query_operator {
    FL_QUERY_EQ,
    FL_QUERY_NE,
    FL_QUERY_GT,
    FL_QUERY_GE,
    FL_QUERY_LT,
    FL_QUERY_LE,
    FL_QUERY_EXISTS,
    FL_QUERY_NOT_EXISTS,
    FL_QUERY_IN,
    FL_QUERY_NOT_IN,
    FL_QUERY_MATCHES,
    FL_QUERY_NOT_MATCHES,
};

struct fl_query {
    enum fl_query_kind kind;
    struct fl_query *left;  /* AND, OR, NOT */
    struct fl_query *right; /* AND, OR */
    struct fl_str subject;  /* TEST: "attribute:ecs.instance-type", "agentConnected", … */
    enum fl_query_operator op;
    struct fl_str *arguments; /* one, several for IN, none for EXISTS */
    size_t argument_count;
};

/* NULL and err (a sentence naming what is wrong and where) for what the grammar does not allow.
 * The tree and copies of all texts are in the arena. */
struct fl_query *fl_query_parse(struct fl_str text, struct fl_arena *arena, struct fl_err *err);
