"""Several hosts: joining over TLS with tokens, keys that are good for their own instance alone,
placement over hosts that differ, and hosts that are cut off, killed, cloned, restarted.
Method: an agent in each of several network namespaces, with real containers; requests that no agent
of ours would make are signed here."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import cluster as clusters
import hosts as fleets
import pytest
from conftest import installation
from test_credentials import ASK_WHO, ROLE, python_container

ZONES = "us-east-1a", "us-east-1b", "us-east-1c"
TYPES = "t1.small", "t1.small", "t2.large"
STACKS = "prod", "prod", "test"
SHIP = "Fairlead_20261120.ShipLogs"
JOIN = "Fairlead_20261120.Join"


@contextlib.contextmanager
def a_fleet(busybox, *flags):
    """A server whose own machine is too small for any task, and hosts to come."""
    port = clusters.free_port()
    with installation(busybox, "--tls-listen", f"0.0.0.0:{port}", "--memory-mib", "4",
                      *flags) as made, fleets.Fleet(made, port) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def three(busybox):
    with a_fleet(busybox) as fleet:
        for i, name in enumerate(("one", "two", "three")):
            fleet.add(name, "--zone", ZONES[i], "--instance-type", TYPES[i],
                                 "--attribute", f"stack={STACKS[i]}").join()
        yield fleet


@pytest.fixture
def fleet(three):
    yield three
    three.cluster.stop_all()


@pytest.fixture
def make_fleet(busybox):
    """make_fleet(*flags): one of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags: stack.enter_context(a_fleet(busybox, *flags))


def by_host(fleet, tasks):
    """How many of the tasks each host has, by its name."""
    names = {host.arn: host.name for host in fleet.hosts}
    found = {}
    for task in tasks:
        name = names[task["containerInstanceArn"]]
        found[name] = found.get(name, 0) + 1
    return found


def run_by_cli(fleet, count, *flags, definition=None):
    definition = definition or fleet.cluster.register(clusters.idle())
    return fleet.cluster.aws_json("ecs", "run-task", "--task-definition", definition, "--count",
                                  str(count), *flags)


def wait_all(fleet, tasks):
    return [fleet.cluster.wait(task["taskArn"], "RUNNING") for task in tasks]


# ---- hosts that differ ----

def test_each_host_says_what_it_is(fleet):
    for i, host in enumerate(fleet.hosts):
        attributes = {a["name"]: a.get("value") for a in host.described()["attributes"]}
        assert attributes["ecs.availability-zone"] == ZONES[i]
        assert attributes["ecs.instance-type"] == TYPES[i]
        assert attributes["stack"] == STACKS[i]
        taken, = [set(resource["stringSetValue"]) for resource
                  in host.described()["registeredResources"] if resource["name"] == "PORTS"]
        assert {"22", "51678", "51679", "51681"} <= taken  # the last one is the way to the server
        path = pathlib.Path(host.data_dir, "agent", "admission")
        assert path.stat().st_mode & 0o777 == 0o600
        assert host.id in host.key()["accessKeyId"]
    assert len({host.key()["secretAccessKey"] for host in fleet.hosts}) == 3
    master = pathlib.Path(fleet.cluster.data_dir, "keys", "master")
    assert master.stat().st_mode & 0o777 == 0o600
    assert (master.parent / "tls.pem").stat().st_mode & 0o777 == 0o600


def test_tasks_spread_over_zones(fleet):
    tasks = run_by_cli(fleet, 6, "--placement-strategy",
                       "type=spread,field=attribute:ecs.availability-zone")["tasks"]
    assert by_host(fleet, wait_all(fleet, tasks)) == {"one": 2, "two": 2, "three": 2}


def test_tasks_are_packed_onto_one_host(fleet):
    tasks = run_by_cli(fleet, 4, "--placement-strategy", "type=binpack,field=memory")["tasks"]
    assert list(by_host(fleet, wait_all(fleet, tasks)).values()) == [4]


