/* The filters of DescribeParameters and GetParametersByPath: which are allowed, what they select.
 */
#include <errno.h>

#include "server/parameters_rules.h"

enum { MAX_FILTERS = 50 };

enum way { WAY_EQUALS, WAY_BEGINS, WAY_CONTAINS, WAY_ONE_LEVEL, WAY_RECURSIVE, WAY_COUNT };

static const char *const way_names[WAY_COUNT] = {
    [WAY_EQUALS] = "Equals",      [WAY_BEGINS] = "BeginsWith",   [WAY_CONTAINS] = "Contains",
    [WAY_ONE_LEVEL] = "OneLevel", [WAY_RECURSIVE] = "Recursive",
};

enum key { KEY_NAME, KEY_TYPE, KEY_KEY_ID, KEY_PATH, KEY_LABEL, KEY_TIER, KEY_DATA_TYPE, KEY_TAG };

#define WAYS(a) (1u << (a))

static const struct row {
    const char *name;
    bool is_for_path; /* GetParametersByPath knows it; otherwise or also DescribeParameters */
    bool is_for_describe;
    unsigned ways;                /* the first one of the enum is taken when a request names none */
    const struct fl_enum *values; /* or NULL: any */
} rows[] = {
    [KEY_NAME] = {"Name", false, true, WAYS(WAY_EQUALS) | WAYS(WAY_BEGINS) | WAYS(WAY_CONTAINS),
                  NULL},
    [KEY_TYPE] = {"Type", true, true, WAYS(WAY_EQUALS) | WAYS(WAY_BEGINS), &ssm_enum_ParameterType},
    [KEY_KEY_ID] = {"KeyId", true, true, WAYS(WAY_EQUALS) | WAYS(WAY_BEGINS), NULL},
    [KEY_PATH] = {"Path", false, true, WAYS(WAY_ONE_LEVEL) | WAYS(WAY_RECURSIVE), NULL},
    [KEY_LABEL] = {"Label", true, false, WAYS(WAY_EQUALS), NULL},
    [KEY_TIER] = {"Tier", false, true, WAYS(WAY_EQUALS) | WAYS(WAY_BEGINS),
                  &ssm_enum_ParameterTier},
    [KEY_DATA_TYPE] = {"DataType", false, true, WAYS(WAY_EQUALS) | WAYS(WAY_BEGINS), NULL},
    [KEY_TAG] = {"tag:", false, true, WAYS(WAY_EQUALS) | WAYS(WAY_BEGINS), NULL},
};

/* The key's row; -1: there is none. */
static int find_key(struct fl_str name)
{
    for (int i = 0; i < KEY_TAG; i++)
        if (fl_str_is(name, rows[i].name))
            return i;
    return name.n > 4 && fl_str_starts(name, FL_STR("tag:")) ? KEY_TAG : -1;
}

/* How a filter compares; -1: not in a way that its key has. */
static int find_way(const struct ssm_ParameterStringFilter *filter, enum key key)
{
    bool is_given = FL_HAS(filter, ssm_ParameterStringFilter, Option);
    for (int i = 0; i < WAY_COUNT; i++)
        if ((rows[key].ways & WAYS(i)) && (!is_given || fl_str_is(filter->Option, way_names[i])))
            return i;
    return -1;
}

/* ---- checks ---- */

static const char *refuse_key(struct fl_str name, bool is_by_path, struct fl_err *err)
{
    fl_err_set(err, -EINVAL,
               "The following filter key is not valid: %.*s. Valid filter keys include: [%s].",
               FL_STR_ARG(name),
               is_by_path ? "Type, KeyId, Label" : "Path, Name, Type, KeyId, Tier, DataType, tag:");
    return "InvalidFilterKey";
}

static const char *refuse_option(const struct ssm_ParameterStringFilter *filter, enum key key,
                                 struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf list = FL_BUF_INIT(256);
    for (size_t i = 0; i < WAY_COUNT; i++)
        if (rows[key].ways & WAYS(i))
            fl_buf_printf(&list, "%s%s", list.n ? ", " : "", way_names[i]);
    fl_err_set(err, -EINVAL,
               "The following filter option is not valid: %.*s. Valid options include: [%.*s].",
               FL_STR_ARG(filter->Option), FL_STR_ARG(fl_buf_str(&list)));
    return "InvalidFilterOption";
}

