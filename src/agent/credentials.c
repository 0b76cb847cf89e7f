/* Two maps over the same entries: by task, and by id. */
#include "agent/credentials.h"

#include <ctype.h>
#include <openssl/crypto.h>

#include "task/task.h" /* uthash */

enum { ID_MAX = 64 };

struct owner;

struct entry {
    UT_hash_handle hh; /* in the wallet, by id */
    struct owner *owner;
    enum fl_acs_role role;
    struct fl_arena *arena; /* NULL: there is no such entry */
    struct fl_acs_credentials credentials;
};

struct owner {
    UT_hash_handle hh; /* in the wallet, by task ARN */
    struct fl_str task_arn;
    struct fl_arena *arena;
    struct entry entries[FL_ACS_ROLES];
};

struct fl_wallet {
    struct owner *owners;
    struct entry *entries;
};

struct fl_wallet *fl_wallet_new(void)
{
    return fl_calloc(1, sizeof(struct fl_wallet));
}

static void wipe(struct fl_str text)
{
    if (text.n > 0)
        OPENSSL_cleanse((void *)(uintptr_t)text.p, text.n);
}

static void drop_entry(struct fl_wallet *wallet, struct entry *entry)
{
    if (!entry->arena)
        return;
    HASH_DEL(wallet->entries, entry);
    wipe(entry->credentials.secret);
    wipe(entry->credentials.session_token);
    fl_arena_free(entry->arena);
    entry->arena = NULL;
}

static void drop_owner(struct fl_wallet *wallet, struct owner *owner)
{
    HASH_DEL(wallet->owners, owner);
    for (size_t i = 0; i < FL_ACS_ROLES; i++)
        drop_entry(wallet, &owner->entries[i]);
    fl_arena_free(owner->arena);
    free(owner);
}

void fl_wallet_free(struct fl_wallet *wallet)
{
    if (!wallet)
        return;
    while (wallet->owners)
        drop_owner(wallet, wallet->owners);
    free(wallet);
}

static struct owner *find_owner(const struct fl_wallet *wallet, struct fl_str task_arn)
{
    struct owner *owner = NULL;
    if (task_arn.n > 0)
        HASH_FIND(hh, wallet->owners, task_arn.p, task_arn.n, owner);
    return owner;
}

static struct entry *find_entry(const struct fl_wallet *wallet, struct fl_str id)
{
    struct entry *entry = NULL;
    if (id.n > 0)
        HASH_FIND(hh, wallet->entries, id.p, id.n, entry);
    return entry;
}

static struct owner *new_owner(struct fl_wallet *wallet, struct fl_str task_arn)
{
    struct owner *owner = fl_calloc(1, sizeof(*owner));
    owner->arena = fl_arena_new();
    owner->task_arn = fl_str_dup(owner->arena, task_arn);
    HASH_ADD_KEYPTR(hh, wallet->owners, owner->task_arn.p, owner->task_arn.n, owner);
    return owner;
}

/* It becomes part of a path and of an environment variable. */
static bool is_id(struct fl_str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!isalnum((unsigned char)id.p[i]) && id.p[i] != '-' && id.p[i] != '_')
            return false;
    return id.n > 0 && id.n <= ID_MAX;
}

static void fill(struct entry *entry, const struct fl_acs_credentials *credentials)
{
    struct fl_arena *arena = fl_arena_new();
    entry->arena = arena;
    entry->credentials = (struct fl_acs_credentials){
        .id = fl_str_dup(arena, credentials->id),
        .role_arn = fl_str_dup(arena, credentials->role_arn),
        .access_key_id = fl_str_dup(arena, credentials->access_key_id),
        .secret = fl_str_dup(arena, credentials->secret),
        .session_token = fl_str_dup(arena, credentials->session_token),
        .expiration = fl_str_dup(arena, credentials->expiration),
    };
}

bool fl_wallet_put(struct fl_wallet *wallet, struct fl_str task_arn, enum fl_acs_role role,
                   const struct fl_acs_credentials *credentials)
{
    if (!is_id(credentials->id) || task_arn.n == 0)
        return false;
    struct owner *owner = find_owner(wallet, task_arn);
    const struct entry *holder = find_entry(wallet, credentials->id);
    if (holder && (holder->owner != owner || holder->role != role))
        return false;
    if (!owner)
        owner = new_owner(wallet, task_arn);
    struct entry *entry = &owner->entries[role];
    drop_entry(wallet, entry);
    fill(entry, credentials);
    entry->owner = owner;
    entry->role = role;
    HASH_ADD_KEYPTR(hh, wallet->entries, entry->credentials.id.p, entry->credentials.id.n, entry);
    return true;
}

void fl_wallet_forget(struct fl_wallet *wallet, struct fl_str task_arn)
{
    struct owner *owner = find_owner(wallet, task_arn);
    if (owner)
        drop_owner(wallet, owner);
}

const struct fl_acs_credentials *fl_wallet_find(const struct fl_wallet *wallet, struct fl_str id,
                                                struct fl_str *ret_task_arn,
                                                enum fl_acs_role *ret_role)
{
    const struct entry *entry = find_entry(wallet, id);
    if (!entry)
        return NULL;
    *ret_task_arn = entry->owner->task_arn;
    *ret_role = entry->role;
    return &entry->credentials;
}

const struct fl_acs_credentials *fl_wallet_of(const struct fl_wallet *wallet,
                                              struct fl_str task_arn, enum fl_acs_role role)
{
    const struct owner *owner = find_owner(wallet, task_arn);
    const struct entry *entry = owner ? &owner->entries[role] : NULL;
    if (!entry || !entry->arena || !entry->credentials.access_key_id.n)
        return NULL;
    return &entry->credentials;
}
