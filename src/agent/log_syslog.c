/* Messages of syslog: RFC 5424, RFC 3164, and that of local sockets, which has no host name. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "agent/log_format.h"
#include "base/clock.h"

enum { SEVERITY_ERROR = 3, SEVERITY_WARNING = 4, SEVERITY_INFO = 6, FACILITY_SHIFT = 3 };
enum { WORD_MAX = 255 };

static int severity(const struct fl_log_event *event)
{
    return event->stream == 'o' ? SEVERITY_INFO
                                : (event->stream == 'e' ? SEVERITY_ERROR : SEVERITY_WARNING);
}

/* Header fields are single words of printing characters. */
static void add_word(struct fl_buf *buf, struct fl_str text)
{
    for (size_t i = 0; i < text.n && i < WORD_MAX; i++)
        fl_buf_add_char(buf, text.p[i] > ' ' && text.p[i] < 0x7f ? text.p[i] : '_');
    if (text.n == 0)
        fl_buf_add_char(buf, '-');
}

static void add_old(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                    const struct fl_log_event *event, struct fl_buf *buf)
{
    char time[32] = "";
    struct tm parts;
    time_t seconds = (time_t)(event->time_ms / 1000);
    if (localtime_r(&seconds, &parts))
        (void)strftime(time, sizeof(time), "%b %e %H:%M:%S", &parts);
    fl_buf_printf(buf, "%s ", time);
    if (plan->form == FL_SYSLOG_3164) {
        add_word(buf, facts->hostname);
        fl_buf_add_char(buf, ' ');
    }
    add_word(buf, plan->tag);
    fl_buf_printf(buf, "[%d]: ", (int)getpid());
}

static void add_new(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                    const struct fl_log_event *event, struct fl_buf *buf)
{
    char time[FL_RFC3339_SIZE];
    fl_time_rfc3339(event->time_ms, time);
    if (plan->form == FL_SYSLOG_5424)
        fl_buf_printf(buf, "1 %.19sZ ", time);
    else
        fl_buf_printf(buf, "1 %.23s000Z ", time);
    add_word(buf, facts->hostname);
    fl_buf_add_char(buf, ' ');
    add_word(buf, plan->tag);
    fl_buf_printf(buf, " %d ", (int)getpid());
    add_word(buf, plan->tag);
    fl_buf_add_z(buf, " - ");
}

void fl_log_syslog_add(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                       const struct fl_log_event *event, struct fl_buf *buf)
{
    fl_buf_printf(buf, "<%d>", plan->facility << FACILITY_SHIFT | severity(event));
    if (plan->form == FL_SYSLOG_5424 || plan->form == FL_SYSLOG_5424_MICRO)
        add_new(plan, facts, event, buf);
    else
        add_old(plan, facts, event, buf);
    fl_buf_add_str(buf, event->text);
}
