/* Paths and refusals of the metadata endpoint; see the header. */
#include "agent/metadata_route.h"

enum { MOST_PARTS = 5, MOST_ECHOED = 128 };

struct parts {
    struct fl_str part[MOST_PARTS];
    size_t n; /* MOST_PARTS + 1: more than any path of ours has */
};

static struct parts split(struct fl_str path)
{
    struct parts parts = {0};
    struct fl_str part, rest = fl_str_from(path, 1);
    while (fl_str_split(&rest, '/', &part)) {
        if (parts.n < MOST_PARTS)
            parts.part[parts.n] = part;
        if (parts.n <= MOST_PARTS)
            parts.n++;
    }
    return parts;
}

static bool is(const struct parts *parts, size_t i, const char *text)
{
    return i < parts->n && i < MOST_PARTS && fl_str_is(parts->part[i], text);
}

/* /v3/<id>[/task|/taskWithTags|/stats|/task/stats], and v4 likewise. */
static void route_by_id(const struct parts *parts, struct fl_metadata_route *route)
{
    route->id = parts->n > 1 ? parts->part[1] : FL_STR("");
    if (parts->n == 2)
        route->what = FL_METADATA_CONTAINER;
    else if (parts->n == 3 && is(parts, 2, "task"))
        route->what = FL_METADATA_TASK;
    else if (parts->n == 3 && is(parts, 2, "taskWithTags"))
        route->what = FL_METADATA_TASK_TAGS;
    else if (parts->n == 3 && is(parts, 2, "stats"))
        route->what = FL_METADATA_CONTAINER_STATS;
    else if (parts->n == 4 && is(parts, 2, "task") && is(parts, 3, "stats"))
        route->what = FL_METADATA_TASK_STATS;
}

/* /v2/metadata[/<docker id>], /v2/metadataWithTags, /v2/stats[/<docker id>], /v2/credentials/<id>.
 */
static void route_v2(const struct parts *parts, struct fl_metadata_route *route)
{
    bool one = parts->n == 3;
    if (parts->n > 3)
        return;
    route->id = one ? parts->part[2] : FL_STR("");
    route->by_address = true;
    if (is(parts, 1, "metadata"))
        route->what = one ? FL_METADATA_CONTAINER : FL_METADATA_TASK;
    else if (is(parts, 1, "metadataWithTags"))
        route->what = one ? FL_METADATA_CONTAINER : FL_METADATA_TASK_TAGS;
    else if (is(parts, 1, "stats"))
        route->what = one ? FL_METADATA_CONTAINER_STATS : FL_METADATA_TASK_STATS;
    else if (is(parts, 1, "credentials"))
        route->what = FL_METADATA_CREDENTIALS;
}

struct fl_metadata_route fl_metadata_route(struct fl_str path, struct fl_str query)
{
    struct parts parts = split(path);
    struct fl_metadata_route route = {.what = FL_METADATA_NOTHING, .version = FL_METADATA_V2};
    if (is(&parts, 0, "v4")) {
        route.version = FL_METADATA_V4;
        route_by_id(&parts, &route);
    } else if (is(&parts, 0, "v3")) {
        route.version = FL_METADATA_V3;
        route_by_id(&parts, &route);
    } else if (is(&parts, 0, "v2")) {
        route_v2(&parts, &route);
    } else if (parts.n == 2 && is(&parts, 0, "v1") && is(&parts, 1, "credentials")) {
        route.what = FL_METADATA_CREDENTIALS;
        if (fl_str_starts(query, FL_STR("id=")))
            route.id = fl_str_from(query, strlen("id="));
    } else if (parts.n == 5 && is(&parts, 0, "api") && is(&parts, 2, "task-protection") &&
               is(&parts, 3, "v1") && is(&parts, 4, "state")) {
        route.what = FL_METADATA_PROTECTION;
        route.id = parts.part[1];
    }
    return route;
}

struct fl_str fl_metadata_cleaned(struct fl_str path, struct fl_arena *arena)
{
    char *clean = fl_arena_alloc(arena, path.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] != '/' || n == 0 || clean[n - 1] != '/')
            clean[n++] = path.p[i];
    return n == path.n ? (struct fl_str){"", 0} : (struct fl_str){clean, n};
}

static const char *handler_name(enum fl_metadata_what what)
{
    switch (what) {
    case FL_METADATA_CONTAINER:
        return "container metadata";
    case FL_METADATA_TASK:
    case FL_METADATA_TASK_TAGS:
        return "task metadata";
    case FL_METADATA_CONTAINER_STATS:
        return "container stats";
    case FL_METADATA_TASK_STATS:
        return "task stats";
    case FL_METADATA_CREDENTIALS:
    case FL_METADATA_PROTECTION:
    case FL_METADATA_NOTHING:
        break;
    }
    return "metadata";
}

unsigned fl_metadata_refusal(const struct fl_metadata_route *route, struct fl_str peer,
                             struct fl_arena *arena, struct fl_str *ret_text)
{
    struct fl_str id = fl_str_sub(route->id, 0, MOST_ECHOED);
    bool container = route->what == FL_METADATA_CONTAINER;
    if (route->by_address) {
        *ret_text = fl_str_printf(
            arena, "Unable to get task arn from request: unable to associate '%.*s' with task",
            FL_STR_ARG(peer));
        return 500;
    }
    *ret_text = fl_str_printf(
        arena,
        "V%d %s handler: unable to get %s from request: unable to get %s from v3 endpoint "
        "ID: %.*s",
        (int)route->version, handler_name(route->what), container ? "container ID" : "task arn",
        container ? "docker ID" : "task Arn", FL_STR_ARG(id));
    return route->version == FL_METADATA_V4 ? 404 : 500;
}
