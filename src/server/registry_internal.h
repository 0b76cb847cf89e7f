/* The registry's inside, shared by registry*.c and ecr*.c. */
#pragma once

#include <sys/queue.h>

#include "image/repository.h"
#include "server/registry.h"
#include "server/registry_route.h"
#include "server/registry_token.h"
#include "shapes/rec_shapes.h"

enum {
    FL_REGISTRY_UPLOADS_MAX = 512, /* under way */
    FL_REGISTRY_STREAMS_MAX = 256, /* bodies on their way in at once */
    FL_REGISTRY_IDLE_MS = 3600000, /* an upload that nothing has come for is dropped */
    FL_REGISTRY_GRACE_S = 3600,    /* blobs this young are not collected */
    FL_REGISTRY_UNTAGGED_S =
        86400, /* untagged images live so long where nobody made a repository */
    FL_REGISTRY_PAGE_MAX = 1000,
    FL_REGISTRY_ANSWER_MAX = 16 << 20,
};

/* ---- jobs ---- */

struct fl_registry_job {
    uv_work_t work;
    TAILQ_ENTRY(fl_registry_job) link;
    struct fl_registry *registry;
    bool is_exclusive;                          /* runs under the store's lock, alone of its kind */
    void (*begin)(struct fl_registry_job *job); /* on the loop's thread, right before run; may be
                                                 * NULL */
    void (*run)(struct fl_registry_job *job);   /* on a worker */
    void (*done)(struct fl_registry_job *job);  /* on the loop's thread; may free the job. Comes
                                                 * without run when the registry is being closed */
};
TAILQ_HEAD(fl_registry_jobs, fl_registry_job);

void fl_registry_submit(struct fl_registry *registry, struct fl_registry_job *job);

/* ---- uploads ---- */

/* A blob on its way in. Named by an id that its uploader alone knows. What has come lies in a file
 * whose name is made of repository and id, and nothing else is kept: after a restart who knows both
 * has the upload found again (fl_upload_find). One that nothing came for yet is not. */
struct fl_upload {
    TAILQ_ENTRY(fl_upload) link;
    char id[37]; /* a UUID */
    char *repository;
    struct fl_blob_writer *writer; /* the worker's while is_busy; NULL: no worker has had it */
    struct fl_digest file;         /* the name in the store */
    uint64_t size;                 /* written, or given to the worker */
    int64_t touched_ms;            /* monotonic */
    bool is_busy;                  /* one request writes to it or ends it */
};
TAILQ_HEAD(fl_uploads, fl_upload);

/* NULL when there are too many. */
struct fl_upload *fl_upload_new(struct fl_registry *registry, struct fl_str repository);
struct fl_upload *fl_upload_find(struct fl_registry *registry, struct fl_str repository,
                                 struct fl_str id);
/* Forgets it, with what it has written. Not while it is busy. */
void fl_upload_drop(struct fl_registry *registry, struct fl_upload *upload);
/* Forgets it and leaves what it has written, for the server's next life. */
void fl_upload_leave(struct fl_registry *registry, struct fl_upload *upload);
void fl_upload_expire(struct fl_registry *registry);
/* On a worker, for who has made it busy. Bytes are hashed as they are written. -ENOSPC when the
 * disk's reserve is reached, -EFBIG beyond FL_BLOB_MAX_BYTES. */
int fl_upload_write(struct fl_registry *registry, struct fl_upload *upload, const void *bytes,
                    size_t n, struct fl_err *err);
/* On a worker: the blob is in the store, or (-EBADMSG: another digest) nowhere; either way the
 * upload is to be dropped. */
int fl_upload_commit(struct fl_registry *registry, struct fl_upload *upload,
                     const struct fl_digest *digest, struct fl_err *err);

/* ---- requests ---- */

enum fl_registry_right { FL_REGISTRY_NO_RIGHT, FL_REGISTRY_PULL, FL_REGISTRY_PUSH };

enum { FL_REGISTRY_HEADERS_MAX = 8 };

/* One request: made on the loop's thread, answered by a worker filling the answer in. Its arena is
 * the exchange's. */
struct fl_registry_call {
    struct fl_registry_job job;
    struct fl_registry *registry;
    struct fl_http_exchange *exchange;
    struct fl_registry_route route;
    /* The answer. */
    unsigned status; /* 0: nobody has filled it in */
    struct fl_header headers[FL_REGISTRY_HEADERS_MAX];
    size_t header_count;
    struct fl_buf body;
    int fd; /* of the file that is the body; -1: body is */
    uint64_t offset, size;
    bool has_changed; /* something may be there to collect */
};

struct fl_registry_call *fl_registry_call_new(struct fl_registry *registry,
                                              struct fl_http_exchange *exchange);
/* Sends the answer and frees the call. */
void fl_registry_call_end(struct fl_registry_call *call);
/* Frees a call that nobody has to answer. */
void fl_registry_discard(struct fl_registry_call *call);
/* Runs a worker's part, then answers. */
void fl_registry_call_run(struct fl_registry_call *call, bool is_exclusive,
                          void (*run)(struct fl_registry_job *job));
static inline struct fl_registry_call *fl_registry_call_of(struct fl_registry_job *job)
{
    return FL_CONTAINER_OF(job, struct fl_registry_call, job);
}

