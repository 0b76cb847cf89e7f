/* DNS messages as the resolver looks at them: which questions are passed on, and what the others
 * are told. Pure; what is read is anybody's (RFC 1035, 6891, 7766). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds, in bytes: of a question that is passed on, of any message, of a refusal (a header, a name
 * of 255, type and class). */
enum { FL_DNS_QUERY_MAX = 4096, FL_DNS_MESSAGE_MAX = 65535, FL_DNS_REFUSAL_MAX = 12 + 255 + 4 };

enum fl_dns_rcode {
    FL_DNS_NOERROR = 0,
    FL_DNS_FORMERR = 1,
    FL_DNS_SERVFAIL = 2,
    FL_DNS_NOTIMP = 4,
};

/* FORWARD: one well-formed question. REFUSE: to be answered with *ret_rcode. IGNORE: no question at
 * all, an answer to it could go round in circles. */
enum fl_dns_verdict { FL_DNS_FORWARD, FL_DNS_REFUSE, FL_DNS_IGNORE };
enum fl_dns_verdict fl_dns_judge(const uint8_t *bytes, size_t n, enum fl_dns_rcode *ret_rcode);

/* Writes the refusal of a message that is not to be ignored, and returns its length. */
size_t fl_dns_refuse(const uint8_t *bytes, size_t n, enum fl_dns_rcode rcode,
                     uint8_t ret_refusal[FL_DNS_REFUSAL_MAX]);

/* Whether the answer belongs to a question that was passed on: its id, and what was asked. */
bool fl_dns_is_answer(const uint8_t *query, size_t query_n, const uint8_t *answer, size_t answer_n);

uint16_t fl_dns_id(const uint8_t *bytes);
void fl_dns_set_id(uint8_t *bytes, uint16_t id);
