"""Secrets of tasks: values from Secrets Manager and Parameter Store in containers, log drivers and
pulls, and nowhere else; what is missing is said in ECS's words, and ends a deployment at once. With
real containers, real services and a stub of a private registry."""
import json
import pathlib
import socket
import subprocess
import threading
import uuid

import boto3
import pytest

import cluster as clusters
import images
import services as services_of
import stub_registry as stub
from cluster import container, idle, sh, until
from test_hosts import a_fleet
from test_pulls import Tokens, add_app, wants_basic

ROLE = "arn:aws:iam::000000000000:role/reader"
MISSING = "arn:aws:secretsmanager:us-east-1:000000000000:secret:nothing-AbCdEf"
NOT_FOUND = ("Fetching secret data from AWS Secrets Manager in region us-east-1: secret "
             f"{MISSING}: ResourceNotFoundException: Secrets Manager can't find the specified "
             "secret.")


@pytest.fixture(scope="module")
def busybox_tar(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    images.busybox_root(root / "root")
    return stub.tar_of_directory(root / "root")


@pytest.fixture
def registry():
    with stub.Registry() as made:
        yield made


def value():
    """What is found nowhere else."""
    return f"hush-{uuid.uuid4().hex}"


def ssm(cluster):
    return boto3.client("ssm", endpoint_url=cluster.env["AWS_ENDPOINT_URL"],
                        region_name=cluster.env["AWS_REGION"],
                        aws_access_key_id=cluster.env["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=cluster.env["AWS_SECRET_ACCESS_KEY"])


def secret(cluster, text):
    """A new secret's ARN."""
    return cluster.secretsmanager.create_secret(Name=f"s-{uuid.uuid4().hex[:8]}",
                                                SecretString=text)["ARN"]


def parameter(cluster, text, kind="SecureString", name=None):
    """(name, ARN) of a new parameter."""
    name = name or f"/p/{uuid.uuid4().hex[:8]}"
    client = ssm(cluster)
    client.put_parameter(Name=name, Value=text, Type=kind)
    return name, client.get_parameter(Name=name)["Parameter"]["ARN"]


def names(**values):
    return [{"name": name, "valueFrom": source} for name, source in values.items()]


def environment(cluster, task, name="main"):
    """What the container's first process was given."""
    (pid,) = processes(cluster, task, name)[:1]
    return environment_of(pid)


def environment_of(pid):
    """Once the process is the container's own, and not the runtime's any more."""
    def there():
        text = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode()
        found = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
        return found if "HOSTNAME" in found else None
    return until(there, what="the container's environment")


def processes(cluster, task, name="main"):
    (runtime_id,) = [c["runtimeId"] for c in task["containers"] if c["name"] == name]
    inside = f"{cluster.tag}/{services_of.short(task['taskArn'])}/{runtime_id}/cgroup.procs"
    for pattern in (inside, f"*/{inside}"):
        for procs in sorted(pathlib.Path("/sys/fs/cgroup").glob(pattern)):
            return sorted(int(line) for line in procs.read_text().split())
    return []


def started(cluster, *containers, **more):
    definition = cluster.register(*containers, executionRoleArn=ROLE, **more)
    return cluster.wait(cluster.start(definition), "RUNNING")


def refused(cluster, *containers, **more):
    """Why the task did not start."""
    task = cluster.run_to_end(*containers, executionRoleArn=ROLE, timeout=60, **more)
    assert task["stopCode"] == "TaskFailedToStart", task
    reasons = [c["reason"] for c in task["containers"] if "reason" in c]
    assert task["stoppedReason"] in reasons, task
    return task["stoppedReason"]


def on_disk(cluster, text):
    """Files below the data directory that hold the text, in whatever is written there."""
    found = subprocess.run(["grep", "-rlaF", text, cluster.data_dir], capture_output=True,
                           text=True, check=False)
    return found.stdout.split()


def memory_dirs(cluster):
    return [path for place in ("/run", "/dev/shm")
            for path in pathlib.Path(place).glob(f"fairlead-{cluster.tag}")]


# ---- values ----

def test_every_form_of_a_source(cluster):
    plain, old, new, of_key, in_store, clear = (value() for _ in range(6))
    text = secret(cluster, plain)
    login = secret(cluster, json.dumps({"password": of_key, "port": 5432, "on": True}))
    turned = secret(cluster, old)
    first = cluster.secretsmanager.describe_secret(SecretId=turned)["VersionIdsToStages"]
    cluster.secretsmanager.put_secret_value(SecretId=turned, SecretString=new)
    name, arn = parameter(cluster, in_store)
    flat, flat_arn = parameter(cluster, clear, "String", f"flat-{uuid.uuid4().hex[:8]}")
    many = {f"M{n}": parameter(cluster, f"many {n}")[0] for n in range(23)}
    task = started(cluster, idle(environment=[{"name": "OPEN", "value": "yes"}], secrets=names(
        TEXT=text, SAME=text, KEY=f"{login}:password::", NUMBER=f"{login}:port::",
        TRUTH=f"{login}:on::", NOW=f"{turned}::AWSCURRENT:", BEFORE=f"{turned}::AWSPREVIOUS:",
        FIRST=f"{turned}:::{next(iter(first))}", EMPTY_PARTS=f"{turned}:::",
        NAME=name, ARN=arn, FLAT=flat, FLAT_ARN=flat_arn, **many)))
    found = environment(cluster, task)
    assert {key: found.get(key) for key in (
        "TEXT", "SAME", "KEY", "NUMBER", "TRUTH", "NOW", "BEFORE", "FIRST", "EMPTY_PARTS", "NAME",
        "ARN", "FLAT", "FLAT_ARN", "OPEN")} == {
            "TEXT": plain, "SAME": plain, "KEY": of_key, "NUMBER": "5432", "TRUTH": "true",
            "NOW": new, "BEFORE": old, "FIRST": old, "EMPTY_PARTS": new, "NAME": in_store,
            "ARN": in_store, "FLAT": clear, "FLAT_ARN": clear, "OPEN": "yes"}
    assert {key: found.get(key) for key in many} == {f"M{n}": f"many {n}" for n in range(23)}


def test_a_new_value_is_for_new_tasks_alone(cluster):
    old, new = value(), value()
    arn = secret(cluster, old)
    definition = cluster.register(idle(secrets=names(PW=arn)), executionRoleArn=ROLE)
    first = cluster.wait(cluster.start(definition), "RUNNING")
    cluster.secretsmanager.put_secret_value(SecretId=arn, SecretString=new)
    second = cluster.wait(cluster.start(definition), "RUNNING")
    assert environment(cluster, first)["PW"] == old
    assert environment(cluster, second)["PW"] == new


def test_a_secret_wins_over_an_override(cluster):
    kept = value()
    definition = cluster.register(idle(secrets=names(PW=secret(cluster, kept))),
                                  executionRoleArn=ROLE)
    task = cluster.wait(cluster.start(definition, overrides={"containerOverrides": [
        {"name": "main", "environment": [{"name": "PW", "value": "open"}]}]}), "RUNNING")
    assert environment(cluster, task)["PW"] == kept


# ---- where values are, and where not ----

def test_a_container_keeps_its_values(private):
    """When the agent dies and its policy starts it once more, whatever the value is by then."""
    kept = value()
    arn = secret(private, kept)
    task = started(private, sh("if [ -e /again ]; then sleep 1000; fi; touch /again; sleep 61; exit 3",
                               secrets=names(PW=arn), stopTimeout=2,
                               restartPolicy={"enabled": True, "restartAttemptPeriod": 60}))
    first = processes(private, task)
    assert environment(private, task)["PW"] == kept
    private.kill("agent")
    private.secretsmanager.put_secret_value(SecretId=arn, SecretString=value())
    private.up()

    def again():
        after = processes(private, task)
        return after and after[0] not in first and kept in str(
            pathlib.Path(f"/proc/{after[0]}/environ").read_bytes())
    until(again, timeout=90, what="another start", pause=0.2)
    assert not on_disk(private, kept)
    private.ecs.stop_task(task=task["taskArn"])
    private.wait(task["taskArn"])
    # What holds the value goes with the last run.
    until(lambda: not any(kept.encode() in path.read_bytes() for place in memory_dirs(private)
                          for path in place.rglob("*") if path.is_file()),
          what="the end of the values")


def test_values_leave_no_trace(private):
    kept, of_key, in_store = value(), value(), value()
    login = secret(private, json.dumps({"key": of_key}))
    task = started(private, idle(secrets=names(
        PW=secret(private, kept), KEY=f"{login}:key::", P=parameter(private, in_store)[0]),
        healthCheck={"command": ["CMD-SHELL", "test -n \"$PW\""], "interval": 5, "retries": 1}))
    until(lambda: private.task(task["taskArn"])["containers"][0].get("healthStatus") == "HEALTHY",
          what="the health check")
    assert environment(private, task)["KEY"] == of_key
    for text in (kept, of_key, in_store):
        assert not on_disk(private, text), text
        # Nor is it told to anybody who asks about the task.
        assert text not in str(private.task(task["taskArn"]))
        assert text not in private.fairlead("explain", "task", task["taskArn"], check=False).stdout
    for path in (path for place in memory_dirs(private) for path in place.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0 or path.is_symlink() or path.is_dir(), path
    assert all(place.stat().st_mode & 0o777 == 0o700 for place in memory_dirs(private))
    private.kill("agent")
    private.up()
    private.ecs.stop_task(task=task["taskArn"])
    private.wait(task["taskArn"])
    for text in (kept, of_key, in_store):
        assert not on_disk(private, text), text


def test_an_option_of_the_log_driver(cluster, tmp_path):
    """The address that syslog's lines go to is a secret."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as backend:
        backend.bind(("127.0.0.1", 0))
        backend.settimeout(20)
        address = f"udp://127.0.0.1:{backend.getsockname()[1]}"
        tag = value()
        task = cluster.run_to_end(
            sh("echo said", logConfiguration={"logDriver": "syslog", "secretOptions": names(**{
                "syslog-address": parameter(cluster, address)[0], "tag": secret(cluster, tag)})}),
            executionRoleArn=ROLE)
        assert task["containers"][0]["exitCode"] == 0
        line = backend.recv(65536).decode()
        assert tag in line and line.rstrip().endswith("said")
        assert not on_disk(cluster, tag)


def test_values_reach_another_host(busybox):
    """Over TLS, from a server that is believed by its certificate alone."""
    kept, in_store = value(), value()
    with a_fleet(busybox) as fleet:
        host = fleet.add("far").join()
        task = started(fleet.cluster, idle(memory=16, secrets=names(
            PW=secret(fleet.cluster, kept), P=parameter(fleet.cluster, in_store)[0])))
        found = environment(host, task)
        assert (found["PW"], found["P"]) == (kept, in_store)
        for owner in (host, fleet.cluster):
            assert not on_disk(owner, kept) and not on_disk(owner, in_store)
        fleet.cluster.stop_all()


# ---- what goes wrong ----

def test_what_is_missing_is_said_in_ecs_words(cluster):
    assert refused(cluster, idle(secrets=names(PW=MISSING))) == NOT_FOUND
    assert refused(cluster, idle(secrets=names(
        A="/no/such/one", B="/nor/this", C=parameter(cluster, "there")[0]))) == (
            "Fetching secret data from SSM Parameter Store in us-east-1: invalid parameters: "
            "/no/such/one,/nor/this")
    arn = secret(cluster, json.dumps({"user": "mara"}))
    at = f"Fetching secret data from AWS Secrets Manager in region us-east-1: secret {arn}: "
    assert refused(cluster, idle(secrets=names(PW=f"{arn}:password::"))) == (
        at + "retrieved secret from Secrets Manager did not contain json key password")
    assert refused(cluster, idle(secrets=names(PW=f"{arn}::NOSUCHSTAGE:"))).startswith(
        at + "ResourceNotFoundException: ")
    text = secret(cluster, "no object")
    assert "is not a JSON object" in refused(cluster, idle(secrets=names(PW=f"{text}:key::")))
    assert "invalid ARN format" in refused(cluster, idle(secrets=names(PW=f"{arn}:key")))
    # No container of the task begins, also not one that needs none.
    task = cluster.run_to_end(idle(), idle(name="side", essential=False,
                                           secrets=names(PW=MISSING)),
                              executionRoleArn=ROLE, timeout=60)
    assert (task["stoppedReason"], task["stopCode"]) == (NOT_FOUND, "TaskFailedToStart")
    assert all("runtimeId" not in c and "exitCode" not in c for c in task["containers"])


def test_a_deployment_without_its_secret_goes_back_at_once(cluster, services):
    name = services.create(services.definition(idle(memory=16)), count=2, deploymentConfiguration={
        "deploymentCircuitBreaker": {"enable": True, "rollback": True}})
    services.steady(name)
    before = {task["taskArn"] for task in services.running(name)}
    services.update(name, taskDefinition=services.definition(
        idle(memory=16, secrets=names(PW=MISSING)), executionRoleArn=ROLE))
    services.hears(name, "deployment failed: tasks failed to start.")
    deployment = services.latest(name)
    ended = services.ends(deployment["serviceDeploymentArn"], "ROLLBACK_SUCCESSFUL")
    assert NOT_FOUND.rstrip(".") in ended["statusReason"]
    services.hears(name, "rolling back to deployment")
    assert {task["taskArn"] for task in services.running(name)} == before
    failed = [task for task in services.tasks(name, desiredStatus="STOPPED")
              if task["stopCode"] == "TaskFailedToStart"]
    assert {task["stoppedReason"] for task in failed} == {NOT_FOUND}
    assert len(failed) <= 4


def test_what_registration_refuses(cluster):
    for wanted, words in (
            (idle(secrets=names(PW=MISSING)),
             "When you are specifying container secrets, you must also specify a value for "
             "'executionRoleArn'."),
            (idle(repositoryCredentials={"credentialsParameter": MISSING}),
             "Private repository authentication requires that the task definition specify a value "
             "for executionRoleArn.")):
        with pytest.raises(cluster.ecs.exceptions.ClientException) as refusal:
            cluster.register(wanted)
        assert refusal.value.response["Error"]["Message"] == words


# ---- private registries ----

def login_secret(cluster, user, password):
    return secret(cluster, json.dumps({"username": user, "password": password}))


def private_image(cluster, registry, app, user="mara", password="pass", **more):
    return container(image=f"{registry.host}/{app}:1", repositoryCredentials={
        "credentialsParameter": login_secret(cluster, user, password)}, **more)


def test_a_private_registry_with_basic_authentication(cluster, registry, busybox_tar):
    password = value()
    add_app(registry, busybox_tar, word="basic")
    registry.rules.append(wants_basic("mara", password))
    task = cluster.run_to_end(private_image(cluster, registry, "app", password=password),
                              executionRoleArn=ROLE, timeout=60)
    assert task["containers"][0]["exitCode"] == 7
    assert not on_disk(cluster, password)
    # A secret may be named without its ARN.
    cluster.secretsmanager.create_secret(Name="registry/login", SecretString=json.dumps(
        {"username": "mara", "password": password}))
    task = cluster.run_to_end(
        container(image=f"{registry.host}/app:1",
                  repositoryCredentials={"credentialsParameter": "registry/login"}),
        executionRoleArn=ROLE, timeout=60)
    assert task["containers"][0]["exitCode"] == 7


def test_a_private_registry_with_tokens(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar, "team/app", word="token")
    tokens = Tokens(registry, login=("mara", "pass"))
    registry.rules.append(tokens)
    task = cluster.run_to_end(private_image(cluster, registry, "team/app"), executionRoleArn=ROLE,
                              timeout=60)
    assert task["containers"][0]["exitCode"] == 7
    assert tokens.given == 1


def test_a_wrong_password_is_refused(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar, word="wrong")
    registry.rules.append(wants_basic("mara", "right"))
    text = refused(cluster, private_image(cluster, registry, "app", password="wrong"))
    assert text.startswith("CannotPullContainerError: failed to resolve reference"), text
    assert "pull access denied, repository does not exist or may require authorization" in text
    for wrong, words in (
            (login_secret(cluster, "mara", ""),
             "asm fetching password: AuthorizationData is malformed, empty field"),
            (secret(cluster, "mara:right"),
             "asm fetching authorization data: unable to unmarshal secret value, invalid schema"),
            (MISSING, f"asm fetching secret from the service for {MISSING}: "
                      "ResourceNotFoundException: Secrets Manager can't find the specified "
                      "secret.")):
        assert refused(cluster, container(
            image=f"{registry.host}/app:1",
            repositoryCredentials={"credentialsParameter": wrong})) == words


def test_credentials_are_for_one_image_and_one_registry(cluster, registry, busybox_tar):
    """Not for another task's pull of the same image, however close; not where a redirect leads; not
    for another container's image."""
    released, waiting = threading.Event(), threading.Event()
    add_app(registry, busybox_tar, word="mine alone")
    with stub.Registry() as store:
        store.blobs = registry.blobs
        registry.rules.append(wants_basic("mara", "pass"))

        def slow(request):
            if "/blobs/" in request.path:
                waiting.set()
                released.wait(20)
                request.answer(307, Location=f"{store.url}{request.path}")
                return True
            return False
        registry.rules.append(slow)
        mine = cluster.start(cluster.register(private_image(cluster, registry, "app"),
                                              executionRoleArn=ROLE))
        assert waiting.wait(20)
        try:
            stranger = cluster.run_to_end(container(image=f"{registry.host}/app:1"), timeout=60)
            assert "no basic auth credentials" in stranger["stoppedReason"]
            other = refused(cluster, private_image(cluster, registry, "app", password="other"))
            assert "pull access denied" in other
        finally:
            released.set()
        assert cluster.wait(mine, timeout=60)["containers"][0]["exitCode"] == 7
        assert store.requests
        assert not any("Authorization" in headers for _, headers in store.requests)
    with stub.Registry() as elsewhere:
        add_app(elsewhere, busybox_tar, word="elsewhere")
        elsewhere.rules.append(wants_basic("x", "y"))
        refused(cluster, private_image(cluster, registry, "app", name="a"),
                container("b", image=f"{elsewhere.host}/app:1"))
        assert not any("Authorization" in headers for _, headers in elsewhere.requests)


def test_many_tasks_with_one_login_share_a_pull(cluster, registry, busybox_tar):
    released = threading.Event()
    registry.rules += [wants_basic("mara", "pass"),
                       lambda request: "/blobs/" in request.path and not released.wait(20)]
    add_app(registry, busybox_tar, "shared", word="shared by a login")
    definition = cluster.register(private_image(cluster, registry, "shared"),
                                  executionRoleArn=ROLE)
    tasks = [cluster.start(definition) for _ in range(5)]
    until(lambda: registry.paths("/blobs/"), what="the first request for a blob")
    released.set()
    for task in tasks:
        assert cluster.wait(task, timeout=60)["containers"][0]["exitCode"] == 7
    blobs = [path for path, headers in registry.requests
             if "/blobs/" in path and "Authorization" in headers]
    assert blobs and all(blobs.count(path) == 1 for path in blobs)
