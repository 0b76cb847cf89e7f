"""The built-in registry: /v2/ as skopeo, buildah, docker and a hostile client use it.

Method: images are made on the spot and pushed by the stock programs into a real cluster; what comes
back is compared with what went in, byte by byte. Time is moved by setting files' times. docker's own
daemon is run where one is installed."""
import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.parse

import pytest

import cluster as clusters
from cluster import run, until
from oci import (OCI_INDEX, OCI_MANIFEST, Answer, Registry, basic, config_of, digest_of, layer_of,
                 manifest_of, name, refused, registry)  # noqa: F401 (fixtures among them)


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


# ---- pushing and pulling by the stock programs ----

def skopeo(registry, *argv, auth=True, check=True):
    flags = ["--tls-verify=false"] if argv[0] == "inspect" else \
        ["--src-tls-verify=false", "--dest-tls-verify=false"]
    if auth:
        flags += [f"--dest-creds={registry.credentials}"] if argv[0] == "copy" else \
            [f"--creds={registry.credentials}"]
    return run("skopeo", argv[0], *flags, *argv[1:], check=check)


@needs("skopeo")
def test_skopeo_pushes_and_pulls(registry, name, busybox, tmp_path):
    skopeo(registry, "copy", f"docker-archive:{busybox}", f"docker://{registry.host}/{name}:1")
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{registry.host}/{name}:1",
        f"dir:{tmp_path}/out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for blob in [manifest["config"], *manifest["layers"]]:
        data = (tmp_path / "out" / blob["digest"].removeprefix("sha256:")).read_bytes()
        assert digest_of(data) == blob["digest"] and len(data) == blob["size"]
    # The same again sends no blob twice, and in the other format there are two tags.
    skopeo(registry, "copy", "--format=oci", f"docker-archive:{busybox}",
           f"docker://{registry.host}/{name}:oci")
    seen = json.loads(skopeo(registry, "inspect", f"docker://{registry.host}/{name}:oci",
                             auth=False).stdout)
    assert seen["RepoTags"] == ["1", "oci"]
    # From one repository into another: a mount.
    skopeo(registry, "copy", f"docker://{registry.host}/{name}:1",
           f"docker://{registry.host}/{name}/other:1")


@needs("skopeo")
def test_what_was_pushed_runs(cluster, registry, name, busybox):
    skopeo(registry, "copy", f"docker-archive:{busybox}", f"docker://{registry.host}/{name}:1")
    uri = registry.ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    assert uri["repositoryUri"] == f"{registry.host}/{name}"
    task = cluster.run_to_end(clusters.sh("exit 7", image=uri["repositoryUri"] + ":1"))
    assert task["containers"][0]["exitCode"] == 7


@needs("skopeo")
def test_nobody_pushes_without_a_password(registry, name, busybox):
    done = skopeo(registry, "copy", f"docker-archive:{busybox}",
                  f"docker://{registry.host}/{name}:1", auth=False, check=False)
    assert done.returncode != 0 and "unauthorized" in done.stderr
    assert registry.ask("GET", f"/v2/{name}/tags/list").error() == "NAME_UNKNOWN"


@needs("buildah")
def test_buildah_builds_and_pushes(registry, name, tmp_path):
    def buildah(*argv):
        return run("buildah", "--storage-driver=vfs", f"--root={tmp_path}/root",
                   f"--runroot={tmp_path}/run", *argv).stdout.strip()
    container = buildah("from", "scratch")
    buildah("copy", container, "/bin/busybox", "/bin/busybox")
    buildah("config", "--entrypoint", '["/bin/busybox"]', container)
    buildah("commit", container, "made")
    buildah("push", "--tls-verify=false", f"--creds={registry.credentials}", "made",
            f"docker://{registry.host}/{name}:b")
    buildah("rmi", "--all", "--force")
    buildah("pull", "--tls-verify=false", f"docker://{registry.host}/{name}:b")
    assert name in buildah("images")


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    """docker(...) with a daemon of its own."""
    if not shutil.which("dockerd") or not shutil.which("docker"):
        pytest.skip("needs dockerd and docker")
    at = tmp_path_factory.mktemp("docker")
    where = f"unix://{at}/sock"
    env = {**os.environ, "HOME": str(at), "DOCKER_HOST": where}
    with open(at / "log", "wb") as log:
        process = subprocess.Popen(
            ["dockerd", f"--data-root={at}/data", f"--exec-root={at}/exec", f"--pidfile={at}/pid",
             f"--host={where}", "--storage-driver=vfs", "--bridge=none", "--iptables=false"],
            env=env, stdout=log, stderr=log, start_new_session=True)
    def call(*argv, **more):
        return run("docker", *argv, env=env, **more)
    try:
        def answers():
            assert process.poll() is None, (at / "log").read_text()[-3000:]
            return call("version", check=False).returncode == 0
        until(answers, timeout=60, what="dockerd", pause=0.2)
        yield call
    finally:
        process.terminate()
        process.wait(60)


