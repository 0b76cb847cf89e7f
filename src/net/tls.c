/* OpenSSL's side of pinned TLS: the hash of a peer's certificate is compared in place of any chain
 * of trust. */
#include "net/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/id.h"

enum { SECOND_MS = 1000, HOUR_MS = 60 * 60 * 1000, HASH_BYTES = 32, SERIAL_BITS = 127 };

bool fl_tls_pins_add(struct fl_tls_pins *pins, struct fl_str hash)
{
    uint8_t bytes[HASH_BYTES];
    char text[FL_TLS_HASH_SIZE];
    if (!fl_unhex(hash, bytes, sizeof(bytes)))
        return false;
    fl_hex(bytes, sizeof(bytes), text);
    for (size_t i = 0; i < pins->count; i++)
        if (strcmp(pins->hash[i], text) == 0)
            return true;
    if (pins->count == FL_TLS_MAX_PINS)
        return false;
    memcpy(pins->hash[pins->count++], text, sizeof(text));
    return true;
}

/* ---- certificates ---- */

static bool hash_of(const X509 *certificate, char ret_hash[FL_TLS_HASH_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!certificate || !X509_digest(certificate, EVP_sha256(), digest, &n) || n != HASH_BYTES)
        return false;
    fl_hex(digest, HASH_BYTES, ret_hash);
    return true;
}

/* Who looks at the certificate with other tools sees whose it is; our agents do not look. */
static bool fill(X509 *certificate, EVP_PKEY *key, int64_t now_ms, int64_t life_ms)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    BIGNUM *serial = BN_new();
    bool ok = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate));
    BN_free(serial);
    ok = ok && X509_set_version(certificate, X509_VERSION_3) &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"fairlead", -1, -1,
                                    0) &&
         X509_set_issuer_name(certificate, name) && X509_set_pubkey(certificate, key);
    ok = ok && ASN1_TIME_set(X509_getm_notBefore(certificate), (now_ms - HOUR_MS) / SECOND_MS) &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), (now_ms + life_ms) / SECOND_MS);
    return ok && X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool write_pem(EVP_PKEY *key, X509 *certificate, struct fl_buf *buf)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = NULL;
    long n = 0;
    bool ok = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) &&
              PEM_write_bio_X509(bio, certificate) && (n = BIO_get_mem_data(bio, &text)) > 0;
    if (ok)
        fl_buf_add(buf, text, (size_t)n);
    BIO_free(bio);
    return ok && !buf->overflow;
}

int fl_tls_make_certificate(int64_t now_ms, int64_t life_ms, struct fl_buf *buf, struct fl_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    bool ok = key && certificate && fill(certificate, key, now_ms, life_ms) &&
              write_pem(key, certificate, buf);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ok ? 0 : fl_err_set(err, -EIO, "a certificate cannot be made");
}

static bool read_time(const ASN1_TIME *time, int64_t *ret_ms)
{
    int days = 0, seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, time);
    ASN1_TIME_free(epoch);
    *ret_ms = ((int64_t)days * 24 * 60 * 60 + seconds) * SECOND_MS;
    return ok;
}

int fl_tls_read_certificate(struct fl_str pem, struct fl_tls_certificate *ret_certificate,
                            struct fl_err *err)
{
    struct fl_tls_certificate found = {0};
    BIO *bio = pem.n <= FL_TLS_MAX_PEM ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    bool ok = certificate && hash_of(certificate, found.hash) &&
              read_time(X509_get0_notBefore(certificate), &found.from_ms) &&
              read_time(X509_get0_notAfter(certificate), &found.until_ms);
    X509_free(certificate);
    BIO_free(bio);
    ERR_clear_error();
    if (!ok)
        return fl_err_set(err, -EINVAL, "it holds no certificate");
    *ret_certificate = found;
    return 0;
}

/* ---- pins ---- */

/* In place of OpenSSL's verification: the leaf's hash decides alone. */
static int on_verify(X509_STORE_CTX *store, void *context)
{
    const struct fl_tls_pins *pins = context;
    char hash[FL_TLS_HASH_SIZE] = "";
    bool is_known = false;
    if (hash_of(X509_STORE_CTX_get0_cert(store), hash))
        for (size_t i = 0; i < pins->count; i++)
            is_known |= strcmp(pins->hash[i], hash) == 0;
    X509_STORE_CTX_set_error(store, is_known ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return is_known;
}

void fl_tls_pin(void *ssl_context, const struct fl_tls_pins *pins)
{
    SSL_CTX *context = ssl_context;
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, on_verify, (void *)pins);
}

/* ---- a link ---- */

