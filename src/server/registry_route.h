/* What a path beneath /v2/ means, and ranges of bytes as registry clients write them. Pure: all of
 * it is foreign text, and only what passes the grammars of image/name.h and image/digest.h gets any
 * further. */
#pragma once

#include "image/digest.h"
#include "image/name.h"

enum fl_registry_what {
    FL_REGISTRY_NOTHING,
    FL_REGISTRY_BAD_NAME, /* the path is one of the others', but for the repository's name */
    FL_REGISTRY_BASE,     /* /v2/ */
    FL_REGISTRY_TOKEN,    /* /v2/_token: where a Bearer token is got */
    FL_REGISTRY_CATALOG,  /* /v2/_catalog */
    FL_REGISTRY_TAGS,
    FL_REGISTRY_MANIFEST,
    FL_REGISTRY_REFERRERS,
    FL_REGISTRY_BLOB,
    FL_REGISTRY_UPLOADS, /* where uploads begin */
    FL_REGISTRY_UPLOAD,
};

/* The parts point into the path. */
struct fl_registry_route {
    enum fl_registry_what what;
    struct fl_str repository; /* valid, but for BAD_NAME */
    struct fl_str reference;  /* MANIFEST: a tag (checked) or digest; UPLOAD: its id, unchecked */
    bool has_digest;          /* the reference, or the blob's or subject's name, is a digest */
    bool bad_reference;       /* neither a tag nor a digest that we know */
    struct fl_digest digest;
};

/* path as it is on the wire, before '?'. */
struct fl_registry_route fl_registry_route_of(struct fl_str path);

/* An upload's Content-Range: "0-99", also as "bytes 0-99/100"; last >= first. */
bool fl_registry_content_range(struct fl_str text, uint64_t *ret_first, uint64_t *ret_last);

enum fl_registry_range {
    FL_REGISTRY_RANGE_NONE, /* not one that we serve: the whole is to be sent */
    FL_REGISTRY_RANGE_PART,
    FL_REGISTRY_RANGE_OUTSIDE,
};
/* A Range header ("bytes=0-99", "bytes=5-", "bytes=-5") over size bytes. */
enum fl_registry_range fl_registry_range_of(struct fl_str text, uint64_t size, uint64_t *ret_offset,
                                            uint64_t *ret_n);
