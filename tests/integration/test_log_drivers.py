"""Goal: what a container writes reaches the backend that its definition names, whole, in order and
once; a backend that is away harms no task that is not to be blocked. Method: containers that count,
before a real rsyslog, and before sockets of the test's own whose bytes other libraries decode."""
import contextlib
import gzip
import io
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time

import cluster as clusters
import msgpack
import pytest
from conftest import gone


def driver(name, **options):
    return {"logDriver": name,
            "options": {key.replace("_", "-"): value for key, value in options.items()}}


class Sink:
    """A TCP listener that keeps what it is sent, reads only while it may, and can go and return."""

    def __init__(self):
        self.port = clusters.free_port()
        self.bytes = bytearray()
        self.may_read = threading.Event()
        self.may_read.set()
        self.listener = None

    def open(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(20)
        self.connections = []
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        with contextlib.suppress(OSError):
            while True:
                self.may_read.wait(60)
                chunk = connection.recv(1 << 20)
                if not chunk:
                    return
                self.bytes += chunk

    def close(self):
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            for connection in self.connections:
                connection.close()
        self.listener = None

    def texts(self):
        """The messages of syslog's lines, without their heads."""
        lines = bytes(self.bytes).split(b"\n")[:-1]
        return [line.split(b"]: ", 1)[-1].decode() for line in lines]


@pytest.fixture
def sink():
    made = Sink().open()
    yield made
    made.may_read.set()
    made.close()


def numbers(count):
    return [str(i) for i in range(1, count + 1)]


# ---- syslog, before a real rsyslog ----

@pytest.fixture(scope="module")
def rsyslog(tmp_path_factory):
    """rsyslogd with inputs of its own, each writing "tag|host|pri|message" into a file."""
    if not shutil.which("rsyslogd"):
        pytest.skip("rsyslog is not installed")
    directory = tmp_path_factory.mktemp("rsyslog")
    ports = {name: clusters.free_port() for name in ("tcp", "udp", "tls")}
    run = clusters.run
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
        str(directory / "key.pem"), "-out", str(directory / "cert.pem"))
    (directory / "rsyslog.conf").write_text(f"""
global(workDirectory="{directory}" maxMessageSize="64k"
       defaultNetstreamDriverCAFile="{directory}/cert.pem"
       defaultNetstreamDriverCertFile="{directory}/cert.pem"
       defaultNetstreamDriverKeyFile="{directory}/key.pem")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
module(load="imptcp")
module(load="imudp")
module(load="imuxsock" sysSock.use="off")
template(name="t" type="string"
         string="%programname%|%hostname%|%syslogfacility-text%.%syslogseverity-text%|%msg%\\n")
ruleset(name="r") {{ action(type="omfile" file="{directory}/out" template="t") }}
input(type="imptcp" address="127.0.0.1" port="{ports['tcp']}" ruleset="r")
input(type="imudp" address="127.0.0.1" port="{ports['udp']}" ruleset="r")
input(type="imtcp" address="127.0.0.1" port="{ports['tls']}" ruleset="r")
input(type="imuxsock" socket="{directory}/gram" createPath="off" ruleset="r"
      useSysTimeStamp="off" useSpecialParser="off" parseHostname="off" ratelimit.interval="0")
""")
    daemon = subprocess.Popen(["rsyslogd", "-n", "-f", str(directory / "rsyslog.conf"), "-i",
                               str(directory / "pid")], stderr=subprocess.PIPE)
    try:
        clusters.until(lambda: (directory / "gram").exists() and _listens(ports["tls"]),
                       what="rsyslogd")
        yield directory, ports
    finally:
        daemon.terminate()
        daemon.wait(10)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def received(directory, tag):
    """[host, priority, message] of what came with the tag."""
    path = directory / "out"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [line.split("|", 3)[1:] for line in lines if line.startswith(f"{tag}|")]


