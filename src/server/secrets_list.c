/* Which secrets pass a list of filters, and a page of them in an order.
 *
 * A filter lets a secret through if one of its values does, and a secret must pass all filters. "!"
 * before a value turns it round. A page's token says behind which secret the next one begins, so
 * secrets that come and go meanwhile neither repeat nor hide others. */
#include "server/secrets_internal.h"
#include "wire/base64.h"

/* ---- filters ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word_char(char c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || (c & 0x80);
}

/* Cuts off the next word, of letters and digits; false: none is left. */
static bool next_word(struct fl_str *text, struct fl_str *ret_word)
{
    size_t from = 0, to;
    while (from < text->n && !is_word_char(text->p[from]))
        from++;
    for (to = from; to < text->n && is_word_char(text->p[to]); to++)
        ;
    *ret_word = fl_str_sub(*text, from, to - from);
    *text = fl_str_from(*text, to);
    return ret_word->n > 0;
}

static bool starts_alike(struct fl_str text, struct fl_str start)
{
    if (text.n < start.n)
        return false;
    for (size_t i = 0; i < start.n; i++)
        if (lower(text.p[i]) != lower(start.p[i]))
            return false;
    return true;
}

/* Does a word of the text begin so? Case does not count. */
static bool has_word(struct fl_str text, struct fl_str start)
{
    struct fl_str word;
    while (next_word(&text, &word))
        if (starts_alike(word, start))
            return true;
    return false;
}

static bool is_anywhere(const struct rec_Secret *secret, struct fl_str word)
{
    if (has_word(secret->name, word) || has_word(secret->description, word))
        return true;
    for (size_t i = 0; i < secret->tags.n; i++)
        if (has_word(secret->tags.items[i].Key, word) ||
            has_word(secret->tags.items[i].Value, word))
            return true;
    return false;
}

/* Has every word of the value its like, in the description or in anything? */
static bool has_words(const struct rec_Secret *secret, struct fl_str value, bool anywhere)
{
    struct fl_str word;
    while (next_word(&value, &word))
        if (!(anywhere ? is_anywhere(secret, word) : has_word(secret->description, word)))
            return false;
    return true;
}

static bool has_tag(const struct rec_Secret *secret, struct fl_str start, bool by_key)
{
    for (size_t i = 0; i < secret->tags.n; i++)
        if (fl_str_starts(by_key ? secret->tags.items[i].Key : secret->tags.items[i].Value, start))
            return true;
    return false;
}

static bool matches(const struct fl_secrets_call *call, const struct rec_Secret *secret,
                    enum secrets_FilterNameStringType key, struct fl_str value)
{
    switch (key) {
    case SECRETS_FilterNameStringType_description:
        return has_words(secret, value, false);
    case SECRETS_FilterNameStringType_name:
        return fl_str_starts(secret->name, value);
    case SECRETS_FilterNameStringType_tag_key:
        return has_tag(secret, value, true);
    case SECRETS_FilterNameStringType_tag_value:
        return has_tag(secret, value, false);
    case SECRETS_FilterNameStringType_primary_region:
        return fl_str_starts(fl_str_of(call->secrets->region), value);
    case SECRETS_FilterNameStringType_owning_service:
        return false;
    case SECRETS_FilterNameStringType_all:
        return has_words(secret, value, true);
    }
    return false;
}

static bool passes(const struct fl_secrets_call *call, const struct rec_Secret *secret,
                   const struct secrets_Filter *filter)
{
    for (size_t i = 0; i < filter->Values.n; i++) {
        struct fl_str value = filter->Values.items[i];
        bool is_negated = fl_str_starts(value, FL_STR("!"));
        if (matches(call, secret, filter->Key, fl_str_from(value, is_negated)) != is_negated)
            return true;
    }
    return false;
}

