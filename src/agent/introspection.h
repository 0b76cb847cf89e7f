/* The agent's introspection endpoint, as ECS has it on port 51678: /v1/metadata, /v1/tasks (also
 * ?dockerid= and ?taskarn=), /license. For the host's own eyes: on 127.0.0.1 unless it is told
 * otherwise. Tasks with addresses of their own do not get there. */
#pragma once

#include <uv.h>

#include "agent/metadata_documents.h"
#include "base/err.h"
#include "task/brain.h"

struct fl_introspection;

enum { FL_INTROSPECTION_PORT = 51678 };

/* What is pointed to must outlive the endpoint. */
struct fl_introspection_config {
    uv_loop_t *loop;
    uint16_t port; /* 0: FL_INTROSPECTION_PORT */
    bool offhost;  /* answers on every address */
    const struct fl_brain *brain;
    const struct fl_metadata_facts *facts;
};

/* -EADDRINUSE when somebody else has the port. */
int fl_introspection_open(const struct fl_introspection_config *config,
                          struct fl_introspection **ret_introspection, struct fl_err *err);
void fl_introspection_close(struct fl_introspection *introspection);
uint16_t fl_introspection_port(const struct fl_introspection *introspection);
