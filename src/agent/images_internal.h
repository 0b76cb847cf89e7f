/* What the files of images share. images.c: images that are ready or being made so; images_find.c:
 * names that are being looked up; images_unpack.c: processes and directories. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <uthash.h>
#include <uv.h>

#include "agent/image_records.h"
#include "agent/images.h"
#include "agent/images_lookup.h"
#include "image/store.h"

enum { FL_IMAGES_CACHE_MAX = 512 };

/* A resolved image whose layers are all unpacked. */
struct fl_cached_image {
    char hex[65]; /* of the manifest or index that the name leads to: the key */
    struct fl_arena *arena;
    struct fl_image_ready ready;
    struct fl_image_record *record; /* NULL: none is kept */
    UT_hash_handle hh;
};

struct fl_image_waiter {
    fl_images_done done;
    void *context;
    STAILQ_ENTRY(fl_image_waiter) link;
};
STAILQ_HEAD(fl_image_waiters, fl_image_waiter);

/* An image being made ready: its layers, and who waits. */
struct fl_pull {
    struct fl_cached_image *image;  /* enters the cache when nothing is missing */
    struct fl_image_record facts;   /* for its record; in the image's arena */
    struct fl_str name;             /* written out; the first that was asked for */
    struct fl_source *source;       /* NULL: the layers are in the built-in store */
    struct fl_registry_login login; /* what it is pulled with; user empty: nothing of a task's */
    struct fl_arena *login_arena;   /* the image's stays in the cache */
    struct fl_digest *diff_ids;
    uint64_t *sizes; /* packed */
    bool *present;
    bool *was_present;
    size_t count, missing;
    char *error; /* set once a layer failed */
    enum fl_image_failure failure;
    bool parked;      /* until there is room */
    int64_t begun_ms; /* monotonic */
    int64_t said_ms;  /* monotonic: when its progress was last logged */
    struct fl_image_waiters waiters;
    TAILQ_ENTRY(fl_pull) link;
};
TAILQ_HEAD(fl_pulls, fl_pull);

/* A name being looked up in a registry. */
struct fl_search {
    struct fl_images *images;
    struct fl_arena *arena;
    struct fl_str name; /* written out: with the next two the key */
    bool afresh;
    struct fl_registry_login login; /* user empty: none of a task's */
    struct fl_lookup *lookup;
    int64_t begun_ms; /* monotonic */
    struct fl_image_waiters waiters;
    TAILQ_ENTRY(fl_search) link;
};
TAILQ_HEAD(fl_searches, fl_search);

struct fl_unpacker;

/* images_yield.c */
struct fl_yielding {
    uv_timer_t *timer; /* while something starts */
    unsigned starts;   /* containers that are starting */
    bool holds;
    int64_t credit_ms; /* how much longer pulls may be held */
    int64_t as_of_ms;  /* monotonic: when that was true */
};

struct fl_images {
    struct fl_arena *arena;
    struct fl_images_config config;
    struct fl_registry_identity identity;
    struct fl_image_store *store; /* NULL until the store exists */
    struct fl_str layers_dir;
    struct fl_unpacker *unpacker;
    struct fl_image_records *records;
    struct fl_cached_image *cache;
    struct fl_pulls pulls;
    struct fl_searches searches;
    uv_timer_t *tick; /* while something is under way */
    uv_timer_t *room; /* always */
    struct fl_yielding yielding;
    int64_t cleaned_ms; /* monotonic: when images were last removed by age */
    void *deleting;     /* layers on their way out; NULL: none */
    uint64_t reclaimed_bytes;
    bool is_full;
    bool said_unknown;
    struct fl_err ailment;  /* why, while it is */
    struct fl_str reported; /* the status file's text */
    struct fl_arena *reported_arena;
};

/* images.c. An image that a digest names: from the cache, the records, the built-in store, or what
 * has just been looked up (found; else NULL) with that login. The waiters are taken over; they may
 * be told before this returns. */
void fl_images_provide(struct fl_images *images, const struct fl_digest *digest, struct fl_str name,
                       const struct fl_looked_up *found, const struct fl_registry_login *login,
                       struct fl_image_waiters *waiters);
/* A login of a task is one's who has the same user and password. */
bool fl_images_same_login(const struct fl_registry_login *a, const struct fl_registry_login *b);
struct fl_registry_login fl_images_copy_login(const struct fl_registry_login *login,
                                              struct fl_arena *arena);
