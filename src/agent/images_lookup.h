/* What an image name leads to in a registry: manifest and configuration of this machine's image. */
#pragma once

#include "agent/pull.h"
#include "image/name.h"
#include "image/store.h"

enum { FL_LOOKUP_HOSTS_MAX = 2 };

struct fl_lookup_order {
    struct fl_puller *puller;
    struct fl_image_name name;
    /* Registries to ask, in order: the next one when a name is not known. Empty: the built-in. */
    struct fl_str hosts[FL_LOOKUP_HOSTS_MAX];
    size_t host_count;
    const struct fl_registry_login *login; /* NULL: the operator's, if there is one; copied */
    /* True: what the name leads to is known already, no more has to be fetched. */
    bool (*known)(void *context, const struct fl_digest *digest);
};

struct fl_looked_up {
    struct fl_str error;     /* empty: found */
    bool is_timeout;         /* nothing came */
    struct fl_digest digest; /* of what the name leads to: manifest or index */
    bool is_known;           /* the rest is not set */
    struct fl_digest image;  /* of the manifest */
    struct fl_str manifest;  /* its bytes */
    struct fl_str config;
    struct fl_source *source; /* where the layers are; the lookup's */
};

typedef void (*fl_lookup_done)(void *context, const struct fl_looked_up *found);

struct fl_lookup;
/* done is called once, never before this returns. */
struct fl_lookup *fl_lookup_start(const struct fl_lookup_order *order, fl_lookup_done done,
                                  void *context);
/* done is not called. */
void fl_lookup_cancel(struct fl_lookup *lookup);
