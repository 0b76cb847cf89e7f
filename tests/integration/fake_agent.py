"""A host that exists on the wire only: it registers, holds an ACS websocket, acknowledges what it is
told and reports what a real host would. Written from the protocol alone, so that the server is not
judged by our own agent."""
import base64
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


class FakeAgent:
    """name is only for messages; attributes a dict; the rest the host's resources. arn: registered
    already; nonce: what our own agents call themselves by; mute: reads, and says nothing."""

    def __init__(self, cluster, name, *, cpu=1024, memory=1024, ports=(), attributes=None,
                 ecs_cluster="default", connect=True, arn=None, nonce=None):
        self.cluster, self.name, self.ecs_cluster = cluster, name, ecs_cluster
        self.key = cluster.key("agent")
        self.payloads = []
        self.nonce = nonce
        self.mute = False
        self._lock = threading.Lock()
        self.arn = arn or self._register(cpu, memory, ports, attributes or {})
        self.socket = None
        if connect:
            self.connect()

    def call(self, operation, **members):
        status, answer = self.cluster.call(operation, members, key=self.key)
        assert status == 200, (operation, status, answer)
        return answer

    def _register(self, cpu, memory, ports, attributes):
        resources = [
            {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": [str(p) for p in ports]},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ]
        capabilities = ["com.amazonaws.ecs.capability.docker-remote-api.1.%d" % minor
                        for minor in range(17, 45)]
        capabilities += ["com.amazonaws.ecs.capability.logging-driver.awslogs",
                         "ecs.capability.execution-role-awslogs", "ecs.capability.extensible-ephemeral-storage",
                         "ecs.capability.container-ordering", "ecs.capability.task-cpu-mem-limit",
                         "com.amazonaws.ecs.capability.task-iam-role"]
        listed = [{"name": name} for name in capabilities]
        listed += [{"name": "ecs.os-type", "value": "linux"}]
        listed += [{"name": name, "value": value} for name, value in attributes.items()]
        answer = self.call("RegisterContainerInstance", cluster=self.ecs_cluster,
                           totalResources=resources, attributes=listed,
                           instanceIdentityDocument="", instanceIdentityDocumentSignature="")
        return answer["containerInstance"]["containerInstanceArn"]

    def connect(self):
        endpoint = self.call("DiscoverPollEndpoint", cluster=self.ecs_cluster,
                             containerInstance=self.arn)["endpoint"]
        query = urllib.parse.urlencode(sorted({
            "agentHash": "00000000", "agentVersion": "1.105.1", "clusterArn": self.ecs_cluster,
            "containerInstanceArn": self.arn, "dockerVersion": "containerd",
            "protocolVersion": "2", "seqNum": "1", "sendCredentials": "true",
            **({"fairleadNonce": self.nonce} if self.nonce else {})}.items()))
        url = f"{endpoint.rstrip('/')}/ws?{query}"
        parts = urllib.parse.urlsplit(url)
        request = botocore.awsrequest.AWSRequest("GET", url, data=b"",
                                                 headers={"Host": parts.netloc})
        botocore.auth.SigV4Auth(
            botocore.credentials.Credentials(self.key["accessKeyId"], self.key["secretAccessKey"]),
            "ecs", "us-east-1").add_auth(request)
        headers = {**dict(request.headers.items()), "Connection": "Upgrade",
                   "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        handshake = socket.create_connection((parts.hostname, parts.port), timeout=20)
        handshake.sendall(f"GET {parts.path}?{parts.query} HTTP/1.1\r\n{lines}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            got = handshake.recv(1)
            assert got, f"the server closed the handshake: {head!r}"
            head += got
        if not head.startswith(b"HTTP/1.1 101"):
            size = re.search(rb"(?i)content-length: *(\d+)", head)
            body = self._exactly(handshake, int(size[1]))
            handshake.close()
            raise Refused(head.decode(), body)
        handshake.settimeout(None)
        self.socket = handshake
        threading.Thread(target=self._read, args=(self.socket,), daemon=True).start()
        clusters.until(self._is_connected, what=f"{self.name} connected")

    def _is_connected(self):
        found = self.cluster.ecs.describe_container_instances(cluster=self.ecs_cluster,
                                                              containerInstances=[self.arn])
        return found["containerInstances"][0]["agentConnected"]

    def disconnect(self):
        if self.socket:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()
            self.socket = None
            clusters.until(lambda: not self._is_connected(), what=f"{self.name} disconnected")

    def _exactly(self, sock, size):
        data = b""
        while len(data) < size:
            got = sock.recv(size - len(data))
            if not got:
                raise ConnectionError
            data += got
        return data

    def _send(self, opcode, payload):
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
            self.socket.sendall(head + mask + masked)

    def _read(self, sock):
        message = b""
        try:
            while True:
                first, second = self._exactly(sock, 2)
                size = second & 0x7F
                if size == 126:
                    size = struct.unpack(">H", self._exactly(sock, 2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", self._exactly(sock, 8))[0]
                data = self._exactly(sock, size)
                opcode = first & 0x0F
                if opcode == 8:
                    return
                if opcode == 9:
                    self._send(10, data)
                elif opcode in (0, 1):
                    message += data
                    if first & 0x80:
                        envelope, message = json.loads(message), b""
                        self._handle(envelope["type"], envelope["message"])
        except (OSError, ConnectionError, AttributeError):
            return

    def _reply(self, kind, **members):
        self._send(1, json.dumps({"type": kind, "message": members}).encode())

    def _handle(self, kind, message):
        if self.mute:
            return
        if kind == "HeartbeatMessage":
            self._reply("HeartbeatAckRequest", messageId=message["messageId"])
        elif kind == "PayloadMessage":
            self.payloads.append(message)
            self._reply("AckRequest", cluster=message["clusterArn"],
                        containerInstance=message["containerInstanceArn"],
                        messageId=message["messageId"])
            for task in message.get("tasks", []):
                self._follow(task)
        elif kind == "TaskManifestMessage":
            self._reply("AckRequest", cluster=message["clusterArn"],
                        containerInstance=message["containerInstanceArn"],
                        messageId=message["messageId"])

    def _follow(self, task):
        """RUNNING or STOPPED, whatever the task is told to be."""
        status = task["desiredStatus"]
        containers = [{"containerName": c["name"], "status": status, "runtimeId": "f" * 64,
                       **({"exitCode": 0} if status == "STOPPED" else {})}
                      for c in task.get("containers", [])]
        self.call("SubmitTaskStateChange", cluster=self.ecs_cluster, task=task["arn"],
                  status=status, containers=containers)
