# SPDX-License-Identifier: Apache-2.0
"""The client printed in PROTOCOL.md works as it is printed."""

import os
import re
import subprocess
import sys

from harness.wire import PATIENCE, pb

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def printed_client():
    with open(os.path.join(ROOT, "PROTOCOL.md"), encoding="utf-8") as f:
        text = f.read()
    found = re.findall(
        r"<!-- minimal client: begin -->\n```python\n(.*?)```\n<!-- minimal client: end -->", text, re.S
    )
    assert len(found) == 1, "PROTOCOL.md has no client between its markers, or several"
    return found[0]


def run_printed_client(folder, *args):
    path = folder / "minimal_client.py"
    path.write_text(printed_client(), encoding="utf-8")
    generated = os.path.dirname(os.path.dirname(os.path.dirname(pb.__file__)))
    return subprocess.run(
        [sys.executable, str(path), *args],
        env=dict(os.environ, PYTHONPATH=generated),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_it_is_one_page():
    assert printed_client().count("\n") <= 90


def test_it_publishes_subscribes_and_acknowledges(daemon, topic, tmp_path):
    run = run_printed_client(tmp_path, daemon.socket, topic)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{topic} hello attempt=1\n"
    # It was acknowledged: the group has nothing left for the next one.
    c = daemon.client()
    assert c.subscribe(topic, "minimal").position_existed
    c.pub1(topic, "next")
    assert c.next().event.payload == b"next"


def test_its_errors_are_exceptions(daemon, tmp_path):
    run = run_printed_client(tmp_path, daemon.socket, "not a topic")
    assert run.returncode == 1
    assert "REASON_INVALID" in run.stderr
