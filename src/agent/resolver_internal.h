/* What the resolver's two halves share: resolver.c (UDP, and the whole), resolver_tcp.c. Nobody
 * else includes it. */
#pragma once

#include <netinet/in.h>
#include <sys/queue.h>

#include "agent/resolver.h"
#include "agent/resolver_message.h"

enum {
    FL_RESOLVER_SERVERS_MAX = 3,
    FL_RESOLVER_QUERIES_MAX = 256,
    FL_RESOLVER_CONNECTIONS_MAX = 64,
    FL_RESOLVER_BY_CLIENT_MAX = 32,    /* questions by UDP under way for one container */
    FL_RESOLVER_BY_CLIENT_TCP_MAX = 8, /* its connections */
    FL_RESOLVER_PATIENCE_MS = 2000,    /* with one server */
    FL_RESOLVER_IDLE_MS = 10000,       /* with a connection on which nothing happens */
};

union fl_resolver_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct fl_resolver_query;
struct fl_resolver_connection;

struct fl_resolver {
    uv_loop_t *loop;
    const char *resolv_conf;
    uint16_t port;
    uv_udp_t udp;
    uv_tcp_t tcp;
    union fl_resolver_address servers[FL_RESOLVER_SERVERS_MAX];
    size_t server_count;
    struct timespec read_at; /* the file's time when it was read */
    LIST_HEAD(, fl_resolver_query) queries;
    size_t query_count;
    LIST_HEAD(, fl_resolver_connection) connections;
    size_t connection_count;
    unsigned handles; /* that are not closed yet: the last one frees all this */
    bool closing;
    char incoming[FL_DNS_MESSAGE_MAX]; /* one message by UDP, until its callback is over */
};

/* Reads the file again when it has changed. */
void fl_resolver_find_servers(struct fl_resolver *resolver);
/* One handle fewer. */
void fl_resolver_handle_closed(struct fl_resolver *resolver);
/* resolver_tcp.c */
int fl_resolver_listen_tcp(struct fl_resolver *resolver, const struct sockaddr_in *address);
void fl_resolver_close_tcp(struct fl_resolver *resolver);
