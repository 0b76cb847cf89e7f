"""Goal: every line of a container is in the Logs API once, in order. Method: containers that count,
compared with what GetLogEvents and FilterLogEvents give back."""
import botocore.exceptions
import cluster as clusters
import pytest


def stream_of(task, prefix="t", name="main"):
    return f"{prefix}/{name}/{task['taskArn'].rsplit('/', 1)[1]}"


def settled(cluster, group, task, count):
    """The messages of a task that has ended, once there are that many: the last ones may follow
    its end."""
    stream = stream_of(task)
    clusters.until(lambda: len(cluster.messages(group, stream)) >= count, what=f"{count} lines",
                   pause=0.1)
    return cluster.messages(group, stream)


def test_many_lines_arrive_in_order(cluster):
    task = cluster.run_to_end(clusters.sh("seq 1 20000", logConfiguration=clusters.awslogs("/many")))
    assert settled(cluster, "/many", task, 20000) == [str(i) for i in range(1, 20001)]


def test_both_streams_and_a_last_line_without_an_end(cluster):
    task = cluster.run_to_end(clusters.sh("echo out; sleep 0.1; echo err >&2; sleep 0.1; "
                                          "printf 'no newline'",
                                          logConfiguration=clusters.awslogs("/both")))
    assert settled(cluster, "/both", task, 3) == ["out", "err", "no newline"]


def test_group_and_stream_are_there_before_the_container_runs(cluster):
    arn = cluster.start(cluster.register(
        clusters.idle(logConfiguration=clusters.awslogs("/early", prefix="p"))))
    task = cluster.wait(arn, "RUNNING")
    streams = cluster.logs.describe_log_streams(logGroupName="/early")["logStreams"]
    assert [s["logStreamName"] for s in streams] == [stream_of(task, "p")]
    groups = cluster.logs.describe_log_groups(logGroupNamePrefix="/early")["logGroups"]
    assert [g["logGroupName"] for g in groups] == ["/early"]


def test_a_missing_group_that_is_not_to_be_created_fails_the_task(cluster):
    options = clusters.awslogs("/not-there")
    del options["options"]["awslogs-create-group"]
    task = cluster.run_to_end(clusters.sh("echo never", logConfiguration=options))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "/not-there" in task["containers"][0]["reason"] or "ResourceNotFoundException" in \
        task["containers"][0]["reason"]


def test_the_api_by_itself(cluster):
    logs = cluster.logs
    logs.create_log_group(logGroupName="/by-hand")
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/by-hand")
    logs.create_log_stream(logGroupName="/by-hand", logStreamName="s")
    import time
    now = int(time.time() * 1000)
    events = [{"timestamp": now - 5, "message": "a"}, {"timestamp": now, "message": "b c"}]
    logs.put_log_events(logGroupName="/by-hand", logStreamName="s", logEvents=events)
    found = logs.get_log_events(logGroupName="/by-hand", logStreamName="s", startFromHead=True)
    assert [(e["timestamp"], e["message"]) for e in found["events"]] == [
        (e["timestamp"], e["message"]) for e in events]
    matched = logs.filter_log_events(logGroupName="/by-hand", filterPattern="b")["events"]
    assert [e["message"] for e in matched] == ["b c"]
    late = logs.get_log_events(logGroupName="/by-hand", logStreamName="s", startTime=now,
                               startFromHead=True)
    assert [e["message"] for e in late["events"]] == ["b c"]


def test_unknown_groups_and_streams(cluster):
    logs = cluster.logs
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="/nowhere", logStreamName="s")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.create_log_stream(logGroupName="/nowhere", logStreamName="s")
    with pytest.raises(botocore.exceptions.ClientError):
        logs.create_log_group(logGroupName="bad name with blanks")


def test_an_empty_and_a_long_line(cluster):
    task = cluster.run_to_end(clusters.sh("echo; head -c 20000 /dev/zero | tr '\\0' x; echo; "
                                          "echo end", logConfiguration=clusters.awslogs("/long")))
    found = settled(cluster, "/long", task, 2)
    assert "".join(found).count("x") == 20000
    assert found[-1] == "end"
