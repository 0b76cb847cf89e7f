/* What is read from the registry: blobs, manifests, lists. Workers read; files are sent as they
 * are.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "server/registry_internal.h"
#include "wire/json.h"
#include "wire/url.h"

/* ---- blobs ---- */

static void answer_part(struct fl_registry_call *call, uint64_t size)
{
    switch (fl_registry_range_of(fl_http_header(call->exchange, "Range"), size, &call->offset,
                                 &call->size)) {
    case FL_REGISTRY_RANGE_NONE:
        call->offset = 0;
        call->size = size;
        call->status = 200;
        return;
    case FL_REGISTRY_RANGE_PART:
        call->status = 206;
        fl_registry_header(call, "Content-Range",
                           fl_str_printf(call->exchange->arena, "bytes %llu-%llu/%llu",
                                         (unsigned long long)call->offset,
                                         (unsigned long long)(call->offset + call->size - 1),
                                         (unsigned long long)size));
        return;
    case FL_REGISTRY_RANGE_OUTSIDE:
        fl_registry_fail(call, 416, "UNSUPPORTED", "the range is outside of the blob");
        fl_registry_header(
            call, "Content-Range",
            fl_str_printf(call->exchange->arena, "bytes */%llu", (unsigned long long)size));
        return;
    }
}

/* Who looks for a blob before a push will not send it again, so it must not be collected. */
static void get_blob(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_image_store *store = call->registry->store;
    struct stat st;
    bool is_head = fl_str_is(call->exchange->method, "HEAD");
    if (is_head)
        (void)fl_image_store_renew(store, &call->route.digest, NULL);
    call->fd = fl_image_store_open_blob(store, &call->route.digest);
    if (call->fd < 0 || fstat(call->fd, &st) < 0) {
        fl_registry_fail(call, 404, "BLOB_UNKNOWN", "the registry has no blob sha256:%s",
                         call->route.digest.hex);
        return;
    }
    (void)posix_fadvise(call->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    fl_registry_header(call, "Content-Type", FL_STR("application/octet-stream"));
    fl_registry_header(call, "Accept-Ranges", FL_STR("bytes"));
    fl_registry_digest_header(call, &call->route.digest);
    answer_part(call, (uint64_t)st.st_size);
}

void fl_registry_get_blob(struct fl_registry_call *call)
{
    fl_registry_call_run(call, false, get_blob);
}

/* ---- manifests ---- */

static int find_manifest(struct fl_registry_call *call, struct fl_repository_image *ret_image)
{
    const struct fl_image_store *store = call->registry->store;
    struct fl_arena *arena = call->exchange->arena;
    struct fl_ref ref;
    if (call->route.has_digest)
        return fl_repository_find_image(store, call->route.repository, &call->route.digest, arena,
                                        ret_image);
    int rc =
        fl_image_store_get_ref(store, call->route.repository, call->route.reference, arena, &ref);
    if (rc == 0)
        *ret_image =
            (struct fl_repository_image){.digest = ref.digest, .media_type = ref.media_type};
    return rc;
}

/* An image that was loaded may be known without its type. */
static struct fl_str media_type_of(struct fl_registry_call *call,
                                   const struct fl_repository_image *image)
{
    struct fl_manifest manifest;
    if (image->media_type.n == 0 && fl_manifest_parse(fl_buf_str(&call->body), FL_STR(""),
                                                      call->exchange->arena, &manifest, NULL) == 0)
        return manifest.media_type;
    return image->media_type;
}

static void get_manifest(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    const struct fl_image_store *store = call->registry->store;
    struct fl_repository_image image;
    if (find_manifest(call, &image) < 0 ||
        fl_image_store_read_blob(store, &image.digest, FL_MANIFEST_MAX_BYTES, &call->body) < 0) {
        if (fl_image_store_has_repository(store, call->route.repository))
            fl_registry_fail(call, 404, "MANIFEST_UNKNOWN", "Requested image not found");
        else
            fl_registry_fail_name(call);
        return;
    }
    call->status = 200;
    fl_registry_header(call, "Content-Type", media_type_of(call, &image));
    fl_registry_digest_header(call, &image.digest);
}

void fl_registry_get_manifest(struct fl_registry_call *call)
{
    fl_registry_call_run(call, false, get_manifest);
}

/* ---- pages of names ---- */

struct page {
    uint64_t n;         /* names wanted */
    struct fl_str last; /* the last one of the page before */
};

/* False after failing the call. */
static bool read_page(struct fl_registry_call *call, struct page *ret_page)
{
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_str n = fl_url_parameter(exchange->arena, exchange->query, "n");
    ret_page->n = FL_REGISTRY_PAGE_MAX;
    ret_page->last = fl_url_parameter(exchange->arena, exchange->query, "last");
    if (n.n && !fl_str_to_u64(n, &ret_page->n)) {
        fl_registry_fail(call, 400, "PAGINATION_NUMBER_INVALID", "n must be a number");
        return false;
    }
    ret_page->n = FL_MIN(ret_page->n, (uint64_t)FL_REGISTRY_PAGE_MAX);
    return true;
}

/* Writes the page's names and, when more follow, where they are. names are sorted. */
static void write_names(struct fl_registry_call *call, const struct page *page,
                        const struct fl_str *names, size_t count, struct fl_json_writer *jw)
{
    FL_CLEANUP_BUF struct fl_buf link = FL_BUF_INIT(4096);
    size_t i = 0, end;
    while (i < count && page->last.n && fl_str_cmp(names[i], page->last) <= 0)
        i++;
    end = i + FL_MIN((size_t)page->n, count - i);
    fl_jw_array_begin(jw);
    for (; i < end; i++)
        fl_jw_str(jw, names[i]);
    fl_jw_array_end(jw);
    if (end == count || page->n == 0)
        return;
    fl_buf_printf(&link, "<%.*s?n=%llu&last=", FL_STR_ARG(call->exchange->path),
                  (unsigned long long)page->n);
    fl_url_encode(&link, names[end - 1]);
    fl_buf_add_z(&link, ">; rel=\"next\"");
    fl_registry_header(call, "Link", fl_str_dup(call->exchange->arena, fl_buf_str(&link)));
}

static void list_tags(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_arena *arena = call->exchange->arena;
    struct fl_json_writer jw = {.buf = &call->body};
    struct fl_ref *refs = NULL;
    size_t count = 0;
    struct page page;
    if (!read_page(call, &page))
        return;
    if (!fl_image_store_has_repository(call->registry->store, call->route.repository) ||
        fl_image_store_list_tags(call->registry->store, call->route.repository, arena, &refs,
                                 &count) < 0) {
        fl_registry_fail_name(call);
        return;
    }
    struct fl_str *names = fl_arena_new_array(arena, struct fl_str, count + 1);
    for (size_t i = 0; i < count; i++)
        names[i] = refs[i].tag;
    call->status = 200;
    fl_registry_header(call, "Content-Type", FL_STR("application/json"));
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "name", call->route.repository);
    fl_jw_key(&jw, "tags");
    write_names(call, &page, names, count, &jw);
    fl_jw_object_end(&jw);
}

