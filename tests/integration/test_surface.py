"""Goal: all 88 operations are known: each works or says honestly that it does not; answers have the
shapes that the SDKs' model describes. Method: requests made from botocore's own model."""
import json

import cluster as clusters
import pytest

IMPLEMENTED = {
    "CreateCluster", "DescribeClusters", "ListClusters", "UpdateCluster", "UpdateClusterSettings",
    "DeleteCluster",
    "RegisterTaskDefinition", "DescribeTaskDefinition", "ListTaskDefinitions",
    "ListTaskDefinitionFamilies", "DeregisterTaskDefinition", "DeleteTaskDefinitions",
    "RunTask", "StartTask", "StopTask", "DescribeTasks", "ListTasks",
    "TagResource", "UntagResource", "ListTagsForResource",
    "PutAccountSetting", "PutAccountSettingDefault", "DeleteAccountSetting", "ListAccountSettings",
    "RegisterContainerInstance", "DescribeContainerInstances", "ListContainerInstances",
    "DiscoverPollEndpoint",
    "SubmitTaskStateChange", "SubmitContainerStateChange", "SubmitAttachmentStateChanges",
}
IMPLEMENTED |= {
    "DeregisterContainerInstance", "UpdateContainerInstancesState", "UpdateContainerAgent",
    "PutAttributes", "DeleteAttributes", "ListAttributes",
}
IMPLEMENTED |= {
    "CreateService", "UpdateService", "DeleteService", "DescribeServices", "ListServices",
    "ListServicesByNamespace", "ListServiceDeployments", "DescribeServiceDeployments",
    "DescribeServiceRevisions", "StopServiceDeployment", "ContinueServiceDeployment",
    "GetTaskProtection", "UpdateTaskProtection", "CreateTaskSet", "UpdateTaskSet",
    "UpdateServicePrimaryTaskSet", "DeleteTaskSet", "DescribeTaskSets",
}


def smallest(shape):
    """A value of the shape with its required members only."""
    kind = shape.type_name
    if kind == "structure":
        return {name: smallest(shape.members[name]) for name in shape.required_members}
    if kind == "list":
        return [smallest(shape.member)]
    if kind == "map":
        return {}
    if kind == "string":
        return shape.enum[0] if shape.enum else "x" * max(1, shape.metadata.get("min", 1))
    if kind in ("integer", "long"):
        return max(1, shape.metadata.get("min", 1))
    if kind in ("double", "float"):
        return 1.0
    if kind == "boolean":
        return True
    return 1700000000


def misfits(shape, value, path="answer"):
    """Where a value does not have the shape."""
    kind = shape.type_name
    if value is None:
        return [f"{path}: null"]
    wanted = {"structure": dict, "map": dict, "list": list, "string": str, "blob": str, "boolean": bool,
              "integer": int, "long": int, "double": (int, float), "float": (int, float),
              "timestamp": (int, float)}[kind]
    if not isinstance(value, wanted) or (kind != "boolean" and isinstance(value, bool)):
        return [f"{path}: {value!r} is no {kind}"]
    found = []
    if kind == "structure":
        for name, member in value.items():
            if name not in shape.members:
                found.append(f"{path}.{name}: not in the model")
            else:
                found += misfits(shape.members[name], member, f"{path}.{name}")
    elif kind == "list":
        for i, member in enumerate(value):
            found += misfits(shape.member, member, f"{path}[{i}]")
    elif kind == "map":
        for name, member in value.items():
            found += misfits(shape.value, member, f"{path}.{name}")
    elif kind == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        found.append(f"{path}: {value!r} is not one of {shape.enum}")
    return found


def checked(cluster, operation, members, service="ecs"):
    """Calls, and compares the raw answer with the model."""
    model = getattr(cluster, service).meta.service_model.operation_model(operation)
    body = json.dumps(members).encode()
    target = f"{clusters.TARGETS[service]}.{operation}"
    status, answer = cluster.post(cluster.signed(target, body, service=service), body)
    assert status == 200, (operation, answer)
    if model.output_shape is not None:
        problems = misfits(model.output_shape, answer)
        assert not problems, "\n".join(problems)
    return answer


