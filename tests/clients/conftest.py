"""One installation for all clients; working folders whose resources are gone after the test."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import cluster as clusters  # noqa: E402
import images  # noqa: E402
import terraform as terraforms  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    archive = images.busybox_archive(tmp_path_factory.mktemp("images"))
    made = clusters.Cluster("--cpu-units", "65536", "--memory-mib", "65536")
    try:
        made.up()
        made.load_image(archive, "busybox:1")
        yield made
        print(made.diagnose())
    finally:
        made.uninstall()
    leaks = made.leaks()
    assert not leaks, "\n".join(leaks)


@pytest.fixture
def terraform(cluster, tmp_path):
    """terraform(folder, **variables): a copy of that configuration, initialised."""
    made = []

    def make(source, **variables):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(terraforms.Terraform(cluster, folder, source, **variables))
        return made[-1]
    terraforms.needed()
    yield make
    for each in made:
        each.destroy()
    left = cluster.ecs.list_services()["serviceArns"]
    assert not left, left
    cluster.stop_all()
