# SPDX-License-Identifier: Apache-2.0
"""Starts, watches, signals and ends one real eventbusd."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import time

from .wire import PATIENCE, Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("EVENTBUS_BUILD", os.path.join(ROOT, "build", "release"))
BINARY = os.path.join(BUILD, "eventbusd")

BAD_LOG = re.compile(
    r"(AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|Assertion .* failed|"
    r"definitely lost|Invalid (read|write))"
)


class Daemon:
    """config: a dict, written as JSON (which is YAML). None: no file at all."""

    def __init__(self, folder, config=None, name="eventbusd", env=None, args=(), wrapper=(), pass_fds=()):
        self.folder = str(folder)
        self.name = name
        self.socket = os.path.join(self.folder, name + ".sock")
        self.log_path = os.path.join(self.folder, name + ".log")
        self.notify_path = os.path.join(self.folder, name + ".notify")
        self.config = dict(config or {})
        self.env = env or {}
        self.args = list(args)
        self.wrapper = list(wrapper) or os.environ.get("EVENTBUS_WRAPPER", "").split()
        self.pass_fds = list(pass_fds)
        self.process = None
        self.notices = []
        self.notify = None
        self.clients = []

    # ---- life ----

    def write_config(self):
        path = os.path.join(self.folder, self.name + ".yaml")
        config = dict(self.config)
        config["socket"] = {"path": self.socket, **config.get("socket", {})}
        config.setdefault("log", {"level": "debug" if os.environ.get("EVENTBUS_TEST_DEBUG") else "info"})
        tmp = path + ".new"
        with open(tmp, "w", encoding="utf-8") as f:
            json.dump(config, f, indent=1)
        os.rename(tmp, path)
        return path

    def start(self, ready=True):
        if self.notify:
            self.notify.close()
        if os.path.exists(self.notify_path):
            os.unlink(self.notify_path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        self.notices = []
        env = dict(os.environ)
        env.pop("JOURNAL_STREAM", None)
        env["NOTIFY_SOCKET"] = self.notify_path
        env["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0:exitcode=99"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
        env["TSAN_OPTIONS"] = "exitcode=99:second_deadlock_stack=1:suppressions=" + os.path.join(
            ROOT, "tests", "tsan.supp"
        )
        env.update(self.env)
        # The notify socket is ours alone even when a wrapper (valgrind) is the main process.
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, BINARY, "--config", self.write_config(), *self.args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                pass_fds=self.pass_fds,
            )
        if ready:
            self.wait_notice("READY=1")
        return self

    def wait_notice(self, text, timeout=None):
        """Waits for a line of sd_notify; returns all lines seen."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while not any(n.startswith(text) for n in self.notices):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no {text} from the daemon:\n{self.log()[-4000:]}")
            r, _, _ = select.select([self.notify], [], [], min(left, 0.2))
            if r:
                self.notices += self.notify.recv(65536).decode().split("\n")
            elif self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended ({self.process.returncode}):\n{self.log()[-4000:]}")
        return self.notices

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, timeout=None):
        return self.process.wait(timeout or PATIENCE)

    def kill9(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.forget_clients()

    def term(self, timeout=None):
        """SIGTERM and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def restart(self):
        """After the process ended: the same daemon again."""
        assert self.process.poll() is not None
        return self.start()

    def forget_clients(self):
        for c in self.clients:
            c.close()
        self.clients = []

    def finish(self):
        """At the end of every test: a clean stop is part of every case."""
        self.forget_clients()
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            rc = self.term()
            assert rc == 0, f"exit {rc} after SIGTERM:\n{self.log()[-4000:]}"
        if self.notify:
            self.notify.close()
        bad = BAD_LOG.search(self.log())
        assert not bad, f"{bad.group(0)} in the log:\n{self.log()[-6000:]}"

    # ---- what tests ask ----

    def client(self, name="contract", **kw):
        c = Client(self.socket, name, **kw)
        self.clients.append(c)
        return c

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_log(self, text, timeout=None):
        deadline = time.monotonic() + (timeout or PATIENCE)
        while text not in self.log():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} not in the log:\n{self.log()[-4000:]}")
            time.sleep(0.01)  # pacing of a file poll

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def grew_kib(self, before):
        """Growth of the resident set; sanitizers and valgrind keep freed memory, so it says nothing there."""
        if self.wrapper or os.path.basename(BUILD) != "release":
            return 0
        return self.rss_kib() - before

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_ticks(self, system=True):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + (int(fields[12]) if system else 0)
