"""Goal: a host's ecs.config works unchanged. Method: installations made with such files, judged by
what the API says of their instance and by the agent's log."""
import pathlib

import cluster as clusters

IN_USE = """\
ECS_CLUSTER=production
ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=3h
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
ECS_NUM_IMAGES_DELETE_PER_CYCLE=10
ECS_RESERVED_MEMORY=256
ECS_ENABLE_CONTAINER_METADATA=true
ECS_ENABLE_TASK_IAM_ROLE=true
ECS_AVAILABLE_LOGGING_DRIVERS=["awslogs","gelf","splunk"]
"""
LOGGING = "com.amazonaws.ecs.capability.logging-driver."


def instance_of(cluster, name):
    arns = cluster.ecs.list_container_instances(cluster=name)["containerInstanceArns"]
    found = cluster.ecs.describe_container_instances(
        cluster=name, containerInstances=arns, include=["TAGS"])["containerInstances"]
    assert len(found) == 1
    return found[0]


def resource(instance, name):
    found = [r for r in instance["registeredResources"] if r["name"] == name]
    return found[0].get("stringSetValue") or found[0].get("integerValue")


def agent_log(cluster):
    return pathlib.Path(cluster.data_dir, "log", "agent.log").read_text()


def test_a_file_in_use_works_unchanged(cluster_with, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text(IN_USE)
    cluster = cluster_with("--ecs-config", str(path))
    instance = instance_of(cluster, "production")
    assert instance["agentConnected"] and instance["status"] == "ACTIVE"
    assert resource(instance, "MEMORY") == 65536 - 256
    names = {a["name"] for a in instance["attributes"]}
    assert LOGGING + "awslogs" in names and LOGGING + "json-file" not in names
    arn = cluster.ecs.run_task(
        cluster="production", taskDefinition=cluster.register(clusters.sh("exit 3")))
    task = cluster.wait(arn["tasks"][0]["taskArn"], cluster="production")
    assert task["containers"][0]["exitCode"] == 3
    log = agent_log(cluster)
    for line in ("the driver gelf is not implemented yet",
                 "the driver splunk is not implemented yet"):
        assert log.count(line) == 1, log
    cluster.fairlead("up")  # idempotent, in that cluster too


def test_what_the_instance_shows(cluster_with, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text('''ECS_RESERVED_PORTS=[22, 8080]
ECS_RESERVED_PORTS_UDP=[53]
ECS_INSTANCE_ATTRIBUTES={"rack": "7"}
ECS_CONTAINER_INSTANCE_TAGS={"team": "a"}
ECS_DISABLE_PRIVILEGED=true
ECS_DYNAMIC_HOST_PORT_RANGE=41000-41009
''')
    cluster = cluster_with("--ecs-config", str(path))
    instance = instance_of(cluster, "default")
    assert resource(instance, "PORTS") == ["22", "8080"]
    assert resource(instance, "PORTS_UDP") == ["53"]
    attributes = {a["name"]: a.get("value", "") for a in instance["attributes"]}
    assert attributes["rack"] == "7"
    assert instance["tags"] == [{"key": "team", "value": "a"}]
    definition = cluster.register(clusters.container(privileged=True))
    answer = cluster.ecs.run_task(taskDefinition=definition)
    assert not answer["tasks"] and answer["failures"][0]["reason"] == "ATTRIBUTE"
    arn = cluster.start(cluster.register(clusters.idle(portMappings=[{"containerPort": 80}])))
    task = cluster.wait(arn, "RUNNING")
    port = task["containers"][0]["networkBindings"][0]["hostPort"]
    assert 41000 <= port <= 41009


def test_limits_of_tasks_follow_the_file(cluster_with, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text("ECS_TASK_PIDS_LIMIT=20\nECS_ENABLE_TASK_CPU_MEM_LIMIT=false\n")
    cluster = cluster_with("--ecs-config", str(path))
    script = ("i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done 2>/dev/null; "
              "echo all; exit 0")
    task = cluster.run_to_end(clusters.sh(script))
    assert task["containers"][0]["exitCode"] != 0, "40 processes where 20 are allowed"
    eater = "x=$(head -c 40000000 /dev/zero | tr '\\0' a); exit 7"
    hungry = {"name": "main", "image": "busybox:1", "memoryReservation": 16,
              "command": ["sh", "-c", eater]}
    assert cluster.run_to_end(hungry, memory="32")["containers"][0]["exitCode"] == 7


def test_volumes_timeouts_and_periods_follow_the_file(cluster_with, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text("ECS_CGROUP_CPU_PERIOD=20ms\nECS_SHARED_VOLUME_MATCH_FULL_CONFIG=true\n"
                    "ECS_CONTAINER_START_TIMEOUT=4m\nECS_APPARMOR_CAPABLE=true\n"
                    "ECS_SELINUX_CAPABLE=true\n")
    cluster = cluster_with("--ecs-config", str(path))
    definition = cluster.register(clusters.idle(), cpu="512", memory="64")
    arn = cluster.start(definition)
    task = cluster.wait(arn, "RUNNING")
    found = list(pathlib.Path("/sys/fs/cgroup").glob(f"**/{cluster.tag}/{arn.rsplit('/', 1)[1]}"))
    periods = [(group / "cpu.cfs_period_us", group / "cpu.cfs_quota_us") for group in found
               if (group / "cpu.cfs_period_us").exists()]
    limits = {(int(p.read_text()), int(q.read_text())) for p, q in periods} | {
        tuple(int(word) for word in reversed((group / "cpu.max").read_text().split()))
        for group in found if (group / "cpu.max").exists()}
    assert limits == {(20000, 10000)}
    orders = pathlib.Path(cluster.data_dir, "agent", "containers",
                          task["containers"][0]["runtimeId"], "orders").read_text()
    assert "\ntimeout_ms 240000\n" in orders

    def volume(**labels):
        return [{"name": "v", "dockerVolumeConfiguration": {
            "scope": "shared", "autoprovision": True, "driver": "local", "labels": labels}}]

    container = clusters.container(command=["true"], mountPoints=[
        {"sourceVolume": "v", "containerPath": "/v"}])
    for volumes, fails in ((volume(a="1"), False), (volume(a="1"), False), (volume(a="2"), True),
                           (volume(), True), (volume(a="1", b=""), True)):
        end = cluster.run_to_end(container, volumes=volumes)["containers"][0]
        assert ("its labels are not those" in end.get("reason", "")) == fails, end
    # A host has what its kernel has, whatever the file says.
    names = {a["name"] for a in instance_of(cluster, "default")["attributes"]}
    for module, sign in (("apparmor", "/sys/module/apparmor/parameters/enabled"),
                         ("selinux", "/sys/fs/selinux/enforce")):
        has = pathlib.Path(sign).exists() and not pathlib.Path(sign).read_text().startswith("N")
        assert (f"com.amazonaws.ecs.capability.{module}" in names) == has
        if not has:
            option = {"apparmor": "apparmor:x", "selinux": "label:type:x_t"}[module]
            picky = cluster.register(clusters.container(dockerSecurityOptions=[option]))
            answer = cluster.ecs.run_task(taskDefinition=picky)
            assert answer["failures"][0]["reason"] == "ATTRIBUTE"


def test_a_broken_file_is_refused_by_name_and_line(cluster_with, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text("ECS_CLUSTER=a\nnonsense\n")
    cluster = cluster_with()
    cluster.fairlead("down")
    done = cluster.fairlead("up", "--ecs-config", str(path), check=False)
    assert done.returncode == 1
    assert f'{path}, line 2: "nonsense" is not NAME=VALUE' in done.stderr
    done = cluster.fairlead("up", "--ecs-config", "/nonexistent/file", check=False)
    assert done.returncode == 1 and "cannot read /nonexistent/file" in done.stderr
