/* Options from definitions: "driver\nkey=value\nkey=value…", and a tag, an address, a size and a
 * time's format from the same text. What is accepted is within bounds. */
#include "agent/log_options.h"
#include "agent/log_pattern.h"
#include "agent/log_tag.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MOST = 30 };

static void check_plan(const struct fl_log_plan *plan)
{
    FL_ASSERT(plan->buffer_bytes >= 0 && plan->file_bytes >= 0 && plan->file_count >= 0);
    FL_ASSERT(plan->buffer_bytes == 0 || plan->drops);
    FL_ASSERT(plan->facility >= 0 && plan->facility < 24);
    FL_ASSERT(plan->retry_wait_ms >= 0 && plan->max_retries >= 0);
    FL_ASSERT(plan->kind != FL_LOG_AWSLOGS || (plan->group.n > 0 && plan->stream.p));
}

static void check_texts(struct fl_str text, const struct fl_log_facts *facts,
                        struct fl_arena *arena)
{
    struct fl_log_address address;
    struct fl_str tag = {0};
    if (fl_log_address_read(text, "514", &address))
        FL_ASSERT(address.path.n > 0 ? address.path.n <= 107 : address.host.n > 0);
    if (fl_log_tag(text, facts, arena, &tag, NULL) == 0)
        FL_ASSERT(tag.n <= 1024);
    FL_ASSERT(fl_log_size(text) >= -1);
    struct fl_str pattern = fl_log_datetime_pattern(text, arena);
    fl_log_pattern_free(fl_log_pattern_new(pattern, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str rest = {(const char *)bytes, n}, line = {0};
    struct fl_key_value options[MOST];
    struct fl_key_value labels[] = {{FL_STR("a"), FL_STR("1")}, {FL_STR("team"), FL_STR("x")}};
    struct fl_container_spec spec = {
        .log_options = options, .environment = labels, .environment_count = 2};
    const struct fl_log_facts facts = {.id = FL_STR("0123456789abcdef"),
                                       .name = FL_STR("ecs-a-1-b"),
                                       .image = FL_STR("i"),
                                       .region = FL_STR("r"),
                                       .labels = labels,
                                       .label_count = 2};
    struct fl_log_plan plan;
    if (fl_str_split(&rest, '\n', &line))
        spec.log_driver = line;
    check_texts(line, &facts, arena);
    while (spec.log_option_count < MOST && fl_str_split(&rest, '\n', &line)) {
        struct fl_str key;
        if (fl_str_split(&line, '=', &key))
            options[spec.log_option_count++] = (struct fl_key_value){key, line};
        check_texts(line, &facts, arena);
    }
    if (fl_log_plan_read(&spec, &facts, arena, &plan, NULL) == 0)
        check_plan(&plan);
    return 0;
}
