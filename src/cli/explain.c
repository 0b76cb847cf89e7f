/* `fairlead explain`: why a task, or one of a definition, finds no place on a cluster. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/install.h"
#include "cli/operator.h"

enum { TIMEOUT_MS = 30 * 1000 };

static int fail(const struct fl_err *err)
{
    (void)fprintf(stderr, "fairlead: %s\n", err->text);
    return 1;
}

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

int fl_cli_explain(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    struct fl_operator operator;
    struct fl_err err = {0};
    const char *member = argc > 2 ? member_of(argv[1]) : NULL;
    bool is_help = argc > 1 && argv[1][0] == '-';
    if (!member && !is_help)
        return wrong_usage();
    const char *name = is_help ? "" : argv[2];
    if (!is_help) {
        argv[2] = argv[0];
        argv += 2;
        argc -= 2;
    }
    fl_options_parse(FL_COMMAND_EXPLAIN,
                     "task|definition NAME: why it finds no place on a cluster, rule by rule.",
                     argc, argv, arena, &options);
    if (!member)
        return wrong_usage();
    if (fl_install_check(options.value[FL_OPTION_DATA_DIR], &err) < 0 ||
        fl_operator_open(&options, &operator, & err) < 0)
        return fail(&err);
    FL_CLEANUP_JSON json_t *answer = NULL;
    json_t *body =
        json_pack("{s:s, s:s}", "cluster", options.value[FL_OPTION_CLUSTER].p, member, name);
    if (fl_operator_call(&operator, "Fairlead_20261120.Explain", body, TIMEOUT_MS, &answer, &err) <
        0)
        return fail(&err);
    if (fl_options_on(&options, FL_OPTION_JSON)) {
        (void)json_dumpf(answer, stdout, JSON_INDENT(2));
        (void)fputc('\n', stdout);
    } else {
        (void)fputs(fl_json_str(json_object_get(answer, "text")).p, stdout);
    }
    return 0;
}
