/* AWS Signature Version 4, headers only (no presigned URLs): signing and verifying. No I/O.
 *
 * Rules and codes: shared by every AWS JSON service; UnrecognizedClientException for an unknown
 * key, InvalidSignatureException for a wrong, expired or ill-scoped one,
 * MissingAuthenticationTokenException for an unsigned request,
 * IncompleteSignatureException for a malformed Authorization header. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Largest difference between the request's X-Amz-Date and our clock. */
enum { FL_SIGV4_SKEW_MS = 5 * 60 * 1000 };

struct fl_header {
    struct fl_str name; /* any case */
    struct fl_str value;
};

struct fl_sigv4_request {
    struct fl_str method;
    struct fl_str path;  /* as on the wire, before '?'; at least "/" */
    struct fl_str query; /* as on the wire, after '?'; may be empty */
    const struct fl_header *headers;
    size_t header_count;
    struct fl_str body;
};

struct fl_credentials {
    struct fl_str access_key_id;
    struct fl_str secret;
    struct fl_str session_token; /* empty: none */
};

enum { FL_SIGV4_SIGNED_HEADERS = 4 };

/* Signs a request: fills ret_headers with Authorization, X-Amz-Date, X-Amz-Content-Sha256 and
 * (with a session token) X-Amz-Security-Token, to be sent besides request->headers, which must
 * hold Host. Every header given is signed. Returns how many were filled. Texts are in the arena. */
size_t fl_sigv4_sign(const struct fl_sigv4_request *request, const struct fl_credentials *key,
                     struct fl_str region, struct fl_str service, int64_t now_ms,
                     struct fl_arena *arena, struct fl_header ret_headers[FL_SIGV4_SIGNED_HEADERS]);

enum fl_sigv4_status {
    FL_SIGV4_OK,
    FL_SIGV4_MISSING,      /* no Authorization header of the AWS4-HMAC-SHA256 kind */
    FL_SIGV4_INCOMPLETE,   /* one that lacks a part */
    FL_SIGV4_UNKNOWN_KEY,  /* the look-up knows no such access key, or not with that token */
    FL_SIGV4_EXPIRED,      /* clock skew beyond FL_SIGV4_SKEW_MS */
    FL_SIGV4_WRONG_SCOPE,  /* date, region, service or terminator of the scope do not fit */
    FL_SIGV4_MISMATCH,     /* signature or body hash differ, or something needful is not signed */
    FL_SIGV4_SESSION_OVER, /* never by fl_sigv4_verify: who knows its sessions says so of a key */
};

struct fl_sigv4_result {
    enum fl_sigv4_status status;
    struct fl_str access_key_id; /* as claimed; may be empty */
    struct fl_str region;        /* of the scope */
    struct fl_str service;       /* of the scope */
    struct fl_str text;          /* AWS's sentence for the failure, in the arena */
};

/* Looks an access key up: true and the credentials (session_token empty when the key has none). */
typedef bool (*fl_sigv4_lookup)(void *context, struct fl_str access_key_id,
                                struct fl_credentials *ret_key);

/* Derived signing keys are kept here (goal: ≤ 4 µs a verification), bounded; owned by the caller.
 */
struct fl_sigv4_cache;
struct fl_sigv4_cache *fl_sigv4_cache_new(void);
void fl_sigv4_cache_free(struct fl_sigv4_cache *cache);

/* Verifies a request. `region` is ours: a request signed for another gets FL_SIGV4_WRONG_SCOPE with
 * a text naming the --region flag. Host, X-Amz-Date and, if present, X-Amz-Target and
 * X-Amz-Security-Token must be signed; a signed header may occur once only. The body is hashed and
 * compared with X-Amz-Content-Sha256 if that is present; UNSIGNED-PAYLOAD and STREAMING-… are
 * refused. Signatures are compared in constant time. */
struct fl_sigv4_result fl_sigv4_verify(const struct fl_sigv4_request *request, struct fl_str region,
                                       int64_t now_ms, struct fl_sigv4_cache *cache,
                                       fl_sigv4_lookup lookup, void *context,
                                       struct fl_arena *arena);
