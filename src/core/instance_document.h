/* The instance identity document of RegisterContainerInstance. Private to core. */
#pragma once

#include "core/decide.h"

/* Empty: not said, or no plain word. In the turn's arena. */
struct fl_instance_document {
    struct fl_str instance_id;
    struct fl_str zone;
    struct fl_str image;
    struct fl_str type;
};

/* Any text: what is no document says nothing. */
void fl_instance_document_read(struct fl_decision *d, struct fl_str text,
                               struct fl_instance_document *ret_document);
