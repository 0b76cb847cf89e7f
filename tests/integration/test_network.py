"""Goal: what a task publishes is reached from everywhere it should be, names are found, and neither
other firewalls nor other installations take that away.

Method: installations in network namespaces of the test's own ("the host", linked to "the world"), so
that rules can be made and flushed there; clients ask from the host, the world and other containers."""
import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import cluster as clusters
import pytest
from conftest import _gone, _made

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def own_network():
    """This thread and what it starts are in a new network namespace, whose descriptor is yielded."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _checked(LIBC.unshare(CLONE_NEWNET))
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        clusters.run("ip", "link", "set", "lo", "up")
        yield here
    finally:
        _checked(LIBC.setns(home, CLONE_NEWNET))
        os.close(here)
        os.close(home)


def in_namespace(namespace, *argv, **more):
    return clusters.run("nsenter", f"--net=/proc/{os.getpid()}/fd/{namespace}", *argv, **more)


@pytest.fixture
def world():
    """We are on the host, 192.0.2.1 and 2001:db8::1; the world is 192.0.2.2 and 2001:db8::2."""
    with own_network() as world:
        with own_network() as host:
            clusters.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "outside",
                         "netns", f"/proc/{os.getpid()}/fd/{world}")
            for run, link, end in ((clusters.run, "uplink", 1),
                                   (lambda *a: in_namespace(world, *a), "outside", 2)):
                run("ip", "addr", "add", f"192.0.2.{end}/24", "dev", link)
                run("ip", "addr", "add", f"2001:db8::{end}/64", "dev", link, "nodad")
                run("ip", "link", "set", link, "up")
            assert host != world
            yield world


@pytest.fixture
def made_here(busybox):
    """made_here(*flags): an installation in the namespace where the test is."""
    made = []

    def make(*flags):
        made.append(_made(busybox, "--cpu-units", "65536", "--memory-mib", "65536", *flags))
        return made[-1]
    yield make
    for each in made:
        _gone(each)


@pytest.fixture
def host(world, made_here, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text("ECS_DYNAMIC_HOST_PORT_RANGE=20000-20099\nECS_EXCLUDE_IPV6_PORTBINDING=false\n")
    return made_here("--ecs-config", str(path))


def web(name, *ports, **more):
    """Says its name on every port."""
    serve = " ".join(f"httpd -p {port} -h /tmp;" for port in ports)
    return clusters.idle(f"echo {name} > /tmp/index.html; {serve}", name=name, **more)


def said(address, port, namespace=None, patience=2):
    """What the server there says, '' if nothing."""
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}/"
    program = ("import sys,urllib.request\n"
               f"print(urllib.request.urlopen(sys.argv[1],timeout={patience}).read().decode())")
    if namespace is not None:
        return in_namespace(namespace, "python3", "-c", program, url, check=False).stdout.strip()
    try:
        return urllib.request.urlopen(url, timeout=patience).read().decode().strip()
    except OSError:
        return ""


def await_said(word, address, port, namespace=None, timeout=20):
    clusters.until(lambda: said(address, port, namespace) == word, timeout=timeout,
                   what=f"{word} at {address}:{port}")


def bindings(task, name):
    return next(c for c in task["containers"] if c["name"] == name)["networkBindings"]


def ask_from_a_container(cluster, url, **more):
    """What a container of its own is told there."""
    group = f"asked-{time.monotonic_ns()}"
    arn = cluster.start(cluster.register(clusters.sh(
        f"timeout 5 wget -q -O - {url} 2>/dev/null || echo nothing", name="ask",
        logConfiguration=clusters.awslogs(group), **more)))
    cluster.wait(arn)
    return cluster.messages(group, f"t/ask/{arn.rsplit('/', 1)[1]}")


def test_ports_answer_from_everywhere(host, world):
    task = host.wait(host.start(host.register(
        web("web", 80, 81, 9000, 9004, portMappings=[
            {"containerPort": 80, "hostPort": 8080}, {"containerPort": 81},
            {"containerPortRange": "9000-9004"},
            {"containerPort": 53, "protocol": "udp"}]))), "RUNNING")
    found = bindings(task, "web")
    assert [b["bindIP"] for b in found] == ["0.0.0.0"] * 4 + ["::"] * 4
    static, dynamic, ports, udp = found[:4]
    assert static == {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 8080, "protocol": "tcp"}
    assert 20000 <= dynamic["hostPort"] <= 20099 and 20000 <= udp["hostPort"] <= 20099
    assert ports["containerPortRange"] == "9000-9004" and "containerPort" not in ports
    first, last = map(int, ports["hostPortRange"].split("-"))
    assert last - first == 4 and 20000 <= first and last <= 20099
    assert udp["protocol"] == "udp"
    assert [{**b, "bindIP": "0.0.0.0"} for b in found[4:]] == found[:4]
    await_said("web", "127.0.0.1", 8080)
    for port in (8080, dynamic["hostPort"], first, last):
        for address in ("127.0.0.1", "192.0.2.1", "2001:db8::1"):
            assert said(address, port) == "web", (address, port)
        for address in ("192.0.2.1", "2001:db8::1"):
            assert said(address, port, world) == "web", (address, port)
    assert ask_from_a_container(host, "http://192.0.2.1:8080/") == ["web"]
    assert ask_from_a_container(host, "http://192.0.2.1:8080/",
                                portMappings=[{"containerPort": 80}]) == ["web"]
    refused = host.ecs.run_task(taskDefinition=host.register(
        web("late", 80, portMappings=[{"containerPort": 80, "hostPort": 8080}])))
    assert [f["reason"] for f in refused["failures"]] == ["RESOURCE:PORTS"]


def test_a_range_that_nothing_has_room_for(host):
    task = host.wait(host.start(host.register(
        web("wide", 1000, portMappings=[{"containerPortRange": "1000-1100"}]))))
    assert task["containers"][0]["reason"] == (
        "HostConfigError: error retrieving docker port map: "
        "101 contiguous host ports are unavailable")
    assert task["stopCode"] == "TaskFailedToStart"


def test_a_flushed_firewall_is_restored(host, world):
    arn = host.start(host.register(
        web("web", 80, portMappings=[{"containerPort": 80, "hostPort": 8080}])))
    host.wait(arn, "RUNNING")
    await_said("web", "192.0.2.1", 8080, world)
    for _ in range(3):
        clusters.run("nft", "flush", "ruleset")
        await_said("web", "192.0.2.1", 8080, world, timeout=10)
        assert said("127.0.0.1", 8080) == "web"
    assert host.task(arn)["lastStatus"] == "RUNNING"
    log = pathlib.Path(host.data_dir, "log", "agent.log").read_text()
    assert log.count("published ports are in place again") == 3


# What `ufw enable` leaves, as far as it matters; then what docs/network.md says to allow.
UFW = """
for program in iptables ip6tables; do
    $program -P INPUT DROP; $program -P FORWARD DROP
    $program -A INPUT -i lo -j ACCEPT
    for chain in INPUT FORWARD; do
        $program -A $chain -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    done
