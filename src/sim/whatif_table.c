/* The table for a terminal: an hour a line, then totals, then why tasks waited. */
#include "sim/whatif_impl.h"

static void write_hour(const struct whatif_hour *h, size_t number, struct fl_buf *out)
{
    fl_buf_printf(out, "%5zu %9llu %9llu %9llu %9llu %9llu %6.1f %6.1f %7llu  %s\n", number,
                  (unsigned long long)h->arrived, (unsigned long long)h->placed,
                  (unsigned long long)h->ended, (unsigned long long)h->running,
                  (unsigned long long)h->waiting, 100 * h->cpu, 100 * h->memory,
                  (unsigned long long)h->empty, h->reason);
}

static void write_reasons(const struct whatif_history *history, struct fl_buf *out)
{
    const struct whatif_scenario *s = history->scenario;
    for (size_t i = 0; i < s->arrival_count; i++) {
        if (!history->worst[i].text)
            continue;
        int64_t minute = history->worst[i].at_ms / WHATIF_MINUTE_MS;
        fl_buf_printf(out, "\n%s, %llu waiting at %lld:%02lld:\n%s%s",
                      s->definitions[s->arrivals[i].definition].family,
                      (unsigned long long)history->worst[i].waiting, (long long)minute / 60,
                      (long long)minute % 60, history->worst[i].text,
                      fl_str_ends(fl_str_of(history->worst[i].text), FL_STR("\n")) ? "" : "\n");
    }
}

void whatif_table_write(const struct whatif_history *history, const struct fl_whatif_totals *totals,
                        struct fl_buf *out)
{
    fl_buf_printf(out, "%5s %9s %9s %9s %9s %9s %6s %6s %7s  %s\n", "hour", "arrived", "placed",
                  "ended", "running", "waiting", "cpu%", "mem%", "empty",
                  "why tasks waited (hosts)");
    for (size_t i = 0; i < history->scenario->hours; i++)
        write_hour(&history->hours[i], i + 1, out);
    fl_buf_printf(out,
                  "\n%llu hosts; %llu tasks arrived, %llu placed, %llu ended, %llu waiting at the "
                  "end.\n%llu did not find a place at once; together tasks waited %llu minutes.\n",
                  (unsigned long long)totals->hosts, (unsigned long long)totals->arrived,
                  (unsigned long long)totals->placed, (unsigned long long)totals->ended,
                  (unsigned long long)totals->waiting, (unsigned long long)totals->delayed,
                  (unsigned long long)totals->waited_minutes);
    write_reasons(history, out);
}
