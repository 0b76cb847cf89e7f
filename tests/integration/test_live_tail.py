"""Goal: StartLiveTail tells stock clients what is stored, as it is stored. Method: boto3 as a user
runs it, through the name that `env` prints: botocore prefixes the host and decodes the stream."""
import contextlib
import os
import subprocess
import threading
import time

import botocore.exceptions
import cluster as clusters
import pytest


class Tail:
    """A session, read in a thread of its own."""

    def __init__(self, logs, groups, **more):
        self.stream = logs.start_live_tail(logGroupIdentifiers=groups, **more)["responseStream"]
        self.start, self.results, self.sampled, self.updates = None, [], False, 0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        clusters.until(lambda: self.start, what="sessionStart")

    def _read(self):
        with contextlib.suppress(Exception):
            for event in self.stream:
                if "sessionStart" in event:
                    self.start = event["sessionStart"]
                    continue
                update = event["sessionUpdate"]
                self.updates += 1
                self.sampled = self.sampled or update["sessionMetadata"]["sampled"]
                self.results += update["sessionResults"]

    def messages(self):
        return [result["message"] for result in self.results]

    def close(self):
        self.stream.close()
        self.thread.join(10)


@pytest.fixture
def tail(cluster):
    opened = []

    def start(*arguments, **more):
        opened.append(Tail(cluster.logs, *arguments, **more))
        return opened[-1]
    yield start
    for each in opened:
        each.close()


def make(cluster, group, *streams):
    cluster.logs.create_log_group(logGroupName=group)
    for stream in streams:
        cluster.logs.create_log_stream(logGroupName=group, logStreamName=stream)
    found = cluster.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    return found[0]["logGroupArn"]


def put(cluster, group, stream, *messages):
    now = int(time.time() * 1000)
    cluster.logs.put_log_events(
        logGroupName=group, logStreamName=stream,
        logEvents=[{"timestamp": now, "message": message} for message in messages])


def test_what_matches_is_told_as_it_is_stored(cluster, tail):
    arn = make(cluster, "/live/a", "web/1", "db/1")
    everything = tail([arn])
    errors = tail([arn], logStreamNamePrefixes=["web/"], logEventFilterPattern="{ $.code > 499 }")
    assert errors.start["logGroupIdentifiers"] == [arn]
    assert errors.start["logEventFilterPattern"] == "{ $.code > 499 }"
    put(cluster, "/live/a", "web/1", '{"code": 200}', '{"code": 503}')
    put(cluster, "/live/a", "db/1", '{"code": 500}')
    clusters.until(lambda: len(everything.results) >= 3, what="three events")
    assert everything.messages() == ['{"code": 200}', '{"code": 503}', '{"code": 500}']
    clusters.until(lambda: errors.results, what="the error")
    seen = errors.updates
    clusters.until(lambda: errors.updates > seen + 1, what="updates without events")
    assert errors.messages() == ['{"code": 503}']
    result = errors.results[0]
    assert result["logStreamName"] == "web/1"
    assert result["logGroupIdentifier"] == "000000000000:/live/a"
    assert not everything.sampled


def test_lines_of_a_container_are_told(cluster, tail):
    arn = make(cluster, "/live/c")
    watching = tail([arn])
    cluster.run_to_end(clusters.sh("seq 1 50", logConfiguration=clusters.awslogs("/live/c")))
    clusters.until(lambda: len(watching.results) >= 50, what="the lines")
    assert watching.messages() == [str(i) for i in range(1, 51)]


def test_the_stock_cli_prints_what_is_told(cluster):
    arn = make(cluster, "/live/cli", "s")
    env = {"PATH": os.environ["PATH"], "HOME": cluster.data_dir, "AWS_PAGER": "", **cluster.env}
    process = subprocess.Popen([clusters.AWS, "logs", "start-live-tail", "--log-group-identifiers",
                                arn, "--log-event-filter-pattern", "ERROR"], env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        found = []
        reader = threading.Thread(target=lambda: found.append(process.stdout.readline()),
                                  daemon=True)
        reader.start()

        def printed():
            put(cluster, "/live/cli", "s", "INFO no", "ERROR yes")
            return found
        clusters.until(printed, 30, "a line of the CLI", pause=0.5)
        assert found == ["ERROR yes\n"]
    finally:
        process.kill()
        process.wait(10)


def test_too_much_is_sampled(cluster, tail):
    arn = make(cluster, "/live/much", "s")
    watching = tail([arn])
    put(cluster, "/live/much", "s", *[str(i) for i in range(2000)])
    clusters.until(lambda: watching.sampled, what="a sample")
    assert watching.messages() == [str(i) for i in range(500)]


def test_sessions_end_with_their_clients(cluster, tail):
    arn = make(cluster, "/live/many", "s")
    opened = []
    with pytest.raises(cluster.logs.exceptions.LimitExceededException):
        for _ in range(100):
            opened.append(cluster.logs.start_live_tail(logGroupIdentifiers=[arn])["responseStream"])
    for each in opened:
        each.close()

    def begins():
        with contextlib.suppress(cluster.logs.exceptions.LimitExceededException):
            return tail([arn])
        return None
    watching = clusters.until(begins, what="room for another session", pause=0.2)
    put(cluster, "/live/many", "s", "after all")
    clusters.until(lambda: watching.messages() == ["after all"], what="the event")


def test_what_makes_no_sense_is_refused(cluster):
    logs = cluster.logs
    arn = make(cluster, "/live/refused", "s")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.start_live_tail(logGroupIdentifiers=[arn + "x"])
    for more in ({"logStreamNames": ["s"], "logStreamNamePrefixes": ["s"]},
                 {"logEventFilterPattern": "{ $.x"}):
        with pytest.raises(logs.exceptions.InvalidParameterException):
            logs.start_live_tail(logGroupIdentifiers=[arn], **more)
    with pytest.raises(botocore.exceptions.ClientError):
        logs.start_live_tail(logGroupIdentifiers=[arn, arn], logStreamNames=["s"])


def test_a_server_that_stops_ends_its_sessions(private):
    arn = make(private, "/live/stop", "s")
    watching = Tail(private.logs, [arn])
    private.fairlead("down")
    watching.thread.join(20)
    assert not watching.thread.is_alive()
