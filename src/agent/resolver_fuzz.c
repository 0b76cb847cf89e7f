/* DNS questions of containers: whatever comes is passed on, refused in few bytes, or ignored; what
 * is refused is an answer that nobody refuses again, and an answer to what is passed on is known as
 * one. The input is a message as it comes by UDP. */
#include "agent/resolver_message.h"
#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_refusal(const uint8_t *bytes, size_t n, enum fl_dns_rcode rcode)
{
    uint8_t refusal[FL_DNS_REFUSAL_MAX];
    enum fl_dns_rcode again;
    size_t size = fl_dns_refuse(bytes, n, rcode, refusal);
    FL_ASSERT(size <= n && size <= sizeof(refusal));
    FL_ASSERT(fl_dns_id(refusal) == fl_dns_id(bytes) && (refusal[3] & 0x0f) == (int)rcode);
    FL_ASSERT(fl_dns_judge(refusal, size, &again) == FL_DNS_IGNORE);
}

static void check_answer(const uint8_t *bytes, size_t n)
{
    uint8_t answer[FL_DNS_REFUSAL_MAX];
    size_t size = fl_dns_refuse(bytes, n, FL_DNS_SERVFAIL, answer);
    FL_ASSERT(size > 12 && fl_dns_is_answer(bytes, n, answer, size));
    fl_dns_set_id(answer, (uint16_t)(fl_dns_id(bytes) + 1));
    FL_ASSERT(!fl_dns_is_answer(bytes, n, answer, size));
    FL_ASSERT(!fl_dns_is_answer(bytes, n, bytes, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    enum fl_dns_rcode rcode;
    switch (fl_dns_judge(bytes, n, &rcode)) {
    case FL_DNS_IGNORE:
        break;
    case FL_DNS_REFUSE:
        check_refusal(bytes, n, rcode);
        break;
    case FL_DNS_FORWARD:
        FL_ASSERT(n <= FL_DNS_QUERY_MAX);
        check_answer(bytes, n);
        break;
    }
    return 0;
}
