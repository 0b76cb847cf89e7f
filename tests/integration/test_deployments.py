"""Rolling deployments as users run them: an update under `wait services-stable`, its bounds, its
records, a rollback, a stop half way. Method: the stock AWS CLI and boto3 against real containers; a
thread sees how many tasks ran meanwhile."""
import contextlib

import cluster as clusters
import services as of


def revision_of(service):
    return service["deployments"][0]["id"].removeprefix("ecs-svc/")


def images_of(tasks):
    return {task["taskDefinitionArn"] for task in tasks}


def test_an_update_under_wait_services_stable(cluster, services):
    old, new = services.definition(), services.definition()
    name = services.create(old, count=3)
    services.steady(name)
    with of.Watch(services, name) as watch:
        answer = cluster.aws_json("ecs", "update-service", "--service", name, "--task-definition",
                                  new)["service"]
        first, second = answer["deployments"]
        assert (first["status"], second["status"]) == ("PRIMARY", "ACTIVE")
        assert first["taskDefinition"] == new and second["taskDefinition"] == old
        assert answer["taskDefinition"] == new
        cluster.aws("ecs", "wait", "services-stable", "--services", name)
        after = services.get(name)
    assert watch.fewest >= 3 and watch.most <= 6
    assert [d["status"] for d in after["deployments"]] == ["PRIMARY"]
    assert images_of(services.running(name)) == {new}
    assert len(services.running(name)) == 3
    services.steady(name)


def test_an_update_within_the_desired_count(services):
    """maximumPercent 100: tasks go first; never fewer than half."""
    name = services.create(count=4, deploymentConfiguration={
        "minimumHealthyPercent": 50, "maximumPercent": 100})
    services.steady(name)
    new = services.definition()
    with of.Watch(services, name) as watch:
        services.update(name, taskDefinition=new)
        services.steady(name)
    assert watch.fewest >= 2 and watch.most <= 4
    assert images_of(services.running(name)) == {new}


def test_an_update_one_by_one(services):
    """minimumHealthyPercent 100 and room for one more: 125 % of four."""
    name = services.create(count=4, deploymentConfiguration={
        "minimumHealthyPercent": 100, "maximumPercent": 125})
    services.steady(name)
    with of.Watch(services, name) as watch:
        services.update(name, forceNewDeployment=True)
        services.steady(name, timeout=90)
    assert watch.fewest >= 4 and watch.most <= 5


def test_a_new_deployment_of_the_same_definition(cluster, services):
    definition = services.definition()
    name = services.create(definition, count=2)
    before = revision_of(services.steady(name))
    old = {task["taskArn"] for task in services.running(name)}
    cluster.aws("ecs", "update-service", "--service", name, "--force-new-deployment")
    after = services.steady(name)
    assert revision_of(after) != before and after["taskDefinition"] == definition
    assert not old & {task["taskArn"] for task in services.running(name)}
    for arn in old:
        ended = cluster.wait(arn)
        assert ended["stoppedReason"] == (
            f"Scaling activity initiated by (deployment ecs-svc/{before})")


def test_what_is_no_new_deployment(cluster, services):
    definition = services.definition()
    name = services.create(definition, count=1)
    before = revision_of(services.steady(name))
    services.update(name, desiredCount=2)
    services.update(name, deploymentConfiguration={"maximumPercent": 150})
    services.update(name, taskDefinition=definition)
    after = services.stable(name)
    assert revision_of(after) == before
    assert after["deploymentConfiguration"]["maximumPercent"] == 150
    assert after["deploymentConfiguration"]["minimumHealthyPercent"] == 100


def test_an_update_during_an_update(services):
    """The last word counts; what was under way is stopped."""
    first, second, third = (services.definition() for _ in range(3))
    name = services.create(first, count=2)
    services.steady(name)
    services.update(name, taskDefinition=second)
    overtaken = services.latest(name)
    services.update(name, taskDefinition=third)
    after = services.steady(name)
    assert after["taskDefinition"] == third
    assert images_of(services.running(name)) == {third}
    assert services.deployment(overtaken["serviceDeploymentArn"])["status"] == "STOPPED"


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


# ---- back ----

def test_a_rollback_by_the_user(cluster, services):
    """What most people do: the definition before, and the waiter."""
    old, new = services.definition(), services.definition()
    name = services.create(old, count=2)
    services.steady(name)
    services.update(name, taskDefinition=new)
    services.steady(name)
    with of.Watch(services, name) as watch:
        cluster.aws("ecs", "update-service", "--service", name, "--task-definition", old)
        cluster.aws("ecs", "wait", "services-stable", "--services", name)
    assert watch.fewest >= 2
    assert images_of(services.running(name)) == {old}


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
    assert images_of(services.running(name)) == {old}


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
