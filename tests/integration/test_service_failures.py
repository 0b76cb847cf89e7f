"""Deployments that go wrong, on one host: an image that does not exist, with the circuit breaker and
without; tasks that die or never get well; a definition that fits nowhere. The tasks that were there
stay. Method: boto3 against real containers; the server is killed in the middle of some of it."""
import cluster as clusters
import pytest
import services as of

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
DEVELOPER_GUIDE = ("For more information, see the Troubleshooting section of the Amazon ECS "
                   "Developer Guide.")


def running_service(services, count=2, **more):
    """(name, its definition's ARN, its PRIMARY deployment's id)"""
    definition = services.definition()
    name = services.create(definition, count, **more)
    found = services.steady(name)
    return name, definition, found["deployments"][0]["id"]


def restart(cluster):
    cluster.kill("server")
    cluster.up()


def failed_tasks(services, name, definition):
    return [task for task in services.tasks(name, desiredStatus="STOPPED")
            if task["taskDefinitionArn"] == definition]


# ---- an image that does not exist ----

@pytest.mark.parametrize("is_killed", [False, True], ids=["", "server killed"])
def test_the_breaker_fails_a_missing_image_at_once(cluster, services, is_killed):
    """No retry cures it, so the threshold is not waited for; and the way back is taken."""
    name, good, first = running_service(services, deploymentConfiguration=BREAKER)
    bad = services.definition(of.no_such_image(cluster))
    with of.Watch(services, name, may_be_away=is_killed) as watch:
        primary = services.update(name, taskDefinition=bad)
        arn = services.latest(name)["serviceDeploymentArn"]
        if is_killed:
            restart(cluster)
        done = services.ends(arn, "ROLLBACK_SUCCESSFUL")
        after = services.steady(name)
    assert watch.fewest >= 2
    assert len(failed_tasks(services, name, bad)) < 3, "the threshold of two tasks is three"
    assert done["deploymentCircuitBreaker"]["status"] == "TRIGGERED"
    assert done["rollback"]["serviceRevisionArn"].endswith(first.removeprefix("ecs-svc/"))
    assert after["taskDefinition"] == good
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {good}
    said = of.words(after)
    assert any(text.startswith(f"(deployment {primary['id']}) deployment failed: tasks failed to "
                               "start") for text in said), said
    assert any(text.startswith("rolling back to deployment ecs-svc/") for text in said), said


def test_the_first_deployment_has_nowhere_to_go_back_to(cluster, services):
    name = services.create(services.definition(of.no_such_image(cluster)), count=1,
                           deploymentConfiguration=BREAKER)
    arn = services.latest(name)["serviceDeploymentArn"]
    found = services.until(name, lambda s: s["deployments"][0]["rolloutState"] == "FAILED")
    assert found["deployments"][0]["rolloutStateReason"] == (
        "ECS deployment circuit breaker: tasks failed to start.")
    assert found["deployments"][0]["failedTasks"] >= 1
    ended = services.deployment(arn)
    assert ended["status"] in ("ROLLBACK_FAILED", "STOPPED"), ended
    # It starts nothing more, and what the user says next is done.
    stopped = len(services.tasks(name, desiredStatus="STOPPED"))
    services.update(name, taskDefinition=services.definition())
    services.steady(name)
    assert len(services.tasks(name, desiredStatus="STOPPED")) == stopped


def test_without_the_breaker_attempts_are_throttled(cluster, services):
    name, _, _ = running_service(services, count=1)
    bad = services.definition(of.no_such_image(cluster))
    services.update(name, taskDefinition=bad)
    text = "is unable to consistently start tasks successfully. " + DEVELOPER_GUIDE
    services.hears(name, text)
    found = services.get(name)
    assert found["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert found["deployments"][0]["failedTasks"] >= 1
    assert of.words(found).count(text) == 1
    assert sum(said.startswith("was unable to place a task. Reason: CannotPullContainerError: ")
               for said in of.words(found)) == 1
    assert found["deployments"][1]["runningCount"] == 1
    for task in failed_tasks(services, name, bad):
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError: ")
    # A new definition is tried at once.
    services.update(name, taskDefinition=services.definition())
    services.steady(name)


# ---- tasks that die, tasks that never get well ----

def test_a_task_dies_before_its_health_check(services):
    """Health checks would come later than its end: it never counts, and what was there stays."""
    name, good, _ = running_service(services)
    dies = services.definition(clusters.sh(
        "sleep 0.3; exit 1", memory=16,
        healthCheck={"command": ["CMD-SHELL", "true"], "interval": 30}))
    with of.Watch(services, name) as watch:
        services.update(name, taskDefinition=dies)
        clusters.until(lambda: len(failed_tasks(services, name, dies)) >= 3, 60, "its deaths", 0.1)
        found = services.get(name)
        assert found["deployments"][0]["rolloutState"] == "IN_PROGRESS"
        services.update(name, taskDefinition=good)
        services.steady(name)
    assert watch.fewest >= 2 and watch.most <= 4


def test_the_breaker_counts_tasks_that_never_get_well(services):
    name, good, _ = running_service(services, count=1, deploymentConfiguration=BREAKER)
    ill = services.definition(clusters.idle(memory=16, healthCheck={
        "command": ["CMD-SHELL", "exit 1"], "interval": 5, "retries": 1}))
    with of.Watch(services, name) as watch:
        services.update(name, taskDefinition=ill)
        arn = services.latest(name)["serviceDeploymentArn"]
        done = services.ends(arn, "ROLLBACK_SUCCESSFUL", timeout=120)
    assert watch.fewest >= 1
    assert done["deploymentCircuitBreaker"]["failureCount"] == 3
    assert done["deploymentCircuitBreaker"]["threshold"] == 3
    assert services.steady(name)["taskDefinition"] == good


# ---- a definition that fits nowhere ----

def test_what_fits_nowhere_is_explained(cluster, services):
    name, _, _ = running_service(services, count=1)
    huge = services.definition(clusters.idle(memory=120000))
    (instance,) = cluster.ecs.list_container_instances()["containerInstanceArns"]
    services.update(name, taskDefinition=huge)
    services.hears(name, "was unable to place a task because no container instance met all of its "
                   "requirements. The closest matching (container-instance "
                   f"{of.short(instance)}) has insufficient memory available. {DEVELOPER_GUIDE}")
    told = cluster.fairlead("explain", "definition", huge).stdout
    assert "MEMORY" in told.upper() and of.short(instance)[:8] in told, told
    restart(cluster)
    found = services.get(name)
    assert found["runningCount"] == 1 and found["pendingCount"] == 0
    assert sum("was unable to place" in text for text in of.words(found)) == 1
    services.update(name, taskDefinition=services.definition())
    services.steady(name)


def test_bounds_that_allow_nothing_are_told(services):
    """75 % to 125 % of two: neither a start nor a stop is allowed, and the event says so."""
    name, good, _ = running_service(services, deploymentConfiguration={
        "minimumHealthyPercent": 75, "maximumPercent": 125})
    services.update(name, forceNewDeployment=True)
    services.hears(name, "was unable to stop or start tasks during a deployment because of the "
                   "service deployment configuration. Update the minimumHealthyPercent or "
                   "maximumPercent value and try again.")
    assert services.get(name)["runningCount"] == 2
    services.update(name, deploymentConfiguration={"maximumPercent": 200})
    assert services.steady(name)["taskDefinition"] == good
