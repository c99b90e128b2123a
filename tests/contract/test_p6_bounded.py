# SPDX-License-Identifier: Apache-2.0
"""P6 Bounded: memory in bytes, one client's trouble is its own, pressure reaches who causes it."""

import time

from harness.wire import PATIENCE, Closed, Refused, event, frame_bytes, pb


def test_beyond_the_publish_credit_the_answer_is_overloaded(make_daemon, topic):
    d = make_daemon({"limits": {"publish_events": 64}})
    c = d.client()
    assert c.credit.events == 64
    seqs = c.publish(*[event(topic, str(i)) for i in range(100)])
    answers = c.answered(seqs)
    refused = [a for a in answers if a is not True]
    assert answers[:64] == [True] * 64
    assert refused and all(
        a.outcome == pb.OUTCOME_NOT_STORED and a.reason == pb.REASON_OVERLOADED for a in refused
    )
    # The session lives and its credit is whole again.
    assert all(a is True for a in c.answered(c.publish(*[event(topic, "y") for _ in range(64)])))


def test_a_client_that_keeps_overrunning_is_cut(make_daemon, topic):
    d = make_daemon({"limits": {"publish_events": 16}})
    c = d.client()
    try:
        for _ in range(2000):
            c.publish(*[event(topic, "x") for _ in range(512)])
        c.wait_closed()
    except Closed:
        pass
    other = d.client("other")
    other.pub(event(topic, "fine"))


