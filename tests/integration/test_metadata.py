"""The task metadata endpoint, the introspection endpoint and what is injected into containers, with
real containers in every network mode. Requests are made from inside the containers' network
namespaces, with the variables that the containers have."""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import urllib.parse

import pytest

import cluster as clusters
from cluster import idle, run, until
from conftest import installation

METADATA = "169.254.170.2"
PYTHON = sys.executable

# One request over a connection of its own: method, host, port, path, headers → status, headers, body.
ASK = """
import http.client, json, sys
method, host, port, path, headers, times = json.loads(sys.argv[1])
connection = http.client.HTTPConnection(host, port, timeout=10)
answers = []
for _ in range(times):
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answers.append([answer.status, dict(answer.getheaders()), answer.read().decode()])
print(json.dumps(answers if times > 1 else answers[0]))
"""

# Whether anything answers at an address: the HTTP status, or the error's name.
KNOCK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=2).status)
except urllib.error.HTTPError as answer:
    print(answer.code)
except OSError as error:
    print(type(getattr(error, "reason", error)).__name__, getattr(error, "reason", error))
"""


def knock(url, *prefix):
    """What comes of a request with this prefix to the command: no number where nobody answers."""
    return run(*prefix, PYTHON, "-c", KNOCK, url).stdout.strip()


class Container:
    """A running container, seen from its host."""

    def __init__(self, cluster, container):
        self.id = container["runtimeId"]
        started = pathlib.Path(cluster.data_dir, "agent", "containers", self.id, "started")
        self.pid = int(started.read_text().split()[0])
        self.env = until(self._environment, what="the container's own program")
        self.v3 = self.env["ECS_CONTAINER_METADATA_URI"]
        self.v4 = self.env["ECS_CONTAINER_METADATA_URI_V4"]

    def _environment(self):
        """That of its program: until it runs, the process is the runtime's."""
        raw = pathlib.Path(f"/proc/{self.pid}/environ").read_bytes().decode()
        env = dict(item.split("=", 1) for item in raw.split("\0") if "=" in item)
        return env if "ECS_CONTAINER_METADATA_URI" in env else None

    def ask(self, url, method="GET", times=1, **headers):
        """(status, headers, body) of a request from inside."""
        parts = urllib.parse.urlsplit(url)
        path = url.split(parts.netloc, 1)[1] or "/"
        order = [method, parts.hostname, parts.port or 80, path, headers, times]
        return json.loads(run("nsenter", "-t", str(self.pid), "-n", PYTHON, "-c", ASK,
                              json.dumps(order)).stdout)

    def get(self, url):
        status, headers, body = self.ask(url)
        assert status == 200, body
        assert headers["Content-Type"] == "application/json"
        return json.loads(body)


