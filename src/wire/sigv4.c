/* Signature Version 4: one canonical form, used by both the signer and the verifier.
 *
 * The verifier looks at what the signature covers and at nothing else: a header it relies on must
 * be signed and must occur once, the body is hashed here whatever the request claims. Work is
 * linear in the request: the number of signed headers is capped. */
#include "wire/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <time.h>

#include "base/id.h"
#include "wire/url.h"

enum {
    HASH = SHA256_DIGEST_LENGTH,
    HASH_TEXT = 2 * HASH + 1,
    MAX_SIGNED_HEADERS = 64,
    MAX_CANONICAL = 1024 * 1024,
    USUAL_CANONICAL = 1024,
    MAX_SHOWN = 200, /* bytes of foreign text repeated in an answer */
    DATE_TEXT = 17,  /* "20261120T100000Z" and NUL */
    CACHE_SLOTS = 64,
    CACHE_KEY = 512,
};

#define ALGORITHM "AWS4-HMAC-SHA256"

/* Verified or derived parts of "<key>/<date>/<region>/<service>/aws4_request". */
struct scope {
    struct fl_str date;
    struct fl_str region;
    struct fl_str service;
};

/* What is signed, sorted by name; names in lower case. */
struct signed_headers {
    struct fl_header list[MAX_SIGNED_HEADERS + FL_SIGV4_SIGNED_HEADERS];
    size_t count;
};

/* A direct-mapped table: a collision costs one derivation, memory never grows. */
struct fl_sigv4_cache {
    EVP_MD *sha256; /* looked up once: OpenSSL's one-shot calls search for it every time */
    EVP_MD_CTX *hashing;
    struct slot {
        char key[CACHE_KEY]; /* access key, secret and scope, NUL between; key_n 0: empty */
        size_t key_n;
        uint8_t signing_key[HASH];
    } slots[CACHE_SLOTS];
};

struct fl_sigv4_cache *fl_sigv4_cache_new(void)
{
    struct fl_sigv4_cache *cache = fl_calloc(1, sizeof(*cache));
    cache->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    cache->hashing = EVP_MD_CTX_new();
    FL_ASSERT(cache->sha256 && cache->hashing);
    return cache;
}

void fl_sigv4_cache_free(struct fl_sigv4_cache *cache)
{
    if (!cache)
        return;
    EVP_MD_CTX_free(cache->hashing);
    EVP_MD_free(cache->sha256);
    OPENSSL_cleanse(cache, sizeof(*cache));
    free(cache);
}

/* ---- keys and hashes ---- */

/* SHA-256 of two pieces, one after the other. */
static void hash_two(struct fl_sigv4_cache *cache, struct fl_str a, struct fl_str b,
                     uint8_t ret_digest[HASH])
{
    EVP_MD_CTX *ctx = cache->hashing;
    FL_ASSERT(EVP_DigestInit_ex2(ctx, cache->sha256, NULL) &&
              EVP_DigestUpdate(ctx, a.n ? a.p : "", a.n) &&
              EVP_DigestUpdate(ctx, b.n ? b.p : "", b.n) &&
              EVP_DigestFinal_ex(ctx, ret_digest, NULL));
}

/* The cache may be NULL, here and below. */
static void hash_text(struct fl_sigv4_cache *cache, struct fl_str bytes, char ret_text[HASH_TEXT])
{
    uint8_t digest[HASH];
    if (cache)
        hash_two(cache, bytes, FL_STR(""), digest);
    else
        SHA256((const uint8_t *)(bytes.n ? bytes.p : ""), bytes.n, digest);
    fl_hex(digest, HASH, ret_text);
}

static void hmac(const void *key, size_t key_n, struct fl_str text, uint8_t ret_mac[HASH])
{
    unsigned n = 0;
    const uint8_t *bytes = (const uint8_t *)(text.n ? text.p : "");
    FL_ASSERT(HMAC(EVP_sha256(), key, (int)key_n, bytes, text.n, ret_mac, &n) && n == HASH);
}

