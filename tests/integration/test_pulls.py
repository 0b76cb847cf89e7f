"""Pulls from registries: who is asked and told what, what is believed, what is kept. The registry is
a stub of ours that can do everything wrong; the agent, the unpacking and the containers are real."""
import base64
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import pytest

import cluster as clusters
import images
import stub_registry as stub
import test_hosts
import test_images
from cluster import container, until
from terminal import pull_on_terminal


@pytest.fixture(scope="module")
def busybox_tar(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    images.busybox_root(root / "root")
    return stub.tar_of_directory(root / "root")


@pytest.fixture
def registry():
    with stub.Registry() as made:
        yield made


def with_ecs_config(cluster_with, tmp_path, *lines):
    """A cluster whose agent reads these lines."""
    path = tmp_path / "ecs.config"
    path.write_text("\n".join(lines) + "\n")
    return cluster_with("--ecs-config", str(path))


def add_app(registry, busybox_tar, name="app", tag="1", word="hello", **more):
    """An image of two layers that says the word."""
    extra = stub.tar_of([("word", word.encode())])
    return registry.image(name, tag, [busybox_tar, extra],
                          {"Cmd": ["/bin/sh", "-c", "cat /word; exit 7"]}, **more)


def run_once(cluster, image, **more):
    """The stopped task and its container."""
    task = cluster.run_to_end(container(image=image, **more), timeout=60)
    return task, task["containers"][0]


def reason(cluster, image):
    """Why the task did not start."""
    task, main = run_once(cluster, image)
    assert task["stopCode"] == "TaskFailedToStart", task
    assert "exitCode" not in main
    assert task["stoppedReason"] == main["reason"]
    return main["reason"]


def test_a_pull_from_a_registry_starts_a_container(cluster, registry, busybox_tar):
    _, digest, _ = add_app(registry, busybox_tar)
    task, main = run_once(cluster, f"{registry.host}/app:1")
    assert main["exitCode"] == 7
    assert main["imageDigest"] == digest
    assert task["pullStartedAt"] <= task["pullStoppedAt"]
    # What is here is not fetched again; what the name means is asked for.
    asked = len(registry.paths("/blobs/"))
    assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
    assert len(registry.paths("/blobs/")) == asked
    assert len(registry.paths("/manifests/1")) == 2


def test_zstd_and_plain_layers_and_a_layer_twice(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar, "zstd", pack=stub.zstd, suffix="+zstd")
    add_app(registry, busybox_tar, "plain", pack=lambda data: data, suffix="")
    extra = stub.tar_of([("word", b"twice")])
    registry.image("twice", "1", [extra, busybox_tar, extra],
                   {"Cmd": ["/bin/sh", "-c", "test $(cat /word) = twice && exit 7"]})
    for name in ("zstd", "plain", "twice"):
        assert run_once(cluster, f"{registry.host}/{name}:1")[1]["exitCode"] == 7, name


def test_the_platform_is_chosen_from_an_index(cluster, registry, busybox_tar):
    def entry(name, **platform):
        _, digest, size = add_app(registry, busybox_tar, "multi", f"of-{name}", word=name)
        return {"mediaType": stub.MANIFEST, "digest": digest, "size": size, "platform": platform}
    entries = [entry("arm", os="linux", architecture="arm64"),
               entry("v3", os="linux", architecture="amd64", variant="v3"),
               entry("windows", os="windows", architecture="amd64"),
               entry("right", os="linux", architecture="amd64")]
    registry.add_manifest("multi", "1", {"schemaVersion": 2, "mediaType": stub.INDEX,
                                         "manifests": entries}, stub.INDEX)
    _, main = run_once(cluster, f"{registry.host}/multi:1")
    assert (main["exitCode"], main["imageDigest"]) == (7, entries[3]["digest"])
    registry.add_manifest("multi", "none", {"schemaVersion": 2, "mediaType": stub.INDEX,
                                            "manifests": entries[:3]}, stub.INDEX)
    assert "no matching manifest for linux/amd64" in reason(cluster, f"{registry.host}/multi:none")


def test_many_tasks_share_one_pull(cluster, registry, busybox_tar):
    released = threading.Event()
    registry.rules.append(lambda request: "/blobs/" in request.path and not released.wait(20))
    add_app(registry, busybox_tar, "shared", word="shared")
    definition = cluster.register(container(image=f"{registry.host}/shared:1"))
    tasks = [cluster.start(definition) for _ in range(8)]
    until(lambda: registry.paths("/blobs/"), what="the first request for a blob")
    released.set()
    for task in tasks:
        assert cluster.wait(task)["containers"][0]["exitCode"] == 7
    for path in registry.paths("/blobs/"):
        assert registry.paths("/blobs/").count(path) == 1, path


# ---- who is asked, and told what ----

def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def wants_basic(user, password):
    def rule(request):
        if request.headers.get("Authorization") == basic(user, password):
            return False
        request.answer(401, WWW_Authenticate='Basic realm="here"')
        return True
    return rule


def auth_data(kind, logins):
    """Lines of ecs.config for {host: (user, password)}."""
    data = {host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
            if kind == "dockercfg" else {"username": user, "password": password}
            for host, (user, password) in logins.items()}
    return [f"ECS_ENGINE_AUTH_TYPE={kind}", f"ECS_ENGINE_AUTH_DATA={json.dumps(data)}"]


@pytest.mark.parametrize("kind", ["dockercfg", "docker"])
def test_basic_credentials_of_the_ecs_config(cluster_with, tmp_path, registry, busybox_tar, kind):
    add_app(registry, busybox_tar)
    registry.rules.append(wants_basic("mara", "wörd"))
    with stub.Registry() as other:
        add_app(other, busybox_tar)
        other.rules.append(wants_basic("x", "y"))
        cluster = with_ecs_config(cluster_with, tmp_path,
                                  *auth_data(kind, {registry.host: ("mara", "wörd")}))
        assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
        # Another registry is told nothing.
        text = reason(cluster, f"{other.host}/app:1")
        assert text.startswith("CannotPullContainerError: failed to resolve reference")
        assert "no basic auth credentials" in text
        assert not any("Authorization" in headers for _, headers in other.requests)


class Tokens:
    """A rule: bearer tokens, given out at /token on the same registry or elsewhere."""

    def __init__(self, registry, login=None, realm=None, life=300):
        self.given, self.login, self.life = 0, login, life
        self.realm = realm or f"{registry.url}/token"
        self.asked = []

    def __call__(self, request):
        if request.path.startswith("/token"):
            self.asked.append((request.path, request.headers.get("Authorization")))
            if self.login and request.headers.get("Authorization") != basic(*self.login):
                request.answer(401, b"{}")
                return True
            self.given += 1
            body = json.dumps({"token": f"t{self.given}", "expires_in": self.life}).encode()
            request.answer(200, body)
            return True
        if request.headers.get("Authorization") == f"Bearer t{self.given}" and self.given:
            return False
        request.answer(401, WWW_Authenticate=f'Bearer realm="{self.realm}",service="the, '
                                             f'registry",scope="repository:other:push,pull"')
        return True


def test_anonymous_tokens(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar, "some/app", word="tokens")
    tokens = Tokens(registry)
    registry.rules.append(tokens)
    assert run_once(cluster, f"{registry.host}/some/app:1")[1]["exitCode"] == 7
    # The scope is what we need, not what the registry says; one token serves the whole pull.
    assert tokens.asked == [
        ("/token?service=the%2C%20registry&scope=repository%3Asome%2Fapp%3Apull", None)]


def test_tokens_for_a_user_renewed_when_they_end(cluster_with, tmp_path, registry, busybox_tar):
    add_app(registry, busybox_tar)
    tokens = Tokens(registry, login=("mara", "secret"))

    def forgetful(request):
        """After the manifest the token is no longer good."""
        if "/blobs/" in request.path and tokens.given == 1:
            request.answer(401, WWW_Authenticate=f'Bearer realm="{registry.url}/token"')
            return True
        return False
    registry.rules += [forgetful, tokens]
    cluster = with_ecs_config(cluster_with, tmp_path,
                              *auth_data("docker", {registry.host: ("mara", "secret")}))
    assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
    assert tokens.given >= 2


def test_a_realm_elsewhere_without_tls_is_not_asked(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar)
    registry.rules.append(Tokens(registry, realm="http://auth.invalid/token"))
    text = reason(cluster, f"{registry.host}/app:1")
    assert "only https, or its own host, is asked" in text


def test_redirects_take_no_credentials_along(cluster_with, tmp_path, registry, busybox_tar):
    with stub.Registry() as store:
        add_app(registry, busybox_tar)
        store.blobs = registry.blobs
        registry.rules.append(wants_basic("mara", "secret"))

        def elsewhere(request):
            if "/blobs/" in request.path:
                request.answer(307, Location=f"{store.url}{request.path}?signature=abc")
                return True
            return False
        registry.rules.append(elsewhere)
        cluster = with_ecs_config(cluster_with, tmp_path,
                                  *auth_data("docker", {registry.host: ("mara", "secret")}))
        assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
        assert len(store.requests) == 3
        for _, headers in store.requests:
            assert "Authorization" not in headers
        # Led back, it still gets none: what asked the way may not lend a stranger our name.
        store.rules.append(lambda request: request.answer(
            302, Location=f"{registry.url}{request.path}") or True)
        add_app(registry, busybox_tar, "back", word="back")
        assert "does not accept what it was given" in reason(cluster, f"{registry.host}/back:1")


@pytest.mark.parametrize("location,words", [
    ("ftp://127.0.0.1/x", "no plain http(s) URL"),
    ("http://user:password@127.0.0.1/x", "no plain http(s) URL"),
    ("http://127.0.0.1\\@example.com/x", "no plain http(s) URL"),
    ("file:///etc/passwd", "no plain http(s) URL"),
    ("/again", "redirects more than 5 times"),
])
def test_redirects_that_are_not_followed(cluster, registry, busybox_tar, location, words):
    add_app(registry, busybox_tar)
    registry.rules.append(lambda request: request.answer(302, Location=location) or True)
    assert words in reason(cluster, f"{registry.host}/app:1")


# ---- what goes wrong on the way ----

def big_image(registry, busybox_tar, name="big"):
    """Its last layer is 8 MB of noise; returns that layer's digest."""
    noise = stub.tar_of([("noise", os.urandom(8 << 20))])
    document, _, _ = registry.image(name, "1", [busybox_tar, noise],
                                    {"Cmd": ["/bin/sh", "-c", "exit 7"]})
    return document["layers"][1]["digest"]


def test_a_cut_is_resumed_where_it_was(cluster, registry, busybox_tar):
    layer = big_image(registry, busybox_tar)
    data = registry.blobs[layer]

    def cut(request):
        """Two megabytes at a time."""
        if not request.path.endswith(layer):
            return False
        asked = request.headers.get("Range", "bytes=0-")
        begin = int(asked.removeprefix("bytes=").split("-")[0])
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(data) - begin))
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        request.wfile.write(data[begin:begin + (2 << 20)])
        request.hang_up()
        return True
    registry.rules.append(cut)
    assert run_once(cluster, f"{registry.host}/big:1")[1]["exitCode"] == 7
    ranges = [headers.get("Range") for path, headers in registry.requests if path.endswith(layer)]
    assert ranges[0] is None and len(ranges) >= 4
    begins = [int(text.removeprefix("bytes=").rstrip("-")) for text in ranges[1:]]
    assert begins == sorted(set(begins)) and begins[0] > 0


