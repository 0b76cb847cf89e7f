/* Merging arguments and environments; names of limits. Pure. */
#include "agent/bundle_args.h"

#include <errno.h>
#include <sys/resource.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int fl_bundle_args(const struct fl_container_spec *container, const struct fl_image_config *image,
                   struct fl_arena *arena, struct fl_str **ret_args, size_t *ret_count,
                   struct fl_err *err)
{
    bool own_entry = container->entry_point_count > 0;
    bool own_command = container->command_count > 0;
    const struct fl_str *entry = own_entry ? container->entry_point : image->entry_point;
    size_t entry_count = own_entry ? container->entry_point_count : image->entry_point_count;
    const struct fl_str *command = own_command ? container->command : image->command;
    size_t command_count = own_command ? container->command_count
                           : own_entry ? 0
                                       : image->command_count;
    size_t n = 0;
    if (entry_count + command_count == 0)
        return fl_err_set(err, -EINVAL, "No command specified");
    struct fl_str *args = fl_arena_new_array(arena, struct fl_str, 2 + entry_count + command_count);
    if (container->docker.init) {
        args[n++] = FL_STR(FL_BUNDLE_INIT_PLACE);
        args[n++] = FL_STR("--");
    }
    for (size_t i = 0; i < entry_count; i++)
        args[n++] = entry[i];
    for (size_t i = 0; i < command_count; i++)
        args[n++] = command[i];
    *ret_args = args;
    *ret_count = n;
    return 0;
}

struct environment {
    struct fl_str *items;
    size_t count;
};

static struct fl_str name_of(struct fl_str item)
{
    ptrdiff_t equals = fl_str_index(item, '=');
    return equals < 0 ? item : fl_str_sub(item, 0, (size_t)equals);
}

static void set_item(struct environment *env, struct fl_str item)
{
    struct fl_str name = name_of(item);
    if (name.n == 0)
        return;
    for (size_t i = 0; i < env->count; i++)
        if (fl_str_eq(name_of(env->items[i]), name)) {
            env->items[i] = item;
            return;
        }
    env->items[env->count++] = item;
}

static void set_pairs(struct environment *env, const struct fl_key_value *pairs, size_t count,
                      struct fl_arena *arena)
{
    for (size_t i = 0; i < count; i++)
        set_item(env, fl_str_printf(arena, "%.*s=%.*s", FL_STR_ARG(pairs[i].key),
                                    FL_STR_ARG(pairs[i].value)));
}

void fl_bundle_environment(const struct fl_launch *launch, struct fl_str hostname,
                           struct fl_arena *arena, struct fl_str **ret_items, size_t *ret_count)
{
    size_t most = 2 + launch->image->environment_count + launch->extra_environment_count +
                  launch->container->environment_count + launch->secret_count;
    struct environment env = {.items = fl_arena_new_array(arena, struct fl_str, most)};
    set_item(&env, FL_STR(DEFAULT_PATH));
    set_item(&env, fl_str_printf(arena, "HOSTNAME=%.*s", FL_STR_ARG(hostname)));
    for (size_t i = 0; i < launch->image->environment_count; i++)
        if (fl_str_index(launch->image->environment[i], '=') > 0)
            set_item(&env, launch->image->environment[i]);
    set_pairs(&env, launch->extra_environment, launch->extra_environment_count, arena);
    set_pairs(&env, launch->container->environment, launch->container->environment_count, arena);
    set_pairs(&env, launch->secrets, launch->secret_count, arena);
    *ret_items = env.items;
    *ret_count = env.count;
}

int fl_bundle_rlimit_number(struct fl_str name)
{
    static const struct {
        const char *name;
        int number;
    } limits[] = {
        {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
        {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
        {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
        {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
        {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
        {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
        {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
        {"stack", RLIMIT_STACK},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(limits); i++)
        if (fl_str_is(name, limits[i].name))
            return limits[i].number;
    return -1;
}
