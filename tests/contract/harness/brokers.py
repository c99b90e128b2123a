# SPDX-License-Identifier: Apache-2.0
"""The adapters under test, each with its real broker."""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid

from .wire import PATIENCE


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Memory:
    """The bus inside the daemon: no process of its own, nothing survives the daemon."""

    name = "memory"
    durable = False
    can_fail = False  # there is no broker that could be killed
    dedupe = True

    def __init__(self, folder):
        self.folder = folder

    @staticmethod
    def missing():
        return None

    def start(self):
        pass

    def stop(self):
        pass

    def config(self, **options):
        return {"broker": {"memory": options}}


class Nats:
    """A real nats-server with JetStream on a loopback port of its own."""

    name = "nats"
    durable = True
    can_fail = True
    dedupe = True

    def __init__(self, folder):
        self.folder = os.path.join(str(folder), "nats-" + uuid.uuid4().hex[:8])
        os.makedirs(self.folder)
        self.port = free_port()
        self.process = None
        self.extra = ""  # more lines for the server's configuration

    @staticmethod
    def missing():
        return None if shutil.which("nats-server") else "nats-server is not installed"

    def start(self):
        conf = os.path.join(self.folder, "nats.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"listen: 127.0.0.1:{self.port}\n")
            f.write(f'jetstream {{ store_dir: "{self.folder}/store" }}\n')
            f.write(self.extra)
        with open(os.path.join(self.folder, "server.log"), "ab") as log:
            self.process = subprocess.Popen(["nats-server", "-c", conf], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                    if s.recv(4) == b"INFO":
                        return self
            except OSError:
                pass
            assert self.process.poll() is None, open(os.path.join(self.folder, "server.log")).read()
            assert time.monotonic() < deadline, "nats-server does not answer"
            time.sleep(0.01)  # pacing of the ready check

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        while True:  # the signal is delivered when every thread has stopped
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "T":
                    return
            time.sleep(0.001)  # pacing

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def config(self, **options):
        # A stream of its own for every test that asks.
        nats = {"servers": [f"nats://127.0.0.1:{self.port}"], "stream": "t" + uuid.uuid4().hex[:10]}
        nats.update(options)
        return {"broker": {"nats": nats}}


KINDS = {"memory": Memory, "nats": Nats}
