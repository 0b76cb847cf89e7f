"""A host that exists on the wire only: it registers, holds an ACS websocket, acknowledges what it is
told and reports what a real host would; if asked to, it opens the telemetry socket, too. Written
from the protocol alone, so that the server is not judged by our own agent."""
import base64
import contextlib
import json
import os
import re
import socket
import struct
import threading
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import cluster as clusters


class Refused(Exception):
    """A handshake that was not answered with 101."""

    def __init__(self, head, body):
        super().__init__(head, body)
        self.status = int(head.split()[1])
        self.envelope = json.loads(body)


class WebSocket:
    """A client's end: a signed handshake, text frames, and every message that came, in order."""

    def __init__(self, url, key, handle=None):
        self.url, self.key = url, key
        self.messages = []
        self.closed = threading.Event()
        self.close_code, self.close_reason = None, ""
        self._handle = handle
        self._lock = threading.Lock()
        self._socket = self._shake_hands()
        threading.Thread(target=self._read, daemon=True).start()

    def sign(self, body=b""):
        """Headers as the official agent signs its handshake and its telemetry messages."""
        parts = urllib.parse.urlsplit(self.url)
        request = botocore.awsrequest.AWSRequest("GET", self.url, data=body,
                                                 headers={"Host": parts.netloc})
        botocore.auth.SigV4Auth(
            botocore.credentials.Credentials(self.key["accessKeyId"], self.key["secretAccessKey"],
                                             self.key.get("sessionToken")),
            "ecs", "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def _shake_hands(self):
        parts = urllib.parse.urlsplit(self.url)
        headers = {**self.sign(), "Connection": "Upgrade", "Upgrade": "websocket",
                   "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
        connection.sendall(f"GET {parts.path}?{parts.query} HTTP/1.1\r\n{lines}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            got = connection.recv(1)
            assert got, f"the server closed the handshake: {head!r}"
            head += got
        if not head.startswith(b"HTTP/1.1 101"):
            size = re.search(rb"(?i)content-length: *(\d+)", head)
            body = self._exactly(connection, int(size[1]))
            connection.close()
            raise Refused(head.decode(), body)
        connection.settimeout(None)
        return connection

    @staticmethod
    def _exactly(connection, size):
        data = b""
        while len(data) < size:
            got = connection.recv(size - len(data))
            if not got:
                raise ConnectionError
            data += got
        return data

    def send(self, text, opcode=1):
        payload = text if isinstance(text, bytes) else text.encode()
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        with self._lock:
            self._socket.sendall(head + mask + masked)

    def say(self, kind, **members):
        self.send(json.dumps({"type": kind, "message": members}))

    def of_type(self, kind):
        return [message for name, message in list(self.messages) if name == kind]

    def close(self, code=None):
        """With a code: in an orderly way; without one the connection just breaks."""
        with contextlib.suppress(OSError):
            if code:
                self.send(struct.pack(">H", code), opcode=8)
                self.closed.wait(10)
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _read(self):
        message = b""
        try:
            while True:
                first, second = self._exactly(self._socket, 2)
                size = second & 0x7F
                if size == 126:
                    size = struct.unpack(">H", self._exactly(self._socket, 2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", self._exactly(self._socket, 8))[0]
                data = self._exactly(self._socket, size)
                opcode = first & 0x0F
                if opcode == 8:
                    self.close_code = struct.unpack(">H", data[:2])[0] if data else None
                    self.close_reason = data[2:].decode()
                    return
                if opcode == 9:
                    self.send(data, opcode=10)
                elif opcode in (0, 1):
                    message += data
                    if first & 0x80:
                        envelope, message = json.loads(message), b""
                        self.messages.append((envelope["type"], envelope["message"]))
                        if self._handle:
                            self._handle(self, envelope["type"], envelope["message"])
        except (OSError, ConnectionError):
            return
        finally:
            self.closed.set()


class FakeAgent:
    """name is only for messages; attributes a dict; the rest the host's resources. arn: registered
    already; nonce: what our own agents call themselves by; mute: reads, and says nothing."""

    def __init__(self, cluster, name, *, cpu=1024, memory=1024, ports=(), gpus=(), attributes=None,
                 ecs_cluster="default", connect=True, arn=None, nonce=None):
        self.cluster, self.name, self.ecs_cluster = cluster, name, ecs_cluster
        self.key = cluster.key("agent")
        self.payloads = []
        self.tasks = {}  # ARN to status, as the host has them
        self.credentials = []  # (task ARN, type of role, credentials), as they came
        self.has_credentials = False  # false: this process has just begun
        self.nonce = nonce
        self.mute = False
        self.socket = None
        self.arn = arn or self._register(cpu, memory, ports, gpus, attributes or {})
        if connect:
            self.connect()

    def call(self, operation, **members):
        status, answer = self.cluster.call(operation, members, key=self.key)
        assert status == 200, (operation, status, answer)
        return answer

    def _register(self, cpu, memory, ports, gpus, attributes):
        resources = [
            {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": [str(p) for p in ports]},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ]
        if gpus:
            resources.append({"name": "GPU", "type": "STRINGSET", "stringSetValue": gpus})
        capabilities = ["com.amazonaws.ecs.capability.docker-remote-api.1.%d" % minor
                        for minor in range(17, 45)]
        capabilities += ["com.amazonaws.ecs.capability.logging-driver.awslogs",
                         "ecs.capability.execution-role-awslogs", "ecs.capability.extensible-ephemeral-storage",
                         "ecs.capability.container-ordering", "ecs.capability.task-cpu-mem-limit",
                         "ecs.capability.full-sync", "ecs.capability.container-health-check",
                         "com.amazonaws.ecs.capability.task-iam-role"]
        listed = [{"name": name} for name in capabilities]
        listed += [{"name": "ecs.os-type", "value": "linux"}]
        listed += [{"name": name, "value": value} for name, value in attributes.items()]
        answer = self.call("RegisterContainerInstance", cluster=self.ecs_cluster,
                           totalResources=resources, attributes=listed,
                           instanceIdentityDocument="", instanceIdentityDocumentSignature="")
        return answer["containerInstance"]["containerInstanceArn"]

    def discover(self):
        return self.call("DiscoverPollEndpoint", cluster=self.ecs_cluster,
                         containerInstance=self.arn)

    def connect(self):
        query = urllib.parse.urlencode(sorted({
            "agentHash": "00000000", "agentVersion": "1.105.1", "clusterArn": self.ecs_cluster,
            "containerInstanceArn": self.arn, "dockerVersion": "containerd",
            "protocolVersion": "2", "seqNum": "1",
            "sendCredentials": "false" if self.has_credentials else "true",
            **({"fairleadNonce": self.nonce} if self.nonce else {})}.items()))
        endpoint = self.discover()["endpoint"].rstrip("/")
        self.socket = WebSocket(f"{endpoint}/ws?{query}", self.key, self._handle)
        self.has_credentials = True
        clusters.until(self._is_connected, what=f"{self.name} connected")

    def open_telemetry(self):
        """The telemetry socket; send_signed says something on it."""
        query = urllib.parse.urlencode({
            "agentHash": "00000000", "agentVersion": "1.105.1", "cluster": self.ecs_cluster,
            "containerInstance": self.arn, "dockerVersion": "20.10.25"})
        endpoint = self.discover()["telemetryEndpoint"].rstrip("/")
        return WebSocket(f"{endpoint}/ws?{query}", self.key)

    @staticmethod
    def send_signed(telemetry, kind, **members):
        """Lines of a signature, an empty line, the envelope: as the official agent sends it."""
        body = json.dumps({"type": kind, "message": members})
        lines = "".join(f"{name}: {value}\r\n"
                        for name, value in telemetry.sign(body.encode()).items())
        telemetry.send(f"{lines}\r\n{body}")

    def _is_connected(self):
        found = self.cluster.ecs.describe_container_instances(cluster=self.ecs_cluster,
                                                              containerInstances=[self.arn])
        return found["containerInstances"][0]["agentConnected"]

    def disconnect(self):
        if self.socket:
            self.socket.close()
            self.socket = None
            clusters.until(lambda: not self._is_connected(), what=f"{self.name} disconnected")

    def _handle(self, session, kind, message):
        if self.mute:
            return
        with contextlib.suppress(OSError):
            if kind == "HeartbeatMessage":
                session.say("HeartbeatAckRequest", messageId=message["messageId"])
            elif kind == "PayloadMessage":
                self.payloads.append(message)
                self._acknowledge(session, message)
                for task in message.get("tasks", []):
                    for member, role in (("roleCredentials", "TaskApplication"),
                                         ("executionRoleCredentials", "TaskExecution")):
                        if member in task:
                            self._take(session, message, task["arn"], role, task[member])
                    self._follow(task["arn"], task["desiredStatus"],
                                 [c["name"] for c in task.get("containers", [])])
            elif kind == "IAMRoleCredentialsMessage":
                self._take(session, message, message["taskArn"], message["roleType"],
                           message["roleCredentials"])
            elif kind == "TaskManifestMessage":
                self._acknowledge(session, message)
                self._compare(session, message)
            elif kind == "TaskStopVerificationAck":
                for task in message["stopTasks"]:
                    self._follow(task["taskArn"], "STOPPED", [])

    @staticmethod
    def _acknowledge(session, message):
        session.say("AckRequest", cluster=message["clusterArn"],
                    containerInstance=message["containerInstanceArn"],
                    messageId=message["messageId"])

    def _take(self, session, message, task, role, credentials):
        self.credentials.append((task, role, credentials))
        session.say("IAMRoleCredentialsAckRequest", messageId=message["messageId"],
                    expiration=credentials["expiration"],
                    credentialsId=credentials["credentialsId"])

    def _compare(self, session, manifest):
        """Asks about what runs here and is not listed as to run."""
        wanted = {task["taskArn"] for task in manifest["tasks"]
                  if task["desiredStatus"] == "RUNNING"}
        candidates = [{"taskArn": arn, "taskClusterArn": manifest["clusterArn"],
                       "desiredStatus": "STOPPED"}
                      for arn, status in self.tasks.items()
                      if status == "RUNNING" and arn not in wanted]
        if candidates:
            session.say("TaskStopVerificationMessage", messageId=manifest["messageId"],
                        stopCandidates=candidates)

    def _follow(self, arn, status, containers):
        """RUNNING or STOPPED, whatever the task is told to be."""
        self.tasks[arn] = status
        changes = [{"containerName": name, "status": status, "runtimeId": "f" * 64,
                    **({"exitCode": 0} if status == "STOPPED" else {})} for name in containers]
        self.call("SubmitTaskStateChange", cluster=self.ecs_cluster, task=arn, status=status,
                  containers=changes)
