"""Many users at the same services at once: what one of them sees is always of one piece, refusals are
of the kinds that clients know, and when all is quiet every service is what was last asked for.
Method: threads that call the API at random for a while, each look at a service checked; the seed is
printed."""
import concurrent.futures
import os
import random
import time

import botocore.exceptions
import cluster as clusters
import pytest
import services as of

SEED = int(os.environ.get("FAIRLEAD_STORM_SEED", random.randrange(1 << 30)))
SECONDS = float(os.environ.get("FAIRLEAD_STORM_S", "8"))
USERS = 6
REFUSALS = {"ServiceNotActiveException", "ServiceNotFoundException", "ConflictException",
            "InvalidParameterException", "ServiceDeploymentNotFoundException"}
FINAL = {"SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"}


def check(service):
    """What holds at any moment."""
    deployments, events = service["deployments"], service["events"]
    ids = [d["id"] for d in deployments]
    assert len(set(ids)) == len(ids)
    assert [d["status"] for d in deployments].count("PRIMARY") == (service["status"] == "ACTIVE"
                                                                   or bool(ids))
    assert not deployments or deployments[0]["status"] == "PRIMARY"
    for member in ("runningCount", "pendingCount"):
        assert service[member] == sum(d[member] for d in deployments)
    assert all(d["createdAt"] <= d["updatedAt"] for d in deployments)
    assert all("rolloutStateReason" in d for d in deployments)
    if service["status"] == "ACTIVE":
        assert service["taskDefinition"] == deployments[0]["taskDefinition"]
        assert sum(d["desiredCount"] for d in deployments) >= min(service["desiredCount"], 1)
    else:
        assert service["desiredCount"] == 0
    if service["status"] == "INACTIVE":
        assert deployments == []
    assert len(events) <= 100 and len({e["id"] for e in events}) == len(events)
    assert all(a["createdAt"] >= b["createdAt"] for a, b in zip(events, events[1:]))
    assert all(e["message"].startswith(f"(service {service['serviceName']}) ") for e in events)


def check_rollouts(services, name, is_quiet):
    briefs = services.ecs.list_service_deployments(service=name)["serviceDeployments"]
    assert briefs == sorted(briefs, key=lambda b: b["createdAt"], reverse=True)
    is_open = [b["status"] not in FINAL for b in briefs]
    assert sum(is_open) <= (0 if is_quiet else 1), briefs
    for brief in briefs:
        assert (brief["status"] in FINAL) == ("finishedAt" in brief), brief


BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
CALM = [{"maximumPercent": 150, "minimumHealthyPercent": 50},
        {"maximumPercent": 200, "minimumHealthyPercent": 100},
        {"maximumPercent": 200, "minimumHealthyPercent": 0}]
ROUGH = CALM + [BREAKER, {"strategy": "ROLLING"},
                {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0},
                {"strategy": "CANARY", "canaryConfiguration": {"canaryBakeTimeInMinutes": 0}},
                {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 50.0,
                                                               "stepBakeTimeInMinutes": 0}}]


