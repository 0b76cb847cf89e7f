/* The ECR API over the built-in registry: the operations of api/ecr.api that are served. They read
 * and write repositories on workers, those that change any in turn with pushes. */
#pragma once

#include "base/arena.h"
#include "server/registry.h"

/* status 200: body is the answer's JSON. 400 or 500: error_code is AWS's name and body the sentence
 * for its message. The strings are valid during the call. */
typedef void (*fl_ecr_reply)(void *context, unsigned status, struct fl_str error_code,
                             struct fl_str body);

/* What an agent's key may call: what a pull needs. */
bool fl_ecr_agent_may(int operation);

/* Carries out operation (enum ecr_operation), which has an input, on its decoded and validated
 * input. input and arena must live until the reply, and nobody may touch the arena until then. */
void fl_ecr_handle(struct fl_registry *registry, int operation, const void *input,
                   enum fl_role role, struct fl_arena *arena, fl_ecr_reply reply, void *context);
