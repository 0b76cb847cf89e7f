/* Options of log drivers, and what a container's tag and attributes become. */
#include "agent/log_options.h"

#include <errno.h>
#include <limits.h>

#include "agent/log_pattern.h"
#include "agent/log_tag.h"

enum { ATTRS_MAX = 100, FACILITIES = 24 };

#define COMMON "mode", "max-buffer-size"
#define ATTRIBUTES "labels", "labels-regex", "env", "env-regex", "tag"

struct driver {
    const char *name;
    enum fl_log_kind kind;
    const char *options[20];
};

static const struct driver drivers[] = {
    {"json-file", FL_LOG_JSON_FILE, {COMMON, ATTRIBUTES, "max-size", "max-file", "compress", NULL}},
    {"none", FL_LOG_NONE, {COMMON, NULL}},
    {"awslogs",
     FL_LOG_AWSLOGS,
     {COMMON, "awslogs-region", "awslogs-group", "awslogs-stream", "awslogs-create-group",
      "awslogs-datetime-format", "awslogs-multiline-pattern", "tag", NULL}},
    {"syslog",
     FL_LOG_SYSLOG,
     {COMMON, ATTRIBUTES, "syslog-address", "syslog-facility", "syslog-format",
      "syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify", NULL}},
    {"journald", FL_LOG_JOURNALD, {COMMON, ATTRIBUTES, NULL}},
    {"fluentd",
     FL_LOG_FLUENTD,
     {COMMON, ATTRIBUTES, "fluentd-address", "fluentd-async", "fluentd-async-connect",
      "fluentd-buffer-limit", "fluentd-retry-wait", "fluentd-max-retries",
      "fluentd-sub-second-precision", NULL}},
};

/* What is being read. */
struct reading {
    const struct fl_container_spec *spec;
    const struct fl_log_facts *facts;
    struct fl_arena *arena;
    struct fl_log_plan *plan;
    struct fl_err *err;
};

static struct fl_str option(const struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->spec->log_option_count; i++)
        if (fl_str_is(r->spec->log_options[i].key, name))
            return r->spec->log_options[i].value;
    return FL_STR("");
}

static struct fl_str shown(struct fl_str text)
{
    return fl_str_sub(text, 0, 100);
}

static int bad_value(const struct reading *r, const char *name)
{
    return fl_err_set(r->err, -EINVAL, "invalid value for log opt '%s': '%.*s'", name,
                      FL_STR_ARG(shown(option(r, name))));
}

static const struct driver *find_driver(struct fl_str name)
{
    if (name.n == 0)
        return &drivers[0];
    for (size_t i = 0; i < FL_ARRAY_SIZE(drivers); i++)
        if (fl_str_is(name, drivers[i].name))
            return &drivers[i];
    return NULL;
}

static int check_names(const struct reading *r, const struct driver *driver)
{
    for (size_t i = 0; i < r->spec->log_option_count; i++) {
        struct fl_str name = r->spec->log_options[i].key;
        bool known = false;
        for (size_t k = 0; driver->options[k]; k++)
            known |= fl_str_is(name, driver->options[k]);
        if (!known)
            return fl_err_set(r->err, -EINVAL, "unknown log opt '%.*s' for %s log driver",
                              FL_STR_ARG(shown(name)), driver->name);
    }
    return 0;
}

static bool read_flag(const struct reading *r, const char *name, bool *ret_flag)
{
    static const char *const on[] = {"true", "True", "TRUE", "t", "T", "1"};
    static const char *const off[] = {"false", "False", "FALSE", "f", "F", "0", ""};
    struct fl_str value = option(r, name);
    for (size_t i = 0; i < FL_ARRAY_SIZE(on); i++)
        if (fl_str_is(value, on[i])) {
            *ret_flag = true;
            return true;
        }
    for (size_t i = 0; i < FL_ARRAY_SIZE(off); i++)
        if (fl_str_is(value, off[i]))
            return true;
    return false;
}

int64_t fl_log_size(struct fl_str text)
{
    uint64_t number = 0;
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    struct fl_str unit = fl_str_trim(fl_str_from(text, digits));
    if (digits == 0 || !fl_str_to_u64(fl_str_sub(text, 0, digits), &number))
        return -1;
    static const char letters[] = "kmgt";
    const char *at = unit.n ? strchr(letters, unit.p[0] | 0x20) : NULL;
    struct fl_str rest = at ? fl_str_from(unit, 1) : unit;
    unsigned shift = at ? 10 * (unsigned)(at - letters + 1) : 0;
    bool good = rest.n == 0 || fl_str_case_eq(rest, FL_STR("b")) ||
                (at && fl_str_case_eq(rest, FL_STR("ib")));
    return good && number <= (uint64_t)INT64_MAX >> shift ? (int64_t)(number << shift) : -1;
}

