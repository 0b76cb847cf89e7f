"""The server's end of the agent protocol, judged by an agent that was written from the protocol's
description alone: joining, payloads, reports, manifests, heartbeats, telemetry, renewal, the end."""
import json
import time

import botocore.exceptions
import cluster as clusters
import pytest
from fake_agent import FakeAgent, Refused

names = iter(f"conformance-{n}" for n in range(1000))


@pytest.fixture
def plane(cluster):
    """The shared server, and an ECS cluster of the test's own."""
    cluster.ecs_cluster = next(names)
    cluster.ecs.create_cluster(clusterName=cluster.ecs_cluster)
    cluster.agents = []
    yield cluster
    for agent in cluster.agents:
        agent.disconnect()
        cluster.ecs.deregister_container_instance(cluster=cluster.ecs_cluster,
                                                  containerInstance=agent.arn, force=True)


def join(plane, name="host", **more):
    agent = FakeAgent(plane, name, ecs_cluster=plane.ecs_cluster, **more)
    plane.agents.append(agent)
    return agent


def run(plane, definition=None, **more):
    definition = definition or plane.register(clusters.container(command=["true"]))
    answer = plane.ecs.run_task(cluster=plane.ecs_cluster, taskDefinition=definition, **more)
    assert not answer["failures"], answer["failures"]
    return [task["taskArn"] for task in answer["tasks"]]


def report(agent, arn, status, containers=(), **more):
    return agent.call("SubmitTaskStateChange", cluster=agent.ecs_cluster, task=arn, status=status,
                      containers=list(containers), **more)


def test_registration_echoes_every_attribute(plane):
    sent = [{"name": f"ecs.capability.a{n}"} for n in range(60)]
    sent += [{"name": "stack", "value": "prod"}, {"name": "ecs.os-type", "value": "linux"}]
    agent = join(plane, connect=False)
    answer = agent.call(
        "RegisterContainerInstance", cluster=plane.ecs_cluster, attributes=sent,
        totalResources=[{"name": "CPU", "type": "INTEGER", "integerValue": 2048},
                        {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096},
                        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
                        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []}],
        tags=[{"key": "k", "value": "v"}], clientToken="0" * 36,
        instanceIdentityDocument="", instanceIdentityDocumentSignature="")
    instance = answer["containerInstance"]
    echoed = {(a["name"], a.get("value")) for a in instance["attributes"]}
    assert {(a["name"], a.get("value")) for a in sent} <= echoed
    assert any(name == "ecs.availability-zone" for name, _ in echoed)
    assert instance["status"] == "ACTIVE" and not instance["agentConnected"]
    assert instance["tags"] == [{"key": "k", "value": "v"}]
    # A restart registers again: the ARN, no custom attributes; the same instance comes back.
    again = agent.call(
        "RegisterContainerInstance", cluster=plane.ecs_cluster, attributes=sent[:60],
        containerInstanceArn=instance["containerInstanceArn"],
        totalResources=[{"name": "CPU", "type": "INTEGER", "integerValue": 2048},
                        {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096}],
    )["containerInstance"]
    assert again["containerInstanceArn"] == instance["containerInstanceArn"]
    assert {"name": "stack", "value": "prod"} in again["attributes"]
    plane.ecs.deregister_container_instance(cluster=plane.ecs_cluster,
                                            containerInstance=instance["containerInstanceArn"])


def test_endpoints_are_discovered(plane):
    agent = join(plane, connect=False)
    answer = agent.discover()
    assert answer["endpoint"].endswith("/acs")
    assert answer["telemetryEndpoint"].endswith("/tcs")


def test_versions_come_with_the_session(plane):
    agent = join(plane)
    found = plane.ecs.describe_container_instances(
        cluster=plane.ecs_cluster, containerInstances=[agent.arn])["containerInstances"][0]
    assert found["versionInfo"] == {"agentVersion": "1.105.1", "agentHash": "00000000",
                                    "dockerVersion": "containerd"}


