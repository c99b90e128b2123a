# SPDX-License-Identifier: Apache-2.0
"""P3 One contract: the same meaning everywhere; what is not built is refused, never ignored."""

import pytest
from harness.wire import Refused, event, frame_bytes, pb


def refusal(c, **subscribe):
    with pytest.raises(Refused) as e:
        c.subscribe(**subscribe)
    return e.value


@pytest.mark.parametrize(
    "pattern, yes, no",
    [
        ("{t}.a", ["{t}.a"], ["{t}.b", "{t}.a.b", "{t}"]),
        ("{t}.*", ["{t}.a", "{t}.b"], ["{t}", "{t}.a.b"]),
        ("{t}.>", ["{t}.a", "{t}.a.b"], ["{t}"]),
        ("{t}.*.c", ["{t}.a.c"], ["{t}.a", "{t}.a.b.c"]),
        ("{t}.*.>", ["{t}.a.b", "{t}.a.b.c"], ["{t}.a"]),
    ],
)
def test_patterns_match_alike(daemon, topic, pattern, yes, no):
    c = daemon.client()
    c.subscribe(pattern.format(t=topic))
    every = yes + no
    c.pub(*[event(x.format(t=topic), x) for x in every])
    end = yes[-1].format(t=topic)
    c.pub(event(end, "end"))
    got = []
    while True:
        d = c.next()
        if d.event.payload == b"end":
            break
        got.append(d.event.payload.decode())
    assert got == yes


@pytest.mark.parametrize(
    "pattern", ["", ".", "a.", ".a", "a..b", "a.>.b", "a*", "a b", "ä", "a/b", "a" * 201, "**", "a.b>"]
)
def test_illegal_patterns_are_refused_with_the_reason(daemon, pattern):
    c = daemon.client()
    e = refusal(c, patterns=pattern)
    assert e.reason == pb.REASON_INVALID
    assert "pattern" in e.text
    c.ping()


@pytest.mark.parametrize("topic_", ["", "a..b", "a.*", "a.>", ">", "a b", "a" * 201, "a.", "ü"])
def test_illegal_topics_are_refused_alone(daemon, topic_):
    c = daemon.client()
    (a,) = c.answered(c.publish(event(topic_, "x")))
    assert a.outcome == pb.OUTCOME_PERMANENT
    assert a.text
    c.ping()


def test_the_longest_topic_and_group_work(daemon, topic):
    c = daemon.client()
    longest = (topic + "." + "x" * 200)[:200]
    c.subscribe(longest, group="g" * 64)
    c.pub(event(longest, "x"))
    assert c.next().event.topic == longest
    assert refusal(c, patterns=topic, group="g" * 65).reason == pb.REASON_INVALID


@pytest.mark.parametrize(
    "key",
    [
        "Nats-Msg-Id", "nats-expected-stream", "NATS-ROLLUP", "CC", "cc", "Bcc", "x-event-id", "X-Event-Id",
        "x-published-at", "x-connectum-publish-id", "x-death", "x-delivery-count", "x-first-death-queue",
        "dlq.error", "eventbus-key", "Eventbus-Anything",
    ],
)  # fmt: skip
def test_reserved_metadata_keys_are_refused_in_any_case(daemon, topic, key):
    c = daemon.client()
    (a,) = c.answered(c.publish(event(topic, "x", metadata={key: "1"})))
    assert a.outcome == pb.OUTCOME_PERMANENT and a.reason == pb.REASON_INVALID
    assert key in a.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": ""}, {"a": " x"}, {"a": "x "}, {"a": "x\ny"}, {"a": "x\r\ny: z"}, {"a": "\x7f"}, {"": "x"},
        {"a b": "x"}, {"ä": "x"}, {"k" * 129: "x"}, {"a": "x" * 16385},
        {f"k{i}": "v" for i in range(65)},
    ],
)  # fmt: skip
def test_metadata_outside_the_grammar_is_refused(daemon, topic, metadata):
    c = daemon.client()
    if len(metadata) > 64:
        c.publish(event(topic, "x", metadata=metadata))
        # More pairs than the schema allows may end the session as a structure error; it is answered all the same.
        c.until(lambda: c.answers or any(k == "error" for k, _ in c.frames), "an answer")
        return
    (a,) = c.answered(c.publish(event(topic, "x", metadata=metadata)))
    assert a.outcome == pb.OUTCOME_PERMANENT
    assert "metadata" in a.text


