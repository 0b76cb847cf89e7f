"""What Fairlead is measured beside: bare crun, and a Docker daemon of our own, with and without
Swarm. launch() is timed, clear() is not."""
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import cluster as clusters


class Crun:
    def __init__(self, scratch, root, name, own_network):
        self.bundle = scratch / name
        self.bundle.mkdir()
        self.name = f"bench-{os.getpid()}-{name}"
        clusters.run("crun", "spec", cwd=self.bundle)
        path = self.bundle / "config.json"
        config = json.loads(path.read_text())
        config["process"].update(terminal=False, args=["/idle"])
        config["root"] = {"path": str(root), "readonly": True}
        if not own_network:
            spaces = config["linux"]["namespaces"]
            config["linux"]["namespaces"] = [s for s in spaces if s["type"] != "network"]
        path.write_text(json.dumps(config))

    def launch(self):
        subprocess.run(["crun", "run", "-d", "--bundle", str(self.bundle), self.name], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def clear(self):
        clusters.run("crun", "delete", "-f", self.name)


class Docker:
    def __init__(self, dockerd, *flags):
        self.command = [*dockerd.command, "run", "-d", *flags, "bench:1", "/idle"]
        self.remove = [*dockerd.command, "rm", "-f"]
        self.id = None

    def launch(self):
        self.id = subprocess.run(self.command, check=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE).stdout.decode().strip()

    def clear(self):
        clusters.run(*self.remove, self.id)


class Dockerd:
    """A daemon of our own in a network namespace of its own, so that none of the machine's rules
    and links are touched; ended by its process id."""

    def __init__(self, scratch, root):
        self.scratch = scratch
        self.run_dir = pathlib.Path(tempfile.mkdtemp(prefix="fldocker-", dir="/tmp"))
        socket = f"unix://{self.run_dir}/docker.sock"
        self.command = ["docker", "-H", socket]
        self.log = open(scratch / "dockerd.log", "wb")
        self.process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec dockerd "$@"', "sh", "-H",
             socket, "--data-root", str(scratch / "docker"), "--exec-root",
             str(self.run_dir / "exec"), "--pidfile", str(self.run_dir / "pid")],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self._prepare(scratch, root)
        except BaseException:
            self.stop()
            raise

    def start_swarm(self):
        """A swarm of this daemon alone. Its address has to be another one than loopback's."""
        inside = ["nsenter", "-t", str(self.process.pid), "-n", "ip"]
        for words in ("link add fl0 type bridge", "addr add 10.254.254.1/24 dev fl0",
                      "link set fl0 up"):
            clusters.run(*inside, *words.split())
        clusters.run(*self.command, "swarm", "init", "--advertise-addr", "10.254.254.1",
                     "--listen-addr", "10.254.254.1:2377")

    def _prepare(self, scratch, root):
        def answers():
            if self.process.poll() is not None:
                raise RuntimeError((scratch / "dockerd.log").read_text()[-2000:])
            return subprocess.run([*self.command, "version"], capture_output=True,
                                  check=False).returncode == 0
        clusters.until(answers, 60, "dockerd", pause=0.2)
        archive = scratch / "root.tar"
        clusters.run("tar", "-C", str(root), "-cf", str(archive), ".")
        clusters.run(*self.command, "import", str(archive), "bench:1")
        found = clusters.run(*self.command, "version", "--format", "{{.Server.Version}}")
        self.version = found.stdout.strip()

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        # What was mounted before hide_cgroup2() stays mounted for this process.
        for line in reversed(pathlib.Path("/proc/mounts").read_text().splitlines()):
            if str(self.run_dir) in line or str(self.scratch) in line:
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class Swarm:
    """A service, of one task unless launch() is told otherwise, from the call that creates it to its
    tasks' RUNNING, asked over the daemon's own API as fast as it answers, or pause_s apart."""

    def __init__(self, dockerd, name, published, patience_s=300, pause_s=0):
        self.patience_s, self.pause_s = patience_s, pause_s
        self.connection = _UnixConnection(str(dockerd.run_dir / "docker.sock"))
        self.name, self.count = name, 0
        self.id = None
        self.spec = {
            "TaskTemplate": {"ContainerSpec": {"Image": "bench:1", "Command": ["/idle"]},
                             "RestartPolicy": {"Condition": "none"}},
            "Mode": {"Replicated": {"Replicas": 1}}}
        if published:
            self.spec["EndpointSpec"] = {"Mode": "vip", "Ports": [
                {"Protocol": "tcp", "TargetPort": 80, "PublishMode": "host"}]}
        else:
            self.spec["TaskTemplate"]["Networks"] = [{"Target": "host"}]

    def _call(self, method, path, body=None):
        self.connection.request(method, f"/v1.40{path}", json.dumps(body) if body else None,
                                {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {text[:300]}")
        return json.loads(text) if text else None

    def _tasks(self):
        wanted = json.dumps({"service": [self.id]}).replace('"', "%22").replace(" ", "")
        return self._call("GET", f"/tasks?filters={wanted}")

    def launch(self, replicas=1):
        self.count += 1
        self.spec["Mode"]["Replicated"]["Replicas"] = replicas
        self.id = self._call("POST", "/services/create",
                             {"Name": f"{self.name}-{self.count}", **self.spec})["ID"]
        deadline = time.monotonic() + self.patience_s
        while True:
            states = [task["Status"]["State"] for task in self._tasks()]
            if states.count("running") == replicas:
                return
            if time.monotonic() > deadline or "failed" in states or "rejected" in states:
                raise RuntimeError(f"a service of Swarm's did not start: {self._tasks()[:1]}")
            time.sleep(self.pause_s)

    def replace(self, parallelism=None):
        """Every task is replaced, so many at a time (0: all; None: as Swarm does by itself)."""
        found = self._call("GET", f"/services/{self.id}")
        spec = found["Spec"]
        spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + 1
        if parallelism is not None:
            spec["UpdateConfig"] = {"Parallelism": parallelism}
        old = {task["ID"] for task in self._tasks()}
        self._call("POST", f"/services/{self.id}/update?version={found['Version']['Index']}", spec)
        deadline = time.monotonic() + self.patience_s
        while True:
            running = [task["ID"] for task in self._tasks() if task["Status"]["State"] == "running"]
            if len(running) == spec["Mode"]["Replicated"]["Replicas"] and not old & set(running):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"a service of Swarm's was not replaced: {len(running)}")
            time.sleep(self.pause_s)

    def clear(self):
        self._call("DELETE", f"/services/{self.id}")
        clusters.until(lambda: not self._containers(), 120, "the end of Swarm's containers", 0.05)

    def _containers(self):
        wanted = f'{{"label":["com.docker.swarm.service.id={self.id}"]}}'.replace('"', "%22")
        return self._call("GET", f"/containers/json?all=1&filters={wanted}")


def hide_cgroup2():
    """crun on a hybrid host wants to see version 1 alone: for this process and its children."""
    if not pathlib.Path("/sys/fs/cgroup/unified").is_dir():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["umount", "-l", "/sys/fs/cgroup/unified"], check=False)
