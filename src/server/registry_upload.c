/* Uploads: blobs that come in one piece or many, and the streams that bring the pieces.
 *
 * A stream has two blocks: one is filled by the connection while a worker writes and hashes the
 * other; when both are full the connection pauses. A client that goes away leaves what has come,
 * and can go on from there, also when the server was killed meanwhile: the first worker then reads
 * what lies there, to hash it. */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/id.h"
#include "server/registry_internal.h"
#include "wire/url.h"

enum { BLOCK = 128 * 1024, ID_LENGTH = 36 };

struct stream {
    struct fl_http_sink sink;
    struct fl_registry_job job;
    struct fl_registry *registry;
    struct fl_upload *upload;
    struct fl_http_exchange *exchange; /* NULL: gone */
    struct fl_registry_call *call;     /* the body is complete; NULL before */
    uint64_t expected;                 /* bytes that the upload is to have at the end, or UNKNOWN */
    bool is_last;                      /* the blob is complete with this body */
    struct fl_digest digest;           /* the same: what it must have */
    char *filling, *writing;           /* BLOCK bytes each */
    size_t filled, to_write;
    bool is_working;
    bool is_committing;
    bool is_refused;
    int rc; /* of the worker; negative: the upload is lost */
    struct fl_err err;
};

static const uint64_t UNKNOWN = UINT64_MAX;

/* ---- uploads ---- */

static struct fl_digest file_of(struct fl_str repository, struct fl_str id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    return fl_digest_of(fl_str_printf(arena, "%.*s\n%.*s", FL_STR_ARG(repository), FL_STR_ARG(id)));
}

static bool has_room(struct fl_registry *registry)
{
    if (registry->upload_count >= FL_REGISTRY_UPLOADS_MAX)
        fl_upload_expire(registry);
    return registry->upload_count < FL_REGISTRY_UPLOADS_MAX;
}

static struct fl_upload *add(struct fl_registry *registry, struct fl_str repository,
                             struct fl_str id)
{
    struct fl_upload *upload = fl_calloc(1, sizeof(*upload));
    FL_ASSERT(id.n == ID_LENGTH);
    memcpy(upload->id, id.p, ID_LENGTH);
    upload->repository = fl_strndup(repository.p, repository.n);
    upload->file = file_of(repository, id);
    upload->touched_ms = fl_clock_mono_ms();
    TAILQ_INSERT_TAIL(&registry->uploads, upload, link);
    registry->upload_count++;
    return upload;
}

struct fl_upload *fl_upload_new(struct fl_registry *registry, struct fl_str repository)
{
    uint8_t salt[16];
    char hex[33], id[ID_LENGTH];
    if (!has_room(registry))
        return NULL;
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), hex);
    for (size_t i = 0, n = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            id[n++] = '-';
        id[n++] = hex[i];
    }
    return add(registry, repository, (struct fl_str){id, ID_LENGTH});
}

/* One of this server's life before. */
static struct fl_upload *find_left(struct fl_registry *registry, struct fl_str repository,
                                   struct fl_str id)
{
    uint64_t size;
    if (id.n != ID_LENGTH || !registry->store)
        return NULL;
    struct fl_digest file = file_of(repository, id);
    if (!fl_image_store_has_upload(registry->store, &file, &size) || size > FL_BLOB_MAX_BYTES ||
        !has_room(registry))
        return NULL;
    struct fl_upload *upload = add(registry, repository, id);
    upload->size = size;
    return upload;
}

struct fl_upload *fl_upload_find(struct fl_registry *registry, struct fl_str repository,
                                 struct fl_str id)
{
    struct fl_upload *upload;
    TAILQ_FOREACH (upload, &registry->uploads, link)
        if (fl_str_is(id, upload->id) && fl_str_is(repository, upload->repository))
            return upload;
    return find_left(registry, repository, id);
}

struct dropping {
    struct fl_registry_job job;
    struct fl_blob_writer *writer; /* NULL: the file may be there all the same */
    struct fl_digest file;
};

static void drop_now(struct fl_registry *registry, struct fl_blob_writer *writer,
                     const struct fl_digest *file)
{
    if (writer)
        fl_blob_writer_abort(writer);
    else
        fl_image_store_remove_upload(registry->store, file);
}

static void run_dropping(struct fl_registry_job *job)
{
    struct dropping *dropping = FL_CONTAINER_OF(job, struct dropping, job);
    drop_now(job->registry, dropping->writer, &dropping->file);
}

static void dropped(struct fl_registry_job *job)
{
    free(FL_CONTAINER_OF(job, struct dropping, job));
}

