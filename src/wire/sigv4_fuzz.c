/* Signatures. The input is a request as text: a line "METHOD path?query", header lines, an empty
 * line, the body. It is verified as it stands (nothing but a right signature may pass); then, in
 * one of so many chosen by their bytes, first line and body are signed by us, which must verify,
 * and must not with another body. */
#include "wire/sigv4.h"

#include "base/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { HEADERS_MAX = 64, OWN_HEADERS = 2, SIGNED_ONE_IN = 16 };

static const int64_t now_ms = INT64_C(1795168800000); /* 2026-11-20T10:00:00Z */
static const struct fl_credentials key = {
    {"AKIDEXAMPLE", 11}, {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40}, {NULL, 0}};

static bool lookup(FL_UNUSED void *context, struct fl_str access_key_id,
                   struct fl_credentials *ret_key)
{
    *ret_key = key;
    return fl_str_eq(access_key_id, key.access_key_id);
}

static struct fl_str next_line(struct fl_str *text)
{
    struct fl_str line = FL_STR("");
    (void)fl_str_split(text, '\n', &line);
    return line;
}

static void read_request(struct fl_str text, struct fl_header headers[HEADERS_MAX],
                         struct fl_sigv4_request *ret_request)
{
    struct fl_str target = next_line(&text), line;
    *ret_request = (struct fl_sigv4_request){
        .method = FL_STR("GET"), .path = FL_STR("/"), .query = FL_STR(""), .headers = headers};
    (void)fl_str_split(&target, ' ', &ret_request->method);
    if (target.n > 0)
        (void)fl_str_split(&target, '?', &ret_request->path);
    ret_request->query = target;
    if (ret_request->path.n == 0)
        ret_request->path = FL_STR("/");
    while ((line = next_line(&text)).n > 0 && ret_request->header_count < HEADERS_MAX) {
        struct fl_header *header = &headers[ret_request->header_count++];
        *header = (struct fl_header){.name = FL_STR("")};
        (void)fl_str_split(&line, ':', &header->name);
        header->value = line;
    }
    ret_request->body = text;
}

static struct fl_sigv4_result verify(const struct fl_sigv4_request *request,
                                     struct fl_sigv4_cache *cache, struct fl_arena *arena)
{
    return fl_sigv4_verify(request, FL_STR("us-east-1"), now_ms, cache, lookup, NULL, arena);
}

static void sign_and_verify(struct fl_sigv4_request request, struct fl_sigv4_cache *cache,
                            struct fl_arena *arena)
{
    struct fl_header headers[OWN_HEADERS + FL_SIGV4_SIGNED_HEADERS] = {
        {FL_STR("Host"), FL_STR("127.0.0.1:4566")},
        {FL_STR("X-Amz-Target"), FL_STR("AmazonEC2ContainerServiceV20141113.ListClusters")}};
    request.headers = headers;
    request.header_count = OWN_HEADERS;
    request.header_count += fl_sigv4_sign(&request, &key, FL_STR("us-east-1"), FL_STR("ecs"),
                                          now_ms, arena, headers + OWN_HEADERS);
    FL_ASSERT(verify(&request, cache, arena).status == FL_SIGV4_OK);
    request.body = fl_str_printf(arena, "%.*s+", FL_STR_ARG(request.body));
    FL_ASSERT(verify(&request, cache, arena).status == FL_SIGV4_MISMATCH);
}

/* Made once, as in a server: what keys it has derived changes no answer. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct fl_sigv4_cache *cache;
    static struct fl_arena *arena;
    if (!cache) {
        cache = fl_sigv4_cache_new();
        arena = fl_arena_new();
    }
    fl_arena_reset(arena);
    struct fl_header headers[HEADERS_MAX];
    struct fl_sigv4_request request;
    read_request((struct fl_str){(const char *)bytes, n}, headers, &request);
    struct fl_sigv4_result result = verify(&request, cache, arena);
    FL_ASSERT(result.status == FL_SIGV4_OK || result.text.n > 0);
    if (fl_fuzz_one_in(SIGNED_ONE_IN, bytes, n))
        sign_and_verify(request, cache, arena);
    return 0;
}
