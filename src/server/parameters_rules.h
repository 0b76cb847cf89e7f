/* The rules of Parameter Store that need nothing but what they judge: names, labels, tags, filters
 * and what they select, versions. No I/O, no state.
 *
 * A check answers NULL, or the name of AWS's error with its sentence in err. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "shapes/rec_shapes.h"
#include "shapes/ssm_shapes.h"

enum {
    FL_PARAMETERS_MAX_LEVELS = 15,
    FL_PARAMETERS_MAX_ARN = 1011, /* characters of a parameter's ARN */
    FL_PARAMETERS_MAX_VERSIONS = 100,
    FL_PARAMETERS_MAX_LABELS = 10, /* of one version */
    FL_PARAMETERS_MAX_TAGS = 50,
    FL_PARAMETERS_STANDARD_BYTES = 4096,
    FL_PARAMETERS_ADVANCED_BYTES = 8192,
};

/* Which parameter a request means. */
struct fl_parameters_ref {
    struct fl_str id;       /* "/name": "name" and "/name" are one parameter */
    struct fl_str name;     /* as it was asked for; empty: by its ARN */
    struct fl_str selector; /* "3" or a label; empty: the newest version */
};

/* May a parameter be made under this name? arn_prefix: what precedes a name (without the '/' that
 * it begins with) in its ARN. */
const char *fl_parameters_check_new_name(struct fl_str name, struct fl_str arn_prefix,
                                         struct fl_err *err);
/* Takes "name", "name:selector" or an ARN apart. An ARN of another region, account or kind gives
 * an id that no parameter has: an empty one. */
const char *fl_parameters_parse_ref(struct fl_str text, struct fl_str region, struct fl_str account,
                                    struct fl_arena *arena, struct fl_parameters_ref *ret_ref,
                                    struct fl_err *err);
/* The id that goes with a name. */
struct fl_str fl_parameters_id(struct fl_str name, struct fl_arena *arena);
/* Is it a path for GetParametersByPath or for a Path filter? A '/' at its end means nothing. */
const char *fl_parameters_check_path(struct fl_str path, struct fl_err *err);
/* Does the id lie below the path; and if not recursive: on the next level? */
bool fl_parameters_is_below(struct fl_str id, struct fl_str path, bool is_recursive);

/* At most 100 letters, digits, '.', '-', '_'; no digit, "aws" or "ssm" at the beginning. */
bool fl_parameters_label_is_valid(struct fl_str label);
const char *fl_parameters_check_tags(const struct ssm_Tag_list *tags, struct fl_err *err);

/* The version that the selector (empty: none) means, or NULL. A parameter has at least one. */
const struct rec_ParameterVersion *fl_parameters_version(const struct rec_Parameter *parameter,
                                                         struct fl_str selector);

/* The filters of GetParametersByPath (is_by_path) or DescribeParameters. */
const char *fl_parameters_check_filters(const struct ssm_ParameterStringFilter_list *filters,
                                        bool is_by_path, struct fl_err *err);
/* The version of the parameter that checked filters let through, the newest of them; NULL: none. */
const struct rec_ParameterVersion *
fl_parameters_select(const struct ssm_ParameterStringFilter_list *filters, struct fl_str id,
                     const struct rec_Parameter *parameter);
/* What DescribeParameters took before it took ParameterFilters, as the same filters. */
struct ssm_ParameterStringFilter_list
fl_parameters_old_filters(const struct ssm_ParametersFilter_list *filters, struct fl_arena *arena);