class User:
    def __init__(self, services, names, definitions, configurations, seed):
        self.services, self.ecs, self.names = services, services.ecs, names
        self.definitions, self.rand = definitions, random.Random(seed)
        self.configurations = configurations
        self.calls = self.refused = 0

    def update(self, name):
        self.ecs.update_service(service=name, **self.rand.choice([
            {"desiredCount": self.rand.randrange(5)},
            {"forceNewDeployment": True},
            {"taskDefinition": self.rand.choice(self.definitions)},
            {"taskDefinition": self.rand.choice(self.definitions),
             "desiredCount": self.rand.randrange(5)},
            {"deploymentConfiguration": self.rand.choice(self.configurations)},
        ]))

    def look(self, name):
        for service in self.ecs.describe_services(services=[name])["services"]:
            check(service)

    def look_back(self, name):
        check_rollouts(self.services, name, False)

    def stop(self, name):
        for service in self.ecs.describe_services(services=[name])["services"]:
            if arn := service.get("currentServiceDeployment"):
                self.ecs.stop_service_deployment(serviceDeploymentArn=arn)

    def kill(self, name):
        for arn in self.ecs.list_tasks(serviceName=name)["taskArns"][:1]:
            self.ecs.stop_task(task=arn)

    def protect(self, name):
        if tasks := self.ecs.list_tasks(serviceName=name)["taskArns"][:2]:
            self.ecs.update_task_protection(cluster="default", tasks=tasks,
                                            protectionEnabled=self.rand.random() < 0.3)

    def replace(self, name):
        if self.rand.random() < 0.2:
            self.ecs.delete_service(service=name, force=True)
        self.ecs.create_service(serviceName=name, desiredCount=self.rand.randrange(4),
                                taskDefinition=self.rand.choice(self.definitions))

    def storm(self, until):
        acts = [self.update] * 6 + [self.look] * 6 + [self.look_back, self.stop, self.kill,
                                                      self.protect, self.replace]
        while time.monotonic() < until:
            self.calls += 1
            try:
                self.rand.choice(acts)(self.rand.choice(self.names))
            except botocore.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                assert code in REFUSALS, error
                self.refused += 1
        return self.calls, self.refused


@pytest.fixture(name="names")
def _names(services):
    definition = services.definition()
    return [services.create(definition, count=2) for _ in range(3)]


def quiet(services, name):
    """As it is to be, or gone."""
    for arn in services.ecs.list_tasks(serviceName=name)["taskArns"]:
        services.ecs.update_task_protection(cluster="default", tasks=[arn], protectionEnabled=False)
    return services.until(
        name, lambda s: s["status"] == "INACTIVE" or (
            s["status"] == "ACTIVE" and of.is_stable(s) and s["pendingCount"] == 0 and
            s["deployments"][0]["rolloutState"] != "IN_PROGRESS"), what=f"{name} is quiet")


def rage(services, names, definitions, configurations):
    print(f"seed {SEED}")
    users = [User(services, names, definitions, configurations, SEED + i) for i in range(USERS)]
    until = time.monotonic() + SECONDS
    with concurrent.futures.ThreadPoolExecutor(USERS) as pool:
        done = [job.result() for job in [pool.submit(user.storm, until) for user in users]]
    print("calls and refusals:", done)
    assert all(calls > refused for calls, refused in done)


def check_tasks(services, found):
    tasks = services.tasks(found["serviceName"])
    assert len(tasks) == found["desiredCount"]
    assert {task["startedBy"] for task in tasks} <= {d["id"] for d in found["deployments"]}


def test_a_storm(services, names):
    rage(services, names, [services.definition() for _ in range(3)], CALM)
    for name in names:
        found = quiet(services, name)
        check(found)
        check_rollouts(services, name, True)
        check_tasks(services, found)


def test_a_storm_of_failures(services, names):
    """Some definitions cannot run, some die at once; deployments go through stages and back."""
    good = services.definition()
    bad = [services.definition(of.no_such_image(services.cluster)),
           services.definition(clusters.sh("exit 1", memory=16)),
           services.definition(clusters.idle(memory=1 << 20))]
    rage(services, names, [good, good, *bad], ROUGH)
    for name in names:
        if services.get(name)["status"] == "DRAINING":
            services.until(name, lambda s: s["status"] == "INACTIVE")
        if services.get(name)["status"] == "INACTIVE":
            check_tasks(services, services.get(name))
            continue
        for task in services.tasks(name):
            services.ecs.update_task_protection(cluster="default", tasks=[task["taskArn"]],
                                                protectionEnabled=False)
        services.update(name, taskDefinition=good, desiredCount=2, forceNewDeployment=True,
                        deploymentConfiguration=CALM[1])
        found = services.steady(name)
        check(found)
        check_rollouts(services, name, True)
        check_tasks(services, found)
