"""Services as their operator sees them: the image that a deployment began with, `explain`, `status`,
and the end of everything."""
import sys

import cluster as clusters
import images
import services as services_of


def _archive(folder, word):
    """A docker-archive of busybox that no other word's is the same as."""
    folder.mkdir()
    images.busybox_root(folder / "root")
    (folder / "root" / "word").write_text(word)
    clusters.run(sys.executable, str(clusters.ROOT / "tools" / "mkimage.py"), "--tag", "moving:1",
                 "--cmd", "/bin/sh", "--output", str(folder / "image.tar"), str(folder / "root"))
    return folder / "image.tar"


def _digest(task):
    return task["containers"][0]["imageDigest"]


def test_a_deployment_keeps_to_its_image(private, tmp_path):
    """A tag that moves changes nothing until the next deployment; who asked for that follows it."""
    made = services_of.Services(private)
    old, new = (_archive(tmp_path / word, word) for word in ("old", "new"))
    private.load_image(old, "moving:1")
    kept = made.create(made.definition(clusters.idle(memory=16, image="moving:1")))
    loose = made.create(made.definition(clusters.idle(memory=16, image="moving:1",
                                                      versionConsistency="disabled")))
    made.steady(kept), made.steady(loose)
    (first,) = made.running(kept)
    private.load_image(new, "moving:1")
    made.update(kept, desiredCount=3)
    made.update(loose, desiredCount=2)
    made.steady(kept), made.steady(loose)
    assert {_digest(task) for task in made.running(kept)} == {_digest(first)}
    assert {task["containers"][0]["image"] for task in made.running(kept)} == {"moving:1"}
    assert len({_digest(task) for task in made.running(loose)}) == 2
    service = made.get(kept)
    (revision,) = made.ecs.describe_service_revisions(
        serviceRevisionArns=[service["currentServiceRevisions"][0]["arn"]])["serviceRevisions"]
    assert revision["containerImages"] == [
        {"containerName": "main", "image": "moving:1", "imageDigest": _digest(first)}]
    made.update(kept, forceNewDeployment=True)
    made.steady(kept)
    assert _digest(first) not in {_digest(task) for task in made.running(kept)}
    made.remove()


def test_a_service_is_explained_and_told_of(private):
    made = services_of.Services(private)
    fits = made.create()
    made.steady(fits)
    large = made.create(made.definition(clusters.idle(memory=60000)), count=2)
    made.until(large, lambda service: service["runningCount"] == 1)
    said = private.fairlead("explain", "service", large).stdout
    assert f"service {large} wants 2 tasks of deployment ecs-svc/" in said
    assert "RESOURCE:MEMORY: " in said
    refused = private.fairlead("explain", "service", "none", check=False)
    assert refused.returncode == 1 and "Service not found." in refused.stderr
    told = {service["arn"].rsplit("/", 1)[1]: service
            for service in private.status()["services"]}
    assert (told[fits]["status"], told[fits]["desiredTasks"], told[fits]["runningTasks"]) == (
        "ACTIVE", 1, 1)
    assert told[large]["desiredTasks"] == 2
    line = next(line for line in private.fairlead("status").stdout.splitlines() if fits in line)
    assert "ACTIVE, 1 of 1 tasks running, 0 pending" in line
    made.remove()


def test_down_stops_what_services_keep(private):
    """They start nothing while everything is stopped, and all of it anew with the next `up`."""
    made = services_of.Services(private)
    name = made.create(count=3)
    made.steady(name)
    before = {task["taskArn"] for task in made.running(name)}
    private.fairlead("down", "--tasks", timeout=200)
    private.up()
    made.ecs = private.ecs
    made.until(name, lambda service: service["runningCount"] == 3)
    assert before.isdisjoint({task["taskArn"] for task in made.running(name)})
    made.remove()
