/* What the agent says to the process that launches shims (src/shim/launch.c): it is started as
 * `fairlead-launch <shim's program> <padding>`, the padding as long as a container's directory may
 * be; a message is one byte of flags and the container's directory, with the descriptors that the
 * flags name, in this order. Not for core or task. */
#pragma once

enum {
    FL_LAUNCH_NETNS = 1, /* the network namespace to enter */
    FL_LAUNCH_LOCK = 2,  /* the lock of the task's shared namespaces */
    FL_LAUNCH_FDS = 2,   /* descriptors of a message at most */
    FL_LAUNCH_ARGS = 3,
};
