/* `fairlead token create|ls|rm`: what lets agents of other hosts join. The server keeps tokens;
 * this asks it, as the operator. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/install.h"
#include "cli/operator.h"

enum { CALL_TIMEOUT_MS = 10 * 1000, MAX_BODY = 4096 };

#define TARGET "Fairlead_20261120."

static int fail(const struct fl_err *err)
{
    (void)fprintf(stderr, "fairlead: %s\n", err->text);
    return 1;
}

/* "30m", "24h", "7d" in seconds; 0 for "never"; -1 for anything else. */
static int64_t seconds_of(struct fl_str text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 60 * 60}, {'d', 24 * 60 * 60}};
    int64_t number;
    if (fl_str_is(text, "never"))
        return 0;
    if (text.n < 2 || !fl_str_to_i64(fl_str_sub(text, 0, text.n - 1), &number) || number < 1 ||
        number > 100000)
        return -1;
    for (size_t i = 0; i < FL_ARRAY_SIZE(units); i++)
        if (text.p[text.n - 1] == units[i].unit)
            return number * units[i].seconds;
    return -1;
}

static int create(const struct fl_options *options, struct fl_operator *caller, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(MAX_BODY);
    struct fl_json_writer jw = {.buf = &body};
    const struct fl_json *answer;
    int64_t seconds = seconds_of(options->value[FL_OPTION_EXPIRES]);
    if (seconds < 0)
        return fl_err_set(err, -EINVAL, "--expires wants a time like 30m, 24h, 7d, or never");
    fl_jw_object_begin(&jw);
    if (seconds > 0)
        fl_jw_member_int(&jw, "expiresInSeconds", seconds);
    fl_jw_member_int(&jw, "uses", (int64_t)fl_options_number(options, FL_OPTION_USES));
    fl_jw_object_end(&jw);
    int r = fl_operator_send(caller, TARGET "CreateToken", fl_buf_str(&body), CALL_TIMEOUT_MS,
                             &answer, err);
    if (r < 0)
        return r;
    struct fl_str id = fl_json_text(fl_json_get(answer, "id"));
    struct fl_str secret = fl_json_text(fl_json_get(answer, "secret"));
    struct fl_str hash = fl_json_text(fl_json_item(fl_json_get(answer, "certificates"), 0));
    (void)printf("%.*s:%.*s:%.*s\n", FL_STR_ARG(id), FL_STR_ARG(secret), FL_STR_ARG(hash));
    return 0;
}

static void print_time(int64_t ms)
{
    char text[32] = "never";
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (ms > 0 && gmtime_r(&seconds, &parts))
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    (void)printf("%-22s", text);
}

static int list(struct fl_operator *caller, struct fl_err *err)
{
    const struct fl_json *answer;
    int r = fl_operator_call(caller, TARGET "ListTokens", NULL, 0, CALL_TIMEOUT_MS, &answer, err);
    if (r < 0)
        return r;
    const struct fl_json *tokens = fl_json_get(answer, "tokens");
    (void)printf("%-22s%-22s%-22s%s\n", "ID", "CREATED", "EXPIRES", "HOSTS THAT MAY STILL JOIN");
    for (size_t i = 0; i < fl_json_items(tokens); i++) {
        const struct fl_json *token = fl_json_item(tokens, i);
        (void)printf("%-22.*s", FL_STR_ARG(fl_json_text(fl_json_get(token, "id"))));
        print_time(fl_json_int(fl_json_get(token, "createdAtMs")));
        print_time(fl_json_int(fl_json_get(token, "expiresAtMs")));
        (void)printf("%lld\n", (long long)fl_json_int(fl_json_get(token, "uses")));
    }
    return 0;
}

/* A whole token is as good as its id. */
static int discard(struct fl_operator *caller, struct fl_str token, struct fl_err *err)
{
    struct fl_str first = FL_STR("");
    (void)fl_str_split(&token, ':', &first);
    const struct fl_operator_member member = {"id", fl_str_z(caller->arena, first)};
    const struct fl_json *answer;
    return fl_operator_call(caller, TARGET "DeleteToken", &member, 1, CALL_TIMEOUT_MS, &answer,
                            err);
}

static int wrong_usage(void)
{
    (void)fputs("fairlead: token wants one of: create [--expires TIME] [--uses N], ls, rm ID\n",
                stderr);
    return 2;
}

int fl_cli_token(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    struct fl_operator caller;
    struct fl_err err = {0};
    fl_options_parse(FL_COMMAND_TOKEN,
                     "Tokens by which agents of other hosts join this server: create, ls, rm ID.",
                     argc, argv, arena, &options);
    const char *verb = options.operand_count ? options.operands[0] : "";
    bool removes = strcmp(verb, "rm") == 0, creates = strcmp(verb, "create") == 0;
    if ((!removes && !creates && strcmp(verb, "ls") != 0) ||
        options.operand_count != (removes ? 2 : 1))
        return wrong_usage();
    int r = fl_install_check(options.value[FL_OPTION_DATA_DIR], &err);
    if (r == 0)
        r = fl_operator_open(&options, &caller, &err);
    if (r < 0)
        return fail(&err);
    if (creates)
        r = create(&options, &caller, &err);
    else if (removes)
        r = discard(&caller, fl_str_of(options.operands[1]), &err);
    else
        r = list(&caller, &err);
    return r < 0 ? fail(&err) : 0;
}
