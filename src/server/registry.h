/* The built-in registry: OCI distribution beneath /v2/, over the image store in
 * <data_dir>/registry.
 *
 * Everything that touches the disk runs on libuv's workers. What changes repositories runs one at a
 * time, in the order asked, under the store's lock; bodies and reads go on meanwhile. */
#pragma once

#include <uv.h>

#include "net/http_server.h"
#include "server/keys.h"

struct fl_registry;

struct fl_registry_config {
    struct fl_str dir;  /* the image store */
    struct fl_str host; /* what repositoryUri begins with: "127.0.0.1:4566" */
    struct fl_str region;
    struct fl_str account;
    struct fl_credentials operator_key; /* tokens are grown from it */
    bool strict;                        /* a repository must have been created to be pushed to */
    /* Calls each for every image that must not be collected, whoever refers to it: a digest
     * ("sha256:…"), or a name that ends in one; others are left alone. */
    void (*each_needed)(void *context, void (*each)(void *list, struct fl_str image), void *list);
    void *context;
};

/* The config's strings are copied. -EBUSY when another server attends the store. */
int fl_registry_open(uv_loop_t *loop, const struct fl_registry_config *config,
                     struct fl_registry **ret_registry, struct fl_err *err);
/* Runs the loop until what is under way has ended; after the HTTP server's stop. */
void fl_registry_close(struct fl_registry *registry);

/* Is the path the registry's to answer? */
bool fl_registry_has_path(struct fl_str path);
void fl_registry_handle(struct fl_registry *registry, struct fl_http_exchange *exchange);
/* For the HTTP server (open_sink): the bodies of uploads. */
struct fl_http_sink *fl_registry_open_sink(struct fl_registry *registry,
                                           struct fl_http_exchange *exchange);
