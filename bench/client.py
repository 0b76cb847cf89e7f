"""A client light enough to measure with: one kept-alive connection, SigV4 from hashlib, no more."""
import datetime
import hashlib
import hmac
import http.client
import json

TARGET = "AmazonEC2ContainerServiceV20141113"


class Client:
    def __init__(self, port, key_id, secret, region="us-east-1", service="ecs"):
        self.host = f"127.0.0.1:{port}"
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.key_id, self.secret, self.region, self.service = key_id, secret, region, service
        self.day, self.signing_key = None, None

    def _key(self, day):
        if day != self.day:
            key = ("AWS4" + self.secret).encode()
            for part in (day, self.region, self.service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self.day, self.signing_key = day, key
        return self.signing_key

    def call(self, operation, **members):
        body = json.dumps(members).encode()
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        target = f"{TARGET}.{operation}"
        signed = "content-type;host;x-amz-date;x-amz-target"
        canonical = ("POST\n/\n\ncontent-type:application/x-amz-json-1.1\n"
                     f"host:{self.host}\nx-amz-date:{stamp}\nx-amz-target:{target}\n\n{signed}\n"
                     f"{hashlib.sha256(body).hexdigest()}")
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = (f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n"
                f"{hashlib.sha256(canonical.encode()).hexdigest()}")
        signature = hmac.digest(self._key(stamp[:8]), text.encode(), "sha256").hex()
        self.connection.request("POST", "/", body, {
            "Host": self.host, "Content-Type": "application/x-amz-json-1.1", "X-Amz-Date": stamp,
            "X-Amz-Target": target,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope}, "
                             f"SignedHeaders={signed}, Signature={signature}"})
        answer = self.connection.getresponse()
        found = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{operation}: {answer.status} {found}")
        return found
