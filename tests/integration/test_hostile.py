"""Goal: neither a client nor an agent that means harm brings the control plane down, makes it answer
wrongly, or makes it keep memory or descriptors. Method: a server alone, real sockets, agents written
here; whatever was sent, the same process must answer the next request, and in the end it must hold
no more descriptors than at first and stop cleanly."""
import base64
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import cluster as clusters
import pytest

ECS = clusters.TARGETS["ecs"]
SHIP = "Fairlead_20261120.ShipLogs"
HUGE = 2 ** 63 - 1


class Lone(clusters.Cluster):
    """`fairlead server` in the foreground, without an agent."""

    def up(self):
        self.log = tempfile.NamedTemporaryFile(prefix="fairlead-test-", suffix=".log")
        self.process = subprocess.Popen(
            [clusters.FAIRLEAD, "server", "--data-dir", self.data_dir, "--listen",
             f"127.0.0.1:{self.port}"], stdin=subprocess.DEVNULL, stderr=self.log)
        clusters.until(self._listens, what="the server's port")

    def _listens(self):
        assert self.process.poll() is None, self.words()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True

    def words(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")[-4000:]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    def down(self):
        self.process.terminate()
        try:
            assert self.process.wait(timeout=30) == 0, self.words()
        finally:
            self.process.kill()
            self.log.close()
            shutil.rmtree(self.data_dir)

    # What is sent.

    def raw(self, data, timeout=3):
        """Sends bytes; everything that comes back until the server closes or says no more."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while got := sock.recv(65536):
                    answer += got
        return answer

    def head(self, body=b"{}", target=f"{ECS}.ListClusters", **more):
        """A signed request's head without its last line."""
        headers = self.signed(target, body, **more)
        return ("POST / HTTP/1.1\r\n" +
                "".join(f"{name}: {value}\r\n" for name, value in headers.items())).encode()

    def as_agent(self, operation, members):
        return self.call(operation, members, key=self.key("agent"))

    def ship(self, members):
        body = members if isinstance(members, bytes) else json.dumps(members).encode()
        return self.post(self.signed(SHIP, body, key=self.key("agent")), body)

    def register_host(self, **more):
        resources = [{"name": "CPU", "type": "INTEGER", "integerValue": 1024},
                     {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024}]
        status, answer = self.as_agent("RegisterContainerInstance",
                                       {"cluster": "default", "totalResources": resources, **more})
        assert status == 200, answer
        return answer["containerInstance"]["containerInstanceArn"]

    def session(self, instance, **more):
        return Session(self, {"clusterArn": "default", "containerInstanceArn": instance,
                              "agentVersion": "1", "agentHash": "2", "dockerVersion": "3", **more})

    def still_answers(self):
        status, answer = self.call("ListClusters", {})
        assert status == 200 and "clusterArns" in answer
        assert self.process.poll() is None, self.words()


class Session:
    """An agent's websocket, frame by frame."""

    def __init__(self, lone, parameters):
        key = lone.key("agent")
        query = urllib.parse.urlencode(sorted(parameters.items()))
        url = f"http://127.0.0.1:{lone.port}/acs/ws?{query}"
        request = botocore.awsrequest.AWSRequest("GET", url, data=b"",
                                                 headers={"Host": f"127.0.0.1:{lone.port}"})
        botocore.auth.SigV4Auth(botocore.credentials.Credentials(
            key["accessKeyId"], key["secretAccessKey"]), "ecs", "us-east-1").add_auth(request)
        headers = {**dict(request.headers.items()), "Connection": "Upgrade", "Upgrade": "websocket",
                   "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        self.sock = socket.create_connection(("127.0.0.1", lone.port), timeout=10)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with contextlib.suppress(OSError):
            self.sock.sendall(f"GET /acs/ws?{query} HTTP/1.1\r\n{lines}\r\n".encode())
        self.head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in self.head and (got := self.sock.recv(1)):
                self.head += got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def is_open(self):
        return self.head.startswith(b"HTTP/1.1 101 ")

    def frame(self, payload, first=0x81, masked=True, declared=None):
        size = len(payload) if declared is None else declared
        bit = 0x80 if masked else 0
        if size < 126:
            head = bytes([first, bit | size])
        elif size < 65536:
            head = bytes([first, bit | 126]) + struct.pack(">H", size)
        else:
            head = bytes([first, bit | 127]) + struct.pack(">Q", size)
        with contextlib.suppress(OSError):  # whoever is refused may find the door closed
            self.sock.sendall(head + (b"\0\0\0\0" if masked else b"") + payload)

    def rest(self):
        """What the server says until it closes, or stops for a moment."""
        data = b""
        self.sock.settimeout(3)
        with contextlib.suppress(OSError):
            while got := self.sock.recv(65536):
                data += got
        return data


@pytest.fixture(scope="module")
def lone():
    server = Lone()
    server.up()
    assert server.call("CreateCluster", {})[0] == 200
    before = server.descriptors()
    yield server
    clusters.until(lambda: server.descriptors() <= before + 2,
                   what=f"no more than {before + 2} descriptors (now {server.descriptors()})")
    server.down()


@pytest.fixture(autouse=True)
def the_server_goes_on(lone):
    yield
    lone.still_answers()


# Requests.

def test_a_gigabyte_in_chunks_is_refused_early(lone):
    before, sent = lone.resident_mib(), 0
    chunk = b"%x\r\n" % (1 << 20) + b"x" * (1 << 20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", lone.port), timeout=20) as sock:
        sock.sendall(lone.head() + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while sent < 1 << 30:
                sock.sendall(chunk)
                sent += 1 << 20
    assert sent < 128 << 20
    assert lone.resident_mib() < before + 64


def test_bodies_of_those_who_never_sign_are_bounded_together(lone):
    """Each connection stays below the limit for one body and never completes it."""
    before = lone.resident_mib()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n"
    with contextlib.ExitStack() as held:
        for _ in range(100):
            sock = held.enter_context(socket.create_connection(("127.0.0.1", lone.port), timeout=10))
            with contextlib.suppress(OSError):
                sock.sendall(head + b"x" * 7000000)
        assert lone.resident_mib() < before + 500
        lone.still_answers()


def test_pipelined_requests_are_answered_in_order(lone):
    requests = b""
    for i in range(40):
        body = json.dumps({"cluster": f"none-{i}" if i % 2 else "default"}).encode()
        requests += lone.head(body, f"{ECS}.ListTasks") + b"Content-Length: %d\r\n\r\n" % len(body)
        requests += body
    answer = lone.raw(requests)
    statuses = [part.split(b" ", 1)[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"400"] * 20


@pytest.mark.parametrize("data", [
    b"POST / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(10000)) + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000000 + b"\r\n\r\n",
    b"POST /" + b"a" * 1000000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /\0 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\0y\r\nX\0: z\r\nContent-Length: 2\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    b"GET /acs/ws?" + b"clusterArn=%00%ff&" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /acs/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"BREW /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\n folded: y\r\nHost: x\r\n\r\n",
], ids=lambda data: repr(data[:30]))
def test_odd_requests(lone, data):
    answer = lone.raw(data)
    assert b" 200 " not in answer.split(b"\r\n", 1)[0]
    assert b" 101 " not in answer.split(b"\r\n", 1)[0]


def test_a_body_of_a_million_values_is_refused_before_it_is_built(lone):
    before = lone.resident_mib()
    status, answer = lone.call("DescribeClusters", b'{"clusters":[' + b"{}," * 2500000 + b"{}]}")
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert lone.resident_mib() < before + 200


def test_more_idle_connections_than_there_is_room_for(lone):
    """Who comes later is served all the same."""
    before = lone.descriptors()
    with contextlib.ExitStack() as held:
        for _ in range(5000):
            held.enter_context(socket.create_connection(("127.0.0.1", lone.port), timeout=5))
        lone.still_answers()
    clusters.until(lambda: lone.descriptors() <= before + 2, what="closed connections")


WRONG = [None, True, -1, 0, HUGE, -HUGE - 1, 1e300, "", "x" * 70000, "\u0000", "../..", [], [[]], {},
         {"a": {}}, [None], "\ud7ff\n\r\t", "%s%n", 0.5]


def test_every_operation_takes_nonsense(lone):
    """Members of the right names with values of any kind. Seeded."""
    rand = random.Random(20261120)
    session = botocore.session.get_session()
    refused = 0
    for service in ("ecs", "logs"):
        model = session.get_service_model(service)
        for name in model.operation_names:
            shape = model.operation_model(name).input_shape
            names = list(shape.members) if shape else []
            body = json.dumps({m: rand.choice(WRONG) for m in names if rand.random() < 0.7}).encode()
            target = f"{clusters.TARGETS[service]}.{name}"
            status, answer = lone.post(lone.signed(target, body, service=service), body)
            assert status in (200, 400), (name, body, answer)
            assert status == 200 or answer["__type"], (name, body)
            refused += status == 400
    assert refused > 100


# Agents.

@pytest.mark.parametrize("members", [
    {"attributes": [{"name": f"a{i}", "value": "v"} for i in range(10000)]},
    {"attributes": [{"name": "n" * 100000}]},
    {"totalResources": [{"name": "CPU", "type": "INTEGER", "integerValue": -5}]},
    {"totalResources": [{"name": "MEMORY", "type": "INTEGER", "integerValue": 2 ** 40}]},
    {"totalResources": [{"name": "PORTS", "stringSetValue": ["-1", "70000", "x", ""] * 1000}]},
    {"totalResources": [{}] * 5000},
    {"containerInstanceArn": "arn:aws:ecs:x:y:container-instance/../../z"},
    {"tags": [{"key": "k" * 1000, "value": "v"}]},
    {"clientToken": "t" * 100000},
], ids=lambda members: next(iter(members)))
def test_hosts_that_make_no_sense(lone, members):
    status, answer = lone.as_agent("RegisterContainerInstance", {"cluster": "default", **members})
    assert status in (200, 400)
    if status == 200:
        arn = answer["containerInstance"]["containerInstanceArn"]
        status, answer = lone.call("DescribeContainerInstances", {"containerInstances": [arn]})
        assert status == 200
        for resource in answer["containerInstances"][0]["remainingResources"]:
            assert resource.get("integerValue", 0) >= 0


@pytest.mark.parametrize("members", [
    {"task": "nobody", "status": "RUNNING"},
    {"task": "arn:aws:ecs:us-east-1:000000000000:task/default/" + "0" * 32, "status": "STOPPED"},
    {"task": "x" * 100000, "status": "y" * 100000},
    {"status": "RUNNING"}, {},
    {"task": "t", "status": "DANCING", "containers": [{}] * 1000},
    {"task": "t", "status": "STOPPED", "containers": [{"containerName": "c", "exitCode": -HUGE}]},
    {"task": "t", "status": "STOPPED", "reason": "r" * 1000000},
    {"task": "t", "status": "STOPPED", "executionStoppedAt": HUGE, "pullStartedAt": -1e300},
    {"task": "t", "containers": [{"networkBindings": [{"hostPort": -1}] * 10000}]},
], ids=range(10))
def test_reports_that_make_no_sense(lone, members):
    for operation in ("SubmitTaskStateChange", "SubmitContainerStateChange",
                      "SubmitAttachmentStateChanges"):
        assert lone.as_agent(operation, members)[0] in (200, 400)


EVENT = {"timestamp": 1, "message": "m"}
SHIPMENT = {"logGroupName": "g", "logStreamName": "s", "createGroup": True, "offset": 0,
            "nextOffset": 10, "events": [EVENT]}


@pytest.mark.parametrize("members", [
    {**SHIPMENT, "offset": -1}, {**SHIPMENT, "offset": 20}, {**SHIPMENT, "nextOffset": -HUGE},
    {**SHIPMENT, "logGroupName": "a b" * 200}, {**SHIPMENT, "logGroupName": "g\n\u0000"},
    {**SHIPMENT, "logStreamName": "a:*"}, {**SHIPMENT, "logStreamName": 7},
    {**SHIPMENT, "events": [EVENT] * 10001}, {**SHIPMENT, "events": [7, None, {}]},
    {**SHIPMENT, "events": [{"timestamp": -1, "message": "m"}]},
    {**SHIPMENT, "events": [{"timestamp": 1e30, "message": "m"}]},
    {**SHIPMENT, "events": [{"timestamp": 1, "message": "m" * 1100000}]},
    {**SHIPMENT, "events": [{"timestamp": 1, "message": ""}]},
    b"[]", b"7", b"", b"{", {},
], ids=range(18))
def test_shipments_that_make_no_sense(lone, members):
    status, answer = lone.ship(members)
    assert (status, answer["__type"]) == (400, "InvalidParameterException")


def test_an_offset_that_does_not_fit_changes_nothing(lone):
    shipment = {**SHIPMENT, "logStreamName": "offsets"}
    assert lone.ship(shipment) == (200, {"nextOffset": 10})
    for offset, following in ((0, 10), (5, 50), (11, 20), (HUGE - 1, HUGE), (10, 10)):
        assert lone.ship({**shipment, "offset": offset, "nextOffset": following}) == (
            200, {"nextOffset": 10})
    assert lone.ship({**shipment, "offset": 10, "nextOffset": HUGE}) == (200, {"nextOffset": HUGE})
    assert lone.ship({**shipment, "offset": HUGE, "nextOffset": HUGE}) == (200, {"nextOffset": HUGE})


def test_a_costly_search_is_cut_into_pages(lone):
    """The thread that searches has other callers waiting."""
    def logs(operation, members):
        body = json.dumps(members).encode()
        return lone.post(lone.signed(f"{clusters.TARGETS['logs']}.{operation}", body,
                                     service="logs"), body)

    assert logs("CreateLogGroup", {"logGroupName": "costly"})[0] == 200
    assert logs("CreateLogStream", {"logGroupName": "costly", "logStreamName": "s"})[0] == 200
    event = {"timestamp": int(time.time() * 1000), "message": "a" * 250000}
    for _ in range(8):
        assert logs("PutLogEvents", {"logGroupName": "costly", "logStreamName": "s",
                                     "logEvents": [event] * 4})[0] == 200
    members, pages = {"logGroupName": "costly", "filterPattern": "?ab " * 250}, 0
    while True:
        status, answer = logs("FilterLogEvents", members)
        assert (status, answer["events"]) == (200, [])
        pages += 1
        if "nextToken" not in answer:
            break
        members["nextToken"] = answer["nextToken"]
    assert 2 <= pages <= 32  # at least an event each


@pytest.mark.parametrize("parameters", [
    {"containerInstanceArn": "nobody"}, {"containerInstanceArn": ""}, {"clusterArn": "none"},
    {"containerInstanceArn": b"\0\n\xff"}, {"agentVersion": "v" * 20000},
    {"containerInstanceArn": "../default/x"}])
def test_sessions_of_nobody(lone, parameters):
    with lone.session("nobody", **parameters) as session:
        assert not session.is_open()


@pytest.mark.parametrize("send", [
    lambda s: s.frame(b"{}", masked=False),
    lambda s: s.frame(b"", declared=HUGE),
    lambda s: s.frame(b"x" * 100, declared=5 << 20),
    lambda s: s.frame(b"\0\1\2", first=0x82),
    lambda s: s.frame(b"x", first=0x80),
    lambda s: (s.frame(b"{", first=0x01), s.frame(b"{}", first=0x81)),
    lambda s: s.frame(b"x" * 126, first=0x89),
    lambda s: s.frame(b"x", first=0x09),
    lambda s: s.frame(b"\xff\xfe"),
    lambda s: s.frame(b"x", first=0xF1),
    lambda s: s.frame(b"x", first=0x83),
    lambda s: s.frame(b"\0", first=0x88),
    lambda s: s.frame(b"\3\xe8\xff\xff", first=0x88),
    lambda s: s.sock.sendall(os.urandom(100000)),
], ids=["unmasked", "huge", "oversize", "binary", "stray", "nested", "long ping", "split ping",
        "not UTF-8", "reserved bits", "reserved code", "short close", "close not UTF-8", "noise"])
def test_frames_that_are_none_end_the_session(lone, send):
    instance = lone.register_host()
    with lone.session(instance) as session:
        assert session.is_open(), session.head
        with contextlib.suppress(OSError):
            send(session)
            session.sock.shutdown(socket.SHUT_WR)
        session.rest()
    clusters.until(lambda: not lone.call("DescribeContainerInstances", {
        "containerInstances": [instance]})[1]["containerInstances"][0]["agentConnected"])


def test_endless_fragments_end_the_session(lone):
    before = lone.resident_mib()
    with lone.session(lone.register_host()) as session:
        session.frame(b"[", first=0x01)
        for _ in range(64):
            session.frame(b"x" * (1 << 20), first=0x00)
        assert session.rest()[:1] == b"\x88"
    assert lone.resident_mib() < before + 64


@pytest.mark.parametrize("payload", [b"x" * 10, b"x" * 125], ids=["short", "full"])
def test_pings_whose_answers_nobody_reads_end_the_session(lone, payload):
    before, pings = lone.resident_mib(), 0
    mask = b"\0\0\0\0"
    flood = (bytes([0x89, 0x80 | len(payload)]) + mask + payload) * 20000
    with lone.session(lone.register_host()) as session:
        session.sock.settimeout(20)
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):
            while pings < 2000000:
                session.sock.sendall(flood)
                pings += 20000
    assert lone.resident_mib() < before + 200
    assert pings < 2000000


MESSAGES = [
    "", "null", "7", '"x"', "[]", "{}", "{", "[" * 100, '{"type":7,"message":{}}',
    '{"type":"AckRequest"}', '{"type":"AckRequest","message":7}',
    '{"type":"AckRequest","message":{"messageId":7}}',
    '{"type":"AckRequest","message":{"messageId":"%s"}}' % ("x" * 100000),
    '{"type":"NackRequest","message":{"messageId":"a\\nb\\u001b[31m","reason":{}}}',
    '{"type":"NackRequest","message":{"messageId":"%s"}}' % ("\\n" * 10000),
    '{"type":"HeartbeatAckRequest","message":{"messageId":null}}',
    '{"type":"PayloadMessage","message":{"tasks":[{"arn":1}],"seqNum":1e400}}',
    '{"type":"PayloadMessage","message":{"tasks":"x","seqNum":-9223372036854775808}}',
    '{"type":"TaskStopVerificationMessage","message":{"stopCandidates":[{}]}}',
    '{"type":"InactiveInstanceException","message":{"message":[]}}',
    '{"InactiveInstanceException":"x"}', '{"type":"%s","message":{}}' % ("T" * 100000),
]


def test_messages_that_make_no_sense_are_passed_over(lone):
    instance = lone.register_host()
    with lone.session(instance) as session:
        assert session.is_open()
        for message in MESSAGES * 3:
            session.frame(message.encode())
        lone.still_answers()
        described = lone.call("DescribeContainerInstances", {"containerInstances": [instance]})[1]
        assert described["containerInstances"][0]["agentConnected"]
    # One line of the log is one line: nobody writes another's.
    log = pathlib.Path(lone.log.name).read_bytes()
    assert b"\x1b" not in log
    assert all(line[:2] == b"20" for line in log.splitlines() if line)


def test_clients_that_do_not_wait_for_the_answer_leave_nothing(lone):
    before = lone.descriptors()
    for i in range(200):
        body = json.dumps({"clusterName": f"unread-{i % 10}"}).encode()
        with socket.create_connection(("127.0.0.1", lone.port), timeout=5) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", i % 2, 0))
            sock.sendall(lone.head(body, f"{ECS}.CreateCluster") +
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
    clusters.until(lambda: lone.descriptors() <= before + 2, what="closed connections")


def test_sessions_by_the_hundred_leave_nothing(lone):
    instance = lone.register_host()
    before = lone.descriptors()

    def come_and_go(_):
        with lone.session(instance) as session:
            return session.is_open()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(come_and_go, range(200)))
    clusters.until(lambda: lone.descriptors() <= before + 2, what="closed sessions")


def test_an_agent_that_does_not_read_is_let_go(lone):
    """Its messages would pile up: beyond a bound its session ends."""
    instance = lone.register_host(totalResources=[
        {"name": "CPU", "type": "INTEGER", "integerValue": 1 << 20},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 1 << 20}])
    lone.call("RegisterTaskDefinition", {"family": "piled", "containerDefinitions": [
        clusters.container(memory=4, environment=[{"name": "E", "value": "v" * 50000}])]})
    with lone.session(instance) as session:
        assert session.is_open()
        before, begun = lone.resident_mib(), time.monotonic()
        while time.monotonic() - begun < 20:
            status, answer = lone.call("RunTask", {"taskDefinition": "piled", "count": 10})
            if status != 200 or answer["failures"]:
                break
        assert status == 400 or answer["failures"][0]["reason"] == "AGENT"
        assert lone.resident_mib() < before + 300
        lone.still_answers()
