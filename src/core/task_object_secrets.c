/* Secrets of a definition as its agent is told of them: where each comes from, and where it goes.
 * Their values are none of the control plane's business here. */
#include "core/decide.h"
#include "wire/arn.h"
#include "wire/task_spec.h"

/* A name without a region is one of this installation's. */
static struct fl_str region_of(const struct fl_decision *d, struct fl_str value_from)
{
    struct fl_arn arn;
    if (fl_arn_parse(value_from, &arn) && arn.region.n > 0)
        return arn.region;
    return d->core->region;
}

static enum fl_secret_provider provider_of(struct fl_str value_from)
{
    struct fl_arn arn;
    bool is_asm = fl_arn_parse(value_from, &arn) && fl_str_is(arn.service, "secretsmanager");
    return is_asm ? FL_SECRET_ASM : FL_SECRET_SSM;
}

static void add(const struct fl_decision *d, const struct ecs_Secret_list *list, bool is_log_option,
                struct fl_container_spec *spec)
{
    for (size_t i = 0; i < list->n; i++)
        spec->secrets[spec->secret_count++] = (struct fl_secret_spec){
            .name = list->items[i].name,
            .value_from = list->items[i].valueFrom,
            .region = region_of(d, list->items[i].valueFrom),
            .provider = provider_of(list->items[i].valueFrom),
            .is_log_option = is_log_option,
        };
}

void fl_task_object_secrets(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                            struct fl_container_spec *spec)
{
    static const struct ecs_Secret_list none;
    const struct ecs_Secret_list *options =
        c->logConfiguration ? &c->logConfiguration->secretOptions : &none;
    spec->secrets = fl_arena_new_array(d->arena, struct fl_secret_spec, c->secrets.n + options->n);
    add(d, &c->secrets, false, spec);
    add(d, options, true, spec);
    if (!c->repositoryCredentials)
        return;
    spec->registry_secret = c->repositoryCredentials->credentialsParameter;
    spec->registry_secret_region = region_of(d, spec->registry_secret);
}
