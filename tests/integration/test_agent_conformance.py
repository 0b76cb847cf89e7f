"""The agent's end of the agent protocol, judged by a control plane that was written from the protocol's
description alone: joining, payloads, credentials, reports, manifests, heartbeats, renewal, restarts."""
import json
import shutil
import tempfile

import pytest
from cluster import until
from fake_plane import CLUSTER, INSTANCE, FakePlane, Host, new_arn, task
from test_metadata import METADATA, Container


@pytest.fixture(scope="module")
def host(busybox):
    data_dir = tempfile.mkdtemp(prefix="fairlead-test-")
    plane = FakePlane()
    host = Host(plane, data_dir, busybox)
    try:
        yield host
    finally:
        host.close()
        plane.close()
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def plane(host, request):
    yield host.plane
    if getattr(request.node, "failed_call", False):
        print(host.log())


def acked(session, message_id):
    def found():
        return [ack for ack in session.of_type("AckRequest") if ack["messageId"] == message_id]
    return until(found, what="the acknowledgement")


def start(plane, session, **more):
    arn = new_arn()
    acked(session, plane.payload(session, task(arn, **more)))
    until(lambda: plane.status(arn) == "RUNNING", what="RUNNING")
    return arn


def stop(plane, session, arn):
    plane.payload(session, task(arn, status="STOPPED"))
    until(lambda: plane.status(arn) == "STOPPED", what="STOPPED")


def credentials(number, identity="11111111-2222-3333-4444-555555555555", **more):
    return {"credentialsId": identity, "roleArn": "arn:aws:iam::111122223333:role/app",
            "accessKeyId": f"ASIA{number}", "secretAccessKey": f"secret-{number}",
            "sessionToken": f"token-{number}", "expiration": f"2030-01-0{number}T00:00:00Z", **more}


def container_of(host, arn):
    (container,) = [c for c in host.plane.reports(arn)[-1]["containers"]]
    return Container(host, container)


def test_it_joins_as_the_protocol_says(plane):
    session = plane.session()
    (registration, *_) = plane.calls_of("RegisterContainerInstance")
    resources = {r["name"]: r for r in registration["totalResources"]}
    assert resources["CPU"]["integerValue"] == 8192 and resources["CPU"]["type"] == "INTEGER"
    assert resources["MEMORY"]["integerValue"] == 8192
    assert "22" in resources["PORTS"]["stringSetValue"]
    assert resources["PORTS_UDP"]["stringSetValue"] == []
    names = {a["name"]: a.get("value") for a in registration["attributes"]}
    for capability in ("com.amazonaws.ecs.capability.task-iam-role",
                       "com.amazonaws.ecs.capability.task-iam-role-network-host",
                       "ecs.capability.full-sync", "ecs.capability.container-ordering"):
        assert capability in names and not names[capability]
    assert plane.calls_of("DiscoverPollEndpoint")[0]["containerInstance"] == INSTANCE
    query = dict(session.query)
    assert query["clusterArn"] == "default" and query["containerInstanceArn"] == INSTANCE
    assert query["protocolVersion"] == "2" and query["seqNum"] == "1"
    assert query["sendCredentials"] == "true"
    assert query["agentVersion"] and query["agentHash"]


def test_heartbeats_are_answered(plane):
    session = plane.session()
    session.say("HeartbeatMessage", healthy=True, messageId="beat-1")
    until(lambda: {"messageId": "beat-1"} in session.of_type("HeartbeatAckRequest"))


def test_a_payload_is_obeyed_and_acknowledged(plane):
    session, arn = plane.session(), new_arn()
    message = plane.payload(session, task(arn, "exit 7"))
    (ack,) = acked(session, message)
    assert ack == {"cluster": CLUSTER, "containerInstance": INSTANCE, "messageId": message}
    until(lambda: plane.status(arn) == "STOPPED", what="STOPPED")
    last = plane.reports(arn)[-1]
    (container,) = last["containers"]
    assert container["exitCode"] == 7 and len(container["runtimeId"]) == 64
    assert container["containerName"] == "main" and container["status"] == "STOPPED"
    assert last["executionStoppedAt"] >= last["pullStoppedAt"] >= last["pullStartedAt"]
    # The same again changes nothing, and is acknowledged.
    before = len(plane.reports(arn))
    acked(session, plane.payload(session, task(arn, "exit 7")))
    assert len(plane.reports(arn)) == before


def test_a_task_that_cannot_be_read_ends(plane):
    session, arn = plane.session(), new_arn()
    broken = task(arn)
    broken["containers"] = []
    acked(session, plane.payload(session, broken))
    until(lambda: plane.status(arn) == "STOPPED", what="STOPPED")
    assert plane.reports(arn)[-1]["reason"].startswith(
        "UnrecogniedTaskError: Error loading task - ")


def test_messages_without_names_are_dropped(plane):
    session, arn = plane.session(), new_arn()
    for missing in ({"clusterArn": ""}, {"containerInstanceArn": ""}, {"messageId": ""}):
        plane.payload(session, task(arn), **missing)
    session.say("NobodyKnowsThisMessage", messageId="x")
    session.send(b"no json at all")
    session.say("HeartbeatMessage", healthy=True, messageId="after")
    until(lambda: {"messageId": "after"} in session.of_type("HeartbeatAckRequest"))
    assert plane.status(arn) is None


