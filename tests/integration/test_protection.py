"""Task scale-in protection, by the API and from inside a container, and task sets of a service whose
controller is EXTERNAL: with boto3, the AWS CLI and real containers."""
import json
import urllib.parse

import botocore.exceptions
import pytest

import cluster as clusters
from cluster import idle, run, until
from conftest import installation
from test_metadata import PYTHON, Container

ROLE = "arn:aws:iam::000000000000:role/worker"

# A request with a body from inside a container: status and body.
PUT = """
import http.client, json, sys
method, host, path, body = json.loads(sys.argv[1])
connection = http.client.HTTPConnection(host, 80, timeout=10)
connection.request(method, path, body=body)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"""


@pytest.fixture(scope="module")
def kept(busybox):
    with installation(busybox, "--cpu-units", "65536", "--memory-mib", "65536",
                      "--metadata-port", str(clusters.free_port()), "--settle", "1") as made:
        yield made
        made.stop_all()


def service(kept, name):
    return kept.ecs.describe_services(services=[name])["services"][0]


def tasks_of(kept, name, status="RUNNING"):
    arns = kept.ecs.list_tasks(serviceName=name, desiredStatus=status)["taskArns"]
    return kept.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []


def running(kept, name, count):
    """The service's tasks when exactly so many are wanted, and run."""
    def arrived():
        tasks = tasks_of(kept, name)
        return tasks if len(tasks) == count and all(
            task["lastStatus"] == "RUNNING" for task in tasks) else None
    return until(arrived, what=f"{count} tasks of {name}") if count else until(
        lambda: not tasks_of(kept, name), what=f"no task of {name}")


def make_service(kept, name, count, **more):
    definition = kept.register(idle(name="app"), **more)
    kept.ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=count)
    return running(kept, name, count)


def delete(kept, name):
    kept.ecs.delete_service(service=name, force=True)
    until(lambda: service(kept, name)["status"] == "INACTIVE", what="the service's end")


def inside(task, kept, method, body=""):
    """What …/task-protection/v1/state answers to one of the task's containers."""
    container = Container(kept, task["containers"][0])
    url = urllib.parse.urlsplit(container.env["ECS_AGENT_URI"] + "/task-protection/v1/state")
    said = run("nsenter", "-t", str(container.pid), "-n", PYTHON, "-c", PUT,
               json.dumps([method, url.hostname, url.path, body])).stdout
    status, text = json.loads(said)
    return status, json.loads(text)


def test_a_container_protects_its_task(kept):
    tasks = make_service(kept, "worker", 2, taskRoleArn=ROLE)
    busy = tasks[0]
    status, answer = inside(busy, kept, "PUT", '{"ProtectionEnabled":true,"ExpiresInMinutes":60}')
    assert status == 200, answer
    assert answer["protection"]["ProtectionEnabled"] is True
    assert answer["protection"]["TaskArn"] == busy["taskArn"]
    assert answer["protection"]["ExpirationDate"].endswith("Z")
    assert inside(busy, kept, "GET") == (200, answer)
    told = kept.ecs.get_task_protection(cluster="default", tasks=[task["taskArn"] for task in tasks])
    assert {one["taskArn"]: one["protectionEnabled"] for one in told["protectedTasks"]} == {
        tasks[0]["taskArn"]: True, tasks[1]["taskArn"]: False}
    kept.ecs.update_service(service="worker", desiredCount=0)
    [left] = running(kept, "worker", 1)
    assert left["taskArn"] == busy["taskArn"]
    status, answer = inside(busy, kept, "PUT", '{"ProtectionEnabled":false}')
    assert status == 200 and answer["protection"] == {
        "ProtectionEnabled": False, "TaskArn": busy["taskArn"]}
    running(kept, "worker", 0)
    delete(kept, "worker")