def test_a_registry_without_ranges_is_read_anew(cluster, registry, busybox_tar):
    layer = big_image(registry, busybox_tar)
    data = registry.blobs[layer]
    cuts = [3 << 20, 5 << 20]

    def cut(request):
        if not request.path.endswith(layer) or not cuts:
            if request.path.endswith(layer):
                request.answer(200, data)
                return True
            return False
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[:cuts.pop(0)])
        request.hang_up()
        return True
    registry.rules.append(cut)
    assert run_once(cluster, f"{registry.host}/big:1")[1]["exitCode"] == 7


def test_errors_of_a_moment_are_retried(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar, word="moment")
    ills = [503, 429, 500]

    def ill(request):
        if not ills:
            return False
        request.answer(ills.pop(0), Retry_After="1")
        return True
    registry.rules.append(ill)
    assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
    assert not ills


def test_what_is_not_there_is_told_at_once(cluster, registry):
    assert reason(cluster, f"{registry.host}/app:1") == (
        f'CannotPullContainerError: failed to resolve reference "{registry.host}/app:1": not found')
    assert len(registry.requests) == 1
    registry.rules.append(lambda request: request.answer(403) or True)
    assert "pull access denied" in reason(cluster, f"{registry.host}/app:2")


# ---- hostile registries ----