def test_credentials_come_with_the_task_and_are_renewed(host, plane):
    session, arn = plane.session(), new_arn()
    execution = credentials(2, "99999999-2222-3333-4444-555555555555")
    message = plane.payload(session, task(arn, roleCredentials=credentials(1),
                                          executionRoleCredentials=execution))
    wanted = [{"messageId": message, "expiration": c["expiration"],
               "credentialsId": c["credentialsId"]} for c in (credentials(1), execution)]
    until(lambda: all(ack in session.of_type("IAMRoleCredentialsAckRequest") for ack in wanted),
          what="both acknowledgements")
    until(lambda: plane.status(arn) == "RUNNING", what="RUNNING")
    container = container_of(host, arn)
    path = container.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
    assert path == "/v2/credentials/" + credentials(1)["credentialsId"]
    url = f"http://{METADATA}{path}"
    assert container.get(url) == {
        "RoleArn": "arn:aws:iam::111122223333:role/app", "AccessKeyId": "ASIA1",
        "SecretAccessKey": "secret-1", "Token": "token-1", "Expiration": "2030-01-01T00:00:00Z"}
    # Those of the execution role are the agent's.
    assert container.ask(f"http://{METADATA}/v2/credentials/{execution['credentialsId']}")[0] == 400
    session.say("IAMRoleCredentialsMessage", messageId="renewal", taskArn=arn,
                taskClusterArn=CLUSTER, roleType="TaskApplication", roleCredentials=credentials(3))
    until(lambda: {"messageId": "renewal", "expiration": "2030-01-03T00:00:00Z",
                   "credentialsId": credentials(3)["credentialsId"]}
          in session.of_type("IAMRoleCredentialsAckRequest"), what="the acknowledgement")
    assert container.get(url)["Token"] == "token-3"
    # A control plane that has lost its ids does not take the containers' address from them.
    session.say("IAMRoleCredentialsMessage", messageId="moved", taskArn=arn, taskClusterArn=CLUSTER,
                roleType="TaskApplication", roleCredentials=credentials(3, "another-id"))
    until(lambda: [ack for ack in session.of_type("IAMRoleCredentialsAckRequest")
                   if ack["messageId"] == "moved"], what="the acknowledgement")
    assert container.get(url)["Token"] == "token-3"
    # What belongs to no task of this host is neither kept nor acknowledged.
    for change in ({"taskArn": new_arn()}, {"roleType": "Nonsense"}, {"messageId": ""}):
        session.say("IAMRoleCredentialsMessage", **{
            "messageId": "lost", "taskArn": arn, "taskClusterArn": CLUSTER,
            "roleType": "TaskApplication", "roleCredentials": credentials(4), **change})
    session.say("HeartbeatMessage", healthy=True, messageId="later")
    until(lambda: {"messageId": "later"} in session.of_type("HeartbeatAckRequest"))
    acks = session.of_type("IAMRoleCredentialsAckRequest")
    assert not [ack for ack in acks if ack["messageId"] in ("lost", "")]
    assert container.get(url)["Token"] == "token-3"
    stop(plane, session, arn)


def test_a_restarted_agent_asks_for_them_again(host, plane):
    session = plane.session()
    identity = "77777777-2222-3333-4444-555555555555"
    arn = start(plane, session, roleCredentials=credentials(1, identity))
    container = container_of(host, arn)
    url = f"http://{METADATA}/v2/credentials/{identity}"
    host.kill()
    host.start()
    again = plane.session(after=session)
    assert dict(again.query)["sendCredentials"] == "true"
    status, _, body = container.ask(url)
    assert (status, json.loads(body)["code"]) == (503, "CredentialsUninitialized")
    again.say("IAMRoleCredentialsMessage", messageId="m", taskArn=arn, taskClusterArn=CLUSTER,
              roleType="TaskApplication", roleCredentials=credentials(5, identity))
    until(lambda: again.of_type("IAMRoleCredentialsAckRequest"), what="the acknowledgement")
    assert container.get(url)["Token"] == "token-5"
    # A connection that is renewed is not the first one.
    again.close()
    renewed = plane.session(after=again)
    assert dict(renewed.query)["sendCredentials"] == "false"
    assert container.get(url)["Token"] == "token-5"
    stop(plane, renewed, arn)


def test_a_manifest_is_believed_only_when_it_is_new(plane):
    session = plane.session()
    kept, lost = start(plane, session), start(plane, session)
    plane.manifest(session, kept, timeline=1)
    acked(session, plane.payload(session))  # what was said before has had its answer
    assert not session.of_type("TaskStopVerificationMessage")
    message = plane.manifest(session, kept)
    acked(session, message)
    (question,) = until(lambda: session.of_type("TaskStopVerificationMessage"), what="a question")
    assert question["messageId"] == message
    (candidate,) = question["stopCandidates"]
    assert candidate["taskArn"] == lost and candidate["desiredStatus"] == "STOPPED"
    listed = [{"taskArn": lost, "taskClusterArn": CLUSTER, "desiredStatus": "STOPPED"}]
    session.say("TaskStopVerificationAck", messageId="of another one", generatedAt=1,
                stopTasks=listed)
    session.say("TaskStopVerificationAck", messageId=message, generatedAt=1, stopTasks=listed)
    until(lambda: plane.status(lost) == "STOPPED", what="STOPPED")
    assert plane.status(kept) == "RUNNING"
    stop(plane, session, kept)
