/* What a definition's logConfiguration means: one plan per container, read before its start and
 * again after the agent's own. Pure but for the compilation of patterns.
 *
 * The options and the sentences about wrong ones are Docker's, whose drivers ECS names. What Docker
 * has and this agent has not is refused by name. */
#pragma once

#include "agent/log_address.h"
#include "base/err.h"
#include "wire/task_spec.h"

enum fl_log_kind {
    FL_LOG_JSON_FILE,
    FL_LOG_NONE,
    FL_LOG_AWSLOGS,
    FL_LOG_SYSLOG,
    FL_LOG_JOURNALD,
    FL_LOG_FLUENTD,
};

enum fl_syslog_form { FL_SYSLOG_UNIX, FL_SYSLOG_3164, FL_SYSLOG_5424, FL_SYSLOG_5424_MICRO };

/* What tags and additional attributes may say about a container. */
struct fl_log_facts {
    struct fl_str id;    /* 64 hex digits */
    struct fl_str name;  /* Docker's, without a slash */
    struct fl_str image; /* as the definition names it */
    struct fl_str image_id;
    struct fl_str hostname;
    struct fl_str region; /* of the installation */
    const struct fl_key_value *labels;
    size_t label_count;
};

struct fl_log_plan {
    enum fl_log_kind kind;
    bool drops;           /* mode=non-blocking */
    int64_t buffer_bytes; /* of the spool; 0: its default */
    struct fl_str tag;
    struct fl_key_value *attrs; /* of labels, env and their patterns */
    size_t attr_count;
    /* json-file; 0: the shim's defaults. */
    int64_t file_bytes;
    int64_t file_count;
    bool compresses;
    /* awslogs */
    struct fl_str group;
    struct fl_str stream;
    bool create_group;
    struct fl_str pattern; /* where a multi-line event begins; empty: every line is one */
    /* syslog, fluentd, journald */
    struct fl_log_address address;
    /* syslog */
    int facility; /* 0 to 23 */
    enum fl_syslog_form form;
    /* fluentd */
    bool is_async; /* the start does not wait for the backend */
    bool has_fractions;
    int64_t retry_wait_ms;
    int64_t max_retries;
};

/* 0; -EINVAL with Docker's sentence. The plan points into spec, facts and the arena. */
int fl_log_plan_read(const struct fl_container_spec *spec, const struct fl_log_facts *facts,
                     struct fl_arena *arena, struct fl_log_plan *ret_plan, struct fl_err *err);
/* "%b %d, %Y" and the like as a regular expression; other text stands for itself as one. In the
 * arena; empty for a letter that is not known. */
struct fl_str fl_log_datetime_pattern(struct fl_str format, struct fl_arena *arena);
/* "10m", "512k", "1g", "4096", as Docker reads sizes; -1 for anything else. */
int64_t fl_log_size(struct fl_str text);
