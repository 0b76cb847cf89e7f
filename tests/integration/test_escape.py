"""Goal: what an image or a container does stays inside, and costs the host nothing once it is gone.
Method: images with hostile links and containers that try; afterwards the host's files are as they
were, and the agent is the same process with the descriptors it had."""
import os
import pathlib
import sys

import cluster as clusters
import images
import pytest

DEPTH = 1200  # more than an agent may have descriptors


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    path = tmp_path_factory.mktemp("host") / "canary"
    path.write_text("untouched\n")
    yield path
    assert path.read_text() == "untouched\n"
    assert os.listdir(path.parent) == ["canary"]


@pytest.fixture(scope="module")
def links(shared, canary, tmp_path_factory):
    """An image whose links point at the host's files, as far as links can."""
    root = tmp_path_factory.mktemp("links") / "root"
    images.busybox_root(root)
    out = "/.." * 30
    (root / "etc" / "hosts").symlink_to(f"{out}{canary}")
    (root / "etc" / "resolv.conf").symlink_to(f"{out}{canary.parent}/new")
    (root / "data").symlink_to(f"{out}{canary.parent}")
    (root / "fd").symlink_to("/proc/self/fd")
    (root / "etc" / "passwd").unlink()
    (root / "etc" / "passwd").symlink_to(f"{out}/etc/passwd")
    archive = root.parent / "links.tar"
    clusters.run(sys.executable, str(clusters.ROOT / "tools" / "mkimage.py"), "--tag", "links:1",
                 "--cmd", "/bin/sh", "--output", str(archive), str(root))
    shared.load_image(archive, "links:1")
    return "links:1"


def printed(cluster, *containers, **more):
    """What the first container of a task that ends prints, as lines."""
    group = cluster.family()
    first = {**containers[0], "logConfiguration": clusters.awslogs(group)}
    task = cluster.run_to_end(first, *containers[1:], **more)
    stream = f"t/{first['name']}/{task['taskArn'].split('/')[-1]}"
    return cluster.messages(group, stream)


def test_links_in_place_of_files_that_are_mounted_lead_nowhere(cluster, links):
    lines = printed(cluster, clusters.sh("for f in hosts resolv.conf; do echo evil >> /etc/$f; done;"
                                         "echo evil > /data/new; cat /data/canary; echo done",
                                         image=links))
    assert lines[-1] == "done"
    assert "untouched" not in lines


def test_volumes_mounted_at_links_stay_inside(cluster, links):
    lines = printed(cluster, clusters.sh(
        "echo evil > /data/new; ls /data", image=links,
        mountPoints=[{"sourceVolume": "v", "containerPath": "/data"}]), volumes=[{"name": "v"}])
    assert lines == ["new"]


def test_users_are_the_image_s_not_the_host_s(cluster, links):
    """The link leads back into the image, to itself: there is no such file."""
    task = cluster.run_to_end(clusters.sh("id -u", image=links, user="daemon"))
    assert "unable to find user daemon" in task["containers"][0]["reason"]


@pytest.mark.parametrize("place", ["//proc/self/fd/7", "/./proc/self/fd/8", "/tmp/../proc/1/root",
                                   "/fd/3", "/fd/5", "/fd/7", "/fd/8", "/fd/9", "/fd/10"])
def test_no_working_directory_is_one_of_the_host_s(cluster, links, place):
    """CVE-2024-21626: a descriptor of the runtime's as the working directory."""
    task = cluster.run_to_end(clusters.sh("exit 0", image=links, workingDirectory=place))
    assert "exitCode" not in task["containers"][0]
    assert task["stopCode"] == "TaskFailedToStart"


def test_nothing_is_mounted_over_proc(cluster):
    task = cluster.run_to_end(clusters.sh("exit 0", mountPoints=[
        {"sourceVolume": "v", "containerPath": "/x/../proc/self"}]), volumes=[{"name": "v"}])
    assert "inside /proc" in task["containers"][0]["reason"]


def test_a_container_starts_with_three_descriptors_and_its_own_environment(cluster):
    lines = printed(cluster, clusters.sh("ls -l /proc/self/fd 2>/dev/null | grep -c -e '->';"
                                         "tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort"))
    assert int(lines[0]) in (3, 4)  # 0, 1, 2 and what ls has open itself
    assert lines[1:] == ["AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_EXECUTION_ENV", "AWS_REGION",
                         "ECS_AGENT_URI", "ECS_CONTAINER_METADATA_URI",
                         "ECS_CONTAINER_METADATA_URI_V4", "HOME", "HOSTNAME", "PATH"]


def test_the_host_s_devices_stay_closed(cluster):
    numbers = set()
    for device in pathlib.Path("/sys/class/block").iterdir():
        numbers.add(f"b {(device / 'dev').read_text().strip().replace(':', ' ')}")
    numbers |= {"c 1 1", "c 1 2", "c 1 4", "c 10 200", "c 10 229", "c 4 0"}
    tries = "".join(f"rm -f /tmp/x; mknod /tmp/x {n} && dd if=/tmp/x of=/dev/null bs=512 count=1 "
                    f"2>/dev/null && echo open {n};" for n in sorted(numbers))
    assert printed(cluster, clusters.sh(tries + "echo end")) == ["end"]


def test_the_kernel_s_settings_are_read_only(cluster):
    tries = ["echo x > /proc/sys/kernel/hostname", "echo 1 > /proc/irq/default_smp_affinity",
             "echo x > /sys/kernel/uevent_helper", "mkdir /sys/fs/cgroup/memory/x",
             "mkdir /sys/fs/cgroup/fairlead/x", "mount -t proc none /mnt", "umount /proc/sys",
             "mount -o remount,rw /sys", "unshare -m true", "cat /proc/kcore | head -c 1 | grep ."]
    script = "".join(f"({one}) 2>/dev/null && echo '{one}';" for one in tries)
    assert printed(cluster, clusters.sh(script + "echo end")) == ["end"]


def test_a_tree_deeper_than_any_path_is_removed(cluster):
    agent = cluster.pid("agent")
    place = pathlib.Path(cluster.data_dir, "agent")
    task = cluster.run_to_end(clusters.sh(
        f"i=0; while [ $i -lt {DEPTH} ]; do mkdir d && cd d || exit 1; i=$((i+1)); done; echo x > f"))
    assert task["containers"][0]["exitCode"] == 0
    runtime_id = task["containers"][0]["runtimeId"]
    clusters.until(lambda: not (place / "containers" / runtime_id).exists() and
                   not os.listdir(place / "trash"), timeout=90, what="the tree's removal")
    assert cluster.pid("agent") == agent
    assert len(os.listdir(f"/proc/{agent}/fd")) < 200


def test_output_cannot_pass_for_another_s(cluster):
    """Lines that look like the spool's records, and bytes that are no text."""
    lines = printed(cluster, clusters.sh(
        "printf '1 e F forged\\n1795168800000 o P x\\n\\r\\033[31m\\n'; printf 'a\\000b\\n\\377\\n'"))
    assert lines == ["1 e F forged", "1795168800000 o P x", "\r\x1b[31m", "a\ufffdb", "\ufffd"]
