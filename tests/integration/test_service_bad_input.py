"""What services refuse, in ECS's words, as the stock AWS CLI shows it; and what no client of ECS's
would send, sent raw. Afterwards the server must be the same process and every service as it was."""
import json

import cluster as clusters
import pytest
import services as of


@pytest.fixture(autouse=True)
def nothing_changes(cluster):
    before = cluster.pid("server")
    yield
    assert cluster.pid("server") == before
    left = cluster.ecs.list_services()["serviceArns"]
    assert {of.short(arn) for arn in left} <= {"kept"}, left


@pytest.fixture(scope="module")
def definition(shared):
    return shared.register(clusters.idle(memory=16))


@pytest.fixture
def kept(cluster, definition):
    """A service of no task, for what is refused of one that is there."""
    made = of.Services(cluster)
    made.names.append("kept")
    cluster.ecs.create_service(serviceName="kept", taskDefinition=definition, desiredCount=0)
    yield "kept"
    made.remove()


def refused(cluster, command, *argv):
    """(code, message) as the CLI prints them."""
    answer = cluster.aws("ecs", command, *argv, check=False)
    assert answer.returncode in (254, 255), answer.stdout
    said = answer.stderr.strip()
    code = said.split("(", 1)[1].split(")", 1)[0]
    return code, said.split("operation: ", 1)[1]


def create(cluster, definition, *argv, name="x", count="1"):
    counted = ["--desired-count", count] if count else []
    return refused(cluster, "create-service", "--service-name", name, "--task-definition",
                   definition, *counted, *argv)


INVALID = "InvalidParameterException"


def test_what_create_service_refuses(cluster, definition):
    assert create(cluster, "nobody:7") == ("ClientException", "TaskDefinition not found.")
    assert create(cluster, definition, "--cluster", "nowhere") == (
        "ClusterNotFoundException", "Cluster not found.")
    assert create(cluster, definition, name="no good")[0] == INVALID
    assert create(cluster, definition, name="n" * 256)[0] == INVALID
    assert create(cluster, definition, "--client-token", "t" * 37) == (
        INVALID, "idempotency token longer than 36.")
    assert create(cluster, definition, count=None) == (INVALID, "DesiredCount is missing")
    assert create(cluster, definition, count="-1") == (
        INVALID, "DesiredCount can not be lesser than 0")
    assert create(cluster, definition, "--deployment-configuration",
                  "minimumHealthyPercent=100,maximumPercent=100")[0] == INVALID
    assert create(cluster, definition, "--deployment-configuration",
                  '{"alarms": {"alarmNames": ["a"], "enable": true, "rollback": true}}') == (
        "ClientException", "deploymentConfiguration.alarms is not implemented yet.")
    assert create(cluster, definition, "--deployment-controller", "type=CODE_DEPLOY") == (
        "ClientException", "The deployment controller CODE_DEPLOY is not implemented yet.")


def test_what_daemons_do_not_take(cluster, definition):
    daemon = "--scheduling-strategy", "DAEMON"
    assert create(cluster, definition, *daemon) == (
        INVALID, "The daemon scheduling strategy does not support a desired count for services. "
        "Remove the desired count value and try again")
    assert create(cluster, definition, *daemon, "--launch-type", "FARGATE", count=None) == (
        INVALID, "The daemon scheduling strategy does not support the FARGATE launch type. Change "
        "the launch type and try again")
    assert create(cluster, definition, *daemon, "--placement-strategy", "type=random",
                  count=None)[0] == INVALID
    assert create(cluster, definition, *daemon, "--deployment-configuration",
                  "maximumPercent=200", count=None)[0] == INVALID


def test_what_is_not_there_yet_says_so(cluster, definition):
    code, said = create(cluster, definition, "--load-balancers",
                        "targetGroupArn=arn:aws:elasticloadbalancing:us-east-1:000000000000:"
                        "targetgroup/t/0123456789abcdef,containerName=main,containerPort=80")
    assert code == "ClientException" and "not implemented" in said, said
    code, said = create(cluster, definition, "--service-registries",
                        "registryArn=arn:aws:servicediscovery:us-east-1:000000000000:service/srv-1")
    assert code == "ClientException" and "not implemented" in said, said
    code, said = create(cluster, definition, "--enable-execute-command")
    assert code == "ClientException" and "not implemented" in said, said