done
ip6tables -A INPUT -p ipv6-icmp -j ACCEPT
"""
UFW_ALLOW = """
for program in iptables ip6tables; do
    $program -A INPUT -i %(link)s -j ACCEPT
    $program -A FORWARD -i %(link)s -j ACCEPT
    $program -A FORWARD -o %(link)s -j ACCEPT
done
"""
# firewalld's chains, as far as they matter: what was led elsewhere passes, a link that is in no zone
# passes nothing on.
FIREWALLD = """
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        jump zones
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        jump zones
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain zones {
    }
}
"""


def sees_metadata(cluster):
    words = ask_from_a_container(cluster, "$ECS_CONTAINER_METADATA_URI_V4")
    return len(words) == 1 and '"DockerId"' in words[0]


def test_beside_ufw(host, world):
    clusters.run("sh", "-ec", UFW)
    host.wait(host.start(host.register(
        web("web", 80, portMappings=[{"containerPort": 80, "hostPort": 8080}]))), "RUNNING")
    await_said("web", "127.0.0.1", 8080)
    assert said("192.0.2.1", 8080, world) == ""
    clusters.run("sh", "-ec", UFW_ALLOW % {"link": host.tag})
    await_said("web", "192.0.2.1", 8080, world)
    assert said("2001:db8::1", 8080, world) == "web"
    assert ask_from_a_container(host, "http://192.0.2.1:8080/") == ["web"]
    assert sees_metadata(host)


def test_beside_firewalld(host, world):
    clusters.run("nft", "-f", "-", input=FIREWALLD)
    host.wait(host.start(host.register(
        web("web", 80, portMappings=[{"containerPort": 80, "hostPort": 8080}]))), "RUNNING")
    await_said("web", "192.0.2.1", 8080, world)
    assert said("2001:db8::1", 8080, world) == "web"
    assert said("127.0.0.1", 8080) == "web"
    assert sees_metadata(host)
    assert ask_from_a_container(host, "http://192.0.2.1:8080/") == ["web"]
    server = subprocess.Popen(["nsenter", f"--net=/proc/{os.getpid()}/fd/{world}", "busybox",
                               "httpd", "-f", "-p", "192.0.2.2:7000", "-h", "/usr/share/doc"])
    try:
        clusters.until(lambda: clusters.run("busybox", "nc", "-w", "1", "192.0.2.2", "7000",
                                            input="", check=False).returncode == 0)
        way_out = "http://192.0.2.2:7000/busybox-static/copyright"
        assert ask_from_a_container(host, way_out) == ["nothing"]
        clusters.run("nft", "add", "rule", "inet", "firewalld", "zones", "iifname", host.tag,
                     "accept")
        assert len(ask_from_a_container(host, way_out)) > 3
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def dockerd(folder):
    """A Docker daemon in the namespaces where the test is, with files of its own."""
    run_dir = pathlib.Path(tempfile.mkdtemp(prefix="fldocker-", dir="/tmp"))
    address = f"unix://{run_dir}/docker.sock"
    with open(folder / "dockerd.log", "ab") as log:
        process = subprocess.Popen(
            ["dockerd", "-H", address, "--data-root", str(folder / "docker"), "--exec-root",
             str(run_dir / "exec"), "--pidfile", str(run_dir / "pid")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        clusters.until(lambda: clusters.run("docker", "-H", address, "version",
                                            check=False).returncode == 0, timeout=60,
                       what="the Docker daemon", pause=0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(run_dir, ignore_errors=True)


@pytest.mark.skipif(not shutil.which("dockerd"), reason="no Docker is installed")
def test_beside_docker(world, made_here, tmp_path):
    """It comes first and drops what it does not know; then it is started again, all its rules gone."""
    def policy():
        return clusters.run("iptables", "-S", "FORWARD").stdout.splitlines()[0]
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("0")  # else it leaves the policy alone
    with dockerd(tmp_path):
        assert policy() == "-P FORWARD DROP"
        cluster = made_here()
        cluster.wait(cluster.start(cluster.register(
            web("web", 80, portMappings=[{"containerPort": 80, "hostPort": 8080}]))), "RUNNING")
        await_said("web", "192.0.2.1", 8080, world)
        assert ask_from_a_container(cluster, "http://192.0.2.1:8080/") == ["web"]
        assert sees_metadata(cluster)
    for table in ("filter", "nat"):
        clusters.run("iptables", "-t", table, "-F")
        clusters.run("iptables", "-t", table, "-X")
    clusters.run("iptables", "-P", "FORWARD", "DROP")
    with dockerd(tmp_path):
        await_said("web", "192.0.2.1", 8080, world)
        assert said("127.0.0.1", 8080) == "web"
        rules = clusters.run("iptables", "-S", "DOCKER-USER").stdout
        assert rules.count(f"--comment {cluster.tag} ") == 2


def test_the_localhost_filter_can_be_left_out(world, made_here, tmp_path):
    path = tmp_path / "ecs.config"
    path.write_text("ECS_SKIP_LOCALHOST_TRAFFIC_FILTER=true\n")
    filtered, open_one = made_here(), made_here("--ecs-config", str(path))
    for cluster, is_filtered in ((filtered, True), (open_one, False)):
        rules = clusters.run("nft", "list", "chain", "ip", cluster.tag, "guard").stdout
        assert (f'iifname "{cluster.tag}" ip daddr 127.0.0.0/8 drop' in rules) == is_filtered
        assert rules.count('iifname != "lo" ip daddr 127.0.0.0/8') >= 3  # the agent's own stay shut


def test_two_installations(world, made_here):
    one, two = made_here(), made_here()
    for cluster, port in ((one, 8080), (two, 8090)):
        cluster.wait(cluster.start(cluster.register(
            web(f"at{port}", 80, portMappings=[{"containerPort": 80, "hostPort": port}]))),
            "RUNNING")
    for port in (8080, 8090):
        await_said(f"at{port}", "192.0.2.1", port, world)
        for cluster in (one, two):
            assert ask_from_a_container(cluster, f"http://192.0.2.1:{port}/") == [f"at{port}"]
    assert sees_metadata(one) and sees_metadata(two)
    one.stop_all()
    clusters.run("nft", "flush", "ruleset")
    await_said("at8090", "192.0.2.1", 8090, world, timeout=10)
    assert said("192.0.2.1", 8080, world) == ""


def name_server(address):
    """Answers every question of type A with 198.51.100.7, from a thread."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, 53))

    def serve():
        while True:
            question, client = listener.recvfrom(4096)
            if not question:
                return
            end = question.index(b"\0", 12) + 5
            is_a = question[end - 4:end - 2] == b"\0\1"
            answer = (question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0" * 4 +
                      question[12:end])
            if is_a:
                answer += b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("198.51.100.7")
            listener.sendto(answer, client)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener, thread