static bool is_wanted(const struct fl_secrets_call *call, const struct rec_Secret *secret,
                      const struct fl_secrets_order *order)
{
    if (fl_secrets_is_deleted(secret) && !order->with_deleted)
        return false;
    for (size_t i = 0; i < order->filters->n; i++)
        if (!passes(call, secret, &order->filters->items[i]))
            return false;
    return true;
}

static bool check_filters(struct fl_secrets_call *call, const struct secrets_Filter_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!FL_HAS(&list->items[i], secrets_Filter, Key))
            fl_secrets_fail(call, secrets_error_InvalidParameterException, "Invalid filter key");
        else if (list->items[i].Values.n == 0)
            fl_secrets_fail(
                call, secrets_error_InvalidParameterException, "Invalid filter values for key: %s",
                fl_enum_text(&secrets_enum_FilterNameStringType, (int)list->items[i].Key));
    }
    return !call->error;
}

/* ---- order ---- */

/* Where a secret stands: its time in that order (by name: 0), then its name. */
struct place {
    int64_t time_ms;
    struct fl_str name;
};

static struct place place_of(const struct rec_Secret *secret, enum secrets_SortByType by)
{
    struct place place = {0, secret->name};
    switch (by) {
    case SECRETS_SortByType_created_date:
        place.time_ms = secret->createdAt;
        break;
    case SECRETS_SortByType_last_accessed_date:
        place.time_ms = secret->accessedAt;
        break;
    case SECRETS_SortByType_last_changed_date:
        place.time_ms = secret->changedAt;
        break;
    case SECRETS_SortByType_name:
        break;
    }
    return place;
}

static int compare(struct place a, struct place b, bool is_descending)
{
    int order =
        a.time_ms != b.time_ms ? (a.time_ms < b.time_ms ? -1 : 1) : fl_str_cmp(a.name, b.name);
    return is_descending ? -order : order;
}

static int compare_secrets(const void *a, const void *b, void *context)
{
    const struct fl_secrets_order *order = context;
    const struct rec_Secret *const *one = a, *const *other = b;
    return compare(place_of(*one, order->by), place_of(*other, order->by), order->is_descending);
}

/* ---- pages ---- */

static bool read_token(struct fl_secrets_call *call, struct fl_str token, struct place *ret_place)
{
    struct fl_str text, time;
    if (fl_base64_decode(token, call->arena, &text) && fl_str_split(&text, ' ', &time) &&
        fl_str_to_i64(time, &ret_place->time_ms) && text.n) {
        ret_place->name = text;
        return true;
    }
    fl_secrets_fail(call, secrets_error_InvalidNextTokenException,
                    "The NextToken value is invalid.");
    return false;
}

static struct fl_str write_token(struct fl_secrets_call *call, struct place place)
{
    return fl_base64_encode(
        call->arena,
        fl_str_printf(call->arena, "%lld %.*s", (long long)place.time_ms, FL_STR_ARG(place.name)));
}

const struct rec_Secret **fl_secrets_page(struct fl_secrets_call *call,
                                          const struct fl_secrets_order *order, struct fl_str token,
                                          size_t max, size_t *ret_count, struct fl_str *ret_next)
{
    struct fl_vault *vault = call->secrets->vault;
    struct place after = {0};
    struct fl_str name = FL_STR("");
    const struct rec_Secret *secret;
    size_t n = 0;
    if (!check_filters(call, order->filters) || (token.n && !read_token(call, token, &after)))
        return NULL;
    const struct rec_Secret **page = fl_arena_new_array(call->arena, const struct rec_Secret *,
                                                        fl_vault_count(vault, FL_VAULT_SECRET));
    while ((secret = fl_vault_next(vault, FL_VAULT_SECRET, name, &name)))
        if (is_wanted(call, secret, order) &&
            (!token.n || compare(place_of(secret, order->by), after, order->is_descending) > 0))
            page[n++] = secret;
    qsort_r(page, n, sizeof(*page), compare_secrets, (void *)order);
    *ret_count = FL_MIN(n, max);
    if (n > max)
        *ret_next = write_token(call, place_of(page[max - 1], order->by));
    return page;
}