/* Gigabytes are not deleted in a moment: a worker does it. */
static void drop_file(struct fl_registry *registry, const struct fl_upload *upload)
{
    if (registry->is_closing) {
        drop_now(registry, upload->writer, &upload->file);
        return;
    }
    struct dropping *dropping = fl_calloc(1, sizeof(*dropping));
    *dropping = (struct dropping){.job = {.run = run_dropping, .done = dropped},
                                  .writer = upload->writer,
                                  .file = upload->file};
    fl_registry_submit(registry, &dropping->job);
}

static void forget(struct fl_registry *registry, struct fl_upload *upload)
{
    FL_ASSERT(!upload->is_busy);
    TAILQ_REMOVE(&registry->uploads, upload, link);
    registry->upload_count--;
    free(upload->repository);
    free(upload);
}

void fl_upload_drop(struct fl_registry *registry, struct fl_upload *upload)
{
    if (upload->writer || upload->size > 0)
        drop_file(registry, upload);
    forget(registry, upload);
}

void fl_upload_leave(struct fl_registry *registry, struct fl_upload *upload)
{
    fl_blob_writer_suspend(upload->writer);
    forget(registry, upload);
}

void fl_upload_expire(struct fl_registry *registry)
{
    struct fl_upload *upload, *next;
    int64_t before_ms = fl_clock_mono_ms() - FL_REGISTRY_IDLE_MS;
    for (upload = TAILQ_FIRST(&registry->uploads); upload; upload = next) {
        next = TAILQ_NEXT(upload, link);
        if (!upload->is_busy && upload->touched_ms < before_ms)
            fl_upload_drop(registry, upload);
    }
}

static int ensure_writer(struct fl_registry *registry, struct fl_upload *upload, struct fl_err *err)
{
    return upload->writer
               ? 0
               : fl_blob_writer_resume(registry->store, &upload->file, &upload->writer, err);
}

int fl_upload_write(struct fl_registry *registry, struct fl_upload *upload, const void *bytes,
                    size_t n, struct fl_err *err)
{
    int rc = ensure_writer(registry, upload, err);
    if (rc == 0 && fl_image_store_room(registry->store) < n)
        return fl_err_set(err, -ENOSPC, "what is free of it is kept in reserve");
    return rc == 0 ? fl_blob_writer_add(upload->writer, bytes, n, err) : rc;
}

int fl_upload_commit(struct fl_registry *registry, struct fl_upload *upload,
                     const struct fl_digest *digest, struct fl_err *err)
{
    int rc = ensure_writer(registry, upload, err);
    if (rc == 0)
        rc = fl_blob_writer_commit(FL_TAKE_PTR(upload->writer), digest, NULL, err);
    return FL_MIN(rc, 0);
}

/* ---- answers ---- */

static void progress_headers(struct fl_registry_call *call, const struct fl_upload *upload)
{
    struct fl_arena *arena = call->exchange->arena;
    fl_registry_header(
        call, "Location",
        fl_str_printf(arena, "/v2/%s/blobs/uploads/%s", upload->repository, upload->id));
    fl_registry_header(call, "Docker-Upload-UUID", fl_str_dup(arena, fl_str_of(upload->id)));
    fl_registry_header(
        call, "Range",
        fl_str_printf(arena, "0-%llu", (unsigned long long)(upload->size ? upload->size - 1 : 0)));
}

static void blob_headers(struct fl_registry_call *call, const struct fl_digest *digest)
{
    fl_registry_header(call, "Location",
                       fl_str_printf(call->exchange->arena, "/v2/%.*s/blobs/sha256:%s",
                                     FL_STR_ARG(call->route.repository), digest->hex));
    fl_registry_digest_header(call, digest);
}

static void fail_upload(struct fl_registry_call *call, int rc, const struct fl_err *err)
{
    if (rc == -EBADMSG)
        fl_registry_fail(call, 400, "DIGEST_INVALID", "%s", err->text);
    else if (rc == -EINVAL)
        fl_registry_fail(call, 400, "SIZE_INVALID", "%s", err->text);
    else if (rc == -ENOENT)
        fl_registry_fail_name(call);
    else
        fl_registry_fail_store(call, rc, err);
}

/* ---- streams ---- */

static void stream_free(struct stream *stream)
{
    stream->registry->stream_count--;
    free(stream->filling);
    free(stream->writing);
    free(stream);
}

/* The stream has nothing more to do. The upload is lost with what failed; else it waits. */
static void stream_end(struct stream *stream)
{
    struct fl_upload *upload = stream->upload;
    upload->is_busy = false;
    upload->touched_ms = fl_clock_mono_ms();
    if (stream->rc < 0 || stream->is_committing)
        fl_upload_drop(stream->registry, upload);
    stream_free(stream);
}

static void answer(struct stream *stream)
{
    struct fl_registry_call *call = stream->call;
    if (stream->rc < 0) {
        fail_upload(call, stream->rc, &stream->err);
    } else if (stream->is_committing) {
        call->status = 201;
        blob_headers(call, &stream->digest);
    } else {
        call->status = 202;
        progress_headers(call, stream->upload);
    }
    stream_end(stream);
    fl_registry_call_end(call);
}

