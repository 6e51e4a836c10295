"""A guest that is an attacker, and a machine whose programs fail: the host, the other instances and the store are
unharmed, commands on that machine answer in bounded time with one clear line, the state shown is true, and `rm -f`
always works.

The attackers of the agent's protocol are hostile_guest.c, started in place of guest. Two neighbours, one of each kind,
have to answer after every attack. What takes half a minute of waiting is started by a fixture (mute) and looked at last.
PROA_HOSTILE_SECONDS makes floods longer than they are in the gate (hostile.py).
"""

import os
import signal
import time

import pytest

import sandbox
from cli import BUILD, finish, inspect, proa, refuse, start, state, until
from hostile import CONSOLE_MAX, SECONDS, SHARED, check, gone, is_shown_answering, is_shown_silent, one_line, qemu_of, shared_name, status, two_neighbours
from test_kernel import cpio
from test_security import programs_of

pytestmark = pytest.mark.vm
MIB = 1 << 20


@pytest.fixture(scope="module")
def neighbours(house):
    with two_neighbours() as names:
        yield names


@pytest.fixture(autouse=True)
def unharmed(neighbours, leak_guard):
    """After each attack the neighbours answer, and so does the host."""
    yield
    check(neighbours)


@pytest.fixture(scope="module")
def attacker(tmp_path_factory):
    """The flags that start hostile_guest in a mode."""
    initrd = tmp_path_factory.mktemp("hostile") / "initrd"
    with open(os.path.join(BUILD, "tests/integration/hostile_guest"), "rb") as f:
        initrd.write_bytes(cpio([("hostile", 0o100755, f.read())]))
    return lambda mode: ["--vm", "--network", "none", "--initrd", initrd, "--kernel-arg", "rdinit=/hostile", "--kernel-arg",
                         f"hostile={mode}"]


@pytest.fixture(scope="module")
def mute(attacker, neighbours, tmp_path_factory):
    """A machine that never answers, and what waits for it half a minute, while other tests run."""
    name, here = shared_name(), tmp_path_factory.mktemp("mute")
    proa("run", "-d", "--name", name, *SHARED, *attacker("mute"), "busybox", "true", timeout=100)
    commands = [["exec", name, "true"], ["exec", "-d", name, "true"], ["top", name], ["cp", f"{name}:/x", here / "x"],
                ["cp", "/etc/hostname", f"{name}:/x"]]
    yield name, time.monotonic(), [start(*c) for c in commands]
    proa("rm", "-f", name, check=False, timeout=60)


@pytest.mark.parametrize("mode,say", [("garbage", ""), ("huge-frame", ""), ("endless-hello", ""), ("version", "version 99"), ("long-error", "")])
def test_a_handshake_that_is_none(attacker, mute, name, mode, say):
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
    assert proa("run", "--name", name, *attacker("stand-once"), "busybox", "true", check=False, timeout=100).rc == 255
    with open(f"{sandbox.STATE}/instances/{inspect(name)['Id']}/console.log", errors="replace") as f:
        assert f.read().count("was reset") == 1
    gone(name)


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


def limit_of(pid):
    """The bound on the memory of a process's control group."""
    with open(f"/proc/{pid}/cgroup") as f:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
    for point, kind, options in sandbox.cgroup_mounts():
        if kind == "cgroup2" or "memory" in options.split(","):
            group, file = (groups[""], "memory.max") if kind == "cgroup2" else (groups["memory"], "memory.limit_in_bytes")
            if os.path.exists(f"{point}{group}/{file}"):
                with open(f"{point}{group}/{file}") as f:
                    return int(f.read())
    return None


def test_memory_that_is_not_given_back(attacker, name):
    """A guest that has its memory in use whoever asks for it: it keeps what it was given and no more, that is what is
    shown, and the host's limit holds."""
    proa("run", "-d", "-m", "160m", "--name", name, *attacker("hoard"), "busybox", "true", timeout=100)
    pid = qemu_of(name)

    def resident():
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) << 10
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

def flood(name, what, seconds):
    """Runs the command in the machine for so long, and gives how it ended."""
    return start("exec", name, "timeout", "-s", "KILL", str(seconds), "sh", "-c", what)


def test_a_console_flood(name, neighbours):
    """The serial console at full speed: its file stays small, everything else goes on."""
    proa("run", "-d", "--vm", "--privileged", "--network", "none", "--name", name, "busybox", "sleep", "1000", timeout=100)
    proa("exec", name, "sh", "-c", "test -e /dev/ttyS0 || mknod /dev/ttyS0 c 4 64")
    flooding = flood(name, "while :; do cat /proc/kallsyms >/dev/ttyS0; done", SECONDS)
    log = f"{sandbox.STATE}/instances/{inspect(name)['Id']}/console.log"
    try:
        until(lambda: os.path.getsize(log) > 10000)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            check(neighbours)
            assert os.path.getsize(log) <= CONSOLE_MAX
            assert proa("exec", name, "echo", "here", timeout=30).out == "here\n"
    finally:
        finish(flooding, timeout=SECONDS + 30)
    gone(name)


