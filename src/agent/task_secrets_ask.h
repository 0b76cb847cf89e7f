/* What a task's secrets are asked for with, and what the answers say. No I/O.
 *
 * The sentences of failures are those of ECS's agent. */
#pragma once

#include "net/http_client.h"
#include "wire/secret_ref.h"
#include "wire/task_spec.h"

/* One thing to ask for, however many containers want it. */
struct fl_secret_item {
    enum fl_secret_provider provider;
    struct fl_str value_from;
    struct fl_str region;
    struct fl_secret_ref ref; /* of a secret */
    bool is_malformed;        /* value_from is no reference: ref is empty */
    bool is_login;            /* it has to hold a registry's user and password */
    struct fl_str value;      /* once it is here */
};

/* One call, and the items that its answer is to bring. */
struct fl_secret_question {
    enum fl_secret_provider provider;
    struct fl_str body;
    struct fl_secret_item **items;
    size_t item_count;
};

struct fl_secret_answer {
    struct fl_str error; /* empty: all items have their values */
    bool may_come_later; /* the same question may have another answer */
    bool has_answered;
};

/* All that is known of a task's secrets, each once, in the arena; it points into the arena alone.
 */
struct fl_secret_item *fl_secret_items(const struct fl_task_spec *task, struct fl_arena *arena,
                                       size_t *ret_count);
/* Why one of them can never be had, or empty; in the arena. */
struct fl_str fl_secret_mistake(const struct fl_secret_item *items, size_t count,
                                struct fl_arena *arena);
/* A question for each version of a secret, and one for ten parameters of a region at most. */
struct fl_secret_question *fl_secret_questions(struct fl_secret_item *items, size_t count,
                                               struct fl_arena *arena, size_t *ret_count);
/* Takes values into keep; the answer's texts are in the scratch arena. */
void fl_secret_take(const struct fl_secret_question *question,
                    const struct fl_http_response *response, struct fl_arena *keep,
                    struct fl_arena *scratch, struct fl_secret_answer *ret_answer);