def layer_dirs(cluster):
    return set(os.listdir(pathlib.Path(cluster.data_dir, "agent", "layers")))


def refused(cluster, registry, name, words):
    """The pull fails with these words and leaves nothing."""
    before = layer_dirs(cluster)
    text = reason(cluster, f"{registry.host}/{name}:1")
    assert text.startswith("CannotPullContainerError: "), text
    assert words in text, text
    left = until(lambda: not {each for each in layer_dirs(cluster) if each.startswith("tmp.")},
                 what="no unfinished layer")
    assert left
    return layer_dirs(cluster) - before


def test_a_wrong_digest_is_refused(cluster, registry, busybox_tar):
    """A good layer, but not the one that was named."""
    document, _, _ = add_app(registry, busybox_tar, "swap", word="right",
                             pack=lambda data: data, suffix="")
    digest = document["layers"][1]["digest"]
    registry.blobs[digest] = registry.blobs[digest].replace(b"right", b"wrong")
    new = refused(cluster, registry, "swap", "unexpected commit digest sha256:")
    assert digest.removeprefix("sha256:") not in new


def test_a_wrong_diff_id_is_refused(cluster, registry, busybox_tar):
    document, _, _ = add_app(registry, busybox_tar, "diff", word="diff")
    text = json.loads(registry.blobs[document["config"]["digest"]])
    text["rootfs"]["diff_ids"][1] = stub.digest_of(b"another")
    data = json.dumps(text).encode()
    document["config"].update(digest=registry.add_blob(data), size=len(data))
    registry.add_manifest("diff", "1", document)
    refused(cluster, registry, "diff", "digest mismatch")


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_a_manifest_that_is_not_what_was_asked_for(cluster, registry, busybox_tar, which):
    document, digest, _ = add_app(registry, busybox_tar, "lie", word=which)
    if which == "config":
        key = document["config"]["digest"]
        registry.blobs[key] = registry.blobs[key].replace(b"linux", b"minix")
        text = reason(cluster, f"{registry.host}/lie:1")
    else:
        media_type, data = registry.manifests["lie", digest]
        registry.manifests["lie", digest] = (media_type, data.replace(b"gzip", b"gz1p"))
        text = reason(cluster, f"{registry.host}/lie@{digest}")
    assert "unexpected commit digest" in text


