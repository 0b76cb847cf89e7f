"""`fairlead backup`, `restore` and `store check` on real installations: nothing that was acknowledged
before a backup is missing from it, whatever is written meanwhile; what is restored is adopted by
the agent that was there; what is damaged, foreign or hostile is refused and changes nothing."""
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import threading

import hosts
import pytest

from cluster import FAIRLEAD, Cluster, awslogs, free_port, idle, run, sh, until

KEPT = ("server.db", "logs.db", "keys", "registry", "options.json")


@pytest.fixture
def elsewhere():
    """An installation that is not there yet."""
    other = Cluster("--cpu-units", "65536", "--memory-mib", "65536")
    yield other
    if os.path.exists(pathlib.Path(other.data_dir, "fairlead.marker")):
        other.uninstall()
    shutil.rmtree(other.data_dir, ignore_errors=True)
    assert not other.leaks()


def check(*operands):
    return run(FAIRLEAD, "store", "check", *map(str, operands), check=False)


def take_away(cluster, tmp_path):
    """The server's files are lost, the agent's are not."""
    for name in KEPT:
        shutil.move(pathlib.Path(cluster.data_dir, name), tmp_path / name)


def test_what_was_acknowledged_before_is_in_it_whatever_happens_meanwhile(private, elsewhere,
                                                                          tmp_path):
    file = tmp_path / "backup.tar"
    task = private.run_to_end(sh("echo kept", logConfiguration=awslogs("/backed-up")))
    before = {private.register(sh("true")) for _ in range(20)}
    done = threading.Event()

    def write():
        while not done.is_set():
            private.register(sh("true"), family="meanwhile")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        private.fairlead("backup", str(file))
    finally:
        done.set()
        writer.join()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not pathlib.Path(private.data_dir, "backup").exists()
    said = check(file)
    assert said.returncode == 0 and "images: 1" in said.stdout, said
    elsewhere.fairlead("restore", str(file))
    elsewhere.up()
    listed = set()
    for page in elsewhere.ecs.get_paginator("list_task_definitions").paginate():
        listed |= set(page["taskDefinitionArns"])
    assert before <= listed
    assert elsewhere.task(task["taskArn"])["containers"][0]["exitCode"] == 0
    assert elsewhere.messages("/backed-up", f"t/main/{task['taskArn'].split('/')[-1]}") == ["kept"]
    assert elsewhere.run_to_end(sh("exit 3"))["containers"][0]["exitCode"] == 3  # the image, too


def test_the_agent_that_was_there_goes_on_with_a_restored_server(private, tmp_path):
    """A task that runs is kept, the end of one since the backup is told again, one that the backup
    does not know is stopped."""
    file = tmp_path / "backup.tar"
    logged = {"logConfiguration": awslogs("/restored")}
    definition = private.register(
        idle("i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done &", **logged))
    stays, ends, gone = (private.start(definition) for _ in range(3))
    for arn in (stays, ends, gone):
        private.wait(arn, "RUNNING")
    private.fairlead("backup", str(file))
    later = private.start(definition)
    private.wait(later, "RUNNING")
    private.ecs.stop_task(task=gone)
    private.wait(gone)
    containers = pathlib.Path(private.data_dir, "agent", "containers")
    until(lambda: len(list(containers.iterdir())) == 3, 60, "the agent's forgetting")
    private.ecs.stop_task(task=ends)
    ended = private.wait(ends)
    private.fairlead("down")
    take_away(private, tmp_path)
    private.fairlead("restore", str(file))
    private.up()
    told = private.wait(ends)
    assert told["containers"][0]["exitCode"] == ended["containers"][0]["exitCode"]
    assert "no record of the task" in private.wait(gone)["stoppedReason"]
    assert private.task(stays)["lastStatus"] == "RUNNING"
    assert private.ecs.describe_tasks(tasks=[later])["failures"][0]["reason"] == "MISSING"

    def only_one_runs():
        lines = run("pgrep", "-af", "fairlead-shim", check=False).stdout.splitlines()
        return len([line for line in lines if str(containers) in line]) == 1
    until(only_one_runs, what="the end of the task that the backup does not know")
    stream = f"t/main/{stays.split('/')[-1]}"
    private.ecs.stop_task(task=stays)
    private.wait(stays)
    lines = until(lambda: private.messages("/restored", stream), what="lines")
    assert lines == [str(i) for i in range(len(lines))]  # those since the backup were sent again


