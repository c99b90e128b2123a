# SPDX-License-Identifier: Apache-2.0
"""Many events: what waits costs no more each when there is more of it, and nothing stays behind."""

import os
import subprocess

import pytest
from harness.daemon import BUILD
from harness.wire import RETRY, Client, pb

CTL = os.path.join(BUILD, "eventbusctl")
EVERYTHING = pb.Range(first=1, last=2**64 - 1)


def bench(daemon, *args):
    out = subprocess.run(
        [CTL, "--socket", daemon.socket, "bench", *args], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr


def slow(daemon):
    """Sanitizers and valgrind: the figures say nothing there."""
    return bool(daemon.wrapper) or os.path.basename(BUILD) != "release"


class Blind(Client):
    """Throws deliveries away: a million of them would measure this client."""

    def _dispatch(self, frame):
        if frame.WhichOneof("kind") != "deliver":
            super()._dispatch(frame)

    def counts(self, group):
        (g,) = [g for g in self.status()["groups"] if g["name"] == group]
        return g["flows"][0]

    def settle_until(self, group, done, settle):
        """Settles everything that comes until done(counts of the flow)."""
        while True:
            settle()
            counts = self.counts(group)
            if done(counts):
                return counts
            self.poll(0.002)


def fail_and_finish(daemon, c, topic, group, at_once, rounds, delay_ms):
    """Rounds of so many events that all wait for their retry at one time; user CPU of one, in us."""
    flow = c.counts(group)
    retried, acked = flow["retried"], flow["acked"]
    ticks, most = daemon.cpu_ticks(system=False), 0
    for _ in range(rounds):
        first, goal = retried, acked + at_once
        bench(daemon, "--publisher", "--size", "8", "--count", str(at_once), "--topic", topic)
        flow = c.settle_until(
            group,
            lambda f: f["retried"] >= first + at_once and f["in_flight"] + f["ready"] == 0,  # pylint: disable=cell-var-from-loop
            lambda: c.send(nack=pb.Nack(tags=[EVERYTHING], kind=RETRY, delay_ms=delay_ms)),
        )
        retried, most = flow["retried"], max(most, flow["waiting"])
        flow = c.settle_until(
            group,
            lambda f: f["acked"] >= goal,  # pylint: disable=cell-var-from-loop
            lambda: c.send(ack=pb.Ack(tags=[EVERYTHING])),
        )
        acked = flow["acked"]
    spent = daemon.cpu_ticks(system=False) - ticks
    return spent * 1e6 / os.sysconf("SC_CLK_TCK") / (at_once * rounds), most


@pytest.mark.only("memory")
def test_a_million_waiting_events_cost_little_more_each_than_few(make_daemon, topic, group):
    d = make_daemon(
        {
            "defaults": {
                "retry": {"max_retries": 1000, "window_events": 2000000, "window_bytes": "2GiB"},
            },
            "limits": {"memory": "4GiB", "per_client": "2GiB"},
        },
        broker={"history": "3GiB"},
    )
    c = Blind(d.socket)
    d.clients.append(c)
    c.subscribe(topic, group, max_in_flight_events=65536)
    many = 20000 if slow(d) else 1000000
    few, _ = fail_and_finish(d, c, topic, group, 1000, 20, 20)
    each, most = fail_and_finish(d, c, topic, group, many, 1, 8000)
    print(f"user CPU of an event: {few:.2f} us, of one among {many}: {each:.2f} us")
    if not slow(d):
        assert most > many * 0.9
        assert each <= 2 * few


def test_events_that_went_through_leave_nothing_behind(make_daemon, adapter, topic, group):
    memory = adapter.name == "memory"
    d = make_daemon(broker={"history": "4MiB"} if memory else None)
    n = 2000 if slow(d) else 100000 if memory else 20000

    def through(count):
        bench(d, "--both", "--size", "64", "--count", str(count), "--topic", topic, "--group", group)

    through(n)
    rss = d.rss_kib()
    through(10 * n)
    assert d.grew_kib(rss) < 8 * 1024
    totals = d.client().status()["totals"]
    assert totals["acked"] >= 11 * n and totals["held"] == 0
