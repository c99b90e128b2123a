# SPDX-License-Identifier: Apache-2.0
"""The NATS protocol by hand, so that what eventbusd leaves at the server is seen with other eyes."""

import json
import socket
import uuid


class RawNats:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.file = self.sock.makefile("rb")
        self.info = json.loads(self.file.readline()[5:])
        self.inbox = "_INBOX." + uuid.uuid4().hex
        self.sids = 1
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        self.sock.sendall(f"CONNECT {json.dumps(options)}\r\nSUB {self.inbox}.* 1\r\n".encode())

    def close(self):
        self.sock.close()

    def publish(self, subject, payload=b"", headers=None, reply=""):
        reply = f"{reply} " if reply else ""
        if headers is None:
            self.sock.sendall(f"PUB {subject} {reply}{len(payload)}\r\n".encode() + payload + b"\r\n")
            return
        head = b"NATS/1.0\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers) + b"\r\n"
        self.sock.sendall(
            f"HPUB {subject} {reply}{len(head)} {len(head) + len(payload)}\r\n".encode() + head + payload + b"\r\n"
        )

    def message(self):
        """The next message: (subject, reply, [(key, value)] or None, payload)."""
        while True:
            line = self.file.readline().decode().rstrip("\r\n")
            words = line.split(" ")
            if words[0] == "PING":
                self.sock.sendall(b"PONG\r\n")
            elif words[0] == "MSG":
                size = int(words[-1])
                data = self.file.read(size + 2)[:-2]
                return words[1], words[3] if len(words) == 5 else "", None, data
            elif words[0] == "HMSG":
                head, size = int(words[-2]), int(words[-1])
                data = self.file.read(size + 2)[:-2]
                lines = data[:head].decode().split("\r\n")[1:]
                headers = [tuple(x.split(": ", 1)) if ": " in x else (x.rstrip(":"), "") for x in lines if x]
                return words[1], words[3] if len(words) == 6 else "", headers, data[head:]
            elif words[0] == "-ERR":
                raise RuntimeError(line)
            elif not line:
                raise RuntimeError("nats-server ended the connection")

    def request(self, subject, payload=b"", headers=None):
        reply = f"{self.inbox}.{uuid.uuid4().hex}"
        self.publish(subject, payload, headers, reply)
        while True:
            m = self.message()
            if m[0] == reply:
                return m

    def api(self, what, body=None):
        data = json.dumps(body).encode() if body is not None else b""
        return json.loads(self.request("$JS.API." + what, data)[3])

    def js_publish(self, subject, payload=b"", headers=None):
        ack = json.loads(self.request(subject, payload, headers)[3])
        assert "error" not in ack, ack
        return ack["seq"]

    def stored(self, stream, seq):
        """(subject, [(key, value)], payload) as stored."""
        import base64

        m = self.api(f"STREAM.MSG.GET.{stream}", {"seq": seq})["message"]
        head = base64.b64decode(m.get("hdrs", "")).decode().split("\r\n")[1:]
        headers = [tuple(x.split(": ", 1)) for x in head if x]
        return m["subject"], headers, base64.b64decode(m.get("data", ""))