def test_docker_logs_in_pushes_and_pulls(registry, name, busybox, docker):
    """`aws ecr get-login-password | docker login`, as AWS's documentation prints it."""
    # Nobody's pull, before any login.
    registry.image(name, "docker", "anonymous")
    docker("pull", f"{registry.host}/{name}:anonymous")
    password = registry.made.aws("ecr", "get-login-password").stdout
    docker("login", "--username", "AWS", "--password-stdin", registry.host, input=password)
    docker("load", "--input", str(busybox))
    for repository in (name, f"{name}/mounted"):
        docker("tag", "busybox:1", f"{registry.host}/{repository}:1")
        docker("push", f"{registry.host}/{repository}:1")
    before = docker("images", "--no-trunc", "--quiet", "busybox:1").stdout
    docker("rmi", "--force", "busybox:1", f"{registry.host}/{name}:1",
           f"{registry.host}/{name}/mounted:1")
    docker("pull", f"{registry.host}/{name}/mounted:1")
    assert docker("images", "--no-trunc", "--quiet",
                  f"{registry.host}/{name}/mounted:1").stdout == before
    docker("logout", registry.host)
    done = docker("push", f"{registry.host}/{name}/mounted:1", check=False)
    assert done.returncode != 0


# ---- uploads ----

def test_an_upload_comes_in_pieces_and_goes_on_after_a_break(registry, name):
    data = os.urandom(3_000_000)
    at = registry.begin(name)
    first = registry.ask("PATCH", at, data[:1_000_000], Content_Range="0-999999")
    assert first.status == 202 and first.headers["Range"] == "0-999999"
    # A piece that does not fit on is refused, and changes nothing.
    for wrong in ("0-499999", "1000001-1500000"):
        answer = registry.ask("PATCH", at, data[:500_000], Content_Range=wrong)
        assert (answer.status, answer.error()) == (416, "BLOB_UPLOAD_INVALID")
        assert answer.headers["Range"] == "0-999999"
    assert registry.ask("PATCH", at, b"abc",
                        Content_Range="1000000-1000009").error() == "SIZE_INVALID"
    # A client that goes away in the middle: what came is kept.
    with socket.create_connection(("127.0.0.1", registry.port)) as raw:
        auth = base64.b64encode(registry.credentials.encode()).decode()
        raw.sendall(f"PATCH {at} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\n"
                    f"Content-Length: 1000000\r\n\r\n".encode() + data[1_000_000:1_500_000])
    status = until(lambda: (lambda a: a.status == 204 and a)(registry.ask("GET", at)),
                   what="the end of the broken piece")
    came = int(status.headers["Range"].split("-")[1]) + 1
    assert 1_000_000 <= came <= 1_500_000
    digest = digest_of(data)
    last = registry.ask("PUT", f"{at}?digest={digest}", data[came:],
                        Content_Range=f"{came}-{len(data) - 1}")
    assert last.status == 201, last.body
    assert registry.ask("GET", f"/v2/{name}/blobs/{digest}").body == data
    assert registry.ask("GET", at).error() == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_in_chunks_in_one_post_and_cancelled(registry, name):
    data = os.urandom(700_000)
    digest = digest_of(data)
    at = registry.begin(name)
    chunks = (data[i:i + 50_000] for i in range(0, len(data), 50_000))
    assert registry.ask("PATCH", at, chunks).status == 202
    assert registry.ask("PUT", f"{at}?digest={digest}").status == 201
    whole = registry.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
    assert whole.status == 201 and whole.headers["Location"] == f"/v2/{name}/blobs/{digest}"
    at = registry.begin(name)
    registry.ask("PATCH", at, data)
    assert registry.ask("DELETE", at).status == 204
    assert registry.ask("PATCH", at, data).error() == "BLOB_UPLOAD_UNKNOWN"
    assert registry.put_blob(name, b"") == digest_of(b"")


def test_a_mount_spares_the_upload(registry, name):
    digest = registry.put_blob(name, os.urandom(1000))
    answer = registry.ask("POST", f"/v2/{name}/x/blobs/uploads/?mount={digest}&from={name}")
    assert answer.status == 201 and answer.headers["Location"] == f"/v2/{name}/x/blobs/{digest}"
    missing = digest_of(b"nowhere")
    answer = registry.ask("POST", f"/v2/{name}/x/blobs/uploads/?mount={missing}&from={name}")
    assert answer.status == 202


