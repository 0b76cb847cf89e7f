"""Goal: the operator's commands keep their contract. Method: the commands as a user types them, each
judged by status, output and what is left on the machine."""
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading

import cluster as clusters
import pytest


def test_up_is_idempotent(cluster):
    before = cluster.status()
    cluster.up()
    after = cluster.status()
    assert (before["server"], before["agent"]) == (after["server"], after["agent"])


def test_up_starts_processes_with_the_promised_arguments(cluster):
    for role in ("server", "agent"):
        words = pathlib.Path(f"/proc/{cluster.pid(role)}/cmdline").read_bytes().split(b"\0")
        assert words[0].decode() == str(pathlib.Path(clusters.FAIRLEAD).resolve())
        assert words[1:4] == [role.encode(), b"--data-dir", cluster.data_dir.encode()]


def test_daemons_hold_nothing_of_the_caller(cluster):
    for role in ("server", "agent"):
        pid = cluster.pid(role)
        assert os.path.samefile(f"/proc/{pid}/cwd", "/")
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        for fd in (1, 2):
            assert os.path.samefile(f"/proc/{pid}/fd/{fd}", f"{cluster.data_dir}/log/{role}.log")
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert b"HOME=" not in environment and b"SSH" not in environment


def test_a_descriptor_of_the_caller_is_not_inherited(private):
    private.fairlead("down")
    read, write = os.pipe()
    with open(read, "rb") as pipe:
        subprocess.run([clusters.FAIRLEAD, "up", "--data-dir", private.data_dir], check=True,
                       pass_fds=[write], capture_output=True, timeout=120)
        os.close(write)
        assert pipe.read() == b""  # the end of file comes only if nobody holds the other end


def test_up_remembers_what_it_was_told(private):
    private.fairlead("down")
    private.fairlead("up")
    assert private.status()["endpoint"] == f"http://127.0.0.1:{private.port}"


def test_up_refuses_to_change_what_runs(cluster):
    refused = cluster.fairlead("up", "--region", "eu-west-1", check=False)
    assert refused.returncode == 1
    assert "--region" in refused.stderr and refused.stderr.count("\n") == 1


