/* Reading a scenario. The document is kept, for parts of it go to the core as they are; everything
 * that is used here is checked, and members that nobody knows are refused. */
#include <errno.h>
#include <stdio.h>

#include "sim/whatif_impl.h"

struct reader {
    struct whatif_scenario *scenario;
    struct fl_err *err;
};

static int wrong(const struct reader *r, const char *path, const char *what)
{
    return fl_err_set(r->err, -EINVAL, "the scenario's %s %s", path, what);
}

/* names: separated by blanks, with one before and behind. */
static int check_members(const struct reader *r, const struct fl_json *object, const char *path,
                         const char *names)
{
    if (!fl_json_is(object, FL_JSON_OBJECT))
        return wrong(r, path, "must be an object with members");
    for (size_t i = 0; i < fl_json_members(object); i++) {
        const char *key = fl_json_z(fl_json_member_name(object, i));
        char padded[64];
        (void)snprintf(padded, sizeof(padded), " %.60s ", key);
        if (!strstr(names, padded))
            return fl_err_set(r->err, -EINVAL,
                              "the scenario's %s has a member \"%.60s\", which is none of:%s", path,
                              key, names);
    }
    return 0;
}

/* A number from low to high; the value stays as it is when the member is not there. */
static int read_number(const struct reader *r, const struct fl_json *object, const char *path,
                       const char *name, double low, double high, bool is_needed, double *value)
{
    const struct fl_json *member = fl_json_get(object, name);
    if (!member && !is_needed)
        return 0;
    double number = fl_json_number(member);
    if (!fl_json_is_number(member) || !(number >= low && number <= high))
        return fl_err_set(r->err, -EINVAL, "the scenario's %s.%s must be a number from %g to %.0f",
                          path, name, low, high);
    *value = number;
    return 0;
}

static int read_whole(const struct reader *r, const struct fl_json *object, const char *path,
                      const char *name, int high, bool is_needed, uint32_t *value)
{
    const struct fl_json *member = fl_json_get(object, name);
    if (!member && !is_needed)
        return 0;
    int64_t number = fl_json_int(member);
    if (!fl_json_is(member, FL_JSON_INTEGER) || number < 1 || number > high)
        return fl_err_set(r->err, -EINVAL,
                          "the scenario's %s.%s must be a whole number from 1 to %d", path, name,
                          high);
    *value = (uint32_t)number;
    return 0;
}

static int check_list(const struct reader *r, const struct fl_json *list, const char *path)
{
    if (!fl_json_is(list, FL_JSON_ARRAY) || fl_json_items(list) == 0 ||
        fl_json_items(list) > WHATIF_MAX_ITEMS)
        return wrong(r, path, "must be a list of 1 to 200 entries");
    return 0;
}

static int check_strings(const struct reader *r, const struct fl_json *list, const char *path,
                         const char *name)
{
    for (size_t i = 0; list && i < FL_MAX(fl_json_items(list), (size_t)1); i++)
        if (!fl_json_is(fl_json_item(list, i), FL_JSON_STRING))
            return fl_err_set(r->err, -EINVAL, "the scenario's %s.%s must be a list of strings",
                              path, name);
    return 0;
}

static int read_hosts(struct reader *r, const struct fl_json *object, const char *path)
{
    struct whatif_hosts *hosts = &r->scenario->hosts[r->scenario->hosts_count++];
    uint32_t cpu = 0, memory = 0;
    if (check_members(r, object, path, " count cpu memory zones instanceType attributes ") < 0 ||
        read_whole(r, object, path, "count", WHATIF_MAX_HOSTS, true, &hosts->count) < 0 ||
        read_whole(r, object, path, "cpu", 1 << 20, true, &cpu) < 0 ||
        read_whole(r, object, path, "memory", 1 << 28, true, &memory) < 0)
        return -EINVAL;
    hosts->cpu = (int)cpu;
    hosts->memory = (int)memory;
    hosts->zones = fl_json_get(object, "zones");
    hosts->type = fl_json_get(object, "instanceType");
    hosts->attributes = fl_json_get(object, "attributes");
    if (hosts->type && !fl_json_is(hosts->type, FL_JSON_STRING))
        return fl_err_set(r->err, -EINVAL, "the scenario's %s.instanceType must be a string", path);
    if (hosts->attributes && !fl_json_is(hosts->attributes, FL_JSON_OBJECT))
        return fl_err_set(r->err, -EINVAL, "the scenario's %s.attributes must be an object", path);
    for (size_t i = 0; i < fl_json_members(hosts->attributes); i++)
        if (!fl_json_is(fl_json_member(hosts->attributes, i), FL_JSON_STRING))
            return fl_err_set(r->err, -EINVAL,
                              "the scenario's %s.attributes.%.60s must be a string", path,
                              fl_json_z(fl_json_member_name(hosts->attributes, i)));
    r->scenario->host_count += hosts->count;
    if (r->scenario->host_count > WHATIF_MAX_HOSTS)
        return wrong(r, "hosts", "are more than 100000 in all");
    return check_strings(r, hosts->zones, path, "zones");
}

