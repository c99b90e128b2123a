# SPDX-License-Identifier: Apache-2.0
"""A client of the protocol for tests, written from PROTOCOL.md: a socket, frames, nothing hidden."""

import collections
import os
import select
import socket
import struct
import time

from eventbus.v1 import eventbus_pb2 as pb

# Only an upper bound against hanging; nothing is asserted about it.
PATIENCE = float(os.environ.get("EVENTBUS_TEST_PATIENCE", "60"))

RETRY = pb.NACK_CLASS_RETRY
REJECT = pb.NACK_CLASS_REJECT
RELEASE = pb.NACK_CLASS_RELEASE
DROP = pb.NACK_CLASS_DROP


class Closed(Exception):
    """The daemon ended the session."""


class Refused(Exception):
    """The daemon answered with Error."""

    def __init__(self, error):
        super().__init__(f"{pb.Outcome.Name(error.outcome)} {pb.Reason.Name(error.reason)}: {error.text}")
        self.error = error
        self.reason = error.reason
        self.text = error.text


class NotStored(Exception):
    """A publish was answered with a failure."""

    def __init__(self, failure):
        super().__init__(f"{pb.Reason.Name(failure.reason)}: {failure.text}")
        self.failure = failure


def event(topic, payload=b"", **fields):
    """An Event; metadata={...} and the other fields by name."""
    metadata = fields.pop("metadata", None)
    if isinstance(payload, str):
        payload = payload.encode()
    e = pb.Event(topic=topic, payload=payload, **fields)
    if metadata:
        e.metadata.update(metadata)
    return e


def frame_bytes(body):
    return struct.pack(">I", len(body)) + body


