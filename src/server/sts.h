/* The Security Token Service: who is calling? */
#pragma once

#include "server/query.h"

/* Fills the output of an operation that has shapes. */
void fl_sts_handle(int operation, const struct fl_query_caller *caller, const void *input,
                   struct fl_arena *arena, void *ret_output);
