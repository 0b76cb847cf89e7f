/* A port of the agent's own, kept from one start to the next: containers have it in their
 * environment. */
#pragma once

#include <stdint.h>

#include "base/str.h"

/* 0: none is kept. */
uint16_t fl_port_file_read(struct fl_str dir, const char *name);
/* Logs what goes wrong: the agent does its work without. */
void fl_port_file_write(struct fl_str dir, const char *name, uint16_t port);