def test_wrong_digests_and_lengths_leave_nothing(registry, name):
    data = os.urandom(100_000)
    at = registry.begin(name)
    answer = registry.ask("PUT", f"{at}?digest={digest_of(b'other')}", data)
    assert (answer.status, answer.error()) == (400, "DIGEST_INVALID")
    assert registry.ask("GET", at).status == 404
    assert not registry.has_blob(digest_of(data)) and not registry.has_blob(digest_of(b"other"))
    at = registry.begin(name)
    for wrong in ("sha256:abc", "md5:00", "sha512:" + "0" * 128, ""):
        assert registry.ask("PUT", f"{at}?digest={wrong}", data).error() == "DIGEST_INVALID"
    answer = registry.ask("PATCH", at, (data for _ in range(2)), Content_Range="0-9")
    assert (answer.status, answer.error()) == (400, "SIZE_INVALID")
    # More than a blob may have is refused when it is announced.
    with socket.create_connection(("127.0.0.1", registry.port)) as raw:
        auth = base64.b64encode(registry.credentials.encode()).decode()
        raw.sendall(f"PATCH {registry.begin(name)} HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Basic {auth}\r\nContent-Length: {65 << 30}\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_ten_pushes_hold_nobody_up(registry, cluster, name):
    data = os.urandom(30_000_000)
    def push(i):
        return registry.put_blob(f"{name}/{i}", data + bytes([i]))
    definition = cluster.register(clusters.sh("exit 0"))
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        pushes = [pool.submit(push, i) for i in range(10)]
        task = cluster.wait(cluster.start(definition), timeout=60)
        assert task["containers"][0]["exitCode"] == 0
        digests = [each.result() for each in pushes]
    for i, digest in enumerate(digests):
        assert registry.ask("GET", f"/v2/{name}/blobs/{digest}").body == data + bytes([i])


@needs("skopeo")
def test_a_push_is_repeated_after_the_server_was_killed(private, busybox):
    made = Registry(private)
    data = os.urandom(5_000_000)
    at = made.begin("broken")
    assert made.ask("PATCH", at, data[:4_000_000]).status == 202
    with socket.create_connection(("127.0.0.1", made.port)) as raw:
        auth = base64.b64encode(made.credentials.encode()).decode()
        raw.sendall(f"PATCH {at} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\n"
                    f"Content-Length: 1000000\r\n\r\n".encode() + data[4_000_000:4_500_000])
        private.kill("server")
    private.up()
    # Nobody sees anything of it; a new push is whole.
    assert not made.has_blob(digest_of(data))
    assert not list((made.blobs.parents[1] / "tmp").iterdir())
    assert made.ask("GET", f"/v2/broken/blobs/{made.put_blob('broken', data)}").body == data
    skopeo(made, "copy", f"docker-archive:{busybox}", f"docker://{made.host}/broken:1")


def test_an_upload_goes_on_after_the_server_was_killed(private):
    made = Registry(private)
    data = os.urandom(6_000_000)
    uploads = made.blobs.parents[1] / "uploads"

    def piece(at, first, last):
        return made.ask("PATCH", at, data[first:last], Content_Range=f"{first}-{last - 1}")

    at, cancelled, wrong, idle, bare = (made.begin("again") for _ in range(5))
    assert piece(at, 0, 2_000_000).status == 202
    assert piece(cancelled, 0, 1000).status == 202
    assert piece(wrong, 0, 1000).status == 202
    assert piece(idle, 0, 1000).status == 202
    private.kill("server")
    # What nobody goes on with for hours is removed by the next server.
    file = hashlib.sha256(f"again\n{idle.split('/')[-1]}".encode()).hexdigest()
    os.utime(uploads / file, (time.time() - 3 * 3600,) * 2)
    private.up()
    assert len(list(uploads.iterdir())) == 3
    assert made.ask("GET", idle).error() == "BLOB_UPLOAD_UNKNOWN"
    assert made.ask("GET", bare).error() == "BLOB_UPLOAD_UNKNOWN"
    # Under another repository, or another id, there is no such upload.
    assert made.ask("GET", at.replace("/again/", "/other/")).error() == "BLOB_UPLOAD_UNKNOWN"
    assert made.ask("GET", at[:-1] + ("0" if at[-1] != "0" else "1")).error() == "BLOB_UPLOAD_UNKNOWN"
    state = made.ask("GET", at)
    assert (state.status, state.headers["Range"]) == (204, "0-1999999")
    refused = piece(at, 3_000_000, 4_000_000)
    assert (refused.status, refused.headers["Range"]) == (416, "0-1999999")
    assert piece(at, 2_000_000, 4_000_000).status == 202
    # Once more, in the middle of a piece: what has come of it counts.
    with socket.create_connection(("127.0.0.1", made.port)) as raw:
        auth = base64.b64encode(made.credentials.encode()).decode()
        raw.sendall(f"PATCH {at} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\n"
                    f"Content-Length: 2000000\r\n\r\n".encode() + data[4_000_000:5_000_000])
        until(lambda: any(path.stat().st_size > 4_000_000 for path in uploads.iterdir()), what="more bytes")
        private.kill("server")
    private.up()
    come = int(made.ask("GET", at).headers["Range"].split("-")[1]) + 1
    assert 4_000_000 < come <= 5_000_000
    # A stop in good order keeps it as well.
    private.fairlead("down")
    private.up()
    assert piece(at, come, len(data)).status == 202
    done = made.ask("PUT", f"{at}?digest={digest_of(data)}", b"")
    assert done.status == 201, done.body
    assert made.ask("GET", f"/v2/again/blobs/{digest_of(data)}").body == data
    assert made.ask("GET", at).error() == "BLOB_UPLOAD_UNKNOWN"
    assert made.ask("DELETE", cancelled).status == 204
    lost = made.ask("PUT", f"{wrong}?digest={digest_of(b'other')}", b"")
    assert lost.error() == "DIGEST_INVALID"
    until(lambda: not list(uploads.iterdir()), what="the uploads' end")


# ---- reading ----

def test_blobs_are_read_in_parts(registry, name):
    data = os.urandom(100_000)
    path = f"/v2/{name}/blobs/{registry.put_blob(name, data)}"
    head = registry.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "100000", b"")
    for header, want in (("bytes=0-9", data[:10]), ("bytes=99990-", data[99990:]),
                         ("bytes=-5", data[-5:]), ("bytes=99999-200000", data[99999:])):
        answer = registry.ask("GET", path, Range=header)
        assert (answer.status, answer.body) == (206, want), header
    assert registry.ask("GET", path, Range="bytes=100000-").status == 416
    assert registry.ask("GET", path, Range="lines=1").body == data
    assert registry.ask("GET", f"/v2/{name}/blobs/{digest_of(b'no')}").error() == "BLOB_UNKNOWN"


