"""kill -9 of each verb of `snapshot`, at its steps, beside a machine with two disks that runs: it goes on, with all that
it has written, or is as the verb would have left it; the next command leaves no file, process or row of what was begun.
One machine serves all tests. PROA_ROUNDS: at every step, not only at some."""

import glob
import os
import signal
import sys

import pytest

import leaks
from cli import inspect, proa, state, until
from hostile import SHARED, shared_name
from sandbox import STATE, TOP
from test_crash import nothing_left, steps_of, traced
from test_security import programs_of

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = [pytest.mark.vm, pytest.mark.slow]
SOME = 6
# What changes files or rows, or asks somebody: how often the rest is called depends on how long it waits.
CHANGES = {"pwrite64", "fdatasync", "fsync", "unlink", "unlinkat", "rename", "renameat", "renameat2", "linkat", "mkdir", "sendmsg", "sendto"}


def chosen(args):
    """Where the command is killed, told by a run of it that is not."""
    steps = steps_of(args)
    if "PROA_ROUNDS" in os.environ:
        return steps[10:]
    changes = [s for s in steps if s[0] in CHANGES]
    return [changes[i * (len(changes) - 1) // (SOME - 1)] for i in range(SOME)]


class Machine:
    """It runs from its memory whenever that is wanted; numbers are written to both of its disks, each synced."""

    def __init__(self, image):
        self.name, self.n = shared_name(), 0
        proa("run", "-d", "--name", self.name, *SHARED, "--network", "none", "-m", "128m", "--disk-size", "64m", "--disk", "size=64m",
             image, timeout=60)
        until(lambda: proa("exec", self.name, "true", check=False).rc == 0, timeout=120)
        self.append()
        proa("snapshot", "create", "--memory", "--name", "whole", self.name, timeout=60)
        self.kept = self.n

    def sh(self, command):
        return proa("exec", self.name, "sh", "-c", command, timeout=60)

    def append(self):
        self.n += 1
        self.sh(f"for d in vda vdb; do echo {self.n} | dd of=/dev/$d bs=512 seek=$((80000+{self.n})) conv=notrunc,fsync 2>/dev/null; "
                "done")

    def goes_on(self):
        """It runs in one QEMU, and reads what was written."""
        assert state(self.name) == "running"
        read = (f"echo 3 >/proc/sys/vm/drop_caches; for d in vda vdb; do dd if=/dev/$d bs=512 skip=80001 count={self.n} "
                "2>/dev/null | tr -d '\\0'; done")
        assert [int(n) for n in self.sh(read).lines] == 2 * list(range(1, self.n + 1))
        assert len(programs_of(inspect(self.name)["Id"])["qemu-system-x86_64"]) == 1

    def go_back(self):
        proa("snapshot", "restore", "--force", self.name, "whole", timeout=60)
        self.n = self.kept
        self.goes_on()


@pytest.fixture(scope="module")
def machine(house):
    proa("import", disk.path_of("agent"), "agent:1", timeout=120)
    m = Machine("agent:1")
    yield m
    proa("rm", "-f", m.name, timeout=60)
    proa("snapshot", "rm", "whole")
    assert os.listdir(STATE + "/snapshots") == []
    proa("rmi", "agent:1", timeout=60)


@pytest.fixture(autouse=True)
def leak_guard(machine):
    """The machine's chain of files grows with each snapshot, until the machine goes (machine). What else is left is looked
    for after each kill."""


def kills(args, steps):
    """The command is killed at each of them, and what came of it is the caller's to look at. Of the last ones some may not
    come: a command that waits makes more calls, or fewer."""
    arrived = 0
    for point in steps:
        arrived += traced(args, point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        yield point
    assert arrived >= len(steps) // 2, "the kills do not arrive"


def clean(point, visible):
    """After the next command: the store is sound, nothing half made is there, and memory only where somebody can use it."""
    assert proa("fsck").out.endswith("0 faults\n"), point
    assert os.listdir(STATE + "/tmp") == [], point
    assert len(glob.glob(STATE + "/snapshots/*/memory")) == visible, f"{point}: memory is left"


def listed():
    return proa("snapshot", "ls", "--format", "{{.Name}}").lines


@pytest.mark.parametrize("flags", [["--no-freeze"], ["--memory"]], ids=["disk", "memory"])
def test_create(machine, flags):
    args = ["snapshot", "create", *flags, "--name", "cut", machine.name]
    steps = chosen(args)
    proa("snapshot", "rm", "cut")
    for point in kills(args, steps):
        made = "cut" in listed()
        machine.goes_on()
        clean(point, 1 + (made and flags == ["--memory"]))
        if made:
            proa("snapshot", "rm", "cut")
        machine.append()


def test_rm(machine):
    def make():
        proa("snapshot", "create", "--memory", "--name", "cut", machine.name, timeout=60)
    make()
    steps = chosen(["snapshot", "rm", "cut"])
    make()
    for point in kills(["snapshot", "rm", "cut"], steps):
        there = "cut" in listed()
        clean(point, 1 + there)
        if not there:
            make()
    machine.goes_on()
    proa("snapshot", "rm", "cut", check=False)


def test_restore(machine):
    """Killed, it has ended the machine or not; afterwards it can be done again, from whatever there is."""
    args = ["snapshot", "restore", "--force", machine.name, "whole"]
    machine.go_back()  # what the tests before have left on the machine's disk goes with that
    for point in kills(args, chosen(args)):
        assert state(machine.name) in ("running", "exited"), point
        clean(point, 1)
        machine.go_back()


@pytest.fixture
def other():
    name = shared_name()
    yield name
    proa("rm", "-f", name, check=False, timeout=60)


def test_clone(machine, other):
    args = ["snapshot", "clone", "whole", "--name", other]
    steps = chosen(args)
    proa("rm", other)
    before = leaks.snapshot()
    for point in kills(args, steps):
        if other in proa("ps", "-a", "--format", "{{.Names}}").lines:
            proa("rm", other)
        nothing_left(before, f"step {point} of clone")
    machine.goes_on()


def test_rm_of_an_instance_with_snapshots(machine, other):
    """They outlive it, with all that they stand on."""
    def make():
        proa("snapshot", "clone", "whole", "--name", other)
        proa("start", other, timeout=60)
        proa("snapshot", "create", "--no-freeze", "--name", "cut", other)
    before = leaks.snapshot()
    make()
    args = ["rm", "-f", other]
    steps = chosen(args)
    proa("snapshot", "rm", "cut")
    nothing_left(before, "no step")
    make()
    for point in kills(args, steps):
        there = other in proa("ps", "-a", "--format", "{{.Names}}").lines
        clean(point, 1)
        assert "cut" in listed()
        if there:
            proa("rm", "-f", other, timeout=60)
        proa("snapshot", "rm", "cut")
        nothing_left(before, f"step {point} of rm")
        make()
    proa("rm", "-f", other, timeout=60)
    proa("snapshot", "rm", "cut")
    machine.goes_on()
