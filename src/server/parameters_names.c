/* Names, ARNs, paths, labels, tags and versions of parameters. */
#include <ctype.h>
#include <errno.h>

#include "server/parameters_rules.h"
#include "wire/arn.h"

static const char sub_paths[] =
    "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it "
    "can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of "
    "letters, numbers and the following 3 symbols .-_";

static const char path_rules[] =
    "The parameter doesn't meet the parameter name requirements. The parameter name must begin "
    "with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). "
    "It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ "
    "(underscore). Special characters are not allowed. All sub-paths, if specified, must use the "
    "forward slash symbol \"/\". Valid example: /get/parameters2-/by1./path0_.";

static const char *refuse(struct fl_err *err, const char *code, const char *text)
{
    fl_err_set(err, -EINVAL, "%s", text);
    return code;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

/* Sub-paths of at least one character each, which a '/' may precede. */
static bool has_sub_paths(struct fl_str name)
{
    bool is_open = true;
    for (size_t i = fl_str_starts(name, FL_STR("/")) ? 1 : 0; i < name.n; i++) {
        if (name.p[i] == '/' ? is_open : !is_name_char(name.p[i]))
            return false;
        is_open = name.p[i] == '/';
    }
    return !is_open;
}

static size_t count_levels(struct fl_str name)
{
    size_t n = fl_str_starts(name, FL_STR("/")) ? 0 : 1;
    for (size_t i = 0; i < name.n; i++)
        n += name.p[i] == '/';
    return n;
}

static bool starts_as(struct fl_str s, const char *word)
{
    struct fl_str w = fl_str_of(word);
    return s.n >= w.n && fl_str_case_eq(fl_str_sub(s, 0, w.n), w);
}

/* Names that are AWS's own. */
static const char *check_reserved(struct fl_str name, size_t levels, struct fl_err *err)
{
    struct fl_str bare = fl_str_starts(name, FL_STR("/")) ? fl_str_from(name, 1) : name;
    bool is_aws = starts_as(bare, "aws");
    if (!is_aws && !starts_as(bare, "ssm"))
        return NULL;
    if (levels == 1)
        return refuse(err, "ValidationException",
                      "Parameter name: can't be prefixed with \"aws\" or \"ssm\" "
                      "(case-insensitive).");
    if (!is_aws)
        return refuse(err, "ValidationException", sub_paths);
    fl_err_set(err, -EACCES, "No access to reserved parameter name: %.*s.", FL_STR_ARG(name));
    return "AccessDeniedException";
}

const char *fl_parameters_check_new_name(struct fl_str name, struct fl_str arn_prefix,
                                         struct fl_err *err)
{
    size_t levels = count_levels(name);
    struct fl_str bare = fl_str_starts(name, FL_STR("/")) ? fl_str_from(name, 1) : name;
    if (arn_prefix.n + bare.n > FL_PARAMETERS_MAX_ARN) {
        fl_err_set(err, -EINVAL,
                   "The parameter's ARN has %zu characters, but must have at most %d.",
                   arn_prefix.n + bare.n, FL_PARAMETERS_MAX_ARN);
        return "ValidationException";
    }
    if (bare.n == name.n && levels > 1)
        return refuse(err, "ValidationException", "Parameter name must be a fully qualified name.");
    if (!has_sub_paths(name))
        return refuse(err, "ValidationException", sub_paths);
    const char *code = check_reserved(name, levels, err);
    if (code || levels <= FL_PARAMETERS_MAX_LEVELS)
        return code;
    fl_err_set(err, -EINVAL, "A hierarchy can have a maximum of %d levels.",
               FL_PARAMETERS_MAX_LEVELS);
    return "HierarchyLevelLimitExceededException";
}

struct fl_str fl_parameters_id(struct fl_str name, struct fl_arena *arena)
{
    return fl_str_starts(name, FL_STR("/")) ? name
                                            : fl_str_printf(arena, "/%.*s", FL_STR_ARG(name));
}

const char *fl_parameters_parse_ref(struct fl_str text, struct fl_str region, struct fl_str account,
                                    struct fl_arena *arena, struct fl_parameters_ref *ret_ref,
                                    struct fl_err *err)
{
    struct fl_arn arn;
    struct fl_str rest = text, name = FL_STR("");
    bool is_arn = fl_str_starts(text, FL_STR("arn:"));
    bool is_ours = !is_arn;
    if (is_arn && fl_arn_parse(text, &arn)) {
        is_ours = fl_str_is(arn.service, "ssm") && fl_str_eq(arn.region, region) &&
                  fl_str_eq(arn.account, account) && fl_str_is(arn.type, "parameter");
        rest = arn.rest;
    }
    *ret_ref = (struct fl_parameters_ref){.id = FL_STR("")};
    if (!is_ours)
        return NULL;
    (void)fl_str_split(&rest, ':', &name);
    bool has_selector = name.p + name.n < text.p + text.n;
    if (!has_sub_paths(name) || (!is_arn && name.p[0] != '/' && fl_str_index(name, '/') >= 0) ||
        (has_selector && (rest.n == 0 || fl_str_index(rest, ':') >= 0)))
        return refuse(err, "ValidationException", sub_paths);
    *ret_ref = (struct fl_parameters_ref){
        .id = fl_parameters_id(name, arena),
        .name = is_arn ? FL_STR("") : name,
        .selector = rest,
    };
    return NULL;
}

/* A path with no '/' at its end. */
static struct fl_str bare_path(struct fl_str path)
{
    return fl_str_ends(path, FL_STR("/")) ? fl_str_sub(path, 0, path.n - 1) : path;
}

const char *fl_parameters_check_path(struct fl_str path, struct fl_err *err)
{
    struct fl_str bare = bare_path(path);
    if (!fl_str_starts(path, FL_STR("/")) || (bare.n > 0 && !has_sub_paths(bare)))
        return refuse(err, "ValidationException", path_rules);
    return NULL;
}

bool fl_parameters_is_below(struct fl_str id, struct fl_str path, bool is_recursive)
{
    struct fl_str bare = bare_path(path);
    return fl_str_starts(id, bare) && id.n > bare.n && id.p[bare.n] == '/' &&
           (is_recursive || fl_str_index(fl_str_from(id, bare.n + 1), '/') < 0);
}

bool fl_parameters_label_is_valid(struct fl_str label)
{
    if (label.n == 0 || label.n > 100 || isdigit((unsigned char)label.p[0]) ||
        starts_as(label, "aws") || starts_as(label, "ssm"))
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!is_name_char(label.p[i]))
            return false;
    return true;
}