def test_payloads_carry_the_task_in_the_protocols_shape(plane):
    agent = join(plane)
    definition = plane.register(clusters.container(
        name="web", command=["a", "b"], cpu=128,
        environment=[{"name": "K", "value": "V"}],
        portMappings=[{"containerPort": 80, "hostPort": 8080}]))
    (arn,) = run(plane, definition)
    (message,) = clusters.until(lambda: agent.payloads, what="the payload")
    assert message["clusterArn"] and message["containerInstanceArn"] == agent.arn
    assert message["messageId"] and message["generatedAt"] > 1.7e12
    (task,) = message["tasks"]
    family, revision = definition.rsplit("/", 1)[1].split(":")
    assert (task["arn"], task["family"], task["version"]) == (arn, family, revision)
    assert task["desiredStatus"] == "RUNNING"
    (container,) = task["containers"]
    assert container["name"] == "web" and container["essential"] is True
    assert container["environment"] == {"K": "V"}
    assert container["command"] == ["a", "b"]
    assert container["cpu"] == 128 and container["memory"] == 64
    assert container["portMappings"][0]["hostPort"] == 8080
    described = plane.ecs.describe_tasks(cluster=plane.ecs_cluster, tasks=[arn])["tasks"][0]
    assert clusters.until(lambda: plane.task(arn, plane.ecs_cluster)["lastStatus"] == "RUNNING")
    assert described["containerInstanceArn"] == agent.arn
    plane.ecs.stop_task(cluster=plane.ecs_cluster, task=arn)
    plane.wait(arn, cluster=plane.ecs_cluster)
    stop = clusters.until(lambda: agent.payloads[1:], what="the stop")[0]
    assert stop["tasks"][0]["desiredStatus"] == "STOPPED"
    assert stop["seqNum"] > message["seqNum"]


def test_what_was_not_acknowledged_comes_again(plane):
    agent = join(plane)
    agent.mute = True
    (arn,) = run(plane)
    clusters.until(lambda: agent.socket.of_type("PayloadMessage"), what="the payload")
    agent.socket.close()
    agent.mute = False
    agent.connect()
    clusters.until(lambda: agent.payloads, what="the payload again")
    assert agent.payloads[0]["tasks"][0]["arn"] == arn
    plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)


def test_reports_are_answered_and_never_move_a_task_back(plane):
    agent = join(plane)
    (arn,) = run(plane)
    plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    agent.mute = True
    stale = [("PENDING", []), ("RUNNING", [{"containerName": "main", "status": "PENDING"}])]
    for status, containers in stale * 2:
        assert report(agent, arn, status, containers)["acknowledgment"]
        assert plane.task(arn, plane.ecs_cluster)["lastStatus"] == "RUNNING"
    end = [{"containerName": "main", "status": "STOPPED", "exitCode": 7, "reason": "r" * 1024,
            "runtimeId": "f" * 255,
            "networkBindings": [{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768,
                                 "protocol": "tcp"}]}]
    now = time.time()
    for _ in range(3):
        report(agent, arn, "STOPPED", end, pullStartedAt=now - 3, pullStoppedAt=now - 2,
               executionStoppedAt=now)
    task = plane.task(arn, plane.ecs_cluster)
    assert task["lastStatus"] == "STOPPED" and task["containers"][0]["exitCode"] == 7
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    report(agent, arn, "RUNNING")
    assert plane.task(arn, plane.ecs_cluster) == task
    # Of tasks and instances that nobody knows.
    for unknown in ("nope", arn[:-4] + "0000", "arn:aws:ecs:us-east-1:000000000000:task/x/y"):
        assert report(agent, unknown, "STOPPED")["acknowledgment"]
    assert agent.call("SubmitContainerStateChange", cluster=plane.ecs_cluster, task=arn,
                      containerName="main", status="RUNNING")["acknowledgment"]
    assert agent.call("SubmitAttachmentStateChanges", cluster=plane.ecs_cluster, attachments=[
        {"attachmentArn": "arn:x", "status": "ATTACHED"}])["acknowledgment"]
    assert agent.call("SubmitTaskStateChange", cluster=plane.ecs_cluster, task=arn, attachments=[
        {"attachmentArn": "arn:x", "status": "ATTACHED"}])["acknowledgment"]