/* The answer's parts; values of headers must live until the answer is sent. */
void fl_registry_header(struct fl_registry_call *call, const char *name, struct fl_str value);
void fl_registry_digest_header(struct fl_registry_call *call, const struct fl_digest *digest);
/* Makes the answer an error of the specification's; what was filled in before is dropped. */
void fl_registry_fail(struct fl_registry_call *call, unsigned status, const char *code,
                      const char *fmt, ...) FL_PRINTF(4, 5);
/* The same in ECR's words, for a repository that is not there. */
void fl_registry_fail_name(struct fl_registry_call *call);
/* For a manifest beyond its bound. */
void fl_registry_fail_size(struct fl_registry_call *call);
/* For a failure of the store's; says what err says. */
void fl_registry_fail_store(struct fl_registry_call *call, int rc, const struct fl_err *err);

/* May a push to the repository begin? False after failing the call. On a worker. */
bool fl_registry_may_push(struct fl_registry_call *call);

/* What a method on a route does; each starts a job or ends the call. */
void fl_registry_get_blob(struct fl_registry_call *call);
void fl_registry_delete_blob(struct fl_registry_call *call);
void fl_registry_get_manifest(struct fl_registry_call *call);
void fl_registry_put_manifest(struct fl_registry_call *call);
void fl_registry_delete_manifest(struct fl_registry_call *call);
void fl_registry_list_tags(struct fl_registry_call *call);
void fl_registry_catalog(struct fl_registry_call *call);
void fl_registry_referrers(struct fl_registry_call *call);
void fl_registry_begin_upload(struct fl_registry_call *call);
void fl_registry_show_upload(struct fl_registry_call *call);
void fl_registry_cancel_upload(struct fl_registry_call *call);
/* The body has gone into the exchange's sink. */
void fl_registry_end_stream(struct fl_registry_call *call);
/* A sink for the body of a call that may push; NULL after failing the call, which stays the
 * caller's. */
struct fl_http_sink *fl_registry_new_stream(struct fl_registry_call *call);
/* Sends the answer of a call that failed before its body had come; the call stays the caller's. */
void fl_registry_refuse_body(struct fl_registry_call *call);

/* ---- manifests, for both APIs; on a worker, under the lock ---- */

struct fl_registry_put {
    struct fl_str repository;
    struct fl_str tag;        /* empty: none */
    struct fl_str bytes;      /* of the manifest */
    struct fl_str media_type; /* as said; may be empty */
    /* Filled in: */
    struct fl_digest digest;
    struct fl_manifest manifest;
    bool had_tag; /* the tag led to this manifest already */
};

enum fl_registry_put_status {
    FL_REGISTRY_PUT_OK,
    FL_REGISTRY_PUT_INVALID,       /* no manifest, or one that we do not take */
    FL_REGISTRY_PUT_LAYER_MISSING, /* a blob, or one of another size */
    FL_REGISTRY_PUT_IMAGE_MISSING, /* one that an index lists */
    FL_REGISTRY_PUT_IMMUTABLE,     /* the tag leads elsewhere, and may not be moved */
    FL_REGISTRY_PUT_FAILED,        /* the disk */
};
enum fl_registry_put_status fl_registry_put(struct fl_registry *registry,
                                            struct fl_registry_put *put, struct fl_arena *arena,
                                            struct fl_err *err);
/* Is the image listed by an index of its repository? */
bool fl_registry_is_listed(struct fl_registry *registry, struct fl_str repository,
                           const struct fl_digest *digest);

/* Reads a repository's settings; those that nobody made are as a repository is that a push makes.
 * -ENOENT when there is no such repository. */
int fl_registry_read_settings(const struct fl_registry *registry, struct fl_str repository,
                              struct fl_arena *arena, struct rec_Repository *ret_record);
int fl_registry_write_settings(struct fl_registry *registry, struct fl_str repository,
                               const struct rec_Repository *record, struct fl_err *err);

/* ---- collecting ---- */

/* What of a repository's images no policy expires by itself: what an index lists goes with the
 * index, what is about another image with that. Sets is_kept, by the images' order, true for them
 * and leaves the others as they are. On a worker. */
void fl_registry_mark_kept(const struct fl_registry *registry, struct fl_repository_image *images,
                           size_t count, bool *is_kept);
/* Collects soon. */
void fl_registry_collect_soon(struct fl_registry *registry);

struct fl_registry {
    uv_loop_t *loop;
    struct fl_image_store *store;
    struct fl_arena *arena;
    struct fl_str host;
    struct fl_str region;
    struct fl_str account;
    struct fl_registry_key key;
    bool strict;
    void (*each_needed)(void *context, void (*each)(void *list, struct fl_str image), void *list);
    void *context;
    struct fl_uploads uploads;
    size_t upload_count;
    size_t stream_count;
    struct fl_registry_jobs queue; /* exclusive ones that wait; the first one may be running */
    bool is_running_exclusive;
    size_t job_count; /* given to workers or waiting */
    bool is_closing;
    unsigned open_timers;
    uv_timer_t lock_retry;
    uv_timer_t collect;
    bool is_collecting;
};

void fl_registry_start_collecting(struct fl_registry *registry);
