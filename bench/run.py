"""`make bench`: how long a task takes from the RunTask call to RUNNING in DescribeTasks, beside
`docker run -d`, a service of Swarm's (where there is a dockerd) and bare `crun run -d`, interleaved in
one run; how fast 200 tasks start and stop; what server, agent and shims weigh, and what they cost
while nothing happens, with no task and with 1,000. A table on stdout, figures in bench/out/.

ROUNDS (30) chooses the number of rounds, IDLE (1000) the number of idle tasks. Everything runs the same program, bench/idle.c, from a
local image. Docker is a private daemon with a directory and a network namespace of its own;
`docker run` and `crun run` are timed as the commands that a user would type. crun runs without a
seccomp profile."""
import contextlib
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
import peers  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "30"))
PAUSE_S = 0.1
POLL_S = 0.0005  # a client that never pauses takes one of two processors from what it measures
MANY = 200
IDLE = int(os.environ.get("IDLE", "1000"))
WATCH_S = 20
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
            time.sleep(POLL_S)

    def clear(self):
        self.client.call("StopTask", task=self.arn)
        self._await("STOPPED")


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


def run_many(client, count):
    """count tasks by calls of 10; their ARNs."""
    arns = []
    for _ in range(count // 10):
        answer = client.call("RunTask", taskDefinition="bench-host", count=10)
        if answer["failures"]:
            raise RuntimeError(answer["failures"])
        arns += [task["taskArn"] for task in answer["tasks"]]
    return arns


def await_all(client, arns, status):
    waiting = set(arns)
    deadline = time.monotonic() + 120
    while waiting:
        tasks = client.call("DescribeTasks", tasks=sorted(waiting)[:100])["tasks"]
        waiting -= {t["taskArn"] for t in tasks if t["lastStatus"] == status}
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(waiting)} tasks are not {status}")
        time.sleep(0.002)


def many(client):
    """200 tasks by 20 calls of 10; then 200 StopTask calls. Milliseconds of both."""
    begun = now_ms()
    arns = run_many(client, MANY)
    await_all(client, arns, "RUNNING")
    started = now_ms() - begun
    begun = now_ms()
    for arn in arns:
        client.call("StopTask", task=arn)
    await_all(client, arns, "STOPPED")
    return {"tasks": MANY, "started_ms": started, "stopped_ms": now_ms() - begun}


def pss_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int([line.split()[1] for line in text.splitlines() if line.startswith("Pss:")][0])


def agent_pss_kib(made):
    """With the process that it has for launching, which has crun loaded."""
    agent = made.pid("agent")
    children = pathlib.Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    launchers = [pid for pid in children
                 if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("fairlead-launch")]
    return sum(pss_kib(pid) for pid in [agent, *launchers])


def roles_pss_kib(made):
    return {"server": pss_kib(made.pid("server")), "agent": agent_pss_kib(made)}


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost_of_waiting(made):
    """Per cent of a processor that each role takes while nothing happens."""
    pids = {role: made.pid(role) for role in ("server", "agent")}
    before = {role: cpu_s(pid) for role, pid in pids.items()}
    time.sleep(WATCH_S)
    return {role: 100 * (cpu_s(pid) - before[role]) / WATCH_S for role, pid in pids.items()}


def shim_pss_kib(made):
    """Mean over the shims of the installation."""
    sizes = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes()
            if b"fairlead-shim" in words.split(b"\0")[0] and made.data_dir.encode() in words:
                sizes.append(pss_kib(path.parent.name))
    return sum(sizes) / len(sizes) if sizes else 0


def idle(made, client):
    """What many tasks that do nothing cost."""
    arns = run_many(client, IDLE)
    await_all(client, arns, "RUNNING")
    kept = pathlib.Path(made.data_dir, "agent", "containers")
    clusters.until(lambda: len(list(kept.iterdir())) == IDLE, 60, "the removal of earlier tasks",
                   0.2)
    found = {"tasks": IDLE, "cpu_percent": cost_of_waiting(made),
             "shim_pss_kib": shim_pss_kib(made), "agent_pss_kib": agent_pss_kib(made)}
    for arn in arns:
        client.call("StopTask", task=arn)
    await_all(client, arns, "STOPPED")
    return found


def table(title, times):
    rows = list(times)
    ratios = [name for name in rows if not name.startswith(("RunTask", "crun"))]
    print(f"\n{title}\n| launch | p50 ms | p90 ms | {' | '.join(f'{n} / this' for n in ratios)} |")
    print("| --- | ---: | ---: |" + " ---: |" * len(ratios))
    for name in rows:
        p50, p90 = quantile(times[name], 0.5), quantile(times[name], 0.9)
        columns = [f"{quantile(times[peer], 0.5) / p50:.1f}" if alike(name, peer) else ""
                   for peer in ratios]
        print(f"| {name} | {p50:.1f} | {p90:.1f} | {' | '.join(columns)} |")


