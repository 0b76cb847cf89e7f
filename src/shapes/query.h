/* AWS's Query protocol over the shape tables: parameters in, XML out. */
#pragma once

#include "shapes/shape.h"
#include "wire/form.h"

/* Appends the JSON text that says what a form's parameters say: lists as Name.member.1 (or Name.1),
 * maps as Name.entry.1.key and .value. What is no number or boolean where one is due stays a
 * string, so that fl_shape_decode refuses it by name; parameters that the shape does not have are
 * ignored. */
void fl_query_to_json(const struct fl_shape *shape, const struct fl_form *form, struct fl_buf *buf);

/* Appends the object's members as XML elements: present members only, in the table's order. */
void fl_query_encode(const struct fl_shape *shape, const void *object, struct fl_buf *buf);
/* Appends text as XML's character data; what XML cannot hold becomes U+FFFD. */
void fl_xml_text(struct fl_buf *buf, struct fl_str text);