const char *fl_parameters_check_tags(const struct ssm_Tag_list *tags, struct fl_err *err)
{
    if (tags->n > FL_PARAMETERS_MAX_TAGS) {
        fl_err_set(err, -EINVAL, "A parameter can have a maximum of %d tags.",
                   FL_PARAMETERS_MAX_TAGS);
        return "TooManyTagsError";
    }
    for (size_t i = 0; i < tags->n; i++) {
        if (starts_as(tags->items[i].Key, "aws:"))
            return refuse(err, "ValidationException",
                          "Tag keys can't begin with aws: (in any case), which is reserved.");
        for (size_t k = 0; k < i; k++)
            if (fl_str_eq(tags->items[i].Key, tags->items[k].Key))
                return refuse(err, "ValidationException", "A tag key occurs twice in the request.");
    }
    return NULL;
}

static bool has_label(const struct rec_ParameterVersion *version, struct fl_str label)
{
    for (size_t i = 0; i < version->labels.n; i++)
        if (fl_str_eq(version->labels.items[i], label))
            return true;
    return false;
}

const struct rec_ParameterVersion *fl_parameters_version(const struct rec_Parameter *parameter,
                                                         struct fl_str selector)
{
    const struct rec_ParameterVersion *versions = parameter->versions.items;
    uint64_t number = 0;
    bool is_number = fl_str_to_u64(selector, &number);
    FL_ASSERT(parameter->versions.n > 0);
    if (selector.n == 0)
        return &versions[parameter->versions.n - 1];
    for (size_t i = 0; i < parameter->versions.n; i++)
        if (is_number ? (uint64_t)versions[i].version == number : has_label(&versions[i], selector))
            return &versions[i];
    return NULL;
}
