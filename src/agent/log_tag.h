/* Tags of log drivers: text with "{{.Name}}" and the like. */
#pragma once

#include "agent/log_options.h"

/* The template with what the container is. 0, or -EINVAL with a sentence. */
int fl_log_tag(struct fl_str template, const struct fl_log_facts *facts, struct fl_arena *arena,
               struct fl_str *ret_tag, struct fl_err *err);