@pytest.mark.parametrize("length", ["more", "less", "endless"])
def test_a_wrong_length_is_refused(cluster, registry, busybox_tar, length):
    layer = big_image(registry, busybox_tar, "long")
    data = registry.blobs[layer]
    sent = [0]

    def lie(request):
        if not request.path.endswith(layer):
            return False
        if length == "endless":
            request.send_response(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            chunk = b"100000\r\n" + b"\0" * 0x100000 + b"\r\n"
            request.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
            for _ in range(1000):
                request.wfile.write(chunk)
                sent[0] += 1
            return True
        request.answer(200, data + b"more" if length == "more" else data[:-4])
        return True
    registry.rules.append(lie)
    refused(cluster, registry, "long", "failed size validation")
    assert sent[0] < 100


def test_an_endless_manifest_is_refused(cluster, registry):
    def endless(request):
        request.send_response(200)
        request.send_header("Content-Type", stub.MANIFEST)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        while True:
            request.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    registry.rules.append(endless)
    refused(cluster, registry, "app", "more than 4194304 bytes")


def test_ten_thousand_layers_are_refused_before_the_first(cluster, registry, busybox_tar):
    document, _, _ = add_app(registry, busybox_tar, "many")
    document["layers"] = [document["layers"][0]] * 10000
    registry.add_manifest("many", "1", document)
    refused(cluster, registry, "many", "more than 127")
    assert not registry.paths("/blobs/")


def test_a_layer_that_claims_to_be_enormous(cluster, registry, busybox_tar):
    document, _, _ = add_app(registry, busybox_tar, "huge")
    document["layers"][1]["size"] = 1 << 62
    registry.add_manifest("huge", "1", document)
    refused(cluster, registry, "huge", "too large")


def test_a_bomb_is_refused(cluster, registry, busybox_tar):
    """A gigabyte of zeros, packed to a megabyte."""
    packed = subprocess.run("(head -c 1024 /dev/zero >/dev/null; python3 -c '"
                            "import sys,tarfile; i=tarfile.TarInfo(\"zeros\"); i.size=1<<30; "
                            "sys.stdout.buffer.write(i.tobuf()); sys.stdout.buffer.flush()'; "
                            "head -c 1G /dev/zero; head -c 1024 /dev/zero) | gzip -9",
                            shell=True, stdout=subprocess.PIPE, check=True).stdout
    for name, data in (("bomb", packed), ("zbomb", stub.zstd(gzip.decompress(packed)[:400 << 20]))):
        text = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                           "rootfs": {"type": "layers", "diff_ids": [stub.digest_of(b"")]}})
        registry.add_manifest(name, "1", {
            "schemaVersion": 2, "mediaType": stub.MANIFEST,
            "config": {"mediaType": stub.CONFIG, "digest": registry.add_blob(text.encode()),
                       "size": len(text)},
            "layers": [{"mediaType": stub.LAYER + "+gzip", "digest": registry.add_blob(data),
                        "size": len(data)}]})
        refused(cluster, registry, name, "times its size")


@pytest.mark.parametrize("case", sorted(test_images.ESCAPES))
def test_a_hostile_layer_is_refused_while_it_comes(cluster, registry, busybox_tar, case):
    registry.image(case, "1", [busybox_tar, test_images.make_tar(*test_images.ESCAPES[case])])
    refused(cluster, registry, case, "failed to register layer: ")
    assert not pathlib.Path("/escaped").exists()


# ---- progress, patience, behaviour ----

def held_back(registry, layer, size):
    """The layer's first bytes come at once, the rest when the answer is set."""
    data, released = registry.blobs[layer], threading.Event()

    def slow(request):
        if not request.path.endswith(layer):
            return False
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[:size])
        released.wait(30)
        request.wfile.write(data[size:])
        return True
    registry.rules.append(slow)
    return released