def test_names_come_in_pages(registry, name):
    for tag in ("a", "b", "c", "d", "e"):
        registry.image(name, "pages", tag)
    path, seen = f"/v2/{name}/tags/list?n=2", []
    while path:
        answer = registry.ask("GET", path)
        seen.append(answer.json()["tags"])
        link = answer.headers.get("Link")
        path = link[1:link.index(">")] if link else None
        assert not link or link.endswith('; rel="next"')
    assert seen == [["a", "b"], ["c", "d"], ["e"]]
    assert registry.ask("GET", f"/v2/{name}/tags/list?n=0").json()["tags"] == []
    assert registry.ask("GET", f"/v2/{name}/tags/list?n=x").status == 400
    everything = registry.ask("GET", "/v2/_catalog").json()["repositories"]
    assert name in everything and everything == sorted(everything)
    page = registry.ask("GET", "/v2/_catalog?n=1&last=" + urllib.parse.quote(name, safe=""))
    assert page.json()["repositories"] == [n for n in everything if n > name][:1]


def test_an_index_and_what_refers_to_an_image(registry, name):
    one = registry.image(name, "one")
    two = registry.image(name, "two")
    entries = []
    for digest, architecture in ((one, "amd64"), (two, "arm64")):
        size = len(registry.ask("GET", f"/v2/{name}/manifests/{digest}").body)
        entries.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": size,
                        "platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    assert registry.put_manifest(name, "multi", index, OCI_INDEX).status == 201
    answer = registry.ask("GET", f"/v2/{name}/manifests/multi")
    assert answer.headers["Content-Type"] == OCI_INDEX and answer.json() == index
    missing = {**index, "manifests": [{**entries[0], "digest": digest_of(b"gone")}]}
    answer = registry.put_manifest(name, "bad", missing, OCI_INDEX)
    assert (answer.status, answer.error()) == (404, "MANIFEST_BLOB_UNKNOWN")
    # What an index lists is not deleted under it.
    assert registry.ask("DELETE", f"/v2/{name}/manifests/{one}").error() == "DENIED"
    # A manifest about another one.
    signature = registry.image(name, "signature", subject=entries[0], artifactType="test/signature",
                               annotations={"by": "me"})
    found = registry.ask("GET", f"/v2/{name}/referrers/{one}").json()["manifests"]
    assert [(f["digest"], f["artifactType"], f["annotations"]) for f in found] == \
        [(signature, "test/signature", {"by": "me"})]
    none = registry.ask("GET", f"/v2/{name}/referrers/{one}?artifactType=x")
    assert none.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert none.headers["OCI-Filters-Applied"] == "artifactType"
    assert registry.ask("GET", f"/v2/{name}/referrers/{two}").json()["manifests"] == []


