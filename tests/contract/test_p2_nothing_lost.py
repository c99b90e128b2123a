# SPDX-License-Identifier: Apache-2.0
"""P2 Nothing lost: acknowledged, dead-lettered or dropped on demand; until then redelivered."""

import threading

import pytest
from harness.wire import DROP, REJECT, RELEASE, RETRY, Closed, event, pb

FAST = {"defaults": {"retry": {"initial_delay": "20ms", "max_delay": "100ms", "max_retries": 2}}}


def earliest():
    return pb.Start(earliest=True)


def sentinel(c, topic):
    """Everything delivered before this one; proves that nothing else comes."""
    c.pub(event(topic, "sentinel"))


def test_acknowledged_events_do_not_come_again(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(*[event(topic, str(i)) for i in range(10)])
    got = c.collect(10, ack=False)
    assert list(c.ack(*got, settled=True).settled) != []
    c.close()
    c = daemon.client()
    c.subscribe(topic, group)
    sentinel(c, topic)
    assert c.next().event.payload == b"sentinel"


def test_what_a_dead_client_held_goes_to_another(daemon, topic, group):
    a, b = daemon.client("a"), daemon.client("b")
    a.subscribe(topic, group)
    b.pub(*[event(topic, str(i)) for i in range(20)])
    a.until(lambda: len(a.deliveries) == 20, "all 20")
    b.subscribe(topic, group)
    a.close()
    assert sorted(int(d.event.payload) for d in b.collect(20)) == list(range(20))


def test_events_of_a_group_wait_while_nobody_is_there(daemon, topic, group):
    c = daemon.client()
    n = c.subscribe(topic, group).subscription
    assert c.unsubscribe(n)[0] == "unsubscribed"
    c.pub(*[event(topic, str(i)) for i in range(10)])
    s = c.subscribe(topic, group)
    assert s.position_existed
    assert [int(d.event.payload) for d in c.collect(10)] == list(range(10))


def test_a_failed_event_comes_again_and_then_its_dead_letter(make_daemon, topic, group):
    d = make_daemon(FAST)
    c = d.client()
    c.subscribe(topic, group)
    c.subscribe(f"dlq.{group}")
    p = c.pub1(topic, "poison", key="k", content_type="text/plain", metadata={"trace": "t1"})
    for attempt in (1, 2, 3):
        m = c.next()
        assert (m.subscription, m.attempt, m.event.id) == (1, attempt, p.id)
        c.nack(m, reason="boom")
    dead = c.next()
    assert dead.subscription == 2
    e = dead.event
    assert e.topic == f"dlq.{group}"
    assert e.id != p.id
    assert (e.payload, e.key, e.content_type) == (b"poison", "k", "text/plain")
    assert e.metadata["trace"] == "t1"
    assert e.metadata["dlq.original-topic"] == topic
    assert e.metadata["dlq.original-id"] == p.id
    assert e.metadata["dlq.attempt"] == "3"
    assert e.metadata["dlq.reason"] == "retries exhausted"
    assert e.metadata["dlq.group"] == group
    assert e.metadata["dlq.error"] == "boom"
    assert e.metadata["dlq.first-failed-at"] <= e.metadata["dlq.last-failed-at"]
    assert e.metadata["dlq.first-failed-at"].endswith("Z")
    c.ack(dead)
    sentinel(c, topic)
    assert c.next().event.payload == b"sentinel"


@pytest.mark.parametrize("max_frame", ["4MiB", "64KiB"])
def test_the_largest_event_fits_its_frames_and_its_dead_letter(make_daemon, group, max_frame):
    d = make_daemon({"socket": {"max_frame": max_frame}})
    c = d.client()
    topic = "t" * 200
    c.subscribe(topic, group, max_in_flight_bytes=32 << 20, positions=True)
    c.subscribe("dlq." + group)
    limit = min(c.welcome.brokers[0].max_event_bytes, c.credit.bytes)
    e = event(topic, id="i" * 200, key="k" * 1024, published_at_ms=1700000000000)
    e.payload = bytes(limit - e.ByteSize() - 5)
    assert limit - 4 <= e.ByteSize() <= limit
    c.raw = []
    c.pub(e)
    m = c.next()
    assert m.event.payload == e.payload
    c.nack(m, cls=REJECT, reason="\x01" * 1024)
    letter = c.next().event
    assert letter.payload == e.payload and letter.key == e.key
    assert letter.metadata["dlq.error"].startswith("%01")
    assert max(len(body) for body in c.raw) <= c.welcome.limits.max_frame_bytes


def test_reject_goes_to_the_dead_letters_at_once(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.subscribe(f"dlq.{group}")
    c.pub(event(topic, "bad"))
    c.nack(c.next(), cls=REJECT, reason="malformed")
    dead = c.next()
    assert dead.event.metadata["dlq.reason"] == "rejected"
    assert dead.event.metadata["dlq.error"] == "malformed"
    assert dead.event.metadata["dlq.attempt"] == "1"


def test_drop_forgets(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.subscribe(f"dlq.{group}")
    c.pub(event(topic, "bad"))
    c.nack(c.next(), cls=DROP, settled=True)
    c.pub(event(f"dlq.{group}", "sentinel"))
    assert c.next().event.payload == b"sentinel"


def test_a_dead_letter_within_the_dedupe_window_is_stored(make_daemon, topic, group):
    d = make_daemon(FAST)
    c = d.client()
    c.subscribe(topic, group)
    c.subscribe(topic, group + "2")
    c.subscribe("dlq.>")
    c.pub(event(topic, "x", id="one"))
    for _ in range(2):
        c.nack(c.next(), cls=REJECT, reason="no")
    # Both groups' dead letters are events of their own.
    dead = c.collect(2)
    assert {e.event.metadata["dlq.group"] for e in dead} == {group, group + "2"}
    assert {e.event.metadata["dlq.original-id"] for e in dead} == {"one"}


def test_wildcards_do_not_match_dead_letters_unless_spelled(daemon, topic, group):
    c = daemon.client()
    c.subscribe(">")
    c.pub(event(f"dlq.{group}", "hidden"), event(topic, "seen"))
    assert c.next().event.payload == b"seen"


def test_an_event_on_its_own_dead_letter_topic_is_not_dead_lettered_again(make_daemon, group):
    d = make_daemon(FAST)
    c = d.client()
    c.subscribe(f"dlq.{group}", group)
    c.pub(event(f"dlq.{group}", "already dead"))
    for _ in range(6):
        m = c.next()
        assert m.event.payload == b"already dead"
        c.nack(m, reason="again")


def test_a_dead_letter_topic_of_the_topic_is_the_last_stop(make_daemon, topic, group):
    d = make_daemon({"defaults": {**FAST["defaults"], "dlq": {"topic": "dlq.{topic}"}}})
    c = d.client()
    assert c.subscribe(topic, group).policies[0].dead_letter_topic == "dlq." + topic
    c.subscribe("dlq.>", group + "-dead")
    c.pub(event(topic, "x"))
    c.nack(c.next(), cls=REJECT, reason="first")
    for attempt in range(1, 4):  # kept, not sent to dlq.dlq.<topic>
        m = c.next()
        assert m.event.topic == "dlq." + topic and m.attempt == attempt
        assert m.event.metadata["dlq.original-topic"] == topic
        c.nack(m, cls=REJECT, reason="again")
    c.ack(c.next())


def test_without_a_group_a_literal_dead_letter_topic_serves(make_daemon, topic):
    dead = "dlq." + topic
    d = make_daemon({"defaults": {**FAST["defaults"], "dlq": {"topic": dead}}})
    c = d.client()
    assert c.subscribe(topic).policies[0].dead_letter_topic == dead
    c.subscribe(dead)
    c.pub(event(topic, "x"))
    for attempt in (1, 2, 3):
        m = c.next()
        assert m.attempt == attempt
        c.nack(m, reason="broken")
    letter = c.next().event
    assert letter.topic == dead and letter.metadata["dlq.attempt"] == "3"
    assert "dlq.group" not in letter.metadata


def test_without_a_group_the_default_keeps_the_event(make_daemon, topic):
    d = make_daemon(FAST)
    c = d.client()
    assert c.subscribe(topic).policies[0].dead_letter_topic == ""
    c.pub(event(topic, "x"))
    for attempt in range(1, 6):
        m = c.next()
        assert m.attempt == attempt
        c.nack(m, cls=REJECT if attempt == 5 else RETRY, reason="broken")
    c.ack(c.next())


def test_max_age_ends_the_retries(make_daemon, topic, group):
    retry = {"initial_delay": "10ms", "max_delay": "20ms", "max_retries": 1000, "max_age": "300ms"}
    d = make_daemon({"defaults": {"retry": retry}})
    c = d.client()
    c.subscribe(topic, group)
    c.subscribe("dlq." + group)
    c.pub(event(topic, "x"))
    failed = 0
    m = c.next()
    while m.event.topic == topic:
        failed += 1
        c.nack(m)
        m = c.next()
    assert m.event.metadata["dlq.reason"] == "max age reached"
    assert m.event.metadata["dlq.attempt"] == str(failed) and failed > 1


def test_without_dead_letters_an_exhausted_event_is_kept(make_daemon, topic, group):
    d = make_daemon(
        {"defaults": {"dlq": "off", "retry": {"initial_delay": "10ms", "max_delay": "20ms", "max_retries": 1}}}
    )
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "kept"))
    attempts = []
    for _ in range(5):
        m = c.next()
        attempts.append(m.attempt)
        c.nack(m, reason="no")
    assert attempts == [1, 2, 3, 4, 5]


def test_without_dead_letters_the_file_may_say_drop(make_daemon, topic, group):
    d = make_daemon(
        {
            "defaults": {
                "dlq": "off",
                "on_exhausted": "drop",
                "retry": {"initial_delay": "10ms", "max_delay": "20ms", "max_retries": 1},
            }
        }
    )
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "dropped"))
    for _ in range(2):
        c.nack(c.next(), reason="no")
    sentinel(c, topic)
    assert c.next().event.payload == b"sentinel"
    c.until(lambda: "drop" in d.log(), "the drop in the log")


