/* Copies of the server's two files, made while it serves: what `fairlead backup` packs. */
#pragma once

#include "server/logs.h"
#include "store/store.h"

struct fl_backup;

/* Store, logs and data_dir (absolute, NUL-terminated) outlive it. */
struct fl_backup *fl_backup_new(struct fl_store *store, struct fl_logs *logs, const char *data_dir);
/* After store and logs were closed, which ends what is being made. */
void fl_backup_free(struct fl_backup *backup);

/* problem is NULL when both copies are whole and synced, else a sentence. */
typedef void (*fl_backup_done)(void *context, const char *problem);

/* Copies server.db, then logs.db, into <data-dir>/backup, which the caller of `fairlead backup`
 * has made, root's alone and empty. One at a time. */
void fl_backup_make(struct fl_backup *backup, fl_backup_done done, void *context);
