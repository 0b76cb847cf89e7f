/* ARNs, taken apart and put together. */
#include "wire/arn.h"

bool fl_arn_parse(struct fl_str text, struct fl_arn *ret_arn)
{
    struct fl_str part, rest = text;
    struct fl_arn arn;
    if (!fl_str_split(&rest, ':', &part) || !fl_str_is(part, "arn"))
        return false;
    if (!fl_str_split(&rest, ':', &part) || !fl_str_starts(part, FL_STR("aws")))
        return false;
    if (!fl_str_split(&rest, ':', &arn.service) || !fl_str_split(&rest, ':', &arn.region) ||
        !fl_str_split(&rest, ':', &arn.account) || rest.n == 0)
        return false;
    ptrdiff_t end = fl_str_index(rest, '/'), colon = fl_str_index(rest, ':');
    if (end < 0 || (colon >= 0 && colon < end))
        end = colon;
    arn.type = end < 0 ? rest : fl_str_sub(rest, 0, (size_t)end);
    arn.rest = end < 0 ? FL_STR("") : fl_str_from(rest, (size_t)end + 1);
    *ret_arn = arn;
    return true;
}

struct fl_str fl_arn_last(struct fl_str text)
{
    ptrdiff_t slash = fl_str_rindex(text, '/');
    return slash < 0 ? text : fl_str_from(text, (size_t)slash + 1);
}

struct fl_str fl_arn_ecs(struct fl_arena *arena, struct fl_str region, struct fl_str account,
                         const char *type, struct fl_str rest)
{
    /* Every answer is full of them: put together by hand, not by printf. */
    const struct fl_str parts[] = {
        FL_STR("arn:aws:ecs:"), region,      FL_STR(":"), account, FL_STR(":"),
        fl_str_of(type),        FL_STR("/"), rest};
    size_t size = 1, n = 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(parts); i++)
        size += parts[i].n;
    char *text = fl_arena_alloc(arena, size);
    for (size_t i = 0; i < FL_ARRAY_SIZE(parts); i++) {
        if (parts[i].n)
            memcpy(text + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    return (struct fl_str){text, n};
}
