/* Image names: an accepted name's parts are valid, and its full form is read as itself. */
#include "image/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct fl_registry_identity identity = {
        {"000000000000", 12}, {"us-east-1", 9}, {"127.0.0.1:4566", 14}};
    struct fl_err err;
    struct fl_image_name name, again;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (fl_image_name_parse((struct fl_str){(const char *)bytes, n}, &name, &err) < 0)
        return 0;
    FL_ASSERT(fl_repository_valid(name.repository));
    FL_ASSERT(name.tag.n > 0 ? fl_tag_valid(name.tag) : name.has_digest);
    (void)fl_image_name_place(&name, &identity);
    struct fl_str full = fl_image_name_full(&name, arena);
    /* "library/" may make a name of the greatest length too long. */
    if (fl_image_name_parse(full, &again, &err) < 0) {
        FL_ASSERT(name.repository.n > FL_REPOSITORY_MAX - 8);
        return 0;
    }
    FL_ASSERT(fl_str_eq(fl_image_name_full(&again, arena), full));
    return 0;
}
