"""`make bench`: how long a task takes from the RunTask call to RUNNING in DescribeTasks, beside
`docker run -d` (where there is a dockerd) and bare `crun run -d`, interleaved in one run; how fast
200 tasks start and stop; what server and agent weigh. A table on stdout, figures in bench/out/.

ROUNDS (30) chooses the number of rounds. Everything runs the same program, bench/idle.c, from a
local image. Docker is a private daemon with a directory and a network namespace of its own;
`docker run` and `crun run` are timed as the commands that a user would type. crun runs without a
seccomp profile."""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "bench")]

import client as clients  # noqa: E402
import cluster as clusters  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "30"))
PAUSE_S = 0.1
MANY = 200
OUT = ROOT / "bench" / "out"


def now_ms():
    return time.monotonic() * 1000


def make_root(scratch):
    root = scratch / "root"
    for name in ("dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    clusters.run("gcc", "-O2", "-static", "-o", str(root / "idle"), str(ROOT / "bench" / "idle.c"))
    return root


# Contenders: launch() is timed, clear() is not.

class Fairlead:
    def __init__(self, client, mode, ports):
        self.client = client
        self.family = f"bench-{mode}"
        client.call("RegisterTaskDefinition", family=self.family, networkMode=mode,
                    containerDefinitions=[{"name": "idle", "image": "bench:1", "memory": 8,
                                           "command": ["/idle"], "portMappings": ports}])
        self.arn = None

    def launch(self):
        answer = self.client.call("RunTask", taskDefinition=self.family)
        if answer["failures"]:
            raise RuntimeError(answer["failures"])
        self.arn = answer["tasks"][0]["taskArn"]
        self._await("RUNNING")

    def _await(self, wanted):
        deadline = time.monotonic() + 60
        while True:
            task = self.client.call("DescribeTasks", tasks=[self.arn])["tasks"][0]
            if task["lastStatus"] == wanted:
                return
            if task["lastStatus"] == "STOPPED" or time.monotonic() > deadline:
                raise RuntimeError(task)

    def clear(self):
        self.client.call("StopTask", task=self.arn)
        self._await("STOPPED")


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


def hide_cgroup2():
    """crun on a hybrid host wants to see version 1 alone: for this process and its children."""
    if not pathlib.Path("/sys/fs/cgroup/unified").is_dir():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["umount", "-l", "/sys/fs/cgroup/unified"], check=False)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def rounds(contenders, pause_s):
    """Every contender once a round, each round starting with another one."""
    times = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(ROUNDS + 1):
        for name in names[number % len(names):] + names[:number % len(names)]:
            time.sleep(pause_s)
            begun = now_ms()
            contenders[name].launch()
            taken = now_ms() - begun
            contenders[name].clear()
            if number > 0:  # the first round warms up
                times[name].append(round(taken, 3))
    return times


def many(client):
    """200 tasks by 20 calls of 10; then 200 StopTask calls."""
    begun = now_ms()
    arns = []
    for _ in range(MANY // 10):
        answer = client.call("RunTask", taskDefinition="bench-host", count=10)
        if answer["failures"]:
            raise RuntimeError(answer["failures"])
        arns += [task["taskArn"] for task in answer["tasks"]]

    def await_all(status):
        waiting = set(arns)
        deadline = time.monotonic() + 120
        while waiting:
            portion = sorted(waiting)[:100]
            tasks = client.call("DescribeTasks", tasks=portion)["tasks"]
            waiting -= {t["taskArn"] for t in tasks if t["lastStatus"] == status}
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(waiting)} tasks are not {status}")
            time.sleep(0.002)
    await_all("RUNNING")
    started = now_ms() - begun
    begun = now_ms()
    for arn in arns:
        client.call("StopTask", task=arn)
    await_all("STOPPED")
    return started, now_ms() - begun


def pss_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int([line.split()[1] for line in text.splitlines() if line.startswith("Pss:")][0])


