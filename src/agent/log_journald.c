/* journald's native protocol: "NAME=value" lines; a value with a newline, and any that a container
 * chose, goes with its length. */
#include <ctype.h>

#include "agent/log_format.h"
#include "base/clock.h"

enum { SHORT_ID = 12, FIELD_NAME_MAX = 64 };

static void add_counted(struct fl_buf *buf, struct fl_str name, struct fl_str value)
{
    uint8_t length[8];
    for (size_t i = 0; i < sizeof(length); i++)
        length[i] = (uint8_t)((uint64_t)value.n >> (8 * i));
    fl_buf_add_str(buf, name);
    fl_buf_add_char(buf, '\n');
    fl_buf_add(buf, length, sizeof(length));
    fl_buf_add_str(buf, value);
    fl_buf_add_char(buf, '\n');
}

static void add_field(struct fl_buf *buf, const char *name, struct fl_str value)
{
    add_counted(buf, fl_str_of(name), value);
}

/* Names are upper-case letters, digits and underscores and begin with a letter; what begins with an
 * underscore is the journal's own. */
static void add_attr(struct fl_buf *buf, const struct fl_key_value *attr)
{
    char name[FIELD_NAME_MAX];
    size_t n = 0;
    for (size_t i = 0; i < attr->key.n && n < sizeof(name); i++) {
        unsigned char c = (unsigned char)attr->key.p[i];
        char made = isalnum(c) ? (char)toupper(c) : '_';
        if (n > 0 || isalpha(c))
            name[n++] = made;
    }
    if (n > 0)
        add_counted(buf, (struct fl_str){name, n}, attr->value);
}

void fl_log_journald_add(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                         const struct fl_log_event *event, struct fl_buf *buf)
{
    char time[FL_RFC3339_SIZE];
    fl_time_rfc3339(event->time_ms, time);
    add_field(buf, "MESSAGE", event->text);
    fl_buf_printf(buf, "PRIORITY=%d\n", event->stream == 'o' ? 6 : event->stream == 'e' ? 3 : 4);
    fl_buf_printf(buf, "SYSLOG_TIMESTAMP=%s\n", time);
    add_field(buf, "CONTAINER_ID", fl_str_sub(facts->id, 0, SHORT_ID));
    add_field(buf, "CONTAINER_ID_FULL", facts->id);
    add_field(buf, "CONTAINER_NAME", facts->name);
    add_field(buf, "CONTAINER_TAG", plan->tag);
    add_field(buf, "SYSLOG_IDENTIFIER", plan->tag);
    add_field(buf, "IMAGE_NAME", facts->image);
    if (event->is_partial)
        fl_buf_add_z(buf, "CONTAINER_PARTIAL_MESSAGE=true\n");
    for (size_t i = 0; i < plan->attr_count; i++)
        add_attr(buf, &plan->attrs[i]);
}
