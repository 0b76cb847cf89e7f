"""A real server on a file system of its own that gets full: what it acknowledged is there when it
starts again, it says in one line why it stopped, and a full disk under the logs stops nothing.

The file system is a tmpfs, so that it outlives the server. A ballast file takes its room and gives
it back."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest

import cluster as clusters

STORE_EXIT = 74
SIZE_KIB = 12 * 1024


class SmallDisk:
    """The tmpfs, and servers on it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="fairlead-full-")
        self.log = tempfile.NamedTemporaryFile(prefix="fairlead-full-", suffix=".log")
        self.port = clusters.free_port()
        clusters.run("mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k,mode=700", "tmpfs", self.dir)
        self.inside = pathlib.Path(self.dir)
        self.server = None

    def start(self):
        """Starts a server; true when it listens, false when it ended."""
        self.log.truncate(0)
        self.server = subprocess.Popen(
            [clusters.FAIRLEAD, "server", "--data-dir", f"{self.dir}/data", "--listen",
             f"127.0.0.1:{self.port}"],
            stderr=open(self.log.name, "a", encoding="utf-8"))
        return clusters.until(self._state, what="the server's start") == "listens"

    def _state(self):
        if self.server.poll() is not None:
            return "ended"
        with socket.socket() as probe:
            return "listens" if probe.connect_ex(("127.0.0.1", self.port)) == 0 else None

    def stop(self):
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(20) == 0
        self.server = None

    def lines(self):
        return pathlib.Path(self.log.name).read_text(encoding="utf-8").splitlines()

    def errors(self):
        return [line for line in self.lines() if " error " in line or line.startswith("fairlead")]

    def client(self, service):
        key = json.loads((self.inside / "data/keys/operator.json").read_text(encoding="utf-8"))
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
        return boto3.session.Session(
            aws_access_key_id=key["accessKeyId"], aws_secret_access_key=key["secretAccessKey"],
            region_name="us-east-1").client(
                service, endpoint_url=f"http://127.0.0.1:{self.port}", config=config)

    def leave_room(self, kib):
        """Fills the file system up to that much."""
        stat = os.statvfs(self.inside)
        free = stat.f_bavail * stat.f_frsize
        (self.inside / "ballast").write_bytes(b"\1" * (free - kib * 1024))

    def make_room(self):
        (self.inside / "ballast").unlink()

    def end(self):
        if self.server and self.server.poll() is None:
            self.server.kill()
            self.server.wait()
        clusters.run("umount", "-l", self.dir)
        self.log.close()
        os.rmdir(self.dir)


@pytest.fixture
def disk():
    made = SmallDisk()
    try:
        yield made
    finally:
        made.end()


def fill(ecs):
    """Creates clusters and definitions until the server ends; what it acknowledged, and what it was
    asked last."""
    clusters_made, definitions = [], []
    text = "x" * 20000
    for number in range(5000):
        name = f"full-{number}"
        try:
            if number % 4 == 0:
                ecs.create_cluster(clusterName=name)
                clusters_made.append(name)
            else:
                ecs.register_task_definition(
                    family=name, containerDefinitions=[
                        {"name": "main", "image": "busybox:1", "memory": 64,
                         "environment": [{"name": "TEXT", "value": text}]}])
                definitions.append(name)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return clusters_made, definitions, name
    raise AssertionError("the disk was never full")


def every(paginator, member):
    return [item.rsplit("/", 1)[1] for page in paginator.paginate() for item in page[member]]


def test_a_full_disk_stops_the_server_and_loses_nothing(disk):
    assert disk.start(), disk.lines()
    disk.leave_room(1500)
    made, definitions, last = fill(disk.client("ecs"))
    assert disk.server.wait(20) == STORE_EXIT
    assert len(disk.errors()) == 1, disk.lines()
    assert "the store failed" in disk.errors()[0] and "full" in disk.errors()[0]
    assert made and definitions

    # While there is no room it does not start, and says so in one line.
    if disk.start():
        disk.stop()
    else:
        assert disk.server.returncode != 0
        assert len(disk.errors()) == 1, disk.lines()

    disk.make_room()
    assert disk.start(), disk.lines()
    ecs = disk.client("ecs")
    found = set(every(ecs.get_paginator("list_clusters"), "clusterArns"))
    assert set(made) <= found <= {*made, last, "default"}
    found = {name.rsplit(":", 1)[0]
             for name in every(ecs.get_paginator("list_task_definitions"), "taskDefinitionArns")}
    assert set(definitions) <= found <= {*definitions, last}
    answer = ecs.describe_task_definition(taskDefinition=definitions[-1])["taskDefinition"]
    assert len(answer["containerDefinitions"][0]["environment"][0]["value"]) == 20000
    ecs.create_cluster(clusterName="there-is-room")
    disk.stop()


