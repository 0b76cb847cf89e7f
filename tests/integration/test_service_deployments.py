"""Service deployments: their records, a stop half way, and the health that decides how they go on.
Method: the stock AWS CLI and boto3 against real containers; a thread sees how many tasks ran
meanwhile."""
import contextlib

import cluster as clusters
import services as of


def revision_of(service):
    return service["deployments"][0]["id"].removeprefix("ecs-svc/")


def definitions_of(tasks):
    return {task["taskDefinitionArn"] for task in tasks}


# ---- service deployments and revisions ----

def test_ids_that_join(cluster, services):
    name = services.create(count=2)
    number = revision_of(services.get(name))
    brief = cluster.aws_json("ecs", "list-service-deployments", "--service", name)[
        "serviceDeployments"][0]
    target = brief["targetServiceRevisionArn"]
    assert target.endswith(f":service-revision/default/{name}/{number}")
    services.steady(name)
    arn = brief["serviceDeploymentArn"]
    assert f":service-deployment/default/{name}/" in arn
    done = services.ends(arn, "SUCCESSFUL")
    assert done["sourceServiceRevisions"] == []
    assert done["targetServiceRevision"]["arn"] == target
    assert done["targetServiceRevision"]["runningTaskCount"] == 2
    assert done["createdAt"] <= done["startedAt"] <= done["finishedAt"]
    assert done["deploymentConfiguration"]["minimumHealthyPercent"] == 100
    (revision,) = cluster.aws_json("ecs", "describe-service-revisions", "--service-revision-arns",
                                   target)["serviceRevisions"]
    assert revision["taskDefinition"] == services.get(name)["taskDefinition"]
    assert revision["containerImages"][0]["containerName"] == "main"
    services.update(name, forceNewDeployment=True)
    newer = services.latest(name)
    assert [r["arn"] for r in newer["sourceServiceRevisions"]] == [target]
    services.ends(newer["serviceDeploymentArn"], "SUCCESSFUL")
    listed = cluster.ecs.list_service_deployments(service=name)["serviceDeployments"]
    assert [d["serviceDeploymentArn"] for d in listed] == [newer["serviceDeploymentArn"], arn]
    only = cluster.ecs.list_service_deployments(
        service=name, createdAt={"after": done["finishedAt"]})["serviceDeployments"]
    assert [d["serviceDeploymentArn"] for d in only] == [newer["serviceDeploymentArn"]]
    assert cluster.ecs.list_service_deployments(
        service=name, status=["IN_PROGRESS"])["serviceDeployments"] == []
    missing = cluster.ecs.describe_service_deployments(serviceDeploymentArns=[arn[:-3] + "xyz"])
    assert missing["failures"][0]["reason"] == "MISSING"


# ---- stopped ----

# A container that runs and is never healthy.
NEVER_HEALTHY = {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "retries": 10,
                 "startPeriod": 300}


def test_a_deployment_is_stopped_half_way(cluster, services):
    old = services.definition()
    name = services.create(old, count=2)
    source = revision_of(services.steady(name))
    hangs = services.definition(clusters.idle(memory=16, healthCheck=NEVER_HEALTHY))
    with of.Watch(services, name) as watch:
        services.update(name, taskDefinition=hangs)
        services.until(name, lambda s: s["runningCount"] == 4, what="both deployments' tasks")
        under_way = services.latest(name)
        assert under_way["status"] == "IN_PROGRESS"
        answer = cluster.aws_json("ecs", "stop-service-deployment", "--service-deployment-arn",
                                  under_way["serviceDeploymentArn"], "--stop-type", "ROLLBACK")
        assert answer["serviceDeploymentArn"] == under_way["serviceDeploymentArn"]
        done = services.ends(under_way["serviceDeploymentArn"], "ROLLBACK_SUCCESSFUL")
        after = services.stable(name)
    assert watch.fewest >= 2
    assert done["rollback"]["serviceRevisionArn"].endswith(f"/{source}")
    assert done["rollback"]["startedAt"] and done["rollback"]["reason"]
    assert after["taskDefinition"] == old
    assert definitions_of(services.running(name)) == {old}


def test_what_is_over_cannot_be_stopped(cluster, services):
    name = services.create(count=1)
    services.steady(name)
    done = services.latest(name)
    answer = cluster.aws("ecs", "stop-service-deployment", "--service-deployment-arn",
                         done["serviceDeploymentArn"], check=False)
    assert answer.returncode != 0 and "ConflictException" in answer.stderr, answer.stderr
    assert services.latest(name)["status"] == "SUCCESSFUL"


# ---- health ----

def test_health_checks_decide_when_a_task_counts(services):
    """New tasks run long before they are healthy: the old ones stay until then."""
    name = services.create(count=2)
    services.steady(name)
    slow = services.definition(clusters.idle(
        "sleep 3; touch /tmp/well;", memory=16, healthCheck={
            "command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 5, "retries": 10}))
    with of.Watch(services, name) as watch:
        services.update(name, taskDefinition=slow)
        services.until(name, lambda s: s["runningCount"] == 4)
        after = services.steady(name)
    assert watch.fewest >= 2
    assert after["taskDefinition"] == slow
    assert {task["healthStatus"] for task in services.running(name)} == {"HEALTHY"}


def test_an_unhealthy_task_is_replaced(cluster, services):
    checked = services.definition(clusters.idle(
        memory=16, healthCheck={"command": ["CMD-SHELL", "! test -e /tmp/ill"], "interval": 5,
                                "retries": 1}))
    name = services.create(checked, count=2)
    services.steady(name)
    victim = services.running(name)[0]
    for pid in of.processes_of(cluster.tag, victim)[:1]:
        with open(f"/proc/{pid}/root/tmp/ill", "w", encoding="ascii"):
            pass

    def replaced(service):
        with contextlib.suppress(KeyError):
            return (service["runningCount"] == 2 and
                    victim["taskArn"] not in {t["taskArn"] for t in services.tasks(name)})
        return False
    with of.Watch(services, name) as watch:
        services.until(name, replaced)
    assert watch.fewest >= 2, "its replacement came first"
    ended = cluster.wait(victim["taskArn"])
    assert ended["stoppedReason"] == "Task failed container health checks"
    assert ended["stopCode"] == "ServiceSchedulerInitiated"
    services.hears(name, f"(task {of.short(victim['taskArn'])}) failed container health checks.")
