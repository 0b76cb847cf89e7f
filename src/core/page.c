/* Tokens and page sizes. */
#include "core/page.h"

enum { MAX_PAGE = 100, MAX_KEY = 600 };

int fl_page_read(struct fl_decision *d, struct fl_str token, bool has_max, int32_t max_results,
                 struct fl_page *ret_page)
{
    if (has_max && (max_results < 1 || max_results > MAX_PAGE))
        return fl_refuse(d, "InvalidParameterException", "maxResults should be between 1 and %d.",
                         MAX_PAGE);
    *ret_page = (struct fl_page){.max = has_max ? (size_t)max_results : MAX_PAGE};
    if (token.n == 0)
        return 0;
    char *key = fl_arena_alloc(d->arena, token.n / 2 + 1);
    if (token.n > 2 * MAX_KEY || token.n % 2 || !fl_unhex(token, key, token.n / 2))
        return fl_refuse(d, "InvalidParameterException", "Invalid token.");
    ret_page->after = (struct fl_str){key, token.n / 2};
    return 0;
}

struct fl_str fl_page_token(struct fl_decision *d, struct fl_str last_key)
{
    char *text = fl_arena_alloc(d->arena, 2 * last_key.n + 1);
    fl_hex(last_key.p, last_key.n, text);
    return (struct fl_str){text, 2 * last_key.n};
}

int fl_page_list_begin(struct fl_decision *d, struct fl_str token, bool has_max,
                       int32_t max_results, struct fl_page_list *ret_list)
{
    *ret_list = (struct fl_page_list){0};
    if (fl_page_read(d, token, has_max, max_results, &ret_list->page) < 0)
        return -1;
    ret_list->list.items = fl_arena_new_array(d->arena, struct fl_str, ret_list->page.max);
    return 0;
}

bool fl_page_list_add(struct fl_page_list *list, struct fl_str key, struct fl_str item)
{
    if (list->list.n == list->page.max) {
        list->more = true;
        return false;
    }
    list->list.items[list->list.n++] = item;
    list->last_key = key;
    return true;
}
