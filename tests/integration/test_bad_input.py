"""Goal: whatever is sent, the answer is ECS's error and the server goes on. Method: raw HTTP for what
no client would send; after each test the server must still answer and be the same process."""
import contextlib
import datetime
import json
import socket

import cluster as clusters
import pytest

TARGET = clusters.TARGETS["ecs"]


@pytest.fixture(autouse=True)
def the_server_goes_on(cluster):
    before = cluster.pid("server")
    yield
    assert cluster.ecs.list_clusters()["clusterArns"]
    assert cluster.pid("server") == before


def code(answer):
    return answer["__type"].split("#")[-1]


def raw(cluster, data, timeout=15):
    """Sends bytes and reads what comes until the server closes or goes quiet."""
    with socket.create_connection(("127.0.0.1", cluster.port), timeout=timeout) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        answer = b""
        with contextlib.suppress(OSError):
            while got := sock.recv(65536):
                answer += got
                if b"\r\n\r\n" in answer:
                    break
        return answer


@pytest.mark.parametrize("body", [b"", b"not json", b"[1,2]", b'"text"', b"{", b'{"a":', b'{"a":1}}',
                                  b'{"cluster":"\xff\xfe"}', b"nul\0l", b'{"cluster":"a\\u0000b"}'])
def test_bodies_that_are_no_json_object(cluster, body):
    status, answer = cluster.call("DescribeClusters", body)
    if body == b"":
        assert status in (200, 400)  # an empty body is an empty request to some services
        return
    assert status == 400
    assert code(answer) in ("SerializationException", "ClientException",
                            "InvalidParameterException")


@pytest.mark.parametrize("depth", [100, 10000, 500000])
def test_deep_json(cluster, depth):
    body = b'{"a":' * depth + b"1" + b"}" * depth
    status, answer = cluster.call("DescribeClusters", body)
    assert status in (400, 413)
    assert status == 413 or code(answer) == "SerializationException"


@pytest.mark.parametrize("member,value", [
    ("family", 7), ("family", None), ("containerDefinitions", "text"),
    ("containerDefinitions", {"a": 1}), ("containerDefinitions", [7]), ("cpu", {"x": 1})])
def test_members_of_the_wrong_type(cluster, member, value):
    members = {"family": "wrong-types", "containerDefinitions": [clusters.container()]}
    status, answer = cluster.call("RegisterTaskDefinition", {**members, member: value})
    assert status == 400
    assert code(answer) in ("SerializationException", "ClientException",
                            "InvalidParameterException")


def test_a_declared_gigabyte_is_refused_unread(cluster):
    headers = cluster.signed(f"{TARGET}.ListClusters", b"{}")
    head = "POST / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    answer = raw(cluster, head.encode() + b"Content-Length: 1073741824\r\n\r\n{}")
    assert answer.split(b" ", 2)[1] == b"413"


def test_a_body_that_is_too_large_and_sent(cluster):
    headers = cluster.signed(f"{TARGET}.ListClusters", b"{}")
    head = "POST / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    answer = raw(cluster, head.encode() + b"Content-Length: 33554432\r\n\r\n" + b"x" * 33554432)
    assert answer == b"" or answer.split(b" ", 2)[1] == b"413"


def test_a_body_that_is_cut_off(cluster):
    headers = cluster.signed(f"{TARGET}.ListClusters", b"{}" * 50)
    head = "POST / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    for end in (socket.SHUT_WR, socket.SHUT_RDWR):
        with socket.create_connection(("127.0.0.1", cluster.port), timeout=10) as sock:
            sock.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{}")
            sock.shutdown(end)
        assert cluster.ecs.list_clusters()["clusterArns"]


@pytest.mark.parametrize("data", [
    b"\r\n\r\n", b"GET\r\n\r\n", b"\0" * 5000, b"POST / HTTP/9.9\r\n\r\n", b"A" * 100000,
    b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20000 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_what_is_no_http(cluster, data):
    answer = raw(cluster, data + b"\r\n\r\n", timeout=2)
    assert b" 200 " not in answer.split(b"\r\n", 1)[0]


def test_many_idle_connections_do_not_lock_others_out(cluster):
    with contextlib.ExitStack() as held:
        for _ in range(200):
            held.enter_context(socket.create_connection(("127.0.0.1", cluster.port), timeout=5))
        assert cluster.ecs.list_clusters()["clusterArns"]


# Signatures.

def test_unsigned(cluster):
    status, answer = cluster.post({"X-Amz-Target": f"{TARGET}.ListClusters",
                                   "Content-Type": "application/x-amz-json-1.1"}, b"{}")
    assert (status, code(answer)) == (400, "MissingAuthenticationTokenException") or (
        status == 403 and code(answer) == "MissingAuthenticationTokenException")


def test_unknown_key(cluster):
    key = {"accessKeyId": "AKIAAAAAAAAAAAAAAAAA", "secretAccessKey": "x" * 40}
    _, answer = cluster.call("ListClusters", {}, key=key)
    assert code(answer) == "UnrecognizedClientException"


def test_wrong_secret(cluster):
    key = {**cluster.key(), "secretAccessKey": "x" * 40}
    _, answer = cluster.call("ListClusters", {}, key=key)
    assert code(answer) == "InvalidSignatureException"


def test_a_session_token_that_nobody_gave(cluster):
    _, answer = cluster.call("ListClusters", {}, token="made-up")
    assert code(answer) in ("UnrecognizedClientException", "InvalidSignatureException")


def test_a_body_other_than_the_signed_one(cluster):
    headers = cluster.signed(f"{TARGET}.ListClusters", b"{}")
    _, answer = cluster.post(headers, b'{"maxResults":1}')
    assert code(answer) == "InvalidSignatureException"


def test_a_target_other_than_the_signed_one(cluster):
    headers = cluster.signed(f"{TARGET}.ListClusters", b"{}")
    headers["X-Amz-Target"] = f"{TARGET}.ListTasks"
    _, answer = cluster.post(headers, b"{}")
    assert code(answer) == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-6, 6, -60 * 24, 60 * 24])
