"""What the tests of hostile guests look at, for machines of both kinds: neighbours that must go on, the one line that a
command may say, and that nothing is left of an attacker."""

import os
import uuid
from contextlib import contextmanager

import pytest

import leaks
from cli import inspect, proa, state, until
from test_security import programs_of
from test_warm import SETTINGS

# How long floods last: longer than in the gate where somebody wants to see more of it.
SECONDS = int(os.environ.get("PROA_HOSTILE_SECONDS", "4"))
CONSOLE_MAX = 256 << 10


def shared_name():
    """Of an instance that is there for more than one test: the leak guard lets it be when it has the label, too."""
    return "box-" + uuid.uuid4().hex[:8]


SHARED = ["-l", "role=box"]


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(house):
    """For modules whose machines are there for many tests. No machine waits for another start: it would wait for a processor."""
    with open(SETTINGS, "w") as f:
        f.write('{"spares": 0}')
    before = leaks.snapshot()
    try:
        yield
    finally:
        os.unlink(SETTINGS)
    extra, _ = leaks.settled(before, timeout=10)
    extra = [line for line in extra if not line.startswith("device ")]  # in minutes others of the host make some
    assert not extra, extra


@contextmanager
def two_neighbours():
    """One of each kind."""
    names = []
    for kind in ([], ["--vm"]):
        names.append(shared_name())
        proa("run", "-d", *kind, "--name", names[-1], *SHARED, "busybox", "sleep", "100000", timeout=120)
    try:
        yield names
    finally:
        proa("rm", "-f", *names, timeout=60)


def check(neighbours):
    for neighbour in neighbours:
        assert proa("exec", neighbour, "echo", "well", timeout=25).out == "well\n"
        assert state(neighbour) == "running"


def one_line(result, *words):
    text = result.err.strip()
    assert result.rc not in (0, None) and text and len(text.splitlines()) == 1, result
    assert len(text) < 700 and text.isprintable(), result
    assert any(w in text for w in words), result


def gone(name, timeout=40):
    """rm -f works, in bounded time, and leaves nothing of it."""
    ident = inspect(name)["Id"]
    proa("rm", "-f", name, timeout=timeout)
    assert name not in proa("ps", "-a").out
    until(lambda: not programs_of(ident))


def status(name):
    """As ps shows it."""
    return proa("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}").out.strip()


def is_shown_silent(name, who, patience=60):
    """It runs, and everybody sees who of it does not answer."""
    until(lambda: status(name).endswith("(not answering)"), timeout=patience)
    shown = inspect(name)["State"]
    assert shown["Status"] == "running" and not shown["Answering"], shown
    assert shown["Error"].startswith(f"{who} has not answered for "), shown
    assert not shown["SilentSince"].startswith("0001")
    row = proa("stats", "--no-stream", "--format", "json", name, timeout=20).json  # nobody is waited for
    assert row["CPUPerc"] == "--" and row["HostCPUPerc"].endswith("%") and "iB / " in row["HostMemUsage"], row


def is_shown_answering(name, patience=60):
    until(lambda: "not answering" not in status(name), timeout=patience)
    shown = inspect(name)["State"]
    assert shown["Answering"] and shown["Error"] == "" and shown["SilentSince"].startswith("0001"), shown
    row = proa("stats", "--no-stream", "--format", "json", name).json
    assert row["CPUPerc"].endswith("%") and row["HostCPUPerc"].endswith("%") and row["HostMemUsage"][0] != "0", row


def kib_of(pid, field):
    """A size of its memory, as /proc has it."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def helpers_are_small(name):
    """proa-vm and the monitor have kept nothing of what came from inside."""
    helper = inspect(name)["State"]["Pid"]
    for pid in helper, kib_of(helper, "PPid"):
        assert kib_of(pid, "VmHWM") < 64 << 10, pid


def qemu_of(name):
    return int(programs_of(inspect(name)["Id"])["qemu-system-x86_64"][0][0])
