"""Goal: what a definition says about order, health, restarts and timeouts is what happens to real
containers, whoever dies meanwhile, and nothing of it stays. Method: small scripts in containers,
judged by DescribeTasks and by what the containers wrote and when; the agent is killed in each state
of a task; the machine is counted before and after many tasks."""
import collections
import os
import pathlib

import cluster as clusters
import pytest

CHECK = {"command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 5, "timeout": 2, "retries": 2}
GROUP = "/life"
SHORT_TASKS = int(os.environ.get("FAIRLEAD_TEST_SHORT_TASKS", "200"))


def logging(made):
    return {**made, "logConfiguration": clusters.awslogs(GROUP)}


def on(name, condition):
    return {"dependsOn": [{"containerName": name, "condition": condition}]}


def four(init="echo init", app="touch /tmp/well;", **of_app):
    """An init that must succeed, an app that must be healthy, a sidecar that is restarted, and a
    helper that is not essential."""
    return [
        logging(clusters.sh(init, name="init", essential=False)),
        logging(clusters.idle(f"echo app; {app}", name="app", healthCheck=CHECK,
                              **on("init", "SUCCESS"), **of_app)),
        logging(clusters.sh("echo side; sleep 61; exit 1", name="side", essential=False,
                            stopTimeout=2,
                            restartPolicy={"enabled": True, "restartAttemptPeriod": 60},
                            **on("app", "HEALTHY"))),
        logging(clusters.sh("echo helper; exit 5", name="helper", essential=False,
                            **on("app", "HEALTHY"))),
    ]


def by_name(task):
    return {container["name"]: container for container in task["containers"]}


def messages(cluster, arn, name):
    try:
        return cluster.messages(GROUP, f"t/{name}/{arn.rsplit('/', 1)[1]}")
    except cluster.logs.exceptions.ResourceNotFoundException:
        return []  # its stream is made when it is about to start


def first_times(cluster, arn, *names):
    """When each container wrote its first line, in ms."""
    found = []
    for name in names:
        clusters.until(lambda name=name: messages(cluster, arn, name), what=f"{name}'s word")
        events = cluster.logs.get_log_events(
            logGroupName=GROUP, logStreamName=f"t/{name}/{arn.rsplit('/', 1)[1]}",
            startFromHead=True)["events"]
        found.append(events[0]["timestamp"])
    return found


def processes(private, task):
    """The container processes of a task by pid, with when they began: whoever was restarted has
    others."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"/{private.tag}/{task}" in (folder / "cgroup").read_text():
                found[folder.name] = (folder / "stat").read_text().rsplit(")", 1)[1].split()[19]
        except OSError:
            pass
    return found


def await_helper(cluster, arn):
    def ended():
        found = cluster.task(arn)
        return found if by_name(found)["helper"]["lastStatus"] == "STOPPED" else None
    return clusters.until(ended, what="the helper's end", timeout=30)


def test_four_containers_start_in_their_order(cluster):
    arn = cluster.start(cluster.register(*four()))
    task = cluster.wait(arn, "RUNNING")
    assert task["healthStatus"] == "HEALTHY"
    task = await_helper(cluster, arn)
    found = by_name(task)
    assert task["lastStatus"] == "RUNNING"
    assert found["init"]["lastStatus"] == "STOPPED" and found["init"]["exitCode"] == 0
    assert found["helper"]["exitCode"] == 5
    assert found["app"]["healthStatus"] == "HEALTHY"
    assert found["side"]["healthStatus"] == "UNKNOWN"
    assert found["side"]["lastStatus"] == "RUNNING"
    times = first_times(cluster, arn, "init", "app", "side")
    assert times == sorted(times)
    assert times[2] - times[1] >= 4500  # the first check is made after the interval


def test_containers_stop_in_the_reverse_order(cluster):
    tell = "trap 'sleep 0.3; echo ended; exit 0' TERM; echo begun; sleep 1000 & wait $!"
    arn = cluster.start(cluster.register(
        logging(clusters.sh(tell, name="base", stopTimeout=20)),
        logging(clusters.sh(tell, name="middle", stopTimeout=20, **on("base", "START"))),
        logging(clusters.sh(tell, name="top", stopTimeout=20, **on("middle", "START")))))
    cluster.wait(arn, "RUNNING")
    for name in ("base", "middle", "top"):
        clusters.until(lambda name=name: messages(cluster, arn, name) == ["begun"],
                       what="the container's word")
    cluster.ecs.stop_task(task=arn)
    task = cluster.wait(arn)
    assert {c["exitCode"] for c in task["containers"]} == {0}
    ends = []
    for name in ("top", "middle", "base"):
        stream = f"t/{name}/{arn.rsplit('/', 1)[1]}"
        clusters.until(lambda name=name: len(messages(cluster, arn, name)) == 2, what="the end")
        ends.append(cluster.logs.get_log_events(logGroupName=GROUP, logStreamName=stream)
                    ["events"][-1]["timestamp"])
    assert ends == sorted(ends) and ends[2] - ends[0] >= 500


def test_an_init_that_fails_keeps_the_task_from_starting(cluster):
    arn = cluster.start(cluster.register(*four(init="echo init; exit 3")))
    task = cluster.wait(arn)
    found = by_name(task)
    assert task["stopCode"] == "TaskFailedToStart"
    assert "startedAt" not in task
    assert found["init"]["exitCode"] == 3
    assert found["app"]["exitCode"] == 143
    assert found["app"]["reason"] == (
        "CannotStartContainerError: dependency graph: failed to resolve container ordering "
        "dependency [init(busybox:1) (STOPPED->STOPPED) - Exit: 3] for target [app(busybox:1) "
        "(NONE->RUNNING)] as dependency did not exit successfully.")
    assert task["stoppedReason"] == found["app"]["reason"]
    assert "runtimeId" not in found["app"] and "runtimeId" not in found["side"]


def test_patience_with_a_dependency_ends(cluster):
    arn = cluster.start(cluster.register(
        clusters.idle(name="app", healthCheck=CHECK, startTimeout=2),
        clusters.idle(name="web", **on("app", "HEALTHY"))))
    task = cluster.wait(arn)
    found = by_name(task)
    assert task["stopCode"] == "TaskFailedToStart"
    assert found["web"]["reason"] == (
        "CannotStartContainerError: dependency graph: container ordering dependency "
        "[app(busybox:1) (RUNNING->RUNNING)] for target [web(busybox:1) (NONE->RUNNING)] has timed "
        "out.")
    assert found["app"]["exitCode"] == 0  # it was asked to end


def test_a_task_of_its_own_lives_on_unhealthy(cluster):
    arn = cluster.start(cluster.register(
        clusters.idle(name="app", healthCheck={**CHECK, "retries": 1}),
        clusters.idle(name="none", healthCheck={"command": ["NONE"]}, essential=False)))
    cluster.wait(arn, "RUNNING")
    assert cluster.task(arn)["healthStatus"] == "UNKNOWN"
    task = clusters.until(
        lambda: (task := cluster.task(arn))["healthStatus"] == "UNHEALTHY" and task,
        what="UNHEALTHY")
    assert by_name(task)["app"]["healthStatus"] == "UNHEALTHY"
    assert by_name(task)["none"]["healthStatus"] == "UNKNOWN"
    assert task["lastStatus"] == task["desiredStatus"] == "RUNNING"


def test_checks_run_as_the_container_does(cluster):
    """The user, the directory, the environment and the files of the container; the command form
    without a shell; a check that hangs is killed and counts as a failure."""
    script = "[ $(id -u) = 1000 ] && [ $PWD = /tmp ] && [ $WORD = well ] && [ ! -w /etc ]"
    arn = cluster.start(cluster.register(
        clusters.idle(name="as", user="web", workingDirectory="/tmp",
                      environment=[{"name": "WORD", "value": "well"}],
                      healthCheck={**CHECK, "command": ["CMD-SHELL", script]}),
        clusters.idle(name="plain", healthCheck={**CHECK, "command": ["CMD", "true"]}),
        clusters.idle(name="hangs", essential=False,
                      healthCheck={**CHECK, "command": ["CMD", "sleep", "300"], "retries": 1})))
    cluster.wait(arn, "RUNNING")

    def judged():
        found = cluster.task(arn)
        known = [c["healthStatus"] for c in found["containers"]]
        return found if "UNKNOWN" not in known else None
    task = clusters.until(judged, what="the health of all", timeout=30)
    assert {name: c["healthStatus"] for name, c in by_name(task).items()} == {
        "as": "HEALTHY", "plain": "HEALTHY", "hangs": "UNHEALTHY"}
    assert task["healthStatus"] == "HEALTHY"


def test_a_sidecar_is_restarted_alone(private):
    """Also when the agent is killed before; its files stay, its log goes on in the same stream."""
    arns = [private.start(private.register(*four())) for _ in range(2)]
    short = private.start(private.register(
        clusters.idle(name="app"),
        clusters.sh("exit 1", name="side", essential=False,
                    restartPolicy={"enabled": True, "restartAttemptPeriod": 60})))
    before = {}
    for arn in arns:
        await_helper(private, arn)
        clusters.until(lambda arn=arn: messages(private, arn, "side") == ["side"],
                       what="the sidecar's word")
        before[arn] = processes(private, arn.rsplit("/", 1)[1])
    private.kill("agent")
    private.up()
    for arn in arns:
        clusters.until(lambda arn=arn: messages(private, arn, "side") == ["side", "side"],
                       what="the sidecar's second word", timeout=90, pause=0.2)
        task = private.wait(arn, "RUNNING")
        side = by_name(task)["side"]
        assert side["lastStatus"] == "RUNNING" and "exitCode" not in side
        assert messages(private, arn, "app") == ["app"]
        assert messages(private, arn, "init") == ["init"]
        kept = set(before[arn].items()) & set(processes(private, arn.rsplit("/", 1)[1]).items())
        assert len(kept) >= 2  # the app's shell and its sleep
        assert task["healthStatus"] == "HEALTHY"
    side = by_name(private.task(short))["side"]
    assert side["lastStatus"] == "STOPPED" and side["exitCode"] == 1  # it had not run long enough
    private.ecs.stop_task(task=arns[0])
    assert private.wait(arns[0])["stopCode"] == "UserInitiated"


@pytest.mark.parametrize("moment", ["init", "check", "all", "stop"])
def test_kill_9_of_the_agent_in_each_state(private, moment):
    containers = four(init="echo init; sleep 1", app="sleep 1; touch /tmp/well;")
    containers[1]["stopTimeout"] = 5
    arn = private.start(private.register(*containers))

    def first(name):
        clusters.until(lambda: messages(private, arn, name) == [name], what=f"{name}'s word",
                       timeout=30)
    if moment == "init":
        first("init")
    elif moment == "check":
        first("app")
    else:
        private.wait(arn, "RUNNING")
        await_helper(private, arn)
    if moment == "stop":
        private.ecs.stop_task(task=arn)
    private.kill("agent")
    private.up()
    if moment != "stop":
        private.wait(arn, "RUNNING")
        task = await_helper(private, arn)
        assert task["healthStatus"] == "HEALTHY"
        for name in ("init", "app", "side", "helper"):
            first(name)  # once each
        private.ecs.stop_task(task=arn)
    task = private.wait(arn)
    assert by_name(task)["init"]["exitCode"] == 0
    assert by_name(task)["helper"]["exitCode"] == 5
    assert task["stopCode"] == "UserInitiated"


def test_a_stopping_task_blocks_no_other(cluster):
    deaf = logging(clusters.sh("trap '' TERM; echo deaf; while :; do sleep 0.2; done",
                               stopTimeout=60))
    stopping = [cluster.start(cluster.register(deaf)) for _ in range(3)]
    for arn in stopping:
        cluster.wait(arn, "RUNNING")
        clusters.until(lambda arn=arn: messages(cluster, arn, "main") == ["deaf"], what="its word")
        cluster.ecs.stop_task(task=arn)
    for _ in range(3):
        assert cluster.run_to_end(clusters.sh("exit 4"))["containers"][0]["exitCode"] == 4
    assert {cluster.task(arn)["lastStatus"] for arn in stopping} <= {"RUNNING", "STOPPING",
                                                                     "DEACTIVATING"}
    for name in pathlib.Path("/proc").glob("[0-9]*"):  # an end for the deaf
        try:
            if any(arn.rsplit("/", 1)[1] in (name / "cgroup").read_text() for arn in stopping):
                os.kill(int(name.name), 9)
        except OSError:
            pass


def counted(private):
    """What containers of this installation are made of, on the machine and in its folder; others
    may be at work beside it."""
    found = collections.Counter()
    root = pathlib.Path(private.data_dir)
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"/{private.tag}" in (folder / "cgroup").read_text() or \
                    private.data_dir in (folder / "cmdline").read_text():
                found["processes"] += 1
                found["namespaces"] += len({os.readlink(path) for path in
                                            (folder / "ns").glob("*")})
        except OSError:
            pass
    agent = private.pid("agent")
    found["descriptors"] = len(list(pathlib.Path(f"/proc/{agent}/fd").iterdir()))
    found["mounts"] = len(pathlib.Path(f"/proc/{agent}/mounts").read_text().splitlines())
    found["outer mounts"] = pathlib.Path("/proc/mounts").read_text().count(private.data_dir)
    for folder, folders, _ in os.walk(f"/proc/{agent}/root/sys/fs/cgroup"):
        found["cgroups"] += len(folders) if f"/{private.tag}" in folder else 0
    links = clusters.run("ip", "-o", "link").stdout.splitlines()
    found["links"] = len([line for line in links if private.tag in line])
    found["links to the bridge"] = len([line for line in links if f"master {private.tag}" in line])
    found["rules"] = len(clusters.run("nft", "list", "table", "ip", private.tag,
                                      check=False).stdout.splitlines())
    for name in ("containers", "volumes", "run", "trash"):
        for _, folders, files in os.walk(root / "agent" / name):
            found[f"files in {name}"] += len(folders) + len(files)
    return found


def more_than(before, now):
    """What there is more of, (before, now); connections to the server come and go."""
    return {what: (before[what], n) for what, n in now.items()
            if n > before[what] + (8 if what == "descriptors" else 0)}


def test_short_tasks_leave_nothing_behind(private):
    """Order, health checks and published ports included: nothing is left of any."""
    definition = private.register(
        clusters.sh("exit 0", name="init", memory=8, essential=False),
        clusters.sh("exit 0", name="main", memory=8, portMappings=[{"containerPort": 80}],
                    healthCheck=CHECK, **on("init", "SUCCESS")))

    def run(count):
        arns = []
        for _ in range(0, count, 10):
            arns += [task["taskArn"] for task in
                     private.ecs.run_task(taskDefinition=definition, count=10)["tasks"]]
            private.wait(arns[-1], timeout=120)
        for arn in arns:
            task = private.wait(arn, timeout=120)
            assert task["stopCode"] == "EssentialContainerExited", task
        clusters.until(lambda: not list(pathlib.Path(private.data_dir, "agent/containers")
                                        .iterdir()), what="the clean-up", timeout=60, pause=0.2)
    run(10)  # what is made once is there
    before = counted(private)
    run(SHORT_TASKS)
    clusters.until(lambda: not more_than(before, counted(private)), timeout=30, pause=0.5,
                   what=f"nothing to be left of {more_than(before, counted(private))}")
