# SPDX-License-Identifier: Apache-2.0
"""P7 Ordered when asked: what daemons hand out may repeat, never overtake."""

import collections
import random

import pytest
from harness.wire import Closed, event, pb

FAST = {"defaults": {"retry": {"initial_delay": "10ms", "max_delay": "30ms", "max_retries": 100}}}


class Ledger:
    """Per key: first hand-outs rise by one, and nothing comes while an earlier one is unsettled."""

    def __init__(self):
        self.done = collections.defaultdict(int)
        self.repeats = 0

    def handed_out(self, key, n):
        want = self.done[key]
        if n < want:
            self.repeats += 1  # a repeat is allowed
            return
        assert n == want, f"key {key}: {n} overtook {want}"

    def acked(self, key, n):
        self.done[key] = max(self.done[key], n + 1)


def keyed(topic, keys, n):
    return [event(topic, f"{k}:{i}", key=f"k{k}") for i in range(n) for k in range(keys)]


def parse(m):
    k, i = m.event.payload.decode().split(":")
    return k, int(i)


def test_keys_keep_their_order_through_failures_and_members(make_daemon, topic, group):
    d = make_daemon(FAST)
    members = [d.client(f"m{i}") for i in range(3)]
    for c in members:
        c.subscribe(topic, group, order=pb.ORDER_KEY, concurrency=8)
    events = keyed(topic, 7, 40)
    d.client("p").pub(*events)
    ledger = Ledger()
    rng = random.Random(7)
    done = 0
    while done < len(events):
        for c in members:
            c.poll(0.01)
            while c.deliveries:
                m = c.deliveries.popleft()
                key, n = parse(m)
                ledger.handed_out(key, n)
                if rng.random() < 0.2:
                    c.nack(m, reason="chance")
                else:
                    ledger.acked(key, n)
                    c.ack(m)
                    done += 1
    assert all(v == 40 for v in ledger.done.values())


def test_a_retry_holds_back_its_own_key_only(make_daemon, topic, group):
    d = make_daemon()
    c = d.client()
    c.subscribe(topic, group, order=pb.ORDER_KEY, concurrency=10)
    c.pub(event(topic, "a0", key="a"), event(topic, "a1", key="a"), event(topic, "b0", key="b"), event(topic, "b1", key="b"))
    got = {}
    for _ in range(2):
        m = c.next()
        got[m.event.payload] = m
    assert set(got) == {b"a0", b"b0"}
    c.nack(got[b"a0"], delay_ms=500, reason="later")
    c.ack(got[b"b0"])
    b1 = c.next()
    assert b1.event.payload == b"b1"
    c.ack(b1)
    again = c.next()
    assert (again.event.payload, again.attempt) == (b"a0", 2)
    c.ack(again)
    assert c.next().event.payload == b"a1"


def test_events_without_a_key_are_unordered(make_daemon, topic, group):
    d = make_daemon()
    c = d.client()
    c.subscribe(topic, group, order=pb.ORDER_KEY, concurrency=10)
    c.pub(event(topic, "0"), event(topic, "1"), event(topic, "2"))
    c.until(lambda: len(c.deliveries) == 3, "all three at once")


def test_order_topic(make_daemon, topic, group):
    d = make_daemon(FAST)
    c = d.client()
    c.subscribe(topic + ".*", group, order=pb.ORDER_TOPIC, concurrency=10)
    c.pub(*[event(f"{topic}.{t}", f"{t}:{i}") for i in range(20) for t in "xy"])
    ledger = Ledger()
    rng = random.Random(3)
    done = 0
    while done < 40:
        m = c.next()
        t, n = parse(m)
        ledger.handed_out(t, n)
        if rng.random() < 0.3:
            c.nack(m, reason="chance")
        else:
            ledger.acked(t, n)
            c.ack(m)
            done += 1


def test_a_dead_letter_opens_its_key_again(make_daemon, topic, group):
    d = make_daemon({"defaults": {"retry": {"max_retries": 0}}})
    c = d.client()
    c.subscribe(topic, group, order=pb.ORDER_KEY)
    c.subscribe(f"dlq.{group}")
    c.pub(event(topic, "0", key="a"), event(topic, "1", key="a"))
    c.nack(c.next(), reason="no")
    rest = {c.next().event.payload for _ in range(2)}
    assert rest == {b"0", b"1"}


def test_a_dead_members_key_comes_first_again(make_daemon, topic, group):
    d = make_daemon(FAST)
    a = d.client("a")
    a.subscribe(topic, group, order=pb.ORDER_KEY)
    a.pub(event(topic, "0", key="a"), event(topic, "1", key="a"))
    assert a.next().event.payload == b"0"
    b = d.client("b")
    b.subscribe(topic, group)
    a.close()
    assert [m.event.payload for m in b.collect(2)] == [b"0", b"1"]


def test_one_hot_key_does_not_stop_the_others(make_daemon, topic, group):
    d = make_daemon()
    c = d.client()
    c.subscribe(topic, group, order=pb.ORDER_KEY, max_in_flight_events=32, concurrency=32)
    hot = c.publish(*[event(topic, f"hot{i}", key="hot") for i in range(60)])
    c.answered(hot)
    c.answered(c.publish(event(topic, "cold", key="cold")))
    seen = []
    while b"cold" not in seen:
        seen.append(c.next().event.payload)  # the hot one is never acknowledged
    assert seen == [b"hot0", b"cold"]


