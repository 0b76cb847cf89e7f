"""Goal: the main job, as a user does it. Method: the stock AWS CLI, command by command."""
import json

import cluster as clusters


def test_stock_cli_runs_a_task_end_to_end(cluster):
    definition = [clusters.idle("echo hello from the task; echo second line;",
                              logConfiguration=clusters.awslogs("/transcript", prefix="demo"))]
    registered = cluster.aws_json("ecs", "register-task-definition", "--family", "transcript",
                                  "--container-definitions", json.dumps(definition))
    assert registered["taskDefinition"]["revision"] == 1
    assert registered["taskDefinition"]["status"] == "ACTIVE"

    started = cluster.aws_json("ecs", "run-task", "--task-definition", "transcript",
                               "--launch-type", "EC2")
    assert started["failures"] == []
    arn = started["tasks"][0]["taskArn"]
    task_id = arn.rsplit("/", 1)[1]

    cluster.aws("ecs", "wait", "tasks-running", "--tasks", arn)
    task = cluster.aws_json("ecs", "describe-tasks", "--tasks", arn)["tasks"][0]
    assert task["lastStatus"] == "RUNNING"
    assert task["containers"][0]["lastStatus"] == "RUNNING"
    assert task["taskDefinitionArn"].endswith("task-definition/transcript:1")

    stream = f"demo/main/{task_id}"
    expected = ["hello from the task", "second line"]
    clusters.until(lambda: cluster.messages("/transcript", stream) == expected, what="the log")
    events = cluster.aws_json("logs", "get-log-events", "--log-group-name", "/transcript",
                              "--log-stream-name", stream, "--start-from-head")["events"]
    assert [event["message"] for event in events] == expected
    found = cluster.aws_json("logs", "filter-log-events", "--log-group-name", "/transcript",
                             "--filter-pattern", "second")["events"]
    assert [event["message"] for event in found] == ["second line"]

    cluster.aws("ecs", "stop-task", "--task", arn, "--reason", "enough seen")
    cluster.aws("ecs", "wait", "tasks-stopped", "--tasks", arn)
    task = cluster.aws_json("ecs", "describe-tasks", "--tasks", arn)["tasks"][0]
    assert task["lastStatus"] == "STOPPED"
    assert task["stopCode"] == "UserInitiated"
    assert task["stoppedReason"] == "enough seen"
    assert isinstance(task["containers"][0]["exitCode"], int)


def test_logs_tail_of_the_stock_cli_shows_the_lines(cluster):
    task = cluster.run_to_end(clusters.sh("echo tail me",
                                          logConfiguration=clusters.awslogs("/tailed")))
    assert task["containers"][0]["exitCode"] == 0
    version = cluster.aws("--version").stdout
    if version.startswith("aws-cli/1."):
        # Version 1 has no `logs tail`; what it would call is FilterLogEvents.
        found = cluster.aws_json("logs", "filter-log-events", "--log-group-name", "/tailed")
        assert [event["message"] for event in found["events"]] == ["tail me"]
    else:
        assert "tail me" in cluster.aws("logs", "tail", "/tailed").stdout
