"""Pulls from registries: who is asked and told what, what is believed, what is kept. The registry is
a stub of ours that can do everything wrong; the agent, the unpacking and the containers are real."""
import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import ssl
import subprocess
import tarfile
import threading
import time

import pytest

import cluster as clusters
import images
import stub_registry as stub
from cluster import container, until


@pytest.fixture(scope="module")
def busybox_tar(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    images.busybox_root(root / "root")
    return stub.tar_of_directory(root / "root")


@pytest.fixture
def registry():
    with stub.Registry() as made:
        yield made


def with_ecs_config(cluster_with, tmp_path, *lines):
    """A cluster whose agent reads these lines."""
    path = tmp_path / "ecs.config"
    path.write_text("\n".join(lines) + "\n")
    return cluster_with("--ecs-config", str(path))


def add_app(registry, busybox_tar, name="app", tag="1", word="hello", **more):
    """An image of two layers that says the word."""
    extra = stub.tar_of([("word", word.encode())])
    return registry.image(name, tag, [busybox_tar, extra],
                          {"Cmd": ["/bin/sh", "-c", "cat /word; exit 7"]}, **more)


def run_once(cluster, image, **more):
    """The stopped task and its container."""
    task = cluster.run_to_end(container(image=image, **more), timeout=60)
    return task, task["containers"][0]


def reason(cluster, image):
    """Why the task did not start."""
    task, main = run_once(cluster, image)
    assert task["stopCode"] == "TaskFailedToStart", task
    assert "exitCode" not in main
    assert task["stoppedReason"] == main["reason"]
    return main["reason"]


def test_a_pull_from_a_registry_starts_a_container(cluster, registry, busybox_tar):
    _, digest, _ = add_app(registry, busybox_tar)
    task, main = run_once(cluster, f"{registry.host}/app:1")
    assert main["exitCode"] == 7
    assert main["imageDigest"] == digest
    assert task["pullStartedAt"] <= task["pullStoppedAt"]
    # What is here is not fetched again; what the name means is asked for.
    asked = len(registry.paths("/blobs/"))
    assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
    assert len(registry.paths("/blobs/")) == asked
    assert len(registry.paths("/manifests/1")) == 2
