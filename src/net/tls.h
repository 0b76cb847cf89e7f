/* TLS between agents and their server: certificates that the server makes for itself, and clients
 * that believe exactly the certificates whose hashes they were told. No authority, no name and no
 * clock has a say, and nothing falls back to anything. TLS 1.2 or newer. A process that uses this
 * ignores SIGPIPE: OpenSSL writes as files are written. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum {
    FL_TLS_HASH_SIZE = 65, /* SHA-256 of a certificate's DER form, lower-case hex, and NUL */
    FL_TLS_MAX_PINS = 4,
    FL_TLS_MAX_PEM = 16 * 1024,
};

/* Certificates that are believed. */
struct fl_tls_pins {
    char hash[FL_TLS_MAX_PINS][FL_TLS_HASH_SIZE];
    size_t count;
};

/* False for what is no hash, or one too many. One that is there is not added again. */
bool fl_tls_pins_add(struct fl_tls_pins *pins, struct fl_str hash);

/* What a client says of a certificate that is none of the pinned ones. */
#define FL_TLS_STRANGER "the server's certificate is not one that this host was told of"

/* Appends a new key (P-256) and its self-signed certificate, valid from an hour before now, in PEM
 * form. */
int fl_tls_make_certificate(int64_t now_ms, int64_t life_ms, struct fl_buf *buf,
                            struct fl_err *err);
struct fl_tls_certificate {
    char hash[FL_TLS_HASH_SIZE];
    int64_t from_ms, until_ms; /* wall clock */
};
/* The first certificate of a PEM text. */
int fl_tls_read_certificate(struct fl_str pem, struct fl_tls_certificate *ret_certificate,
                            struct fl_err *err);

/* Makes an OpenSSL client context (SSL_CTX) believe the pinned certificates and no others. The pins
 * are looked at when a handshake happens, and must outlive the context. */
void fl_tls_pin(void *ssl_context, const struct fl_tls_pins *pins);

/* ---- a server's key and certificate ---- */

struct fl_tls_identity;

int fl_tls_identity_new(const char *pem, struct fl_tls_identity **ret_identity, struct fl_err *err);
/* Links that it made live on. */
void fl_tls_identity_free(struct fl_tls_identity *identity);

/* ---- an end of one connection, over a non-blocking socket ---- */

struct fl_tls_link;

/* The client's, and the server's. The socket stays the caller's. */
struct fl_tls_link *fl_tls_link_new(int fd, const struct fl_tls_pins *pins);
struct fl_tls_link *fl_tls_link_accept(int fd, const struct fl_tls_identity *identity);
/* Says goodbye, if that is possible at once. */
void fl_tls_link_free(struct fl_tls_link *link);
/* 1: done; 0: wait until the socket is readable (writable, if *ret_want_write); -EPROTO with the
 * reason. */
int fl_tls_link_handshake(struct fl_tls_link *link, bool *ret_want_write, struct fl_err *err);
/* As recv and send: -1 and errno, EAGAIN among them; 0 at the end. */
ssize_t fl_tls_link_recv(struct fl_tls_link *link, void *bytes, size_t n);
ssize_t fl_tls_link_send(struct fl_tls_link *link, const void *bytes, size_t n);
/* Nothing more will be sent; receiving goes on. */
void fl_tls_link_finish(struct fl_tls_link *link);
/* Bytes are here that the socket will not announce. */
bool fl_tls_link_pending(const struct fl_tls_link *link);
