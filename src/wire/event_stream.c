/* A message: length of all, length of the headers, CRC of these eight bytes; headers; payload; CRC
 * of everything before it. Numbers are big-endian; the CRC is that of IEEE 802.3. */
#include "wire/event_stream.h"

#include <errno.h>

enum { PRELUDE = 8, CRC_BYTES = 4, HEADERS_AT = PRELUDE + CRC_BYTES, LENGTH_BYTES = 2 };

/* Four bits a step. */
static uint32_t crc_of(struct fl_str bytes)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.n; i++) {
        crc ^= (unsigned char)bytes.p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static void put_number(char *at, uint32_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (char)(value >> 8 * (size - 1 - i));
}

static uint32_t get_number(const char *at, size_t size)
{
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (unsigned char)at[i];
    return value;
}

/* Bytes of a value of this type; -1: they stand before it; -2: there is no such type. */
static int fixed_size(unsigned type)
{
    static const int sizes[] = {0, 0, 1, 2, 4, 8, -1, -1, 8, 16};
    return type < FL_ARRAY_SIZE(sizes) ? sizes[type] : -2;
}

static void add_number(struct fl_buf *buf, uint32_t value, size_t size)
{
    char bytes[4];
    put_number(bytes, value, size);
    fl_buf_add(buf, bytes, size);
}

static void add_header(struct fl_buf *buf, const struct fl_event_header *header)
{
    int size = fixed_size(header->type);
    FL_ASSERT(header->name.n >= 1 && header->name.n <= UINT8_MAX && size >= -1);
    FL_ASSERT(size < 0 ? header->value.n <= UINT16_MAX : header->value.n == (size_t)size);
    add_number(buf, (uint32_t)header->name.n, 1);
    fl_buf_add_str(buf, header->name);
    add_number(buf, header->type, 1);
    if (size < 0)
        add_number(buf, (uint32_t)header->value.n, LENGTH_BYTES);
    fl_buf_add_str(buf, header->value);
}

void fl_event_stream_encode(struct fl_buf *buf, const struct fl_event_header *headers, size_t count,
                            struct fl_str payload)
{
    size_t begin = buf->n;
    char prelude[HEADERS_AT] = {0};
    FL_ASSERT(payload.n <= FL_EVENT_STREAM_MAX_PAYLOAD);
    fl_buf_add(buf, prelude, sizeof(prelude));
    for (size_t i = 0; i < count; i++)
        add_header(buf, &headers[i]);
    size_t headers_n = buf->n - begin - HEADERS_AT;
    fl_buf_add_str(buf, payload);
    if (buf->overflow)
        return;
    FL_ASSERT(headers_n <= FL_EVENT_STREAM_MAX_HEADERS);
    char *message = buf->p + begin;
    put_number(message, (uint32_t)(buf->n - begin + CRC_BYTES), 4);
    put_number(message + 4, (uint32_t)headers_n, 4);
    put_number(message + PRELUDE, crc_of((struct fl_str){message, PRELUDE}), 4);
    add_number(buf, crc_of((struct fl_str){message, buf->n - begin}), 4);
}

static bool take(struct fl_str *rest, size_t n, struct fl_str *ret_head)
{
    if (n > rest->n)
        return false;
    *ret_head = fl_str_sub(*rest, 0, n);
    *rest = fl_str_from(*rest, n);
    return true;
}

static bool take_number(struct fl_str *rest, size_t size, uint32_t *ret_value)
{
    struct fl_str bytes;
    if (!take(rest, size, &bytes))
        return false;
    *ret_value = get_number(bytes.p, size);
    return true;
}

static bool take_header(struct fl_str *rest, struct fl_event_header *ret_header)
{
    uint32_t name_n, type, n;
    if (!take_number(rest, 1, &name_n) || name_n == 0 || !take(rest, name_n, &ret_header->name) ||
        !take_number(rest, 1, &type))
        return false;
    int size = fixed_size(type);
    if (size < -1)
        return false;
    n = (uint32_t)size;
    if (size < 0 && !take_number(rest, LENGTH_BYTES, &n))
        return false;
    ret_header->type = (enum fl_event_type)type;
    return take(rest, n, &ret_header->value);
}

static bool take_headers(struct fl_str rest, struct fl_arena *arena,
                         struct fl_event_message *message)
{
    size_t most = rest.n / 3; /* a name of one byte, a type */
    struct fl_event_header *headers = fl_arena_new_array(arena, struct fl_event_header, most + 1);
    message->header_count = 0;
    while (rest.n > 0)
        if (!take_header(&rest, &headers[message->header_count++]) || message->header_count > most)
            return false;
    message->headers = headers;
    return true;
}

ptrdiff_t fl_event_stream_decode(struct fl_str bytes, struct fl_arena *arena,
                                 struct fl_event_message *ret_message)
{
    struct fl_event_message message;
    if (bytes.n < HEADERS_AT)
        return 0;
    size_t all = get_number(bytes.p, 4), headers = get_number(bytes.p + 4, 4);
    if (get_number(bytes.p + PRELUDE, 4) != crc_of(fl_str_sub(bytes, 0, PRELUDE)) ||
        headers > FL_EVENT_STREAM_MAX_HEADERS || all < headers + FL_EVENT_STREAM_OVERHEAD ||
        all - headers - FL_EVENT_STREAM_OVERHEAD > FL_EVENT_STREAM_MAX_PAYLOAD)
        return -EBADMSG;
    if (bytes.n < all)
        return 0;
    if (get_number(bytes.p + all - CRC_BYTES, 4) != crc_of(fl_str_sub(bytes, 0, all - CRC_BYTES)) ||
        !take_headers(fl_str_sub(bytes, HEADERS_AT, headers), arena, &message))
        return -EBADMSG;
    message.payload =
        fl_str_sub(bytes, HEADERS_AT + headers, all - headers - FL_EVENT_STREAM_OVERHEAD);
    *ret_message = message;
    return (ptrdiff_t)all;
}