@needs("skopeo")
def test_skopeo_copies_a_whole_index(registry, name):
    entries = []
    for seed, architecture in (("a", "amd64"), ("b", "arm64")):
        digest = registry.image(name, f"all-{seed}")
        size = len(registry.ask("GET", f"/v2/{name}/manifests/{digest}").body)
        entries.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": size,
                        "platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    assert registry.put_manifest(name, "multi", index, OCI_INDEX).status == 201
    skopeo(registry, "copy", "--all", f"docker://{registry.host}/{name}:multi",
           f"docker://{registry.host}/{name}/copy:multi")
    copied = registry.ask("GET", f"/v2/{name}/copy/manifests/multi")
    assert copied.json() == index
    sizes = [d["imageSizeInBytes"] for d in
             registry.ecr.describe_images(repositoryName=f"{name}/copy")["imageDetails"]]
    assert len(sizes) == 3 and all(sizes)


def test_uploads_are_counted(registry, name):
    """Beyond their bound new ones are refused, and those under way go on."""
    begun = []
    while True:
        answer = registry.ask("POST", f"/v2/{name}/blobs/uploads/")
        if answer.status != 202:
            break
        begun.append(answer.headers["Location"])
        assert len(begun) <= 512
    assert (answer.status, answer.error()) == (429, "TOOMANYREQUESTS")
    refused(registry.ecr.initiate_layer_upload, "RepositoryNotFoundException", repositoryName=name)
    assert registry.ask("PATCH", begun[0], b"abc").status == 202
    for at in begun:
        assert registry.ask("DELETE", at).status == 204
    registry.put_blob(name, b"there is room again")


# ---- refusals ----

def test_hostile_manifests(registry, name):
    layer, config = layer_of("hostile"), config_of("hostile")
    registry.put_blob(name, config)
    good = manifest_of(config, [layer])
    answer = registry.put_manifest(name, "x", good)
    assert (answer.status, answer.error()) == (404, "MANIFEST_BLOB_UNKNOWN")
    registry.put_blob(name, layer)
    lying = json.loads(json.dumps(good))
    lying["layers"][0]["size"] += 1
    many = {**good, "layers": good["layers"] * 10_000}
    for bad in (b"", b"{", b"[]", b"null", b"\xff" * 100, lying, many, {**good, "schemaVersion": 1},
                {**good, "config": None}, {**good, "mediaType": OCI_INDEX},
                {**good, "layers": [{**good["layers"][0], "digest": "sha256:../../x"}]},
                b"[" * 1_000_000):
        answer = registry.put_manifest(name, "x", bad)
        assert (answer.status, answer.error()) == (400, "MANIFEST_INVALID"), bad
    huge = json.dumps({**good, "annotations": {"x": "y" * (4 << 20)}}).encode()
    for bad in (huge, b"x" * (10 << 20)):
        answer = registry.put_manifest(name, "x", bad)
        assert (answer.status, answer.error()) == (413, "MANIFEST_INVALID")
    assert registry.put_manifest(name, digest_of(b"x"), good).error() == "DIGEST_INVALID"
    assert registry.put_manifest(name, "x", good, "text/html").error() == "MANIFEST_INVALID"
    assert registry.ask("GET", f"/v2/{name}/manifests/x").status == 404


def test_paths_are_names_or_nothing(registry):
    before = sorted(p.relative_to(registry.blobs.parent) for p in registry.blobs.parent.rglob("*"))
    zeros = "sha256:" + "0" * 64
    for path, error in ((f"/v2/../../etc/blobs/{zeros}", "NAME_INVALID"),
                        (f"/v2/a/%2e%2e/b/blobs/{zeros}", "NAME_INVALID"),
                        (f"/v2/A/blobs/{zeros}", "NAME_INVALID"),
                        (f"/v2//etc/blobs/{zeros}", "NAME_INVALID"),
                        (f"/v2/a+b/blobs/{zeros}", "NAME_INVALID"),
                        (f"/v2/{'a' * 300}/blobs/{zeros}", "NAME_INVALID"),
                        ("/v2/a/blobs/sha256:../../../refs/x", "UNSUPPORTED"),
                        ("/v2/a/blobs/..", "DIGEST_INVALID"),
                        ("/v2/a/manifests/..", "TAG_INVALID"),
                        ("/v2/a/manifests/.hidden", "TAG_INVALID"),
                        ("/v2/a/manifests/" + "t" * 200, "TAG_INVALID"),
                        ("/v2/nothing", "UNSUPPORTED")):
        answer = registry.ask("GET", path)
        assert answer.status in (400, 404) and answer.error() == error, path
    assert registry.ask("POST", "/v2/../x/blobs/uploads/").error() == "NAME_INVALID"
    assert registry.ask("PATCH", "/v2/a/manifests/x", b"x").status == 405
    assert registry.ask("PUT", "/v2/a/blobs/uploads/../../x", b"x").status in (400, 404, 405)
    after = sorted(p.relative_to(registry.blobs.parent) for p in registry.blobs.parent.rglob("*"))
    assert before == after


