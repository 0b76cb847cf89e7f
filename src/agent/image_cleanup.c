/* Room for images: what nobody uses goes, by age and where the disk fills up; a pull that would not
 * fit is refused before it has filled anything.
 *
 *   reserve: kept free of images; below it the host says that it can start nothing
 *   mark:    below it unused images go whatever their age, the longest unused first
 *
 * An image is used while a container of a task that this host still knows was made from it, and
 * while it is pulled. A layer goes when no image that is kept has it. It gets another name first,
 * so that from then on nobody finds it; a worker thread deletes it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "agent/image_marks.h"
#include "agent/images_internal.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

enum { ROOM_CHECK_MS = 5000, BATCH_LAYERS_MAX = FL_LAYERS_MAX };

#define RESERVE_MAX ((uint64_t)1 << 30)
#define MARK_MAX ((uint64_t)4 << 30)

/* Layers on their way out. */
struct batch {
    struct fl_images *images;
    int layers_fd;
    char path[4096]; /* of the layers, for fts */
    char names[BATCH_LAYERS_MAX][4 + 64 + 1];
    size_t count;
    uint64_t bytes;
    uv_work_t work;
};

/* ---- room ---- */

void fl_images_room(const struct fl_images *images, struct fl_image_room *ret_room)
{
    struct statvfs fs;
    *ret_room = (struct fl_image_room){0};
    if (statvfs(images->layers_dir.p, &fs) < 0)
        return;
    uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
    *ret_room = (struct fl_image_room){.total = total,
                                       .available = (uint64_t)fs.f_bavail * fs.f_frsize,
                                       .reserve = FL_MIN(total / 20, RESERVE_MAX),
                                       .mark = FL_MIN(total * 3 / 20, MARK_MAX)};
}

static void say_no_room(const struct fl_image_room *room, uint64_t needed, struct fl_err *err)
{
    char more[64] = "";
    if (needed)
        (void)snprintf(more, sizeof(more), ", and %llu MiB are needed",
                       (unsigned long long)((needed >> 20) + 1));
    (void)fl_err_set(
        err, -ENOSPC, "no space left on device: %llu MiB of %llu MiB are free, %llu MiB are kept%s",
        (unsigned long long)(room->available >> 20), (unsigned long long)(room->total >> 20),
        (unsigned long long)(room->reserve >> 20), more);
}

bool fl_images_fits(const struct fl_images *images, uint64_t bytes, struct fl_err *err)
{
    struct fl_image_room room;
    fl_images_room(images, &room);
    if (room.total == 0 || room.available >= room.reserve + bytes)
        return true;
    say_no_room(&room, bytes, err);
    return false;
}

const char *fl_images_ailment(const struct fl_images *images)
{
    return images->is_full ? images->ailment.text : NULL;
}

/* ---- deleting ---- */

/* What only this tree holds: blocks of files with one name. */
static uint64_t bytes_beneath(const char *dir, const char *name)
{
    char path[4096 + 80];
    char *roots[] = {path, NULL};
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    FTSENT *entry;
    while (fts && (entry = fts_read(fts)) != NULL)
        if (entry->fts_info != FTS_DP && entry->fts_statp)
            bytes +=
                (uint64_t)entry->fts_statp->st_blocks * 512 /
                (S_ISREG(entry->fts_statp->st_mode) ? FL_MAX(1, entry->fts_statp->st_nlink) : 1);
    if (fts)
        (void)fts_close(fts);
    return bytes;
}

static void delete_layers(uv_work_t *work)
{
    struct batch *batch = work->data;
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t bytes = bytes_beneath(batch->path, batch->names[i]);
        if (fl_fs_remove_tree(batch->layers_fd, batch->names[i]) == 0)
            batch->bytes += bytes;
    }
}

static void after_delete(uv_work_t *work, FL_UNUSED int status)
{
    struct batch *batch = work->data;
    struct fl_images *images = batch->images;
    if (images) {
        images->deleting = NULL;
        images->reclaimed_bytes += batch->bytes;
        if (batch->bytes)
            fl_log_info("images: %zu layers removed, %llu bytes reclaimed", batch->count,
                        (unsigned long long)batch->bytes);
    }
    (void)close(batch->layers_fd);
    free(batch);
    if (images)
        fl_images_cleaned(images);
}

void fl_images_cleanup_close(struct fl_images *images)
{
    if (images->deleting)
        ((struct batch *)images->deleting)->images = NULL;
    images->deleting = NULL;
}

static struct batch *batch_new(struct fl_images *images)
{
    int fd = open(images->layers_dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || images->layers_dir.n >= sizeof(((struct batch *)NULL)->path)) {
        fl_cleanup_fd(&fd);
        return NULL;
    }
    struct batch *batch = fl_calloc(1, sizeof(*batch));
    batch->images = images;
    batch->layers_fd = fd;
    memcpy(batch->path, images->layers_dir.p, images->layers_dir.n);
    return batch;
}

