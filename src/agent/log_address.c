/* Reading addresses of log drivers. */
#include "agent/log_address.h"

enum { PORT_MAX = 65535, PATH_MAX_BYTES = 107, HOST_MAX = 253 };

static bool take_scheme(struct fl_str *text, enum fl_log_transport *ret_transport)
{
    static const struct {
        const char *scheme;
        enum fl_log_transport transport;
    } schemes[] = {
        {"udp://", FL_LOG_UDP},   {"tcp://", FL_LOG_TCP},           {"tcp+tls://", FL_LOG_TLS},
        {"unix://", FL_LOG_UNIX}, {"unixgram://", FL_LOG_UNIXGRAM},
    };
    *ret_transport = FL_LOG_TCP;
    for (size_t i = 0; i < FL_ARRAY_SIZE(schemes); i++)
        if (fl_str_starts(*text, fl_str_of(schemes[i].scheme))) {
            *text = fl_str_from(*text, strlen(schemes[i].scheme));
            *ret_transport = schemes[i].transport;
            return true;
        }
    return !fl_str_contains(*text, FL_STR("://"));
}

static bool is_good(struct fl_str text, size_t max)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f)
            return false;
    return text.n > 0 && text.n <= max;
}

bool fl_log_address_read(struct fl_str text, const char *default_port,
                         struct fl_log_address *ret_address)
{
    struct fl_log_address a = {.port = fl_str_of(default_port)};
    uint64_t port;
    if (!take_scheme(&text, &a.transport))
        return false;
    if (a.transport == FL_LOG_UNIX || a.transport == FL_LOG_UNIXGRAM) {
        a.path = text;
        *ret_address = a;
        return is_good(text, PATH_MAX_BYTES) && text.p[0] == '/';
    }
    ptrdiff_t bracket = fl_str_rindex(text, ']'), colon = fl_str_rindex(text, ':');
    a.host = colon > bracket ? fl_str_sub(text, 0, (size_t)colon) : text;
    if (colon > bracket)
        a.port = fl_str_from(text, (size_t)colon + 1);
    if (a.host.n > 2 && a.host.p[0] == '[' && a.host.p[a.host.n - 1] == ']')
        a.host = fl_str_sub(a.host, 1, a.host.n - 2);
    *ret_address = a;
    return is_good(a.host, HOST_MAX) && fl_str_to_u64(a.port, &port) && port > 0 &&
           port <= PORT_MAX;
}