def test_an_expression_chooses_hosts(fleet):
    constraint = "type=memberOf,expression=attribute:ecs.instance-type =~ t2.*"
    tasks = run_by_cli(fleet, 2, "--placement-constraints", constraint)["tasks"]
    assert by_host(fleet, wait_all(fleet, tasks)) == {"three": 2}
    definition = fleet.cluster.register(clusters.idle(), placementConstraints=[
        {"type": "memberOf", "expression": "attribute:stack == prod and "
                                           "attribute:ecs.availability-zone != us-east-1a"}])
    tasks = run_by_cli(fleet, 2, definition=definition)["tasks"]
    assert by_host(fleet, wait_all(fleet, tasks)) == {"two": 2}


def test_one_task_on_each_host_and_no_more(fleet):
    answer = run_by_cli(fleet, 4, "--placement-constraints", "type=distinctInstance")
    assert by_host(fleet, wait_all(fleet, answer["tasks"])) == {"one": 1, "two": 1, "three": 1}
    reasons = {failure["arn"]: failure["reason"] for failure in answer["failures"]}
    for host in fleet.hosts:
        assert "istinctInstance placement constraint unsatisfied" in reasons[host.arn]


def test_ports_logs_and_metadata_work_on_another_host(fleet):
    script = ("wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task; echo; "
              "mkdir /www; echo from-afar > /www/index.html; httpd -p 80 -h /www;")
    definition = fleet.cluster.register(clusters.idle(
        script, logConfiguration=clusters.awslogs("/hosts"),
        portMappings=[{"containerPort": 80}]))
    (task,) = run_by_cli(fleet, 1, "--placement-constraints",
                         "type=memberOf,expression=attribute:stack == test",
                         definition=definition)["tasks"]
    host = fleet.hosts[2]
    task = fleet.cluster.wait(task["taskArn"], "RUNNING")
    port = task["containers"][0]["networkBindings"][0]["hostPort"]

    def page():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://{host.address}:{port}/", timeout=5).read()
        return None
    assert clusters.until(page, what="the page") == b"from-afar\n"
    assert host.run("curl", "-s", f"http://127.0.0.1:{port}/").stdout == "from-afar\n"
    stream = f"t/main/{task['taskArn'].rsplit('/', 1)[1]}"
    lines = clusters.until(lambda: fleet.cluster.messages("/hosts", stream), what="the log")
    document = json.loads(lines[0])
    assert document["TaskARN"] == task["taskArn"]
    assert document["AvailabilityZone"] == ZONES[2]