def test_a_manifest_stops_what_is_not_wanted_and_nothing_else(plane):
    agent = join(plane)
    kept, lost = run(plane, count=2)
    for arn in (kept, lost):
        plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    agent.disconnect()
    agent.mute = True
    report(agent, lost, "STOPPED")  # the host forgets that it has said so
    agent.mute = False
    foreign = "arn:aws:ecs:us-east-1:000000000000:task/elsewhere/0123456789abcdef"
    agent.tasks[foreign] = "RUNNING"
    last = max(payload["seqNum"] for payload in agent.payloads)
    agent.connect()
    (manifest,) = clusters.until(lambda: agent.socket.of_type("TaskManifestMessage"))
    assert manifest["timeline"] > last
    assert manifest["containerInstanceArn"] == agent.arn and manifest["messageId"]
    assert [(t["taskArn"], t["desiredStatus"]) for t in manifest["tasks"]] == [(kept, "RUNNING")]
    (ack,) = clusters.until(lambda: agent.socket.of_type("TaskStopVerificationAck"))
    assert ack["messageId"] == manifest["messageId"]
    assert {task["taskArn"] for task in ack["stopTasks"]} == {lost, foreign}
    clusters.until(lambda: agent.tasks[foreign] == "STOPPED")
    assert agent.tasks[kept] == "RUNNING"


def test_a_candidate_that_is_wanted_is_not_stopped(plane):
    agent = join(plane)
    clusters.until(lambda: agent.socket.of_type("TaskManifestMessage"))
    (arn,) = run(plane)
    plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    agent.socket.say("TaskStopVerificationMessage", messageId="m1", stopCandidates=[
        {"taskArn": arn, "taskClusterArn": "c", "desiredStatus": "STOPPED"}])
    (ack,) = clusters.until(lambda: agent.socket.of_type("TaskStopVerificationAck"))
    assert ack["messageId"] == "m1" and ack["stopTasks"] == []


def test_nonsense_does_not_end_a_session(plane):
    agent = join(plane)
    for text in ("", "{", "[]", "{}", '{"type":"Nope","message":{}}', '{"type":7}',
                 '{"type":"AckRequest","message":{"messageId":"unknown"}}',
                 '{"type":"NackRequest","message":{"messageId":"x","reason":"no"}}',
                 '{"type":"TaskStopVerificationMessage","message":{"stopCandidates":[{}]}}',
                 '{"type":"IAMRoleCredentialsAckRequest","message":{"credentialsId":"c"}}'):
        agent.socket.send(text)
    (arn,) = run(plane)
    plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    assert not agent.socket.closed.is_set()


def test_an_inactive_instance_is_told_so(plane):
    agent = FakeAgent(plane, "leaving", ecs_cluster=plane.ecs_cluster)
    session = agent.socket
    plane.ecs.deregister_container_instance(cluster=plane.ecs_cluster, containerInstance=agent.arn)
    clusters.until(session.closed.is_set, what="the session's end")
    assert session.of_type("InactiveInstanceException")
    with pytest.raises(Refused) as refusal:
        agent.connect()
    assert refusal.value.envelope["type"] == "InactiveInstanceException"
    with pytest.raises(AssertionError) as again:
        agent.call("RegisterContainerInstance", cluster=plane.ecs_cluster,
                   containerInstanceArn=agent.arn,
                   totalResources=[{"name": "CPU", "type": "INTEGER", "integerValue": 1},
                                   {"name": "MEMORY", "type": "INTEGER", "integerValue": 1}])
    assert "is inactive." in str(again.value)


def metrics(arn, cpu, memory):
    stats = lambda value: {"min": value, "max": value, "sampleCount": 10, "sum": 10 * value}
    return {"taskArn": arn, "taskDefinitionFamily": "f", "taskDefinitionVersion": "1",
            "containerMetrics": [{"containerName": "main", "cpuStatsSet": stats(cpu),
                                  "memoryStatsSet": stats(memory),
                                  "restartStatsSet": {"restartCount": 2}}]}


