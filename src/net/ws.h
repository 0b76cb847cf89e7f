/* WebSockets, both ends: text messages, frames by wslay. Pings are answered, TCP_NODELAY is set. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "net/tls.h"
#include "wire/sigv4.h"

enum {
    FL_WS_MAX_MESSAGE = 4 * 1024 * 1024, /* larger ones close the connection with 1009 */
    FL_WS_MAX_QUEUE = 16 * 1024 * 1024,  /* bytes waiting to be sent; beyond: closed with 1013 */
};

struct fl_ws;

struct fl_ws_callbacks {
    /* Client side only: the handshake is done. */
    void (*opened)(void *context, struct fl_ws *ws);
    void (*message)(void *context, struct fl_ws *ws, struct fl_str text);
    /* Last call for this ws, whoever closed it; code 1006 when the connection just broke. For a
     * client whose handshake failed: http_status is the answer's status (0: no answer) and text
     * its body or the error. */
    void (*closed)(void *context, struct fl_ws *ws, uint16_t code, unsigned http_status,
                   struct fl_str text);
};

/* Connects to ws://host:port/path?query (http:// is taken as ws://), or to wss:// (https://) with a
 * certificate that is among the pins, which are copied; without pins such an address cannot be
 * used. The headers go into the handshake. Never NULL: failures come through `closed`. Handshake
 * deadline 30 s. */
struct fl_ws *fl_ws_connect(uv_loop_t *loop, struct fl_str url, const struct fl_tls_pins *pins,
                            const struct fl_header *headers, size_t header_count,
                            const struct fl_ws_callbacks *callbacks, void *context);

/* Queues one text message (copied). */
void fl_ws_send(struct fl_ws *ws, struct fl_str text);
/* Starts closing with a code and a reason (≤ 123 bytes), after what is queued; `closed` follows, at
 * the latest after 2 s. */
void fl_ws_close(struct fl_ws *ws, uint16_t code, struct fl_str reason);
