/* Events in the forms of the drivers' protocols. Pure, but for the time zone of syslog's older
 * forms. What a container wrote stays within its event: no form lets it begin another one. */
#pragma once

#include "agent/log_options.h"
#include "agent/log_spool.h"

/* One message of syslog, without framing. */
void fl_log_syslog_add(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                       const struct fl_log_event *event, struct fl_buf *buf);
/* One datagram of journald's native protocol. */
void fl_log_journald_add(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                         const struct fl_log_event *event, struct fl_buf *buf);
/* Fluentd's forward protocol, its Forward mode: one message is a beginning and entries; the
 * number of these is told at the end. */
void fl_log_fluentd_begin(const struct fl_log_plan *plan, struct fl_buf *buf);
void fl_log_fluentd_add(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                        const struct fl_log_event *event, struct fl_buf *buf);
/* message is where begin wrote. */
void fl_log_fluentd_end(const struct fl_log_plan *plan, char *message, uint32_t entries);