@pytest.fixture(scope="module")
def meta(busybox, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "ecs.config"
    config.write_text("ECS_ENABLE_CONTAINER_METADATA=true\nECS_TASK_METADATA_RPS_LIMIT=45,70\n")
    with installation(busybox, "--cpu-units", "65536", "--memory-mib", "65536",
                      "--metadata-port", str(clusters.free_port()), "--introspection-port",
                      str(clusters.free_port()), "--ecs-config", str(config)) as made:
        yield made
        made.stop_all()


def flag(cluster, name):
    return int(cluster.flags[cluster.flags.index(name) + 1])


def started(cluster, *containers, **more):
    """(task, its containers by name), all of them running."""
    arn = cluster.start(cluster.register(*containers, **more))
    task = cluster.wait(arn, "RUNNING")
    return task, {item["name"]: Container(cluster, item) for item in task["containers"]}


def from_host(url, **headers):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", url.split(parts.netloc, 1)[1], headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_bridge_task_reads_its_metadata_in_every_version(meta):
    task, found = started(meta, idle(name="app", portMappings=[{"containerPort": 80}],
                                     dockerLabels={"team": "blue"}, cpu=128),
                          idle(name="side", essential=False), cpu="512", memory="256",
                          family="meta-bridge")
    app = found["app"]
    assert app.v4.startswith(f"http://{METADATA}/v4/") and app.v3.startswith(f"http://{METADATA}/v3/")
    assert app.v4.rsplit("/", 1)[1] == app.v3.rsplit("/", 1)[1] != found["side"].v4.rsplit("/", 1)[1]
    container = app.get(app.v4)
    assert container["DockerId"] == app.id and container["Name"] == "app"
    assert container["DockerName"].startswith("ecs-meta-bridge-1-app-")
    assert container["Image"] == "busybox:1" and container["ImageID"].startswith("sha256:")
    assert container["KnownStatus"] == container["DesiredStatus"] == "RUNNING"
    assert container["Limits"] == {"CPU": 128, "Memory": 64} and container["Type"] == "NORMAL"
    assert container["Labels"]["com.amazonaws.ecs.task-arn"] == task["taskArn"]
    assert container["Labels"]["com.amazonaws.ecs.container-name"] == "app"
    assert container["Labels"]["team"] == "blue"
    binding = next(c for c in task["containers"] if c["name"] == "app")["networkBindings"][0]
    assert container["Ports"][0] == {"ContainerPort": 80, "Protocol": "tcp",
                                     "HostPort": binding["hostPort"], "HostIp": "0.0.0.0"}
    assert [port["HostIp"] for port in container["Ports"][1:]] in ([], ["::"])
    network = container["Networks"][0]
    assert network["NetworkMode"] == "bridge" and len(network["IPv4Addresses"]) == 1
    assert container["CreatedAt"] <= container["StartedAt"]
    assert container["ContainerARN"].split(":")[5].startswith("container/")
    document = app.get(app.v4 + "/task")
    assert document["Cluster"] == "default" and document["TaskARN"] == task["taskArn"]
    assert (document["Family"], document["Revision"]) == ("meta-bridge", "1")
    assert document["KnownStatus"] == "RUNNING" and document["LaunchType"] == "EC2"
    assert document["Limits"] == {"CPU": 0.5, "Memory": 256}
    assert document["FaultInjectionEnabled"] is False
    assert document["Group"] == "family:meta-bridge"
    assert [c["Name"] for c in document["Containers"]] == ["app", "side"]
    assert container in document["Containers"]
    old = app.get(app.v3 + "/task")
    assert "FaultInjectionEnabled" not in old and "Group" not in old
    assert "Snapshotter" not in app.get(app.v3)
    base = f"http://{METADATA}/v2/"
    assert app.get(base + "metadata") == app.get(base + "metadata/") == old
    assert app.get(base + f"metadata/{app.id}") == app.get(app.v3)
    assert app.get(base + f"stats/{app.id}")["id"] == app.id
    assert set(app.get(base + "stats")) == {app.id, found["side"].id}
    meta.ecs.stop_task(task=task["taskArn"])


def test_stats_are_dockers(meta):
    task, found = started(meta, idle("while :; do :; done &", name="busy"))
    busy = found["busy"]
    stats = busy.get(busy.v4 + "/stats")
    assert set(stats) == {"read", "preread", "pids_stats", "blkio_stats", "num_procs",
                          "storage_stats", "cpu_stats", "precpu_stats", "memory_stats", "name", "id",
                          "networks", "network_rate_stats"}
    assert stats["id"] == busy.id and stats["name"].startswith("/ecs-")
    assert set(stats["networks"]["eth0"]) == {
        f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")}
    assert stats["networks"]["eth0"]["tx_bytes"] > 0
    assert set(stats["network_rate_stats"]) == {"rx_bytes_per_sec", "tx_bytes_per_sec"}
    assert 0 < stats["memory_stats"]["usage"] <= stats["memory_stats"]["limit"] == 64 << 20
    assert stats["memory_stats"]["stats"] and stats["pids_stats"]["current"] >= 2
    assert set(stats["cpu_stats"]) == {"cpu_usage", "system_cpu_usage", "online_cpus",
                                       "throttling_data"}
    assert set(stats["blkio_stats"]) >= {"io_service_bytes_recursive", "io_serviced_recursive"}
    # The arithmetic of Docker's own command: a loop is seen to use a good part of a processor.
    first = stats["cpu_stats"]

    def share():
        now = busy.get(busy.v4 + "/stats")["cpu_stats"]
        used = now["cpu_usage"]["total_usage"] - first["cpu_usage"]["total_usage"]
        passed = now["system_cpu_usage"] - first["system_cpu_usage"]
        return passed > 0 and used / passed * now["online_cpus"] > 0.05
    until(share, what="use of the processor")
    old = busy.get(busy.v3 + "/stats")
    assert set(old) == set(stats) - {"network_rate_stats"}
    whole = busy.get(busy.v4 + "/task/stats")
    assert set(whole) == {busy.id} and set(whole[busy.id]) == set(stats)
    meta.ecs.stop_task(task=task["taskArn"])


def test_host_and_none(meta):
    task, found = started(meta, idle(name="h"), networkMode="host")
    host = found["h"]
    document = host.get(host.v4 + "/task")
    assert document["TaskARN"] == task["taskArn"]
    assert document["Containers"][0]["Networks"] == [{"NetworkMode": "host"}]
    stats = host.get(host.v4 + "/stats")
    assert "networks" not in stats and "network_rate_stats" not in stats
    status, body = from_host(host.v4)
    assert status == 200 and json.loads(body)["DockerId"] == host.id
    # Without an address of its own, v2 cannot tell who asks.
    status, _, body = host.ask(host.v4.split("/v4/")[0] + "/v2/metadata")
    assert status == 500 and "unable to associate" in body
    meta.ecs.stop_task(task=task["taskArn"])
    task, found = started(meta, idle(name="n"), networkMode="none")
    lonely = found["n"]
    assert "unreachable" in knock(lonely.v4, "nsenter", "-t", str(lonely.pid), "-n")
    port = flag(meta, "--metadata-port")
    assert from_host(f"http://127.0.0.1:{port}/v4/" + lonely.v4.rsplit("/", 1)[1])[0] == 404
    meta.ecs.stop_task(task=task["taskArn"])


def test_nobody_reaches_the_metadata_of_another_task(meta):
    first, one = started(meta, idle(name="one"))
    second, two = started(meta, idle(name="two"))
    third, host = started(meta, idle(name="three"), networkMode="host")
    one, two, host = one["one"], two["two"], host["three"]
    identity = one.v4.rsplit("/", 1)[1]
    words = {"": "V4 container metadata handler: unable to get container ID from request: unable to "
                 f"get docker ID from v3 endpoint ID: {identity}",
             "/task": "V4 task metadata handler: unable to get task arn from request: unable to get "
                      f"task Arn from v3 endpoint ID: {identity}",
             "/stats": "V4 container stats handler: unable to get task arn from request: unable to "
                       f"get task Arn from v3 endpoint ID: {identity}",
             "/task/stats": "V4 task stats handler: unable to get task arn from request: unable to "
                            f"get task Arn from v3 endpoint ID: {identity}"}
    for path, text in words.items():
        assert one.ask(one.v4 + path)[0] == 200
        status, _, body = two.ask(one.v4 + path)
        assert (status, json.loads(body)) == (404, text)
        assert two.ask(one.v3 + path)[0] == 500
        base = host.v4.rsplit("/", 1)[0]
        assert host.ask(f"{base}/{identity}{path}")[0] == 404
        assert one.ask(f"http://{METADATA}/v4/" + host.v4.rsplit("/", 1)[1] + path)[0] == 404
    # An id that is off by one digit is nobody's.
    wrong = one.v4[:-1] + ("0" if one.v4[-1] != "0" else "1")
    assert one.ask(wrong)[0] == 404
    assert one.ask(f"http://{METADATA}/v2/metadata/{two.id}")[0] == 500
    assert one.get(f"http://{METADATA}/v2/metadata")["TaskARN"] == first["taskArn"]
    for task in (first, second, third):
        meta.ecs.stop_task(task=task["taskArn"])


def test_odd_requests_are_refused(meta):
    task, found = started(meta, idle(name="odd"))
    odd = found["odd"]
    assert odd.ask(odd.v4, Host="evil.example")[0] == 403
    assert odd.ask(odd.v4, **{"X-Forwarded-For": "127.0.0.1"})[0] == 403
    assert odd.ask(odd.v4, Host=METADATA)[0] == 200
    status, headers, _ = odd.ask(odd.v4.replace("/v4/", "//v4//"))
    assert status == 301 and headers["Location"] == odd.v4.split(METADATA)[1]
    assert odd.ask(odd.v4, method="POST")[0] == 405
    assert odd.ask(f"http://{METADATA}/")[0] == 404
    assert odd.ask(odd.v4 + "/nothing")[0] == 404
    assert odd.ask(f"http://{METADATA}/" + "a" * 40000)[0] in (413, 414, 431)
    status, _, body = odd.ask(f"http://{METADATA}/v2/credentials/no-such-id")
    assert status == 400 and json.loads(body) == {
        "code": "InvalidIdInRequest", "message": "CredentialsV2Request: Credentials not found",
        "HTTPErrorCode": 400}
    status, _, body = odd.ask(f"http://{METADATA}/v2/credentials/")
    assert status == 400 and json.loads(body)["code"] == "NoIdInRequest"
    status, _, body = odd.ask(odd.env["ECS_AGENT_URI"] + "/task-protection/v1/state")
    assert status == 403 and json.loads(body)["error"]["Code"] == "AccessDeniedException"
    meta.ecs.stop_task(task=task["taskArn"])


# Raw bytes, for what no client library sends: the status line's number, or nothing.
SAY = """
import socket, sys
with socket.create_connection(("169.254.170.2", 80), 5) as connection:
    connection.sendall(sys.argv[1].encode())
    connection.settimeout(5)
    print(connection.recv(4096).decode().split(" ")[1])
"""


def test_nothing_is_passed_on(meta):
    """The endpoint is no proxy, and who comes through one is sent away."""
    task, found = started(meta, idle(name="odd"))
    odd = found["odd"]
    path = odd.v4.split(METADATA)[1]

    def say(*lines):
        text = "\r\n".join(lines) + "\r\n\r\n"
        return run("nsenter", "-t", str(odd.pid), "-n", PYTHON, "-c", SAY, text).stdout.strip()
    host = f"Host: {METADATA}"
    assert say(f"GET {path} HTTP/1.1", host) == "200"
    assert say(f"GET {path} HTTP/1.1", host, "Forwarded: for=127.0.0.1") == "403"
    assert say(f"GET {path} HTTP/1.1", f"Host: {METADATA}.evil.example") == "403"
    assert say(f"GET {path} HTTP/1.1", f"Host: {METADATA}:8080") == "403"
    assert say(f"GET {path} HTTP/1.1", f"Host: {METADATA}", "Host: evil.example") in ("400", "403")
    assert say("GET http://127.0.0.1/ HTTP/1.1", host) == "404"
    assert say(f"CONNECT {METADATA}:80 HTTP/1.1", host) in ("400", "405")
    assert say("OPTIONS * HTTP/1.1", host) == "405"
    assert say("POST /api/x/task-protection/v1/state HTTP/1.1", host,
               "Content-Length: 100000") == "413"
    meta.ecs.stop_task(task=task["taskArn"])


def test_keys_stay_with_the_host(meta):
    """What the agent knows itself by is root's alone, and in no container's sight."""
    task, found = started(meta, idle(name="one"))
    data = pathlib.Path(meta.data_dir)
    secrets = [path for path in data.rglob("*") if path.is_file() and
               (path.name in ("metadata.key", "identity") or "key" in path.name)
               and "layers" not in path.parts and "containers" not in path.parts]
    assert {"metadata.key", "identity"} <= {path.name for path in secrets}
    for path in secrets:
        assert path.stat().st_mode & 0o077 == 0, path
    assert data.joinpath("agent").stat().st_mode & 0o077 == 0
    one = found["one"]
    for line in pathlib.Path(f"/proc/{one.pid}/mountinfo").read_text().splitlines():
        root = line.split()[3]
        assert not any(str(path).startswith(root.rstrip("/") + "/") for path in secrets
                       if str(data) in root), line
    for path in secrets:
        assert not pathlib.Path(f"/proc/{one.pid}/root{path}").exists()
    meta.ecs.stop_task(task=task["taskArn"])


def test_who_guesses_uses_up_nobody_elses_share(meta):
    first, one = started(meta, idle(name="one"))
    second, two = started(meta, idle(name="two"))
    guess = two["two"].v4[:-1] + ("0" if two["two"].v4[-1] != "0" else "1")
    codes = [answer[0] for answer in one["one"].ask(guess, times=400)]
    assert set(codes) == {404, 429}
    assert two["two"].ask(two["two"].v4)[0] == 200
    for task in (first, second):
        meta.ecs.stop_task(task=task["taskArn"])


def test_who_asks_too_often_is_told_so_and_nobody_else(meta):
    first, one = started(meta, idle(name="one"))
    second, two = started(meta, idle(name="two"))
    answers = one["one"].ask(one["one"].v4, times=400)
    codes = [answer[0] for answer in answers]
    assert codes[:70] == [200] * 70 and set(codes) == {200, 429}
    assert next(a for a in answers if a[0] == 429)[2] == "You have reached maximum request limit."
    assert two["two"].ask(two["two"].v4)[0] == 200
    until(lambda: one["one"].ask(one["one"].v4)[0] == 200, what="an answer again")
    for task in (first, second):
        meta.ecs.stop_task(task=task["taskArn"])


def test_who_holds_connections_keeps_nobody_out(meta):
    first, one = started(meta, idle(name="one"))
    second, two = started(meta, idle(name="two"))
    holder = ("import socket, sys\n"
              "held = [socket.create_connection(('169.254.170.2', 80), 5) for _ in range(200)]\n"
              "print('held', flush=True)\nsys.stdin.read()\n")
    command = ["nsenter", "-t", str(one["one"].pid), "-n", PYTHON, "-c", holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
        assert held.stdout.readline() == b"held\n"
        assert two["two"].ask(two["two"].v4)[0] == 200
        held.stdin.close()
    for task in (first, second):
        meta.ecs.stop_task(task=task["taskArn"])


def test_two_installations_side_by_side(meta, private):
    found = []
    for cluster in (meta, private):
        task, containers = started(cluster, idle(name="h"), networkMode="host")
        found.append((cluster, task, containers["h"]))
    for _, task, container in found:
        assert container.get(container.v4 + "/task")["TaskARN"] == task["taskArn"]
    # The port of an installation is its own, also over its agent's restart: it is in environments.
    private.kill("agent")
    private.up()
    until(lambda: knock(found[1][2].v4) == "200", what="the metadata of the second installation")
    for cluster, task, _ in found:
        cluster.ecs.stop_task(task=task["taskArn"])
    private.wait(found[1][1]["taskArn"])


def test_tags_are_asked_for(meta):
    definition = meta.register(idle(name="t"))
    arn = meta.start(definition, tags=[{"key": "colour", "value": "red"}])
    task = meta.wait(arn, "RUNNING")
    container = Container(meta, task["containers"][0])
    document = container.get(container.v4 + "/taskWithTags")
    assert document["TaskARN"] == arn
    if "Errors" not in document:
        assert document["TaskTags"] == {"colour": "red"}
    else:
        assert {"ErrorField", "ErrorCode", "ErrorMessage", "StatusCode",
                "ResourceARN"} == set(document["Errors"][0])
    meta.ecs.stop_task(task=arn)


# Forty questions at once; ends when its input does.
CROWD = """
import select, socket, sys
held = [socket.create_connection(("169.254.170.2", 80), 5) for _ in range(40)]
for connection in held:
    connection.sendall(b"GET " + sys.argv[1].encode() + b" HTTP/1.1\\r\\nHost: 169.254.170.2\\r\\n\\r\\n")
first, = select.select(held, [], [], 5)[0][:1]
print(first.recv(4096).decode().split(" ")[1], flush=True)
sys.stdin.read()
"""


def test_while_the_control_plane_is_slow_no_task_takes_all_places(meta):
    first, one = started(meta, idle(name="one"))
    second, two = started(meta, idle(name="two"))
    server = meta.status()["server"]["pid"]
    inside = ["nsenter", "-t", str(one["one"].pid), "-n", PYTHON, "-c", CROWD]
    os.kill(server, signal.SIGSTOP)
    try:
        with subprocess.Popen([*inside, one["one"].v4.split(METADATA)[1] + "/taskWithTags"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd:
            assert crowd.stdout.readline() == b"429\n"
            threading.Timer(1, os.kill, (server, signal.SIGCONT)).start()
            assert two["two"].get(two["two"].v4 + "/taskWithTags")["TaskARN"] == second["taskArn"]
            crowd.stdin.close()
    finally:
        os.kill(server, signal.SIGCONT)
    for task in (first, second):
        meta.ecs.stop_task(task=task["taskArn"])


def test_variables_are_injected_and_the_endpoint_works(meta):
    for mode in ("bridge", "host"):
        task, found = started(meta, idle(name="v"), idle(
            name="own", environment=[{"name": "AWS_ENDPOINT_URL", "value": "http://own"},
                                     {"name": "AWS_REGION", "value": "mars-1"}]),
            networkMode=mode)
        one, own = found["v"], found["own"]
        assert one.env["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
        assert one.env["AWS_REGION"] == one.env["AWS_DEFAULT_REGION"] == "us-east-1"
        assert own.env["AWS_ENDPOINT_URL"] == "http://own" and own.env["AWS_REGION"] == "mars-1"
        assert "AWS_DEFAULT_REGION" not in own.env
        key = meta.key()
        script = ("import boto3, os; print(boto3.client('ecs', region_name='us-east-1', "
                  "endpoint_url=os.environ['AWS_ENDPOINT_URL'])"
                  ".list_clusters()['clusterArns'][0])")
        answer = run("nsenter", "-t", str(one.pid), "-n", PYTHON, "-c", script,
                     env={**os.environ, "AWS_ENDPOINT_URL": one.env["AWS_ENDPOINT_URL"],
                          "AWS_ACCESS_KEY_ID": key["accessKeyId"],
                          "AWS_SECRET_ACCESS_KEY": key["secretAccessKey"]})
        assert answer.stdout.strip().endswith("cluster/default")
        meta.ecs.stop_task(task=task["taskArn"])


def test_the_metadata_file_gets_ready_and_goes(meta):
    arn = meta.start(meta.register(idle(name="f", portMappings=[{"containerPort": 81}])))
    task = meta.wait(arn, "RUNNING")
    container = Container(meta, task["containers"][0])
    inside = container.env["ECS_CONTAINER_METADATA_FILE"]
    assert inside.startswith("/opt/ecs/metadata/") and inside.endswith("/ecs-container-metadata.json")
    seen = pathlib.Path(f"/proc/{container.pid}/root{inside}")
    document = until(lambda: (lambda d: d if d["MetadataFileStatus"] == "READY" else None)(
        json.loads(seen.read_text())), what="READY")
    assert document["Cluster"] == "default" and document["TaskARN"] == arn
    assert document["ContainerInstanceARN"] == task["containerInstanceArn"]
    assert document["ContainerID"] == container.id and document["ContainerName"] == "f"
    assert document["DockerContainerName"].startswith("/ecs-") and document["ImageName"] == "busybox:1"
    assert document["PortMappings"][0]["ContainerPort"] == 81
    assert document["PortMappings"][0]["BindIp"] == "0.0.0.0"
    assert document["Networks"][0]["NetworkMode"] == "bridge"
    with pytest.raises(OSError):
        seen.with_name("x").write_text("no")
    outside = pathlib.Path(meta.data_dir, "agent", "metadata", "default", arn.rsplit("/", 1)[1])
    assert (outside / "f" / "ecs-container-metadata.json").exists()
    meta.ecs.stop_task(task=arn)
    until(lambda: not outside.exists(), timeout=60, what="the file's end")


def test_the_agents_restart_changes_nothing(meta):
    first, one = started(meta, idle(name="one"))
    second, host = started(meta, idle(name="two"), networkMode="host")
    one, host = one["one"], host["two"]
    before = one.get(one.v4 + "/task"), host.get(host.v4 + "/task")
    meta.kill("agent")
    meta.up()

    def answers():
        with contextlib.suppress(AssertionError):
            return one.get(one.v4 + "/task"), host.get(host.v4 + "/task")
    assert until(answers, what="an answer from the new agent") == before
    until(lambda: one.ask(one.v4 + "/stats")[0] == 200, what="statistics after adoption")
    assert one.ask(one.env["AWS_ENDPOINT_URL"] + "/")[0] < 500
    for task in (first, second):
        meta.ecs.stop_task(task=task["taskArn"])


@contextlib.contextmanager
def stranger(cluster):
    """A machine beside ours: a namespace with a link to it."""
    name = cluster.tag + "x"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", "198.51.100.1/24", "dev", name)
        run("ip", "link", "set", name, "up")
        run("ip", "-n", name, "addr", "add", "198.51.100.2/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        yield name
    finally:
        run("ip", "netns", "del", name)
        run("ip", "link", "del", name, check=False)


def test_other_machines_do_not_get_there(meta):
    task, found = started(meta, idle(name="one"))
    one = found["one"]
    identity = one.v4.rsplit("/", 1)[1]
    port = flag(meta, "--metadata-port")
    with stranger(meta) as name:
        # Routes that lead here, and a host that lets 127.0.0.0/8 in over that link.
        run("ip", "-n", name, "route", "add", METADATA, "via", "198.51.100.1")
        run("ip", "-n", name, "addr", "del", "127.0.0.1/8", "dev", "lo", check=False)
        run("ip", "-n", name, "route", "add", "127.0.0.1", "via", "198.51.100.1", check=False)
        pathlib.Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet").write_text("1")
        for url in (f"http://{METADATA}/v4/{identity}", f"http://127.0.0.1:{port}/v4/{identity}",
                    f"http://198.51.100.1:{port}/v4/{identity}"):
            assert not knock(url, "ip", "netns", "exec", name).isdigit(), url
    assert one.ask(one.v4)[0] == 200
    meta.ecs.stop_task(task=task["taskArn"])


def test_introspection_answers_others_only_where_it_is_told_to(busybox, tmp_path):
    config = tmp_path / "ecs.config"
    config.write_text("ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS=true\n")
    port = clusters.free_port()
    open_one = clusters.Cluster("--introspection-port", str(port), "--ecs-config", str(config))
    try:
        open_one.up()
        with stranger(open_one) as name:
            url = f"http://198.51.100.1:{port}/v1/metadata"
            assert knock(url, "ip", "netns", "exec", name) == "200"
    finally:
        open_one.uninstall()
    assert not open_one.leaks()


def test_introspection(meta):
    port = flag(meta, "--introspection-port")
    base = f"http://127.0.0.1:{port}"
    first, one = started(meta, idle(name="one", portMappings=[{"containerPort": 80}]))
    second, two = started(meta, idle(name="two"))
    about = json.loads(from_host(base + "/v1/metadata")[1])
    assert about["Cluster"] == "default" and about["Version"]
    assert about["ContainerInstanceArn"] == first["containerInstanceArn"]
    tasks = {t["Arn"]: t for t in json.loads(from_host(base + "/v1/tasks")[1])["Tasks"]}
    assert {first["taskArn"], second["taskArn"]} <= set(tasks)
    shown = tasks[first["taskArn"]]
    assert shown["KnownStatus"] == shown["DesiredStatus"] == "RUNNING" and shown["Version"] == "1"
    assert shown["Containers"][0]["DockerId"] == one["one"].id
    assert shown["Containers"][0]["Ports"][0]["ContainerPort"] == 80
    by_arn = json.loads(from_host(f"{base}/v1/tasks?taskarn={first['taskArn']}")[1])
    by_id = json.loads(from_host(f"{base}/v1/tasks?dockerid={one['one'].id[:12]}")[1])
    assert by_arn == by_id == shown
    assert from_host(base + "/v1/tasks?taskarn=nothing")[0] == 404
    assert from_host(base + f"/v1/tasks?taskarn=a&dockerid={one['one'].id}")[0] == 400
    assert "MIT" in from_host(base + "/license")[1]
    assert "/v1/tasks" in json.loads(from_host(base + "/")[1])["AvailableCommands"]
    inside = ("nsenter", "-t", str(one["one"].pid), "-n")
    for host in (METADATA, one["one"].get(one["one"].v4)["Networks"][0]["IPv4Addresses"][0]):
        gateway = host.rsplit(".", 1)[0] + ".1" if host != METADATA else host
        assert not knock(f"http://{gateway}:{port}/v1/tasks", *inside).isdigit()
    for task in (first, second):
        meta.ecs.stop_task(task=task["taskArn"])
