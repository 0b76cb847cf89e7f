"""What services cost, a part of `make bench`: a service from 0 to 200 tasks and a full rolling
replacement of the 200, beside a service of Swarm's in the same run; and what the server takes of a
processor while 5,000 services have nothing to do.

Both run bench/idle.c, which ends at once on SIGTERM, from a local image on the host's network; both
are asked over their own APIs on kept-alive connections. A replacement is over when 200 new tasks run
and none of the old ones is left. Ours has ECS's defaults (100 % and 200 %) and waits until the new
tasks have settled (--settle 2, the default); Swarm's is told nothing (one task at a time, stopped
first), and once more to replace all at once (parallelism 0).

TASKS (200), SERVICES (5000), SERVICE_ROUNDS (3, of ours), SWARM (1; 0 leaves it out)."""
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

import run  # first: it says where the modules of the tests are
import client as clients
import cluster as clusters
import peers

TASKS = int(os.environ.get("TASKS", "200"))
SERVICES = int(os.environ.get("SERVICES", "5000"))
ROUNDS = int(os.environ.get("SERVICE_ROUNDS", "3"))
SWARM = os.environ.get("SWARM", "1") != "0"
BUSY, EACH = 500, 2  # of the idle services so many have so many tasks
WATCH_S = 60
POLL_S = 0.01  # each question takes of the two processors what tasks would start with


class Ours:
    """A service of ours."""

    def __init__(self, client):
        self.client, self.count = client, 0
        client.call("RegisterTaskDefinition", family="bench-service", networkMode="host",
                    containerDefinitions=[{"name": "idle", "image": "bench:1", "memory": 8,
                                           "command": ["/idle"]}])

    def _await(self, fits):
        deadline = time.monotonic() + 600
        while True:
            answer = self.client.call("DescribeServices", services=[self.name])
            service = answer["services"][0]
            if fits(service):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(service)
            time.sleep(POLL_S)

    def create(self):
        self.count += 1
        self.name = f"bench-{self.count}"
        self.client.call("CreateService", serviceName=self.name, taskDefinition="bench-service",
                         desiredCount=TASKS)
        self._await(lambda service: service["runningCount"] == TASKS)

    def settle(self):
        self._await(lambda s: s["deployments"][0]["rolloutState"] == "COMPLETED")

    def replace(self):
        self.client.call("UpdateService", service=self.name, forceNewDeployment=True)
        self._await(lambda service: len(service["deployments"]) == 1 and
                    service["runningCount"] == TASKS)

    def remove(self):
        self.client.call("DeleteService", service=self.name, force=True)
        self._await(lambda service: service["status"] == "INACTIVE")


def timed(step):
    begun = time.monotonic()
    step()
    return time.monotonic() - begun


def our_rounds(client):
    """{step: seconds of each round}"""
    found = {"create": [], "replace": [], "remove": []}
    service = Ours(client)
    for _ in range(ROUNDS):
        found["create"].append(timed(service.create))
        service.settle()
        found["replace"].append(timed(service.replace))
        service.settle()
        found["remove"].append(timed(service.remove))
    return found


def swarm_rounds(dockerd):
    """{step: seconds}; one round takes minutes."""
    swarm = peers.Swarm(dockerd, "many", False, patience_s=900, pause_s=0.1)
    found = {"create": timed(lambda: swarm.launch(TASKS))}
    found["replace"] = timed(swarm.replace)
    found["replace at once"] = timed(lambda: swarm.replace(parallelism=0))
    swarm.clear()
    return found


def create_idle(client, count, desired):
    names = []
    for _ in range(count):
        names.append(f"idle-{desired}-{len(names)}")
        client.call("CreateService", serviceName=names[-1], taskDefinition="bench-service",
                    desiredCount=desired)
    return names


