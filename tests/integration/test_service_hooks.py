"""Deployments that go through stages: two full sets of tasks, pauses, hooks that are tasks, the way
back. Method: the stock AWS CLI and boto3 against real containers."""
import cluster as clusters
import services as of


def ids(services, name):
    return [deployment["id"] for deployment in services.get(name)["deployments"]]


def hook_of(services, arn):
    """The hook of a service deployment that waits for an answer, once there is one."""
    def waiting():
        found = services.deployment(arn).get("lifecycleHookDetails", [])
        return [hook for hook in found if hook["status"] == "AWAITING_ACTION"]
    return clusters.until(waiting, 60, f"a hook of {arn} waits", pause=0.05)[0]


def blue_green(*hooks, **more):
    return {"strategy": "BLUE_GREEN", "lifecycleHooks": list(hooks), **more}


def pause(stage, **more):
    return {"targetType": "PAUSE", "lifecycleStages": [stage], **more}


def test_blue_and_green_run_side_by_side_until_somebody_agrees(cluster, services):
    name = services.create(count=2, deploymentConfiguration=blue_green(
        pause("POST_SCALE_UP"), bakeTimeInMinutes=0))
    first = services.latest(name)["serviceDeploymentArn"]
    hook = hook_of(services, first)
    cluster.aws("ecs", "continue-service-deployment", "--service-deployment-arn", first,
                "--hook-id", hook["hookId"])
    services.ends(first, "SUCCESSFUL")
    (blue,) = ids(services, name)
    green = services.update(name, forceNewDeployment=True)["id"]
    arn = services.latest(name)["serviceDeploymentArn"]
    hook = hook_of(services, arn)
    assert hook["targetType"] == "PAUSE" and hook["timeoutAction"] == "ROLLBACK"
    found = services.deployment(arn)
    assert found["lifecycleStage"] == "POST_SCALE_UP" and found["status"] == "IN_PROGRESS"
    assert found["targetServiceRevision"]["requestedProductionTrafficWeight"] == 0.0
    service = services.get(name)
    assert [d["id"] for d in service["deployments"]] == [green, blue]
    assert [d["runningCount"] for d in service["deployments"]] == [2, 2]
    cluster.kill("server")
    cluster.up()
    assert hook_of(services, arn)["hookId"] == hook["hookId"]
    cluster.aws("ecs", "continue-service-deployment", "--service-deployment-arn", arn,
                "--hook-id", hook["hookId"], "--action", "CONTINUE")
    done = services.ends(arn, "SUCCESSFUL")
    assert done["targetServiceRevision"]["requestedProductionTrafficWeight"] == 100.0
    cluster.aws("ecs", "wait", "services-stable", "--services", name)
    assert ids(services, name) == [green]
    assert {task["startedBy"] for task in services.running(name)} == {green}


def test_an_answer_can_be_no(cluster, services):
    name = services.create(count=2)
    services.steady(name)
    (blue,) = ids(services, name)
    tasks = {task["taskArn"] for task in services.running(name)}
    services.update(name, forceNewDeployment=True, deploymentConfiguration=blue_green(
        pause("POST_TEST_TRAFFIC_SHIFT"), bakeTimeInMinutes=5))
    arn = services.latest(name)["serviceDeploymentArn"]
    cluster.ecs.continue_service_deployment(
        serviceDeploymentArn=arn, hookId=hook_of(services, arn)["hookId"], action="ROLLBACK")
    done = services.ends(arn, "ROLLBACK_SUCCESSFUL")
    assert done["rollback"]["serviceRevisionArn"].endswith("/" + blue.removeprefix("ecs-svc/"))
    assert ids(services, name) == [blue]
    assert {task["taskArn"] for task in services.running(name)} == tasks


def hook_task(cluster, script):
    """The ARN of a definition whose only container runs this."""
    return cluster.register(clusters.container(command=["sh", "-c", script], memory=16))


def test_a_task_decides(cluster, services):
    good = hook_task(cluster, 'test "$FAIRLEAD_LIFECYCLE_STAGE" = POST_SCALE_UP && '
                              'test "$FAIRLEAD_HOOK_DETAILS" = \'{"to":7}\'')
    bad = hook_task(cluster, "exit 3")

    def hook(arn):
        return {"hookTargetArn": arn, "lifecycleStages": ["POST_SCALE_UP"],
                "hookDetails": {"to": 7}}
    name = services.create(count=1, deploymentConfiguration=blue_green(hook(good)))
    first = services.latest(name)["serviceDeploymentArn"]
    done = services.ends(first, "SUCCESSFUL")
    (detail,) = done["lifecycleHookDetails"]
    assert detail["status"] == "SUCCEEDED" and detail["targetArn"] == good
    (ran,) = cluster.ecs.list_tasks(family=of.short(good).split(":")[0],
                                    desiredStatus="STOPPED")["taskArns"]
    (task,) = cluster.ecs.describe_tasks(tasks=[ran])["tasks"]
    assert task["group"] == f"service-hook:{name}"
    services.update(name, forceNewDeployment=True,
                    deploymentConfiguration=blue_green(hook(bad)))
    second = services.latest(name)["serviceDeploymentArn"]
    done = services.ends(second, "ROLLBACK_SUCCESSFUL")
    assert [detail["status"] for detail in done["lifecycleHookDetails"]] == ["FAILED"]
    services.hears(name, "ended with exit code 3")
    services.steady(name)


def test_stopped_while_both_bake(cluster, services):
    name = services.create(count=1, deploymentConfiguration={
        "strategy": "CANARY", "bakeTimeInMinutes": 5,
        "canaryConfiguration": {"canaryPercent": 25.0, "canaryBakeTimeInMinutes": 5}})
    services.steady(name)
    services.update(name, forceNewDeployment=True)
    arn = services.latest(name)["serviceDeploymentArn"]
    clusters.until(lambda: services.deployment(arn)["lifecycleStage"] ==
                   "PRODUCTION_TRAFFIC_SHIFT", 60, "the canary's traffic", pause=0.05)
    summary = services.deployment(arn)["targetServiceRevision"]
    assert summary["requestedProductionTrafficWeight"] == 25.0
    cluster.aws("ecs", "stop-service-deployment", "--service-deployment-arn", arn)
    services.ends(arn, "ROLLBACK_SUCCESSFUL")
    services.steady(name)
