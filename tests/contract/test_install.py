# SPDX-License-Identifier: Apache-2.0
"""What `make install` leaves, and that it can be used: the daemon, the library, its pkg-config file."""

import os
import subprocess

import pytest
from harness.daemon import BUILD, ROOT

pytestmark = pytest.mark.only("memory")

CONSUMER = """
#include <eventbus.h>
#include <string.h>
/* Names of the library's inside are ours to use. */
void log_info(void) {}
int buf_init = 1, topic_valid = 2;
int main(void)
{
	void (*volatile all_of_it)(void) = (void (*)(void))eventbus_create;

	log_info();
	return all_of_it && buf_init + topic_valid == 3 && strlen(eventbus_version()) > 0 ? 0 : 1;
}
"""


def run(*args, **kw):
    return subprocess.run(args, capture_output=True, text=True, timeout=120, check=True, **kw).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if os.path.basename(BUILD) != "release":
        pytest.skip("only release builds are installed")
    dest = str(tmp_path_factory.mktemp("dest"))
    run(os.path.join(ROOT, "scripts", "install"), BUILD, dest, "/usr", "/usr/lib/systemd/system", "1.2.3", "0")
    return dest


def test_everything_is_there(adapter, installed):
    for name in (
        "usr/bin/eventbusd", "usr/bin/eventbusctl", "usr/include/eventbus.h", "usr/lib/libeventbus.a",
        "usr/lib/libeventbus.so", "usr/lib/pkgconfig/eventbus.pc", "usr/lib/systemd/system/eventbusd.service",
        "usr/lib/systemd/system/eventbusd.socket", "usr/share/bash-completion/completions/eventbusctl",
        "usr/share/doc/eventbusd/LICENSE", "usr/share/doc/eventbusd/PROTOCOL.md", "usr/share/man/man1/eventbusctl.1",
        "usr/share/man/man5/eventbusd.yaml.5", "usr/share/man/man8/eventbusd.8",
        "usr/share/eventbus/proto/eventbus/v1/eventbus.proto", "etc/eventbusd/eventbusd.yaml",
    ):  # fmt: skip
        assert os.path.getsize(os.path.join(installed, name)) > 0, name
    with open(os.path.join(installed, "usr/lib/systemd/system/eventbusd.service"), encoding="utf-8") as f:
        assert "ExecStart=/usr/bin/eventbusd\n" in f.read()


def test_the_administrators_file_stays(adapter, installed):
    mine = os.path.join(installed, "etc/eventbusd/eventbusd.yaml")
    with open(mine, "w", encoding="ascii") as f:
        f.write("log: {level: warn}\n")
    run(os.path.join(ROOT, "scripts", "install"), BUILD, installed, "/usr", "/usr/lib/systemd/system", "1.2.3", "0")
    with open(mine, encoding="ascii") as f:
        assert f.read() == "log: {level: warn}\n"


def pkg_config(installed, *args):
    env = {
        **os.environ,
        "PKG_CONFIG_SYSROOT_DIR": installed,
        "PKG_CONFIG_PATH": os.path.join(installed, "usr/lib/pkgconfig"),
    }
    return run("pkg-config", *args, "eventbus", env=env).split()


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_a_program_is_built_with_pkg_config(adapter, installed, tmp_path, linked):
    source, program = tmp_path / "consumer.c", tmp_path / "consumer"
    source.write_text(CONSUMER)
    libs = pkg_config(installed, "--static", "--libs") if linked == "static" else pkg_config(installed, "--libs")
    if linked == "static":
        libs = [os.path.join(installed, "usr/lib/libeventbus.a"), *[x for x in libs if x != "-leventbus"]]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", *pkg_config(installed, "--cflags")]
    run("gcc", *flags, str(source), *libs, "-o", str(program))
    run(str(program), env={**os.environ, "LD_LIBRARY_PATH": os.path.join(installed, "usr/lib")})
    assert pkg_config(installed, "--modversion") == ["1.2.3"]


def test_programs_are_hardened(adapter, installed):
    for name in ("usr/bin/eventbusd", "usr/bin/eventbusctl", "usr/lib/libeventbus.so.0"):
        f = os.path.join(installed, name)
        assert "Type:                              DYN" in run("readelf", "-h", f)
        assert "BIND_NOW" in run("readelf", "-dW", f)
        assert "GNU_RELRO" in run("readelf", "-lW", f)
        symbols = run("readelf", "-W", "--dyn-syms", f)
        assert "__stack_chk_fail" in symbols and "_chk@" in symbols
