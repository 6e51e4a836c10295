"""A guest that is an attacker, and a machine whose programs fail: the host, the other instances and the store are
unharmed, commands on that machine answer in bounded time with one clear line, the state shown is true, and `rm -f`
always works.

The attackers of the agent's protocol are hostile_guest.c, started in place of guest. Two neighbours, one of each kind,
have to answer after every attack. What takes half a minute of waiting is started by a fixture (mute, stopped) and looked at
last. What is done from inside is done in one machine, which is started again when a test has ended it.
PROA_HOSTILE_SECONDS makes floods longer than they are in the gate (hostile.py).
"""

import os
import re
import signal
import time
from types import SimpleNamespace

import pytest

import sandbox
from cli import BUILD, finish, inspect, proa, refuse, start, state, until
from hostile import (CONSOLE_MAX, SECONDS, SHARED, check, gone, helpers_are_small, is_shown_answering, is_shown_silent, kib_of,
                     nothing_is_left, one_line, qemu_of, shared_name, status, two_neighbours)  # noqa: F401 (a fixture)
from test_kernel import cpio
from test_security import programs_of

pytestmark = [pytest.mark.vm, pytest.mark.leaky]  # machines are there for the whole module; nothing_is_left looks
MIB = 1 << 20
QUIET = 30  # seconds: longer than a silence takes to be noticed


@pytest.fixture(scope="module")
def neighbours(nothing_is_left):  # noqa: F811
    with two_neighbours() as names:
        yield names


@pytest.fixture(autouse=True)
def unharmed(neighbours):
    """After each attack the neighbours answer, and so does the host."""
    yield
    check(neighbours)


@pytest.fixture(scope="module")
def attacker(tmp_path_factory):
    """The flags that start hostile_guest in a mode."""
    initrd = tmp_path_factory.mktemp("hostile") / "initrd"
    with open(os.path.join(BUILD, "tests/integration/hostile_guest"), "rb") as f:
        initrd.write_bytes(cpio([("hostile", 0o100755, f.read())]))
    return lambda mode, network="none": ["--vm", "--network", network, "--initrd", initrd, "--kernel-arg", "rdinit=/hostile",
                                         "--kernel-arg", f"hostile={mode}"]


@pytest.fixture(scope="module")
def mute(attacker, neighbours, tmp_path_factory):
    """A machine that never answers, and what waits for it half a minute, while other tests run."""
    name, here = shared_name(), tmp_path_factory.mktemp("mute")
    proa("run", "-d", "--name", name, *SHARED, *attacker("mute"), "busybox", "true", timeout=100)
    commands = [["exec", name, "true"], ["exec", "-d", name, "true"], ["top", name], ["cp", f"{name}:/x", here / "x"],
                ["cp", "/etc/hostname", f"{name}:/x"]]
    yield name, time.monotonic(), [start(*c) for c in commands]
    proa("rm", "-f", name, check=False, timeout=60)


@pytest.fixture(scope="module")
def stopped(neighbours):
    """A machine whose QEMU stands still from here on, while other tests run."""
    machine = SimpleNamespace(name=shared_name(), paused=None)
    proa("run", "-d", "--vm", "--name", machine.name, *SHARED, "busybox", "sleep", "1000", timeout=100)
    is_shown_answering(machine.name)
    os.kill(qemu_of(machine.name), signal.SIGSTOP)
    yield machine
    proa("rm", "-f", machine.name, check=False, timeout=60)


@pytest.mark.parametrize("mode,say", [("garbage", ""), ("huge-frame", ""), ("endless-hello", ""), ("version", "version 99"), ("long-error", "")])
def test_a_handshake_that_is_none(attacker, mute, stopped, name, mode, say):
    """The start fails with one line, and nothing is left running."""
    r = proa("run", "-d", "--name", name, *attacker(mode), "busybox", "true", check=False, timeout=100)
    one_line(r, say)
    assert state(name) in ("created", "exited"), inspect(name)
    gone(name)


