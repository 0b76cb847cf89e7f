/* `fairlead explain`: why a task, or one of a definition, finds no place on a cluster. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/install.h"
#include "cli/operator.h"

enum { TIMEOUT_MS = 30 * 1000 };

static int wrong_usage(void)
{
    (void)fputs("usage: fairlead explain task|definition NAME [--cluster NAME] [--json]\n", stderr);
    return 2;
}

/* The API's name for what is asked about; NULL when the word is none of ours. */
static const char *member_of(const char *word)
{
    return strcmp(word, "task") == 0         ? "task"
           : strcmp(word, "definition") == 0 ? "taskDefinition"
                                             : NULL;
}

/* What is on the command line beside flags. The flags of this command, but for the switches, are
 * followed by their values. */
static int take_operands(int *argc, char **argv, const char *operands[2])
{
    int kept = 1, count = 0;
    for (int i = 1; i < *argc; i++) {
        bool is_flag = argv[i][0] == '-';
        if (!is_flag && count < 2)
            operands[count] = argv[i];
        if (!is_flag) {
            count++;
            continue;
        }
        bool has_value = !strchr(argv[i], '=') && strcmp(argv[i], "--json") != 0 &&
                         strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "--usage") != 0;
        argv[kept++] = argv[i];
        if (has_value && i + 1 < *argc)
            argv[kept++] = argv[++i];
    }
    *argc = kept;
    argv[kept] = NULL;
    return count;
}

static int ask(const struct fl_options *options, const char *member, const char *name,
               const struct fl_json **ret_answer, struct fl_err *err)
{
    struct fl_operator caller;
    int r = fl_install_check(options->value[FL_OPTION_DATA_DIR], err);
    if (r == 0)
        r = fl_operator_open(options, &caller, err);
    if (r < 0)
        return r;
    const struct fl_operator_member members[] = {{"cluster", options->value[FL_OPTION_CLUSTER].p},
                                                 {member, name}};
    return fl_operator_call(&caller, "Fairlead_20261120.Explain", members, FL_ARRAY_SIZE(members),
                            TIMEOUT_MS, ret_answer, err);
}

int fl_cli_explain(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 << 20);
    const struct fl_json *answer;
    struct fl_options options;
    struct fl_err err = {0};
    const char *operands[2] = {NULL, NULL};
    int count = take_operands(&argc, argv, operands);
    fl_options_parse(FL_COMMAND_EXPLAIN,
                     "task|definition NAME: why it finds no place on a cluster, rule by rule.",
                     argc, argv, arena, &options);
    const char *member = count == 2 ? member_of(operands[0]) : NULL;
    if (!member)
        return wrong_usage();
    if (ask(&options, member, operands[1], &answer, &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    if (fl_options_on(&options, FL_OPTION_JSON)) {
        fl_jw_json(&(struct fl_json_writer){.buf = &text}, answer);
        fl_operator_print(fl_buf_str(&text));
    } else {
        (void)printf("%.*s", FL_STR_ARG(fl_json_text(fl_json_get(answer, "text"))));
    }
    return 0;
}
