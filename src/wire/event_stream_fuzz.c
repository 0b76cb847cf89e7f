/* Event streams: the input is read as messages; what is read and written again is the same bytes.
 * And it is read as the makings of a message (its first byte says how many headers, each takes a
 * type and a length), which must read back as it was made. */
#include <errno.h>

#include "wire/event_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MAX_HEADERS = 8, MAX_TEXT = 1 << 20 };

static void read_and_write(struct fl_str bytes, struct fl_arena *arena)
{
    struct fl_event_message message;
    ptrdiff_t n;
    while ((n = fl_event_stream_decode(bytes, arena, &message)) > 0) {
        FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_TEXT);
        FL_ASSERT((size_t)n <= bytes.n);
        fl_event_stream_encode(&buf, message.headers, message.header_count, message.payload);
        FL_ASSERT(fl_str_eq(fl_buf_str(&buf), fl_str_sub(bytes, 0, (size_t)n)));
        bytes = fl_str_from(bytes, (size_t)n);
    }
    FL_ASSERT(n == 0 || n == -EBADMSG);
}

static struct fl_str cut(struct fl_str *rest, size_t n)
{
    struct fl_str head = fl_str_sub(*rest, 0, n);
    *rest = fl_str_from(*rest, n);
    return head;
}

static bool make_header(struct fl_str *rest, struct fl_event_header *header)
{
    static const size_t sizes[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    if (rest->n < 2)
        return false;
    unsigned char type = (unsigned char)cut(rest, 1).p[0] % 10;
    unsigned char size = (unsigned char)cut(rest, 1).p[0];
    header->type = (enum fl_event_type)type;
    header->name = cut(rest, 1 + size % 5);
    bool is_long = type == FL_EVENT_BYTES || type == FL_EVENT_STRING;
    header->value = cut(rest, is_long ? size : sizes[type]);
    return header->name.n > 0 && (is_long || header->value.n == sizes[type]);
}

static void write_and_read(struct fl_str rest, struct fl_arena *arena)
{
    struct fl_event_header headers[MAX_HEADERS];
    struct fl_event_message message;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_TEXT);
    if (rest.n == 0)
        return;
    size_t count = (unsigned char)cut(&rest, 1).p[0] % (MAX_HEADERS + 1), made = 0;
    while (made < count && make_header(&rest, &headers[made]))
        made++;
    fl_event_stream_encode(&buf, headers, made, rest);
    FL_ASSERT(fl_event_stream_decode(fl_buf_str(&buf), arena, &message) == (ptrdiff_t)buf.n);
    FL_ASSERT(message.header_count == made && fl_str_eq(message.payload, rest));
    for (size_t i = 0; i < made; i++)
        FL_ASSERT(message.headers[i].type == headers[i].type &&
                  fl_str_eq(message.headers[i].name, headers[i].name) &&
                  fl_str_eq(message.headers[i].value, headers[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str input = {(const char *)bytes, n};
    read_and_write(input, arena);
    write_and_read(input, arena);
    return 0;
}