def test_a_start_that_never_ends(attacker, name):
    """While it waits for a hello: other commands work, it is shown as it is, and rm -f ends the wait."""
    waiting = start("run", "--name", name, *attacker("silent"), "busybox", "true")
    until(lambda: name in proa("ps", "-a").out)
    until(lambda: programs_of(inspect(name)["Id"]))
    assert state(name) in ("created", "running"), inspect(name)
    gone(name)
    r = finish(waiting, timeout=30)
    assert r.rc == 125 or r.rc == 137, r


def test_a_start_whose_command_was_killed(attacker, name):
    """Nobody holds the instance any more, and its monitor waits for the hello all the same: rm -f ends that."""
    waiting = start("run", "--name", name, *attacker("silent"), "busybox", "true")
    until(lambda: name in proa("ps", "-a").out)
    until(lambda: programs_of(inspect(name)["Id"]))
    finish(waiting, kill=True)
    gone(name)


def test_output_without_credit(attacker, name):
    r = proa("run", "--name", name, *attacker("without-credit"), "busybox", "true", check=False, timeout=100, binary=True)
    assert r.rc == 125 and len(r.out) < 2 << 20, r.rc
    assert b"more than was asked" in r.err, r.err[-300:]
    assert state(name) == "exited" and inspect(name)["State"]["ExitCode"] == 125
    gone(name)


def test_an_end_with_a_false_status(attacker, name):
    assert proa("run", "--rm", "--name", name, *attacker("end"), "busybox", "true", check=False, timeout=100).rc == 255
    assert name not in proa("ps", "-a").out


def test_a_machine_that_stands_still_at_boot_is_reset(attacker, name):
    """As a kernel does that was kept from its timer for too long. The second boot finds what the first has left on the disk."""
    assert proa("run", "--rm", "--name", name, *attacker("stand-once"), "busybox", "true", check=False, timeout=100).rc == 255


def test_answers_that_are_lies(attacker, name, tmp_path):
    """Half frames, frames of another kind, data without end: each command says one line, and ends."""
    proa("run", "-d", "--name", name, *attacker("lies"), "busybox", "true", timeout=100)
    r = proa("exec", name, "true", check=False, timeout=60, binary=True)
    assert r.rc != 0 and len(r.out) < 32 << 20, r.rc
    for command in (["top", name], ["stats", "--no-stream", name], ["cp", f"{name}:/x", tmp_path / "x"]):
        r = proa(*command, check=False, timeout=60)
        if command[0] != "stats":  # a table of all: a row without numbers
            one_line(r, "")
    assert os.listdir(tmp_path) == []
    assert state(name) == "running"
    proa("stop", "-t", "1", name, timeout=60)
    assert state(name) == "exited"
    gone(name)


def test_a_flood_of_frames(attacker, name, neighbours):
    """At full speed: the neighbours are served, the machine is shown, and rm -f ends it."""
    proa("run", "-d", "--name", name, *attacker("flood"), "busybox", "true", timeout=100)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        check(neighbours)
    assert state(name) == "running"
    gone(name)


def of_group(pid, controller, v1, v2):
    """What a file of a process's control group says; None when there is no such controller."""
    with open(f"/proc/{pid}/cgroup") as f:
        groups = {c: path for _, cs, path in (line.rstrip("\n").split(":", 2) for line in f) for c in cs.split(",")}
    for point, kind, options in sandbox.cgroup_mounts():
        if kind == "cgroup2" or controller in options.split(","):
            path = f"{point}{groups['']}/{v2}" if kind == "cgroup2" else f"{point}{groups[controller]}/{v1}"
            if os.path.exists(path):
                with open(path) as f:
                    return f.read()
    return None


def limit_of(pid):
    """The bound on the memory of a process's control group."""
    text = of_group(pid, "memory", "memory.limit_in_bytes", "memory.max")
    return text and int(text)


def seconds_of(pid):
    """The time of processors that its control group has had."""
    text = of_group(pid, "cpuacct", "cpuacct.usage", "cpu.stat")
    return int(text) / 1e9 if text.strip().isdigit() else int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6


