#!/usr/bin/env python3
"""Makes a container image from directories and tars: an OCI layout or a docker-archive.

    mkimage.py --tag app:1 --cmd /bin/sh --output app.tar ROOTFS_DIR [UPPER_DIR|LAYER.tar …]

Every operand is one layer, the base first: a directory (packed with owners and modes as they are;
device and socket files as well) or a tar, plain or gzip'd. The same input gives the same bytes.
Standard library only."""
import argparse
import gzip
import hashlib
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import zlib

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CHUNK = 1 << 20


def architecture():
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def digest_of_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def add_xattrs(info, path):
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith("user.") or name == "security.capability":
            value = os.getxattr(path, name, follow_symlinks=False)
            info.pax_headers["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")


def pack_directory(source, target):
    """A tar of everything in source, in sorted order, hard links kept."""
    seen = {}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder, folders, files in os.walk(source):
            folders.sort()
            here = os.path.relpath(folder, source)
            names = [] if here == "." else [here]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            names += [os.path.normpath(os.path.join(here, name)) for name in sorted(files + links)]
            for name in names:
                add_member(tar, os.path.join(source, name), name, seen)


def add_member(tar, path, name, seen):
    info = tar.gettarinfo(path, name)
    if info is None:  # a socket
        return
    info.uname = info.gname = ""
    info.mtime = int(info.mtime)
    status = os.lstat(path)
    identity = (status.st_dev, status.st_ino)
    if info.isreg() or info.islnk():
        info.type, info.linkname = tarfile.REGTYPE, ""
        info.size = status.st_size
        if identity in seen:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, seen[identity], 0
        elif status.st_nlink > 1:
            seen[identity] = name
    add_xattrs(info, path)
    if info.isreg():
        with open(path, "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def plain_tar(source, work, number):
    """The layer's plain tar as a file."""
    target = os.path.join(work, f"layer{number}.tar")
    if os.path.isdir(source):
        pack_directory(source, target)
        return target
    with open(source, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if not compressed:
        return source
    with gzip.open(source, "rb") as packed, open(target, "wb") as file:
        shutil.copyfileobj(packed, file, CHUNK)
    return target


def compress(source, target):
    """gzip without name or time, so that it repeats."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    with open(source, "rb") as plain, open(target, "wb") as packed:
        while chunk := plain.read(CHUNK):
            packed.write(packer.compress(chunk))
        packed.write(packer.flush())


def image_config(args, diff_ids):
    config = {}
    if args.entrypoint is not None:
        config["Entrypoint"] = args.entrypoint
    if args.cmd is not None:
        config["Cmd"] = args.cmd
    if args.env:
        config["Env"] = args.env
    if args.volume:
        config["Volumes"] = {path: {} for path in args.volume}
    for key, value in (("User", args.user), ("WorkingDir", args.workdir),
                       ("StopSignal", args.stop_signal)):
        if value:
            config[key] = value
    return json.dumps({
        "created": "1970-01-01T00:00:00Z",
        "architecture": args.arch,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + d for d in diff_ids]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mkimage"} for _ in diff_ids],
    }, separators=(",", ":")).encode()


def put_blob(folder, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(folder, "blobs/sha256", digest), "wb") as file:
        file.write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


def put_layer(args, folder, work, plain):
    packed = plain
    media_type = "application/vnd.oci.image.layer.v1.tar"
    if args.compress == "gzip":
        packed = os.path.join(work, "packed")
        compress(plain, packed)
        media_type += "+gzip"
    digest = digest_of_file(packed)
    shutil.copyfile(packed, os.path.join(folder, "blobs/sha256", digest))
    return {"mediaType": media_type, "digest": "sha256:" + digest,
            "size": os.path.getsize(packed)}


def make_oci(args, folder, work, plains, config):
    """An OCI layout in folder."""
    os.makedirs(os.path.join(folder, "blobs/sha256"))
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   **put_blob(folder, config)},
        "layers": [put_layer(args, folder, work, plain) for plain in plains],
    }, separators=(",", ":")).encode()
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", **put_blob(folder, manifest),
             "platform": {"os": "linux", "architecture": args.arch}}
    if args.tag:
        entry["annotations"] = {"org.opencontainers.image.ref.name": args.tag}
    with open(os.path.join(folder, "oci-layout"), "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    with open(os.path.join(folder, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)


def make_docker(args, folder, plains, diff_ids, config):
    """The members of a docker-archive in folder."""
    name = hashlib.sha256(config).hexdigest() + ".json"
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(config)
    layers = []
    for plain, diff_id in zip(plains, diff_ids):
        layers.append(diff_id + ".tar")
        shutil.copyfile(plain, os.path.join(folder, diff_id + ".tar"))
    with open(os.path.join(folder, "manifest.json"), "w") as file:
        json.dump([{"Config": name, "RepoTags": [args.tag] if args.tag else [],
                    "Layers": layers}], file)


def pack_result(folder, output):
    """The folder as a tar without times or owners."""
    def plain(info):
        info.mtime = info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info
    mode = "w:gz" if output.endswith(("gz", "tgz")) else "w"
    with tarfile.open(output, mode) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), name, filter=plain)


def words(text):
    """A JSON list as it is; anything else is one word."""
    return json.loads(text) if text.startswith("[") else [text]


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="+", metavar="LAYER", help="directory or tar, base first")
    parser.add_argument("--output", "-o", required=True,
                        help="file (….tar, ….tar.gz) or, for an OCI layout, a new directory")
    parser.add_argument("--format", choices=("docker", "oci"),
                        help="default: docker for a file, oci for a directory")
    parser.add_argument("--tag", "-t", help="NAME:TAG")
    parser.add_argument("--entrypoint", type=words, help="a word or a JSON list")
    parser.add_argument("--cmd", type=words, help="a word or a JSON list")
    parser.add_argument("--env", "-e", action="append", default=[], help="NAME=value; repeatable")
    parser.add_argument("--user")
    parser.add_argument("--workdir")
    parser.add_argument("--stop-signal")
    parser.add_argument("--volume", action="append", default=[], help="path; repeatable")
    parser.add_argument("--arch", default=architecture())
    parser.add_argument("--compress", choices=("gzip", "none"), default="gzip",
                        help="layers of an OCI layout")
    return parser.parse_args(argv)


def main(argv):
    args = parse_args(argv)
    is_file = ".tar" in os.path.basename(args.output) or args.output.endswith(".tgz")
    form = args.format or ("docker" if is_file else "oci")
    if form == "docker" and not is_file:
        sys.exit("mkimage: a docker-archive is a file: name it ….tar")
    with tempfile.TemporaryDirectory(prefix="mkimage.") as work:
        plains = [plain_tar(layer, work, i) for i, layer in enumerate(args.layers)]
        diff_ids = [digest_of_file(plain) for plain in plains]
        config = image_config(args, diff_ids)
        folder = os.path.join(work, "image") if is_file else args.output
        if form == "oci":
            make_oci(args, folder, work, plains, config)
        else:
            make_docker(args, folder, plains, diff_ids, config)
        if is_file:
            pack_result(folder, args.output)


if __name__ == "__main__":
    main(sys.argv[1:])
