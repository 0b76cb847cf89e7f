"""The package's life in a Debian root: install, start, run a task, upgrade, remove, purge. The tasks
live through an upgrade, end in order when the package goes, and nothing is left when it is purged."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

import boto3
import pytest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).parent),
                str(pathlib.Path(__file__).parents[1] / "integration")]

import cluster as clusters  # noqa: E402
import images  # noqa: E402
from root import Root  # noqa: E402

DATA = "/var/lib/fairlead"


def depends(deb):
    """The packages that it needs, the first of each choice, without versions."""
    field = subprocess.run(["dpkg-deb", "-f", deb, "Depends"], check=True, capture_output=True,
                           text=True).stdout
    return [one.split("|")[0].split("(")[0].strip() for one in field.split(",")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    deb = os.environ["FAIRLEAD_DEB"]
    made = Root(tmp_path_factory.mktemp("package") / "root", [*depends(deb), "bash-completion", "mount"])
    for name in ("FAIRLEAD_DEB", "FAIRLEAD_LATER_DEB"):
        shutil.copy(os.environ[name], made.path / f"{name}.deb")
    images_dir = tmp_path_factory.mktemp("images")
    shutil.copy(images.busybox_archive(images_dir), made.path / "busybox.tar")
    yield made
    made.run("fairlead", "uninstall", "--yes", check=False)
    made.close()


@pytest.fixture(scope="module")
def port():
    return clusters.free_port()


def install(root, name):
    return root.run("apt-get", "install", "-y", "-q", f"/{name}.deb")


def client(root, name="ecs"):
    lines = root.run("fairlead", "env").stdout.splitlines()
    env = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    return boto3.client(name, endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"],
                        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"])


def state(ecs, arn):
    return ecs.describe_tasks(tasks=[arn])["tasks"][0]


def pids(what):
    """Processes of the installation that are called so."""
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if what in words.split(DATA)[0] and DATA in words:
                found.add(process.name)
    return found


def test_it_installs_with_its_pages_and_completion(root):
    install(root, "FAIRLEAD_DEB")
    assert root.run("fairlead", "--version").stdout.startswith("fairlead ")
    commands = [line.split()[0] for line in root.run("fairlead", "help").stdout.splitlines()
                if line.startswith("  ")]
    assert len(commands) >= 15
    for command in commands:
        assert (root.path / f"usr/share/man/man1/fairlead-{command}.1.gz").exists(), command
    complete = ". /usr/share/bash-completion/bash_completion; " \
        ". /usr/share/bash-completion/completions/fairlead; COMP_WORDS=($1); " \
        "COMP_CWORD=$((${#COMP_WORDS[@]}-1)); COMP_LINE=$1; COMP_POINT=${#1}; _fairlead; " \
        "echo ${COMPREPLY[@]}"
    for typed, expected in (("fairlead im", "image"), ("fairlead up --ecs", "--ecs-config"),
                            ("fairlead store ch", "check")):
        assert root.run("bash", "-c", complete, "bash", typed).stdout.split() == [expected]
    if shutil.which("systemd-analyze"):
        for unit in ("server", "agent"):
            said = subprocess.run(
                ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no",
                 str(root.path / f"lib/systemd/system/fairlead-{unit}.service")],
                capture_output=True, text=True, check=False).stderr
            assert not [line for line in said.splitlines() if f"fairlead-{unit}.service:" in line
                        and "is not executable" not in line], said
    assert not (root.path / DATA[1:]).exists()  # installing starts nothing


def test_a_task_runs_and_lives_through_an_upgrade(root, port):
    root.run("fairlead", "up", "--listen", f"127.0.0.1:{port}")
    root.run("fairlead", "image", "load", "/busybox.tar", "busybox:1")
    ecs = client(root)
    ecs.register_task_definition(family="lives", containerDefinitions=[
        clusters.idle("trap 'exit 7' TERM;")])
    arn = ecs.run_task(taskDefinition="lives")["tasks"][0]["taskArn"]
    clusters.until(lambda: state(ecs, arn)["lastStatus"] == "RUNNING", what="RUNNING")
    before = {what: pids(what) for what in ("fairlead-shim", "fairlead server")}
    assert len(before["fairlead-shim"]) == 1 and len(before["fairlead server"]) == 1
    install(root, "FAIRLEAD_LATER_DEB")
    assert root.run("fairlead", "--version").stdout.strip() == "fairlead 99.0"
    after = {what: pids(what) for what in before}
    assert after["fairlead-shim"] == before["fairlead-shim"]
    assert after["fairlead server"] and after["fairlead server"] != before["fairlead server"]
    ecs = client(root)
    assert state(ecs, arn)["lastStatus"] == "RUNNING"
    another = ecs.run_task(taskDefinition="lives")["tasks"][0]["taskArn"]
    clusters.until(lambda: state(ecs, another)["lastStatus"] == "RUNNING", what="RUNNING")
    root.arn = arn


def test_removal_ends_tasks_in_order_and_keeps_the_data(root):
    root.run("apt-get", "remove", "-y", "-q", "fairlead")
    assert not pids("fairlead-shim") and not pids("fairlead server")
    assert (root.path / DATA[1:] / "fairlead.marker").exists()
    install(root, "FAIRLEAD_LATER_DEB")
    root.run("fairlead", "up")
    task = state(client(root), root.arn)
    assert task["lastStatus"] == "STOPPED" and task["containers"][0]["exitCode"] == 7
    root.run("apt-get", "remove", "-y", "-q", "fairlead")


def test_a_purge_leaves_nothing(root):
    root.run("apt-get", "purge", "-y", "-q", "fairlead")
    assert not (root.path / DATA[1:]).exists()
    left = root.run("find", "/usr", "/lib", "/etc", "-name", "*fairlead*").stdout
    assert not left, left
    tag = clusters.Cluster.tag_of(DATA)
    assert tag not in root.run("ip", "-o", "link").stdout
    assert tag not in root.run("nft", "list", "tables").stdout
    assert tag not in pathlib.Path("/proc/self/mounts").read_text()
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/{tag}"))