def test_a_signature_of_another_time(cluster, minutes):
    now = datetime.datetime.now(datetime.timezone.utc)
    when = now + datetime.timedelta(minutes=minutes)
    _, answer = cluster.call("ListClusters", {}, when=when)
    assert code(answer) == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_off_a_little_is_forgiven(cluster, minutes):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    status, _ = cluster.call("ListClusters", {}, when=when)
    assert status == 200


def test_another_region_names_the_flag(cluster):
    status, answer = cluster.call("ListClusters", {}, region="eu-west-7")
    assert status >= 400
    assert "--region" in (answer.get("message") or answer.get("Message"))


@pytest.mark.parametrize("value", [
    "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "Basic YTpi", "AWS4-HMAC-SHA256 " + "x" * 9000,
    "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature="])
def test_malformed_authorization(cluster, value):
    headers = {**cluster.signed(f"{TARGET}.ListClusters", b"{}"), "Authorization": value}
    status, answer = cluster.post(headers, b"{}")
    assert status >= 400
    assert code(answer) in ("IncompleteSignatureException", "MissingAuthenticationTokenException",
                            "InvalidSignatureException", "UnrecognizedClientException")


def test_an_agent_s_key_makes_agent_s_calls_only(cluster):
    for operation, members in (("RunTask", {"taskDefinition": "x"}),
                               ("RegisterTaskDefinition", {"family": "x",
                                                           "containerDefinitions": []}),
                               ("StopTask", {"task": "x"})):
        status, answer = cluster.call(operation, members, key=cluster.key("agent"))
        assert (status, code(answer)) == (400, "AccessDeniedException"), operation


# Targets.

@pytest.mark.parametrize("target,expected", [
    (f"{TARGET}.NoSuchThing", "UnknownOperationException"), ("Nobody.ListClusters", "UnknownOperationException"),
    ("", "UnknownOperationException"), ("x" * 3000, "UnknownOperationException")])
def test_unknown_targets(cluster, target, expected):
    status, answer = cluster.post(cluster.signed(target, b"{}"), b"{}")
    assert status >= 400
    assert code(answer) == expected


# Things that are not there.

def refused(function, **members):
    with pytest.raises(Exception) as caught:
        function(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_unknown_cluster(cluster):
    ecs = cluster.ecs
    expected = ("ClusterNotFoundException", "Cluster not found.")
    assert refused(ecs.list_tasks, cluster="nope") == expected
    assert refused(ecs.describe_tasks, cluster="nope", tasks=["x"]) == expected
    assert refused(ecs.run_task, cluster="nope", taskDefinition="x") == expected
    answer = ecs.describe_clusters(clusters=["nope"])
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]


def test_unknown_task(cluster):
    arn = f"arn:aws:ecs:us-east-1:000000000000:task/default/{'0' * 32}"
    answer = cluster.ecs.describe_tasks(tasks=[arn])
    assert answer["tasks"] == []
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
    assert refused(cluster.ecs.stop_task, task=arn) == ("InvalidParameterException",
                                                        "The referenced task was not found.")


def test_unknown_definition(cluster):
    assert refused(cluster.ecs.describe_task_definition, taskDefinition="never-made") == (
        "ClientException", "Unable to describe task definition.")
    assert refused(cluster.ecs.run_task, taskDefinition="never-made") == (
        "ClientException", "TaskDefinition not found.")


def test_a_deregistered_definition_runs_no_more(cluster):
    arn = cluster.register(clusters.sh("exit 0"))
    gone = cluster.ecs.deregister_task_definition(taskDefinition=arn)["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    assert refused(cluster.ecs.run_task, taskDefinition=arn) == ("ClientException",
                                                                 "TaskDefinition is inactive")


