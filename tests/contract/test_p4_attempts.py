# SPDX-License-Identifier: Apache-2.0
"""P4 Honest attempts: attempt = 1 + failures recorded before; what is nobody's fault never counts."""

import signal
import time

import pytest
from harness.wire import RELEASE, RETRY, event, pb

FAST = {"defaults": {"retry": {"initial_delay": "10ms", "max_delay": "50ms", "max_retries": 50}}}


def test_each_nack_counts_one(make_daemon, topic, group):
    c = make_daemon(FAST).client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    for attempt in range(1, 7):
        d = c.next()
        assert d.attempt == attempt
        c.nack(d, reason="no")


def test_an_expired_lease_counts_and_its_tag_is_stale(make_daemon, topic, group):
    c = make_daemon(FAST).client()
    c.subscribe(topic, group, lease_ms=200)
    c.pub(event(topic, "x"))
    first = c.next()
    second = c.next()
    assert second.attempt == 2
    s = c.ack(first, settled=True)
    assert not s.settled and s.stale[0].first == first.tag
    s = c.ack(second, settled=True)
    assert s.settled and not s.stale


def test_extend_keeps_the_lease(make_daemon, topic, group):
    c = make_daemon(FAST).client()
    c.subscribe(topic, group, lease_ms=400)
    c.pub(event(topic, "x"))
    d = c.next()
    for _ in range(10):
        c.poll(0.15)
        s = c.extend(d, settled=True)
        assert s.settled and not s.stale
    s = c.ack(d, settled=True)
    assert s.settled and not s.stale


def test_a_client_that_dies_counts_only_what_it_worked_on(make_daemon, topic, group):
    daemon = make_daemon(FAST)
    total = 50
    publisher = daemon.client("publisher")
    last = daemon.client("last")
    n = last.subscribe(topic, group).subscription
    last.unsubscribe(n)
    publisher.pub(*[event(topic, str(i)) for i in range(total)])
    for _ in range(4):
        c = daemon.client("dies")
        c.subscribe(topic, group)
        c.until(lambda: len(c.deliveries) == total, "a full prefetch")
        c.close()
    last.subscribe(topic, group)
    attempts = {}
    for d in last.collect(total):
        attempts[int(d.event.payload)] = d.attempt
    # Each death may count one event, the one it worked on; never another.
    assert sum(a - 1 for a in attempts.values()) <= 4
    assert sum(a - 1 for a in attempts.values()) >= 3
    assert sorted(attempts) == list(range(total))


def test_concurrency_says_how_many_it_works_on(make_daemon, topic, group):
    daemon = make_daemon(FAST)
    c = daemon.client("dies")
    c.subscribe(topic, group, concurrency=5)
    c.pub(*[event(topic, str(i)) for i in range(20)])
    c.until(lambda: len(c.deliveries) == 20, "a full prefetch")
    worked_on = {m.event.payload for m in list(c.deliveries)[:5]}
    c.close()
    c = daemon.client("next")
    c.subscribe(topic, group)
    got = c.collect(20)
    assert {d.event.payload for d in got if d.attempt == 2} == worked_on
    assert sum(d.attempt - 1 for d in got) == 5


def test_only_the_oldest_run_a_lease(make_daemon, topic, group):
    c = make_daemon(FAST).client()
    c.subscribe(topic, group, lease_ms=300, concurrency=1)
    c.pub(event(topic, "0"), event(topic, "1"))
    first, second = c.next(), c.next()
    for _ in range(4):
        c.poll(0.2)
        c.extend(first)
    # second was in hand for longer than the lease, but its turn had not come.
    c.ack(first)
    s = c.ack(second, settled=True)
    assert s.settled and not s.stale


def test_release_and_unsubscribe_do_not_count(make_daemon, topic, group):
    daemon = make_daemon(FAST)
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    c.nack(c.next(), cls=RELEASE)
    d = c.next()
    assert d.attempt == 1
    c.nack(d, cls=RELEASE)
    n = c.subscriptions
    c.send(unsubscribe=pb.Unsubscribe(subscription=n))
    c.until(lambda: any(k == "unsubscribed" for k, _ in c.frames) or c.deliveries, "the end")
    while c.deliveries:
        c.nack(c.deliveries.popleft(), cls=RELEASE)
    c.take("unsubscribed")
    c.subscribe(topic, group)
    assert c.next().attempt == 1


def test_what_was_not_written_to_a_dead_client_does_not_count(daemon, topic, group):
    c = daemon.client("never reads")
    c.subscribe(topic, group, concurrency=10, max_in_flight_bytes=8 << 20)
    other = daemon.client("other")
    other.pub(event(topic, bytes(900000)))  # more than the socket takes
    other.pub(event(topic, "behind it"))
    other.until(
        lambda: any(x["outstanding"] for x in other.status()["clients"]),
        "the first one handed out",
    )
    c.close()
    other.subscribe(topic, group)
    assert [m.attempt for m in other.collect(2)] == [1, 1]