class WithResolvConf(clusters.Cluster):
    """One whose daemons see a resolv.conf of the test's."""
    path = None

    def fairlead(self, *argv, check=True, timeout=120, env=None):
        bind = f'mount --bind {self.path} "$(readlink -f /etc/resolv.conf)" && exec "$@"'
        return clusters.run("unshare", "-m", "sh", "-ec", bind, "sh", clusters.FAIRLEAD, argv[0],
                            "--data-dir", self.data_dir, *argv[1:], check=check, timeout=timeout,
                            env=env)


def test_names_are_found_where_the_hosts_resolver_is_on_its_loopback(world, busybox, tmp_path):
    WithResolvConf.path = tmp_path / "resolv.conf"
    WithResolvConf.path.write_text("nameserver 127.0.0.53\n")
    listener, thread = name_server("127.0.0.53")
    cluster = WithResolvConf()
    try:
        cluster.up()
        cluster.load_image(busybox, "busybox:1")
        task = cluster.register(clusters.sh(
            "cat /etc/resolv.conf; nslookup -type=a example.test 2>&1; "
            "echo | nc -w 2 169.254.170.2 53 && echo tcp answers", name="ask",
            logConfiguration=clusters.awslogs("names")))
        arn = cluster.start(task)
        cluster.wait(arn)
        words = cluster.messages("names", f"t/ask/{arn.rsplit('/', 1)[1]}")
        assert words[0] == "nameserver 169.254.170.2", words
        assert any(re.search(r"Address.*198\.51\.100\.7", word) for word in words), words
        assert "tcp answers" in words
    finally:
        _gone(cluster)
        listener.sendto(b"", listener.getsockname())
        thread.join(timeout=10)
        listener.close()


