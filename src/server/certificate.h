/* The server's own certificate: made on first use, and renewed with overlap. The next one is made
 * when two thirds of the life are over, agents learn its hash over the connections that they have,
 * and a sixth of the life later it is used. Files keys/tls.pem and keys/tls-next.pem, 0600. */
#pragma once

#include "base/err.h"
#include "net/tls.h"

struct fl_certificate;

#define FL_CERTIFICATE_LIFE_MS (INT64_C(365) * 24 * 60 * 60 * 1000)

/* Reads what is there. life_ms: 0 for FL_CERTIFICATE_LIFE_MS. */
int fl_certificate_open(struct fl_str data_dir, int64_t life_ms,
                        struct fl_certificate **ret_certificate, struct fl_err *err);
void fl_certificate_free(struct fl_certificate *certificate);

/* Key and certificate in PEM form; made now, if there is none. Valid until it is renewed; NULL with
 * err. */
const char *fl_certificate_pem(struct fl_certificate *certificate, struct fl_err *err);
/* The hashes that agents have to believe: the present one's, if there is one, and the next one's.
 */
const struct fl_tls_pins *fl_certificate_pins(const struct fl_certificate *certificate);

enum fl_certificate_change {
    FL_CERTIFICATE_SAME,
    FL_CERTIFICATE_ANNOUNCE, /* there is a next one */
    FL_CERTIFICATE_USE,      /* the next one is the present one now */
};
/* To be called every fl_certificate_pace_ms. */
enum fl_certificate_change fl_certificate_renew(struct fl_certificate *certificate,
                                                struct fl_err *err);
uint64_t fl_certificate_pace_ms(const struct fl_certificate *certificate);
