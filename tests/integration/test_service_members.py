"""A service over hosts that drain, are lost for longer than --lost-after, come back and join, the
server killed meanwhile; zones are evened out; daemons. Method: an agent in each of three network
namespaces, real containers, boto3."""
import cluster as clusters
import pytest
import services as of
from test_hosts import ZONES
from test_service_hosts import (EVEN, fleet, restart, services, six, three,  # noqa: F401
                                where)

WORKERS = {"placementConstraints": [{"type": "memberOf",
                                     "expression": "attribute:role == worker"}]}


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


def test_a_deployment_after_a_drain(fleet, services):
    """It is spread by itself, and not where those leave room that it replaces."""
    name, _ = six(services)
    host = fleet.hosts[1]
    set_state(fleet, host, "DRAINING")
    clusters.until(lambda: where(fleet, services, name) == {"one": 3, "three": 3}, 60, "the move",
                   0.1)
    set_state(fleet, host, "ACTIVE")
    services.update(name, forceNewDeployment=True)
    services.steady(name)
    assert where(fleet, services, name) == EVEN


def test_zones_are_evened_out_again(fleet, services):
    """What a drain has left lopsided is mended by itself, start first."""
    name = services.create(count=6, availabilityZoneRebalancing="ENABLED")
    services.steady(name)
    host = fleet.hosts[0]
    set_state(fleet, host, "DRAINING")
    clusters.until(lambda: where(fleet, services, name) == {"two": 3, "three": 3}, 60, "the move",
                   0.1)
    with of.Watch(services, name) as watch:
        set_state(fleet, host, "ACTIVE")
        clusters.until(lambda: where(fleet, services, name) == EVEN, 60, "the way back", 0.1)
    assert watch.fewest >= 6


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
