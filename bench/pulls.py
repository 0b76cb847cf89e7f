"""`make bench-pulls`: pull and unpack of an image of 8 layers and 200 MB beside `docker pull` and
`podman pull`, from one registry (Debian's docker-registry) on this machine, interleaved in one run.
A table on stdout, figures in bench/out/pulls.json.

Then, in the same run: how long a task takes from RunTask to its start when its layers are here, alone
and while Fairlead pulls that image.

ROUNDS (10) chooses the number of rounds. Everything lies on a disk of its own, an ext4 as mkfs makes
it, in a file (BENCH_DIR names a directory to use instead): an ext4 without a journal, as some machines
have, makes new files dearly for minutes after others were removed, and each round removes thousands.
The image is made of this machine's own programs and
libraries, packed with gzip. docker and podman are timed as the commands that a user would type;
Fairlead from the RunTask call to the task's pullStoppedAt, as a pull of its own there is none. CPU is what all
processes of each contender used, children included; the registry's is nobody's. Everything is removed
before each round and written back to the disk (sync), so that none pays for another. Docker is a
private daemon with a directory of its own and no network of its own."""
import contextlib
import gzip
import hashlib
import io
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "bench")]

import cluster as clusters  # noqa: E402
import images  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "10"))
LAYERS, LAYER_BYTES = 8, 25_000_000
OUT = ROOT / "bench" / "out"
STARTS, PAUSE_S = 5, 0.1  # from cached layers, a round; before each: the one before has ended
TICK = os.sysconf("SC_CLK_TCK")


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# ---- the image ----

def files():
    """This machine's larger files, in a fixed order."""
    for top in ("/usr/lib", "/usr/bin", "/usr/share"):
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = pathlib.Path(folder, name)
                with contextlib.suppress(OSError):
                    if not path.is_symlink() and 1000 < path.stat().st_size < 8_000_000:
                        yield path


def make_layers(busybox):
    """Tars, packed and not; the first begins with a shell."""
    source = files()
    for number in range(LAYERS):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            if number == 0:
                tar.add(busybox, "bin/true")
            while buffer.tell() < LAYER_BYTES:
                path = next(source)
                tar.add(path, f"layer{number}{path}")
        data = buffer.getvalue()
        yield data, gzip.compress(data, 6)


class Registry:
    def __init__(self, scratch):
        self.host = f"127.0.0.1:{clusters.free_port()}"
        config = scratch / "registry.json"
        config.write_text(json.dumps({
            "version": "0.1", "log": {"level": "error"}, "http": {"addr": self.host},
            "storage": {"filesystem": {"rootdirectory": str(scratch / "registry")}}}))
        self.process = subprocess.Popen(["docker-registry", "serve", str(config)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        clusters.until(self.answers, what="the registry")

    def answers(self):
        with contextlib.suppress(OSError):
            return self.request("GET", f"http://{self.host}/v2/").status == 200

    @staticmethod
    def request(method, url, data=None, kind="application/octet-stream"):
        return urllib.request.urlopen(urllib.request.Request(
            url, data, {"Content-Type": kind}, method=method), timeout=60)

    def push(self, data):
        with self.request("POST", f"http://{self.host}/v2/bench/blobs/uploads/", b"") as answer:
            place = answer.headers["Location"]
        mark = "&" if "?" in place else "?"
        self.request("PUT", f"{place}{mark}digest={digest_of(data)}", data).close()
        return {"digest": digest_of(data), "size": len(data)}

    def push_image(self, busybox):
        layers, ids, unpacked = [], [], 0
        kind = "application/vnd.docker."
        for data, packed in make_layers(busybox):
            layers.append({"mediaType": kind + "image.rootfs.diff.tar.gzip", **self.push(packed)})
            ids.append(digest_of(data))
            unpacked += len(data)
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
                             "rootfs": {"type": "layers", "diff_ids": ids}}).encode()
        manifest = {"schemaVersion": 2, "layers": layers,
                    "mediaType": kind + "distribution.manifest.v2+json",
                    "config": {"mediaType": kind + "container.image.v1+json", **self.push(config)}}
        self.request("PUT", f"http://{self.host}/v2/bench/manifests/1",
                     json.dumps(manifest).encode(), manifest["mediaType"]).close()
        return sum(layer["size"] for layer in layers), unpacked

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


