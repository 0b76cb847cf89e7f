"""Programs that deploy to services: the JavaScript SDK as a well-known action uses it, and ecs-deploy.
Each is skipped where it is not on the machine (README.md)."""
import json
import os
import pathlib
import shutil

import cluster as clusters
import pytest

HERE = pathlib.Path(__file__).resolve().parent
MODULES = os.environ.get("FAIRLEAD_NODE_MODULES")
ECS_DEPLOY = os.environ.get("FAIRLEAD_ECS_DEPLOY")


def environment(cluster):
    return {"PATH": os.environ["PATH"], "HOME": cluster.data_dir, **cluster.env}


@pytest.mark.skipif(not shutil.which("node"), reason="no node in PATH")
@pytest.mark.skipif(not MODULES, reason="FAIRLEAD_NODE_MODULES names no folder with "
                                        "@aws-sdk/client-ecs")
def test_the_javascript_sdk_deploys(cluster):
    done = clusters.run("node", str(HERE / "deploy.mjs"), MODULES, env=environment(cluster),
                        timeout=300)
    assert json.loads(done.stdout) == {
        "created": "SUCCESS", "good": "COMPLETED", "bad": "rolled back", "tasks": 2, "exit": 3,
        "refused": "Service not found.", "deleted": "SUCCESS"}


@pytest.fixture
def service(cluster):
    """A service of two tasks, without a circuit breaker; the program rolls back by itself."""
    cluster.register(clusters.idle(memory=16), family="clients-deploy")
    cluster.ecs.create_service(serviceName="clients-deploy", taskDefinition="clients-deploy",
                               desiredCount=2)
    yield lambda: cluster.ecs.describe_services(services=["clients-deploy"])["services"][0]
    cluster.ecs.delete_service(service="clients-deploy", force=True)
    clusters.until(lambda: cluster.ecs.describe_services(
        services=["clients-deploy"])["services"][0]["status"] == "INACTIVE", 60, "its end")
    cluster.stop_all()


@pytest.mark.skipif(not ECS_DEPLOY, reason="FAIRLEAD_ECS_DEPLOY does not name ecs-deploy's `ecs`")
def test_ecs_deploy(cluster, service):
    def ecs(command, *argv, check=True):
        return clusters.run(ECS_DEPLOY, command, "default", "clients-deploy", *argv, check=check,
                            env={**environment(cluster), "LC_ALL": "C.UTF-8"}, timeout=300)
    first = service()["taskDefinition"]
    assert "Deployment successful" in ecs("deploy", "-e", "main", "GREETING", "ahoy").stdout
    second = service()["taskDefinition"]
    assert second != first and service()["runningCount"] == 2
    ecs("scale", "3")
    assert service()["desiredCount"] == 3
    failed = ecs("deploy", "-i", "main", "no-such-image:1", "--timeout", "10", "--rollback",
                 check=False)
    assert failed.returncode != 0
    clusters.until(lambda: service()["taskDefinition"] == second and
                   len(service()["deployments"]) == 1, 60, "the way back")
    assert "Successfully started 1 instances" in clusters.run(
        ECS_DEPLOY, "run", "default", "clients-deploy", "1",
        env={**environment(cluster), "LC_ALL": "C.UTF-8"}).stdout
