"""Images: loading into the built-in registry, and unpacking layers.

Method: archives are made here (tools/mkimage.py, or Python's tarfile for the hostile ones), the built
programs are run on them, and what lies on disk afterwards is compared with what went in. Every
refusal must leave the directories as they were. Needs root."""
import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zlib

import pytest

from cluster import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNDER_TEST = os.environ.get("FAIRLEAD_UNDER_TEST", os.path.join(ROOT, "build", "fairlead"))
BUILD = os.environ.get("FAIRLEAD_BUILD", os.path.dirname(UNDER_TEST))
MKIMAGE = os.path.join(ROOT, "tools", "mkimage.py")
UNPACK = os.path.join(BUILD, "src", "libexec", "fairlead-unpack")
TIMEOUT_SECONDS = 120


def fairlead_program():
    for place in ("fairlead", "src/fairlead"):
        path = os.path.join(BUILD, place)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"no fairlead in {BUILD}")


def run(*words, check=True, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=TIMEOUT_SECONDS, **options)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def image(data, *words, check=True):
    return run(fairlead_program(), "image", *words, "--data-dir", data, check=check)


def listing(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder)
                  for at, folders, files in os.walk(folder) for name in folders + files)


def refused(data, *words):
    """A load that must fail with one line and change nothing. The line."""
    image(data, "ls", check=False)
    before = listing(data) if os.path.exists(data) else None
    done = image(data, "load", *words, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    if before is not None:
        assert listing(data) == before
    else:
        assert not os.path.exists(data) or not [
            name for name in listing(os.path.join(data, "registry"))
            if name not in ("blobs", "blobs/sha256", "refs", "repositories", "tmp", "uploads")]
    return done.stderr


# Tars, member by member.

def member(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def symlink(name, target):
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name, target):
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def directory(name, mode=0o755, **fields):
    return member(name, type=tarfile.DIRTYPE, mode=mode, **fields)


def make_tar(*members, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Unpacked:
    def __init__(self, done, folder):
        self.status = done.returncode
        self.opaque = done.stdout.decode().split("\0")[:-1]
        self.complaint = done.stderr.decode()
        self.folder = folder


def unpack(tmp_path, blob, *options):
    """Runs the helper on a layer as the agent does."""
    number = len(list(tmp_path.iterdir()))
    blob_path = tmp_path / f"{number}.blob"
    blob_path.write_bytes(blob)
    folder = tmp_path / f"{number}.layer"
    folder.mkdir(mode=0o755)
    archive = os.open(blob_path, os.O_RDONLY)
    target = os.open(folder, os.O_RDONLY)

    def descriptors():
        os.dup2(archive, 20)
        os.dup2(target, 21)
        os.dup2(20, 3)
        os.dup2(21, 4)

    done = subprocess.run([UNPACK, "layer", *options], capture_output=True, timeout=TIMEOUT_SECONDS,
                          preexec_fn=descriptors, close_fds=False)
    os.close(archive)
    os.close(target)
    return Unpacked(done, folder)


def unpacked(tmp_path, *members):
    result = unpack(tmp_path, make_tar(*members))
    assert result.status == 0, result.complaint
    return result


def refuses(tmp_path, blob, *options):
    """The complaint about a layer that must be refused. Nothing may appear outside the layer."""
    canary = tmp_path / "canary"
    canary.write_text("safe")
    result = unpack(tmp_path, blob, *options)
    assert result.status == 1, (result.status, result.complaint)
    assert len(result.complaint.strip().splitlines()) == 1
    assert canary.read_text() == "safe"
    return result.complaint


# Loading.

@pytest.fixture
def rootfs(tmp_path):
    folder = tmp_path / "rootfs"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "motd").write_text("hello\n")
    return folder


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def mkimage(*words):
    run(sys.executable, MKIMAGE, *words)


def images(data):
    return {f"{entry['repository']}:{entry['tag']}": entry
            for entry in json.loads(image(data, "ls", "--json").stdout)}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
@pytest.mark.parametrize("form", ["docker", "oci"])
def test_archives_load(tmp_path, rootfs, data, form, name):
    mkimage("--format", form, "-t", "team/app:1", "-o", tmp_path / name, rootfs)
    assert image(data, "load", tmp_path / name).stdout.startswith("loaded team/app:1 sha256:")
    entry = images(data)["team/app:1"]
    manifest = data / "registry/blobs/sha256" / entry["digest"].removeprefix("sha256:")
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == manifest.name
    assert entry["layers"] == 1
    assert listing(data / "registry/tmp") == []


def test_a_layout_directory_loads_under_a_given_name(tmp_path, rootfs, data):
    mkimage("-o", tmp_path / "layout", rootfs)
    assert "give NAME:TAG" in refused(data, tmp_path / "layout")
    image(data, "load", tmp_path / "layout", "docker.io/library/app:2")
    image(data, "load", tmp_path / "layout", "127.0.0.1:4566/other")
    assert set(images(data)) == {"app:2", "other:latest"}
    table = image(data, "ls").stdout.splitlines()
    assert table[0].split() == ["REPOSITORY", "TAG", "DIGEST", "SIZE", "LAYERS"]
    assert len(table) == 3


def test_loading_twice_changes_nothing(tmp_path, rootfs, data):
    mkimage("-t", "app:1", "-o", tmp_path / "a.tar", rootfs)
    image(data, "load", tmp_path / "a.tar")
    before = listing(data)
    image(data, "load", tmp_path / "a.tar")
    assert listing(data) == before


def test_images_are_removed(tmp_path, rootfs, data):
    mkimage("-t", "app:1", "-o", tmp_path / "a.tar", rootfs)
    image(data, "load", tmp_path / "a.tar")
    image(data, "rm", "app:1")
    assert images(data) == {}
    done = image(data, "rm", "app:1", check=False)
    assert done.returncode == 1 and "there is no image app:1" in done.stderr


def test_wrong_usage_is_told(data):
    for words in ([], ["frobnicate"], ["load"], ["rm"], ["ls", "x"]):
        assert image(data, *words, check=False).returncode == 2


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
def test_what_skopeo_writes_loads(tmp_path, rootfs, data):
    mkimage("-t", "app:1", "-o", tmp_path / "layout", rootfs)
    run("skopeo", "--insecure-policy", "copy", f"oci:{tmp_path}/layout:app:1",
        f"docker-archive:{tmp_path}/skopeo.tar:copied:1")
    run("skopeo", "--insecure-policy", "copy", f"docker-archive:{tmp_path}/skopeo.tar",
        f"oci-archive:{tmp_path}/again.tar:again:1")
    image(data, "load", tmp_path / "skopeo.tar")
    image(data, "load", tmp_path / "again.tar")
    assert set(images(data)) == {"copied:1", "again:1"}


def test_a_blob_with_a_wrong_digest_is_refused(tmp_path, rootfs, data):
    mkimage("-t", "app:1", "-o", tmp_path / "layout", rootfs)
    blobs = tmp_path / "layout/blobs/sha256"
    largest = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    image(data, "ls", check=False)
    assert "digest mismatch" in refused(data, tmp_path / "layout")
    # The same with something else in the store.
    mkimage("-t", "good:1", "-o", tmp_path / "good.tar", rootfs)
    image(data, "load", tmp_path / "good.tar")
    assert "digest mismatch" in refused(data, tmp_path / "layout")


def test_a_docker_layer_that_is_not_its_diff_id_is_refused(tmp_path, rootfs, data):
    mkimage("-t", "app:1", "-o", tmp_path / "a.tar", rootfs)
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]
    changed = [(info, content[:-1] + b"x" if info.name.endswith(".tar") else content)
               for info, content in members]
    (tmp_path / "bad.tar").write_bytes(make_tar(*changed))
    assert "digest mismatch" in refused(data, tmp_path / "bad.tar")


