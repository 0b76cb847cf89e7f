/* A deep copy of a specification: the structure is copied whole, then every text and list of it. */
#include "wire/task_spec.h"

static void own_str(struct fl_arena *arena, struct fl_str *text)
{
    if (text->n)
        *text = fl_str_dup(arena, *text);
}

/* A list of count items of that size; the caller owns what they point to. An empty list is another
 * thing than none. */
static void *own_list(struct fl_arena *arena, const void *items, size_t count, size_t size)
{
    return items ? fl_arena_memdup(arena, items, count * size) : NULL;
}

static struct fl_str *own_strings(struct fl_arena *arena, const struct fl_str *items, size_t count)
{
    struct fl_str *copy = own_list(arena, items, count, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        own_str(arena, &copy[i]);
    return copy;
}

static struct fl_key_value *own_map(struct fl_arena *arena, const struct fl_key_value *items,
                                    size_t count)
{
    struct fl_key_value *copy = own_list(arena, items, count, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        own_str(arena, &copy[i].key);
        own_str(arena, &copy[i].value);
    }
    return copy;
}

static void own_ulimits(struct fl_arena *arena, struct fl_container_spec *c)
{
    c->ulimits = own_list(arena, c->ulimits, c->ulimit_count, sizeof(*c->ulimits));
    for (size_t i = 0; i < c->ulimit_count; i++)
        own_str(arena, &c->ulimits[i].name);
}

static void own_mounts(struct fl_arena *arena, struct fl_container_spec *c)
{
    c->mounts = own_list(arena, c->mounts, c->mount_count, sizeof(*c->mounts));
    for (size_t i = 0; i < c->mount_count; i++) {
        own_str(arena, &c->mounts[i].source_volume);
        own_str(arena, &c->mounts[i].container_path);
    }
}

static void own_life(struct fl_arena *arena, struct fl_container_spec *c)
{
    struct fl_restart_policy *restart = &c->restart;
    c->depends_on = own_list(arena, c->depends_on, c->depends_on_count, sizeof(*c->depends_on));
    for (size_t i = 0; i < c->depends_on_count; i++)
        own_str(arena, &c->depends_on[i].container);
    c->health_check.test = own_strings(arena, c->health_check.test, c->health_check.test_count);
    restart->ignored_exit_codes =
        own_list(arena, restart->ignored_exit_codes, restart->ignored_exit_code_count,
                 sizeof(*restart->ignored_exit_codes));
}

static void own_devices(struct fl_arena *arena, struct fl_docker_spec *d)
{
    d->devices = own_list(arena, d->devices, d->device_count, sizeof(*d->devices));
    for (size_t i = 0; i < d->device_count; i++) {
        own_str(arena, &d->devices[i].host_path);
        own_str(arena, &d->devices[i].container_path);
        own_str(arena, &d->devices[i].permissions);
    }
}

static void own_docker(struct fl_arena *arena, struct fl_docker_spec *d)
{
    d->dns_servers = own_strings(arena, d->dns_servers, d->dns_server_count);
    d->dns_search = own_strings(arena, d->dns_search, d->dns_search_count);
    d->extra_hosts = own_strings(arena, d->extra_hosts, d->extra_host_count);
    d->security_options = own_strings(arena, d->security_options, d->security_option_count);
    d->cap_add = own_strings(arena, d->cap_add, d->cap_add_count);
    d->cap_drop = own_strings(arena, d->cap_drop, d->cap_drop_count);
    own_devices(arena, d);
    d->tmpfs = own_map(arena, d->tmpfs, d->tmpfs_count);
    d->sysctls = own_map(arena, d->sysctls, d->sysctl_count);
}

static void own_volumes_from(struct fl_arena *arena, struct fl_container_spec *c)
{
    c->volumes_from =
        own_list(arena, c->volumes_from, c->volumes_from_count, sizeof(*c->volumes_from));
    for (size_t i = 0; i < c->volumes_from_count; i++)
        own_str(arena, &c->volumes_from[i].source_container);
}

static void own_secrets(struct fl_arena *arena, struct fl_container_spec *c)
{
    c->secrets = own_list(arena, c->secrets, c->secret_count, sizeof(*c->secrets));
    for (size_t i = 0; i < c->secret_count; i++) {
        own_str(arena, &c->secrets[i].name);
        own_str(arena, &c->secrets[i].value_from);
        own_str(arena, &c->secrets[i].region);
    }
}

static void own_container(struct fl_arena *arena, struct fl_container_spec *c)
{
    struct fl_str *const texts[] = {
        &c->name,       &c->image,           &c->arn,
        &c->user,       &c->working_dir,     &c->hostname,
        &c->log_driver, &c->registry_secret, &c->registry_secret_region};
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++)
        own_str(arena, texts[i]);
    c->entry_point = own_strings(arena, c->entry_point, c->entry_point_count);
    c->command = own_strings(arena, c->command, c->command_count);
    c->environment = own_map(arena, c->environment, c->environment_count);
    own_secrets(arena, c);
    c->ports = own_list(arena, c->ports, c->port_count, sizeof(*c->ports));
    own_life(arena, c);
    c->labels = own_map(arena, c->labels, c->label_count);
    own_ulimits(arena, c);
    own_mounts(arena, c);
    c->gpus = own_strings(arena, c->gpus, c->gpu_count);
    c->log_options = own_map(arena, c->log_options, c->log_option_count);
    c->links = own_strings(arena, c->links, c->link_count);
    own_volumes_from(arena, c);
    own_docker(arena, &c->docker);
}

static void own_volumes(struct fl_arena *arena, struct fl_task_spec *spec)
{
    spec->volumes = own_list(arena, spec->volumes, spec->volume_count, sizeof(*spec->volumes));
    for (size_t i = 0; i < spec->volume_count; i++) {
        struct fl_volume_spec *v = &spec->volumes[i];
        own_str(arena, &v->name);
        own_str(arena, &v->host_path);
        own_str(arena, &v->driver);
        v->driver_opts = own_map(arena, v->driver_opts, v->driver_opt_count);
        v->labels = own_map(arena, v->labels, v->label_count);
    }
}

void fl_task_spec_copy(const struct fl_task_spec *spec, struct fl_arena *arena,
                       struct fl_task_spec *ret_copy)
{
    struct fl_task_spec copy = *spec;
    struct fl_str *const texts[] = {&copy.arn,           &copy.cluster_arn, &copy.family,
                                    &copy.revision,      &copy.group,       &copy.launch_type,
                                    &copy.credentials_id};
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++)
        own_str(arena, texts[i]);
    copy.containers =
        own_list(arena, copy.containers, copy.container_count, sizeof(*copy.containers));
    for (size_t i = 0; i < copy.container_count; i++)
        own_container(arena, &copy.containers[i]);
    own_volumes(arena, &copy);
    *ret_copy = copy;
}
