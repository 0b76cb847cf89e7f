/* Living beside Docker: its FORWARD policy drops what it does not know, and the chain DOCKER-USER
 * is where it asks others to say what may pass. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FL_DOCKER_RULES = 2 };

/* Where the chain DOCKER-USER exists: accepts what enters from or leaves to the bridge `tag`, by
 * two rules with the tag as their comment, each there once however often this is called. 0 also
 * where there is no such chain or no iptables. */
int fl_docker_allow(struct fl_str tag, struct fl_err *err);
/* Removes the two rules; 0 when they are not there. */
int fl_docker_forget(struct fl_str tag, struct fl_err *err);
