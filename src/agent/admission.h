/* What an agent knows to be let in by: its instance's own key, and the certificates that its server
 * may show, in the file <agent's data>/admission (0600). Before it has a key: the machine's key,
 * or a token. */
#pragma once

#include "base/err.h"
#include "net/tls.h"
#include "wire/sigv4.h"

/* How an agent may join; all empty: not at all. */
struct fl_admission {
    struct fl_credentials machine_key; /* of the server's machine */
    struct fl_str token;               /* "ID:SECRET" */
    struct fl_str certificate;         /* hash */
};

/* Reads what --token says: ID:SECRET:HASH; or ID:SECRET, a key of the server's machine. */
int fl_admission_read(struct fl_str token, struct fl_admission *ret_admission, struct fl_err *err);

/* Are tasks and secrets safe on the way to this URL? https:// is, and what does not leave the
 * machine. */
bool fl_admission_is_safe(struct fl_str url);

struct fl_admitted {
    struct fl_credentials key; /* empty: none yet */
    struct fl_tls_pins pins;
    struct fl_str server; /* the URL that it advertised last; empty: none */
};

/* Texts are in the arena. No file: nothing known. */
int fl_admitted_read(struct fl_str dir, struct fl_arena *arena, struct fl_admitted *ret_admitted,
                     struct fl_err *err);
int fl_admitted_save(struct fl_str dir, const struct fl_admitted *admitted, struct fl_err *err);
