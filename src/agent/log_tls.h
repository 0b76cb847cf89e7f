/* TLS for log drivers: a client on a descriptor that does not block. */
#pragma once

#include <openssl/types.h>

#include "agent/log_address.h"

/* NULL with err set when a file cannot be used. */
SSL_CTX *fl_log_tls_context(const struct fl_log_address *address, struct fl_err *err);
/* A session on fd, which stays the caller's; the host's certificate is checked unless the address
 * says otherwise. NULL: out of memory. */
SSL *fl_log_tls_session(SSL_CTX *context, const struct fl_log_address *address, int fd);
/* What OpenSSL's queue says about the last failure, or the reason a certificate was refused. */
void fl_log_tls_reason(const SSL *ssl, char *ret_text, size_t size);