@contextlib.contextmanager
def a_disk():
    """A directory for everything."""
    if "BENCH_DIR" in os.environ:
        with tempfile.TemporaryDirectory(dir=os.environ["BENCH_DIR"]) as made:
            yield pathlib.Path(made)
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        file, where = pathlib.Path(made, "disk"), pathlib.Path(made, "mounted")
        where.mkdir()
        with open(file, "wb") as disk:
            disk.truncate(12 << 30)
        clusters.run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(file))
        clusters.run("mount", "-o", "loop", str(file), str(where))
        try:
            yield where
        finally:
            clusters.run("umount", "-R", "-l", str(where), check=False)


# ---- contenders: pull() is timed and answers the seconds that count, clear() is not ----

def cpu_of(*pids):
    """Seconds that processes and the children that they have waited for have used."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(int(ticks) for ticks in fields[11:15])
    return total / TICK


def children_of(pid):
    listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in listed.read_text().split()] if listed.exists() else []
    return found + [each for child in found for each in children_of(child)]


def timed(words):
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    clusters.run(*words, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (time.monotonic() - begun,
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


class Docker:
    name = "docker pull"

    def __init__(self, scratch, image):
        self.image, self.run_dir = image, pathlib.Path(tempfile.mkdtemp(prefix="fldocker-"))
        self.command = ["docker", "-H", f"unix://{self.run_dir}/docker.sock"]
        self.log = open(scratch / "dockerd.log", "wb")
        self.process = subprocess.Popen(
            ["dockerd", "-H", f"unix://{self.run_dir}/docker.sock", "--data-root",
             str(scratch / "docker"), "--exec-root", str(self.run_dir / "exec"), "--pidfile",
             str(self.run_dir / "pid"), "--bridge=none", "--iptables=false", "--ip-forward=false",
             "--ip-masq=false"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        clusters.until(lambda: subprocess.run([*self.command, "version"], capture_output=True,
                                              check=False).returncode == 0, 60, "dockerd", 0.2)
        self.version = clusters.run(*self.command, "version", "--format",
                                    "{{.Server.Version}}").stdout.strip()
        driver = clusters.run(*self.command, "info", "--format", "{{.Driver}}").stdout.strip()
        self.version += f", {driver}"

    def cpu(self):
        pid = self.process.pid
        return cpu_of(pid, *children_of(pid))

    def pull(self):
        before = self.cpu()
        seconds, own = timed([*self.command, "pull", "-q", self.image])
        return seconds, self.cpu() - before + own

    def clear(self):
        clusters.run(*self.command, "rmi", "-f", self.image)

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)


class Podman:
    name = "podman pull"

    def __init__(self, scratch, image):
        self.command = ["podman", "--root", str(scratch / "podman"), "--runroot",
                        str(scratch / "podman-run"), "--storage-driver", "overlay"]
        self.image = image
        self.version = clusters.run("podman", "--version").stdout.split()[-1] + ", overlay"

    def pull(self):
        return timed([*self.command, "pull", "-q", "--tls-verify=false", self.image])

    def clear(self):
        clusters.run(*self.command, "rmi", "-f", self.image)

    def stop(self):
        clusters.run(*self.command, "system", "reset", "-f", check=False)


class Fairlead:
    name = "Fairlead"

    def __init__(self, scratch, image):
        config = scratch / "ecs.config"
        config.write_text("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s\n")
        self.cluster = clusters.Cluster("--ecs-config", str(config))
        self.version = clusters.run(clusters.FAIRLEAD, "--version", check=False).stdout.strip()
        self.cluster.up()
        self.definition = self.cluster.register(clusters.container(image=image, memory=64))
        self.cluster.load_image(images.busybox_archive(scratch), "here:1")
        self.here = self.cluster.register(clusters.container(image="here:1", command=["true"]))

    def start(self):
        """Seconds from the call to the start of a task whose layers are here."""
        time.sleep(PAUSE_S)
        begun = time.time()
        arn = self.cluster.start(self.here)
        task = clusters.until(lambda: (lambda each: each if "startedAt" in each else None)(
            self.cluster.task(arn)), what="the start")
        return task["startedAt"].timestamp() - begun

    def starts(self):
        """Alone, and while the image is pulled (begun and ended before the pull has)."""
        self.start()
        alone, busy = [], []
        for _ in range(STARTS):
            alone.append(self.start())
        pull = self.cluster.start(self.definition)
        while True:
            seconds = self.start()
            if "pullStoppedAt" in self.cluster.task(pull):
                break
            busy.append(seconds)
        self.cluster.wait(pull, timeout=600)
        return alone, busy

    def pull(self):
        agent = self.cluster.pid("agent")
        before, begun = cpu_of(agent), time.time()
        task = self.cluster.wait(self.cluster.start(self.definition), timeout=600)
        assert "imageDigest" in task["containers"][0], task
        return task["pullStoppedAt"].timestamp() - begun, cpu_of(agent) - before

    def clear(self):
        """The agent begins anew, with nothing."""
        self.cluster.fairlead("down", "--tasks")
        for name in ("layers", "images"):
            shutil.rmtree(pathlib.Path(self.cluster.data_dir, "agent", name))
        self.cluster.up()

    def stop(self):
        self.cluster.uninstall()


def measure_starts(contender):
    found = {"alone": [], "during a pull": []}
    for _ in range(ROUNDS):
        contender.clear()
        os.sync()
        for kind, seconds in zip(found, contender.starts()):
            found[kind] += seconds
    return found


def measure(contenders):
    found = {each.name: {"version": each.version, "seconds": [], "cpu": []} for each in contenders}
    for number in range(ROUNDS):
        turn = number % len(contenders)
        for each in contenders[turn:] + contenders[:turn]:
            os.sync()
            seconds, cpu = each.pull()
            found[each.name]["seconds"].append(seconds)
            found[each.name]["cpu"].append(cpu)
            each.clear()
    return found


def print_table(found, packed, unpacked):
    print(f"{LAYERS} layers, {unpacked / 1e6:.0f} MB, {packed / 1e6:.0f} MB packed; {ROUNDS} rounds\n")
    print(f"{'':12} {'p50 s':>7} {'min s':>7} {'max s':>7} {'CPU s':>7}  of docker's time")
    reference = statistics.median(found[Docker.name]["seconds"])
    for name, figures in found.items():
        seconds = figures["seconds"]
        print(f"{name:12} {statistics.median(seconds):7.2f} {min(seconds):7.2f} {max(seconds):7.2f} "
              f"{statistics.median(figures['cpu']):7.2f}  "
              f"{statistics.median(seconds) / reference:.2f}   {figures['version']}")


def print_starts(starts):
    print("\nfrom RunTask to the start of a task whose layers are here:")
    for kind, seconds in starts.items():
        seconds = sorted(seconds)
        if seconds:
            print(f"{kind:14} p50 {statistics.median(seconds) * 1e3:4.0f} ms, "
                  f"p90 {seconds[len(seconds) * 9 // 10] * 1e3:4.0f} ms, {len(seconds)} starts")


def main():
    if os.geteuid() != 0:
        sys.exit("bench-pulls needs root: sudo make bench-pulls")
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(a_disk())
        tempfile.tempdir = str(scratch)  # of clusters, too
        registry = Registry(scratch)
        stack.callback(registry.stop)
        packed, unpacked = registry.push_image("/bin/busybox")
        contenders = []
        for kind in (Docker, Podman, Fairlead):
            contenders.append(kind(scratch, f"{registry.host}/bench:1"))
            stack.callback(contenders[-1].stop)
        found = measure(contenders)
        print_table(found, packed, unpacked)
        starts = measure_starts(contenders[-1])
        print_starts(starts)
        OUT.mkdir(exist_ok=True)
        (OUT / "pulls.json").write_text(json.dumps(
            {"packed": packed, "unpacked": unpacked, "rounds": ROUNDS, "found": found,
             "starts": starts}, indent=1))


if __name__ == "__main__":
    main()