/* HMAC (RFC 2104) under a derived key, which is shorter than a block. */
static void hmac_derived(struct fl_sigv4_cache *cache, const uint8_t key[HASH], struct fl_str text,
                         uint8_t ret_mac[HASH])
{
    if (!cache) {
        hmac(key, HASH, text, ret_mac);
        return;
    }
    char inner[SHA256_CBLOCK], outer[SHA256_CBLOCK];
    for (size_t i = 0; i < SHA256_CBLOCK; i++) {
        uint8_t byte = i < HASH ? key[i] : 0;
        inner[i] = (char)(byte ^ 0x36);
        outer[i] = (char)(byte ^ 0x5c);
    }
    hash_two(cache, (struct fl_str){inner, sizeof(inner)}, text, ret_mac);
    hash_two(cache, (struct fl_str){outer, sizeof(outer)},
             (struct fl_str){(const char *)ret_mac, HASH}, ret_mac);
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}

static void derive(struct fl_str secret, const struct scope *scope, uint8_t ret_key[HASH])
{
    FL_CLEANUP_BUF struct fl_buf start = FL_BUF_INIT(4096);
    fl_buf_add_z(&start, "AWS4");
    fl_buf_add_str(&start, secret);
    hmac(start.p, start.n, scope->date, ret_key);
    hmac(ret_key, HASH, scope->region, ret_key);
    hmac(ret_key, HASH, scope->service, ret_key);
    hmac(ret_key, HASH, FL_STR("aws4_request"), ret_key);
    OPENSSL_cleanse(start.p, start.n);
}

static bool cache_key(const struct fl_credentials *key, const struct scope *scope,
                      char ret_text[CACHE_KEY], size_t *ret_n)
{
    const struct fl_str parts[] = {key->access_key_id, key->secret, scope->date, scope->region,
                                   scope->service};
    size_t n = 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(parts); i++) {
        if (parts[i].n >= CACHE_KEY - n)
            return false;
        if (parts[i].n)
            memcpy(ret_text + n, parts[i].p, parts[i].n);
        n += parts[i].n;
        ret_text[n++] = '\0';
    }
    *ret_n = n;
    return true;
}

static struct slot *cache_slot(struct fl_sigv4_cache *cache, const char *text, size_t n)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)text[i]) * 16777619U;
    return &cache->slots[hash % CACHE_SLOTS];
}

static void signing_key(struct fl_sigv4_cache *cache, const struct fl_credentials *key,
                        const struct scope *scope, uint8_t ret_key[HASH])
{
    char text[CACHE_KEY];
    size_t n;
    if (!cache || !cache_key(key, scope, text, &n)) {
        derive(key->secret, scope, ret_key);
        return;
    }
    struct slot *slot = cache_slot(cache, text, n);
    if (slot->key_n != n || CRYPTO_memcmp(slot->key, text, n) != 0) {
        derive(key->secret, scope, slot->signing_key);
        memcpy(slot->key, text, n);
        slot->key_n = n;
    }
    memcpy(ret_key, slot->signing_key, HASH);
    OPENSSL_cleanse(text, n);
}

/* ---- the canonical request ---- */

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

/* Segments without the empty, "." and ".." ones, each encoded once more. */
static void add_path(struct fl_buf *out, struct fl_str path, struct fl_arena *arena)
{
    struct fl_str *segments = fl_arena_new_array(arena, struct fl_str, path.n + 1);
    struct fl_str rest = path, segment;
    size_t count = 0;
    while (fl_str_split(&rest, '/', &segment)) {
        if (fl_str_is(segment, ".."))
            count -= count > 0;
        else if (segment.n && !fl_str_is(segment, "."))
            segments[count++] = segment;
    }
    for (size_t i = 0; i < count; i++) {
        fl_buf_add_char(out, '/');
        fl_url_encode(out, segments[i]);
    }
    if (count == 0 || fl_str_ends(path, FL_STR("/")))
        fl_buf_add_char(out, '/');
}