@pytest.mark.durable
def test_two_daemons_one_owner_and_the_owner_is_killed(make_daemon, topic, group):
    one = make_daemon(FAST, name="one")
    a = one.client("a")
    a.subscribe(topic, group, order=pb.ORDER_KEY, concurrency=4)
    two = make_daemon(FAST, name="two", same_as=one)
    b = two.client("b")
    b.subscribe(topic, group, order=pb.ORDER_KEY, concurrency=4)
    kind, note = b.take("subscription_state", match=lambda s: s.state == pb.STATE_STANDBY)
    assert note.pattern == topic
    events = keyed(topic, 5, 60)
    p = two.client("p")
    p.pub(*events)
    ledger = Ledger()
    epochs = set()
    held = []
    # The owner works, keeps some in hand, and is killed.
    for _ in range(120):
        m = a.next()
        key, n = parse(m)
        ledger.handed_out(key, n)
        epochs.add(m.epoch)
        if len(held) < 2:
            held.append(m)
            continue
        ledger.acked(key, n)
        a.ack(m)
    one.kill9()
    live = b.take("subscription_state", match=lambda s: s.state == pb.STATE_LIVE)[1]
    assert live.epoch > max(epochs)
    while sum(ledger.done.values()) < len(events):
        m = b.next()
        key, n = parse(m)
        ledger.handed_out(key, n)
        assert m.epoch == live.epoch
        ledger.acked(key, n)
        b.ack(m)
    assert all(v == 60 for v in ledger.done.values())


@pytest.mark.durable
def test_the_owner_hands_over_when_it_stops(make_daemon, topic, group):
    one = make_daemon(FAST, name="one")
    a = one.client("a")
    a.subscribe(topic, group, order=pb.ORDER_TOPIC)
    two = make_daemon(FAST, name="two", same_as=one)
    b = two.client("b")
    b.subscribe(topic, group, order=pb.ORDER_TOPIC)
    b.take("subscription_state", match=lambda s: s.state == pb.STATE_STANDBY)
    b.pub(*[event(topic, f"t:{i}") for i in range(30)])
    ledger = Ledger()
    for _ in range(10):
        m = a.next()
        ledger.handed_out(*parse(m))
        ledger.acked(*parse(m))
        a.ack(m, settled=True)
    assert one.term() == 0
    while ledger.done["t"] < 30:
        m = b.next()
        ledger.handed_out(*parse(m))
        assert m.attempt == 1
        ledger.acked(*parse(m))
        b.ack(m)


def test_publishes_of_one_session_keep_their_order(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(*[event(topic, str(i), key="k") for i in range(2000)], batch=17)
    assert [int(m.event.payload) for m in c.collect(2000)] == list(range(2000))


def test_pipelined_publishes_of_many_topics_and_keys_keep_their_order(daemon, topic, group):
    c, p = daemon.client(), daemon.client("publisher")
    c.subscribe(topic + ".>", group, max_in_flight_events=4096)
    for i in range(60):
        p.publish(*[event(f"{topic}.{j % 3}", str(40 * i + j), key=str(j % 5)) for j in range(40)])
    seen = {}
    for m in c.collect(2400):
        seen.setdefault((m.event.topic, m.event.key), []).append(int(m.event.payload))
    assert len(seen) == 15
    assert all(v == sorted(set(v)) for v in seen.values())


@pytest.mark.broker_fault
def test_publishes_keep_their_order_over_a_broker_restart(make_daemon, adapter, topic, group):
    import threading

    d = make_daemon({"limits": {"publish_timeout": "60s"}})
    c = d.client()
    c.subscribe(topic, group)
    sent = [event(topic, str(i), key="k") for i in range(3000)]
    adapter_down = threading.Timer(0.2, lambda: (adapter.kill9(), adapter.start()))
    adapter_down.start()
    c.pub(*sent, batch=32)
    adapter_down.join()
    last = -1
    while last < 2999:
        m = c.next()
        n = int(m.event.payload)
        assert n <= last + 1, f"{n} overtook {last + 1}"
        last = max(last, n)
        c.ack(m)


def test_the_other_daemon_of_a_group_shares_unordered_work(make_daemon, adapter, topic, group):
    if not adapter.durable:
        pytest.skip("memory: one daemon only")
    one = make_daemon(name="one")
    two = make_daemon(name="two", same_as=one)
    a, b = one.client("a"), two.client("b")
    a.subscribe(topic, group, max_in_flight_events=8)
    b.subscribe(topic, group, max_in_flight_events=8)
    a.pub(*[event(topic, str(i)) for i in range(400)])
    got = {id(a): set(), id(b): set()}
    while len(got[id(a)] | got[id(b)]) < 400:
        for c in (a, b):
            try:
                c.poll(0.01)
            except Closed:
                pass
            while c.deliveries:
                m = c.deliveries.popleft()
                got[id(c)].add(int(m.event.payload))
                c.ack(m)
    assert got[id(a)] and got[id(b)]
