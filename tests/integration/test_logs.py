"""Goal: every line of a container is in the Logs API once, in order. Method: containers that count,
compared with what GetLogEvents and FilterLogEvents give back."""
import collections
import time

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


def make(cluster, group, *streams):
    cluster.logs.create_log_group(logGroupName=group)
    for stream in streams:
        cluster.logs.create_log_stream(logGroupName=group, logStreamName=stream)


def put(cluster, group, stream, *messages, at=None):
    now = int(time.time() * 1000) if at is None else at
    return cluster.logs.put_log_events(
        logGroupName=group, logStreamName=stream,
        logEvents=[{"timestamp": now, "message": message} for message in messages])


class Follower:
    """The calls of version 2's `aws logs tail --follow`, in their order, with its memory."""

    def __init__(self, logs, group, since):
        self.logs = logs
        self.arguments = {"logGroupName": group, "interleaved": True, "startTime": since}
        self.seen = collections.defaultdict(set)
        self.messages = []

    def poll(self):
        """One round: pages until there is no token any more."""
        while True:
            answer = self.logs.filter_log_events(**self.arguments)
            for event in answer["events"]:
                if event["eventId"] not in self.seen[event["timestamp"]]:
                    self.seen[event["timestamp"]].add(event["eventId"])
                    self.messages.append((event["logStreamName"], event["message"]))
            newest = max(self.seen, default=None)
            self.seen = collections.defaultdict(set, {newest: self.seen[newest]}
                                                if newest is not None else {})
            if "nextToken" in answer:
                self.arguments["nextToken"] = answer["nextToken"]
                continue
            self.arguments.pop("nextToken", None)
            if newest is not None:
                self.arguments["startTime"] = newest
            return


def test_a_group_is_followed_over_its_streams(cluster):
    make(cluster, "/follow", "a", "b")
    put(cluster, "/follow", "a", "too early", at=int(time.time() * 1000) - 60000)
    follower = Follower(cluster.logs, "/follow", int(time.time() * 1000) - 10000)
    follower.poll()
    assert follower.messages == []
    expected = []
    for i in range(4):
        for stream in ("a", "b"):
            messages = [f"{i}.{j}" for j in range(3)]
            put(cluster, "/follow", stream, *messages)
            expected += [(stream, message) for message in messages]
        follower.poll()
        follower.poll()
    assert sorted(follower.messages) == sorted(expected)
    for stream in ("a", "b"):
        mine = [m for s, m in follower.messages if s == stream]
        assert mine == [m for s, m in expected if s == stream]


def test_a_hundred_thousand_lines_are_complete_and_paged(cluster):
    task = cluster.run_to_end(
        clusters.sh("seq 1 100000", logConfiguration=clusters.awslogs("/hundred")), timeout=60)
    stream = stream_of(task)
    found = clusters.until(
        lambda: (lambda lines: lines if len(lines) >= 100000 else None)(
            cluster.messages("/hundred", stream)), timeout=60, what="the lines", pause=1)
    assert found == [str(i) for i in range(1, 100001)]
    pages = cluster.logs.get_paginator("filter_log_events").paginate(
        logGroupName="/hundred", filterPattern="%^[0-9]*999$%")
    matched = [event["message"] for page in pages for event in page["events"]]
    assert matched == [str(i) for i in range(999, 100000, 1000)]
    described = cluster.logs.describe_log_streams(logGroupName="/hundred")["logStreams"][0]
    assert described["storedBytes"] == sum(len(line) + 26 for line in found)


def test_writers_at_one_time_keep_their_orders(cluster):
    definition = cluster.register(
        clusters.sh("seq 1 40000", logConfiguration=clusters.awslogs("/together")))
    arns = [cluster.start(definition) for _ in range(4)]
    tasks = [cluster.wait(arn, timeout=60) for arn in arns]
    expected = [str(i) for i in range(1, 40001)]
    for task in tasks:
        assert settled(cluster, "/together", task, 40000) == expected
    pages = cluster.logs.get_paginator("filter_log_events").paginate(logGroupName="/together",
                                                                    interleaved=True)
    events = [event for page in pages for event in page["events"]]
    assert len({event["eventId"] for event in events}) == len(events) == 160000
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    for task in tasks:
        mine = [e["message"] for e in events if e["logStreamName"] == stream_of(task)]
        assert mine == expected


