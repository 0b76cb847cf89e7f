/* A simulated store: what is durable, and the commits that are on their way to be.
 *
 * Commits become durable in their order, several of them in one sync. A crash loses what is not
 * durable; the sync that was under way is then all there or not at all, as a transaction is.
 *
 * A value is a text, or the structure that such a text says; who wrote it knows which. It does not
 * change and is shared by everybody who holds it. */
#pragma once

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/str.h"

struct sim_value {
    uint32_t holders;
    int kind;     /* of the object */
    void *object; /* owned; NULL: it is text */
    void (*free_object)(void *object);
    struct fl_str text; /* behind the structure */
};

/* Held once. */
struct sim_value *sim_value_text(struct fl_str text);
/* Takes the object. */
struct sim_value *sim_value_object(int kind, void *object, void (*free_object)(void *object));
struct sim_value *sim_value_hold(struct sim_value *value);
void sim_value_release(struct sim_value *value);

struct sim_record {
    RB_ENTRY(sim_record) by_key;
    struct fl_str key; /* behind the structure */
    struct sim_value *value;
};

RB_HEAD(sim_record_tree, sim_record);

struct sim_write {
    struct fl_str key;
    struct sim_value *value; /* NULL: delete */
};

/* The writes belong to whoever made the commit and live as long as it. */
struct sim_commit {
    TAILQ_ENTRY(sim_commit) entry;
    struct sim_write *writes;
    size_t count;
};

TAILQ_HEAD(sim_commit_list, sim_commit);

struct sim_disk {
    struct sim_record_tree records;
    struct sim_commit_list waiting;
    size_t waiting_count;
    size_t waiting_writes; /* of them together */
    size_t syncing;        /* the first so many of the waiting ones; 0: no sync is under way */
    bool full;
};

void sim_disk_init(struct sim_disk *disk);
void sim_disk_append(struct sim_disk *disk, struct sim_commit *commit);
/* Makes the first waiting commit durable and returns it; NULL when none waits. */
struct sim_commit *sim_disk_apply(struct sim_disk *disk);
/* Forgets the first waiting commit and returns it; NULL when none waits. */
struct sim_commit *sim_disk_lose(struct sim_disk *disk);
/* Holds the value. */
void sim_disk_write(struct sim_disk *disk, struct fl_str key, struct sim_value *value);
const struct sim_record *sim_disk_find(const struct sim_disk *disk, struct fl_str key);
/* In the order of keys; first with NULL. */
const struct sim_record *sim_disk_next(const struct sim_disk *disk, const struct sim_record *at);
/* Forgets every record. */
void sim_disk_wipe(struct sim_disk *disk);