void fl_registry_list_tags(struct fl_registry_call *call)
{
    fl_registry_call_run(call, false, list_tags);
}

static void catalog(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_json_writer jw = {.buf = &call->body};
    struct fl_str *names = NULL;
    size_t count = 0;
    struct page page;
    if (!read_page(call, &page))
        return;
    if (fl_repository_list(call->registry->store, call->exchange->arena, &names, &count) < 0) {
        fl_registry_fail(call, 500, "UNKNOWN", "the repositories cannot be listed");
        return;
    }
    call->status = 200;
    fl_registry_header(call, "Content-Type", FL_STR("application/json"));
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "repositories");
    write_names(call, &page, names, count, &jw);
    fl_jw_object_end(&jw);
}

void fl_registry_catalog(struct fl_registry_call *call)
{
    fl_registry_call_run(call, false, catalog);
}

/* ---- referrers ---- */

/* One manifest that is about the route's digest, if it is of the wanted type (empty: any). */
static void write_referrer(struct fl_registry_call *call, const struct fl_repository_image *image,
                           struct fl_str wanted, struct fl_json_writer *jw)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    char digest[FL_DIGEST_TEXT_SIZE];
    struct fl_manifest m;
    if (fl_image_store_read_blob(call->registry->store, &image->digest, FL_MANIFEST_MAX_BYTES,
                                 &buf) < 0 ||
        fl_manifest_parse(fl_buf_str(&buf), image->media_type, arena, &m, NULL) < 0)
        return;
    struct fl_str type = m.artifact_type.n ? m.artifact_type : m.config.media_type;
    const struct fl_json *annotations =
        fl_json_get(fl_json_read(fl_buf_str(&buf), arena, NULL), "annotations");
    if (wanted.n && !fl_str_eq(type, wanted))
        return;
    fl_digest_text(&image->digest, digest);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "mediaType", m.media_type);
    fl_jw_member_str(jw, "digest", fl_str_of(digest));
    fl_jw_member_int(jw, "size", (int64_t)image->size);
    fl_jw_member_str(jw, "artifactType", type);
    if (fl_json_is(annotations, FL_JSON_OBJECT)) {
        fl_jw_key(jw, "annotations");
        fl_jw_json(jw, annotations);
    }
    fl_jw_object_end(jw);
}

static void referrers(struct fl_registry_job *job)
{
    struct fl_registry_call *call = fl_registry_call_of(job);
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_json_writer jw = {.buf = &call->body};
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    struct fl_str wanted = fl_url_parameter(exchange->arena, exchange->query, "artifactType");
    if (fl_repository_list_images(call->registry->store, call->route.repository, exchange->arena,
                                  &images, &count) < 0)
        count = 0;
    call->status = 200;
    fl_registry_header(call, "Content-Type", FL_STR(FL_MEDIA_OCI_INDEX));
    if (wanted.n)
        fl_registry_header(call, "OCI-Filters-Applied", FL_STR("artifactType"));
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "schemaVersion", 2);
    fl_jw_member_str(&jw, "mediaType", FL_STR(FL_MEDIA_OCI_INDEX));
    fl_jw_key(&jw, "manifests");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < count; i++)
        if (images[i].has_subject && fl_digest_eq(&images[i].subject, &call->route.digest))
            write_referrer(call, &images[i], wanted, &jw);
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    if (call->body.overflow)
        fl_registry_fail(call, 413, "SIZE_INVALID", "too many manifests refer to this one");
}

void fl_registry_referrers(struct fl_registry_call *call)
{
    fl_registry_call_run(call, false, referrers);
}
