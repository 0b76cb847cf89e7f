/* Telemetry frames from a hostile agent. What is acknowledged is of a known type, and a frame that
 * cannot be read says why. The core knows no task of it, as would be for most that it invents. */
#include "server/telemetry_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

void fl_engine_step(FL_UNUSED struct fl_engine *engine, struct fl_core_event *event)
{
    FL_ASSERT(event->health_count > 0);
    for (size_t i = 0; i < event->health_count; i++)
        FL_ASSERT(event->health[i].status >= 0 && event->health[i].type >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct fl_core_config config = {.region = FL_STR("r"), .account = FL_STR("1")};
    const struct fl_telemetry_source source = {FL_STR("default"), FL_STR("0123")};
    struct fl_str frame = {(const char *)bytes, n};
    struct fl_core *core = fl_core_new(&config);
    struct fl_measures *measures = fl_measures_new(core);
    struct fl_err err;
    const char *ack = fl_telemetry_take(&source, frame, measures, NULL, 1, &err);
    FL_ASSERT(!ack || strncmp(ack, "AckPublish", 10) == 0);
    FL_ASSERT(fl_telemetry_body(frame).n <= n);
    fl_measures_free(measures);
    fl_core_free(core);
    return 0;
}