def await_steady(client, names, desired):
    waiting, deadline = list(names), time.monotonic() + 300
    while waiting:
        found = client.call("DescribeServices", services=waiting[:10])["services"]
        done = {s["serviceName"] for s in found if s["runningCount"] == desired and
                s["deployments"][0]["rolloutState"] == "COMPLETED"}
        waiting = [name for name in waiting if name not in done]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(waiting)} services are not steady: {found[:1]}")
        if not done:
            time.sleep(0.05)


def cpu_percent(client, pid):
    client.connection.close()  # the server would: nobody speaks. The next call opens another one.
    before = run.cpu_s(pid)
    time.sleep(WATCH_S)
    return 100 * (run.cpu_s(pid) - before) / WATCH_S


def idle(made, client):
    """Per cent of a processor that the server takes for services that have nothing to do."""
    server = made.pid("server")
    found = {"services": SERVICES, "busy": BUSY, "each": EACH, "none": cpu_percent(client, server)}
    begun = time.monotonic()
    await_steady(client, create_idle(client, SERVICES - BUSY, 0), 0)
    found["created_per_s"] = (SERVICES - BUSY) / (time.monotonic() - begun)
    found["without_tasks"] = cpu_percent(client, server)
    await_steady(client, create_idle(client, BUSY, EACH), EACH)
    found["with_tasks"] = cpu_percent(client, server)
    found["server_pss_kib"] = run.pss_kib(server)
    return found


def beside_swarm(scratch, root, figures):
    dockerd = peers.Dockerd(scratch, root)
    try:
        figures["docker"] = dockerd.version
        dockerd.start_swarm()
        figures["swarm_s"] = swarm_rounds(dockerd)
    finally:
        dockerd.stop()


def measure(scratch, made, figures):
    root = run.make_root(scratch)
    clusters.run(sys.executable, str(run.ROOT / "tools" / "mkimage.py"), "--tag", "bench:1",
                 "--output", str(scratch / "bench.tar"), str(root))
    made.up()
    made.load_image(scratch / "bench.tar", "bench:1")
    client = clients.Client(made.port, made.env["AWS_ACCESS_KEY_ID"],
                            made.env["AWS_SECRET_ACCESS_KEY"])
    figures["ours_s"] = our_rounds(client)
    if SWARM and shutil.which("dockerd") and shutil.which("docker"):
        try:
            beside_swarm(scratch, root, figures)
        except (AssertionError, RuntimeError) as failure:
            print(f"Swarm is not here: {failure}", file=sys.stderr)
    figures["idle"] = idle(made, client)


def show(figures):
    titles = {"create": f"service, 0 to {TASKS} tasks", "replace": f"{TASKS} tasks replaced",
              "replace at once": f"{TASKS} tasks replaced, Swarm's all at once"}
    swarm = figures.get("swarm_s", {})
    print(f"\nServices: median of {ROUNDS} rounds of ours, one of Swarm's "
          f"(Docker {figures.get('docker', 'not here')})\n")
    print("| | ours s | Swarm s | times |\n|---|---|---|---|")
    for step, title in titles.items():
        ours = statistics.median(figures["ours_s"][step.split()[0]])
        theirs = swarm.get(step)
        print(f"| {title} | {ours:.2f} | " + (f"{theirs:.1f} | {theirs / ours:.0f} |" if theirs
                                              else "| |"))
    found = figures["idle"]
    print(f"\nServer's share of a processor: {found['none']:.2f} % with no service, "
          f"{found['without_tasks']:.2f} % with {SERVICES - BUSY} services of no task, "
          f"{found['with_tasks']:.2f} % with {BUSY} more of {EACH} tasks each; "
          f"{found['created_per_s']:.0f} services made a second, "
          f"{found['server_pss_kib'] / 1024:.1f} MiB")


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
    made = clusters.Cluster("--cpu-units", "1048576", "--memory-mib", "65536")
    figures = {"kernel": os.uname().release, "cpus": os.cpu_count(), "tasks": TASKS}
    try:
        measure(scratch, made, figures)
    finally:
        made.uninstall()
        shutil.rmtree(scratch, ignore_errors=True)
    show(figures)
    run.keep(figures)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("bench: containers need root: run `sudo make bench`")
    main()