def test_a_restart_keeps_the_port_and_a_linked_neighbours_name(private):
    """The policy's shortest period is a minute. The second run of `db` answers at the same port; the
    neighbour, which was not restarted, finds it by the address in its /etc/hosts."""
    arn = private.start(private.register(
        clusters.sh("echo run >> /tmp/index.html; httpd -p 80 -h /tmp; sleep 61; exit 3", name="db",
                    essential=False, portMappings=[{"containerPort": 80}],
                    restartPolicy={"enabled": True, "restartAttemptPeriod": 60}),
        web("app", 81, links=["db"], portMappings=[{"containerPort": 81}])))
    task = private.wait(arn, "RUNNING")
    before = bindings(task, "db")
    port = before[0]["hostPort"]
    await_said("run", "127.0.0.1", port)
    await_said("run\nrun", "127.0.0.1", port, timeout=90)
    task = private.task(arn)
    assert bindings(task, "db") == before
    db = next(c for c in task["containers"] if c["name"] == "db")
    assert db["lastStatus"] == "RUNNING"
    pids = clusters.run("pgrep", "-f", "httpd -p 81").stdout.split()
    asked = [clusters.run("nsenter", "-t", pid, "-n", "-m", "timeout", "5", "wget", "-q", "-O", "-",
                          "http://db/", check=False).stdout for pid in pids]
    assert "run\nrun\n" in asked
