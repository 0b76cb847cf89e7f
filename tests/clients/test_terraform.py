"""Terraform with its aws provider does what a user does with it: apply, a second plan that finds
nothing to change, updates, a deployment that is rolled back, an interrupt, import, destroy. Skipped
where terraform or the provider is not on the machine (README.md)."""
import json
import pathlib
import urllib.request

import cluster as clusters
import terraform as terraforms

STACKS = pathlib.Path(__file__).resolve().parent / "stacks"
EXAMPLE = STACKS.parents[2] / "examples" / "terraform"
CLUSTER = "arn:aws:ecs:us-east-1:000000000000:cluster/default"
MISSING = "no-such-image:1"


def service(cluster, name="clients-web"):
    return cluster.ecs.describe_services(services=[name], include=["TAGS"])["services"][0]


def test_a_service_lives_with_terraform(cluster, terraform):
    stack = terraform(STACKS / "service")
    assert "Apply complete! Resources: 6 added" in stack.apply()
    stack.settled()
    seen = service(cluster)
    assert seen["runningCount"] == seen["desiredCount"] == 2
    assert {tag["key"]: tag["value"] for tag in seen["tags"]} == {
        "a": "b", "by-hand": "one", "stack": "clients"}
    assert stack.output("seen") == seen["taskDefinition"]
    (first,) = seen["deployments"]

    stack.apply(revision="2")
    stack.settled()
    (second,) = service(cluster)["deployments"]
    assert second["id"] != first["id"] and second["taskDefinition"] != first["taskDefinition"]
    assert second["rolloutState"] == "COMPLETED"
    assert service(cluster, "clients-each")["runningCount"] == 1

    for change in ({"replicas": 4}, {"floor": 100}, {"replicas": 0}, {"replicas": 1}):
        stack.apply(**change)
        stack.settled()
        assert service(cluster)["deployments"][0]["id"] == second["id"]
    stack.apply(force="true")
    assert service(cluster)["deployments"][0]["id"] != second["id"]
    stack.settled()


def test_a_drift_is_seen_and_undone(cluster, terraform):
    stack = terraform(STACKS / "service")
    stack.apply()
    cluster.ecs.update_service(service="clients-web", desiredCount=3,
                               deploymentConfiguration={"maximumPercent": 150})
    cluster.ecs.untag_resource(resourceArn=service(cluster)["serviceArn"], tagKeys=["a"])
    cluster.logs.put_retention_policy(logGroupName="/clients/web", retentionInDays=1)
    assert stack.plan() == {"aws_ecs_service.web": ["update"],
                            "aws_cloudwatch_log_group.web": ["update"]}
    stack.apply()
    stack.settled()
    assert service(cluster)["desiredCount"] == 2
    # Another one under the same name, while the one before is INACTIVE.
    stack.run("apply", "-auto-approve", "-replace=aws_ecs_service.web")
    stack.settled()


def test_a_definition_that_cannot_run_is_rolled_back(cluster, terraform):
    stack = terraform(STACKS / "service")
    stack.apply()
    before = service(cluster)["deployments"][0]
    said = stack.apply(check=False, image=MISSING)
    assert "The deployment was rolled back." in said
    after = service(cluster)
    assert after["deployments"][0]["id"] == before["id"]
    assert after["runningCount"] == 2
    assert any("rolling back to deployment" in event["message"] for event in after["events"])
    # What Terraform thinks of it: the service has another definition than it was told.
    assert stack.plan() == {"aws_ecs_service.web": ["update"]}
    stack.apply(image="busybox:1", revision="3")
    stack.settled()


