/* What crosses the socket between the agent and fairlead-nft, both ways: a head and `size` bytes.
 *
 * A request has status 0 and carries nft commands, to be run as one transaction; each is answered
 * in order with status 0, or with -1 and nft's error text when nothing of the batch was done. */
#pragma once

#include <stdint.h>

struct fl_nft_head {
    int32_t status;
    uint32_t size;
};

enum { FL_NFT_MAX_REQUEST = 8 << 20, FL_NFT_MAX_ANSWER = 4096 };
