# SPDX-License-Identifier: Apache-2.0
"""Strict decoders (Python, protobuf.js) read everything that the daemon emits (P3)."""

import fcntl
import os
import shutil
import subprocess

import pytest
from conftest import BUILD, ROOT
from harness.wire import REJECT, RETRY, event, frame_bytes, pb
from strict_decoder import read_frame

HERE = os.path.dirname(os.path.abspath(__file__))


def install(folder):
    """Once for each package-lock.json; returns what went wrong."""
    stamp = os.path.join(folder, "installed")
    pinned = os.path.join(HERE, "package-lock.json")
    if os.path.exists(stamp) and os.path.getmtime(stamp) >= os.path.getmtime(pinned):
        return None
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return run.stderr.strip()[-300:] or f"exit {run.returncode}"
    with open(stamp, "w", encoding="ascii"):
        pass
    return None


@pytest.fixture(scope="module")
def node_modules():
    """protobuf.js as pinned in package-lock.json, installed beside the build."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed: protobuf.js did not read the frames")
    folder = os.path.join(BUILD, "node")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may come here at once
        problem = install(folder)
    if problem:
        pytest.skip(f"npm cannot install protobuf.js: {problem}")
    return os.path.join(folder, "node_modules")


def recording(daemon, name, **kw):
    c = daemon.client(name, hello=False, **kw)
    c.raw = []
    c.hello(name)
    return c


def talk(daemon, topic, group):
    """As many kinds of frame as one conversation can bring about; returns every body received."""
    c = recording(daemon, "strict gr\u00fc\u00df")
    c.subscribe(topic, group, positions=True, max_in_flight_events=50, concurrency=50)
    c.subscribe(f"dlq.{group}")
    c.pub(event(topic, b"\x00\xff", metadata={"k": "\u00fc \u4e16\u754c", "x-other": "1"}, key="\u00fc", id="an id"))
    c.pub(*[event(topic, os.urandom(300), content_type="a/b", message_type="a.B") for _ in range(30)])
    c.publish(event("not a topic"), event(topic, "x", metadata={"cc": "x"}), event(topic, "fine"), positions=True)
    # An id and a time that are there and empty, as some encoders write them.
    c.sequence += 1
    odd = b"\x0a\x00\x20\x00" + pb.Event(topic=topic, payload=b"odd").SerializeToString()
    c.send_raw(frame_bytes(publish_body(c.sequence, odd)))
    c.answered([c.sequence])
    first = c.next()
    c.nack(first, cls=REJECT, reason="no \u00fc\x01\ttab", settled=True)
    c.nack(c.next(), cls=RETRY, delay_ms=1, settled=True)
    for _ in range(33):
        c.ack(c.next(), settled=True)
    c.ack((1, 2**64 - 1), settled=True)
    c.extend((5, 6), settled=True)
    c.status()
    c.ping()
    c.subscribe("bad..pattern", wait=False)
    c.error()
    c.send(register=pb.Register(request=8, services=["a.B"]))
    c.error()
    c.unsubscribe(1)
    c.send_raw(frame_bytes(b"\x00"))
    c.wait_closed()
    return c.raw


def publish_body(sequence, encoded_event):
    n = len(encoded_event)
    assert n < 128
    head = pb.Publish(first_sequence=sequence).SerializeToString()
    publish = head + bytes([0x12, n]) + encoded_event
    return bytes([0x0A, len(publish)]) + publish


KINDS = {
    "admin_reply", "deliver", "error", "pong", "published", "settled", "subscribed", "unsubscribed", "welcome",
}  # fmt: skip


def test_python_reads_everything(daemon, topic, group):
    kinds = {read_frame(body).WhichOneof("kind") for body in talk(daemon, topic, group)}
    assert kinds >= KINDS


def test_protobuf_js_reads_everything(daemon, topic, group, node_modules, tmp_path):
    frames = tmp_path / "frames"
    frames.write_bytes(b"".join(frame_bytes(body) for body in talk(daemon, topic, group)))
    run = subprocess.run(
        ["node", os.path.join(HERE, "strict_decoder.js"), node_modules, os.path.join(ROOT, "proto"), str(frames)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) >= {"".join(p.title() if i else p for i, p in enumerate(k.split("_"))) for k in KINDS}


def test_the_strict_decoder_refuses_what_it_should():
    """A test that cannot fail is a defect."""
    good = pb.Frame(pong=pb.Pong(request=1)).SerializeToString()
    read_frame(good)
    event_with = lambda b: pb.Frame(deliver=pb.Deliver()).SerializeToString()[:1] + bytes(  # noqa: E731
        [len(b) + 4, 0x0A, len(b) + 2, 0x22, len(b)]
    ) + b
    read_frame(event_with(b"\x12\x01t"))
    for bad in (
        good + good,
        good + b"\xc2\x02\x00",
        event_with(b"\x12\x01\xff"),
        event_with(b"\x12\x01\x00"),
        event_with(b"\x0a\x00\x0a\x01a"),
        event_with(b"\x42\x03\x0a\x01k\x42\x03\x0a\x01k"),
        event_with(b"\x4a\x00"),
        good[:-1],
    ):
        with pytest.raises(ValueError):
            read_frame(bad)
