"""Goal: the newest model of ECS that its publishers ship (botocore, from PyPI when the tests' clients
are installed) judges us: the answers of every operation that we have fit it, members, types, enums
and timestamps alike, and every error that it documents and that can be brought about is brought
about. Method: one walk through a cluster's life in raw requests, then requests that must fail."""
import json
import time
import uuid

import cluster as clusters
import pytest
from fake_agent import FakeAgent
from test_surface import checked, smallest

ECS = "arn:aws:ecs:us-east-1:000000000000"
HELD = "models"     # an ECS cluster of this test's own
HOSTLESS = "models-hostless"    # another one, with services for what must fail

# What an agent's key may call; for the others it is an AccessDeniedException.
AGENT_S_OWN = {"CreateCluster", "DiscoverPollEndpoint", "ListTagsForResource",
               "RegisterContainerInstance",
               "SubmitAttachmentStateChanges", "SubmitContainerStateChange",
               "SubmitTaskStateChange", "UpdateContainerInstancesState"}

# Documented, but nothing that exists here can bring it about; by error, for all operations or some.
UNPROVOKED = {
    "ServerException": "only a fault of the server's own",
    "UpdateInProgressException": "changes take effect at once",
    "NamespaceNotFoundException": "a service can ask for no namespace; a listing by one is refused",
    "ClusterContainsCapacityProviderException": "there are no capacity providers",
    "PlatformUnknownException": "there are no Fargate platforms",
    "PlatformTaskDefinitionIncompatibilityException": "there are no Fargate platforms",
    "BlockedException": "no account is ever blocked",
    "UnsupportedFeatureException": "there are no regions that lack a feature",
    "NoUpdateAvailableException": "an agent of AWS's is not updated from here",
    "MissingVersionException": "an agent of AWS's is not updated from here",
}
# Operations that refuse nothing with a ClientException: their words are those of a parameter.
NO_CLIENT_EXCEPTION = {
    "DescribeClusters", "ListClusters", "UpdateClusterSettings", "DeleteCluster", "ListTasks",
    "DescribeTasks", "StopTask", "DescribeContainerInstances", "ListContainerInstances",
    "ListTaskDefinitions", "ListTaskDefinitionFamilies", "DeleteTaskDefinitions", "TagResource",
    "UntagResource", "ListTagsForResource", "ListAccountSettings", "DeleteAccountSetting",
    "DiscoverPollEndpoint", "RegisterContainerInstance", "SubmitAttachmentStateChanges",
    "SubmitContainerStateChange", "SubmitTaskStateChange", "DeregisterContainerInstance",
    "UpdateContainerInstancesState", "PutAttributes", "DeleteAttributes", "ListAttributes",
    "UpdateContainerAgent", "DeleteService", "DescribeServices", "ListServices",
    "ListServicesByNamespace", "ListServiceDeployments", "DescribeServiceDeployments",
    "DescribeServiceRevisions", "StopServiceDeployment", "ContinueServiceDeployment",
    "GetTaskProtection", "UpdateTaskProtection", "UpdateTaskSet", "DeleteTaskSet",
    "DescribeTaskSets", "UpdateServicePrimaryTaskSet",
}
# These answer with a failure for each thing that is missing, wherever it was to be.
MISSING_IS_A_FAILURE = {
    ("DescribeServiceDeployments", "ServiceNotFoundException"),
    ("DescribeServiceDeployments", "ClusterNotFoundException"),
    ("DescribeServiceRevisions", "ServiceNotFoundException"),
    ("DescribeServiceRevisions", "ClusterNotFoundException"),
    ("GetTaskProtection", "ResourceNotFoundException"),
    ("UpdateTaskProtection", "ResourceNotFoundException"),
}
# A task set counts when it is made; these make none.
MAKES_NO_TASK_SET = {("UpdateTaskSet", "LimitExceededException"),
                     ("DeleteTaskSet", "LimitExceededException")}


def is_there(cluster, operation):
    """Whether the operation is implemented, which an answer of its own says."""
    shape = cluster.ecs.meta.service_model.operation_model(operation).input_shape
    _, answer = cluster.call(operation, smallest(shape) if shape else {})
    return "is not implemented yet" not in answer.get("message", "")


