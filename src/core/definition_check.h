/* The parts of fl_check_definition, which refuses what ECS would refuse. Private to core. */
#pragma once

#include "core/decide.h"
#include "wire/task_spec.h"

/* A task's size as ECS reads it: "1024", "1 vCPU", ".25 vcpu" in CPU units; "2048", "2 GB", "0.5GB"
 * in MiB. False for anything else. */
bool fl_read_cpu(struct fl_str text, int64_t *ret_units);
bool fl_read_memory(struct fl_str text, int64_t *ret_mib);

/* A name as families, containers and volumes have it: 1 to 255 of A–Z a–z 0–9 - _. */
bool fl_is_definition_name(struct fl_str s);
/* The network mode that counts: bridge when none is given. */
enum ecs_NetworkMode fl_network_mode(const struct ecs_RegisterTaskDefinitionRequest *in);
/* An option of a log driver; empty when it is not given. */
struct fl_str fl_log_option(const struct fl_str_map *options, const char *key);
/* The container's index in the definition, or -1. */
ptrdiff_t fl_container_index(const struct ecs_RegisterTaskDefinitionRequest *in,
                             struct fl_str name);

/* definition_container.c: one container, against itself and the others. 0 or refused. */
int fl_check_container(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       size_t index);
/* definition_ports.c: the ports of all containers. 0 or refused. */
int fl_check_ports(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in);

/* definition_fargate.c: what Fargate asks beyond that. 0 or refused. */
int fl_check_fargate(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in);
/* Fills compatibilities: EC2 always, EXTERNAL but for awsvpc, FARGATE for what it would take. */
void fl_derive_compatibilities(struct fl_decision *d,
                               const struct ecs_RegisterTaskDefinitionRequest *in,
                               struct ecs_TaskDefinition *def);
