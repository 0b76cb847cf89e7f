"""Container instances as an operator handles them: draining, deregistration, and hosts whose data
directory is another's."""
import json
import pathlib

import botocore.exceptions
import cluster as clusters
import pytest
from fake_agent import FakeAgent, Refused
from test_surface import checked


def instance(cluster):
    (arn,) = cluster.ecs.list_container_instances()["containerInstanceArns"]
    return arn


def described(cluster, arn):
    (found,) = cluster.ecs.describe_container_instances(
        containerInstances=[arn])["containerInstances"]
    return found


def await_connected(cluster, but=""):
    def connected():
        for arn in cluster.ecs.list_container_instances()["containerInstanceArns"]:
            if arn != but and described(cluster, arn)["agentConnected"]:
                return arn
        return None
    return clusters.until(connected, timeout=60, what="a connected instance")


def test_draining_keeps_tasks_and_takes_no_more(private):
    arn = instance(private)
    task = private.start(private.register(clusters.idle()))
    private.wait(task, "RUNNING")
    private.aws("ecs", "update-container-instances-state", "--container-instances", arn,
            "--status", "DRAINING")
    assert described(private, arn)["status"] == "DRAINING"
    assert private.ecs.list_container_instances(status="DRAINING")["containerInstanceArns"] == [arn]
    assert private.task(task)["desiredStatus"] == "RUNNING"
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        private.ecs.deregister_container_instance(containerInstance=arn)
    assert refusal.value.response["Error"]["Message"] == "Found running tasks on the instance."
    definition = private.register(clusters.idle())
    assert not private.ecs.run_task(taskDefinition=definition)["tasks"]
    private.ecs.update_container_instances_state(containerInstances=[arn], status="ACTIVE")
    private.wait(private.start(definition), "RUNNING")


def test_a_deregistered_host_joins_anew_when_its_agent_starts_again(private):
    arn = instance(private)
    task = private.start(private.register(clusters.idle()))
    private.wait(task, "RUNNING")
    answer = private.aws_json("ecs", "deregister-container-instance", "--container-instance", arn,
                          "--force")["containerInstance"]
    assert answer["status"] == "INACTIVE"
    stopped = private.task(task)
    assert stopped["lastStatus"] == "STOPPED"
    assert stopped["stoppedReason"] == "Container instance deregistration forced by user"
    assert private.ecs.list_container_instances()["containerInstanceArns"] == []
    private.kill("agent")
    private.up()
    new = await_connected(private, but=arn)
    assert new != arn
    assert described(private, arn)["status"] == "INACTIVE"
    private.run_to_end(clusters.sh("exit 0"))


def identity_file(cluster):
    return pathlib.Path(cluster.data_dir, "agent", "identity")


def test_a_copied_data_directory_is_another_host(private):
    """The identity's file says that it was written on another machine: what came with it is that
    machine's, and none of its tasks is reported as ended by us."""
    arn = instance(private)
    task = private.start(private.register(clusters.idle()))
    private.wait(task, "RUNNING")
    private.kill("agent")
    text = json.loads(identity_file(private).read_text())
    assert text["containerInstanceArn"] == arn
    if not text.get("machine"):
        pytest.skip("this machine has neither a machine id nor a board's: nothing tells it apart")
    text["machine"] = "0" * 32
    identity_file(private).write_text(json.dumps(text))
    private.up()
    new = await_connected(private, but=arn)
    assert json.loads(identity_file(private).read_text())["containerInstanceArn"] == new
    assert not list(pathlib.Path(private.data_dir, "agent", "containers").iterdir())


def test_two_agents_with_one_identity_are_told_apart(private):
    """The second is refused as long as the first one lives; one that only seems to live gives way."""
    first = FakeAgent(private, "first", nonce="a" * 32)
    second = FakeAgent(private, "second", arn=first.arn, nonce="b" * 32, connect=False)
    for _ in range(3):
        with pytest.raises(Refused) as refusal:
            second.connect()
        assert refusal.value.envelope["type"] == "InvalidInstanceException"
        assert "Another agent is connected" in refusal.value.envelope["message"]["message"]
        assert described(private, first.arn)["agentConnected"]
    assert "has a copy of the other's data directory" in private.diagnose()
    # Nor is it heard: it would report the first one's tasks as gone.
    task = private.start(private.register(clusters.idle()))
    body = json.dumps({"task": task, "status": "STOPPED"}).encode()
    target = f"{clusters.TARGETS['ecs']}.SubmitTaskStateChange"
    status, answer = private.post({**private.signed(target, body, key=private.key("agent")),
                                   "X-Fairlead-Nonce": "b" * 32,
                                   "X-Fairlead-Instance": first.arn}, body)
    assert status == 400 and "Another agent is connected" in answer["message"]
    assert private.task(task)["lastStatus"] != "STOPPED"
    again = FakeAgent(private, "first, connecting again", arn=first.arn, nonce="a" * 32)
    again.mute = True

    def taken_over():
        try:
            second.connect()
        except Refused:
            return False
        return True
    clusters.until(taken_over, timeout=30, pause=0.2, what="the place of a mute agent")
    plain = FakeAgent(private, "without a nonce", arn=first.arn)
    assert described(private, plain.arn)["agentConnected"]


def test_answers_have_the_models_shapes(cluster):
    cluster.ecs.create_cluster(clusterName="shaped")
    agent = FakeAgent(cluster, "shaped", ecs_cluster="shaped")
    where = {"cluster": "shaped"}
    named = {"name": "stack", "targetId": agent.arn}
    put = checked(cluster, "PutAttributes", {**where, "attributes": [{**named, "value": "prod"}]})
    assert put["attributes"] == [{**named, "value": "prod"}]
    listed = checked(cluster, "ListAttributes", {**where, "targetType": "container-instance",
                                                 "attributeName": "stack"})
    assert listed["attributes"] == put["attributes"]
    assert checked(cluster, "DeleteAttributes", {**where, "attributes": [named]})["attributes"]
    for status in ("DRAINING", "ACTIVE"):
        changed = checked(cluster, "UpdateContainerInstancesState", {
            **where, "containerInstances": [agent.arn, "nope"], "status": status})
        assert changed["containerInstances"][0]["status"] == status
        assert changed["failures"][0]["reason"] == "MISSING"
    checked(cluster, "DescribeContainerInstances", {
        **where, "containerInstances": [agent.arn],
        "include": ["TAGS", "CONTAINER_INSTANCE_HEALTH"]})
    with pytest.raises(cluster.ecs.exceptions.NoUpdateAvailableException):
        cluster.ecs.update_container_agent(cluster="shaped", containerInstance=agent.arn)
    with pytest.raises(cluster.ecs.exceptions.TargetNotFoundException):
        cluster.ecs.put_attributes(cluster="shaped", attributes=[
            {"name": "a", "targetType": "container-instance", "targetId": "nope"}])
    gone = checked(cluster, "DeregisterContainerInstance", {**where, "containerInstance": agent.arn})
    assert gone["containerInstance"]["status"] == "INACTIVE"
