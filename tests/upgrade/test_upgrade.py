"""Goal: a user upgrades and notices nothing but the new features. Method: an installation of the last
release with tasks at work, then this build's program over it, or over one half of it."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import cluster as clusters  # noqa: E402
import images  # noqa: E402

OLD, NEW = os.environ["FAIRLEAD_OLD"], os.environ["FAIRLEAD_UNDER_TEST"]


@pytest.fixture(scope="module")
def busybox(tmp_path_factory):
    return images.busybox_archive(tmp_path_factory.mktemp("images"))


@pytest.fixture
def installed(busybox):
    """An installation of the last release."""
    clusters.FAIRLEAD = OLD
    made = clusters.Cluster("--cpu-units", "65536", "--memory-mib", "65536")
    try:
        made.up()
        made.load_image(busybox, "busybox:1")
        yield made
    finally:
        print(made.diagnose())
        clusters.FAIRLEAD = NEW
        made.uninstall()
    leaks = made.leaks()
    assert not leaks, "\n".join(leaks)


def start_two(cluster):
    """A task with a published port and a log, and one on the host's network, both at work."""
    talker = cluster.register(clusters.idle("echo before; ",
                                            portMappings=[{"containerPort": 80}],
                                            logConfiguration=clusters.awslogs("/up")))
    quiet = cluster.register(clusters.idle(), networkMode="host")
    arns = [cluster.start(definition) for definition in (talker, quiet)]
    return {arn: cluster.wait(arn, "RUNNING") for arn in arns}


def shims_of(cluster):
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes()
            if b"fairlead-shim" in words.split(b"\0")[0] and cluster.data_dir.encode() in words:
                found.add((path.parent.name, (path.parent / "stat").read_text().split()[21]))
    return found


def works(cluster):
    """A whole life of a task, from registration to exit code and log."""
    task = cluster.run_to_end(clusters.sh("echo hello; exit 7",
                                          logConfiguration=clusters.awslogs("/works")))
    assert task["containers"][0]["exitCode"] == 7, task
    stream = f"t/main/{task['taskArn'].rsplit('/', 1)[1]}"
    clusters.until(lambda: cluster.messages("/works", stream) == ["hello"], what="the log")


def ends(cluster, before):
    for arn in before:
        cluster.ecs.stop_task(task=arn)
    for arn in before:
        assert cluster.wait(arn)["containers"][0]["exitCode"] == 0


def test_a_new_build_takes_over_with_tasks_records_and_logs(installed):
    before = start_two(installed)
    ended = installed.run_to_end(clusters.sh("exit 4"))
    counted = installed.run_to_end(clusters.sh("seq 1 3000",
                                               logConfiguration=clusters.awslogs("/counted")))
    counted = f"t/main/{counted['taskArn'].rsplit('/', 1)[1]}"
    lines = [str(i) for i in range(1, 3001)]
    clusters.until(lambda: installed.messages("/counted", counted) == lines, what="the lines")
    definitions = installed.ecs.list_task_definitions()["taskDefinitionArns"]
    described = [installed.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
                 for arn in definitions]
    shims = shims_of(installed)
    clusters.FAIRLEAD = NEW
    installed.up()
    assert shims and shims_of(installed) == shims
    for arn, was in before.items():
        now = installed.task(arn)
        assert (now["lastStatus"], now["startedAt"]) == ("RUNNING", was["startedAt"])
        assert [c["networkBindings"] for c in now["containers"]] == [
            c["networkBindings"] for c in was["containers"]]
    assert installed.task(ended["taskArn"])["containers"][0]["exitCode"] == 4
    for arn, was in zip(definitions, described):
        now = installed.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        assert {key: now[key] for key in was} == was
    talker = next(iter(before)).rsplit("/", 1)[1]
    clusters.until(lambda: installed.messages("/up", f"t/main/{talker}") == ["before"], timeout=10, what="the line")
    assert installed.messages("/counted", counted) == lines
    found = installed.logs.filter_log_events(logGroupName="/counted", filterPattern="%^2..0$%")
    assert [event["message"] for event in found["events"]] == [str(i) for i in range(2000, 3000, 10)]
    # The agent, which had the machine's key, has got one of its own.
    agent = pathlib.Path(installed.data_dir, "agent")
    arn = json.loads((agent / "identity").read_text())["containerInstanceArn"]
    assert arn.rsplit("/", 1)[1] in json.loads((agent / "admission").read_text())["accessKeyId"]
    works(installed)
    ends(installed, before)


@contextlib.contextmanager
def replaced(cluster, role, *flags):
    """One role of the running installation is played by this build instead."""
    pid = cluster.pid(role)
    os.kill(pid, signal.SIGTERM)
    clusters.until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), what=f"end of the {role}")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([NEW, role, "--data-dir", cluster.data_dir, *flags],
                                   stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)
            log.seek(0)
            print(log.read().decode())


def connected(cluster):
    with contextlib.suppress(Exception):
        arns = cluster.ecs.list_container_instances()["containerInstanceArns"]
        found = cluster.ecs.describe_container_instances(containerInstances=arns)
        return any(i["agentConnected"] for i in found["containerInstances"])
    return False


@pytest.mark.parametrize("role", ["agent", "server"])
def test_one_half_may_be_new(installed, role):
    before = start_two(installed)
    url = ["--server", f"http://127.0.0.1:{installed.port}", "--cpu-units", "65536",
           "--memory-mib", "65536"]
    with replaced(installed, role, *(url if role == "agent" else [])):
        clusters.until(lambda: connected(installed), what="the agent's connection", timeout=60)
        works(installed)
        for arn in before:
            assert installed.task(arn)["lastStatus"] == "RUNNING"
        ends(installed, before)
