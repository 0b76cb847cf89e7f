/* The names of the API in /etc/hosts. Some actions put a prefix before the endpoint's host
 * (StartLiveTail: "stream-", DiscoverInstances: "data-"), which an address cannot take. Each
 * installation keeps a block of its own, marked with its tag. */
#pragma once

#include "base/err.h"
#include "cli/options.h"

/* The file; a test names another one. */
#define FL_HOSTS_FILE "/etc/hosts"

/* Makes sure that the block is there, if the API answers on 127.0.0.1; otherwise that it is not. */
int fl_hosts_add(const struct fl_options *options, const char *path, struct fl_err *err);
/* Removes the block; a file without one stays as it is. */
int fl_hosts_remove(struct fl_str data_dir, const char *path, struct fl_err *err);
/* The URL for clients of this machine: by name if the block is there, else by address. */
struct fl_str fl_hosts_endpoint(const struct fl_options *options, const char *path);
