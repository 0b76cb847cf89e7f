/* Forms: application/x-www-form-urlencoded, the body of AWS's Query protocol. No I/O. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* Most parameters that a form may have. */
enum { FL_FORM_MAX_ITEMS = 10000 };

struct fl_form_item {
    struct fl_str name;
    struct fl_str value;
};

/* In the order of the names, each name once. */
struct fl_form {
    size_t n;
    struct fl_form_item *items;
};

/* Takes "a=b&c=d" apart; everything lives in the arena. Of a name that is given twice the last
 * value counts. -EINVAL with err for bad percent-encoding or too many parameters. */
int fl_form_parse(struct fl_arena *arena, struct fl_str text, struct fl_form *ret_form,
                  struct fl_err *err);
/* The parameter of that name, or NULL. */
const struct fl_form_item *fl_form_find(const struct fl_form *form, struct fl_str name);
/* Is there a parameter of that name, or one whose name goes on behind it with a dot? */
bool fl_form_has(const struct fl_form *form, struct fl_str name);
