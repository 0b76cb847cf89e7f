/* What a host says of itself beyond its agent: the instance identity document, which on EC2 comes
 * from the metadata service and which our own agents write for other machines. Its signature is not
 * looked at: the agent's key is what we trust. */
#include "core/instance_document.h"

#include "wire/json.h"

enum { MAX_DOCUMENT = 16 * 1024, MAX_TEXT = 128 };

static bool is_plain(struct fl_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '.' && c != '_')
            return false;
    }
    return text.n > 0 && text.n <= MAX_TEXT;
}

static struct fl_str member(const struct fl_json *json, const char *name)
{
    struct fl_str text = fl_json_text(fl_json_get(json, name));
    return is_plain(text) ? text : FL_STR("");
}

void fl_instance_document_read(struct fl_decision *d, struct fl_str text,
                               struct fl_instance_document *ret_document)
{
    *ret_document = (struct fl_instance_document){0};
    if (text.n == 0 || text.n > MAX_DOCUMENT)
        return;
    struct fl_err err;
    const struct fl_json *json = fl_json_read(text, d->arena, &err);
    ret_document->instance_id = member(json, "instanceId");
    ret_document->zone = member(json, "availabilityZone");
    ret_document->image = member(json, "imageId");
    ret_document->type = member(json, "instanceType");
}
