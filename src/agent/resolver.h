/* Name resolution for tasks where the host's own resolver listens on the host's loopback only
 * (systemd-resolved's stub, dnsmasq): a container cannot reach it there, so its questions come to
 * 169.254.170.2:53, are led here, and are passed on.
 *
 * It keeps nothing: each question is looked at (resolver_message.h), sent to the first name server
 * of the host's resolv.conf, to the next one when no answer comes, and answered by what comes back.
 * Questions under way, connections, and both by container, are bounded. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct fl_resolver;

#define FL_RESOLV_CONF "/etc/resolv.conf"

/* Listens on a free port of 127.0.0.1, UDP and TCP. resolv_conf is the path of the host's file,
 * which is read again when it changes; it outlives the resolver. */
int fl_resolver_open(uv_loop_t *loop, const char *resolv_conf, struct fl_resolver **ret_resolver,
                     struct fl_err *err);
uint16_t fl_resolver_port(const struct fl_resolver *resolver);
/* Ends questions under way unanswered; the memory is freed by the loop's next iterations. */
void fl_resolver_close(struct fl_resolver *resolver);
