/* ListServices, ListServicesByNamespace. */
#include "core/page.h"
#include "core/service_change.h"

enum { DEFAULT_PAGE = 10 };

static bool is_listed(const struct ecs_ListServicesRequest *in, const struct rec_Service *rec)
{
    if (fl_str_is(rec->status, "INACTIVE"))
        return false;
    if (FL_HAS(in, ecs_ListServicesRequest, launchType) && in->launchType != rec->launchType)
        return false;
    if (FL_HAS(in, ecs_ListServicesRequest, schedulingStrategy) &&
        in->schedulingStrategy != rec->schedulingStrategy)
        return false;
    return !FL_HAS(in, ecs_ListServicesRequest, resourceManagementType) ||
           in->resourceManagementType == ECS_ResourceManagementType_CUSTOMER;
}

int fl_list_services(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListServicesRequest *in = input;
    struct ecs_ListServicesResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_page_list list;
    bool has_max = FL_HAS(in, ecs_ListServicesRequest, maxResults);
    if (!cluster || fl_page_list_begin(d, in->nextToken, true,
                                       has_max ? in->maxResults : DEFAULT_PAGE, &list) < 0)
        return -1;
    struct fl_service probe = {.name = list.page.after};
    struct fl_service *service = RB_NFIND(fl_service_tree, &cluster->services, &probe);
    for (; service; service = RB_NEXT(fl_service_tree, &cluster->services, service)) {
        if (fl_str_eq(service->name, list.page.after) || !is_listed(in, service->rec))
            continue;
        if (!fl_page_list_add(&list, service->name, fl_service_arn(d, service->rec)))
            break;
    }
    FL_SET(out, ecs_ListServicesResponse, serviceArns, list.list);
    if (list.more)
        FL_SET(out, ecs_ListServicesResponse, nextToken, fl_page_token(d, list.last_key));
    return 0;
}

/* There are no namespaces yet, so none can be found. */
int fl_list_services_by_namespace(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListServicesByNamespaceRequest *in = input;
    bool has_max = FL_HAS(in, ecs_ListServicesByNamespaceRequest, maxResults);
    struct fl_page page;
    (void)output;
    if (fl_page_read(d, in->nextToken, true, has_max ? in->maxResults : DEFAULT_PAGE, &page) < 0)
        return -1;
    return fl_refuse(d, "NamespaceNotFoundException", "The namespace '%.*s' was not found.",
                     FL_STR_ARG(fl_cut(in->namespace, 300)));
}
