# SPDX-License-Identifier: Apache-2.0
"""Every way to be let in by a nats-server that asks, and what happens when it says no."""

import subprocess

import pytest
from harness.brokers import Nats
from harness.daemon import BINARY
from harness.natsauth import NKey, certificates, operator_setup, user_credentials
from harness.wire import event, pb

pytestmark = pytest.mark.only("nats")


@pytest.fixture
def guarded(adapter, make_daemon, tmp_path):
    """guarded(lines, options) starts a server of that configuration; returns a daemon beside it."""
    servers = []

    def make(lines, ready=True, scheme="nats", host="127.0.0.1", **options):
        server = Nats(tmp_path)
        server.extra = lines
        servers.append(server.start())
        options["servers"] = [f"{scheme}://{host}:{server.port}"]
        options.setdefault("reconnect_wait", "50ms")
        return make_daemon({"limits": {"publish_timeout": "1s"}}, broker=options)

    yield make
    for s in servers:
        s.stop()


def works(d, topic):
    c = d.client()
    c.subscribe(topic, start=pb.Start(earliest=True))
    c.pub(event(topic, "x"))
    assert c.next().event.payload == b"x"
    return d


def is_refused(d, topic, *words):
    """The daemon runs, says why, answers `not connected`, and keeps its secrets."""
    c = d.client()
    (a,) = c.answered(c.publish(event(topic, "x")))
    assert (a.outcome, a.reason) == (pb.OUTCOME_NOT_STORED, pb.REASON_NOT_CONNECTED), a
    assert any(w in d.log() for w in words), d.log()
    assert any(w in a.text for w in words), a.text
    assert ".c:" not in d.log(), "places in the library's source"
    c.ping()
    return d


NO = ("uthorization", "uthentication")


def test_user_and_password(guarded, topic):
    lines = 'authorization { user: u, password: "p w" }\n'
    works(guarded(lines, user="u", password="p w"), topic)
    d = is_refused(guarded(lines, user="u", password="not-this-one"), topic, *NO)
    assert "not-this-one" not in d.log()


def test_a_token(guarded, topic):
    lines = 'authorization { token: "t-1" }\n'
    works(guarded(lines, token="t-1"), topic)
    d = is_refused(guarded(lines, token="wrong-token"), topic, *NO)
    assert "wrong-token" not in d.log()


def test_no_credentials_where_they_are_asked_for(guarded, topic):
    is_refused(guarded('authorization { token: "t-1" }\n'), topic, *NO)


def test_an_nkey(guarded, topic):
    key, other = NKey("user"), NKey("user")
    lines = f"authorization {{ users = [ {{ nkey: {key.public} }} ] }}\n"
    works(guarded(lines, nkey=key.public, nkey_seed=key.seed), topic)
    d = is_refused(guarded(lines, nkey=other.public, nkey_seed=other.seed), topic, *NO)
    assert other.seed not in d.log()


def test_an_nkey_seed_that_is_none(guarded, topic):
    key = NKey("user")
    lines = f"authorization {{ users = [ {{ nkey: {key.public} }} ] }}\n"
    d = is_refused(guarded(lines, nkey=key.public, nkey_seed="SUNOTASEED"), topic, "nkey_seed is not an NKey seed")
    assert "SUNOTASEED" not in d.log()


def test_a_credentials_file(guarded, tmp_path, topic):
    lines, account = operator_setup()
    good = tmp_path / "good.creds"
    good.write_text(user_credentials(account))
    works(guarded(lines, creds=str(good)), topic)
    foreign = tmp_path / "foreign.creds"
    foreign.write_text(user_credentials(NKey("account")))
    is_refused(guarded(lines, creds=str(foreign)), topic, *NO)


def test_a_credentials_file_that_comes_later(guarded, tmp_path, topic):
    lines, account = operator_setup()
    late = tmp_path / "late.creds"
    d = is_refused(guarded(lines, creds=str(late)), topic, "late.creds")
    late.write_text(user_credentials(account))
    d.wait_log("connected server=")
    works(d, topic)


def tls_server(c, more=""):
    return f'tls {{ cert_file: "{c["server.pem"]}", key_file: "{c["server.key"]}"{more} }}\n'


