"""Secrets from the agent's end, before a control plane and a vault that exist on the wire only: who
asks, for what, in how many calls; what is tried again and for how long; what a hostile answer does."""
import json
import pathlib
import re
import shutil
import tempfile
import uuid

import pytest

from cluster import until
from fake_plane import CLUSTER, FakePlane, Host, new_arn, task
from test_agent_conformance import credentials, stop
from test_task_secrets import environment_of

ARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:"


class Vault(FakePlane):
    """Answers both services from `values` (by id or name), after the rules: each is called with
    (operation, members) and gives None or what to answer, and stays while it does. `asked`: (access
    key, operation, members)."""

    def __init__(self):
        super().__init__()
        self.values, self.rules, self.asked = {}, [], []

    def answer(self, operation, members, headers):
        if operation not in ("GetSecretValue", "GetParameters"):
            return super().answer(operation, members, headers)
        key = re.search("Credential=([^/]*)/", headers["Authorization"]).group(1)
        self.asked.append((key, operation, members))
        for rule in list(self.rules):
            answer = rule(operation, members)
            if answer:
                return answer
        if operation == "GetSecretValue":
            return self._secret(members)
        return self._parameters(members)

    def _secret(self, members):
        if members["SecretId"] not in self.values:
            return 400, {"__type": "ResourceNotFoundException", "Message": "no such secret"}
        return 200, {"ARN": members["SecretId"], "Name": "n", "VersionId": "v",
                     "SecretString": self.values[members["SecretId"]]}

    def _parameters(self, members):
        known = [name for name in members["Names"] if name in self.values]
        return 200, {"Parameters": [{"Name": name, "Value": self.values[name]} for name in known],
                     "InvalidParameters": [n for n in members["Names"] if n not in known]}


@pytest.fixture(scope="module")
def host(busybox):
    data_dir = tempfile.mkdtemp(prefix="fairlead-test-")
    plane = Vault()
    made = Host(plane, data_dir, busybox)
    try:
        yield made
    finally:
        made.close()
        plane.close()
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def plane(host, request):
    host.plane.rules.clear()
    host.plane.asked.clear()
    yield host.plane
    if getattr(request.node, "failed_call", False):
        print(host.log())


def source(name, value_from, provider="asm", target="CONTAINER"):
    return {"name": name, "valueFrom": value_from, "provider": provider, "region": "us-east-1",
            "type": "ENVIRONMENT_VARIABLE", "target": target}


def role(number=2):
    """An execution role's credentials of one task alone."""
    return credentials(number, str(uuid.uuid4()))


def ask(plane, *secrets, more_containers=(), **more):
    """A task with these secrets, as AWS's control plane would send it."""
    arn = new_arn()
    wanted = task(arn, executionRoleCredentials=role(), **more)
    wanted["containers"][0]["secrets"] = list(secrets)
    for name, of_other in more_containers:
        other = {**wanted["containers"][0], "name": name, "secrets": list(of_other)}
        wanted["containers"].append(other)
    plane.payload(plane.session(), wanted)
    return arn


def running(plane, arn):
    def there():
        status = plane.status(arn)
        assert status != "STOPPED", plane.reports(arn)[-1]
        return status == "RUNNING"
    until(there, what="RUNNING")


def environment(plane, arn, name="main"):
    (container,) = [c for c in plane.reports(arn)[-1]["containers"] if c["containerName"] == name]
    inside = f"{arn.rsplit('/', 1)[1]}/{container['runtimeId']}/cgroup.procs"
    procs = next(path for pattern in (f"*/{inside}", f"*/*/{inside}")
                 for path in pathlib.Path("/sys/fs/cgroup").glob(pattern))
    return environment_of(int(procs.read_text().split()[0]))


def ended(plane, arn):
    until(lambda: plane.status(arn) == "STOPPED", what="STOPPED")
    return plane.reports(arn)[-1]["reason"]


def test_few_calls_as_the_execution_role(plane):
    plane.values.update({ARN + "a-AbCdEf": json.dumps({"x": "1", "y": "2"}), ARN + "b-AbCdEf": "3",
                         **{f"/p/{n}": f"v{n}" for n in range(14)}})
    arn = ask(plane, source("X", ARN + "a-AbCdEf:x::"), source("Y", ARN + "a-AbCdEf:y::"),
              source("B", ARN + "b-AbCdEf"),
              *(source(f"P{n}", f"/p/{n}", "ssm") for n in range(12)),
              more_containers=[("side", [source("X", ARN + "a-AbCdEf:x::"),
                                         *(source(f"P{n}", f"/p/{n}", "ssm")
                                           for n in range(2, 14))])])
    running(plane, arn)
    found = environment(plane, arn)
    assert {k: found[k] for k in ("X", "Y", "B", "P0", "P11")} == {
        "X": "1", "Y": "2", "B": "3", "P0": "v0", "P11": "v11"}
    beside = environment(plane, arn, "side")
    assert beside["P13"] == "v13" and "Y" not in beside and "P0" not in beside
    assert {key for key, _, _ in plane.asked} == {"ASIA2"}
    secrets = [members for _, operation, members in plane.asked if operation == "GetSecretValue"]
    assert sorted(members["SecretId"] for members in secrets) == [ARN + "a-AbCdEf",
                                                                  ARN + "b-AbCdEf"]
    batches = [m for _, operation, m in plane.asked if operation == "GetParameters"]
    assert sorted(len(members["Names"]) for members in batches) == [4, 10]
    assert all(members["WithDecryption"] is True for members in batches)
    stop(plane, plane.session(), arn)