def pulls_of(cluster):
    """The pulls that `fairlead status` shows; nothing in the moment between two reports."""
    return (cluster.status()["images"] or {"pulls": ()})["pulls"]


def test_progress_is_shown_while_it_lasts(cluster, registry, busybox_tar):
    released = held_back(registry, big_image(registry, busybox_tar, "slow"), 4 << 20)
    task = cluster.start(cluster.register(container(image=f"{registry.host}/slow:1")))
    pull = until(lambda: next((each for each in pulls_of(cluster)
                               if each["bytesDone"] >= 4 << 20), None), what="four megabytes")
    assert pull["image"] == f"{registry.host}/slow:1"
    assert pull["bytesDone"] < pull["bytes"] and pull["layersDone"] < pull["layers"]
    assert f"pull      {registry.host}/slow:1  " in cluster.fairlead("status").stdout
    # Starts from what is here go on meanwhile.
    assert cluster.run_to_end(container(command=["true"]))["containers"][0]["exitCode"] == 0
    released.set()
    assert cluster.wait(task)["containers"][0]["exitCode"] == 7
    until(lambda: pulls_of(cluster) == [], what="the pull's end")


def test_a_person_pulls_and_sees_how_far_it_is(cluster, registry, busybox_tar):
    layer = big_image(registry, busybox_tar, "shown")
    _, digest, _ = add_app(registry, busybox_tar, "small")
    image = f"{registry.host}/shown:1"
    released = held_back(registry, layer, 4 << 20)
    process, seen = pull_on_terminal(cluster, image)
    short = layer.removeprefix("sha256:")[:12]
    until(lambda: f"{short}: [" in seen() and re.search(r" [4-9]\.\d of ", seen()), what="four megabytes")
    until(lambda: "pulled, " in seen() and "\033[3A\033[J" in seen(), what="lines drawn over")
    # Who asks meanwhile waits for the same pull.
    other = subprocess.Popen([clusters.FAIRLEAD, "image", "pull", "--data-dir", cluster.data_dir, image],
                             stdout=subprocess.PIPE, text=True)
    # An interrupt ends the watching alone.
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    until(lambda: "the pull goes on" in seen())
    released.set()
    lines = other.communicate(timeout=60)[0].splitlines()
    assert other.returncode == 0
    assert lines[-1].startswith(f"pulled {image} sha256:")
    assert len(registry.paths(layer)) == 1
    # What is here is asked for and not fetched.
    blobs = len(registry.paths("/blobs/"))
    assert cluster.fairlead("image", "pull", image).stdout == lines[-1] + "\n"
    assert len(registry.paths("/blobs/")) == blobs
    small = cluster.fairlead("image", "pull", "--json", f"{registry.host}/small:1").stdout
    assert json.loads(small) == {"image": f"{registry.host}/small:1", "digest": digest}
    # A task finds it here.
    assert run_once(cluster, image)[1]["exitCode"] == 7
    assert len(registry.paths(layer)) == 1


def test_a_pull_that_fails_says_what_a_task_would(cluster, registry, busybox_tar):
    add_app(registry, busybox_tar)
    gone = cluster.fairlead("image", "pull", f"{registry.host}/gone:1", check=False)
    assert gone.returncode == 1 and not gone.stdout
    assert gone.stderr == f"fairlead: {reason(cluster, f'{registry.host}/gone:1')}\n"
    # A person who pulls is not given what was pulled before.
    assert cluster.fairlead("image", "pull", f"{registry.host}/app:1").returncode == 0
    registry.rules.append(lambda request: request.send_error(403) or True)
    refused = cluster.fairlead("image", "pull", f"{registry.host}/app:1", check=False)
    assert refused.returncode == 1 and "403" in refused.stderr, refused.stderr
    assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
    for words in (("pull",), ("pull", "a", "b")):
        assert cluster.fairlead("image", *words, check=False).returncode == 2
    odd = cluster.fairlead("image", "pull", "Not A Name", check=False)
    assert odd.returncode == 1 and odd.stderr.count("\n") == 1


def test_the_desk_serves_a_few_and_is_closed_to_others(cluster):
    """Lines without an end, too many clients, clients that leave: the agent does not mind."""
    path = f"{cluster.data_dir}/agent/images/pull.sock"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with contextlib.ExitStack() as stack:
        def connect():
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
            client.settimeout(20)
            return client
        endless = connect()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            endless.sendall(b"x" * 4096)
            assert endless.recv(100) == b""
        many = [connect() for _ in range(20)]
        assert b"too many pulls" in many[-1].recv(1000)
    found = until(lambda: cluster.fairlead("image", "pull", "busybox:1"), what="room at the desk")
    assert found.stdout.startswith("pulled busybox:1 sha256:")
    cluster.fairlead("down")
    stopped = cluster.fairlead("image", "pull", "busybox:1", check=False)
    assert stopped.returncode == 1 and "the agent does not run" in stopped.stderr
    cluster.up()