class Walk:
    """The cluster's life; remembers which operations have answered."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.answered = set()

    def ask(self, operation, **members):
        self.answered.add(operation)
        return checked(self.cluster, operation, members)

    def clusters(self):
        self.ask("CreateCluster", clusterName=HELD, tags=[{"key": "k", "value": "v"}],
                 configuration={"executeCommandConfiguration": {"logging": "DEFAULT"}})
        self.ask("UpdateCluster", cluster=HELD,
                 settings=[{"name": "containerInsights", "value": "enabled"}])
        self.ask("UpdateClusterSettings", cluster=HELD,
                 settings=[{"name": "containerInsights", "value": "disabled"}])
        found = self.ask("DescribeClusters", clusters=[HELD, "missing"], include=[
            "ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "STATISTICS", "TAGS"])
        assert found["clusters"][0]["statistics"] and found["failures"][0]["reason"] == "MISSING"
        assert f"{ECS}:cluster/{HELD}" in self.ask("ListClusters")["clusterArns"]
        self.ask("CreateCluster", clusterName="models-gone")
        assert self.ask("DeleteCluster", cluster="models-gone")["cluster"]["status"] == "INACTIVE"

    def definitions(self):
        for _ in range(2):
            registered = self.ask(
                "RegisterTaskDefinition", family="models", tags=[{"key": "a", "value": "b"}],
                networkMode="bridge", cpu="256", memory="128", volumes=[{"name": "v"}],
                executionRoleArn="arn:aws:iam::000000000000:role/r",
                runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
                placementConstraints=[{"type": "memberOf",
                                       "expression": "attribute:ecs.os-type exists"}],
                containerDefinitions=[clusters.container(
                    portMappings=[{"containerPort": 80, "name": "web"}],
                    environment=[{"name": "A", "value": "b"}], dockerLabels={"l": "m"},
                    ulimits=[{"name": "nofile", "softLimit": 64, "hardLimit": 128}],
                    mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}],
                    logConfiguration=clusters.awslogs("/models"), startTimeout=5, stopTimeout=3)])
        assert registered["tags"] and registered["taskDefinition"]["requiresAttributes"]
        self.ask("DescribeTaskDefinition", taskDefinition="models", include=["TAGS"])
        assert self.ask("ListTaskDefinitions", familyPrefix="models", sort="DESC",
                        status="ACTIVE")["taskDefinitionArns"]
        assert "models" in self.ask("ListTaskDefinitionFamilies", familyPrefix="mod",
                                    status="ACTIVE")["families"]
        self.ask("DeregisterTaskDefinition", taskDefinition="models:1")
        deleted = self.ask("DeleteTaskDefinitions", taskDefinitions=["models:1", "models:2"])
        assert deleted["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
        assert "ACTIVE" in deleted["failures"][0]["reason"]

    def settings(self):
        self.ask("PutAccountSetting", name="awsvpcTrunking", value="enabled")
        self.ask("PutAccountSettingDefault", name="tagResourceAuthorization", value="on")
        first = self.ask("ListAccountSettings", effectiveSettings=True)
        assert len(first["settings"]) == 10
        self.ask("ListAccountSettings", effectiveSettings=True, nextToken=first["nextToken"])
        self.ask("DeleteAccountSetting", name="awsvpcTrunking")
        self.ask("DeleteAccountSetting", name="tagResourceAuthorization")

    def instances(self):
        self.ask("DiscoverPollEndpoint", cluster=HELD)
        self.ask("RegisterContainerInstance", cluster=HELD, tags=[{"key": "k", "value": "v"}],
                 totalResources=[{"name": name, "type": "INTEGER", "integerValue": 64}
                                 for name in ("CPU", "MEMORY")])
        listed = self.ask("ListContainerInstances", cluster=HELD)["containerInstanceArns"]
        self.ask("DescribeContainerInstances", cluster=HELD, containerInstances=[*listed, "0" * 32],
                 include=["TAGS"])
        if is_there(self.cluster, "PutAttributes"):
            attribute = {"name": "stack", "value": "x", "targetId": listed[0]}
            self.ask("PutAttributes", cluster=HELD, attributes=[attribute])
            self.ask("ListAttributes", cluster=HELD, targetType="container-instance",
                     attributeName="stack")
            self.ask("DeleteAttributes", cluster=HELD, attributes=[attribute])
        if is_there(self.cluster, "UpdateContainerInstancesState"):
            self.ask("UpdateContainerInstancesState", cluster=HELD, containerInstances=listed,
                     status="DRAINING")
        if is_there(self.cluster, "DeregisterContainerInstance"):
            self.ask("DeregisterContainerInstance", cluster=HELD, containerInstance=listed[0],
                     force=True)

    def tasks(self):
        token = uuid.uuid4().hex
        request = {"cluster": HELD, "taskDefinition": "models", "clientToken": token, "count": 2,
                   "group": "g", "startedBy": "me", "enableECSManagedTags": True,
                   "propagateTags": "TASK_DEFINITION", "tags": [{"key": "t", "value": "u"}],
                   "referenceId": "r",
                   "overrides": {"cpu": "128", "containerOverrides": [
                       {"name": "main", "environment": [{"name": "B", "value": "c"}]}]}}
        started = self.ask("RunTask", **request)
        assert len(started["tasks"]) == 2, started["failures"]
        again = self.ask("RunTask", **request)
        assert {t["taskArn"] for t in again["tasks"]} == {t["taskArn"] for t in started["tasks"]}
        self.conflicting = {**request, "count": 1}
        arn, other = (task["taskArn"] for task in started["tasks"])
        tags = {tag["key"]: tag["value"] for tag in started["tasks"][0]["tags"]}
        assert tags == {"t": "u", "a": "b", "aws:ecs:clusterName": HELD}
        host = started["tasks"][0]["containerInstanceArn"]
        placed = self.ask("StartTask", cluster=HELD, taskDefinition="models",
                          containerInstances=[host, "0" * 32])
        assert len(placed["tasks"]) == 1 and placed["failures"][0]["reason"] == "MISSING"
        for narrow in ({"family": "models"}, {"startedBy": "me"}, {"containerInstance": host},
                       {"desiredStatus": "RUNNING"}, {"launchType": "EC2"}):
            assert arn in self.ask("ListTasks", cluster=HELD, **narrow)["taskArns"], narrow
        for narrow in ({"family": "x"}, {"startedBy": "x"}, {"containerInstance": "x"},
                       {"desiredStatus": "STOPPED"}, {"desiredStatus": "PENDING"},
                       {"launchType": "FARGATE"}):
            assert self.ask("ListTasks", cluster=HELD, **narrow)["taskArns"] == [], narrow
        short = f"{ECS}:task/{arn.rsplit('/', 1)[1]}"
        self.ask("SubmitTaskStateChange", cluster=HELD, task=arn, status="RUNNING", containers=[
            {"containerName": "main", "status": "RUNNING", "runtimeId": "x",
             "imageDigest": "sha256:00"}])
        self.ask("SubmitContainerStateChange", cluster=HELD, task=arn, containerName="main",
                 status="RUNNING")
        self.ask("SubmitAttachmentStateChanges", cluster=HELD, attachments=[])
        self.ask("DescribeTasks", cluster=HELD, tasks=[arn, short, "0" * 32], include=["TAGS"])
        self.ask("TagResource", resourceArn=arn, tags=[{"key": "x", "value": "y"}])
        self.ask("UntagResource", resourceArn=arn, tagKeys=["t"])
        keys = {tag["key"] for tag in self.ask("ListTagsForResource", resourceArn=arn)["tags"]}
        assert keys == {"a", "x", "aws:ecs:clusterName"}
        for task in (arn, other, placed["tasks"][0]["taskArn"]):
            self.ask("StopTask", cluster=HELD, task=task, reason="enough")
            self.ask("SubmitTaskStateChange", cluster=HELD, task=task, status="STOPPED",
                     reason="ended", executionStoppedAt=time.time(), containers=[
                         {"containerName": "main", "status": "STOPPED", "exitCode": 0}])
        stopped = self.ask("DescribeTasks", cluster=HELD, tasks=[arn])["tasks"][0]
        assert (stopped["lastStatus"], stopped["stopCode"]) == ("STOPPED", "UserInitiated")

    def service(self, name):
        (found,) = self.ask("DescribeServices", cluster=HELD, services=[name],
                            include=["TAGS"])["services"]
        return found

    def rollout(self, arn):
        (found,) = self.ask("DescribeServiceDeployments",
                            serviceDeploymentArns=[arn])["serviceDeployments"]
        return found

    def newest_rollout(self):
        return self.ask("ListServiceDeployments", cluster=HELD,
                        service="replica")["serviceDeployments"][0]["serviceDeploymentArn"]

    def ends(self, arn, status):
        clusters.until(lambda: self.rollout(arn)["status"] == status, 60, f"{status} of {arn}",
                       pause=0.05)

    def paused(self):
        """A blue/green deployment's ARN and the identity of its hook, which waits for a user."""
        self.ask("UpdateService", cluster=HELD, service="replica", forceNewDeployment=True,
                 deploymentConfiguration={
                     "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": [
                         {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}]})
        arn = self.newest_rollout()
        (hook,) = clusters.until(lambda: self.rollout(arn).get("lifecycleHookDetails"), 60,
                                 "the pause", pause=0.05)
        return arn, hook["hookId"]

    def gone(self, name):
        answer = self.ask("DeleteService", cluster=HELD, service=name, force=True)
        assert answer["service"]["status"] in ("DRAINING", "INACTIVE")
        clusters.until(lambda: self.service(name)["status"] == "INACTIVE", 60, f"{name} is gone",
                       pause=0.05)

    def services(self):
        """Rolled out; moved on by a deployment that a user continues; kept by one that is stopped."""
        self.ask("CreateService", cluster=HELD, serviceName="replica", taskDefinition="models",
                 desiredCount=2, launchType="EC2", clientToken=uuid.uuid4().hex,
                 enableECSManagedTags=True, propagateTags="SERVICE",
                 healthCheckGracePeriodSeconds=5, tags=[{"key": "k", "value": "v"}],
                 placementConstraints=[{"type": "memberOf",
                                        "expression": "attribute:ecs.os-type == linux"}],
                 placementStrategy=[{"type": "spread",
                                     "field": "attribute:ecs.availability-zone"}],
                 deploymentConfiguration={
                     "maximumPercent": 200, "minimumHealthyPercent": 50,
                     "deploymentCircuitBreaker": {"enable": True, "rollback": True}})
        first = self.newest_rollout()
        self.ends(first, "SUCCESSFUL")
        self.ask("UpdateService", cluster=HELD, service="replica", forceNewDeployment=True)
        rolling = self.newest_rollout()
        self.ends(rolling, "SUCCESSFUL")
        self.protection()
        second, hook = self.paused()
        assert len({first, rolling, second}) == 3
        self.ask("ContinueServiceDeployment", serviceDeploymentArn=second, hookId=hook,
                 action="CONTINUE")
        self.ends(second, "SUCCESSFUL")
        third, _ = self.paused()
        self.service("replica")
        self.ask("StopServiceDeployment", serviceDeploymentArn=third, stopType="ROLLBACK")
        self.ends(third, "ROLLBACK_SUCCESSFUL")
        self.ended = third
        self.histories()
        self.gone("replica")

    def histories(self):
        """What is left of the services' changes."""
        listed = self.ask("ListServices", cluster=HELD, launchType="EC2", maxResults=1,
                          schedulingStrategy="REPLICA", resourceManagementType="CUSTOMER")
        assert listed["serviceArns"] == [f"{ECS}:service/{HELD}/replica"]
        found = self.ask("DescribeServices", cluster=HELD, services=["replica", "nobody"],
                         include=["TAGS"])
        assert found["services"][0]["events"] and found["failures"][0]["reason"] == "MISSING"
        page = self.ask("ListServiceDeployments", cluster=HELD, service="replica", maxResults=1,
                        status=["SUCCESSFUL"], createdAt={"after": 1, "before": time.time() + 60})
        assert self.ask("ListServiceDeployments", cluster=HELD, service="replica", maxResults=1,
                        status=["SUCCESSFUL"], nextToken=page["nextToken"])["serviceDeployments"]
        described = self.ask("DescribeServiceDeployments", serviceDeploymentArns=[
            self.ended, f"{self.ended}x"])
        assert described["failures"][0]["reason"] == "MISSING"
        (last,) = described["serviceDeployments"]
        revisions = [last["targetServiceRevision"]["arn"],
                     last["sourceServiceRevisions"][0]["arn"], last["rollback"][
                         "serviceRevisionArn"], last["targetServiceRevision"]["arn"] + "0"]
        described = self.ask("DescribeServiceRevisions", serviceRevisionArns=revisions)
        assert len(described["serviceRevisions"]) == 3
        assert described["failures"][0]["reason"] == "MISSING"

    def protection(self):
        tasks = self.ask("ListTasks", cluster=HELD, serviceName="replica")["taskArns"]
        kept = self.ask("UpdateTaskProtection", cluster=HELD, tasks=[*tasks, "0" * 32],
                        protectionEnabled=True, expiresInMinutes=5)
        assert all(task["expirationDate"] for task in kept["protectedTasks"])
        assert kept["failures"][0]["reason"] == "MISSING"
        assert len(self.ask("GetTaskProtection", cluster=HELD)["protectedTasks"]) == len(tasks)
        self.ask("UpdateTaskProtection", cluster=HELD, tasks=tasks, protectionEnabled=False)
        read = self.ask("GetTaskProtection", cluster=HELD, tasks=[*tasks, "0" * 32])
        assert not any(task["protectionEnabled"] for task in read["protectedTasks"])
        assert read["failures"][0]["reason"] == "MISSING"

    def task_sets(self):
        where = {"cluster": HELD, "service": "external"}
        self.ask("CreateService", cluster=HELD, serviceName="external", desiredCount=2,
                 deploymentController={"type": "EXTERNAL"})
        made = self.ask("CreateTaskSet", taskDefinition="models", externalId="build-7",
                        launchType="EC2", clientToken=uuid.uuid4().hex,
                        scale={"value": 50, "unit": "PERCENT"},
                        tags=[{"key": "k", "value": "v"}], **where)["taskSet"]
        self.ask("UpdateServicePrimaryTaskSet", primaryTaskSet=made["id"], **where)
        self.ask("UpdateTaskSet", taskSet=made["taskSetArn"],
                 scale={"value": 100, "unit": "PERCENT"}, **where)

        def described():
            found = self.ask("DescribeTaskSets", taskSets=[made["id"], "ecs-svc/1"],
                             include=["TAGS"], **where)
            assert found["failures"][0]["reason"] == "MISSING"
            return found["taskSets"][0]
        clusters.until(lambda: (described()["stabilityStatus"], described()["runningCount"]) ==
                       ("STEADY_STATE", 2), 60, "a stable task set", pause=0.05)
        assert self.service("external")["taskSets"][0]["status"] == "PRIMARY"
        deleted = self.ask("DeleteTaskSet", taskSet=made["id"], force=True, **where)
        assert deleted["taskSet"]["status"] == "DRAINING"
        clusters.until(lambda: not self.ask("DescribeTaskSets", **where)["taskSets"], 60,
                       "the task set is gone", pause=0.05)
        self.gone("external")

    def hostless(self):
        """One service that is scaled above 0, one with as many task sets as it can have, one with a
        task set, and one that is INACTIVE."""
        external = {"desiredCount": 0, "deploymentController": {"type": "EXTERNAL"}}
        self.ask("CreateCluster", clusterName=HOSTLESS)
        self.ask("CreateService", cluster=HOSTLESS, serviceName="plain", taskDefinition="models",
                 desiredCount=1)
        for name in ("full", "external", "gone"):
            self.ask("CreateService", cluster=HOSTLESS, serviceName=name, **external)
        for name in ("full",) * 5 + ("external",):
            made = self.ask("CreateTaskSet", cluster=HOSTLESS, service=name,
                            taskDefinition="models")
        self.task_set = made["taskSet"]["id"]
        gone = self.ask("DeleteService", cluster=HOSTLESS, service="gone")["service"]
        clusters.until(lambda: self.ask(
            "DescribeServices", cluster=HOSTLESS,
            services=[gone["serviceArn"]])["services"][0]["status"] == "INACTIVE", 20,
            "an INACTIVE service")

    def leave(self):
        for name in ("plain", "full", "external"):
            self.ask("DeleteService", cluster=HOSTLESS, service=name, force=True)
        clusters.until(lambda: self.cluster.call("DeleteCluster", {"cluster": HOSTLESS})[0] == 200,
                       20, "the cluster is gone")


