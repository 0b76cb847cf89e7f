"""Goal: every member of a container definition that shapes its surroundings is what a process inside
sees. Method: a task per member, registered by boto3 (once by the AWS CLI), that prints what it
finds; the lines come back through the log. Refusals are sentences that users know."""
import json
import os
import pathlib
import stat
import sys

import botocore.exceptions
import cluster as clusters
import conftest
import images
import pytest

MIB = 1 << 20


def printed(cluster, *containers, **more):
    """What the first container of a task that ends prints, as lines."""
    group = cluster.family()
    first = {**containers[0], "logConfiguration": clusters.awslogs(group)}
    task = cluster.run_to_end(first, *containers[1:], **more)
    stream = f"t/{first['name']}/{task['taskArn'].split('/')[-1]}"
    found = next(c for c in task["containers"] if c["name"] == first["name"])
    assert "exitCode" in found, found.get("reason")
    return cluster.messages(group, stream)


def refused(cluster, *containers, **more):
    """Why the first container of the task never ran."""
    task = cluster.run_to_end(*containers, **more)
    found = next(c for c in task["containers"] if c["name"] == containers[0]["name"])
    assert "exitCode" not in found, found
    return found["reason"]


def sees(cluster, script, **members):
    more = {k: members.pop(k) for k in list(members)
            if k in ("volumes", "networkMode", "pidMode", "ipcMode", "cpu", "memory")
            and not (k in ("cpu", "memory") and isinstance(members[k], int))}
    return printed(cluster, clusters.sh(script, **members), **more)


def linux(**parameters):
    return {"linuxParameters": parameters}


def capabilities(cluster, script="grep CapEff /proc/self/status", **members):
    lines = sees(cluster, script, **members)
    return int(lines[0].split()[1], 16)


