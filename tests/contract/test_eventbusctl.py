# SPDX-License-Identifier: Apache-2.0
"""eventbusctl as scripts use it: exit statuses, JSON, commands per event, signals, lost daemons."""

import json
import os
import signal
import subprocess
import threading

import pytest
from harness.daemon import BUILD

CTL = os.path.join(BUILD, "eventbusctl")
PATIENCE = float(os.environ.get("EVENTBUS_TEST_PATIENCE", "60"))
FAST_RETRY = {"defaults": {"retry": {"initial_delay": "10ms", "max_delay": "20ms"}}}
pytestmark = pytest.mark.only("memory")


def ctl(daemon, *args, **kw):
    return subprocess.run(
        [CTL, "--socket", daemon.socket, *args], capture_output=True, text=True, timeout=PATIENCE, check=False, **kw
    )


def done(daemon, *args, **kw):
    r = ctl(daemon, *args, **kw)
    assert r.returncode == 0, r.stderr
    return r


def lines(text):
    return [json.loads(x) for x in text.splitlines()]


class Sub:
    """A subscriber in the background, subscribed when the constructor returns."""

    started = []

    def __init__(self, daemon, *args):
        ready, told = os.pipe()
        self.process = subprocess.Popen(
            [CTL, "--socket", daemon.socket, "sub", "--json", "--ready-fd", str(told), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[told],
        )
        Sub.started.append(self.process)
        os.close(told)
        with os.fdopen(ready) as f:
            assert f.readline() == "subscribed\n", self.process.communicate()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, status=0):
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == status, err
        return lines(out), err


@pytest.fixture(autouse=True)
def nothing_left_running():
    """A test that fails midway leaves no subscriber that waits for its daemon for ever."""
    yield
    for p in Sub.started:
        if p.poll() is None:
            p.kill()
            p.communicate()
    Sub.started.clear()


def totals(daemon):
    return json.loads(done(daemon, "status", "--json").stdout)["totals"]


# ---- pub ----


def test_pub_tells_id_and_position(daemon, topic):
    r = done(daemon, "pub", topic, "x", "--id", "my-id")
    assert r.stdout.startswith("stored  my-id  ") and topic in r.stdout
    (one,) = lines(done(daemon, "pub", topic, "x", "--id", "my-id", "--json").stdout)
    assert one["id"] == "my-id" and one["duplicate"] is True


def test_pub_takes_payloads_from_everywhere(daemon, topic, tmp_path):
    f = tmp_path / "payload"
    f.write_bytes(b"from file")
    done(daemon, "pub", topic, "--file", str(f))
    done(daemon, "pub", topic, "-", input="from stdin")
    done(daemon, "pub", topic)
    r = done(daemon, "pub", topic, "--lines", input="one\n\ntwo\nthree")
    assert r.stdout.startswith("4 stored, 0 failed")
    got = lines(done(daemon, "sub", topic, "--start", "earliest", "--count", "7", "--json").stdout)
    assert [e["payload"] for e in got] == ["from file", "from stdin", "", "one", "", "two", "three"]


