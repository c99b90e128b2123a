# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken bytes: each its own clear error, the offender alone pays, nothing leaks."""

import os
import random
import struct

import pytest
from harness.wire import Closed, event, frame_bytes, pb


@pytest.fixture
def witness(daemon, topic):
    """Another client, which must notice nothing."""
    w = daemon.client("witness")
    w.subscribe(topic + ".witness")
    yield w
    w.pub(event(topic + ".witness", "still here"))
    assert w.next().event.payload == b"still here"


def ends_with_error(c, words=()):
    e = c.error()
    assert e.closing
    assert e.outcome == pb.OUTCOME_PERMANENT
    assert e.text
    for w in words:
        assert w in e.text, e.text
    c.wait_closed()
    return e


def test_a_frame_of_length_zero(daemon, witness):
    c = daemon.client()
    c.send_raw(b"\0\0\0\0")
    ends_with_error(c)


def test_a_frame_over_the_limit(daemon, witness):
    c = daemon.client()
    limit = c.welcome.limits.max_frame_bytes
    c.send_raw(struct.pack(">I", limit + 1) + b"x")
    ends_with_error(c, [str(limit)])


def test_a_frame_of_exactly_the_limit_is_read(daemon, witness, topic):
    c = daemon.client()
    limit = c.welcome.limits.max_frame_bytes
    body = pb.Frame(ping=pb.Ping(request=5)).SerializeToString()
    pad = limit - len(body)
    c.send_raw(struct.pack(">I", limit) + body + bytes(pad))  # zero bytes are not a field
    ends_with_error(c)


def test_a_truncated_frame_and_the_end(daemon, witness):
    c = daemon.client()
    c.send_raw(b"\0\0\1\0abc")
    c.close()


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes(daemon, witness, seed):
    rng = random.Random(seed)
    for _ in range(20):
        c = daemon.client(hello=bool(rng.getrandbits(1)))
        data = rng.randbytes(rng.randrange(1, 300))
        try:
            c.send_raw(frame_bytes(data) if rng.getrandbits(1) else data)
        except Closed:
            pass
        c.close()


def test_a_header_split_at_every_byte(daemon, witness):
    c = daemon.client()
    data = frame_bytes(pb.Frame(ping=pb.Ping(request=9)).SerializeToString())
    for b in data:
        c.send_raw(bytes([b]))
    c.take("pong", match=lambda m: m.request == 9)


def test_anything_before_hello(daemon, witness):
    c = daemon.client(hello=False)
    c.send(ping=pb.Ping(request=1))
    ends_with_error(c, ["hello"])


def test_a_second_hello(daemon, witness):
    c = daemon.client()
    c.send(hello=pb.Hello(version=1, client="again"))
    ends_with_error(c)


def test_a_version_that_is_not_spoken(daemon, witness):
    c = daemon.client(hello=False)
    c.send(hello=pb.Hello(version=99, client="future"))
    ends_with_error(c, ["1"])


@pytest.mark.parametrize("kind", ["welcome", "deliver", "published", "settled", "drain", "error", "pong"])
def test_frames_that_only_the_daemon_sends(daemon, witness, kind):
    c = daemon.client()
    types = {
        "welcome": pb.Welcome, "deliver": pb.Deliver, "published": pb.Published, "settled": pb.Settled,
        "drain": pb.Drain, "error": pb.Error, "pong": pb.Pong,
    }  # fmt: skip
    c.send(**{kind: types[kind]()})
    ends_with_error(c)


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


