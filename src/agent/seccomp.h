/* The distribution's seccomp profile: read, resolved for this machine and our capabilities, and
 * compiled once. crun gets the program, runc the resolved profile. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

#define FL_SECCOMP_PROFILE "/usr/share/containers/seccomp.json"

struct fl_seccomp {
    struct fl_str json;   /* an OCI linux.seccomp object */
    struct fl_str base64; /* the compiled program, an array of struct sock_filter */
};

/* What a rule's includes and excludes are compared with. */
struct fl_seccomp_host {
    const char *arch;        /* Go's name: "amd64" */
    const char *const *caps; /* "CAP_CHOWN" … */
    size_t cap_count;
    int kernel_major;
    int kernel_minor;
};

/* Resolves a profile into the text of an OCI linux.seccomp object; -EINVAL for what is no profile.
 * Pure. */
int fl_seccomp_resolve(const struct fl_json *profile, const struct fl_seccomp_host *host,
                       struct fl_buf *ret_oci, struct fl_err *err);
/* Compiles an OCI linux.seccomp object; appends the program's bytes to ret_program. */
int fl_seccomp_compile(const struct fl_json *oci, struct fl_buf *ret_program, struct fl_err *err);
/* Both, from a file, for this machine with the given capabilities; owned by the caller. */
int fl_seccomp_load(const char *path, const char *const *caps, size_t cap_count,
                    struct fl_seccomp *ret_seccomp, struct fl_err *err);
void fl_seccomp_free(struct fl_seccomp *seccomp);
