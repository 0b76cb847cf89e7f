"""Goal: containers live and die as their definition says. Method: small shell scripts in real
containers, judged by DescribeTasks and their logs."""
import sys
import time

import cluster as clusters
import pytest


def logged(cluster, task, group, name="main"):
    """What a container that wrote something wrote: its last lines may follow its end."""
    stream = f"t/{name}/{task['taskArn'].rsplit('/', 1)[1]}"
    return clusters.until(lambda: cluster.messages(group, stream), what="the log")


def output(cluster, family, script="", **members):
    """What a container wrote until it ended."""
    group = f"/out/{family}"
    made = clusters.container(logConfiguration=clusters.awslogs(group), **members)
    if script:
        made["command"] = ["sh", "-c", script]
    task = cluster.run_to_end(made)
    assert task["containers"][0].get("exitCode") == 0, task
    return logged(cluster, task, group)


def started(cluster, group, script, **more):
    """A task whose container has said "ready": its script is at work, its traps are set."""
    arn = cluster.start(cluster.register(
        clusters.sh(script, logConfiguration=clusters.awslogs(group), **more)))
    cluster.wait(arn, "RUNNING")
    clusters.until(lambda: cluster.messages(group, f"t/main/{arn.rsplit('/', 1)[1]}") == ["ready"],
                   what="the container's word", timeout=30)
    return arn


def test_exit_code_and_reason_of_an_essential_container(cluster):
    task = cluster.run_to_end(clusters.sh("exit 42"))
    assert task["containers"][0]["exitCode"] == 42
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["startedAt"] <= task["stoppedAt"]


def test_an_essential_container_takes_the_others_along(cluster):
    task = cluster.run_to_end(
        clusters.sh("sleep 1.5; exit 3", name="app"),
        clusters.sh("trap 'exit 7' TERM; sleep 1000 & wait", name="side"))
    codes = {c["name"]: c["exitCode"] for c in task["containers"]}
    assert codes == {"app": 3, "side": 7}


def test_a_container_that_is_not_essential_ends_alone(cluster):
    arn = cluster.start(cluster.register(
        clusters.idle(name="app"),
        clusters.sh("exit 5", name="side", essential=False)))

    def side_ended():
        found = {c["name"]: c for c in cluster.task(arn)["containers"]}
        return found["side"]["lastStatus"] == "STOPPED" and found
    found = clusters.until(side_ended, what="the side container's end")
    assert found["side"]["exitCode"] == 5
    assert found["app"]["lastStatus"] == "RUNNING"
    assert cluster.task(arn)["lastStatus"] == "RUNNING"


def test_stop_task_sends_sigterm_and_reports_the_exit_code(cluster):
    arn = started(cluster, "/out/sigterm", "trap 'exit 9' TERM; echo ready; sleep 1000 & wait")
    cluster.ecs.stop_task(task=arn, reason="because")
    task = cluster.wait(arn)
    assert task["containers"][0]["exitCode"] == 9
    assert task["stoppedReason"] == "because"
    assert task["stopCode"] == "UserInitiated"


def test_stop_task_without_a_reason_has_ecs_s(cluster):
    arn = cluster.start(cluster.register(clusters.idle()))
    cluster.wait(arn, "RUNNING")
    cluster.ecs.stop_task(task=arn)
    assert cluster.wait(arn)["stoppedReason"] == "Task stopped by user"


def test_stop_timeout_ends_in_sigkill(cluster):
    arn = started(cluster, "/out/deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done",
                  stopTimeout=2)
    begun = time.monotonic()
    cluster.ecs.stop_task(task=arn)
    task = cluster.wait(arn)
    assert time.monotonic() - begun >= 1.8
    assert task["containers"][0]["exitCode"] == 137


def test_the_image_s_stop_signal_is_sent(cluster, busybox, tmp_path):
    image = tmp_path / "usr1.tar"
    (tmp_path / "empty").mkdir()
    clusters.run(sys.executable, str(clusters.ROOT / "tools" / "mkimage.py"), "--tag", "usr1:1",
                 "--stop-signal", "SIGUSR1", "--output", str(image),
                 str(busybox.parent / "root"), str(tmp_path / "empty"))
    cluster.load_image(image, "usr1:1")
    arn = started(cluster, "/out/usr1", "trap 'exit 3' TERM; trap 'exit 4' USR1; echo ready; "
                  "sleep 1000 & wait", image="usr1:1")
    cluster.ecs.stop_task(task=arn)
    assert cluster.wait(arn)["containers"][0]["exitCode"] == 4


def test_environment_and_overrides(cluster):
    group = "/out/environment"
    definition = cluster.register(
        clusters.sh("echo $A-$B-$C", environment=[{"name": "A", "value": "1"},
                                                  {"name": "B", "value": "two words"}],
                    logConfiguration=clusters.awslogs(group)))
    arn = cluster.start(definition, overrides={"containerOverrides": [
        {"name": "main", "environment": [{"name": "B", "value": "over"},
                                         {"name": "C", "value": "new"}]}]})
    assert logged(cluster, cluster.wait(arn), group) == ["1-over-new"]


