"""The AWS CLI's second version, as Debian packages it (tools/aws2.sh), does what a user does with it.
Method: the program itself, told the endpoint as versions before 2.13 have to be."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import threading

import cluster as clusters
import pytest
from cluster import until

AWS2 = pathlib.Path(os.environ.get("AWS2", clusters.ROOT / "build" / "aws2" / "aws"))
pytestmark = pytest.mark.skipif(not AWS2.exists(), reason="tools/aws2.sh has not fetched it")


def command(cluster, *argv):
    return [str(AWS2), "--endpoint-url", cluster.env["AWS_ENDPOINT_URL"], *argv]


def environment(cluster):
    return {"PATH": os.environ["PATH"], "HOME": cluster.data_dir, "AWS_PAGER": "",
            "PYTHONUNBUFFERED": "1", **cluster.env}


def aws(cluster, *argv, check=True):
    return clusters.run(*command(cluster, *argv), env=environment(cluster), check=check)


def asked(cluster, *argv):
    return json.loads(aws(cluster, *argv, "--output", "json").stdout)


class Tail:
    """`aws logs tail --follow`, and the lines that it has printed so far."""

    def __init__(self, cluster, *argv):
        self.process = subprocess.Popen(command(cluster, "logs", "tail", *argv, "--follow"),
                                        env=environment(cluster), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def words(self):
        """What follows the time and, but for the short form, the stream."""
        return [line.split()[-1] for line in list(self.lines)]

    def end(self):
        """As by the user's ^C: what it says on stderr."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        self.process.kill()
        self.reader.join(timeout=20)
        return self.process.communicate()[1]


@pytest.fixture
def tail(cluster):
    """tail(*argv): one that is ended with the test."""
    made = []

    def start(*argv):
        made.append(Tail(cluster, *argv))
        return made[-1]
    yield start
    for each in made:
        if each.process.poll() is None:
            each.end()


def test_tasks_from_definition_to_end(cluster):
    version = aws(cluster, "--version").stdout
    assert version.startswith("aws-cli/2.")
    aws(cluster, "ecs", "create-cluster", "--cluster-name", "second", "--tags", "key=a,value=b")
    definition = {"family": "by-cli-2", "containerDefinitions": [clusters.idle()]}
    revision = asked(cluster, "ecs", "register-task-definition", "--cli-input-json",
                     json.dumps(definition))["taskDefinition"]
    assert revision["taskDefinitionArn"].endswith(f"by-cli-2:{revision['revision']}")
    arn = aws(cluster, "ecs", "run-task", "--task-definition", "by-cli-2", "--query",
              "tasks[0].taskArn", "--output", "text").stdout.strip()
    aws(cluster, "ecs", "wait", "tasks-running", "--tasks", arn)
    assert arn in asked(cluster, "ecs", "list-tasks", "--family", "by-cli-2")["taskArns"]
    aws(cluster, "ecs", "stop-task", "--task", arn, "--reason", "enough")
    aws(cluster, "ecs", "wait", "tasks-stopped", "--tasks", arn)
    (task,) = asked(cluster, "ecs", "describe-tasks", "--tasks", arn, "--include", "TAGS")["tasks"]
    assert (task["lastStatus"], task["stoppedReason"]) == ("STOPPED", "enough")
    assert task["containers"][0]["exitCode"] == 0
    (described,) = asked(cluster, "ecs", "describe-clusters", "--clusters", "second", "--include",
                         "TAGS", "SETTINGS")["clusters"]
    assert described["tags"] == [{"key": "a", "value": "b"}]
    aws(cluster, "ecs", "delete-cluster", "--cluster", "second")
    wrong = aws(cluster, "ecs", "stop-task", "--task", "f" * 32, check=False)
    assert wrong.returncode == 254
    assert "(InvalidParameterException) when calling the StopTask operation" in wrong.stderr


def counting(word, count):
    return clusters.sh(f"for i in $(seq 1 {count}); do echo {word}-$i; sleep 0.1; done; sleep 1",
                       logConfiguration=clusters.awslogs("/tail/two"))


def test_a_tail_follows(cluster, tail):
    """Lines from before it began, those that follow, and those of streams that begin meanwhile; each
    once and in order."""
    cluster.run_to_end(counting("early", 5))
    everything = tail("/tail/two", "--since", "1m")
    errors = tail("/tail/two", "--since", "1m", "--filter-pattern", "later-3", "--format", "short")
    early = [f"early-{i}" for i in range(1, 6)]
    until(lambda: everything.words() == early, 60, "the lines from before")
    later = [cluster.start(cluster.register(counting("later", 20))) for _ in range(2)]
    for arn in later:
        cluster.wait(arn, timeout=60)
    wanted = sorted(early + 2 * [f"later-{i}" for i in range(1, 21)])
    until(lambda: sorted(everything.words()) == wanted, 60, "the lines that followed")
    until(lambda: errors.words() == ["later-3", "later-3"], 60, "what the pattern lets through")
    for arn in later:
        stream = f"t/main/{arn.rsplit('/', 1)[1]}"
        mine = [line.split()[-1] for line in everything.lines if stream in line]
        assert mine == [f"later-{i}" for i in range(1, 21)]
    for each in (everything, errors):
        assert "Traceback" not in each.end()
    said = aws(cluster, "logs", "tail", "/tail/two", "--since", "5m", "--log-stream-name-prefix",
               f"t/main/{later[0].rsplit('/', 1)[1]}").stdout
    assert len(said.splitlines()) == 20
    missing = aws(cluster, "logs", "tail", "/nowhere", check=False)
    assert missing.returncode == 254 and "ResourceNotFoundException" in missing.stderr
