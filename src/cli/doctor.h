/* What the doctor's checks share. A check looks at one thing and answers with one line; a line that
 * is not FINE says how to mend it. */
#pragma once

#include "cli/options.h"

enum fl_verdict { FL_FINE, FL_NOTE, FL_WRONG };

struct fl_finding {
    enum fl_verdict verdict;
    struct fl_str text; /* in the options' arena, or static */
};

typedef struct fl_finding (*fl_check)(const struct fl_options *options);

/* doctor_host.c */
struct fl_finding fl_doctor_kernel(const struct fl_options *options);
struct fl_finding fl_doctor_overlay(const struct fl_options *options);
struct fl_finding fl_doctor_cgroups(const struct fl_options *options);
struct fl_finding fl_doctor_kvm(const struct fl_options *options);
struct fl_finding fl_doctor_names(const struct fl_options *options);
struct fl_finding fl_doctor_api_names(const struct fl_options *options);
struct fl_finding fl_doctor_clock(const struct fl_options *options);
struct fl_finding fl_doctor_disk(const struct fl_options *options);
struct fl_finding fl_doctor_certificate(const struct fl_options *options);

/* doctor_firewall.c */
struct fl_finding fl_doctor_firewall(const struct fl_options *options);

/* doctor_runtime.c */
struct fl_finding fl_doctor_runtime(const struct fl_options *options);

/* One row of the table of known holes in container runtimes. */
struct fl_runtime_hole {
    const char *program;
    const char *names;   /* the advisories */
    const char *fixed;   /* upstream versions, one per branch, ascending, separated by blanks */
    const char *debian;  /* first version of Debian 12's package with the fix; NULL: none */
    const char *feature; /* the hole is there only where `--version` shows this; NULL: always */
    const char *harm;
};
/* Whether a release ("1.1.12", "1.4.0-rc.3+x") has the fix: as new as its own branch's
 * (major.minor) row, or of a newer branch than all rows. What cannot be read as a version has none.
 */
bool fl_doctor_is_fixed(struct fl_str version, const char *fixed);

/* How long the programs that are asked here may take. */
enum { FL_DOCTOR_PATIENCE_MS = 5000 };
