"""Pulls hold still while containers start: neither keeps the other from its end, whatever dies."""
import os
import pathlib
import signal

import stub_registry as stub
from cluster import container, until
from test_pulls import big_image, busybox_tar, held_back, registry  # noqa: F401


def unpackers(cluster):
    """The helpers of this cluster's agent, or of one that it had: they fill its layers."""
    layers, found = str(pathlib.Path(cluster.data_dir, "agent", "layers")), []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "root").startswith(layers):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_pull_ends_while_starts_come_without_a_pause(cluster, registry, busybox_tar):  # noqa: F811
    layers = [stub.tar_of([("noise", os.urandom(4 << 20))]) for _ in range(6)]
    registry.image("many", "1", [busybox_tar, *layers], {"Cmd": ["/bin/sh", "-c", "exit 7"]})
    here = cluster.register(container(command=["true"]))
    pull = cluster.start(cluster.register(container(image=f"{registry.host}/many:1")))
    begun = [cluster.start(here) for _ in range(3)]
    for _ in range(1000):
        if "pullStoppedAt" in cluster.task(pull):
            break
        begun.append(cluster.start(here))
    assert cluster.wait(pull)["containers"][0]["exitCode"] == 7
    assert [cluster.wait(arn)["containers"][0]["exitCode"] for arn in begun] == [0] * len(begun)


def test_what_holds_still_ends_with_its_agent(private, registry, busybox_tar):  # noqa: F811
    released = held_back(registry, big_image(registry, busybox_tar), 2 << 20)
    task = private.start(private.register(container(image=f"{registry.host}/big:1")))
    helpers = until(lambda: unpackers(private), what="an unpacking")
    for pid in helpers:
        os.kill(pid, signal.SIGURG)
    private.kill("agent")
    until(lambda: not unpackers(private), what="the unpackings' end")
    released.set()
    private.up()
    assert private.wait(task)["containers"][0]["exitCode"] == 7