def required(server, operation, **members):
    shape = server.ecs.meta.service_model.operation_model(operation).input_shape
    return {**smallest(shape), **members}


def wrong_service_requests(ended):
    """Those about services, their deployments and their tasks' protection; ended: the ARN of a
    service deployment that is over."""
    invalid, gone = "InvalidParameterException", {"cluster": HOSTLESS, "service": "gone"}
    plain, missing = {**gone, "service": "plain"}, {**gone, "service": "missing"}
    nowhere = {"serviceDeploymentArn": f"{ended}x"}
    new = {"cluster": HOSTLESS, "serviceName": "new", "taskDefinition": "models",
           "desiredCount": 1}
    return [
        ("DeleteCluster", {"cluster": HOSTLESS}, "ClusterContainsServicesException"),
        ("CreateService", {**new, "serviceName": "a b"}, invalid),
        ("CreateService", {**new, "taskDefinition": "missing"}, "ClientException"),
        ("CreateService", {**new, "serviceName": "plain"}, invalid),
        ("UpdateService", {**plain, "desiredCount": -1}, invalid),
        ("UpdateService", {**plain, "taskDefinition": "missing"}, "ClientException"),
        ("UpdateService", missing, "ServiceNotFoundException"),
        ("UpdateService", gone, "ServiceNotActiveException"),
        ("DeleteService", plain, invalid),
        ("DeleteService", missing, "ServiceNotFoundException"),
        ("DeleteService", gone, "ServiceNotFoundException"),
        ("DescribeServices", {"cluster": HELD, "services": []}, invalid),
        ("ListServices", {"cluster": HELD, "nextToken": "nonsense"}, invalid),
        ("ListServicesByNamespace", {"namespace": "x", "maxResults": 101}, invalid),
        ("ListServicesByNamespace", {"namespace": "x"}, "NamespaceNotFoundException"),
        ("ListServiceDeployments", {**plain, "maxResults": 0}, invalid),
        ("ListServiceDeployments", missing, "ServiceNotFoundException"),
        ("DescribeServiceDeployments", {"serviceDeploymentArns": []}, invalid),
        ("DescribeServiceRevisions", {"serviceRevisionArns": ["x"]}, invalid),
        ("StopServiceDeployment", {"serviceDeploymentArn": ended}, "ConflictException"),
        ("StopServiceDeployment", {"serviceDeploymentArn": "x"}, invalid),
        ("StopServiceDeployment", nowhere, "ServiceDeploymentNotFoundException"),
        ("ContinueServiceDeployment", {"serviceDeploymentArn": ended, "hookId": "x"}, invalid),
        ("ContinueServiceDeployment", {**nowhere, "hookId": "x"},
         "ServiceDeploymentNotFoundException"),
        ("GetTaskProtection", {"cluster": HELD, "tasks": ["x"] * 101}, invalid),
        ("UpdateTaskProtection", {"cluster": HELD, "tasks": [], "protectionEnabled": True},
         invalid),
    ]