def test_a_flood_of_requests(attacker, name, neighbours, figure):
    """Drivers of the attacker's own keep the queues of network card, disk and balloon full. It gets the time and the memory
    that it was given; the neighbours hear each other, and so does who comes new."""
    proa("run", "-d", "-m", "128m", "--cpus", "0.8", "--kernel-arg", "iomem=relaxed", "--name", name,
         *attacker("devices", "proa"), "busybox", "true", timeout=100)
    pid, folder = qemu_of(name), f"{sandbox.STATE}/instances/{inspect(name)['Id']}"

    def counts():
        with open(f"{folder}/console.log", errors="replace") as f:
            lines = re.findall(r"floods: net=(\d+) disk=(\d+) balloon=(\d+) reports=(\d+)", f.read())
        return [int(n) for n in lines[-1]] if lines else [0]
    first = until(lambda: min(counts()) > 0 and counts(), timeout=60, message=lambda: f"no flood: {state(name)}, {open(folder + '/console.log').read()[-300:]}")
    began, used = time.monotonic(), seconds_of(pid)
    while time.monotonic() < began + SECONDS or min(b - a for a, b in zip(first, counts())) < 200:
        check(neighbours)
        assert proa("exec", neighbours[0], "ping", "-c1", "-W10", neighbours[1], timeout=25).rc == 0
        assert kib_of(pid, "VmRSS") << 10 < (128 + 256 + 8) * MIB
        assert time.monotonic() < began + 60 + SECONDS, f"no flood: {first}, {counts()}"
    took, used = time.monotonic() - began, seconds_of(pid) - used
    assert used < 0.8 * 1.2 * took, f"{used:.1f} s of {took:.1f}"  # the kernel's own tolerance: nobody is stopped in it
    proa("run", "--rm", "busybox", "ping", "-c1", "-W10", neighbours[1], timeout=100)
    helpers_are_small(name)
    last = counts()
    figure(f"{used / took:.2f} processors, in {took:.0f} s: frames, disk's requests, balloon's, pages given back {[b - a for a, b in zip(first, last)]}")
    assert state(name) == "running"
    gone(name)


def test_memory_that_is_not_given_back(attacker, name):
    """A guest that has its memory in use whoever asks for it: it keeps what it was given and no more, that is what is
    shown, and the host's limit holds."""
    proa("run", "-d", "-m", "160m", "--name", name, *attacker("hoard"), "busybox", "true", timeout=100)
    pid = qemu_of(name)

    def resident():
        return kib_of(pid, "VmRSS") << 10
    until(lambda: resident() > 100 * MIB, timeout=40)
    refuse("update", "-m", "100m", name, rc=1, say=["does not give its memory back", "160 MiB"], timeout=40)
    assert inspect(name)["HostConfig"]["Memory"] == 160 * MIB and state(name) == "running"
    limit = limit_of(pid)
    assert limit is None or limit == (160 + 256 + 8) * MIB, "the guest's, QEMU's, and for its processor"
    assert 100 * MIB < resident() < (160 + 256 + 8) * MIB
    proa("stop", "-t", "1", name, timeout=60)
    proa("update", "-m", "128m", name)
    assert inspect(name)["HostConfig"]["Memory"] == 128 * MIB
    gone(name)


def test_mutated_frames(attacker, name):
    """Whatever becomes of it, it is shown, and it goes."""
    r = proa("run", "-d", "--name", name, *attacker("mutate"), "busybox", "true", check=False, timeout=100)
    assert r.rc in (0, 125), r
    time.sleep(2)
    assert state(name) in ("created", "running", "exited")
    gone(name)


# --- machines with our guest, from inside ---

