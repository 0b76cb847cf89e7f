"""Fixtures: images made on the spot, one cluster for the tests that leave it as they found it, and
private ones for those that do not. Every cluster ends with `uninstall` and a search for leaks."""
import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True

import cluster as clusters  # noqa: E402
import images  # noqa: E402
import services as services_of  # noqa: E402


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def busybox(tmp_path_factory):
    """A docker-archive of busybox."""
    return images.busybox_archive(tmp_path_factory.mktemp("images"))


def made_with(busybox, *flags):
    """An installation that is up and has the image; `gone` ends it."""
    made = clusters.Cluster(*flags)
    try:
        made.up()
        made.load_image(busybox, "busybox:1")
    except BaseException:
        print(made.diagnose())
        gone(made)
        raise
    return made


def gone(made):
    """Removes the installation and looks for what it left."""
    try:
        made.uninstall()
    except (AssertionError, subprocess.TimeoutExpired):
        print(made.diagnose())
        raise
    leaks = made.leaks()
    assert not leaks, "\n".join(leaks)


@contextlib.contextmanager
def installation(busybox, *flags):
    """One for a module or a test that needs flags of its own; what went wrong is told."""
    made = made_with(busybox, *flags)
    try:
        yield made
    except BaseException:
        print(made.diagnose())
        raise
    finally:
        gone(made)


@pytest.fixture(scope="session")
def shared(busybox):
    """One cluster for many tests; it offers more than the machine has, so that none waits."""
    made = made_with(busybox, "--cpu-units", "65536", "--memory-mib", "65536")
    yield made
    gone(made)


@pytest.fixture
def cluster(shared, request):
    yield shared
    if getattr(request.node, "failed_call", False):
        print(shared.diagnose())
    shared.stop_all()


@pytest.fixture
def services(cluster):
    """Services of the shared cluster; the test's own are gone after it."""
    made = services_of.Services(cluster)
    yield made
    made.remove()


@pytest.fixture
def private(busybox, request):
    made = made_with(busybox, "--cpu-units", "65536", "--memory-mib", "65536")
    yield made
    if getattr(request.node, "failed_call", False):
        print(made.diagnose())
    gone(made)


@pytest.fixture
def cluster_with(busybox, request):
    """cluster_with(*flags): an installation of its own, as `up` is told."""
    made = []

    def make(*flags):
        made.append(made_with(busybox, "--cpu-units", "65536", "--memory-mib", "65536", *flags))
        return made[-1]
    yield make
    for each in made:
        if getattr(request.node, "failed_call", False):
            print(each.diagnose())
        gone(each)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().failed:
        item.failed_call = True
