"""A private installation for tests: a data directory and a port of its own, real clients, and the
search for what must not be left behind."""
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAIRLEAD = os.environ.get("FAIRLEAD_UNDER_TEST", str(ROOT / "build" / "fairlead"))
AWS = str(ROOT / ".venv" / "bin" / "aws")
TARGETS = {"ecs": "AmazonEC2ContainerServiceV20141113", "logs": "Logs_20140328",
           "secretsmanager": "secretsmanager", "ssm": "AmazonSSM"}


def until(condition, timeout=20.0, what="the condition", pause=0.01):
    """Calls condition until it answers something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(pause)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*argv, env=None, timeout=120, check=True, text=True, **more):
    result = subprocess.run(argv, capture_output=True, text=text, timeout=timeout, env=env, **more)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {result.returncode}:\n"
                             f"{result.stdout}{result.stderr}")
    return result


def container(name="main", image="busybox:1", memory=64, **more):
    return {"name": name, "image": image, "memory": memory, **more}


def sh(script, **more):
    return container(command=["sh", "-c", script], **more)


def idle(script="", **more):
    """Runs until told to end, and then ends at once. A process 1 without a handler for SIGTERM
    never gets it; one that is asked before it has its handler ends by its short timeout."""
    return sh(f"trap 'exit 0' TERM; {script} sleep 1000 & wait $!", **{"stopTimeout": 2, **more})


def awslogs(group, prefix="t", **options):
    return {"logDriver": "awslogs",
            "options": {"awslogs-group": group, "awslogs-region": "us-east-1",
                        "awslogs-stream-prefix": prefix, "awslogs-create-group": "true",
                        **options}}


class Cluster:
    """What `fairlead up` starts, with clients for it."""

    def __init__(self, *flags):
        self.data_dir = tempfile.mkdtemp(prefix="fairlead-test-")
        os.chmod(self.data_dir, 0o700)
        self.tag = self.tag_of(self.data_dir)
        self.port = free_port()
        self.flags = flags
        self._families = 0

    @staticmethod
    def tag_of(data_dir):
        """What links, tables and groups of an installation are called."""
        return "fl" + hashlib.sha256(data_dir.encode()).hexdigest()[:6]

    # The operator's side.

    def fairlead(self, *argv, check=True, timeout=120, env=None):
        return run(FAIRLEAD, argv[0], "--data-dir", self.data_dir, *argv[1:], check=check,
                   timeout=timeout, env=env)

    def up(self):
        self.fairlead("up", "--listen", f"127.0.0.1:{self.port}", *self.flags)
        lines = self.fairlead("env").stdout.splitlines()
        self.env = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        session = boto3.session.Session(
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_REGION"])
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30,
                                        max_pool_connections=20)
        endpoint = self.env["AWS_ENDPOINT_URL"]
        self.ecs = session.client("ecs", endpoint_url=endpoint, config=config)
        self.logs = session.client("logs", endpoint_url=endpoint, config=config)
        self.secretsmanager = session.client("secretsmanager", endpoint_url=endpoint, config=config)
        self.ssm = session.client("ssm", endpoint_url=endpoint, config=config)

    def status(self):
        return json.loads(self.fairlead("status", "--json", check=False).stdout)

    def pid(self, role):
        return self.status()[role]["pid"]

    def kill(self, role):
        """kill -9, and the proof that it is gone."""
        pid = self.pid(role)
        os.kill(pid, 9)
        until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), what=f"end of the {role}")

    def aws(self, *argv, check=True):
        """The stock AWS CLI, as a user with `eval "$(fairlead env)"` runs it."""
        env = {"PATH": os.environ["PATH"], "HOME": self.data_dir, "AWS_PAGER": "", **self.env}
        return run(AWS, *argv, env=env, check=check)

    def aws_json(self, *argv):
        return json.loads(self.aws(*argv, "--output", "json").stdout)

    def key(self, who="operator"):
        return json.loads(pathlib.Path(self.data_dir, "keys", f"{who}.json").read_text())

    def load_image(self, path, name):
        run(FAIRLEAD, "image", "load", str(path), name, "--data-dir", self.data_dir)

    # The client's side.

    def family(self):
        self._families += 1
        return f"family-{self._families}"

    def register(self, *containers, family=None, **more):
        answer = self.ecs.register_task_definition(
            family=family or self.family(), containerDefinitions=list(containers), **more)
        return answer["taskDefinition"]["taskDefinitionArn"]

    def start(self, definition, **more):
        answer = self.ecs.run_task(taskDefinition=definition, **more)
        assert not answer["failures"], answer["failures"]
        return answer["tasks"][0]["taskArn"]

    def task(self, arn, cluster="default"):
        answer = self.ecs.describe_tasks(cluster=cluster, tasks=[arn])
        assert not answer["failures"], answer["failures"]
        return answer["tasks"][0]

    def wait(self, arn, status="STOPPED", timeout=30.0, cluster="default"):
        def arrived():
            task = self.task(arn, cluster)
            if status != "STOPPED" and task["lastStatus"] == "STOPPED":
                raise AssertionError(f"the task stopped: {task.get('stoppedReason')} "
                                     f"{task['containers']}")
            return task if task["lastStatus"] == status else None
        return until(arrived, timeout, f"{status} of {arn}")

    def run_to_end(self, *containers, timeout=30.0, **more):
        """Registers, runs, waits for the end; the stopped task."""
        return self.wait(self.start(self.register(*containers, **more)), timeout=timeout)

    def stop_all(self):
        arns = self.ecs.list_tasks()["taskArns"]
        for arn in arns:
            self.ecs.stop_task(task=arn)
        for arn in arns:
            self.wait(arn, timeout=60)

    def messages(self, group, stream):
        """Every message of a stream, in order."""
        found, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            answer = self.logs.get_log_events(logGroupName=group, logStreamName=stream,
                                              startFromHead=True, limit=10000, **more)
            found += [event["message"] for event in answer["events"]]
            if not answer["events"] or answer["nextForwardToken"] == token:
                return found
            token = answer["nextForwardToken"]

    # Requests that no client would send.

    def signed(self, target, body, *, service="ecs", key=None, when=None, region="us-east-1",
               content_type="application/x-amz-json-1.1", token=None):
        """Headers of a signed request; body as bytes."""
        key = key or self.key()
        credentials = botocore.credentials.Credentials(key["accessKeyId"], key["secretAccessKey"],
                                                       token)
        request = botocore.awsrequest.AWSRequest(
            "POST", f"http://127.0.0.1:{self.port}/", data=body,
            headers={"X-Amz-Target": target, "Content-Type": content_type,
                     "Host": f"127.0.0.1:{self.port}"})
        auth = botocore.auth.SigV4Auth(credentials, service, region)
        if when is None:
            auth.add_auth(request)
        else:
            with _clock_at(when):
                auth.add_auth(request)
        return dict(request.headers.items())

    def post(self, headers, body):
        """(status, answer) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/", body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}

    def call(self, operation, members, *, service="ecs", **more):
        """(status, answer) of an operation, past the client's own validation."""
        body = members if isinstance(members, bytes) else json.dumps(members).encode()
        target = f"{TARGETS[service]}.{operation}"
        return self.post(self.signed(target, body, service=service, **more), body)

    # The end.

    def uninstall(self):
        self.fairlead("uninstall", "--yes", timeout=180)

    def diagnose(self):
        """The daemons' last words, for a failing test."""
        text = ""
        for log in sorted(pathlib.Path(self.data_dir, "log").glob("*.log")):
            text += f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-40:]) + "\n"
        return text

    def leaks(self):
        """What the installation left on the machine, as sentences."""
        found = []
        if os.path.exists(self.data_dir):
            found.append(f"{self.data_dir} exists")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(
                    errors="replace")
                groups = (process / "cgroup").read_text()
                if process.name != str(os.getpid()) and (
                        self.data_dir in command or f"/{self.tag}" in groups):
                    found.append(f"process {process.name}: {command}")
        mounts = pathlib.Path("/proc/mounts").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if self.data_dir in line or self.tag in line]
        for pattern in (self.tag, f"*/{self.tag}"):
            found += [f"cgroup {path}" for path in pathlib.Path("/sys/fs/cgroup").glob(pattern)]
        links = run("ip", "-o", "link").stdout.splitlines()
        found += [f"link {line}" for line in links if self.tag in line]
        tables = run("nft", "list", "tables").stdout.splitlines()
        found += [f"table {line}" for line in tables if self.tag in line]
        found += [f"namespace {path}" for path in pathlib.Path("/run").glob(f"netns/{self.tag}*")]
        found += [f"{path} exists" for place in ("/run", "/dev/shm")
                  for path in pathlib.Path(place).glob(f"fairlead-{self.tag}")]
        if self.tag in pathlib.Path("/etc/hosts").read_text():
            found.append("a line in /etc/hosts")
        return found


@contextlib.contextmanager
def _clock_at(when):
    """botocore's clock, for signatures of another time."""
    saved = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *args, **kwargs: when
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = saved
