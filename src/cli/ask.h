/* Running another program to its end and hearing what it says. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What a program (looked up on PATH) says on stdout and stderr, cut off at size - 1 bytes; ended
 * after patience_ms. Returns its exit status; -errno when it could not be run. */
int fl_ask_program(const char *const *argv, int64_t patience_ms, char *text, size_t size);