static int by_name_and_value(const void *a, const void *b)
{
    const struct fl_header *left = a, *right = b;
    int order = fl_str_cmp(left->name, right->name);
    return order ? order : fl_str_cmp(left->value, right->value);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What is encoded on the wire stays so, what should have been is encoded. */
static struct fl_str requoted(struct fl_str s, struct fl_arena *arena)
{
    size_t odd = 0;
    for (size_t i = 0; i < s.n; i++)
        odd += !is_unreserved(s.p[i]);
    if (odd == 0)
        return s;
    char *to = fl_arena_alloc(arena, s.n + 2 * odd + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool quoted = s.p[i] == '%' && i + 2 < s.n && is_hex(s.p[i + 1]) && is_hex(s.p[i + 2]);
        if (quoted || is_unreserved(s.p[i]))
            to[n++] = s.p[i];
        else
            n += (size_t)snprintf(to + n, 4, "%%%02X", (uint8_t)s.p[i]);
    }
    return (struct fl_str){to, n};
}

static void add_query(struct fl_buf *out, struct fl_str query, struct fl_arena *arena)
{
    size_t most = 1, count = 0;
    for (size_t i = 0; i < query.n; i++)
        most += query.p[i] == '&';
    struct fl_header *pairs = fl_arena_new_array(arena, struct fl_header, most);
    struct fl_str rest = query, pair, name;
    while (fl_str_split(&rest, '&', &pair)) {
        if (pair.n == 0)
            continue;
        (void)fl_str_split(&pair, '=', &name);
        pairs[count++] = (struct fl_header){requoted(name, arena), requoted(pair, arena)};
    }
    qsort(pairs, count, sizeof(*pairs), by_name_and_value);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            fl_buf_add_char(out, '&');
        fl_buf_add_str(out, pairs[i].name);
        fl_buf_add_char(out, '=');
        fl_buf_add_str(out, pairs[i].value);
    }
}

static void add_header_value(struct fl_buf *out, struct fl_str value)
{
    bool blank = false;
    value = fl_str_trim(value);
    if (!fl_str_contains(value, FL_STR("  ")) && fl_str_index(value, '\t') < 0) {
        fl_buf_add_str(out, value);
        return;
    }
    for (size_t i = 0; i < value.n; i++) {
        bool is_blank = value.p[i] == ' ' || value.p[i] == '\t';
        if (!is_blank)
            fl_buf_add_char(out, value.p[i]);
        else if (!blank)
            fl_buf_add_char(out, ' ');
        blank = is_blank;
    }
}

static void add_names(struct fl_buf *out, const struct signed_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        if (i > 0)
            fl_buf_add_char(out, ';');
        fl_buf_add_str(out, headers->list[i].name);
    }
}

static void add_canonical(struct fl_buf *out, const struct fl_sigv4_request *request,
                          const struct signed_headers *headers, const char *body_hash,
                          struct fl_arena *arena)
{
    fl_buf_add_str(out, request->method);
    fl_buf_add_char(out, '\n');
    add_path(out, request->path, arena);
    fl_buf_add_char(out, '\n');
    add_query(out, request->query, arena);
    fl_buf_add_char(out, '\n');
    for (size_t i = 0; i < headers->count; i++) {
        fl_buf_add_str(out, headers->list[i].name);
        fl_buf_add_char(out, ':');
        add_header_value(out, headers->list[i].value);
        fl_buf_add_char(out, '\n');
    }
    fl_buf_add_char(out, '\n');
    add_names(out, headers);
    fl_buf_add_char(out, '\n');
    fl_buf_add_z(out, body_hash);
}

/* The signature's hex text. False if the request is too large to be canonicalised. */
static bool signature(const struct fl_sigv4_request *request, const struct signed_headers *headers,
                      const char *body_hash, struct fl_str date, const struct scope *scope,
                      const uint8_t key[HASH], struct fl_sigv4_cache *cache, struct fl_arena *arena,
                      char ret_text[HASH_TEXT])
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_CANONICAL);
    char hash[HASH_TEXT];
    uint8_t mac[HASH];
    (void)fl_buf_reserve(&text, USUAL_CANONICAL);
    add_canonical(&text, request, headers, body_hash, arena);
    if (text.overflow)
        return false;
    hash_text(cache, fl_buf_str(&text), hash);
    fl_buf_clear(&text);
    const struct fl_str parts[] = {FL_STR(ALGORITHM "\n"),
                                   date,
                                   FL_STR("\n"),
                                   scope->date,
                                   FL_STR("/"),
                                   scope->region,
                                   FL_STR("/"),
                                   scope->service,
                                   FL_STR("/aws4_request\n"),
                                   fl_str_of(hash)};
    for (size_t i = 0; i < FL_ARRAY_SIZE(parts); i++)
        fl_buf_add_str(&text, parts[i]);
    hmac_derived(cache, key, fl_buf_str(&text), mac);
    fl_hex(mac, HASH, ret_text);
    return !text.overflow;
}

