# SPDX-License-Identifier: Apache-2.0
"""What lands on NATS is read back by hand and compared with the published wire format, both ways."""

import hashlib
import re
import uuid

import pytest
from harness.rawnats import RawNats
from harness.wire import REJECT, event, pb

pytestmark = pytest.mark.only("nats")


@pytest.fixture
def raw(adapter):
    r = RawNats(adapter.port)
    yield r
    r.close()


def stream_of(daemon):
    return daemon.config["broker"]["nats"]["stream"]


def test_the_stream_is_created_like_connectum_does(daemon, raw):
    daemon.client().pub(event("any", "x"))
    config = raw.api(f"STREAM.INFO.{stream_of(daemon)}")["config"]
    s = stream_of(daemon)
    assert config["subjects"] == [f"{s}.>"]
    assert (config["retention"], config["storage"], config["num_replicas"], config["discard"]) == (
        "limits", "file", 1, "old",
    )  # fmt: skip
    assert config["max_age"] == 0 and config["duplicate_window"] == 120 * 10**9


def test_an_event_on_the_wire(daemon, raw, topic):
    c = daemon.client()
    p = c.pub1(topic, b"\x00payload", metadata={"trace": "abc", "Other.Key": "x y"})
    s = stream_of(daemon)
    subject, headers, payload = raw.stored(s, raw.api(f"STREAM.INFO.{s}")["state"]["last_seq"])
    assert subject == f"{s}.{topic}"
    assert payload == b"\x00payload"
    h = dict(headers)
    assert h["x-event-id"] == p.id
    assert h["trace"] == "abc" and h["Other.Key"] == "x y"
    ours = {k for k in h if k not in ("x-event-id", "trace", "Other.Key")}
    assert all(k == "Nats-Msg-Id" or k.startswith("eventbus-") for k in ours)
    assert topic in h["Nats-Msg-Id"] or len(h["Nats-Msg-Id"]) >= 16


def test_fields_without_a_place_travel_as_eventbus_headers(daemon, raw, topic):
    c = daemon.client()
    c.pub1(topic, "x", key="k 1", content_type="text/plain", message_type="a.B", published_at_ms=1700000000123)
    s = stream_of(daemon)
    h = dict(raw.stored(s, raw.api(f"STREAM.INFO.{s}")["state"]["last_seq"])[1])
    assert h["eventbus-key"] == "k 1"
    assert h["eventbus-content-type"] == "text/plain"
    assert h["eventbus-message-type"] == "a.B"
    assert h["eventbus-published-at"] == "2023-11-14T22:13:20.123Z"


def test_an_event_written_by_a_connectum_service(daemon, raw, topic):
    c = daemon.client()
    c.subscribe(topic)
    s = stream_of(daemon)
    eid = str(uuid.uuid4())
    raw.js_publish(f"{s}.{topic}", b"proto bytes", [("x-event-id", eid), ("traceparent", "00-abc"), ("Nats-X", "1")])
    e = c.next().event
    assert (e.id, e.topic, e.payload) == (eid, topic, b"proto bytes")
    assert dict(e.metadata) == {"traceparent": "00-abc"}
    assert abs(e.published_at_ms - __import__("time").time() * 1000) < 600000


def test_missing_and_broken_headers_are_repaired(daemon, raw, topic):
    c = daemon.client()
    c.subscribe(topic)
    s = stream_of(daemon)
    raw.js_publish(f"{s}.{topic}", b"bare")
    e = c.next().event
    assert e.payload == b"bare" and e.id
    raw.js_publish(f"{s}.{topic}", b"odd", [("bad key", "v"), ("empty", ""), ("tab", "a\tb"), ("ok", "fine")])
    e = c.next().event
    assert e.id and e.metadata["ok"] == "fine"
    assert "empty" not in e.metadata
    for k, v in e.metadata.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", k) or "%" in k
        assert not re.search(r"[\x00-\x1f\x7f]", v)


def test_a_header_without_a_value_harms_no_other(daemon, raw, topic):
    """Before others, last of all, and with an empty payload, which the client library reads differently."""
    c = daemon.client()
    c.subscribe(topic)
    s = stream_of(daemon)
    for payload in (b"x", b""):
        for headers in (
            [("x-event-id", "id-1"), ("a", "1"), ("empty", "")],
            [("empty", ""), ("x-event-id", "id-1"), ("a", "1")],
            [("x-event-id", "id-1"), ("e1", ""), ("e2", ""), ("a", "1"), ("a", "2")],
        ):
            raw.js_publish(f"{s}.{topic}", payload, headers)
            e = c.next().event
            assert (e.id, e.payload, dict(e.metadata)) == ("id-1", payload, {"a": "1"}), headers


def test_header_bytes_that_are_not_utf8_never_reach_a_client_raw(daemon, raw, topic):
    c = daemon.client()
    c.subscribe(topic)
    s = stream_of(daemon)
    head = b"NATS/1.0\r\nx-event-id: id1\r\nlatin: caf\xe9\r\n\r\n"
    raw.sock.sendall(f"HPUB {s}.{topic} {len(head)} {len(head) + 1}\r\n".encode() + head + b"x\r\n")
    e = c.next().event
    assert e.id == "id1"
    assert "%E9" in e.metadata["latin"]