def test_the_model_knows_88_operations(cluster):
    assert len(cluster.ecs.meta.service_model.operation_names) >= 88


def test_what_is_not_implemented_says_so(cluster):
    service = cluster.ecs.meta.service_model
    wrong = []
    for name in service.operation_names:
        if name in IMPLEMENTED:
            continue
        shape = service.operation_model(name).input_shape
        status, answer = cluster.call(name, smallest(shape) if shape else {})
        text = answer.get("message", "")
        if (status, answer.get("__type")) != (400, "ClientException") or name not in text \
                or "not implemented" not in text:
            wrong.append(f"{name}: {status} {answer}")
    assert not wrong, "\n".join(wrong)


def test_required_members_are_asked_for(cluster):
    service = cluster.ecs.meta.service_model
    for name in sorted(IMPLEMENTED):
        shape = service.operation_model(name).input_shape
        if shape.required_members:
            status, answer = cluster.call(name, {})
            assert status == 400, name
            assert answer["__type"] in ("ClientException", "InvalidParameterException"), name


def test_unknown_members_are_ignored(cluster):
    status, _ = cluster.call("ListClusters", {"somethingNewer": {"a": [1]}})
    assert status == 200


def test_answers_have_the_model_s_shapes(cluster):
    cluster.ecs.create_cluster(clusterName="shapes")
    checked(cluster, "CreateCluster", {"clusterName": "shapes"})
    checked(cluster, "ListClusters", {})
    checked(cluster, "DescribeClusters", {"clusters": ["default", "shapes", "missing"],
                                          "include": ["ATTACHMENTS", "CONFIGURATIONS", "SETTINGS",
                                                      "STATISTICS", "TAGS"]})
    registered = checked(cluster, "RegisterTaskDefinition", {
        "family": "shapes", "cpu": "256", "memory": "128", "networkMode": "bridge",
        "containerDefinitions": [clusters.idle(
            cpu=10, essential=True,
            portMappings=[{"containerPort": 80}], environment=[{"name": "A", "value": "b"}],
            ulimits=[{"name": "nofile", "softLimit": 64, "hardLimit": 128}],
            logConfiguration=clusters.awslogs("/shapes"))]})
    arn = registered["taskDefinition"]["taskDefinitionArn"]
    checked(cluster, "DescribeTaskDefinition", {"taskDefinition": "shapes", "include": ["TAGS"]})
    assert arn in checked(cluster, "ListTaskDefinitions",
                          {"familyPrefix": "shapes"})["taskDefinitionArns"]
    started = checked(cluster, "RunTask", {"taskDefinition": "shapes", "tags": [
        {"key": "k", "value": "v"}], "startedBy": "me", "group": "g"})
    task = started["tasks"][0]["taskArn"]
    cluster.wait(task, "RUNNING")
    described = checked(cluster, "DescribeTasks", {"tasks": [task, "0" * 32], "include": ["TAGS"]})
    binding = described["tasks"][0]["containers"][0]["networkBindings"][0]
    assert binding["containerPort"] == 80 and binding["hostPort"] > 0
    checked(cluster, "ListTasks", {"family": "shapes"})
    instances = checked(cluster, "ListContainerInstances", {})["containerInstanceArns"]
    checked(cluster, "DescribeContainerInstances", {"containerInstances": instances,
                                                    "include": ["TAGS"]})
    checked(cluster, "StopTask", {"task": task, "reason": "done"})
    stopped = cluster.wait(task)
    assert stopped["stoppedReason"] == "done"
    checked(cluster, "DescribeTasks", {"tasks": [task]})
    checked(cluster, "DeregisterTaskDefinition", {"taskDefinition": arn})
    checked(cluster, "DescribeLogGroups", {"logGroupNamePrefix": "/shapes"}, "logs")
    streams = checked(cluster, "DescribeLogStreams", {"logGroupName": "/shapes"}, "logs")
    checked(cluster, "GetLogEvents", {
        "logGroupName": "/shapes",
        "logStreamName": streams["logStreams"][0]["logStreamName"]}, "logs")
    checked(cluster, "FilterLogEvents", {"logGroupName": "/shapes"}, "logs")


