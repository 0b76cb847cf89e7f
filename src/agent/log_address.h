/* Where a log driver sends: "tcp://host:port", "tcp+tls://host:port", "udp://host:port",
 * "unix:///path", "unixgram:///path". */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

enum fl_log_transport {
    FL_LOG_UDP,
    FL_LOG_TCP,
    FL_LOG_TLS,
    FL_LOG_UNIX,
    FL_LOG_UNIXGRAM,
};

struct fl_log_address {
    enum fl_log_transport transport;
    struct fl_str host; /* without brackets */
    struct fl_str port; /* decimal */
    struct fl_str path;
    /* Of TLS: files in PEM. */
    struct fl_str ca_file; /* empty: the system's */
    struct fl_str cert_file;
    struct fl_str key_file;
    bool skip_verify;
    bool is_secret; /* failures do not tell it */
};

static inline bool fl_log_is_datagram(const struct fl_log_address *address)
{
    return address->transport == FL_LOG_UDP || address->transport == FL_LOG_UNIXGRAM;
}

/* An address without a scheme is tcp's; without a port it gets default_port. The parts point into
 * text. False when it is none. */
bool fl_log_address_read(struct fl_str text, const char *default_port,
                         struct fl_log_address *ret_address);
