/* Lines for people, folded at a terminal's width. */
#pragma once

#include "base/str.h"

/* Adds the text to out, its lines broken at spaces so that none has more than width characters;
 * what follows a break begins after indent spaces (< width). A word that is longer stays whole.
 * Width 0 breaks nothing. Characters are those of UTF-8. */
void fl_fold(struct fl_str text, size_t width, size_t indent, struct fl_buf *out);
/* Prints the text on stdout, folded if that is a terminal: what programs read keeps its lines. */
void fl_fold_print(struct fl_str text, size_t indent);
