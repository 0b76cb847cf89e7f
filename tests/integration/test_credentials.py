"""Credentials of tasks' roles: an SDK in a container finds them by itself, they are good for what
docs/decisions/0006 says and for nothing else, nobody gets another task's, and they end with their
time or their task. With real containers and with an agent written from the protocol alone."""
import contextlib
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.parse

import boto3
import botocore
import botocore.exceptions
import cluster as clusters
import pytest
from cluster import idle, until
from conftest import installation
from fake_agent import FakeAgent, Refused, WebSocket
from test_metadata import METADATA, Container

ROLE = "arn:aws:iam::000000000000:role/team/reader"
EXECUTION_ROLE = "arn:aws:iam::000000000000:role/puller"
LIFE_S = 12

# What a program in a container does that knows nothing of where it runs.
ASK_WHO = """
import boto3, json
who = boto3.client("sts").get_caller_identity()
print(json.dumps({"who": {name: who[name] for name in ("UserId", "Account", "Arn")},
                  "clusters": boto3.client("ecs").list_clusters()["clusterArns"]}))
"""


@pytest.fixture(scope="module")
def brisk(busybox):
    """Credentials live for twelve seconds there, and are renewed every four."""
    with installation(busybox, "--cpu-units", "65536", "--memory-mib", "65536", "--session-life",
                      str(LIFE_S // 2), "--metadata-port", str(clusters.free_port())) as made:
        yield made
        made.stop_all()


def started(cluster, *containers, **more):
    arn = cluster.start(cluster.register(*containers, taskRoleArn=ROLE, **more))
    task = cluster.wait(arn, "RUNNING")
    return arn, {item["name"]: Container(cluster, item) for item in task["containers"]}


def address(container):
    return f"http://{METADATA}" + container.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]


def client(cluster, credentials, service="ecs"):
    """A client with credentials as containers or agents get them."""
    names = (("AccessKeyId", "SecretAccessKey", "Token") if "Token" in credentials else
             ("accessKeyId", "secretAccessKey", "sessionToken"))
    key, secret, token = (credentials[name] for name in names)
    return boto3.client(service, region_name="us-east-1", aws_access_key_id=key,
                        aws_secret_access_key=secret, aws_session_token=token,
                        endpoint_url=cluster.env["AWS_ENDPOINT_URL"],
                        config=botocore.config.Config(retries={"total_max_attempts": 1}))


def refused(call, **members):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**members)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def python_container(script, group):
    """This machine's Python with boto3, in a busybox; and the volumes for it."""
    wanted = {"/usr": "/usr", "/lib": "/lib", "/lib64": "/lib64",
              sys.base_prefix: sys.base_prefix}
    wanted["/boto3"] = str(pathlib.Path(botocore.__file__).parents[1])
    volumes = [{"name": f"v{n}", "host": {"sourcePath": os.path.realpath(path)}}
               for n, path in enumerate(wanted.values())]
    mounts = [{"sourceVolume": f"v{n}", "containerPath": path, "readOnly": True}
              for n, path in enumerate(wanted)]
    python = os.path.realpath(os.path.join(sys.base_prefix, "bin",
                                           f"python3.{sys.version_info.minor}"))
    return clusters.container(
        command=[python, "-c", script], mountPoints=mounts, memory=256,
        environment=[{"name": "PYTHONPATH", "value": "/boto3"},
                     {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        logConfiguration=clusters.awslogs(group)), volumes


@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_an_sdk_in_a_container_finds_its_role(cluster, mode):
    group = f"/credentials/{mode}"
    container, volumes = python_container(ASK_WHO, group)
    task = cluster.run_to_end(container, timeout=60, taskRoleArn=ROLE, volumes=volumes,
                              networkMode=mode)
    task_id = task["taskArn"].rsplit("/", 1)[1]
    said = until(lambda: cluster.messages(group, f"t/main/{task_id}"), what="what it found")
    assert task["containers"][0]["exitCode"] == 0, said
    answer = json.loads(said[-1])
    assert answer["who"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/reader/{task_id}"
    assert answer["who"]["Account"] == "000000000000"
    assert answer["who"]["UserId"].startswith("AROA")
    assert answer["who"]["UserId"].endswith(f":{task_id}")
    assert any(arn.endswith("cluster/default") for arn in answer["clusters"])


def test_a_second_installation_on_the_host_has_another_address(brisk, private):
    """The host's 169.254.170.2 is one installation's; tasks in host mode of the other are told a
    whole URL, and their SDKs find them there."""
    for made in (brisk, private):
        _, found = started(made, idle(name="c"), networkMode="host")
        variables = [name for name in found["c"].env if name.startswith("AWS_CONTAINER")]
        assert len(variables) == 1
        if variables == ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]:
            break
    else:
        pytest.fail("both installations have the address")
    container, volumes = python_container(ASK_WHO, "/second")
    task = made.run_to_end(container, timeout=60, taskRoleArn=ROLE, volumes=volumes,
                           networkMode="host")
    stream = f"t/main/{task['taskArn'].rsplit('/', 1)[1]}"
    said = until(lambda: made.messages("/second", stream), what="what it found")
    assert json.loads(said[-1])["who"]["Arn"].startswith(
        "arn:aws:sts::000000000000:assumed-role/reader/"), said
    made.stop_all()


def test_an_override_is_another_role_and_no_role_is_no_credentials(cluster):
    definition = cluster.register(idle(name="c"), taskRoleArn=ROLE)
    code, text = refused(cluster.ecs.run_task, taskDefinition=definition,
                         overrides={"taskRoleArn": "not a role"})
    assert (code, text) == ("ClientException", "Role is not valid")
    arn = cluster.start(definition, overrides={"taskRoleArn": "other"})
    container = Container(cluster, cluster.wait(arn, "RUNNING")["containers"][0])
    document = container.get(address(container))
    assert document["RoleArn"] == "arn:aws:iam::000000000000:role/other"
    arn = cluster.start(cluster.register(idle(name="c")))
    container = Container(cluster, cluster.wait(arn, "RUNNING")["containers"][0])
    assert not [name for name in container.env if "CREDENTIALS" in name]


def test_documents_and_refusals_are_ecs(brisk):
    arn, found = started(brisk, idle(name="a"), idle(name="b"))
    one, two = found["a"], found["b"]
    assert address(one) == address(two)
    document = one.get(address(one))
    assert set(document) == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert document["RoleArn"] == ROLE and document["AccessKeyId"].startswith("ASIA")
    end = datetime.datetime.fromisoformat(document["Expiration"].replace("Z", "+00:00"))
    left = (end - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    assert left <= LIFE_S
    identity = address(one).rsplit("/", 1)[1]
    assert set(one.get(f"http://{METADATA}/v1/credentials?id={identity}")) == set(document)
    for path, status, code, text in (
            ("/v2/credentials/", 400, "NoIdInRequest",
             "CredentialsV2Request: No Credential ID in the request"),
            ("/v2/credentials/nobody", 400, "InvalidIdInRequest",
             "CredentialsV2Request: Credentials not found"),
            ("/v1/credentials?id=nobody", 400, "InvalidIdInRequest",
             "CredentialsV1Request: Credentials not found")):
        answer = one.ask(f"http://{METADATA}{path}")
        assert (answer[0], json.loads(answer[2])) == (
            status, {"code": code, "message": text, "HTTPErrorCode": status})
    lines = pathlib.Path(brisk.data_dir, "log", "audit.log").read_text().splitlines()
    mine = [line.split() for line in lines if arn in line]
    assert [(line[1], line[3]) for line in mine] == [("200", '"/v2/credentials"'),
                                                     ("200", '"/v1/credentials"')]
    assert not [line for line in lines if identity in line]
    brisk.ecs.stop_task(task=arn)


def test_nobody_reaches_the_credentials_of_another_task(brisk):
    _, one = started(brisk, idle(name="c"))
    _, two = started(brisk, idle(name="c"))
    _, host = started(brisk, idle(name="c"), networkMode="host")
    one, two, host = one["c"], two["c"], host["c"]
    paths = [c.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] for c in (one, two)]
    assert paths[0] != paths[1]
    assert one.ask(address(one))[0] == 200
    foreign = [two.ask(address(one)), one.ask(address(two)),
               host.ask(f"http://127.0.0.1:{brisk_port(brisk)}{paths[0]}"),
               one.ask(f"http://{METADATA}" + host_path(host))]
    for status, _, body in foreign:
        assert status == 400 and json.loads(body)["code"] == "InvalidIdInRequest"
    # Nor does a request that somebody passes on.
    assert one.ask(address(one), **{"X-Forwarded-For": "10.0.0.1"})[0] == 403


def brisk_port(cluster):
    return int(cluster.flags[cluster.flags.index("--metadata-port") + 1])


def host_path(container):
    for name in ("RELATIVE", "FULL"):
        value = container.env.get(f"AWS_CONTAINER_CREDENTIALS_{name}_URI")
        if value:
            return "/v2/credentials/" + value.rsplit("/", 1)[1]
    raise AssertionError(container.env)


def test_they_are_renewed_in_time_and_end_with_the_task(brisk):
    arn, found = started(brisk, idle(name="c"))
    container = found["c"]
    first = container.get(address(container))
    assert client(brisk, first, "sts").get_caller_identity()["Arn"].endswith(
        arn.rsplit("/", 1)[1])
    newer = until(lambda: (lambda d: d if d["Token"] != first["Token"] else None)(
        container.get(address(container))), timeout=30, what="new credentials")
    # Well before the old ones end.
    assert client(brisk, first).list_clusters()["clusterArns"]
    assert client(brisk, newer).list_clusters()["clusterArns"]
    old = client(brisk, first)
    until(lambda: is_refused(old), timeout=2 * LIFE_S, what="the old ones' end")
    assert refused(old.list_clusters) == ("ExpiredTokenException",
                                          "The security token included in the request is expired")
    newest = container.get(address(container))
    working = client(brisk, newest)
    assert working.list_clusters()["clusterArns"]
    brisk.ecs.stop_task(task=arn)
    brisk.wait(arn)
    assert refused(working.list_clusters)[0] == "ExpiredTokenException"
    assert refused(client(brisk, newest, "sts").get_caller_identity)[0] == "ExpiredToken"


def is_refused(ecs):
    try:
        ecs.list_clusters()
    except botocore.exceptions.ClientError:
        return True
    return False


def test_what_is_not_ours_is_not_taken(cluster):
    arn, found = started(cluster, idle(name="c"))
    good = found["c"].get(address(found["c"]))
    invalid = "The security token included in the request is invalid."
    other = good["Token"][:-6] + ("A" if good["Token"][-6] != "A" else "B") + good["Token"][-5:]
    for change in ({"Token": other}, {"Token": "nonsense"}, {"AccessKeyId": "ASIA" + "A" * 16}):
        assert refused(client(cluster, {**good, **change}).list_clusters) == (
            "UnrecognizedClientException", invalid)
        assert refused(client(cluster, {**good, **change}, "sts").get_caller_identity)[0] == \
            "InvalidClientTokenId"
    assert refused(client(cluster, {**good, "SecretAccessKey": "x"}).list_clusters)[0] == \
        "InvalidSignatureException"
    # The operator's own key has no token, and a token's key is nothing without it.
    operator = cluster.key()
    assert refused(client(cluster, {"AccessKeyId": operator["accessKeyId"], "Token": good["Token"],
                                    "SecretAccessKey": operator["secretAccessKey"]}
                          ).list_clusters)[0] == "UnrecognizedClientException"
    assert refused(client(cluster, {**good, "Token": None}).list_clusters)[0] == \
        "UnrecognizedClientException"
    cluster.ecs.stop_task(task=arn)


def test_a_role_calls_the_api_and_nothing_that_agents_or_operators_call(cluster):
    arn, found = started(cluster, idle(name="c"))
    task_id = arn.rsplit("/", 1)[1]
    good = found["c"].get(address(found["c"]))
    ecs = client(cluster, good)
    assert ecs.describe_tasks(tasks=[arn])["tasks"][0]["lastStatus"] == "RUNNING"
    logs = client(cluster, good, "logs")
    logs.create_log_group(logGroupName="/by/a/task")
    assert logs.describe_log_groups(logGroupNamePrefix="/by/a/task")["logGroups"]
    who = f"User: arn:aws:sts::000000000000:assumed-role/reader/{task_id} is not authorized to " \
          "perform: "
    assert refused(ecs.discover_poll_endpoint) == ("AccessDeniedException",
                                                   who + "ecs:DiscoverPollEndpoint")
    assert refused(ecs.register_container_instance)[0] == "AccessDeniedException"
    assert refused(ecs.submit_task_state_change, task=arn, status="STOPPED")[0] == \
        "AccessDeniedException"
    assert cluster.task(arn)["lastStatus"] == "RUNNING"
    key = {"accessKeyId": good["AccessKeyId"], "secretAccessKey": good["SecretAccessKey"]}
    for target in ("ShipLogs", "Explain", "Hold", "Utilization", "Backup"):
        status, answer = cluster.post(cluster.signed(f"Fairlead_20261120.{target}", b"{}", key=key,
                                                     token=good["Token"]), b"{}")
        assert (status, answer["__type"]) == (400, "AccessDeniedException"), target
    instance = cluster.task(arn)["containerInstanceArn"]
    for path in ("acs", "tcs"):
        query = urllib.parse.urlencode({"cluster": "default", "clusterArn": "default",
                                        "containerInstance": instance,
                                        "containerInstanceArn": instance})
        url = f"http://127.0.0.1:{cluster.port}/{path}/ws?{query}"
        with pytest.raises(Refused) as refusal:
            WebSocket(url, {**key, "sessionToken": good["Token"]})
        assert refusal.value.envelope["__type"] == "AccessDeniedException"
    cluster.ecs.stop_task(task=arn)


def test_after_the_agents_restart_they_come_again(private):
    """Nothing of them is on the disk: the agent knows the id, and asks for the rest."""
    arn, found = started(private, idle(name="c"))
    container = found["c"]
    before = container.get(address(container))
    for secret in (before["SecretAccessKey"], before["Token"][:40]):
        found = subprocess.run(["grep", "-rlF", secret, private.data_dir], capture_output=True,
                               text=True, timeout=60)
        assert found.stdout == ""
    argv = pathlib.Path(f"/proc/{private.pid('agent')}/cmdline").read_text().split("\0")[:-1]
    private.kill("server")
    private.kill("agent")
    alone = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        status, _, body = until(lambda: answer_of(container), what="an answer of the new agent")
        assert (status, json.loads(body)) == (503, {
            "code": "CredentialsUninitialized", "HTTPErrorCode": 503,
            "message": "CredentialsV2Request: Credentials uninitialized for ID"})
    finally:
        alone.send_signal(signal.SIGTERM)
        alone.wait(30)
    private.up()
    until(lambda: (answer_of(container) or [0])[0] == 200, what="the credentials again")
    after = container.get(address(container))
    assert after["RoleArn"] == ROLE
    assert client(private, after).list_clusters()["clusterArns"]
    private.ecs.stop_task(task=arn)
    private.wait(arn)


def answer_of(container):
    with contextlib.suppress(AssertionError):
        return container.ask(address(container))
    return None


def test_a_host_that_lends_no_roles_gets_no_such_tasks(cluster_with, tmp_path):
    config = tmp_path / "ecs.config"
    config.write_text("ECS_ENABLE_TASK_IAM_ROLE=true\n"
                      "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST=false\n")
    cluster = cluster_with("--ecs-config", str(config))
    definition = cluster.register(clusters.container(command=["true"]), taskRoleArn=ROLE,
                                  networkMode="host")
    answer = cluster.ecs.run_task(taskDefinition=definition)
    assert [failure["reason"] for failure in answer["failures"]] == ["ATTRIBUTE"]
    cluster.run_to_end(clusters.container(command=["true"]), taskRoleArn=ROLE)


# An agent that was written from the protocol's description.

@pytest.fixture
def agent(brisk):
    brisk.ecs.create_cluster(clusterName="roles")
    agent = FakeAgent(brisk, "host", ecs_cluster="roles")
    yield agent
    agent.disconnect()
    brisk.ecs.deregister_container_instance(cluster="roles", containerInstance=agent.arn,
                                            force=True)


def run_there(brisk, **more):
    definition = brisk.register(clusters.container(command=["true"]), **more)
    answer = brisk.ecs.run_task(cluster="roles", taskDefinition=definition)
    assert not answer["failures"], answer["failures"]
    return answer["tasks"][0]["taskArn"]


def test_agents_get_credentials_with_the_task_and_in_time(brisk, agent):
    arn = run_there(brisk, taskRoleArn=ROLE, executionRoleArn=EXECUTION_ROLE)
    brisk.wait(arn, "RUNNING", cluster="roles")
    (payload,) = agent.payloads
    (task,) = payload["tasks"]
    app, execution = task["roleCredentials"], task["executionRoleCredentials"]
    for credentials, role in ((app, ROLE), (execution, EXECUTION_ROLE)):
        assert credentials["roleArn"] == role and credentials["credentialsId"]
        assert credentials["accessKeyId"].startswith("ASIA") and credentials["expiration"]
    assert app["credentialsId"] != execution["credentialsId"]
    assert client(brisk, app).list_clusters()["clusterArns"]
    # An execution role does what starting a task needs, and that is all.
    assert refused(client(brisk, execution).list_clusters)[0] == "AccessDeniedException"
    logs = client(brisk, execution, "logs")
    logs.create_log_group(logGroupName="/by/the/agent")
    assert refused(logs.describe_log_groups)[0] == "AccessDeniedException"
    brisk.secretsmanager.create_secret(Name="for/a/task", SecretString="x")
    secrets = client(brisk, execution, "secretsmanager")
    assert secrets.get_secret_value(SecretId="for/a/task")["SecretString"] == "x"
    for call in (secrets.describe_secret, secrets.delete_secret, secrets.put_secret_value):
        assert refused(call, SecretId="for/a/task")[0] == "AccessDeniedException"
    # New ones of both come on the connection, under the same ids; over its renewal, too.
    for role, first in (("TaskApplication", app), ("TaskExecution", execution)):
        came = renewed(agent, role)
        assert came["credentialsId"] == first["credentialsId"]
        assert came["accessKeyId"] != first["accessKeyId"]
        assert came["roleArn"] == first["roleArn"]
    message = agent.socket.of_type("IAMRoleCredentialsMessage")[-1]
    assert message["taskArn"] == arn and message["messageId"]
    assert message["taskClusterArn"].endswith("cluster/roles")
    brisk.ecs.stop_task(cluster="roles", task=arn)
    brisk.wait(arn, cluster="roles")
    assert "roleCredentials" not in agent.payloads[-1]["tasks"][0]


def renewed(agent, role):
    """The credentials of a role that come after those that are there."""
    known = len(agent.credentials)

    def newer():
        if agent.socket.closed.is_set():
            agent.connect()
        return [c for _, kind, c in agent.credentials[known:] if kind == role]
    return until(newer, timeout=30, what="new credentials")[0]


def test_an_agent_that_has_just_begun_is_sent_all_of_them(brisk, agent):
    arn = run_there(brisk, taskRoleArn=ROLE)
    brisk.wait(arn, "RUNNING", cluster="roles")
    agent.disconnect()
    agent.has_credentials, agent.credentials = False, []
    agent.connect()
    until(lambda: agent.credentials, timeout=3, what="credentials for an agent without any")
    assert agent.credentials[0][:2] == (arn, "TaskApplication")