@pytest.mark.parametrize(
    "name, body",
    [
        ("an empty frame", b"\x0a\x00"),
        ("a second member of the oneof", b"\x0a\x00\x52\x00"),
        ("an unknown kind", field(99, b"")),
        ("a wrong wire type", b"\x08\x01"),
        ("a length beyond the frame", b"\x0a\x7f"),
        ("an overlong varint", b"\x0a" + b"\xff" * 10 + b"\x01"),
        ("a group", b"\x0b\x0c"),
        ("utf-8 that is none", field(1, b"\x08\x01" + field(2, field(2, b"\xff\xfe")))),
        ("a NUL in a string", field(1, b"\x08\x01" + field(2, field(2, b"a\x00b")))),
        ("a singular field twice", field(1, b"\x08\x01" + field(2, field(2, b"a") + field(2, b"b")))),
        ("a map key twice", field(1, b"\x08\x01" + field(2, field(2, b"a") + field(8, b"\x0a\x01k\x12\x01v") * 2))),
        ("an unknown field in an event", field(1, b"\x08\x01" + field(2, field(2, b"a") + b"\xf8\x06\x01"))),
        ("sequence zero", field(1, field(2, field(2, b"a")))),
        ("no events", field(1, b"\x08\x01")),
        ("a range backwards", field(2, field(1, b"\x08\x05\x10\x01"))),
        ("an unknown enum value", field(3, field(1, b"\x08\x01\x10\x01") + b"\x10\x63")),
        ("no nack class", field(3, field(1, b"\x08\x01\x10\x01"))),
    ],
)
def test_structure_errors_are_answered_once_and_end_the_session(daemon, witness, name, body):
    c = daemon.client()
    c.send_raw(frame_bytes(body))
    ends_with_error(c)


def test_a_frame_of_many_tiny_events_is_bounded(daemon, witness):
    c = daemon.client()
    limit = c.welcome.limits.max_events_per_publish
    rss = daemon.rss_kib()
    c.send_raw(frame_bytes(field(1, b"\x08\x01" + field(2, b"") * (limit + 1))))
    ends_with_error(c, [str(limit)])
    # A hostile frame of a quarter of a megabyte takes no gigabytes.
    c = daemon.client()
    c.send_raw(frame_bytes(field(9, b"\x08\x01" + field(2, b"a") * 80000)))
    ends_with_error(c)
    assert daemon.grew_kib(rss) < 64 * 1024


def test_sequences_must_rise(daemon, witness, topic):
    c = daemon.client()
    c.pub(event(topic, "1"), event(topic, "2"))
    c.send(publish=pb.Publish(first_sequence=2, events=[event(topic, "3")]))
    ends_with_error(c, ["sequence"])


def test_unknown_tags_are_stale_and_nothing_else(daemon, witness, topic):
    c = daemon.client()
    s = c.ack((1, 10), settled=True)
    assert not s.settled and [(r.first, r.last) for r in s.stale] == [(1, 10)]
    s = c.extend((2**60, 2**64 - 1), settled=True)
    assert not s.settled


def test_a_nack_reason_too_long_settles_nothing(daemon, witness, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    m = c.next()
    c.requests += 1
    c.send(nack=pb.Nack(tags=c._ranges([m]), kind=pb.NACK_CLASS_RETRY, reason="x" * 1025, request=c.requests))
    e = c.error()
    assert e.request == c.requests and not e.closing
    s = c.ack(m, settled=True)
    assert s.settled and not s.stale


def test_a_publish_by_type_without_a_schema(daemon, witness):
    c = daemon.client()
    (a,) = c.answered(c.publish(pb.Event(message_type="orders.v1.OrderCreated", payload=b"x")))
    assert a.outcome == pb.OUTCOME_PERMANENT and a.reason == pb.REASON_UNRESOLVED_TOPIC


def test_everything_the_daemon_emits_reads_back_equal(daemon, witness, topic, group):
    """A strict decoder: each frame re-encodes to something that decodes equal, and has no unknown fields."""
    c = daemon.client()
    c.raw = []
    c.subscribe(topic, group, positions=True)
    c.pub(*[event(topic, os.urandom(50), metadata={"k": "ü"}) for _ in range(20)])
    for m in c.collect(20, ack=False):
        c.ack(m, settled=True)
    c.status()
    c.ping()
    c.subscribe("bad..pattern", wait=False)
    c.error()
    assert len(c.raw) > 20
    for body in c.raw:
        f = pb.Frame.FromString(body)
        assert f.WhichOneof("kind")
        assert len(f.SerializeToString()) == len(body)
