/* The task metadata endpoint, versions 2 to 4, and the credentials endpoint: HTTP on the
 * host's 127.0.0.1, where the network's rules lead what tasks send to 169.254.170.2:80.
 *
 * Who asks is told by the id in the path, which cannot be guessed, and by the address: a container
 * with an address of its own reaches its own task and nothing else, whatever id it knows. Bounds:
 * 512 connections, 128 of one address; 40 requests a second and task, 60 at once; and those of the
 * HTTP server. */
#pragma once

#include <uv.h>

#include "agent/audit.h"
#include "agent/credentials.h"
#include "agent/metadata_documents.h"
#include "agent/metadata_id.h"
#include "agent/network.h"
#include "agent/stats.h"
#include "net/aws_client.h"
#include "task/brain.h"

struct fl_metadata;

#define FL_METADATA_HOST "169.254.170.2"
enum { FL_METADATA_PORT = 51679, FL_METADATA_STEADY = 40, FL_METADATA_BURST = 60 };

/* What is pointed to must outlive the endpoint. */
struct fl_metadata_config {
    uv_loop_t *loop;
    struct fl_str state_dir; /* the agent's: keeps the key of the ids, and the port */
    uint16_t port;           /* 0: last time's, else FL_METADATA_PORT, else a free one */
    unsigned steady;         /* requests a second and task */
    unsigned burst;
    const struct fl_brain *brain;
    const struct fl_network *network;
    struct fl_stats *stats;
    struct fl_aws_client *aws; /* asks for tags */
    const struct fl_metadata_facts *facts;
    const struct fl_wallet *wallet;
    struct fl_audit *audit; /* of requests for credentials; NULL: none is kept */
};

int fl_metadata_open(const struct fl_metadata_config *config, struct fl_metadata **ret_metadata,
                     struct fl_err *err);
/* Calls for tags under way must have been ended before (fl_http_client_free). */
void fl_metadata_close(struct fl_metadata *metadata);
uint16_t fl_metadata_port(const struct fl_metadata *metadata);
/* The id by which a container is to ask. */
void fl_metadata_id(const struct fl_metadata *metadata, struct fl_str container_id,
                    char ret_id[FL_METADATA_ID_SIZE]);
