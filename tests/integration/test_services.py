"""Services as a user meets them first: made, waited for, described, listed, scaled, deleted, kept.
Method: the stock AWS CLI with its waiters, and boto3, against real containers."""
import time

import botocore.exceptions
import cluster as clusters
import pytest
import services as of


def wait_stable(cluster, *names):
    cluster.aws("ecs", "wait", "services-stable", "--services", *names)


def refused(call, code, text=None):
    """The message of the error with that code."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert text is None or error["Message"] == text, error
    return error["Message"]


# ---- made and waited for ----

def test_create_and_wait_by_the_cli(cluster, services):
    name = services.name()
    made = cluster.aws_json("ecs", "create-service", "--service-name", name, "--task-definition",
                            services.definition(), "--desired-count", "3")["service"]
    wait_stable(cluster, name)
    assert made["status"] == "ACTIVE" and made["desiredCount"] == 3
    (deployment,) = made["deployments"]
    assert deployment["rolloutState"] == "IN_PROGRESS"
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} in progress."
    found = services.steady(name)
    (deployment,) = found["deployments"]
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
    assert (found["runningCount"], found["pendingCount"]) == (3, 0)
    tasks = services.running(name)
    assert len(tasks) == 3
    for task in tasks:
        assert task["group"] == f"service:{name}"
        assert task["startedBy"] == deployment["id"]
        assert "stoppedReason" not in task


def test_a_service_of_no_task_is_stable_at_once(cluster, services):
    name = services.name()
    made = cluster.aws_json("ecs", "create-service", "--service-name", name, "--task-definition",
                            services.definition(), "--desired-count", "0")["service"]
    assert of.is_stable(made)
    wait_stable(cluster, name)
    services.steady(name)


def test_what_a_service_is_like(cluster, services):
    definition = services.definition()
    made = services.create(definition, count=1)
    found = services.steady(made)
    assert found["serviceArn"].endswith(f":service/default/{made}")
    assert found["clusterArn"].endswith(":cluster/default")
    assert found["taskDefinition"] == definition
    assert found["deployments"][0]["taskDefinition"] == definition
    assert found["deployments"][0]["id"].startswith("ecs-svc/")
    assert found["launchType"] == "EC2"
    assert found["schedulingStrategy"] == "REPLICA"
    assert found["deploymentController"] == {"type": "ECS"}
    assert found["availabilityZoneRebalancing"] == "ENABLED"
    configuration = found["deploymentConfiguration"]
    assert configuration["maximumPercent"] == 200
    assert configuration["minimumHealthyPercent"] == 100
    assert configuration["deploymentCircuitBreaker"]["enable"] is False
    assert found["loadBalancers"] == [] and found["serviceRegistries"] == []
    assert found["propagateTags"] == "NONE" and found["enableExecuteCommand"] is False
    by_arn = cluster.ecs.describe_services(services=[found["serviceArn"]])["services"][0]
    assert by_arn["serviceName"] == made
    answer = cluster.aws_json("ecs", "describe-services", "--services", made, "nobody")
    assert answer["failures"] == [{
        "arn": "arn:aws:ecs:us-east-1:000000000000:service/default/nobody", "reason": "MISSING"}]


def test_its_events_have_ecs_s_words(services):
    name = services.create(count=2)
    found = services.steady(name)
    services.hears(name, "has reached a steady state.")
    ids = [of.short(task["taskArn"]) for task in services.tasks(name)]
    said = of.words(services.get(name))
    assert said.count("has reached a steady state.") == 1
    assert f"(deployment {found['deployments'][0]['id']}) deployment completed." in said
    started = next(s for s in said if s.startswith("has started"))
    assert started in (f"has started 2 tasks: (task {a}) (task {b})."
                       for a, b in (ids, reversed(ids)))
    services.update(name, desiredCount=0)
    services.stable(name)
    (stopped,) = [s for s in of.words(services.get(name)) if s.startswith("has stopped")]
    assert stopped.startswith("has stopped 2 running tasks: (task ")
    assert all(f"(task {i})" in stopped for i in ids)
    events = services.get(name)["events"]
    assert [e["createdAt"] for e in events] == sorted((e["createdAt"] for e in events),
                                                      reverse=True)
    assert len({e["id"] for e in events}) == len(events)


# ---- listed ----

def test_services_and_their_tasks_are_listed(cluster, services):
    definition = services.definition()
    names = [services.create(definition, count=1) for _ in range(3)]
    for name in names:
        services.stable(name)
    listed = cluster.aws_json("ecs", "list-services")["serviceArns"]
    assert {of.short(arn) for arn in listed} >= set(names)
    paged = cluster.aws_json("ecs", "list-services", "--page-size", "2")["serviceArns"]
    assert sorted(paged) == sorted(listed)
    assert set(cluster.ecs.list_services(schedulingStrategy="DAEMON")["serviceArns"]) == set()
    assert set(cluster.ecs.list_services(launchType="EC2")["serviceArns"]) == set(listed)
    mine = cluster.aws_json("ecs", "list-tasks", "--service-name", names[0])["taskArns"]
    assert mine == [services.tasks(names[0])[0]["taskArn"]]
    started_by = services.get(names[0])["deployments"][0]["id"]
    assert cluster.ecs.list_tasks(startedBy=started_by)["taskArns"] == mine
    refused(lambda: cluster.ecs.list_tasks(serviceName="nobody"), "ServiceNotFoundException",
            "Service not found.")


# ---- scaled ----

def test_scaled_up_and_down(cluster, services):
    name = services.create(count=2)
    services.steady(name)
    before = {task["taskArn"] for task in services.tasks(name)}
    cluster.aws("ecs", "update-service", "--service", name, "--desired-count", "4")
    found = services.until(name, lambda s: s["runningCount"] == 4)
    assert len(found["deployments"]) == 1
    now = {task["taskArn"] for task in services.tasks(name)}
    assert before < now and len(now) == 4
    first = found["deployments"][0]["id"]
    cluster.aws("ecs", "update-service", "--service", name, "--desired-count", "1")
    found = services.until(name, lambda s: s["runningCount"] == 1)
    assert found["deployments"][0]["id"] == first
    (left,) = services.tasks(name)
    gone = services.tasks(name, desiredStatus="STOPPED")
    assert len(gone) == 3
    for task in gone:
        assert task["stopCode"] == "ServiceSchedulerInitiated"
        assert task["stoppedReason"] == f"Scaling activity initiated by (deployment {first})"
    cluster.aws("ecs", "update-service", "--service", name, "--desired-count", "0")
    wait_stable(cluster, name)
    assert services.tasks(name) == []
    assert left["taskArn"] in now


# ---- kept ----

def test_tasks_that_die_come_back(cluster, services):
    name = services.create(count=3)
    services.steady(name)
    victims = services.running(name)[:2]
    for task in victims:
        of.kill_task(cluster.tag, task)
    for task in victims:
        ended = cluster.wait(task["taskArn"])
        assert ended["stopCode"] == "EssentialContainerExited"
        assert ended["containers"][0]["exitCode"] == 137
    services.until(name, lambda s: s["runningCount"] == 3)
    now = {task["taskArn"] for task in services.running(name)}
    assert len(now) == 3 and not now & {task["taskArn"] for task in victims}
    assert len(services.get(name)["deployments"]) == 1


def test_a_task_that_a_user_stops_comes_back(cluster, services):
    name = services.create(count=1)
    services.steady(name)
    (task,) = services.running(name)
    cluster.aws("ecs", "stop-task", "--task", task["taskArn"], "--reason", "try")
    services.until(name, lambda s: s["runningCount"] == 1 and
                   task["taskArn"] not in {t["taskArn"] for t in services.tasks(name)})
    assert cluster.wait(task["taskArn"])["stoppedReason"] == "try"


def test_the_server_s_end_changes_nothing(cluster, services):
    name = services.create(count=2)
    services.steady(name)
    before = services.get(name)
    tasks = {task["taskArn"] for task in services.tasks(name)}
    cluster.kill("server")
    cluster.up()
    assert services.get(name) == before
    assert {task["taskArn"] for task in services.tasks(name)} == tasks


# ---- deleted ----

def test_delete_wants_no_tasks_or_force(cluster, services):
    name = services.create(count=1)
    services.steady(name)
    refused(lambda: cluster.ecs.delete_service(service=name), "InvalidParameterException",
            "The service cannot be stopped while it is scaled above 0.")
    services.update(name, desiredCount=0)
    services.steady(name)
    gone = cluster.aws_json("ecs", "delete-service", "--service", name)["service"]
    assert gone["status"] in ("DRAINING", "INACTIVE")
    cluster.aws("ecs", "wait", "services-inactive", "--services", name)
    assert services.get(name)["status"] == "INACTIVE"
    refused(lambda: cluster.ecs.update_service(service=name, desiredCount=1),
            "ServiceNotActiveException", "Service was not ACTIVE.")
    assert name not in [of.short(arn) for arn in cluster.ecs.list_services()["serviceArns"]]


def test_delete_by_force_stops_its_tasks(cluster, services):
    definition = services.definition()
    name = services.create(definition, count=2)
    services.stable(name)
    tasks = services.tasks(name)
    gone = cluster.aws_json("ecs", "delete-service", "--service", name, "--force")["service"]
    assert gone["status"] == "DRAINING" and gone["desiredCount"] == 0
    cluster.aws("ecs", "wait", "services-inactive", "--services", name)
    for task in tasks:
        assert cluster.task(task["taskArn"])["lastStatus"] == "STOPPED"
    # The name is free again.
    cluster.ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=1)
    services.steady(name)


def test_a_cluster_with_a_service_stays(cluster, services):
    cluster.ecs.create_cluster(clusterName="kept")
    cluster.ecs.create_service(cluster="kept", serviceName="only",
                               taskDefinition=services.definition(), desiredCount=0)
    refused(lambda: cluster.ecs.delete_cluster(cluster="kept"), "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active.")
    (found,) = cluster.ecs.describe_clusters(clusters=["kept"])["clusters"]
    assert found["activeServicesCount"] == 1
    cluster.ecs.delete_service(cluster="kept", service="only")
    clusters.until(lambda: cluster.ecs.describe_services(
        cluster="kept", services=["only"])["services"][0]["status"] == "INACTIVE")
    cluster.ecs.delete_cluster(cluster="kept")


def test_made_again_with_the_same_words(cluster, services):
    """CreateService is repeated by clients that did not hear the answer."""
    name, token = services.name(), f"token-{time.monotonic_ns()}"
    same = {"serviceName": name, "taskDefinition": services.definition(), "desiredCount": 1,
            "clientToken": token}
    first = cluster.ecs.create_service(**same)["service"]
    again = cluster.ecs.create_service(**same)["service"]
    assert again["deployments"][0]["id"] == first["deployments"][0]["id"]
    refused(lambda: cluster.ecs.create_service(**{**same, "desiredCount": 2}),
            "InvalidParameterException", "Creation of service was not idempotent.")


def test_deploy_says_what_is_not_there(cluster, services, tmp_path):
    """`aws ecs deploy` is a client of CodeDeploy's: it asks that first, and is told what is missing."""
    name = services.create(count=1)
    services.stable(name)
    definition, appspec = tmp_path / "definition.json", tmp_path / "appspec.json"
    definition.write_text('{"family": "x", "containerDefinitions": []}')
    appspec.write_text('{"version": 0.0, "Resources": [{"TargetService": {"Type": '
                       '"AWS::ECS::Service", "Properties": {"TaskDefinition": "x", '
                       '"LoadBalancerInfo": {"ContainerName": "main", "ContainerPort": 80}}}}]}')
    answer = cluster.aws("ecs", "deploy", "--service", name, "--task-definition", str(definition),
                         "--codedeploy-appspec", str(appspec), check=False)
    assert answer.returncode != 0
    assert "operation 'CodeDeploy_20141006.GetApplication' is unknown" in answer.stderr
    assert len(services.get(name)["deployments"]) == 1
