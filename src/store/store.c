/* The store's header, handed to the implementation; checks what holds for all of them. */
#include "store/store.h"

#include "store/store_impl.h"

void fl_store_close(struct fl_store *store)
{
    if (store)
        store->impl->close(store);
}

uint64_t fl_store_epoch(const struct fl_store *store)
{
    return store->epoch;
}

int fl_store_load(struct fl_store *store,
                  int (*each)(void *context, struct fl_str key, struct fl_str value), void *context,
                  struct fl_err *err)
{
    return store->impl->load(store, each, context, err);
}

void fl_store_commit(struct fl_store *store, const struct fl_store_op *ops, size_t count,
                     void (*done)(void *context), void *context)
{
    for (size_t i = 0; i < count; i++)
        FL_ASSERT(ops[i].key.n > 0);
    store->committed = true;
    store->impl->commit(store, ops, count, done, context);
}

void fl_store_copy(struct fl_store *store, const char *path, fl_store_copied done, void *context)
{
    store->impl->copy(store, path, done, context);
}
