/* Filling in tags. */
#include "agent/log_tag.h"

#include <errno.h>

enum { TAG_MAX = 1024, SHORT_ID = 12 };

static struct fl_str without_algorithm(struct fl_str digest)
{
    ptrdiff_t colon = fl_str_index(digest, ':');
    return colon < 0 ? digest : fl_str_from(digest, (size_t)colon + 1);
}

/* False when no such member exists. */
static bool member(struct fl_str name, const struct fl_log_facts *facts, struct fl_str *ret_value)
{
    const struct {
        const char *name;
        struct fl_str value;
    } members[] = {
        {".ID", fl_str_sub(facts->id, 0, SHORT_ID)},
        {".FullID", facts->id},
        {".Name", facts->name},
        {".ImageID", fl_str_sub(without_algorithm(facts->image_id), 0, SHORT_ID)},
        {".ImageFullID", facts->image_id},
        {".ImageName", facts->image},
        {".DaemonName", FL_STR("docker")},
        {".Hostname", facts->hostname},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(members); i++)
        if (fl_str_is(name, members[i].name)) {
            *ret_value = members[i].value;
            return true;
        }
    return false;
}

int fl_log_tag(struct fl_str template, const struct fl_log_facts *facts, struct fl_arena *arena,
               struct fl_str *ret_tag, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(TAG_MAX);
    while (template.n > 0) {
        const char *open = memmem(template.p, template.n, "{{", 2);
        size_t before = open ? (size_t)(open - template.p) : template.n;
        fl_buf_add_str(&text, fl_str_sub(template, 0, before));
        if (!open)
            break;
        template = fl_str_from(template, before + 2);
        const char *close = memmem(template.p, template.n, "}}", 2);
        struct fl_str value,
            name = close ? fl_str_sub(template, 0, (size_t)(close - template.p)) : template;
        if (!close || !member(fl_str_trim(name), facts, &value))
            return fl_err_set(err, -EINVAL,
                              "template: log-tag: \"{{%.*s}}\" is nothing that this agent knows",
                              FL_STR_ARG(fl_str_sub(name, 0, 60)));
        fl_buf_add_str(&text, value);
        template = fl_str_from(template, name.n + 2);
    }
    if (text.overflow)
        return fl_err_set(err, -EINVAL, "template: log-tag: the tag is too long");
    *ret_tag = fl_str_dup(arena, fl_buf_str(&text));
    return 0;
}