def test_what_the_endpoint_refuses(kept):
    [task] = make_service(kept, "odd", 1, taskRoleArn=ROLE)
    for body in ("", "[]", '{"ProtectionEnabled":true,"Else":1}', '{"ProtectionEnabled":"yes"}'):
        status, answer = inside(task, kept, "PUT", body)
        assert status == 400 and answer["error"] == {
            "Arn": task["taskArn"], "Code": "InvalidParameterException",
            "Message": "UpdateTaskProtection: failed to decode request"}, body
    status, answer = inside(task, kept, "PUT", "{}")
    assert status == 400 and answer["error"]["Message"] == (
        "Invalid request: does not contain 'ProtectionEnabled' field")
    status, answer = inside(task, kept, "PUT", '{"ProtectionEnabled":true,"ExpiresInMinutes":2881}')
    assert status == 400 and answer["error"]["Code"] == "InvalidParameterException"
    delete(kept, "odd")
    [bare] = make_service(kept, "bare", 1)
    status, answer = inside(bare, kept, "PUT", '{"ProtectionEnabled":true}')
    assert status == 403 and answer["error"]["Message"] == (
        "Invalid Request: no task IAM role credentials available for task")
    delete(kept, "bare")
    arn = kept.start(kept.register(idle(name="app"), taskRoleArn=ROLE))
    alone = kept.wait(arn, "RUNNING")
    status, answer = inside(alone, kept, "PUT", '{"ProtectionEnabled":true}')
    assert status == 200 and answer == {"failure": {
        "Arn": arn, "Detail": None, "Reason": "TASK_NOT_VALID"}}
    kept.ecs.stop_task(task=arn)


def test_protection_by_the_cli(kept):
    [task] = make_service(kept, "cli", 1)
    arn = task["taskArn"]
    told = kept.aws_json("ecs", "update-task-protection", "--cluster", "default", "--tasks", arn,
                         "nothing", "--protection-enabled", "--expires-in-minutes", "5")
    assert told["protectedTasks"][0]["protectionEnabled"] is True
    assert told["failures"][0]["reason"] == "MISSING"
    # StopTask is not held back by protection, and the service replaces the task.
    kept.ecs.stop_task(task=arn)
    [other] = until(lambda: [one for one in running(kept, "cli", 1) if one["taskArn"] != arn],
                    what="another task")
    told = kept.aws_json("ecs", "get-task-protection", "--cluster", "default", "--tasks",
                         other["taskArn"])
    assert told["protectedTasks"][0]["protectionEnabled"] is False
    delete(kept, "cli")


def test_an_external_controller_moves_from_one_task_set_to_another(kept):
    """As an external deployment controller does it: a second set beside the first, promoted, and
    the first removed."""
    ecs = kept.ecs
    made = ecs.create_service(serviceName="ext", desiredCount=2,
                              deploymentController={"type": "EXTERNAL"})["service"]
    assert made["deploymentController"] == {"type": "EXTERNAL"} and made["taskSets"] == []
    where = {"cluster": "default", "service": "ext"}

    def make(scale):
        definition = kept.register(idle(name="app"))
        return ecs.create_task_set(taskDefinition=definition, externalId="build-7",
                                   scale={"value": scale, "unit": "PERCENT"}, **where)["taskSet"]

    def stable(identity, count):
        def arrived():
            [found] = ecs.describe_task_sets(taskSets=[identity], **where)["taskSets"]
            return found if (found["stabilityStatus"], found["runningCount"]) == (
                "STEADY_STATE", count) else None
        return until(arrived, what=f"{identity} with {count} tasks")

    blue = make(100)
    assert blue["computedDesiredCount"] == 2 and blue["status"] == "ACTIVE"
    stable(blue["id"], 2)
    ecs.update_service_primary_task_set(primaryTaskSet=blue["id"], **where)
    green = make(50)
    stable(green["id"], 1)
    ecs.update_task_set(taskSet=green["taskSetArn"], scale={"value": 100, "unit": "PERCENT"},
                        **where)
    stable(green["id"], 2)
    ecs.update_service_primary_task_set(primaryTaskSet=green["taskSetArn"], **where)
    assert [one["status"] for one in service(kept, "ext")["taskSets"]] == ["PRIMARY", "ACTIVE"]
    with pytest.raises(botocore.exceptions.ClientError):
        ecs.delete_task_set(taskSet=blue["id"], **where)
    ecs.delete_task_set(taskSet=blue["id"], force=True, **where)
    until(lambda: len(service(kept, "ext")["taskSets"]) == 1, what="the first set's end")
    tasks = tasks_of(kept, "ext")
    assert {task["startedBy"] for task in tasks} == {green["id"]}
    stopped = [task for task in tasks_of(kept, "ext", "STOPPED")]
    assert {task["stoppedReason"] for task in stopped} == {
        f"Scaling activity initiated by (deployment {blue['id']})"}
    delete(kept, "ext")
