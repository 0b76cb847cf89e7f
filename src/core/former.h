/* Former registrations of a machine. Private to core. */
#pragma once

#include "core/decide.h"

/* The instance's agent has come or gone. */
void fl_former_connected(struct fl_decision *d, struct fl_instance *instance);
void fl_former_disconnected(struct fl_decision *d, struct fl_instance *instance);
/* When the first doubt ends, or INT64_MAX. */
int64_t fl_former_due(const struct fl_core *core);
/* Ends the doubts whose time has come: by now the agent is back, or the instance is retired. */
void fl_former_judge(struct fl_decision *d);
