"""Goal: clusters, task definitions, tags, account settings and sts as their users meet them, and the
EC2 commands of an ECS course as they are written. Method: the stock AWS CLI and boto3; raw requests
where no client would send them."""
import http.client
import json
import time

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import cluster as clusters
import pytest
from fake_agent import FakeAgent

# Every member that a definition for EC2 can have; ECS gives it back with what is in ADDED.
EVERYTHING = {
    "family": "everything",
    "taskRoleArn": "arn:aws:iam::000000000000:role/task",
    "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
    "networkMode": "bridge",
    "requiresCompatibilities": ["EC2"],
    "cpu": "512",
    "memory": "1024",
    "pidMode": "task",
    "ipcMode": "task",
    "ephemeralStorage": {"sizeInGiB": 21},
    "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
    "enableFaultInjection": False,
    "placementConstraints": [{"type": "memberOf", "expression": "attribute:a exists"}],
    "volumes": [
        {"name": "host", "host": {"sourcePath": "/srv"}},
        {"name": "empty", "host": {}},
        {"name": "shared", "dockerVolumeConfiguration": {
            "scope": "shared", "autoprovision": True, "driver": "local",
            "driverOpts": {"type": "tmpfs"}, "labels": {"a": "b"}}},
        {"name": "efs", "efsVolumeConfiguration": {
            "fileSystemId": "fs-1", "rootDirectory": "/", "transitEncryption": "ENABLED",
            "transitEncryptionPort": 2049,
            "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"}}},
        {"name": "ebs", "configuredAtLaunch": True},
    ],
    "containerDefinitions": [
        {
            "name": "init", "image": "busybox:1", "cpu": 0, "memory": 64, "essential": False,
            "portMappings": [], "environment": [], "mountPoints": [], "volumesFrom": [],
            "systemControls": [],
        },
        {
            "name": "router", "image": "busybox:1", "cpu": 0, "memory": 64, "essential": True,
            "portMappings": [], "environment": [], "mountPoints": [], "volumesFrom": [],
            "systemControls": [],
            "firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata":
                                                                      "true"}},
        },
        {
            "name": "app", "image": "127.0.0.1:4566/app@sha256:" + "0" * 64,
            "repositoryCredentials": {"credentialsParameter": "arn:aws:secretsmanager:r:1:secret:x"},
            "cpu": 128, "memory": 256, "memoryReservation": 128, "links": ["init:before"],
            "portMappings": [
                {"containerPort": 80, "hostPort": 8080, "protocol": "tcp", "name": "web",
                 "appProtocol": "http"},
                {"containerPort": 53, "hostPort": 0, "protocol": "udp"},
                {"containerPortRange": "9000-9010", "protocol": "tcp"}],
            "essential": True,
            "restartPolicy": {"enabled": True, "ignoredExitCodes": [0, 143],
                              "restartAttemptPeriod": 60},
            "entryPoint": ["/bin/sh", "-c"], "command": ["exec true"],
            "environment": [{"name": "A", "value": "b"}, {"name": "EMPTY", "value": ""}],
            "environmentFiles": [{"value": "arn:aws:s3:::bucket/a.env", "type": "s3"}],
            "mountPoints": [{"sourceVolume": "host", "containerPath": "/host", "readOnly": True},
                            {"sourceVolume": "ebs", "containerPath": "/ebs"}],
            "volumesFrom": [{"sourceContainer": "init", "readOnly": True}],
            "linuxParameters": {
                "capabilities": {"add": ["SYS_PTRACE"], "drop": ["MKNOD"]},
                "devices": [{"hostPath": "/dev/null", "containerPath": "/dev/x",
                             "permissions": ["read", "write"]}],
                "initProcessEnabled": True, "sharedMemorySize": 64,
                "tmpfs": [{"containerPath": "/t", "size": 10, "mountOptions": ["noexec"]}],
                "maxSwap": 0, "swappiness": 60},
            "secrets": [{"name": "SECRET", "valueFrom": "arn:aws:ssm:r:1:parameter/x"}],
            "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}],
            "startTimeout": 10, "stopTimeout": 20, "versionConsistency": "disabled",
            "hostname": "app", "user": "1000:1000", "workingDirectory": "/w",
            "disableNetworking": False, "privileged": False, "readonlyRootFilesystem": True,
            "dnsServers": ["10.0.0.2"], "dnsSearchDomains": ["example.org"],
            "extraHosts": [{"hostname": "db", "ipAddress": "10.0.0.3"}],
            "dockerSecurityOptions": ["no-new-privileges"], "interactive": True,
            "pseudoTerminal": True, "dockerLabels": {"k": "v"},
            "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
            "logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "null"},
                                 "secretOptions": [{"name": "k", "valueFrom": "p"}]},
            "healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 10, "timeout": 5,
                            "retries": 2, "startPeriod": 1},
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "100"}],
            "resourceRequirements": [{"type": "GPU", "value": "1"}],
        },
    ],
}
ADDED = {"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
         "registeredAt", "registeredBy"}


