# SPDX-License-Identifier: Apache-2.0
"""The stream: created as the file says, a difference is told and nothing changed, its limits are answered."""

import pytest
from harness.brokers import Nats
from harness.rawnats import RawNats
from harness.wire import event, pb

pytestmark = pytest.mark.only("nats")


@pytest.fixture
def raw(adapter):
    r = RawNats(adapter.port)
    yield r
    r.close()


def make_stream(raw, name, **config):
    r = raw.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})
    assert "error" not in r, r


def test_it_is_created_as_the_file_says(make_daemon, raw, topic):
    name = "s" + topic
    settings = {"storage": "memory", "max_age": "1h", "max_bytes": "1MiB", "duplicate_window": "10s"}
    d = make_daemon(broker={"stream": name, "stream_config": {**settings, "subjects": [f"{name}.>", f"more{name}"]}})
    d.client().pub(event(topic, "x"))
    config = raw.api(f"STREAM.INFO.{name}")["config"]
    assert config["subjects"] == [f"{name}.>", f"more{name}"]
    assert (config["storage"], config["num_replicas"]) == ("memory", 1)
    assert (config["max_age"], config["max_bytes"]) == (3600 * 10**9, 1 << 20)
    assert config["duplicate_window"] == 10 * 10**9
    assert d.client().welcome.brokers[0].dedupe_window_ms == 10000
    assert "differs" not in d.log()


def test_a_difference_is_told_and_left(make_daemon, raw, topic):
    name = "s" + topic
    make_stream(raw, name, storage="memory", max_age=60 * 10**9)
    before = raw.api(f"STREAM.INFO.{name}")["config"]
    settings = {"storage": "file", "max_age": "1h", "max_bytes": "1MiB", "replicas": 1}
    d = make_daemon(broker={"stream": name, "stream_config": settings})
    d.client().pub(event(topic, "x"))
    assert raw.api(f"STREAM.INFO.{name}")["config"] == before
    for what in ("storage", "max_age", "max_bytes"):
        assert any("differs" in x and what in x for x in d.log().splitlines()), what
    assert not any("differs" in x and "num_replicas" in x for x in d.log().splitlines())
    assert d.log().count("do not survive a restart of the server") == 1


def test_it_is_not_created_when_the_file_says_so(make_daemon, raw, topic):
    name = "s" + topic
    d = make_daemon({"limits": {"publish_timeout": "300ms"}}, broker={"stream": name, "create": False})
    c = d.client()
    (a,) = c.answered(c.publish(event(topic, "x")))
    assert a.reason == pb.REASON_NOT_CONNECTED and name in a.text and "not found" in a.text
    make_stream(raw, name)
    c.until(lambda: c.answered(c.publish(event(topic, "y"))) == [True], "the stream to be found")


def test_a_payload_above_the_servers_limit_is_refused_alone(make_daemon, raw, topic):
    name = "s" + topic
    make_stream(raw, name, max_msg_size=2000)
    d = make_daemon(broker={"stream": name})
    c = d.client()
    big, small, next_one = c.answered(c.publish(event(topic, b"x" * 2001), event(topic, b"x" * 100), event(topic, "z")))
    assert (big.outcome, big.reason) == (pb.OUTCOME_PERMANENT, pb.REASON_TOO_LARGE)
    assert small is True and next_one is True


def test_the_servers_max_payload_counts_headers_too(make_daemon, adapter, tmp_path, topic):
    server = Nats(tmp_path)
    server.extra = "max_payload: 4096\n"
    server.start()
    try:
        d = make_daemon(broker={"servers": [f"nats://127.0.0.1:{server.port}"]})
        c = d.client()
        sizes = (3000, 3900, 4096, 10000)
        meta = {"m": "x" * 300}
        a = c.answered(c.publish(*[event(topic, b"x" * n, metadata=meta) for n in sizes]))
        assert a[0] is True
        for refused in a[1:]:
            assert (refused.outcome, refused.reason) == (pb.OUTCOME_PERMANENT, pb.REASON_TOO_LARGE)
        assert c.answered(c.publish(event(topic, "after"))) == [True]
        assert "connection lost" not in d.log()
    finally:
        server.stop()


def test_a_full_stream_that_refuses(make_daemon, raw, topic):
    name = "s" + topic
    make_stream(raw, name, max_msgs=2, discard="new")
    d = make_daemon(broker={"stream": name})
    c = d.client()
    a, b, full = c.answered(c.publish(*[event(topic, str(i)) for i in range(3)]))
    assert a is True and b is True
    assert full.outcome == pb.OUTCOME_NOT_STORED and "maximum messages" in full.text, full
    raw.api(f"STREAM.PURGE.{name}")
    assert c.answered(c.publish(event(topic, "again"))) == [True]


def test_a_stream_without_confirms_is_told(make_daemon, raw, topic):
    """no_ack: the server never says that it has an event, so P1 cannot be kept."""
    name = "s" + topic
    make_stream(raw, name, no_ack=True)
    d = make_daemon({"limits": {"publish_timeout": "500ms"}}, broker={"stream": name})
    c = d.client()
    (a,) = c.answered(c.publish(event(topic, "x")))
    assert a is not True and "no_ack" in a.text, a
    assert "no_ack" in d.log()


def test_a_stream_that_is_deleted_comes_back_empty(make_daemon, raw, topic, group):
    name = "s" + topic
    d = make_daemon(broker={"stream": name, "ping_interval": "200ms"})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "1"))
    c.ack(c.next(), settled=True)
    assert raw.api(f"STREAM.DELETE.{name}")["success"]
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_DEGRADED)
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_LIVE)
    c.until(lambda: c.answered(c.publish(event(topic, "2"))) == [True], "a publish that works")
    while c.next().event.payload != b"2":
        pass