def silent(part):
    """A rule: no answer to requests with this part."""
    def rule(request):
        if part not in request.path:
            return False
        time.sleep(60)
        return True
    return rule


def drip(part, least):
    """A rule: a byte every 100 ms is no silence, but not enough either. Of blobs those of at least
    so many bytes."""
    def rule(request):
        blob = request.server.registry.blobs.get(request.path.split("/")[-1], b"")
        if part not in request.path or len(blob) < least:
            return False
        request.send_response(200)
        request.send_header("Content-Length", str(len(blob) or 2000))
        request.send_header("Content-Type", stub.MANIFEST)
        request.end_headers()
        for _ in range(300):
            request.wfile.write(b" " if part == "/manifests/" else b"\x1f")
            time.sleep(0.1)
        return True
    return rule


def test_time_is_up_in_the_words_of_ecs(cluster_with, tmp_path, registry, busybox_tar):
    cluster = with_ecs_config(cluster_with, tmp_path, "ECS_IMAGE_PULL_INACTIVITY_TIMEOUT=1s",
                              "ECS_IMAGE_PULL_TIMEOUT=6s", "ECS_MANIFEST_PULL_TIMEOUT=4s")
    add_app(registry, busybox_tar)
    registry.rules[:] = [silent("/blobs/sha256:")]
    assert reason(cluster, f"{registry.host}/app:1") == (
        f'CannotPullContainerError: failed to resolve reference "{registry.host}/app:1": '
        "inactivity time exceeded timeout")

    registry.rules[:] = [drip("/blobs/", 100000)]
    assert reason(cluster, f"{registry.host}/app:1") == (
        "DockerTimeoutError: Could not transition to pulled; timed out after waiting 6s")
    registry.rules[:] = [drip("/manifests/", 0)]
    assert reason(cluster, f"{registry.host}/app:1") == (
        "DockerTimeoutError: Could not transition to MANIFEST_PULLED; timed out after waiting 4s")


def behaves(cluster_with, tmp_path, behavior):
    return with_ecs_config(cluster_with, tmp_path, f"ECS_IMAGE_PULL_BEHAVIOR={behavior}")


def word_of(cluster, image):
    """What the image says, by its exit code; or the reason why it does not."""
    task, main = run_once(cluster, image, command=["/bin/sh", "-c", "exit $(cat /word)"])
    return main.get("exitCode", task["stoppedReason"])


@pytest.mark.parametrize("behavior", ["default", "always", "once", "prefer-cached"])
def test_pull_behaviors(cluster_with, tmp_path, registry, busybox_tar, behavior):
    cluster = behaves(cluster_with, tmp_path, behavior)
    image = f"{registry.host}/app:1"
    add_app(registry, busybox_tar, word="11")
    assert word_of(cluster, image) == 11
    add_app(registry, busybox_tar, word="12")  # the tag moves
    asks = behavior in ("default", "always")
    assert word_of(cluster, image) == (12 if asks else 11)
    assert len(registry.paths("/manifests/1")) == (2 if asks else 1)
    # An agent that begins anew knows what it has.
    cluster.kill("agent")
    cluster.fairlead("up", "--listen", f"127.0.0.1:{cluster.port}", *cluster.flags)
    registry.rules.append(lambda request: request.answer(404) or True)
    answer = word_of(cluster, image)
    if behavior == "always":
        assert answer == (f'CannotPullImageManifestError: failed to resolve reference "{image}": '
                          "not found")
    else:
        assert answer == (12 if asks else 11)


def test_a_mirror_is_asked_first_and_the_registry_after_it(cluster_with, tmp_path, registry,
                                                           busybox_tar):
    with stub.Registry() as mirror:
        path = tmp_path / "registries.json"
        path.write_text(json.dumps({registry.host: {"mirrors": [mirror.url]}}))
        cluster = cluster_with("--registries", str(path))
        add_app(registry, busybox_tar, word="from the registry")
        add_app(mirror, busybox_tar, word="from the mirror")
        assert run_once(cluster, f"{registry.host}/app:1")[1]["exitCode"] == 7
        assert not registry.requests
        # What the mirror has not, what it has wrong, and a mirror that is away.
        add_app(registry, busybox_tar, "other", word="other")
        assert run_once(cluster, f"{registry.host}/other:1")[1]["exitCode"] == 7
        mirror.rules.append(lambda request: request.answer(500) or True)
        add_app(registry, busybox_tar, "third", word="third")
        assert run_once(cluster, f"{registry.host}/third:1")[1]["exitCode"] == 7


