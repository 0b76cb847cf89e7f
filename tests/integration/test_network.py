"""Goal: what a task publishes is reached from everywhere it should be, names are found, and neither
other firewalls nor other installations take that away.

Method: installations in network namespaces of the test's own ("the host", linked to "the world"), so
that rules can be made and flushed there; clients ask from the host, the world and other containers."""
import contextlib
import ctypes
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import cluster as clusters
import pytest
from conftest import gone, made_with
from test_credentials import python_container

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
        made.append(made_with(busybox, "--cpu-units", "65536", "--memory-mib", "65536", *flags))
        return made[-1]
    yield make
    for each in made:
        gone(each)


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


# Answers each datagram with a word and the port at which it came.
UDP_ECHO = """
import select, socket
sockets = {}
for port in (53, 54):
    each = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    each.bind(("::", port))
    sockets[each] = port
while True:
    for each in select.select(list(sockets), [], [])[0]:
        said, client = each.recvfrom(2048)
        each.sendto(b"%s at %%d: " %% sockets[each] + said, client)
"""
UDP_ASK = """
import socket, sys
asking = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout(3)
asking.connect((sys.argv[1], int(sys.argv[2])))
asking.send(b"hello")
print(asking.recv(2048).decode())
"""


def udp_echo(cluster, word, *ports):
    container, volumes = python_container(UDP_ECHO % word, "/udp")
    container["portMappings"] = [{**port, "protocol": "udp"} for port in ports]
    arn = cluster.start(cluster.register({**container, "stopTimeout": 2}, volumes=volumes))
    return cluster.wait(arn, "RUNNING")


def said_by_udp(address, port, namespace=None):
    ask = ["python3", "-c", UDP_ASK, address, str(port)]
    done = clusters.run(*ask, check=False) if namespace is None else in_namespace(
        namespace, *ask, check=False)
    return done.stdout.strip()


def test_udp_ports_answer_from_everywhere(host, world):
    task = udp_echo(host, "echo", {"containerPort": 53, "hostPort": 5300}, {"containerPort": 54})
    static, dynamic = bindings(task, "main")[:2]
    assert static == {"bindIP": "0.0.0.0", "containerPort": 53, "hostPort": 5300, "protocol": "udp"}
    assert dynamic["containerPort"] == 54 and 20000 <= dynamic["hostPort"] <= 20099
    clusters.until(lambda: said_by_udp("127.0.0.1", 5300), what="the echo")
    for inner, port in ((53, 5300), (54, dynamic["hostPort"])):
        for address in ("127.0.0.1", "192.0.2.1", "2001:db8::1"):
            assert said_by_udp(address, port) == f"echo at {inner}: hello", (address, port)
        for address in ("192.0.2.1", "2001:db8::1"):
            assert said_by_udp(address, port, world) == f"echo at {inner}: hello", (address, port)
    container, volumes = python_container(UDP_ASK, "/udp")
    container["command"] += ["192.0.2.1", "5300"]
    arn = host.start(host.register(container, volumes=volumes))
    assert host.wait(arn)["containers"][0]["exitCode"] == 0
    assert host.messages("/udp", f"t/main/{arn.rsplit('/', 1)[1]}") == ["echo at 53: hello"]
    refused = host.ecs.run_task(taskDefinition=task["taskDefinitionArn"])
    assert [f["reason"] for f in refused["failures"]] == ["RESOURCE:PORTS"]


