/* A YAML document as JSON, written and read again: the one place that knows libyaml. Plain scalars
 * become numbers, true, false and null by JSON's rules, quoted ones stay text. Aliases and tags are
 * refused, for a scenario needs neither and aliases can make a document explode. */
#include <errno.h>
#include <yaml.h>

#include "sim/whatif_impl.h"

enum { MAX_DEPTH = 20, MAX_DOCUMENT = 64 << 20 };

struct loader {
    yaml_parser_t parser;
    struct fl_arena *arena;
    struct fl_json_writer jw; /* the document as JSON */
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
static int scalar(struct loader *l, const yaml_event_t *event)
{
    struct fl_str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    const struct fl_json *json = NULL;
    if (fl_str_index(text, '\0') >= 0)
        return wrong(l, &event->start_mark, "it holds a NUL");
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !fl_str_contains(text, FL_STR("\"")))
        json = fl_json_read(text, l->arena, NULL);
    if (json && json->kind != FL_JSON_OBJECT && json->kind != FL_JSON_ARRAY)
        fl_jw_json(&l->jw, json);
    else
        fl_jw_str(&l->jw, text);
    return 0;
}

static int value(struct loader *l, const yaml_event_t *event, int depth);

static int sequence(struct loader *l, int depth)
{
    bool is_end = false;
    int rc = 0;
    fl_jw_array_begin(&l->jw);
    while (rc == 0 && !is_end) {
        yaml_event_t event;
        rc = next(l, &event);
        if (rc < 0)
            break;
        is_end = event.type == YAML_SEQUENCE_END_EVENT;
        rc = is_end ? 0 : value(l, &event, depth);
        yaml_event_delete(&event);
    }
    fl_jw_array_end(&l->jw);
    return rc;
}

struct name {
    struct name *next;
    struct fl_str text;
};

static bool is_known(const struct name *names, struct fl_str text)
{
    for (; names; names = names->next)
        if (fl_str_eq(names->text, text))
            return true;
    return false;
}

/* One member; 1 when there was none left. names: those before it. */
static int member(struct loader *l, struct name **names, int depth)
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
    struct name *name = fl_arena_new_object(l->arena, struct name);
    name->text = fl_str_dup(l->arena, fl_str_of((const char *)key.data.scalar.value));
    name->next = *names;
    int rc = is_known(*names, name->text)
                 ? wrong(l, &key.start_mark, "this member was there before")
                 : next(l, &content);
    *names = name;
    if (rc == 0) {
        fl_jw_key_str(&l->jw, name->text);
        rc = value(l, &content, depth);
        yaml_event_delete(&content);
    }
    yaml_event_delete(&key);
    return rc;
}

static int mapping(struct loader *l, int depth)
{
    struct name *names = NULL;
    int rc;
    fl_jw_object_begin(&l->jw);
    do
        rc = member(l, &names, depth);
    while (rc == 0);
    fl_jw_object_end(&l->jw);
    return FL_MIN(rc, 0);
}

static int value(struct loader *l, const yaml_event_t *event, int depth)
{
    if (depth == MAX_DEPTH)
        return wrong(l, &event->start_mark, "it is nested too deeply");
    if (event->type == YAML_SCALAR_EVENT)
        return scalar(l, event);
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return sequence(l, depth + 1);
    if (event->type == YAML_MAPPING_START_EVENT)
        return mapping(l, depth + 1);
    return wrong(l, &event->start_mark, "a value is missing, or an alias, which is not for here");
}

static int document(struct loader *l)
{
    for (;;) {
        yaml_event_t event;
        if (next(l, &event) < 0)
            return -EINVAL;
        bool is_start =
            event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT;
        int rc = is_start ? 0 : value(l, &event, 0);
        yaml_event_delete(&event);
        if (!is_start)
            return rc;
    }
}

const struct fl_json *whatif_yaml_parse(struct fl_str text, struct fl_arena *arena,
                                        struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf json = FL_BUF_INIT(MAX_DOCUMENT);
    struct loader l = {.arena = arena, .jw = {.buf = &json}, .err = err};
    if (!yaml_parser_initialize(&l.parser))
        return NULL;
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)text.p, text.n);
    int rc = document(&l);
    yaml_parser_delete(&l.parser);
    return rc < 0 ? NULL : fl_json_read(fl_buf_str(&json), arena, err);
}