static int read_size(const struct reading *r, const char *name, int64_t *ret_bytes)
{
    struct fl_str text = option(r, name);
    if (text.n == 0)
        return 0;
    *ret_bytes = fl_log_size(text);
    return *ret_bytes > 0 ? 0 : bad_value(r, name);
}

static int read_common(const struct reading *r)
{
    struct fl_str mode = option(r, "mode");
    r->plan->drops = fl_str_is(mode, "non-blocking");
    if (mode.n > 0 && !r->plan->drops && !fl_str_is(mode, "blocking"))
        return fl_err_set(r->err, -EINVAL, "logger: invalid mode specified: %.*s",
                          FL_STR_ARG(shown(mode)));
    if (option(r, "max-buffer-size").n > 0 && !r->plan->drops)
        return fl_err_set(r->err, -EINVAL,
                          "logger: max-buffer-size option is only supported with "
                          "'mode=non-blocking'");
    return read_size(r, "max-buffer-size", &r->plan->buffer_bytes);
}

/* ---- attributes ---- */

static void add_attr(const struct reading *r, struct fl_str name, struct fl_str value)
{
    struct fl_log_plan *plan = r->plan;
    for (size_t i = 0; i < plan->attr_count; i++)
        if (fl_str_eq(plan->attrs[i].key, name))
            return;
    if (plan->attr_count < ATTRS_MAX)
        plan->attrs[plan->attr_count++] = (struct fl_key_value){name, value};
}

/* The pairs that a list of names or a pattern chooses. */
static int choose(const struct reading *r, const char *list_name, const char *pattern_name,
                  const struct fl_key_value *pairs, size_t count)
{
    struct fl_str names = option(r, list_name), name;
    while (fl_str_split(&names, ',', &name))
        for (size_t i = 0; i < count; i++)
            if (fl_str_eq(pairs[i].key, name))
                add_attr(r, pairs[i].key, pairs[i].value);
    struct fl_str text = option(r, pattern_name);
    if (text.n == 0)
        return 0;
    struct fl_log_pattern *pattern = fl_log_pattern_new(text, r->err);
    if (!pattern)
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (fl_log_pattern_matches(pattern, pairs[i].key))
            add_attr(r, pairs[i].key, pairs[i].value);
    fl_log_pattern_free(pattern);
    return 0;
}

static int read_attributes(const struct reading *r)
{
    r->plan->attrs = fl_arena_new_array(r->arena, struct fl_key_value, ATTRS_MAX);
    int rc = choose(r, "labels", "labels-regex", r->facts->labels, r->facts->label_count);
    return rc < 0 ? rc
                  : choose(r, "env", "env-regex", r->spec->environment, r->spec->environment_count);
}

static int read_tag(const struct reading *r, struct fl_str unset)
{
    struct fl_str text = option(r, "tag");
    return fl_log_tag(text.n ? text : unset, r->facts, r->arena, &r->plan->tag, r->err);
}

/* ---- drivers ---- */

static int read_json_file(const struct reading *r)
{
    struct fl_str files = option(r, "max-file");
    int rc = read_size(r, "max-size", &r->plan->file_bytes);
    if (rc < 0)
        return rc;
    if (files.n > 0 && (!fl_str_to_i64(files, &r->plan->file_count) || r->plan->file_count < 1 ||
                        r->plan->file_count > INT_MAX))
        return fl_err_set(r->err, -EINVAL, "max-file cannot be less than 1");
    if (r->plan->file_bytes > 0 && files.n == 0)
        r->plan->file_count = 1;
    if (r->plan->file_bytes == 0 && r->plan->file_count > 1)
        return fl_err_set(r->err, -EINVAL, "max-file must be used with max-size");
    if (!read_flag(r, "compress", &r->plan->compresses))
        return bad_value(r, "compress");
    if (r->plan->compresses && r->plan->file_count <= 1)
        return fl_err_set(r->err, -EINVAL,
                          "compress cannot be true when max-file is less than 2 or max-size is not "
                          "set");
    return option(r, "tag").n > 0 ? read_tag(r, FL_STR("")) : 0;
}

