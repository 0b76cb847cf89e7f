#!/usr/bin/env python3
"""Runs four.json on an installation of its own and watches the four containers; see README.md.
Images are made once and kept in build/four."""
import json
import pathlib
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build" / "four"
FAIRLEAD = ROOT / "build" / "fairlead"
AWS = ROOT / ".venv" / "bin" / "aws"
PATIENCE_S = 150
PACKAGES = {
    "postgres": "postgresql-15,dash,coreutils,sed,grep,util-linux",
    "python": "python3-minimal,libpython3-stdlib,dash,coreutils",
    "redis": "redis-server,dash,coreutils",
    "nginx": "nginx-light,dash,coreutils",
}
PASSWD = "root:x:0:0:root:/root:/bin/sh\npostgres:x:26:26:postgres:/data:/bin/sh\n"


def run(*argv, env=None):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, env=env,
                          timeout=600, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in argv)}\n{done.stderr or done.stdout}")
    return done.stdout


def make_image(name):
    """A docker-archive of Debian packages, unpacked without their scripts."""
    target = BUILT / f"{name}.tar"
    if target.exists():
        return target
    print(f"making the image four-{name}:1 from Debian packages", flush=True)
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME") or "bookworm"
    with tempfile.TemporaryDirectory(dir=BUILT) as scratch:
        root = pathlib.Path(scratch, "root")
        run("mmdebstrap", "--quiet", "--variant=extract", f"--include={PACKAGES[name]}", suite, root)
        for folder in ("proc", "sys", "tmp", "app", "data"):
            (root / folder).mkdir(exist_ok=True)
        (root / "etc" / "passwd").write_text(PASSWD)
        (root / "etc" / "group").write_text("root:x:0:\npostgres:x:26:\n")
        shutil.copy(HERE / "app.py", root / "app" / "app.py")
        run(sys.executable, ROOT / "tools" / "mkimage.py", "--tag", f"four-{name}:1", "--cmd",
            "/bin/sh", "--output", target, root)
    return target


class Installation:
    def __init__(self):
        self.data_dir = tempfile.mkdtemp(prefix="fairlead-four-")
        self.flags = ["--data-dir", self.data_dir]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            listen = f"127.0.0.1:{probe.getsockname()[1]}"
        run(FAIRLEAD, "up", *self.flags, "--listen", listen)
        lines = run(FAIRLEAD, "env", *self.flags).splitlines()
        self.env = {"PATH": "/usr/bin:/bin", "AWS_PAGER": "", "HOME": self.data_dir,
                    **dict(line.removeprefix("export ").split("=", 1) for line in lines)}

    def aws(self, *argv, service="ecs"):
        text = run(AWS, service, *argv, "--output", "json", env=self.env)
        return json.loads(text) if text.strip() else {}

    def starts_of_cache(self):
        found = self.aws("filter-log-events", "--log-group-name", "/four", service="logs")
        return sum(event["message"] == "cache starts" for event in found["events"])

    def end(self):
        run(FAIRLEAD, "uninstall", *self.flags, "--yes")


def until(task, holds, what):
    """The task as soon as it holds; says so."""
    begun = time.monotonic()
    while True:
        found = task()
        if holds({c["name"]: c for c in found["containers"]}, found):
            print(f"{what}: after {time.monotonic() - begun:.1f} s", flush=True)
            return found
        if time.monotonic() - begun > PATIENCE_S or found["lastStatus"] == "STOPPED":
            sys.exit(f"{what}: not seen\n{json.dumps(found, indent=1)}")
        time.sleep(0.2)


def page(task):
    app = next(c for c in task["containers"] if c["name"] == "app")
    url = f"http://127.0.0.1:{app['networkBindings'][0]['hostPort']}/"
    return urllib.request.urlopen(url, timeout=10).read().decode().strip()


def watch(installation):
    aws = installation.aws
    aws("register-task-definition", "--cli-input-json", f"file://{HERE / 'four.json'}")
    arn = aws("run-task", "--task-definition", "four")["tasks"][0]["taskArn"]

    def task():
        return aws("describe-tasks", "--tasks", arn)["tasks"][0]
    until(task, lambda c, t: c["migrate"].get("exitCode") == 0, "migrate has succeeded")
    until(task, lambda c, t: c["app"]["healthStatus"] == "HEALTHY", "app is healthy")
    found = until(task, lambda c, t: c["web"].get("exitCode") == 3, "web has ended, with 3")
    assert found["lastStatus"] == "RUNNING", found
    print(f"app serves the database's version: {page(found)}")
    until(task, lambda c, t: installation.starts_of_cache() >= 2, "cache has been started again")
    assert task()["lastStatus"] == "RUNNING"
    aws("stop-task", "--task", arn, "--reason", "seen enough")
    until(lambda: {**task(), "lastStatus": "-", "ended": task()["lastStatus"]},
          lambda c, t: t["ended"] == "STOPPED", "the task has stopped")


def main():
    BUILT.mkdir(parents=True, exist_ok=True)
    archives = {name: make_image(name) for name in PACKAGES}
    installation = Installation()
    try:
        for name, archive in archives.items():
            run(FAIRLEAD, "image", "load", archive, f"four-{name}:1", *installation.flags)
        watch(installation)
    finally:
        installation.end()
    print("gone without a trace")


if __name__ == "__main__":
    main()
