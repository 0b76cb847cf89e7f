/* Clusters: made, described, listed, updated, deleted. A deleted one stays describable, INACTIVE.
 */
#include "core/decide.h"
#include "core/page.h"
#include "core/service.h"

/* What a cluster is made of is kept whole; ECS has no reason to take this much. */
enum { MAX_DESCRIBED = 100, MAX_CLUSTER_BYTES = 64 * 1024 };
/* ECS's quota; deleted ones count, for they are kept. */
enum { MAX_CLUSTERS = 10000 };

static bool name_is_valid(struct fl_str name)
{
    if (name.n == 0 || name.n > 255)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

static bool includes(const struct ecs_DescribeClustersRequest *in, enum ecs_ClusterField field)
{
    for (size_t i = 0; i < in->include.n; i++)
        if (in->include.items[i] == field)
            return true;
    return false;
}

static size_t count_draining(const struct fl_cluster *cluster)
{
    struct fl_service *service;
    size_t n = 0;
    RB_FOREACH (service, fl_service_tree, (struct fl_service_tree *)&cluster->services)
        n += fl_str_is(service->rec->status, "DRAINING");
    return n;
}

/* The documented counts by launch type: nothing runs on Fargate yet. */
static struct ecs_KeyValuePair_list statistics(struct fl_decision *d,
                                               const struct fl_cluster *cluster)
{
    const struct {
        const char *name;
        size_t count;
    } rows[] = {
        {"runningEC2TasksCount", cluster->running_count},     {"runningFargateTasksCount", 0},
        {"pendingEC2TasksCount", cluster->pending_count},     {"pendingFargateTasksCount", 0},
        {"activeEC2ServiceCount", cluster->active_services},  {"activeFargateServiceCount", 0},
        {"drainingEC2ServiceCount", count_draining(cluster)}, {"drainingFargateServiceCount", 0},
    };
    struct ecs_KeyValuePair_list list = {.n = FL_ARRAY_SIZE(rows)};
    list.items = fl_arena_new_array(d->arena, struct ecs_KeyValuePair, list.n);
    for (size_t i = 0; i < list.n; i++) {
        FL_SET(&list.items[i], ecs_KeyValuePair, name, fl_str_of(rows[i].name));
        FL_SET(&list.items[i], ecs_KeyValuePair, value,
               fl_str_printf(d->arena, "%zu", rows[i].count));
    }
    return list;
}

/* What every answer about a cluster has. */
static void show_core(struct fl_decision *d, const struct fl_cluster *cluster,
                      struct ecs_Cluster *out)
{
    const struct rec_Cluster *rec = cluster->rec;
    FL_SET(out, ecs_Cluster, clusterArn, fl_cluster_arn(d, rec->name));
    FL_SET(out, ecs_Cluster, clusterName, rec->name);
    FL_SET(out, ecs_Cluster, status, rec->status);
    FL_SET(out, ecs_Cluster, registeredContainerInstancesCount, (int32_t)cluster->active_instances);
    FL_SET(out, ecs_Cluster, runningTasksCount, (int32_t)cluster->running_count);
    FL_SET(out, ecs_Cluster, pendingTasksCount, (int32_t)cluster->pending_count);
    FL_SET(out, ecs_Cluster, activeServicesCount, (int32_t)cluster->active_services);
    FL_SET(out, ecs_Cluster, statistics, out->statistics);
    FL_SET(out, ecs_Cluster, capacityProviders, out->capacityProviders);
    FL_SET(out, ecs_Cluster, defaultCapacityProviderStrategy, out->defaultCapacityProviderStrategy);
    FL_SET(out, ecs_Cluster, tags, out->tags);
    FL_SET(out, ecs_Cluster, settings, out->settings);
}

/* The record may be replaced before the turn's end: what is shown must not change with it. */
static void settle(struct fl_decision *d, struct ecs_Cluster *out)
{
    *out = *(struct ecs_Cluster *)fl_shape_copy(&ecs_shape_Cluster, out, d->arena);
}

static void show_included(struct fl_decision *d, const struct fl_cluster *cluster,
                          const struct ecs_DescribeClustersRequest *in, struct ecs_Cluster *out)
{
    const struct rec_Cluster *rec = cluster->rec;
    show_core(d, cluster, out);
    if (includes(in, ECS_ClusterField_TAGS))
        out->tags = rec->tags;
    if (includes(in, ECS_ClusterField_SETTINGS))
        out->settings = rec->settings;
    if (includes(in, ECS_ClusterField_STATISTICS))
        out->statistics = statistics(d, cluster);
    if (includes(in, ECS_ClusterField_ATTACHMENTS))
        FL_SET(out, ecs_Cluster, attachments, out->attachments);
    if (FL_HAS(rec, rec_Cluster, configuration) && includes(in, ECS_ClusterField_CONFIGURATIONS))
        FL_SET(out, ecs_Cluster, configuration, rec->configuration);
    settle(d, out);
}

/* The answer to a call that made or changed the cluster. */
static struct ecs_Cluster *show_changed(struct fl_decision *d, const struct fl_cluster *cluster)
{
    struct ecs_Cluster *out = fl_arena_new_object(d->arena, struct ecs_Cluster);
    const struct rec_Cluster *rec = cluster->rec;
    show_core(d, cluster, out);
    out->tags = rec->tags;
    out->settings = rec->settings;
    if (FL_HAS(rec, rec_Cluster, configuration))
        FL_SET(out, ecs_Cluster, configuration, rec->configuration);
    settle(d, out);
    return out;
}

static int check_settings(struct fl_decision *d, const struct ecs_ClusterSetting_list *settings)
{
    static const char *const values[] = {"enhanced", "enabled", "disabled"};
    for (size_t i = 0; i < settings->n; i++) {
        const struct ecs_ClusterSetting *setting = &settings->items[i];
        bool known = false;
        for (size_t k = 0; k < FL_ARRAY_SIZE(values); k++)
            known |= fl_str_is(setting->value, values[k]);
        if (!FL_HAS(setting, ecs_ClusterSetting, name) || !known)
            return fl_refuse(d, "InvalidParameterException",
                             "Invalid cluster setting: the value of containerInsights should be "
                             "one of [enhanced,enabled,disabled]");
        for (size_t k = 0; k < i; k++)
            if (settings->items[k].name == setting->name)
                return fl_refuse(d, "InvalidParameterException",
                                 "Invalid cluster setting: containerInsights is given twice.");
    }
    return 0;
}

static int check_configuration(struct fl_decision *d,
                               const struct ecs_ClusterConfiguration *configuration)
{
    const struct ecs_ExecuteCommandConfiguration *exec =
        configuration ? configuration->executeCommandConfiguration : NULL;
    if (!exec)
        return 0;
    const struct ecs_ExecuteCommandLogConfiguration *log = exec->logConfiguration;
    bool overrides = FL_HAS(exec, ecs_ExecuteCommandConfiguration, logging) &&
                     exec->logging == ECS_ExecuteCommandLogging_OVERRIDE;
    if (log && !overrides)
        return fl_refuse(d, "InvalidParameterException",
                         "You must set logging to 'OVERRIDE' when you supply a log configuration.");
    if (overrides && (!log || (log->cloudWatchLogGroupName.n == 0 && log->s3BucketName.n == 0)))
        return fl_refuse(d, "InvalidParameterException",
                         "A CloudWatch log group name or S3 bucket name must be specified when "
                         "overriding the default log configuration.");
    return 0;
}

static int check_created(struct fl_decision *d, const struct ecs_CreateClusterRequest *in,
                         struct fl_str name)
{
    if (!name_is_valid(name))
        return fl_refuse(d, "InvalidParameterException",
                         "Cluster name '%.*s' is not valid: up to 255 letters (uppercase and "
                         "lowercase), numbers, underscores, and hyphens are allowed.",
                         FL_STR_ARG(name));
    if (d->input_size > MAX_CLUSTER_BYTES)
        return fl_refuse(d, "InvalidParameterException", "The request is longer than %d bytes.",
                         MAX_CLUSTER_BYTES);
    if (in->capacityProviders.n || in->defaultCapacityProviderStrategy.n)
        return fl_refuse(d, "ClientException", "Capacity providers are not implemented yet.");
    if (FL_HAS(in, ecs_CreateClusterRequest, serviceConnectDefaults))
        return fl_refuse(d, "ClientException", "serviceConnectDefaults is not implemented yet.");
    if (check_settings(d, &in->settings) < 0 || check_configuration(d, in->configuration) < 0)
        return -1;
    return fl_check_tags(d, &in->tags, "InvalidParameterException");
}

/* A new cluster always has the setting: its own value or the account's. */
static struct ecs_ClusterSetting_list first_settings(struct fl_decision *d,
                                                     const struct ecs_CreateClusterRequest *in)
{
    struct ecs_ClusterSetting_list list = in->settings;
    if (list.n == 0) {
        list.items = fl_arena_new_object(d->arena, struct ecs_ClusterSetting);
        list.n = 1;
        FL_SET(list.items, ecs_ClusterSetting, name, ECS_ClusterSettingName_containerInsights);
        FL_SET(list.items, ecs_ClusterSetting, value,
               fl_effective_setting(d, ECS_SettingName_containerInsights));
    }
    return list;
}

static struct fl_cluster *create(struct fl_decision *d, const struct ecs_CreateClusterRequest *in,
                                 struct fl_str name)
{
    struct rec_Cluster rec = {0};
    FL_SET(&rec, rec_Cluster, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Cluster, name, name);
    FL_SET(&rec, rec_Cluster, status, FL_STR("ACTIVE"));
    FL_SET(&rec, rec_Cluster, settings, first_settings(d, in));
    FL_SET(&rec, rec_Cluster, tags, in->tags);
    if (FL_HAS(in, ecs_CreateClusterRequest, configuration))
        FL_SET(&rec, rec_Cluster, configuration, in->configuration);
    fl_put(d, FL_RECORD_CLUSTER, &rec);
    return fl_state_cluster(d->core, name);
}

int fl_create_cluster(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_CreateClusterRequest *in = input;
    struct ecs_CreateClusterResponse *out = output;
    struct fl_str name =
        FL_HAS(in, ecs_CreateClusterRequest, clusterName) ? in->clusterName : FL_STR("default");
    if (check_created(d, in, name) < 0)
        return -1;
    struct fl_cluster *cluster = fl_state_cluster(d->core, name);
    if (!cluster || fl_str_is(cluster->rec->status, "INACTIVE")) {
        if (!cluster && d->core->counts.clusters >= MAX_CLUSTERS)
            return fl_refuse(d, "ClientException", "There can be at most %d clusters.",
                             MAX_CLUSTERS);
        cluster = create(d, in, name);
    }
    FL_SET(out, ecs_CreateClusterResponse, cluster, show_changed(d, cluster));
    return 0;
}

/* Replaces the settings that are given; a name that is not given keeps its value. */
static void update(struct fl_decision *d, struct fl_cluster *cluster,
                   const struct ecs_ClusterSetting_list *settings,
                   struct ecs_ClusterConfiguration *configuration)
{
    struct rec_Cluster rec = *cluster->rec;
    if (settings->n)
        FL_SET(&rec, rec_Cluster, settings, *settings);
    if (configuration)
        FL_SET(&rec, rec_Cluster, configuration, configuration);
    if (!fl_shape_equal(&rec_shape_Cluster, &rec, cluster->rec))
        fl_put(d, FL_RECORD_CLUSTER, &rec);
}

int fl_update_cluster(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateClusterRequest *in = input;
    struct ecs_UpdateClusterResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    if (!cluster || check_settings(d, &in->settings) < 0 ||
        check_configuration(d, in->configuration) < 0)
        return -1;
    if (d->input_size > MAX_CLUSTER_BYTES)
        return fl_refuse(d, "InvalidParameterException", "The request is longer than %d bytes.",
                         MAX_CLUSTER_BYTES);
    if (FL_HAS(in, ecs_UpdateClusterRequest, serviceConnectDefaults))
        return fl_refuse(d, "ClientException", "serviceConnectDefaults is not implemented yet.");
    update(d, cluster, &in->settings, in->configuration);
    FL_SET(out, ecs_UpdateClusterResponse, cluster, show_changed(d, cluster));
    return 0;
}

int fl_update_cluster_settings(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateClusterSettingsRequest *in = input;
    struct ecs_UpdateClusterSettingsResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    if (!cluster || check_settings(d, &in->settings) < 0)
        return -1;
    if (in->settings.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Settings cannot be empty.");
    update(d, cluster, &in->settings, NULL);
    FL_SET(out, ecs_UpdateClusterSettingsResponse, cluster, show_changed(d, cluster));
    return 0;
}

static bool has_active_tasks(const struct fl_cluster *cluster)
{
    struct fl_task *task;
    RB_FOREACH (task, fl_task_tree, (struct fl_task_tree *)&cluster->tasks)
        if (task->rec->status != REC_TaskStatus_STOPPED)
            return true;
    return false;
}

int fl_delete_cluster(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteClusterRequest *in = input;
    struct ecs_DeleteClusterResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    if (!cluster)
        return -1;
    if (cluster->active_instances)
        return fl_refuse(d, "ClusterContainsContainerInstancesException",
                         "The Cluster cannot be deleted while Container Instances are active or "
                         "draining.");
    if (cluster->active_services || count_draining(cluster))
        return fl_refuse(d, "ClusterContainsServicesException",
                         "The Cluster cannot be deleted while Services are active.");
    if (has_active_tasks(cluster))
        return fl_refuse(d, "ClusterContainsTasksException",
                         "The Cluster cannot be deleted while Tasks are active.");
    struct rec_Cluster rec = *cluster->rec;
    FL_SET(&rec, rec_Cluster, status, FL_STR("INACTIVE"));
    FL_SET(&rec, rec_Cluster, tags, ((struct ecs_Tag_list){0}));
    fl_put(d, FL_RECORD_CLUSTER, &rec);
    FL_SET(out, ecs_DeleteClusterResponse, cluster, show_changed(d, cluster));
    return 0;
}

int fl_describe_clusters(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeClustersRequest *in = input;
    struct ecs_DescribeClustersResponse *out = output;
    struct fl_str one = FL_STR("default"), name;
    const struct fl_str *names = in->clusters.n ? in->clusters.items : &one;
    size_t count = in->clusters.n ? in->clusters.n : 1;
    if (count > MAX_DESCRIBED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d clusters can be described at a time.", MAX_DESCRIBED);
    out->clusters.items = fl_arena_new_array(d->arena, struct ecs_Cluster, count);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, count);
    for (size_t i = 0; i < count; i++) {
        if (fl_read_name(d, names[i], "cluster", &name) < 0)
            return -1;
        const struct fl_cluster *cluster = fl_state_cluster(d->core, name);
        if (cluster) {
            show_included(d, cluster, in, &out->clusters.items[out->clusters.n++]);
            continue;
        }
        struct ecs_Failure *failure = &out->failures.items[out->failures.n++];
        FL_SET(failure, ecs_Failure, arn, fl_cluster_arn(d, name));
        FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
    }
    FL_SET(out, ecs_DescribeClustersResponse, clusters, out->clusters);
    FL_SET(out, ecs_DescribeClustersResponse, failures, out->failures);
    return 0;
}

int fl_list_clusters(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListClustersRequest *in = input;
    struct ecs_ListClustersResponse *out = output;
    struct fl_page_list list;
    struct fl_cluster *cluster;
    if (fl_page_list_begin(d, in->nextToken, FL_HAS(in, ecs_ListClustersRequest, maxResults),
                           in->maxResults, &list) < 0)
        return -1;
    RB_FOREACH (cluster, fl_cluster_tree, &d->core->clusters) {
        struct fl_str name = cluster->rec->name;
        if (fl_str_cmp(name, list.page.after) <= 0 || fl_str_is(cluster->rec->status, "INACTIVE"))
            continue;
        if (!fl_page_list_add(&list, name, fl_cluster_arn(d, name)))
            break;
    }
    FL_SET(out, ecs_ListClustersResponse, clusterArns, list.list);
    if (list.more)
        FL_SET(out, ecs_ListClustersResponse, nextToken, fl_page_token(d, list.last_key));
    return 0;
}