def wrong_task_set_requests(task_set):
    """task_set: one of the service "external"."""
    invalid, full = "InvalidParameterException", {"cluster": HOSTLESS, "service": "full"}
    kept, scale = {**full, "service": "external"}, {"value": 0, "unit": "PERCENT"}
    new = {**kept, "taskDefinition": "models"}
    changes = {"UpdateTaskSet": {"taskSet": "ecs-svc/1", "scale": scale},
               "DeleteTaskSet": {"taskSet": "ecs-svc/1"},
               "UpdateServicePrimaryTaskSet": {"primaryTaskSet": "ecs-svc/1"}}
    rows = [
        ("CreateTaskSet", {**new, "scale": {"value": 101, "unit": "PERCENT"}}, invalid),
        ("CreateTaskSet", {**new, "service": "plain"}, invalid),
        ("CreateTaskSet", {**new, "taskDefinition": "missing"}, "ClientException"),
        ("CreateTaskSet", {**new, "service": "full"}, "LimitExceededException"),
        ("UpdateTaskSet", {**kept, "taskSet": task_set, "scale": {**scale, "value": -1}}, invalid),
        ("DeleteTaskSet", {**kept, "service": "plain", "taskSet": task_set}, invalid),
        ("UpdateServicePrimaryTaskSet", {**kept, "service": "plain", "primaryTaskSet": task_set},
         invalid),
        ("DescribeTaskSets", {**kept, "taskSets": ["x"] * 101}, invalid),
    ]
    rows += [(name, {**kept, **members}, "TaskSetNotFoundException")
             for name, members in changes.items()]
    for name, members in {**changes, "DescribeTaskSets": {},
                          "CreateTaskSet": {"taskDefinition": "models"}}.items():
        rows.append((name, {**kept, **members, "service": "missing"}, "ServiceNotFoundException"))
        rows.append((name, {**kept, **members, "service": "gone"}, "ServiceNotActiveException"))
    return rows