/* ---- dates ---- */

static struct fl_str date_text(int64_t wall_ms, struct fl_arena *arena)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[64] = "";
    if (gmtime_r(&seconds, &tm))
        (void)strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
    return fl_str_dup(arena, fl_str_of(text));
}

static int digits(struct fl_str s, size_t from, size_t n)
{
    uint64_t value = 0;
    return fl_str_to_u64(fl_str_sub(s, from, n), &value) ? (int)value : -1;
}

/* "20261120T100000Z" only; a date that does not exist is refused. */
static bool parse_date(struct fl_str s, struct fl_arena *arena, int64_t *ret_ms)
{
    if (s.n != DATE_TEXT - 1 || s.p[8] != 'T' || s.p[15] != 'Z')
        return false;
    struct tm tm = {.tm_year = digits(s, 0, 4) - 1900,
                    .tm_mon = digits(s, 4, 2) - 1,
                    .tm_mday = digits(s, 6, 2),
                    .tm_hour = digits(s, 9, 2),
                    .tm_min = digits(s, 11, 2),
                    .tm_sec = digits(s, 13, 2)};
    int64_t ms = (int64_t)timegm(&tm) * 1000;
    if (!fl_str_eq(date_text(ms, arena), s))
        return false;
    *ret_ms = ms;
    return true;
}

/* ---- signing ---- */

static struct fl_str lower(struct fl_str s, struct fl_arena *arena)
{
    char *p = fl_arena_memdup(arena, s.p, s.n);
    for (size_t i = 0; i < s.n; i++) {
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] - 'A' + 'a');
    }
    return (struct fl_str){p, s.n};
}

static void collect_to_sign(const struct fl_header *headers, size_t count, struct fl_arena *arena,
                            struct signed_headers *out)
{
    for (size_t i = 0; i < count; i++)
        out->list[out->count++] =
            (struct fl_header){lower(headers[i].name, arena), headers[i].value};
}

size_t fl_sigv4_sign(const struct fl_sigv4_request *request, const struct fl_credentials *key,
                     struct fl_str region, struct fl_str service, int64_t now_ms,
                     struct fl_arena *arena, struct fl_header ret_headers[FL_SIGV4_SIGNED_HEADERS])
{
    struct signed_headers headers = {.count = 0};
    struct fl_str date = date_text(now_ms, arena);
    struct scope scope = {fl_str_sub(date, 0, 8), region, service};
    char body_hash[HASH_TEXT], mac[HASH_TEXT];
    uint8_t derived[HASH];
    size_t n = 1;

    FL_ASSERT(request->header_count <= MAX_SIGNED_HEADERS);
    hash_text(NULL, request->body, body_hash);
    ret_headers[n++] = (struct fl_header){FL_STR("X-Amz-Date"), date};
    ret_headers[n++] =
        (struct fl_header){FL_STR("X-Amz-Content-Sha256"), fl_str_dup(arena, fl_str_of(body_hash))};
    if (key->session_token.n)
        ret_headers[n++] = (struct fl_header){FL_STR("X-Amz-Security-Token"),
                                              fl_str_dup(arena, key->session_token)};
    collect_to_sign(request->headers, request->header_count, arena, &headers);
    collect_to_sign(ret_headers + 1, n - 1, arena, &headers);
    qsort(headers.list, headers.count, sizeof(headers.list[0]), by_name_and_value);

    derive(key->secret, &scope, derived);
    FL_ASSERT(signature(request, &headers, body_hash, date, &scope, derived, NULL, arena, mac));
    OPENSSL_cleanse(derived, sizeof(derived));
    FL_CLEANUP_BUF struct fl_buf names = FL_BUF_INIT(MAX_CANONICAL);
    add_names(&names, &headers);
    ret_headers[0] = (struct fl_header){
        FL_STR("Authorization"),
        fl_str_printf(arena,
                      ALGORITHM " Credential=%.*s/%.*s/%.*s/%.*s/aws4_request, "
                                "SignedHeaders=%.*s, Signature=%s",
                      FL_STR_ARG(key->access_key_id), FL_STR_ARG(scope.date), FL_STR_ARG(region),
                      FL_STR_ARG(service), FL_STR_ARG(fl_buf_str(&names)), mac)};
    return n;
}