static const char *refuse_value(struct fl_str value, const struct fl_enum *values,
                                struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf list = FL_BUF_INIT(256);
    for (size_t i = 0; i < values->n; i++)
        fl_buf_printf(&list, "%s%s", i ? ", " : "", values->values[i]);
    fl_err_set(err, -EINVAL,
               "The following filter value is not valid: %.*s. Valid values include: [%.*s].",
               (int)FL_MIN(value.n, (size_t)200), value.p, FL_STR_ARG(fl_buf_str(&list)));
    return "InvalidFilterValue";
}

static const char *check_path_value(struct fl_str path, struct fl_err *err)
{
    if (path.n >= 4 && (fl_str_case_eq(fl_str_sub(path, 0, 4), FL_STR("/aws")) ||
                        fl_str_case_eq(fl_str_sub(path, 0, 4), FL_STR("/ssm")))) {
        fl_err_set(err, -EINVAL,
                   "Filters for common parameters can't be prefixed with \"aws\" or \"ssm\" "
                   "(case-insensitive). When using global parameters, please specify within a "
                   "global namespace.");
        return "ValidationException";
    }
    return fl_parameters_check_path(path, err);
}

static const char *check_values(const struct ssm_ParameterStringFilter *filter, enum key key,
                                enum way way, struct fl_err *err)
{
    const char *code = NULL;
    if (filter->Values.n == 0 && key != KEY_TAG) {
        fl_err_set(err, -EINVAL,
                   "The following filter values are missing : null for filter key %s.",
                   rows[key].name);
        return "InvalidFilterValue";
    }
    for (size_t i = 0; !code && i < filter->Values.n; i++) {
        struct fl_str value = filter->Values.items[i];
        if (key == KEY_PATH)
            code = check_path_value(value, err);
        else if (rows[key].values && way == WAY_EQUALS &&
                 fl_enum_value(rows[key].values, value) < 0)
            code = refuse_value(value, rows[key].values, err);
    }
    return code;
}

static const char *check_filter(const struct ssm_ParameterStringFilter *filter, bool is_by_path,
                                struct fl_err *err)
{
    int key = find_key(filter->Key);
    if (key < 0 || !(is_by_path ? rows[key].is_for_path : rows[key].is_for_describe))
        return refuse_key(filter->Key, is_by_path, err);
    int way = find_way(filter, (enum key)key);
    if (way < 0)
        return refuse_option(filter, (enum key)key, err);
    return check_values(filter, (enum key)key, (enum way)way, err);
}

const char *fl_parameters_check_filters(const struct ssm_ParameterStringFilter_list *filters,
                                        bool is_by_path, struct fl_err *err)
{
    const char *code = NULL;
    if (filters->n > MAX_FILTERS) {
        fl_err_set(err, -EINVAL, "A request can have a maximum of %d filters.", MAX_FILTERS);
        return "InvalidFilterKey";
    }
    for (size_t i = 0; !code && i < filters->n; i++) {
        code = check_filter(&filters->items[i], is_by_path, err);
        for (size_t k = 0; !code && k < i; k++) {
            if (!fl_str_eq(filters->items[i].Key, filters->items[k].Key))
                continue;
            fl_err_set(err, -EINVAL,
                       "The following filter is duplicated in the request: %.*s. A request can "
                       "contain only one occurrence of a specific filter.",
                       FL_STR_ARG(filters->items[i].Key));
            code = "InvalidFilterKey";
        }
    }
    return code;
}

/* ---- what they select ---- */

static bool compare(struct fl_str text, enum way way, struct fl_str value)
{
    switch (way) {
    case WAY_EQUALS:
        return fl_str_eq(text, value);
    case WAY_BEGINS:
        return fl_str_starts(text, value);
    case WAY_CONTAINS:
        return fl_str_contains(text, value);
    case WAY_ONE_LEVEL:
    case WAY_RECURSIVE:
    case WAY_COUNT:
        break;
    }
    return false;
}

static bool is_one_of(struct fl_str text, enum way way, const struct fl_str_list *values)
{
    for (size_t i = 0; i < values->n; i++)
        if (compare(text, way, values->items[i]))
            return true;
    return false;
}

/* "name" and "/name" are the same parameter, also to who asks for its beginning. */
static bool has_name(struct fl_str id, enum way way, const struct fl_str_list *values)
{
    for (size_t i = 0; i < values->n; i++) {
        struct fl_str value = values->items[i];
        bool is_whole = way == WAY_CONTAINS || fl_str_starts(value, FL_STR("/"));
        if (compare(is_whole ? id : fl_str_from(id, 1), way, value))
            return true;
    }
    return false;
}

