/* What the parts of the API's face share: api.c (who calls, and what over), api_services.c (AWS's
 * services) and api_own.c (our own calls). */
#pragma once

#include "server/agent_access.h"
#include "server/api.h"
#include "shapes/shape.h"

/* One request on its way. */
struct fl_api_call {
    struct fl_api *api;
    struct fl_http_exchange *exchange;
    struct fl_caller caller;
    const struct fl_role_session *session; /* FL_ROLE_TASK and FL_ROLE_EXECUTION */
    struct fl_str service;                 /* that the signature is for */
};

bool fl_api_is_of_a_task(const struct fl_api_call *call);
/* The key of this machine's own agent, which is no instance's. */
bool fl_api_is_machines_key(const struct fl_api_call *call);
struct fl_access fl_api_access(const struct fl_api_call *call);
/* Answers with AccessDeniedException. resource: the last parts of its ARN, or empty. */
void fl_api_deny(struct fl_api_call *call, const char *service, struct fl_str operation,
                 struct fl_str resource);
/* Whatever AWS's services answer with; context is the exchange. code is of a refusal, whose text is
 * the body. */
void fl_api_on_answer(void *context, unsigned status, struct fl_str code, struct fl_str body);
/* The body, or {} for none; NULL after refusing. */
const struct fl_json *fl_api_read_body(struct fl_http_exchange *exchange);
/* JSON as the exchange's structure of that shape; NULL after refusing: with invalid_code what is
 * of the right type. */
void *fl_api_decode(struct fl_http_exchange *exchange, const struct fl_shape *shape,
                    const struct fl_json *json, const char *invalid_code);

/* Does what the target says, or answers that it is not known. */
void fl_api_call_service(struct fl_api_call *call, struct fl_str target);
/* The same for our own; false: it is none of those. */
bool fl_api_call_own(struct fl_api_call *call, struct fl_str target);