def table(title, times, reference):
    print(f"\n{title}\n| launch | p50 ms | p90 ms | docker / this, p50 |\n| --- | ---: | ---: | ---: |")
    for name, values in times.items():
        p50, p90 = quantile(values, 0.5), quantile(values, 0.9)
        peer = times.get(reference(name))
        ratio = f"{quantile(peer, 0.5) / p50:.1f}" if peer else "–"
        print(f"| {name} | {p50:.1f} | {p90:.1f} | {ratio} |")


def docker_of(name):
    return ("docker run -d -p" if "bridge" in name or "own network" in name or "-p" in name
            else "docker run -d --net host")


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
    made = clusters.Cluster("--cpu-units", "262144", "--memory-mib", "65536")
    dockerd = None
    figures = {"rounds": ROUNDS, "kernel": os.uname().release, "cpus": os.cpu_count()}
    try:
        root = make_root(scratch)
        clusters.run(sys.executable, str(ROOT / "tools" / "mkimage.py"), "--tag", "bench:1",
                     "--output", str(scratch / "bench.tar"), str(root))
        made.up()
        made.load_image(scratch / "bench.tar", "bench:1")
        figures["pss_after_start_kib"] = {r: pss_kib(made.pid(r)) for r in ("server", "agent")}
        client = clients.Client(made.port, made.env["AWS_ACCESS_KEY_ID"],
                                made.env["AWS_SECRET_ACCESS_KEY"])
        contenders = {
            "RunTask, host": Fairlead(client, "host", []),
            "RunTask, bridge with a port": Fairlead(client, "bridge", [{"containerPort": 80}]),
        }
        if shutil.which("dockerd") and shutil.which("docker"):
            try:
                dockerd = Dockerd(scratch, root)
                figures["docker"] = dockerd.version
                contenders["docker run -d --net host"] = Docker(dockerd, "--net", "host")
                contenders["docker run -d -p"] = Docker(dockerd, "-p", "80")
            except (AssertionError, RuntimeError) as failure:
                print(f"no Docker here: {failure}", file=sys.stderr)
        hide_cgroup2()
        contenders["crun run -d, host"] = Crun(scratch, root, "host", False)
        contenders["crun run -d, own network"] = Crun(scratch, root, "own", True)
        figures["back_to_back_ms"] = rounds(contenders, 0)
        figures["paced_ms"] = rounds(contenders, PAUSE_S)
        started, stopped = many(client)
        figures["many"] = {"tasks": MANY, "started_ms": started, "stopped_ms": stopped}
        figures["pss_after_many_kib"] = {r: pss_kib(made.pid(r)) for r in ("server", "agent")}
    finally:
        if dockerd:
            dockerd.stop()
        made.uninstall()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{ROUNDS} rounds, kernel {figures['kernel']}, {figures['cpus']} CPUs, "
          f"Docker {figures.get('docker', 'not here')}")
    table("Back to back", figures["back_to_back_ms"], docker_of)
    table("100 ms apart", figures["paced_ms"], docker_of)
    rate = MANY / figures["many"]["started_ms"] * 1000
    print(f"\n{MANY} tasks: {rate:.0f} started a second ({figures['many']['started_ms']:.0f} ms), "
          f"stopped in {figures['many']['stopped_ms']:.0f} ms")
    for title, key in (("after start", "pss_after_start_kib"), ("at the end", "pss_after_many_kib")):
        sizes = figures[key]
        print(f"PSS {title}: server {sizes['server'] / 1024:.1f} MiB, "
              f"agent {sizes['agent'] / 1024:.1f} MiB")
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())
    path.write_text(json.dumps(figures, indent=1) + "\n")
    owner = OUT.parent.stat()
    for made_here in (OUT, path):
        os.chown(made_here, owner.st_uid, owner.st_gid)
    print(f"figures in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("bench: containers need root: run `sudo make bench`")
    main()