@pytest.mark.parametrize("form", ["", "rfc3164", "rfc5424", "rfc5424micro"])
@pytest.mark.parametrize("way", ["tcp", "udp", "tls", "unixgram"])
def test_rsyslog_gets_every_line(cluster, rsyslog, way, form):
    directory, ports = rsyslog
    if way == "unixgram" and form == "rfc3164":
        pytest.skip("messages of local sockets name no host")
    addresses = {"tcp": f"tcp://127.0.0.1:{ports['tcp']}", "udp": f"udp://localhost:{ports['udp']}",
                 "tls": f"tcp+tls://localhost:{ports['tls']}",
                 "unixgram": f"unixgram://{directory}/gram"}
    tag = f"{way}{form}"
    options = {"syslog_address": addresses[way], "tag": tag, "syslog_facility": "local3"}
    if form:
        options["syslog_format"] = form
    if way == "tls":
        options["syslog_tls_ca_cert"] = f"{directory}/cert.pem"
    count = 200 if way == "udp" else 1000
    task = cluster.run_to_end(clusters.sh(f"seq 1 {count}; sleep 0.1; echo wrong >&2",
                                          logConfiguration=driver("syslog", **options)))
    assert task["containers"][0]["exitCode"] == 0, task
    clusters.until(lambda: len(received(directory, tag)) > count, what="the lines")
    found = received(directory, tag)
    assert [row[2].strip() for row in found] == [*numbers(count), "wrong"]
    assert found[0][1] == "local3.info" and found[-1][1] == "local3.err"
    if form and way != "unixgram":
        assert found[0][0] == socket.gethostname()


def test_a_certificate_that_nobody_vouches_for_is_refused(cluster, rsyslog):
    _, ports = rsyslog
    task = cluster.run_to_end(clusters.sh("echo never", logConfiguration=driver(
        "syslog", syslog_address=f"tcp+tls://localhost:{ports['tls']}", mode="blocking")))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "failed to initialize logging driver" in task["stoppedReason"]
    assert "self-signed certificate" in task["stoppedReason"]


def test_hostile_lines_stay_lines(cluster, rsyslog):
    """Heads of messages, control characters, bytes that are no UTF-8: one line is one message."""
    directory, ports = rsyslog
    script = (r"printf '<0>Jan  1 00:00:00 evil root: forged\n'; printf 'a\033[31m\007b\000c\n';"
              r"printf '\377\376\n'; printf '1763640000000 e F forged\n'; echo end")
    cluster.run_to_end(clusters.sh(script, logConfiguration=driver(
        "syslog", syslog_address=f"tcp://127.0.0.1:{ports['tcp']}", tag="hostile",
        syslog_format="rfc5424")))
    clusters.until(lambda: any("end" in row[2] for row in received(directory, "hostile")),
                   what="the last line")
    found = received(directory, "hostile")
    assert len(found) == 5
    assert {row[1] for row in found} == {"daemon.info"}
    assert "forged" in found[0][2] and "forged" in found[3][2]


# ---- journald ----

JOURNAL = pathlib.Path("/run/systemd/journal/socket")


@pytest.fixture
def journal():
    """A socket in journald's place, where there is none; what came, as fields."""
    if JOURNAL.exists():
        pytest.skip("this host has a journal of its own")
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    made.bind(str(JOURNAL))
    made.settimeout(20)
    yield made
    made.close()
    JOURNAL.unlink()
    for directory in (JOURNAL.parent, JOURNAL.parent.parent):
        with contextlib.suppress(OSError):
            directory.rmdir()


def fields_of(datagram):
    """journald's native format, as its documentation says."""
    fields, at = {}, 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        line = datagram[at:end]
        if b"=" in line:
            name, value = line.split(b"=", 1)
            at = end + 1
        else:
            size = int.from_bytes(datagram[end + 1:end + 9], "little")
            name, value = line, datagram[end + 9:end + 9 + size]
            assert datagram[end + 9 + size:end + 10 + size] == b"\n"
            at = end + 10 + size
        fields[name.decode()] = value
    return fields


def test_the_journal_gets_fields(journal, cluster_with):
    cluster = cluster_with()
    cluster.run_to_end(clusters.sh(
        "echo one; sleep 0.1; printf 'PRIORITY=0\\r\\n' >&2", dockerLabels={"team-name": "x"},
        logConfiguration=driver("journald", tag="{{.ImageName}}", labels="team-name,none")))
    first, second = (fields_of(journal.recv(1 << 16)) for _ in range(2))
    assert first["MESSAGE"] == b"one" and first["PRIORITY"] == b"6"
    assert second["MESSAGE"] == b"PRIORITY=0\r" and second["PRIORITY"] == b"3"
    assert first["CONTAINER_ID_FULL"].startswith(first["CONTAINER_ID"])
    assert len(first["CONTAINER_ID_FULL"]) == 64
    assert first["CONTAINER_NAME"].startswith(b"ecs-") and first["IMAGE_NAME"] == b"busybox:1"
    assert first["CONTAINER_TAG"] == first["SYSLOG_IDENTIFIER"] == b"busybox:1"
    assert first["TEAM_NAME"] == b"x"