/* The layer is nobody's from here on. The name says to the next agent that it is a leftover. */
static void batch_add(struct batch *batch, const char *hex)
{
    char *name = batch->names[batch->count];
    /* The mark goes first: the layer may come back before it is flushed again. */
    fl_image_marks_forget(batch->layers_fd, hex);
    (void)snprintf(name, sizeof(batch->names[0]), "tmp.%s", hex);
    if (renameat(batch->layers_fd, hex, batch->layers_fd, name) == 0)
        batch->count++;
}

/* False: there was nothing to delete. */
static bool batch_start(struct batch *batch)
{
    struct fl_images *images = batch->images;
    batch->work.data = batch;
    if (batch->count == 0 ||
        uv_queue_work(images->tick->loop, &batch->work, delete_layers, after_delete) < 0) {
        (void)close(batch->layers_fd);
        free(batch);
        return false;
    }
    images->deleting = batch;
    return true;
}

/* ---- what is used ---- */

struct usage {
    struct fl_images *images;
    const struct fl_image_record *spared; /* going: its layers do not count */
    struct fl_digest used[4096];          /* manifests of containers, of as many tasks */
    size_t count;
    bool unknown; /* a container's image has no record: nothing is known of its layers */
};

static void add_used(void *context, struct fl_str digest)
{
    struct usage *usage = context;
    struct fl_digest parsed;
    if (!fl_digest_parse(digest, &parsed))
        return;
    for (size_t i = 0; i < usage->count; i++)
        if (fl_digest_eq(&usage->used[i], &parsed))
            return;
    if (usage->count == FL_ARRAY_SIZE(usage->used))
        usage->unknown = true;
    else
        usage->used[usage->count++] = parsed;
}

static bool has_record(const struct fl_images *images, const struct fl_digest *image)
{
    for (size_t i = 0; i < fl_image_records_count(images->records); i++)
        if (fl_digest_eq(&fl_image_records_at(images->records, i)->image, image))
            return true;
    return false;
}

/* A host that ran containers before it kept records: the built-in store may know. */
static bool make_record(struct fl_images *images, const struct fl_digest *digest)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_image image;
    struct fl_image_record facts = {.digest = *digest, .image = *digest};
    if (!images->store || fl_image_store_read_image(images->store, digest, arena, &image, NULL) < 0)
        return false;
    facts.layer_count = image.manifest.layer_count;
    facts.layers = fl_arena_new_array(arena, struct fl_digest, facts.layer_count + 1);
    for (size_t i = 0; i < facts.layer_count; i++)
        facts.layers[i] = image.manifest.layers[i].digest;
    facts.pulled_ms = facts.used_ms = fl_clock_wall_ms();
    return fl_image_records_put(images->records, &facts, FL_STR("")) == 0;
}

static struct usage *usage_new(struct fl_images *images)
{
    struct usage *usage = fl_calloc(1, sizeof(*usage));
    usage->images = images;
    images->config.each_used(images->config.context, add_used, usage);
    for (size_t i = 0; i < usage->count; i++)
        if (!has_record(images, &usage->used[i]) && !make_record(images, &usage->used[i]))
            usage->unknown = true;
    return usage;
}

static bool is_pulled(const struct fl_images *images, const struct fl_digest *digest)
{
    const struct fl_pull *pull;
    TAILQ_FOREACH (pull, &images->pulls, link)
        if (fl_digest_eq(&pull->facts.digest, digest))
            return true;
    return false;
}

static bool is_excluded(const struct fl_images *images, const struct fl_image_record *record)
{
    struct fl_str rest = images->config.excluded, name;
    while (fl_str_split(&rest, ',', &name)) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_image_name parsed;
        if (fl_image_name_parse(fl_str_trim(name), &parsed, NULL) < 0)
            continue;
        struct fl_str full = fl_image_name_full(&parsed, arena);
        parsed.host = images->identity.registry_host;
        struct fl_str own = fl_image_name_full(&parsed, arena);
        for (size_t i = 0; i < record->name_count; i++)
            if (fl_str_eq(record->names[i], full) || fl_str_eq(record->names[i], own))
                return true;
    }
    return false;
}

static bool is_used(const struct usage *usage, const struct fl_image_record *record)
{
    for (size_t i = 0; i < usage->count; i++)
        if (fl_digest_eq(&usage->used[i], &record->image))
            return true;
    return is_pulled(usage->images, &record->digest) || is_excluded(usage->images, record);
}

static bool has_layer(const struct fl_image_record *record, const struct fl_digest *layer)
{
    for (size_t i = 0; i < record->layer_count; i++)
        if (fl_digest_eq(&record->layers[i], layer))
            return true;
    return false;
}

static bool is_layer_kept(const struct usage *usage, const struct fl_digest *layer)
{
    const struct fl_images *images = usage->images;
    const struct fl_pull *pull;
    for (size_t i = 0; i < fl_image_records_count(images->records); i++) {
        const struct fl_image_record *record = fl_image_records_at(images->records, i);
        if (record != usage->spared && has_layer(record, layer))
            return true;
    }
    TAILQ_FOREACH (pull, &images->pulls, link)
        if (has_layer(&pull->facts, layer))
            return true;
    return false;
}

