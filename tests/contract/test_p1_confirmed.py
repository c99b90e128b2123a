# SPDX-License-Identifier: Apache-2.0
"""P1 Confirmed: a publish is answered once the broker has it, never before."""

import threading
import uuid

import pytest
from harness.wire import Closed, NotStored, event, pb


def earliest():
    return pb.Start(earliest=True)


def test_a_confirmed_event_is_at_the_broker(daemon, topic):
    c = daemon.client()
    p = c.pub1(topic, "hello", key="k1", content_type="text/plain", metadata={"trace": "abc"})
    assert p.position
    assert uuid.UUID(p.id).version == 4
    c.subscribe(topic, start=earliest())
    d = c.next()
    assert d.event.id == p.id
    assert d.event.topic == topic
    assert d.event.payload == b"hello"
    assert d.event.key == "k1"
    assert d.event.content_type == "text/plain"
    assert dict(d.event.metadata) == {"trace": "abc"}
    assert d.event.published_at_ms > 0
    assert d.attempt == 1


def test_every_field_survives_the_broker(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    sent = event(
        topic,
        bytes(range(256)),
        id="my-id.1",
        key="käy/1",
        content_type="application/protobuf",
        message_type="orders.v1.OrderCreated",
        published_at_ms=1700000000123,
        metadata={"a": "1", "x-tenant": "ümläut", "Trace.Id": "x y"},
    )
    c.pub(sent)
    assert c.next().event == sent


def test_an_empty_payload_is_an_event(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    c.pub(event(topic))
    assert c.next().event.payload == b""


def test_positions_rise_and_belong_to_their_sequence(daemon, topic):
    c = daemon.client()
    seqs = c.publish(*[event(topic, str(i)) for i in range(100)], positions=True)
    assert all(a is True for a in c.answered(seqs))
    texts = [c.positions[s].position for s in seqs]
    assert len(set(texts)) == 100
    assert len({c.positions[s].id for s in seqs}) == 100


def test_publishing_an_id_again_is_stored_once_and_says_so(daemon, topic):
    c = daemon.client()
    assert c.welcome.brokers[0].dedupe_window_ms > 0
    first = c.pub1(topic, "x", id="same")
    again = c.pub1(topic, "x", id="same")
    assert not first.duplicate
    assert again.duplicate
    c.pub1(topic, "end")
    c.subscribe(topic, start=earliest())
    assert [d.event.payload for d in c.collect(2)] == [b"x", b"end"]


def test_the_same_id_on_another_topic_is_another_event(daemon, topic):
    c = daemon.client()
    c.pub1(topic + ".a", "1", id="same")
    assert not c.pub1(topic + ".b", "2", id="same").duplicate
    c.subscribe(topic + ".>", start=earliest())
    assert {d.event.payload for d in c.collect(2)} == {b"1", b"2"}


def test_one_bad_event_takes_no_neighbour_with_it(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    seqs = c.publish(
        event(topic, "1"),
        event("bad topic", "2"),
        event(topic, "3", metadata={"Nats-Rollup": "all"}),
        event(topic, "4"),
    )
    a = c.answered(seqs)
    assert a[0] is True and a[3] is True
    assert a[1].outcome == pb.OUTCOME_PERMANENT and a[1].reason == pb.REASON_INVALID
    assert a[2].outcome == pb.OUTCOME_PERMANENT and "Nats-Rollup" in a[2].text
    assert [d.event.payload for d in c.collect(2)] == [b"1", b"4"]


@pytest.mark.durable
@pytest.mark.broker_fault
def test_confirmed_events_survive_kill_9_of_the_broker(daemon, adapter, topic):
    c = daemon.client()
    c.pub(*[event(topic, str(i)) for i in range(500)])
    adapter.kill9()
    adapter.start()
    c.subscribe(topic, start=earliest())
    assert [int(d.event.payload) for d in c.collect(500)] == list(range(500))


@pytest.mark.durable
def test_confirmed_events_survive_kill_9_of_the_daemon_under_load(daemon, topic):
    c = daemon.client()
    killer = threading.Timer(0.3, lambda: daemon.process.kill())
    killer.start()
    sent = 0
    try:
        while True:
            c.publish(*[event(topic, str(sent + i), id=f"n{sent + i}") for i in range(64)])
            sent += 64
            c.until(lambda: sum(1 for s in range(1, sent + 1) if s not in c.answers) < 2048, "credit")
    except (Closed, TimeoutError):
        pass
    killer.join()
    while c.poll(0.1):
        if c.closed:
            break
    confirmed = {s - 1 for s, a in c.answers.items() if a is True}
    assert confirmed
    daemon.process.wait()
    daemon.forget_clients()
    daemon.restart()
    c = daemon.client()
    c.pub(event(topic, "end"))
    c.subscribe(topic, start=earliest())
    seen = set()
    while True:
        d = c.next()
        c.ack(d)
        if d.event.payload == b"end":
            break
        seen.add(int(d.event.payload))
    assert confirmed <= seen


def test_published_at_of_the_client_is_kept_and_else_made(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    c.pub(event(topic, "1", published_at_ms=1234567890123), event(topic, "2"))
    a, b = c.collect(2)
    assert a.event.published_at_ms == 1234567890123
    assert b.event.published_at_ms > 1700000000000


def test_too_large_is_refused_alone(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    limit = c.welcome.brokers[0].max_event_bytes or c.welcome.limits.max_frame_bytes
    if limit + 4096 < c.welcome.limits.max_frame_bytes:
        a = c.answered(c.publish(event(topic, bytes(limit + 1)), event(topic, "fits")))
        assert a[0].outcome == pb.OUTCOME_PERMANENT and a[0].reason == pb.REASON_TOO_LARGE
        assert a[1] is True
        assert c.next().event.payload == b"fits"
    # The largest that Welcome allows is taken.
    n = min(limit, c.welcome.limits.max_frame_bytes, int(c.credit.bytes)) - 1024
    c.pub(event(topic, bytes(n)))
    assert len(c.next().event.payload) == n


def test_a_failure_names_what_to_do(daemon):
    c = daemon.client()
    with pytest.raises(NotStored) as e:
        c.pub(event("a..b"))
    assert e.value.failure.outcome == pb.OUTCOME_PERMANENT
    assert "topic" in e.value.failure.text
