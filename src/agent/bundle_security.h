/* Capabilities and Docker's security options of one container. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/task_spec.h"

enum { FL_BUNDLE_DEFAULT_CAPS = 14, FL_BUNDLE_CAP_COUNT = 41, FL_BUNDLE_LABEL_PARTS = 4 };

/* Docker's fourteen default capabilities, by number and by name. */
#define FL_BUNDLE_DEFAULT_CAP_BITS UINT64_C(0xa80425fb)
extern const char *const fl_bundle_default_caps[FL_BUNDLE_DEFAULT_CAPS];
/* By number, as in linux/capability.h. */
extern const char *const fl_bundle_all_caps[FL_BUNDLE_CAP_COUNT];

struct fl_bundle_security {
    uint64_t caps; /* bit n: capability n */
    bool no_new_privileges;
    bool no_seccomp;
    struct fl_str apparmor;                     /* a profile; empty: none given */
    bool has_label;                             /* an SELinux label is asked for */
    struct fl_str label[FL_BUNDLE_LABEL_PARTS]; /* user, role, type, level; empty: the default */
};

/* "user:role:type:level", in the arena. */
struct fl_str fl_bundle_label(const struct fl_bundle_security *security, struct fl_arena *arena);
/* What a definition asks for, by Docker's rules: ALL, added, dropped; the privileged have all.
 * -EINVAL with Docker's sentence for a name or an option that is unknown or not supported. Pure. */
int fl_bundle_security(const struct fl_container_spec *container,
                       struct fl_bundle_security *ret_security, struct fl_err *err);