def alike(name, peer):
    """Both with the host's network, or both with one of their own; a peer is not its own."""
    own = ("bridge", "own network", "-p")
    return name != peer and any(w in name for w in own) == any(w in peer for w in own)


def find_contenders(scratch, root, client, figures):
    """Everything that is timed, and the daemon to be stopped afterwards."""
    contenders = {
        "RunTask, host": Fairlead(client, "host", []),
        "RunTask, bridge with a port": Fairlead(client, "bridge", [{"containerPort": 80}]),
    }
    dockerd = None
    if shutil.which("dockerd") and shutil.which("docker"):
        try:
            dockerd = peers.Dockerd(scratch, root)
            figures["docker"] = dockerd.version
            contenders["docker run -d --net host"] = peers.Docker(dockerd, "--net", "host")
            contenders["docker run -d -p"] = peers.Docker(dockerd, "-p", "80")
            dockerd.start_swarm()
            contenders["Swarm service, host"] = peers.Swarm(dockerd, "host", False)
            contenders["Swarm service -p"] = peers.Swarm(dockerd, "port", True)
        except (AssertionError, RuntimeError) as failure:
            print(f"not everything of Docker's is here: {failure}", file=sys.stderr)
    peers.hide_cgroup2()
    contenders["crun run -d, host"] = peers.Crun(scratch, root, "host", False)
    contenders["crun run -d, own network"] = peers.Crun(scratch, root, "own", True)
    return contenders, dockerd


def measure(scratch, made, figures):
    root = make_root(scratch)
    clusters.run(sys.executable, str(ROOT / "tools" / "mkimage.py"), "--tag", "bench:1",
                 "--output", str(scratch / "bench.tar"), str(root))
    made.up()
    made.load_image(scratch / "bench.tar", "bench:1")
    figures["pss_after_start_kib"] = roles_pss_kib(made)
    figures["waiting_cpu_percent"] = cost_of_waiting(made)
    client = clients.Client(made.port, made.env["AWS_ACCESS_KEY_ID"],
                            made.env["AWS_SECRET_ACCESS_KEY"])
    contenders, dockerd = find_contenders(scratch, root, client, figures)
    try:
        figures["back_to_back_ms"] = rounds(contenders, 0)
        figures["paced_ms"] = rounds(contenders, PAUSE_S)
    finally:
        if dockerd:
            dockerd.stop()
    figures["many"] = many(client)
    figures["pss_after_many_kib"] = roles_pss_kib(made)
    figures["idle"] = idle(made, client)


def show(figures):
    print(f"\n{ROUNDS} rounds, kernel {figures['kernel']}, {figures['cpus']} CPUs, "
          f"Docker {figures.get('docker', 'not here')}")
    table("Back to back", figures["back_to_back_ms"])
    table("100 ms apart", figures["paced_ms"])
    rate = MANY / figures["many"]["started_ms"] * 1000
    print(f"\n{MANY} tasks: {rate:.0f} started a second ({figures['many']['started_ms']:.0f} ms), "
          f"stopped in {figures['many']['stopped_ms']:.0f} ms")
    for title, key in (("after start", "pss_after_start_kib"), ("at the end", "pss_after_many_kib")):
        sizes = figures[key]
        print(f"PSS {title}: server {sizes['server'] / 1024:.1f} MiB, "
              f"agent {sizes['agent'] / 1024:.1f} MiB")
    still, waiting = figures["waiting_cpu_percent"], figures["idle"]
    print(f"CPU while nothing happens: server {still['server']:.2f} %, agent {still['agent']:.2f} % "
          f"of a processor")
    print(f"{waiting['tasks']} idle tasks: server {waiting['cpu_percent']['server']:.2f} %, agent "
          f"{waiting['cpu_percent']['agent']:.2f} %; {waiting['shim_pss_kib']:.0f} KiB PSS of a "
          f"shim each, agent {waiting['agent_pss_kib'] / 1024:.1f} MiB")


def keep(figures):
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())
    path.write_text(json.dumps(figures, indent=1) + "\n")
    owner = OUT.parent.stat()
    for made_here in (OUT, path):
        os.chown(made_here, owner.st_uid, owner.st_gid)
    print(f"figures in {path.relative_to(ROOT)}")


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
    made = clusters.Cluster("--cpu-units", "1048576", "--memory-mib", "65536")
    figures = {"rounds": ROUNDS, "kernel": os.uname().release, "cpus": os.cpu_count()}
    try:
        measure(scratch, made, figures)
    finally:
        made.uninstall()
        shutil.rmtree(scratch, ignore_errors=True)
    show(figures)
    keep(figures)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("bench: containers need root: run `sudo make bench`")
    main()