def test_tls_is_checked(cluster_with, tmp_path, registry, busybox_tar):
    """A registry that is not on this machine is asked over TLS; whom to believe is configured."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    clusters.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj",
                 "/CN=registry.test", "-addext", "subjectAltName=IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    add_app(registry, busybox_tar)
    registry.server.socket = context.wrap_socket(registry.server.socket, server_side=True)
    path = tmp_path / "registries.json"
    # A mirror's URL may be https on this machine; image names there mean plain HTTP.
    secure = registry.url.replace("http:", "https:")
    path.write_text(json.dumps({"known.invalid": {"mirrors": [secure]},
                                registry.host: {"ca": str(certificate)}}))
    cluster = cluster_with("--registries", str(path))
    assert run_once(cluster, "known.invalid/app:1")[1]["exitCode"] == 7
    path.write_text(json.dumps({"known.invalid": {"mirrors": [secure]}}))
    cluster.kill("agent")
    cluster.fairlead("up", "--listen", f"127.0.0.1:{cluster.port}", *cluster.flags)
    asked = len(registry.requests)
    add_app(registry, busybox_tar, tag="2", word="2")
    assert "CannotPullContainerError" in reason(cluster, "known.invalid/app:2")
    assert len(registry.requests) == asked


# ---- room ----

@pytest.fixture
def small_disk(busybox, tmp_path):
    """A cluster whose layers lie on a file system of 64 MiB: 3 are kept free, and images go when
    fewer than 9 are."""
    config = tmp_path / "ecs.config"
    config.write_text("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s\n")
    made = clusters.Cluster("--cpu-units", "65536", "--memory-mib", "65536", "--ecs-config",
                            str(config))
    layers = pathlib.Path(made.data_dir, "agent", "layers")
    made.up()
    made.fairlead("down")
    clusters.run("mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(layers))
    try:
        made.up()
        made.load_image(busybox, "busybox:1")
        made.layers = layers
        yield made
    finally:
        print(made.diagnose())
        made.fairlead("down", "--tasks", check=False)
        clusters.run("umount", "-l", str(layers))
        made.uninstall()


def test_a_loop_of_pulls_does_not_fill_the_disk(small_disk, registry, busybox_tar):
    cluster = small_disk
    held = []
    for number in range(12):
        big_image(registry, busybox_tar, f"big{number}")
        image = f"{registry.host}/big{number}:1"
        # The ends of those before it are a second old at most, and hold their images as long.
        until(lambda: run_once(cluster, image)[1].get("exitCode") == 7, timeout=60, what="room",
              pause=0.5)
        if number == 0:
            # In use for all that follows.
            held.append(cluster.start(cluster.register(clusters.idle(image=image))))
            cluster.wait(held[0], "RUNNING")
        free = os.statvfs(cluster.layers)
        assert free.f_bavail * free.f_frsize > 3 << 20
    assert cluster.status()["images"]["reclaimedBytes"] > 20 << 20
    assert cluster.task(held[0])["lastStatus"] == "RUNNING"
    # Images that are all in use leave no room: then a pull is refused, and says so.
    for number in range(20, 30):
        big_image(registry, busybox_tar, f"big{number}")
        task = cluster.start(cluster.register(
            clusters.idle(image=f"{registry.host}/big{number}:1")))
        state = until(lambda: cluster.task(task)["lastStatus"] in ("RUNNING", "STOPPED") and
                      cluster.task(task), timeout=60, what="a start or its failure")
        if state["lastStatus"] == "STOPPED":
            break
        held.append(task)
    assert len(held) > 3
    assert state["stoppedReason"].startswith(
        "CannotPullContainerError: failed to register layer: no space left on device"), state
    for task in held:
        assert cluster.task(task)["lastStatus"] == "RUNNING"
    free = os.statvfs(cluster.layers)
    assert free.f_bavail * free.f_frsize > 3 << 20
    # When they have ended there is room again.
    cluster.stop_all()
    until(lambda: run_once(cluster, f"{registry.host}/big{number}:1")[1].get("exitCode") == 7,
          timeout=60, what="room", pause=0.5)


def test_a_full_disk_gets_no_tasks(small_disk, tmp_path):
    cluster = small_disk
    definition = cluster.register(container(command=["true"]))
    assert cluster.wait(cluster.start(definition))["containers"][0]["exitCode"] == 0
    filler = cluster.layers / "filler"
    with filler.open("wb") as file:
        with pytest.raises(OSError):
            while True:
                file.write(b"x" * 65536)
                file.flush()
    instance = cluster.ecs.list_container_instances()["containerInstanceArns"][0]

    def health():
        answer = cluster.ecs.describe_container_instances(
            containerInstances=[instance], include=["CONTAINER_INSTANCE_HEALTH"])
        return answer["containerInstances"][0]["healthStatus"]
    until(lambda: health()["overallStatus"] == "IMPAIRED", what="IMPAIRED")
    assert "no space left on device" in health()["details"][0]["statusReason"]
    answer = cluster.ecs.run_task(taskDefinition=definition)
    assert [each["reason"] for each in answer["failures"]] == ["AGENT"]
    call = tmp_path / "call.json"
    call.write_text(json.dumps({"taskDefinition": definition}))
    assert "no space left on device" in cluster.fairlead(
        "explain", "run-task", "--cli-input-json", str(call), check=False).stdout
    assert cluster.status()["images"]["diskFull"]
    filler.unlink()
    until(lambda: health()["overallStatus"] == "OK", what="OK")
    assert cluster.wait(cluster.start(definition))["containers"][0]["exitCode"] == 0


# ---- an agent without the built-in store ----

@contextlib.contextmanager
def agent_elsewhere(cluster, *flags, namespace=None, server=None):
    """One more agent with a data directory of its own, as on another host; its instance's ARN."""
    data_dir = tempfile.mkdtemp(prefix="fairlead-test-")
    key = cluster.key("agent")
    known = set(cluster.ecs.list_container_instances()["containerInstanceArns"])
    with open(pathlib.Path(cluster.data_dir, "log", "elsewhere.log"), "wb") as log:
        process = subprocess.Popen(
            [*(["ip", "netns", "exec", namespace] if namespace else []), clusters.FAIRLEAD,
             "agent", "--data-dir", data_dir, "--server",
             server or f"http://127.0.0.1:{cluster.port}", "--token",
             f"{key['accessKeyId']}:{key['secretAccessKey']}", "--name", "elsewhere", *flags],
            stdout=log, stderr=log)
        try:
            def joined():
                arns = set(cluster.ecs.list_container_instances()["containerInstanceArns"]) - known
                shown = arns and cluster.ecs.describe_container_instances(
                    containerInstances=list(arns))["containerInstances"]
                return next((each["containerInstanceArn"] for each in shown or []
                             if each["agentConnected"]), None)
            yield until(joined, what="the second agent"), data_dir
        finally:
            process.terminate()
            process.wait(30)
            clusters.run(clusters.FAIRLEAD, "uninstall", "--data-dir", data_dir, "--yes",
                         check=False)
            shutil.rmtree(data_dir, ignore_errors=True)


