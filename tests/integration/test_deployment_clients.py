"""What well-known clients do with a service, call by call: Terraform's aws provider with
wait_for_steady_state, amazon-ecs-deploy-task-definition, ecspresso. Method: their sequences with
boto3; their waiters' rules without their pauses."""
import contextlib
import datetime
import time

import cluster as clusters
import pytest
import services as of

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class Failed(Exception):
    pass


def wait_stable(cluster, name):
    """botocore's own waiter, impatient."""
    cluster.ecs.get_waiter("services_stable").wait(
        cluster="default", services=[name], WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})


# ---- Terraform ----

def steady_state(cluster, name, since):
    """wait_for_steady_state of the provider's v6 line: the service's DescribeServices answer, or
    Failed with the service deployment's reason."""
    primary, arn, deadline = None, None, time.monotonic() + 60
    while time.monotonic() < deadline:
        service = cluster.ecs.describe_services(services=[name], include=["TAGS"])["services"][0]
        assert service["status"] == "ACTIVE"
        assert service["deploymentController"]["type"] == "ECS"
        # The first one seen is the one: a rollback's does not count.
        primary = primary or next(d for d in service["deployments"] if d["status"] == "PRIMARY")
        if primary["createdAt"] <= since:
            if of.is_stable(service):
                return service
        elif arn is None:
            arn = joined(cluster, name, since, primary["id"])
        if arn:
            found = cluster.ecs.describe_service_deployments(serviceDeploymentArns=[arn])
            status = found["serviceDeployments"][0]["status"]
            if status == "SUCCESSFUL":
                return service
            if status not in ("PENDING", "IN_PROGRESS"):
                raise Failed(f"{status}: {found['serviceDeployments'][0].get('statusReason')}")
        time.sleep(0.05)
    raise AssertionError(f"no steady state: {service}")


def joined(cluster, name, since, deployment):
    """The service deployment of a deployment: found by the number in its target's ARN."""
    number = deployment.removeprefix("ecs-svc/")
    for brief in cluster.ecs.list_service_deployments(
            service=name, cluster="default", createdAt={"after": since})["serviceDeployments"]:
        if number in brief["targetServiceRevisionArn"]:
            return brief["serviceDeploymentArn"]
    return None


def now():
    """As the provider takes it before its call. The answers' times have milliseconds."""
    started = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.002)
    return started


def test_terraform_creates_updates_scales_and_destroys(cluster, services):
    first, second = services.definition(), services.definition()
    since = now()
    name = services.create(first, count=2, enableECSManagedTags=False, propagateTags="NONE",
                           deploymentController={"type": "ECS"}, clientToken="terraform-1",
                           tags=[{"key": "made-by", "value": "terraform"}])
    service = steady_state(cluster, name, since)
    assert service["tags"] == [{"key": "made-by", "value": "terraform"}]
    assert service["runningCount"] == 2
    since = now()
    services.update(name, taskDefinition=second, desiredCount=3)
    assert steady_state(cluster, name, since)["taskDefinition"] == second
    # No new deployment: the older rule decides.
    since = now()
    services.update(name, desiredCount=1)
    assert steady_state(cluster, name, since)["runningCount"] == 1
    # A plan finds nothing to do.
    assert services.get(name)["desiredCount"] == 1
    # Destroy: down to none, deleted, waited for.
    cluster.ecs.update_service(service=name, desiredCount=0)
    cluster.ecs.delete_service(service=name)
    services.until(name, lambda s: s["status"] == "INACTIVE")


def test_terraform_hears_of_a_rollback(cluster, services):
    good = services.definition()
    name = services.create(good, count=1, deploymentConfiguration=BREAKER)
    services.steady(name)
    since = now()
    services.update(name, taskDefinition=services.definition(
        of.no_such_image(cluster)))
    with pytest.raises(Failed, match="^ROLLBACK_[A-Z_]*: .+"):
        steady_state(cluster, name, since)
    assert services.stable(name)["taskDefinition"] == good


def test_terraform_is_interrupted(cluster, services):
    """sigint_rollback: the provider stops the service deployment with a rollback."""
    good = services.definition()
    name = services.create(good, count=1)
    services.steady(name)
    since = now()
    services.update(name, taskDefinition=services.definition(clusters.idle(
        memory=16, healthCheck={"command": ["CMD-SHELL", "exit 1"], "startPeriod": 300})))
    primary = services.get(name)["deployments"][0]["id"]
    arn = clusters.until(lambda: joined(cluster, name, since, primary), what="its deployment")
    cluster.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    services.ends(arn, "ROLLBACK_SUCCESSFUL")
    assert services.stable(name)["taskDefinition"] == good


# ---- amazon-ecs-deploy-task-definition ----