/* The store here is the server's own, which is on this machine. */
bool fl_images_has_servers_store(const struct fl_images *images);
bool fl_images_has(const struct fl_images *images, const struct fl_digest *digest);
/* Tells and empties the list. */
void fl_images_fail(struct fl_image_waiters *waiters, enum fl_image_failure failure,
                    const char *text);
void fl_images_wait(struct fl_image_waiters *waiters, fl_images_done done, void *context);
void fl_images_forget(struct fl_image_waiters *waiters);
/* Starts the clock that watches over what is under way. */
void fl_images_watch(struct fl_images *images);

/* Pulls that waited for room begin. */
void fl_images_unpark(struct fl_images *images);
void fl_images_uncache(struct fl_images *images, const struct fl_digest *digest);

/* image_cleanup.c */
struct fl_image_room {
    uint64_t total; /* 0: not known */
    uint64_t available;
    uint64_t reserve; /* kept free: nothing is pulled into it */
    uint64_t mark;    /* below it unused images go, whatever their age */
};
void fl_images_room(const struct fl_images *images, struct fl_image_room *ret_room);
/* False with a sentence: so many bytes are not to be had. */
bool fl_images_fits(const struct fl_images *images, uint64_t bytes, struct fl_err *err);
/* Removes what nobody uses. False: there is nothing; else fl_images_cleaned comes later. */
bool fl_images_make_room(struct fl_images *images);
void fl_images_cleaned(struct fl_images *images);
void fl_images_cleanup_start(struct fl_images *images);
void fl_images_cleanup_close(struct fl_images *images);

/* images_yield.c */
void fl_images_yield_open(struct fl_images *images, uv_timer_t *timer);

/* images_report.c */
void fl_images_report(struct fl_images *images);

/* images_find.c. Looks the name up as the behaviour says, for all who ask meanwhile with the same
 * login; afresh: as fl_images_pull does. */
struct fl_image_wish {
    const struct fl_image_name *name;
    struct fl_str full; /* the name written out */
    bool afresh;
    const struct fl_registry_login *login; /* user empty: none of a task's */
};
void fl_images_search(struct fl_images *images, const struct fl_image_wish *wish,
                      fl_images_done done, void *context);
void fl_images_search_expire(struct fl_images *images, int64_t now_ms);
void fl_images_search_free_all(struct fl_images *images);
/* "1m0s", "2h0m0s": durations as ECS's agent prints them. */
struct fl_str fl_images_duration(int64_t ms, struct fl_arena *arena);

/* A layer is whole, or could not be made so (error is a sentence). Never from within add. */
typedef void (*fl_unpacker_done)(void *context, const struct fl_digest *digest,
                                 struct fl_str error);

/* Makes layers_dir and clears it of what an earlier process left unfinished. */
int fl_unpacker_open(uv_loop_t *loop, struct fl_str libexec_dir, struct fl_str layers_dir,
                     fl_unpacker_done done, void *context, struct fl_unpacker **ret_unpacker,
                     struct fl_err *err);
/* Kills what runs; the memory goes when the loop has seen the last of it. Nobody is told. */
void fl_unpacker_close(struct fl_unpacker *unpacker);

bool fl_unpacker_has(const struct fl_unpacker *unpacker, const struct fl_digest *digest);
/* A layer to unpack and where its bytes come from: a store on this machine, which must outlive the
 * unpacker, or (store NULL) a registry. */
struct fl_layer_order {
    const struct fl_image_store *store;
    struct fl_source *source;
    struct fl_digest digest;
    struct fl_digest diff_id;
    uint64_t size; /* packed */
};
/* Has the layer unpacked, once for all who add it meanwhile. */
int fl_unpacker_add(struct fl_unpacker *unpacker, const struct fl_layer_order *order,
                    struct fl_err *err);
/* While it is held, what runs holds still (libexec/unpack.h), nothing is taken from registries, and
 * no layer is begun. */
void fl_unpacker_hold(struct fl_unpacker *unpacker, bool is_held);
/* Bytes of a layer that have come from its registry. */
uint64_t fl_unpacker_received(const struct fl_unpacker *unpacker, const struct fl_digest *digest);
/* Nobody wants the layer any more: it is not told of, and may be added anew. */
void fl_unpacker_drop(struct fl_unpacker *unpacker, const struct fl_digest *digest);
