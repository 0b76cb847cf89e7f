/* A seccomp program made shorter: the same answer to every call. */
#pragma once

#include "base/str.h"

/* Replaces the program (an array of struct sock_filter) by one that answers every architecture,
 * call and argument as it does. One that holds what is not understood here, or that would not get
 * shorter, stays as it is. Pure. */
void fl_seccomp_shrink(struct fl_buf *program);
