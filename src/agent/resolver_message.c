/* Judging DNS messages; see the header. */
#include "agent/resolver_message.h"

#include <ldns/ldns.h>
#include <string.h>

enum { HEADER = 12, NAME_MAX_BYTES = 255, LABEL_MAX = 63, TYPE_AND_CLASS = 4 };
/* Bits of the header's third and fourth byte. */
enum { IS_ANSWER = 0x80, OPCODE = 0x78, RECURSION_DESIRED = 0x01, RECURSION_AVAILABLE = 0x80 };

static uint16_t read_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

uint16_t fl_dns_id(const uint8_t *bytes)
{
    return read_u16(bytes);
}

void fl_dns_set_id(uint8_t *bytes, uint16_t id)
{
    bytes[0] = (uint8_t)(id >> 8);
    bytes[1] = (uint8_t)id;
}

/* The end of the first question, which no compression can be in; 0 when there is none. */
static size_t question_end(const uint8_t *bytes, size_t n)
{
    size_t at = HEADER;
    if (n < HEADER || read_u16(bytes + 4) != 1)
        return 0;
    while (at < n && bytes[at] != 0) {
        if (bytes[at] > LABEL_MAX)
            return 0;
        at += 1U + bytes[at];
    }
    at += 1 + TYPE_AND_CLASS;
    return at <= n && at - HEADER - TYPE_AND_CLASS <= NAME_MAX_BYTES ? at : 0;
}

/* The whole message can be read, and its records are those of a question: at most what EDNS and
 * transaction signatures add. */
static bool is_well_formed(const uint8_t *bytes, size_t n)
{
    enum { ADDITIONAL_MAX = 2 };
    ldns_pkt *packet = NULL;
    if (question_end(bytes, n) == 0 || read_u16(bytes + 6) != 0 || read_u16(bytes + 8) != 0 ||
        read_u16(bytes + 10) > ADDITIONAL_MAX)
        return false;
    bool is_read = ldns_wire2pkt(&packet, bytes, n) == LDNS_STATUS_OK;
    if (is_read)
        ldns_pkt_free(packet);
    return is_read;
}

enum fl_dns_verdict fl_dns_judge(const uint8_t *bytes, size_t n, enum fl_dns_rcode *ret_rcode)
{
    if (n < HEADER || bytes[2] & IS_ANSWER)
        return FL_DNS_IGNORE;
    *ret_rcode = FL_DNS_NOERROR;
    if (bytes[2] & OPCODE)
        *ret_rcode = FL_DNS_NOTIMP;
    else if (n > FL_DNS_QUERY_MAX || !is_well_formed(bytes, n))
        *ret_rcode = FL_DNS_FORMERR;
    return *ret_rcode == FL_DNS_NOERROR ? FL_DNS_FORWARD : FL_DNS_REFUSE;
}

size_t fl_dns_refuse(const uint8_t *bytes, size_t n, enum fl_dns_rcode rcode,
                     uint8_t ret_refusal[FL_DNS_REFUSAL_MAX])
{
    size_t end = question_end(bytes, n);
    size_t size = end > 0 ? end : HEADER;
    memcpy(ret_refusal, bytes, size);
    ret_refusal[2] = (uint8_t)(IS_ANSWER | (bytes[2] & (OPCODE | RECURSION_DESIRED)));
    ret_refusal[3] = (uint8_t)(RECURSION_AVAILABLE | rcode);
    memset(ret_refusal + 4, 0, HEADER - 4);
    ret_refusal[5] = end > 0;
    return size;
}

bool fl_dns_is_answer(const uint8_t *query, size_t query_n, const uint8_t *answer, size_t answer_n)
{
    size_t end = question_end(query, query_n);
    if (end == 0 || answer_n < HEADER || !(answer[2] & IS_ANSWER) ||
        fl_dns_id(answer) != fl_dns_id(query))
        return false;
    if (read_u16(answer + 4) ==
        0) /* a server that could not read it says so without repeating it */
        return (answer[3] & 0x0f) != FL_DNS_NOERROR;
    return answer_n >= end && read_u16(answer + 4) == 1 &&
           memcmp(query + HEADER, answer + HEADER, end - HEADER) == 0;
}