@pytest.mark.parametrize("how", ["--json", "--verbose"])
def test_pub_lines_leave_as_they_come(daemon, topic, how):
    sub = Sub(daemon, topic, "--count", "2")
    pub = subprocess.Popen(
        [CTL, "--socket", daemon.socket, "pub", topic, "--lines", how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    Sub.started.append(pub)
    watch = threading.Timer(PATIENCE, pub.kill)
    watch.start()
    for text in ("first", "second"):
        pub.stdin.write(text + "\n")
        pub.stdin.flush()
        assert "stored" in pub.stdout.readline()
    watch.cancel()
    pub.communicate(timeout=PATIENCE)
    assert [e["payload"] for e in sub.end()[0]] == ["first", "second"]


def test_pub_many(daemon, topic):
    r = done(daemon, "pub", topic, "x", "--count", "5000")
    assert r.stdout.startswith("5000 stored, 0 failed")


def test_pub_failures_have_an_exit_status(make_daemon, topic):
    d = make_daemon({"access": [{"user": "*", "publish": ["allowed.>"], "subscribe": [">"], "groups": ["*"]}]})
    r = ctl(d, "pub", topic, "x")
    assert r.returncode == 1 and "denied" in r.stderr
    r = ctl(d, "pub", topic, "x", "--json")
    assert r.returncode == 1 and json.loads(r.stdout)["reason"] == "denied"
    d.kill9()
    r = ctl(d, "pub", topic, "x", "--wait", "100ms")
    assert r.returncode == 69 and "is eventbusd running?" in r.stderr
    r = ctl(d, "pub", topic, "x", "--wait", "100ms", "--json")
    assert r.returncode == 69 and "is eventbusd running?" in json.loads(r.stderr)["error"]
    d.restart()


@pytest.mark.parametrize(
    "args",
    [
        ["pub"],
        ["pub", "t", "x", "y"],
        ["pub", "t", "x", "--lines"],
        ["pub", "t", "--count", "0"],
        ["pub", "t", "--meta", "novalue"],
        ["pub", "t", "--timeout", "soon"],
        ["sub"],
        ["sub", "a..b"],
        ["sub", "t", "--start", "yesterday"],
        ["sub", "t", "--order", "size"],
        ["sub", "t", "--exec", "true", "--ack", "none"],
        ["sub", "t", "--ready-fd", "99"],
        ["explain"],
        ["bench", "--size", "1"],
        ["status", "x"],
        ["status", "--nonsense"],
    ],
)
def test_wrong_calls_are_64(daemon, args):
    r = ctl(daemon, *args)
    assert r.returncode == 64 and r.stderr and not r.stdout


def test_what_is_not_built_yet_says_so(daemon):
    for command in ("top", "lag", "dlq"):
        r = ctl(daemon, command)
        assert r.returncode == 64 and r.stderr == f"eventbusctl: {command}: not supported by this version\n"
    r = ctl(daemon, "frobnicate")
    assert r.returncode == 64 and "frobnicate" in r.stderr and "--help" in r.stderr


def test_a_wrong_option_names_the_command(daemon):
    assert ctl(daemon, "status", "--nonsense").stderr.startswith("eventbusctl status: ")


def test_every_command_has_help(daemon):
    for command in ("pub", "sub", "status", "explain", "check", "bench"):
        r = ctl(daemon, command, "--help")
        assert r.returncode == 0 and r.stdout.startswith("usage: eventbusctl " + command)


# ---- sub ----


def test_sub_prints_what_no_terminal_should_see_as_escapes(daemon, topic):
    done(daemon, "pub", topic, "-", input="\x1b[31mred\x07")
    r = done(daemon, "sub", topic, "--start", "earliest", "--count", "1")
    assert "\\x1b[31mred\\x07" in r.stdout and "\x1b" not in r.stdout


def test_sub_shows_bytes_as_base64(daemon, topic, tmp_path):
    f = tmp_path / "payload"
    f.write_bytes(b"\xff\x00\x01\x02")
    done(daemon, "pub", topic, "--file", str(f))
    (e,) = lines(done(daemon, "sub", topic, "--start", "earliest", "--count", "1", "--json").stdout)
    assert e["payload_base64"] == "/wABAg=="


def test_sub_timeout(daemon, topic):
    assert ctl(daemon, "sub", topic, "--timeout", "50ms").returncode == 0
    assert ctl(daemon, "sub", topic, "--timeout", "50ms", "--count", "1").returncode == 75


def test_sub_refused(make_daemon, topic, group):
    d = make_daemon()
    sub = Sub(d, topic, "--group", group, "--order", "key")
    r = ctl(d, "sub", topic, "--group", group, "--order", "topic")
    assert r.returncode == 1 and "conflict" in r.stderr
    sub.signal(signal.SIGTERM)
    sub.end()


def test_sub_takes_no_more_than_it_prints(daemon, topic, group):
    done(daemon, "pub", topic, "x", "--count", "50")
    args = [topic, "--group", group, "--start", "earliest"]
    one = Sub(daemon, *args, "--count", "3").end()[0]
    two = Sub(daemon, *args, "--count", "47").end()[0]
    assert (len(one), len(two)) == (3, 47)
    assert len({e["id"] for e in one + two}) == 50
    assert all(e["attempt"] == 1 for e in two)


def test_sub_without_ack_gives_back(daemon, topic, group):
    done(daemon, "pub", topic, "x")
    args = [topic, "--group", group, "--start", "earliest", "--count", "1"]
    (e,) = Sub(daemon, *args, "--ack", "none").end()[0]
    (again,) = Sub(daemon, *args).end()[0]
    assert e["id"] == again["id"] and again["attempt"] == 1


def test_sub_goes_on_after_the_daemon_comes_back(make_daemon, topic):
    d = make_daemon()
    sub = Sub(d, topic, "--count", "2", "--group", "g")
    done(d, "pub", topic, "one")
    while totals(d)["acked"] < 1:
        pass
    d.kill9()
    d.restart()
    while not any(c["subscriptions"] for c in json.loads(done(d, "status", "--json").stdout)["clients"]):
        pass
    done(d, "pub", topic, "two")
    events, err = sub.end()
    assert [e["payload"] for e in events] == ["one", "two"]
    states = [x.get("state") for x in lines(err)]
    assert "disconnected" in states and states.count("subscribed") == 2


def test_sub_ends_when_stdout_is_gone(daemon, topic, group):
    sub = Sub(daemon, topic, "--group", group)
    sub.process.stdout.close()
    done(daemon, "pub", topic, "x")
    assert sub.process.wait(timeout=PATIENCE) == 1
    sub.process.stderr.close()
    assert totals(daemon)["acked"] == 0


# ---- sub --exec ----


def exec_sub(daemon, topic, group, command, *args):
    return Sub(daemon, topic, "--group", group, "--exec", command, *args)


def test_exec_gets_everything(daemon, topic, group, tmp_path):
    out = tmp_path / "out"
    sub = exec_sub(daemon, topic, group, f"cat >{out}; env >>{out}", "--count", "1")
    done(daemon, "pub", topic, "payload", "--key", "k", "--id", "i-1", "--meta", "a.b-c=d e", "--content-type", "c/t")
    sub.end()
    got = out.read_text().splitlines()
    assert got[0].startswith("payload")
    for want in [
        "EVENTBUS_ID=i-1", f"EVENTBUS_TOPIC={topic}", "EVENTBUS_KEY=k", "EVENTBUS_ATTEMPT=1",
        "EVENTBUS_METADATA_A_B_C=d e", "EVENTBUS_CONTENT_TYPE=c/t", f"EVENTBUS_GROUP={group}",
        f"EVENTBUS_SOCKET={daemon.socket}",
    ]:  # fmt: skip
        assert want in "\n".join(got), want


def test_exec_large_payload(daemon, topic, group, tmp_path):
    f, out = tmp_path / "in", tmp_path / "out"
    f.write_bytes(os.urandom(1 << 20))
    sub = exec_sub(daemon, topic, group, f"cat >{out}", "--count", "1")
    done(daemon, "pub", topic, "--file", str(f))
    sub.end()
    assert out.read_bytes() == f.read_bytes()


@pytest.mark.parametrize(
    "command,reason", [("exit 65", "exit status 65"), ("kill -9 $$", "killed by signal 9")]
)
def test_exec_failures_reach_the_dead_letters(make_daemon, topic, group, command, reason):
    d = make_daemon(FAST_RETRY)
    dead = Sub(d, f"dlq.{group}", "--count", "1")
    sub = exec_sub(d, topic, group, command, "--max-retries", "1")
    done(d, "pub", topic, "x")
    (e,) = dead.end()[0]
    assert e["metadata"]["dlq.error"] == reason
    assert e["metadata"]["dlq.attempt"] == ("1" if "65" in command else "2")
    sub.signal(signal.SIGTERM)
    sub.end()


def test_exec_69_gives_back_without_counting(daemon, topic, group, tmp_path):
    out = tmp_path / "out"
    sub = exec_sub(
        daemon, topic, group,
        f'echo $EVENTBUS_ATTEMPT >>{out}; [ $(wc -l <{out}) -ge 2 ] || exit 69', "--count", "1",
    )  # fmt: skip
    done(daemon, "pub", topic, "x")
    sub.end()
    assert out.read_text() == "1\n1\n"


def test_exec_runs_several_at_once(daemon, topic, group, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # Each waits for the other: one alone would never end.
    sub = exec_sub(
        daemon, topic, group,
        f'if [ "$(cat)" = a ]; then echo hello >{fifo}; else read x <{fifo}; fi',
        "--concurrency", "2", "--count", "2",
    )  # fmt: skip
    done(daemon, "pub", topic, "a")
    done(daemon, "pub", topic, "b")
    sub.end()


def test_exec_outlives_its_lease(make_daemon, topic, group, tmp_path):
    d = make_daemon()
    out, gate = tmp_path / "out", tmp_path / "gate"
    os.mkfifo(gate)
    sub = exec_sub(d, topic, group, f"echo $EVENTBUS_ATTEMPT >>{out}; read x <{gate}", "--lease", "1s", "--count", "1")
    done(d, "pub", topic, "x")
    # Longer than the lease, measured by the daemon's own clock.
    start = json.loads(done(d, "status", "--json").stdout)["daemon"]["uptime_ms"]
    while json.loads(done(d, "status", "--json").stdout)["daemon"]["uptime_ms"] < start + 2500:
        pass
    gate.write_text("go\n")
    sub.end()
    assert out.read_text() == "1\n"
    assert totals(d)["acked"] == 1


def test_sigterm_lets_running_commands_finish(daemon, topic, group, tmp_path):
    started, gate, out = tmp_path / "started", tmp_path / "gate", tmp_path / "out"
    os.mkfifo(started)
    os.mkfifo(gate)
    sub = exec_sub(daemon, topic, group, f"echo x >{started}; read x <{gate}; echo done >>{out}")
    done(daemon, "pub", topic, "x", "--count", "3")
    started.read_text()
    sub.signal(signal.SIGTERM)
    gate.write_text("go\n")
    sub.end()
    assert out.read_text() == "done\n"
    assert totals(daemon)["acked"] == 1


def test_a_second_signal_ends_commands_and_gives_back(daemon, topic, group, tmp_path):
    started, gate = tmp_path / "started", tmp_path / "gate"
    os.mkfifo(started)
    os.mkfifo(gate)
    sub = exec_sub(daemon, topic, group, f"echo x >{started}; read x <{gate}")
    done(daemon, "pub", topic, "x")
    started.read_text()
    sub.signal(signal.SIGTERM)
    sub.signal(signal.SIGINT)  # another one, so that both are seen
    sub.end()
    t = totals(daemon)
    assert t["acked"] == 0 and t["retried"] == 0


# ---- the rest ----


def test_check_as_json(daemon, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("log: {level: info}\n")
    bad.write_text("x: 1\n")
    assert json.loads(ctl(daemon, "check", str(good), "--json").stdout)["ok"] is True
    r = ctl(daemon, "check", str(bad), "--json")
    answer = json.loads(r.stdout)
    assert r.returncode != 0 and answer["ok"] is False and "bad.yaml:1:1" in answer["lines"][0]


def test_explain_as_json(daemon):
    e = json.loads(done(daemon, "explain", "a.b", "--group", "g", "--json").stdout)
    assert e["group"] == "g" and any(v["name"] == "retry.max_retries" for v in e["values"])
    values = {v["name"]: v["value"] for v in e["values"]}
    assert (values["lease"], values["retry.window_bytes"]) == ("30s", "16MiB")


def test_bench_measures_both_sides(daemon):
    r = lines(done(daemon, "bench", "--count", "20000", "--json").stdout)
    assert [x["side"] for x in r] == ["publish", "deliver"]
    assert all(x["events"] == 20000 and x["events_per_second"] > 0 for x in r)
    r = lines(done(daemon, "bench", "--publisher", "--count", "1000", "--batch", "1", "--window", "1", "--json").stdout)
    assert r[0]["events"] == 1000