def test_release_goes_to_another_member_uncounted(daemon, topic, group):
    a, b = daemon.client("a"), daemon.client("b")
    a.subscribe(topic, group)
    a.pub(event(topic, "x"))
    m = a.next()
    b.subscribe(topic, group)
    a.nack(m, cls=RELEASE)
    n = b.next()
    assert (n.event.payload, n.attempt) == (b"x", 1)


def test_release_visits_every_member_before_it_waits(daemon, topic, group):
    clients = [daemon.client(f"c{i}") for i in range(4)]
    for c in clients:
        c.subscribe(topic, group)
    clients[0].pub(event(topic, "x"))
    # The first one gives it back alone, then the others come: it has its turn at each of them.
    for _ in range(3):
        seen = []
        while len(seen) < 4:
            c = next((c for c in clients if c.deliveries or c.poll(0.02) and c.deliveries), None)
            if c:
                m = c.deliveries.popleft()
                seen.append(c)
                c.nack(m, cls=RELEASE)
        assert len(set(map(id, seen))) == 4 and m.attempt == 1


def test_release_goes_to_a_member_that_came_later(daemon, topic, group):
    a = daemon.client("a")
    a.subscribe(topic, group)
    a.pub(event(topic, "x"))
    a.nack(a.next(), cls=RELEASE)
    m = a.next()  # alone: the same one, after a while
    b = daemon.client("b")
    b.subscribe(topic, group)
    a.nack(m, cls=RELEASE)
    m = b.next(timeout=20)
    assert m.attempt == 1
    b.ack(m)