def test_nobody_waits_for_the_packing_and_images_are_as_they_were(private, elsewhere, busybox, tmp_path):
    """tar is one that begins when it is told. Meanwhile an image comes and another one goes."""
    file, go = tmp_path / "backup.tar", tmp_path / "go"
    tar = tmp_path / "bin" / "tar"
    tar.parent.mkdir()
    os.mkfifo(go)
    tar.write_text(f"#!/bin/sh\nread word <{go}\nexec {shutil.which('tar')} \"$@\"\n")
    tar.chmod(0o755)
    private.load_image(busybox, "goes:1")
    backup = subprocess.Popen([FAIRLEAD, "backup", "--data-dir", private.data_dir, str(file)],
                              env={"PATH": f"{tar.parent}:{os.environ['PATH']}"})
    copies = pathlib.Path(private.data_dir, "backup", "registry", "refs")
    with open(go, "w") as pipe:  # tar is there
        assert {"busybox", "goes"} <= {path.name for path in copies.iterdir()}
        private.load_image(busybox, "comes:1")
        private.fairlead("image", "rm", "goes:1")
        blobs = pathlib.Path(private.data_dir, "registry", "blobs", "sha256")
        for blob in blobs.iterdir():
            blob.unlink()  # nothing that collecting could do is worse
        pipe.write("go\n")
    assert backup.wait(60) == 0
    said = check(file)
    assert said.returncode == 0 and "images: 2" in said.stdout, said
    elsewhere.fairlead("restore", str(file))
    elsewhere.up()
    names = {each["repository"] for each in
             json.loads(elsewhere.fairlead("image", "ls", "--json").stdout)}
    assert names == {"busybox", "goes"}
    assert elsewhere.run_to_end(sh("exit 3"))["containers"][0]["exitCode"] == 3


def test_a_server_that_is_down_is_backed_up_too(private, elsewhere, tmp_path, monkeypatch):
    file = "12:30.tar"
    monkeypatch.chdir(tmp_path)
    arn = private.register(sh("true"))
    private.fairlead("down")
    private.fairlead("backup", file)
    elsewhere.fairlead("restore", file)
    elsewhere.up()
    assert elsewhere.ecs.describe_task_definition(taskDefinition=arn)
    private.up()


def test_a_server_that_moved_is_found_again_by_its_agents(busybox, tmp_path):
    """Another directory stands for another machine: what moves is the backup and the address."""
    port, file = free_port(), tmp_path / "backup.tar"
    flags = ("--tls-listen", f"0.0.0.0:{port}", "--memory-mib", "4")
    old, new = Cluster(*flags), Cluster(*flags)
    try:
        old.up()
        old.load_image(busybox, "busybox:1")
        with hosts.Fleet(old, port) as fleet:
            host = fleet.add("far").join()
            arn = old.start(old.register(idle("trap 'exit 7' TERM;")))
            old.wait(arn, "RUNNING")
            old.fairlead("backup", str(file))
            old.fairlead("down")
            new.fairlead("restore", str(file))
            new.up()
            fleet.cluster = new
            until(host.connected, 60, "the agent's way to the server that moved")
            assert new.task(arn)["lastStatus"] == "RUNNING"
            new.ecs.stop_task(task=arn)
            assert new.wait(arn)["containers"][0]["exitCode"] == 7
    finally:
        for made in (old, new):
            if pathlib.Path(made.data_dir, "fairlead.marker").exists():
                made.uninstall()
            shutil.rmtree(made.data_dir, ignore_errors=True)
    assert not old.leaks() + new.leaks()


