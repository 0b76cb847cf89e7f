/* What an implementation of the store gives: the table behind store.h. For this folder only. */
#pragma once

#include "store/store.h"

struct fl_store_impl {
    void (*close)(struct fl_store *store);
    int (*load)(struct fl_store *store,
                int (*each)(void *context, struct fl_str key, struct fl_str value), void *context,
                struct fl_err *err);
    void (*commit)(struct fl_store *store, const struct fl_store_op *ops, size_t count,
                   void (*done)(void *context), void *context);
    void (*copy)(struct fl_store *store, const char *path, fl_store_copied done, void *context);
};

/* The first member of each implementation's struct. */
struct fl_store {
    const struct fl_store_impl *impl;
    uint64_t epoch;
    bool committed; /* a commit was made: loading is over */
};
