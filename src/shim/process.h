/* Child processes and the files of /proc. */
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/shim.h"

/* Starts the program at path with a clean environment, the default signal handling, the
 * three descriptors as stdin, stdout and stderr (-1: /dev/null). The pid or -errno. */
pid_t process_start(const char *path, char *const argv[], int in_fd, int out_fd, int err_fd);
/* The same for a program that is loaded already: a copy of this process calls it, with no
 * descriptor but these three. */
pid_t process_call(shim_program *program, char *const argv[], int in_fd, int out_fd, int err_fd);
/* Field 22 of /proc/<pid>/stat, the start time in clock ticks since boot; -errno. */
int64_t process_start_time(pid_t pid);
/* Reads a number from a small file beneath dir_fd; -errno. */
int64_t process_read_number(int dir_fd, const char *name);
/* The number behind "oom_kill " in a cgroup's file; 0 when there is none. */
int64_t process_read_oom_kills(const char *path);