static void run(struct fl_registry_job *job)
{
    struct stream *stream = FL_CONTAINER_OF(job, struct stream, job);
    struct fl_upload *upload = stream->upload;
    if (stream->is_committing && stream->registry->strict &&
        !fl_image_store_has_repository(stream->registry->store, fl_str_of(upload->repository)))
        stream->rc = fl_err_set(&stream->err, -ENOENT, "the repository does not exist");
    else if (stream->is_committing)
        stream->rc = fl_upload_commit(stream->registry, upload, &stream->digest, &stream->err);
    else
        stream->rc = fl_upload_write(stream->registry, upload, stream->writing, stream->to_write,
                                     &stream->err);
}

static void work(struct stream *stream)
{
    stream->is_working = true;
    fl_registry_submit(stream->registry, &stream->job);
}

static void write_filled(struct stream *stream)
{
    char *filled = stream->filling;
    stream->filling = stream->writing;
    stream->writing = filled;
    stream->to_write = stream->filled;
    stream->upload->size += stream->filled;
    stream->filled = 0;
    work(stream);
}

/* Everything that came is written: what now? */
static void finish(struct stream *stream)
{
    if (!stream->call) {
        stream_end(stream);
        return;
    }
    if (stream->rc == 0 && stream->expected != UNKNOWN && stream->upload->size != stream->expected)
        stream->rc = fl_err_set(
            &stream->err, -EINVAL, "the upload has %llu bytes where its range says %llu",
            (unsigned long long)stream->upload->size, (unsigned long long)stream->expected);
    if (stream->rc == 0 && stream->is_last && !stream->is_committing) {
        stream->is_committing = true;
        work(stream);
        return;
    }
    answer(stream);
}

/* The body is still on its way, but there is no use in it. */
static void refuse_rest(struct stream *stream)
{
    struct fl_registry_call *call = fl_registry_call_new(stream->registry, stream->exchange);
    stream->is_refused = true;
    fail_upload(call, stream->rc, &stream->err);
    fl_registry_refuse_body(call);
    fl_registry_discard(call);
}

static void worked(struct fl_registry_job *job)
{
    struct stream *stream = FL_CONTAINER_OF(job, struct stream, job);
    stream->is_working = false;
    if (stream->rc < 0)
        stream->filled = 0;
    if (stream->exchange && !stream->call) {
        if (stream->rc < 0) {
            refuse_rest(stream);
            return;
        }
        fl_http_sink_ready(stream->exchange);
        return;
    }
    if (stream->filled)
        write_filled(stream);
    else
        finish(stream);
}

static bool take(struct fl_http_sink *sink, const char *bytes, size_t n)
{
    struct stream *stream = FL_CONTAINER_OF(sink, struct stream, sink);
    FL_ASSERT(n <= BLOCK); /* the connection's own buffer is smaller */
    if (n > BLOCK - stream->filled) {
        if (stream->is_working)
            return false;
        write_filled(stream);
    }
    memcpy(stream->filling + stream->filled, bytes, n);
    stream->filled += n;
    return true;
}

static void gone(struct fl_http_sink *sink)
{
    struct stream *stream = FL_CONTAINER_OF(sink, struct stream, sink);
    stream->exchange = NULL;
    if (stream->is_working)
        return;
    if (stream->filled && stream->rc == 0)
        write_filled(stream);
    else
        finish(stream);
}

void fl_registry_end_stream(struct fl_registry_call *call)
{
    struct stream *stream = FL_CONTAINER_OF(call->exchange->sink, struct stream, sink);
    stream->call = call;
    if (stream->is_working)
        return;
    if (stream->filled)
        write_filled(stream);
    else
        finish(stream);
}

/* ---- beginning ---- */

static void fail_range(struct fl_registry_call *call, const struct fl_upload *upload,
                       const char *text)
{
    fl_registry_fail(call, 416, "BLOB_UPLOAD_INVALID", "%s", text);
    progress_headers(call, upload);
}

