/* Records of pulled images: one JSON file each, all of them in memory. */
#include "agent/image_records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "wire/json.h"

/* Texts in JSON may need six bytes for one. */
enum { RECORD_MAX_BYTES = 16 << 20 };

struct fl_image_records {
    struct fl_image_record *items[FL_IMAGE_RECORDS_MAX];
    size_t count;
    int dir_fd;
};

static void record_free(struct fl_image_record *record)
{
    fl_arena_free(record->arena);
}

int fl_image_record_parse(const struct fl_image_record *record, struct fl_arena *arena,
                          struct fl_image *ret_image, struct fl_err *err)
{
    struct fl_image image = {.digest = record->image};
    int rc = fl_manifest_parse(record->manifest, FL_STR(""), arena, &image.manifest, err);
    if (rc == 0 && image.manifest.is_index)
        rc = fl_err_set(err, -EINVAL, "the image index lists another index");
    if (rc == 0)
        rc = fl_oci_config_parse(record->config, arena, &image.config, err);
    if (rc == 0 && image.config.diff_id_count != image.manifest.layer_count)
        rc = fl_err_set(err, -EINVAL, "the image configuration has %zu diff_ids for %zu layers",
                        image.config.diff_id_count, image.manifest.layer_count);
    if (rc == 0)
        *ret_image = image;
    return rc;
}

/* ---- files ---- */

static void write_digest(struct fl_json_writer *jw, const char *key, const struct fl_digest *digest)
{
    fl_jw_member_str(jw, key, fl_str_of(digest->hex));
}

static void write_record(const struct fl_image_record *record, struct fl_buf *buf)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "v", 1);
    write_digest(&jw, "digest", &record->digest);
    write_digest(&jw, "image", &record->image);
    fl_jw_key(&jw, "names");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < record->name_count; i++)
        fl_jw_str(&jw, record->names[i]);
    fl_jw_array_end(&jw);
    fl_jw_key(&jw, "layers");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < record->layer_count; i++)
        fl_jw_str(&jw, fl_str_of(record->layers[i].hex));
    fl_jw_array_end(&jw);
    fl_jw_member_int(&jw, "pulled", record->pulled_ms);
    fl_jw_member_int(&jw, "used", record->used_ms);
    fl_jw_member_int(&jw, "bytes", (int64_t)record->bytes);
    fl_jw_member_str(&jw, "manifest", record->manifest);
    fl_jw_member_str(&jw, "config", record->config);
    fl_jw_object_end(&jw);
}

static int save(const struct fl_image_records *records, const struct fl_image_record *record)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(RECORD_MAX_BYTES);
    write_record(record, &text);
    if (text.overflow)
        return -EFBIG;
    return fl_fs_write_fast(records->dir_fd, record->digest.hex, fl_buf_str(&text), 0600);
}

static bool read_digest(const struct fl_json *json, struct fl_digest *ret_digest)
{
    return fl_digest_parse_hex(fl_json_text(json), ret_digest);
}

static bool read_lists(const struct fl_json *root, struct fl_image_record *record)
{
    const struct fl_json *names = fl_json_get(root, "names"), *layers = fl_json_get(root, "layers");
    record->name_count = FL_MIN(fl_json_items(names), (size_t)FL_IMAGE_RECORD_NAMES_MAX);
    for (size_t i = 0; i < record->name_count; i++)
        record->names[i] = fl_json_text(fl_json_item(names, i));
    record->layer_count = fl_json_items(layers);
    record->layers = fl_arena_new_array(record->arena, struct fl_digest, record->layer_count + 1);
    for (size_t i = 0; i < record->layer_count; i++)
        if (!read_digest(fl_json_item(layers, i), &record->layers[i]))
            return false;
    return record->layer_count <= FL_LAYERS_MAX;
}

/* A power cut may have left anything: what is not what its digests say is no record. */
static bool is_true(const struct fl_image_record *record)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_image image;
    if (record->manifest.n == 0)
        return true;
    struct fl_digest manifest = fl_digest_of(record->manifest);
    struct fl_digest config = fl_digest_of(record->config);
    return fl_digest_eq(&manifest, &record->image) &&
           fl_image_record_parse(record, arena, &image, NULL) == 0 &&
           fl_digest_eq(&config, &image.manifest.config.digest);
}

static struct fl_image_record *load(const struct fl_image_records *records, const char *name)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(RECORD_MAX_BYTES);
    struct fl_arena *arena = fl_arena_new();
    struct fl_image_record *record = fl_arena_new_object(arena, struct fl_image_record);
    record->arena = arena;
    const struct fl_json *root = NULL;
    if (fl_fs_read(records->dir_fd, name, text.max, &text) == 0)
        root = fl_json_read(fl_buf_str(&text), arena, NULL);
    record->manifest = fl_json_text(fl_json_get(root, "manifest"));
    record->config = fl_json_text(fl_json_get(root, "config"));
    record->pulled_ms = fl_json_int(fl_json_get(root, "pulled"));
    record->used_ms = fl_json_int(fl_json_get(root, "used"));
    record->bytes = (uint64_t)fl_json_int(fl_json_get(root, "bytes"));
    if (fl_json_int(fl_json_get(root, "v")) == 1 &&
        read_digest(fl_json_get(root, "digest"), &record->digest) &&
        read_digest(fl_json_get(root, "image"), &record->image) &&
        strcmp(record->digest.hex, name) == 0 && read_lists(root, record) && is_true(record))
        return record;
    record_free(record);
    return NULL;
}