def test_services_answers_have_the_model_s_shapes(cluster, services):
    definition, name = services.definition(), services.name()
    checked(cluster, "CreateService", {
        "serviceName": name, "taskDefinition": definition, "desiredCount": 1,
        "deploymentConfiguration": {"deploymentCircuitBreaker": {
            "enable": True, "rollback": True,
            "thresholdConfiguration": {"type": "COUNT", "value": 5}}},
        "placementConstraints": [{"type": "distinctInstance"}],
        "placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"}],
        "tags": [{"key": "k", "value": "v"}]})
    services.steady(name)
    checked(cluster, "UpdateService", {"service": name, "deploymentConfiguration": {
        "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": [
            {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}]},
        "placementConstraints": [], "forceNewDeployment": True})
    arn = services.latest(name)["serviceDeploymentArn"]
    clusters.until(lambda: services.deployment(arn).get("lifecycleHookDetails"), what="the pause")
    checked(cluster, "DescribeServices", {"services": [name, "nobody"], "include": ["TAGS"]})
    checked(cluster, "ListServices", {})
    checked(cluster, "ListServiceDeployments", {"service": name})
    (found,) = checked(cluster, "DescribeServiceDeployments", {
        "serviceDeploymentArns": [arn]})["serviceDeployments"]
    checked(cluster, "DescribeServiceRevisions", {
        "serviceRevisionArns": [found["targetServiceRevision"]["arn"]]})
    checked(cluster, "ContinueServiceDeployment", {
        "serviceDeploymentArn": arn, "hookId": found["lifecycleHookDetails"][0]["hookId"],
        "action": "ROLLBACK"})
    services.ends(arn, "ROLLBACK_SUCCESSFUL")
    checked(cluster, "DescribeServiceDeployments", {"serviceDeploymentArns": [arn]})
    tasks = [task["taskArn"] for task in services.tasks(name)]
    checked(cluster, "UpdateTaskProtection", {"cluster": "default", "tasks": tasks,
                                              "protectionEnabled": True})
    checked(cluster, "GetTaskProtection", {"cluster": "default", "tasks": tasks})
    checked(cluster, "UpdateTaskProtection", {"cluster": "default", "tasks": tasks,
                                              "protectionEnabled": False})
    checked(cluster, "DeleteService", {"service": name, "force": True})


def test_listings_are_paged(cluster):
    arns = {cluster.register(clusters.sh("exit 0"), family="paged") for _ in range(7)}
    paginator = cluster.ecs.get_paginator("list_task_definitions")
    pages = list(paginator.paginate(familyPrefix="paged", PaginationConfig={"PageSize": 3}))
    assert [len(page["taskDefinitionArns"]) for page in pages] == [3, 3, 1]
    assert {arn for page in pages for arn in page["taskDefinitionArns"]} == arns


def test_revisions_count_up(cluster):
    first = cluster.register(clusters.sh("exit 0"), family="revisions")
    second = cluster.register(clusters.sh("exit 1"), family="revisions")
    assert first.endswith("task-definition/revisions:1")
    assert second.endswith("task-definition/revisions:2")
    newest = cluster.ecs.describe_task_definition(taskDefinition="revisions")["taskDefinition"]
    assert newest["revision"] == 2
    assert newest["containerDefinitions"][0]["command"] == ["sh", "-c", "exit 1"]
    old = cluster.ecs.describe_task_definition(taskDefinition="revisions:1")["taskDefinition"]
    assert old["containerDefinitions"][0]["command"] == ["sh", "-c", "exit 0"]


@pytest.mark.parametrize("name", ["default", "arn:aws:ecs:us-east-1:000000000000:cluster/default"])
def test_clusters_go_by_name_and_arn(cluster, name):
    found = cluster.ecs.describe_clusters(clusters=[name])["clusters"]
    assert [c["clusterName"] for c in found] == ["default"]
    assert found[0]["status"] == "ACTIVE"
    assert found[0]["registeredContainerInstancesCount"] >= 1
