/* Token buckets (spec: API throttling). Counted in thousandths of a token, so that a refill of r
 * tokens a second is r thousandths a millisecond. */
#include "server/throttle.h"

#include <stdlib.h>

#include "base/util.h"
#include "shapes/ecs_shapes.h"

enum { MAX_OPERATIONS = 12 };

static const struct category {
    int burst;     /* tokens that a full bucket has */
    int sustained; /* tokens a second */
    int count;
    int operations[MAX_OPERATIONS];
} categories[] = {
    {20,
     1,
     5,
     {ECS_OP_CreateCluster, ECS_OP_DeleteCluster, ECS_OP_PutClusterCapacityProviders,
      ECS_OP_UpdateCluster, ECS_OP_UpdateClusterSettings}},
    {50, 20, 2, {ECS_OP_DescribeClusters, ECS_OP_ListClusters}},
    {20, 1, 2, {ECS_OP_RegisterTaskDefinition, ECS_OP_DeregisterTaskDefinition}},
    {50,
     20,
     3,
     {ECS_OP_DescribeTaskDefinition, ECS_OP_ListTaskDefinitions,
      ECS_OP_ListTaskDefinitionFamilies}},
    {5, 1, 1, {ECS_OP_DeleteTaskDefinitions}},
    {10,
     1,
     3,
     {ECS_OP_CreateCapacityProvider, ECS_OP_UpdateCapacityProvider, ECS_OP_DeleteCapacityProvider}},
    {50, 20, 1, {ECS_OP_DescribeCapacityProviders}},
    {20, 10, 2, {ECS_OP_TagResource, ECS_OP_UntagResource}},
    {50, 20, 1, {ECS_OP_ListTagsForResource}},
    {10,
     1,
     3,
     {ECS_OP_PutAccountSetting, ECS_OP_DeleteAccountSetting, ECS_OP_PutAccountSettingDefault}},
    {50, 20, 1, {ECS_OP_ListAccountSettings}},
    {100,
     40,
     9,
     {ECS_OP_DeleteAttributes, ECS_OP_DeregisterContainerInstance, ECS_OP_ExecuteCommand,
      ECS_OP_PutAttributes, ECS_OP_RunTask, ECS_OP_StartTask, ECS_OP_StopTask,
      ECS_OP_UpdateContainerAgent, ECS_OP_UpdateContainerInstancesState}},
    {100,
     20,
     5,
     {ECS_OP_DescribeContainerInstances, ECS_OP_DescribeTasks, ECS_OP_ListAttributes,
      ECS_OP_ListContainerInstances, ECS_OP_ListTasks}},
    {200,
     120,
     4,
     {ECS_OP_RegisterContainerInstance, ECS_OP_SubmitAttachmentStateChanges,
      ECS_OP_SubmitContainerStateChange, ECS_OP_SubmitTaskStateChange}},
    {50, 5, 3, {ECS_OP_CreateService, ECS_OP_UpdateService, ECS_OP_DeleteService}},
    {100, 20, 2, {ECS_OP_DescribeServices, ECS_OP_ListServices}},
    {50, 20, 2, {ECS_OP_DescribeServiceDeployments, ECS_OP_ListServiceDeployments}},
    {50, 20, 1, {ECS_OP_DescribeServiceRevisions}},
    {200, 80, 2, {ECS_OP_UpdateTaskProtection, ECS_OP_GetTaskProtection}},
    {10, 1, 1, {ECS_OP_ListServicesByNamespace}},
};

struct fl_throttle {
    struct {
        int64_t thousandths;
        int64_t filled_ms; /* when it was last added to; 0: never, it is full */
    } buckets[FL_ARRAY_SIZE(categories)];
};

struct fl_throttle *fl_throttle_new(void)
{
    struct fl_throttle *throttle = fl_calloc(1, sizeof(*throttle));
    for (size_t i = 0; i < FL_ARRAY_SIZE(categories); i++)
        throttle->buckets[i].thousandths = (int64_t)categories[i].burst * 1000;
    return throttle;
}

void fl_throttle_free(struct fl_throttle *throttle)
{
    free(throttle);
}

static const struct category *find(int operation)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(categories); i++)
        for (int k = 0; k < categories[i].count; k++)
            if (categories[i].operations[k] == operation)
                return &categories[i];
    return NULL;
}

bool fl_throttle_take(struct fl_throttle *throttle, int operation, int64_t now_ms)
{
    const struct category *category = find(operation);
    if (!category)
        return true;
    size_t i = (size_t)(category - categories);
    int64_t full = (int64_t)category->burst * 1000, left = throttle->buckets[i].thousandths;
    int64_t since_ms = throttle->buckets[i].filled_ms ? now_ms - throttle->buckets[i].filled_ms : 0;
    /* Longer than it takes to fill the bucket counts no more. */
    since_ms = FL_MIN(FL_MAX(since_ms, (int64_t)0), full);
    left = FL_MIN(left + since_ms * category->sustained, full);
    bool may = left >= 1000;
    throttle->buckets[i].thousandths = may ? left - 1000 : left;
    throttle->buckets[i].filled_ms = now_ms;
    return may;
}