struct fl_str fl_log_datetime_pattern(struct fl_str format, struct fl_arena *arena)
{
    static const struct {
        char letter;
        const char *pattern;
    } letters[] = {
        {'a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"},
        {'A', "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"},
        {'b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"},
        {'B', "(?:January|February|March|April|May|June|July|August|September|October|November|"
              "December)"},
        {'w', "[0-6]"},
        {'d', "(?:0[1-9]|[12][0-9]|3[01])"},
        {'m', "(?:0[1-9]|1[0-2])"},
        {'Y', "[0-9]{4}"},
        {'y', "[0-9]{2}"},
        {'H', "(?:[01][0-9]|2[0-3])"},
        {'I', "(?:0[0-9]|1[0-2])"},
        {'p', "[AP]M"},
        {'M', "[0-5][0-9]"},
        {'S', "[0-5][0-9]"},
        {'f', "[0-9]{6}"},
        {'L', "\\.[0-9]{3}"},
        {'z', "[+-][0-9]{4}"},
        {'Z', "[A-Z]{1,4}T"},
        {'j', "(?:[0-2][0-9][0-9]|3[0-5][0-9]|36[0-6])"},
        {'%', "%"},
    };
    struct fl_buf text = FL_BUF_INIT(64 * 1024);
    for (size_t i = 0; i < format.n && !text.overflow; i++) {
        const char *pattern = NULL;
        for (size_t k = 0; format.p[i] == '%' && i + 1 < format.n && k < FL_ARRAY_SIZE(letters);
             k++)
            if (letters[k].letter == format.p[i + 1])
                pattern = letters[k].pattern;
        if (format.p[i] != '%') {
            fl_buf_add_char(&text, format.p[i]);
        } else if (pattern) {
            fl_buf_add_z(&text, pattern);
            i++;
        } else {
            text.overflow = true;
        }
    }
    struct fl_str made = text.overflow ? FL_STR("") : fl_str_dup(arena, fl_buf_str(&text));
    fl_buf_free(&text);
    return made;
}

static int read_pattern(const struct reading *r)
{
    struct fl_str format = option(r, "awslogs-datetime-format");
    r->plan->pattern = option(r, "awslogs-multiline-pattern");
    if (format.n > 0 && r->plan->pattern.n > 0)
        return fl_err_set(r->err, -EINVAL,
                          "you cannot configure log opt 'awslogs-datetime-format' and "
                          "'awslogs-multiline-pattern' at the same time");
    if (format.n > 0) {
        r->plan->pattern = fl_log_datetime_pattern(format, r->arena);
        if (r->plan->pattern.n == 0)
            return bad_value(r, "awslogs-datetime-format");
    }
    if (r->plan->pattern.n == 0)
        return 0;
    struct fl_log_pattern *pattern = fl_log_pattern_new(r->plan->pattern, r->err);
    if (!pattern)
        return -EINVAL;
    fl_log_pattern_free(pattern);
    return 0;
}

/* There is one region, and its logs are the server's. */
static int read_awslogs(const struct reading *r)
{
    struct fl_str region = option(r, "awslogs-region");
    r->plan->group = option(r, "awslogs-group");
    r->plan->stream = option(r, "awslogs-stream");
    if (r->plan->group.n == 0)
        return fl_err_set(r->err, -EINVAL, "must specify a value for log opt 'awslogs-group'");
    if (region.n > 0 && r->facts->region.n > 0 && !fl_str_eq(region, r->facts->region))
        return fl_err_set(r->err, -EINVAL,
                          "the log opt 'awslogs-region' names %.*s, but this installation's only "
                          "region is %.*s",
                          FL_STR_ARG(shown(region)), FL_STR_ARG(r->facts->region));
    if (!read_flag(r, "awslogs-create-group", &r->plan->create_group))
        return bad_value(r, "awslogs-create-group");
    int rc = read_tag(r, FL_STR("{{.FullID}}"));
    if (rc == 0 && r->plan->stream.n == 0)
        r->plan->stream = r->plan->tag;
    return rc < 0 ? rc : read_pattern(r);
}

static int read_facility(const struct reading *r)
{
    static const char *const names[FACILITIES] = {
        "kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
        "uucp",   "cron",   "authpriv", "ftp",    "ntp",    "audit",  "alert",  "clock",
        "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
    struct fl_str text = option(r, "syslog-facility");
    int64_t number;
    r->plan->facility = 3;
    for (int i = 0; i < FACILITIES && text.n > 0; i++)
        if (fl_str_is(text, names[i]) || (fl_str_to_i64(text, &number) && number == i)) {
            r->plan->facility = i;
            return 0;
        }
    return text.n == 0 ? 0 : fl_err_set(r->err, -EINVAL, "invalid syslog facility");
}

static int read_form(const struct reading *r)
{
    static const char *const names[] = {"", "rfc3164", "rfc5424", "rfc5424micro"};
    struct fl_str text = option(r, "syslog-format");
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        if (fl_str_is(text, names[i])) {
            r->plan->form = (enum fl_syslog_form)i;
            return 0;
        }
    return fl_err_set(r->err, -EINVAL, "Invalid syslog format");
}

static int read_syslog(const struct reading *r)
{
    struct fl_str address = option(r, "syslog-address");
    struct fl_log_address *to = &r->plan->address;
    if (address.n == 0)
        address = FL_STR("unixgram:///dev/log");
    else if (!fl_str_contains(address, FL_STR("://")))
        return fl_err_set(r->err, -EINVAL,
                          "syslog-address should be in form proto://address, got %.*s",
                          FL_STR_ARG(shown(address)));
    if (!fl_log_address_read(address, "514", to))
        return bad_value(r, "syslog-address");
    to->ca_file = option(r, "syslog-tls-ca-cert");
    to->cert_file = option(r, "syslog-tls-cert");
    to->key_file = option(r, "syslog-tls-key");
    if (option(r, "syslog-tls-skip-verify").n > 0)
        to->skip_verify = true;
    int rc = read_facility(r);
    if (rc == 0)
        rc = read_form(r);
    return rc < 0 ? rc : read_tag(r, FL_STR("{{.ID}}"));
}

static int read_journald(const struct reading *r)
{
    r->plan->address = (struct fl_log_address){.transport = FL_LOG_UNIXGRAM,
                                               .path = FL_STR("/run/systemd/journal/socket")};
    return read_tag(r, FL_STR("{{.ID}}"));
}

/* "10s", "500ms", "1m"; a bare number is milliseconds. */
static bool read_wait(struct fl_str text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"", 1}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(units); i++)
        if (fl_str_ends(text, fl_str_of(units[i].unit)))
            return fl_str_to_i64(fl_str_sub(text, 0, text.n - strlen(units[i].unit)), ret_ms) &&
                   *ret_ms > 0 && *ret_ms < INT32_MAX / units[i].ms && (*ret_ms *= units[i].ms) > 0;
    return false;
}

/* What Docker keeps in memory lies in the spool, whose bound is max-buffer-size. */
static int read_fluentd(const struct reading *r)
{
    struct fl_log_plan *plan = r->plan;
    struct fl_str address = option(r, "fluentd-address"), wait = option(r, "fluentd-retry-wait");
    struct fl_str retries = option(r, "fluentd-max-retries");
    int64_t unused = 0;
    if (!fl_log_address_read(address.n ? address : FL_STR("tcp://localhost:24224"), "24224",
                             &plan->address) ||
        fl_log_is_datagram(&plan->address))
        return bad_value(r, "fluentd-address");
    if (!read_flag(r, "fluentd-async", &plan->is_async) ||
        !read_flag(r, "fluentd-async-connect", &plan->is_async))
        return bad_value(r, "fluentd-async");
    if (!read_flag(r, "fluentd-sub-second-precision", &plan->has_fractions))
        return bad_value(r, "fluentd-sub-second-precision");
    plan->retry_wait_ms = 1000;
    plan->max_retries = INT32_MAX;
    if (wait.n > 0 && !read_wait(wait, &plan->retry_wait_ms))
        return bad_value(r, "fluentd-retry-wait");
    if (retries.n > 0 && (!fl_str_to_i64(retries, &plan->max_retries) || plan->max_retries < 0))
        return bad_value(r, "fluentd-max-retries");
    int rc = read_size(r, "fluentd-buffer-limit", &unused);
    return rc < 0 ? rc : read_tag(r, FL_STR("{{.ID}}"));
}

static int read_driver(const struct reading *r)
{
    switch (r->plan->kind) {
    case FL_LOG_JSON_FILE:
        return read_json_file(r);
    case FL_LOG_NONE:
        return 0;
    case FL_LOG_AWSLOGS:
        return read_awslogs(r);
    case FL_LOG_SYSLOG:
        return read_syslog(r);
    case FL_LOG_JOURNALD:
        return read_journald(r);
    case FL_LOG_FLUENTD:
        return read_fluentd(r);
    }
    return -EINVAL;
}

int fl_log_plan_read(const struct fl_container_spec *spec, const struct fl_log_facts *facts,
                     struct fl_arena *arena, struct fl_log_plan *ret_plan, struct fl_err *err)
{
    const struct driver *driver = find_driver(spec->log_driver);
    struct reading r = {spec, facts, arena, ret_plan, err};
    *ret_plan = (struct fl_log_plan){0};
    if (!driver)
        return fl_err_set(err, -EINVAL, "logger: no log driver named '%.*s' is registered",
                          FL_STR_ARG(shown(spec->log_driver)));
    ret_plan->kind = driver->kind;
    int rc = check_names(&r, driver);
    if (rc == 0)
        rc = read_common(&r);
    if (rc == 0)
        rc = read_attributes(&r);
    return rc < 0 ? rc : read_driver(&r);
}