/* ---- verifying ---- */

/* One verification on its way; each step fills in its part or the result's failure. */
struct check {
    const struct fl_sigv4_request *request;
    struct fl_arena *arena;
    struct fl_sigv4_result *result;
    struct fl_str credential;
    struct fl_str signed_names;
    struct fl_str signature;
    struct fl_str date; /* X-Amz-Date */
    int64_t date_ms;
    struct scope scope;
    struct fl_str terminator;
    struct fl_credentials key;
    struct signed_headers headers;
};

static bool fail(struct check *check, enum fl_sigv4_status status, struct fl_str text)
{
    check->result->status = status;
    check->result->text = text;
    return false;
}

static bool fail_mismatch(struct check *check)
{
    return fail(check, FL_SIGV4_MISMATCH,
                FL_STR("The request signature we calculated does not match the signature you "
                       "provided. Check your AWS Secret Access Key and signing method. Consult "
                       "the service documentation for details."));
}

static struct fl_str shown(struct fl_str s)
{
    return fl_str_sub(s, 0, MAX_SHOWN);
}

/* First header of that name; ret_count gets how often it occurs. */
static struct fl_str find(const struct fl_sigv4_request *request, struct fl_str name,
                          size_t *ret_count)
{
    struct fl_str value = {NULL, 0};
    *ret_count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (!fl_str_case_eq(request->headers[i].name, name))
            continue;
        if ((*ret_count)++ == 0)
            value = request->headers[i].value;
    }
    return value;
}

/* False when a parameter is given twice. */
static bool take_parameter(struct check *check, struct fl_str name, struct fl_str value)
{
    struct fl_str *to = fl_str_is(name, "Credential")      ? &check->credential
                        : fl_str_is(name, "SignedHeaders") ? &check->signed_names
                        : fl_str_is(name, "Signature")     ? &check->signature
                                                           : NULL;
    if (!to)
        return true;
    if (to->n)
        return false;
    *to = value;
    return true;
}

static bool check_complete(struct check *check)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1024);
    const struct {
        const char *name;
        struct fl_str value;
    } needed[] = {{"Credential", check->credential},
                  {"Signature", check->signature},
                  {"SignedHeaders", check->signed_names}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(needed); i++) {
        if (needed[i].value.n == 0)
            fl_buf_printf(&text, "%sAuthorization header requires '%s' parameter.",
                          text.n ? " " : "", needed[i].name);
    }
    if (check->date.n == 0)
        fl_buf_printf(&text, "%sAuthorization header requires existence of a 'X-Amz-Date' header.",
                      text.n ? " " : "");
    if (text.n == 0)
        return true;
    return fail(check, FL_SIGV4_INCOMPLETE, fl_str_dup(check->arena, fl_buf_str(&text)));
}

static bool check_authorization(struct check *check)
{
    size_t count;
    struct fl_str header = fl_str_trim(find(check->request, FL_STR("authorization"), &count));
    if (count == 0 || !fl_str_starts(header, FL_STR(ALGORITHM)))
        return fail(check, FL_SIGV4_MISSING, FL_STR("Missing Authentication Token"));
    if (count > 1)
        return fail(check, FL_SIGV4_INCOMPLETE, FL_STR("Authorization header is given twice."));
    struct fl_str rest = fl_str_from(header, sizeof(ALGORITHM) - 1), part, name;
    while (fl_str_split(&rest, ',', &part)) {
        part = fl_str_trim(part);
        if (!fl_str_split(&part, '=', &name) || name.n == 0)
            continue;
        if (!take_parameter(check, name, part))
            return fail(check, FL_SIGV4_INCOMPLETE,
                        fl_str_printf(check->arena, "Authorization header has '%.*s' twice.",
                                      FL_STR_ARG(shown(name))));
    }
    check->date = fl_str_trim(find(check->request, FL_STR("x-amz-date"), &count));
    return check_complete(check);
}

