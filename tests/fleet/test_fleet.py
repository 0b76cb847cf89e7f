"""Three hosts pull and run what a user has; see README.md. Everything is awaited, nothing is timed."""
import contextlib
import os
import pathlib
import socket
import sys
import tempfile
import urllib.request

import pytest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import cluster as clusters  # noqa: E402
import hosts as fleets  # noqa: E402
import images  # noqa: E402
from cluster import run, until  # noqa: E402

LAYOUTS = HERE.parents[1] / "build" / "fleet"
PATIENCE_S = 240
DATABASE = ("mkdir -p /data/db && chown 26:26 /data/db && exec setpriv --reuid=26 --regid=26 "
            "--clear-groups sh -c 'P=/usr/lib/postgresql/15/bin; $P/initdb --no-sync --no-locale "
            "-D /data/db && exec $P/postgres -D /data/db -k /tmp'")
ASK = ("echo 'select 6*7' | setpriv --reuid=26 --regid=26 --clear-groups "
       "/usr/lib/postgresql/15/bin/psql -h /tmp -At postgres | grep -q 42")


def definition(name):
    commands = {
        "nginx": "mkdir -p /var/log/nginx /var/lib/nginx /var/www/html; cp /fleet.txt "
                 "/var/www/html/index.html; exec nginx -g 'daemon off; user root;'",
        "redis": "exec redis-server --save '' --protected-mode no",
        "python": "mkdir /www; cp /fleet.txt /www/index.html; cd /www; "
                  "exec python3 -m http.server 8000",
        "postgres": DATABASE,
    }
    ports = {"nginx": 80, "redis": 6379, "python": 8000}
    more = {"portMappings": [{"containerPort": ports[name]}]} if name in ports else {
        "healthCheck": {"command": ["CMD-SHELL", ASK], "interval": 5, "retries": 10,
                        "startPeriod": 60}}
    image = f"{name}:1"
    return clusters.container(name=name, image=image, memory=256, stopTimeout=5,
                              command=["sh", "-c", commands[name]], **more)


def push(made):
    """Two by skopeo, two by buildah, as ECR's instructions have it."""
    password = made.aws("ecr", "get-login-password").stdout.strip()
    registry = f"127.0.0.1:{made.port}"
    with tempfile.TemporaryDirectory() as scratch:
        storage = ["--storage-driver=vfs", f"--root={scratch}/storage", f"--runroot={scratch}/run"]
        for name in images.PROGRAMS:
            source, target = f"oci:{LAYOUTS / name}:1", f"docker://{registry}/{name}:1"
            if name in ("postgres", "redis"):
                run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", f"AWS:{password}",
                    source, target, timeout=600)
                continue
            image = run("buildah", *storage, "pull", source, timeout=600).stdout.split()[-1]
            run("buildah", *storage, "push", "--tls-verify=false", "--creds", f"AWS:{password}",
                image, target, timeout=600)


@pytest.fixture(scope="module")
def fleet():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    images.make(LAYOUTS)
    port = clusters.free_port()
    made = clusters.Cluster("--tls-listen", f"0.0.0.0:{port}", "--memory-mib", "4")
    try:
        made.up()
        with fleets.Fleet(made, port) as three:
            for i, zone in enumerate("abc"):
                three.add(f"host-{zone}", "--zone", f"us-east-1{zone}").join()
            try:
                yield three
            except BaseException:
                print(made.diagnose())
                raise
    finally:
        made.uninstall()
    assert not made.leaks()


def page(host, port):
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://{host.address}:{port}/", timeout=5) as answer:
            return answer.read().decode()
    return None


def pong(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host.address, port), 5) as there:
        there.sendall(b"PING\r\n")
        return there.recv(16) == b"+PONG\r\n"
    return False


def works(fleet, name, task):
    """Does the program in the task answer as it should?"""
    (host,) = [h for h in fleet.hosts if h.arn == task["containerInstanceArn"]]
    main = task["containers"][0]
    if name == "postgres":
        return fleet.cluster.task(task["taskArn"])["healthStatus"] == "HEALTHY"
    port = main["networkBindings"][0]["hostPort"]
    return pong(host, port) if name == "redis" else page(host, port) == f"{name} of the fleet\n"


def test_three_hosts_pull_and_run_what_was_pushed(fleet):
    made = fleet.cluster
    push(made)
    arns = {}
    for name in images.PROGRAMS:
        family = made.register(definition(name), family=name)
        answer = made.ecs.run_task(taskDefinition=family, count=3,
                                   placementConstraints=[{"type": "distinctInstance"}])
        assert len(answer["tasks"]) == 3, answer["failures"]
        arns[name] = [task["taskArn"] for task in answer["tasks"]]
    made.kill("server")  # and with it the registry, in the middle of twelve pulls
    made.up()
    fleet.tasks = {}
    for name, mine in arns.items():
        fleet.tasks[name] = [made.wait(arn, "RUNNING", PATIENCE_S) for arn in mine]
        assert len({task["containerInstanceArn"] for task in fleet.tasks[name]}) == 3
        assert len({task["containers"][0]["imageDigest"] for task in fleet.tasks[name]}) == 1
    for name, tasks in fleet.tasks.items():
        for task in tasks:
            until(lambda n=name, t=task: works(fleet, n, t), PATIENCE_S, f"{name} at work", 0.2)


def test_a_flushed_firewall_is_restored_under_running_tasks(fleet):
    task = fleet.tasks["nginx"][0]
    (host,) = [h for h in fleet.hosts if h.arn == task["containerInstanceArn"]]
    assert works(fleet, "nginx", task)
    host.run("nft", "flush", "ruleset")
    until(lambda: works(fleet, "nginx", task), 30, "nginx behind a restored firewall", 0.2)
    assert fleet.cluster.task(task["taskArn"])["lastStatus"] == "RUNNING"


def test_all_end_in_order(fleet):
    made = fleet.cluster
    for tasks in fleet.tasks.values():
        for task in tasks:
            made.ecs.stop_task(task=task["taskArn"])
    for name, tasks in fleet.tasks.items():
        for task in tasks:
            ended = made.wait(task["taskArn"], timeout=60)
            assert ended["stopCode"] == "UserInitiated", (name, ended)