def utilization(plane, **members):
    body = json.dumps({"cluster": plane.ecs_cluster, **members}).encode()
    status, answer = plane.post(plane.signed("Fairlead_20261120.Utilization", body), body)
    assert status == 200, answer
    (found,) = answer["clusters"]
    return found


def test_an_agent_may_come_and_go_quickly(plane):
    """Each orderly end is followed by a connection at once: only the last one is waited for."""
    agent = join(plane)
    definition = plane.register(clusters.container(command=["true"]))
    for _ in range(20):
        agent.socket.close(1000)
        agent.connect()
    (arn,) = run(plane, definition)
    plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    agent.socket.close(1000)
    clusters.until(lambda: not agent._is_connected(), timeout=30, what="the end of the grace")


def test_telemetry_is_acknowledged_and_added_up(plane):
    agent = join(plane, cpu=2000, memory=4000)
    definition = plane.register(clusters.container(cpu=500, memory=200))
    first, second = run(plane, definition, count=2)
    for arn in (first, second):
        plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    nobody = first[:-1] + ("1" if first[-1] == "0" else "0")
    telemetry = agent.open_telemetry()
    meta = {"cluster": plane.ecs_cluster, "containerInstance": agent.arn, "messageId": "1",
            "idle": False}
    agent.send_signed(telemetry, "PublishMetricsRequest", metadata={**meta, "fin": False},
                      taskMetrics=[metrics(first, 10, 100)], timestamp=time.time())
    agent.send_signed(telemetry, "PublishMetricsRequest", metadata={**meta, "fin": True},
                      taskMetrics=[metrics(second, 5, 50), metrics(nobody, 90, 9e9)],
                      timestamp=time.time())
    clusters.until(lambda: len(telemetry.of_type("AckPublishMetric")) == 2)
    found = utilization(plane, tasks=True, history=True)
    assert found["cpuRegistered"] == 2000 and found["instancesMeasured"] == 1
    assert found["cpuUsed"] == pytest.approx(300, abs=1)  # 15 % of the host
    assert found["memoryUsed"] == pytest.approx(150, abs=1)
    assert found["cpuReserved"] == 1000
    assert found["cpuPercent"] == pytest.approx(30, abs=1)
    (host,) = found["containerInstances"]
    assert host["agentConnected"] and len(host["history"]) == 1
    by_task = {task["task"]: task for task in host["tasks"]}
    assert len(by_task) == 2
    one = by_task[first.rsplit("/", 1)[1]]
    assert one["cpuPercent"] == pytest.approx(40, abs=1)
    assert one["memoryPercent"] == pytest.approx(50, abs=1)
    assert one["containers"][0]["name"] == "main" and one["containers"][0]["restarts"] == 2
    # Without the lines of a signature, and nothing running any more.
    telemetry.say("PublishMetricsRequest", metadata={**meta, "idle": True, "fin": True},
                  taskMetrics=[], timestamp=time.time())
    clusters.until(lambda: len(telemetry.of_type("AckPublishMetric")) == 3)
    assert utilization(plane)["cpuUsed"] == 0
    telemetry.close()