def test_env_prints_lines_for_eval_and_nothing_else(cluster):
    lines = cluster.fairlead("env").stdout.splitlines()
    names = [line.split("=")[0] for line in lines]
    assert names == [f"export {name}" for name in (
        "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION",
        "AWS_REGION")]
    assert cluster.env["AWS_ENDPOINT_URL"] == f"http://api.fairlead.localhost:{cluster.port}"
    assert cluster.env["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    assert len(cluster.env["AWS_ACCESS_KEY_ID"]) == 20
    assert len(cluster.env["AWS_SECRET_ACCESS_KEY"]) == 40
    evaluated = clusters.run("sh", "-c", 'eval "$1"; echo "$AWS_REGION"', "sh", "\n".join(lines))
    assert evaluated.stdout == "us-east-1\n"


def test_keys_and_directory_are_root_s_alone(cluster):
    root = pathlib.Path(cluster.data_dir)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in ("operator", "agent"):
        assert stat.S_IMODE((root / "keys" / f"{name}.json").stat().st_mode) == 0o600


def test_status_in_json(cluster):
    arn = cluster.start(cluster.register(clusters.idle()))
    cluster.wait(arn, "RUNNING")
    status = cluster.status()
    assert set(status) >= {"dataDir", "endpoint", "region", "account", "server", "agent",
                           "instances", "tasks"}
    assert status["server"]["running"] and status["agent"]["running"]
    assert any(i["agentConnected"] and i["status"] == "ACTIVE" for i in status["instances"])
    mine = [t for t in status["tasks"] if t["arn"] == arn]
    assert mine[0]["lastStatus"] == "RUNNING"
    assert arn.rsplit("/", 1)[1] in cluster.fairlead("status").stdout


@contextlib.contextmanager
def scratch_dir():
    path = pathlib.Path("/tmp") / f"fairlead-cli-{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_taken_port_is_one_line_with_the_holder_and_the_flag():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    with scratch_dir() as path:
        refused = clusters.run(clusters.FAIRLEAD, "up", "--data-dir", str(path), "--listen",
                               f"127.0.0.1:{port}", check=False)
        clusters.run(clusters.FAIRLEAD, "uninstall", "--yes", "--data-dir", str(path))
        assert not path.exists()
    server.shutdown()
    server.server_close()
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(port) in refused.stderr and "--listen" in refused.stderr
    assert str(os.getpid()) in refused.stderr


def test_up_refuses_a_directory_with_other_things_in_it():
    with scratch_dir() as path:
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
        refused = clusters.run(clusters.FAIRLEAD, "up", "--data-dir", str(path), check=False)
        assert refused.returncode == 1 and refused.stderr.count("\n") == 1
        assert os.listdir(path) == ["thesis.txt"]


def test_uninstall_refuses_what_lacks_the_marker():
    with scratch_dir() as path:
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
        refused = clusters.run(clusters.FAIRLEAD, "uninstall", "--yes", "--data-dir", str(path),
                               check=False)
        assert refused.returncode == 1 and "fairlead.marker" in refused.stderr
        assert (path / "thesis.txt").exists()


def test_uninstall_asks(cluster):
    result = subprocess.run([clusters.FAIRLEAD, "uninstall", "--data-dir", cluster.data_dir],
                            input="n\n", capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert cluster.status()["server"]["running"]


def test_uninstall_refuses_while_something_is_mounted_inside(private):
    inside = pathlib.Path(private.data_dir) / "mine"
    inside.mkdir()
    clusters.run("mount", "-t", "tmpfs", "none", str(inside))
    try:
        (inside / "keep").write_text("this")
        refused = private.fairlead("uninstall", "--yes", check=False)
        assert refused.returncode == 1 and str(inside) in refused.stderr
        assert (inside / "keep").exists()
    finally:
        clusters.run("umount", str(inside))


def test_uninstall_ends_what_ignores_sigterm(private):
    arn = private.start(private.register(
        clusters.sh("trap '' TERM; while :; do sleep 1; done", stopTimeout=120)))
    private.wait(arn, "RUNNING")
    # The fixture's uninstall and its search for leaks are the test.


def test_two_installations_side_by_side(cluster, private):
    assert cluster.tag != private.tag
    for one in (cluster, private):
        task = one.run_to_end(clusters.sh("exit 0"))
        assert task["containers"][0]["exitCode"] == 0


@pytest.mark.parametrize("argv,status", [
    ((), 2), (("nonsense",), 2), (("up", "--nonsense"), 2), (("status", "word"), 2),
    (("--version",), 0), (("help",), 0), (("up", "--help"), 0), (("token", "create"), 1)])
def test_usage(argv, status):
    assert clusters.run(clusters.FAIRLEAD, *argv, check=False).returncode == status


def test_commands_say_that_they_need_root(cluster):
    program = pathlib.Path("/tmp") / f"fairlead-for-nobody-{os.getpid()}"
    shutil.copy(clusters.FAIRLEAD, program)
    program.chmod(0o755)
    try:
        for command in ("up", "down", "uninstall"):
            result = clusters.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                  str(program), command, check=False)
            assert result.returncode == 1
            assert "sudo" in result.stderr and result.stderr.count("\n") == 1
    finally:
        program.unlink()


def test_the_user_behind_sudo_gets_the_environment_too(private):
    """A user of the test's own, with a home, as sudo would leave him."""
    name, home = "fltestuser", pathlib.Path("/tmp/fltestuser-home")
    subprocess.run(["userdel", name], capture_output=True, check=False)
    made = subprocess.run(["useradd", "--no-create-home", "--home-dir", str(home), name],
                          capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("no user can be made here")
    try:
        uid = int(clusters.run("id", "-u", name).stdout)
        home.mkdir(exist_ok=True)
        os.chown(home, uid, uid)
        private.fairlead("up", env={**os.environ, "SUDO_UID": str(uid), "SUDO_GID": str(uid)})
        files = list(home.glob(".config/fairlead/env-*"))
        assert len(files) == 1
        assert files[0].stat().st_uid == uid and stat.S_IMODE(files[0].stat().st_mode) == 0o600
        program = pathlib.Path("/tmp") / f"fairlead-for-user-{os.getpid()}"
        shutil.copy(clusters.FAIRLEAD, program)
        program.chmod(0o755)
        printed = clusters.run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                               "env", f"HOME={home}", str(program), "env", "--data-dir",
                               private.data_dir, check=False)
        program.unlink()
        assert printed.stdout == private.fairlead("env").stdout
        private.uninstall()
        assert not list(home.glob(".config/fairlead/env-*"))
        private.up()
    finally:
        subprocess.run(["userdel", name], capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)


def test_doctor_finds_nothing_wrong_here(cluster):
    result = cluster.fairlead("doctor")
    assert "wrong" not in result.stdout
    rows = json.loads(cluster.fairlead("doctor", "--json").stdout)
    assert {"kernel", "cgroups", "kvm", "runtime", "port", "names", "clock", "disk",
            "client"} <= {row["check"] for row in rows}
    assert all(row["verdict"] in ("ok", "note") and row["text"] for row in rows)


def test_doctor_says_how_to_mend_what_is_wrong(cluster, tmp_path):
    """An old AWS CLI, a runtime with holes, a port that is taken."""
    old = tmp_path / "bin"
    old.mkdir()
    for name, says in (("aws", "aws-cli/1.20.0 Python/3"), ("crun", "crun version 1.1"),
                       ("runc", "runc version 1.0.3")):
        (old / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (old / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{old}:{os.environ['PATH']}"}
    done = cluster.fairlead("doctor", "--json", env=env, check=False)
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1 and "1 of" in done.stderr
    assert found["client"]["verdict"] == "note" and "upgrade awscli" in found["client"]["text"]
    assert found["runtime"]["verdict"] == "wrong"
    assert "CVE-2022-27650" in found["runtime"]["text"]
    (old / "crun").write_text("#!/bin/sh\nexit 1\n")
    done = cluster.fairlead("doctor", "--json", env=env, check=False)
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert "CVE-2024-21626" in found["runtime"]["text"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = clusters.run(clusters.FAIRLEAD, "doctor", "--json", "--data-dir",
                            str(tmp_path / "other"), "--listen", f"127.0.0.1:{port}", check=False)
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert found["port"]["verdict"] == "wrong" and "--listen" in found["port"]["text"]


def shims_of(cluster):
    """Process number and start time of everything that holds a container of the installation."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes()
            if b"fairlead-shim" in words.split(b"\0")[0] and cluster.data_dir.encode() in words:
                found.add((path.parent.name, (path.parent / "stat").read_text().split()[21]))
    return found


def test_a_new_program_takes_over_from_an_older_one(private, tmp_path):
    """The same program under another path stands for a new release."""
    arn = private.start(private.register(clusters.idle(
        portMappings=[{"containerPort": 80}])))
    before = private.wait(arn, "RUNNING")
    roles = {role: private.pid(role) for role in ("server", "agent")}
    shims = shims_of(private)
    new = tmp_path / "new"
    build = pathlib.Path(clusters.FAIRLEAD).parent
    new.mkdir()
    shutil.copy2(clusters.FAIRLEAD, new / "fairlead")
    shutil.copytree(build / "libexec", new / "libexec")
    done = clusters.run(str(new / "fairlead"), "up", "--data-dir", private.data_dir)
    assert done.stdout.count("hands over to this one") == 2
    assert all(private.pid(role) != roles[role] for role in roles)
    after = private.task(arn)
    assert (after["lastStatus"], after["containers"]) == ("RUNNING", before["containers"]), after
    assert shims and shims_of(private) == shims
    done = clusters.run(str(new / "fairlead"), "up", "--data-dir", private.data_dir)
    assert "hands over" not in done.stdout
    private.ecs.stop_task(task=arn)
    private.wait(arn)


def test_what_a_killed_agent_had_begun_to_start_is_no_agent(private, tmp_path):
    """A child that has not become another program yet has its parent's arguments."""
    (tmp_path / "agent").write_text("import os, time\nif os.fork():\n    os._exit(0)\nprint(os.getpid(),"
                                    " flush=True)\ntime.sleep(600)\n")
    agent = private.pid("agent")
    with subprocess.Popen([str(tmp_path / "fairlead"), "agent", "--data-dir", private.data_dir],
                          executable=sys.executable, cwd=tmp_path, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
    try:
        private.kill("agent")
        private.up()
        assert private.pid("agent") not in (agent, child)
        # It was neither taken for an agent, nor ended as one of another build.
        assert pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(") ", 1)[1][0] == "S"
    finally:
        os.kill(child, signal.SIGKILL)