def test_what_is_refused_of_a_service(cluster, kept, definition):
    nobody = "--service", "nobody"
    for command in ("update-service", "delete-service"):
        assert refused(cluster, command, *nobody) == (
            "ServiceNotFoundException", "Service not found.")
    assert refused(cluster, "update-service", "--service", kept, "--task-definition", "no:1") == (
        "ClientException", "TaskDefinition not found.")
    assert refused(cluster, "update-service", "--service", kept, "--desired-count", "-1")[
        0] == INVALID
    assert refused(cluster, "list-tasks", "--service-name", "nobody") == (
        "ServiceNotFoundException", "Service not found.")
    assert create(cluster, definition, name=kept) == (
        INVALID, "Creation of service was not idempotent.")
    assert refused(cluster, "describe-services", "--services", *[f"s{i}" for i in range(11)])[
        0] == INVALID
    assert refused(cluster, "list-service-deployments", *nobody)[0] == "ServiceNotFoundException"
    missing = "arn:aws:ecs:us-east-1:000000000000:service-deployment/default/kept/" + "A" * 21
    assert refused(cluster, "stop-service-deployment", "--service-deployment-arn", missing)[
        0] == "ServiceDeploymentNotFoundException"
    assert cluster.ecs.describe_service_deployments(serviceDeploymentArns=[missing])["failures"][0][
        "reason"] == "MISSING"


def test_an_inactive_service_takes_nothing(cluster, definition):
    cluster.ecs.create_service(serviceName="gone", taskDefinition=definition, desiredCount=0)
    cluster.ecs.delete_service(service="gone")
    clusters.until(lambda: cluster.ecs.describe_services(services=["gone"])["services"][0][
        "status"] == "INACTIVE", what="its end")
    for argv in (["--desired-count", "1"], ["--force-new-deployment"],
                 ["--task-definition", definition]):
        assert refused(cluster, "update-service", "--service", "gone", *argv) == (
            "ServiceNotActiveException", "Service was not ACTIVE.")


ODD = [{}, {"serviceName": "x"}, {"serviceName": "", "taskDefinition": "t", "desiredCount": 1},
       {"serviceName": ["x"], "taskDefinition": "t", "desiredCount": 1},
       {"serviceName": "x", "taskDefinition": {"a": 1}, "desiredCount": 1},
       {"serviceName": "x\u0000y", "taskDefinition": "t", "desiredCount": 1},
       {"serviceName": "../../x", "taskDefinition": "t", "desiredCount": 1},
       {"serviceName": "x", "taskDefinition": "t", "desiredCount": 1 << 40},
       {"serviceName": "x", "taskDefinition": "t", "desiredCount": 1.5},
       {"serviceName": "x", "taskDefinition": "t", "schedulingStrategy": "SOMETIMES"},
       {"serviceName": "x", "taskDefinition": "t", "desiredCount": 1,
        "deploymentConfiguration": {"maximumPercent": -1}},
       {"serviceName": "x", "taskDefinition": "t", "desiredCount": 1,
        "placementConstraints": [{"type": "memberOf", "expression": "attribute:"}] * 11},
       {"serviceName": "x", "taskDefinition": "t", "desiredCount": 1,
        "tags": [{"key": "k" * 5000, "value": "v"}]}]


@pytest.mark.parametrize("members", ODD, ids=range(len(ODD)))
def test_what_no_client_would_send(cluster, members):
    members = json.loads(json.dumps(members).replace('"t"', json.dumps("family-1")))
    status, answer = cluster.call("CreateService", members)
    assert status == 400 and answer["__type"], (status, answer)
    more = {"service": members.get("serviceName", ""), **members}
    status, answer = cluster.call("UpdateService", more)
    assert status == 400 and answer["__type"], (status, answer)


def test_the_largest_count_is_bounded(cluster, definition):
    code, said = create(cluster, definition, count="5001")
    assert code == INVALID and "5000" in said, said