static bool is_on_path(struct fl_str id, enum way way, const struct fl_str_list *values)
{
    for (size_t i = 0; i < values->n; i++)
        if (fl_parameters_is_below(id, values->items[i], way == WAY_RECURSIVE))
            return true;
    return false;
}

static bool has_tag(const struct rec_Parameter *parameter, struct fl_str key, enum way way,
                    const struct fl_str_list *values)
{
    for (size_t i = 0; i < parameter->tags.n; i++) {
        const struct ssm_Tag *tag = &parameter->tags.items[i];
        if (fl_str_eq(tag->Key, key))
            return values->n == 0 || is_one_of(tag->Value, way, values);
    }
    return false;
}

static bool has_one_label(const struct rec_ParameterVersion *version,
                          const struct fl_str_list *labels)
{
    for (size_t i = 0; i < version->labels.n; i++)
        if (is_one_of(version->labels.items[i], WAY_EQUALS, labels))
            return true;
    return false;
}

static bool passes(const struct ssm_ParameterStringFilter *filter, struct fl_str id,
                   const struct rec_Parameter *parameter,
                   const struct rec_ParameterVersion *version)
{
    enum key key = (enum key)find_key(filter->Key);
    enum way way = (enum way)find_way(filter, key);
    switch (key) {
    case KEY_NAME:
        return has_name(id, way, &filter->Values);
    case KEY_PATH:
        return is_on_path(id, way, &filter->Values);
    case KEY_TAG:
        return has_tag(parameter, fl_str_from(filter->Key, 4), way, &filter->Values);
    case KEY_LABEL:
        return has_one_label(version, &filter->Values);
    case KEY_TYPE:
        return is_one_of(fl_str_of(fl_enum_text(&ssm_enum_ParameterType, (int)version->type)), way,
                         &filter->Values);
    case KEY_TIER:
        return is_one_of(fl_str_of(fl_enum_text(&ssm_enum_ParameterTier, (int)version->tier)), way,
                         &filter->Values);
    case KEY_KEY_ID:
        return is_one_of(version->keyId, way, &filter->Values);
    case KEY_DATA_TYPE:
        return is_one_of(version->dataType, way, &filter->Values);
    }
    return false;
}

static bool passes_all(const struct ssm_ParameterStringFilter_list *filters, struct fl_str id,
                       const struct rec_Parameter *parameter,
                       const struct rec_ParameterVersion *version)
{
    for (size_t i = 0; i < filters->n; i++)
        if (!passes(&filters->items[i], id, parameter, version))
            return false;
    return true;
}

/* Only who asks for a label is shown another version than the newest. */
static size_t versions_shown(const struct ssm_ParameterStringFilter_list *filters,
                             const struct rec_Parameter *parameter)
{
    for (size_t i = 0; i < filters->n; i++)
        if (fl_str_is(filters->items[i].Key, "Label"))
            return parameter->versions.n;
    return 1;
}

const struct rec_ParameterVersion *
fl_parameters_select(const struct ssm_ParameterStringFilter_list *filters, struct fl_str id,
                     const struct rec_Parameter *parameter)
{
    size_t shown = versions_shown(filters, parameter);
    for (size_t i = 0; i < shown; i++) {
        const struct rec_ParameterVersion *version =
            &parameter->versions.items[parameter->versions.n - 1 - i];
        if (passes_all(filters, id, parameter, version))
            return version;
    }
    return NULL;
}

struct ssm_ParameterStringFilter_list
fl_parameters_old_filters(const struct ssm_ParametersFilter_list *filters, struct fl_arena *arena)
{
    struct ssm_ParameterStringFilter_list list = {
        .n = filters->n,
        .items = fl_arena_new_array(arena, struct ssm_ParameterStringFilter, filters->n),
    };
    for (size_t i = 0; i < list.n; i++) {
        const struct ssm_ParametersFilter *old = &filters->items[i];
        struct ssm_ParameterStringFilter *filter = &list.items[i];
        bool is_name = old->Key == SSM_ParametersFilterKey_Name;
        FL_SET(filter, ssm_ParameterStringFilter, Key,
               fl_str_of(fl_enum_text(&ssm_enum_ParametersFilterKey, (int)old->Key)));
        FL_SET(filter, ssm_ParameterStringFilter, Option,
               fl_str_of(way_names[is_name ? WAY_BEGINS : WAY_EQUALS]));
        FL_SET(filter, ssm_ParameterStringFilter, Values, old->Values);
    }
    return list;
}