def test_patterns_select_events(cluster):
    make(cluster, "/patterns", "s")
    put(cluster, "/patterns", "s", "ERROR disk full", "INFO all well",
        '{"a": {"b": "x"}, "n": 4}', '{"a": {"b": "x"}, "n": 2, "k": null}',
        '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534')
    for pattern, index in {"?ERROR ?WARN": [0], '"all well"': [1], "%^[A-Z]+ d.sk%": [0],
                           "-ERROR -INFO -frank": [2, 3],
                           '{ $.a.b = "x" && ($.n > 3 || $.k IS NULL) }': [2, 3],
                           "{ $.k NOT EXISTS }": [2],
                           "[ip, id, user, time, request = *html*, status = 4*, size > 1000]": [4],
                           "[..., size]": [0, 1, 2, 3, 4]}.items():
        events = cluster.logs.filter_log_events(logGroupName="/patterns")["events"]
        found = cluster.logs.filter_log_events(logGroupName="/patterns", filterPattern=pattern)
        wanted = [events[i]["message"] for i in index]
        if pattern != "[..., size]":
            assert [event["message"] for event in found["events"]] == wanted, pattern
        tried = cluster.logs.test_metric_filter(
            filterPattern=pattern, logEventMessages=[event["message"] for event in events])
        assert [match["eventNumber"] - 1 for match in tried["matches"]] == index, pattern
    assert tried["matches"][4]["extractedValues"] == {"$size": "1534"}
    with pytest.raises(cluster.logs.exceptions.InvalidParameterException):
        cluster.logs.filter_log_events(logGroupName="/patterns", filterPattern="{ $.a = ")
    with pytest.raises(cluster.logs.exceptions.InvalidParameterException):
        cluster.logs.test_metric_filter(filterPattern="%" + ".{0,255}" * 4 + "%",
                                        logEventMessages=["a" * 1000000])


def test_retention_hides_and_refuses_what_is_too_old(cluster):
    logs = cluster.logs
    make(cluster, "/kept", "s")
    day = 24 * 3600 * 1000
    now = int(time.time() * 1000)
    put(cluster, "/kept", "s", "old", at=now - 3 * day)
    put(cluster, "/kept", "s", "new", at=now)
    logs.put_retention_policy(logGroupName="/kept", retentionInDays=1)
    described = logs.describe_log_groups(logGroupNamePrefix="/kept")["logGroups"][0]
    assert described["retentionInDays"] == 1
    found = logs.filter_log_events(logGroupName="/kept")["events"]
    assert [event["message"] for event in found] == ["new"]
    answer = put(cluster, "/kept", "s", "expired", at=now - 2 * day)
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.put_retention_policy(logGroupName="/kept", retentionInDays=2)
    logs.delete_retention_policy(logGroupName="/kept")
    described = logs.describe_log_groups(logGroupNamePrefix="/kept")["logGroups"][0]
    assert "retentionInDays" not in described


