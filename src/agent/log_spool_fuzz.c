/* A spool in any state of damage, read as the shipper reads it. An event is the same wherever
 * reading began: resuming at the end of any event gives the next one, and what was already to be
 * had before the file was complete is a beginning of what the whole file gives. */
#include "agent/log_spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct event {
    size_t at;
    int64_t time_ms;
    struct fl_buf text;
};

static bool next(struct fl_str data, bool final, struct event *event)
{
    size_t before = event->at;
    struct fl_log_event read = {.time_ms = -1};
    bool found = fl_log_spool_next(data, FL_LOG_JOINED, final, &event->at, &read, &event->text);
    event->time_ms = found ? read.time_ms : event->time_ms;
    FL_ASSERT(event->at >= before && event->at <= data.n && !event->text.overflow);
    FL_ASSERT(!found || (event->at > before && event->time_ms >= 0));
    return found;
}

static void same(const struct event *a, const struct event *b)
{
    FL_ASSERT(a->at == b->at && a->time_ms == b->time_ms);
    FL_ASSERT(fl_str_eq(fl_buf_str(&a->text), fl_buf_str(&b->text)));
}

/* Reads all of data and, beside it, what the first `n` bytes give before the rest has come. */
static void read_beside(struct fl_str data, size_t n)
{
    struct event whole = {.text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP)};
    struct event part = {.text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP)};
    while (next(fl_str_sub(data, 0, n), false, &part)) {
        FL_ASSERT(next(data, true, &whole));
        same(&whole, &part);
    }
    while (next(data, true, &whole)) {
        FL_ASSERT(next(data, true, &part));
        same(&whole, &part);
    }
    fl_buf_free(&whole.text);
    fl_buf_free(&part.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    struct fl_str data = {(const char *)bytes + 1, n - 1};
    read_beside(data, data.n);
    read_beside(data, data.n * bytes[0] / 256);
    return 0;
}