def action(cluster, name, container):
    """The action's steps; Failed when it would fail the workflow."""
    arn = cluster.register(container)
    found = cluster.ecs.describe_services(services=[name], cluster="default")
    if found["failures"]:
        raise Failed(f"{found['failures'][0]['arn']} is {found['failures'][0]['reason']}")
    service = found["services"][0]
    if service["status"] != "ACTIVE":
        raise Failed(f"Service is {service['status']}")
    assert service["deploymentController"]["type"] == "ECS"
    answer = cluster.ecs.update_service(cluster="default", service=name, taskDefinition=arn,
                                        forceNewDeployment=False)
    mine = answer["service"]["deployments"][0]["id"]
    wait_stable(cluster, name)
    deployments = cluster.ecs.describe_services(services=[name])["services"][0]["deployments"]
    left = [d for d in deployments if d["id"] == mine]
    if not left or left[0]["rolloutState"] == "FAILED":
        raise Failed("rolled back")
    return arn


def test_the_action_deploys(cluster, services):
    name = services.create(count=2)
    services.steady(name)
    arn = action(cluster, name, clusters.idle(memory=16))
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {arn}
    with pytest.raises(Failed, match="nobody is MISSING"):
        action(cluster, "nobody", clusters.idle(memory=16))


def test_the_action_sees_a_rollback(cluster, services):
    name = services.create(count=1, deploymentConfiguration=BREAKER)
    services.steady(name)
    with pytest.raises(Failed, match="rolled back"):
        action(cluster, name, of.no_such_image(cluster))


# ---- ecspresso ----

class Ecspresso:
    """Its deploy, rollback, status, verify: the calls that ECS and Logs are asked."""

    def __init__(self, cluster, name):
        self.cluster, self.ecs, self.name = cluster, cluster.ecs, name

    def status(self, events=10):
        (service,) = self.ecs.describe_services(cluster="default", services=[self.name],
                                                include=["TAGS"])["services"]
        assert service["deploymentController"]["type"] == "ECS"
        said = sorted(service["events"], key=lambda event: event["createdAt"])
        return service, [event["message"] for event in said[-events:]]

    def wait(self):
        wait_stable(self.cluster, self.name)

    def deploy(self, definition):
        service, _ = self.status()
        arn = self.ecs.register_task_definition(**definition)["taskDefinition"]["taskDefinitionArn"]
        self.ecs.update_service(
            cluster="default", service=self.name, taskDefinition=arn, forceNewDeployment=False,
            desiredCount=service["desiredCount"], placementConstraints=[], placementStrategy=[],
            deploymentConfiguration={"maximumPercent": 200, "minimumHealthyPercent": 100},
            enableECSManagedTags=False, enableExecuteCommand=False, propagateTags="NONE")
        self.wait()
        return arn

    def rollback(self):
        service, _ = self.status()
        current = service["taskDefinition"]
        family = of.short(current).split(":")[0]
        arns = self.ecs.list_task_definitions(familyPrefix=family, maxResults=100,
                                              sort="DESC")["taskDefinitionArns"]
        target = arns[arns.index(current) + 1]
        self.ecs.update_service(cluster="default", service=self.name, taskDefinition=target)
        self.wait()
        self.ecs.deregister_task_definition(taskDefinition=current)
        return target

    def verify(self, definition):
        """Cluster, and where the logs go: stream and event are made to try it."""
        assert self.ecs.describe_clusters(clusters=["default"])["clusters"]
        for container in definition["containerDefinitions"]:
            options = container["logConfiguration"]["options"]
            group, stream = options["awslogs-group"], f"ecspresso-verify/{time.monotonic_ns()}"
            with contextlib.suppress(self.cluster.logs.exceptions.ResourceAlreadyExistsException):
                self.cluster.logs.create_log_group(logGroupName=group)
            self.cluster.logs.create_log_stream(logGroupName=group, logStreamName=stream)
            self.cluster.logs.put_log_events(
                logGroupName=group, logStreamName=stream,
                logEvents=[{"timestamp": int(time.time() * 1000), "message": "This is a verify"}])


def test_ecspresso(cluster, services):
    def definition(version):
        return {"family": "ecspresso", "containerDefinitions": [clusters.idle(
            memory=16, environment=[{"name": "VERSION", "value": version}],
            logConfiguration=clusters.awslogs("/ecspresso"))]}
    arns = [cluster.ecs.register_task_definition(**definition("1"))
            ["taskDefinition"]["taskDefinitionArn"]]
    name = services.create(arns[0], count=2)
    tool = Ecspresso(cluster, name)
    tool.verify(definition("1"))
    tool.wait()
    arns += [tool.deploy(definition(version)) for version in "23"]
    service, said = tool.status()
    assert service["taskDefinition"] == arns[2]
    assert any("has started 2 tasks" in text for text in said)
    assert tool.rollback() == arns[1]
    assert {task["taskDefinitionArn"] for task in services.running(name)} == {arns[1]}
    assert cluster.ecs.describe_task_definition(
        taskDefinition=arns[2])["taskDefinition"]["status"] == "INACTIVE"
    # Its newer versions look for the deployment under way, to wait for or to continue it.
    services.steady(name)
    assert cluster.ecs.list_service_deployments(
        cluster="default", service=name, status=["PENDING", "IN_PROGRESS"])[
            "serviceDeployments"] == []