def test_health_comes_by_telemetry(plane):
    agent = join(plane)
    definition = plane.register(clusters.container(
        command=["true"], healthCheck={"command": ["CMD", "true"]}))
    (arn,) = run(plane, definition)
    plane.wait(arn, "RUNNING", cluster=plane.ecs_cluster)
    telemetry = agent.open_telemetry()
    meta = {"cluster": plane.ecs_cluster, "containerInstance": agent.arn, "fin": True}

    def tell(status):
        before = len(telemetry.of_type("AckPublishHealth"))
        agent.send_signed(telemetry, "PublishHealthRequest", metadata=meta, timestamp=time.time(),
                          tasks=[{"taskArn": arn, "containers": [
                              {"containerName": "main", "healthStatus": status,
                               "statusSince": time.time()}]}])
        clusters.until(lambda: len(telemetry.of_type("AckPublishHealth")) > before)
        return plane.task(arn, plane.ecs_cluster)

    healthy = tell("HEALTHY")
    assert healthy["containers"][0]["healthStatus"] == healthy["healthStatus"] == "HEALTHY"
    assert tell("HEALTHY")["version"] == healthy["version"]
    assert tell("UNHEALTHY")["healthStatus"] == "UNHEALTHY"
    assert tell("nonsense")["healthStatus"] == "UNHEALTHY"

    def instance():
        return plane.ecs.describe_container_instances(
            cluster=plane.ecs_cluster, containerInstances=[agent.arn],
            include=["CONTAINER_INSTANCE_HEALTH"])["containerInstances"][0]["healthStatus"]

    assert instance()["overallStatus"] == "INSUFFICIENT_DATA"
    agent.send_signed(telemetry, "PublishInstanceStatusRequest", metadata={"requestId": "r"},
                      timestamp=time.time(), statuses=[
                          {"type": "CONTAINER_RUNTIME", "status": "IMPAIRED",
                           "statusReason": "gone", "lastUpdated": time.time(),
                           "lastStatusChange": time.time() - 60}])
    clusters.until(lambda: telemetry.of_type("AckPublishInstanceStatus"))
    assert instance()["overallStatus"] == "IMPAIRED"
    assert instance()["details"][0]["statusReason"] == "gone"
    telemetry.close()


def test_telemetry_is_for_instances_that_are_registered(plane):
    agent = join(plane)
    agent.arn, good = agent.arn[:-2] + "00", agent.arn
    with pytest.raises(Refused) as refusal:
        agent.open_telemetry()
    assert refusal.value.envelope["type"] == "ResourceValidationException"
    agent.arn = good
    telemetry = agent.open_telemetry()
    for text in ("", "no body", "a: b\r\n\r\n", "a: b\r\n\r\n{", "{}", "x" * 100000):
        telemetry.send(text)
    telemetry.say("PublishMetricsRequest")
    clusters.until(lambda: telemetry.of_type("AckPublishMetric"))
    newer = agent.open_telemetry()
    clusters.until(telemetry.closed.is_set, what="the older connection's end")
    newer.close()


@pytest.fixture
def brisk():
    """A server that renews connections every few seconds."""
    made = clusters.Cluster("--session-life", "2")
    try:
        made.up()
        yield made
    except BaseException:
        print(made.diagnose())
        raise
    finally:
        made.uninstall()


def test_connections_are_renewed_and_nothing_is_noticed(brisk):
    """No connection lives for ever: it is closed with a word, and an agent that comes back at once
    has never been away, also for placement."""
    brisk.ecs.create_cluster(clusterName="renewed")
    agent = FakeAgent(brisk, "host", ecs_cluster="renewed")
    definition = brisk.register(clusters.container(command=["true"]))
    for _ in range(2):
        session = agent.socket
        clusters.until(session.closed.is_set, timeout=30, what="the renewal")
        assert session.close_code == 1000
        assert session.close_reason == "ConnectionExpired: Reconnect to continue"
        assert session.of_type("CloseMessage")[0]["message"] == session.close_reason
        assert session.of_type("HeartbeatMessage")
        answer = brisk.ecs.run_task(cluster="renewed", taskDefinition=definition)
        assert not answer["failures"], answer["failures"]
        agent.connect()
        brisk.wait(answer["tasks"][0]["taskArn"], "RUNNING", cluster="renewed")
    # One that does not come back is missed.
    session = agent.socket
    clusters.until(session.closed.is_set, timeout=30, what="the renewal")
    clusters.until(lambda: not agent._is_connected(), timeout=30, what="the end of the grace")
    with pytest.raises(botocore.exceptions.ClientError):
        brisk.ecs.deregister_container_instance(cluster="renewed", containerInstance=agent.arn)