static void load_all(struct fl_image_records *records)
{
    int fd = openat(records->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        struct fl_digest digest;
        if (!fl_digest_parse_hex(fl_str_of(entry->d_name), &digest) ||
            records->count == FL_IMAGE_RECORDS_MAX)
            continue;
        struct fl_image_record *record = load(records, entry->d_name);
        if (record)
            records->items[records->count++] = record;
        else
            (void)unlinkat(records->dir_fd, entry->d_name, 0);
    }
    if (dir)
        (void)closedir(dir);
}

int fl_image_records_open(struct fl_str dir, struct fl_image_records **ret_records,
                          struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const char *path = fl_str_z(arena, dir);
    int rc = fl_fs_mkdirs(path, 0700);
    int fd = rc < 0 ? rc : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fl_err_errno(err, rc < 0 ? rc : -errno, "cannot open %s", path);
    struct fl_image_records *records = fl_calloc(1, sizeof(*records));
    records->dir_fd = fd;
    load_all(records);
    *ret_records = records;
    return 0;
}

void fl_image_records_close(struct fl_image_records *records)
{
    if (!records)
        return;
    for (size_t i = 0; i < records->count; i++) {
        /* When it was used last is worth a file once, not at every start. */
        (void)save(records, records->items[i]);
        record_free(records->items[i]);
    }
    (void)close(records->dir_fd);
    free(records);
}

/* ---- finding ---- */

size_t fl_image_records_count(const struct fl_image_records *records)
{
    return records->count;
}

struct fl_image_record *fl_image_records_at(const struct fl_image_records *records, size_t i)
{
    return records->items[i];
}

struct fl_image_record *fl_image_records_find(const struct fl_image_records *records,
                                              const struct fl_digest *digest)
{
    for (size_t i = 0; i < records->count; i++)
        if (fl_digest_eq(&records->items[i]->digest, digest))
            return records->items[i];
    return NULL;
}

static bool has_name(const struct fl_image_record *record, struct fl_str name)
{
    for (size_t i = 0; i < record->name_count; i++)
        if (fl_str_eq(record->names[i], name))
            return true;
    return false;
}

struct fl_image_record *fl_image_records_named(const struct fl_image_records *records,
                                               struct fl_str name)
{
    for (size_t i = 0; i < records->count; i++)
        if (has_name(records->items[i], name))
            return records->items[i];
    return NULL;
}

/* ---- changing ---- */

static void drop_name(struct fl_image_record *record, struct fl_str name)
{
    size_t kept = 0;
    for (size_t i = 0; i < record->name_count; i++)
        if (!fl_str_eq(record->names[i], name))
            record->names[kept++] = record->names[i];
    record->name_count = kept;
}

static struct fl_image_record *add(struct fl_image_records *records,
                                   const struct fl_image_record *facts)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_image_record *record = fl_arena_new_object(arena, struct fl_image_record);
    *record = *facts;
    record->arena = arena;
    record->name_count = 0;
    record->manifest = fl_str_dup(arena, facts->manifest);
    record->config = fl_str_dup(arena, facts->config);
    record->layers = fl_arena_new_array(arena, struct fl_digest, facts->layer_count + 1);
    for (size_t i = 0; i < facts->layer_count; i++)
        record->layers[i] = facts->layers[i];
    records->items[records->count++] = record;
    return record;
}

int fl_image_records_put(struct fl_image_records *records, const struct fl_image_record *facts,
                         struct fl_str name)
{
    struct fl_image_record *record = fl_image_records_find(records, &facts->digest);
    struct fl_image_record *other = fl_image_records_named(records, name);
    if (record && other == record)
        return 0;
    if (!record && records->count == FL_IMAGE_RECORDS_MAX)
        return -ENOSPC;
    if (!record)
        record = add(records, facts);
    if (other) {
        drop_name(other, name);
        (void)save(records, other);
    }
    if (record->name_count == FL_IMAGE_RECORD_NAMES_MAX)
        drop_name(record, record->names[0]);
    if (name.n)
        record->names[record->name_count++] = fl_str_dup(record->arena, name);
    return save(records, record);
}

void fl_image_records_remove(struct fl_image_records *records, const struct fl_digest *digest)
{
    for (size_t i = 0; i < records->count; i++) {
        struct fl_image_record *record = records->items[i];
        if (!fl_digest_eq(&record->digest, digest))
            continue;
        (void)unlinkat(records->dir_fd, record->digest.hex, 0);
        records->items[i] = records->items[--records->count];
        record_free(record);
        return;
    }
}
