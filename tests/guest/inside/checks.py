"""Checks of Fairlead where cgroup v2 is all there is, run by process 1 in the group of a service:
`host` as it is there, `nested` in a namespace whose root is that of a container, `runc` with the
other runtime, `unit` for the unit tests whose answers depend on kernel and groups."""
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, "/guest")

from guest import CGROUPS, Installation, Results, container, equal, groups, idle, run, until

OOM_REASON = "OutOfMemoryError: Container killed due to memory usage"
MIB = 1 << 20
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000
EAT = "tail /dev/zero"


def value(group, name):
    return (group / name).read_text().strip()


def doctor(one):
    found = run("/usr/bin/fairlead", "doctor", check=False)
    assert found.returncode == 0, found.stdout
    assert "cgroup v2\n" in found.stdout, found.stdout


def up(one):
    one.up()
    log = pathlib.Path(one.data_dir, "log/agent.log").read_text()
    assert "cgroup v2" in log, log


def exit_code(one):
    task = one.run_to_end(container("exit 42"))
    equal(task["containers"][0]["exitCode"], 42)
    equal(task["stoppedReason"], "Essential container in task exited")


def limits_of_a_container(one):
    arn = one.start(idle(cpu=512, memory=48, memoryReservation=32))
    group = one.group_of(one.wait(arn, "RUNNING"))
    equal(value(group, "memory.max"), str(48 * MIB))
    equal(value(group, "memory.swap.max"), "0")
    equal(value(group, "memory.low"), str(32 * MIB))
    equal(value(group, "cpu.weight"), str(1 + (512 - 2) * 9999 // 262142))
    equal(value(group, "pids.max"), "16384")
    one.stop(arn)


def swap(one):
    """What maxSwap adds to the memory; no swappiness in v2, which is said and no failure."""
    arn = one.start(idle(memory=48, linuxParameters={"maxSwap": 16, "swappiness": 10}))
    group = one.group_of(one.wait(arn, "RUNNING"))
    equal(value(group, "memory.max"), str(48 * MIB))
    equal(value(group, "memory.swap.max"), str(16 * MIB))
    one.stop(arn)
    log = pathlib.Path(one.data_dir, "log/agent.log").read_text()
    assert "swappiness is not set" in log, log


def few_shares(one):
    """0 and 1 are 2, the least there is."""
    for shares in (0, 1):
        arn = one.start(idle(cpu=shares))
        group = one.group_of(one.wait(arn, "RUNNING"))
        equal(value(group, "cpu.weight"), "1")
        one.stop(arn)


def chosen_devices(one):
    """A device of the definition is opened as far as it says, by the BPF program."""
    script = ("(exec 3</dev/log0) 2>/dev/null && echo read >>/out/chosen; "
              "(exec 3>/dev/log0) 2>/dev/null && echo write >>/out/chosen; "
              "(exec 3</dev/kmsg) 2>/dev/null && echo other >>/out/chosen; echo end >>/out/chosen")
    task = one.run_to_end(container(script, linuxParameters={
        "capabilities": {"add": ["SYSLOG"]},
        "devices": [{"hostPath": "/dev/kmsg", "containerPath": "/dev/log0",
                     "permissions": ["read"]}]}))
    equal(task["containers"][0].get("exitCode"), 0)
    equal(one.output("chosen"), ["read", "end"])


def shared_by_the_task(one):
    """One pid and IPC namespace, kept by a holder in a group of its own, which goes, too."""
    script = ("until [ -e /dev/shm/x ]; do sleep 0.1; done; cat /dev/shm/x >/out/shared; "
              "ls -d /proc/[0-9]* | wc -l >>/out/shared")
    other = container("echo hello >/dev/shm/y; mv /dev/shm/y /dev/shm/x; sleep 1000", "other",
                      stopTimeout=1)
    task = one.run_to_end(container(script), other, pidMode="task", ipcMode="task")
    equal(task["containers"][0].get("exitCode"), 0)
    lines = one.output("shared")
    equal(lines[0], "hello")
    assert int(lines[1]) >= 4, lines  # both, the holder, and those that count


def processes_end_with_their_container(one):
    """In the host's pid namespace, too."""
    arn = one.start(container("(trap '' TERM HUP; exec setsid sleep 1000) & exec sleep 1000",
                              stopTimeout=1), pidMode="host")
    group = one.group_of(one.wait(arn, "RUNNING"))
    until(lambda: len(value(group, "cgroup.procs").split()) == 2, "both processes")
    one.stop(arn)
    until(lambda: not group.exists(), "the end of the container's group")


def parameters_and_mounts(one):
    script = ("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax >/out/members; "
              "df -k /dev/shm | tail -1 | awk '{print $2}' >>/out/members; "
              "touch /x 2>/dev/null || echo ro >>/out/members; touch /t/x && echo rw >>/out/members")
    task = one.run_to_end(container(
        script, readonlyRootFilesystem=True,
        systemControls=[{"namespace": "net.core.somaxconn", "value": "77"},
                        {"namespace": "kernel.msgmax", "value": "9000"}],
        linuxParameters={"sharedMemorySize": 5, "tmpfs": [{"containerPath": "/t", "size": 2}]}),
        networkMode="none")
    equal(task["containers"][0].get("exitCode"), 0)
    equal(one.output("members"), ["77", "9000", str(5 * 1024), "ro", "rw"])


def limits_of_a_task(one):
    arn = one.start(idle(), cpu="512", memory="128")
    group = one.group_of(one.wait(arn, "RUNNING")).parent
    equal(value(group, "memory.max"), str(128 * MIB))
    equal(value(group, "memory.swap.max"), "0")
    equal(value(group, "cpu.max"), "50000 100000")
    one.stop(arn)
    until(lambda: not group.exists(), "the end of the task's group")


def own_group(one):
    task = one.run_to_end(container("cat /proc/self/cgroup >/out/own; "
                                    "cat /sys/fs/cgroup/memory.max >>/out/own; "
                                    "echo 1 2>/dev/null >/sys/fs/cgroup/pids.max || echo ro "
                                    ">>/out/own", memory=40))
    equal(task["containers"][0]["exitCode"], 0)
    lines = one.output("own")
    assert "0::/" in lines, lines
    equal(lines[-2:], [str(40 * MIB), "ro"])


def out_of_memory(one):
    found = one.run_to_end(container(f"exec {EAT}", memory=24))["containers"][0]
    equal((found.get("exitCode"), found.get("reason")), (137, OOM_REASON))


def out_of_memory_of_the_task(one):
    hungry = container(f"exec {EAT}")
    del hungry["memory"]
    found = one.run_to_end(hungry, memory="32", cpu="256")["containers"][0]
    equal((found.get("exitCode"), found.get("reason")), (137, OOM_REASON))


def a_child_out_of_memory(one):
    """Lived through, it is no reason; a SIGKILL without it is none either."""
    found = one.run_to_end(container(f"{EAT}; exit 0", memory=24))["containers"][0]
    equal((found.get("exitCode"), found.get("reason")), (0, None))
    arn = one.start(container("sleep 1000"))
    group = one.group_of(one.wait(arn, "RUNNING"))
    for pid in value(group, "cgroup.procs").split():
        os.kill(int(pid), signal.SIGKILL)
    found = one.wait(arn)["containers"][0]
    equal((found.get("exitCode"), found.get("reason")), (137, None))


def devices(one):
    """/dev/kmsg (1:11) may be made but not read; the usual devices work."""
    script = ("mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg 2>&1 | grep -c 'not permitted' "
              ">/out/devices; head -c 1 /dev/urandom >/dev/null && echo fine >>/out/devices; "
              "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk >/dev/null 2>&1 && "
              "echo disk >>/out/devices; true")
    one.run_to_end(container(script))
    equal(one.output("devices"), ["1", "fine"])


def privileged(one):
    """Reads the disk, and makes groups in its own; nothing of them stays."""
    script = ("head -c 1 /dev/vda >/dev/null && echo disk >/out/privileged; "
              "mkdir /sys/fs/cgroup/a /sys/fs/cgroup/a/b && echo group >>/out/privileged; "
              "sleep 1000 & echo $! >/sys/fs/cgroup/a/b/cgroup.procs; exit 3")
    task = one.run_to_end(container(script, privileged=True))
    equal(task["containers"][0]["exitCode"], 3)
    equal(one.output("privileged"), ["disk", "group"])
    group = one.group_of(task)
    until(lambda: not group.exists(), "the end of the container's group")


def resource_limits(one):
    """Beyond the agent's own hard limits, which takes CAP_SYS_RESOURCE."""
    task = one.run_to_end(container("ulimit -n >/out/limits; ulimit -Hn >>/out/limits; "
                                    "ulimit -l >>/out/limits", ulimits=[
                                        {"name": "nofile", "softLimit": 4096, "hardLimit": 70000},
                                        {"name": "memlock", "softLimit": -1, "hardLimit": -1}]))
    equal(task["containers"][0]["exitCode"], 0)
    equal(one.output("limits"), ["4096", "70000", "unlimited"])


def port(one):
    arn = one.start(container("echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp",
                              stopTimeout=2,
                              portMappings=[{"containerPort": 80, "hostPort": 8088}]),
                    networkMode="bridge")
    one.wait(arn, "RUNNING")

    def answer():
        try:
            with urllib.request.urlopen("http://127.0.0.1:8088/", timeout=5) as found:
                return found.read()
        except OSError:
            return None
    equal(until(answer, "an answer from the port"), b"hello\n")
    one.stop(arn)


def statistics(one):
    """Docker's document of every version of the metadata, from the files of cgroup v2. There are none
    before the agent has heard that the container runs."""
    script = ("(while :; do :; done) & busy=$!; host=http://169.254.170.2; "
              "get() { wget -O /tmp/$1 $2 2>/tmp/said && cp /tmp/$1 /out/stats-$1 || "
              "{ echo $2; cat /tmp/said; } >>/out/stats-refused; }; "
              "stats=$ECS_CONTAINER_METADATA_URI_V4/stats; "
              "until wget -qO /dev/null $stats; do sleep 0.2; done; get v4 $stats; "
              "get v4-task $ECS_CONTAINER_METADATA_URI_V4/task/stats; "
              "get v3 $ECS_CONTAINER_METADATA_URI/stats; "
              "get v3-task $ECS_CONTAINER_METADATA_URI/task/stats; "
              "get own $ECS_CONTAINER_METADATA_URI; "
              "id=$(sed 's/.*\"DockerId\":\"\\([^\"]*\\)\".*/\\1/' /tmp/own); "
              "get v2 $host/v2/stats; get v2-own $host/v2/stats/$id; "
              "head -c 5000000 /dev/urandom >/tmp/file; sync; sleep 2; "
              "get later $stats; kill $busy")
    task = one.run_to_end(container(script, cpu=128), networkMode="bridge")
    refused = one.out / "stats-refused"
    assert not refused.exists(), refused.read_text()
    id_ = task["containers"][0]["runtimeId"]
    found = {name: json.loads("\n".join(one.output(f"stats-{name}")))
             for name in ("v4", "v4-task", "v3", "v3-task", "v2", "v2-own", "later")}
    first, later = found["v4"], found["later"]
    for document in (first, later, found["v3"], found["v4-task"][id_], found["v3-task"][id_],
                     found["v2"][id_], found["v2-own"]):
        equal(document["id"], id_)
        memory = document["memory_stats"]
        equal(memory["limit"], 64 * MIB)
        assert 0 < memory["usage"] <= 64 * MIB, memory
        assert {"anon", "file", "inactive_file", "pgfault"} <= set(memory["stats"]), memory
        assert document["pids_stats"]["current"] >= 2, document
        assert document["networks"]["eth0"]["tx_bytes"] > 0, document
    used = [document["cpu_stats"]["cpu_usage"] for document in (first, later)]
    assert used[1]["total_usage"] > used[0]["total_usage"] > 0, used
    assert used[1]["usage_in_usermode"] > 0, used
    # The host's use is counted in ticks, some of which get lost where the machine is emulated.
    assert later["cpu_stats"]["system_cpu_usage"] > first["cpu_stats"]["system_cpu_usage"], later
    assert {"periods", "throttled_periods", "throttled_time"} <= set(
        later["cpu_stats"]["throttling_data"]), later
    assert isinstance(later["blkio_stats"]["io_service_bytes_recursive"], list), later


def adoption(one):
    arn = one.start(idle())
    task = one.wait(arn, "RUNNING")
    before = value(one.group_of(task), "cgroup.procs")
    one.kill("agent")
    one.up()
    equal(value(one.group_of(task), "cgroup.procs"), before)
    equal(one.task(arn)["lastStatus"], "RUNNING")
    equal(one.stop(arn)["containers"][0]["exitCode"], 7)


def ends_meanwhile(one):
    arns = [one.start(container("while [ ! -e /out/go ]; do sleep 0.1; done; exit 5")),
            one.start(container(f"while [ ! -e /out/go ]; do sleep 0.1; done; exec {EAT}",
                                memory=24))]
    running = [one.wait(arn, "RUNNING") for arn in arns]
    one.kill("agent")
    (one.out / "go").touch()
    for task in running:
        group = one.group_of(task)
        until(lambda: not group.exists(), "the container's end")
    one.up()
    found = [one.wait(arn)["containers"][0] for arn in arns]
    equal([(c.get("exitCode"), c.get("reason")) for c in found], [(5, None), (137, OOM_REASON)])


def lost_shim(one):
    """A container without its shim is killed, with all its processes."""
    arn = one.start(container("sleep 1000 & setsid sleep 1000 & sleep 1000"))
    group = one.group_of(one.wait(arn, "RUNNING"))
    shim = pathlib.Path(one.data_dir, "agent/containers", group.name, "shim").read_text().split()[0]
    os.kill(int(shim), signal.SIGKILL)
    one.wait(arn)
    until(lambda: not group.exists(), "the end of the container's group")


def frozen(one):
    """A frozen container can be stopped."""
    arn = one.start(container("sleep 1000", stopTimeout=2))
    group = one.group_of(one.wait(arn, "RUNNING"))
    (group / "cgroup.freeze").write_text("1")
    equal(one.stop(arn)["containers"][0]["exitCode"], 137)
    until(lambda: not group.exists(), "the end of the container's group")


def nothing_stays(one):
    """All tasks are over: of the groups, one is left."""
    until(lambda: [p for p in groups() if one.tag in p] == [str(one.groups)], "the tasks' groups")


def uninstall(one, before):
    """With tasks that run, one of which ignores SIGTERM."""
    arns = [one.start(idle()), one.start(container("trap '' TERM; sleep 1000; sleep 1000"))]
    for arn in arns:
        one.wait(arn, "RUNNING")
    one.fairlead("uninstall", "--yes")
    equal(one.leaks(), [])
    equal(groups(), before)


def uninstall_alone(one, before):
    """After a kill -9 of both daemons."""
    one.up()
    one.wait(one.start(idle(), memory="64", cpu="128"), "RUNNING")
    one.kill("agent")
    one.kill("server")
    one.fairlead("uninstall", "--yes")
    equal(one.leaks(), [])
    equal(groups(), before)


def bare_root(one):
    """No controller handed down by the root, as without systemd."""
    for name in ("system.slice/", ""):
        (CGROUPS / f"{name}cgroup.subtree_control").write_text("-memory -pids -cpu -io")
    try:
        one.up()
        found = one.run_to_end(container(f"exec {EAT}", memory=24))["containers"][0]
        equal((found.get("exitCode"), found.get("reason")), (137, OOM_REASON))
        one.fairlead("uninstall", "--yes")
        equal(one.leaks(), [])
    finally:
        for name in ("", "system.slice/"):
            (CGROUPS / f"{name}cgroup.subtree_control").write_text("+memory +pids +cpu +io")


def run_suite(results, one):
    def check(name, function, *more):
        return results.check(name, function, one, *more, logs=one.logs)
    before = groups()
    check("doctor finds nothing wrong on a fresh host", doctor)
    if not check("up, on cgroup v2", up):
        return
    check("a task's exit code", exit_code)
    check("a container's limits are in its group", limits_of_a_container)
    check("a task's limits are in its group", limits_of_a_task)
    check("a container sees its own group, read-only", own_group)
    check("swap beside memory", swap)
    check("few shares of the cpu", few_shares)
    check("a container over its limit is reported out of memory", out_of_memory)
    check("a container over the task's limit is reported out of memory", out_of_memory_of_the_task)
    check("a kill that is no end is not reported as out of memory", a_child_out_of_memory)
    check("devices are denied", devices)
    check("a definition's device is allowed, as far as it says", chosen_devices)
    check("namespaces of the task", shared_by_the_task)
    check("shared processes end with their container", processes_end_with_their_container)
    check("kernel parameters, tmpfs and shared memory", parameters_and_mounts)
    check("a privileged container has devices and groups of its own", privileged)
    check("resource limits above the agent's", resource_limits)
    check("a published port answers", port)
    check("the metadata's statistics are those of the group", statistics)
    check("kill -9 of the agent: containers are adopted", adoption)
    check("kill -9 of the agent: what ends meanwhile is reported", ends_meanwhile)
    check("kill -9 of a shim: its container is ended", lost_shim)
    check("a frozen container can be stopped", frozen)
    check("tasks that are over leave no group", nothing_stays)
    check("uninstall leaves nothing", uninstall, before)
    check("uninstall leaves nothing, daemons dead", uninstall_alone, before)
    check("a root that hands nothing down", bare_root)


def run_nested(results, one):
    def check(name, function, *more):
        return results.check(f"nested: {name}", function, one, *more, logs=one.logs)
    before = groups()
    equal((CGROUPS / "cgroup.procs").read_text().split(), [str(os.getpid())])
    if not check("up in a namespace whose root holds processes", up):
        return
    check("a container's limits are in its group", limits_of_a_container)
    check("a task's limits are in its group", limits_of_a_task)
    check("a container sees its own group, read-only", own_group)
    check("a container over its limit is reported out of memory", out_of_memory)
    check("a container over the task's limit is reported out of memory", out_of_memory_of_the_task)
    check("devices are denied", devices)
    check("kill -9 of the agent: containers are adopted", adoption)
    check("uninstall leaves nothing", uninstall, before)


def unit(path):
    """An executable of the unit tests; its rows count one by one."""
    libexec = "/usr/libexec/fairlead"
    found = subprocess.run([str(path)], capture_output=True, text=True, timeout=300, check=False,
                           env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP",
                                "FAIRLEAD_TEST_LIBEXEC": libexec,
                                "FAIRLEAD_TEST_SHIM": f"{libexec}/fairlead-shim"})
    name = path.name.removeprefix("test-")
    rows = re.findall(r"^(ok|not ok) \d+ - (.*)", found.stdout, re.M)
    for number, (outcome, title) in enumerate(rows, 1):
        print(f"{outcome} {number} - {name}: {title}")
    wrong = [row for row in rows if row[0] != "ok"]
    if wrong or found.returncode:
        print("# " + (found.stdout + found.stderr).replace("\n", "\n# "))
    if found.returncode == 77:
        print(f"ok 1 - {name} # SKIP it cannot run here")
    elif (found.returncode and not wrong) or not rows:
        print(f"not ok 1 - {name}: exit status {found.returncode}")
    sys.stdout.flush()


def run_units():
    for path in sorted(pathlib.Path("/guest/unit").glob("test-*")):
        unit(path)


def run_runc(results, one):
    def check(name, function, *more):
        return results.check(f"runc: {name}", function, one, *more, logs=one.logs)
    if not os.path.exists("/usr/sbin/runc"):
        print("ok 1 - runc # SKIP runc is not installed")
        return
    os.rename("/usr/bin/crun", "/usr/bin/crun.away")
    before = groups()
    if check("up", up):
        check("a task's exit code", exit_code)
        check("a container's limits are in its group", limits_of_a_container)
        check("a task's limits are in its group", limits_of_a_task)
        check("a container sees its own group, read-only", own_group)
        check("a container over its limit is reported out of memory", out_of_memory)
        check("devices are denied", devices)
        check("swap beside memory", swap)
        check("a definition's device is allowed, as far as it says", chosen_devices)
        check("namespaces of the task", shared_by_the_task)
        check("kernel parameters, tmpfs and shared memory", parameters_and_mounts)
        check("resource limits above the agent's", resource_limits)
        check("a published port answers", port)
        check("uninstall leaves nothing", uninstall, before)
    os.rename("/usr/bin/crun.away", "/usr/bin/crun")


def enter_nested():
    """As in a container with a cgroup namespace: its group seems to be the root, and this process
    is in it."""
    (CGROUPS / "system.slice/outer.service/cgroup.procs").write_text(str(os.getpid()))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rslave", "/")
    run("umount", "/sys/fs/cgroup")
    run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")


def main():
    begun = time.monotonic()
    if sys.argv[1] == "unit":
        run_units()
    elif sys.argv[1] == "runc":
        run_runc(Results(), Installation("runc", 4588))
    elif sys.argv[1] == "nested":
        enter_nested()
        run_nested(Results(), Installation("nested", 4577))
    else:
        run_suite(Results(), Installation("fairlead", 4566))
    print(f"guest: {sys.argv[1]}: {time.monotonic() - begun:.0f} s", flush=True)


main()
