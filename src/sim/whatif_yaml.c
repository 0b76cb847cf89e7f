/* A YAML document as JSON values: the one place that knows libyaml. Plain scalars become numbers,
 * true, false and null by JSON's rules, quoted ones stay text. Aliases and tags are refused, for a
 * scenario needs neither and aliases can make a document explode. */
#include <errno.h>
#include <yaml.h>

#include "sim/whatif_impl.h"
#include "wire/json.h"

enum { MAX_DEPTH = 20 };

struct loader {
    yaml_parser_t parser;
    struct fl_err *err;
};

static int wrong(const struct loader *l, const yaml_mark_t *mark, const char *what)
{
    return fl_err_set(l->err, -EINVAL, "the scenario cannot be read: line %zu: %s", mark->line + 1,
                      what);
}

static int next(struct loader *l, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&l->parser, ret_event))
        return 0;
    const yaml_mark_t *mark =
        l->parser.problem_mark.line ? &l->parser.problem_mark : &l->parser.mark;
    return wrong(l, mark, l->parser.problem ? l->parser.problem : "it is not YAML");
}

/* Numbers and words as JSON writes them; what JSON does not know is text. */
static json_t *scalar(const yaml_event_t *event)
{
    struct fl_str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    json_t *json = NULL;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !fl_str_contains(text, FL_STR("\"")))
        json = fl_json_parse(text, NULL);
    if (json && (json_is_object(json) || json_is_array(json))) {
        json_decref(json);
        json = NULL;
    }
    return json ? json : json_stringn(text.p, text.n);
}

static json_t *value(struct loader *l, const yaml_event_t *event, int depth);

static json_t *sequence(struct loader *l, int depth)
{
    json_t *list = json_array();
    for (;;) {
        yaml_event_t event;
        if (next(l, &event) < 0)
            break;
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
        json_t *item = is_end ? NULL : value(l, &event, depth);
        yaml_event_delete(&event);
        if (is_end)
            return list;
        if (!item)
            break;
        (void)json_array_append_new(list, item);
    }
    json_decref(list);
    return NULL;
}

/* One member; 1 when there was none left. */
static int member(struct loader *l, json_t *object, int depth)
{
    yaml_event_t key, content;
    if (next(l, &key) < 0)
        return -EINVAL;
    if (key.type != YAML_SCALAR_EVENT) {
        bool is_end = key.type == YAML_MAPPING_END_EVENT;
        int rc = is_end ? 1 : wrong(l, &key.start_mark, "a member's name must be a word");
        yaml_event_delete(&key);
        return rc;
    }
    const char *name = (const char *)key.data.scalar.value;
    int rc = json_object_get(object, name)
                 ? wrong(l, &key.start_mark, "this member was there before")
                 : next(l, &content);
    if (rc == 0) {
        json_t *item = value(l, &content, depth);
        yaml_event_delete(&content);
        rc = item ? json_object_set_new(object, name, item) : -EINVAL;
    }
    yaml_event_delete(&key);
    return rc;
}

static json_t *mapping(struct loader *l, int depth)
{
    json_t *object = json_object();
    int rc;
    do
        rc = member(l, object, depth);
    while (rc == 0);
    if (rc > 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *value(struct loader *l, const yaml_event_t *event, int depth)
{
    json_t *json = NULL;
    if (depth == MAX_DEPTH)
        (void)wrong(l, &event->start_mark, "it is nested too deeply");
    else if (event->type == YAML_SCALAR_EVENT)
        json = scalar(event);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        json = sequence(l, depth + 1);
    else if (event->type == YAML_MAPPING_START_EVENT)
        json = mapping(l, depth + 1);
    else
        (void)wrong(l, &event->start_mark,
                    "a value is missing, or an alias, which is not for here");
    if (!json && event->type == YAML_SCALAR_EVENT)
        (void)wrong(l, &event->start_mark, "it is not UTF-8");
    return json;
}

json_t *whatif_yaml_parse(struct fl_str text, struct fl_err *err)
{
    struct loader l = {.err = err};
    json_t *json = NULL;
    bool is_done = false;
    if (!yaml_parser_initialize(&l.parser))
        return NULL;
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)text.p, text.n);
    while (!is_done && !json) {
        yaml_event_t event;
        if (next(&l, &event) < 0)
            break;
        bool is_start =
            event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT;
        if (!is_start)
            json = value(&l, &event, 0);
        is_done = !is_start;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&l.parser);
    return json;
}
