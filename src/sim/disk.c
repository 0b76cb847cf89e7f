/* Durable records in a tree. */
#include "sim/disk.h"

static int order(const struct sim_record *a, const struct sim_record *b)
{
    return fl_str_cmp(a->key, b->key);
}

RB_GENERATE_INTERNAL(sim_record_tree, sim_record, by_key, order, FL_UNUSED static)

struct sim_value *sim_value_text(struct fl_str text)
{
    struct sim_value *value = fl_malloc(sizeof(*value) + text.n);
    char *bytes = (char *)(value + 1);
    memcpy(bytes, text.p, text.n);
    *value = (struct sim_value){.holders = 1, .text = {bytes, text.n}};
    return value;
}

struct sim_value *sim_value_object(int kind, void *object, void (*free_object)(void *object))
{
    struct sim_value *value = fl_malloc(sizeof(*value));
    *value = (struct sim_value){
        .holders = 1, .kind = kind, .object = object, .free_object = free_object};
    return value;
}

struct sim_value *sim_value_hold(struct sim_value *value)
{
    value->holders++;
    return value;
}

void sim_value_release(struct sim_value *value)
{
    if (!value || --value->holders > 0)
        return;
    if (value->object)
        value->free_object(value->object);
    free(value);
}

void sim_disk_init(struct sim_disk *disk)
{
    *disk = (struct sim_disk){0};
    RB_INIT(&disk->records);
    TAILQ_INIT(&disk->waiting);
}

void sim_disk_append(struct sim_disk *disk, struct sim_commit *commit)
{
    TAILQ_INSERT_TAIL(&disk->waiting, commit, entry);
    disk->waiting_count++;
    disk->waiting_writes += commit->count;
}

static struct sim_record *record_new(struct fl_str key)
{
    struct sim_record *record = fl_malloc(sizeof(*record) + key.n);
    char *bytes = (char *)(record + 1);
    memcpy(bytes, key.p, key.n);
    record->key = (struct fl_str){bytes, key.n};
    return record;
}

static void forget(struct sim_disk *disk, struct sim_record *record)
{
    (void)RB_REMOVE(sim_record_tree, &disk->records, record);
    sim_value_release(record->value);
    free(record);
}

void sim_disk_write(struct sim_disk *disk, struct fl_str key, struct sim_value *value)
{
    struct sim_record probe = {.key = key};
    struct sim_record *record = RB_FIND(sim_record_tree, &disk->records, &probe);
    if (!value) {
        if (record)
            forget(disk, record);
        return;
    }
    if (record) {
        sim_value_release(record->value);
    } else {
        record = record_new(key);
        (void)RB_INSERT(sim_record_tree, &disk->records, record);
    }
    record->value = sim_value_hold(value);
}

static struct sim_commit *take(struct sim_disk *disk)
{
    struct sim_commit *commit = TAILQ_FIRST(&disk->waiting);
    if (!commit)
        return NULL;
    TAILQ_REMOVE(&disk->waiting, commit, entry);
    disk->waiting_count--;
    disk->waiting_writes -= commit->count;
    return commit;
}

struct sim_commit *sim_disk_apply(struct sim_disk *disk)
{
    struct sim_commit *commit = take(disk);
    for (size_t i = 0; commit && i < commit->count; i++)
        sim_disk_write(disk, commit->writes[i].key, commit->writes[i].value);
    return commit;
}

struct sim_commit *sim_disk_lose(struct sim_disk *disk)
{
    return take(disk);
}

const struct sim_record *sim_disk_find(const struct sim_disk *disk, struct fl_str key)
{
    struct sim_record probe = {.key = key};
    return RB_FIND(sim_record_tree, (struct sim_record_tree *)&disk->records, &probe);
}

const struct sim_record *sim_disk_next(const struct sim_disk *disk, const struct sim_record *at)
{
    struct sim_record_tree *tree = (struct sim_record_tree *)&disk->records;
    return at ? RB_NEXT(sim_record_tree, tree, (struct sim_record *)at)
              : RB_MIN(sim_record_tree, tree);
}

void sim_disk_wipe(struct sim_disk *disk)
{
    struct sim_record *record;
    while ((record = RB_MIN(sim_record_tree, &disk->records)) != NULL)
        forget(disk, record);
}
