/* What a request to the metadata endpoint asks for, and what it is told when it asks in vain: ECS's
 * paths and words. No I/O. */
#pragma once

#include "agent/metadata_documents.h"

enum fl_metadata_what {
    FL_METADATA_CONTAINER,
    FL_METADATA_TASK,
    FL_METADATA_TASK_TAGS,
    FL_METADATA_CONTAINER_STATS,
    FL_METADATA_TASK_STATS,
    FL_METADATA_CREDENTIALS,
    FL_METADATA_PROTECTION, /* of the agent API */
    FL_METADATA_NOTHING,    /* no such path */
};

struct fl_metadata_route {
    enum fl_metadata_what what;
    enum fl_metadata_version version; /* of documents */
    bool by_address;                  /* v2: the caller's address says which task */
    struct fl_str id; /* of the endpoint; v2: the Docker id; credentials: theirs. Maybe empty */
};

/* path as on the wire, before '?'; query behind it. */
struct fl_metadata_route fl_metadata_route(struct fl_str path, struct fl_str query);
/* The path without doubled slashes, in the arena; empty when it has none. */
struct fl_str fl_metadata_cleaned(struct fl_str path, struct fl_arena *arena);
/* Status and words for an id that is none of the caller's; `peer` is its address. */
unsigned fl_metadata_refusal(const struct fl_metadata_route *route, struct fl_str peer,
                             struct fl_arena *arena, struct fl_str *ret_text);
