/* Percent-encoding, there and back. */
#include "wire/url.h"

#include "base/id.h"

bool fl_url_decode(struct fl_str s, char **block, struct fl_str *ret_text)
{
    char *out = *block;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+')
            c = ' ';
        if (c == '%') {
            if (!fl_unhex(fl_str_sub(s, i + 1, 2), &c, 1))
                return false;
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *block = out + n + 1;
    *ret_text = (struct fl_str){out, n};
    return true;
}

struct fl_str fl_url_parameter(struct fl_arena *arena, struct fl_str query, const char *name)
{
    struct fl_str part, key, value = FL_STR("");
    while (fl_str_split(&query, '&', &part)) {
        struct fl_str rest = part;
        if (!fl_str_split(&rest, '=', &key) || !fl_str_is(key, name))
            continue;
        char *block = fl_arena_alloc(arena, rest.n + 1);
        return fl_url_decode(rest, &block, &value) ? value : FL_STR("");
    }
    return value;
}

void fl_url_encode(struct fl_buf *buf, struct fl_str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (is_plain) {
            fl_buf_add_char(buf, (char)c);
            continue;
        }
        char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        fl_buf_add(buf, escaped, sizeof(escaped));
    }
}
