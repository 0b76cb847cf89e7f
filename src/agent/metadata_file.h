/* The container metadata file (ECS_ENABLE_CONTAINER_METADATA):
 * <agent's data>/metadata/<cluster>/<task id>/<container>/ecs-container-metadata.json, whose
 * directory the container sees read-only. Written INITIAL before the start and READY after it; by
 * rename, so that a reader sees one or the other. */
#pragma once

#include "agent/metadata_documents.h"
#include "base/err.h"

#define FL_METADATA_FILE "ecs-container-metadata.json"

/* The directory on the host, in the arena; empty when a name of the task cannot be one of a
 * directory. */
struct fl_str fl_metadata_file_dir(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                                   const struct fl_task_container *container,
                                   struct fl_arena *arena);
/* Where the container sees it, in the arena. */
struct fl_str fl_metadata_file_mount(const struct fl_task_container *container,
                                     struct fl_arena *arena);
int fl_metadata_file_write(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                           const struct fl_task_container *container, bool ready,
                           struct fl_err *err);
/* Removes the files of a task. */
void fl_metadata_file_remove(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                             struct fl_str task_arn);