def has_registry(cluster):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)


def runs_at(cluster, instance, image, **more):
    definition = cluster.register(clusters.sh("exit 5", image=image), networkMode="host")
    answer = cluster.ecs.start_task(taskDefinition=definition, containerInstances=[instance])
    assert not answer["failures"], answer["failures"]
    return cluster.wait(answer["tasks"][0]["taskArn"], timeout=60)


def test_an_agent_elsewhere_pulls_from_the_server(private, registry, busybox_tar):
    cluster = private
    if not has_registry(cluster):
        pytest.skip("the server has no registry")
    with agent_elsewhere(cluster) as (instance, data_dir):
        here = f"127.0.0.1:{cluster.port}"
        for image in (f"{here}/busybox:1", "busybox:1",
                      "000000000000.dkr.ecr.us-east-1.amazonaws.com/busybox:1"):
            task = runs_at(cluster, instance, image)
            assert task["containers"][0].get("exitCode") == 5, (image, task["stoppedReason"])
        digest = task["containers"][0]["imageDigest"]
        assert cluster.run_to_end(container(command=["true"]))["containers"][0][
            "imageDigest"] == digest
        assert os.listdir(pathlib.Path(data_dir, "agent", "layers"))
        assert runs_at(cluster, instance, f"{here}/nope:1")["stoppedReason"] == (
            f'CannotPullContainerError: failed to resolve reference "{here}/nope:1": not found')
        # Other registries are asked as everywhere.
        add_app(registry, busybox_tar)
        task = runs_at(cluster, instance, f"{registry.host}/app:1")
        assert task["containers"][0].get("exitCode") == 5


def test_hosts_pull_from_the_server_over_tls_with_the_agents_token(busybox):
    """Off the server's machine nobody pulls without a password: the agent's key gets it one."""
    with test_hosts.a_fleet(busybox) as fleet:
        cluster = fleet.cluster
        cluster.load_image(busybox, "busybox:1")
        hosts = [fleet.add(name).join() for name in ("one", "two")]
        for host in hosts:
            for image in ("busybox:1", fleet.url.removeprefix("https://") + "/busybox:1"):
                task = runs_at(cluster, host.arn, image)
                assert task["containers"][0].get("exitCode") == 5, (image, task["stoppedReason"])
        with pytest.raises(urllib.error.HTTPError) as refused_:
            urllib.request.urlopen(f"{fleet.url}/v2/busybox/manifests/1", timeout=10,
                                   context=ssl._create_unverified_context())
        assert refused_.value.code == 401
