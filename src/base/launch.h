/* What the agent says to the process that launches shims (src/shim/launch.c): it is started as
 * `fairlead-launch <shim's program> <padding>`, the padding as long as a container's directory may
 * be; a message is a head and the container's directory, with the descriptors that the head's flags
 * name, in this order. The answer is the same head and directory, with a pidfd of the shim where
 * there is one. Not for core or task. */
#pragma once

#include <stdint.h>

enum {
    FL_LAUNCH_NETNS = 1, /* the network namespace to enter */
    FL_LAUNCH_LOCK = 2,  /* the lock of the task's shared namespaces */
    FL_LAUNCH_FDS = 2,   /* descriptors of a message at most */
    FL_LAUNCH_ARGS = 3,
};

struct fl_launch_head {
    uint32_t number; /* of the order: a container that is launched again tells answers apart */
    uint32_t flags;
};
