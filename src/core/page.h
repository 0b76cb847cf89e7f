/* Pages of a listing: a bound on the items, and a token that says where to go on. Private to core.
 * The token is the hex of the last item's key, so it stays good while things come and go. */
#pragma once

#include "core/decide.h"

struct fl_page {
    struct fl_str after; /* key of the last item of the page before; empty: from the start */
    size_t max;          /* items on this page */
};

/* Reads nextToken and maxResults (1 to 100, default 100; strictly checked as ECS does). 0 or
 * refused. */
int fl_page_read(struct fl_decision *d, struct fl_str token, bool has_max, int32_t max_results,
                 struct fl_page *ret_page);
struct fl_str fl_page_token(struct fl_decision *d, struct fl_str last_key);

/* A list of strings that grows up to one page; `more` is set when an item did not fit. */
struct fl_page_list {
    struct fl_page page;
    struct fl_str_list list;
    struct fl_str last_key;
    bool more;
};

int fl_page_list_begin(struct fl_decision *d, struct fl_str token, bool has_max,
                       int32_t max_results, struct fl_page_list *ret_list);
/* True while the item belongs to the page (it is then to be added); key orders the listing. */
bool fl_page_list_add(struct fl_page_list *list, struct fl_str key, struct fl_str item);