@pytest.fixture(scope="module")
def house_of_attacks(neighbours):
    """Its workload writes without end while there is a file /flood."""
    name = shared_name()
    proa("run", "-d", "--vm", "--privileged", "--log-opt", "max-size=256k", "--log-opt", "max-file=2", "--name", name, *SHARED, "busybox",
         "sh", "-c", "while :; do if [ -e /flood ]; then timeout 1 yes 0123456789abcdef; else sleep 0.2; fi; done", timeout=100)
    yield name
    proa("rm", "-f", name, check=False, timeout=60)


@pytest.fixture
def machine(house_of_attacks):
    """It runs, whatever the test before has done to it."""
    if state(house_of_attacks) != "running":
        proa("start", house_of_attacks, timeout=100)
    return house_of_attacks


def folder_of(name):
    return f"{sandbox.STATE}/instances/{inspect(name)['Id']}"


def test_a_disk_that_is_filled(machine):
    """It has the room that it was given, and the host loses no more than was written. Full, it can be stopped and started, and
    what is too much can be removed: its root is not read-only then."""
    folder = folder_of(machine)

    def used():
        return sum(os.stat(f"{folder}/{n}").st_blocks * 512 for n in os.listdir(folder) if n.startswith("disk"))
    before = used()
    free, size = map(int, proa("exec", machine, "stat", "-f", "-c", "%f %S", "/").out.split())
    proa("exec", machine, "fallocate", "-l", str(free * size - 48 * MIB), "/most")  # nothing is written
    r = proa("exec", machine, "dd", "if=/dev/zero", "of=/rest", "bs=1M", "conv=fsync", check=False, timeout=60)
    assert r.rc == 1 and "No space left on device" in r.err, r
    assert 8 * MIB < used() - before < 64 * MIB
    assert state(machine) == "running" and "100%" in proa("exec", machine, "df", "/").out
    proa("stop", "-t", "1", machine, timeout=60)
    proa("start", machine, timeout=100)
    assert int(proa("exec", machine, "stat", "-c", "%s", "/rest").out) > 8 * MIB
    proa("exec", machine, "rm", "/most", "/rest")
    assert "0 faults" in proa("fsck", timeout=60).out


def test_who_does_not_answer_is_shown(stopped):
    """QEMU, until it goes on."""
    is_shown_silent(stopped.name, "QEMU")
    os.kill(qemu_of(stopped.name), signal.SIGCONT)
    is_shown_answering(stopped.name)
    proa("pause", stopped.name)
    stopped.paused = time.monotonic()


def test_a_console_flood(machine, neighbours):
    """The serial console at full speed: its file stays small, everything else goes on."""
    proa("exec", machine, "sh", "-c", "test -e /dev/ttyS0 || mknod /dev/ttyS0 c 4 64")
    flooding = start("exec", machine, "timeout", "-s", "KILL", str(SECONDS), "sh", "-c",
                     "while :; do cat /proc/kallsyms >/dev/ttyS0; done")
    log = folder_of(machine) + "/console.log"
    try:
        until(lambda: os.path.getsize(log) > 10000)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            check(neighbours)
            assert os.path.getsize(log) <= CONSOLE_MAX
            assert proa("exec", machine, "echo", "here", timeout=30).out == "here\n"
    finally:
        finish(flooding, timeout=SECONDS + 30)
    helpers_are_small(machine)


def test_output_that_nobody_reads(machine, neighbours):
    """The workload's at full speed, into a log of bounded size; a command's, whose caller reads nothing, waits."""
    folder, seen = folder_of(machine), set()
    unread = start("exec", machine, "yes", "no reader")
    proa("exec", machine, "touch", "/flood")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(seen) < 5:
        logs = [os.stat(f"{folder}/{n}") for n in os.listdir(folder) if re.fullmatch(r"log(\.\d+)?", n)]
        seen.update(s.st_ctime_ns for s in logs if s.st_size > 200 << 10)
        assert len(logs) <= 2 and sum(s.st_size for s in logs) < 2 * (256 << 10) + 32768, logs
        check(neighbours)
        assert proa("exec", machine, "echo", "here", timeout=30).out == "here\n"
        assert time.monotonic() < end + 60, "the log has never been full"
    assert proa("logs", "--tail", "3", machine).out.startswith("0123456789abcdef\n")
    assert unread.poll() is None
    helpers_are_small(machine)
    finish(unread, kill=True)
    proa("exec", machine, "rm", "/flood")