def test_a_client_by_udp_is_led_to_the_next_task(host):
    """The kernel remembers where a client's datagrams went: one that goes on asking from the same
    port must come to the task that has the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)

        def told():
            with contextlib.suppress(OSError):
                asking.sendto(b"hello", ("192.0.2.1", 5300))
                return asking.recv(2048).decode()
            return ""
        for word in ("first", "second"):
            assert told() == ""  # nobody is there: this, too, must not be remembered
            task = udp_echo(host, word, {"containerPort": 53, "hostPort": 5300})
            clusters.until(lambda w=word: told().startswith(w), what=f"the {word} task's words")
            host.ecs.stop_task(task=task["taskArn"])
            host.wait(task["taskArn"])


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
for program in iptables ip6tables ; do
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


def doctor_on_firewall(cluster):
    rows = json.loads(cluster.fairlead("doctor", "--json", check=False).stdout)
    (row,) = [row for row in rows if row["check"] == "firewall"]
    return row["verdict"], row["text"]


@pytest.mark.parametrize("suffix", ["", "-legacy"])
def test_the_doctor_mends_what_a_packet_filter_drops(host, world, suffix):
    """What it says is run as it stands."""
    assert doctor_on_firewall(host)[0] == "ok"
    clusters.run("sh", "-ec", UFW.replace("ip6tables ", "6tables ").replace(
        "iptables ", f"iptables{suffix} ").replace("6tables ", f"ip6tables{suffix} "))
    host.wait(host.start(host.register(
        web("web", 80, portMappings=[{"containerPort": 80, "hostPort": 8080}]))), "RUNNING")
    await_said("web", "127.0.0.1", 8080)
    assert said("192.0.2.1", 8080, world) == ""
    verdict, text = doctor_on_firewall(host)
    assert verdict == "wrong" and f"iptables{suffix} -I FORWARD -i {host.tag}" in text
    clusters.run("sh", "-ec", text.split("): ", 1)[1])
    await_said("web", "192.0.2.1", 8080, world)
    assert said("2001:db8::1", 8080, world) == "web"
    assert ask_from_a_container(host, "http://192.0.2.1:8080/") == ["web"]
    assert sees_metadata(host)
    assert doctor_on_firewall(host)[0] == "ok"


def test_beside_firewalld(host, world):
    clusters.run("nft", "-f", "-", input=FIREWALLD)
    verdict, text = doctor_on_firewall(host)
    assert verdict == "note" and f"--zone=trusted --add-interface={host.tag}" in text
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
        assert doctor_on_firewall(host)[0] == "ok"
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


def answered(question, names):
    """The answer to a question: of type A for the names, else that there is none."""
    end = question.index(b"\0", 12) + 5
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    address = names.get(".".join(labels))
    has_one = address and question[end - 4:end - 2] == b"\0\1"
    answer = (question[:2] + (b"\x81\x80" if address else b"\x81\x83") + b"\0\1" +
              (b"\0\1" if has_one else b"\0\0") + b"\0" * 4 + question[12:end])
    return answer + (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
                     if has_one else b"")


@contextlib.contextmanager
def name_server(address, names):
    """Answers by UDP and TCP, from a thread; yields the list of who asked how."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp, tcp = (socket.socket(family, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for each in (udp, tcp):
        each.bind((address, 53))
    tcp.listen()
    stop, asked = threading.Event(), []

    def serve():
        while not stop.is_set():
            for ready in select.select([udp, tcp], [], [], 0.1)[0]:
                if ready is udp:
                    question, client = udp.recvfrom(4096)
                    udp.sendto(answered(question, names), client)
                else:
                    connection, client = tcp.accept()
                    with connection:
                        connection.settimeout(5)
                        question = connection.recv(4096)
                        answer = answered(question[2:], names)
                        connection.sendall(len(answer).to_bytes(2, "big") + answer)
                asked.append(("udp" if ready is udp else "tcp", client[0]))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join(timeout=10)
        udp.close()
        tcp.close()


class WithResolvConf(clusters.Cluster):
    """One whose daemons see a resolv.conf of the test's."""
    path = None

    def fairlead(self, *argv, check=True, timeout=120, env=None):
        bind = f'mount --bind {self.path} "$(readlink -f /etc/resolv.conf)" && exec "$@"'
        return clusters.run("unshare", "-m", "sh", "-ec", bind, "sh", clusters.FAIRLEAD, argv[0],
                            "--data-dir", self.data_dir, *argv[1:], check=check, timeout=timeout,
                            env=env)


@contextlib.contextmanager
def a_host_with_resolv_conf(text, busybox, tmp_path):
    WithResolvConf.path = tmp_path / "resolv.conf"
    WithResolvConf.path.write_text(text)
    cluster = WithResolvConf()
    try:
        cluster.up()
        cluster.load_image(busybox, "busybox:1")
        yield cluster
    except BaseException:
        print(cluster.diagnose())
        raise
    finally:
        gone(cluster)