static bool check_credential(struct check *check)
{
    struct fl_str rest = check->credential, parts[5], part;
    size_t count = 0;
    while (fl_str_split(&rest, '/', &part)) {
        if (count < 5)
            parts[count] = part;
        count++;
    }
    if (count != 5 || fl_str_ends(check->credential, FL_STR("/")))
        return fail(check, FL_SIGV4_INCOMPLETE,
                    fl_str_printf(check->arena,
                                  "Credential must have exactly 5 slash-delimited elements, e.g. "
                                  "keyid/date/region/service/term, got '%.*s'",
                                  FL_STR_ARG(shown(check->credential))));
    check->scope = (struct scope){parts[1], parts[2], parts[3]};
    check->terminator = parts[4];
    check->result->access_key_id = fl_str_dup(check->arena, parts[0]);
    check->result->region = fl_str_dup(check->arena, parts[2]);
    check->result->service = fl_str_dup(check->arena, parts[3]);
    if (!parse_date(check->date, check->arena, &check->date_ms))
        return fail(check, FL_SIGV4_INCOMPLETE,
                    fl_str_printf(check->arena,
                                  "Date must be in ISO-8601 'basic format'. Got '%.*s'. See "
                                  "http://en.wikipedia.org/wiki/ISO_8601",
                                  FL_STR_ARG(shown(check->date))));
    return true;
}

