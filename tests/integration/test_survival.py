"""Goal: no death of agent or server harms a task, and nothing of what happened meanwhile is lost.
Method: kill -9 on a private cluster while containers count, end and are asked to end."""
import os
import pathlib

import botocore.exceptions
import cluster as clusters
import pytest

COUNTING = "trap 'exit 0' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"


def pids_of(private):
    """First processes of the installation's containers."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cgroup") as groups, open(f"/proc/{name}/status") as status:
                    inner = [line for line in status if line.startswith("NSpid:")][0].split()
                    if f"/{private.tag}/" in groups.read() and inner[-1] == "1":
                        found.add(int(name))
            except (OSError, IndexError):
                pass
    return found


def start_counting(private, group):
    arn = private.start(private.register(
        clusters.sh(COUNTING, stopTimeout=2, logConfiguration=clusters.awslogs(group))))
    private.wait(arn, "RUNNING")
    return arn, f"t/main/{arn.rsplit('/', 1)[1]}"


def lines(private, group, stream):
    return [int(line) for line in private.messages(group, stream)]


def assert_counts_on(private, group, stream):
    """Lines come in order, none lost, none doubled, and new ones arrive."""
    before = len(lines(private, group, stream))
    clusters.until(lambda: len(lines(private, group, stream)) > before + 20, what="new lines",
                   pause=0.1)
    found = lines(private, group, stream)
    assert found == list(range(len(found)))


def assert_writes_on(private):
    """The one container counts on, whoever listens: its spool grows."""
    spool, = pathlib.Path(private.data_dir).glob("agent/containers/*/log")
    before = spool.stat().st_size
    clusters.until(lambda: spool.stat().st_size > before + 500, what="a longer spool")


@pytest.mark.parametrize("victims", [("agent",), ("server",), ("agent", "server"),
                                     ("server", "agent")])
def test_kill_9_loses_no_task_and_no_line(private, victims):
    arn, stream = start_counting(private, "/count")
    assert_counts_on(private, "/count", stream)
    before = pids_of(private)
    for role in victims:
        private.kill(role)
    assert_writes_on(private)
    private.up()
    assert before and before <= pids_of(private)
    assert private.wait(arn, "RUNNING")["containers"][0]["lastStatus"] == "RUNNING"
    assert_counts_on(private, "/count", stream)
    private.ecs.stop_task(task=arn)
    assert private.wait(arn)["stopCode"] == "UserInitiated"


@pytest.mark.parametrize("victims", [("agent",), ("server",), ("agent", "server")])
def test_what_ends_meanwhile_is_reported(private, victims):
    flag = "/tmp/go"
    arn = private.start(private.register(
        clusters.sh(f"echo before; while [ ! -e {flag} ]; do sleep 0.05; done; echo after; exit 23",
                    logConfiguration=clusters.awslogs("/meanwhile"))))
    private.wait(arn, "RUNNING")
    container = min(pids_of(private))
    for role in victims:
        private.kill(role)
    open(f"/proc/{container}/root{flag}", "w").close()
    clusters.until(lambda: not pids_of(private), what="the container's end")
    private.up()
    task = private.wait(arn)
    assert task["containers"][0]["exitCode"] == 23
    assert task["stopCode"] == "EssentialContainerExited"
    stream = f"t/main/{arn.rsplit('/', 1)[1]}"
    clusters.until(lambda: len(private.messages("/meanwhile", stream)) >= 2, what="the last line")
    assert private.messages("/meanwhile", stream) == ["before", "after"]


def test_down_and_up_adopt_what_runs(private):
    arn, stream = start_counting(private, "/adopted")
    before = pids_of(private)
    private.fairlead("down")
    assert not private.status()["server"]["running"]
    assert not private.status()["agent"]["running"]
    assert before <= pids_of(private)
    private.up()
    assert before <= pids_of(private)
    assert private.wait(arn, "RUNNING")
    assert_counts_on(private, "/adopted", stream)
    instances = private.ecs.list_container_instances()["containerInstanceArns"]
    assert len(instances) == 1


def test_down_with_tasks_stops_them(private):
    arn, _ = start_counting(private, "/stopped")
    private.fairlead("down", "--tasks", timeout=200)
    assert not pids_of(private)
    private.up()
    assert private.task(arn)["lastStatus"] == "STOPPED"


def test_what_was_answered_survives_the_server(private):
    """Definitions, tasks and tokens that a client was told of are there after kill -9, again and
    again, at any moment."""
    definition = private.register(clusters.idle(memory=8))
    told = []
    for round_number in range(5):
        for i in range(4):
            told.append(private.start(definition, clientToken=f"{round_number}-{i}"))
        private.kill("server")
        with pytest.raises(botocore.exceptions.BotoCoreError):
            private.ecs.list_tasks()
        private.up()
        known = private.ecs.describe_tasks(tasks=told)
        assert not known["failures"]
        assert private.start(definition, clientToken=f"{round_number}-0") == told[4 * round_number]
    for arn in told:
        private.wait(arn, "RUNNING")
    running = set(private.ecs.list_tasks()["taskArns"])
    assert running == set(told)


def test_tasks_asked_for_while_the_agent_is_away_start_later(private):
    definition = private.register(clusters.idle())
    stopping = private.start(definition)
    private.wait(stopping, "RUNNING")
    private.kill("agent")
    private.ecs.stop_task(task=stopping)
    private.up()
    assert private.wait(stopping)["stopCode"] == "UserInitiated"
    again = private.start(definition)
    private.wait(again, "RUNNING")