def test_a_fork_bomb(name, neighbours):
    """Bounded inside by --pids-limit; without a limit it is the guest's own trouble only."""
    proa("run", "-d", "--vm", "--network", "none", "--pids-limit", "-1", "--memory", "128m", "--name", name, "busybox", "sh", "-c",
         "b() { b | b & }; b; while :; do sleep 1; done", timeout=100)
    for _ in range(3):
        check(neighbours)
    gone(name)


def test_a_kernel_panic(name):
    """The machine ends, with its kernel's last words, and can be started again."""
    proa("run", "-d", "--vm", "--privileged", "--network", "none", "--name", name, "busybox", "sleep", "1000", timeout=100)
    proa("exec", "-d", name, "sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger")
    until(lambda: state(name) == "exited", timeout=30)
    seen = inspect(name)["State"]
    assert seen["ExitCode"] == 125, seen
    with open(f"{sandbox.STATE}/instances/{inspect(name)['Id']}/console.log", errors="replace") as f:
        assert "panic" in f.read()
    proa("start", name, timeout=100)
    assert proa("exec", name, "echo", "again").out == "again\n"
    gone(name)


def test_qemu_is_killed(name):
    proa("run", "-d", "--vm", "--network", "none", "--name", name, "busybox", "sleep", "1000", timeout=100)
    os.kill(qemu_of(name), signal.SIGKILL)
    until(lambda: state(name) == "exited", timeout=20)
    assert inspect(name)["State"]["ExitCode"] == 125
    refuse("exec", name, "true", rc=None)
    gone(name)


@pytest.mark.parametrize("end", [["stop", "-t", "1"], ["kill"], ["rm", "-f"]])
def test_qemu_is_stopped(name, end):
    """A machine that does not answer ends all the same."""
    proa("run", "-d", "--vm", "--network", "none", "--name", name, "busybox", "sleep", "1000", timeout=100)
    os.kill(qemu_of(name), signal.SIGSTOP)
    assert state(name) == "running"
    proa(*end, name, timeout=60)
    if end[0] == "rm":
        assert name not in proa("ps", "-a").out
        return
    until(lambda: state(name) == "exited", timeout=20)
    gone(name)


def test_who_does_not_answer_is_shown(name):
    """QEMU, until it goes on. A pause is no silence."""
    proa("run", "-d", "--vm", "--network", "none", "--name", name, "busybox", "sleep", "1000", timeout=100)
    is_shown_answering(name)
    os.kill(qemu_of(name), signal.SIGSTOP)
    is_shown_silent(name, "QEMU")
    os.kill(qemu_of(name), signal.SIGCONT)
    is_shown_answering(name)
    proa("pause", name)
    time.sleep(30)  # longer than a silence takes to be noticed
    assert status(name).endswith("(Paused)") and inspect(name)["State"]["Answering"]
    proa("unpause", name)
    gone(name)


def test_commands_that_nobody_hears(name):
    """QEMU hears nothing: so many commands wait for it, and the next is refused. Then it goes on, and all is as it was."""
    proa("run", "-d", "--vm", "--network", "none", "--name", name, "busybox", "sleep", "1000", timeout=100)
    os.kill(qemu_of(name), signal.SIGSTOP)
    said = []
    while not said:
        for verb in ("pause", "unpause"):
            done = proa(verb, name, check=False)
            said += [done] if done.rc else []
    one_line(said[0], "wait for its QEMU")
    waiting = [start("exec", name, "echo", "late") for _ in range(64)]
    ended = [finish(until(lambda: next((p for p in waiting if p.poll() is not None), None), timeout=25))]
    one_line(ended[0], "63 commands are at work")
    assert state(name) in ("running", "paused")
    os.kill(qemu_of(name), signal.SIGCONT)
    for p in waiting:
        if p.returncode is None:
            r = finish(p, timeout=60)
            assert r.out == "late\n", r
    until(lambda: proa("unpause", name, check=False).rc == 0 or state(name) == "running")
    assert proa("exec", name, "echo", "here").out == "here\n"
    gone(name)


# --- what had to wait: started before all others, looked at in the end ---

@pytest.mark.leaky  # what was there before all tests goes; gone() looks
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