def test_release_by_every_member_backs_off_and_loses_nothing(daemon, topic, group):
    a, b = daemon.client("a"), daemon.client("b")
    a.subscribe(topic, group)
    b.subscribe(topic, group)
    a.pub(event(topic, "x"))
    released = 0
    while released < 6:
        for c in (a, b):
            c.poll(0.02)
            if c.deliveries:
                m = c.deliveries.popleft()
                assert m.attempt == 1
                c.nack(m, cls=RELEASE)
                released += 1
    ticks = daemon.cpu_ticks()
    for _ in range(20):
        for c in (a, b):
            c.poll(0.02)
            while c.deliveries:
                c.nack(c.deliveries.popleft(), cls=RELEASE)
                released += 1
    # A hot loop would be thousands of deliveries and a whole core.
    assert released < 200
    assert daemon.cpu_ticks() - ticks < 50


@pytest.mark.durable
def test_nothing_is_lost_when_the_daemon_is_killed_under_load(daemon, topic, group):
    total = 3000
    c = daemon.client()
    c.subscribe(topic, group)
    c.pub(*[event(topic, str(i)) for i in range(total)])
    acked = set()
    killer = threading.Timer(0.1, daemon.process.kill)
    killer.start()
    try:
        while len(acked) < total:
            d = c.next()
            c.ack(d)
            acked.add(int(d.event.payload))
    except Closed:
        pass
    killer.join()
    daemon.process.wait()
    daemon.forget_clients()
    daemon.restart()
    c = daemon.client()
    assert c.subscribe(topic, group).position_existed
    seen = set(acked)
    while len(seen) < total:
        d = c.next()
        c.ack(d)
        seen.add(int(d.event.payload))


