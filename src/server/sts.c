/* GetCallerIdentity: the operator's key is the account's root, the agent's key a user, a task's
 * role a session with the task's id as its name. */
#include "server/sts.h"

#include "shapes/sts_shapes.h"

void fl_sts_handle(int operation, const struct fl_query_caller *caller, FL_UNUSED const void *input,
                   struct fl_arena *arena, void *ret_output)
{
    struct sts_GetCallerIdentityResponse *out = ret_output;
    bool is_root = caller->role == FL_ROLE_OPERATOR;
    FL_ASSERT(operation == STS_OP_GetCallerIdentity);
    if (caller->session) {
        FL_SET(out, sts_GetCallerIdentityResponse, UserId, caller->session->user_id);
        FL_SET(out, sts_GetCallerIdentityResponse, Account, caller->session->account);
        FL_SET(out, sts_GetCallerIdentityResponse, Arn, caller->session->principal);
        return;
    }
    FL_SET(out, sts_GetCallerIdentityResponse, UserId,
           is_root ? caller->account : FL_STR("AIDAFAIRLEADAGENT000X"));
    FL_SET(out, sts_GetCallerIdentityResponse, Account, caller->account);
    FL_SET(out, sts_GetCallerIdentityResponse, Arn,
           fl_str_printf(arena, "arn:aws:iam::%.*s:%s", FL_STR_ARG(caller->account),
                         is_root ? "root" : "user/fairlead-agent"));
}
