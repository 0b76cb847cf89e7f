/* Who has asked for credentials: a line for each request, as ECS's agent writes it.
 *
 *     <time> <status> <address> "<path>" "<user agent>" <task ARN> GetCredentials 1 <cluster>
 * <instance>
 *
 * The id in the path is left out: who reads the log shall not be able to ask. What a container says
 * of itself is cut, and cannot end a line or a quotation. At FL_AUDIT_MAX bytes the file becomes
 * <file>.1, in place of the last one. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FL_AUDIT_MAX = 5 * 1024 * 1024 };

struct fl_audit;

struct fl_audit_entry {
    unsigned status;
    struct fl_str peer;
    struct fl_str path;
    struct fl_str user_agent; /* as it came */
    struct fl_str task_arn;   /* empty: nobody's */
    struct fl_str cluster;
    struct fl_str instance_arn;
};

/* Appends to the file, which is made (0600) with the directories above it. */
int fl_audit_open(struct fl_str path, struct fl_audit **ret_audit, struct fl_err *err);
void fl_audit_close(struct fl_audit *audit);
/* Nothing happens without a log. */
void fl_audit_note(struct fl_audit *audit, const struct fl_audit_entry *entry);