def test_tls_by_scheme_and_by_option(guarded, tmp_path, topic):
    c = certificates(tmp_path, "IP:127.0.0.1")
    works(guarded(tls_server(c), scheme="tls", tls={"ca": c["ca.pem"]}), topic)
    works(guarded(tls_server(c), tls={"enabled": True, "ca": c["ca.pem"]}), topic)


def test_tls_with_a_certificate_of_ours(guarded, tmp_path, topic):
    c = certificates(tmp_path, "IP:127.0.0.1")
    lines = tls_server(c, f', ca_file: "{c["ca.pem"]}", verify: true')
    tls = {"ca": c["ca.pem"]}
    works(guarded(lines, scheme="tls", tls={**tls, "cert": c["client.pem"], "key": c["client.key"]}), topic)
    d = guarded(lines, scheme="tls", tls=tls)
    (a,) = d.client().answered(d.clients[-1].publish(event(topic, "x")))
    assert a.reason == pb.REASON_NOT_CONNECTED


def test_tls_that_cannot_be_trusted_is_refused(guarded, tmp_path, topic):
    c = certificates(tmp_path, "IP:127.0.0.1")
    for tls in ({}, {"ca": c["ca2.pem"]}):
        is_refused(guarded(tls_server(c), scheme="tls", tls=tls), topic, "SSL", "certificate")
    works(guarded(tls_server(c), scheme="tls", tls={"insecure": True}), topic)


def test_a_certificate_for_another_host_is_refused(guarded, tmp_path, topic):
    c = certificates(tmp_path, "DNS:nats.example")
    is_refused(guarded(tls_server(c), scheme="tls", tls={"ca": c["ca.pem"]}), topic, "SSL", "certificate")
    works(guarded(tls_server(c), scheme="tls", tls={"ca": c["ca.pem"], "server_name": "nats.example"}), topic)
    wrong = {"ca": c["ca.pem"], "server_name": "other.example"}
    is_refused(guarded(tls_server(c), scheme="tls", tls=wrong), topic, "SSL", "certificate")


def test_a_server_that_asks_for_tls_when_we_do_not(guarded, tmp_path, topic):
    c = certificates(tmp_path, "IP:127.0.0.1")
    is_refused(guarded(tls_server(c)), topic, "ecure", "TLS", "SSL")


def test_a_stop_during_a_handshake_is_clean(guarded, tmp_path):
    """The thread that connects is left to itself: the exit must not take the TLS library away from it."""
    c = certificates(tmp_path, "IP:127.0.0.1")
    quick = {"reconnect_wait": "10ms", "reconnect_max_wait": "10ms"}
    d = guarded(tls_server(c), scheme="tls", tls={"ca": c["ca2.pem"]}, **quick)
    for _ in range(20):
        assert d.term() == 0
        d.restart()


def test_a_ca_file_that_is_missing_is_named(guarded, tmp_path, topic):
    c = certificates(tmp_path, "IP:127.0.0.1")
    is_refused(guarded(tls_server(c), scheme="tls", tls={"ca": str(tmp_path / "none.pem")}), topic, "none.pem")


def test_a_user_without_rights_is_told(guarded, topic):
    lines = (
        'authorization { users = [ { user: u, password: p, permissions: { subscribe: "_INBOX.>", '
        'publish: { allow: ["$JS.API.>", "$KV.>", "$JS.ACK.>"] } } } ] }\n'
    )
    c = guarded(lines, user="u", password="p").client()
    (a,) = c.answered(c.publish(event(topic, "x")))
    assert (a.outcome, a.reason) == (pb.OUTCOME_PERMANENT, pb.REASON_DENIED), a


def test_credentials_in_a_servers_address_are_refused(adapter, tmp_path):
    """Addresses are logged and shown; secrets have keys of their own."""
    f = tmp_path / "e.yaml"
    f.write_text('broker: {nats: {servers: ["nats://u:hush-hush@127.0.0.1:4222"]}}\n')
    r = subprocess.run([BINARY, "--check", str(f)], capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 78 and "servers" in r.stderr and "hush-hush" not in r.stdout + r.stderr


def test_a_server_that_is_not_there_is_told_once(adapter, make_daemon, topic):
    d = make_daemon({"limits": {"publish_timeout": "300ms"}}, broker={"servers": ["nats://127.0.0.1:1"]})
    c = d.client()
    (a,) = c.answered(c.publish(event(topic, "x")))
    assert a.text.count("No server available") == 1, a.text