JOURNALD = pathlib.Path("/lib/systemd/systemd-journald")
# Directories of its own for everything that it writes; the kernel's log and its audit are left alone.
JOURNAL_STAGE = """
for at in /run/systemd /run/log /var/log/journal; do
    if [ -d $at ]; then mount -t tmpfs -o mode=0755 journal $at; fi
done
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=\\nRateLimitBurst=0\\n' \\
    >/run/systemd/journald.conf.d/test.conf
if [ ! -s /etc/machine-id ]; then
    tr -d - </proc/sys/kernel/random/uuid >/run/systemd/machine-id
    touch /etc/machine-id && mount --bind /run/systemd/machine-id /etc/machine-id
fi
echo ready; exec sleep 1000
"""


class RealJournal:
    """systemd's own, in a mount namespace where the agent is started, too."""

    def __enter__(self):
        for path in ("/run/systemd", "/run/log"):
            os.makedirs(path, exist_ok=True)
        self.stage = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-ec", JOURNAL_STAGE],
            stdout=subprocess.PIPE, text=True)
        assert self.stage.stdout.readline() == "ready\n"
        return self.start()

    def __exit__(self, *_):
        self.stop()
        self.stage.kill()
        self.stage.wait()
        self.stage.stdout.close()

    def enter(self, *argv):
        return ["nsenter", "-t", str(self.stage.pid), "-m", *argv]

    def start(self):
        self.process = subprocess.Popen(self.enter(str(JOURNALD)), stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        clusters.until(lambda: clusters.run(*self.enter("test", "-S", str(JOURNAL)),
                                            check=False).returncode == 0, what="the journal")
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()

    def entries(self, *matches):
        text = clusters.run(*self.enter("journalctl", "-D", "/run/log/journal", "-q", "--all", "-o",
                                        "json", *matches)).stdout
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def real_journal(busybox):
    """(the journal, a cluster whose agent finds it)"""
    if not JOURNALD.exists():
        pytest.skip("no systemd is installed")
    with RealJournal() as journal:
        class Beside(clusters.Cluster):
            def fairlead(self, *argv, check=True, timeout=120, env=None):
                return clusters.run(*journal.enter(clusters.FAIRLEAD, argv[0], "--data-dir",
                                                   self.data_dir, *argv[1:]),
                                    check=check, timeout=timeout, env=env)
        made = Beside()
        try:
            made.up()
            made.load_image(busybox, "busybox:1")
            yield journal, made
        finally:
            gone(made)


def test_a_real_journal_has_lines_and_fields(real_journal):
    journal, cluster = real_journal
    before = time.time()
    cluster.run_to_end(clusters.sh(
        "seq 1 500; sleep 0.1; printf 'PRIORITY=0\\tcaf\\303\\251 \\001\\r\\n' >&2; sleep 0.1; "
        "head -c 20000 /dev/zero | tr '\\0' x; echo", dockerLabels={"team-name": "x"},
        logConfiguration=driver("journald", tag="{{.ImageName}}", labels="team-name,none")))
    found = clusters.until(lambda: [e for e in [journal.entries("TEAM_NAME=x")] if len(e) >= 503],
                           what="the entries")[0]
    assert [entry["MESSAGE"] for entry in found[:500]] == numbers(500)
    first, odd = found[0], found[500]
    assert first["PRIORITY"] == "6" and odd["PRIORITY"] == "3"
    assert bytes(odd["MESSAGE"]).decode() == "PRIORITY=0\tcaf\u00e9 \x01\r"
    assert first["CONTAINER_ID_FULL"].startswith(first["CONTAINER_ID"])
    assert len(first["CONTAINER_ID_FULL"]) == 64
    assert first["CONTAINER_NAME"].startswith("ecs-") and first["IMAGE_NAME"] == "busybox:1"
    assert first["CONTAINER_TAG"] == first["SYSLOG_IDENTIFIER"] == "busybox:1"
    assert "".join(entry["MESSAGE"] for entry in found[501:]) == "x" * 20000
    assert all(entry.get("CONTAINER_PARTIAL_MESSAGE") == "true" for entry in found[501:-1])
    assert before - 1 < int(first["__REALTIME_TIMESTAMP"]) / 1e6 < time.time() + 1
    named = journal.entries(f"CONTAINER_NAME={first['CONTAINER_NAME']}")
    assert len(named) == len(found)


def test_a_real_journal_that_is_restarted_misses_nothing(real_journal, tmp_path):
    """What is written while it is away waits; the task does not."""
    journal, cluster = real_journal
    arn = cluster.start(cluster.register(clusters.idle(
        "seq 1 50; until [ -e /test/go ]; do sleep 0.05; done; seq 51 100; touch /test/done;",
        logConfiguration=driver("journald", tag="restarted", mode="non-blocking"),
        mountPoints=[{"sourceVolume": "test", "containerPath": "/test"}]),
        volumes=[{"name": "test", "host": {"sourcePath": str(tmp_path)}}]))
    clusters.until(lambda: len(journal.entries("CONTAINER_TAG=restarted")) == 50, what="the first")
    journal.stop()
    (tmp_path / "go").touch()
    clusters.until((tmp_path / "done").exists, what="the task's last line")
    assert cluster.task(arn)["lastStatus"] == "RUNNING"
    journal.start()
    clusters.until(lambda: len(journal.entries("CONTAINER_TAG=restarted")) >= 100, 60, "the rest")
    found = [entry["MESSAGE"] for entry in journal.entries("CONTAINER_TAG=restarted")]
    assert found == numbers(100)
    cluster.stop_all()


def test_a_host_without_a_journal_is_not_chosen(cluster):
    if JOURNAL.exists():
        pytest.skip("this host has a journal of its own")
    answer = cluster.ecs.run_task(taskDefinition=cluster.register(
        clusters.sh("true", logConfiguration=driver("journald"))))
    assert answer["failures"][0]["reason"] == "ATTRIBUTE"


# ---- fluentd ----

def entries_of(raw):
    """[tag, time, record] of everything in forward mode."""
    found = []
    for message in msgpack.Unpacker(io.BytesIO(bytes(raw)), timestamp=0, strict_map_key=True):
        tag, entries = message
        found += [[tag, stamp, record] for stamp, record in entries]
    return found


def test_fluentd_gets_records(cluster, sink):
    before = time.time()
    cluster.run_to_end(clusters.sh(
        r"seq 1 500; sleep 0.1; printf 'caf\303\251 \377 \342\202\n' >&2; sleep 0.1; "
        "head -c 20000 /dev/zero | tr '\\0' x; echo",
        environment=[{"name": "STAGE", "value": "prod"}],
        logConfiguration=driver("fluentd", fluentd_address=f"localhost:{sink.port}",
                                tag="ecs.{{.FullID}}", fluentd_sub_second_precision="true",
                                labels="com.amazonaws.ecs.container-name", env="STAGE,NONE")))
    clusters.until(lambda: len(entries_of(sink.bytes)) >= 503, what="the records")
    found = entries_of(sink.bytes)
    assert [record["log"] for _, _, record in found[:500]] == numbers(500)
    tag, stamp, record = found[0]
    assert record["container_name"].startswith("/ecs-") and record["source"] == "stdout"
    assert tag == f"ecs.{record['container_id']}"
    assert record["STAGE"] == "prod" and "NONE" not in record
    assert record["com.amazonaws.ecs.container-name"] == "main"
    assert stamp.code == 0 and len(stamp.data) == 8
    seconds = int.from_bytes(stamp.data[:4], "big") + int.from_bytes(stamp.data[4:], "big") / 1e9
    assert before - 1 < seconds < time.time() + 1
    assert found[500][2]["log"] == "caf\u00e9 \ufffd \ufffd\ufffd" and found[500][2]["source"] == "stderr"
    assert found[501][2]["partial_message"] == "true"
    assert found[501][2]["log"] + found[502][2]["log"] == "x" * 20000


def test_fluentd_in_seconds_where_no_fractions_are_asked_for(cluster, sink):
    cluster.run_to_end(clusters.sh("echo x", logConfiguration=driver(
        "fluentd", fluentd_address=f"tcp://127.0.0.1:{sink.port}")))
    clusters.until(lambda: sink.bytes, what="the record")
    tag, stamp, record = entries_of(sink.bytes)[0]
    assert isinstance(stamp, int) and tag == record["container_id"][:12]


# ---- backends that are away or slow ----

def test_a_blocking_driver_needs_its_backend_at_the_start(cluster):
    address = f"tcp://127.0.0.1:{clusters.free_port()}"
    for options in (driver("syslog", syslog_address=address, mode="blocking"),
                    driver("fluentd", fluentd_address=address, mode="blocking")):
        task = cluster.run_to_end(clusters.sh("echo never", logConfiguration=options))
        assert task["stopCode"] == "TaskFailedToStart"
        assert "failed to initialize logging driver: dial tcp" in task["stoppedReason"]
        assert "Connection refused" in task["stoppedReason"]


def test_one_that_does_not_block_starts_without_and_loses_nothing_small(cluster, sink):
    sink.close()
    options = driver("syslog", syslog_address=f"tcp://127.0.0.1:{sink.port}", mode="non-blocking")
    arn = cluster.start(cluster.register(clusters.idle("seq 1 1000;", logConfiguration=options)))
    cluster.wait(arn, "RUNNING")
    sink.open()
    clusters.until(lambda: len(sink.texts()) >= 1000, what="the lines")
    assert sink.texts() == numbers(1000)


# 4,000 bytes each: 25,000 of them are more than the spool, the socket and the pipe hold.
WIDE = "awk 'BEGIN { for (i = 1; i <= %d; i++) printf \"%%03999d\\n\", i }'; echo end"


def test_blocking_holds_the_container_back_and_loses_nothing(cluster, sink):
    sink.may_read.clear()
    options = driver("syslog", syslog_address=f"tcp://127.0.0.1:{sink.port}", mode="blocking")
    arn = cluster.start(cluster.register(clusters.sh(
        WIDE % 25000, logConfiguration=options)))
    container = cluster.wait(arn, "RUNNING")["containers"][0]
    directory = pathlib.Path(cluster.data_dir, "agent/containers", container["runtimeId"])
    size = lambda: (directory / "log").stat().st_size  # noqa: E731
    clusters.until(lambda: size() > 64 << 20, what="a full spool")
    time.sleep(0.5)
    assert size() < 70 << 20
    assert cluster.task(arn)["lastStatus"] == "RUNNING"
    sink.may_read.set()
    cluster.wait(arn, timeout=60)
    clusters.until(lambda: sink.bytes.endswith(b"end\n"), 60, what="the last line")
    texts = sink.texts()
    assert texts[-1] == "end"
    assert [int(text) for text in texts[:-1]] == list(range(1, 25001))


def test_without_blocking_what_is_dropped_is_counted_and_told(cluster, sink):
    sink.may_read.clear()
    options = driver("syslog", syslog_address=f"tcp://127.0.0.1:{sink.port}", mode="non-blocking",
                     max_buffer_size="1m")
    arn = cluster.start(cluster.register(clusters.sh(WIDE % 25000, logConfiguration=options)))
    cluster.wait(arn, timeout=60)
    sink.may_read.set()
    clusters.until(lambda: b"dropped here" in sink.bytes, what="the count")
    clusters.until(lambda: sink.bytes.endswith(b"\n"), what="the last line's end")
    told = [text for text in sink.texts() if "dropped here" in text]
    lines = [int(text) for text in sink.texts() if text.strip("0123456789") == ""]
    dropped = sum(int(text.split(" lines")[0].rsplit(" ", 1)[-1]) for text in told)
    ends = sum(text == "end" for text in sink.texts())
    assert lines == sorted(set(lines))
    assert dropped + len(lines) + ends == 25001
    assert dropped > 10000
    log = pathlib.Path(cluster.data_dir, "log/agent.log").read_text()
    assert "dropped here: the log's buffer of 1048576 bytes was full" in log


def test_an_agent_that_is_killed_loses_nothing(private, sink):
    """syslog has no acknowledgement: what was on its way at a kill may come once more."""
    options = driver("syslog", syslog_address=f"tcp://127.0.0.1:{sink.port}", mode="blocking")
    arn = private.start(private.register(clusters.sh(
        "i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo $i; usleep 5000; done",
        logConfiguration=options)))
    for count in (100, 300):
        clusters.until(lambda: len(sink.texts()) >= count, what="lines")
        private.kill("agent")
        private.up()
    private.wait(arn)
    clusters.until(lambda: sink.texts()[-1] == "600", what="the last line")
    lines = [int(text) for text in sink.texts()]
    again = [i for i in range(1, len(lines)) if lines[i] != lines[i - 1] + 1]
    assert len(again) <= 2 and all(lines[i] <= lines[i - 1] for i in again)  # one for each kill
    assert sorted(set(lines)) == list(range(1, 601))


def test_a_backend_that_returns_gets_the_rest(cluster, sink):
    options = driver("fluentd", fluentd_address=f"127.0.0.1:{sink.port}", mode="blocking",
                     fluentd_retry_wait="100ms")
    arn = cluster.start(cluster.register(clusters.sh(
        "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; usleep 5000; done",
        logConfiguration=options)))
    clusters.until(lambda: len(sink.bytes) > 0, what="the first lines")
    sink.close()
    before = bytes(sink.bytes)
    sink.bytes.clear()
    time.sleep(0.5)
    sink.open()
    cluster.wait(arn)
    clusters.until(lambda: sink.bytes and entries_of(sink.bytes)[-1][2]["log"] == "300",
                   what="the last line")
    logs = [int(r["log"]) for _, _, r in entries_of(before) + entries_of(sink.bytes)]
    assert sorted(set(logs)) == list(range(1, 301))


# ---- json-file ----

def test_json_files_are_dockers_and_rotated(cluster):
    arn = cluster.start(cluster.register(clusters.idle(
        "seq 1 3000; echo err >&2;", dockerLabels={"team": "x"},
        logConfiguration=driver("json-file", max_size="20k", max_file="3", compress="true",
                                labels="team"))))
    container = cluster.wait(arn, "RUNNING")["containers"][0]
    directory = pathlib.Path(cluster.data_dir, "agent/containers", container["runtimeId"])
    files = ["json.log", "json.log.1.gz", "json.log.2.gz"]

    def all_text():
        """What the files hold once the last line of either pipe is there and all is compressed."""
        if sorted(path.name for path in directory.glob("json.log*")) != files:
            return None
        text = "".join(gzip.decompress((directory / name).read_bytes()).decode()
                       for name in reversed(files[1:])) + (directory / files[0]).read_text()
        return text if '"log":"err' in text and '"log":"3000' in text else None
    text = clusters.until(all_text, what="every line, rotated and compressed")
    rows = [json.loads(line) for line in text.splitlines()]
    seen = [int(row["log"]) for row in rows if row["stream"] == "stdout"]
    assert seen == list(range(seen[0], 3001)) and all(row["log"].endswith("\n") for row in rows)
    assert rows[0]["attrs"] == {"team": "x"} and rows[0]["time"].endswith("Z")


def test_megabytes_without_a_newline_are_bounded(cluster):
    arn = cluster.start(cluster.register(clusters.idle(
        "head -c 5000000 /dev/zero | tr '\\0' z; echo; echo end;")))
    container = cluster.wait(arn, "RUNNING")["containers"][0]
    path = pathlib.Path(cluster.data_dir, "agent/containers", container["runtimeId"], "json.log")
    clusters.until(lambda: path.exists() and '"end\\n"' in path.read_text(), what="the last line")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert max(len(row["log"]) for row in rows) <= 16384
    assert sum(row["log"].count("z") for row in rows) == 5000000


# ---- awslogs ----

def messages(cluster, group, arn, count):
    stream = f"t/main/{arn.rsplit('/', 1)[1]}"
    clusters.until(lambda: len(cluster.messages(group, stream)) >= count, what="events", pause=0.1)
    return cluster.messages(group, stream)


@pytest.mark.parametrize("option, value, first", [
    ("awslogs-multiline-pattern", r"^(INFO|ERROR)\b", "INFO"),
    ("awslogs-datetime-format", r"\[%b %d, %Y %H:%M:%S\]", "[Nov 20, 2026 17:42:00]"),
])
def test_lines_that_belong_together_are_one_event(cluster, option, value, first):
    arn = cluster.start(cluster.register(clusters.idle(
        f"for i in 1 2 3; do echo '{first}' $i; echo '  at a'; echo; echo '  at b'; done;",
        logConfiguration=clusters.awslogs(f"/{option}", **{option: value}))))
    cluster.wait(arn, "RUNNING")
    found = messages(cluster, f"/{option}", arn, 3)  # the last one by its age
    assert found == [f"{first} {i}\n  at a\n\n  at b" for i in (1, 2, 3)]


def test_events_end_at_cloudwatchs_limit_and_stay_utf_8(cluster):
    script = (r"yes '€' | tr -d '\n' | head -c 900000; echo; printf 'a\000b\033\377c\n';"
              r"printf '1763640000000 o F x\n'")
    arn = cluster.start(cluster.register(clusters.sh(
        script, logConfiguration=clusters.awslogs("/limit", mode="blocking"))))
    cluster.wait(arn)
    found = messages(cluster, "/limit", arn, 6)
    assert "".join(found[:-2]) == "€" * 300000
    assert max(len(message.encode()) for message in found) <= 256 * 1024 - 26
    assert found[-2:] == ["a\ufffdb\x1b\ufffdc", "1763640000000 o F x"]


def test_another_region_is_refused(cluster):
    options = clusters.awslogs("/elsewhere")
    options["options"]["awslogs-region"] = "eu-west-9"
    task = cluster.run_to_end(clusters.sh("echo never", logConfiguration=options))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "eu-west-9" in task["stoppedReason"] and "us-east-1" in task["stoppedReason"]


@pytest.mark.parametrize("logs, words", [
    (driver("syslog", syslog_foo="1"), "unknown log opt 'syslog-foo' for syslog log driver"),
    (driver("syslog", syslog_address="ftp://x"), "invalid value for log opt 'syslog-address'"),
    (driver("syslog", syslog_facility="x"), "invalid syslog facility"),
    (driver("syslog", syslog_format="x"), "Invalid syslog format"),
    (driver("syslog", tag="{{.Nothing}}"), "template: log-tag"),
    (driver("syslog", mode="blocking", max_buffer_size="1m"), "mode=non-blocking"),
    (driver("syslog", max_buffer_size="x"), "invalid value for log opt 'max-buffer-size': 'x'"),
    (driver("fluentd", fluentd_request_ack="true"), "unknown log opt 'fluentd-request-ack'"),
    (driver("fluentd", fluentd_retry_wait="soon"), "fluentd-retry-wait"),
    (driver("json-file", max_file="2"), "max-file must be used with max-size"),
    (driver("json-file", compress="true"), "compress cannot be true"),
    (clusters.awslogs("/x", **{"awslogs-multiline-pattern": "("}), "could not parse the pattern"),
    (clusters.awslogs("/x", **{"awslogs-multiline-pattern": "a", "awslogs-datetime-format": "%Y"}),
     "at the same time"),
])
def test_wrong_options_fail_the_start_by_name(cluster, logs, words):
    task = cluster.run_to_end(clusters.sh("echo never", logConfiguration=logs))
    assert task["stopCode"] == "TaskFailedToStart"
    assert words in task["stoppedReason"] and "CannotCreateContainerError" in task["stoppedReason"]


@pytest.mark.parametrize("name", ["splunk", "gelf"])
def test_drivers_that_no_host_has_find_no_host(cluster, name):
    arn = cluster.register(clusters.sh("true", logConfiguration=driver(name)))
    needed = cluster.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    attribute = f"com.amazonaws.ecs.capability.logging-driver.{name}"
    assert {"name": attribute} in needed["requiresAttributes"]
    answer = cluster.ecs.run_task(taskDefinition=arn)
    assert not answer["tasks"] and answer["failures"][0]["reason"] == "ATTRIBUTE"


def test_the_accounts_mode_counts_where_a_definition_says_nothing(private):
    address = f"tcp://127.0.0.1:{clusters.free_port()}"
    definition = private.register(clusters.sh("true", logConfiguration=driver(
        "syslog", syslog_address=address)))
    assert private.wait(private.start(definition))["stopCode"] == "EssentialContainerExited"
    private.ecs.put_account_setting_default(name="defaultLogDriverMode", value="blocking")
    assert private.wait(private.start(definition))["stopCode"] == "TaskFailedToStart"


def test_a_hundred_thousand_lines_arrive_in_order(cluster):
    count = 100000
    arn = cluster.start(cluster.register(clusters.sh(
        f"seq 1 {count}", memory=256,
        logConfiguration=clusters.awslogs("/flood", mode="blocking"))))
    cluster.wait(arn, timeout=60)
    stream = f"t/main/{arn.rsplit('/', 1)[1]}"
    last = lambda: [e["message"] for e in cluster.logs.get_log_events(  # noqa: E731
        logGroupName="/flood", logStreamName=stream, limit=1)["events"]]
    clusters.until(lambda: last() == [str(count)], 60, what="the last line")
    assert cluster.messages("/flood", stream) == numbers(count)
