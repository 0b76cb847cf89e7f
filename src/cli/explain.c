/* `fairlead explain`: why a task, a service's next one, one of a definition, or those of a call
 * find no place. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cli/cli.h"
#include "cli/fold.h"
#include "cli/install.h"
#include "cli/operator.h"

enum { TIMEOUT_MS = 30 * 1000, MAX_CALL = 1 << 20, INDENT = 4 };

/* The API's name for what is asked about; NULL when the word is none of ours. */
static const char *member_of(const char *word)
{
    return strcmp(word, "task") == 0         ? "task"
           : strcmp(word, "service") == 0    ? "service"
           : strcmp(word, "definition") == 0 ? "taskDefinition"
                                             : NULL;
}

/* Adds the call: JSON as it stands, or a file ("file://…" as the AWS CLI has it, or its path).
 * -errno and err when it is neither. */
static int write_call(struct fl_json_writer *jw, struct fl_str given, struct fl_arena *arena,
                      struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_CALL);
    struct fl_str scheme = FL_STR("file://");
    const char *path = given.p + (fl_str_starts(given, scheme) ? scheme.n : 0);
    if (given.n && given.p[0] == '{') {
        fl_buf_add_str(&text, given);
    } else {
        int r = fl_fs_read(AT_FDCWD, path, MAX_CALL, &text);
        if (r < 0)
            return fl_err_set(err, r, "%s: %s", path, strerror(-r));
    }
    const struct fl_json *call = fl_json_read(fl_buf_str(&text), arena, err);
    if (!call)
        return -EINVAL;
    if (call->kind != FL_JSON_OBJECT)
        return fl_err_set(err, -EINVAL, "the call must be a JSON object");
    fl_jw_key(jw, "runTask");
    fl_jw_json(jw, call);
    return 0;
}

/* What is asked; without a member it is about a call. */
static int write_question(const struct fl_options *options, const char *member, const char *name,
                          struct fl_buf *buf, struct fl_err *err)
{
    struct fl_json_writer jw = {.buf = buf};
    int r = 0;
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", options->value[FL_OPTION_CLUSTER]);
    if (member)
        fl_jw_member_str(&jw, member, fl_str_of(name));
    else
        r = write_call(&jw, options->value[FL_OPTION_CLI_INPUT_JSON], options->arena, err);
    fl_jw_object_end(&jw);
    return r;
}

static int ask(const struct fl_options *options, struct fl_str question,
               const struct fl_json **ret_answer, struct fl_err *err)
{
    struct fl_operator caller;
    int r = fl_install_check(options->value[FL_OPTION_DATA_DIR], err);
    if (r == 0)
        r = fl_operator_open(options, &caller, err);
    if (r < 0)
        return r;
    return fl_operator_send(&caller, "Fairlead_20261120.Explain", question, TIMEOUT_MS, ret_answer,
                            err);
}

int fl_cli_explain(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 << 20);
    const struct fl_json *answer;
    struct fl_options options;
    struct fl_err err = {0};
    fl_options_parse(
        FL_COMMAND_EXPLAIN,
        "Why a task, a service's next one, or those of a call find no place on a cluster, "
        "rule by rule.",
        argc, argv, arena, &options);
    size_t count = options.operand_count;
    const char *member = count == 2 ? member_of(options.operands[0]) : NULL;
    bool is_call = count == 1 && strcmp(options.operands[0], "run-task") == 0;
    if (is_call != options.given[FL_OPTION_CLI_INPUT_JSON] || (!member && !is_call))
        fl_options_refuse_operands(FL_COMMAND_EXPLAIN, "explain");
    if (write_question(&options, member, options.operands[1], &text, &err) < 0 ||
        ask(&options, fl_buf_str(&text), &answer, &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    if (fl_options_on(&options, FL_OPTION_JSON)) {
        fl_buf_clear(&text);
        fl_jw_json(&(struct fl_json_writer){.buf = &text}, answer);
        fl_operator_print(fl_buf_str(&text));
    } else {
        fl_fold_print(fl_json_text(fl_json_get(answer, "text")), INDENT);
    }
    return 0;
}