@pytest.mark.parametrize("content", [b"", b"not a tar at all", b"\x1f\x8b damaged", b"\0" * 10240])
def test_what_is_no_archive_is_refused(tmp_path, data, content):
    (tmp_path / "a.tar").write_bytes(content)
    refused(data, tmp_path / "a.tar")


def test_a_cut_archive_is_refused(tmp_path, rootfs, data):
    (rootfs / "big").write_bytes(os.urandom(100000))
    mkimage("-t", "app:1", "-o", tmp_path / "a.tar", rootfs)
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:50000])
    refused(data, tmp_path / "cut.tar")
    packed = gzip.compress(content)
    (tmp_path / "cut.tar.gz").write_bytes(packed[:len(packed) // 2])
    refused(data, tmp_path / "cut.tar.gz")


def test_an_archive_cannot_read_the_hosts_files(tmp_path, data):
    secret = tmp_path / "secret"
    secret.write_text("[]")
    for target in (str(secret), "../../../../../../" + str(secret)):
        (tmp_path / "a.tar").write_bytes(make_tar(symlink("manifest.json", target)))
        assert "neither a docker-archive" in refused(data, tmp_path / "a.tar")
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "manifest.json").write_text(
        json.dumps([{"Config": "../secret", "RepoTags": ["a:1"], "Layers": []}]))
    refused(data, layout)


@pytest.mark.parametrize("options", [["-o", "bad.tar"], ["-o", "layout"],
                                     ["-o", "layout", "--compress", "none"]])
@pytest.mark.parametrize("case", ["dotdot", "escaping-link-parent", "hardlink-absolute",
                                  "whiteout-dotdot"])
def test_an_image_with_a_hostile_layer_is_not_taken_in(tmp_path, rootfs, data, case, options):
    (tmp_path / "hostile.tar").write_bytes(make_tar(*ESCAPES[case]))
    run(sys.executable, MKIMAGE, "-t", "app:1", *options, rootfs, "hostile.tar", cwd=tmp_path)
    assert "layer sha256:" in refused(data, tmp_path / options[1])
    mkimage("-t", "good:1", "-o", tmp_path / "good.tar", rootfs)
    image(data, "load", tmp_path / "good.tar")
    assert "layer sha256:" in refused(data, tmp_path / options[1])


@pytest.mark.parametrize("name", ["../x", "A", "app:", "app:a/b", "a..b", "app:" + "x" * 200])
def test_hostile_names_are_refused(tmp_path, rootfs, data, name):
    mkimage("-t", "app:1", "-o", tmp_path / "a.tar", rootfs)
    assert "invalid reference format" in refused(data, tmp_path / "a.tar", name)
    mkimage("-t", name, "-o", tmp_path / "b.tar", rootfs)
    assert "invalid reference format" in refused(data, tmp_path / "b.tar")


# Unpacking what is well made.

def test_links_modes_owners_times_and_attributes_are_kept(tmp_path):
    layer = unpacked(
        tmp_path,
        directory("dir", 0o1777, mtime=1000, uid=5, gid=6),
        member("dir/file", b"data", mode=0o4711, uid=1000, gid=1001, mtime=2000,
               pax_headers={"SCHILY.xattr.user.colour": "blue",
                            "SCHILY.xattr.trusted.overlay.opaque": "y",
                            "SCHILY.xattr.user.overlay.opaque": "y"}),
        hardlink("hard", "dir/file"),
        symlink("soft", "dir/file"),
        symlink("absolute", "/proc/mounts"),
        directory("empty", 0o700),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("pipe", type=tarfile.FIFOTYPE, mode=0o600),
        member("/leading/slash", b"x"),
        member("n\u00e4me", b"x"),
    ).folder
    status = os.lstat(layer / "dir")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_uid) == (0o1777, 1000, 5)
    status = os.lstat(layer / "dir/file")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o4711, 2000)
    assert (status.st_uid, status.st_gid, status.st_nlink) == (1000, 1001, 2)
    assert os.listxattr(layer / "dir/file") == ["user.colour"]
    assert os.getxattr(layer / "dir/file", "user.colour") == b"blue"
    assert os.path.samefile(layer / "hard", layer / "dir/file")
    assert os.readlink(layer / "soft") == "dir/file"
    assert os.readlink(layer / "absolute") == "/proc/mounts"
    assert os.lstat(layer / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(os.lstat(layer / "pipe").st_mode)
    assert (layer / "leading/slash").read_text() == "x"
    assert (layer / "n\u00e4me").exists()
    assert list((layer / "empty").iterdir()) == []


def test_file_capabilities_are_kept(tmp_path):
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    layer = unpacked(tmp_path, member(
        "ping", b"x", mode=0o755,
        pax_headers={"SCHILY.xattr.security.capability": capability.decode("latin-1")})).folder
    assert os.getxattr(layer / "ping", "security.capability") == capability


def is_whiteout(path):
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_whiteouts_become_overlayfs_own(tmp_path):
    layer = unpacked(tmp_path, directory("dir"), member("dir/.wh.gone"),
                     directory("replaced"), member("replaced/.wh..wh..opq"),
                     member("replaced/new", b"x"),
                     member(".wh.first"), directory("first"), member("first/x", b"x"),
                     directory("last"), member(".wh.last"),
                     member(".wh..wh.plnk/junk", b"x"))
    assert is_whiteout(layer.folder / "dir/gone")
    assert sorted(layer.opaque) == ["first", "last", "replaced"]
    assert listing(layer.folder) == ["dir", "dir/gone", "first", "first/x", "last", "replaced",
                                     "replaced/new"]


def mount_overlay(layers, where):
    where.mkdir()
    run("mount", "-t", "overlay", "overlay", "-o",
        "lowerdir=" + ":".join(str(layer) for layer in layers), where)


def test_whiteouts_hide_over_two_layers(tmp_path):
    lower = unpacked(tmp_path, directory("a"), member("a/one", b"1"), member("a/two", b"2"),
                     directory("b"), member("b/old", b"x"), member("c", b"c"))
    upper = unpacked(tmp_path, directory("a"), member("a/.wh.one"), directory("b"),
                     member("b/.wh..wh..opq"), member("b/new", b"x"), member(".wh.c"))
    for path in upper.opaque:
        os.setxattr(upper.folder / path, "trusted.overlay.opaque", b"y")
    merged = tmp_path / "merged"
    mount_overlay([upper.folder, lower.folder], merged)
    try:
        assert listing(merged) == ["a", "a/two", "b", "b/new"]
    finally:
        run("umount", merged)


def test_a_later_entry_replaces_an_earlier_one(tmp_path):
    layer = unpacked(tmp_path, symlink("a", "b"), member("b", b"old"), member("a", b"new"),
                     directory("d"), member("d/x", b"x"), member("d", b"file"),
                     member("f", b"x"), directory("f"), directory("g"), member("g/kept", b"x"),
                     directory("g", 0o700)).folder
    assert not os.path.islink(layer / "a") and (layer / "a").read_text() == "new"
    assert (layer / "b").read_text() == "old"
    assert (layer / "d").read_text() == "file"
    assert os.path.isdir(layer / "f")
    assert (layer / "g/kept").exists() and stat.S_IMODE(os.stat(layer / "g").st_mode) == 0o700


def test_links_inside_the_layer_may_be_written_through(tmp_path):
    layer = unpacked(tmp_path, directory("usr/lib"), symlink("lib", "usr/lib"),
                     member("lib/x", b"x")).folder
    assert (layer / "usr/lib/x").read_text() == "x"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_dialect_and_compression_is_read(tmp_path, form):
    plain = make_tar(member("dir/" + "n" * 90, b"data"), form=form)
    diff_id = hashlib.sha256(plain).hexdigest()
    packed = [plain, gzip.compress(plain)]
    if shutil.which("zstd"):
        packed.append(subprocess.run(["zstd", "-c"], input=plain, capture_output=True,
                                     check=True).stdout)
    for blob in packed:
        result = unpack(tmp_path, blob, "--diff-id", diff_id)
        assert result.status == 0, result.complaint
        assert (result.folder / "dir" / ("n" * 90)).read_text() == "data"


def test_an_empty_layer_is_fine(tmp_path):
    result = unpack(tmp_path, gzip.compress(make_tar()))
    assert result.status == 0 and listing(result.folder) == []


# Unpacking what is not.

ESCAPES = {
    "dotdot": [member("../x", b"x")],
    "dotdot-inside": [member("a/../../x", b"x")],
    "dotdot-end": [directory("a/..")],
    "absolute-link-parent": [symlink("a", "/tmp"), member("a/fl-escaped", b"x")],
    "escaping-link-parent": [symlink("a", "../.."), member("a/x", b"x")],
    "deep-escaping-link": [directory("d"), symlink("d/a", "../../../.."), member("d/a/x", b"x")],
    "link-chain": [symlink("a", "b"), symlink("b", "/tmp"), member("a/fl-escaped", b"x")],
    "link-loop": [symlink("a", "a"), member("a/x", b"x")],
    "link-directory": [symlink("a", "/tmp"), directory("a/fl-escaped")],
    "hardlink-dotdot": [hardlink("a", "../canary")],
    "hardlink-absolute": [hardlink("a", "/etc/passwd")],
    "hardlink-through-link": [symlink("l", "/etc"), hardlink("a", "l/passwd")],
    "hardlink-missing": [hardlink("a", "nothing")],
    "hardlink-self": [hardlink("a", "a")],
    "hardlink-directory": [directory("d"), hardlink("a", "d")],
    "whiteout-dotdot": [member(".wh...", b"")],
    "whiteout-dot": [member(".wh..", b"")],
    "whiteout-nothing": [member("a/.wh.", b"")],
    "whiteout-directory": [member("a/.wh.b/c", b"x")],
    "file-as-directory": [member("a", b"x"), member("a/b", b"x")],
    "device-as-directory": [member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
                            member("a/b", b"x")],
    "root-as-file": [member(".", b"x")],
    "root-as-link": [symlink(".", "/etc")],
    "too-deep": [directory("/".join(["d"] * 300))],
    "too-long": [member("/".join(["n" * 200] * 30), b"x")],
    "name-too-long": [member("n" * 300, b"x")],
}


@pytest.mark.parametrize("case", sorted(ESCAPES))
def test_hostile_members_are_refused(tmp_path, case):
    outside = listing(tmp_path)
    refuses(tmp_path, make_tar(*ESCAPES[case]))
    assert set(os.listdir(tmp_path)) - set(outside) == {"canary", "1.blob", "1.layer"}
    assert not os.path.exists("/tmp/fl-escaped")


def test_a_hardlink_cannot_reach_outside_even_by_accident(tmp_path):
    assert "does not hold" in refuses(tmp_path, make_tar(hardlink("a", "/etc/passwd")))


def test_a_wrong_diff_id_is_refused(tmp_path):
    plain = make_tar(member("a", b"x"))
    assert "digest mismatch" in refuses(tmp_path, gzip.compress(plain), "--diff-id", "0" * 64)
    # What follows the tar's end counts too.
    diff_id = hashlib.sha256(plain).hexdigest()
    assert "digest mismatch" in refuses(tmp_path, plain + b"more", "--diff-id", diff_id)


def test_damaged_compression_is_refused(tmp_path):
    packed = gzip.compress(make_tar(member("a", os.urandom(200000))))
    refuses(tmp_path, packed[:len(packed) // 2])
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xff
    refuses(tmp_path, bytes(damaged), "--diff-id", "0" * 64)
    refuses(tmp_path, make_tar(member("a", os.urandom(200000)))[:100000])
    refuses(tmp_path, b"")
    refuses(tmp_path, b"rubbish" * 1000)


def test_gzip_in_several_members_is_one_layer(tmp_path):
    plain = make_tar(member("a", os.urandom(500_000)), member("b", b"x" * 500_000))
    parts = [gzip.compress(plain[at:at + 123_457]) for at in range(0, len(plain), 123_457)]
    diff_id = hashlib.sha256(plain).hexdigest()
    # What follows the last member and is none is nobody's, as gzip has it.
    for number, end in enumerate((b"", b"\0" * 1000, b"\x1f", gzip.compress(b""))):
        folder = tmp_path / str(number)
        folder.mkdir()
        result = unpack(folder, b"".join(parts) + end, "--diff-id", diff_id)
        assert result.status == 0, result.complaint
        assert (result.folder / "b").read_bytes() == b"x" * 500_000
    assert "truncated" in refuses(tmp_path, b"".join(parts)[:-1])
    for at, words in ((-6, "checksum"), (len(parts[0]) + 1, "Truncated"), (3, "")):
        damaged = bytearray(b"".join(parts))
        damaged[at] ^= 0xff
        assert words in refuses(tmp_path, bytes(damaged), "--diff-id", diff_id)


def test_bombs_are_refused(tmp_path):
    sparse = make_tar(member("a", b"x" * 100000))
    assert "more than 50000 bytes" in refuses(tmp_path, sparse, "--max-bytes", "50000")
    many = make_tar(*[member(f"f{i}") for i in range(50)])
    assert "more than 49 entries" in refuses(tmp_path, many, "--max-entries", "49")


def test_a_dense_bomb_is_refused_early(tmp_path):
    header = tarfile.TarInfo("a")
    header.size = 1 << 30
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(header.tobuf())
    zeros = bytes(1 << 20)
    for _ in range(1 << 10):
        packed += packer.compress(zeros)
    packed += packer.flush()
    assert "times its size" in refuses(tmp_path, packed)


def test_a_huge_hole_is_refused(tmp_path):
    """A GNU sparse file claims 8 TiB in a few blocks."""
    info = tarfile.TarInfo("a")
    info.size = 0
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "a",
                        "GNU.sparse.size": str(8 << 40), "GNU.sparse.map": f"{8 << 40},0"}
    assert "more than" in refuses(tmp_path, make_tar((info, b"")))


def test_owners_out_of_range_are_refused(tmp_path):
    assert "owner out of range" in refuses(
        tmp_path, make_tar(member("a", b"x", pax_headers={"uid": str(1 << 40)})))


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    complaint = refuses(tmp_path, make_tar(member("../\x1b[31m\nfake", b"x")))
    assert "\x1b" not in complaint


BLOB, BLOB_BEGIN = make_tar(member("a", b"x" * 1000)), 1500


def status_of(process):
    """What /proc says of a process."""
    with open(f"/proc/{process.pid}/status") as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)


@contextlib.contextmanager
def waiting_helper(tmp_path):
    """A helper that is confined, its folder, and the pipe that it reads the rest of BLOB from: it
    reads nothing before it is confined."""
    folder = tmp_path / "layer"
    folder.mkdir()
    reader, writer = os.pipe()
    target = os.open(folder, os.O_RDONLY)

    def descriptors():
        os.dup2(reader, 20)
        os.dup2(target, 21)
        os.dup2(20, 3)
        os.dup2(21, 4)

    process = subprocess.Popen([UNPACK, "layer"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=descriptors, close_fds=False)
    os.close(reader)
    writer = os.fdopen(writer, "wb", 0)
    try:
        writer.write(BLOB[:BLOB_BEGIN])
        until(lambda: status_of(process)["Seccomp"] == "2", what="the confinement")
        yield process, folder, writer
    finally:
        writer.close()
        process.communicate(timeout=TIMEOUT_SECONDS)


def test_the_helper_gives_up_its_privileges(tmp_path):
    """While it waits for its archive, /proc shows what it may still do."""
    with waiting_helper(tmp_path) as (process, folder, _):
        status = status_of(process)
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == sum(
            1 << bit for bit in (0, 1, 3, 4, 27, 31))
        assert int(status["CapBnd"], 16) == 0
        assert os.readlink(f"/proc/{process.pid}/root") == str(folder)


@pytest.mark.parametrize("told", (True, False), ids=("until-told", "a-second-at-most"))
def test_the_helper_holds_still(tmp_path, told):
    with waiting_helper(tmp_path) as (process, folder, writer):
        process.send_signal(signal.SIGURG)
        until(lambda: int(status_of(process)["SigBlk"], 16) & 1 << signal.SIGURG - 1, what="a hold")
        writer.write(BLOB[BLOB_BEGIN:])
        writer.close()
        if told:
            process.send_signal(signal.SIGCONT)
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert (folder / "a").read_bytes() == b"x" * 1000