def test_a_wait_that_runs_out_says_so(cluster, terraform):
    stack = terraform(STACKS / "service", breaker="false", patience="5s")
    stack.apply()
    said = stack.apply(check=False, image=MISSING)
    assert "timeout while waiting for state" in said
    assert service(cluster)["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    stack.apply(image="busybox:1", patience="2m")
    stack.settled()


def test_an_apply_is_interrupted_and_made_again(cluster, terraform):
    """Once while the service is made, once while it is updated."""
    stack = terraform(STACKS / "service", image=MISSING, breaker="false")
    created = stack.begin_apply()
    clusters.until(lambda: cluster.ecs.list_services()["serviceArns"] and
                   cluster.ecs.describe_services(services=["clients-web"])["services"] and
                   service(cluster)["deployments"][0]["failedTasks"],
                   60, "a task that fails")
    assert "Gracefully shutting down" in terraforms.interrupt(created)
    stack.apply(image="busybox:1", breaker="true")
    stack.settled()
    first = service(cluster)["deployments"][0]["id"]
    updated = stack.begin_apply(image=MISSING, breaker="false")
    clusters.until(lambda: service(cluster)["deployments"][0]["id"] != first, 60, "a deployment")
    assert "Gracefully shutting down" in terraforms.interrupt(updated)
    stack.apply(image="busybox:1", breaker="true", revision="2")
    stack.settled()
    assert service(cluster)["runningCount"] == 2


def test_what_runs_already_is_imported(cluster, terraform):
    stack = terraform(STACKS / "service")
    stack.apply()
    for address, name in (
            ("aws_ecs_service.web", "default/clients-web"),
            ("aws_ecs_service.each", "default/clients-each"),
            ("aws_ecs_tag.by_hand", f"{service(cluster)['serviceArn']},by-hand"),
            ("aws_ecs_task_definition.web", service(cluster)["taskDefinition"]),
            ("aws_cloudwatch_log_group.web", "/clients/web")):
        stack.import_again(address, name)
    # An import knows nothing of what Terraform alone is told, and names a definition its own way.
    assert set(stack.plan()) <= {"aws_ecs_service.web", "aws_ecs_service.each"}
    deployment = service(cluster)["deployments"][0]["id"]
    stack.apply()
    stack.settled()
    assert service(cluster)["deployments"][0]["id"] == deployment


def test_task_sets(cluster, terraform):
    stack = terraform(STACKS / "sets")
    stack.apply()
    stack.settled()
    sets = {each["externalId"]: each for each in cluster.ecs.describe_task_sets(
        cluster="default", service="clients-sets")["taskSets"] if "externalId" in each}
    assert sets["blue"]["runningCount"] == sets["blue"]["computedDesiredCount"] == 1
    assert stack.state("aws_ecs_task_set.green")["scale"] == [{"unit": "PERCENT", "value": 0}]
    stack.apply(scale=100, tag="c")
    stack.settled()
    assert service(cluster, "clients-sets")["runningCount"] == 2
    assert stack.state("aws_ecs_task_set.blue")["tags"] == {"a": "c"}
    identity = stack.state("aws_ecs_task_set.blue")["id"]
    stack.import_again("aws_ecs_task_set.blue", identity)
    assert set(stack.plan()) == {"aws_ecs_task_set.blue"}
    stack.apply()
    stack.settled()


def test_every_member_of_a_definition_is_read_back(cluster, terraform):
    stack = terraform(STACKS / "rich")
    stack.apply()
    assert stack.output("revision") == 1
    (task,) = stack.output("tasks")
    assert cluster.wait(task, "STOPPED")["group"] == "clients"
    stack.settled()
    stack.import_again("aws_ecs_task_definition.rich",
                       stack.state("aws_ecs_task_definition.rich")["arn"])
    stack.settled()


def test_what_lies_around_services(cluster, terraform):
    stack = terraform(STACKS / "around", endpoint=cluster.env["AWS_ENDPOINT_URL"],
                      access_key=cluster.env["AWS_ACCESS_KEY_ID"],
                      secret_key=cluster.env["AWS_SECRET_ACCESS_KEY"])
    stack.apply()
    stack.settled()
    assert [stack.output(name) for name in ("account", "region", "status", "user")] == [
        "000000000000", "us-east-1", "ACTIVE", "AWS"]
    assert stack.output("push_to") == f"127.0.0.1:{cluster.port}/clients/lab"
    stack.apply(insights="enabled", days=30, kept=3)
    stack.settled()
    (seen,) = cluster.ecs.describe_clusters(clusters=["clients-lab"], include=["SETTINGS"])["clusters"]
    assert seen["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    for address, name in (("aws_ecs_cluster.lab", "clients-lab"),
                          ("aws_ecr_lifecycle_policy.lab", "clients/lab"),
                          ("aws_ecs_account_setting_default.insights", "containerInsights"),
                          ("aws_cloudwatch_log_group.lab", "/clients/lab"),
                          ("aws_cloudwatch_log_stream.lab", "/clients/lab:one")):
        stack.import_again(address, name)
    stack.settled()


def test_the_example_does_what_it_says(cluster, terraform):
    stack = terraform(EXAMPLE, image="busybox:1")
    stack.apply()
    stack.settled()
    for arn in cluster.ecs.list_tasks(serviceName="hello")["taskArns"]:
        (bound,) = cluster.task(arn)["containers"][0]["networkBindings"]
        with urllib.request.urlopen(f"http://127.0.0.1:{bound['hostPort']}/", timeout=10) as page:
            assert page.read() == b"fair winds\n"
    said = stack.apply(check=False, image="busybox:latest")
    assert "The deployment was rolled back" in said
    assert "CannotPullContainerError" in cluster.fairlead("explain", "service", "hello").stdout
    assert service(cluster, "hello")["runningCount"] == 2
    stack.variables["image"] = "busybox:1"


def test_secrets_and_parameters_reach_a_task(cluster, terraform):
    stack = terraform(STACKS / "secrets")
    stack.apply()
    stack.settled()
    for change in ({}, {"value": "louder", "note": "second"}):
        stack.apply(**change)
        value = change.get("value", "hush")
        assert (stack.output("sealed"), json.loads(stack.output("word"))["word"]) == (value, value)
        done = cluster.wait(cluster.start(stack.output("definition")))
        assert done["containers"][0]["exitCode"] == 0
    stack.settled()
    assert stack.output("names") == ["/clients/list", "/clients/plain", "/clients/sealed"]
    for address in ("aws_secretsmanager_secret.word", "aws_secretsmanager_secret_version.word",
                    "aws_ssm_parameter.plain", "aws_ssm_parameter.list", "aws_ssm_parameter.sealed"):
        stack.import_again(address, stack.state(address)["id"])
    assert set(stack.plan()) <= {"aws_secretsmanager_secret.word"}
    stack.destroy()
    assert cluster.secretsmanager.list_secrets(IncludePlannedDeletion=True)["SecretList"] == []
    assert cluster.ssm.describe_parameters()["Parameters"] == []
