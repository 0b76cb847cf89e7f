/* Between pull_source.c and pull_fetch.c. */
#pragma once

#include "agent/pull.h"

/* One place that has the repository. */
struct fl_endpoint_of_source {
    struct fl_str url;              /* scheme, host and port */
    struct fl_str ca_file;          /* empty: the system's */
    struct fl_registry_login login; /* user empty: none */
    bool is_own;                    /* the built-in registry: its login is asked for */
    bool basic;                     /* it has asked for user and password */
    char *token;                    /* NULL: none yet, or it is no longer good */
    int64_t token_until_ms;         /* monotonic */
};

struct fl_source {
    struct fl_puller *puller;
    unsigned refs;
    struct fl_arena *arena;
    struct fl_str repository;
    struct fl_endpoint_of_source endpoints[FL_PULL_MIRRORS_MAX + 1];
    size_t endpoint_count;
};

struct fl_puller {
    struct fl_arena *arena;
    struct fl_puller_config config;
    struct fl_http_client *http; /* to registries, but for the server's own */
    struct fl_registries registries;
    struct fl_registry_logins logins;
    /* The built-in registry's login. */
    struct fl_registry_login own_login;
    struct fl_arena *own_arena;
    int64_t own_until_ms; /* monotonic */
};

/* The built-in registry's login from an answer to GetAuthorizationToken. */
int fl_puller_take_own_login(struct fl_puller *puller, const struct fl_http_response *response,
                             struct fl_err *err);
