/* What a pull from another registry may do: where requests go, how far a redirect or a realm leads,
 * what an answer's range must say. Pure; everything it reads is a stranger's.
 *
 * Sources: the OCI distribution specification 1.1, RFC 9110 (14.4 Content-Range). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "image/name.h"

enum {
    FL_PULL_URL_MAX = 8192,
    FL_PULL_REDIRECTS_MAX = 5,
    FL_PULL_MIRRORS_MAX = 8,
    FL_REGISTRIES_MAX = 64
};

/* Where a URL leads: scheme, host, port. Strings point into what was parsed. */
struct fl_origin {
    bool tls;
    struct fl_str host; /* in brackets if it is an IPv6 address; as written */
    uint16_t port;
    struct fl_str authority; /* host and port, as written */
};

/* "http(s)://host[:port]" and what follows. Stricter than any client: no user, no blanks, control
 * characters, backslashes; so there is one reading of it. */
bool fl_origin_parse(struct fl_str url, struct fl_origin *ret_origin, struct fl_str *ret_rest);
bool fl_origin_eq(const struct fl_origin *a, const struct fl_origin *b);
/* "localhost", 127.0.0.0/8 or ::1. */
bool fl_host_is_loopback(struct fl_str host);
/* Addresses that mean this machine or its own network's services: the above, 0.0.0.0, 169.254/16,
 * fe80::/10. */
bool fl_host_is_own(struct fl_str host);

/* What the operator says of registries (docs/registries.md). Strings in the arena. */
struct fl_registry_entry {
    struct fl_str host;                         /* as in image names, "docker.io" */
    bool insecure;                              /* plain HTTP */
    struct fl_str ca_file;                      /* empty: the system's authorities */
    struct fl_str mirrors[FL_PULL_MIRRORS_MAX]; /* URLs, to be asked first, in order */
    size_t mirror_count;
};
struct fl_registries {
    struct fl_registry_entry *items;
    size_t count;
};

/* {"docker.io": {"mirrors": ["https://…"], "insecure": true, "ca": "/…"}}: -EINVAL with a sentence
 * for anything else. */
int fl_registries_parse(struct fl_str text, struct fl_arena *arena,
                        struct fl_registries *ret_registries, struct fl_err *err);
/* NULL: nothing is said of it. */
const struct fl_registry_entry *fl_registries_find(const struct fl_registries *registries,
                                                   struct fl_str host);
/* The URL at which a registry answers, without a path: https, unless it is on this machine or
 * configured as insecure. docker.io answers at registry-1.docker.io. In the arena. */
struct fl_str fl_registry_url(const struct fl_registries *registries, struct fl_str host,
                              struct fl_arena *arena);

/* Resolves a Location against the URL that gave it. -EPERM with a sentence when it must not be
 * followed: from TLS to none, to another scheme, from a stranger to this machine. *ret_same says
 * whether credentials may still be sent. */
int fl_redirect_resolve(struct fl_str url, struct fl_str location, struct fl_arena *arena,
                        struct fl_str *ret_url, bool *ret_same, struct fl_err *err);

/* "bytes 100-199/200": true if it begins at `from` and, where it names a total, that is `size`. */
bool fl_content_range_fits(struct fl_str text, uint64_t from, uint64_t size);
