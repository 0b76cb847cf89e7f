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

# What an agent's key may call; for the others it is an AccessDeniedException.
AGENT_S_OWN = {"CreateCluster", "DiscoverPollEndpoint", "ListTagsForResource",
               "RegisterContainerInstance",
               "SubmitAttachmentStateChanges", "SubmitContainerStateChange",
               "SubmitTaskStateChange", "UpdateContainerInstancesState"}

# Documented, but nothing that exists here can bring it about; by error, for all operations or some.
UNPROVOKED = {
    "ServerException": "only a fault of the server's own",
    "UpdateInProgressException": "changes take effect at once",
    "NamespaceNotFoundException": "there are no namespaces",
    "ClusterContainsServicesException": "there are no services",
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
    "UpdateContainerAgent",
}


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


def required(server, operation, **members):
    shape = server.ecs.meta.service_model.operation_model(operation).input_shape
    return {**smallest(shape), **members}


def wrong_requests(cluster, conflicting):
    """(operation, members, error): each documented error that a request can bring about."""
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
        ("RunTask", conflicting, "ConflictException"),
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
    walk.instances()
    yield walk
    agent.disconnect()


def implemented(cluster):
    return {name for name in cluster.ecs.meta.service_model.operation_names
            if is_there(cluster, name)}


def test_every_operation_answers_as_the_model_says(walked):
    left_out = implemented(walked.cluster) - walked.answered
    # An agent of AWS's is not updated from here: there is no answer but a refusal.
    assert left_out <= {"UpdateContainerAgent"}, left_out


def test_every_documented_error_is_brought_about(walked):
    cluster = walked.cluster
    present = implemented(cluster)
    provoked = set()
    for operation, members, code in wrong_requests(cluster, walked.conflicting):
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
             ("DeleteCluster", "ClusterContainsTasksException")}
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