def test_command_override(cluster):
    group = "/out/command"
    definition = cluster.register(
        clusters.sh("echo original", logConfiguration=clusters.awslogs(group)))
    arn = cluster.start(definition, overrides={"containerOverrides": [
        {"name": "main", "command": ["echo", "overridden"]}]})
    assert logged(cluster, cluster.wait(arn), group) == ["overridden"]


def test_entry_point_and_command_are_joined(cluster):
    assert output(cluster, "entry", entryPoint=["echo", "from"], command=["entry", "point"]) == [
        "from entry point"]


def test_user_and_working_directory(cluster):
    assert output(cluster, "user", "id -u; id -g; pwd", user="1234:567",
                  workingDirectory="/tmp") == ["1234", "567", "/tmp"]


def test_a_container_is_its_own_world(cluster):
    """Own PID namespace, no descriptors of ours, dropped capabilities, no new devices."""
    lines = output(cluster, "world",
                   "echo pid $$; ls /proc/self/fd | tr '\\n' ' '; echo; "
                   "mknod /tmp/sda b 8 0 2>/dev/null && cat /tmp/sda >/dev/null 2>&1 "
                   "&& echo device; mount -t tmpfs none /mnt 2>/dev/null && echo mounted; "
                   "grep CapEff /proc/self/status")
    assert lines[0] == "pid 1"
    assert lines[1].split()[:3] == ["0", "1", "2"] and len(lines[1].split()) <= 4
    assert lines[2:] == ["CapEff:\t00000000a80425fb"]


def test_memory_limit_ends_in_an_out_of_memory_kill(cluster):
    task = cluster.run_to_end(clusters.container(command=["tail", "/dev/zero"], memory=16))
    container = task["containers"][0]
    assert container["exitCode"] == 137
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_cpu_and_memory_limits_are_set(cluster):
    script = ("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max "
              "2>/dev/null | head -n 1 | grep . || echo none")
    lines = output(cluster, "limits", script, memory=48)
    if lines == ["none"]:
        pytest.skip("the container does not see its memory cgroup")
    assert lines == [str(48 << 20)]


def test_an_unknown_image_stops_the_task(cluster):
    task = cluster.run_to_end(clusters.container(image="127.0.0.1:4566/no-such-image:1"))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: ")
    assert task["containers"][0]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in task["containers"][0]


def test_a_missing_command_stops_the_task(cluster):
    task = cluster.run_to_end(clusters.container(command=["/no/such/program"]))
    assert task["stopCode"] == "TaskFailedToStart"
    reason = task["containers"][0]["reason"]
    assert reason.startswith(("CannotStartContainerError: ", "CannotCreateContainerError: "))


def test_one_failing_container_takes_a_started_task_down(cluster):
    task = cluster.run_to_end(
        clusters.idle(name="good"),
        clusters.container(name="bad", command=["/no/such/program"]))
    assert task["lastStatus"] == "STOPPED"


def test_ten_containers_in_a_task(cluster):
    task = cluster.run_to_end(*[clusters.sh(f"sleep 0.5; exit {i}", name=f"c{i}",
                                            essential=i == 0, memory=16) for i in range(10)])
    codes = {c["name"]: c.get("exitCode") for c in task["containers"]}
    assert codes["c0"] == 0
    assert set(codes) == {f"c{i}" for i in range(10)}


def test_count_starts_that_many_tasks(cluster):
    definition = cluster.register(clusters.idle(memory=16))
    answer = cluster.ecs.run_task(taskDefinition=definition, count=10, startedBy="me",
                                  group="mine")
    assert len(answer["tasks"]) == 10 and not answer["failures"]
    arns = {task["taskArn"] for task in answer["tasks"]}
    assert len(arns) == 10
    for arn in arns:
        cluster.wait(arn, "RUNNING")
    assert set(cluster.ecs.list_tasks(startedBy="me")["taskArns"]) == arns


def test_a_client_token_starts_once(cluster):
    definition = cluster.register(clusters.idle(memory=16))
    first = cluster.start(definition, clientToken="token-1")
    again = cluster.start(definition, clientToken="token-1")
    assert first == again


def test_a_task_s_statuses_only_move_forward(cluster):
    order = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING",
             "DEPROVISIONING", "STOPPED"]
    arn = cluster.start(cluster.register(clusters.sh("sleep 0.2")))
    seen = []
    deadline = time.monotonic() + 20
    while not seen or seen[-1] != "STOPPED":
        assert time.monotonic() < deadline, seen
        status = cluster.task(arn)["lastStatus"]
        if not seen or seen[-1] != status:
            seen.append(status)
    assert [order.index(s) for s in seen] == sorted(order.index(s) for s in seen)
    assert "RUNNING" in seen
