/* The life of a shim, which starts in one of two ways: as a program of its own (main.c), or as a
 * copy of a process that has the runtime loaded (launch.c). */
#pragma once

/* The descriptors that it is given, where the orders speak of them. */
enum {
    SHIM_NETNS_FD = 3,   /* the network namespace to enter */
    SHIM_RUNTIME_FD = 4, /* a sealed copy of the runtime's program */
    SHIM_LOCK_FD = 5,    /* keeps the task's shared namespaces alive */
    SHIM_QUICK_FD = 6,   /* of the hierarchy that makes cgroups quick: held, no more */
};

/* What runs as a program when it is called in a process of its own. */
typedef int shim_program(int argc, char **argv, char **environment);

/* Holds the container of that directory from its start to its end; see README.md. program is the
 * runtime's, or NULL: then it is executed, as the orders say. Returns an exit status. */
int shim_run(const char *dir, shim_program *program);