static int check_lists(const struct reader *r, const struct fl_json *object, const char *path)
{
    static const char *const names[] = {"ports", "placementConstraints", "placementStrategy"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        const struct fl_json *list = fl_json_get(object, names[i]);
        if (list && !fl_json_is(list, FL_JSON_ARRAY))
            return fl_err_set(r->err, -EINVAL, "the scenario's %s.%s must be a list", path,
                              names[i]);
    }
    return 0;
}

static int read_definition(struct reader *r, const struct fl_json *object, const char *path)
{
    struct whatif_definition *def = &r->scenario->definitions[r->scenario->definition_count++];
    uint32_t cpu = 0, memory = 0;
    if (check_members(r, object, path,
                      " family cpu memory ports placementConstraints placementStrategy ") < 0 ||
        read_whole(r, object, path, "cpu", 1 << 20, true, &cpu) < 0 ||
        read_whole(r, object, path, "memory", 1 << 28, true, &memory) < 0 ||
        check_lists(r, object, path) < 0)
        return -EINVAL;
    def->cpu = (int)cpu;
    def->memory = (int)memory;
    def->family = fl_json_z(fl_json_get(object, "family"));
    def->ports = fl_json_get(object, "ports");
    def->constraints = fl_json_get(object, "placementConstraints");
    def->strategy = fl_json_get(object, "placementStrategy");
    if (!def->family || !*def->family)
        return fl_err_set(r->err, -EINVAL, "the scenario's %s.family must be a name", path);
    for (size_t i = 0; i < fl_json_items(def->ports); i++) {
        int64_t port = fl_json_int(fl_json_item(def->ports, i));
        if (port < 1 || port > 65535)
            return fl_err_set(r->err, -EINVAL,
                              "the scenario's %s.ports must be a list of host ports", path);
    }
    return 0;
}

static int read_duration(struct reader *r, struct whatif_arrival *arrival,
                         const struct fl_json *object, const char *path)
{
    static const double longest = WHATIF_MAX_HOURS * 60;
    const struct fl_json *duration = fl_json_get(object, "minutes");
    const struct fl_json *uniform = fl_json_get(duration, "uniform");
    const char *kind = fl_json_get(duration, "exponential") ? "exponential" : "fixed";
    char at[96];
    (void)snprintf(at, sizeof(at), "%.80s.minutes", path);
    if (check_members(r, duration, at, " fixed exponential uniform ") < 0)
        return -EINVAL;
    if (fl_json_members(duration) != 1)
        return wrong(r, at, "must have one member: fixed, exponential or uniform");
    if (!uniform) {
        arrival->duration = strcmp(kind, "fixed") == 0 ? WHATIF_FIXED : WHATIF_EXPONENTIAL;
        return read_number(r, duration, at, kind, 0.01, longest, true, &arrival->low);
    }
    arrival->duration = WHATIF_UNIFORM;
    arrival->low = fl_json_number(fl_json_item(uniform, 0));
    arrival->high = fl_json_number(fl_json_item(uniform, 1));
    if (fl_json_items(uniform) != 2 ||
        !(arrival->low > 0 && arrival->high >= arrival->low && arrival->high <= longest))
        return fl_err_set(r->err, -EINVAL,
                          "the scenario's %s.uniform must be a list of the least and the most", at);
    return 0;
}

static int read_daily(struct reader *r, struct whatif_arrival *arrival,
                      const struct fl_json *object, const char *path)
{
    const struct fl_json *daily = fl_json_get(object, "daily");
    for (size_t i = 0; i < 24; i++) {
        const struct fl_json *value = fl_json_item(daily, i);
        arrival->daily[i] = daily ? fl_json_number(value) : 1;
        if (daily && (fl_json_items(daily) != 24 || !fl_json_is_number(value) ||
                      !(arrival->daily[i] >= 0 && arrival->daily[i] <= 1000)))
            return fl_err_set(r->err, -EINVAL,
                              "the scenario's %s.daily must be a list of 24 numbers from 0 to 1000",
                              path);
        arrival->daily_max = FL_MAX(arrival->daily_max, arrival->daily[i]);
    }
    return 0;
}

