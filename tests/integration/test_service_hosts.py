"""A service over three hosts through a bad week: deployments good, bad, impossible and stopped half
way, a drain, a host that is lost and comes back, and the server killed in the middle of each; daemons.
Method: an agent in each of three network namespaces, real containers, boto3."""
import cluster as clusters
import pytest
import services as of
from test_hosts import ZONES, a_fleet, by_host

WORKERS = {"placementConstraints": [{"type": "memberOf",
                                     "expression": "attribute:role == worker"}]}
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
    told = fleet.cluster.fairlead("explain", "definition", huge).stdout
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


# ---- hosts ----

def set_state(fleet, host, status):
    answer = fleet.cluster.ecs.update_container_instances_state(
        containerInstances=[host.arn], status=status)
    assert not answer["failures"], answer["failures"]


def test_a_drain(fleet, services):
    name, _ = six(services)
    host = fleet.hosts[1]
    with of.Watch(services, name, may_be_away=True) as watch:
        set_state(fleet, host, "DRAINING")
        restart(fleet)
        clusters.until(lambda: where(fleet, services, name) == {"one": 3, "three": 3}, 60,
                       "the move", 0.1)
    assert watch.fewest >= 6 and watch.most <= 12
    clusters.until(lambda: host.described()["runningTasksCount"] == 0, what="an empty host")
    set_state(fleet, host, "ACTIVE")
    services.update(name, desiredCount=9)
    services.until(name, lambda s: s["runningCount"] == 9)
    assert where(fleet, services, name) == {"one": 3, "two": 3, "three": 3}


@pytest.mark.parametrize("is_killed", [False, True], ids=["", "server killed"])
def test_a_host_is_lost_and_comes_back(fleet, services, is_killed):
    name, _ = six(services)
    host = fleet.hosts[2]
    away = {task["taskArn"] for task in services.running(name)
            if task["containerInstanceArn"] == host.arn}
    host.cut()
    try:
        clusters.until(lambda: not host.connected(), 30, "the loss", 0.1)
        if is_killed:
            restart(fleet)
        clusters.until(lambda: len([task for task in services.running(name)
                                    if task["taskArn"] not in away]) == 6, 60, "replacements", 0.1)
    finally:
        host.mend()
    clusters.until(host.connected, 150, "its return", 0.1)
    # Now there are two too many, somewhere.
    found = services.until(name, lambda s: of.is_stable(s) and s["pendingCount"] == 0)
    assert found["runningCount"] == 6
    clusters.until(lambda: sum(h.described()["runningTasksCount"] for h in fleet.hosts) == 6,
                   what="the end of the superfluous")


def test_daemons_are_on_every_host(fleet, services):
    name = services.create(schedulingStrategy="DAEMON", **WORKERS)
    services.until(name, lambda s: s["runningCount"] == 3 and s["desiredCount"] == 3)
    services.steady(name)
    assert where(fleet, services, name) == {"one": 1, "two": 1, "three": 1}
    # A new definition: everywhere again.
    new = services.definition()
    services.update(name, taskDefinition=new)
    restart(fleet)
    services.steady(name)
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {new}
    assert where(fleet, services, name) == {"one": 1, "two": 1, "three": 1}
    # A host drains, and is empty.
    set_state(fleet, fleet.hosts[0], "DRAINING")
    clusters.until(lambda: where(fleet, services, name) == {"two": 1, "three": 1}, what="the drain",
                   pause=0.1)
    set_state(fleet, fleet.hosts[0], "ACTIVE")
    services.until(name, lambda s: s["runningCount"] == 3)
    # Another host joins.
    fourth = fleet.add("four", "--zone", ZONES[0], "--attribute", "role=worker").join()
    services.until(name, lambda s: s["runningCount"] == 4 and s["desiredCount"] == 4)
    assert where(fleet, services, name) == {"one": 1, "two": 1, "three": 1, "four": 1}
    services.remove()
    fleet.cluster.ecs.deregister_container_instance(containerInstance=fourth.arn)