class Client:
    """One session. Every wait reads the socket; what is not waited for is kept in order."""

    def __init__(self, path, name="contract", hello=True, rcvbuf=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.inbuf = bytearray()
        self.frames = collections.deque()
        self.deliveries = collections.deque()
        self.answers = {}  # sequence -> True or PublishFailure
        self.positions = {}  # sequence -> PublishPosition
        self.sequence = 0
        self.subscriptions = 0
        self.requests = 0
        self.credit = None
        self.notes = []  # every SubscriptionState seen
        self.raw = None  # set to a list to record every body received
        self.closed = False
        self.welcome = None
        if hello:
            self.welcome = self.hello(name)

    # ---- bytes ----

    def send_raw(self, data):
        view = memoryview(data)
        deadline = time.monotonic() + PATIENCE
        while view:
            try:
                n = self.sock.send(view)
                view = view[n:]
            except BlockingIOError:
                # The daemon may wait for us to read; do both.
                r, w, _ = select.select([self.sock], [self.sock], [], max(0, deadline - time.monotonic()))
                if r:
                    self._receive()
                elif not w:
                    raise TimeoutError("the daemon does not read")
            except (BrokenPipeError, ConnectionResetError) as e:
                raise Closed() from e

    def send(self, **kind):
        self.send_raw(frame_bytes(pb.Frame(**kind).SerializeToString()))

    def _receive(self):
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        self.inbuf += data
        pos = 0
        while len(self.inbuf) - pos >= 4:
            (n,) = struct.unpack_from(">I", self.inbuf, pos)
            if len(self.inbuf) - pos - 4 < n:
                break
            body = bytes(self.inbuf[pos + 4 : pos + 4 + n])
            pos += 4 + n
            if self.raw is not None:
                self.raw.append(body)
            self._dispatch(pb.Frame.FromString(body))
        del self.inbuf[:pos]

    def _dispatch(self, frame):
        kind = frame.WhichOneof("kind")
        assert kind is not None, "the daemon sent a frame of an unknown kind"
        if kind == "deliver":
            self.deliveries.extend(frame.deliver.deliveries)
        elif kind == "published":
            p = frame.published
            for r in p.confirmed:
                for s in range(r.first, r.last + 1):
                    assert s not in self.answers, f"sequence {s} answered twice"
                    self.answers[s] = True
            for f in p.failures:
                for s in range(f.range.first, f.range.last + 1):
                    assert s not in self.answers, f"sequence {s} answered twice"
                    self.answers[s] = f
            for q in p.positions:
                self.positions[q.sequence] = q
            if p.HasField("credit"):
                self.credit = p.credit
        else:
            if kind == "subscription_state":
                self.notes.append(frame.subscription_state)
            self.frames.append((kind, getattr(frame, kind)))

    def poll(self, timeout=0.0):
        """Reads what is there, waiting up to timeout for something."""
        if self.closed:
            return False
        r, _, _ = select.select([self.sock], [], [], max(0.0, timeout))
        if r:
            self._receive()
        return bool(r)

    def until(self, done, what, timeout=None):
        """Reads until done() is true."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            result = done()
            if result:
                return result
            if self.closed:
                raise Closed(what)
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"waited for {what}; frames={list(self.frames)[-5:]}")
            self.poll(min(left, 1.0))

    def take(self, *kinds, match=lambda m: True, timeout=None):
        """The first kept or coming frame of these kinds: (kind, message)."""

        def find():
            for i, (k, m) in enumerate(self.frames):
                if k in kinds and match(m):
                    del self.frames[i]
                    return (k, m)
            return None

        return self.until(find, f"{'/'.join(kinds)}", timeout)

    # ---- session ----

    def hello(self, name="contract", **kw):
        self.send(hello=pb.Hello(version=kw.pop("version", 1), client=name, **kw))
        kind, m = self.take("welcome", "error")
        if kind == "error":
            raise Refused(m)
        self.credit = m.credit
        return m

    def ping(self):
        """A round trip: everything sent before was read by the daemon."""
        self.requests += 1
        n = self.requests
        self.send(ping=pb.Ping(request=n))
        self.take("pong", match=lambda m: m.request == n)

    def error(self, timeout=None):
        return self.take("error", timeout=timeout)[1]

    def wait_closed(self, timeout=None):
        deadline = time.monotonic() + (timeout or PATIENCE)
        while not self.closed:
            if time.monotonic() > deadline:
                raise TimeoutError("the daemon did not end the session")
            self.poll(1.0)

    def close(self):
        self.sock.close()
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # ---- publish ----

    def publish(self, *events, positions=False):
        """Sends one Publish; returns the sequences."""
        first = self.sequence + 1
        self.sequence += len(events)
        self.send(publish=pb.Publish(first_sequence=first, events=events, positions=positions))
        return range(first, self.sequence + 1)

    def answered(self, sequences, timeout=None):
        """Waits for the answers: a list of True or PublishFailure."""
        seqs = list(sequences)
        self.until(lambda: all(s in self.answers for s in seqs), f"answers to {len(seqs)} publishes", timeout)
        return [self.answers[s] for s in seqs]

    def pub(self, *events, batch=64, window=1024):
        """Publishes all within a window and raises unless all are confirmed. Returns the sequences."""
        seqs = []
        for i in range(0, len(events), batch):
            seqs.extend(self.publish(*events[i : i + batch]))
            if len(seqs) > window:
                self.answered(seqs[: len(seqs) - window])
        for a in self.answered(seqs):
            if a is not True:
                raise NotStored(a)
        return seqs

    def pub1(self, topic, payload=b"", **fields):
        """One event, confirmed; returns its PublishPosition (id, position)."""
        (s,) = self.publish(event(topic, payload, **fields), positions=True)
        (a,) = self.answered([s])
        if a is not True:
            raise NotStored(a)
        self.until(lambda: s in self.positions, "position")
        return self.positions[s]

    # ---- subscribe ----

    def subscribe(self, patterns, group="", wait=True, **fields):
        self.subscriptions += 1
        number = self.subscriptions
        if isinstance(patterns, str):
            patterns = [patterns]
        self.send(subscribe=pb.Subscribe(subscription=number, patterns=patterns, group=group, **fields))
        return self.subscribed(number) if wait else number

    def subscribed(self, number, timeout=None):
        kind, m = self.take(
            "subscribed",
            "error",
            match=lambda m: m.subscription == number,
            timeout=timeout,
        )
        if kind == "error":
            raise Refused(m)
        return m

    def unsubscribe(self, number):
        self.send(unsubscribe=pb.Unsubscribe(subscription=number))
        return self.take("unsubscribed", "error", match=lambda m: m.subscription == number)

    def next(self, timeout=None):
        self.until(lambda: self.deliveries, "a delivery", timeout)
        return self.deliveries.popleft()

    def collect(self, n, ack=True, timeout=None):
        """n deliveries, acknowledged as they come."""
        out = []
        while len(out) < n:
            d = self.next(timeout)
            out.append(d)
            if ack:
                self.ack(d)
        return out

    # ---- settle ----

    @staticmethod
    def _ranges(what):
        out = []
        for w in what:
            if isinstance(w, tuple):
                out.append(pb.Range(first=w[0], last=w[1]))
            else:
                tag = w if isinstance(w, int) else w.tag
                out.append(pb.Range(first=tag, last=tag))
        return out

    def _settled(self, n):
        return self.take("settled", "error", match=lambda m: m.request == n)

    def ack(self, *what, settled=False):
        self.requests += 1
        n = self.requests
        self.send(ack=pb.Ack(tags=self._ranges(what), settled=settled, request=n if settled else 0))
        return self._settled(n)[1] if settled else None

    def nack(self, *what, cls=RETRY, reason="", settled=False, **fields):
        self.requests += 1
        n = self.requests
        self.send(
            nack=pb.Nack(
                tags=self._ranges(what),
                kind=cls,
                reason=reason,
                settled=settled,
                request=n,
                **fields,
            )
        )
        return self._settled(n)[1] if settled else None

    def extend(self, *what, settled=False):
        self.requests += 1
        n = self.requests
        self.send(extend=pb.Extend(tags=self._ranges(what), settled=settled, request=n if settled else 0))
        return self._settled(n)[1] if settled else None

    # ---- admin ----

    def status(self):
        import json

        self.requests += 1
        n = self.requests
        self.send(admin=pb.Admin(request=n, status=pb.StatusRequest()))
        kind, m = self.take("admin_reply", "error", match=lambda m: m.request == n)
        if kind == "error":
            raise Refused(m)
        return json.loads(m.json)
