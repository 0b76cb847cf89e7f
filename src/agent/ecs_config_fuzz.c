/* An ecs.config that anybody wrote. Whatever it says, the settings are within their bounds, every
 * list within its cap, and a file that is refused says in which line. */
#include "agent/ecs_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_texts(struct fl_ecs_texts texts)
{
    FL_ASSERT(texts.n <= FL_ECS_CONFIG_MAX_ITEMS);
    for (size_t i = 0; i < texts.n; i++)
        FL_ASSERT(texts.items[i].n > 0);
}

static void check_range(struct fl_ecs_range range)
{
    FL_ASSERT(range.low >= 0 && range.low <= range.high);
}

static void check(const struct fl_ecs_settings *settings)
{
    check_texts(settings->reserved_ports);
    check_texts(settings->reserved_ports_udp);
    check_texts(settings->logging_drivers);
    check_range(settings->metadata_rps);
    check_range(settings->dynamic_ports);
    FL_ASSERT(settings->dynamic_ports.high <= UINT16_MAX);
    FL_ASSERT(settings->instance_attributes.n <= FL_ECS_CONFIG_MAX_ITEMS);
    FL_ASSERT(settings->instance_tags.n <= FL_ECS_CONFIG_MAX_ITEMS);
    FL_ASSERT(settings->reserved_memory_mib >= 0 && settings->task_pids_limit >= 0);
    FL_ASSERT(settings->cleanup_delay_ms >= 1000);
    FL_ASSERT(settings->stop_timeout_ms > 0);
    FL_ASSERT(settings->polling_interval_ms >= 5000 && settings->polling_interval_ms <= 20000);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_ecs_settings settings;
    struct fl_ecs_notes notes;
    struct fl_err err = {0};
    struct fl_str text = {(const char *)bytes, n};
    if (fl_ecs_config_parse(text, "it", arena, &settings, &notes, &err) == 0)
        check(&settings);
    else
        FL_ASSERT(fl_str_starts(fl_str_of(err.text), FL_STR("it, line ")));
    return 0;
}
