"""`make bench-logs`: what lines cost on their way from a container to where they are kept: processor
time of shim, agent and server per 100,000 lines, beside that of a Docker daemon with its json-file
driver (where there is a dockerd), rounds interleaved; how many bytes a line takes on disk; how long
the last one was under way.

LINES (400000) a round, ROUNDS (5). Both sides run bench/lines.c, which writes as fast as it may; the
client asks the API ten times a second whether everything is there, and that is counted, too."""
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

import cluster as clusters  # noqa: E402
import peers  # noqa: E402

LINES = int(os.environ.get("LINES", "400000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
PATIENCE_S = 120
OUT = ROOT / "bench" / "out"


def cpu_ms(pid):
    """Of all threads that live, to the nanosecond where the kernel tells."""
    total = 0
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(path.read_text().split()[0])
    return total / 1e6


def command_of(path):
    with contextlib.suppress(OSError):
        return (path / "cmdline").read_bytes().split(b"\0")
    return [b""]


def processes(name, mark):
    """Process ids of a program with the mark somewhere on its command line."""
    return [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")
            if name in command_of(path)[0] and any(mark in word for word in command_of(path))]


def make_root(scratch):
    root = scratch / "root"
    for name in ("dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    clusters.run("gcc", "-O2", "-static", "-o", str(root / "lines"),
                 str(ROOT / "bench" / "lines.c"))
    return root


class Fairlead:
    name = "Fairlead, awslogs"

    def __init__(self, made):
        self.made, self.count = made, 0

    def round(self):
        """(CPU ms by process, seconds until everything was there, bytes on disk)."""
        self.count += 1
        group = f"/bench/{self.count}"
        definition = self.made.register({
            "name": "lines", "image": "bench:1", "memory": 16, "command": ["/lines", str(LINES)],
            "stopTimeout": 2, "logConfiguration": clusters.awslogs(group)})
        fixed = {role: self.made.pid(role) for role in ("server", "agent")}
        before = {role: cpu_ms(pid) for role, pid in fixed.items()}
        on_disk = self._bytes()
        begun = time.monotonic()
        arn = self.made.start(definition)
        clusters.until(lambda: self._stored(group) >= LINES, PATIENCE_S, "the lines", pause=0.1)
        taken = time.monotonic() - begun
        spent = {role: cpu_ms(pid) - before[role] for role, pid in fixed.items()}
        spent["shim"] = sum(cpu_ms(pid) for pid in processes(
            b"fairlead-shim", self.made.data_dir.encode()))
        on_disk = self._bytes() - on_disk
        self.made.ecs.stop_task(task=arn)
        self.made.wait(arn, timeout=60)
        return spent, taken, on_disk

    def _stored(self, group):
        """Lines, from the bytes that the stream has: each has its own length and 26."""
        with contextlib.suppress(self.made.logs.exceptions.ResourceNotFoundException):
            streams = self.made.logs.describe_log_streams(logGroupName=group)["logStreams"]
            if streams and streams[0]["storedBytes"] == self._expected():
                return LINES
        return 0

    def _expected(self):
        if not hasattr(self, "bytes"):
            text = subprocess.run([str(self.lines), str(LINES), "end"],
                                  stdout=subprocess.PIPE, check=True).stdout
            self.bytes = len(text) - LINES + 26 * LINES
        return self.bytes

    def _bytes(self):
        return sum(path.stat().st_size
                   for path in pathlib.Path(self.made.data_dir).glob("logs.db"))


class Docker:
    name = "docker, json-file"

    def __init__(self, dockerd):
        self.dockerd = dockerd
        self.data = dockerd.scratch / "docker" / "containers"

    def round(self):
        mark = str(self.dockerd.run_dir).encode()
        fixed = {"dockerd": processes(b"dockerd", mark), "containerd": processes(b"containerd", mark)}
        fixed["containerd"] = [pid for pid in fixed["containerd"]
                               if b"shim" not in command_of(pathlib.Path(f"/proc/{pid}"))[0]]
        before = {name: sum(map(cpu_ms, pids)) for name, pids in fixed.items()}
        begun = time.monotonic()
        made = clusters.run(*self.dockerd.command, "run", "-d", "--net", "host", "--log-driver",
                            "json-file", "bench:1", "/lines", str(LINES)).stdout.strip()
        path = self.data / made / f"{made}-json.log"
        clusters.until(lambda: path.exists() and self._lines(path) >= LINES, PATIENCE_S,
                       "docker's lines", pause=0.1)
        taken = time.monotonic() - begun
        spent = {name: sum(map(cpu_ms, pids)) - before[name] for name, pids in fixed.items()}
        spent["shim"] = sum(map(cpu_ms, processes(b"containerd-shim", mark)))
        size = path.stat().st_size
        clusters.run(*self.dockerd.command, "rm", "-f", made)
        self.path = None
        return spent, taken, size

    def _lines(self, path):
        """Counted from where the last count ended."""
        if getattr(self, "path", None) != path:
            self.path, self.at, self.seen = path, 0, 0
        with open(path, "rb") as file:
            file.seek(self.at)
            while chunk := file.read(1 << 20):
                self.seen += chunk.count(b"\n")
                self.at += len(chunk)
        return self.seen


def median(values):
    return sorted(values)[len(values) // 2]


def show(results):
    print(f"\nper 100,000 lines, medians of {ROUNDS} rounds of {LINES}")
    print("| | CPU ms | of these | bytes on disk a line | lines/s |")
    print("| --- | ---: | --- | ---: | ---: |")
    figures = {}
    for name, rows in results.items():
        scale = 100000 / LINES
        sums = [sum(spent.values()) * scale for spent, _, _ in rows]
        parts = {part: median([spent[part] * scale for spent, _, _ in rows]) for part in rows[0][0]}
        figures[name] = {"cpu_ms": median(sums), "parts_ms": parts,
                         "bytes_a_line": median([size / LINES for _, _, size in rows]),
                         "lines_per_s": median([LINES / taken for _, taken, _ in rows])}
        row = figures[name]
        listed = ", ".join(f"{part} {ms:.0f}" for part, ms in parts.items())
        print(f"| {name} | {row['cpu_ms']:.0f} | {listed} | {row['bytes_a_line']:.1f} | "
              f"{row['lines_per_s']:.0f} |")
    return figures


def contenders(stack, scratch, root):
    if shutil.which("dockerd") and shutil.which("docker"):
        try:
            dockerd = peers.Dockerd(scratch, root)
            stack.callback(dockerd.stop)
            yield Docker(dockerd)
        except (AssertionError, RuntimeError) as failure:
            print(f"docker is not here: {failure}", file=sys.stderr)
    made = clusters.Cluster()
    stack.callback(made.uninstall)
    made.up()
    archive = scratch / "bench.tar"
    clusters.run(sys.executable, str(ROOT / "tools" / "mkimage.py"), "--tag", "bench:1",
                 "--output", str(archive), str(root))
    made.load_image(archive, "bench:1")
    ours = Fairlead(made)
    ours.lines = root / "lines"
    yield ours


def main():
    results = {}
    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flbench-")))
        found = list(contenders(stack, scratch, make_root(scratch)))
        for number in range(ROUNDS + 1):
            for contender in found:
                row = contender.round()
                if number > 0:  # the first round warms up
                    results.setdefault(contender.name, []).append(row)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "logs.json").write_text(json.dumps(show(results), indent=2) + "\n")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("bench: containers need root: run `sudo make bench-logs`")
    main()
