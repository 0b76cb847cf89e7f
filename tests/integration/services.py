"""What tests of services share: making them, asking about them as clients do, watching them while
they change, and taking them away again."""
import contextlib
import itertools
import os
import pathlib
import signal
import threading
import time

import botocore.exceptions
import cluster as clusters

_numbers = itertools.count(1)


def is_stable(service):
    """The rule of the clients' ServicesStable waiter."""
    return (len(service["deployments"]) == 1 and
            service["runningCount"] == service["desiredCount"])


def words(service):
    """A service's events, the newest first, without its name."""
    return [event["message"].removeprefix(f"(service {service['serviceName']}) ")
            for event in service["events"]]


def short(arn):
    return arn.rsplit("/", 1)[1]


def no_such_image(cluster):
    """A container whose image its registry does not know."""
    return clusters.container(image=f"127.0.0.1:{cluster.port}/no-such-image:1", memory=16)


class Services:
    """The services that a test makes in a cluster; remove() takes them away."""

    def __init__(self, cluster):
        self.cluster, self.ecs = cluster, cluster.ecs
        self.names = []

    def definition(self, *containers, **more):
        """A definition's ARN: without containers one that runs until told to end."""
        return self.cluster.register(*(containers or [clusters.idle(memory=16)]), **more)

    def name(self):
        self.names.append(f"svc-{next(_numbers)}")
        return self.names[-1]

    def create(self, definition=None, count=1, **more):
        """The new service's name."""
        name = self.name()
        counted = {} if more.get("schedulingStrategy") == "DAEMON" else {"desiredCount": count}
        self.ecs.create_service(serviceName=name, taskDefinition=definition or self.definition(),
                                **counted, **more)
        return name

    def update(self, name, **more):
        """The PRIMARY deployment as UpdateService answers it."""
        return self.ecs.update_service(service=name, **more)["service"]["deployments"][0]

    def get(self, name):
        answer = self.ecs.describe_services(services=[name])
        assert not answer["failures"], answer["failures"]
        return answer["services"][0]

    def until(self, name, condition, timeout=60.0, what="the service's state"):
        """The service, once condition says yes to it; what it was like goes with a failure."""
        last = {}

        def fits():
            last["seen"] = self.get(name)
            return last["seen"] if condition(last["seen"]) else None
        try:
            return clusters.until(fits, timeout, what, pause=0.05)
        except AssertionError as late:
            seen = {k: v for k, v in last["seen"].items() if k != "events"}
            raise AssertionError(f"{late}\n{seen}\n" + "\n".join(words(last["seen"]))) from None

    def stable(self, name, timeout=60.0):
        return self.until(name, is_stable, timeout, f"{name} is stable")

    def steady(self, name, timeout=60.0):
        """Stable, and its rollout COMPLETED."""
        return self.until(name, lambda s: is_stable(s) and
                          s["deployments"][0]["rolloutState"] == "COMPLETED", timeout,
                          f"{name} is steady")

    def hears(self, name, text, timeout=60.0):
        """The first event found that contains the text."""
        found = self.until(name, lambda s: any(text in said for said in words(s)), timeout,
                           f"an event with: {text}")
        return next(said for said in words(found) if text in said)

    def tasks(self, name, **more):
        """Its tasks, described; those that are wanted, unless desiredStatus says otherwise."""
        arns = [arn for page in self.ecs.get_paginator("list_tasks").paginate(
            serviceName=name, **more) for arn in page["taskArns"]]
        found = []
        for i in range(0, len(arns), 100):
            found += self.ecs.describe_tasks(tasks=arns[i:i + 100])["tasks"]
        return found

    def running(self, name):
        return [task for task in self.tasks(name) if task["lastStatus"] == "RUNNING"]

    def deployment(self, arn):
        (found,) = self.ecs.describe_service_deployments(
            serviceDeploymentArns=[arn])["serviceDeployments"]
        return found

    def latest(self, name):
        """The newest service deployment, described."""
        briefs = self.ecs.list_service_deployments(service=name)["serviceDeployments"]
        newest = max(briefs, key=lambda brief: brief["createdAt"])
        return self.deployment(newest["serviceDeploymentArn"])

    def ends(self, arn, status, timeout=60.0):
        """The service deployment, when it has that status."""
        last = {}

        def there():
            last["seen"] = self.deployment(arn)
            return last["seen"] if last["seen"]["status"] == status else None
        try:
            return clusters.until(there, timeout, f"{status} of {arn}", pause=0.05)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{last['seen']}") from None

    def forget(self, name):
        self.names.remove(name)

    def remove(self):
        for name in self.names:
            with contextlib.suppress(self.ecs.exceptions.ServiceNotFoundException,
                                     self.ecs.exceptions.ServiceNotActiveException):
                self.ecs.delete_service(service=name, force=True)
        for name in self.names:
            for service in self.ecs.describe_services(services=[name])["services"]:
                if service["status"] != "INACTIVE":
                    self.until(name, lambda s: s["status"] == "INACTIVE", what=f"{name} is gone")
        self.names.clear()


class Watch:
    """Sees, while it is open, how few and how many tasks of a service were RUNNING. may_be_away: the
    server is killed meanwhile."""

    def __init__(self, services, name, may_be_away=False):
        self.services, self.name, self.may_be_away = services, name, may_be_away
        self.fewest, self.most = 1 << 30, 0
        self.failure, self._ended = None, threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self):
        try:
            while not self._ended.is_set():
                with self._patience():
                    seen = self.services.get(self.name)
                    self.fewest = min(self.fewest, seen["runningCount"])
                    self.most = max(self.most, seen["runningCount"] + seen["pendingCount"])
                time.sleep(0.02)
        except Exception as failure:  # a thread's failure is its owner's to tell
            self.failure = failure

    def _patience(self):
        away = (botocore.exceptions.BotoCoreError,) if self.may_be_away else ()
        return contextlib.suppress(*away)

    def __exit__(self, kind, value, trace):
        self._ended.set()
        self._thread.join()
        if self.failure and not kind:
            raise self.failure


def processes_of(tag, task):
    """Process ids of a task's containers; tag: the installation's or the host's."""
    found = set()
    for container in task["containers"]:
        inside = f"{tag}/{short(task['taskArn'])}/{container['runtimeId']}/cgroup.procs"
        for pattern in (inside, f"*/{inside}"):
            for procs in pathlib.Path("/sys/fs/cgroup").glob(pattern):
                found |= {int(line) for line in procs.read_text().split()}
    return sorted(found)


def kill_task(tag, task):
    """kill -9 of whatever runs in its containers."""
    pids = processes_of(tag, task)
    assert pids, task
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