def test_a_stable_id_for_an_event_without_one(daemon, raw, topic, group):
    s = stream_of(daemon)
    c = daemon.client()
    c.subscribe(topic, group + "1")
    c.subscribe(topic, group + "2")
    raw.js_publish(f"{s}.{topic}", b"bare")
    assert c.next().event.id == c.next().event.id


def test_subjects_outside_the_grammar_do_not_stop_the_flow(daemon, raw, topic, group):
    c = daemon.client()
    c.subscribe(topic + ".>", group)
    s = stream_of(daemon)
    raw.js_publish(f"{s}.{topic}.a$b", b"odd")
    raw.js_publish(f"{s}.{topic}.fine", b"fine")
    assert c.next().event.payload == b"fine"


def connectum_durable(group, pattern):
    def clean(t):
        return re.sub(r"[^a-zA-Z0-9_-]", "_", t)

    digest = hashlib.sha256(group.encode() + b"\0" + pattern.encode()).hexdigest()[:8]
    return f"{clean(group)}--{clean(pattern)}--{digest}"


def test_interop_takes_the_connectum_durable_exactly(make_daemon, raw, topic):
    group = "my.group"
    d = make_daemon({"topics": [{"match": topic + ".*", "group": group, "interop": "connectum"}]})
    c = d.client()
    c.subscribe(topic + ".*", group)
    s = stream_of(d)
    name = connectum_durable(group, topic + ".*")
    config = raw.api(f"CONSUMER.INFO.{s}.{name}")["config"]
    assert config["durable_name"] == name
    assert config["filter_subject"] == f"{s}.{topic}.*"
    assert config["ack_policy"] == "explicit"
    assert config["deliver_policy"] == "new"
    assert config["ack_wait"] == 30 * 10**9
    assert config["max_deliver"] == 5
    assert "connectum" in d.log()


def test_our_durables_never_give_up_by_themselves(daemon, raw, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    s = stream_of(daemon)
    (name,) = raw.api(f"CONSUMER.NAMES.{s}")["consumers"]
    config = raw.api(f"CONSUMER.INFO.{s}.{name}")["config"]
    assert config.get("max_deliver", -1) == -1
    assert config["ack_policy"] == "explicit"


def test_no_group_leaves_nothing_behind(daemon, raw, topic):
    c = daemon.client()
    n = c.subscribe(topic).subscription
    s = stream_of(daemon)
    assert raw.api(f"CONSUMER.NAMES.{s}")["total"] == 1
    c.unsubscribe(n)
    c.until(lambda: raw.api(f"CONSUMER.NAMES.{s}")["total"] == 0, "the consumer to go")


def test_failure_records_go_with_their_event(make_daemon, raw, topic, group):
    d = make_daemon({"defaults": {"retry": {"initial_delay": "10ms"}}})
    c = d.client()
    c.subscribe(topic, group)
    c.pub(event(topic, "x"))
    c.nack(c.next(), reason="no")
    m = c.next()
    assert m.attempt == 2

    def live_records():
        total = 0
        for name in raw.api("STREAM.NAMES").get("streams") or []:
            if name.startswith("KV_") and name.endswith("-" + stream_of(d)):
                info = raw.api(f"STREAM.INFO.{name}", {"subjects_filter": ">"})
                for subject in info["state"].get("subjects") or {}:
                    last = raw.api(f"STREAM.MSG.GET.{name}", {"last_by_subj": subject})
                    if "fail" in name and "message" in last and last["message"].get("data"):
                        total += 1
        return total

    assert live_records() >= 1
    c.ack(m)
    c.until(lambda: live_records() == 0, "the record to go")


def test_a_topic_the_stream_does_not_carry_is_refused_clearly(make_daemon, raw, topic):
    d = make_daemon(broker={"stream": "narrow" + topic, "stream_config": {"subjects": [f"narrow{topic}.only.>", f"narrow{topic}.dlq.>"]}})
    c = d.client()
    c.pub(event("only.this", "x"))
    (a,) = c.answered(c.publish(event("other", "x")))
    assert a.outcome == pb.OUTCOME_PERMANENT and a.reason == pb.REASON_UNROUTABLE
    assert "narrow" + topic in a.text


def test_a_dead_letter_that_does_not_fit_loses_its_metadata_first(daemon, raw, topic, group):
    c = daemon.client()
    c.subscribe(topic, group)
    c.subscribe("dlq." + group)
    # Written by others: as large as the server takes, 16 KiB of it headers.
    headers = [(f"x-note-{i:02}", "n" * 500) for i in range(30)]
    payload = bytes((1 << 20) - 17000)
    raw.js_publish(f"{stream_of(daemon)}.{topic}", payload, headers)
    m = c.next()
    assert len(m.event.payload) == len(payload) and len(m.event.metadata) == 30
    c.nack(m, cls=REJECT, reason="r" * 1024)
    letter = c.next().event
    assert letter.payload == payload
    assert letter.metadata["dlq.truncated"] == "true"
    assert letter.metadata["dlq.error"] == "r" * 1024
    assert "x-note-00" not in letter.metadata
