/* One request to the Parameter Store on its way. For parameters*.c only. */
#pragma once

#include "server/parameters.h"
#include "server/parameters_rules.h"

struct fl_parameters_call;
/* Fills the call's output, or fails it; a call that fails has changed nothing. */
typedef void (*fl_parameters_handler)(struct fl_parameters_call *call);

struct fl_parameters_call {
    struct fl_parameters_caller caller;
    int operation;
    const void *input;
    void *output; /* the operation's structure, zeroed */
    struct fl_arena *arena;
    int64_t now_ms;
    const char *error; /* NULL: none */
    struct fl_str error_text;
    struct fl_buf body;
    fl_parameters_reply reply;
    void *context;
};

/* Makes the answer a refusal; the first one stays. */
void fl_parameters_fail(struct fl_parameters_call *call, const char *code, const char *fmt, ...)
    FL_PRINTF(3, 4);
/* The same with what a check answered; false if that was a code, true for NULL. */
bool fl_parameters_pass(struct fl_parameters_call *call, const char *code,
                        const struct fl_err *err);

/* The parameter of an id ("/name"), or NULL. */
const struct rec_Parameter *fl_parameters_find(const struct fl_parameters_call *call,
                                               struct fl_str id);
/* Which parameter the text means, and its record; NULL after failing the call. */
const struct rec_Parameter *fl_parameters_need(struct fl_parameters_call *call, struct fl_str text,
                                               struct fl_parameters_ref *ret_ref);
/* What a version keeps; nothing after failing the call: it is missing in the store. */
const struct rec_ParameterValue *fl_parameters_value(struct fl_parameters_call *call,
                                                     struct fl_str id, int64_t version);
/* That value as text: of a SecureString as it is, or sealed. */
struct fl_str fl_parameters_text(struct fl_parameters_call *call, struct fl_str id,
                                 const struct rec_ParameterVersion *version, bool is_decrypted);

/* Puts the record in place of the one before. */
void fl_parameters_save(struct fl_parameters_call *call, struct fl_str id,
                        const struct rec_Parameter *parameter);
void fl_parameters_save_value(struct fl_parameters_call *call, struct fl_str id, int64_t version,
                              const struct rec_ParameterValue *value);
void fl_parameters_remove_value(struct fl_parameters_call *call, struct fl_str id, int64_t version);
/* The record, and every version's value. */
void fl_parameters_remove(struct fl_parameters_call *call, struct fl_str id);

struct fl_str fl_parameters_arn(const struct fl_parameters_call *call, struct fl_str id);

/* Pages are continued behind what the last one ended with, whatever has come or gone since. False
 * after failing the call: no answer gave that token. An absent token is the empty text. */
bool fl_parameters_read_token(struct fl_parameters_call *call, struct fl_str token,
                              struct fl_str *ret_after);
struct fl_str fl_parameters_token(const struct fl_parameters_call *call, struct fl_str last);

void fl_parameters_add_tags(struct fl_parameters_call *call);
void fl_parameters_delete(struct fl_parameters_call *call);
void fl_parameters_delete_some(struct fl_parameters_call *call);
void fl_parameters_describe(struct fl_parameters_call *call);
void fl_parameters_get(struct fl_parameters_call *call);
void fl_parameters_get_some(struct fl_parameters_call *call);
void fl_parameters_get_by_path(struct fl_parameters_call *call);
void fl_parameters_get_history(struct fl_parameters_call *call);
void fl_parameters_label(struct fl_parameters_call *call);
void fl_parameters_list_tags(struct fl_parameters_call *call);
void fl_parameters_put(struct fl_parameters_call *call);
void fl_parameters_remove_tags(struct fl_parameters_call *call);
void fl_parameters_unlabel(struct fl_parameters_call *call);
