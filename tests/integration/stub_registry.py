"""A registry that does as it is told: for pulls that go well, slowly, or against somebody hostile.
Images are made here, byte by byte, so that every part of them can be a lie."""
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import pathlib
import subprocess
import tarfile
import threading

OCI = "application/vnd.oci.image."
MANIFEST, INDEX = OCI + "manifest.v1+json", OCI + "index.v1+json"
LAYER, CONFIG = OCI + "layer.v1.tar", OCI + "config.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(entries):
    """entries: (TarInfo or name, content) in order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, content in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            if content is not None:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return buffer.getvalue()


def tar_of_directory(path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for each in sorted(pathlib.Path(path).rglob("*")):
            tar.add(each, str(each.relative_to(path)), recursive=False)
    return buffer.getvalue()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        registry = self.server.registry
        registry.requests.append((self.path, dict(self.headers.items())))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for rule in registry.rules:
                if rule(self):
                    return
            registry.serve(self)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        if "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)


class Registry:
    """with Registry() as registry: registry.url, registry.host; rules are called with the request
    before it is served, and answer True when they have done that."""

    def __init__(self, host="127.0.0.1"):
        self.blobs, self.manifests, self.requests, self.rules = {}, {}, [], []
        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.registry = self
        self.server.daemon_threads = True
        self.host = f"{host}:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()

    def paths(self, part=""):
        return [path for path, _ in self.requests if part in path]

    # What it has.

    def add_blob(self, data):
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def add_manifest(self, repository, reference, document, media_type=MANIFEST):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        for name in (reference, digest_of(data)):
            self.manifests[repository, name] = (media_type, data)
        return digest_of(data), len(data)

    def image(self, repository, tag, layers, config=None, pack=gzip.compress, suffix="+gzip"):
        """layers: tars, base first. The manifest, as it was added, and its digest and size."""
        described = []
        for layer in layers:
            packed = pack(layer)
            described.append({"mediaType": LAYER + suffix, "digest": self.add_blob(packed),
                              "size": len(packed)})
        text = json.dumps({"architecture": "amd64", "os": "linux", "config": config or {},
                           "rootfs": {"type": "layers",
                                      "diff_ids": [digest_of(layer) for layer in layers]}})
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": described,
                    "config": {"mediaType": CONFIG, "digest": self.add_blob(text.encode()),
                               "size": len(text)}}
        return (document, *self.add_manifest(repository, tag, document))

    # What it says.

    def serve(self, handler):
        parts = handler.path.split("?")[0].split("/")
        kind, reference, repository = parts[-2], parts[-1], "/".join(parts[2:-2])
        if kind == "manifests" and (repository, reference) in self.manifests:
            media_type, data = self.manifests[repository, reference]
            handler.answer(200, data, Content_Type=media_type)
        elif kind == "blobs" and reference in self.blobs:
            self.serve_blob(handler, self.blobs[reference])
        else:
            handler.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')

    @staticmethod
    def serve_blob(handler, data):
        asked = handler.headers.get("Range", "")
        if asked.startswith("bytes="):
            begin = int(asked.removeprefix("bytes=").split("-")[0])
            handler.answer(206, data[begin:],
                           Content_Range=f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            handler.answer(200, data)