def wrong_requests(walk):
    """(operation, members, error): each documented error that a request can bring about."""
    cluster = walk.cluster
    missing, tags = f"{ECS}:cluster/missing", [{"key": "k", "value": "v"}]
    bad_tags = [{"key": "aws:k", "value": "v"}]
    setting = [{"name": "containerInsights", "value": "perhaps"}]
    bindings = [{"protocol": "morse"}]
    definition = {"family": "models", "containerDefinitions": [clusters.container(image="a b")]}
    rows = [
        ("CreateCluster", {"clusterName": "a b"}, "InvalidParameterException"),
        ("CreateCluster", {"clusterName": "x", "capacityProviders": ["FARGATE"]},
         "ClientException"),
        ("UpdateCluster", {"cluster": HELD, "settings": setting}, "InvalidParameterException"),
        ("UpdateCluster", {"cluster": HELD, "serviceConnectDefaults": {"namespace": "x"}},
         "ClientException"),
        ("UpdateClusterSettings", {"cluster": HELD, "settings": setting},
         "InvalidParameterException"),
        ("DescribeClusters", {"clusters": ["x"] * 101}, "InvalidParameterException"),
        ("ListClusters", {"nextToken": "nonsense"}, "InvalidParameterException"),
        ("DeleteCluster", {"cluster": f"{ECS}:task/x"}, "InvalidParameterException"),
        ("DeleteCluster", {"cluster": HELD}, "ClusterContainsContainerInstancesException"),
        ("RegisterTaskDefinition", definition, "ClientException"),
        ("DescribeTaskDefinition", {"taskDefinition": "missing"}, "ClientException"),
        ("DescribeTaskDefinition", {"taskDefinition": "models", "include": ["X"]},
         "InvalidParameterException"),
        ("ListTaskDefinitions", {"maxResults": 0}, "InvalidParameterException"),
        ("ListTaskDefinitionFamilies", {"maxResults": 101}, "InvalidParameterException"),
        ("DeregisterTaskDefinition", {"taskDefinition": "models"}, "InvalidParameterException"),
        ("DeregisterTaskDefinition", {"taskDefinition": "models:99"}, "ClientException"),
        ("DeleteTaskDefinitions", {"taskDefinitions": ["x:1"] * 11}, "InvalidParameterException"),
        ("RunTask", {"cluster": HELD, "taskDefinition": "missing"}, "ClientException"),
        ("RunTask", {"cluster": HELD, "taskDefinition": "models", "count": 11},
         "InvalidParameterException"),
        ("RunTask", walk.conflicting, "ConflictException"),
        ("StartTask", {"cluster": HELD, "taskDefinition": "missing", "containerInstances": ["x"]},
         "ClientException"),
        ("StartTask", {"cluster": HELD, "taskDefinition": "models", "containerInstances": []},
         "InvalidParameterException"),
        ("StopTask", {"cluster": HELD, "task": "0" * 32}, "InvalidParameterException"),
        ("DescribeTasks", {"cluster": HELD, "tasks": []}, "InvalidParameterException"),
        ("ListTasks", {"cluster": HELD, "nextToken": "nonsense"}, "InvalidParameterException"),
        ("ListTasks", {"cluster": HELD, "serviceName": "x"}, "ServiceNotFoundException"),
        ("TagResource", {"resourceArn": f"{ECS}:cluster/{HELD}", "tags": bad_tags},
         "InvalidParameterException"),
        ("TagResource", {"resourceArn": f"{ECS}:task/{HELD}/0", "tags": tags},
         "ResourceNotFoundException"),
        ("TagResource", {"resourceArn": missing, "tags": tags}, "ClusterNotFoundException"),
        ("TagResource", {"resourceArn": f"{ECS}:cluster/{HELD}", "tags": [
            {"key": f"k{i}", "value": ""} for i in range(50)]}, "LimitExceededException"),
        ("UntagResource", {"resourceArn": f"{ECS}:cluster/{HELD}", "tagKeys": []},
         "InvalidParameterException"),
        ("UntagResource", {"resourceArn": f"{ECS}:task/{HELD}/0", "tagKeys": ["k"]},
         "ResourceNotFoundException"),
        ("UntagResource", {"resourceArn": missing, "tagKeys": ["k"]}, "ClusterNotFoundException"),
        ("ListTagsForResource", {"resourceArn": "x"}, "InvalidParameterException"),
        ("ListTagsForResource", {"resourceArn": missing}, "ClusterNotFoundException"),
        ("PutAccountSetting", {"name": "containerInsights", "value": "x"},
         "InvalidParameterException"),
        ("PutAccountSetting", {"name": "fargateFIPSMode", "value": "enabled"}, "ClientException"),
        ("PutAccountSettingDefault", {"name": "guardDutyActivate", "value": "on"},
         "InvalidParameterException"),
        ("PutAccountSettingDefault", {"name": "fargateFIPSMode", "value": "enabled"},
         "ClientException"),
        ("DeleteAccountSetting", {"name": "awsvpcTrunking", "principalArn": "x"},
         "InvalidParameterException"),
        ("ListAccountSettings", {"maxResults": 11}, "InvalidParameterException"),
        ("DiscoverPollEndpoint", {"cluster": f"{ECS}:task/x"}, "InvalidParameterException"),
        ("RegisterContainerInstance", {"cluster": f"{ECS}:task/x"}, "InvalidParameterException"),
        ("DescribeContainerInstances", {"cluster": HELD, "containerInstances": []},
         "InvalidParameterException"),
        ("ListContainerInstances", {"cluster": HELD, "filter": "x"}, "InvalidParameterException"),
        ("SubmitTaskStateChange", {"containers": [{"networkBindings": bindings}]},
         "InvalidParameterException"),
        ("SubmitContainerStateChange", {"networkBindings": bindings}, "InvalidParameterException"),
        ("SubmitAttachmentStateChanges", {"cluster": HELD}, "InvalidParameterException"),
        ("DeregisterContainerInstance", {"cluster": f"{ECS}:task/x", "containerInstance": "x"},
         "InvalidParameterException"),
        ("UpdateContainerInstancesState", {"cluster": HELD, "containerInstances": ["x"] * 11,
                                           "status": "DRAINING"}, "InvalidParameterException"),
        ("UpdateContainerAgent", {"cluster": f"{ECS}:task/x", "containerInstance": "x"},
         "InvalidParameterException"),
        ("PutAttributes", {"cluster": HELD, "attributes": []}, "InvalidParameterException"),
        ("PutAttributes", {"cluster": HELD, "attributes": [
            {"name": "a", "targetType": "container-instance", "targetId": "0" * 32}]},
         "TargetNotFoundException"),
        ("DeleteAttributes", {"cluster": HELD, "attributes": []}, "InvalidParameterException"),
        ("DeleteAttributes", {"cluster": HELD, "attributes": [
            {"name": "a", "targetType": "container-instance", "targetId": "0" * 32}]},
         "TargetNotFoundException"),
        ("ListAttributes", {"cluster": HELD, "targetType": "x"}, "InvalidParameterException"),
    ]
    service = cluster.ecs.meta.service_model
    rows += wrong_service_requests(walk.ended) + wrong_task_set_requests(walk.task_set)
    for name in service.operation_names:
        model = service.operation_model(name)
        errors = {error.name for error in model.error_shapes}
        # A report is answered 200 whatever it is about: an agent that was refused would repeat it.
        if "ClusterNotFoundException" in errors and "cluster" in model.input_shape.members \
                and not name.startswith("Submit"):
            rows.append((name, required(cluster, name, cluster="missing"),
                         "ClusterNotFoundException"))
    return rows