def test_the_most_metadata_crosses_the_broker(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    metadata = {f"key-{i}.Q_x": f"value {i} ü" for i in range(64)}
    c.pub(event(topic, "x", metadata=metadata))
    assert dict(c.next().event.metadata) == metadata


@pytest.mark.parametrize("key", ["Content-Type", "x-correlation-id", "X-Trace", "message-id", "Host", "Status"])
def test_user_headers_cross_the_broker(daemon, topic, key):
    c = daemon.client()
    c.subscribe(topic)
    c.pub(event(topic, "x", metadata={key: "v"}))
    assert dict(c.next().event.metadata) == {key: "v"}


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\r\n\r\n", bytes(range(256)) * 10])
def test_payload_bytes_are_untouched(daemon, topic, payload):
    c = daemon.client()
    c.subscribe(topic)
    c.pub(event(topic, payload))
    assert c.next().event.payload == payload


@pytest.mark.parametrize("start", ["earliest", "new", "time", "position"])
def test_every_start_means_the_same(daemon, topic, start):
    c = daemon.client()
    c.pub(event(topic, "0"))
    p = c.pub1(topic, "1")
    seen = daemon.client("first")
    seen.subscribe(topic, start=pb.Start(earliest=True))
    stored = seen.collect(2)[1].event.published_at_ms
    c.until(lambda: int(__import__("time").time() * 1000) > stored + 5, "the clock")
    at = int(__import__("time").time() * 1000)
    c.poll(0.01)
    c.pub(event(topic, "2"))
    s = {
        "earliest": (pb.Start(earliest=True), ["0", "1", "2", "3"]),
        "new": (pb.Start(new=True), ["3"]),
        "time": (pb.Start(time_ms=at), ["2", "3"]),
        "position": (pb.Start(position=p.position), ["2", "3"]),
    }
    at_, want = s[start]
    assert not c.subscribe(topic, "g-" + topic, start=at_).position_existed
    c.pub(event(topic, "3"))
    assert [d.event.payload.decode() for d in c.collect(len(want))] == want


@pytest.mark.parametrize("position", ["", "x", "nats:1", "m1:zz:1:2", "k1:a:0:5", "\u00fc"])
def test_a_foreign_position_is_invalid(daemon, topic, position):
    c = daemon.client()
    e = refusal(c, patterns=topic, start=pb.Start(position=position))
    assert e.reason == pb.REASON_INVALID
    assert "position" in e.text


def test_start_acts_only_where_no_position_exists(daemon, topic, group):
    c = daemon.client()
    c.pub(event(topic, "old"))
    n = c.subscribe(topic, group).subscription
    c.unsubscribe(n)
    assert c.subscribe(topic, group, start=pb.Start(earliest=True)).position_existed
    c.pub(event(topic, "new"))
    assert c.next().event.payload == b"new"


def test_a_group_shares_and_groups_copy(daemon, topic, group):
    a, b, other = daemon.client("a"), daemon.client("b"), daemon.client("other")
    a.subscribe(topic, group)
    b.subscribe(topic, group)
    other.subscribe(topic, group + "-other")
    a.pub(*[event(topic, str(i)) for i in range(200)])
    got = {"a": [], "b": []}
    while len(got["a"]) + len(got["b"]) < 200:
        for name, c in (("a", a), ("b", b)):
            c.poll(0.01)
            while c.deliveries:
                d = c.deliveries.popleft()
                c.ack(d)
                got[name].append(int(d.event.payload))
    assert sorted(got["a"] + got["b"]) == list(range(200))
    assert got["a"] and got["b"]
    assert len(other.collect(200)) == 200


def test_no_group_is_a_copy_of_its_own(daemon, topic):
    a, b = daemon.client("a"), daemon.client("b")
    a.subscribe(topic)
    b.subscribe(topic)
    a.pub(event(topic, "x"))
    assert a.next().event.payload == b.next().event.payload == b"x"


def test_what_this_version_lacks_is_refused(daemon, topic, group):
    c = daemon.client()
    assert refusal(c, patterns=[], service="orders.v1.Handlers").reason == pb.REASON_NOT_SUPPORTED
    e = refusal(c, patterns=topic, validation=pb.VALIDATION_BOTH)
    assert e.reason == pb.REASON_NOT_SUPPORTED and "not supported by this version" in e.text
    c.send(register=pb.Register(request=7, services=["a.B"]))
    e = c.error()
    assert e.request == 7 and e.reason == pb.REASON_NOT_SUPPORTED
    c.ping()


def test_an_unknown_field_is_refused_naming_its_number(daemon, topic):
    c = daemon.client()
    body = pb.Frame(subscribe=pb.Subscribe(subscription=1, patterns=[topic])).SerializeToString()
    inner = pb.Subscribe(subscription=1, patterns=[topic]).SerializeToString() + b"\xf8\x06\x01"  # field 111
    c.send_raw(frame_bytes(bytes([body[0]]) + bytes([len(inner)]) + inner))
    e = c.error()
    assert "111" in e.text
    c.wait_closed()


def test_hello_alone_may_carry_unknown_fields(daemon):
    c = daemon.client(hello=False)
    inner = pb.Hello(version=1, client="future").SerializeToString() + b"\xf8\x06\x01"
    c.send_raw(frame_bytes(b"\x42" + bytes([len(inner)]) + inner))
    assert c.take("welcome", "error")[0] == "welcome"


def test_members_must_agree_on_order(daemon, topic, group):
    a, b = daemon.client("a"), daemon.client("b")
    assert a.subscribe(topic, group, order=pb.ORDER_KEY).order == pb.ORDER_KEY
    e = refusal(b, patterns=topic, group=group, order=pb.ORDER_NONE)
    assert e.reason == pb.REASON_CONFLICT
    assert "key" in e.text
    assert b.subscribe(topic, group).order == pb.ORDER_KEY


def test_overlapping_patterns_of_one_group_in_two_subscriptions_are_refused(daemon, topic, group):
    c = daemon.client()
    c.subscribe(topic + ".>", group)
    e = refusal(c, patterns=topic + ".a", group=group)
    assert e.reason == pb.REASON_CONFLICT and topic + ".>" in e.text
    c.subscribe(topic + ".a", group + "-other")


def test_within_one_subscription_the_most_specific_pattern_gets_the_topic(daemon, topic, group):
    c = daemon.client()
    c.subscribe([topic + ".>", topic + ".a"], group)
    c.pub(event(topic + ".a", "1"), event(topic + ".b", "2"), event(topic + ".a", "3"))
    assert sorted(d.event.payload for d in c.collect(3)) == [b"1", b"2", b"3"]
    c.pub(event(topic + ".b", "end"))
    assert c.next().event.payload == b"end"


def test_patterns_that_overlap_many_ways_deliver_each_event_once(daemon, topic, group):
    c = daemon.client()
    several = [topic + p for p in (".>", ".*.b", ".a.b", ".a.*")]
    c.subscribe(several, group)
    c.subscribe(several)  # a copy without a group
    c.subscribe(topic + ".>", group + "-other")
    topics = [topic + t for t in (".a.b", ".c.b", ".a.c", ".c.d", ".x", ".a.b.c")]
    c.pub(*[event(t, t) for t in topics])
    got = c.collect(3 * len(topics))
    c.pub(event(topic + ".a.b", "end"))  # what would come twice comes before this one
    for s in (1, 2, 3):
        assert sorted(m.event.topic for m in got if m.subscription == s) == sorted(topics)
    assert {m.event.payload for m in c.collect(3)} == {b"end"}


def test_unusual_encodings_are_relayed_as_they_came(daemon, adapter, topic, group):
    def part(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    c = daemon.client()
    c.subscribe(topic, group)
    # Fields in falling order, an empty one spelled out.
    body = part(3, b"pay") + part(2, topic.encode()) + part(1, b"my id") + b"\x20\x05" + part(5, b"")
    number = pb.Frame.DESCRIPTOR.fields_by_name["publish"].number
    c.raw = []
    c.send_raw(frame_bytes(part(number, b"\x08\x01" + part(2, body))))
    assert c.answered([1]) == [True]
    m = c.next()
    assert (m.event.id, m.event.payload, m.event.published_at_ms) == ("my id", b"pay", 5)
    if adapter.name == "memory":
        assert any(body in frame for frame in c.raw)


def test_limits_and_overrides(daemon, topic, group):
    c = daemon.client()
    s = c.subscribe(topic, group, max_in_flight_events=7, concurrency=3, lease_ms=5000)
    assert (s.max_in_flight_events, s.concurrency, s.lease_ms) == (7, 3, 5000)
    assert s.policies[0].max_retries == 3
    assert s.policies[0].dead_letter_topic == f"dlq.{group}"
    assert refusal(c, patterns=topic, group="g2", max_in_flight_events=c.welcome.limits.max_in_flight_events + 1)
    assert refusal(c, patterns=topic, group="g3", lease_ms=c.welcome.limits.max_lease_ms + 1)
    s = c.subscribe(topic, "g4", retry=pb.RetryOverride(max_retries=1))
    assert s.policies[0].max_retries == 1
    # A client may lower, never raise.
    s = c.subscribe(topic, "g5", retry=pb.RetryOverride(max_retries=99))
    assert s.policies[0].max_retries == 3


def test_subscription_numbers(daemon, topic):
    c = daemon.client()
    c.subscribe(topic)
    c.subscriptions -= 1
    assert refusal(c, patterns=topic + ".b").reason == pb.REASON_CONFLICT
    assert c.unsubscribe(99)[1].reason == pb.REASON_NOT_FOUND
    c.send(pause=pb.Pause(subscription=98))
    assert c.error().reason == pb.REASON_NOT_FOUND


def test_pause_and_resume(daemon, topic, group):
    c = daemon.client()
    n = c.subscribe(topic, group).subscription
    c.send(pause=pb.Pause(subscription=n))
    c.ping()
    other = daemon.client()
    other.pub(event(topic, "x"))
    other.subscribe(topic, group)  # takes what the paused member does not
    assert other.next().event.payload == b"x"
    c.send(resume=pb.Resume(subscription=n))
    c.ping()
    other.close()
    assert c.next().event.payload == b"x"


def test_status_and_explain(daemon, topic, group):
    c = daemon.client("the-name")
    c.subscribe(topic, group)
    s = c.status()
    assert any(f["pattern"] == topic for g in s["groups"] if g["name"] == group for f in g["flows"])
    c.send(admin=pb.Admin(request=77, explain=pb.ExplainRequest(topic=topic, group=group)))
    import json

    e = json.loads(c.take("admin_reply", match=lambda m: m.request == 77)[1].json)
    values = {v["name"]: v for v in e["values"]}
    assert values["retry.max_retries"]["value"] in (3, "3")
    assert values["retry.max_retries"]["rule"] == "built in"
