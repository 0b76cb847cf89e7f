"""Rolling deployments as users run them: updates and the way back under `wait services-stable`, and
their bounds. Method: the stock AWS CLI and boto3 against real containers; a thread sees how many
tasks ran meanwhile."""
import services as of


def revision_of(service):
    return service["deployments"][0]["id"].removeprefix("ecs-svc/")


def definitions_of(tasks):
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
    assert definitions_of(services.running(name)) == {new}
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
    assert definitions_of(services.running(name)) == {new}


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
        assert ended["stoppedReason"].startswith("Scaling activity initiated by (deployment ecs-")


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
    assert definitions_of(services.running(name)) == {third}
    assert services.deployment(overtaken["serviceDeploymentArn"])["status"] == "STOPPED"


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
    assert definitions_of(services.running(name)) == {old}
