/* The records first, the logs after them: lines of a task that the records do not know are
 * harmless. */
#include "server/backup.h"

#include <errno.h>
#include <stdio.h>

struct fl_backup {
    struct fl_store *store;
    struct fl_logs *logs;
    const char *data_dir;
    fl_backup_done done; /* NULL: none is being made */
    void *context;
};

struct fl_backup *fl_backup_new(struct fl_store *store, struct fl_logs *logs, const char *data_dir)
{
    struct fl_backup *backup = fl_calloc(1, sizeof(*backup));
    *backup = (struct fl_backup){.store = store, .logs = logs, .data_dir = data_dir};
    return backup;
}

void fl_backup_free(struct fl_backup *backup)
{
    free(backup);
}

static void finish(struct fl_backup *backup, const char *problem)
{
    fl_backup_done done = backup->done;
    backup->done = NULL;
    done(backup->context, problem);
}

static void logs_copied(void *context, int status, const struct fl_err *err)
{
    finish(context, status < 0 ? err->text : NULL);
}

static void records_copied(void *context, int status, const struct fl_err *err)
{
    struct fl_backup *backup = context;
    char path[4096];
    if (status < 0) {
        finish(backup, err->text);
        return;
    }
    (void)snprintf(path, sizeof(path), "%s/backup/logs.db", backup->data_dir);
    fl_logs_copy(backup->logs, path, logs_copied, backup);
}

void fl_backup_make(struct fl_backup *backup, fl_backup_done done, void *context)
{
    char path[4096];
    if (backup->done) {
        done(context, "Another backup is being made.");
        return;
    }
    backup->done = done;
    backup->context = context;
    (void)snprintf(path, sizeof(path), "%s/backup/server.db", backup->data_dir);
    fl_store_copy(backup->store, path, records_copied, backup);
}