struct fl_tls_link {
    SSL_CTX *context;
    SSL *ssl;
    bool is_broken; /* nothing more may be said */
};

static struct fl_tls_link *new_link(int fd, SSL_CTX *context)
{
    struct fl_tls_link *link = fl_calloc(1, sizeof(*link));
    link->context = context;
    link->ssl = SSL_new(context);
    FL_ASSERT(link->ssl && SSL_set_fd(link->ssl, fd));
    return link;
}

static void set_modes(SSL_CTX *context)
{
    (void)SSL_CTX_set_mode(context,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

struct fl_tls_link *fl_tls_link_new(int fd, const struct fl_tls_pins *pins)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    FL_ASSERT(context);
    fl_tls_pin(context, pins);
    set_modes(context);
    struct fl_tls_link *link = new_link(fd, context);
    SSL_set_connect_state(link->ssl);
    return link;
}

struct fl_tls_identity {
    SSL_CTX *context;
};

static bool use_pem(SSL_CTX *context, const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    bool ok = key && certificate && SSL_CTX_use_certificate(context, certificate) == 1 &&
              SSL_CTX_use_PrivateKey(context, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return ok;
}

/* No tickets and no renegotiation: each connection proves who it speaks to, once. */
int fl_tls_identity_new(const char *pem, struct fl_tls_identity **ret_identity, struct fl_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    FL_ASSERT(context);
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                           SSL_OP_CIPHER_SERVER_PREFERENCE |
                                           SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_num_tickets(context, 0);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    set_modes(context);
    if (!use_pem(context, pem)) {
        SSL_CTX_free(context);
        return fl_err_set(err, -EINVAL, "the key and the certificate cannot be used");
    }
    *ret_identity = fl_calloc(1, sizeof(**ret_identity));
    (*ret_identity)->context = context;
    return 0;
}

void fl_tls_identity_free(struct fl_tls_identity *identity)
{
    if (!identity)
        return;
    SSL_CTX_free(identity->context);
    free(identity);
}

struct fl_tls_link *fl_tls_link_accept(int fd, const struct fl_tls_identity *identity)
{
    (void)SSL_CTX_up_ref(identity->context);
    struct fl_tls_link *link = new_link(fd, identity->context);
    SSL_set_accept_state(link->ssl);
    return link;
}

void fl_tls_link_finish(struct fl_tls_link *link)
{
    ERR_clear_error();
    if (!link->is_broken && SSL_is_init_finished(link->ssl))
        (void)SSL_shutdown(link->ssl);
}

void fl_tls_link_free(struct fl_tls_link *link)
{
    if (!link)
        return;
    fl_tls_link_finish(link);
    SSL_free(link->ssl);
    SSL_CTX_free(link->context);
    ERR_clear_error();
    free(link);
}

static int fail(struct fl_tls_link *link, struct fl_err *err)
{
    unsigned long code = ERR_get_error();
    const char *reason = ERR_reason_error_string(code);
    link->is_broken = true;
    if (SSL_get_verify_result(link->ssl) != X509_V_OK)
        reason = FL_TLS_STRANGER;
    return fl_err_set(err, -EPROTO, "%s", reason ? reason : "the TLS handshake was cut off");
}

int fl_tls_link_handshake(struct fl_tls_link *link, bool *ret_want_write, struct fl_err *err)
{
    ERR_clear_error();
    int r = SSL_do_handshake(link->ssl);
    int why = SSL_get_error(link->ssl, r);
    *ret_want_write = why == SSL_ERROR_WANT_WRITE;
    if (r == 1)
        return 1;
    return *ret_want_write || why == SSL_ERROR_WANT_READ ? 0 : fail(link, err);
}

/* What SSL_read and SSL_write have to say, as errno. */
static ssize_t outcome(struct fl_tls_link *link, int r)
{
    int why = SSL_get_error(link->ssl, r);
    if (r > 0)
        return r;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    link->is_broken = true;
    errno = EIO;
    return -1;
}

ssize_t fl_tls_link_recv(struct fl_tls_link *link, void *bytes, size_t n)
{
    ERR_clear_error();
    return outcome(link, SSL_read(link->ssl, bytes, (int)FL_MIN(n, (size_t)INT32_MAX)));
}

ssize_t fl_tls_link_send(struct fl_tls_link *link, const void *bytes, size_t n)
{
    ERR_clear_error();
    if (n == 0)
        return 0;
    return outcome(link, SSL_write(link->ssl, bytes, (int)FL_MIN(n, (size_t)INT32_MAX)));
}

bool fl_tls_link_pending(const struct fl_tls_link *link)
{
    return SSL_has_pending(link->ssl);
}