def check_error(cluster, operation, status, answer):
    """A refusal has a modelled error's members, with the model's types."""
    errors = {error.name: error for error in
              cluster.ecs.meta.service_model.operation_model(operation).error_shapes}
    assert status == 400, (operation, answer)
    assert answer["message"], (operation, answer)
    shape = errors.get(answer["__type"])
    assert shape is not None, f"{operation}: {answer['__type']} is not documented"
    assert set(answer) - {"__type", "message"} <= set(shape.members), (operation, answer)


@pytest.fixture(scope="module")
def walked(shared):
    """A walk that has come to its end, with a host of the test's own to run on."""
    walk = Walk(shared)
    walk.clusters()
    walk.settings()
    agent = FakeAgent(shared, "models", cpu=4096, memory=4096, ecs_cluster=HELD,
                      attributes={"ecs.cpu-architecture": "x86_64"})
    walk.definitions()
    walk.tasks()
    walk.services()
    walk.task_sets()
    walk.hostless()
    walk.instances()
    yield walk
    walk.leave()
    agent.disconnect()


def implemented(cluster):
    return {name for name in cluster.ecs.meta.service_model.operation_names
            if is_there(cluster, name)}


def test_every_operation_answers_as_the_model_says(walked):
    left_out = implemented(walked.cluster) - walked.answered
    # An agent of AWS's is not updated from here, and there are no namespaces: there is no answer
    # but a refusal.
    assert left_out <= {"UpdateContainerAgent", "ListServicesByNamespace"}, left_out


