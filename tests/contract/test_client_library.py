# SPDX-License-Identifier: Apache-2.0
"""P1, P2 and P8 through libeventbus: it comes back, sends again with the same ids, and loses nothing."""

import os
import subprocess
import threading

import pytest
from harness.daemon import BUILD

CTL = os.path.join(BUILD, "eventbusctl")
PATIENCE = float(os.environ.get("EVENTBUS_TEST_PATIENCE", "60"))


@pytest.fixture
def start():
    """Starts eventbusctl; whatever happens, it ends: at the latest when the test's patience does."""
    made = []

    def go(daemon, *args, **kw):
        p = subprocess.Popen([CTL, "--socket", daemon.socket, *args], stdout=subprocess.PIPE, text=True, **kw)
        watch = threading.Timer(PATIENCE * 2, p.kill)
        watch.start()
        made.append((p, watch))
        return p

    yield go
    for p, watch in made:
        watch.cancel()
        if p.poll() is None:
            p.kill()
        p.communicate()


def subscriber(start, daemon, *args):
    ready, told = os.pipe()
    p = start(daemon, "sub", "--payload", "--ready-fd", str(told), *args, stderr=subprocess.DEVNULL, pass_fds=[told])
    os.close(told)
    with os.fdopen(ready) as f:
        assert f.readline() == "subscribed\n"
    return p


@pytest.mark.durable
def test_daemon_killed_again_and_again_under_load(make_daemon, start, topic, group, tmp_path):
    count, kills = 40000, 3
    d = make_daemon()
    sub = subscriber(start, d, topic, "--group", group, "--lease", "2s")
    work = tmp_path / "work"
    work.write_text("".join(f"{i}\n" for i in range(count)))
    with work.open() as f:
        pub = start(d, "pub", topic, "--lines", "--timeout", f"{PATIENCE}s", stdin=f)
    seen = set()
    for line in sub.stdout:
        seen.add(int(line))
        if kills and len(seen) >= count // 8 * (4 - kills):
            kills -= 1
            d.kill9()
            d.restart()
        if len(seen) == count:
            break
    assert len(seen) == count and kills == 0
    out, _ = pub.communicate(timeout=PATIENCE)
    assert pub.returncode == 0 and out.startswith(f"{count} stored, 0 failed")
    sub.terminate()
    sub.communicate(timeout=PATIENCE)
    assert sub.returncode == 0


def test_daemon_restarted_between_publishes(make_daemon, start, topic):
    """Publishes wait for the daemon that is away; SIGTERM turns none of them into a failed one (P5)."""
    d = make_daemon()
    pub = start(d, "pub", topic, "--lines", "--verbose", stdin=subprocess.PIPE)
    for _ in range(3):
        pub.stdin.write("x\n")
        pub.stdin.flush()
        assert pub.stdout.readline().startswith("stored  ")
        assert d.term() == 0
        d.restart()
    out, _ = pub.communicate("last\n", timeout=PATIENCE)
    assert pub.returncode == 0 and out.startswith("stored  ")
