/* Calls of our own about who may join: CreateToken, ListTokens and DeleteToken for the operator,
 * Join for agents. */
#pragma once

#include "server/api.h"

/* Is this request a Join by a token (which needs no signature)? */
bool fl_tokens_is_join(const struct fl_http_exchange *exchange);
/* Answers it; is_local: it was signed with the machine's key. */
void fl_tokens_join(struct fl_api *api, struct fl_http_exchange *exchange, bool is_local);
/* An operator's call by the name behind the target's prefix; false for another one's. */
bool fl_tokens_call(struct fl_api *api, struct fl_http_exchange *exchange, struct fl_str operation);