def test_every_documented_error_is_brought_about(walked):
    cluster = walked.cluster
    present = implemented(cluster)
    provoked = set()
    for operation, members, code in wrong_requests(walked):
        if operation not in present:
            continue
        status, answer = cluster.call(operation, members)
        assert answer.get("__type") == code, (operation, members, status, answer)
        check_error(cluster, operation, status, answer)
        provoked.add((operation, code))
    for operation in sorted(present - AGENT_S_OWN):
        status, answer = cluster.call(operation, required(cluster, operation),
                                      key=cluster.key("agent"))
        assert answer["__type"] == "AccessDeniedException", (operation, answer)
        check_error(cluster, operation, status, answer)
        provoked.add((operation, "AccessDeniedException"))
    model = cluster.ecs.meta.service_model
    documented = {(name, error.name) for name in present
                  for error in model.operation_model(name).error_shapes}
    left = {(name, error) for name, error in documented - provoked
            if error not in UNPROVOKED
            and not (error == "AccessDeniedException" and name in AGENT_S_OWN)
            and not (error == "ClientException" and name in NO_CLIENT_EXCEPTION)
            and not (error == "ClusterNotFoundException" and name.startswith("Submit"))}
    # RegisterTaskDefinition has a limit of a million revisions; the rest has a test of its own.
    left -= {("RegisterTaskDefinition", "LimitExceededException"),
             ("RegisterTaskDefinition", "InvalidParameterException"),
             ("PutAttributes", "AttributeLimitExceededException"),
             ("DeleteCluster", "ClusterContainsTasksException"),
             *MISSING_IS_A_FAILURE, *MAKES_NO_TASK_SET}
    assert not left, sorted(left)


def test_a_conflict_names_the_tasks_that_the_token_made(walked):
    _, answer = walked.cluster.call("RunTask", walked.conflicting)
    assert answer["__type"] == "ConflictException" and len(answer["resourceIds"]) == 2


def test_answers_are_numbers_where_times_are_due(walked):
    """Timestamps are seconds, with the fraction."""
    status, answer = walked.cluster.call("DescribeTaskDefinition", {"taskDefinition": "models"})
    assert status == 200
    registered = answer["taskDefinition"]["registeredAt"]
    assert isinstance(registered, float) and abs(registered - time.time()) < 3600
    assert json.dumps(registered)
