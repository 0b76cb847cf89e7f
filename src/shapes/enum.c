/* Lookups in generated tables: enums by text, operations by name. */
#include <stdlib.h>

#include "shapes/shape.h"

const char *fl_enum_text(const struct fl_enum *e, int value)
{
    FL_ASSERT(value >= 0 && (size_t)value < e->n);
    return e->values[value];
}

int fl_enum_value(const struct fl_enum *e, struct fl_str text)
{
    for (size_t i = 0; i < e->n; i++) {
        if (fl_str_is(text, e->values[i]))
            return (int)i;
    }
    return -1;
}

static int compare_operation(const void *name, const void *operation)
{
    return fl_str_cmp(*(const struct fl_str *)name,
                      fl_str_of(((const struct fl_operation *)operation)->name));
}

int fl_aws_service_find(const struct fl_aws_service *service, struct fl_str operation)
{
    const struct fl_operation *found =
        bsearch(&operation, service->operations, service->operation_count,
                sizeof(service->operations[0]), compare_operation);
    return found ? (int)(found - service->operations) : -1;
}