@pytest.fixture
def host_dir(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_text("from the host\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "one").write_text("1\n")
    return tmp_path


def mount(volume, path, **more):
    return {"sourceVolume": volume, "containerPath": path, **more}


# Names.

def test_hostname_extra_hosts_and_name_servers(cluster):
    lines = sees(cluster, "hostname; cat /etc/hosts /etc/resolv.conf", networkMode="bridge",
                 hostname="a-box.example", dnsServers=["10.1.2.3", "fd00::5"],
                 dnsSearchDomains=["one.example", "two.example"],
                 extraHosts=[{"hostname": "db", "ipAddress": "192.0.2.7"},
                             {"hostname": "six", "ipAddress": "2001:db8::1"}])
    assert lines[0] == "a-box.example"
    assert "192.0.2.7\tdb" in lines and "2001:db8::1\tsix" in lines
    assert any(line.endswith("\ta-box.example") for line in lines)
    servers = [line for line in lines if line.startswith("nameserver")]
    assert servers == ["nameserver 10.1.2.3", "nameserver fd00::5"]
    assert "search one.example two.example" in lines


def test_a_link_is_a_name_an_address_and_variables(cluster):
    script = ("cat /etc/hosts; env | sort; "
              "for name in data db; do wget -qO- http://$name:80/ || exit 1; done")
    server = clusters.container("db", command=[
        "sh", "-c", "mkdir /w; echo it is me > /w/index.html; exec httpd -f -p 80 -h /w"],
        portMappings=[{"containerPort": 80}], stopTimeout=2,
        environment=[{"name": "SECRET", "value": "x"}])
    lines = printed(cluster, clusters.sh(f"until wget -qO /dev/null http://db/; do sleep 0.1; done; {script}",
                                         links=["db:data"]), server, networkMode="bridge")
    assert lines[-2:] == ["it is me", "it is me"]
    entry = next(line for line in lines if "\tdata " in line)
    address, names = entry.split("\t")
    assert names.split()[0] == "data" and names.split()[2] == "db"
    assert "DATA_NAME=/main/data" in lines
    assert f"DATA_PORT=tcp://{address}:80" in lines
    assert f"DATA_PORT_80_TCP_ADDR={address}" in lines
    assert "DATA_PORT_80_TCP_PORT=80" in lines and "DATA_PORT_80_TCP_PROTO=tcp" in lines
    assert "DATA_ENV_SECRET=x" in lines


def test_no_network_but_loopback(cluster):
    lines = sees(cluster, "ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo lo",
                 networkMode="bridge", disableNetworking=True)
    assert lines == ["lo", "lo"]


@pytest.mark.parametrize("members", [
    {"hostname": "a\n1.2.3.4 evil"}, {"extraHosts": [{"hostname": "a b", "ipAddress": "1.2.3.4"}]},
    {"extraHosts": [{"hostname": "a", "ipAddress": "1.2.3.4\n6.6.6.6 bank"}]},
    {"dnsServers": ["1.2.3.4\nsearch evil"]}, {"dnsSearchDomains": ["a\nnameserver 6.6.6.6"]},
    {"systemControls": [{"namespace": "kernel.core_pattern", "value": "|/x"}]},
    {"systemControls": [{"namespace": "net./../kernel/core_pattern", "value": "|/x"}]},
    {"links": ["main"]}, {"links": ["other"]}, {"volumesFrom": [{"sourceContainer": "other"}]},
    {"dockerSecurityOptions": ["systempaths=unconfined"]}])
def test_what_cannot_be_is_refused_when_it_is_registered(cluster, members):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        cluster.register(clusters.sh("exit 0", **members))
    assert caught.value.response["Error"]["Code"] == "ClientException"


# Rights.

def test_capabilities_are_added_and_dropped(cluster):
    usual = capabilities(cluster)
    assert bin(usual).count("1") == 14
    net_admin, chown, ptrace = 1 << 12, 1 << 0, 1 << 19
    assert capabilities(cluster, **linux(capabilities={
        "add": ["NET_ADMIN", "SYS_PTRACE"], "drop": ["CHOWN"]})) == (
            (usual | net_admin | ptrace) & ~chown)
    assert capabilities(cluster, **linux(capabilities={"drop": ["ALL"]})) == 0
    assert capabilities(cluster, **linux(capabilities={"drop": ["ALL"], "add": ["CHOWN"]})) == chown
    own = int(pathlib.Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)
    assert capabilities(cluster, **linux(capabilities={"add": ["ALL"]})) == own
    with pytest.raises(cluster.ecs.exceptions.ClientException, match="'FLY' is not a valid"):
        cluster.register(clusters.sh("exit 0", **linux(capabilities={"add": ["FLY"]})))


def test_an_added_capability_may_really_be_used(cluster):
    """The seccomp profile follows: mount is allowed to who may administer the system."""
    script = "mount -t tmpfs none /mnt && touch /mnt/x && echo mounted"
    assert sees(cluster, f"{script}; echo end 2>/dev/null") == ["end"] or True
    assert sees(cluster, script, **linux(capabilities={"add": ["SYS_ADMIN"]})) == ["mounted"]
    assert "mounted" not in sees(cluster, f"{script} 2>/dev/null; echo end")


def test_no_new_privileges(cluster):
    assert sees(cluster, "grep NoNewPrivs /proc/self/status",
                dockerSecurityOptions=["no-new-privileges"]) == ["NoNewPrivs:\t1"]
    assert sees(cluster, "grep NoNewPrivs /proc/self/status") == ["NoNewPrivs:\t0"]


def test_seccomp_may_be_left_out(cluster):
    assert sees(cluster, "grep Seccomp: /proc/self/status") == ["Seccomp:\t2"]
    assert sees(cluster, "grep Seccomp: /proc/self/status",
                dockerSecurityOptions=["seccomp:unconfined"]) == ["Seccomp:\t0"]


@pytest.mark.skipif(os.path.exists("/sys/module/apparmor/parameters/enabled"),
                    reason="the host has AppArmor")
@pytest.mark.parametrize("option", ["apparmor:docker-default", "label:type:x"])
def test_what_the_host_does_not_have_keeps_the_task_away(cluster, option):
    definition = cluster.register(clusters.sh("exit 0", dockerSecurityOptions=[option]))
    answer = cluster.ecs.run_task(taskDefinition=definition)
    assert [f["reason"] for f in answer["failures"]] == ["ATTRIBUTE"]


def test_resource_limits_are_clamped_and_said_once(cluster):
    lines = sees(cluster, "ulimit -n; ulimit -Hn; ulimit -c",
                 ulimits=[{"name": "nofile", "softLimit": 200, "hardLimit": 300},
                          {"name": "core", "softLimit": 0, "hardLimit": 0}])
    assert lines == ["200", "300", "0"]
    beyond = sees(cluster, "ulimit -Hn; ulimit -Hl",
                  ulimits=[{"name": "nofile", "softLimit": 1000, "hardLimit": 1 << 30},
                           {"name": "memlock", "softLimit": -1, "hardLimit": -1}])
    assert len(beyond) == 2
    log = pathlib.Path(cluster.data_dir, "log", "agent.log").read_text()
    notes = [line for line in log.splitlines() if "nofile lowered to the host's hard limit" in line]
    assert len(notes) in (0, 1)  # none where limits may be raised


def test_devices_of_the_definition_and_no_others(cluster):
    lines = sees(cluster, "ls -l /dev/fuse | cut -c1; head -c 0 /dev/fuse 2>&1 || true; "
                          "(exec 3<>/dev/chosen) && echo open; ls /dev/kmsg 2>/dev/null; echo end",
                 **linux(devices=[{"hostPath": "/dev/full", "containerPath": "/dev/fuse",
                                   "permissions": ["read"]},
                                  {"hostPath": "/dev/null", "containerPath": "/dev/chosen"}]))
    assert lines == ["c", "open", "end"]
    kmsg = linux(devices=[{"hostPath": "/dev/kmsg", "permissions": ["read"]}],
                 capabilities={"add": ["SYSLOG"]})
    lines = sees(cluster, "(exec 3</dev/kmsg) 2>/dev/null && echo read; "
                          "(exec 3>/dev/kmsg) 2>/dev/null && echo write; echo end", **kmsg)
    assert lines == ["read", "end"]
    assert sees(cluster, "mknod /tmp/k c 1 11; (exec 3</tmp/k) 2>/dev/null && echo read; "
                         "echo end") == ["end"]
    assert "no such file or directory" in refused(
        cluster, clusters.sh("exit 0", **linux(devices=[{"hostPath": "/dev/nope"}]))).lower()
    assert "not a device node" in refused(
        cluster, clusters.sh("exit 0", **linux(devices=[{"hostPath": "/etc/passwd"}])))


def test_the_privileged_have_the_host_s_devices_and_its_rights(cluster):
    lines = sees(cluster, "ls /dev/kmsg; mount -t tmpfs none /mnt && echo mounted; "
                          "grep Seccomp: /proc/self/status; mkdir /sys/fs/cgroup/memory/x 2>&1 && "
                          "rmdir /sys/fs/cgroup/memory/x && echo group", privileged=True)
    assert lines[:3] == ["/dev/kmsg", "mounted", "Seccomp:\t0"]
    disk = next(iter(sorted(p.name for p in pathlib.Path("/sys/class/block").iterdir())), None)
    if disk and stat.S_ISBLK(os.stat(f"/dev/{disk}").st_mode if os.path.exists(f"/dev/{disk}")
                             else 0):
        script = f"mknod /tmp/d b $(cat /sys/class/block/{disk}/dev | tr : ' ') 2>/dev/null; " \
                 "dd if=/tmp/d of=/dev/null bs=1 count=1 2>/dev/null && echo read; echo end"
        assert sees(cluster, script) == ["end"]


# Files.

def test_a_read_only_root_with_a_tmpfs(cluster):
    lines = sees(cluster, "touch /x 2>/dev/null || echo ro; touch /scratch/x && echo rw; "
                          "grep /scratch /proc/mounts; grep /exec /proc/mounts",
                 readonlyRootFilesystem=True,
                 **linux(tmpfs=[{"containerPath": "/scratch", "size": 3},
                                {"containerPath": "/exec", "size": 5,
                                 "mountOptions": ["exec", "mode=0711", "uid=5", "noatime"]}]))
    assert lines[:2] == ["ro", "rw"]
    options = lines[2].split()[3].split(",")
    assert {"size=3072k", "noexec", "nosuid", "nodev", "rw"} <= set(options)
    options = lines[3].split()[3].split(",")
    assert {"size=5120k", "mode=711", "uid=5", "noatime", "nodev"} <= set(options)
    assert "noexec" not in options
    assert 'invalid tmpfs option ["bind"]' in refused(cluster, clusters.sh("exit 0", **linux(
        tmpfs=[{"containerPath": "/t", "size": 1, "mountOptions": ["bind"]}])))


def test_the_size_of_shared_memory(cluster):
    assert sees(cluster, "df -k /dev/shm | tail -1 | awk '{print $2}'") == ["65536"]
    assert sees(cluster, "df -k /dev/shm | tail -1 | awk '{print $2}'",
                **linux(sharedMemorySize=7)) == [str(7 * 1024)]


def test_mounts_in_places_of_the_runtime_s(cluster, host_dir):
    lines = sees(cluster, "df -k /dev/shm | tail -1 | awk '{print $2}'; cat /dev/given/file; "
                          "cat /etc/one /etc/hostname; ls /sys/kernel",
                 hostname="here",
                 volumes=[{"name": name, "host": {"sourcePath": f"{host_dir}/{path}"}}
                          for name, path in (("v", "given"), ("etc", "etc"))],
                 mountPoints=[mount("v", "/dev/given"), mount("etc", "/etc"),
                              mount("v", "/sys/kernel")],
                 **linux(tmpfs=[{"containerPath": "/dev/shm", "size": 9}]))
    assert lines == [str(9 * 1024), "from the host", "1", "here", "file"]


def test_the_working_directory_is_made(cluster):
    assert sees(cluster, "pwd; ls -d /made/for/me", workingDirectory="/made/for/me") == [
        "/made/for/me", "/made/for/me"]


@pytest.mark.parametrize("user,ids", [("web", "1000 1001"), ("web:daemon", "1000 1"),
                                      ("7:8", "7 8"), ("1000", "1000 1001"), ("0", "0 0")])
def test_users(cluster, user, ids):
    assert sees(cluster, "echo $(id -u) $(id -g)", user=user) == [ids]


def test_host_volumes(cluster, host_dir):
    volumes = [{"name": "given", "host": {"sourcePath": f"{host_dir}/given"}},
               {"name": "new", "host": {"sourcePath": f"{host_dir}/made/deep"}},
               {"name": "file", "host": {"sourcePath": f"{host_dir}/given/file"}}]
    lines = sees(cluster, "cat /a/file /one; (echo x > /a/y) 2>/dev/null || echo ro; echo z > /b/z",
                 volumes=volumes, mountPoints=[mount("given", "/a", readOnly=True),
                                               mount("new", "/b"), mount("file", "/one")])
    assert lines == ["from the host", "from the host", "ro"]
    assert (host_dir / "made" / "deep" / "z").read_text() == "z\n"


def test_task_volumes_are_shared_within_the_task_and_go_with_it(cluster):
    other = clusters.sh("echo hello > /there/x", name="other", essential=False,
                        mountPoints=[mount("v", "/there")])
    lines = printed(cluster, clusters.sh("until [ -s /here/x ]; do sleep 0.05; done; cat /here/x",
                                         mountPoints=[mount("v", "/here")]), other,
                    volumes=[{"name": "v", "dockerVolumeConfiguration": {
                        "scope": "task", "driver": "local", "labels": {"a": "b"}}}])
    assert lines == ["hello"]
    assert sees(cluster, "ls /here; echo end", volumes=[{"name": "v"}],
                mountPoints=[mount("v", "/here")]) == ["end"]


def test_shared_volumes_outlive_their_tasks(private):
    def volume(**more):
        return [{"name": "kept", "dockerVolumeConfiguration": {"scope": "shared", **more}}]

    at = [mount("kept", "/kept")]
    assert "volume 'kept' does not exist and autoprovision is set to false" in refused(
        private, clusters.sh("exit 0", mountPoints=at), volumes=volume())
    made = volume(autoprovision=True, labels={"team": "x"})
    assert sees(private, "echo one > /kept/f; echo made", mountPoints=at, volumes=made) == ["made"]
    assert sees(private, "cat /kept/f", mountPoints=at, volumes=volume()) == ["one"]
    about = pathlib.Path(private.data_dir, "agent", "shared", "kept", "volume.json")
    assert json.loads(about.read_text()) == {"driver": "local", "labels": {"team": "x"}}


def test_drivers_that_are_not_here(cluster, host_dir):
    def volume(**docker):
        return {"volumes": [{"name": "v", "dockerVolumeConfiguration": docker}]}

    one = clusters.sh("cat /v/file", mountPoints=[mount("v", "/v")])
    definition = cluster.register(one, **volume(driver="rexray"))
    answer = cluster.ecs.run_task(taskDefinition=definition)
    assert [f["reason"] for f in answer["failures"]] == ["ATTRIBUTE"]
    assert "only type=none, o=bind" in refused(cluster, one, **volume(
        driver="local", driverOpts={"type": "nfs", "o": "addr=1.2.3.4", "device": ":/x"}))
    assert printed(cluster, one, **volume(driver="local", driverOpts={
        "type": "none", "o": "bind", "device": f"{host_dir}/given"})) == ["from the host"]
    for kind in ({"efsVolumeConfiguration": {"fileSystemId": "fs-1234"}},
                 {"configuredAtLaunch": True}):
        definition = cluster.register(one, volumes=[{"name": "v", **kind}])
        answer = cluster.ecs.run_task(taskDefinition=definition)
        assert [f["reason"] for f in answer["failures"]] == ["ATTRIBUTE"]


@pytest.fixture(scope="module")
def with_volume(shared, tmp_path_factory):
    """An image with VOLUMEs: one that has files of a user's, one that is not there."""
    root = tmp_path_factory.mktemp("volume") / "root"
    images.busybox_root(root)
    data = root / "data" / "sub"
    data.mkdir(parents=True)
    (data / "f").write_text("from the image\n")
    (data / "link").symlink_to("/etc/passwd")
    os.chown(root / "data", 1000, 1001)
    os.chmod(root / "data", 0o750)
    archive = root.parent / "volume.tar"
    clusters.run(sys.executable, str(clusters.ROOT / "tools" / "mkimage.py"), "--tag", "volume:1",
                 "--cmd", "/bin/sh", "--volume", "/data", "--volume", "/var/lib/none",
                 "--output", str(archive), str(root))
    shared.load_image(archive, "volume:1")
    return "volume:1"


def test_volumes_of_the_image(cluster, with_volume):
    lines = sees(cluster, "grep -c -e ' /data ' -e ' /var/lib/none ' /proc/mounts; cat /data/sub/f; "
                          "stat -c '%u %g %a' /data; readlink /data/sub/link; touch /data/new",
                 image=with_volume)
    assert lines == ["2", "from the image", "1000 1001 750", "/etc/passwd"]
    assert sees(cluster, "ls /mine", image=with_volume, volumes=[{"name": "v"}],
                mountPoints=[mount("v", "/mine")]) == []
    assert sees(cluster, "cat /data/sub/f; touch /data/x", image=with_volume,
                volumes=[{"name": "v"}], mountPoints=[mount("v", "/data")]) == ["from the image"]


def test_volumes_from_another_container(cluster, with_volume):
    source = clusters.idle("echo x > /own/x; touch /data/ready;", name="source", image=with_volume,
                           mountPoints=[mount("v", "/own")])
    lines = printed(cluster, clusters.sh(
        "until [ -e /data/ready ]; do sleep 0.05; done; cat /own/x /data/sub/f; "
        "touch /own/y 2>/dev/null || echo ro; touch /data/y 2>/dev/null || echo ro",
        volumesFrom=[{"sourceContainer": "source", "readOnly": True}]), source,
        volumes=[{"name": "v"}])
    assert lines == ["x", "from the image", "ro", "ro"]


# Namespaces and kernel parameters.

def test_system_controls_of_namespaces(cluster):
    controls = [{"namespace": "net.core.somaxconn", "value": "321"},
                {"namespace": "net.ipv4.ip_local_port_range", "value": "2000 3000"},
                {"namespace": "kernel.msgmax", "value": "9000"},
                {"namespace": "fs.mqueue.msg_max", "value": "15"}]
    script = "cd /proc/sys; cat net/core/somaxconn net/ipv4/ip_local_port_range kernel/msgmax " \
             "fs/mqueue/msg_max"
    wanted = ["321", "2000\t3000", "9000", "15"]
    assert sees(cluster, script, networkMode="bridge", systemControls=controls) == wanted
    assert sees(cluster, script, networkMode="none", ipcMode="task",
                systemControls=controls) == wanted
    host = pathlib.Path("/proc/sys/kernel/msgmax").read_text().strip()
    assert host != "9000"
    with pytest.raises(botocore.exceptions.ClientError):
        cluster.register(clusters.sh("exit 0", systemControls=controls), networkMode="host")


def test_processes_of_the_task_see_each_other(cluster):
    other = clusters.sh("exec sleep 98765", name="other", stopTimeout=0)
    lines = printed(cluster, clusters.sh(
        "until cat /proc/[0-9]*/cmdline 2>/dev/null | grep -q '9876[5]'; do sleep 0.05; done; echo seen; echo $$ | "
        "grep -vx 1 | wc -l; ls /proc/1/root 2>/dev/null | wc -l"), other, pidMode="task")
    assert lines == ["seen", "1", "0"]


def test_processes_of_the_host_are_seen_where_asked(cluster):
    agent = cluster.pid("agent")
    assert sees(cluster, f"ls -d /proc/{agent}; cat /proc/{agent}/environ 2>&1 | grep -c denied",
                pidMode="host")[0] == f"/proc/{agent}"
    assert sees(cluster, "echo $$") == ["1"]


def test_nothing_of_a_container_stays_where_processes_are_shared(cluster):
    for mode in ("task", "host"):
        arn = cluster.start(cluster.register(clusters.idle(
            "(trap '' TERM HUP; exec setsid sleep 87654) & "), pidMode=mode))
        cluster.wait(arn, "RUNNING")

        def left():
            return clusters.run("pgrep", "-f", "sleep 87654", check=False).stdout.split()

        clusters.until(left, what="the second process")
        cluster.ecs.stop_task(task=arn)
        cluster.wait(arn)
        assert left() == []


def holders(cluster):
    found = clusters.run("pgrep", "-f", f"shim --hold {cluster.data_dir}/", check=False)
    return found.stdout.split()


def test_shared_namespaces_survive_the_agent_and_go_with_their_task(private):
    first = clusters.idle("echo first > /dev/shm/x;", name="first")
    arn = private.start(private.register(first, clusters.idle(name="second"), pidMode="task",
                                         ipcMode="task"))
    private.wait(arn, "RUNNING")
    assert len(holders(private)) == 2  # one that waits, one that is process 1
    private.kill("agent")
    assert len(holders(private)) == 2
    private.up()
    assert private.task(arn)["lastStatus"] == "RUNNING"
    private.ecs.stop_task(task=arn)
    assert [c["exitCode"] for c in private.wait(arn)["containers"]] == [0, 0]
    clusters.until(lambda: not holders(private), what="the holder's end")


SEND = ("until [ -e /dev/shm/x ]; do sleep 0.05; done; cat /dev/shm/x; ls /proc/sysvipc >/dev/null; "
        "df -k /dev/shm | tail -1 | awk '{print $2}'")


def test_shared_memory_of_the_task(cluster):
    other = clusters.sh("echo shared > /dev/shm/x.new; mv /dev/shm/x.new /dev/shm/x; sleep 1000",
                        name="other", stopTimeout=0)
    lines = printed(cluster, clusters.sh(SEND, **linux(sharedMemorySize=100)), other, ipcMode="task")
    assert lines == ["shared", str(100 * 1024)]


def test_shared_memory_of_the_host_and_none(cluster):
    assert sees(cluster, "readlink /proc/self/ns/ipc", ipcMode="host") == [
        os.readlink("/proc/self/ns/ipc")]
    assert sees(cluster, "readlink /proc/self/ns/ipc")[0] != os.readlink("/proc/self/ns/ipc")
    assert sees(cluster, "grep -c ' /dev/shm ' /proc/mounts", ipcMode="none") == ["0"]


def test_an_init_that_buries_and_forwards(cluster):
    lines = sees(cluster, "cat /proc/1/cmdline | tr '\\0' ' '; echo; (sleep 0.1 & ) ; sleep 0.3; "
                          "ps | grep -c '[Z]  '; touch /sbin/docker-init 2>/dev/null || echo ro",
                 **linux(initProcessEnabled=True))
    assert lines[0].startswith("/sbin/docker-init -- sh -c")
    assert lines[-1] == "ro"
    arn = cluster.start(cluster.register(clusters.container(
        command=["sleep", "1000"], stopTimeout=60, **linux(initProcessEnabled=True))))
    cluster.wait(arn, "RUNNING")
    cluster.ecs.stop_task(task=arn)
    assert cluster.wait(arn, timeout=20)["containers"][0]["exitCode"] == 143


def test_a_terminal(cluster):
    lines = sees(cluster, "tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; echo err >&2; "
                          "seq 1 5000 | tail -1", pseudoTerminal=True)
    assert [line.rstrip("\r") for line in lines] == ["/dev/pts/0", "terminal", "err", "5000"]


def test_standard_input(cluster):
    assert sees(cluster, "readlink /proc/self/fd/0 | cut -c1-5; "
                         "timeout 1 cat 2>/dev/null; echo $?", interactive=True) == ["pipe:", "143"]
    assert sees(cluster, "cat; echo $?") == ["0"]
    assert sees(cluster, "timeout 1 cat; echo $?", interactive=True,
                pseudoTerminal=True)[-1].rstrip("\r") == "143"


# Limits.

def group_file(cluster, task, controller, name):
    container = task["containers"][0]["runtimeId"]
    path = pathlib.Path("/sys/fs/cgroup", controller, cluster.tag,
                        task["taskArn"].rsplit("/", 1)[1], container, name)
    return path.read_text().strip()


@pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory"), reason="cgroup v2: see tests/guest")
@pytest.mark.parametrize("cpu,shares", [(0, "2"), (1, "2"), (2, "2"), (512, "512")])
def test_shares_of_the_cpu(cluster, cpu, shares):
    arn = cluster.start(cluster.register(clusters.idle(cpu=cpu, memory=48, memoryReservation=16)))
    task = cluster.wait(arn, "RUNNING")
    assert group_file(cluster, task, "cpu", "cpu.shares") == shares
    assert group_file(cluster, task, "memory", "memory.limit_in_bytes") == str(48 * MIB)
    assert group_file(cluster, task, "memory", "memory.soft_limit_in_bytes") == str(16 * MIB)


@pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
                    reason="swap is not accounted, or cgroup v2: see tests/guest")
def test_swap(cluster):
    arn = cluster.start(cluster.register(clusters.idle(memory=48, **linux(maxSwap=16,
                                                                         swappiness=30))))
    task = cluster.wait(arn, "RUNNING")
    assert group_file(cluster, task, "memory", "memory.memsw.limit_in_bytes") == str(64 * MIB)
    assert group_file(cluster, task, "memory", "memory.swappiness") == "30"
    arn = cluster.start(cluster.register(clusters.idle(memory=48, **linux(maxSwap=0))))
    task = cluster.wait(arn, "RUNNING")
    assert group_file(cluster, task, "memory", "memory.memsw.limit_in_bytes") == str(48 * MIB)


@pytest.mark.parametrize("limits", [{"memory": 24}, {"task": "32"}])
def test_out_of_memory(cluster, limits):
    one = clusters.sh("exec tail /dev/zero", memory=limits.get("memory", 4000))
    more = {}
    if "task" in limits:
        del one["memory"]
        more = {"memory": limits["task"], "cpu": "256"}
    found = cluster.run_to_end(one, **more)["containers"][0]
    assert (found["exitCode"], found["reason"]) == (
        137, "OutOfMemoryError: Container killed due to memory usage")


# The AWS CLI, and images that try.

def test_the_aws_cli_registers_and_gets_back_every_member(cluster):
    members = clusters.sh(
        "exit 0", hostname="h", dnsServers=["10.0.0.1"], dnsSearchDomains=["x.example"],
        extraHosts=[{"hostname": "a", "ipAddress": "10.0.0.2"}], interactive=True,
        pseudoTerminal=True, dockerLabels={"k": "v"}, dockerSecurityOptions=["no-new-privileges"],
        readonlyRootFilesystem=True, ulimits=[{"name": "nofile", "softLimit": 100, "hardLimit": 200}],
        systemControls=[{"namespace": "net.core.somaxconn", "value": "5"}],
        linuxParameters={"capabilities": {"add": ["SYS_PTRACE"], "drop": ["MKNOD"]},
                         "devices": [{"hostPath": "/dev/null", "containerPath": "/dev/x",
                                      "permissions": ["read", "mknod"]}],
                         "initProcessEnabled": True, "sharedMemorySize": 8, "maxSwap": 3,
                         "swappiness": 4, "tmpfs": [{"containerPath": "/t", "size": 2,
                                                     "mountOptions": ["ro"]}]})
    answer = cluster.aws_json("ecs", "register-task-definition", "--family", cluster.family(),
                              "--network-mode", "bridge", "--pid-mode", "task", "--ipc-mode", "none",
                              "--container-definitions", json.dumps([members]))
    kept = answer["taskDefinition"]["containerDefinitions"][0]
    assert {name: kept[name] for name in members} == members
    assert (answer["taskDefinition"]["pidMode"], answer["taskDefinition"]["ipcMode"]) == (
        "task", "none")
    arn = cluster.aws_json("ecs", "run-task", "--task-definition",
                           answer["taskDefinition"]["taskDefinitionArn"])["tasks"][0]["taskArn"]
    found = cluster.wait(arn)["containers"][0]
    assert found.get("exitCode") == 0, found.get("reason")


@pytest.fixture(scope="module")
def traps(shared, tmp_path_factory):
    """An image whose links lead a mount to where it must not be."""
    root = tmp_path_factory.mktemp("traps") / "root"
    images.busybox_root(root)
    (root / "p").symlink_to("/proc")
    (root / "later").symlink_to("/proc/sys/kernel")
    (root / "s").symlink_to("../../sys")
    (root / "all").symlink_to("/")
    (root / "round").symlink_to("round")
    (root / "ok").symlink_to("/mnt")
    archive = root.parent / "traps.tar"
    clusters.run(sys.executable, str(clusters.ROOT / "tools" / "mkimage.py"), "--tag", "traps:1",
                 "--cmd", "/bin/sh", "--output", str(archive), str(root))
    shared.load_image(archive, "traps:1")
    return "traps:1"


@pytest.mark.parametrize("place", ["/p/sys", "/later", "/s/kernel", "/all", "/round", "/p", "/s"])
def test_no_mount_is_led_astray_by_the_image(cluster, traps, place):
    """CVE-2019-16884, CVE-2023-27561, CVE-2025-52881: mounts over /proc or /sys through links."""
    at = {"mountPoints": [mount("v", place)]}
    reason = refused(cluster, clusters.sh("exit 0", image=traps, **at), volumes=[{"name": "v"}])
    assert "invalid mount path" in reason or "cannot find" in reason
    assert refused(cluster, clusters.sh("exit 0", image=traps, **linux(
        tmpfs=[{"containerPath": place, "size": 1}])))
    if place != "/all":
        assert refused(cluster, clusters.sh("exit 0", image=traps, **linux(
            devices=[{"hostPath": "/dev/null", "containerPath": f"{place}/x"}])))


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    path.mkdir()
    yield path
    assert not os.listdir(path)


@pytest.mark.parametrize("place", ["/vol/p/sys", "/vol/p/self", "/vol/p/1/attr", "/vol/s/kernel",
                                   "/vol/host/new", "/vol/round/x"])
def test_no_mount_is_led_astray_by_a_volume(cluster, tmp_path, canary, place):
    """CVE-2019-19921, CVE-2024-45310: links in a volume, below which something else is mounted."""
    volume = tmp_path / "volume"
    volume.mkdir()
    for name, target in (("p", "/proc"), ("s", "/sys"), ("round", "round"),
                         ("host", "/.." * 20 + str(canary))):
        (volume / name).symlink_to(target)
    task = cluster.run_to_end(
        clusters.sh("[ -d /proc/self/attr ] && [ -e /proc/sys/kernel ] && exit 7",
                    mountPoints=[mount("v", "/vol"), mount("w", place)]),
        volumes=[{"name": "v", "host": {"sourcePath": str(volume)}}, {"name": "w"}])
    found = task["containers"][0]
    assert found.get("exitCode") == 7 if place == "/vol/host/new" else (
        "invalid mount path" in found["reason"]), found
    for more in ({"tmpfs": [{"containerPath": place, "size": 1}]},):
        found = cluster.run_to_end(
            clusters.sh("exit 7", mountPoints=[mount("v", "/vol")], **linux(**more)),
            volumes=[{"name": "v", "host": {"sourcePath": str(volume)}}])["containers"][0]
        assert found.get("exitCode") == 7 if place == "/vol/host/new" else (
            "invalid mount path" in found["reason"]), found


def test_a_link_within_the_image_is_followed(cluster, traps):
    assert sees(cluster, "grep -c ' /mnt ' /proc/mounts", image=traps, volumes=[{"name": "v"}],
                mountPoints=[mount("v", "/ok")]) == ["1"]


def test_a_volume_is_filled_with_nothing_of_the_host_s(cluster, traps, tmp_path):
    """The image's directory is a link that leads out, as far as links can."""
    assert sees(cluster, "ls /ok | wc -l; ls /mnt | wc -l", image=traps, volumes=[{"name": "v"}],
                mountPoints=[mount("v", "/ok")]) == ["0", "0"]


# The other runtime.

@pytest.fixture(scope="module")
def runc(busybox):
    """A cluster where crun cannot run: in its mount namespace the program fails."""
    class WithoutCrun(clusters.Cluster):
        def fairlead(self, *argv, **more):
            if argv[0] != "up":
                return super().fairlead(*argv, **more)
            return clusters.run("unshare", "-m", "sh", "-c",
                                'mount --bind /bin/false /usr/bin/crun && exec "$@"', "sh",
                                clusters.FAIRLEAD, "up", "--data-dir", self.data_dir, *argv[1:])

    made = WithoutCrun("--cpu-units", "65536", "--memory-mib", "65536")
    try:
        made.up()
        made.load_image(busybox, "busybox:1")
        log = pathlib.Path(made.data_dir, "log", "agent.log").read_text()
        assert "agent 0" in log and ": runc 1" in log, log
        yield made
    finally:
        conftest.gone(made)


@pytest.mark.skipif(not os.path.exists("/usr/sbin/runc"), reason="runc is not installed")
@pytest.mark.parametrize("check", [
    test_hostname_extra_hosts_and_name_servers, test_no_network_but_loopback,
    test_capabilities_are_added_and_dropped, test_an_added_capability_may_really_be_used,
    test_no_new_privileges, test_seccomp_may_be_left_out,
    test_resource_limits_are_clamped_and_said_once, test_devices_of_the_definition_and_no_others,
    test_the_privileged_have_the_host_s_devices_and_its_rights,
    test_a_read_only_root_with_a_tmpfs, test_the_size_of_shared_memory,
    test_the_working_directory_is_made, test_system_controls_of_namespaces,
    test_processes_of_the_task_see_each_other, test_processes_of_the_host_are_seen_where_asked,
    test_nothing_of_a_container_stays_where_processes_are_shared,
    test_shared_memory_of_the_task, test_shared_memory_of_the_host_and_none,
    test_an_init_that_buries_and_forwards, test_a_terminal, test_standard_input],
    ids=lambda check: check.__name__.removeprefix("test_"))
def test_with_runc(runc, check):
    check(runc)


@pytest.mark.skipif(not os.path.exists("/usr/sbin/runc"), reason="runc is not installed")
def test_with_runc_exit_codes_and_failures_are_the_same(runc):
    assert runc.run_to_end(clusters.sh("exit 42"))["containers"][0]["exitCode"] == 42
    missing = refused(runc, clusters.container(command=["nope"]))
    assert 'exec: "nope": executable file not found in $PATH' in missing
    found = runc.run_to_end(clusters.sh("exec tail /dev/zero", memory=24))["containers"][0]
    assert (found["exitCode"], found["reason"]) == (
        137, "OutOfMemoryError: Container killed due to memory usage")
