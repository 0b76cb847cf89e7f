/* application/vnd.amazon.eventstream: messages of typed headers and a payload, framed by lengths
 * and two CRCs, one behind the other in one body. */
#pragma once

#include "base/str.h"

/* AWS's bounds. */
enum {
    FL_EVENT_STREAM_MAX_HEADERS = 128 * 1024,
    FL_EVENT_STREAM_MAX_PAYLOAD = 24 * 1024 * 1024,
    FL_EVENT_STREAM_OVERHEAD = 16, /* bytes of a message beyond headers and payload */
};

/* Types of header values, as they are numbered on the wire. */
enum fl_event_type {
    FL_EVENT_TRUE = 0,
    FL_EVENT_FALSE = 1,
    FL_EVENT_BYTE = 2,
    FL_EVENT_SHORT = 3,
    FL_EVENT_INTEGER = 4,
    FL_EVENT_LONG = 5,
    FL_EVENT_BYTES = 6,
    FL_EVENT_STRING = 7,
    FL_EVENT_TIMESTAMP = 8,
    FL_EVENT_UUID = 9,
};

struct fl_event_header {
    struct fl_str name; /* 1 to 255 bytes */
    enum fl_event_type type;
    struct fl_str value; /* the bytes on the wire, big-endian, without a length */
};

/* Appends a message. What breaks the bounds above is a programmer's mistake. */
void fl_event_stream_encode(struct fl_buf *buf, const struct fl_event_header *headers, size_t count,
                            struct fl_str payload);

struct fl_event_message {
    const struct fl_event_header *headers; /* in the arena; their bytes in the input */
    size_t header_count;
    struct fl_str payload; /* in the input */
};

/* The message that bytes begin with: its length, 0 while it is incomplete, -EBADMSG when it is
 * none (lengths out of bounds, a wrong CRC, malformed headers). */
ptrdiff_t fl_event_stream_decode(struct fl_str bytes, struct fl_arena *arena,
                                 struct fl_event_message *ret_message);