def test_a_definition_comes_back_exactly_as_it_was_given(cluster):
    registered = cluster.ecs.register_task_definition(**EVERYTHING)["taskDefinition"]
    described = cluster.ecs.describe_task_definition(taskDefinition="everything")["taskDefinition"]
    assert registered == described
    assert set(described) == set(EVERYTHING) | ADDED
    for member, value in EVERYTHING.items():
        assert described[member] == value, member
    assert described["compatibilities"] == ["EXTERNAL", "EC2"]
    assert described["registeredBy"] == "arn:aws:iam::000000000000:root"


def test_what_is_described_can_be_registered_again(cluster):
    """As deployment tools do it: describe, drop what ECS added, register."""
    cluster.ecs.register_task_definition(**EVERYTHING)
    described = cluster.ecs.describe_task_definition(taskDefinition="everything")["taskDefinition"]
    again = cluster.ecs.register_task_definition(
        **{name: value for name, value in described.items() if name not in ADDED})
    assert again["taskDefinition"]["revision"] == described["revision"] + 1
    for name in EVERYTHING:
        assert again["taskDefinition"][name] == described[name], name


def test_fargate_definitions_are_judged_as_by_ecs(cluster):
    fargate = {"family": "fargate", "requiresCompatibilities": ["FARGATE"],
               "networkMode": "awsvpc", "cpu": ".25 vCPU", "memory": "1 GB",
               "containerDefinitions": [{"name": "app", "image": "nginx",
                                         "portMappings": [{"containerPort": 80}]}]}
    made = cluster.ecs.register_task_definition(**fargate)["taskDefinition"]
    assert (made["cpu"], made["memory"]) == ("256", "1024")
    assert made["compatibilities"] == ["EC2", "FARGATE"]
    assert made["containerDefinitions"][0]["portMappings"] == [
        {"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]
    with pytest.raises(cluster.ecs.exceptions.ClientException, match="No Fargate configuration"):
        cluster.ecs.register_task_definition(**{**fargate, "memory": "4 GB"})


def test_definitions_with_the_cli(cluster):
    family = cluster.family()
    container = json.dumps([clusters.container()])
    for _ in range(2):
        cluster.aws("ecs", "register-task-definition", "--family", family,
                    "--container-definitions", container, "--tags", "key=team,value=a b")
    shown = cluster.aws_json("ecs", "describe-task-definition", "--task-definition", family,
                             "--include", "TAGS")
    assert shown["tags"] == [{"key": "team", "value": "a b"}]
    cluster.aws("ecs", "deregister-task-definition", "--task-definition", f"{family}:1")
    gone = cluster.aws_json("ecs", "delete-task-definitions", "--task-definition",
                            f"{family}:1")["taskDefinitions"]
    assert [d["status"] for d in gone] == ["DELETE_IN_PROGRESS"]
    listed = cluster.aws_json("ecs", "list-task-definitions", "--family-prefix", family,
                              "--status", "DELETE_IN_PROGRESS")
    assert [arn.rsplit("/")[1] for arn in listed["taskDefinitionArns"]] == [f"{family}:1"]
    assert family in cluster.aws_json("ecs", "list-task-definition-families", "--status",
                                      "ACTIVE")["families"]


def test_clusters_with_the_cli(cluster):
    cluster.aws("ecs", "create-cluster", "--cluster-name", "course", "--settings",
                "name=containerInsights,value=enabled", "--tags", "key=a,value=b")
    cluster.aws("ecs", "update-cluster-settings", "--cluster", "course", "--settings",
                "name=containerInsights,value=enhanced")
    found = cluster.aws_json("ecs", "describe-clusters", "--clusters", "course", "--include",
                             "SETTINGS", "TAGS")["clusters"][0]
    assert found["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    assert found["tags"] == [{"key": "a", "value": "b"}]
    refused = cluster.aws("ecs", "delete-cluster", "--cluster", "default", check=False)
    assert "ClusterContainsContainerInstancesException" in refused.stderr
    gone = cluster.aws_json("ecs", "delete-cluster", "--cluster", "course")["cluster"]
    assert gone["status"] == "INACTIVE"
    refused = cluster.aws("ecs", "list-tasks", "--cluster", "course", check=False)
    assert "ClusterNotFoundException" in refused.stderr and "Cluster not found." in refused.stderr


def test_a_cluster_with_tasks_is_not_deleted(cluster):
    arn = cluster.start(cluster.register(clusters.idle()))
    with pytest.raises(cluster.ecs.exceptions.ClusterContainsContainerInstancesException):
        cluster.ecs.delete_cluster(cluster="default")
    assert cluster.task(arn)["desiredStatus"] == "RUNNING"


def test_tags_with_the_cli(cluster):
    arn = cluster.start(cluster.register(clusters.idle()))
    cluster.aws("ecs", "tag-resource", "--resource-arn", arn, "--tags", "key=a,value=1",
                "key=b,value=2")
    cluster.aws("ecs", "untag-resource", "--resource-arn", arn, "--tag-keys", "a")
    assert cluster.aws_json("ecs", "list-tags-for-resource", "--resource-arn", arn)["tags"] == [
        {"key": "b", "value": "2"}]
    refused = cluster.aws("ecs", "tag-resource", "--resource-arn", arn, "--tags",
                          "key=aws:x,value=1", check=False)
    assert "InvalidParameterException" in refused.stderr


def test_account_settings_with_the_cli(cluster):
    listed = cluster.aws_json("ecs", "list-account-settings", "--effective-settings")["settings"]
    assert len(listed) == 11            # the CLI asks for the second page by itself
    values = {setting["name"]: setting["value"] for setting in listed}
    assert values["taskLongArnFormat"] == "enabled" and values["containerInsights"] == "disabled"
    put = cluster.aws_json("ecs", "put-account-setting-default", "--name", "containerInsights",
                           "--value", "enhanced")["setting"]
    assert put["principalArn"] == "arn:aws:iam::000000000000:root"
    try:
        made = cluster.ecs.create_cluster(clusterName="insights")["cluster"]
        assert made["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    finally:
        cluster.aws("ecs", "delete-account-setting", "--name", "containerInsights")
    cluster.ecs.delete_cluster(cluster="insights")


def test_arns_of_others_are_refused(cluster):
    for arn, word in (("arn:aws:ecs:us-east-1:111122223333:cluster/default", "111122223333"),
                      ("arn:aws:ecs:eu-west-1:000000000000:cluster/default", "eu-west-1"),
                      ("arn:aws:ecs:us-east-1:000000000000:task/default/1", "ARN of a cluster")):
        with pytest.raises(cluster.ecs.exceptions.InvalidParameterException, match=word):
            cluster.ecs.list_tasks(cluster=arn)


def test_a_task_of_another_cluster_is_missing(cluster):
    arn = cluster.start(cluster.register(clusters.idle()))
    cluster.ecs.create_cluster(clusterName="elsewhere")
    answer = cluster.ecs.describe_tasks(cluster="elsewhere", tasks=[arn])
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
    short = "arn:aws:ecs:us-east-1:000000000000:task/" + arn.rsplit("/", 1)[1]
    assert cluster.task(short)["taskArn"] == arn
    cluster.ecs.delete_cluster(cluster="elsewhere")


# STS.

def sts(cluster, who="operator", secret=None):
    key = cluster.key(who)
    return boto3.client("sts", endpoint_url=cluster.env["AWS_ENDPOINT_URL"],
                        region_name="us-east-1", aws_access_key_id=key["accessKeyId"],
                        aws_secret_access_key=secret or key["secretAccessKey"],
                        config=botocore.config.Config(retries={"total_max_attempts": 1}))


def test_sts_says_who_calls(cluster):
    printed = cluster.aws_json("sts", "get-caller-identity")
    assert printed == {"UserId": "000000000000", "Account": "000000000000",
                       "Arn": "arn:aws:iam::000000000000:root"}
    answer = sts(cluster).get_caller_identity()
    assert answer["Arn"] == printed["Arn"] and answer["ResponseMetadata"]["RequestId"]
    assert sts(cluster, "agent").get_caller_identity()["Arn"].endswith(":user/fairlead-agent")


def test_sts_refuses_in_xml(cluster):
    client = sts(cluster)
    refused = cluster.aws("sts", "get-session-token", check=False)
    assert "InvalidAction" in refused.stderr and "GetSessionToken" in refused.stderr
    with pytest.raises(client.exceptions.ClientError) as caught:
        sts(cluster, secret="wrong").get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("service,operation,name", [
    ("iam", "list-roles", "iam:ListRoles"),
    ("ec2", "describe-vpcs", "ec2:DescribeVpcs"),
    ("elbv2", "describe-load-balancers", "elasticloadbalancing:DescribeLoadBalancers"),
])
def test_services_that_are_not_here_say_so(cluster, service, operation, name):
    """EC2's errors are wrapped as no other service's are."""
    refused = cluster.aws(service, operation, check=False)
    assert refused.returncode != 0
    assert "InvalidAction" in refused.stderr
    assert f"{name} is not implemented yet." in refused.stderr


@pytest.mark.parametrize("body,code", [
    (b"Action=GetCallerIdentity&Version=2011-06-15", None),
    (b"Action=GetCallerIdentity&Version=1999-01-01", "InvalidAction"),
    (b"Action=%3Cb%3E%26&Version=2011-06-15", "InvalidAction"),
    (b"Version=2011-06-15", "InvalidAction"),
    (b"", "InvalidAction"),
    (b"Action=%zz", "MalformedQueryString"),
    (b"&".join(b"a%d=" % i for i in range(10001)), "MalformedQueryString"),
])
def test_queries_that_no_client_sends(cluster, body, code):
    status, text = raw(cluster, signed_without_target(cluster, body), body)
    if code is None:
        assert status == 200 and b"<GetCallerIdentityResult>" in text
    else:
        assert status == 400 and f"<Code>{code}</Code>".encode() in text
        assert b"<b>" not in text


def signed_without_target(cluster, body):
    """cluster.signed() signs a target, which a query must not have."""
    key = cluster.key()
    request = botocore.awsrequest.AWSRequest(
        "POST", f"http://127.0.0.1:{cluster.port}/", data=body,
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
                 "Host": f"127.0.0.1:{cluster.port}"})
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(
        key["accessKeyId"], key["secretAccessKey"]), "sts", "us-east-1").add_auth(request)
    return dict(request.headers.items())


def raw(cluster, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=30)
    try:
        connection.request("POST", "/", body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# --strict.

@pytest.fixture(scope="module")
def strict():
    made = clusters.Cluster("--strict")
    made.up()
    yield made
    made.uninstall()
    assert not made.leaks()


def test_strict_limits_requests_as_aws_does(strict):
    taken = 0
    with pytest.raises(strict.ecs.exceptions.ClientError) as caught:
        for _ in range(200):
            strict.ecs.list_task_definitions()
            taken += 1
    error = caught.value.response
    assert (error["Error"]["Code"], error["Error"]["Message"]) == ("ThrottlingException",
                                                                    "Rate exceeded")
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert taken >= 50
    strict.ecs.list_clusters()          # another bucket


def test_sdks_retry_what_was_throttled(strict):
    patient = boto3.client(
        "ecs", endpoint_url=strict.env["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id=strict.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=strict.env["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 10}))
    retries = 0
    for _ in range(70):
        retries += patient.list_account_settings()["ResponseMetadata"]["RetryAttempts"]
    assert retries > 0


def test_without_strict_nothing_is_limited(cluster):
    for _ in range(150):
        cluster.ecs.list_task_definitions(maxResults=1)


# The EC2 commands of an ECS course, as they are written.

@pytest.fixture
def course(cluster):
    """Hosts of the instance type that the course uses, in two zones, in a cluster of their own."""
    cluster.ecs.create_cluster(clusterName="ec2-course")
    agents = [FakeAgent(cluster, f"host-{i}", cpu=16384, memory=32768, ecs_cluster="ec2-course",
                        attributes={"ecs.instance-type": kind,
                                    "ecs.availability-zone": f"us-east-1{zone}"})
              for i, (kind, zone) in enumerate([("c5.4xlarge", "a"), ("c5.4xlarge", "b"),
                                                ("t2.micro", "a")])]
    yield agents
    for arn in cluster.ecs.list_tasks(cluster="ec2-course")["taskArns"]:
        cluster.ecs.stop_task(cluster="ec2-course", task=arn)
    clusters.until(lambda: cluster.ecs.describe_clusters(
        clusters=["ec2-course"])["clusters"][0]["runningTasksCount"] == 0)
    for agent in agents:
        agent.disconnect()


def test_the_ec2_commands_of_a_course(cluster, course):
    family = cluster.family()
    cluster.register(clusters.container(memory=128), family=family)
    connected = cluster.aws_json("ecs", "list-container-instances", "--cluster", "ec2-course",
                                 "--filter", "agentConnected==true")["containerInstanceArns"]
    assert {agent.arn for agent in course} <= set(connected)
    started = cluster.aws_json(
        "ecs", "run-task", "--cluster", "ec2-course", "--launch-type", "EC2", "--count", "4",
        "--task-definition", family, "--placement-strategy",
        "type=spread,field=attribute:ecs.availability-zone", "type=binpack,field=memory",
        "--placement-constraints",
        'type=memberOf,expression="attribute:ecs.instance-type == c5.4xlarge"')
    assert started["failures"] == []
    places = [task["containerInstanceArn"] for task in started["tasks"]]
    assert sorted(places) == sorted([course[0].arn, course[1].arn] * 2)
    assert {task["launchType"] for task in started["tasks"]} == {"EC2"}
    arns = [task["taskArn"] for task in started["tasks"]]
    cluster.aws("ecs", "wait", "tasks-running", "--cluster", "ec2-course", "--tasks", *arns)
    shown = cluster.aws_json("ecs", "describe-tasks", "--cluster", "ec2-course", "--tasks", *arns)
    assert {task["availabilityZone"] for task in shown["tasks"]} == {"us-east-1a", "us-east-1b"}
    on_one = cluster.aws_json("ecs", "list-tasks", "--cluster", "ec2-course",
                              "--container-instance", course[0].arn)["taskArns"]
    assert len(on_one) == 2 and set(on_one) < set(arns)
    placed = cluster.aws_json("ecs", "start-task", "--cluster", "ec2-course", "--task-definition",
                              family, "--container-instances", course[2].arn)
    assert placed["tasks"][0]["containerInstanceArn"] == course[2].arn
    cluster.aws("ecs", "stop-task", "--cluster", "ec2-course", "--task", arns[0])
    cluster.aws("ecs", "wait", "tasks-stopped", "--cluster", "ec2-course", "--tasks", arns[0])


def test_a_retried_run_task_starts_nothing_twice(cluster):
    family = cluster.family()
    cluster.register(clusters.idle(), family=family)
    command = ("ecs", "run-task", "--task-definition", family, "--client-token", "once",
               "--started-by", "cli", "--group", "g")
    first = cluster.aws_json(*command)["tasks"]
    again = cluster.aws_json(*command)["tasks"]
    assert [t["taskArn"] for t in first] == [t["taskArn"] for t in again]
    refused = cluster.aws(*command, "--count", "2", check=False)
    assert "ConflictException" in refused.stderr
    assert len(cluster.ecs.list_tasks(startedBy="cli")["taskArns"]) == 1


def test_times_are_those_of_the_clock(cluster):
    made = cluster.ecs.describe_task_definition(
        taskDefinition=cluster.register(clusters.container()))["taskDefinition"]
    assert abs(made["registeredAt"].timestamp() - time.time()) < 60