def test_a_body_without_an_end_meets_the_disk_and_not_the_memory(registry, name):
    """It may go on as long as it likes; the server's memory does not grow with it."""
    def memory():
        text = pathlib.Path(f"/proc/{registry.made.pid('server')}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) << 10
    before = memory()
    at = registry.begin(name)
    sent, block = 0, os.urandom(1 << 20)
    auth = base64.b64encode(registry.credentials.encode()).decode()
    with socket.create_connection(("127.0.0.1", registry.port)) as raw:
        raw.sendall(f"PATCH {at} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n".encode())
        while sent < 200 << 20:
            raw.sendall(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            sent += len(block)
    until(lambda: registry.ask("GET", at).status == 204, timeout=60, what="the end of the body")
    assert memory() - before < 64 << 20
    assert registry.ask("DELETE", at).status == 204


# ---- who may what ----

def token_of(made, expires_ms, role="o"):
    secret = made.key()["secretAccessKey"].encode()
    key = hmac.new(secret, b"fairlead registry tokens", hashlib.sha256).digest()
    head = f"1.{role}.{expires_ms}"
    return f"{head}.{hmac.new(key, head.encode(), hashlib.sha256).hexdigest()}"


def test_tokens_are_good_for_twelve_hours(registry, name):
    data = registry.ecr.get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == f"http://{registry.host}"
    assert abs(data["expiresAt"].timestamp() - time.time() - 12 * 3600) < 60
    now = int(time.time() * 1000)
    path = f"/v2/{name}/blobs/uploads/"
    assert registry.ask("POST", path, auth=basic(token_of(registry.made, now + 60000))).status == 202
    expired = registry.ask("POST", path, auth=basic(token_of(registry.made, now - 1)))
    assert (expired.status, expired.error()) == (403, "DENIED") and b"has expired" in expired.body
    good = token_of(registry.made, now + 60000)
    for wrong in ("", "x", good[:-1] + ("0" if good[-1] != "0" else "1"),
                  good.replace(".o.", ".a.", 1), good + "0"):
        for auth in (basic(wrong), f"Bearer {wrong}"):
            answer = registry.ask("POST", path, auth=auth)
            assert (answer.status, answer.error()) == (401, "UNAUTHORIZED"), wrong
    assert registry.ask("POST", path, auth=basic(good, user="root")).status == 401
    assert registry.ask("POST", path, auth="Basic !!!").status == 401


def test_an_agent_pulls_and_nobody_else_pushes(registry, name):
    registry.image(name, "agents", "1")
    later = int(time.time() * 1000) + 60000
    agent = basic(token_of(registry.made, later, role="a"))
    assert registry.ask("GET", f"/v2/{name}/manifests/1", auth=agent).status == 200
    answer = registry.ask("POST", f"/v2/{name}/blobs/uploads/", auth=agent)
    assert (answer.status, answer.error()) == (403, "DENIED")
    # On loopback anybody pulls, and nobody changes anything, whatever a header says.
    for headers in ({}, {"X_Forwarded_For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}):
        assert registry.ask("GET", f"/v2/{name}/manifests/1", auth=None, **headers).status == 200
        for method, path in (("POST", "blobs/uploads/"), ("DELETE", "manifests/1"),
                             ("PUT", "manifests/2")):
            answer = registry.ask(method, f"/v2/{name}/{path}", auth=None, **headers)
            assert (answer.status, answer.error()) == (401, "UNAUTHORIZED")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert registry.ask("GET", "/v2/", auth=None).status == 401
    assert registry.ask("GET", "/v2/").status == 200


def test_from_elsewhere_nobody_pulls_without_a_password():
    """The server is asked over an address of the machine's own that is not loopback."""
    address = "192.0.2.77"
    run("ip", "addr", "add", f"{address}/32", "dev", "lo")
    made = clusters.Cluster()
    keys = pathlib.Path(made.data_dir)
    process = subprocess.Popen(
        [clusters.FAIRLEAD, "server", "--data-dir", str(keys), "--listen", f"0.0.0.0:{made.port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def ask(path, auth=None, **headers):
            connection = http.client.HTTPConnection(address, made.port, timeout=30,
                                                    source_address=(address, 0))
            with contextlib.closing(connection):
                if auth:
                    headers["Authorization"] = auth
                connection.request("GET", path, headers=headers)
                return Answer(connection.getresponse())
        def answers():
            with contextlib.suppress(OSError):
                return ask("/v2/").status == 401
        until(answers, what="the server")
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Host": "127.0.0.1"}):
            for path in ("/v2/_catalog", "/v2/a/manifests/1", "/v2/a/tags/list", "/v2/_token"):
                assert ask(path, **headers).status == 401, path
        good = basic(token_of(made, int(time.time() * 1000) + 60000))
        assert ask("/v2/_catalog", auth=good).json() == {"repositories": []}
        token = ask("/v2/_token", auth=good).json()["token"]
        assert ask("/v2/_catalog", auth=f"Bearer {token}").status == 200
    finally:
        process.terminate()
        process.wait(30)
        run("ip", "addr", "del", f"{address}/32", "dev", "lo")
        shutil.rmtree(made.data_dir)


def test_a_strict_server_wants_repositories_created(cluster_with):
    made = Registry(cluster_with("--strict"))
    answer = made.ask("POST", "/v2/new/app/blobs/uploads/")
    assert (answer.status, answer.error()) == (404, "NAME_UNKNOWN")
    assert b"The repository with name 'new/app' does not exist in the registry with id " \
        b"'000000000000'" in answer.body
    data = b"abc"
    assert made.ask("POST", f"/v2/new/app/blobs/uploads/?digest={digest_of(data)}",
                    data).error() == "NAME_UNKNOWN"
    assert made.put_manifest("new/app", "1", b"{}").error() == "NAME_UNKNOWN"
    made.ecr.create_repository(repositoryName="new/app")
    made.image("new/app", "strict", "1")
    # What is asked for over ECR survives a restart.
    made.ecr.put_image_tag_mutability(repositoryName="new/app", imageTagMutability="IMMUTABLE")
    before = made.ecr.describe_repositories()["repositories"]
    made.made.kill("server")
    made.made.up()  # though a strict server counts its questions, too
    assert made.ecr.describe_repositories()["repositories"] == before


# ---- collecting ----

def test_only_what_nothing_needs_is_collected(cluster, registry, name):
    tagged = registry.image(name, "kept", "1")
    running = registry.image(name, "runs", "run")
    pinned = registry.image(name, "pinned", "pin")
    gone = registry.image(name, "gone", "gone")
    layers = {seed: digest_of(layer_of(seed)) for seed in ("kept", "runs", "pinned", "gone")}
    cluster.register(clusters.container(image=f"{registry.host}/{name}@{pinned}"))
    stray = registry.put_blob(name, b"stray")
    fresh = registry.put_blob(name, b"fresh")
    registry.age(tagged, running, pinned, gone, stray, *layers.values())
    for tag in ("pin", "gone"):
        assert registry.ask("DELETE", f"/v2/{name}/manifests/{tag}").status == 202
    until(lambda: not registry.has_blob(gone) and not registry.has_blob(stray),
          what="the collector", pause=0.2)
    assert not registry.has_blob(layers["gone"])
    assert registry.has_blob(fresh)
    for seed, digest in (("kept", tagged), ("runs", running), ("pinned", pinned)):
        assert registry.has_blob(digest) and registry.has_blob(layers[seed]), seed
    # A blob that an image needs is not deleted, another is.
    assert registry.ask("DELETE", f"/v2/{name}/blobs/{layers['kept']}").status == 405
    assert registry.ask("DELETE", f"/v2/{name}/blobs/{fresh}").status == 202
    assert registry.ask("DELETE", f"/v2/{name}/blobs/{fresh}").error() == "BLOB_UNKNOWN"


def test_images_without_a_tag_go_where_nobody_made_the_repository(cluster, registry, name):
    registry.ecr.create_repository(repositoryName=f"{name}/made")
    old, needed = registry.image(name, "old", "1"), registry.image(name, "needed")
    registry.image(name, "new", "1")                # the tag moves on
    index = registry.image(name, "listed")
    size = len(registry.ask("GET", f"/v2/{name}/manifests/{index}").body)
    registry.put_manifest(name, "multi", {
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": index, "size": size}]}, OCI_INDEX)
    kept = registry.image(f"{name}/made", "kept")
    cluster.register(clusters.container(image=f"{registry.host}/{name}@{needed}"))
    for where, digest in ((name, old), (name, needed), (name, index), (f"{name}/made", kept)):
        registry.pushed_before(where, digest, days=2)
    registry.image(name, "any", "any")              # a push has the collector look
    until(lambda: registry.ask("GET", f"/v2/{name}/manifests/{old}").status == 404,
          what="the end of an image without a tag", pause=0.2)
    for where, digest in ((name, needed), (name, index), (f"{name}/made", kept)):
        assert registry.ask("GET", f"/v2/{where}/manifests/{digest}").status == 200


def test_pushes_and_the_collector_do_not_get_into_each_others_way(registry, name):
    """Images that share layers come and go while every blob grows old at once. Whoever was told 201
    has a whole image; who was not may push again."""
    layers = [layer_of(f"race-{i}") for i in range(6)]
    config = config_of("race-0")
    kept = {}
    end = time.monotonic() + 8
    def grow_old():
        while time.monotonic() < end:
            for data in (*layers, config):
                with contextlib.suppress(FileNotFoundError):
                    registry.age(digest_of(data))
            time.sleep(0.01)
    def push(who):
        n = 0
        while time.monotonic() < end:
            n += 1
            mine = [layers[(who + n + i) % 6] for i in range(3)]
            for data in (*mine, config):
                if registry.ask("HEAD", f"/v2/{name}/blobs/{digest_of(data)}").status != 200:
                    registry.put_blob(name, data)
            body = json.dumps({**manifest_of(config, mine),
                               "annotations": {"n": f"{who}/{n}"}}).encode()
            answer = registry.put_manifest(name, f"{who}-{n}", body)
            if answer.status == 404 and answer.error() == "MANIFEST_BLOB_UNKNOWN":
                continue
            assert answer.status == 201, answer.body
            kept[f"{who}-{n}"] = (digest_of(body), mine)
            if n % 3:
                del kept[f"{who}-{n}"]
                assert registry.ask("DELETE",
                                    f"/v2/{name}/manifests/{digest_of(body)}").status == 202
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        for each in [pool.submit(grow_old), *[pool.submit(push, who) for who in range(4)]]:
            each.result()
    assert kept
    for tag, (digest, mine) in kept.items():
        assert registry.ask("GET", f"/v2/{name}/manifests/{tag}").headers[
            "Docker-Content-Digest"] == digest
        assert all(registry.has_blob(digest_of(data)) for data in (*mine, config))
    registry.ecr.delete_repository(repositoryName=name, force=True)


@needs("skopeo")
def test_a_running_task_keeps_its_image(cluster, registry, name, busybox):
    skopeo(registry, "copy", f"docker-archive:{busybox}", f"docker://{registry.host}/{name}:1")
    task = cluster.wait(cluster.start(cluster.register(
        clusters.idle(image=f"{registry.host}/{name}:1"))), "RUNNING")
    digest = until(lambda: cluster.task(task["taskArn"])["containers"][0].get("imageDigest"),
                   what="the digest")
    stray = registry.put_blob(name, b"stray of a running task")
    registry.age(stray, *["sha256:" + path.name for path in registry.blobs.iterdir()])
    registry.ecr.delete_repository(repositoryName=name, force=True)
    until(lambda: not registry.has_blob(stray), what="the collector", pause=0.2)
    assert registry.has_blob(digest)
    manifest = json.loads((registry.blobs / digest.removeprefix("sha256:")).read_text())
    assert all(registry.has_blob(layer["digest"]) for layer in manifest["layers"])


def test_the_operators_commands_see_pushed_images(registry, name):
    digest = registry.image(name, "operator", "1")
    rows = json.loads(run(clusters.FAIRLEAD, "image", "ls", "--json", "--data-dir",
                          registry.made.data_dir).stdout)
    assert (name, "1", digest) in [(r["repository"], r["tag"], r["digest"]) for r in rows]
    run(clusters.FAIRLEAD, "image", "rm", f"{name}:1", "--data-dir", registry.made.data_dir)
    assert registry.ask("GET", f"/v2/{name}/manifests/{digest}").status == 404
    assert registry.ask("GET", f"/v2/{name}/tags/list").error() == "NAME_UNKNOWN"


def test_a_full_disk_is_said_and_left_usable():
    """A registry on a small file system of its own."""
    made = clusters.Cluster()
    run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", made.data_dir)
    os.chmod(made.data_dir, 0o700)
    try:
        made.up()
        small = Registry(made)
        at = small.begin("big")
        answer = small.ask("PATCH", at, (os.urandom(1 << 20) for _ in range(100)))
        assert (answer.status, answer.error()) == (507, "DENIED")
        assert b"disk is full" in answer.body
        assert small.ask("GET", at).status == 404
        small.image("small", "fits", "1")
    finally:
        made.fairlead("down", check=False)
        run("umount", made.data_dir)
        shutil.rmtree(made.data_dir)