/* Where the body has to end, from its headers; false after failing the call. */
static bool find_end(struct fl_registry_call *call, const struct fl_upload *upload,
                     uint64_t *ret_expected)
{
    struct fl_str range = fl_http_header(call->exchange, "Content-Range");
    struct fl_str length = fl_str_trim(fl_http_header(call->exchange, "Content-Length"));
    uint64_t first, last, n;
    bool has_length = fl_str_to_u64(length, &n);
    *ret_expected = UNKNOWN;
    if (has_length && n > FL_BLOB_MAX_BYTES - upload->size) {
        fl_registry_fail(call, 413, "SIZE_INVALID", "a blob may have %llu bytes",
                         (unsigned long long)FL_BLOB_MAX_BYTES);
        return false;
    }
    if (range.n == 0)
        return true;
    if (!fl_registry_content_range(range, &first, &last)) {
        fl_registry_fail(call, 400, "BLOB_UPLOAD_INVALID", "Content-Range is not understood");
        return false;
    }
    if (first != upload->size) {
        fail_range(call, upload, "the range does not begin where the upload ends");
        return false;
    }
    if (has_length && n != 0 && n - 1 != last - first) {
        fl_registry_fail(call, 400, "SIZE_INVALID", "Content-Length is not the range's");
        return false;
    }
    if (!has_length || n != 0)
        *ret_expected = last == UINT64_MAX ? UNKNOWN : last + 1;
    return true;
}

static bool find_digest(struct fl_registry_call *call, struct fl_digest *ret_digest)
{
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_str text = fl_url_parameter(exchange->arena, exchange->query, "digest");
    if (fl_digest_parse(text, ret_digest))
        return true;
    fl_registry_fail(call, 400, "DIGEST_INVALID",
                     "the digest must be sha256: and 64 hexadecimal "
                     "digits");
    return false;
}

/* The upload of the route; NULL after failing the call. */
static struct fl_upload *find_upload(struct fl_registry_call *call)
{
    struct fl_upload *upload =
        fl_upload_find(call->registry, call->route.repository, call->route.reference);
    if (!upload)
        fl_registry_fail(call, 404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload");
    else if (upload->is_busy)
        fl_registry_fail(call, 409, "BLOB_UPLOAD_INVALID", "another request writes to this upload");
    return upload && !upload->is_busy ? upload : NULL;
}

static struct fl_upload *new_upload(struct fl_registry_call *call)
{
    struct fl_upload *upload = fl_upload_new(call->registry, call->route.repository);
    if (!upload)
        fl_registry_fail(call, 429, "TOOMANYREQUESTS", "too many uploads are under way");
    return upload;
}

struct fl_http_sink *fl_registry_new_stream(struct fl_registry_call *call)
{
    struct fl_registry *registry = call->registry;
    bool is_new = call->route.what == FL_REGISTRY_UPLOADS;
    bool is_last = !fl_str_is(call->exchange->method, "PATCH");
    struct fl_digest digest = {0};
    uint64_t expected;
    if (registry->stream_count >= FL_REGISTRY_STREAMS_MAX) {
        fl_registry_fail(call, 429, "TOOMANYREQUESTS", "too many bodies are under way");
        return NULL;
    }
    if (is_last && !find_digest(call, &digest))
        return NULL;
    struct fl_upload *upload = is_new ? new_upload(call) : find_upload(call);
    if (!upload)
        return NULL;
    if (!find_end(call, upload, &expected)) {
        if (is_new)
            fl_upload_drop(registry, upload);
        return NULL;
    }
    struct stream *stream = fl_calloc(1, sizeof(*stream));
    stream->sink = (struct fl_http_sink){.take = take, .gone = gone};
    stream->job = (struct fl_registry_job){.run = run, .done = worked};
    stream->registry = registry;
    stream->upload = upload;
    stream->exchange = call->exchange;
    stream->expected = expected;
    stream->is_last = is_last;
    stream->digest = digest;
    stream->filling = fl_malloc(BLOCK);
    stream->writing = fl_malloc(BLOCK);
    upload->is_busy = true;
    registry->stream_count++;
    return &stream->sink;
}

/* A mount, where the blob is at hand, or a new upload. */
static void look_for_mount(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_digest digest;
    struct fl_str mount = fl_url_parameter(exchange->arena, exchange->query, "mount");
    if (!fl_registry_may_push(call))
        return;
    if (fl_digest_parse(mount, &digest) &&
        fl_image_store_renew(call->registry->store, &digest, NULL)) {
        call->status = 201;
        blob_headers(call, &digest);
    }
}

static void begun(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    if (call->status == 0 && !call->registry->is_closing) {
        struct fl_upload *upload = new_upload(call);
        if (upload) {
            call->status = 202;
            progress_headers(call, upload);
        }
    }
    fl_registry_call_end(call);
}

void fl_registry_begin_upload(struct fl_registry_call *call)
{
    call->job.run = look_for_mount;
    call->job.done = begun;
    fl_registry_submit(call->registry, &call->job);
}

void fl_registry_show_upload(struct fl_registry_call *call)
{
    struct fl_upload *upload = find_upload(call);
    if (upload) {
        call->status = 204;
        progress_headers(call, upload);
    }
    fl_registry_call_end(call);
}

void fl_registry_cancel_upload(struct fl_registry_call *call)
{
    struct fl_upload *upload = find_upload(call);
    if (upload) {
        fl_upload_drop(call->registry, upload);
        call->status = 204;
    }
    fl_registry_call_end(call);
}
