/* CreateCluster, DescribeClusters, ListClusters. */
#include "core/decide.h"
#include "core/page.h"

/* What a cluster is made of is kept whole; ECS has no reason to take this much. */
enum { MAX_DESCRIBED = 100, MAX_CLUSTER_BYTES = 64 * 1024 };

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
    if (!in || !FL_HAS(in, ecs_DescribeClustersRequest, include))
        return false;
    for (size_t i = 0; i < in->include.n; i++)
        if (in->include.items[i] == field)
            return true;
    return false;
}

static void show(struct fl_decision *d, const struct fl_cluster *cluster,
                 const struct ecs_DescribeClustersRequest *in, struct ecs_Cluster *out)
{
    const struct rec_Cluster *rec = cluster->rec;
    FL_SET(out, ecs_Cluster, clusterArn, fl_cluster_arn(d, rec->name));
    FL_SET(out, ecs_Cluster, clusterName, rec->name);
    FL_SET(out, ecs_Cluster, status, rec->status);
    FL_SET(out, ecs_Cluster, registeredContainerInstancesCount, (int32_t)cluster->active_instances);
    FL_SET(out, ecs_Cluster, runningTasksCount, (int32_t)cluster->running_count);
    FL_SET(out, ecs_Cluster, pendingTasksCount, (int32_t)cluster->pending_count);
    FL_SET(out, ecs_Cluster, activeServicesCount, 0);
    FL_SET(out, ecs_Cluster, statistics, out->statistics);
    FL_SET(out, ecs_Cluster, capacityProviders, out->capacityProviders);
    FL_SET(out, ecs_Cluster, defaultCapacityProviderStrategy, out->defaultCapacityProviderStrategy);
    FL_SET(out, ecs_Cluster, tags, out->tags);
    FL_SET(out, ecs_Cluster, settings, out->settings);
    if (!in || includes(in, ECS_ClusterField_TAGS))
        out->tags = rec->tags;
    if (!in || includes(in, ECS_ClusterField_SETTINGS))
        out->settings = rec->settings;
    bool configured = FL_HAS(rec, rec_Cluster, configuration);
    if (configured && (!in || includes(in, ECS_ClusterField_CONFIGURATIONS)))
        FL_SET(out, ecs_Cluster, configuration, rec->configuration);
}

int fl_create_cluster(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_CreateClusterRequest *in = input;
    struct ecs_CreateClusterResponse *out = output;
    struct fl_str name =
        FL_HAS(in, ecs_CreateClusterRequest, clusterName) ? in->clusterName : FL_STR("default");
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
    struct fl_cluster *cluster = fl_state_cluster(d->core, name);
    if (!cluster || fl_str_is(cluster->rec->status, "INACTIVE")) {
        struct rec_Cluster rec = {0};
        FL_SET(&rec, rec_Cluster, v, FL_RECORD_VERSION);
        FL_SET(&rec, rec_Cluster, name, name);
        FL_SET(&rec, rec_Cluster, status, FL_STR("ACTIVE"));
        FL_SET(&rec, rec_Cluster, settings, in->settings);
        FL_SET(&rec, rec_Cluster, tags, in->tags);
        if (FL_HAS(in, ecs_CreateClusterRequest, configuration))
            FL_SET(&rec, rec_Cluster, configuration, in->configuration);
        fl_put(d, FL_RECORD_CLUSTER, &rec);
        cluster = fl_state_cluster(d->core, name);
    }
    FL_SET(out, ecs_CreateClusterResponse, cluster,
           fl_arena_new_object(d->arena, struct ecs_Cluster));
    show(d, cluster, NULL, out->cluster);
    return 0;
}

int fl_describe_clusters(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeClustersRequest *in = input;
    struct ecs_DescribeClustersResponse *out = output;
    struct fl_str one = FL_STR("default");
    const struct fl_str *names = in->clusters.n ? in->clusters.items : &one;
    size_t count = in->clusters.n ? in->clusters.n : 1;
    if (count > MAX_DESCRIBED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d clusters can be described at a time.", MAX_DESCRIBED);
    FL_SET(out, ecs_DescribeClustersResponse, clusters, out->clusters);
    FL_SET(out, ecs_DescribeClustersResponse, failures, out->failures);
    out->clusters.items = fl_arena_new_array(d->arena, struct ecs_Cluster, count);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, count);
    for (size_t i = 0; i < count; i++) {
        struct fl_str name = fl_id_of(names[i]);
        const struct fl_cluster *cluster = fl_state_cluster(d->core, name);
        if (cluster) {
            show(d, cluster, in, &out->clusters.items[out->clusters.n++]);
            continue;
        }
        struct ecs_Failure *failure = &out->failures.items[out->failures.n++];
        FL_SET(failure, ecs_Failure, arn, fl_cluster_arn(d, name));
        FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
    }
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
