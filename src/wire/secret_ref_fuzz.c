/* A line that is a reference, and behind it a secret's text: parts lie within the line and put
 * together again give it; what is picked is the same again in a JSON object of its own. */
#include "wire/secret_ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_parts(struct fl_str line, const struct fl_secret_ref *ref)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str joined = fl_str_printf(arena, "%.*s:%.*s:%.*s:%.*s", FL_STR_ARG(ref->secret_id),
                                         FL_STR_ARG(ref->json_key), FL_STR_ARG(ref->version_stage),
                                         FL_STR_ARG(ref->version_id));
    FL_ASSERT(fl_str_eq(ref->secret_id, line) || fl_str_eq(joined, line));
}

static void check_pick(struct fl_str text, struct fl_str key)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(8 * FL_SECRET_VALUE_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    struct fl_str value, again;
    struct fl_err err = {0};
    if (fl_secret_pick(text, key, arena, &value, &err) < 0) {
        FL_ASSERT(err.text[0] != '\0');
        return;
    }
    fl_jw_object_begin(&jw);
    fl_jw_key_str(&jw, key);
    fl_jw_str(&jw, value);
    fl_jw_object_end(&jw);
    if (!buf.overflow && fl_secret_pick(fl_buf_str(&buf), key, arena, &again, NULL) == 0)
        FL_ASSERT(fl_str_eq(again, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str line, rest = {(const char *)bytes, n}, user, password;
    struct fl_secret_ref ref;
    if (memchr(bytes, 0, n) || !fl_str_split(&rest, '\n', &line) ||
        fl_secret_ref_parse(line, &ref, NULL) < 0)
        return 0;
    check_parts(line, &ref);
    check_pick(rest, ref.json_key);
    if (fl_secret_read_login(rest, arena, &user, &password, NULL) == 0)
        FL_ASSERT(user.n > 0 && password.n > 0);
    return 0;
}