# Definitions.

def registered(cluster, *containers, family="bad", **more):
    return cluster.call("RegisterTaskDefinition",
                        {"family": family, "containerDefinitions": list(containers), **more})


@pytest.mark.parametrize("name,containers,more", [
    ("family with blanks", [clusters.container()], {"family": "not valid"}),
    ("empty family", [clusters.container()], {"family": ""}),
    ("long family", [clusters.container()], {"family": "f" * 256}),
    ("no containers", [], {}),
    ("eleven containers", [clusters.container(name=f"c{i}") for i in range(11)], {}),
    ("two of a name", [clusters.container(), clusters.container()], {}),
    ("name with blanks", [clusters.container(name="a b")], {}),
    ("no name", [{"image": "busybox:1", "memory": 64}], {}),
    ("no image", [{"name": "main", "memory": 64}], {}),
    ("image with blanks", [clusters.container(image="bad image")], {}),
    ("no essential container", [clusters.container(essential=False)], {}),
    ("unknown network mode", [clusters.container()], {"networkMode": "carrier-pigeon"}),
    ("unknown protocol", [clusters.container(portMappings=[{"containerPort": 1,
                                                            "protocol": "icmp"}])], {}),
    ("port out of range", [clusters.container(portMappings=[{"containerPort": 70000}])], {}),
    ("host ports differ", [clusters.container(portMappings=[{"containerPort": 80,
                                                             "hostPort": 81}])],
     {"networkMode": "host"}),
    ("unknown log driver", [clusters.container(logConfiguration={"logDriver": "smoke"})], {}),
    ("awslogs without a group", [clusters.container(
        logConfiguration={"logDriver": "awslogs", "options": {}})], {}),
    ("memory of zero", [clusters.container(memory=0)], {}),
    ("negative cpu", [clusters.container(cpu=-1)], {}),
    ("unknown compatibility", [clusters.container()], {"requiresCompatibilities": ["MAINFRAME"]}),
    ("text for the task's cpu", [clusters.container()], {"cpu": "much"}),
])
def test_bad_definitions(cluster, name, containers, more):
    status, answer = registered(cluster, *containers, **more)
    assert status == 400, name
    assert code(answer) in ("ClientException", "InvalidParameterException"), name
    assert answer.get("message") or answer.get("Message")


def test_missing_memory_has_ecs_s_sentence(cluster):
    status, answer = registered(cluster, {"name": "main", "image": "busybox:1"})
    assert (status, code(answer)) == (400, "ClientException")
    assert answer["message"] == ("Invalid setting for container 'main'. At least one of 'memory' or "
                                 "'memoryReservation' must be specified.")


def test_a_definition_of_more_than_64_kib(cluster):
    big = clusters.container(environment=[{"name": f"N{i}", "value": "v" * 1000}
                                          for i in range(70)])
    status, answer = registered(cluster, big)
    assert (status, code(answer)) == (400, "ClientException")


@pytest.mark.parametrize("more", [
    {"count": 11}, {"count": 0}, {"count": -1}, {"launchType": "ROCKET"},
    {"startedBy": "s" * 129}, {"placementStrategy": [{"type": "closest"}]},
    {"placementConstraints": [{"type": "sometimes"}]},
    {"overrides": {"containerOverrides": [{"name": "nobody"}]}},
])
def test_bad_run_task(cluster, more):
    arn = cluster.register(clusters.sh("exit 0"))
    status, answer = cluster.call("RunTask", {"taskDefinition": arn, **more})
    assert status == 400
    assert code(answer) in ("ClientException", "InvalidParameterException")


def test_names_that_try_to_escape(cluster):
    for bad in ("../../etc", "a/b", "a\nb", "a\0b", "x" * 300, "ü"):
        status, answer = cluster.call("CreateCluster", {"clusterName": bad})
        assert status == 400, bad
        assert code(answer) in ("InvalidParameterException", "ClientException",
                                "SerializationException")


def test_slow_senders_are_cut_off(cluster):
    """Headers must arrive within ten seconds; the test waits half as long as an idle connection
    may live."""
    with socket.create_connection(("127.0.0.1", cluster.port), timeout=30) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
        answer = sock.recv(65536)
        assert b" 200 " not in answer.split(b"\r\n", 1)[0]


def test_error_answers_are_shaped_as_sdks_read_them(cluster):
    body = json.dumps({"cluster": "nope"}).encode()
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=10)
    connection.request("POST", "/", body=body,
                       headers=cluster.signed(f"{TARGET}.ListTasks", body))
    answer = connection.getresponse()
    assert answer.status == 400
    assert answer.getheader("Content-Type").startswith("application/x-amz-json-1.1")
    assert answer.getheader("x-amzn-RequestId")
    assert json.loads(answer.read()) == {"__type": "ClusterNotFoundException",
                                         "message": "Cluster not found."}
