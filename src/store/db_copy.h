/* A copy of an open database, made a slice at a time between the transactions of its owner: what
 * the connection writes meanwhile goes into the copy too, so it is what was committed when the
 * last slice was. For this folder only. */
#pragma once

#include <stdbool.h>

#include "store/db.h"
#include "store/store.h"

struct fl_db_copy;

/* The file is created (0600; it must not exist) by the first step. */
struct fl_db_copy *fl_db_copy_new(const char *path, fl_store_copied done, void *context);
/* One slice, outside of any transaction, on the thread that uses the connection. */
void fl_db_copy_step(struct fl_db_copy *copy, struct fl_db *from);
/* After a step, on the loop's thread. True: there is more to copy. False: it has called done and
 * freed the copy; what is not whole was removed. give_up ends a copy that is not whole. */
bool fl_db_copy_goes_on(struct fl_db_copy *copy, bool give_up);
