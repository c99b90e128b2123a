# SPDX-License-Identifier: Apache-2.0
"""P5 Neutral stop: SIGTERM under load fails nothing, loses nothing, dead-letters nothing."""

import re
import signal

import pytest
from harness.wire import Closed, event, pb


def drain(c):
    return c.take("drain")[1]


def test_an_idle_daemon_stops_at_once_with_zero(make_daemon):
    d = make_daemon()
    d.client()
    assert d.term() == 0
    assert any(n.startswith("STOPPING=1") for n in read_notices(d))


def read_notices(d):
    d.notify.setblocking(False)
    try:
        while True:
            d.notices += d.notify.recv(65536).decode().split("\n")
    except BlockingIOError:
        return d.notices


def test_what_a_client_holds_may_be_finished(make_daemon, topic, group):
    d = make_daemon({"drain": {"timeout": "30s"}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(*[event(topic, str(i)) for i in range(10)])
    got = c.collect(10, ack=False)
    d.signal(signal.SIGTERM)
    assert 0 < drain(c).deadline_ms <= 30000
    # A handler that publishes during the drain.
    c.pub(event(topic + ".out", "result"))
    s = c.ack(*got, settled=True)
    assert s.settled and not s.stale
    assert d.wait() == 0
    assert re.search(r"drained 10, returned 0, unconfirmed 0", d.log())


def test_nothing_new_comes_during_a_drain(make_daemon, topic, group):
    d = make_daemon({"drain": {"timeout": "30s"}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "held"))
    m = c.next()
    idle = d.client("idle")
    d.signal(signal.SIGTERM)
    drain(c)
    drain(idle)
    c.pub(event(topic, "during"))
    (a,) = idle.answered(idle.publish(event(topic, "x")))
    assert a.outcome == pb.OUTCOME_NOT_STORED and a.reason == pb.REASON_DRAINING
    c.ping()
    assert not c.deliveries
    c.ack(m)
    assert d.wait() == 0


def test_a_second_sigterm_ends_at_once(make_daemon, topic, group):
    d = make_daemon({"drain": {"timeout": "300s"}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "held"))
    c.next()
    d.signal(signal.SIGTERM)
    drain(c)
    d.signal(signal.SIGTERM)
    assert d.wait() == 0


def test_the_deadline_returns_what_is_still_held(make_daemon, topic, group):
    d = make_daemon({"drain": {"timeout": "300ms"}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "held"))
    c.next()
    assert d.term() == 0
    assert re.search(r"drained 0, returned 1, unconfirmed 0", d.log())


def test_a_drain_reports_what_became_of_what_was_held(make_daemon, topic, group):
    retry = {"initial_delay": "1h", "max_delay": "1h"}
    d = make_daemon({"drain": {"timeout": "1500ms"}, "defaults": {"retry": retry}})
    c, idle = d.client(), d.client("idle")
    c.subscribe(topic, group, concurrency=10)
    c.pub(*[event(topic, str(i)) for i in range(6)])
    held = [c.next() for _ in range(6)]
    c.nack(held[0], held[1], settled=True)  # two wait for their retry
    d.signal(signal.SIGTERM)
    assert c.take("drain")[1].deadline_ms == 1500
    idle.take("drain")
    (a,) = idle.answered(idle.publish(event(topic, "no")))
    assert a.outcome == pb.OUTCOME_NOT_STORED and a.reason == pb.REASON_DRAINING
    n = idle.subscribe(topic, group, wait=False)
    assert idle.take("error", match=lambda m: m.subscription == n)[1].reason == pb.REASON_DRAINING
    assert c.answered(c.publish(event(topic + ".result", "yes"))) == [True]
    assert c.extend(held[2], settled=True).settled
    c.ack(held[2], held[3], settled=True)
    c.nack(held[4], settled=True)
    c.wait_closed()  # held[5] stays unsettled to the deadline
    assert d.wait() == 0
    assert "drained 3, returned 4, unconfirmed 0" in d.log()


@pytest.mark.durable
def test_sigterm_under_load_fails_no_good_event(make_daemon, topic, group):
    """Three stops under load; every event ends acknowledged at attempt 1, none dead-lettered, none failed."""
    d = make_daemon({"drain": {"timeout": "10s"}})
    total = 6000
    state = {"next": 0}
    acked = {}

    def publish(c):
        while state["next"] < total and c.sequence - len(c.answers) < 512:
            n = min(64, total - state["next"])
            c.publish(*[event(topic, str(state["next"] + i), id=f"e{state['next'] + i}") for i in range(n)])
            for i in range(n):
                sent[c.sequence - n + 1 + i] = state["next"] + i
            state["next"] += n

    stops = 3
    redo = []
    for round_ in range(stops + 1):
        c = d.client()
        c.subscribe(topic, group)
        sent = {}
        goal = total * (round_ + 1) // (stops + 1)
        stopping = False
        if redo:
            c.pub(*[event(topic, str(i), id=f"e{i}") for i in redo])
            redo = []
        try:
            while len(acked) < total:
                if not stopping:
                    publish(c)
                c.poll(0.01)
                while c.deliveries:
                    m = c.deliveries.popleft()
                    assert m.attempt == 1
                    acked[int(m.event.payload)] = acked.get(int(m.event.payload), 0) + 1
                    c.ack(m)
                if not stopping and round_ < stops and len(acked) >= goal:
                    d.signal(signal.SIGTERM)
                    stopping = True
                if c.closed:
                    raise Closed()
        except Closed:
            pass
        for s, i in sent.items():
            a = c.answers.get(s)
            if a is not True:
                if a is not None:
                    assert a.outcome in (pb.OUTCOME_NOT_STORED, pb.OUTCOME_UNKNOWN)
                redo.append(i)
        if stopping:
            assert d.wait() == 0
            d.forget_clients()
            d.restart()
    assert sorted(acked) == list(range(total))
    c = d.client()
    c.subscribe(f"dlq.{group}", start=pb.Start(earliest=True))
    c.pub(event(f"dlq.{group}", "end"))
    assert c.next().event.payload == b"end"


def test_waiting_retries_go_back_with_their_count(make_daemon, topic, group):
    d = make_daemon({"defaults": {"retry": {"initial_delay": "1h", "max_delay": "1h"}}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    c.nack(c.next(), reason="later", settled=True)
    assert d.term() == 0
    assert "returned 1" in d.log() or "drained 0, returned 0" in d.log()
    if d.config["broker"].get("memory") is None:
        d.forget_clients()
        d.restart()
        c = d.client()
        c.subscribe(topic, group)
        assert c.next().attempt == 2
