#!/usr/bin/env python3
"""`sudo make demo`: a one-machine cluster and the example web application on it, by the stock AWS
CLI. Everything is left running. Images are made from Debian packages once and kept in build/demo."""
import contextlib
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "examples" / "web"
BUILT = ROOT / "build" / "demo"
FAIRLEAD = ROOT / "build" / "fairlead"
AWS = ROOT / ".venv" / "bin" / "aws"
PATIENCE_S = 60


class Failed(Exception):
    pass


def run(*argv, env=None):
    result = subprocess.run([str(a) for a in argv], capture_output=True, text=True, env=env,
                            timeout=600, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(str(a) for a in argv)}\n{result.stderr or result.stdout}".strip())
    return result.stdout


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.1)
    return answer


# Images.

def suite():
    release = platform.freedesktop_os_release()
    return release.get("VERSION_CODENAME") or "bookworm"


def make_python_root(root):
    """Python and what it needs, unpacked from the distribution's packages."""
    run("mmdebstrap", "--quiet", "--variant=extract",
        "--include=python3-minimal,libpython3-stdlib", suite(), root)
    for name in ("proc", "sys", "tmp"):
        (root / name).mkdir(exist_ok=True)


def make_tools_root(root):
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in run("/bin/busybox", "--list").split():
        with contextlib.suppress(FileExistsError):
            (root / "bin" / applet).symlink_to("busybox")


def make_image(name, make_root, *sources):
    """An image of a root and the files of this folder in /app, made unless it is there already."""
    target = BUILT / f"{name}.tar"
    newest = max(source.stat().st_mtime for source in (*sources, pathlib.Path(__file__)))
    if target.exists() and target.stat().st_mtime > newest:
        return target
    print(f"making the image {name}:1 from Debian packages", flush=True)
    work = BUILT / f"{name}.work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "files" / "app").mkdir(parents=True)
    for source in sources:
        shutil.copy(source, work / "files" / "app")
    make_root(work / "root")
    partial = BUILT / f"{name}.partial.tar"
    run(sys.executable, ROOT / "tools" / "mkimage.py", "--tag", f"{name}:1", "--output", partial,
        work / "root", work / "files")
    partial.rename(target)
    shutil.rmtree(work)
    return target


def make_images():
    BUILT.mkdir(exist_ok=True)
    images = {
        "demo-web:1": make_image("demo-web", make_python_root, HERE / "app.py"),
        "demo-tools:1": make_image("demo-tools", make_tools_root, HERE / "worker.sh"),
    }
    owner = (ROOT / "build").stat()
    for path in (BUILT, *BUILT.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    return images


# The cluster.

class Client:
    """The stock AWS CLI with what `fairlead env` prints."""

    def __init__(self):
        lines = run(FAIRLEAD, "env").splitlines()
        given = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        self.env = {**os.environ, **given, "AWS_PAGER": ""}
        self.region = given["AWS_REGION"]

    def __call__(self, *argv, show=False):
        if show:
            print(f"$ aws {' '.join(str(a) for a in argv)}", flush=True)
        return json.loads(run(AWS, *argv, "--output", "json", env=self.env) or "{}")


def free_port(first=8080):
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("0.0.0.0", port))
                return port
    raise Failed("no free port from 8080 on")


def stop_earlier(aws):
    arns = aws("ecs", "list-tasks", "--family", "demo-web")["taskArns"]
    for arn in arns:
        aws("ecs", "stop-task", "--task", arn, "--reason", "A newer demo")
    if arns:
        until(lambda: all(t["lastStatus"] == "STOPPED" for t in
                          aws("ecs", "describe-tasks", "--tasks", *arns)["tasks"]),
              "the earlier demo's end")


def definition(aws, name, port=None):
    """The file of the example, with this installation's region and a free port in it."""
    text = (HERE / f"{name}.json").read_text().replace("us-east-1", aws.region)
    if port:
        text = text.replace("8080", str(port))
    path = BUILT / f"{name}.json"
    path.write_text(text)
    return path


def start(aws, name, port=None):
    path = definition(aws, name, port)
    shown = path.relative_to(ROOT)
    aws("ecs", "register-task-definition", "--cli-input-json", f"file://{shown}", show=True)
    answer = aws("ecs", "run-task", "--task-definition", f"demo-{name}", show=True)
    if answer["failures"]:
        raise Failed(f"run-task: {answer['failures']}")
    return answer["tasks"][0]["taskArn"]


def wait_for(aws, arn, status):
    def arrived():
        task = aws("ecs", "describe-tasks", "--tasks", arn)["tasks"][0]
        if task["lastStatus"] == "STOPPED" and status != "STOPPED":
            raise Failed(f"the task stopped: {task.get('stoppedReason')}: {task['containers']}")
        return task if task["lastStatus"] == status else None
    return until(arrived, f"{status} of {arn}")


def lines_of(aws, arn, group, container):
    stream = f"demo/{container}/{arn.rsplit('/', 1)[1]}"
    events = aws("logs", "get-log-events", "--log-group-name", group, "--log-stream-name", stream,
                 "--start-from-head")["events"]
    return [event["message"] for event in events]


def fetch(url):
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    return None


def show_lines(title, lines):
    print(f"\n{title}")
    for line in lines[-5:]:
        print(f"    {line}")


def main():
    os.chdir(ROOT)
    images = make_images()
    print(run(FAIRLEAD, "up"), flush=True)
    for name, path in images.items():
        run(FAIRLEAD, "image", "load", path, name)
    aws = Client()
    stop_earlier(aws)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    web = start(aws, "web", port)
    wait_for(aws, web, "RUNNING")
    until(lambda: fetch(url), f"an answer at {url}")
    report = start(aws, "report")
    ended = wait_for(aws, report, "STOPPED")
    code = ended["containers"][0].get("exitCode")
    until(lambda: any("round" in line for line in lines_of(aws, web, "/demo/web", "worker")),
          "the worker's first round")
    page = fetch(url)
    if not page or "It runs." not in page or code != 7:
        raise Failed(f"the page or the exit code ({code}) is not what it should be")
    print(f"\nThe page at {url}")
    for line in page.splitlines():
        if line.startswith(("<h1>", "<p>", "<tr>")):
            print("    " + line.replace("<td>", " ").replace("</td>", "").replace("<tr>", "")
                  .replace("<h1>", "").replace("</h1>", "").replace("<p>", "").replace("</p>", "")
                  .strip())
    show_lines("Log of the container web", lines_of(aws, web, "/demo/web", "web"))
    show_lines("Log of the container worker", lines_of(aws, web, "/demo/web", "worker"))
    show_lines("Log of the one-shot container report",
               until(lambda: lines_of(aws, report, "/demo/report", "report"), "the report's log"))
    print(f"    … and its exit code is {code}")
    print(f"""
Everything is left running. What to try next:
    open {url}
    eval "$(build/fairlead env)"           endpoint and credentials for this shell
    aws ecs list-tasks                     .venv/bin/aws is a new enough AWS CLI
    aws ecs describe-tasks --tasks {web.rsplit('/', 1)[1]}
    aws ecs stop-task --task {web.rsplit('/', 1)[1]}
    build/fairlead status                  what runs
    sudo build/fairlead uninstall          removes everything again""")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("demo: containers need root: run `sudo make demo`")
    try:
        main()
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"demo: {failure}")
