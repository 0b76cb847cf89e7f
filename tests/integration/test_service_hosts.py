"""A service over three hosts: deployments good, bad, impossible and stopped half way, and the server
killed in the middle of each. Method: an agent in each of three network namespaces, real containers,
boto3."""
import cluster as clusters
import pytest
import services as of
from test_hosts import ZONES, a_fleet, by_host

SPREAD = {"placementStrategy": [{"type": "spread", "field": "instanceId"}]}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


@pytest.fixture(scope="module")
def three(busybox):
    with a_fleet(busybox, "--heartbeat", "1", "--lost-after", "4") as fleet:
        for i, name in enumerate(("one", "two", "three")):
            fleet.add(name, "--zone", ZONES[i], "--attribute", "role=worker").join()
        yield fleet


@pytest.fixture
def fleet(three):
    yield three
    three.cluster.stop_all()


@pytest.fixture
def services(fleet):
    made = of.Services(fleet.cluster)
    yield made
    made.remove()


def six(services, **more):
    """(name, definition) of a service that runs two tasks on each host."""
    definition = services.definition()
    name = services.create(definition, count=6, **SPREAD, **more)
    services.steady(name)
    return name, definition


def where(fleet, services, name):
    return by_host(fleet, services.running(name))


def restart(fleet):
    fleet.cluster.kill("server")
    fleet.cluster.up()


def all_connected(fleet):
    clusters.until(lambda: all(host.connected() for host in fleet.hosts), 60, "the hosts", 0.05)


EVEN = {"one": 2, "two": 2, "three": 2}


# ---- deployments, the server killed half way ----

def test_a_good_deployment(fleet, services):
    name, _ = six(services)
    assert where(fleet, services, name) == EVEN
    new = services.definition()
    with of.Watch(services, name, may_be_away=True) as watch:
        services.update(name, taskDefinition=new)
        arn = services.latest(name)["serviceDeploymentArn"]
        services.until(name, lambda s: s["deployments"][0]["runningCount"] > 0)
        restart(fleet)
        services.ends(arn, "SUCCESSFUL")
        services.steady(name)
    assert watch.fewest >= 6 and watch.most <= 12
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {new}
    assert where(fleet, services, name) == EVEN


def test_an_image_that_does_not_exist(fleet, services):
    name, good = six(services, deploymentConfiguration=BREAKER)
    before = {task["taskArn"] for task in services.running(name)}
    with of.Watch(services, name, may_be_away=True) as watch:
        services.update(name, taskDefinition=services.definition(clusters.container(
            image=f"127.0.0.1:{fleet.cluster.port}/no-such-image:1", memory=16)))
        arn = services.latest(name)["serviceDeploymentArn"]
        restart(fleet)
        services.ends(arn, "ROLLBACK_SUCCESSFUL")
        assert services.steady(name)["taskDefinition"] == good
    assert watch.fewest >= 6
    assert {task["taskArn"] for task in services.running(name)} == before


def test_tasks_that_die_before_their_health_check(fleet, services):
    name, good = six(services)
    dies = services.definition(clusters.sh("sleep 0.2; exit 1", memory=16, healthCheck={
        "command": ["CMD-SHELL", "true"], "interval": 30}))
    with of.Watch(services, name, may_be_away=True) as watch:
        services.update(name, taskDefinition=dies)
        clusters.until(lambda: services.tasks(name, desiredStatus="STOPPED"), what="a death")
        restart(fleet)
        services.update(name, taskDefinition=good)
        services.steady(name)
    assert watch.fewest >= 6 and watch.most <= 12
    assert len(services.running(name)) == 6


def test_a_definition_that_fits_nowhere(fleet, services):
    name, good = six(services)
    huge = services.definition(clusters.idle(memory=5000))
    services.update(name, taskDefinition=huge)
    said = services.hears(name, "was unable to place a task because no container instance met all")
    assert "has insufficient memory available" in said
    for what in (("definition", huge), ("service", name)):
        told = fleet.cluster.fairlead("explain", *what).stdout
        assert "0 of 4 instances can take it" in told and "RESOURCE:MEMORY" in told, told
    restart(fleet)
    all_connected(fleet)
    found = services.get(name)
    assert found["deployments"][1]["runningCount"] == 6
    services.update(name, taskDefinition=good)
    services.steady(name)


def test_a_deployment_stopped_half_way(fleet, services):
    name, good = six(services)
    hangs = services.definition(clusters.idle(memory=16, healthCheck={
        "command": ["CMD-SHELL", "exit 1"], "startPeriod": 300}))
    before = {task["taskArn"] for task in services.running(name)}
    with of.Watch(services, name, may_be_away=True) as watch:
        services.update(name, taskDefinition=hangs)
        services.until(name, lambda s: s["runningCount"] == 12)
        arn = services.latest(name)["serviceDeploymentArn"]
        fleet.cluster.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
        restart(fleet)
        services.ends(arn, "ROLLBACK_SUCCESSFUL")
        services.steady(name)
    assert watch.fewest >= 6
    assert {task["taskArn"] for task in services.running(name)} == before
    assert services.get(name)["taskDefinition"] == good
