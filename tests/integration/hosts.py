"""Hosts on one machine: an agent of its own in each network namespace, joined by a bridge that the
tests make and remove, and a server that they reach over TLS."""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import cluster as clusters


def ip(*argv, check=True):
    return clusters.run("ip", *argv, check=check)


def free_prefix(start, third):
    """The first 24 bits of a network that nobody on this machine has, and outside the ranges where
    agents look for their bridges' (src/agent/net_subnet.c): what comes from those is masqueraded,
    also when the bridge is left from an installation that was killed."""
    used = ip("-4", "-o", "addr").stdout
    for i in range(60):
        prefix = f"10.{192 + (start + i) % 60}.{third}"
        if f" {prefix}." not in used:
            return prefix
    raise AssertionError("no network is free: 10.192.0.0 to 10.251.0.0")


class Host:
    """One host: its namespace, its data directory, its agent. index: 1 and up; the rest as the
    agent's flags say it."""

    def __init__(self, fleet, index, name, *flags):
        self.fleet, self.name, self.flags = fleet, name, flags
        self.namespace = f"{fleet.link}n{index}"
        self.near, self.far = f"{fleet.link}v{index}", "eth0"
        self.address = f"{fleet.prefix}.{index + 1}"
        self.data_dir = tempfile.mkdtemp(prefix="fairlead-host-")
        os.chmod(self.data_dir, 0o700)
        self.tag = "fl" + hashlib.sha256(self.data_dir.encode()).hexdigest()[:6]
        self.process = None
        self.log = open(pathlib.Path(self.data_dir + ".log"), "ab+")
        ip("netns", "add", self.namespace)
        ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns",
           self.namespace)
        ip("link", "set", self.near, "master", fleet.link, "up")
        for command in (["link", "set", "lo", "up"], ["link", "set", self.far, "up"],
                        ["addr", "add", f"{self.address}/24", "dev", self.far],
                        ["route", "add", "default", "via", f"{fleet.prefix}.1"]):
            ip("-n", self.namespace, *command)

    def enter(self, *argv):
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *argv]

    def run(self, *argv, **more):
        return clusters.run(*self.enter(*argv), **more)

    def command(self, token=None, server=None):
        joins = ["--token", token] if token else []
        return self.enter(clusters.FAIRLEAD, "agent", "--data-dir", self.data_dir, "--server",
                          server or self.fleet.url, "--name", self.name, "--cpu-units", "4096",
                          "--memory-mib", "4096", *joins, *self.flags)

    def start(self, token=None, server=None):
        """The agent's process; nothing is waited for."""
        self.process = subprocess.Popen(self.command(token, server), stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        return self

    def join(self, **more):
        self.start(self.fleet.token(), **more)
        clusters.until(self.connected, timeout=60, what=f"{self.name} connected")
        return self

    def words(self):
        self.log.flush()
        return pathlib.Path(self.data_dir + ".log").read_text()

    def identity(self):
        path = pathlib.Path(self.data_dir, "agent", "identity")
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def arn(self):
        return self.identity().get("containerInstanceArn")

    @property
    def id(self):
        return self.arn.rsplit("/", 1)[1]

    def key(self):
        return json.loads(pathlib.Path(self.data_dir, "agent", "admission").read_text())

    def described(self):
        (found,) = self.fleet.cluster.ecs.describe_container_instances(
            containerInstances=[self.arn])["containerInstances"]
        return found

    def connected(self):
        return bool(self.arn) and self.described()["agentConnected"]

    def kill(self, number=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)

    def cut(self):
        ip("link", "set", self.near, "down")

    def mend(self):
        ip("link", "set", self.near, "up")

    def remove(self):
        self.kill(signal.SIGTERM)
        if os.path.exists(os.path.join(self.data_dir, "fairlead.marker")):
            self.run(clusters.FAIRLEAD, "uninstall", "--yes", "--data-dir", self.data_dir,
                     timeout=180)
        shutil.rmtree(self.data_dir, ignore_errors=True)
        ip("netns", "del", self.namespace, check=False)
        ip("link", "del", self.near, check=False)
        self.log.close()
        with contextlib.suppress(OSError):
            os.unlink(self.data_dir + ".log")


class Fleet:
    """The server, the bridge, and every host. Used as a context."""

    _made = 0

    def __init__(self, cluster, tls_port):
        Fleet._made += 1
        self.cluster = cluster
        self.link = f"flh{os.getpid() % 4096:03x}{Fleet._made}"
        self.prefix = free_prefix(os.getpid() % 60, Fleet._made)
        self.url = f"https://{self.prefix}.1:{tls_port}"
        self.hosts = []

    def __enter__(self):
        ip("link", "add", self.link, "type", "bridge")
        ip("addr", "add", f"{self.prefix}.1/24", "dev", self.link)
        ip("link", "set", self.link, "up")
        return self

    def __exit__(self, kind, value, trace):
        try:
            for host in self.hosts:
                if kind:
                    print(f"--- {host.name}\n{host.words()}")
                host.remove()
        finally:
            ip("link", "del", self.link)

    def token(self, *flags):
        return self.cluster.fairlead("token", "create", *flags).stdout.strip()

    def add(self, name, *flags):
        host = Host(self, len(self.hosts) + 1, name, *flags)
        self.hosts.append(host)
        return host
