/* The vault: records that nobody reads who has server.db alone. Secrets Manager and the Parameter
 * Store keep theirs here, those without a secret in them too.
 *
 * A record has a kind (a row of a table in vault.c, with its shape in api/records.api, whose first
 * member is `v integer !`, 1) and an id, and lies in the server's store under "v/<kind>/<id>": the
 * whole of it sealed with AES-256-GCM, a random nonce and that key as additional data, by a key of
 * the installation (<data_dir>/keys/vault.key, 0600, made once). Ids are in the clear there. In
 * memory the records are open, in one ordered index.
 *
 * How it is used, on the loop's thread: a call looks (fl_vault_get, fl_vault_next), checks all it
 * has to check (fl_vault_has_room, where it makes something), then changes (fl_vault_put,
 * fl_vault_remove), encodes its answer, and lets it out when fl_vault_commit says that everything
 * it saw and changed is durable. A call that only looks commits as well: it may have seen what is
 * on its way to the disk. All that is changed between two commits becomes durable at once, or not
 * at all. docs/decisions/0010. */
#pragma once

#include "base/err.h"
#include "store/store.h"

enum fl_vault_kind {
    FL_VAULT_SECRET,
    FL_VAULT_SECRET_VALUE,
    FL_VAULT_PARAMETER,
    FL_VAULT_PARAMETER_VALUE,
};

#define FL_VAULT_PREFIX "v/"

enum {
    FL_VAULT_MAX_RECORDS = 200 * 1000,
    FL_VAULT_MAX_BYTES = 256 << 20, /* of all records, in memory */
    FL_VAULT_MAX_RECORD = 1 << 20,  /* of one, as JSON: callers' own limits are far below */
};

struct fl_vault;

/* Reads the installation's key, if it is there. */
int fl_vault_open(struct fl_str data_dir, struct fl_vault **ret_vault, struct fl_err *err);
void fl_vault_free(struct fl_vault *vault);
/* Takes a record whose key has our prefix. -ENOKEY: vault.key is missing; -EBADMSG: the record was
 * changed, is another one's, or was sealed by another key; -EINVAL: a release that is older cannot
 * read it. */
int fl_vault_load_record(struct fl_vault *vault, struct fl_str key, struct fl_str value,
                         struct fl_err *err);
/* After the load and before the first call; makes the key if there is none. The store is closed
 * before the vault is freed. */
int fl_vault_attach(struct fl_vault *vault, struct fl_store *store, struct fl_err *err);

/* The record (a struct rec_…), or NULL. It is the vault's, and good until it is put or removed. */
const void *fl_vault_get(const struct fl_vault *vault, enum fl_vault_kind kind, struct fl_str id);
/* The record after that id, in the order of bytes, or the first after an empty one; NULL: none. */
const void *fl_vault_next(const struct fl_vault *vault, enum fl_vault_kind kind,
                          struct fl_str after, struct fl_str *ret_id);
size_t fl_vault_count(const struct fl_vault *vault, enum fl_vault_kind kind);

/* May it grow? To be asked before that; one call may then go beyond the limits by what it brings.
 */
bool fl_vault_has_room(const struct fl_vault *vault);
/* Copies rec in, in place of the one before; it may point into that one. */
void fl_vault_put(struct fl_vault *vault, enum fl_vault_kind kind, struct fl_str id,
                  const void *rec);
/* Nothing happens where there is none. */
void fl_vault_remove(struct fl_vault *vault, enum fl_vault_kind kind, struct fl_str id);
/* done (or NULL) is called when everything changed so far is durable: at once if it is already. */
void fl_vault_commit(struct fl_vault *vault, void (*done)(void *context), void *context);

/* The text sealed by the installation's key for that record, in Base64: what is shown to who does
 * not ask for what is in it. The same for the same text of the same record. */
struct fl_str fl_vault_sealed_text(const struct fl_vault *vault, enum fl_vault_kind kind,
                                   struct fl_str id, struct fl_str text, struct fl_arena *arena);
