/* Who this host is to its control plane, on disk: the container instance's ARN and, from before it
 * was given, the token that makes a repeated registration the same one. Never discarded, unless the
 * file turns out to be another machine's: then it came with a copied data directory. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FL_IDENTITY_WORD = 33 };

/* What stays the same over boots, names and addresses, and is another machine's alone by mistake.
 * Hashed, as the machine id must not be shown; empty: not known. */
struct fl_machine {
    char id[FL_IDENTITY_WORD];    /* of the installation of its system: /etc/machine-id */
    char board[FL_IDENTITY_WORD]; /* of the hardware: the firmware's UUID; none in a container */
};

/* root: "" for this host; tests have one of their own. */
void fl_machine_read(struct fl_str root, struct fl_machine *ret_machine);
/* The machine as an external instance's id, "mi-" and 17 hex digits: the hardware, if that is
 * known. Installations in different directories are different hosts. Empty when nothing is known.
 */
struct fl_str fl_machine_instance_id(const struct fl_machine *machine, struct fl_str dir,
                                     struct fl_arena *arena);

struct fl_identity {
    struct fl_str client_token;
    struct fl_str instance_arn; /* empty: not registered yet */
    struct fl_machine machine;
    char nonce[FL_IDENTITY_WORD]; /* of this process; not on disk */
    /* The directory is a copy of another machine's. The identity is a new one, to be saved when
     * what came with the other's has been removed. */
    bool is_foreign;
};

/* Reads <dir>/identity, or makes one with a fresh token. Texts are in the arena. */
int fl_identity_open(struct fl_str dir, const struct fl_machine *machine, struct fl_arena *arena,
                     struct fl_identity *ret_identity, struct fl_err *err);
int fl_identity_save(struct fl_str dir, const struct fl_identity *identity, struct fl_err *err);
/* Forgets the container instance: the next registration makes a new one. Not saved. */
void fl_identity_renew(struct fl_identity *identity, struct fl_arena *arena);