def test_the_registry_is_behind_tls_too(fleet):
    """Anonymous pulls are the loopback's; a host's own key gets it what it pulls with."""
    host = fleet.hosts[0]
    manifest = f"{fleet.url}/v2/busybox/manifests/1"
    accept = "Accept: application/vnd.oci.image.manifest.v1+json, " \
             "application/vnd.docker.distribution.manifest.v2+json"
    code = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", accept, manifest]
    assert host.run(*code).stdout == "401"
    status, body = Caller(fleet, host.key()).call(
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", {}, "ecr")
    assert status == 200, body
    token = base64.b64decode(body["authorizationData"][0]["authorizationToken"]).decode()
    assert host.run(*code, "-u", token).stdout == "200"
    assert host.run(*code, "-u", "AWS:guess").stdout == "401"


# The way to the server adds no right: what the server's own machine may do without a token is refused.
ASK_AS_NOBODY = """
import os, urllib.error, urllib.request
try:
    urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/v2/busybox/manifests/1", timeout=10)
except urllib.error.HTTPError as error:
    print(error.code)
print(os.environ["AWS_ENDPOINT_URL"])
"""


@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_an_sdk_in_a_task_finds_the_server_behind_tls(fleet, mode):
    group = f"/tunnel/{mode}"
    container, volumes = python_container(ASK_AS_NOBODY + ASK_WHO, group)
    definition = fleet.cluster.register(container, taskRoleArn=ROLE, volumes=volumes,
                                        networkMode=mode)
    (task,) = run_by_cli(fleet, 1, definition=definition)["tasks"]
    task = fleet.cluster.wait(task["taskArn"], timeout=60)
    task_id = task["taskArn"].rsplit("/", 1)[1]
    said = clusters.until(lambda: fleet.cluster.messages(group, f"t/main/{task_id}"),
                          what="what it found")
    assert task["containers"][0]["exitCode"] == 0, said
    code, url, answer = said
    assert code == "401"
    assert url == "http://169.254.170.2:4566" if mode == "bridge" else url.startswith(
        "http://127.0.0.1:")
    who = json.loads(answer)["who"]
    assert who["Arn"] == f"arn:aws:sts::000000000000:assumed-role/reader/{task_id}"


# ---- keys ----

class Caller:
    """Signed calls over TLS, with any key."""

    def __init__(self, fleet, key):
        self.fleet, self.key = fleet, key
        self.credentials = botocore.credentials.Credentials(key["accessKeyId"],
                                                            key["secretAccessKey"])

    def call(self, target, members, service="ecs", **headers):
        body = members if isinstance(members, bytes) else json.dumps(members).encode()
        request = botocore.awsrequest.AWSRequest("POST", self.fleet.url + "/", data=body, headers={
            "X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1",
            "Host": urllib.parse.urlsplit(self.fleet.url).netloc})
        botocore.auth.SigV4Auth(self.credentials, service, "us-east-1").add_auth(request)
        return post(self.fleet, {**dict(request.headers.items()), **headers}, body)

    def ecs(self, operation, **members):
        return self.call(f"{clusters.TARGETS['ecs']}.{operation}", members)

    def websocket(self, path, **query):
        """(status, text) of a handshake."""
        url = f"{self.fleet.url}{path}?{urllib.parse.urlencode(sorted(query.items()))}"
        parts = urllib.parse.urlsplit(url)
        request = botocore.awsrequest.AWSRequest("GET", url, headers={"Host": parts.netloc})
        botocore.auth.SigV4Auth(self.credentials, "ecs", "us-east-1").add_auth(request)
        headers = {**dict(request.headers.items()), "Connection": "Upgrade",
                   "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        with contextlib.closing(connection_to(self.fleet)) as connection:
            connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
            answer = connection.getresponse()
            return answer.status, (answer.read() if answer.status != 101 else b"").decode()


def connection_to(fleet):
    parts = urllib.parse.urlsplit(fleet.url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=20, context=context)


def post(fleet, headers, body):
    with contextlib.closing(connection_to(fleet)) as connection:
        connection.request("POST", "/", body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def assert_denied(answer, words=""):
    status, body = answer
    assert status == 400 and body["__type"] == "AccessDeniedException", (status, body)
    assert words in body["message"], body


def test_a_key_is_good_for_its_own_instance_alone(fleet):
    one, two = fleet.hosts[0], fleet.hosts[1]
    definition = fleet.cluster.register(clusters.idle())
    tasks = wait_all(fleet, run_by_cli(fleet, 3, "--placement-constraints", "type=distinctInstance",
                                       definition=definition)["tasks"])
    mine, other = [next(task["taskArn"] for task in tasks
                        if task["containerInstanceArn"] == host.arn) for host in (one, two)]
    caller = Caller(fleet, one.key())
    who = f"assumed-role/fairlead-agent/{one.id} is not authorized to perform: "
    assert_denied(caller.ecs("SubmitTaskStateChange", task=other, status="STOPPED"),
                  f"{who}ecs:SubmitTaskStateChange on resource: {other}")
    assert_denied(caller.ecs("SubmitContainerStateChange", task=other, containerName="main",
                             status="STOPPED"), who)
    assert_denied(caller.ecs("DiscoverPollEndpoint", containerInstance=two.arn),
                  f"on resource: {two.arn}")
    assert_denied(caller.ecs("UpdateContainerInstancesState", status="DRAINING",
                             containerInstances=[one.arn, two.arn]), two.arn)
    assert_denied(caller.ecs("ListTagsForResource", resourceArn=two.arn), two.arn)
    assert_denied(caller.ecs("ListTagsForResource", resourceArn=other), other)
    assert_denied(caller.ecs("ListTagsForResource", resourceArn=definition))
    assert_denied(caller.ecs("SubmitTaskStateChange", cluster="elsewhere", task=mine,
                             status="STOPPED"), "task/elsewhere/")
    assert_denied(caller.ecs("CreateCluster", clusterName="mine"), "cluster/mine")
    resources = [{"name": name, "type": "INTEGER", "integerValue": 1} for name in ("CPU", "MEMORY")]
    assert_denied(caller.ecs("RegisterContainerInstance", containerInstanceArn=two.arn,
                             totalResources=resources), two.arn)
    for token in ("", "another", "ffffffff-ffff-4fff-8fff-ffffffffffff"):
        assert_denied(caller.ecs("RegisterContainerInstance", totalResources=resources,
                                 clientToken=token))
    assert_denied(caller.call(SHIP, {}, "logs"), "logs:ShipLogs")
    assert_denied(caller.call(SHIP, {}, "logs", **{"X-Fairlead-Instance": two.arn}), two.arn)
    own, foreign = (f"t/main/{arn.rsplit('/', 1)[1]}" for arn in (mine, other))
    batch = {"logGroupName": "/forged", "createGroup": True, "offset": 0, "nextOffset": 9,
             "events": [{"timestamp": 1, "message": "forged"}]}
    named = {"X-Fairlead-Instance": one.arn}
    assert_denied(caller.call(SHIP, {**batch, "logStreamName": foreign}, "logs", **named))
    for header in (own, foreign):
        named["X-Fairlead-Stream"] = urllib.parse.urlencode({"stream": header})
        assert_denied(caller.call(SHIP, {**batch, "logStreamName": foreign}, "logs", **named))
    for operation in ("RunTask", "StopTask", "ListTasks", "DeregisterContainerInstance"):
        assert_denied(caller.ecs(operation), f"{who}ecs:{operation}")
    assert_denied(caller.call("Logs_20140328.DescribeLogGroups", {}, "logs"))
    for operation in ("CreateToken", "ListTokens", "DeleteToken", "Explain", "Hold", "Join"):
        assert_denied(caller.call(f"Fairlead_20261120.{operation}", {}), f"ecs:{operation}")
    status, text = caller.websocket("/acs/ws", clusterArn="default", containerInstanceArn=two.arn)
    assert status == 400 and "AccessDeniedException" in text
    status, text = caller.websocket("/tcs/ws", cluster="default", containerInstance=two.arn)
    assert status == 400 and "AccessDeniedException" in text
    # For itself it may.
    assert caller.ecs("DiscoverPollEndpoint", containerInstance=one.arn)[0] == 200
    assert caller.ecs("ListTagsForResource", resourceArn=mine)[0] == 200
    assert caller.ecs("ListTagsForResource", resourceArn=one.arn)[0] == 200
    assert [fleet.cluster.task(arn)["lastStatus"] for arn in (mine, other)] == ["RUNNING"] * 2


def test_no_key_leaves_its_host(fleet):
    """Machine's and operator's keys are of no use to who has only a part of them."""
    one = fleet.hosts[0]
    assert_denied(Caller(fleet, fleet.cluster.key("agent")).ecs(
        "DiscoverPollEndpoint", containerInstance=one.arn), "is not authorized")
    for change in ({"secretAccessKey": "x" * 40},
                   {"accessKeyId": one.key()["accessKeyId"][:-1] + "9"},
                   {"accessKeyId": "FLIA" + "0" * 32 + "1"}):
        status, body = Caller(fleet, {**one.key(), **change}).ecs("DiscoverPollEndpoint")
        assert status == 400 and body["__type"] in ("UnrecognizedClientException",
                                                    "InvalidSignatureException"), body
    # A task on the host sees nothing of the key, whatever it is allowed to see of its image.
    definition = fleet.cluster.register(clusters.sh(
        f"ls {one.data_dir}/agent /proc/1/root{one.data_dir}; env | grep FLI; true",
        logConfiguration=clusters.awslogs("/secrets")))
    (task,) = run_by_cli(fleet, 1, definition=definition)["tasks"]
    fleet.cluster.wait(task["taskArn"])
    stream = f"t/main/{task['taskArn'].rsplit('/', 1)[1]}"
    lines = clusters.until(lambda: fleet.cluster.messages("/secrets", stream), what="the log")
    assert all("No such file" in line for line in lines), lines


# ---- who may not join ----

def last_words(host, *argv):
    """What an agent says that ends at once."""
    result = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert result.returncode == 1, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def refused(host, token, words):
    """An agent with that token stays outside, and says why, once."""
    host.start(token)
    try:
        clusters.until(lambda: words in host.words(), timeout=20, what=f"'{words}'")
        assert not host.arn
    finally:
        host.kill(signal.SIGTERM)


def test_tokens_are_refused_one_by_one(make_fleet):
    fleet = make_fleet()
    host = fleet.add("stranger")
    token = fleet.token()
    name, secret, certificate = token.split(":")
    fleet.cluster.fairlead("token", "rm", name)
    refused(host, token, "The join token is not valid.")
    fresh = fleet.token().split(":")
    refused(host, ":".join([fresh[0], secret, certificate]), "The join token is not valid.")
    refused(host, ":".join([*fresh[:2], "0" * 64]), "certificate is not one that this host was")
    brief = fleet.token("--expires", "1s")
    listed = fleet.cluster.fairlead("token", "ls").stdout
    assert brief.split(":")[0] in listed and secret not in listed
    # Its time comes; who looks at it then finds it expired, or gone.
    time.sleep(1.1)
    refused(host, brief, "The join token ")
    fleet.add("first").start(":".join(fresh))
    first = fleet.hosts[1]
    clusters.until(first.connected, timeout=30, what="the first host")
    refused(host, ":".join(fresh), "The join token has been used up.")
    many = fleet.token("--uses", "2", "--expires", "never")
    for index in (2, 3):
        fleet.add(f"host-{index}").start(many)
        clusters.until(fleet.hosts[index].connected, timeout=30, what="a host of two")
    refused(host, many, "The join token has been used up.")
    assert "joins as instance" in fleet.cluster.diagnose()
    assert secret not in fleet.cluster.diagnose() and fresh[1] not in fleet.cluster.diagnose()
    # Secrets are not in the store, either.
    store = b"".join(path.read_bytes() for path in pathlib.Path(fleet.cluster.data_dir).glob(
        "server.db*"))
    assert fresh[1].encode() not in store and many.split(":")[1].encode() not in store


def test_wrong_usage_of_tokens(cluster):
    for argv in (["token"], ["token", "make"], ["token", "rm"], ["token", "ls", "more"]):
        assert cluster.fairlead(*argv, check=False).returncode == 2
    for argv in (["token", "create", "--expires", "soon"], ["token", "rm", "FLT0"]):
        result = cluster.fairlead(*argv, check=False)
        assert result.returncode == 1 and len(result.stderr.strip().splitlines()) == 1
    assert cluster.fairlead("token", "create", "--uses", "0", check=False).returncode == 2


def test_nothing_leaves_a_host_in_the_clear(make_fleet):
    """Both ends refuse plain HTTP between hosts."""
    fleet = make_fleet("--listen", f"0.0.0.0:{clusters.free_port()}")
    host = fleet.add("clear")
    port = re.search(r"serving on 0.0.0.0:(\d+)", fleet.cluster.diagnose())[1]
    plain = f"http://{fleet.prefix}.1:{port}"
    said = last_words(host, *host.command(fleet.token(), plain))
    assert "is not on this machine: an agent talks TLS" in said
    said = last_words(host, *host.command(None))
    assert "has not joined" in said and "fairlead token create" in said
    said = last_words(host, *host.command("half:a:token"))
    assert "ID:SECRET:HASH" in said
    # What no agent of ours would do.
    token = fleet.token().rsplit(":", 1)[0]
    join = json.dumps({"instance": "a" * 32})
    calls = [["-H", f"X-Amz-Target: {JOIN}", "-H", f"X-Fairlead-Token: {token}", "-d", join]]
    key = fleet.cluster.key("agent")
    signed = ["--aws-sigv4", "aws:amz:us-east-1:ecs", "--user",
              f"{key['accessKeyId']}:{key['secretAccessKey']}"]
    discover = f"{clusters.TARGETS['ecs']}.DiscoverPollEndpoint"
    calls.append([*signed, "-H", f"X-Amz-Target: {discover}", "-d", "{}"])
    for call in calls:
        answer = json.loads(host.run("curl", "-s", *call, "-H",
                                     "Content-Type: application/x-amz-json-1.1", plain).stdout)
        assert answer["__type"] == "AccessDeniedException"
        assert "An agent on another host talks TLS" in answer["message"]
    # The machine's key is not for other hosts, even over TLS.
    answer = json.loads(host.run("curl", "-sk", *calls[1], "-H",
                                 "Content-Type: application/x-amz-json-1.1", fleet.url).stdout)
    assert answer["__type"] == "AccessDeniedException"
    host.start(fleet.token())
    clusters.until(host.connected, timeout=30, what="the host")


# ---- hosts that come and go ----

def test_a_host_that_is_cut_off_or_killed_keeps_its_tasks(make_fleet):
    heartbeat = 2
    fleet = make_fleet("--heartbeat", str(heartbeat))
    host, witness = fleet.add("cut").join(), fleet.add("witness").join()
    tasks = wait_all(fleet, run_by_cli(fleet, 2, "--placement-constraints",
                                       "type=distinctInstance")["tasks"])
    (task,) = [t["taskArn"] for t in tasks if t["containerInstanceArn"] == host.arn]
    started = fleet.cluster.task(task)["startedAt"]

    def lost():
        return not host.connected()
    for is_killed in (False, True):
        host.cut()
        if is_killed:
            host.kill()
        cut_at = time.monotonic()
        clusters.until(lost, timeout=30, what="the loss")
        assert time.monotonic() - cut_at < 2 * heartbeat + 1  # a second is for the test's calls
        assert host.described()["status"] == "ACTIVE"
        # Nothing is placed there, and nothing is put in the task's place.
        more = run_by_cli(fleet, 2, "--placement-constraints", "type=distinctInstance")
        assert by_host(fleet, more["tasks"]) == {"witness": 1}
        assert fleet.cluster.task(task)["lastStatus"] == "RUNNING"
        host.mend()
        if is_killed:
            host.start()
        clusters.until(host.connected, timeout=150, what="its return")
        now = fleet.cluster.task(task)
        assert (now["lastStatus"], now["startedAt"]) == ("RUNNING", started)
        for each in more["tasks"]:
            fleet.cluster.ecs.stop_task(task=each["taskArn"])
    # What happens while it is away is told when it is back.
    host.cut()
    clusters.until(lost, timeout=30, what="the loss")
    fleet.cluster.ecs.stop_task(task=task)
    assert fleet.cluster.task(task)["lastStatus"] != "STOPPED"
    host.mend()
    assert fleet.cluster.wait(task, timeout=150)["containers"][0]["exitCode"] == 0
    assert witness.connected()
    fleet.cluster.stop_all()


def test_a_cloned_data_directory_is_refused_while_the_first_lives(make_fleet):
    fleet = make_fleet("--heartbeat", "2")
    host = fleet.add("original").join()
    task = fleet.cluster.start(fleet.cluster.register(clusters.idle()))
    fleet.cluster.wait(task, "RUNNING")
    clone = fleet.add("clone")
    agent = pathlib.Path(clone.data_dir, "agent")
    agent.mkdir(mode=0o700)
    pathlib.Path(clone.data_dir, "fairlead.marker").write_bytes(
        pathlib.Path(host.data_dir, "fairlead.marker").read_bytes())
    for name in ("identity", "admission", "state.db"):
        with contextlib.suppress(FileNotFoundError):
            (agent / name).write_bytes(pathlib.Path(host.data_dir, "agent", name).read_bytes())
    clone.start()
    clusters.until(lambda: "Another agent is connected as this container instance" in clone.words(),
                   timeout=30, what="the refusal")
    assert "has a copy of the other's data directory" in fleet.cluster.diagnose()
    assert host.connected() and fleet.cluster.task(task)["lastStatus"] == "RUNNING"
    clone.kill()
    fleet.cluster.stop_all()


def processes_of(host):
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"/{host.tag}" in (path / "cgroup").read_text() or host.data_dir.encode() in (
                    path / "cmdline").read_bytes():
                yield int(path.name)


def test_a_reboot_leaves_no_ghosts(make_fleet, tmp_path):
    """Everything of the host is killed at once, and the next agent reads another boot's id."""
    fleet = make_fleet("--heartbeat", "2")
    host = fleet.add("rebooted").join()
    tasks = [fleet.cluster.start(fleet.cluster.register(clusters.idle())) for _ in range(2)]
    for task in tasks:
        fleet.cluster.wait(task, "RUNNING")
    arn = host.arn
    host.process.send_signal(signal.SIGSTOP)
    for pid in list(processes_of(host)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    host.process.wait(timeout=20)
    boot = tmp_path / "boot_id"
    boot.write_text("11111111-2222-4333-8444-555555555555\n")
    target = "/proc/sys/kernel/random/boot_id"
    host.process = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c",
         f'mount --bind {boot} {target} && exec "$@"', "sh", *host.command()],
        stdout=host.log, stderr=host.log)
    for task in tasks:
        stopped = fleet.cluster.wait(task, timeout=60)
        assert stopped["containers"][0]["lastStatus"] == "STOPPED"
    clusters.until(host.connected, timeout=30, what="its return")
    assert host.arn == arn
    assert host.described()["runningTasksCount"] == 0
    fleet.cluster.run_to_end(clusters.sh("exit 0"))


def test_draining_and_deregistration_while_tasks_run(make_fleet):
    fleet = make_fleet("--heartbeat", "2")
    host, other = fleet.add("going").join(), fleet.add("staying").join()
    tasks = wait_all(fleet, run_by_cli(fleet, 2, "--placement-constraints",
                                       "type=distinctInstance")["tasks"])
    (task,) = [t["taskArn"] for t in tasks if t["containerInstanceArn"] == host.arn]
    fleet.cluster.aws("ecs", "update-container-instances-state", "--container-instances", host.arn,
                      "--status", "DRAINING")
    more = run_by_cli(fleet, 3)["tasks"]
    assert by_host(fleet, more) == {"staying": 3}
    assert fleet.cluster.task(task)["lastStatus"] == "RUNNING"
    with pytest.raises(botocore.exceptions.ClientError, match="Found running tasks"):
        fleet.cluster.ecs.deregister_container_instance(containerInstance=host.arn)
    former, key = host.arn, host.key()
    fleet.cluster.aws("ecs", "deregister-container-instance", "--container-instance", former,
                      "--force")
    assert fleet.cluster.task(task)["lastStatus"] == "STOPPED"
    status, body = Caller(fleet, key).ecs("DiscoverPollEndpoint", containerInstance=former)
    assert (status, body["__type"]) == (400, "UnrecognizedClientException"), body
    clusters.until(lambda: "this host takes no more tasks" in host.words(), timeout=60,
                   what="the agent's words")
    # Without a token it stays outside, however often it is started.
    host.kill(signal.SIGTERM)
    host.start()
    clusters.until(lambda: "start its agent with a new --token" in host.words(), timeout=30,
                   what="the agent's words")
    assert host.arn == former
    host.kill(signal.SIGTERM)
    host.start(fleet.token())
    clusters.until(lambda: host.arn != former and host.connected(), timeout=60, what="a new host")
    assert other.connected()
    fleet.cluster.stop_all()


# ---- keys and certificates are renewed ----

def serial(host):
    return int(host.key()["accessKeyId"][4 + 32:])


def test_keys_rotate_by_themselves(make_fleet):
    fleet = make_fleet("--heartbeat", "1", "--key-life", "2")
    host = fleet.add("renewed").join()
    first = host.key()
    task = fleet.cluster.start(fleet.cluster.register(clusters.idle()))
    fleet.cluster.wait(task, "RUNNING")
    clusters.until(lambda: serial(host) >= 3, timeout=60, what="two new keys")

    def is_dead():
        status, body = Caller(fleet, first).ecs("DiscoverPollEndpoint", containerInstance=host.arn)
        return status == 400 and body["__type"] == "UnrecognizedClientException"
    clusters.until(is_dead, what="the end of the first key")
    # Both ends start anew, in the middle of it.
    before = serial(host)
    fleet.cluster.kill("server")
    host.kill()
    fleet.cluster.up()
    host.start()
    clusters.until(host.connected, timeout=60, what="its return")
    clusters.until(lambda: serial(host) > before, timeout=60, what="another key")
    assert fleet.cluster.task(task)["lastStatus"] == "RUNNING"
    fleet.cluster.run_to_end(clusters.sh("exit 0"))
    # The agent on the server's machine is no exception.
    own = json.loads(pathlib.Path(fleet.cluster.data_dir, "agent", "admission").read_text())
    assert int(own["accessKeyId"][36:]) > 1
    fleet.cluster.stop_all()


def certificate_of(fleet):
    parts = urllib.parse.urlsplit(fleet.url)
    return ssl.get_server_certificate((parts.hostname, parts.port))


def test_the_certificate_is_renewed_with_overlap(make_fleet):
    fleet = make_fleet("--heartbeat", "2", "--certificate-life", "18")
    host = fleet.add("pinned").join()
    early = fleet.token("--uses", "2")
    first, hashes = certificate_of(fleet), host.key()["certificates"]
    clusters.until(lambda: len(host.key()["certificates"]) == 2, timeout=40, what="the next hash")
    assert hashes[0] in host.key()["certificates"]

    def changed():
        with contextlib.suppress(OSError):
            return certificate_of(fleet) != first
        return False
    clusters.until(changed, timeout=40, what="the next certificate")
    clusters.until(lambda: hashes[0] not in host.key()["certificates"], timeout=20,
                   what="the end of the first hash")
    clusters.until(host.connected, timeout=30, what="its return")
    fleet.cluster.run_to_end(clusters.sh("exit 0"))
    late = fleet.add("late")
    refused(late, early, "certificate is not one that this host was told of")
    late.join()


# ---- many ----

def test_fifty_agents_join_within_ten_seconds(make_fleet):
    fleet = make_fleet()
    many = [fleet.add(f"host-{i}") for i in range(50)]
    token = fleet.token("--uses", "50")
    for host in many:
        host.start(token)

    def all_connected():
        arns = fleet.cluster.ecs.list_container_instances(maxResults=100)["containerInstanceArns"]
        found = fleet.cluster.ecs.describe_container_instances(
            containerInstances=arns)["containerInstances"]
        return sum(instance["agentConnected"] for instance in found) == 51
    began = time.monotonic()
    clusters.until(all_connected, timeout=120, pause=0.1, what="fifty hosts")
    print(f"fifty agents joined after {time.monotonic() - began:.1f} s")