def test_a_check_finds_what_is_damaged(private, tmp_path):
    assert "the server uses" in private.fairlead("store", "check", check=False).stderr
    private.register(sh("true"))
    private.fairlead("down")
    assert private.fairlead("store", "check").returncode == 0
    [layer] = [path for path in pathlib.Path(private.data_dir, "registry/blobs/sha256").iterdir()
               if path.stat().st_size > 100000]
    whole = layer.read_bytes()
    layer.write_bytes(whole[:-1] + b"?")
    said = private.fairlead("store", "check", check=False)
    assert said.returncode == 1 and "busybox:1" in said.stderr and "is damaged" in said.stderr
    layer.unlink()
    said = private.fairlead("store", "check", check=False)
    assert said.returncode == 1 and "is missing" in said.stderr
    tag = pathlib.Path(private.data_dir, "registry/refs/busybox/1")
    leads_to = tag.read_bytes()
    tag.unlink()                                        # the image stays, known by its digest
    said = private.fairlead("store", "check", check=False)
    assert said.returncode == 1 and "busybox@sha256:" in said.stderr, said
    tag.write_bytes(leads_to)
    layer.write_bytes(whole)
    records = pathlib.Path(private.data_dir, "server.db")
    good = records.read_bytes()
    records.write_bytes(good[:4096] + b"\xff" * 4096 + good[8192:])
    said = private.fairlead("store", "check", check=False)
    assert said.returncode == 1 and len(said.stderr.splitlines()) == 1, said
    records.write_bytes(good)
    assert private.fairlead("store", "check").returncode == 0
    private.up()


def refused(cluster, file, words):
    said = cluster.fairlead("restore", str(file), check=False)
    assert said.returncode == 1 and words in said.stderr, said
    left = set(os.listdir(cluster.data_dir)) - {"fairlead.marker", "keys", "log", "lock"}
    assert not left, left
    return said


def test_only_whole_backups_are_restored_and_only_where_nothing_is_lost(private, elsewhere,
                                                                        tmp_path):
    file, bad = tmp_path / "backup.tar", tmp_path / "bad.tar"
    private.fairlead("backup", str(file))
    said = private.fairlead("restore", str(file), check=False)
    assert said.returncode == 1 and "a server runs on" in said.stderr
    private.fairlead("down")
    said = private.fairlead("restore", str(file), check=False)
    assert said.returncode == 1 and "holds server.db already" in said.stderr
    private.up()

    bad.write_bytes(b"nothing of ours")
    refused(elsewhere, bad, "tar")
    bad.write_bytes(file.read_bytes()[:-30000])
    refused(elsewhere, bad, "")
    with tarfile.open(bad, "w") as out:
        out.add(__file__, "backup")
    refused(elsewhere, bad, "no file that `fairlead backup` made")
    data = bytearray(file.read_bytes())
    at = data.find(b"SQLite format 3")
    data[at + 4200] ^= 1
    bad.write_bytes(data)
    refused(elsewhere, bad, "server.db in the backup is damaged")
    assert "is damaged" in check(bad).stderr

    outside = tmp_path / "outside"
    with tarfile.open(bad, "w") as out:
        link = tarfile.TarInfo("keys")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        out.addfile(link)
        out.add(__file__, "keys/outside")
        out.add(__file__, f"../../../../../{outside}")
    refused(elsewhere, bad, "")
    assert not outside.exists() and not (tmp_path / "keys" / "outside").exists()
    elsewhere.fairlead("restore", str(file))


def test_wrong_usage_is_told(private):
    for argv in (["backup"], ["restore"], ["store"], ["store", "mend"], ["backup", "a", "b"]):
        said = run(FAIRLEAD, *argv, check=False)
        assert said.returncode == 2 and said.stderr.startswith("usage: fairlead"), said
    said = private.fairlead("backup", "/nowhere/at/all.tar", check=False)
    assert said.returncode == 1 and "/nowhere/at/all.tar" in said.stderr
    assert not pathlib.Path(private.data_dir, "backup").exists()
