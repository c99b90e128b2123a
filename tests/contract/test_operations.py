# SPDX-License-Identifier: Apache-2.0
"""What an operator touches: --check, reload, notify, the socket, eventbusctl."""

import json
import os
import signal
import socket
import stat
import subprocess

import pytest
from harness.daemon import BINARY, BUILD
from harness.wire import event, pb

CTL = os.path.join(BUILD, "eventbusctl")
pytestmark = pytest.mark.only("memory")


def run(*args, **kw):
    return subprocess.run(args, capture_output=True, text=True, timeout=60, check=False, **kw)


def ctl(daemon, *args, **kw):
    return run(CTL, "--socket", daemon.socket, *args, **kw)


def test_version_and_usage(adapter):
    r = run(BINARY, "--version")
    assert r.returncode == 0 and "eventbusd" in r.stdout
    r = run(BINARY, "--nonsense")
    assert r.returncode == 64 and "--nonsense" in r.stderr


def test_check_prints_every_mistake_with_its_place(adapter, tmp_path):
    f = tmp_path / "e.yaml"
    f.write_text(
        "socket: {mode: 9999}\n"
        "defaults:\n"
        "  retry: {max_retries: -1, initial_dely: 1s}\n"
        "  lease: 30\n"
        "limits: {memory: 12}\n"
        "brokers: {a: {memory: {}}}\n"
        "nonsense: 1\n"
    )
    r = run(BINARY, "--check", "--config", str(f))
    assert r.returncode == 78
    out = r.stdout + r.stderr
    for line, words in [
        (1, "socket.mode"), (3, "defaults.retry.max_retries"), (3, "initial_delay"), (4, "defaults.lease"),
        (5, "limits.memory"), (6, "not supported by this version"), (7, "nonsense"),
    ]:  # fmt: skip
        assert any(x.startswith(f"{f}:{line}:") and words in x for x in out.splitlines()), (line, words, out)


def test_the_example_is_accepted(adapter):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for name in ["eventbusd.yaml", *("examples/" + x for x in os.listdir(root + "/config/examples"))]:
        r = run(BINARY, "--check", "--config", f"{root}/config/{name}", env={**os.environ, "NATS_TOKEN": "x"})
        assert r.returncode == 0, (name, r.stdout, r.stderr)


def test_a_missing_file_is_an_error(adapter, tmp_path):
    r = run(BINARY, "--config", str(tmp_path / "none.yaml"))
    assert r.returncode == 66 and "none.yaml" in r.stderr


def test_check_warns_of_what_may_lose_events(adapter, tmp_path):
    f = tmp_path / "weak.yaml"
    f.write_text(
        "broker: {nats: {stream_config: {storage: memory}}}\n"
        "defaults: {on_exhausted: drop}\n"
        "topics:\n"
        "  - {match: orders.>, dlq: off}\n"
        "  - {match: billing.>, dlq: off, on_exhausted: keep}\n"
    )
    r = run(BINARY, "--check", str(f))
    assert r.returncode == 0 and r.stdout == "ok\n"
    lines = r.stderr.splitlines()
    assert len(lines) == 2 and all(x.startswith(f"{f}: warning: ") for x in lines), lines
    assert "broker.nats.stream_config.storage: memory" in lines[0]
    assert "topics[0] match=orders.>" in lines[1] and "dropped" in lines[1] and "(line 4)" in lines[1]

    f.write_text("broker: {nats: {stream_config: {storage: file, replicas: 1}}}\n")
    r = run(BINARY, "--check", str(f))
    assert (r.returncode, r.stdout, r.stderr) == (0, "ok\n", "")


def test_a_start_logs_the_warnings_once(make_daemon):
    d = make_daemon({"defaults": {"dlq": "off", "on_exhausted": "drop"}})
    assert d.log().count("defaults: exhausted events are dropped") == 1


def test_the_socket_has_its_mode_and_goes(make_daemon):
    d = make_daemon({"socket": {"mode": "0600"}})
    assert stat.S_IMODE(os.stat(d.socket).st_mode) == 0o600
    d.client().ping()
    assert d.term() == 0
    assert not os.path.exists(d.socket)


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(make_daemon, tmp_path):
    d = make_daemon()
    r = run(BINARY, "--config", os.path.join(d.folder, d.name + ".yaml"))
    assert r.returncode not in (0, -6, -11) and d.socket in r.stderr
    d.client().ping()
    d.kill9()
    assert os.path.exists(d.socket)
    d.restart()
    d.client().ping()


