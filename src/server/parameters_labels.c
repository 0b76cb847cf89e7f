/* Labels: names for versions, each of which one version of a parameter has at a time. */
#include "server/parameters_internal.h"

/* A copy of the record that may be changed. */
static struct rec_Parameter *copy(const struct fl_parameters_call *call,
                                  const struct rec_Parameter *parameter)
{
    return fl_shape_copy(&rec_shape_Parameter, parameter, call->arena);
}

/* The version of the copy that is meant; 0: the newest. NULL after failing the call. */
static struct rec_ParameterVersion *
need_version(struct fl_parameters_call *call, const struct rec_Parameter *parameter, int64_t number)
{
    for (size_t i = 0; i < parameter->versions.n; i++)
        if (number ? parameter->versions.items[i].version == number
                   : i + 1 == parameter->versions.n)
            return &parameter->versions.items[i];
    fl_parameters_fail(call, "ParameterVersionNotFound",
                       "Systems Manager could not find version %lld of %.*s. Verify the version "
                       "and try again.",
                       (long long)number, (int)FL_MIN(parameter->name.n, (size_t)700),
                       parameter->name.p);
    return NULL;
}

/* Without the label, whoever had it; true if it did. */
static bool drop(struct rec_ParameterVersion *version, struct fl_str label)
{
    struct fl_str_list *labels = &version->labels;
    size_t n = 0;
    for (size_t i = 0; i < labels->n; i++)
        if (!fl_str_eq(labels->items[i], label))
            labels->items[n++] = labels->items[i];
    bool had_it = n < labels->n;
    labels->n = n;
    return had_it;
}

/* Gives the version a label, which another one may have had. */
static void move_label(struct fl_parameters_call *call, struct rec_Parameter *parameter,
                       struct rec_ParameterVersion *version, struct fl_str label)
{
    for (size_t i = 0; i < parameter->versions.n; i++)
        (void)drop(&parameter->versions.items[i], label);
    struct fl_str_list labels = {
        version->labels.n, fl_arena_new_array(call->arena, struct fl_str, version->labels.n + 1)};
    for (size_t i = 0; i < labels.n; i++)
        labels.items[i] = version->labels.items[i];
    labels.items[labels.n++] = label;
    FL_SET(version, rec_ParameterVersion, labels, labels);
}

void fl_parameters_label(struct fl_parameters_call *call)
{
    const struct ssm_LabelParameterVersionRequest *in = call->input;
    struct ssm_LabelParameterVersionResult *out = call->output;
    struct fl_parameters_ref ref;
    struct fl_str_list bad = {0, fl_arena_new_array(call->arena, struct fl_str, in->Labels.n)};
    const struct rec_Parameter *parameter = fl_parameters_need(call, in->Name, &ref);
    struct rec_Parameter *changed = parameter ? copy(call, parameter) : NULL;
    struct rec_ParameterVersion *version =
        changed ? need_version(call, changed, in->ParameterVersion) : NULL;
    if (!version)
        return;
    for (size_t i = 0; i < in->Labels.n; i++) {
        if (fl_parameters_label_is_valid(in->Labels.items[i]))
            move_label(call, changed, version, in->Labels.items[i]);
        else
            bad.items[bad.n++] = in->Labels.items[i];
    }
    if (version->labels.n > FL_PARAMETERS_MAX_LABELS) {
        fl_parameters_fail(call, "ParameterVersionLabelLimitExceeded",
                           "A parameter version can have maximum %d labels. Move one or more "
                           "labels to another version and try again.",
                           FL_PARAMETERS_MAX_LABELS);
        return;
    }
    fl_parameters_save(call, ref.id, changed);
    FL_SET(out, ssm_LabelParameterVersionResult, InvalidLabels, bad);
    FL_SET(out, ssm_LabelParameterVersionResult, ParameterVersion, version->version);
}

void fl_parameters_unlabel(struct fl_parameters_call *call)
{
    const struct ssm_UnlabelParameterVersionRequest *in = call->input;
    struct ssm_UnlabelParameterVersionResult *out = call->output;
    struct fl_parameters_ref ref;
    struct fl_str_list removed = {0, fl_arena_new_array(call->arena, struct fl_str, in->Labels.n)};
    struct fl_str_list bad = {0, fl_arena_new_array(call->arena, struct fl_str, in->Labels.n)};
    const struct rec_Parameter *parameter = fl_parameters_need(call, in->Name, &ref);
    struct rec_Parameter *changed = parameter ? copy(call, parameter) : NULL;
    struct rec_ParameterVersion *version =
        changed ? need_version(call, changed, in->ParameterVersion) : NULL;
    if (!version)
        return;
    for (size_t i = 0; i < in->Labels.n; i++) {
        if (drop(version, in->Labels.items[i]))
            removed.items[removed.n++] = in->Labels.items[i];
        else
            bad.items[bad.n++] = in->Labels.items[i];
    }
    fl_parameters_save(call, ref.id, changed);
    FL_SET(out, ssm_UnlabelParameterVersionResult, RemovedLabels, removed);
    FL_SET(out, ssm_UnlabelParameterVersionResult, InvalidLabels, bad);
}
