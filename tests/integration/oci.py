"""A client of the built-in registry's that does as it is told, and images made on the spot."""
import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import pathlib
import tarfile
import time

import boto3
import botocore.exceptions
import pytest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def error(self):
        return json.loads(self.body)["errors"][0]["code"]

    def json(self):
        return json.loads(self.body)


class Registry:
    """Requests to /v2/ of a cluster."""

    def __init__(self, made):
        self.made, self.port = made, made.port
        self.host = f"127.0.0.1:{made.port}"
        self.ecr = boto3.session.Session(
            aws_access_key_id=made.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=made.env["AWS_SECRET_ACCESS_KEY"],
            region_name=made.env["AWS_REGION"]).client(
                "ecr", endpoint_url=made.env["AWS_ENDPOINT_URL"])
        data = self.ecr.get_authorization_token()["authorizationData"][0]
        self.credentials = base64.b64decode(data["authorizationToken"]).decode()
        self.blobs = pathlib.Path(made.data_dir, "registry", "blobs", "sha256")

    def ask(self, method, path, body=None, *, auth=True, **headers):
        """One request on a connection of its own; auth may be a header's value."""
        if auth is True:
            auth = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if auth:
            headers["Authorization"] = auth
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            # Who is refused in the middle of a body may still read why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=headers)
            return Answer(connection.getresponse())

    def begin(self, name):
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/")
        assert answer.status == 202, answer.body
        return answer.headers["Location"]

    def put_blob(self, name, data):
        digest = digest_of(data)
        answer = self.ask("PUT", f"{self.begin(name)}?digest={digest}", data)
        assert answer.status == 201, answer.body
        assert answer.headers["Docker-Content-Digest"] == digest
        return digest

    def put_manifest(self, name, reference, manifest, media_type=OCI_MANIFEST):
        body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        reference = reference or digest_of(body)
        return self.ask("PUT", f"/v2/{name}/manifests/{reference}", body, Content_Type=media_type)

    def image(self, name, seed, *tags, **more):
        """Pushes an image whose layer is made of the seed; its digest."""
        layer, config = layer_of(seed), config_of(seed)
        self.put_blob(name, layer)
        self.put_blob(name, config)
        body = json.dumps({**manifest_of(config, [layer]), **more}).encode()
        for tag in tags or (None,):
            answer = self.put_manifest(name, tag, body)
            assert answer.status == 201, answer.body
        return digest_of(body)

    def has_blob(self, digest):
        return (self.blobs / digest.removeprefix("sha256:")).exists()

    def pushed_before(self, name, digest, days):
        """Makes an image of a repository so many days old."""
        path = pathlib.Path(self.made.data_dir, "registry", "repositories", name.replace("/", "+"),
                            digest.removeprefix("sha256:"))
        size, _, rest = path.read_text().split(" ", 2)
        path.write_text(f"{size} {int(time.time() * 1000) - days * 86400000} {rest}")

    def age(self, *digests, seconds=7200):
        then = time.time() - seconds
        for digest in digests:
            os.utime(self.blobs / digest.removeprefix("sha256:"), (then, then))


def layer_of(seed):
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w") as tar:
        info = tarfile.TarInfo("seed")
        info.size = len(seed)
        tar.addfile(info, io.BytesIO(seed.encode()))
    return gzip.compress(text.getvalue(), mtime=0)


def config_of(seed):
    diff = digest_of(gzip.decompress(layer_of(seed)))
    return json.dumps({"os": "linux", "architecture": "amd64", "config": {"Labels": {"seed": seed}},
                       "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()


def manifest_of(config, layers):
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": OCI_LAYER, "digest": digest_of(layer), "size": len(layer)}
                       for layer in layers]}


@pytest.fixture(scope="module")
def registry(shared):
    return Registry(shared)


@pytest.fixture
def name(request):
    """A repository's name that no other test uses."""
    return "t/" + request.node.name.replace("[", "-").replace("]", "").replace("_", "-").lower()


def refused(call, code, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    return error["Message"]


def basic(token, user="AWS"):
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()