/* ---- choosing ---- */

/* The longest unused of those that may go; NULL: none. */
static struct fl_image_record *choose(const struct usage *usage, bool by_need)
{
    const struct fl_images *images = usage->images;
    int64_t newest = fl_clock_wall_ms() - images->config.cleanup_age_ms;
    struct fl_image_record *best = NULL;
    for (size_t i = 0; i < fl_image_records_count(images->records); i++) {
        struct fl_image_record *record = fl_image_records_at(images->records, i);
        if ((by_need || record->pulled_ms <= newest) && !is_used(usage, record) &&
            (!best || record->used_ms < best->used_ms))
            best = record;
    }
    return best;
}

static void remove_image(struct usage *usage, struct fl_image_record *record, struct batch *batch)
{
    struct fl_images *images = usage->images;
    struct fl_digest digest = record->digest;
    usage->spared = record;
    for (size_t i = 0; i < record->layer_count && batch->count < BATCH_LAYERS_MAX; i++)
        if (!is_layer_kept(usage, &record->layers[i]))
            batch_add(batch, record->layers[i].hex);
    usage->spared = NULL;
    fl_log_info("image %.*s is removed: nothing uses it",
                FL_STR_ARG(record->name_count ? record->names[0] : fl_str_of(digest.hex)));
    fl_images_uncache(images, &digest);
    fl_image_records_remove(images->records, &digest);
}

/* Layers that belong to no image: of pulls that failed late, of records that a power cut took. */
static void add_orphans(struct usage *usage, bool by_need, struct batch *batch)
{
    int fd = openat(batch->layers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int64_t newest_s = (fl_clock_wall_ms() - usage->images->config.untracked_age_ms) / 1000;
    struct dirent *entry;
    while (dir && batch->count < BATCH_LAYERS_MAX && (entry = readdir(dir)) != NULL) {
        struct fl_digest layer;
        struct stat st;
        if (fl_digest_parse_hex(fl_str_of(entry->d_name), &layer) &&
            !is_layer_kept(usage, &layer) &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (by_need || st.st_ctim.tv_sec <= newest_s))
            batch_add(batch, layer.hex);
    }
    if (dir)
        (void)closedir(dir);
}

/* True: a batch is on its way out, and fl_images_cleaned will be called. */
static bool clean(struct fl_images *images, bool by_need, int64_t images_max)
{
    struct batch *batch = images->deleting || !images->config.each_used ? NULL : batch_new(images);
    struct fl_image_record *record;
    if (!batch)
        return images->deleting != NULL;
    struct usage *usage = usage_new(images);
    if (usage->unknown && !images->said_unknown)
        fl_log_warn("images: none is removed, as a container's image is not known any more");
    images->said_unknown = usage->unknown;
    if (!usage->unknown)
        add_orphans(usage, by_need, batch);
    /* Where room is needed, one image at a time: it may be enough. */
    while (!usage->unknown && images_max-- > 0 && (!by_need || batch->count == 0) &&
           (record = choose(usage, by_need)) != NULL &&
           batch->count + record->layer_count <= BATCH_LAYERS_MAX)
        remove_image(usage, record, batch);
    free(usage);
    return batch_start(batch);
}

bool fl_images_make_room(struct fl_images *images)
{
    return clean(images, true, INT32_MAX);
}

static void look_at_room(struct fl_images *images)
{
    struct fl_image_room room;
    fl_images_room(images, &room);
    if (room.total == 0)
        return;
    bool goes_on = room.available < room.mark && fl_images_make_room(images);
    bool is_full = room.available < room.reserve && !goes_on;
    if (is_full)
        say_no_room(&room, 0, &images->ailment);
    if (is_full == images->is_full)
        return;
    images->is_full = is_full;
    if (is_full)
        fl_log_warn("images: %s", images->ailment.text);
    else
        fl_log_info("images: there is room again");
    if (images->config.ailment_changed)
        images->config.ailment_changed(images->config.context);
}

static void on_room(uv_timer_t *timer)
{
    struct fl_images *images = timer->data;
    int64_t now_ms = fl_clock_mono_ms();
    look_at_room(images);
    if (!images->config.no_cleanup && images->config.cleanup_interval_ms > 0 &&
        now_ms - images->cleaned_ms >= images->config.cleanup_interval_ms) {
        images->cleaned_ms = now_ms;
        (void)clean(images, false, images->config.cleanup_count);
    }
    fl_images_report(images);
}

void fl_images_cleanup_start(struct fl_images *images)
{
    images->cleaned_ms = fl_clock_mono_ms();
    uint64_t every_ms = images->config.room_check_ms > 0 ? (uint64_t)images->config.room_check_ms
                                                         : (uint64_t)ROOM_CHECK_MS;
    if (images->config.each_used)
        (void)uv_timer_start(images->room, on_room, every_ms, every_ms);
}

/* A batch is gone: perhaps there is room now, perhaps more has to go. */
void fl_images_cleaned(struct fl_images *images)
{
    look_at_room(images);
    if (!images->deleting)
        fl_images_unpark(images);
    fl_images_report(images);
}
