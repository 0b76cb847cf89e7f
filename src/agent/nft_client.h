/* The agent's side of fairlead-nft: batches of nft commands go to it over a socket, one
 * transaction each, and are answered in order. Synchronous, with a deadline; a helper that died or
 * does not answer is started anew once per call. The helper ends when the socket is closed. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_nft;

/* Starts <libexec_dir>/fairlead-nft in the caller's network namespace. */
int fl_nft_open(struct fl_str libexec_dir, struct fl_nft **ret_nft, struct fl_err *err);
/* Runs a batch. -EPROTO with nft's own words when nft refused it, -EIO when the helper failed
 * twice, -EFBIG for a batch over the limit. */
int fl_nft_run(struct fl_nft *nft, struct fl_str commands, struct fl_err *err);
void fl_nft_close(struct fl_nft *nft);
