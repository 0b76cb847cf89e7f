"""A control plane that exists on the wire only: it registers whoever comes, holds their ACS websocket,
and says what a test wants said. Written from the protocol alone, so that our agent is not judged by our
own server."""
import base64
import contextlib
import hashlib
import http.server
import json
import os
import struct
import subprocess
import tempfile
import threading
import urllib.parse
import uuid

import cluster as clusters

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLUSTER = "arn:aws:ecs:us-east-1:111122223333:cluster/default"
INSTANCE = "arn:aws:ecs:us-east-1:111122223333:container-instance/default/" + "a" * 32


class Session:
    """The server's end of one agent's websocket; query: what it asked with."""

    def __init__(self, handler, query):
        self.query, self.messages, self.ended = query, [], threading.Event()
        self._handler, self._lock = handler, threading.Lock()

    def send(self, payload, opcode=1):
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += bytes([126]) + struct.pack(">H", size)
        else:
            head += bytes([127]) + struct.pack(">Q", size)
        with self._lock:
            self._handler.wfile.write(head + payload)
            self._handler.wfile.flush()

    def say(self, kind, **members):
        self.send(json.dumps({"type": kind, "message": members}).encode())

    def close(self, code=1000):
        with contextlib.suppress(OSError, ValueError):
            self.send(struct.pack(">H", code), opcode=8)

    def of_type(self, kind):
        return [message for name, message in list(self.messages) if name == kind]

    def read(self):
        """Until the connection's end."""
        message = b""
        with contextlib.suppress(OSError, struct.error, IndexError):
            while True:
                first, second = self._exactly(2)
                size = second & 0x7F
                if size == 126:
                    size = struct.unpack(">H", self._exactly(2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", self._exactly(8))[0]
                assert second & 0x80, "a client's frame has a mask"
                mask, data = self._exactly(4), self._exactly(size)
                data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
                opcode = first & 0x0F
                if opcode == 8:
                    break
                if opcode == 9:
                    self.send(data, opcode=10)
                elif opcode in (0, 1):
                    message += data
                    if first & 0x80:
                        envelope, message = json.loads(message), b""
                        self.messages.append((envelope["type"], envelope["message"]))
        self.ended.set()

    def _exactly(self, size):
        data = self._handler.rfile.read(size)
        if len(data) < size:
            raise ConnectionResetError
        return data


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].rsplit(".", 1)[1]
        status, answer = self.server.plane.answer(operation, json.loads(body), self.headers)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        if parts.path != "/acs/ws" or "Authorization" not in self.headers:
            self.send_error(404)
            return
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept",
                         base64.b64encode(hashlib.sha1(key + GUID).digest()).decode())
        self.end_headers()
        self.close_connection = True
        session = Session(self, urllib.parse.parse_qsl(parts.query))
        self.server.plane.sessions.append(session)
        session.read()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """An agent that is killed in a call is none of ours."""


class FakePlane:
    """`sessions`: every connection that agents have opened, in order; `calls`: every API call."""

    def __init__(self):
        self.sessions, self.calls = [], []
        self._seq = 1 << 32
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.plane = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        for session in self.sessions:
            session.close()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, operation, members, headers):
        self.calls.append((operation, members))
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
        if operation == "RegisterContainerInstance":
            attributes = members["attributes"] + [{"name": "ecs.availability-zone",
                                                   "value": "us-east-1a"}]
            return 200, {"containerInstance": {"containerInstanceArn": INSTANCE,
                                               "attributes": attributes, "status": "ACTIVE"}}
        if operation == "DiscoverPollEndpoint":
            return 200, {"endpoint": f"{self.url}/acs"}
        if operation.startswith("Submit"):
            return 200, {"acknowledgment": "ok"}
        return 400, {"__type": "ClientException", "message": f"{operation} is not known here"}

    def calls_of(self, operation):
        return [members for name, members in list(self.calls) if name == operation]

    def session(self, after=None):
        """The connection that lives, a newer one than `after`."""
        def newest():
            first = self.sessions.index(after) + 1 if after else 0
            alive = [s for s in self.sessions[first:] if not s.ended.is_set()]
            return alive[-1] if alive else None
        return clusters.until(newest, what="the agent's connection")

    def header(self, **more):
        """What a message names: the instance, itself, its place in the order."""
        self._seq += 1
        return {"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE,
                "messageId": str(uuid.uuid4()), "generatedAt": 1763640000000, **more}

    def payload(self, session, *tasks, **more):
        message = self.header(**more)
        session.say("PayloadMessage", **message, seqNum=self._seq, tasks=list(tasks))
        return message["messageId"]

    def manifest(self, session, *tasks, timeline=None):
        message = self.header()
        session.say("TaskManifestMessage", **message, timeline=timeline or self._seq,
                    tasks=[{"taskArn": arn, "taskClusterArn": CLUSTER, "desiredStatus": "RUNNING"}
                           for arn in tasks])
        return message["messageId"]

    def reports(self, arn):
        return [call for call in self.calls_of("SubmitTaskStateChange") if call["task"] == arn]

    def status(self, arn):
        reports = self.reports(arn)
        return reports[-1]["status"] if reports else None


class Host:
    """Our agent, on a data directory of its own, for a control plane that is not ours."""

    def __init__(self, plane, data_dir, image):
        self.plane, self.data_dir = plane, str(data_dir)
        self.port = clusters.free_port()
        self._log = tempfile.TemporaryFile()
        clusters.run(clusters.FAIRLEAD, "image", "load", str(image), "busybox:1", "--data-dir",
                     self.data_dir)
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [clusters.FAIRLEAD, "agent", "--data-dir", self.data_dir, "--server", self.plane.url,
             "--token", "AKIDTEST:secret", "--metadata-port", str(self.port), "--ecs-config",
             os.devnull, "--cpu-units", "8192", "--memory-mib", "8192"],
            stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def log(self):
        self._log.seek(0)
        return self._log.read().decode()

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        clusters.run(clusters.FAIRLEAD, "uninstall", "--yes", "--data-dir", self.data_dir,
                     timeout=180)
        self._log.close()


def task(arn, script="sleep 1000 & wait $!", status="RUNNING", **more):
    """A Task object of one busybox that runs a script, in the protocol's shape."""
    config = json.dumps({"StopSignal": "SIGKILL"})
    return {"arn": arn, "family": "fake", "version": "1", "desiredStatus": status,
            "taskClusterArn": CLUSTER, "containers": [{
                "name": "main", "image": "busybox:1", "essential": True, "memory": 64, "cpu": 0,
                "command": ["sh", "-c", script], "environment": {}, "overrides": "{}",
                "stopTimeout": 1,
                "dockerConfig": {"version": "1.17", "config": config, "hostConfig": "{}"}}],
            **more}


def new_arn():
    return f"arn:aws:ecs:us-east-1:111122223333:task/default/{uuid.uuid4().hex}"
