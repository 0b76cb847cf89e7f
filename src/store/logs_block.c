/* Numbers are varints, seven bits a byte, the low ones first; differences have their sign in the
 * lowest bit. A block is: number of events, bytes of the heads, heads, messages. */
#include "store/logs_block.h"

enum { MAX_VARINT = 10, NUMBERS = 4 /* of an event, a byte each at least */ };

static void add_number(struct fl_buf *buf, uint64_t value)
{
    char bytes[MAX_VARINT];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (char)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (char)value;
    fl_buf_add(buf, bytes, n);
}

/* From one value to the next; wraps like its counterpart. */
static void add_step(struct fl_buf *buf, int64_t from, int64_t to)
{
    uint64_t step = (uint64_t)to - (uint64_t)from;
    add_number(buf, step << 1 ^ (step >> 63 ? UINT64_MAX : 0));
}

static bool take_number(struct fl_str *bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes->n && i < MAX_VARINT; i++) {
        value |= (uint64_t)(bytes->p[i] & 0x7f) << (7 * i);
        if (bytes->p[i] & 0x80)
            continue;
        *bytes = fl_str_from(*bytes, i + 1);
        *ret_value = value;
        return true;
    }
    return false;
}

static bool take_step(struct fl_str *bytes, int64_t *value)
{
    uint64_t coded;
    if (!take_number(bytes, &coded))
        return false;
    *value = (int64_t)((uint64_t)*value + (coded >> 1 ^ (coded & 1 ? UINT64_MAX : 0)));
    return true;
}

void fl_logs_block_write(struct fl_buf *buf, const struct fl_logs_event *const *events,
                         size_t count)
{
    FL_CLEANUP_BUF struct fl_buf heads = FL_BUF_INIT(FL_LOGS_BLOCK_MAX);
    struct fl_logs_event last = {0};
    for (size_t i = 0; i < count; i++) {
        add_step(&heads, last.time_ms, events[i]->time_ms);
        add_step(&heads, last.seq, events[i]->seq);
        add_step(&heads, last.ingested_ms, events[i]->ingested_ms);
        add_number(&heads, events[i]->message.n);
        last = *events[i];
    }
    FL_ASSERT(!heads.overflow);
    add_number(buf, count);
    add_number(buf, heads.n);
    fl_buf_add_str(buf, fl_buf_str(&heads));
    for (size_t i = 0; i < count; i++)
        fl_buf_add_str(buf, events[i]->message);
}

bool fl_logs_block_open(struct fl_logs_block_reader *reader, struct fl_str bytes)
{
    uint64_t count, heads;
    if (!take_number(&bytes, &count) || !take_number(&bytes, &heads) || heads > bytes.n ||
        count > heads / NUMBERS)
        return false;
    *reader = (struct fl_logs_block_reader){
        .heads = fl_str_sub(bytes, 0, heads),
        .messages = fl_str_from(bytes, heads),
        .left = count,
    };
    return true;
}

bool fl_logs_block_next(struct fl_logs_block_reader *reader)
{
    struct fl_logs_event *event = &reader->event;
    uint64_t n;
    if (reader->left == 0 || !take_step(&reader->heads, &event->time_ms) ||
        !take_step(&reader->heads, &event->seq) ||
        !take_step(&reader->heads, &event->ingested_ms) || !take_number(&reader->heads, &n) ||
        n > reader->messages.n)
        return false;
    reader->left--;
    event->message = fl_str_sub(reader->messages, 0, n);
    reader->messages = fl_str_from(reader->messages, n);
    return true;
}