def test_a_socket_from_the_service_manager(make_daemon, topic, tmp_path):
    """Clients wait in it while the daemon is away; it stays where it is."""
    path = str(tmp_path / "activated.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen(16)
        # What systemd does: the socket as descriptor 3, LISTEN_PID of the process itself.
        script = f'exec 3<&{s.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        wrapper = ["/bin/bash", "-c", script, "sh", *os.environ.get("EVENTBUS_WRAPPER", "").split()]
        d = make_daemon(ready=False, wrapper=wrapper, pass_fds=[s.fileno()])
        d.socket = path
        d.wait_notice("READY=1")
        d.client().pub(event(topic, "x"))
        assert d.term() == 0 and os.path.exists(path)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(path)
        waiting.close()
        d.start()
        d.client().ping()
        assert json.loads(ctl(d, "status", "--json").stdout)["daemon"]["socket"] == path
        assert f"socket={path}" in d.log()


def test_reload_applies_policies(make_daemon, topic, group):
    d = make_daemon()
    c = d.client()
    assert c.subscribe(topic, group).policies[0].max_retries == 3
    d.config["defaults"] = {"retry": {"max_retries": 7}}
    reload(d)
    assert c.subscribe(topic, group + "2").policies[0].max_retries == 7
    assert any(n.startswith("RELOADING=1") for n in d.notices)


def reload(d):
    d.wait_notice("READY=1")
    d.notices = []
    d.write_config()
    d.signal(signal.SIGHUP)
    d.wait_notice("READY=1")


def test_a_bad_file_changes_nothing(make_daemon, topic, group):
    d = make_daemon()
    d.config["defaults"] = {"retry": {"max_retries": -7}}
    reload(d)
    d.wait_log("defaults.retry.max_retries")
    assert d.client().subscribe(topic, group).policies[0].max_retries == 3
    del d.config["defaults"]
    d.config["broker"] = {"memory": {"history": "1MiB"}}
    reload(d)
    d.wait_log("restart")


def test_access_rules(make_daemon, topic):
    me = str(os.getuid())
    d = make_daemon({"access": [{"user": me, "publish": ["ok.>"], "subscribe": ["in.>"], "groups": ["mine-*"]}]})
    c = d.client()
    c.pub(event("ok.a", "x"))
    (a,) = c.answered(c.publish(event("other.a", "x")))
    assert a.reason == pb.REASON_DENIED and a.outcome == pb.OUTCOME_PERMANENT
    c.subscribe("in.x", "mine-1")
    for patterns, group in (("out.x", "mine-1"), ("in.y", "theirs")):
        n = c.subscribe(patterns, group, wait=False)
        assert c.take("error", match=lambda m, n=n: m.subscription == n)[1].reason == pb.REASON_DENIED


def test_watchdog_and_status(make_daemon):
    d = make_daemon(env={"WATCHDOG_USEC": "400000"})
    for _ in range(3):
        d.notices = []
        d.wait_notice("WATCHDOG=1")
    assert any(n.startswith("STATUS=") for n in d.notices) or "STATUS=" in str(d.wait_notice("STATUS="))


def test_log_names_who_came(make_daemon):
    d = make_daemon()
    d.client("my-service").ping()
    d.wait_log("my-service")
    assert f"uid={os.getuid()}" in d.log() and f"pid={os.getpid()}" in d.log()


# ---- eventbusctl ----


def test_ctl_pub_and_sub(make_daemon, topic):
    d = make_daemon()
    r = ctl(d, "pub", topic, "hello", "--key", "k", "--meta", "a=b", "--json")
    assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout)["id"]
    r = ctl(d, "sub", topic, "--start", "earliest", "--count", "1", "--json")
    assert r.returncode == 0, r.stderr
    e = json.loads(r.stdout.splitlines()[-1])
    assert (e["topic"], e["key"], e["metadata"]) == (topic, "k", {"a": "b"})


def test_ctl_exec_decides_by_exit_status(make_daemon, topic, group, tmp_path):
    d = make_daemon({"defaults": {"retry": {"initial_delay": "10ms", "max_delay": "20ms"}}})
    out = tmp_path / "out"
    assert ctl(d, "pub", topic, "work").returncode == 0
    r = ctl(
        d, "sub", topic, "--group", group, "--start", "earliest", "--count", "1",
        "--exec", f'cat >>{out}; echo " $EVENTBUS_ATTEMPT" >>{out}; [ "$EVENTBUS_ATTEMPT" -ge 3 ]',
    )  # fmt: skip
    assert r.returncode == 0, r.stderr
    assert out.read_text() == "work 1\nwork 2\nwork 3\n"


def test_ctl_errors_are_clear(make_daemon, tmp_path):
    d = make_daemon()
    r = run(CTL, "--socket", str(tmp_path / "none.sock"), "status")
    assert r.returncode == 69 and "none.sock" in r.stderr
    assert ctl(d, "pub", "a..b", "x").returncode != 0
    assert ctl(d, "frobnicate").returncode == 64


def test_ctl_status_explain_check(make_daemon, topic, group, tmp_path):
    d = make_daemon()
    c = d.client()
    c.subscribe(topic, group)
    s = json.loads(ctl(d, "status", "--json").stdout)
    assert any(g["name"] == group for g in s["groups"])
    assert group in ctl(d, "status").stdout
    e = ctl(d, "explain", topic, "--group", group)
    assert e.returncode == 0 and "retry.max_retries" in e.stdout and "built in" in e.stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("x: 1\n")
    r = run(CTL, "check", str(bad), env={**os.environ, "PATH": BUILD + ":" + os.environ["PATH"]})
    assert r.returncode != 0 and "bad.yaml:1:1" in r.stdout + r.stderr
