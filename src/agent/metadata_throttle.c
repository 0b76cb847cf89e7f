/* Token buckets by key; see the header. */
#include "agent/metadata_throttle.h"

#include "task/task.h"

enum { THOUSAND = 1000 };

struct bucket {
    UT_hash_handle hh; /* by key */
    char *key;         /* owned */
    int64_t filled_ms; /* when `milli_tokens` was right */
    int64_t milli_tokens;
};

struct fl_metadata_throttle {
    int64_t steady;
    int64_t burst;
    struct bucket *buckets;
};

struct fl_metadata_throttle *fl_metadata_throttle_new(unsigned steady, unsigned burst)
{
    struct fl_metadata_throttle *throttle = fl_calloc(1, sizeof(*throttle));
    throttle->steady = FL_MAX(steady, 1U);
    throttle->burst = FL_MAX(burst, 1U);
    return throttle;
}

static void drop(struct fl_metadata_throttle *throttle, struct bucket *bucket)
{
    HASH_DEL(throttle->buckets, bucket);
    free(bucket->key);
    free(bucket);
}

void fl_metadata_throttle_free(struct fl_metadata_throttle *throttle)
{
    struct bucket *bucket, *next;
    if (!throttle)
        return;
    HASH_ITER(hh, throttle->buckets, bucket, next)
    {
        drop(throttle, bucket);
    }
    free(throttle);
}

static void fill(const struct fl_metadata_throttle *throttle, struct bucket *bucket, int64_t now_ms)
{
    int64_t passed_ms = FL_MAX(now_ms - bucket->filled_ms, (int64_t)0);
    int64_t full = throttle->burst * THOUSAND;
    bucket->filled_ms = now_ms;
    bucket->milli_tokens =
        passed_ms > full ? full : FL_MIN(bucket->milli_tokens + passed_ms * throttle->steady, full);
}

/* A full bucket is like none at all. */
static void forget_full(struct fl_metadata_throttle *throttle, int64_t now_ms)
{
    struct bucket *bucket, *next;
    HASH_ITER(hh, throttle->buckets, bucket, next)
    {
        fill(throttle, bucket, now_ms);
        if (bucket->milli_tokens == throttle->burst * THOUSAND)
            drop(throttle, bucket);
    }
}

static struct bucket *bucket_of(struct fl_metadata_throttle *throttle, struct fl_str key,
                                int64_t now_ms)
{
    struct bucket *bucket;
    HASH_FIND(hh, throttle->buckets, key.p, key.n, bucket);
    if (bucket)
        return bucket;
    if (HASH_COUNT(throttle->buckets) >= FL_METADATA_BUCKETS_MAX)
        forget_full(throttle, now_ms);
    if (HASH_COUNT(throttle->buckets) >= FL_METADATA_BUCKETS_MAX)
        return NULL;
    bucket = fl_calloc(1, sizeof(*bucket));
    bucket->key = fl_strndup(key.p, key.n);
    bucket->filled_ms = now_ms;
    bucket->milli_tokens = throttle->burst * THOUSAND;
    HASH_ADD_KEYPTR(hh, throttle->buckets, bucket->key, key.n, bucket);
    return bucket;
}

bool fl_metadata_throttle_take(struct fl_metadata_throttle *throttle, struct fl_str key,
                               int64_t now_ms)
{
    struct bucket *bucket = bucket_of(throttle, key, now_ms);
    if (!bucket)
        return false;
    fill(throttle, bucket, now_ms);
    if (bucket->milli_tokens < THOUSAND)
        return false;
    bucket->milli_tokens -= THOUSAND;
    return true;
}