def put_until_refused(logs, first):
    """The messages that were acknowledged, and the refusal."""
    stored = []
    for number in range(first, first + 5000):
        message = f"{number} " + "y" * 20000
        try:
            logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[
                {"timestamp": int(time.time() * 1000), "message": message}])
        except botocore.exceptions.ClientError as refusal:
            return stored, refusal.response
        stored.append(message)
    raise AssertionError("the disk was never full")


def read_all(logs):
    found, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        answer = logs.get_log_events(logGroupName="g", logStreamName="s", startFromHead=True,
                                     **more)
        found += [event["message"] for event in answer["events"]]
        if not answer["events"]:
            return found
        token = answer["nextForwardToken"]


def test_a_full_disk_under_the_logs_refuses_and_goes_on(disk):
    assert disk.start(), disk.lines()
    logs, ecs = disk.client("logs"), disk.client("ecs")
    ecs.create_cluster(clusterName="before")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    disk.leave_room(1500)
    stored, refusal = put_until_refused(logs, 0)
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert refusal["Error"]["Code"] == "ServiceUnavailableException"
    assert "before" in every(ecs.get_paginator("list_clusters"), "clusterArns")
    assert read_all(logs) == stored

    disk.make_room()
    disk.leave_room(3000)
    more, _ = put_until_refused(logs, len(stored))
    assert more, disk.lines()
    assert read_all(logs) == stored + more

    disk.make_room()
    disk.stop()
    assert disk.start(), disk.lines()
    assert read_all(disk.client("logs")) == stored + more
    disk.stop()


@pytest.fixture
def agent_disk(busybox):
    """An installation whose agent's directory is a small tmpfs."""
    made = clusters.Cluster("--cpu-units", "65536", "--memory-mib", "65536")
    path = pathlib.Path(made.data_dir, "agent")
    made.up()
    made.fairlead("down")
    shutil.copytree(path, f"{path}.copy", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
    clusters.run("mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(path))
    try:
        shutil.copytree(f"{path}.copy", path, symlinks=True, dirs_exist_ok=True)
        made.up()
        made.load_image(busybox, "busybox:1")
        yield made, path
    finally:
        made.fairlead("down", "--tasks", check=False)
        clusters.run("umount", "-l", str(path))
        made.uninstall()
    assert not made.leaks()


def process_of(arn):
    """The processes of a task's containers."""
    task = arn.rsplit("/", 1)[1]
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if task in (process / "cgroup").read_text():
                found.add(process.name)
        except OSError:
            pass
    return found


def test_a_full_disk_stops_the_agent_and_no_task(agent_disk):
    private, path = agent_disk
    arn = private.start(private.register(clusters.idle()))
    private.wait(arn, "RUNNING")
    before = process_of(arn)
    assert before
    stat = os.statvfs(path)
    (path / "ballast").write_bytes(b"\1" * (stat.f_bavail * stat.f_frsize))
    pid = private.pid("agent")
    definition = private.register(clusters.idle())
    more = []

    def start_one():
        more.extend(private.ecs.run_task(taskDefinition=definition)["tasks"])
        return not pathlib.Path(f"/proc/{pid}").exists()
    clusters.until(start_one, what="end of the agent")
    assert more
    log = pathlib.Path(private.data_dir, "log", "agent.log").read_text().splitlines()
    failures = [line for line in log if "the store failed" in line]
    assert len(failures) == 1 and "full" in failures[0] and log[-1] == failures[0], log[-5:]
    assert before <= process_of(arn)

    (path / "ballast").unlink()
    private.up()
    assert before <= process_of(arn)
    for task in more:
        clusters.until(lambda arn=task["taskArn"]: private.task(arn)["lastStatus"]
                       in ("RUNNING", "STOPPED"), what="an answer about each task")
    assert private.task(arn)["lastStatus"] == "RUNNING"
    assert before <= process_of(arn)
