/* Driving a brain in tests: one event per turn, effects collected as text.
 *
 * The effects of a turn read "ensure web, report RUNNING"; a store (a list of records) follows the
 * flushes, so that a second brain can be built from it at any time. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "task/brain.h"
#include "task/record.h"
#include "wire/json.h"

enum { RIG_MAX_RECORDS = 256 };

struct rig {
    struct fl_brain *brain;
    struct fl_arena *arena; /* of the last turn */
    struct fl_brain_turn turn;
    int64_t now_ms;
    char *keys[RIG_MAX_RECORDS];
    char *values[RIG_MAX_RECORDS];
    char effects[2048]; /* of the last turn */
    bool obeyed;
};

static const struct fl_brain_config rig_config = {.stop_timeout_ms = 30000,
                                                  .cleanup_delay_ms = 10000};

static inline size_t rig_slot(const struct rig *rig, struct fl_str key)
{
    size_t free_slot = RIG_MAX_RECORDS;
    for (size_t i = RIG_MAX_RECORDS; i-- > 0;) {
        if (rig->keys[i] && fl_str_is(key, rig->keys[i]))
            return i;
        if (!rig->keys[i])
            free_slot = i;
    }
    assert_true(free_slot < RIG_MAX_RECORDS);
    return free_slot;
}

static inline void rig_store(struct rig *rig, const struct fl_brain_record *record)
{
    size_t i = rig_slot(rig, record->key);
    free(rig->keys[i]);
    free(rig->values[i]);
    rig->keys[i] = rig->values[i] = NULL;
    if (record->value.n == 0)
        return;
    rig->keys[i] = fl_strndup(record->key.p, record->key.n);
    rig->values[i] = fl_strndup(record->value.p, record->value.n);
}

static inline struct fl_str rig_name(const struct rig *rig, const struct fl_effect *effect)
{
    const struct fl_task_container *container =
        fl_brain_container(rig->brain, effect->container_id);
    return container ? container->spec->name : FL_STR("?");
}

static inline void rig_describe(struct rig *rig, const struct fl_effect *effect)
{
    static const char *const verbs[] = {
        [FL_EFFECT_ENSURE_IMAGE] = "ensure",
        [FL_EFFECT_PREPARE] = "prepare",
        [FL_EFFECT_LAUNCH] = "launch",
        [FL_EFFECT_ADOPT] = "adopt",
        [FL_EFFECT_SIGNAL] = "signal",
        [FL_EFFECT_RELEASE] = "release",
        [FL_EFFECT_REPORT] = "report",
        [FL_EFFECT_ACK] = "ack",
        [FL_EFFECT_STOP_VERIFICATION] = "verify",
        [FL_EFFECT_REMOVE] = "remove",
    };
    size_t n = strlen(rig->effects);
    char *at = rig->effects + n;
    size_t room = sizeof(rig->effects) - n;
    const char *comma = n ? ", " : "";
    struct fl_str name = rig_name(rig, effect);
    const char *verb = verbs[effect->type];
    if (effect->type == FL_EFFECT_REPORT) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        const struct fl_json *body = fl_json_read(effect->text, arena, NULL);
        (void)snprintf(at, room, "%sreport %s", comma, fl_json_z(fl_json_get(body, "status")));
    } else if (effect->type == FL_EFFECT_SIGNAL) {
        (void)snprintf(at, room, "%ssignal %.*s %d", comma, FL_STR_ARG(name), (int)effect->number);
    } else if (effect->container_id.n > 0) {
        (void)snprintf(at, room, "%s%s %.*s", comma, verb, FL_STR_ARG(name));
    } else {
        (void)snprintf(at, room, "%s%s", comma, verb);
    }
}

static inline void rig_step(struct rig *rig, struct fl_brain_event event)
{
    event.now_ms = rig->now_ms;
    event.wall_ms = 1700000000000 + rig->now_ms;
    fl_arena_reset(rig->arena);
    rig->turn = (struct fl_brain_turn){.arena = rig->arena};
    rig->effects[0] = '\0';
    rig->obeyed = fl_brain_step(rig->brain, &event, &rig->turn);
    fl_brain_flush(rig->brain, &rig->turn);
    for (size_t i = 0; i < rig->turn.record_count; i++)
        rig_store(rig, &rig->turn.records[i]);
    for (const struct fl_effect *effect = rig->turn.first; effect; effect = effect->next)
        rig_describe(rig, effect);
}

static inline void rig_boot(struct rig *rig, const char *boot_id)
{
    rig_step(rig,
             (struct fl_brain_event){.type = FL_EVENT_BOOT, .boot.boot_id = fl_str_of(boot_id)});
}

/* A brain rebuilt from the stored records, before its BOOT event. */
static inline struct fl_brain *rig_rebuild(const struct rig *rig)
{
    struct fl_err err;
    struct fl_brain *brain = fl_brain_new(&rig_config);
    for (size_t i = 0; i < RIG_MAX_RECORDS; i++)
        if (rig->keys[i])
            assert_int_equal(
                fl_brain_load(brain, fl_str_of(rig->keys[i]), fl_str_of(rig->values[i]), &err), 0);
    return brain;
}

static inline void rig_restart(struct rig *rig, const char *boot_id)
{
    struct fl_brain *brain = rig_rebuild(rig);
    fl_brain_free(rig->brain);
    rig->brain = brain;
    rig_boot(rig, boot_id);
}

static inline struct rig *rig_new(void)
{
    struct rig *rig = fl_calloc(1, sizeof(*rig));
    rig->arena = fl_arena_new();
    rig->brain = fl_brain_new(&rig_config);
    rig_boot(rig, "boot-1");
    return rig;
}

static inline void rig_free(struct rig *rig)
{
    for (size_t i = 0; i < RIG_MAX_RECORDS; i++) {
        free(rig->keys[i]);
        free(rig->values[i]);
    }
    fl_brain_free(rig->brain);
    fl_arena_free(rig->arena);
    free(rig);
}

static inline struct fl_str rig_id(const struct rig *rig, const char *arn, const char *name)
{
    const struct fl_task *task = fl_brain_task(rig->brain, fl_str_of(arn));
    assert_non_null(task);
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_str_is(task->containers[i].spec->name, name))
            return fl_str_of(task->containers[i].id);
    return (struct fl_str){0};
}
