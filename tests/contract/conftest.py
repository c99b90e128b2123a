# SPDX-License-Identifier: Apache-2.0
"""Every case runs on every adapter, against the real broker, through the real daemon."""

import os
import subprocess
import sys
import uuid

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("EVENTBUS_BUILD", os.path.join(ROOT, "build", "release"))


def generate_schema():
    """protoc writes the Python classes beside the build, once for each schema version."""
    out = os.path.join(BUILD, "python")
    made = os.path.join(out, "eventbus", "v1", "eventbus_pb2.py")
    schema = os.path.join(ROOT, "proto", "eventbus", "v1", "eventbus.proto")
    if not os.path.exists(made) or os.path.getmtime(made) < os.path.getmtime(schema):
        os.makedirs(out, exist_ok=True)
        subprocess.run(
            ["protoc", f"-I{ROOT}/proto", f"--python_out={out}", schema], check=True
        )
    return out


sys.path.insert(0, HERE)
sys.path.insert(0, generate_schema())

from harness.brokers import KINDS  # noqa: E402
from harness.daemon import Daemon  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--adapters", default="memory,nats", help="comma-separated: memory,nats")


def pytest_generate_tests(metafunc):
    if "adapter" in metafunc.fixturenames:
        names = metafunc.config.getoption("--adapters").split(",")
        only = metafunc.definition.get_closest_marker("only")
        if only:
            names = [n for n in names if n in only.args]
        metafunc.parametrize("adapter", names, indirect=True, scope="session")


def pytest_configure(config):
    config.addinivalue_line("markers", "durable: needs a broker that outlives the daemon")
    config.addinivalue_line("markers", "broker_fault: needs a broker process to hurt")
    config.addinivalue_line("markers", "only(names): the case is about these adapters alone")


@pytest.fixture(scope="session")
def adapter(request, tmp_path_factory):
    kind = KINDS[request.param]
    if kind.missing():
        pytest.skip(f"{request.param}: {kind.missing()}")
    broker = kind(tmp_path_factory.mktemp(request.param))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(autouse=True)
def fitting(request):
    if "adapter" not in request.fixturenames:
        return
    broker = request.getfixturevalue("adapter")
    if request.node.get_closest_marker("durable") and not broker.durable:
        pytest.skip(f"{broker.name}: events live within one daemon life (P2)")
    if request.node.get_closest_marker("broker_fault") and not broker.can_fail:
        pytest.skip(f"{broker.name}: there is no broker process to hurt")


@pytest.fixture
def make_daemon(adapter, tmp_path):
    """make_daemon(config, name=..., same_as=other) starts a daemon on the adapter under test."""
    made = []

    def make(config=None, name=None, same_as=None, broker=None, ready=True, **kw):
        full = dict(config or {})
        if same_as:
            full["broker"] = same_as.config["broker"]
        else:
            full.update(adapter.config(**(broker or {})))
        d = Daemon(tmp_path, full, name=name or f"d{len(made)}", **kw)
        made.append(d)
        return d.start(ready)

    yield make
    problems = []
    for d in made:
        try:
            d.finish()
        except Exception as e:  # pylint: disable=broad-except
            problems.append(e)
            if d.process and d.process.poll() is None:
                d.process.kill()
                d.process.wait()
    if problems:
        raise problems[0]


@pytest.fixture
def daemon(make_daemon):
    return make_daemon()


@pytest.fixture
def topic():
    """A topic of this test's own."""
    return "t" + uuid.uuid4().hex[:8]


@pytest.fixture
def group():
    return "g" + uuid.uuid4().hex[:8]
