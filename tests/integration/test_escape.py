"""Goal: what an image or a container does stays inside, and costs the host nothing once it is gone.
Method: images with hostile links and containers that try; afterwards the host's files are as they
were, and the agent is the same process with the descriptors it had."""
import hashlib
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
    tries = "".join(f"rm -f /tmp/x; mknod /tmp/x {n} 2>/dev/null && dd if=/tmp/x of=/dev/null bs=512 count=1 "
                    f"2>/dev/null && echo open {n};" for n in sorted(numbers))
    assert printed(cluster, clusters.sh(tries + "echo end")) == ["end"]


def test_a_node_of_a_disk_is_not_even_made(cluster):
    script = ("mknod /tmp/b b 8 0 2>&1; ls /tmp/b 2>/dev/null; mknod /tmp/c c 1 3 && "
              "mkfifo /tmp/f && echo others")
    lines = printed(cluster, clusters.sh(script))
    assert lines == ["mknod: /tmp/b: Operation not permitted", "others"]


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


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def test_the_runtime_cannot_be_overwritten(cluster):
    """CVE-2019-5736: the runtime executes itself as the container's program, while another
    container of the task, that sees its processes, writes to what they execute."""
    programs = ["/usr/bin/crun", f"/proc/{cluster.pid('agent')}/exe"]
    before = [digest(path) for path in programs]
    writer = clusters.sh("n=0; while [ $n -lt 300 ]; do n=$((n+1)); for p in /proc/[0-9]*; do "
                         "(echo evil > $p/exe) 2>/dev/null && echo $p; done; done; exit 0")
    victim = clusters.container("victim", command=["/proc/self/exe", "--version"], essential=False)
    assert printed(cluster, writer, victim, pidMode="task") == []
    assert [digest(path) for path in programs] == before


def test_nothing_is_inherited_but_what_is_given(cluster):
    """CVE-2022-29162: no inheritable and no ambient capability."""
    lines = printed(cluster, clusters.sh("grep -E 'CapInh|CapAmb' /proc/self/status",
                                         linuxParameters={"capabilities": {"add": ["NET_ADMIN"]}}))
    assert lines == ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"]


@pytest.fixture(scope="module")
def masks(shared, tmp_path_factory):
    """Images whose /dev and /proc are not what a runtime expects to find there."""
    names = {}
    for name, links in (("dev", {"dev/null": "/proc/sys/kernel/core_pattern",
                                 "dev/console": "/proc/sysrq-trigger", "dev/pts": "/proc/sys"}),
                        ("nodev", {"dev": "/proc/sys/kernel"}),
                        ("noproc", {"proc": "/mnt"}),
                        ("nosys", {"sys": "/proc/sys"})):
        root = tmp_path_factory.mktemp(name) / "root"
        images.busybox_root(root)
        for path, target in links.items():
            if (root / path).is_dir():
                (root / path).rmdir()
            (root / path).symlink_to(target)
        archive = root.parent / "image.tar"
        clusters.run(sys.executable, str(clusters.ROOT / "tools" / "mkimage.py"), "--tag",
                     f"{name}:1", "--cmd", "/bin/sh", "--output", str(archive), str(root))
        shared.load_image(archive, f"{name}:1")
        names[name] = f"{name}:1"
    return names


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
@pytest.mark.parametrize("name", ["dev", "nodev", "noproc", "nosys"])
def test_masks_and_devices_are_the_kernel_s(cluster, masks, name, terminal):
    """CVE-2025-31133, 52565, 52881, CVE-2023-27561: the image's links in place of /dev/null, the
    console, /dev, /proc or /sys. Either the container does not start, or it is confined."""
    before = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    task = cluster.run_to_end(clusters.sh(
        "[ $(head -c 1 /proc/kcore 2>/dev/null | wc -c) = 0 ] || exit 1; "
        "(echo evil > /proc/sys/kernel/core_pattern) 2>/dev/null && exit 2; "
        "(echo evil > /dev/null) || exit 3; [ -c /dev/null ] || exit 4; "
        "grep -q ' /proc proc ' /proc/mounts || exit 5; "
        "(echo x > /dev/core_pattern) 2>/dev/null; exit 0",
        image=masks[name], pseudoTerminal=terminal,
        systemControls=[{"namespace": "kernel.msgmax", "value": "9001"}]))
    found = task["containers"][0]
    assert found.get("exitCode", 0) == 0, found
    assert "exitCode" in found or "CannotStartContainerError" in found["reason"]
    assert pathlib.Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert pathlib.Path("/proc/sys/kernel/msgmax").read_text().strip() != "9001"


def test_the_task_s_first_process_has_nothing_to_take(cluster):
    """Where processes are shared, even who may trace them finds no file and no right in it."""
    lines = printed(cluster, clusters.sh(
        "ls /proc/1/root/ 2>/dev/null; ls -l /proc/1/fd 2>/dev/null | grep -c -e '->'; "
        "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/1/status; kill -9 1; cat /proc/1/comm",
        linuxParameters={"capabilities": {"add": ["SYS_PTRACE"]}}), pidMode="task")
    assert lines == ["0", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
                     "NoNewPrivs:\t1", "fairlead-shim"]
