/* The store that forgets: a sorted array of records, and commits that are done at the loop's next
 * iteration. It may be loaded at any time. Meant for tests and small sets: an insertion moves what
 * lies behind it. */
#include <uv.h>

#include "store/store_impl.h"

struct record {
    struct fl_str key;
    struct fl_str value;
};

struct waiting {
    void (*done)(void *context);
    void *context;
};

struct memory_store {
    struct fl_store store;
    uv_idle_t idle; /* active while a commit waits for its done */
    struct record *records;
    size_t count;
    size_t cap;
    struct waiting *waiting;
    size_t waiting_count;
    size_t waiting_cap;
};

static struct fl_str copy(struct fl_str bytes)
{
    return (struct fl_str){fl_strndup(bytes.p, bytes.n), bytes.n};
}

/* Index of the first record whose key is not below key. */
static size_t lower_bound(const struct memory_store *store, struct fl_str key)
{
    size_t low = 0, high = store->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fl_str_cmp(store->records[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void free_record(struct record *record)
{
    free((void *)record->key.p);
    free((void *)record->value.p);
}

static void remove_at(struct memory_store *store, size_t at)
{
    free_record(&store->records[at]);
    store->count--;
    memmove(&store->records[at], &store->records[at + 1],
            (store->count - at) * sizeof(*store->records));
}

static void insert_at(struct memory_store *store, size_t at, const struct fl_store_op *op)
{
    if (store->count == store->cap) {
        store->cap = FL_MAX(store->cap * 2, 64);
        store->records = fl_realloc(store->records, store->cap * sizeof(*store->records));
    }
    memmove(&store->records[at + 1], &store->records[at],
            (store->count - at) * sizeof(*store->records));
    store->records[at] = (struct record){copy(op->key), copy(op->value)};
    store->count++;
}

static void apply(struct memory_store *store, const struct fl_store_op *op)
{
    size_t at = lower_bound(store, op->key);
    bool found = at < store->count && fl_str_eq(store->records[at].key, op->key);
    if (found && op->value.n == 0) {
        remove_at(store, at);
    } else if (found) {
        free((void *)store->records[at].value.p);
        store->records[at].value = copy(op->value);
    } else if (op->value.n > 0) {
        insert_at(store, at, op);
    }
}

/* The dones that are waiting now; those that they commit wait for the next iteration. */
static void deliver(struct memory_store *store)
{
    FL_CLEANUP_FREE struct waiting *waiting = FL_TAKE_PTR(store->waiting);
    size_t count = store->waiting_count;
    store->waiting_count = store->waiting_cap = 0;
    (void)uv_idle_stop(&store->idle);
    for (size_t i = 0; i < count; i++)
        waiting[i].done(waiting[i].context);
}

static void on_idle(uv_idle_t *idle)
{
    deliver(idle->data);
}

static void commit_batch(struct fl_store *base, const struct fl_store_op *ops, size_t count,
                         void (*done)(void *context), void *context)
{
    struct memory_store *store = FL_CONTAINER_OF(base, struct memory_store, store);
    for (size_t i = 0; i < count; i++)
        apply(store, &ops[i]);
    if (store->waiting_count == store->waiting_cap) {
        store->waiting_cap = FL_MAX(store->waiting_cap * 2, 16);
        store->waiting = fl_realloc(store->waiting, store->waiting_cap * sizeof(*store->waiting));
    }
    store->waiting[store->waiting_count++] = (struct waiting){done, context};
    (void)uv_idle_start(&store->idle, on_idle);
}

static int load_records(struct fl_store *base,
                        int (*each)(void *context, struct fl_str key, struct fl_str value),
                        void *context, FL_UNUSED struct fl_err *err)
{
    struct memory_store *store = FL_CONTAINER_OF(base, struct memory_store, store);
    int status = 0;
    for (size_t i = 0; i < store->count && status == 0; i++)
        status = each(context, store->records[i].key, store->records[i].value);
    return status;
}

static void on_closed(uv_handle_t *handle)
{
    struct memory_store *store = handle->data;
    for (size_t i = 0; i < store->count; i++)
        free_record(&store->records[i]);
    free(store->records);
    free(store->waiting);
    free(store);
}

static void close_store(struct fl_store *base)
{
    struct memory_store *store = FL_CONTAINER_OF(base, struct memory_store, store);
    deliver(store);
    uv_close((uv_handle_t *)&store->idle, on_closed);
}

static const struct fl_store_impl impl = {
    .close = close_store,
    .load = load_records,
    .commit = commit_batch,
};

struct fl_store *fl_store_open_memory(uv_loop_t *loop)
{
    struct memory_store *store = fl_calloc(1, sizeof(*store));
    store->store = (struct fl_store){.impl = &impl, .epoch = 1};
    FL_ASSERT(uv_idle_init(loop, &store->idle) == 0);
    store->idle.data = store;
    return &store->store;
}
