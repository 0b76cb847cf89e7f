/* OpenSSL's client side for log drivers. */
#include "agent/log_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static int use_files(SSL_CTX *context, const struct fl_log_address *address, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *ca = fl_str_z(arena, address->ca_file), *cert = fl_str_z(arena, address->cert_file);
    const char *key = fl_str_z(arena, address->key_file);
    int trusted =
        ca[0] ? SSL_CTX_load_verify_file(context, ca) : SSL_CTX_set_default_verify_paths(context);
    if (!trusted)
        return fl_err_set(err, -EINVAL, "Could not read CA certificate \"%s\"", ca);
    if (cert[0] && (SSL_CTX_use_certificate_chain_file(context, cert) != 1 ||
                    SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1))
        return fl_err_set(err, -EINVAL, "Could not load X509 key pair (cert: \"%s\", key: \"%s\")",
                          cert, key);
    return 0;
}

SSL_CTX *fl_log_tls_context(const struct fl_log_address *address, struct fl_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        (void)fl_err_set(err, -ENOMEM, "TLS cannot be set up");
        return NULL;
    }
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(context,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, address->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (use_files(context, address, err) == 0)
        return context;
    SSL_CTX_free(context);
    ERR_clear_error();
    return NULL;
}

static bool expect_host(SSL *ssl, const char *host)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *fl_log_tls_session(SSL_CTX *context, const struct fl_log_address *address, int fd)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    SSL *ssl = SSL_new(context);
    if (ssl && SSL_set_fd(ssl, fd) == 1 && expect_host(ssl, fl_str_z(arena, address->host)))
        return ssl;
    SSL_free(ssl);
    return NULL;
}

void fl_log_tls_reason(const SSL *ssl, char *ret_text, size_t size)
{
    long verdict = SSL_get_verify_result(ssl);
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (verdict != X509_V_OK)
        reason = X509_verify_cert_error_string(verdict);
    (void)snprintf(ret_text, size, "tls: %s", reason ? reason : "the connection was closed");
    ERR_clear_error();
}
