/* What the three kinds of filter patterns share: conditions on a value, put together by && and ||.
 * For logs_pattern*.c only. */
#pragma once

#include "server/logs_pattern.h"
#include "server/logs_regex.h"

enum fl_logs_op {
    FL_LOGS_OP_EQ,
    FL_LOGS_OP_NE,
    FL_LOGS_OP_LT,
    FL_LOGS_OP_LE,
    FL_LOGS_OP_GT,
    FL_LOGS_OP_GE,
    /* JSON only, without an operand. */
    FL_LOGS_OP_IS_NULL,
    FL_LOGS_OP_IS_TRUE,
    FL_LOGS_OP_IS_FALSE,
    FL_LOGS_OP_EXISTS,
    FL_LOGS_OP_NOT_EXISTS,
};

/* What a value is compared with. */
struct fl_logs_operand {
    struct fl_str text;  /* '*' stands for anything, unless escaped: see is_wild */
    const bool *is_wild; /* per byte of text */
    bool is_quoted;
    bool is_number;
    double number;
    const struct fl_logs_regex *regex; /* then nothing of the above */
};

struct fl_logs_selector;

struct fl_logs_node {
    enum { FL_LOGS_NODE_AND, FL_LOGS_NODE_OR, FL_LOGS_NODE_TEST } kind;
    const struct fl_logs_node *left, *right; /* of AND and OR */
    const struct fl_logs_selector *selector; /* JSON's subject */
    size_t field;                            /* the other's subject */
    enum fl_logs_op op;
    struct fl_logs_operand operand;
};

/* A value of a message. */
struct fl_logs_value {
    struct fl_str text;
    bool is_number;
    bool is_string;
    double number;
};

struct fl_logs_parser {
    struct fl_str rest;
    struct fl_arena *arena;
    struct fl_err *err;
    bool is_json;
    struct fl_str field_name; /* of the field at hand */
    size_t field;
    unsigned depth;
    unsigned regexes;
    size_t effort;
};

/* -EINVAL with "Invalid filter pattern: <why>." */
int fl_logs_pattern_bad(struct fl_logs_parser *parser, const char *why);
void fl_logs_pattern_skip_blanks(struct fl_logs_parser *parser);
/* Takes the text if the rest begins with it. */
bool fl_logs_pattern_take(struct fl_logs_parser *parser, const char *text);
/* "…", with its escapes undone. */
int fl_logs_pattern_take_quoted(struct fl_logs_parser *parser, struct fl_logs_operand *ret_operand);
/* %…% */
int fl_logs_pattern_take_regex(struct fl_logs_parser *parser,
                               const struct fl_logs_regex **ret_regex);
/* Conditions with && (which binds more) and || and brackets. */
int fl_logs_pattern_take_expression(struct fl_logs_parser *parser,
                                    const struct fl_logs_node **ret_node);
/* An operator and its operand into node. */
int fl_logs_pattern_take_comparison(struct fl_logs_parser *parser, struct fl_logs_node *node);
/* Whether text is a number, as AWS's and JSON's are written. */
bool fl_logs_pattern_number(struct fl_str text, double *ret_number);
bool fl_logs_pattern_compare(const struct fl_logs_node *node, const struct fl_logs_value *value);

/* JSON: the subject "$.a.b[0]" and, of a word, what follows it. */
int fl_logs_json_take_test(struct fl_logs_parser *parser, struct fl_logs_node *node);
bool fl_logs_json_matches(const struct fl_logs_node *node, struct fl_str message,
                          struct fl_arena *scratch);
void fl_logs_json_extract(const struct fl_logs_node *node, struct fl_str message,
                          struct fl_arena *scratch, fl_logs_pattern_each each, void *context);

/* Space-delimited. */
struct fl_logs_fields;
int fl_logs_fields_parse(struct fl_logs_parser *parser, const struct fl_logs_fields **ret_fields);
bool fl_logs_fields_match(const struct fl_logs_fields *fields, struct fl_str message);
void fl_logs_fields_extract(const struct fl_logs_fields *fields, struct fl_str message,
                            struct fl_arena *scratch, fl_logs_pattern_each each, void *context);
