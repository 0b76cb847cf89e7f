/* References to secrets, and the JSON that secrets may hold. */
#include "wire/secret_ref.h"

#include <errno.h>

/* "arn:aws:secretsmanager:region:account:secret:name" */
enum { ARN_PARTS = 7, EXTENDED_PARTS = ARN_PARTS + 3 };

static size_t count_parts(struct fl_str text)
{
    size_t count = 1;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == ':';
    return count;
}

/* The last part, which leaves the text together with its colon. */
static struct fl_str take_last(struct fl_str *text)
{
    ptrdiff_t colon = fl_str_rindex(*text, ':');
    struct fl_str last = fl_str_from(*text, (size_t)colon + 1);
    text->n = (size_t)colon;
    return last;
}

int fl_secret_ref_parse(struct fl_str text, struct fl_secret_ref *ret_ref, struct fl_err *err)
{
    struct fl_secret_ref ref = {.secret_id = text};
    size_t parts = count_parts(text);
    if (text.n == 0 ||
        (fl_str_starts(text, FL_STR("arn:")) && parts != ARN_PARTS && parts != EXTENDED_PARTS))
        return fl_err_set(err, -EINVAL,
                          "an invalid ARN format for the AWS Secrets Manager secret was specified. "
                          "Specify a valid ARN and try again.");
    if (parts == EXTENDED_PARTS && fl_str_starts(text, FL_STR("arn:"))) {
        ref.version_id = take_last(&ref.secret_id);
        ref.version_stage = take_last(&ref.secret_id);
        ref.json_key = take_last(&ref.secret_id);
    }
    *ret_ref = ref;
    return 0;
}

static const struct fl_json *find(const struct fl_json *object, struct fl_str key)
{
    for (size_t i = 0; i < fl_json_members(object); i++)
        if (fl_str_eq(fl_json_text(fl_json_member_name(object, i)), key))
            return fl_json_member(object, i);
    return NULL;
}

static int write_out(const struct fl_json *value, struct fl_arena *arena, struct fl_str *ret_text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_SECRET_VALUE_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_json(&jw, value);
    *ret_text = fl_str_dup(arena, fl_buf_str(&buf));
    return buf.overflow ? -E2BIG : 0;
}

int fl_secret_pick(struct fl_str text, struct fl_str json_key, struct fl_arena *arena,
                   struct fl_str *ret_value, struct fl_err *err)
{
    const struct fl_json *json = fl_json_read(text, arena, NULL);
    const struct fl_json *value = find(json, json_key);
    if (!fl_json_is(json, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL,
                          "retrieved secret from Secrets Manager is not a JSON object");
    if (!value)
        return fl_err_set(err, -ENOENT,
                          "retrieved secret from Secrets Manager did not contain json key %.*s",
                          (int)FL_MIN(json_key.n, (size_t)200), json_key.p);
    if (fl_json_is(value, FL_JSON_STRING)) {
        *ret_value = fl_json_text(value);
        return 0;
    }
    int rc = write_out(value, arena, ret_value);
    return rc < 0 ? fl_err_set(err, rc, "the value at a key of the secret is too large") : 0;
}

/* The agent's JSON reader takes names in any case, and people rely on that. */
static struct fl_str any_case(const struct fl_json *object, const char *name)
{
    struct fl_str found = fl_json_text(fl_json_get(object, name));
    for (size_t i = 0; found.n == 0 && i < fl_json_members(object); i++)
        if (fl_str_case_eq(fl_json_text(fl_json_member_name(object, i)), fl_str_of(name)))
            found = fl_json_text(fl_json_member(object, i));
    return found;
}

int fl_secret_read_login(struct fl_str text, struct fl_arena *arena, struct fl_str *ret_user,
                         struct fl_str *ret_password, struct fl_err *err)
{
    const struct fl_json *json = fl_json_read(text, arena, NULL);
    struct fl_str user = any_case(json, "username"), password = any_case(json, "password");
    if (text.n == 0)
        return fl_err_set(err, -EINVAL, "asm fetching authorization data: empty secrets value");
    if (!fl_json_is(json, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL,
                          "asm fetching authorization data: unable to unmarshal secret value, "
                          "invalid schema");
    if (user.n == 0)
        return fl_err_set(err, -EINVAL,
                          "asm fetching username: AuthorizationData is malformed, empty field");
    if (password.n == 0)
        return fl_err_set(err, -EINVAL,
                          "asm fetching password: AuthorizationData is malformed, empty field");
    *ret_user = user;
    *ret_password = password;
    return 0;
}
