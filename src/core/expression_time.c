/* The forms in which `registeredAt` is compared. */
#include <time.h>

#include "core/expression.h"

/* Takes exactly n digits off the front. */
static bool take_number(struct fl_str *text, size_t n, int *ret_number)
{
    int64_t value;
    struct fl_str digits = fl_str_sub(*text, 0, n);
    if (digits.n != n || digits.p[0] < '0' || digits.p[0] > '9' || !fl_str_to_i64(digits, &value))
        return false;
    *text = fl_str_from(*text, n);
    *ret_number = (int)value;
    return true;
}

static bool take_char(struct fl_str *text, char c)
{
    if (text->n == 0 || text->p[0] != c)
        return false;
    *text = fl_str_from(*text, 1);
    return true;
}

static bool take_date(struct fl_str *text, struct tm *tm)
{
    bool has_form = take_number(text, 4, &tm->tm_year) && take_char(text, '-') &&
                    take_number(text, 2, &tm->tm_mon) && take_char(text, '-') &&
                    take_number(text, 2, &tm->tm_mday);
    bool is_date = has_form && tm->tm_year >= 1900 && tm->tm_mon >= 1 && tm->tm_mon <= 12 &&
                   tm->tm_mday >= 1 && tm->tm_mday <= 31;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    return is_date;
}

static bool take_clock(struct fl_str *text, struct tm *tm)
{
    return take_number(text, 2, &tm->tm_hour) && take_char(text, ':') &&
           take_number(text, 2, &tm->tm_min) && take_char(text, ':') &&
           take_number(text, 2, &tm->tm_sec) && tm->tm_hour < 24 && tm->tm_min < 60 &&
           tm->tm_sec <= 60;
}

/* What is behind the time of day: the zone's offset in seconds. */
static bool take_zone(struct fl_str *text, int *ret_offset)
{
    int hours = 0, minutes = 0, sign = 1;
    *ret_offset = 0;
    if (text->n == 0 || take_char(text, 'Z'))
        return true;
    if (take_char(text, '-'))
        sign = -1;
    else if (!take_char(text, '+'))
        return false;
    if (!take_number(text, 2, &hours))
        return false;
    (void)take_char(text, ':');
    if (!take_number(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_offset = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool fl_expression_time(struct fl_str text, int64_t *ret_s)
{
    struct tm tm = {0};
    int offset = 0;
    if (!take_date(&text, &tm))
        return false;
    if (text.n && !(take_char(&text, 'T') && take_clock(&text, &tm) && take_zone(&text, &offset)))
        return false;
    *ret_s = (int64_t)timegm(&tm) - offset;
    return text.n == 0;
}