def test_acks_get_through_while_the_publish_credit_is_spent(make_daemon, topic, group):
    d = make_daemon({"limits": {"publish_events": 8}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    m = c.next()
    c.publish(*[event(topic + ".other", str(i)) for i in range(64)])
    s = c.ack(m, settled=True)
    assert s.settled and not s.stale


def test_never_more_outstanding_than_the_member_said(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group, max_in_flight_events=5)
    c.pub(*[event(topic, str(i)) for i in range(50)])
    got = []
    while len(got) < 50:
        c.until(lambda: c.deliveries, "a delivery")
        c.ping()
        assert len(c.deliveries) <= 5
        while c.deliveries:
            m = c.deliveries.popleft()
            got.append(int(m.event.payload))
            last = m
        c.ack((1, last.tag))
    assert got == list(range(50))


def test_bytes_in_flight_are_bounded_and_one_event_always_fits(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group, max_in_flight_bytes=10000)
    c.pub(*[event(topic, bytes(4000)) for _ in range(6)])
    c.pub(event(topic, bytes(50000)))
    sizes = []
    while len(sizes) < 7:
        c.until(lambda: c.deliveries, "a delivery")
        c.ping()
        assert sum(m.event.ByteSize() for m in c.deliveries) <= 10000 or len(c.deliveries) == 1
        while c.deliveries:
            m = c.deliveries.popleft()
            sizes.append(len(m.event.payload))
            c.ack(m)
    assert sizes == [4000] * 6 + [50000]


def test_one_clients_share_holds_over_all_its_subscriptions(make_daemon, topic, group):
    d = make_daemon({"limits": {"per_client": "64KiB"}})
    c = d.client()
    for i in range(3):
        c.subscribe(topic, f"{group}-{i}", max_in_flight_bytes=1 << 20)
    c.pub(*[event(topic, bytes(4000)) for _ in range(40)])
    left = 120
    while left:
        c.until(lambda: c.deliveries, "a delivery")
        c.ping()
        assert sum(m.event.ByteSize() for m in c.deliveries) <= 64 << 10
        left -= len(c.deliveries)
        c.ack(*c.deliveries)
        c.deliveries.clear()


def test_a_client_that_stops_reading_costs_the_others_nothing(make_daemon, topic, group):
    d = make_daemon({"limits": {"unwritten_bytes": "256KiB", "unwritten_timeout": "2s"}})
    slow = d.client("slow")
    slow.subscribe(topic, group + "-slow", max_in_flight_events=10000, max_in_flight_bytes=32 << 20)
    fast = d.client("fast")
    fast.subscribe(topic, group + "-fast")
    before = d.rss_kib()
    for _ in range(40):
        fast.pub(*[event(topic, bytes(4000)) for _ in range(64)])
        fast.collect(64)
    assert d.grew_kib(before) < 200 * 1024
    # Nothing lost: what was not written or not acknowledged goes to the next member.
    slow.close()
    nxt = d.client("next")
    nxt.subscribe(topic, group + "-slow")
    got = nxt.collect(40 * 64)
    assert len(got) == 40 * 64
    assert sum(m.attempt - 1 for m in got) <= 1


def test_a_client_that_neither_reads_replies_is_cut(make_daemon, topic):
    d = make_daemon({"limits": {"unwritten_bytes": "64KiB", "unwritten_timeout": "500ms"}})
    c = d.client("deaf")
    body = frame_bytes(pb.Frame(ping=pb.Ping(request=1)).SerializeToString()) * 1000
    c.sock.setblocking(True)
    c.sock.settimeout(60)
    try:
        while True:
            c.sock.sendall(body)  # never reads a Pong
    except (BrokenPipeError, ConnectionResetError):
        pass
    d.client("other").ping()


def test_many_wide_ranges_cost_what_is_outstanding_once(daemon, topic, group):
    n = 4000
    c = daemon.client()
    c.subscribe(topic, group, max_in_flight_events=n)
    c.pub(*[event(topic, "x") for _ in range(n)], batch=512)
    held = [c.next() for _ in range(n)]
    c.ack(*held[::2])  # every other one is stale from now on
    c.ping()
    rss, ticks = daemon.rss_kib(), daemon.cpu_ticks()
    everything = pb.Range(first=1, last=2**64 - 1)
    c.send(extend=pb.Extend(tags=[everything] * 4096, settled=True, request=77))
    s = c.take("settled", match=lambda m: m.request == 77)[1]
    assert [r.first for r in s.settled] == [m.tag for m in held[1::2]]
    assert len(s.stale) == n // 2 + 1
    assert daemon.grew_kib(rss) < 8 * 1024
    assert daemon.cpu_ticks() - ticks < 100
    # Overlapping ranges settle each tag once, and none of them twice.
    c.send(ack=pb.Ack(tags=[everything] * 100, settled=True, request=78))
    s = c.take("settled", match=lambda m: m.request == 78)[1]
    assert [r.first for r in s.settled] == [m.tag for m in held[1::2]]


def test_unfinished_frames_are_bounded_by_the_memory(make_daemon, topic):
    d = make_daemon({"limits": {"memory": "64MiB"}})
    witness = d.client("witness")
    witness.ping()
    rss = d.rss_kib()
    part = (4 << 20).to_bytes(4, "big") + bytes(4 << 20)[:-100]
    hostile = [d.client(f"hostile {i}") for i in range(40)]
    for c in hostile:
        try:
            c.send_raw(part)
        except Closed:
            pass
    witness.ping()
    assert d.grew_kib(rss) < 72 * 1024
    assert witness.status()["memory"]["used"] < 64 << 20
    witness.pub(event(topic, bytes(100000)))  # nobody else feels it
    refused = [c.error() for c in hostile if c.poll() and (c.frames or c.closed)]
    assert refused and all(e.reason == pb.REASON_OVERLOADED and e.closing for e in refused)


def test_hello_must_come_in_time(make_daemon):
    d = make_daemon({"limits": {"hello_timeout": "200ms"}})
    c = d.client(hello=False)
    e = c.error()
    assert e.closing and "hello" in e.text.lower()
    c.wait_closed()


def test_a_frame_must_become_complete_in_time(make_daemon):
    d = make_daemon({"limits": {"frame_timeout": "300ms"}})
    c = d.client()
    c.send_raw(b"\x00\x00\x10\x00partial")
    e = c.error()
    assert e.closing
    c.wait_closed()
    d.client("other").ping()


def test_too_many_clients_are_told(make_daemon):
    d = make_daemon({"socket": {"max_clients": 3}})
    clients = [d.client() for _ in range(3)]
    extra = d.client(hello=False)
    try:
        extra.send(hello=pb.Hello(version=1, client="extra"))
    except Closed:
        pass
    extra.until(lambda: extra.closed or any(k == "error" for k, _ in extra.frames), "a refusal")
    clients[0].close()
    d.wait_log("session 1: left")
    deadline = time.monotonic() + PATIENCE
    while True:  # its place is free once its handles are closed
        try:
            d.client("again").ping()
            return
        except (Closed, Refused):
            assert time.monotonic() < deadline


def test_too_many_subscriptions_are_refused(make_daemon, topic):
    d = make_daemon({"limits": {"subscriptions": 4}})
    c = d.client()
    for i in range(4):
        c.subscribe(f"{topic}.s{i}")
    n = c.subscribe(f"{topic}.s5", wait=False)
    e = c.take("error", match=lambda m: m.subscription == n)[1]
    assert e.reason == pb.REASON_OVERLOADED or e.reason == pb.REASON_DENIED or e.reason == pb.REASON_INVALID
    assert "4" in e.text


def test_sessions_leave_nothing_behind(daemon, topic, group):
    def cycle(n):
        for i in range(n):
            c = daemon.client()
            c.subscribe(topic, group)
            c.subscribe(topic + ".x")
            c.pub(event(topic, bytes(1000)))
            c.next()
            if i % 2:
                c.sock.close()
            c.close()

    cycle(100)
    c = daemon.client()
    c.ping()
    fds, rss = daemon.fds(), daemon.rss_kib()
    cycle(300)
    c.ping()
    c.until(lambda: daemon.fds() <= fds + 2, "descriptors given back")
    assert daemon.grew_kib(rss) < 8 * 1024


def test_the_memory_bus_refuses_when_its_history_is_needed(make_daemon, adapter, topic, group):
    if adapter.name != "memory":
        return check_backlog_stays_at_the_broker(make_daemon, topic, group)
    d = make_daemon(broker={"history": "1MiB"})
    c = d.client()
    n = c.subscribe(topic, group).subscription
    c.unsubscribe(n)
    refused = None
    for _ in range(100):
        for a in c.answered(c.publish(*[event(topic, bytes(1000)) for _ in range(64)])):
            if a is not True:
                refused = a
        if refused:
            break
    assert refused.outcome == pb.OUTCOME_NOT_STORED and refused.reason == pb.REASON_OVERLOADED
    assert group in refused.text
    # What was confirmed is all there.
    confirmed = sum(1 for a in c.answers.values() if a is True)
    c.subscribe(topic, group)
    assert len(c.collect(confirmed)) == confirmed
    c.pub(event(topic, "room again"))
    return None


def check_backlog_stays_at_the_broker(make_daemon, topic, group):
    d = make_daemon()
    c = d.client()
    c.subscribe(topic, group, max_in_flight_events=10)
    rss = d.rss_kib()
    for _ in range(20):
        c.pub(*[event(topic, bytes(4000)) for _ in range(256)])
    assert d.grew_kib(rss) < 40 * 1024
    assert len(c.collect(20 * 256)) == 20 * 256


def test_a_full_retry_window_stops_an_ordered_group_and_says_why(make_daemon, topic, group):
    d = make_daemon({"defaults": {"retry": {"max_retries": 1000, "window_events": 16}}})
    c = d.client()
    c.subscribe(topic, group, order=pb.ORDER_KEY, max_in_flight_events=4)
    c.pub(*[event(topic, str(i), key=str(i)) for i in range(100)])
    refused = 0
    while refused < 16:
        c.nack(c.next(), delay_ms=3000)
        refused += 1
    note = c.take("subscription_state", match=lambda m: m.state == pb.STATE_DEGRADED and "window" in m.why)[1]
    assert "retry.window_events: 16" in note.why
    # What was in flight may exceed it; nothing more is fetched until the retries come.
    c.ping()
    assert len(c.deliveries) <= 4
    done = {int(m.event.payload) for m in c.collect(100)}
    assert len(done) == 100
    c.take("subscription_state", match=lambda m: m.state == pb.STATE_LIVE)


def test_an_unordered_group_parks_what_its_window_does_not_hold(make_daemon, topic, group):
    d = make_daemon({"defaults": {"retry": {"max_retries": 1000, "window_events": 16}}})
    c = d.client()
    c.subscribe(topic, group, max_in_flight_events=4)
    c.pub(*[event(topic, str(i)) for i in range(100)])
    for _ in range(100):
        c.nack(c.next(), delay_ms=3000, reason="later")
    (g,) = [g for g in c.status()["groups"] if g["name"] == group]
    assert g["flows"][0]["waiting"] <= 16 and g["flows"][0]["parked"] >= 80
    got = c.collect(100)
    assert {m.attempt for m in got} == {2} and len({m.event.payload for m in got}) == 100
    assert not [n for n in c.notes if "window" in n.why]


def test_retries_wait_within_their_window(make_daemon, topic, group):
    d = make_daemon(
        {"defaults": {"retry": {"initial_delay": "300ms", "max_delay": "300ms", "max_retries": 1000, "window_events": 20}}}
    )
    c = d.client()
    c.subscribe(topic, group)
    c.pub(*[event(topic, str(i)) for i in range(100)])
    failed_once = set()
    done = set()
    while len(done) < 100:
        m = c.next()
        i = int(m.event.payload)
        if i not in failed_once:
            failed_once.add(i)
            c.nack(m, reason="first time")
        else:
            assert m.attempt >= 2
            done.add(i)
            c.ack(m)
