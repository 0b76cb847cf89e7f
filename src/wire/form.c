/* Forms, parsed into a list that is searched by halving. */
#include "wire/form.h"

#include <errno.h>
#include <stdlib.h>

#include "wire/url.h"

static int order(const void *a, const void *b)
{
    const struct fl_form_item *x = a, *y = b;
    int result = fl_str_cmp(x->name, y->name);
    /* Of the same name the later one comes first: the values lie in the text's order. */
    return result ? result : (x->value.p < y->value.p) - (x->value.p > y->value.p);
}

static size_t count_items(struct fl_str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '&';
    return n;
}

/* Keeps the first of each name. */
static size_t drop_repeated(struct fl_form_item *items, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !fl_str_eq(items[kept - 1].name, items[i].name))
            items[kept++] = items[i];
    return kept;
}

int fl_form_parse(struct fl_arena *arena, struct fl_str text, struct fl_form *ret_form,
                  struct fl_err *err)
{
    struct fl_str rest = text, part, name;
    struct fl_form form = {0};
    size_t count = count_items(text);
    if (count > FL_FORM_MAX_ITEMS)
        return fl_err_set(err, -EINVAL, "the form has more than %d parameters", FL_FORM_MAX_ITEMS);
    form.items = fl_arena_new_array(arena, struct fl_form_item, count);
    /* The decoded values are laid out in the text's order, in one block. */
    char *block = fl_arena_alloc(arena, 2 * text.n + 2 * count);
    while (fl_str_split(&rest, '&', &part)) {
        struct fl_form_item *item = &form.items[form.n];
        if (part.n == 0)
            continue;
        if (!fl_str_split(&part, '=', &name) || !fl_url_decode(name, &block, &item->name) ||
            !fl_url_decode(part, &block, &item->value))
            return fl_err_set(err, -EINVAL, "parameter %zu of the form is badly encoded",
                              form.n + 1);
        form.n++;
    }
    qsort(form.items, form.n, sizeof(*form.items), order);
    form.n = drop_repeated(form.items, form.n);
    *ret_form = form;
    return 0;
}

/* The first item whose name is not below the given one. */
static size_t lower_bound(const struct fl_form *form, struct fl_str name)
{
    size_t low = 0, high = form->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (fl_str_cmp(form->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct fl_form_item *fl_form_find(const struct fl_form *form, struct fl_str name)
{
    size_t at = lower_bound(form, name);
    return at < form->n && fl_str_eq(form->items[at].name, name) ? &form->items[at] : NULL;
}

bool fl_form_has(const struct fl_form *form, struct fl_str name)
{
    for (size_t at = lower_bound(form, name); at < form->n; at++) {
        struct fl_str found = form->items[at].name;
        if (!fl_str_starts(found, name))
            return false;
        if (found.n == name.n || found.p[name.n] == '.')
            return true;
        if (found.p[name.n] > '.')
            return false;
    }
    return false;
}
