"""Blue/green, linear and canary deployments with lifecycle hooks, as the CLI and boto3 drive them.
Method: real containers; pauses that are continued, rolled back and stopped, the server killed while
one waits; hooks that are tasks."""
import botocore.exceptions
import cluster as clusters
import pytest
import services as of

STRATEGIES = {"BLUE_GREEN": {}, "LINEAR": {"linearConfiguration": {"stepPercent": 50.0,
                                                               "stepBakeTimeInMinutes": 0}},
         "CANARY": {"canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 0}}}


def staged(strategy="BLUE_GREEN", bake=0, hooks=()):
    more = {"lifecycleHooks": list(hooks)} if hooks else {}
    return {"strategy": strategy, "bakeTimeInMinutes": bake, **STRATEGIES[strategy], **more}


def pause(*stages, **more):
    return {"targetType": "PAUSE", "lifecycleStages": list(stages), **more}


def blue(services, count=2, **more):
    """(name, definition, its tasks' ARNs) of a service whose first deployment is over."""
    definition = services.definition()
    name = services.create(definition, count, deploymentConfiguration=staged(**more))
    services.steady(name)
    return name, definition, {task["taskArn"] for task in services.running(name)}


def paused(services, arn, stage):
    """The service deployment once it waits in that stage, and its hook's id."""
    def waits():
        found = services.deployment(arn)
        open_hooks = [hook for hook in found.get("lifecycleHookDetails", [])
                      if hook["status"] == "AWAITING_ACTION"]
        return (found, open_hooks[0]["hookId"]) if open_hooks else None
    found, hook = clusters.until(waits, 60, f"a pause in {stage}", 0.05)
    assert found["lifecycleStage"] == stage and found["status"] == "IN_PROGRESS"
    return found, hook


def deploy(services, name, **more):
    """(definition, ARN of the service deployment)"""
    definition = services.definition()
    services.update(name, taskDefinition=definition, **more)
    return definition, services.latest(name)["serviceDeploymentArn"]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_strategy_from_end_to_end(services, strategy):
    name, _, before = blue(services, strategy=strategy)
    with of.Watch(services, name) as watch:
        green, arn = deploy(services, name)
        done = services.ends(arn, "SUCCESSFUL")
        services.steady(name)
    assert watch.fewest >= 2 and watch.most == 4, "both had all of their tasks"
    assert done["deploymentConfiguration"]["strategy"] == strategy
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {green}
    assert not before & {task["taskArn"] for task in services.running(name)}


def test_a_pause_is_continued_by_the_cli(cluster, services):
    name, old, before = blue(services)
    green, arn = deploy(services, name, deploymentConfiguration=staged(
        hooks=[pause("POST_SCALE_UP")]))
    found, hook = paused(services, arn, "POST_SCALE_UP")
    assert found["lifecycleHookDetails"][0]["targetType"] == "PAUSE"
    service = services.get(name)
    assert service["runningCount"] == 4 and not of.is_stable(service)
    # It waits for as long as it takes, whoever is killed meanwhile.
    cluster.kill("server")
    cluster.up()
    assert paused(services, arn, "POST_SCALE_UP")[1] == hook
    running = services.running(name)
    assert before < {task["taskArn"] for task in running} and len(running) == 4
    assert {task["taskDefinitionArn"] for task in running} == {old, green}
    # What ecspresso's `continue` asks: the deployment under way, its pause.
    (brief,) = cluster.ecs.list_service_deployments(
        service=name, status=["PENDING", "IN_PROGRESS"])["serviceDeployments"]
    assert brief["serviceDeploymentArn"] == arn
    answer = cluster.aws_json("ecs", "continue-service-deployment", "--service-deployment-arn", arn,
                              "--hook-id", hook)
    assert answer["serviceDeploymentArn"] == arn
    services.ends(arn, "SUCCESSFUL")
    services.steady(name)
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {green}
    with pytest.raises(botocore.exceptions.ClientError):
        cluster.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=hook)


@pytest.mark.parametrize("how", ["answer", "stop"])
def test_the_way_back_from_a_pause(cluster, services, how):
    name, old, before = blue(services)
    _, arn = deploy(services, name, deploymentConfiguration=staged(
        hooks=[pause("POST_PRODUCTION_TRAFFIC_SHIFT")]))
    _, hook = paused(services, arn, "POST_PRODUCTION_TRAFFIC_SHIFT")
    if how == "answer":
        cluster.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=hook,
                                                action="ROLLBACK")
    else:
        cluster.ecs.stop_service_deployment(serviceDeploymentArn=arn)
    services.ends(arn, "ROLLBACK_SUCCESSFUL")
    services.steady(name)
    assert {task["taskArn"] for task in services.running(name)} == before
    assert services.get(name)["taskDefinition"] == old


def test_a_bake_time_can_be_broken_off(services):
    name, old, before = blue(services)
    _, arn = deploy(services, name, deploymentConfiguration=staged(bake=5))
    clusters.until(lambda: services.deployment(arn).get("lifecycleStage") == "BAKE_TIME", 60,
                   "the bake time", 0.05)
    assert services.get(name)["runningCount"] == 4
    services.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    services.ends(arn, "ROLLBACK_SUCCESSFUL")
    services.steady(name)
    assert {task["taskArn"] for task in services.running(name)} == before
    assert services.get(name)["taskDefinition"] == old


@pytest.mark.parametrize("code,status", [(0, "SUCCESSFUL"), (1, "ROLLBACK_SUCCESSFUL")])
def test_a_hook_that_is_a_task(services, code, status):
    hook = services.definition(clusters.sh(f"exit {code}", memory=16))
    name, _, _ = blue(services)
    _, arn = deploy(services, name, deploymentConfiguration=staged(
        hooks=[{"hookTargetArn": hook, "roleArn": "arn:aws:iam::000000000000:role/hooks",
                "lifecycleStages": ["POST_SCALE_UP"]}]))
    done = services.ends(arn, status)
    assert [h["status"] for h in done["lifecycleHookDetails"]] == [
        "SUCCEEDED" if code == 0 else "FAILED"]
    services.steady(name)


def test_what_is_refused(cluster, services):
    def refusal(**configuration):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            services.create(services.definition(), deploymentConfiguration=configuration)
        return caught.value.response["Error"]
    of_lambda = {"hookTargetArn": "arn:aws:lambda:us-east-1:000000000000:function:check",
                 "roleArn": "arn:aws:iam::000000000000:role/hooks",
                 "lifecycleStages": ["POST_SCALE_UP"]}
    said = refusal(**staged(hooks=[of_lambda]))
    assert said["Code"] == "ClientException" and "AWS_LAMBDA" in said["Message"], said
    assert refusal(strategy="ROLLING", lifecycleHooks=[pause("POST_SCALE_UP")])[
        "Message"] == "lifecycleHooks is not valid for the deployment strategy ROLLING."
    assert refusal(strategy="LINEAR", linearConfiguration={"stepPercent": 2.0})["Code"] == (
        "InvalidParameterException")
    assert refusal(strategy="CANARY", canaryConfiguration={"canaryPercent": 0.0})["Code"] == (
        "InvalidParameterException")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        cluster.ecs.continue_service_deployment(
            serviceDeploymentArn="arn:aws:ecs:us-east-1:000000000000:service-deployment/default/"
            "nobody/AAAAAAAAAAAAAAAAAAAAA", hookId="x")
    assert caught.value.response["Error"]["Code"] in ("ServiceDeploymentNotFoundException",
                                                      "ServiceNotFoundException")