static int find_definition(struct reader *r, const struct fl_json *object, const char *path,
                           uint32_t *ret_index)
{
    const char *name = fl_json_z(fl_json_get(object, "definition"));
    for (uint32_t i = 0; name && i < r->scenario->definition_count; i++)
        if (strcmp(r->scenario->definitions[i].family, name) == 0) {
            *ret_index = i;
            return 0;
        }
    return fl_err_set(r->err, -EINVAL, "the scenario's %s.definition names none of its definitions",
                      path);
}

static int read_at(struct reader *r, struct whatif_arrival *arrival, const struct fl_json *object,
                   const char *path)
{
    arrival->at = fl_json_get(object, "at");
    if (!arrival->at == (arrival->per_hour == 0))
        return wrong(r, path, "must have either perHour or at");
    if (arrival->at &&
        (fl_json_items(arrival->at) == 0 || fl_json_items(arrival->at) > WHATIF_MAX_AT))
        return fl_err_set(r->err, -EINVAL, "the scenario's %s.at must be a list of 1 to 1000 hours",
                          path);
    for (size_t i = 0; i < fl_json_items(arrival->at); i++) {
        const struct fl_json *value = fl_json_item(arrival->at, i);
        double hour = fl_json_number(value);
        if (!fl_json_is_number(value) || !(hour >= 0 && hour <= r->scenario->hours))
            return fl_err_set(r->err, -EINVAL,
                              "the scenario's %s.at[%zu] must be an hour from 0 to %u", path, i,
                              r->scenario->hours);
    }
    return 0;
}

static int read_arrival(struct reader *r, const struct fl_json *object, const char *path)
{
    struct whatif_arrival *arrival = &r->scenario->arrivals[r->scenario->arrival_count++];
    arrival->count = 1;
    if (check_members(r, object, path, " definition perHour at count minutes daily ") < 0 ||
        find_definition(r, object, path, &arrival->definition) < 0 ||
        read_whole(r, object, path, "count", 100000, false, &arrival->count) < 0 ||
        read_number(r, object, path, "perHour", 0.001, 1e7, false, &arrival->per_hour) < 0 ||
        read_daily(r, arrival, object, path) < 0 || read_at(r, arrival, object, path) < 0)
        return -EINVAL;
    return read_duration(r, arrival, object, path);
}

typedef int read_fn(struct reader *r, const struct fl_json *object, const char *path);

static int read_list(struct reader *r, const char *name, read_fn *read)
{
    const struct fl_json *list = fl_json_get(r->scenario->document, name);
    char path[64];
    int rc = check_list(r, list, name);
    for (size_t i = 0; rc == 0 && i < fl_json_items(list); i++) {
        (void)snprintf(path, sizeof(path), "%s[%zu]", name, i);
        rc = read(r, fl_json_item(list, i), path);
    }
    return rc;
}

static int check_total(const struct reader *r)
{
    double tasks = 0;
    for (size_t i = 0; i < r->scenario->arrival_count; i++) {
        const struct whatif_arrival *a = &r->scenario->arrivals[i];
        double mean = 0;
        for (size_t hour = 0; hour < 24; hour++)
            mean += a->daily[hour] / 24;
        tasks += a->count *
                 (a->at ? (double)fl_json_items(a->at) : a->per_hour * mean * r->scenario->hours);
    }
    return tasks <= WHATIF_MAX_TASKS ? 0 : wrong(r, "arrivals", "are more than 10000000 tasks");
}

int whatif_scenario_read(struct fl_str text, struct whatif_scenario *ret, struct fl_err *err)
{
    struct reader reader = {ret, err}, *r = &reader;
    uint32_t seed = 1;
    *ret = (struct whatif_scenario){.hours = 24, .arena = fl_arena_new()};
    ret->document = whatif_yaml_parse(text, ret->arena, err);
    if (!ret->document)
        return -EINVAL;
    if (check_members(r, ret->document, "top", " seed hours hosts definitions arrivals ") < 0 ||
        read_whole(r, ret->document, "top", "seed", INT32_MAX, false, &seed) < 0 ||
        read_whole(r, ret->document, "top", "hours", WHATIF_MAX_HOURS, false, &ret->hours) < 0 ||
        read_list(r, "hosts", read_hosts) < 0 || read_list(r, "definitions", read_definition) < 0 ||
        read_list(r, "arrivals", read_arrival) < 0)
        return -EINVAL;
    ret->seed = seed;
    return check_total(r);
}

void whatif_scenario_free(struct whatif_scenario *scenario)
{
    fl_arena_free(scenario->arena);
}
