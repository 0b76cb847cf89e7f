"""What the checks share: an installation, its tasks, their groups, and the counting of results."""
import hashlib
import json
import os
import pathlib
import subprocess
import time
import traceback

import client as clients

CGROUPS = pathlib.Path("/sys/fs/cgroup")
PATIENCE_S = 60


def until(condition, what, timeout=PATIENCE_S):
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.05)


def run(*argv, check=True):
    result = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {result.returncode}:\n"
                             f"{result.stdout}{result.stderr}")
    return result


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def groups():
    """All below the root; some may vanish while they are listed."""
    return {folder for folder, _, _ in os.walk(CGROUPS)} - {str(CGROUPS)}


def container(script, name="main", **more):
    return {"name": name, "image": "busybox:1", "memory": 64, "command": ["sh", "-c", script],
            **more}


def idle(script="", **more):
    """Runs until it is told to end."""
    return container(f"trap 'exit 7' TERM; {script} sleep 1000 & wait $!", stopTimeout=5, **more)


class Installation:
    def __init__(self, name, port):
        self.data_dir, self.port = f"/var/lib/{name}", port
        self.tag = "fl" + hashlib.sha256(self.data_dir.encode()).hexdigest()[:6]
        self.groups = CGROUPS / self.tag
        self.out = pathlib.Path(f"/out-{name}")
        self.out.mkdir(exist_ok=True)
        self.families = 0

    def fairlead(self, *argv, check=True):
        return run("/usr/bin/fairlead", argv[0], "--data-dir", self.data_dir, *argv[1:],
                   check=check)

    def up(self):
        self.fairlead("up", "--listen", f"127.0.0.1:{self.port}", "--cpu-units", "8192",
                      "--memory-mib", "8192")
        key = json.loads(pathlib.Path(self.data_dir, "keys", "operator.json").read_text())
        self.client = clients.Client(self.port, key["accessKeyId"], key["secretAccessKey"])
        run("/usr/bin/fairlead", "image", "load", "/guest/busybox.tar", "busybox:1", "--data-dir",
            self.data_dir)

    def pid(self, role):
        return json.loads(self.fairlead("status", "--json", check=False).stdout)[role]["pid"]

    def kill(self, role):
        pid = self.pid(role)
        os.kill(pid, 9)
        until(lambda: not os.path.exists(f"/proc/{pid}/exe"), f"end of the {role}")

    def start(self, *containers, **more):
        self.families += 1
        family = f"family-{self.families}"
        for one in containers:
            one.setdefault("mountPoints", [{"sourceVolume": "out", "containerPath": "/out"}])
        self.client.call("RegisterTaskDefinition", family=family,
                         containerDefinitions=list(containers),
                         volumes=[{"name": "out", "host": {"sourcePath": str(self.out)}}], **more)
        answer = self.client.call("RunTask", taskDefinition=family)
        assert not answer["failures"], answer["failures"]
        return answer["tasks"][0]["taskArn"]

    def task(self, arn):
        return self.client.call("DescribeTasks", tasks=[arn])["tasks"][0]

    def wait(self, arn, status="STOPPED"):
        def arrived():
            task = self.task(arn)
            if status != "STOPPED" and task["lastStatus"] == "STOPPED":
                raise AssertionError(f"stopped: {task.get('stoppedReason')} {task['containers']}")
            return task if task["lastStatus"] == status else None
        return until(arrived, f"{status} of {arn}")

    def run_to_end(self, *containers, **more):
        return self.wait(self.start(*containers, **more))

    def stop(self, arn):
        self.client.call("StopTask", task=arn)
        return self.wait(arn)

    def output(self, name):
        """What a container wrote to /out/name."""
        path = self.out / name
        until(path.exists, f"the file {name}")
        return path.read_text().splitlines()

    def group_of(self, task, index=0):
        return (self.groups / task["taskArn"].rsplit("/", 1)[1] /
                task["containers"][index]["runtimeId"])

    def leaks(self):
        found = [self.data_dir] if os.path.exists(self.data_dir) else []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                group = (process / "cgroup").read_text()
            except OSError:
                continue
            if process.name != str(os.getpid()) and (self.data_dir in command or
                                                     f"/{self.tag}" in group):
                found.append(f"process {process.name}: {command}")
        mounts = pathlib.Path("/proc/mounts").read_text().splitlines()
        found += [line for line in mounts if self.data_dir in line or self.tag in line]
        found += [path for path in groups() if self.tag in path]
        found += [line for line in run("ip", "-o", "link").stdout.splitlines() if self.tag in line]
        found += [line for line in run("nft", "list", "tables").stdout.splitlines()
                  if self.tag in line]
        return found

    def logs(self):
        text = ""
        for log in sorted(pathlib.Path(self.data_dir, "log").glob("*.log")):
            text += f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) + "\n"
        return text


class Results:
    """Lines of TAP, one per check; what a failed check said goes before its line."""

    def __init__(self):
        self.number = 0

    def check(self, name, function, *arguments, logs=None):
        self.number += 1
        try:
            function(*arguments)
        except Exception:  # whatever went wrong, the others are to run
            traceback.print_exc()
            if logs:
                print(logs())
            print(f"not ok {self.number} - {name}", flush=True)
            return False
        print(f"ok {self.number} - {name}", flush=True)
        return True