def times(count, answer):
    """A rule that holds so often."""
    left = [count]

    def rule(operation, members):
        left[0] -= 1
        return answer() if left[0] >= 0 else None
    return rule


def nobody():
    """The connection ends without an answer."""
    raise ConnectionAbortedError


@pytest.mark.parametrize("answer", [
    nobody,
    lambda: (400, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
    lambda: (500, {"__type": "InternalServiceError", "message": "later"}),
    lambda: (503, {}),
    lambda: (400, {"__type": "ExpiredTokenException", "message": "renewed before long"}),
])
def test_what_may_be_better_later_is_tried_again(plane, answer):
    plane.values[ARN + "again-AbCdEf"] = "at last"
    plane.rules.append(times(2, answer))
    arn = ask(plane, source("PW", ARN + "again-AbCdEf"))
    running(plane, arn)
    assert environment(plane, arn)["PW"] == "at last"
    assert len(plane.asked) == 3
    stop(plane, plane.session(), arn)


def test_a_task_may_be_stopped_while_its_secrets_are_asked_for(plane):
    plane.rules.append(times(1000, lambda: (503, {})))
    arn = ask(plane, source("PW", ARN + "never-AbCdEf"))
    until(lambda: plane.asked, what="the first question")
    stop(plane, plane.session(), arn)
    assert "reason" not in plane.reports(arn)[-1]
    asked = len(plane.asked)
    # Its questions end, too: another task's are all that comes.
    plane.rules.clear()
    plane.values[ARN + "other-AbCdEf"] = "x"
    other = ask(plane, source("PW", ARN + "other-AbCdEf"))
    running(plane, other)
    stop(plane, plane.session(), other)
    late = [members for _, _, members in plane.asked[asked:]
            if members.get("SecretId") == ARN + "never-AbCdEf"]
    assert len(late) <= 1


def test_credentials_that_come_late_only_delay(plane):
    plane.values["/late"] = "in time"
    arn = new_arn()
    wanted = task(arn)
    wanted["containers"][0]["secrets"] = [source("PW", "/late", "ssm")]
    plane.payload(plane.session(), wanted)
    until(lambda: plane.session().of_type("AckRequest"), what="the acknowledgement")
    plane.session().say("IAMRoleCredentialsMessage", messageId="late", taskArn=arn,
                        taskClusterArn=CLUSTER, roleType="TaskExecution",
                        roleCredentials=role(7))
    running(plane, arn)
    assert environment(plane, arn)["PW"] == "in time"
    assert [key for key, _, _ in plane.asked] == ["ASIA7"]
    stop(plane, plane.session(), arn)


def test_a_restarted_agent_asks_again(host, plane):
    """For what has not begun; what runs keeps its values."""
    plane.values["/again"] = "before"
    arn = ask(plane, source("PW", "/again", "ssm"))
    running(plane, arn)
    session = plane.session()
    plane.rules.append(times(1000, nobody))
    waiting = ask(plane, source("PW", "/again", "ssm"))
    until(lambda: len(plane.asked) > 1, what="the question")
    host.kill()
    plane.values["/again"] = "after"
    plane.rules.clear()
    host.start()
    again = plane.session(after=session)
    again.say("IAMRoleCredentialsMessage", messageId="m", taskArn=waiting, taskClusterArn=CLUSTER,
              roleType="TaskExecution", roleCredentials=role(5))
    running(plane, waiting)
    assert environment(plane, arn)["PW"] == "before"
    assert environment(plane, waiting)["PW"] == "after"
    assert plane.asked[-1][0] == "ASIA5"
    for each in (arn, waiting):
        stop(plane, again, each)


@pytest.mark.parametrize("answer,words", [
    ((200, {"SecretString": 7}), "has no SecretString"),
    ((200, {"SecretBinary": "aGk="}), "has no SecretString"),
    ((200, {"SecretString": "a\0b"}), "the answer is not understood"),
    ((200, ["no", "object"]), "the answer is not understood"),
    ((400, {"__type": "x" * 5000, "message": "y" * 5000}), "x" * 100),
    ((403, {"__type": "AccessDeniedException", "message": "not you"}),
     "AccessDeniedException: not you"),
])
def test_answers_that_are_none(plane, answer, words):
    plane.rules.append(lambda operation, members: answer)
    reason = ended(plane, ask(plane, source("PW", ARN + "odd-AbCdEf")))
    assert reason.startswith("Fetching secret data from AWS Secrets Manager in region us-east-1: "
                             f"secret {ARN}odd-AbCdEf: ")
    assert words in reason and len(reason) <= 1024


def test_a_container_is_refused_what_is_too_large_for_it(plane):
    plane.values[ARN + "huge-AbCdEf"] = "x" * (15 << 20)
    reason = ended(plane, ask(plane, source("PW", ARN + "huge-AbCdEf")))
    assert reason, plane.reports
    plane.values.pop(ARN + "huge-AbCdEf")


def test_what_a_payload_may_not_say(plane):
    for wrong in ({"provider": "vault"}, {"type": "MOUNT_POINT"}, {"target": "DISK"}):
        arn = ask(plane, {**source("PW", ARN + "a-AbCdEf"), **wrong})
        assert "UnrecogniedTaskError" in ended(plane, arn)