@pytest.mark.broker_fault
def test_nothing_is_lost_when_the_broker_is_killed_under_load(daemon, adapter, topic, group):
    total = 4000
    c = daemon.client()
    c.subscribe(topic, group)
    events = [event(topic, str(i), id=f"id-{i}") for i in range(total)]
    todo = list(range(total))
    killed = False
    seen = set()
    confirmed = set()
    while len(confirmed) < total or len(seen) < total:
        if todo:
            batch, todo = todo[:64], todo[64:]
            answers = c.answered(c.publish(*[events[i] for i in batch]))
            for i, a in zip(batch, answers):
                if a is True:
                    confirmed.add(i)
                else:
                    assert a.outcome in (pb.OUTCOME_NOT_STORED, pb.OUTCOME_UNKNOWN), a
                    todo.append(i)  # with the same id
        else:
            c.poll(0.05)
        while c.deliveries:
            d = c.deliveries.popleft()
            c.ack(d)
            seen.add(int(d.event.payload))
        if not killed and len(confirmed) > 1000:
            killed = True
            adapter.kill9()
            threading.Timer(0.5, adapter.start).start()
    assert killed


def test_a_dead_letter_destination_that_refuses_keeps_the_event(make_daemon, adapter, topic, group):
    if adapter.name == "memory":
        d = make_daemon(FAST, broker={"history": "1MiB"})
    else:
        d = make_daemon(FAST)
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "precious"))
    m = c.next()
    restore = refuse_dead_letters(c, d, adapter, topic, group)
    c.nack(m, cls=REJECT, reason="bad")
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_DEGRADED and "dlq" in s.why)
    restore()
    c.take("subscription_state", match=lambda s: s.state == pb.STATE_LIVE)
    c.subscribe(f"dlq.{group}", start=earliest())
    while True:
        dead = c.next()
        if dead.event.topic == f"dlq.{group}":
            break
        c.ack(dead)
    assert dead.event.payload == b"precious"
    assert dead.event.metadata["dlq.original-topic"] == topic


def refuse_dead_letters(c, daemon, adapter, topic, group):
    """Makes the broker refuse the dead letter topic; returns what undoes it."""
    if adapter.name == "memory":
        filler = daemon.client("filler")
        filler.subscribe(topic + ".fill", group + "-fill", max_in_flight_events=1)
        for size in (20000, 1000, 1):
            while True:
                (a,) = c.answered(c.publish(event(topic + ".fill", bytes(size))))
                if a is not True:
                    assert a.reason == pb.REASON_OVERLOADED
                    break

        def drain():
            while filler.deliveries or filler.poll(0.2):
                while filler.deliveries:
                    filler.ack(filler.deliveries.popleft())

        return drain
    from harness.rawnats import RawNats

    stream = daemon.config["broker"]["nats"]["stream"]
    raw = RawNats(adapter.port)
    config = raw.api(f"STREAM.INFO.{stream}")["config"]
    narrow = dict(config, subjects=[f"{stream}.{topic}"])
    assert "error" not in raw.api(f"STREAM.UPDATE.{stream}", narrow)

    def restore():
        assert "error" not in raw.api(f"STREAM.UPDATE.{stream}", config)
        raw.close()

    return restore


@pytest.mark.only("memory")
@pytest.mark.parametrize(
    "retention", [{"history": "1MiB", "overflow": "drop_oldest"}, {"flow_expiry": "200ms"}], ids=str
)
def test_what_retention_took_is_counted_and_told(make_daemon, topic, group, retention):
    d = make_daemon(broker=retention)
    c = d.client()
    c.subscribe(topic, group)
    c.unsubscribe(1)
    sent = 2000
    c.pub(*[event(topic, bytes(1000)) for _ in range(sent)])
    if "flow_expiry" in retention:
        d.wait_log("lost its events")
    c.subscribe(topic, group, max_in_flight_events=5000)
    c.pub(event(topic, "end"))
    came = 0
    while c.next().event.payload != b"end":
        came += 1
    c.until(lambda: came + sum(n.lost for n in c.notes) == sent, "every event accounted for")
    assert came < sent and c.status()["totals"]["lost"] == sent - came


def test_nacked_events_wait_without_holding_a_slot(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic, group, max_in_flight_events=1)
    c.pub(event(topic, "slow"), event(topic, "next"))
    m = c.next()
    assert m.event.payload == b"slow"
    c.nack(m, cls=RETRY, delay_ms=3600000)
    assert c.next().event.payload == b"next"