def test_tags_by_name_and_by_arn(cluster):
    logs = cluster.logs
    logs.create_log_group(logGroupName="/tagged", tags={"team": "blue", "tier": "1"})
    described = logs.describe_log_groups(logGroupNamePrefix="/tagged")["logGroups"][0]
    logs.tag_resource(resourceArn=described["logGroupArn"], tags={"team": "red", "new": "2"})
    logs.untag_log_group(logGroupName="/tagged", tags=["tier"])
    expected = {"team": "red", "new": "2"}
    assert logs.list_tags_log_group(logGroupName="/tagged")["tags"] == expected
    assert logs.list_tags_for_resource(resourceArn=described["logGroupArn"])["tags"] == expected
    logs.untag_resource(resourceArn=described["logGroupArn"], tagKeys=["new", "none"])
    logs.tag_log_group(logGroupName="/tagged", tags={"x": ""})
    assert logs.list_tags_log_group(logGroupName="/tagged")["tags"] == {"team": "red", "x": ""}
    with pytest.raises(logs.exceptions.TooManyTagsException):
        for i in range(60):
            logs.tag_resource(resourceArn=described["logGroupArn"], tags={f"k{i}": "v"})
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.list_tags_for_resource(resourceArn=described["logGroupArn"] + "-not")


def test_what_is_deleted_is_gone(cluster):
    logs = cluster.logs
    make(cluster, "/deleted", "a", "b")
    put(cluster, "/deleted", "a", "x")
    put(cluster, "/deleted", "b", "y")
    logs.delete_log_stream(logGroupName="/deleted", logStreamName="a")
    found = logs.filter_log_events(logGroupName="/deleted")["events"]
    assert [event["message"] for event in found] == ["y"]
    described = logs.describe_log_groups(logGroupNamePrefix="/deleted")["logGroups"][0]
    assert described["storedBytes"] == 27
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_stream(logGroupName="/deleted", logStreamName="a")
    logs.create_log_stream(logGroupName="/deleted", logStreamName="a")
    logs.delete_log_group(logGroupName="/deleted")
    assert logs.describe_log_groups(logGroupNamePrefix="/deleted")["logGroups"] == []
    make(cluster, "/deleted", "a")
    assert logs.filter_log_events(logGroupName="/deleted")["events"] == []


def test_the_stock_cli_by_the_name_that_env_prints(cluster):
    assert cluster.env["AWS_ENDPOINT_URL"].startswith("http://api.fairlead.localhost:")
    cluster.aws("logs", "create-log-group", "--log-group-name", "/cli", "--tags", "a=b")
    cluster.aws("logs", "create-log-stream", "--log-group-name", "/cli", "--log-stream-name", "s")
    now = int(time.time() * 1000)
    cluster.aws("logs", "put-log-events", "--log-group-name", "/cli", "--log-stream-name", "s",
                "--log-events", f"timestamp={now},message=one", f"timestamp={now},message=two")
    cluster.aws("logs", "put-retention-policy", "--log-group-name", "/cli",
                "--retention-in-days", "30")
    found = cluster.aws_json("logs", "filter-log-events", "--log-group-name", "/cli",
                             "--filter-pattern", "two", "--interleaved")
    assert [event["message"] for event in found["events"]] == ["two"]
    got = cluster.aws_json("logs", "get-log-events", "--log-group-name", "/cli",
                           "--log-stream-name", "s", "--start-from-head")
    again = cluster.aws_json("logs", "get-log-events", "--log-group-name", "/cli",
                             "--log-stream-name", "s", "--next-token", got["nextForwardToken"])
    assert again["nextForwardToken"] == got["nextForwardToken"] and again["events"] == []


def test_what_is_not_implemented_says_so(cluster):
    logs = cluster.logs
    make(cluster, "/honest")
    calls = {
        "PutSubscriptionFilter": lambda: logs.put_subscription_filter(
            logGroupName="/honest", filterName="f", filterPattern="",
            destinationArn="arn:aws:lambda:us-east-1:000000000000:function:f"),
        "PutMetricFilter": lambda: logs.put_metric_filter(
            logGroupName="/honest", filterName="f", filterPattern="",
            metricTransformations=[{"metricName": "m", "metricNamespace": "n",
                                    "metricValue": "1"}]),
        "StartQuery": lambda: logs.start_query(logGroupName="/honest", startTime=0, endTime=1,
                                               queryString="fields @message"),
    }
    for name, call in calls.items():
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call()
        assert name in caught.value.response["Error"]["Message"]


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