# What a program finds: the file, then each name, then the last one by TCP from the file's first server.
FIND = """
import socket, struct
lines = [line.split() for line in open("/etc/resolv.conf")]
print(lines)
for name in %(names)r:
    try:
        print(name, sorted({a[4][0] for a in socket.getaddrinfo(name, 80, socket.AF_INET)}))
    except OSError as error:
        print(name, "is not found")
server = next(line[1] for line in lines if line[0] == "nameserver")
question = (b"\\x12\\x34\\1\\0\\0\\1" + bytes(6) + b"".join(
    bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\\0\\0\\1\\0\\1")
with socket.create_connection((server, 53), 5) as asking:
    asking.sendall(struct.pack(">H", len(question)) + question)
    answer = asking.makefile("rb").read(2 + len(question) + 16)
print("tcp", socket.inet_ntoa(answer[-4:]))
"""


def found_in_a_task(cluster, names, *others, **more):
    """{name: what was found}, with "file" and "tcp", by a program in a container."""
    container, volumes = python_container(FIND % {"names": names}, "/names")
    arn = cluster.start(cluster.register({**container, **more}, *others, volumes=volumes))
    task = cluster.wait(arn, timeout=60)
    words = cluster.messages("/names", f"t/main/{arn.rsplit('/', 1)[1]}")
    assert task["containers"][0]["exitCode"] == 0, words
    return {"file": words[0], **dict(line.split(" ", 1) for line in words[1:])}


HOSTS_OWN = ["127.0.0.53", "2001:db8::1", "192.0.2.1"]


@pytest.mark.parametrize("server", HOSTS_OWN)
def test_names_are_found_wherever_the_hosts_server_is(world, busybox, tmp_path, server):
    """On its loopback, by IPv6 (behind one that is silent), or where a task reaches it by itself."""
    silent = "nameserver 2001:db8::dead\n" if ":" in server else ""
    text = f"{silent}nameserver {server}\nsearch corp.test\n"
    names = {"web.example.test": "198.51.100.7", "inner.corp.test": "198.51.100.8"}
    with name_server(server, names) as asked, \
            a_host_with_resolv_conf(text, busybox, tmp_path) as cluster:
        found = found_in_a_task(cluster, ["inner", "nowhere.test", "web.example.test"])
    expected = server if server == "192.0.2.1" else "169.254.170.2"
    assert f"['nameserver', '{expected}']" in found["file"] and "dead" not in found["file"]
    assert found["inner"] == "['198.51.100.8']" and found["nowhere.test"] == "is not found"
    assert found["web.example.test"] == "['198.51.100.7']" and found["tcp"] == "198.51.100.7"
    assert {how for how, _ in asked} == {"udp", "tcp"}


def test_a_definition_says_where_names_are_found(world, busybox, tmp_path):
    """dnsServers, dnsSearchDomains, extraHosts and links, beside a host that has none of these."""
    names = {"web.inside.test": "198.51.100.9", "full.example.test": "198.51.100.10"}
    with name_server("127.0.0.53", {"web.corp.test": "203.0.113.1"}) as hosts_own, \
            name_server("192.0.2.1", names) as asked, \
            a_host_with_resolv_conf("nameserver 127.0.0.53\nsearch corp.test\n", busybox,
                                    tmp_path) as cluster:
        found = found_in_a_task(
            cluster, ["web", "extra", "data", "db", "full.example.test"],
            clusters.idle(name="db", essential=False), links=["db:data"],
            dnsServers=["192.0.2.1"], dnsSearchDomains=["inside.test"],
            extraHosts=[{"hostname": "extra", "ipAddress": "203.0.113.7"}])
    assert found["file"] == "[['search', 'inside.test'], ['nameserver', '192.0.2.1']]"
    assert found["web"] == "['198.51.100.9']" and found["extra"] == "['203.0.113.7']"
    assert found["data"] == found["db"] != "is not found"
    assert found["full.example.test"] == "['198.51.100.10']" and found["tcp"] == "198.51.100.10"
    assert asked and not hosts_own


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
