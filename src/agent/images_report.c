/* What `fairlead status` shows of this host's images: a small file, replaced when it changes. */
#include <fcntl.h>

#include "agent/images_internal.h"
#include "base/clock.h"
#include "base/fs.h"
#include "wire/json.h"

enum { REPORT_MAX_BYTES = 256 << 10, REPORTED_PULLS_MAX = 64 };

static void write_pull(const struct fl_images *images, const struct fl_pull *pull,
                       struct fl_json_writer *jw)
{
    uint64_t bytes = 0, done = 0;
    size_t layers = 0;
    for (size_t i = 0; i < pull->count; i++) {
        if (pull->was_present[i])
            continue;
        layers++;
        bytes += pull->sizes[i];
        done += pull->present[i] ? pull->sizes[i]
                                 : fl_unpacker_received(images->unpacker, &pull->facts.layers[i]);
    }
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "image", pull->name);
    fl_jw_member_int(jw, "layers", (int64_t)layers);
    fl_jw_member_int(jw, "layersDone", (int64_t)(layers - FL_MIN(layers, pull->missing)));
    fl_jw_member_int(jw, "bytes", (int64_t)bytes);
    fl_jw_member_int(jw, "bytesDone", (int64_t)done);
    fl_jw_member_int(jw, "seconds", (fl_clock_mono_ms() - pull->begun_ms) / 1000);
    fl_jw_object_end(jw);
}

static bool waits(const struct fl_pull *pull, const void *context)
{
    const struct fl_image_waiter *waiter;
    STAILQ_FOREACH (waiter, &pull->waiters, link)
        if (waiter->context == context)
            return true;
    return false;
}

static void write_layer(const struct fl_images *images, const struct fl_pull *pull, size_t i,
                        struct fl_json_writer *jw)
{
    const struct fl_digest *digest = &pull->facts.layers[i];
    char text[FL_DIGEST_TEXT_SIZE];
    uint64_t received = fl_unpacker_received(images->unpacker, digest);
    const char *state = pull->was_present[i] ? "here"
                        : pull->present[i]   ? "pulled"
                        : received > 0       ? "pulling"
                                             : "waiting";
    fl_digest_text(digest, text);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "digest", fl_str_of(text));
    fl_jw_member_str(jw, "state", fl_str_of(state));
    fl_jw_member_int(jw, "bytes", (int64_t)pull->sizes[i]);
    fl_jw_member_int(jw, "bytesDone", (int64_t)(pull->present[i] ? pull->sizes[i] : received));
    fl_jw_object_end(jw);
}

void fl_images_write_progress(const struct fl_images *images, const void *context,
                              struct fl_json_writer *jw)
{
    const struct fl_pull *pull;
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "layers");
    fl_jw_array_begin(jw);
    TAILQ_FOREACH (pull, &images->pulls, link) {
        for (size_t i = 0; waits(pull, context) && i < pull->count; i++)
            write_layer(images, pull, i, jw);
    }
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

static void write_report(const struct fl_images *images, struct fl_buf *buf)
{
    struct fl_json_writer jw = {.buf = buf};
    struct fl_image_room room;
    const struct fl_pull *pull;
    int count = 0;
    fl_images_room(images, &room);
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "images", (int64_t)fl_image_records_count(images->records));
    fl_jw_member_int(&jw, "reclaimedBytes", (int64_t)images->reclaimed_bytes);
    fl_jw_member_bool(&jw, "diskFull", images->is_full);
    fl_jw_member_int(&jw, "diskMib", (int64_t)(room.total >> 20));
    /* Roughly: others' writing is no reason to write. */
    fl_jw_member_int(&jw, "diskAvailableMib", (int64_t)(room.available >> 26 << 6));
    fl_jw_key(&jw, "pulls");
    fl_jw_array_begin(&jw);
    TAILQ_FOREACH (pull, &images->pulls, link)
        if (count++ < REPORTED_PULLS_MAX)
            write_pull(images, pull, &jw);
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
}

void fl_images_report(struct fl_images *images)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(REPORT_MAX_BYTES);
    write_report(images, &text);
    if (text.overflow || fl_str_eq(fl_buf_str(&text), images->reported))
        return;
    const char *path = fl_str_printf(arena, "%.*s/images/%s", FL_STR_ARG(images->config.data_dir),
                                     FL_IMAGES_STATUS_FILE)
                           .p;
    (void)fl_fs_write_fast(AT_FDCWD, path, fl_buf_str(&text), 0600);
    if (images->reported_arena)
        fl_arena_free(images->reported_arena);
    images->reported_arena = fl_arena_new();
    images->reported = fl_str_dup(images->reported_arena, fl_buf_str(&text));
}