def test_extend_accepts_what_is_not_worked_on_yet(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(*[event(topic, str(i)) for i in range(3)])
    first, _, last = [c.next() for _ in range(3)]
    s = c.extend((first.tag, last.tag + 1), settled=True)
    assert [(r.first, r.last) for r in s.settled] == [(first.tag, last.tag)]
    assert [(r.first, r.last) for r in s.stale] == [(last.tag + 1, last.tag + 1)]


def test_reason_patterns_judge_failures_that_no_class_judged(make_daemon, topic, group):
    retry = {"initial_delay": "10ms", "max_delay": "10ms", "never_on": ["lease*"]}
    d = make_daemon({"defaults": {"lease": "200ms", "retry": retry}})
    c = d.client()
    c.subscribe(topic, group)
    c.subscribe("dlq." + group)
    c.pub(event(topic, "x"))
    c.nack(c.next(), reason="lease: NACK_CLASS_RETRY outranks the pattern")
    m = c.next()
    assert m.event.topic == topic and m.attempt == 2  # its lease ends
    letter = c.next().event.metadata
    assert letter["dlq.reason"] == "not to be retried" and letter["dlq.error"] == "lease expired"
    assert letter["dlq.attempt"] == "2"


def test_a_policy_holds_for_what_was_handed_out_under_it(make_daemon, topic, group):
    retry = {"initial_delay": "10ms", "max_delay": "10ms", "max_retries": 5}
    d = make_daemon({"defaults": {"retry": retry}})
    c = d.client()
    c.subscribe(topic, group)
    c.subscribe("dlq." + group)
    c.pub(event(topic, "x"))
    m = c.next()
    retry["max_retries"] = 0
    d.write_config()
    d.notices = []
    d.signal(signal.SIGHUP)
    d.wait_notice("READY=1")
    c.nack(m)
    m = c.next()
    assert m.event.topic == topic and m.attempt == 2
    c.nack(m)
    assert c.next().event.topic == "dlq." + group


@pytest.mark.durable
def test_the_count_survives_kill_9_of_the_daemon(make_daemon, topic, group):
    daemon = make_daemon(FAST)
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    for attempt in (1, 2, 3):
        d = c.next()
        assert d.attempt == attempt
        c.nack(d, cls=RETRY, reason="no")
    d = c.next()
    assert d.attempt == 4
    daemon.kill9()
    daemon.restart()
    c = daemon.client()
    c.subscribe(topic, group)
    d = c.next()
    # A crash may under-count by one, never over-count.
    assert d.attempt in (3, 4)
    c.ack(d)


@pytest.mark.durable
def test_the_count_survives_a_drain_and_the_drain_does_not_count(make_daemon, topic, group):
    daemon = make_daemon({**FAST, "drain": {"timeout": "500ms"}})
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    c.nack(c.next(), reason="no")
    assert c.next().attempt == 2
    assert daemon.term() == 0
    daemon.forget_clients()
    daemon.restart()
    c = daemon.client()
    c.subscribe(topic, group)
    assert c.next().attempt == 2


def test_a_stopped_daemon_expires_no_lease(make_daemon, topic, group):
    daemon = make_daemon(FAST)
    c = daemon.client()
    c.subscribe(topic, group, lease_ms=1000)
    c.pub(event(topic, "x"))
    d = c.next()
    daemon.signal(signal.SIGSTOP)
    time.sleep(2.5)  # longer than every lease: the stop is the point
    daemon.signal(signal.SIGCONT)
    s = c.ack(d, settled=True)
    assert s.settled and not s.stale


@pytest.mark.broker_fault
def test_a_broker_restart_does_not_count(make_daemon, adapter, topic, group):
    daemon = make_daemon(FAST)
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"), event(topic, "y"))
    d = c.next()
    adapter.kill9()
    adapter.start()
    c.next()
    c.ack(d)
    c.close()
    c = daemon.client()
    c.subscribe(topic, group)
    got = c.next()
    if got.event.payload == b"x":  # its ack met the broker while it was down
        assert got.attempt == 1
        got = c.next()
    assert (got.event.payload, got.attempt) == (b"y", 1)


def test_settling_is_idempotent(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"), event(topic, "y"))
    x, y = c.next(), c.next()
    assert c.ack(x, settled=True).settled
    s = c.nack(x, settled=True)
    assert not s.settled and s.stale[0].first == x.tag
    # A range of any width costs what is outstanding.
    s = c.ack((1, 2**63), settled=True)
    assert [(r.first, r.last) for r in s.settled] == [(y.tag, y.tag)]
    assert s.stale


def test_tags_of_a_former_session_are_stale(daemon, topic, group):
    a = daemon.client()
    a.subscribe(topic, group)
    a.pub(event(topic, "x"))
    old = a.next()
    a.close()
    b = daemon.client()
    b.subscribe(topic, group)
    new = b.next()
    if new.tag != old.tag:
        s = b.ack(old.tag, settled=True)
        assert not s.settled and s.stale
    s = b.ack(new, settled=True)
    assert s.settled and not s.stale


def test_tags_rise_from_a_random_base(daemon, topic):
    firsts = set()
    for _ in range(3):
        c = daemon.client()
        c.subscribe(topic)
        c.pub(event(topic, "1"), event(topic, "2"))
        a, b = c.next(), c.next()
        assert a.tag < 2**32 and b.tag == a.tag + 1
        firsts.add(a.tag)
        c.close()
    assert len(firsts) > 1