def test_a_fork_bomb(name, neighbours):
    """Bounded inside by --pids-limit; without a limit it is the guest's own trouble only."""
    proa("run", "-d", "--vm", "--no-warm", "--network", "none", "--pids-limit", "-1", "--memory", "128m", "--name", name, "busybox",
         "sh", "-c", "b() { b | b & }; b; while :; do sleep 1; done", timeout=100)
    for _ in range(3):
        check(neighbours)
    gone(name)


def test_a_kernel_panic(machine):
    """The machine ends, with its kernel's last words, and can be started again."""
    proa("exec", "-d", machine, "sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger")
    until(lambda: state(machine) == "exited", timeout=30)
    seen = inspect(machine)["State"]
    assert seen["ExitCode"] == 125, seen
    with open(folder_of(machine) + "/console.log", errors="replace") as f:
        assert "panic" in f.read()
    proa("start", machine, timeout=100)
    assert proa("exec", machine, "echo", "again").out == "again\n"


def test_commands_that_nobody_hears(machine):
    """QEMU hears nothing: so many commands wait for it, and the next is refused. Then it goes on, and all is as it was."""
    os.kill(qemu_of(machine), signal.SIGSTOP)
    said = []
    while not said:
        for verb in ("pause", "unpause"):
            done = proa(verb, machine, check=False)
            said += [done] if done.rc else []
    one_line(said[0], "wait for its QEMU")
    waiting = [start("exec", machine, "echo", "late") for _ in range(64)]
    ended = [finish(until(lambda: next((p for p in waiting if p.poll() is not None), None), timeout=25))]
    one_line(ended[0], "63 commands are at work")
    assert state(machine) in ("running", "paused")
    os.kill(qemu_of(machine), signal.SIGCONT)
    for p in waiting:
        if p.returncode is None:
            r = finish(p, timeout=60)
            assert r.out == "late\n", r
    until(lambda: proa("unpause", machine, check=False).rc == 0 or state(machine) == "running")
    assert proa("exec", machine, "echo", "here").out == "here\n"


def test_qemu_is_killed(machine):
    os.kill(qemu_of(machine), signal.SIGKILL)
    until(lambda: state(machine) == "exited", timeout=20)
    assert inspect(machine)["State"]["ExitCode"] == 125
    refuse("exec", machine, "true", rc=None)


@pytest.mark.parametrize("end", [["stop", "-t", "1"], ["kill"], ["rm", "-f"]], ids=["stop", "kill", "rm"])
def test_qemu_is_stopped(machine, end):
    """A machine that does not answer ends all the same."""
    os.kill(qemu_of(machine), signal.SIGSTOP)
    assert state(machine) == "running"
    ident = inspect(machine)["Id"]
    proa(*end, machine, timeout=60)
    if end[0] == "rm":
        assert machine not in proa("ps", "-a").out
    else:
        until(lambda: state(machine) == "exited", timeout=20)
    until(lambda: not programs_of(ident))


# --- what had to wait: started before all others, looked at in the end ---

def test_a_machine_that_never_answers(mute):
    """Each command gives up with one line; stop and rm do their work."""
    name, began, waiting = mute
    for process in waiting:
        one_line(finish(process, timeout=max(1, began + 50 - time.monotonic())), "does not answer")
    assert state(name) == "running"
    is_shown_silent(name, "its agent")
    proa("stop", "-t", "1", name, timeout=60)
    assert state(name) == "exited"
    gone(name)


def test_a_pause_is_no_silence(stopped):
    time.sleep(max(0, stopped.paused + QUIET - time.monotonic()))
    assert status(stopped.name).endswith("(Paused)") and inspect(stopped.name)["State"]["Answering"]
    proa("unpause", stopped.name)
    gone(stopped.name)