static bool same_secret(struct fl_str a, struct fl_str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

static bool check_key(struct check *check, fl_sigv4_lookup lookup, void *context)
{
    size_t count;
    struct fl_str token = find(check->request, FL_STR("x-amz-security-token"), &count);
    struct fl_str id = check->result->access_key_id;
    if (id.n == 0 || !lookup(context, id, &check->key) ||
        (count > 0) != (check->key.session_token.n > 0) ||
        !same_secret(fl_str_trim(token), check->key.session_token))
        return fail(check, FL_SIGV4_UNKNOWN_KEY,
                    FL_STR("The security token included in the request is invalid."));
    return true;
}

static bool check_clock(struct check *check, int64_t now_ms)
{
    struct fl_arena *arena = check->arena;
    if (check->date_ms < now_ms - FL_SIGV4_SKEW_MS) {
        struct fl_str limit = date_text(now_ms - FL_SIGV4_SKEW_MS, arena);
        return fail(
            check, FL_SIGV4_EXPIRED,
            fl_str_printf(arena, "Signature expired: %.*s is now earlier than %.*s (%.*s - 5 min.)",
                          FL_STR_ARG(check->date), FL_STR_ARG(limit),
                          FL_STR_ARG(date_text(now_ms, arena))));
    }
    if (check->date_ms > now_ms + FL_SIGV4_SKEW_MS) {
        struct fl_str limit = date_text(now_ms + FL_SIGV4_SKEW_MS, arena);
        return fail(
            check, FL_SIGV4_EXPIRED,
            fl_str_printf(
                arena, "Signature not yet current: %.*s is still later than %.*s (%.*s + 5 min.)",
                FL_STR_ARG(check->date), FL_STR_ARG(limit), FL_STR_ARG(date_text(now_ms, arena))));
    }
    return true;
}

static bool check_scope(struct check *check, struct fl_str region)
{
    const struct scope *scope = &check->scope;
    struct fl_str text = {NULL, 0};
    if (!fl_str_eq(scope->date, fl_str_sub(check->date, 0, 8)))
        text = fl_str_printf(check->arena,
                             "Date in Credential scope does not match YYYYMMDD from ISO-8601 "
                             "version of date from HTTP: '%.*s' != '%.*s', from '%.*s'.",
                             FL_STR_ARG(shown(scope->date)),
                             FL_STR_ARG(fl_str_sub(check->date, 0, 8)), FL_STR_ARG(check->date));
    else if (!fl_str_eq(scope->region, region))
        text = fl_str_printf(check->arena,
                             "Credential should be scoped to region '%.*s', which this server "
                             "runs as, not '%.*s': use that region or start fairlead with "
                             "--region %.*s.",
                             FL_STR_ARG(region), FL_STR_ARG(shown(scope->region)),
                             FL_STR_ARG(shown(scope->region)));
    else if (scope->service.n == 0)
        text = FL_STR("Credential should be scoped to a service.");
    else if (!fl_str_is(check->terminator, "aws4_request"))
        text = fl_str_printf(check->arena,
                             "Credential should be scoped with a valid terminator: "
                             "'aws4_request', not '%.*s'.",
                             FL_STR_ARG(shown(check->terminator)));
    return text.n == 0 || fail(check, FL_SIGV4_WRONG_SCOPE, text);
}

static bool is_signed(const struct check *check, struct fl_str name)
{
    for (size_t i = 0; i < check->headers.count; i++) {
        if (fl_str_eq(check->headers.list[i].name, name))
            return true;
    }
    return false;
}

/* Headers that decide what the request means must be under the signature. */
static bool check_coverage(struct check *check)
{
    static const struct {
        const char *name;
        const char *shown;
        bool always;
    } needed[] = {{"host", "Host", true},
                  {"x-amz-date", "X-Amz-Date", true},
                  {"x-amz-target", "X-Amz-Target", false},
                  {"x-amz-security-token", "X-Amz-Security-Token", false}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(needed); i++) {
        struct fl_str name = fl_str_of(needed[i].name);
        size_t count = 1;
        if (!needed[i].always)
            (void)find(check->request, name, &count);
        if (count > 0 && !is_signed(check, name))
            return fail(check, FL_SIGV4_MISMATCH,
                        fl_str_printf(check->arena,
                                      "'%s' must be a 'SignedHeader' in the AWS Authorization.",
                                      needed[i].shown));
    }
    return true;
}

/* Names must ascend (so none is listed twice) and each must be there exactly once. */
static bool check_signed_headers(struct check *check)
{
    struct fl_str rest = check->signed_names, name, last = {"", 0};
    struct signed_headers *headers = &check->headers;
    while (fl_str_split(&rest, ';', &name)) {
        size_t count;
        struct fl_str value = find(check->request, name, &count);
        if (count != 1 || headers->count == MAX_SIGNED_HEADERS || fl_str_cmp(last, name) >= 0 ||
            !fl_str_eq(lower(name, check->arena), name))
            return fail_mismatch(check);
        headers->list[headers->count++] = (struct fl_header){name, value};
        last = name;
    }
    return check_coverage(check);
}

static bool check_body(struct check *check, struct fl_sigv4_cache *cache, char ret_hash[HASH_TEXT])
{
    size_t count;
    struct fl_str claimed = find(check->request, FL_STR("x-amz-content-sha256"), &count);
    hash_text(cache, check->request->body, ret_hash);
    if (count == 0)
        return true;
    if (fl_str_is(claimed, "UNSIGNED-PAYLOAD") || fl_str_starts(claimed, FL_STR("STREAMING-")))
        return fail(check, FL_SIGV4_MISMATCH,
                    FL_STR("The body must be signed: 'X-Amz-Content-Sha256' must be its SHA-256."));
    if (count > 1 || !fl_str_eq(fl_str_trim(claimed), fl_str_of(ret_hash)))
        return fail(check, FL_SIGV4_MISMATCH,
                    FL_STR("The provided 'x-amz-content-sha256' header does not match what was "
                           "computed."));
    return true;
}

static bool check_signature(struct check *check, struct fl_sigv4_cache *cache)
{
    char body_hash[HASH_TEXT], expected[HASH_TEXT];
    uint8_t key[HASH];
    if (!check_signed_headers(check) || !check_body(check, cache, body_hash))
        return false;
    signing_key(cache, &check->key, &check->scope, key);
    bool made = signature(check->request, &check->headers, body_hash, check->date, &check->scope,
                          key, cache, check->arena, expected);
    OPENSSL_cleanse(key, sizeof(key));
    if (!made || !same_secret(check->signature, fl_str_of(expected)))
        return fail_mismatch(check);
    return true;
}

struct fl_sigv4_result fl_sigv4_verify(const struct fl_sigv4_request *request, struct fl_str region,
                                       int64_t now_ms, struct fl_sigv4_cache *cache,
                                       fl_sigv4_lookup lookup, void *context,
                                       struct fl_arena *arena)
{
    struct fl_sigv4_result result = {.status = FL_SIGV4_OK};
    struct check *check = fl_arena_new_object(arena, struct check);
    check->request = request;
    check->arena = arena;
    check->result = &result;
    (void)(check_authorization(check) && check_credential(check) &&
           check_key(check, lookup, context) && check_clock(check, now_ms) &&
           check_scope(check, region) && check_signature(check, cache));
    return result;
}
