# SPDX-License-Identifier: Apache-2.0
"""P8 Always up: a broker that is away ends neither the daemon nor a session; subscriptions come back."""

import pytest
from harness.wire import event, pb


@pytest.mark.broker_fault
def test_a_broker_that_is_down_at_the_start(make_daemon, adapter, topic, group):
    adapter.stop()
    try:
        d = make_daemon({"limits": {"publish_timeout": "300ms"}})
        c = d.client()
        assert not c.welcome.brokers[0].connected
        (a,) = c.answered(c.publish(event(topic, "x")))
        assert a.outcome == pb.OUTCOME_NOT_STORED and a.reason == pb.REASON_NOT_CONNECTED
        n = c.subscribe(topic, group, wait=False)
        c.ping()
    finally:
        adapter.start()
    assert c.subscribed(n)
    c.until(lambda: c.answered(c.publish(event(topic, "y"))) == [True], "a publish that works")
    assert c.next().event.payload == b"y"


@pytest.mark.broker_fault
def test_subscriptions_come_back_by_themselves_and_clients_are_told(daemon, adapter, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "before"))
    c.ack(c.next())
    adapter.kill9()
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_DEGRADED)
    adapter.start()
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_LIVE)
    c.pub(event(topic, "after"))
    while c.next().event.payload != b"after":
        pass


@pytest.mark.broker_fault
def test_a_broker_that_hangs_does_not_hang_the_daemon(make_daemon, adapter, topic):
    d = make_daemon({"limits": {"publish_timeout": "500ms"}})
    c = d.client()
    c.pub(event(topic, "1"))
    adapter.pause()
    try:
        seqs = c.publish(event(topic, "2"))
        other = d.client("other")
        for _ in range(10):
            other.ping()
        (a,) = c.answered(seqs)
        assert a.outcome == pb.OUTCOME_UNKNOWN
    finally:
        adapter.resume()
    c.until(lambda: c.answered(c.publish(event(topic, "3"))) == [True], "a publish that works")


@pytest.mark.broker_fault
def test_publishes_wait_within_their_timeout(make_daemon, adapter, topic):
    d = make_daemon({"limits": {"publish_timeout": "60s"}})
    c = d.client()
    c.pub(event(topic, "1"))
    adapter.kill9()
    seqs = c.publish(event(topic, "2"))
    c.ping()
    adapter.start()
    assert c.answered(seqs) == [True]


@pytest.mark.broker_fault
def test_no_group_goes_on_where_it_was(daemon, adapter, topic):
    c = daemon.client()
    c.subscribe(topic)
    c.pub(event(topic, "1"))
    assert c.next().event.payload == b"1"
    adapter.kill9()
    adapter.start()
    c.pub(event(topic, "2"))
    seen = c.next().event.payload
    while seen == b"1":  # its ack met the broker while it was down
        seen = c.next().event.payload
    assert seen == b"2"


@pytest.mark.broker_fault
def test_the_daemon_stops_while_the_broker_is_away(make_daemon, adapter, topic, group):
    d = make_daemon({"drain": {"timeout": "500ms"}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "1"))
    c.next()
    adapter.kill9()
    try:
        assert d.term() == 0
    finally:
        adapter.start()


def test_the_daemon_lives_through_a_thousand_sessions(daemon):
    for _ in range(1000):
        c = daemon.client()
        c.close()
        daemon.clients.clear()
    daemon.client().ping()


@pytest.mark.only("nats")
def test_a_consumer_that_was_deleted_is_made_again(daemon, adapter, topic, group):
    from harness.rawnats import RawNats

    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "1"))
    c.ack(c.next(), settled=True)
    stream = daemon.config["broker"]["nats"]["stream"]
    raw = RawNats(adapter.port)
    names = raw.api(f"CONSUMER.NAMES.{stream}")["consumers"]
    assert len(names) == 1
    assert raw.api(f"CONSUMER.DELETE.{stream}.{names[0]}")["success"]
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_DEGRADED)
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_LIVE)
    c.pub(event(topic, "2"))
    while c.next().event.payload != b"2":
        pass
    raw.close()
